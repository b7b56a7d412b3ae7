"""When somebody is told that the maintenance of an image ends."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from crawler.domain.endings import days_left, end_of, end_soon, notice_of
from crawler.domain.models import Target
from crawler.domain.rows import ImageRow

TARGET = Target("prod", "org-a", "hk", "hk-02", "uhost-image")
BEGAN = datetime(2026, 1, 10, 8, tzinfo=UTC)


def image(ends: object = "2026-06-30", *, baseline: bool = True, since: datetime = BEGAN) -> ImageRow:
    return ImageRow(
        TARGET, "Base", "uimage-a", {"maintain_eol": ends}, since, since, baseline, None, "present", None, since
    )


@pytest.mark.parametrize(
    ("day", "left", "notice"),
    [
        ("2026-03-31", None, None),
        ("2026-04-01", 90, 90),
        ("2026-05-30", 31, 90),
        ("2026-05-31", 30, 30),
        ("2026-06-22", 8, 30),
        ("2026-06-23", 7, 7),
        ("2026-06-30", 0, 7),
        ("2026-07-01", None, None),
    ],
)
def test_notices(day: str, left: int | None, notice: int | None) -> None:
    """Notices are due 90, 30 and 7 days before the day on which it ends, and none after it."""
    now = datetime.fromisoformat(f"{day}T12:00Z")

    assert days_left(image(), now) == left
    assert notice_of(image(), now, is_pinned=False) == notice


@pytest.mark.usefixtures("far_east")
def test_days_are_those_of_utc() -> None:
    """A day ends with that of UTC, wherever the machine stands and however the moment is written."""
    late = datetime(2026, 3, 31, 23, tzinfo=UTC)

    for now in (late, late.astimezone(timezone(timedelta(hours=8)))):
        assert (days_left(image(), now), end_soon(image(), now)) == (None, None)
        assert days_left(image(), now + timedelta(hours=1)) == 90
        assert end_soon(image(), now + timedelta(hours=1)) == date(2026, 6, 30)


def test_baseline() -> None:
    """What was due when it was first looked at is told of a pinned image alone, and of one that came later."""
    soon = (BEGAN + timedelta(days=20)).date().isoformat()
    later = BEGAN + timedelta(days=14)

    assert notice_of(image(soon), BEGAN, is_pinned=False) is None
    assert notice_of(image(soon), BEGAN, is_pinned=True) == 30
    assert notice_of(image(soon, baseline=False), BEGAN, is_pinned=False) == 30
    assert notice_of(image(soon), later, is_pinned=False) == 7


@pytest.mark.parametrize("ends", [None, "", "soon", 20260630, "2026-02-31"])
def test_no_day(ends: object) -> None:
    """A day that is none ends nothing."""
    assert notice_of(image(ends), BEGAN, is_pinned=True) is None
    assert end_soon(image(ends), BEGAN) is None


def test_soon() -> None:
    """It ends soon from 90 days before on, and when it is over; the cloud's own name and form of the day count too."""
    named = image()._replace(attributes={"extra": {"MaintainEol": "2026/6/30"}})
    for row in (image(), named):
        found = [end_soon(row, BEGAN.replace(month=month, day=1)) for month in (3, 4, 12)]
        assert found == [None, date(2026, 6, 30), date(2026, 6, 30)]


def test_whose_name_of_the_day_counts() -> None:
    """The field wins over the cloud's own name of it, which counts where the field is empty; extras may be missing."""
    row = image()
    both = row._replace(attributes={"maintain_eol": "2026-06-30", "extra": {"MaintainEol": "2027-01-01"}})
    empty = row._replace(attributes={"maintain_eol": "", "extra": {"MaintainEol": "2027-01-01"}})

    assert (end_of(both), end_of(empty)) == (date(2026, 6, 30), date(2027, 1, 1))
    assert end_of(row._replace(attributes={"extra": None})) is None
    assert end_of(row._replace(attributes={})) is None


def test_limits_in_utc() -> None:
    """Days are those of UTC; it ends soon from 90 days before on, and what began with its notice is old."""
    ahead = timezone(timedelta(hours=8))

    assert end_soon(image(), datetime(2026, 4, 1, tzinfo=UTC)) == date(2026, 6, 30)
    assert end_soon(image(), datetime(2026, 3, 31, 23, tzinfo=UTC)) is None
    assert end_soon(image(), datetime(2026, 4, 1, 7, tzinfo=ahead)) is None
    assert days_left(image(), datetime(2026, 4, 1, 7, tzinfo=ahead)) is None
    due_at = datetime(2026, 5, 31, tzinfo=UTC)
    assert notice_of(image(since=due_at), due_at, is_pinned=False) is None
    assert notice_of(image(since=due_at - timedelta(seconds=1)), due_at, is_pinned=False) == 30
