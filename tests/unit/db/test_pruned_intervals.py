"""Which intervals from before the kept window stay, for the cases that random histories meet seldom."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from crawler.db.pruned_intervals import Row, Sifted, sift
from crawler.domain.models import END_OF_TIME, ImageKey
from tests.support.answers import NOON

#: The window begins at day 10.
BEFORE = NOON + timedelta(days=10)


def day(number: float | None) -> datetime:
    return END_OF_TIME if number is None else NOON + timedelta(days=number)


def stay(number: int, begins: float, ends: float | None, image_id: str = "a", **more: Any) -> Row:
    values = {"image_name": "Ubuntu", "name_key": "ubuntu", "gpu": None, "closed_run_id": number, "baseline": False}
    return Row(number, ImageKey("ImageSet", image_id), valid_from=day(begins), valid_to=day(ends), **values | more)


def kept(rows: list[Row]) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the intervals that stay, and those that were folded as `(first, last)`."""
    sifted: Sifted = sift(rows, BEFORE)
    left = {row.interval_id for row in rows} - set(sifted.gone)
    return sorted(left), sorted((fold.first.interval_id, fold.last.interval_id) for fold in sifted.folds)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # gone for ever: it stays withdrawn
        ([stay(1, 0, 1)], ([1], [])),
        # there at the beginning of the window: nothing else is asked of it
        ([stay(1, 0, None)], ([1], [])),
        # came and went: the first and the last presence
        ([stay(1, 0, 1), stay(2, 2, 3), stay(3, 4, 5), stay(4, 6, 7)], ([1, 4], [])),
        # the last presence lies in the window: the one before it still has to be withdrawn at its beginning
        ([stay(1, 0, 1), stay(2, 2, 3), stay(3, 4, 5)], ([1, 3], [])),
        # changed: of what was before, that it was there
        ([stay(1, 0, 1), stay(2, 1, 2), stay(3, 2, 3), stay(4, 3, None)], ([1, 4], [(1, 3)])),
        # changed and went: the last stay as it is
        ([stay(1, 0, 1), stay(2, 1, 2), stay(3, 2, 3)], ([1, 3], [(1, 2)])),
        # one id took the place of the other again and again, without a break: the name was there all the time
        (
            [stay(1, 0, 1), stay(2, 1, 2, "b"), stay(3, 2, 3), stay(4, 3, 4, "b"), stay(5, 4, None)],
            ([1, 2, 3, 4, 5], []),
        ),
        # the same with a break: what lies before it is not asked for, but for the first of each
        (
            [stay(1, 0, 1), stay(2, 1, 2, "b"), stay(3, 2, 3), stay(4, 4, 5, "b"), stay(5, 5, None)],
            ([1, 2, 4, 5], []),
        ),
        # another id was there all along: so was the name
        ([stay(1, 0, 1), stay(2, 2, 3), stay(3, 4, 5), stay(4, 0, None, "b")], ([1, 3, 4], [])),
        # folded only where the name is written the same, and the GPU is as it was
        ([stay(1, 0, 1), stay(2, 1, 2, image_name="UBUNTU"), stay(3, 2, None)], ([1, 2, 3], [])),
        ([stay(1, 0, 1, gpu=True), stay(2, 1, 2, gpu=False), stay(3, 2, None)], ([1, 2, 3], [])),
        # under two names: the last of each
        (
            [stay(1, 0, 1), stay(2, 1, 2, image_name="Rocky", name_key="rocky"), stay(3, 2, None)],
            ([1, 2, 3], []),
        ),
        # it supported a GPU once, in no presence that is kept otherwise
        ([stay(1, 0, 1), stay(2, 2, 3, gpu=True), stay(3, 4, 5), stay(4, 6, 7, gpu=False)], ([1, 2, 4], [])),
        # one that is kept supported it: the others of then say nothing more
        ([stay(1, 0, 1, gpu=True), stay(2, 2, 3, gpu=True), stay(3, 4, 5), stay(4, 6, 7, gpu=False)], ([1, 4], [])),
        # came and went under two names: the first and the last presence of each
        (
            [stay(n, 2 * n, 2 * n + 1, name_key="rocky" if n > 2 else "ubuntu") for n in (0, 1, 2, 3, 4)],
            ([0, 2, 3, 4], []),
        ),
        # ended and began at the very beginning of the window
        ([stay(1, 0, 10), stay(2, 10, 11)], ([1, 2], [])),
    ],
)
def test_what_stays(rows: list[Row], expected: tuple[list[int], list[tuple[int, int]]]) -> None:
    """Each case is told beside it."""
    assert kept(rows) == expected


def test_which_changes_stay() -> None:
    """Kept are the changes that tell how a kept stay ended, and how what reaches into the window began."""
    rows = [stay(1, 0, 1), stay(2, 2, 3), stay(3, 4, 5), stay(4, 6, None), stay(5, 0, None, "b", baseline=True)]
    told = {(key.image_id, at) for key, at in sift(rows, BEFORE).logged}
    assert told == {("a", day(1)), ("a", day(6))}
