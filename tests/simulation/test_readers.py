"""Every reader gives the answers of the oracle, from Python and from the command line, over random histories."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.simulation.seeds import Game, play, play_on_all_cores, play_seeds, told, total
from tests.support.acceptance_table import Proven

#: Seeds of their own, with as many questions to each reader.
FIRST = 200_000
FIRST_OF_POSTGRESQL = 700_000
READERS = (
    *("history", "changes", "diff", "compare", "where", "resolve", "check", "status", "runs", "explain", "view"),
)
GAME = Game(runs=30, questions=0, readers=220)
SHORT = Game(runs=30, questions=0, readers=110)
SEEDS = 100
PORTION = 50

#: What has to be among the answers, so that no comparison is empty.
SAID = {
    "history": ("present", "unknown", "withdrawn", "modified"),
    "history gap": ("held", "denied", "failed", "skipped", "retired", "deselected", "stale"),
    "changes": ("appeared", "returned", "withdrawn", "modified", "target_added", "target_retired"),
    "diff": ("appeared", "withdrawn", "modified", "unknown"),
    "compare": ("only_first", "only_second", "differs", "same", "unknown"),
    "where": ("present", "withdrawn", "never", "unknown"),
    "resolve": ("0", "1", "2", "7", "8"),
    "check": (
        *("ok", "superseded", "re-issued", "missing", "never-seen", "gpu-lost", "not-asked", "unknown", "stale"),
        *("0", "1", "8"),
    ),
    "status": ("ok", "held", "denied", "failed", "skipped", "retired", "deselected"),
    "runs": ("complete", "incomplete", "failed", "running", "interrupted"),
    "explain": (
        *("appeared", "returned", "withdrawn", "modified", "target_added", "target_retired", "no such change"),
        *("complete", "incomplete", "waited on a hold", "left out before"),
    ),
    "view": ("superseded", "newest"),
}


def keys(readers: Iterable[str]) -> set[str]:
    return {f"{reader} {word}" for reader in readers for word in SAID[reader]}


def test_the_second_opinion_is_its_own() -> None:
    """What the oracle expects is worked out without a line of the product."""
    folder = Path(__file__).parent
    files = [folder / "oracle.py", folder / "past.py", *folder.glob("expected_*.py")]
    assert len(files) > 6
    for file in files:
        imports = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
        assert not [node.module for node in imports if str(node.module).startswith("crawler")], file.name


@pytest.mark.parametrize("first", range(FIRST, FIRST + 4, 2))
def test_readers(first: int) -> None:
    """Random questions at random moments of random histories, by both doors: all equal."""
    played = play_seeds(range(first, first + 2), SHORT)
    assert not (failures := told(played, SHORT)), failures
    tally = total(played).readers
    assert {reader: tally[f"{reader} asked"] for reader in READERS} == dict.fromkeys(READERS, 20)


def test_readers_on_both_databases(engine: Engine) -> None:
    """SQLite on a disk and PostgreSQL give every reader the same answers."""
    game = Game(runs=20, questions=0, readers=66)
    one = play(engine, FIRST_OF_POSTGRESQL, game)
    assert not (failure := told([one], game)), failure


@pytest.mark.prove
@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, PORTION))
def test_all_readers(first: int, proven: Proven) -> None:
    """A thousand questions to each reader, twice; every outcome, state and exit code is among the answers."""
    played = play_on_all_cores(range(first, first + PORTION), GAME)
    tally = total(played).readers
    failed = [one for one in played if one.failure]
    asked = {reader: tally[f"{reader} asked"] for reader in READERS}
    missing = keys(SAID) - tally.keys()
    proven(
        f"every reader agrees with the simulation's oracle (from seed {first}): rows, fields, outcomes and exit codes",
        f"{sum(asked.values())} questions, {min(asked.values())} to each of {len(READERS)} readers, "
        f"{tally['commands']} of them on the command line; {len(failed)} seeds failed; "
        f"{len(keys(SAID)) - len(missing)} of {len(keys(SAID))} outcomes, states, events and exit codes met",
    )
    assert not failed, told(failed, GAME)
    assert set(asked.values()) == {PORTION * GAME.readers // len(READERS)}
    assert not missing, f"never among the answers: {sorted(missing)}"
