"""
When a digest is due: after every run, daily, or weekly, at a time of day in a named time zone. Pure.

A time that the clocks skip falls as much later; of one that they repeat, the first counts.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from crawler.report.values import When

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WHEN = re.compile(rf"(?:daily|weekly (?P<day>{'|'.join(WEEKDAYS)})) (?P<hour>\d\d?):(?P<minute>\d\d)")


def parse_when(text: str) -> When:
    """Read `every-run`, `daily 09:00` or `weekly mon 09:00`; raise ValueError saying what is wrong."""
    words = " ".join(text.lower().split())
    if words == "every-run":
        return When()
    match = _WHEN.fullmatch(words)
    if not match or int(match["hour"]) > 23 or int(match["minute"]) > 59:
        raise ValueError('must be "every-run", "daily 09:00" or "weekly mon 09:00"')
    day = match["day"]
    return When(
        at=time(int(match["hour"]), int(match["minute"])), weekday=WEEKDAYS.index(day) if day is not None else None
    )


def show_when(when: When) -> str:
    """Write *when* as `parse_when` reads it."""
    if when.at is None:
        return "every-run"
    lead = "daily" if when.weekday is None else f"weekly {WEEKDAYS[when.weekday]}"
    return f"{lead} {when.at:%H:%M}"


def is_due(when: When, zone: ZoneInfo, *, last: datetime | None, now: datetime) -> bool:
    """Tell whether a whole digest is due at *now*; *last* is when one was found due before (None: never)."""
    if when.at is None or last is None:
        return True
    return latest_slot(when, zone, now) > last


def latest_slot(when: When, zone: ZoneInfo, now: datetime) -> datetime:
    """Give the last instant at or before *now* at which *when* falls; *now* itself for every run."""
    if when.at is None:
        return now.astimezone(UTC)
    day = now.astimezone(zone).date()
    while True:
        slot = _instant(day, when.at, zone)
        if slot <= now and when.weekday in (None, day.weekday()):
            return slot
        day -= timedelta(days=1)


def _instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, at, tzinfo=zone).astimezone(UTC)
