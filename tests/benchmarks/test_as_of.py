"""
The past of a five-year history: as quick at its beginning as at its end, on both databases, without scanning.

The figures are of one answer on a warm database: the best of many times the same question, the median over many
moments. The best, because client and server wake each other for every statement, which on a shared machine takes now
this long and now twice that.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine

from crawler.store import reader
from crawler.store.engine import opened, read
from crawler.store.selection import Filters
from tests.benchmarks.five_years import BEGIN, IMAGES, PROJECTS, Made, generate
from tests.support.figures import Figures
from tests.support.plans import scans, statements

pytestmark = [pytest.mark.prove, pytest.mark.filterwarnings("ignore::ResourceWarning")]

ROW = "as-of"
MOMENTS = 25
TIMES = 25
STALE = timedelta(hours=26)
DAY = timedelta(days=1)
#: Zones that are there from the beginning.
ZONES = 400


class History:
    """Asks the three questions of the promise, of some zone or day each time."""

    def __init__(self, conn: Connection, made: Made, seed: int) -> None:
        self.conn = conn
        self.made = made
        self.rng = random.Random(seed)

    def one_target(self, at: datetime) -> Callable[[], int]:
        project, zone = f"org-{self.rng.randrange(PROJECTS)}", self.made.zone(self.rng.randrange(ZONES))
        return self._images(at, Filters(project=(project,), zone=(zone,)))

    def zone(self, at: datetime) -> Callable[[], int]:
        return self._images(at, Filters(zone=(self.made.zone(self.rng.randrange(ZONES)),)))

    def day(self, at: datetime) -> Callable[[], int]:
        return lambda: len(list(reader.changes(self.conn, at, at + DAY)))

    def _images(self, at: datetime, filters: Filters) -> Callable[[], int]:
        return lambda: len(list(reader.images(self.conn, at, filters, now=at, stale_after=STALE, include_retired=True)))

    def moments(self, first: float, last: float) -> list[datetime]:
        """Give moments between two parts of the history's length."""
        length = self.made.end - BEGIN
        return [BEGIN + length * self.rng.uniform(first, last) for _ in range(MOMENTS)]


def milliseconds(question: Callable[[datetime], Callable[[], int]], moments: list[datetime]) -> tuple[float, float]:
    """Give the median time of an answer, and the mean number of its rows."""
    times: list[float] = []
    rows = 0
    for at in moments:
        ask = question(at)
        best = float("inf")
        for _ in range(TIMES):
            started = time.perf_counter()
            count = ask()
            best = min(best, time.perf_counter() - started)
        times.append(best * 1000)
        rows += count
    return statistics.median(times), rows / len(moments)


@pytest.fixture
def history(both_urls: str) -> Iterator[tuple[Engine, Connection, Made]]:
    """Give five years of history."""
    with opened(both_urls) as engine:
        made = generate(engine)
    with opened(both_urls, read_only=True) as engine, read(engine) as conn:
        yield engine, conn, made


def test_as_of(history: tuple[Engine, Connection, Made], figures: Figures) -> None:
    """One target < 2 ms, a zone of ten projects < 15 ms, a day of changes < 2 ms, flat over time, without scans."""
    engine, conn, made = history
    assert made.intervals >= 850_000
    assert made.runs >= 175_000
    with statements(engine) as asked:
        asking = History(conn, made, 1)
        for question in (asking.one_target, asking.zone, asking.day):
            for at in asking.moments(0.02, 0.98)[:5]:
                question(at)()
    scanned = {sql: tables for sql, params in asked if (tables := scans(conn, (sql, params)))}
    case = engine.dialect.name
    where = f"{made.intervals:,} intervals, {made.runs:,} runs"
    detail = f"{len(asked)} statements; {where}; {scanned or 'none'}"
    for words, attribute, bar, expected in (
        ("one target", "one_target", 2.0, IMAGES),
        ("a zone of ten projects", "zone", 15.0, IMAGES * PROJECTS),
        ("a day of changes", "day", 2.0, None),
    ):
        asking = History(conn, made, 2)
        question = getattr(asking, attribute)
        milliseconds(question, asking.moments(0.02, 0.98)[:5])
        early, early_rows = milliseconds(question, asking.moments(0.03, 0.13))
        late, late_rows = milliseconds(question, asking.moments(0.88, 0.98))
        typical, rows = milliseconds(question, asking.moments(0.03, 0.98))
        if expected is not None:
            assert rows == expected
        figures.at_most(ROW, words, typical, bar, "ms", case=case, detail=f"{rows:.0f} rows; {where}")
        slope = (late / late_rows) / (early / early_rows)
        told = f"first half-year {early:.2f} ms for {early_rows:.0f} rows, last {late:.2f} ms for {late_rows:.0f}"
        figures.at_most(ROW, f"{words}: late to early, per row", slope, 1.5, "×", case=case, detail=told, minor=True)
    figures.exactly(ROW, "statements that scan a table", len(scanned), 0, case=case, detail=detail, minor=True)
