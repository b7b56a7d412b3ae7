"""Questions over everything, on five years of history: how many times quicker than as they were answered before."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest

from crawler.db.engine import opened, read
from crawler.domain.filters import Filters
from crawler.queries import changes, images, lookup
from tests.benchmarks import old_ways
from tests.benchmarks.five_years import Made
from tests.support.figures import Figures
from tests.support.questions import STALE

pytestmark = [pytest.mark.prove, pytest.mark.filterwarnings("ignore::ResourceWarning")]

ROW = "as-of"
ROUNDS = 5
NAME, GLOB = "System 7 v0", Filters(name=("System 7*",))


def test_everything(years: tuple[str, Made], figures: Figures) -> None:
    """The history of a name, all images, and the changes of some names give the same rows, several times sooner."""
    url, made = years
    now = made.end
    with opened(url, read_only=True) as engine, read(engine) as conn:
        ids = lookup.image_ids(conn, NAME)

        def history() -> int:
            return len(lookup.history(conn, ids, now=now, stale_after=STALE))

        def all_images() -> int:
            return sum(1 for _ in images.images(conn, None, now=now, stale_after=STALE))

        def some_changes() -> int:
            return sum(1 for _ in changes.changes(conn, filters=GLOB))

        def old_changes() -> int:
            return sum(1 for _ in old_ways.changes(conn, GLOB))

        with old_ways.put_in():
            expected = lookup.history(conn, ids, now=now, stale_after=STALE)
        assert lookup.history(conn, ids, now=now, stale_after=STALE) == expected
        is_sqlite = engine.dialect.name == "sqlite"
        for what, way, old_way, bar in (
            (f"history of {NAME!r}", history, history, 3 if is_sqlite else 8),
            ("all images", all_images, all_images, 2),
            (f"changes of {GLOB.name[0]!r}", some_changes, old_changes, 4),
        ):
            rows, ratio, seconds, before = _compare(way, old_way)
            detail = f"{rows:,} rows in {seconds:.2f} s, {before:.2f} s before; median of {ROUNDS} rounds"
            figures.at_least(ROW, what, ratio, bar, "× as quick", case=engine.dialect.name, detail=detail)


def _compare(way: Callable[[], int], old_way: Callable[[], int]) -> tuple[int, float, float, float]:
    """Return the rows of an answer, how many times sooner it comes, and its seconds both ways; in turns."""
    rows = way()
    times: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        seconds, count = _timed(way)
        with old_ways.put_in():
            before, old_count = _timed(old_way)
        assert count == old_count == rows
        times.append((seconds, before))
    ratio = statistics.median(before / seconds for seconds, before in times)
    return rows, ratio, *(statistics.median(own) for own in zip(*times, strict=True))


def _timed(way: Callable[[], int]) -> tuple[float, int]:
    begun = time.perf_counter()
    count = way()
    return time.perf_counter() - begun, count
