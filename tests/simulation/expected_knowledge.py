"""
How well a moment is known: the contract's words (3.9) over the oracle's plain lists. Every answer rests on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from tests.simulation.model import Key
from tests.simulation.past import Away, Past, Seen, Span, normalised

STALE_AFTER = timedelta(hours=26)
#: Observations that say something about the images.
GOOD = ("ok", "held")


@dataclass(frozen=True)
class Within:
    """Any moment between two, both included; the contract does not say which."""

    first: datetime
    last: datetime


def seen_by(past: Past, at: datetime) -> list[Seen]:
    """Return the observations of a target whose run had ended by *at*."""
    return [seen for seen in past.observations if seen.ended_at <= at]


def last_good_at(past: Past, at: datetime) -> datetime | None:
    """Return the end of the last run by *at* that observed the target well."""
    return max((seen.ended_at for seen in seen_by(past, at) if seen.outcome in GOOD), default=None)


def away_at(past: Past, at: datetime) -> Away | None:
    """Return why the target was not asked at *at*; None: it was."""
    return next((away for away in past.aways if away.start <= at and (away.end is None or at < away.end)), None)


def reason_at(past: Past, at: datetime, stale_after: timedelta = STALE_AFTER) -> str | None:
    """Tell why a target's images were unknown at *at*; None: they were known. Holds come in per image."""
    if away := away_at(past, at):
        return away.reason
    seen = seen_by(past, at)
    if seen and seen[-1].outcome not in GOOD:
        return seen[-1].outcome
    good_at = last_good_at(past, at)
    if good_at is None:
        return "never_observed"
    return "stale" if at - good_at > stale_after else None


def image_reason_at(past: Past, key: Key, at: datetime, stale_after: timedelta = STALE_AFTER) -> str | None:
    """Tell why one image was unknown: a hold says more than the target's outcome, and less than its absence."""
    is_held = held_since(past, key, at) is not None and away_at(past, at) is None
    return "held" if is_held else reason_at(past, at, stale_after)


def held_since(past: Past, key: Key, at: datetime) -> datetime | None:
    """Return since when an image was on hold at *at*."""
    return next(
        (
            doubt.held_at
            for doubt in past.doubts
            if key in doubt.keys and doubt.held_at <= at and (doubt.ended_at is None or at < doubt.ended_at)
        ),
        None,
    )


def streak(past: Past, at: datetime) -> list[Seen]:
    """Return the last observations by *at* that all had the same outcome, the newest first."""
    seen = seen_by(past, at)[::-1]
    return list(takewhile(lambda one: one.outcome == seen[0].outcome, seen))


def outcome_since(past: Past, at: datetime) -> Within | None:
    """Return since when the last outcome is so: it came in the run that began its streak."""
    same = streak(past, at)
    return Within(same[-1].started_at, same[-1].ended_at) if same else None


def reason_since(past: Past, at: datetime) -> Within | datetime | None:
    """Return since when a target is unknown for the reason it is unknown for at *at*."""
    if away := away_at(past, at):
        return away.start
    good_at = last_good_at(past, at)
    match reason_at(past, at):
        case "stale":
            return good_at + STALE_AFTER if good_at else None
        case None | "never_observed":
            return None
    return outcome_since(past, at)


def valid_at(past: Past, at: datetime) -> list[Span]:
    """Return the versions that count as there at *at*."""
    return [span for span in past.spans if span.valid_from <= at and (span.valid_to is None or at < span.valid_to)]


def name_of(span: Span) -> str:
    """Return the name of an image, empty where nobody stated one."""
    return str(span.stated.get("image_name") or "")


def key_of(span: Span) -> str:
    """Return what counts of its name."""
    return normalised(name_of(span))


def attributes(span: Span) -> dict[str, Any]:
    """Return what is known of an image, as the JSON of `images` has it: unknown fields within `extra`."""
    known = {name: value for name, value in span.stated.items() if not name.startswith("extra.")}
    return known | {"extra": {name[6:]: value for name, value in span.stated.items() if name.startswith("extra.")}}


def newest(spans: Iterable[Span]) -> list[Span]:
    """Return the images that came last; several where they came together."""
    every = list(spans)
    return [span for span in every if span.since == max(one.since for one in every)]


def successors(span: Span, valid: Iterable[Span]) -> list[str]:
    """Return the newest of those that came later under the same name; several where they came together."""
    if not key_of(span):
        return []
    same = [one for one in valid if one.key.image_set == span.key.image_set and key_of(one) == key_of(span)]
    return [one.key.image_id for one in newest(one for one in same if one.since > span.since)]


def successor(span: Span, valid: Iterable[Span]) -> str | None:
    """Return what came last, later under the same name; None when several came together."""
    last = successors(span, valid)
    return last[0] if len(last) == 1 else None
