"""
The lines of the promise about the main job, each with the scenarios that show it, for the table of `./dev prove`.

The scenarios are the ordinary tests beside this file, played again on fresh databases of both kinds.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import tests.acceptance.test_accounts as accounts
import tests.acceptance.test_demo as demo
import tests.acceptance.test_exit_codes as codes
import tests.acceptance.test_failures as failures
import tests.acceptance.test_first_table as first_table
import tests.acceptance.test_limits as limits
import tests.acceptance.test_main_job as main_job
import tests.acceptance.test_quirks as quirks
import tests.acceptance.test_secrets as secrets
import tests.acceptance.test_variants as variants
from crawler.emulator import QUIRKS
from tests.support.acceptance_table import Proven
from tests.support.databases import PostgresServer
from tests.support.driving import Driver

Scenario = Callable[[Driver], None]
Fresh = Callable[[str], Driver]


@pytest.fixture
def fresh(tmp_path: Path, _sqlite_template: Path, _postgres_server: PostgresServer) -> Iterator[Fresh]:
    """Return a function that makes a user with a folder and a migrated database of a kind."""
    numbers = itertools.count()
    with ExitStack() as stack:

        def make(kind: str) -> Driver:
            folder = tmp_path / f"user{next(numbers)}"
            folder.mkdir()
            if kind == "postgresql":
                return Driver(folder, stack.enter_context(_postgres_server.database()))
            shutil.copyfile(_sqlite_template, folder / "crawler.db")
            return Driver(folder, f"sqlite:///{folder / 'crawler.db'}")

        yield make


def with_each(scenario: Callable[..., None], *values: Any) -> list[Scenario]:
    """Return *scenario* once for each tuple of arguments beyond the driver."""
    return [lambda driver, value=value: scenario(driver, *value) for value in values]  # type: ignore[misc]


LINES: dict[str, list[Scenario]] = {
    "the published history, the second snapshot three times: exactly its set difference, held first, dated to the "
    "first sight": [main_job.test_published_history, main_job.test_held_is_unknown],
    "uimage-2qkirw in sg-01 and sg-02 is two histories": [main_job.test_one_id_two_histories],
    "a wrong key ends with 5 after one request": [
        *with_each(
            codes.test_wrong_key,
            ({"private_key": "not-the-key"}, 171),
            ({"public_key": "somebody-else-0000000000"}, 172),
            ({"headers": {"channel-key": "not-asked-for"}}, 174),
        ),
        codes.test_wrong_key_later,
    ],
    "an unreachable endpoint ends with 4": [codes.test_unreachable],
    "half the zones failing ends with 3 and no withdrawal": [codes.test_half_fails],
    "a zone never open is denied and exit 0; one open yesterday is failed and says so": [
        *with_each(codes.test_never_open, (230,), (292,), (293,), (299,)),
        codes.test_open_yesterday,
    ],
    "a broken configuration ends with 2 and every error; so does a selection that matches nothing": [
        codes.test_broken_configuration,
        *with_each(codes.test_empty_selection, ({"zones": ["mars-*"]}, ()), ({}, ("--zone", "mars-*"))),
    ],
    "a 200 that is a page is a failed target with its first line": [codes.test_html_page, codes.test_html_everywhere],
    "lock taken 75, newer schema 74, clock backwards 70": [
        codes.test_lock_taken,
        codes.test_newer_schema,
        codes.test_clock_backwards,
    ],
    "accounts run side by side, and one that is refused or hangs stops alone": [
        accounts.test_side_by_side,
        accounts.test_one_is_refused,
        accounts.test_refused_in_the_middle,
        accounts.test_one_hangs,
        accounts.test_own_rate,
    ],
    "every class of fault through the whole pipeline: retried or not, told, no withdrawal, and back again": [
        failures.test_every_fault_stays_a_fault,
        failures.test_every_fault_once,
        failures.test_back_again,
        failures.test_empty_answers,
        failures.test_empty_catalog,
        failures.test_retry_budget,
    ],
    "one dead region holds up nobody": [
        *with_each(limits.test_dead_region, ("drop",), ("hang",)),
        limits.test_black_hole_region,
    ],
    f"{len(QUIRKS)} oddities in both generations of the API make no false change": [
        *with_each(quirks.test_quirks, ("2020",), ("2026",)),
        *with_each(quirks.test_generations, ("2020", "2026"), ("2026", "2020")),
        quirks.test_all_at_once,
        quirks.test_unknown_set,
        quirks.test_set_under_another_name,
    ],
    "a variant is a target of its own; changed parameters under a used name are refused": [
        variants.test_variant,
        variants.test_changed_parameters,
    ],
}


@pytest.mark.prove
@pytest.mark.parametrize("line", LINES)
def test_line(fresh: Fresh, proven: Proven, line: str) -> None:
    """Every scenario of the line holds on SQLite and on PostgreSQL."""
    for scenario in LINES[line]:
        for kind in ("sqlite", "postgresql"):
            scenario(fresh(kind))
    proven(line, f"{len(LINES[line])} scenarios on SQLite and on PostgreSQL")


@pytest.mark.prove
@pytest.mark.parametrize("targets", [24, 1000])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_unchanged_run(fresh: Fresh, proven: Proven, kind: str, targets: int) -> None:
    """A run in which nothing changed costs one row, whatever the number of targets."""
    main_job.test_unchanged_run(fresh(kind), proven, targets)


@pytest.mark.prove
@pytest.mark.parametrize("action", ["GetRegion", "GetProjectList", "DescribeUK8SImage"])
def test_black_hole(fresh: Fresh, proven: Proven, action: str) -> None:
    """A black hole anywhere stretches no deadline."""
    limits.test_black_hole(fresh("sqlite"), proven, action)


@pytest.mark.prove
@pytest.mark.parametrize("brand", [first_table.test_dedicated_brand, first_table.test_current_brand])
def test_first_table(tmp_path: Path, proven: Proven, brand: Callable[[Path, Proven], None]) -> None:
    """Three commands lead to the first table."""
    brand(tmp_path, proven)


@pytest.mark.prove
def test_demo(tmp_path: Path, proven: Proven) -> None:
    """The demo is one screen, and the commands on it work."""
    played = demo.play(tmp_path)
    demo.test_one_screen(played, proven)
    demo.test_printed_commands(played)


@pytest.mark.prove
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_secrets(fresh: Fresh, proven: Proven, kind: str) -> None:
    """A planted key is found nowhere."""
    with secrets.cloud_with_every_fault() as cloud:
        secrets.test_runs(fresh(kind), cloud, proven)
