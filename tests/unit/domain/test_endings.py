"""When somebody is told that the maintenance of an image ends."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from crawler.domain.endings import days_left, end_soon, notice_of
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
