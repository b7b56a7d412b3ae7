"""What `diff` and `compare` have to answer: two moments, or two zones, side by side; the unknown is no difference."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.simulation.expected_knowledge import (
    attributes,
    away_at,
    image_reason_at,
    key_of,
    name_of,
    newest,
    reason_at,
    valid_at,
)
from tests.simulation.expected_rows import Part, Row, Selection, Spelled, pasts_of, place, wants_image
from tests.simulation.model import Key
from tests.simulation.oracle import Oracle
from tests.simulation.past import Past, Span

Stand = tuple[str, str | None]
"""`present`, `absent` or `unknown`, and why unknown."""


def stand(past: Past | None, span: Span | None, at: datetime) -> Stand:
    """Tell how an image stood at *at*, given its version there, if it had one."""
    if past is None:
        return "unknown", "never_observed"
    reason = image_reason_at(past, span.key, at) if span else reason_at(past, at)
    return ("unknown", reason) if reason else ("present" if span else "absent", None)


def changed(first: Mapping[str, Any], second: Mapping[str, Any], but: Collection[str]) -> dict[str, list[Any]]:
    """Return the fields that both state, and differently."""
    return {
        name: [first[name], second[name]]
        for name in first.keys() & second.keys() - set(but)
        if first[name] != second[name]
    }


# --- two moments -----------------------------------------------------------------------------------------------------


@dataclass
class _Sides:
    """One target at two moments."""

    past: Past
    first: datetime
    second: datetime

    def __post_init__(self) -> None:
        self.before = {span.key: span for span in valid_at(self.past, self.first)}
        self.after = {span.key: span for span in valid_at(self.past, self.second)}

    @property
    def is_asked(self) -> bool:
        """The target was asked at either moment."""
        return not (away_at(self.past, self.first) and away_at(self.past, self.second))


def expected_diff(oracle: Oracle, first: datetime, second: datetime, selection: Selection) -> list[Row]:
    """Return what differs between two moments, and what cannot be compared."""
    return [
        {**place(spot), **row}
        for spot, past in pasts_of(oracle, selection).items()
        for row in _differences(_Sides(past, first, second), selection)
    ]


def _differences(sides: _Sides, selection: Selection) -> Iterator[dict[str, Any]]:
    if not sides.is_asked:
        return
    before, after = sides.before, sides.after
    for key in sorted(before.keys() | after.keys()):
        one, other = before.get(key), after.get(key)
        names = [name_of(span) for span in (one, other) if span]
        if not wants_image(selection, *key, names):
            continue
        stands = (stand(sides.past, one, sides.first), stand(sides.past, other, sides.second))
        fields = changed(one.stated, other.stated, ("zone_id",)) if one and other else {}
        event = _event(stands[0][0], stands[1][0])
        if event == "modified" and not fields:
            continue
        yield {
            "image_set": key.image_set,
            "image_id": key.image_id,
            "image_name": names[-1] or None,
            "event": event,
            "fields": fields if event == "modified" else {},
            "counterpart": _counterpart(sides, key, event),
            "first": stands[0][0],
            "second": stands[1][0],
            "first_reason": stands[0][1],
            "second_reason": stands[1][1],
        }


def _event(first: str, second: str) -> str:
    if "unknown" in (first, second):
        return "unknown"
    return {"presentabsent": "withdrawn", "absentpresent": "appeared"}.get(first + second, "modified")


def _counterpart(sides: _Sides, key: Key, event: str) -> str | None:
    """Return the one image of the name at the other moment, where this is the only one that came or went."""
    here, there = (sides.before, sides.after) if event == "withdrawn" else (sides.after, sides.before)
    if event not in ("withdrawn", "appeared") or not key_of(here[key]):
        return None

    def same(spans: Mapping[Key, Span]) -> set[Key]:
        return {k for k, s in spans.items() if k.image_set == key.image_set and key_of(s) == key_of(here[key])}

    others = same(there)
    is_only = same(here) - there.keys() == {key}
    return others.pop().image_id if is_only and len(others) == 1 else None


# --- two zones -------------------------------------------------------------------------------------------------------

#: Where one zone's image has them and another's its own, they still are the same image.
_OF_THE_ZONE = ("image_name", "zone_id", "extra")


def expected_compare(oracle: Oracle, first: str, second: str, at: datetime, selection: Selection) -> list[Row]:
    """Return two zones side by side, a row for the projects that are told the same."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    lanes = [
        {spot.project: past for spot, past in pasts_of(oracle, {**selection, "zone": (zone,)}).items()}
        for zone in (first, second)
    ]
    for project in sorted(lanes[0].keys() | lanes[1].keys()):
        pasts = (lanes[0].get(project), lanes[1].get(project))
        for row in _zone_rows(pasts, (first, second), at, selection):
            ids = [side and side.fields["image_id"] for side in (row["first"], row["second"])]
            same = (row["image_set"], row["image_name"], row["result"], row["reason"], *ids)
            rows.setdefault(same, {**row, "ids": ids, "projects": []})["projects"].append(f"prod/{project}")
    return list(rows.values())


def _zone_rows(
    pasts: tuple[Past | None, Past | None], zones: tuple[str, str], at: datetime, selection: Selection
) -> Iterator[dict[str, Any]]:
    sides = [_by_name(past, at, selection) for past in pasts]
    for image_set, name in sorted(sides[0].keys() | sides[1].keys()):
        spans = [side.get((image_set, name)) for side in sides]
        stands = [stand(past, span, at) for past, span in zip(pasts, spans, strict=True)]
        states = [state for state, _ in stands]
        fields: dict[str, Any] = {}
        if spans[0] and spans[1]:
            fields = changed(attributes(spans[0]), attributes(spans[1]), _OF_THE_ZONE)
        one = next(span for span in spans if span)
        yield {
            "image_set": image_set,
            "image_name": Spelled(name) if name_of(one) else None,
            "result": _result(states, fields),
            "first": _side(pasts[0], spans[0], zones[0], at),
            "second": _side(pasts[1], spans[1], zones[1], at),
            "fields": fields,
            "reason": stands[0][1] or stands[1][1],
        }


def _by_name(past: Past | None, at: datetime, selection: Selection) -> dict[tuple[str, str], Span]:
    """Return of each name the open image that came last; of several at once the one with the last id."""
    found: dict[tuple[str, str], list[Span]] = {}
    for span in valid_at(past, at) if past and not away_at(past, at) else ():
        if wants_image(selection, *span.key, [name_of(span)]):
            found.setdefault((span.key.image_set, key_of(span) or span.key.image_id), []).append(span)
    return {name: max(newest(spans), key=lambda span: span.key.image_id) for name, spans in found.items()}


def _result(states: list[str], fields: Mapping[str, Any]) -> str:
    if "unknown" in states:
        return "unknown"
    if "absent" in states:
        return "only_second" if states[0] == "absent" else "only_first"
    return "differs" if fields else "same"


def _side(past: Past | None, span: Span | None, zone: str, at: datetime) -> Part | None:
    if past is None or span is None:
        return None
    state, reason = stand(past, span, at)
    return Part(
        {
            "zone": zone,
            "image_id": span.key.image_id,
            "image_name": span.stated.get("image_name"),
            "gpu": span.stated.get("gpu"),
            # Projects that are told the same share a row; whose times it has is not said.
            "state": state,
            "reason": reason,
        }
    )
