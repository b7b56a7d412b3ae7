"""Questions over everything, on five years of history: how many times quicker than as they were answered before."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest

from crawler.cli.run import rare_collections
from crawler.db.engine import opened, read
from crawler.domain.filters import Filters
from crawler.queries import changes, history_lookup, images
from tests.benchmarks import old_ways
from tests.benchmarks.five_years import Made
from tests.support.figures import Figures
from tests.support.questions import STALE

pytestmark = [pytest.mark.prove, pytest.mark.filterwarnings("ignore::ResourceWarning")]

ROW = "as-of"
ROUNDS = 3
NAME, GLOB = "System 7 v0", Filters(name=("System 7*",))


QUESTIONS = ("history", "images", "changes")


@pytest.mark.parametrize("question", QUESTIONS)
def test_everything(question: str, years: tuple[str, Made], figures: Figures) -> None:
    """The history of a name, all images, and the changes of some names give the same rows, several times sooner."""
    url, made = years
    knowing: dict[str, Any] = {"now": made.end, "stale_after": STALE}
    with opened(url, read_only=True) as engine, read(engine) as conn:
        case = engine.dialect.name

        def history() -> object:
            return history_lookup.history(conn, history_lookup.image_ids(conn, NAME), **knowing)

        def all_images() -> object:
            return sum(1 for _ in images.images(conn, None, **knowing))

        def some_changes() -> object:
            return [change.id for change in changes.changes(conn, filters=GLOB)]

        def old_changes() -> object:
            return [row.id for row in old_ways.changes(conn, GLOB)]

        what, way, old_way, bar = {
            "history": (f"history of {NAME!r}", history, history, 3 if case == "sqlite" else 8),
            "images": ("all images", all_images, all_images, 2),
            "changes": (f"changes of {GLOB.name[0]!r}", some_changes, old_changes, 4),
        }[question]
        ratio, seconds, before = _compare(way, old_way)
    detail = f"{seconds:.2f} s, {before:.2f} s before; median of {ROUNDS} rounds"
    figures.at_least(ROW, f"{what}, against the way before", ratio, bar, "×", case=case, detail=detail)


def _compare(way: Callable[[], object], old_way: Callable[[], object]) -> tuple[float, float, float]:
    """Return how many times sooner an answer comes, and its seconds both ways, in turns; it is the same both ways."""
    times: list[tuple[float, float]] = []
    # nor is what other tests made gone through, as in a command of its own
    with rare_collections():
        for _ in range(ROUNDS):
            seconds, answer = _timed(way)
            with old_ways.put_in():
                before, old_answer = _timed(old_way)
            assert answer == old_answer
            times.append((seconds, before))
    ratio = statistics.median(before / seconds for seconds, before in times)
    return ratio, *(statistics.median(own) for own in zip(*times, strict=True))


def _timed(way: Callable[[], object]) -> tuple[float, object]:
    begun = time.perf_counter()
    answer = way()
    return time.perf_counter() - begun, answer
