"""
What happened to an image, everywhere and from the first day: its intervals, with the times in which nobody looked.

A gap is the time for which `images --at` answers `unknown`: from the end of the first run that did not observe the
target well to the end of the next that did, from `stale_after` past a good run when none followed, while withdrawals
wait on a hold, and while the target is not asked at all.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter, ne
from typing import Any, Literal

from crawler.domain.models import END_OF_TIME, UNSTATED_SET, ImageKey, Target
from crawler.domain.rows import ChangeRow, Gap, JsonRow, Reason, Stay, in_json, or_null


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """When one target was not known, by cause; each list is in order, without overlaps and gaps of no length."""

    #: Retired or deselected.
    absences: Sequence[Gap] = ()
    #: Denied, failed or skipped.
    troubles: Sequence[Gap] = ()
    #: Nobody looked for longer than `stale_after`.
    silences: Sequence[Gap] = ()
    #: A run that looked has ended.
    is_observed: bool = True

    def gaps(self, holds: Sequence[Gap] = ()) -> list[Gap]:
        """Return the gaps of an image that was on *holds* here: each moment once, with the reason that readers give."""
        return overlay(self.absences, holds, self.troubles, self.silences)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow(JsonRow):
    """One interval of an image at one target, with what is not known about it."""

    target: Target
    image_set: str
    image_id: str
    image_name: str = field(metadata=in_json(by=or_null, hint=str | None))
    valid_from: datetime
    #: None while it is open.
    valid_to: datetime | None
    #: It came after this, the last good observation before it; None for a baseline, which came at any time before.
    not_before: datetime | None
    #: Why it is unknown now.
    reason: Reason | None
    #: Of an open interval, the state of knowledge now.
    state: Literal["present", "unknown"] | None
    baseline: bool
    present_since: datetime
    #: What ended it, after `ended_not_before` and by `valid_to`.
    ended_by: Literal["withdrawn", "modified"] | None
    ended_not_before: datetime | None
    #: The image whose place this one took, and the one that took its place.
    replaces: str | None
    replaced_by: str | None
    #: What a modification changed when this interval began: `{name: [before, after]}`.
    fields: Mapping[str, list[Any]]
    #: Times within the interval in which nobody knew.
    gaps: tuple[Gap, ...]
    #: The same between the image's interval before and this one.
    gaps_before: tuple[Gap, ...]


def timeline(
    stays: Iterable[Stay],
    changes: Iterable[ChangeRow],
    coverage: Mapping[Target, Coverage],
    holds: Mapping[tuple[Target, ImageKey], Sequence[Gap]],
    *,
    now: datetime,
) -> list[HistoryRow]:
    """Tell every interval in *stays* by target and set, the image that came first first, with its gaps up to *now*."""
    begun: dict[tuple[Target, str, str, datetime], ChangeRow] = {}
    ended: dict[tuple[Target, str, str, datetime], ChangeRow] = {}
    for change in changes:
        where = (change.target, change.image_set or "", change.image_id or "", change.observed_at)
        if change.event in ("appeared", "returned", "modified"):
            begun[where] = change
        if change.event in ("withdrawn", "modified"):
            ended[where] = change
        if change.event == "modified":  # which may have stated the set, too, that was not stated before
            ended.setdefault((where[0], UNSTATED_SET, *where[2:]), change)
    by_image: dict[tuple[Target, ImageKey], list[Stay]] = {}
    for stay in stays:
        by_image.setdefault((stay.target, ImageKey(stay.image_set, stay.image_id)), []).append(stay)

    rows: list[HistoryRow] = []
    without_holds: dict[Target, list[Gap]] = {}
    for target, image_set, _, image_id in sorted(
        (target, key.image_set, min(stay.valid_from for stay in members), key.image_id)
        for (target, key), members in by_image.items()
    ):
        key = ImageKey(image_set, image_id)
        own = holds.get((target, key), ())
        covered = coverage.get(target) or Coverage()
        known = None if own else without_holds.get(target)
        if known is None:
            every = covered.gaps(own)
            known = every[: bisect_right(every, now, key=begin_of)]
        if not own:
            without_holds[target] = known
        # they are in order and without overlaps, so that only the last may last
        now_unknown = known[-1] if known and now < (known[-1].unknown_to or END_OF_TIME) else None
        unknown_for = now_unknown.reason if now_unknown else None if covered.is_observed else "never_observed"
        before: datetime | None = None
        for stay in sorted(by_image[target, key], key=lambda stay: stay.valid_from):
            start = begun.get((target, *key, stay.valid_from))
            if start is None and not stay.baseline:  # its set was stated later, and is the one it was in from the first
                start = begun.get((target, UNSTATED_SET, image_id, stay.valid_from))
            end = ended.get((target, *key, stay.valid_to)) if stay.valid_to else None
            reason = None if stay.valid_to else unknown_for
            rows.append(
                HistoryRow(
                    target=target,
                    image_set=key.image_set,
                    image_id=key.image_id,
                    image_name=stay.image_name,
                    valid_from=stay.valid_from,
                    valid_to=stay.valid_to,
                    not_before=start.not_before if start else None,
                    state=None if stay.valid_to else "unknown" if reason else "present",
                    reason=reason,
                    baseline=stay.baseline,
                    present_since=stay.present_since,
                    ended_by=None if end is None else "modified" if end.event == "modified" else "withdrawn",
                    ended_not_before=end.not_before if end else None,
                    replaces=start.counterpart if start else None,
                    replaced_by=end.counterpart if end else None,
                    fields=start.fields if start else {},
                    gaps=_begun(known, stay.valid_from, stay.valid_to or END_OF_TIME),
                    gaps_before=tuple(clip(known, before, stay.valid_from)) if before else (),
                )
            )
            before = stay.valid_to
    return rows


def chain(image_id: str, successors_of: Callable[[str], Iterable[str]]) -> list[str]:
    """Return *image_id* and the ids that came in its place one after the other, as far as there is exactly one each."""
    ids = [image_id]
    while len(following := set(successors_of(ids[-1])) - set(ids)) == 1:
        ids += following
    return ids


# --- spans of time ---------------------------------------------------------------------------------------------------


#: When a gap begins; asked of every gap of a history, so not a function in Python.
begin_of = attrgetter("unknown_from")
_end_of = attrgetter("unknown_to")


def overlay(*layers: Sequence[Gap]) -> list[Gap]:
    """
    Lay the *layers* over each other, the first on top: every moment that any covers, once, in order.

    Each layer is in order, without overlaps and without gaps of no length.
    """
    spans: list[Gap] = []
    for layer in layers:
        if layer and (not spans or (spans[-1].unknown_to or END_OF_TIME) <= layer[0].unknown_from):
            spans += layer
        elif layer:
            spans = sorted([*spans, *_uncovered(layer, spans)], key=begin_of)
    if all(map(ne, map(_end_of, spans), map(begin_of, spans[1:]))):
        return spans  # nearly always
    joined: list[Gap] = []
    for gap in spans:
        last = joined[-1] if joined else None
        if last and last.reason == gap.reason and last.unknown_to == gap.unknown_from:
            joined[-1] = Gap(unknown_from=last.unknown_from, unknown_to=gap.unknown_to, reason=gap.reason)
        else:
            joined.append(gap)
    return joined


def _begun(gaps: Sequence[Gap], first: datetime, last: datetime) -> tuple[Gap, ...]:
    """
    Return those of *gaps*, which are in order and without overlaps, that begin in `[first, last)`, up to *last*.

    One that began before was ended by the very answer that began the interval.
    """
    begun = tuple(gaps[bisect_left(gaps, first, key=begin_of) : bisect_left(gaps, last, key=begin_of)])
    if not begun or (begun[-1].unknown_to or END_OF_TIME) <= last:
        return begun
    return (*begun[:-1], begun[-1]._replace(unknown_to=last))


def clip(gaps: Iterable[Gap], begin: datetime, end: datetime | None) -> list[Gap]:
    """Return the parts of *gaps* that lie in `[begin, end)`; an end of None has not come."""
    parts = []
    end = end or END_OF_TIME
    for gap in gaps:
        whole_end = gap.unknown_to or END_OF_TIME
        if begin <= gap.unknown_from < whole_end <= end:
            parts.append(gap)  # nearly always
            continue
        first, last = max(gap.unknown_from, begin), min(whole_end, end)
        if first < last:
            parts.append(Gap(first, None if last == END_OF_TIME else last, gap.reason))
    return parts


def _uncovered(layer: Iterable[Gap], cover: Sequence[Gap]) -> list[Gap]:
    """Return the parts of *layer* that *cover*, in order and without overlaps, leaves free."""
    free: list[Gap] = []
    position = 0
    for gap in sorted(layer, key=begin_of):
        begin, end = gap.unknown_from, gap.unknown_to or END_OF_TIME
        while position < len(cover) and (cover[position].unknown_to or END_OF_TIME) <= begin:
            position += 1
        for above in cover[position:]:
            if above.unknown_from >= end:
                break
            if begin < above.unknown_from:
                free.append(Gap(begin, above.unknown_from, gap.reason))
            begin = max(begin, above.unknown_to or END_OF_TIME)
        if begin < end:
            free.append(gap if begin == gap.unknown_from else Gap(begin, gap.unknown_to, gap.reason))
    return free
