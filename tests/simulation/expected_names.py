"""What `where` and `resolve` have to answer about an image name, in the contract's words (3.8)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.simulation.expected_knowledge import (
    away_at,
    held_since,
    key_of,
    last_good_at,
    name_of,
    newest,
    reason_at,
    reason_since,
)
from tests.simulation.expected_rows import Row, Selection, Spelled, name_fits, pasts_of, place, wants_image
from tests.simulation.model import Spot
from tests.simulation.oracle import Oracle
from tests.simulation.past import Past, Span, normalised

# --- where -----------------------------------------------------------------------------------------------------------


def image_names(oracle: Oracle, wanted: str) -> set[str]:
    """Return the normalised names that *wanted* means: the name itself, those of an id, or those that fit a glob."""
    spans = [span for past in oracle.pasts.values() for span in past.spans if key_of(span)]
    exact = {key_of(span) for span in spans if key_of(span) == normalised(wanted)}
    of_id = {key_of(span) for span in spans if span.key.image_id == wanted}
    return exact or of_id or {key_of(span) for span in spans if name_fits(name_of(span), wanted)}


def expected_where(
    oracle: Oracle, name: str, at: datetime, selection: Selection, *, include_retired: bool
) -> list[Row]:
    """Return where a name was present, withdrawn, never or nobody knows; per image set where several list it."""
    rows: list[Row] = []
    for spot, past in pasts_of(oracle, selection).items():
        if away_at(past, at) and not include_retired:
            continue
        for key in sorted(image_names(oracle, name)):
            spans = [
                span
                for span in past.spans
                if key_of(span) == key and span.valid_from <= at and wants_image(selection, *span.key, [name_of(span)])
            ]
            sets = sorted({span.key.image_set for span in spans})
            rows += [_where_row(spot, past, [s for s in spans if s.key.image_set == name], at) for name in sets] or [
                _nowhere(spot, past, key, at)
            ]
    return rows


def _nowhere(spot: Spot, past: Past, key: str, at: datetime) -> Row:
    reason = reason_at(past, at)
    return {
        **place(spot),
        "image_set": None,
        "key": key,
        "image_name": Spelled(key),
        "image_id": None,
        "state": "unknown" if reason else "never",
        "reason": reason,
        "since": reason_since(past, at),
        "previous_ids": [],
        "observed_at": last_good_at(past, at),
    }


def _where_row(spot: Spot, past: Past, spans: list[Span], at: datetime) -> Row:
    """Return one name in one set: *spans* are those that began by *at*."""
    ends = {id(span): span.valid_to if span.valid_to and span.valid_to <= at else None for span in spans}
    opened = [span for span in spans if ends[id(span)] is None]
    held = [held_since(past, span.key, at) for span in opened]
    is_asked = not away_at(past, at)
    is_held = bool(opened) and all(held) and is_asked
    reason = "held" if is_held else reason_at(past, at)
    sure = [span for span, since in zip(opened, held, strict=True) if not (since and is_asked)]
    last = _newest_id(spans, sure or opened, ends)
    state = "unknown" if reason else "present" if opened else "withdrawn"
    since: Any = {"present": _unbroken(spans, ends), "withdrawn": max((e for e in ends.values() if e), default=None)}
    if state == "unknown":
        since[state] = max(h for h in held if h) if is_held else reason_since(past, at)
    first = {span.key.image_id: span.valid_from for span in reversed(spans)}
    return {
        **place(spot),
        "image_set": spans[0].key.image_set,
        "key": key_of(spans[0]),
        "image_name": Spelled(key_of(spans[0])),
        "image_id": last,
        "state": state,
        "reason": reason,
        "since": since[state],
        "previous_ids": sorted(first.keys() - {last}, key=lambda image_id: (first[image_id], image_id)),
        "present_since": _unbroken(spans, ends) if opened else None,
        "first_seen_at": min(span.valid_from for span in spans),
        "observed_at": last_good_at(past, at),
        "also_open": _also_open(spans, opened, last),
    }


_Ends = dict[int, datetime | None]


def _since_of(spans: Collection[Span]) -> datetime:
    """Return the start of the last unbroken presence of one id, under whatever name."""
    return max(spans, key=lambda span: span.valid_from).since


def _own(spans: list[Span], image_id: str) -> list[Span]:
    return [span for span in spans if span.key.image_id == image_id]


def _newest_id(spans: list[Span], opened: list[Span], ends: _Ends) -> str:
    """Return the id that came last of those *opened*; where there is none, the one that was there last."""
    if opened:
        return _by_age(spans, opened)[-1]
    last = max(end for end in ends.values() if end)
    return _by_age(spans, [span for span in spans if ends[id(span)] == last])[-1]


def _by_age(spans: list[Span], wanted: list[Span]) -> list[str]:
    """Return the ids of *wanted*, the one that came first first."""
    ids = {span.key.image_id for span in wanted}
    return sorted(ids, key=lambda image_id: (_since_of(_own(spans, image_id)), image_id))


def _also_open(spans: list[Span], opened: list[Span], last: str) -> list[str]:
    return [image_id for image_id in _by_age(spans, opened) if image_id != last]


def _unbroken(spans: list[Span], ends: _Ends) -> datetime:
    """Return since when the name is there without a break, whichever ids it has had."""
    reached: datetime | None = None
    since = min(span.valid_from for span in spans)
    is_open = False
    for span in sorted(spans, key=lambda span: span.valid_from):
        if reached is not None and not is_open and span.valid_from > reached:
            since = span.valid_from
        end = ends[id(span)]
        is_open = is_open or end is None
        reached = end if reached is None or (end is not None and end > reached) else reached
    return since


# --- resolve ---------------------------------------------------------------------------------------------------------

DONE, NO, USAGE, AMBIGUOUS, UNKNOWN = 0, 1, 2, 7, 8


@dataclass(frozen=True)
class _At:
    """What one target says: an image, or the exit code of why not."""

    code: int
    span: Span | None = None
    observed_at: datetime | None = None


def expected_resolve(
    oracle: Oracle,
    zone: str,
    name: str,
    *,
    now: datetime,
    gpu: bool,
    max_age: timedelta,
    selection: Selection,
) -> tuple[int, list[Row]]:
    """Return the exit code, and the one image to use where there is one."""
    image_set = selection.get("image_set", ("ImageSet",))
    spots = pasts_of(oracle, {**selection, "zone": (zone,)})
    if not spots:
        return USAGE, []
    asked = {spot: past for spot, past in spots.items() if not away_at(past, now)} or spots
    found = {spot: _at(past, name, image_set, now, gpu, max_age) for spot, past in asked.items()}
    answers = {spot: at for spot, at in found.items() if at.span}
    ids = {at.span.key.image_id for at in answers.values() if at.span}
    if len(ids) > 1:
        return AMBIGUOUS, []
    if not ids:
        codes = {at.code for at in found.values()}
        return next(code for code in (AMBIGUOUS, UNKNOWN, NO) if code in codes), []
    doubts = [at.code for spot, at in found.items() if at.code > NO and _last_known(asked[spot], name, image_set) - ids]
    if doubts:
        return doubts[0], []
    spot, best = max(answers.items(), key=lambda item: item[1].observed_at or now)
    assert best.span is not None
    row = {
        "image_id": best.span.key.image_id,
        "image_name": Spelled(key_of(best.span)),
        "region": spot.region,
        "zone": spot.zone,
        "observed_at": best.observed_at,
    }
    return DONE, [row]


def _open_at(past: Past, image_set: Collection[str]) -> list[Span]:
    return [s for s in past.spans if s.valid_to is None and wants_image({"image_set": tuple(image_set)}, *s.key, [])]


def _at(past: Past, name: str, image_set: Collection[str], now: datetime, gpu: bool, max_age: timedelta) -> _At:
    """Ask one target: the newest open image of the name, never one on hold, never of two that came together."""
    good_at = last_good_at(past, now)
    if away_at(past, now) or good_at is None or now - good_at > max_age:
        return _At(UNKNOWN)
    images = _open_at(past, image_set)
    called = [span for span in images if key_of(span) == normalised(name)]
    if not called:
        called = [span for span in images if name_fits(name_of(span), name)]
        if len({key_of(span) for span in called}) > 1:
            return _At(AMBIGUOUS)
    fitting = [span for span in called if not gpu or span.stated.get("gpu") is True]
    if not fitting:
        return _At(UNKNOWN if any("gpu" not in span.stated for span in called) else NO)
    last = newest(fitting)
    if len({span.key.image_id for span in last}) > 1:
        return _At(AMBIGUOUS)
    return _At(UNKNOWN) if held_since(past, last[0].key, now) else _At(DONE, last[0], good_at)


def _last_known(past: Past, name: str, image_set: Collection[str]) -> set[str]:
    """Return the newest ids of the name as far as anybody knows."""
    return {s.key.image_id for s in newest(s for s in _open_at(past, image_set) if name_fits(name_of(s), name))}
