"""
Who wants to be notified of what and when: the values of a `[[reports]]` table, and how their texts are read. Pure.

A time of day that the clocks skip falls as much later; of one that they repeat, the first counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from crawler.domain.filters import Filters
from crawler.domain.models import EventWord

Language = Literal["en", "zh"]

Urgency = Literal["pins"]

DEFAULT_PATIENCE = timedelta(hours=1)
#: Said where a report is configured, and where it is sent.
APPRISE_MISSING = (
    "the channel apprise needs a package that is not installed: pip install 'ucloud-image-crawler[apprise]'"
)


#: Stands in `pins_from` for the node groups of the cloud.
LIVE = "live"


class Pin(NamedTuple):
    """An image id that somebody depends on in a zone; an empty one: wherever it lives."""

    zone: str
    image_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """After every run, or at a time of day, or at that time on one weekday; in the subscription's time zone."""

    #: None: after every run.
    at: time | None = None
    #: 0 is Monday; None: every day.
    weekday: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch(Filters):
    """What of the history a subscription is about."""

    event: tuple[EventWord, ...] = ()
    #: Only images that take a GPU (True) or that do not (False); what is unknown fits both.
    gpu: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """One `[[reports]]`: what to watch, how to tell it, and when."""

    name: str
    timezone: ZoneInfo
    language: Language = "en"
    when: When = When()
    watch: Watch = Watch()
    pins: tuple[Pin, ...] = ()
    #: Every file in which more of them stand could be read; else nothing is known of those that were told before.
    has_all_pins: bool = True
    #: What does not wait for `when`.
    urgent: tuple[Urgency, ...] = ("pins",)
    #: Whether there is a digest when there is no news.
    empty: bool = False
    #: How long a target may stay unobserved before that alone is news.
    patience: timedelta = DEFAULT_PATIENCE
    #: Where the web page is published, for a link to it.
    page_url: str | None = None


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
    """Return whether a whole digest is due at *now*; *last* is when one was found due before (None: never)."""
    if when.at is None or last is None:
        return True
    return latest_slot(when, zone, now) > last


def latest_slot(when: When, zone: ZoneInfo, now: datetime) -> datetime:
    """Return the last instant at or before *now* at which *when* falls; *now* itself for every run."""
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


_LIKE_AN_ID = re.compile(r"(?:u?image|bsi)-", re.IGNORECASE)
_PAIR = re.compile(r"(?P<zone>[^\s*?\[\]]+)\s+(?P<image_id>[^\s*?\[\]]+)")


def parse_pin(text: str) -> Pin:
    """Read `hk-02 uimage-vareox`; raise ValueError saying what is wrong."""
    match = _PAIR.fullmatch(text.strip())
    if not match:
        raise ValueError('must be a zone and an image id, as in "hk-02 uimage-vareox"')
    if _LIKE_AN_ID.match(match["zone"]) and not _LIKE_AN_ID.match(match["image_id"]):
        raise ValueError(f'has the zone and the image id in each other\'s place: write "{match[2]} {match[1]}"')
    return Pin(zone=match["zone"], image_id=match["image_id"])


def pin_lines(text: str) -> Iterator[tuple[int, str]]:
    """Return the lines of a file of pins that hold one, with their numbers; `#` begins a comment."""
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.partition("#")[0].strip()
        if stripped:
            yield number, stripped
