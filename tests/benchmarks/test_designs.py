"""What an unchanged run costs, and how a question about the past is answered, next to the designs one writes first."""

from __future__ import annotations

import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection

from crawler.db.engine import opened, read
from crawler.domain.filters import Filters
from crawler.queries import images
from tests.benchmarks.designs import LastSeen, Snapshots, sightings
from tests.benchmarks.load_server import Offer, load_server
from tests.benchmarks.runs import Runs
from tests.benchmarks.test_writes import payload_bytes
from tests.support.figures import Figures
from tests.support.tally import tallied

pytestmark = pytest.mark.prove

ROW = "other designs"
OFFER = Offer(projects=10, zones=45)
RUNS = 24
STALE = timedelta(hours=26)

Costs = dict[str, list[float]]


def test_designs(sqlite_url: str, tmp_path: Path, figures: Figures) -> None:
    """Ours, a snapshot per run, `last_seen` per row: rows, time and bytes of an unchanged run, and a question."""
    seen = sightings(OFFER)
    snapshots, last_seen = Snapshots(tmp_path / "snapshots.db"), LastSeen(tmp_path / "last_seen.db")
    ours = Path(sqlite_url.removeprefix("sqlite:///"))
    rows: Costs = defaultdict(list)
    times: Costs = defaultdict(list)
    sizes: Costs = defaultdict(list)
    moments: list[datetime] = []
    with load_server(OFFER) as server, opened(sqlite_url) as engine:
        runs = Runs(engine, sqlite_url, OFFER.targets)
        for number in range(RUNS):
            with tallied(engine) as tally:
                times["crawler"].append(runs.run(server, one_by_one=True).store_seconds)
            rows["crawler"].append(tally.rows_of("INSERT", "UPDATE", "DELETE"))
            moments.append(runs.at)
            for name, design in (("snapshots", snapshots), ("last_seen", last_seen)):
                begun = time.perf_counter()
                rows[name].append(design.run(int(runs.at.timestamp()), seen))
                times[name].append(time.perf_counter() - begun)
            if number in {0, RUNS - 1}:
                for name, path in (("crawler", ours), ("snapshots", snapshots.path), ("last_seen", last_seen.path)):
                    sizes[name].append(payload_bytes(path))
    answers = _as_of(sqlite_url, snapshots, moments)
    for design in (snapshots, last_seen):
        design.conn.close()

    detail = f"{OFFER.targets} targets × {OFFER.images} images, {RUNS} runs; unchanged ones: medians, bytes: mean"
    for name in times:
        # the first run is not an unchanged one
        figures.shown(
            ROW, "rows an unchanged run writes", statistics.median(rows[name][1:]), case=name, detail=detail, minor=True
        )
    for name, taken in times.items():
        detail = "while nothing else happens; SQLite"
        milliseconds = 1000 * statistics.median(taken[1:])
        figures.shown(ROW, "time of an unchanged run in the store", milliseconds, "ms", case=name, detail=detail)
    for name, found in sizes.items():
        grown = (found[1] - found[0]) / (RUNS - 1)
        year = f"{grown * 4 * 24 * 365 / 1e6:,.0f} MB in a year of quarters of an hour"
        figures.shown(ROW, "growth by an unchanged run", grown / 1e3, "kB", case=name, detail=year)
    for name, answer in answers.items():
        detail = f"{OFFER.images} images over {RUNS} runs; ours comes with the state of knowledge and its reasons"
        figures.shown(ROW, "one target as of a moment", answer, "ms", case=name, detail=detail)


def _as_of(url: str, snapshots: Snapshots, moments: list[datetime]) -> dict[str, float]:
    """Return the milliseconds of an answer about the past: the median over moments, the best of seven each."""
    rng = random.Random(3)
    times: Costs = defaultdict(list)
    with opened(url, read_only=True) as engine, read(engine) as conn:
        for moment in moments:
            at = moment.astimezone(UTC) + timedelta(minutes=5)
            target = rng.randrange(OFFER.targets)
            project = OFFER.project_ids()[target % OFFER.projects]
            zone = OFFER.places()[target // OFFER.projects][1]
            asked: dict[str, Callable[[], Sequence[object]]] = {
                "crawler": partial(_images, conn, at, Filters(project=(project,), zone=(zone,))),
                "snapshots": partial(snapshots.as_of, int(at.timestamp()), target),
            }
            for name, ask in asked.items():
                times[name].append(min(_seconds(ask) for _ in range(7)))
    return {name: 1000 * statistics.median(found) for name, found in times.items()}


def _images(conn: Connection, at: datetime, filters: Filters) -> Sequence[object]:
    return list(images.images(conn, at, filters, now=at, stale_after=STALE, include_retired=True))


def _seconds(ask: Callable[[], Sequence[object]]) -> float:
    begun = time.perf_counter()
    found = ask()
    taken = time.perf_counter() - begun
    assert len(found) == OFFER.images
    return taken
