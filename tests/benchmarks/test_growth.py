"""
What runs leave behind in which nothing changed: a row each, for years, and little of that once they are pruned.

A few runs go through the product's own ledger and Recorder; the years are rows like the last of those.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from crawler import History
from crawler.db.engine import is_sqlite, opened, read
from crawler.db.integrity import findings
from crawler.db.pruning import prune
from crawler.errors import UnknownKnowledge
from tests.benchmarks.five_years import PROJECTS, Made, generate
from tests.benchmarks.quiet_runs import QuietRuns, repeat, rows, size
from tests.support.figures import Figures

pytestmark = [pytest.mark.prove, pytest.mark.filterwarnings("ignore::ResourceWarning")]

#: 4,500 targets on SQLite; a tenth on PostgreSQL, where making them takes longest.
ZONES = {"sqlite": 450, "postgresql": 45}
#: Runs through the product, and those of five years.
PLAYED, YEARS = 40, 175_320
#: Two pages of the SQLite file, its smallest steps.
PAGES = 2 * 4096
KEPT = timedelta(days=365)
MOMENTS = 12
MEGABYTE = 1_000_000
ROW = "unchanged run"


@pytest.fixture
def history(both_urls: str) -> Iterator[tuple[str, Engine, Made]]:
    """Return targets with 100 images each, observed for some days."""
    with opened(both_urls) as engine:
        yield both_urls, engine, generate(engine, years=0.01, zones=ZONES[engine.dialect.name], changed=0, calm=True)


def answers(url: str, end: datetime, moments: list[datetime]) -> list[list[dict[str, Any]]]:
    """Ask `images --at` for a zone at each moment."""
    with History(url, clock=lambda: end) as asked:
        return [[image.as_dict() for image in asked.images(at=at, zone="r001-02")] for at in moments]


def last_rows(engine: Engine, count: int) -> list[dict[str, Any]]:
    """Return the newest runs as they are stored, without what tells one from the next."""
    with read(engine) as conn:
        found = conn.execute(text("SELECT * FROM runs ORDER BY id DESC LIMIT :count"), {"count": count}).mappings()
        passing = ("id", "started_at", "finished_at")
        return [{name: value for name, value in row.items() if name not in passing} for row in found]


@pytest.mark.counts
def test_growth(history: tuple[str, Engine, Made], figures: Figures) -> None:
    """An unchanged run adds one row and at most 300 bytes; five years of them under 50 MB, under 5 MB once pruned."""
    url, engine, made = history
    case = engine.dialect.name
    quiet = QuietRuns(engine, made.end)
    quiet.run()
    compact(engine)
    before, small = rows(engine), size(engine)
    for _ in range(PLAYED):
        quiet.run()
    after, played = rows(engine), size(engine)
    added = {table: (after[table] - count) / PLAYED for table, count in before.items() if after[table] != count}
    detail = f"per table: {added}, {PLAYED} runs played"
    figures.exactly(ROW, "rows it adds", sum(added.values()), 1, case=case, detail=detail, minor=True)
    assert added == {"runs": 1}

    end = repeat(engine, YEARS)
    large = size(engine)
    assert last_rows(engine, 2)[0] == last_rows(engine, YEARS + 2)[-1]
    each = (large - played) / YEARS
    if is_sqlite(engine):
        assert abs((played - small) - each * PLAYED) <= PAGES, "the years fill pages otherwise than the product's runs"
    figures.at_most(ROW, "growth, mean of five years", each, 300, "B", case=case, minor=True)
    figures.at_most(ROW, "five years of them", (large - small) / MEGABYTE, 50, "MB", case=case, minor=True)

    begins = end - KEPT
    rng = random.Random(5)
    moments = [begins, *(begins + KEPT * rng.random() for _ in range(MOMENTS - 1)), end]
    known = answers(url, end, moments)
    assert {len(found) for found in known} == {PROJECTS * 100}
    started = time.perf_counter()
    gone = prune(engine, None, before=begins, now=end)
    seconds, shrunk = time.perf_counter() - started, size(engine)
    assert answers(url, end, moments) == known
    with pytest.raises(UnknownKnowledge, match="was pruned"):
        answers(url, end, [begins - timedelta(seconds=1)])
    with read(engine) as conn:
        assert findings(conn) == []
    compact(engine)
    what = "five years of them, all but the last one folded to a run a day"
    left = (size(engine) - small) / MEGABYTE
    detail = f"{gone.runs:,} runs went in {seconds:.1f} s; {len(moments)} answers about the last year stayed equal"
    if is_sqlite(engine):
        assert size(engine) == shrunk, "prune has left room in the file"
        figures.at_most(ROW, what, left, 5, "MB", case=case, detail=detail)
    else:
        # the rows of a run take more there; the room of those that went is for later ones
        figures.shown(ROW, what, left, "MB", case=case, detail=detail)


def compact(engine: Engine) -> None:
    """Give back all room that holds nothing."""
    with engine.connect() as connection:
        if is_sqlite(engine):
            raw: Any = connection.connection.driver_connection
            raw.execute("VACUUM")
        else:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM FULL")
