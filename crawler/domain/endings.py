"""
Images whose maintenance ends: when somebody is told, and how long before. Pure.

A notice is due 90, 30 and 7 days before the day that the cloud states, once each. Of an image that was there before
anyone looked, what was due by then is no news: only whoever depends on it is told.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from crawler.domain.kinds import KINDS
from crawler.domain.rows import ImageRow
from crawler.domain.values import read_day

#: The field that says when an image's maintenance ends.
ENDS = "maintain_eol"
#: The cloud's name of it, where the kind of an image declares no such field.
_ENDS_THERE = "MaintainEol"
#: Days before the end at which a notice is due; the first is also how long before `check` warns.
NOTICE_DAYS = (90, 30, 7)
#: The kinds whose things may end.
ENDING_KINDS = frozenset(kind.name for kind in KINDS.values() if any(spec.name == ENDS for spec in kind.fields))


def end_of(row: ImageRow) -> date | None:
    """Return the day on which the maintenance of an image ends; None where the cloud states none."""
    stated = row.attributes.get(ENDS) or (row.attributes.get("extra") or {}).get(_ENDS_THERE)
    return read_day(stated) if isinstance(stated, str) else None


def end_soon(row: ImageRow, now: datetime) -> date | None:
    """Return the day on which an image ends where that is in 90 days at most, or over; None: later, or not stated."""
    end = end_of(row)
    is_soon = end is not None and (end - now.astimezone(UTC).date()).days <= NOTICE_DAYS[0]
    return end if is_soon else None


def days_left(row: ImageRow, now: datetime) -> int | None:
    """Return in how many days an image ends, 90 at most; None where that is later, over, or unknown."""
    end = end_of(row)
    days = None if end is None else (end - now.astimezone(UTC).date()).days
    return days if days is not None and 0 <= days <= NOTICE_DAYS[0] else None


def notice_of(row: ImageRow, now: datetime, *, is_pinned: bool) -> int | None:
    """Return the last notice of an image, by its days, that was due by *now*; None where none was, or it is no news."""
    end, left = end_of(row), days_left(row, now)
    if end is None or left is None:
        return None
    notice = min(days for days in NOTICE_DAYS if left <= days)
    due_at = datetime.combine(end - timedelta(days=notice), time(), UTC)
    is_old = row.baseline and due_at <= row.valid_from
    return None if is_old and not is_pinned else notice
