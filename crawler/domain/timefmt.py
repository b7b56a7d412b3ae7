"""
Times and durations as people write and read them: ISO 8601, dates and ages in; one configured time zone out.

Pure: the present and the zone are arguments. Everything inside the program is aware UTC (`model.py`); this is the edge.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from crawler.errors import UsageError

#: A month has 30 days and a year 365, whichever are meant: a duration is the same at any time.
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "mo": 2_592_000, "y": 31_536_000}
_PART = re.compile(r"(\d+(?:\.\d+)?)(mo|[smhdwy])", re.ASCII)
_DURATION = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
#: A thousand years: any time that is so long before or after the present can still be written.
_LONGEST = timedelta(days=365_000)
_HOW = "use 2026-06-01, 2026-06-01T12:00+08:00, or an age such as 90m, 7d, 2w, 6mo, 2y"
#: What a column shows where there is no time.
NO_TIME = "-"


def parse_duration(text: str) -> timedelta:
    """Read `90m`, `26h`, `7d`, `2w`, `6mo`, `2y` or `1d12h`; raise ValueError saying what is wrong."""
    stripped = text.strip().lower()
    if not _DURATION.fullmatch(stripped):
        raise ValueError("is no duration; write a number and s, m, h, d, w, mo or y, such as 90m, 26h, 7d, 6mo")
    try:
        return _length(stripped)
    except OverflowError:
        raise ValueError("is longer than any history") from None


def _length(text: str) -> timedelta:
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if seconds > _LONGEST.total_seconds():
        raise OverflowError
    return timedelta(seconds=seconds)


def show_duration(duration: timedelta) -> str:
    """Write *duration* in the largest unit that says it exactly, as `parse_duration` reads it: `26h`, `90s`, `2w`."""
    seconds = duration.total_seconds()
    unit = next((unit for unit in ("w", "d", "h", "m") if seconds and seconds % _UNITS[unit] == 0), "s")
    number = f"{seconds / _UNITS[unit]:.6f}".rstrip("0").rstrip(".")
    return f"{number}{unit}"


def parse_moment(text: str, *, now: datetime, zone: tzinfo) -> datetime:
    """
    Read an ISO 8601 time, a date (its first instant) or an age before *now*; give it in UTC.

    A time without an offset is meant in *zone*; where clocks are put back it is the earlier of the two. Raises
    UsageError, in one sentence, for what is no time at all, and for a time that *zone* skipped.
    """
    stripped = text.strip()
    words: dict[str, Callable[[], datetime]] = {
        "now": lambda: now,
        "today": lambda: _midnight(now.astimezone(zone).date(), zone),
        "yesterday": lambda: _midnight(now.astimezone(zone).date() - timedelta(days=1), zone),
    }
    try:
        if stripped.lower() in words:
            return words[stripped.lower()]().astimezone(UTC)
        if _DURATION.fullmatch(stripped.lower()):
            return (now - _length(stripped.lower())).astimezone(UTC)
        return _parse_iso(stripped, zone)
    except OverflowError:
        raise UsageError(f"{stripped!r} is too far away to be a time") from None
    except ValueError as exc:
        raise UsageError(f"{stripped!r} is no time: {_reason(stripped, exc)}") from None


def _parse_iso(text: str, zone: tzinfo) -> datetime:
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return _midnight(date.fromisoformat(text), zone)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        return moment.astimezone(zone).astimezone(UTC)  # in which it is told; the first year is not whole in each
    meant = moment.replace(tzinfo=zone).astimezone(UTC)
    if meant.astimezone(zone).replace(tzinfo=None) != moment:
        raise ValueError(f"the clocks of {zone_name(zone)} skipped it; add an offset, as in {text}Z")
    return meant


def _midnight(day: date, zone: tzinfo) -> datetime:
    # Where the clocks skip midnight, the round trip gives the first instant that exists.
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


def _reason(text: str, exc: ValueError) -> str:
    message = str(exc)
    if message.startswith("month must") and not re.match(r"\d{4}-\d{2}", text):
        return _HOW  # bare digits, which are rather meant for something else
    return _HOW if message.startswith(("Invalid ", "offset must")) else message


def zone_name(zone: tzinfo) -> str:
    """Return the name of *zone* as headers and mails show it: `Asia/Shanghai`, `UTC`."""
    return str(zone)


def show_moment(moment: datetime | None, zone: tzinfo, *, seconds: bool = True) -> str:
    """Write *moment* in *zone*, to the second or the minute, without the zone: the header names it once."""
    if moment is None:
        return NO_TIME
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def tell_moment(moment: datetime, zone: tzinfo) -> str:
    """Write *moment* for a sentence, in *zone* and with its name: `2026-11-23 19:04:02 (Asia/Shanghai)`."""
    return f"{show_moment(moment, zone)} ({zone_name(zone)})"


def titled(title: str, zone: tzinfo) -> str:
    """Return the heading of a column of times, the zone named: `SINCE (Asia/Shanghai)`."""
    return f"{title} ({zone_name(zone)})"
