"""Histories of the model world, replayed: the kept answers make the same history again, or a corrected one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from crawler.db.engine import opened, read
from crawler.db.schema import OutcomeSpan
from crawler.domain.kinds import KINDS, UK8S_IMAGE, Kind
from crawler.domain.models import SCHEMA
from crawler.queries import changes as queries_changes
from crawler.queries.replay import ReplayReport
from tests.simulation.replays import replayed
from tests.simulation.run import Simulation
from tests.simulation.seeds import Game, fresh_database, play
from tests.simulation.world import Weather
from tests.support.acceptance_table import Proven

FIRST = 700_000
UNWRITTEN = "could not be written"
#: A declaration as somebody may have got it wrong: a flag the wrong way round, and two fields that nobody knew. It does
#: not change which absences are believed, or the game would go on differently.
WRONG = replace(
    UK8S_IMAGE,
    fields=tuple(
        replace(spec, type="flag" if spec.name == "gpu" else spec.type)
        for spec in UK8S_IMAGE.fields
        if spec.name not in ("os_type", "gpu_types")
    ),
)


@contextmanager
def declared(kind: Kind) -> Iterator[None]:
    """Let a *kind* be declared so for a `with` block."""
    before = KINDS[kind.name]
    KINDS[kind.name] = kind
    try:
        yield
    finally:
        KINDS[kind.name] = before


class _Unwatched(Simulation):
    """A game that nobody judges: by a wrong declaration it does not record what is true."""

    def _judge(self, *_: Any) -> None:
        pass


def _play(engine: Engine, seed: int, runs: int) -> None:
    """Play a game; a target that failed by a fault of the program's own in it would be no matter of declarations."""
    weather = Weather(seed)
    simulation = _Unwatched(engine, weather.model, seed=seed)
    for _ in range(runs):
        simulation.run(weather.next_plan())
    simulation.close()
    with read(engine) as conn:
        assert not [message for message in conn.scalars(select(OutcomeSpan.message)) if UNWRITTEN in message]


def _recorded(engine: Engine) -> list[dict[str, Any]]:
    with read(engine) as conn:
        return [row.as_dict() for row in queries_changes.changes(conn, with_schema=True)]


def _what_happened(rows: list[dict[str, Any]]) -> list[str]:
    """Return changes without the order in which a run wrote them, and what it was then told of the form of answers."""
    written = ("id", "cursor", "recorded_at")
    rows = [row for row in rows if row["event"] != SCHEMA]
    return sorted(json.dumps({name: row[name] for name in row if name not in written}) for row in rows)


def _told(report: ReplayReport) -> str:
    return "\n".join(str(one.as_dict()) for one in report.differences[:5])


def _check_same(source: Engine, folder: Path) -> ReplayReport:
    """Replay, and compare by the product's own words and by the readers'."""
    report = replayed(source, folder / "new.db")
    assert report.equal, _told(report)
    with opened(folder / "new.db") as engine:
        assert _recorded(engine) == _recorded(source)
    return report


@pytest.mark.parametrize("seed", range(FIRST, FIRST + 3))
def test_same_again(tmp_path: Path, scratch: Engine, seed: int) -> None:
    """What random runs recorded, killed ones and odd answers among them, comes out of their answers row for row."""
    played = play(scratch, seed, Game())
    assert not played.failure
    report = _check_same(scratch, tmp_path)
    assert report.changes.equal > 30
    assert report.intervals.equal > 30
    assert report.answers > report.runs / 2


def test_same_from_both_databases(tmp_path: Path, engine: Engine) -> None:
    """A history on PostgreSQL is replayed like one in a file."""
    assert not play(engine, FIRST + 10, Game(runs=15)).failure
    assert _check_same(engine, tmp_path).changes.equal > 5


@pytest.mark.parametrize("seed", [FIRST + 21])
def test_corrected_declaration(tmp_path: Path, scratch: Engine, seed: int) -> None:
    """After a declaration was corrected a replay gives the history that it would have recorded all along."""
    _check_corrected(tmp_path, scratch, seed, runs=30)


def _check_corrected(folder: Path, scratch: Engine, seed: int, *, runs: int) -> tuple[int, int]:
    with declared(WRONG):
        _play(scratch, seed, runs)
        wrong = _recorded(scratch)
        assert replayed(scratch, folder / "wrong.db").equal
    report = replayed(scratch, folder / "right.db")
    with fresh_database() as engine, opened(folder / "right.db") as corrected:
        _play(engine, seed, runs)
        right = _recorded(engine)
        assert _what_happened(_recorded(corrected)) == _what_happened(right)
    assert not report.equal
    assert right != wrong
    return len(wrong), len(right)


@pytest.mark.prove
def test_five_hundred_runs(tmp_path: Path, proven: Proven) -> None:
    """Ten histories of fifty random runs, replayed."""
    reports: list[ReplayReport] = []
    for number in range(10):
        folder = tmp_path / str(number)
        folder.mkdir()
        with fresh_database() as engine:
            assert not play(engine, FIRST + 30 + number, Game()).failure
            reports.append(_check_same(engine, folder))
    proven(
        "replay of 500 random runs gives a change table equal to the recorded one",
        f"{sum(one.runs for one in reports)} runs that wrote anything, {sum(one.answers for one in reports)} answers: "
        f"{sum(one.changes.equal for one in reports)} of {sum(one.changes.recorded for one in reports)} changes and "
        f"{sum(one.intervals.equal for one in reports)} of {sum(one.intervals.recorded for one in reports)} intervals "
        "equal",
    )


@pytest.mark.prove
def test_five_hundred_corrected(tmp_path: Path, proven: Proven) -> None:
    """Ten histories of fifty random runs by a wrong declaration, replayed by the right one."""
    counts = []
    for number in range(40, 50):
        folder = tmp_path / str(number)
        folder.mkdir()
        with fresh_database() as engine:
            counts.append(_check_corrected(folder, engine, FIRST + number, runs=50))
    proven(
        "replay of 500 random runs after a corrected declaration gives the corrected change table",
        f"{sum(wrong for wrong, _ in counts)} changes by the wrong declaration became the "
        f"{sum(right for _, right in counts)} that the right one would have recorded",
    )
