"""
The past of a five-year history: as quick at its beginning as at its end, on both databases, without scanning.

The figures are of one answer on a warm database: the best of many times the same question, the median over many
moments. Client and server take turns, so both are kept on one processor: on a virtual machine waking another one takes
now 20 and now 90 microseconds, for each statement, which is neither's work. The detail tells what it takes without.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from crawler.db.engine import is_sqlite, opened, read
from crawler.domain.filters import Filters
from crawler.queries import changes, images
from tests.benchmarks.five_years import BEGIN, IMAGES, PROJECTS, Made
from tests.support.figures import Figures
from tests.support.plans import scans, statements
from tests.support.questions import STALE, questions

pytestmark = [pytest.mark.prove, pytest.mark.filterwarnings("ignore::ResourceWarning")]

ROW = "as-of"
MOMENTS = 25
TIMES = 25
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
        return lambda: len(list(changes.changes(self.conn, at, at + DAY)))

    def _images(self, at: datetime, filters: Filters) -> Callable[[], int]:
        return lambda: len(list(images.images(self.conn, at, filters, now=at, stale_after=STALE, include_retired=True)))

    def moments(self, first: float, last: float) -> list[datetime]:
        """Return moments between two parts of the history's length."""
        length = self.made.end - BEGIN
        return [BEGIN + length * self.rng.uniform(first, last) for _ in range(MOMENTS)]


def milliseconds(question: Callable[[datetime], Callable[[], int]], moments: list[datetime]) -> tuple[float, float]:
    """Return the median time of an answer, and the mean number of its rows."""
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


@contextmanager
def one_processor(conn: Connection) -> Iterator[bool]:
    """Keep this thread, and the server's process that serves *conn*, on one processor; give False where that is not."""
    if not hasattr(os, "sched_setaffinity"):  # only Linux has it
        yield False
        return
    taking_turns = [0]  # the caller
    if not is_sqlite(conn):
        taking_turns.append(conn.scalar(text("SELECT pg_backend_pid()")))
    allowed = os.sched_getaffinity(0)
    with ExitStack() as undone:
        for process in taking_turns:
            undone.callback(os.sched_setaffinity, process, allowed)
            os.sched_setaffinity(process, {max(allowed)})
        yield True


@pytest.fixture
def history(years: tuple[str, Made]) -> Iterator[tuple[Engine, Connection, Made]]:
    """Return five years of history."""
    url, made = years
    with opened(url, read_only=True) as engine, read(engine) as conn:
        yield engine, conn, made


def test_as_of(history: tuple[Engine, Connection, Made], figures: Figures) -> None:
    """One target < 2 ms, a zone of ten projects < 15 ms, a day of changes < 2 ms, flat over time, without scans."""
    engine, conn, made = history
    assert made.intervals >= 850_000
    assert made.runs >= 175_000
    with statements(engine) as asked:
        for part in (0.1, 0.5, 0.9):
            for ask in questions(BEGIN + (made.end - BEGIN) * part, made.end).values():
                ask(conn)
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
        apart, _ = milliseconds(question, asking.moments(0.03, 0.98))
        with one_processor(conn) as is_one:
            early, early_rows = milliseconds(question, asking.moments(0.03, 0.13))
            late, late_rows = milliseconds(question, asking.moments(0.88, 0.98))
            typical, rows = milliseconds(question, asking.moments(0.03, 0.98))
        if expected is not None:
            assert rows == expected
        told = (
            f"{rows:.0f} rows; {where}; {'on one processor, else' if is_one else 'several processors,'} {apart:.2f} ms"
        )
        figures.at_most(ROW, words, typical, bar, "ms", case=case, detail=told)
        slope = (late / late_rows) / (early / early_rows)
        told = f"first half-year {early:.2f} ms for {early_rows:.0f} rows, last {late:.2f} ms for {late_rows:.0f}"
        figures.at_most(ROW, f"{words}: late to early, per row", slope, 1.5, "×", case=case, detail=told, minor=True)
    at = BEGIN + (made.end - BEGIN) * 0.6
    for words, narrow in (
        ("an image, wherever it is", Filters(image_id=("uimage-5-7",))),
        ("a name, everywhere", Filters(name=("System 7 v0",))),
    ):
        started = time.perf_counter()
        count = sum(1 for _ in images.images(conn, at, narrow, now=at, stale_after=STALE))
        took = 1000 * (time.perf_counter() - started)
        figures.shown(ROW, words, took, "ms", case=case, detail=f"{count:,} rows; {where}", minor=True)
    figures.exactly(ROW, "statements that scan a table", len(scanned), 0, case=case, detail=detail, minor=True)
