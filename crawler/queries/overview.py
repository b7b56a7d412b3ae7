"""
All names and zones at a moment, as the web page shows them: projects of a zone are one here. Pure.

Projects list the provider's images alike, as in what is published: an image is present while any of them lists it, and
a zone is known while any of them is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from crawler.domain.models import Target
from crawler.domain.reissues import newest
from crawler.domain.rows import Gap, Reason
from crawler.queries.history import begin_of, clip
from crawler.queries.publish import RegionZone


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneState:
    """How well a zone is known at a moment, by all its targets."""

    place: RegionZone
    #: Why it is unknown: no target is known. None: one is.
    reason: Reason | None
    #: Since when its last outcome is so; None where that is not known.
    since: datetime | None
    observed_at: datetime | None
    #: What the last failure said.
    message: str
    #: How many targets it has, but for those that were never open to their key.
    targets: int
    #: How many of them are known.
    known: int


#: A set and a normalised name.
NameKey = tuple[str, str]


class ListedName(NamedTuple):
    """A name that is listed in any zone; where it is spelled in two ways there are two."""

    image_set: str
    name_key: str
    image_name: str


class Listed(NamedTuple):
    """One image that is open in a zone at a moment, and why it is not known whether it is still there."""

    place: RegionZone
    image_set: str
    name_key: str
    image_name: str
    image_id: str
    present_since: datetime
    #: None: it is known to be there.
    reason: Reason | None
    #: The state for which it cannot be used though it is listed; empty where it can.
    unusable: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All names and zones at a moment."""

    moment: datetime
    zones: Sequence[ZoneState]
    listed: Sequence[Listed]


class ListedSpan(NamedTuple):
    """A time for which an image was listed in a zone without a break."""

    place: RegionZone
    image_set: str
    image_name: str
    image_id: str
    since: datetime
    #: None while it lasts.
    until: datetime | None
    #: It was there before anyone looked.
    baseline: bool


def place_of(target: Target) -> RegionZone:
    """Return where a target is."""
    return RegionZone(target.region, target.zone)


def merged(rows: Iterable[Listed], zones: Iterable[ZoneState]) -> list[Listed]:
    """
    Return each image of a zone once, in order: as known where any target knows it, of the others as the zone is known.
    """
    reasons = {zone.place: zone.reason for zone in zones}
    found: dict[tuple[RegionZone, str, str, str], Listed] = {}
    for row in rows:
        key = (row.place, row.image_set, row.name_key, row.image_id)
        other = found.get(key)
        if other is None:
            found[key] = row
            continue
        # of several reasons, and spellings, always the same: databases give the rows in any order
        reason = row.reason and other.reason and (reasons[row.place] or min(row.reason, other.reason))
        unusable = _unusable_for_all(row, other) if row.unusable or other.unusable else ""
        since, name = min(row.present_since, other.present_since), max(row.image_name, other.image_name)
        found[key] = other._replace(image_name=name, reason=reason, present_since=since, unusable=unusable)
    return sorted(found.values(), key=_ORDER)


def _unusable_for_all(*rows: Listed) -> str:
    """Return the state for which none of those can use an image that know it; of all, where none does."""
    known = [row.unusable for row in rows if row.reason is None]
    return min(known or (row.unusable for row in rows))


#: By place, set, name, and when it came.
_ORDER = itemgetter(0, 1, 2, 5)


def to_use(overview: Overview, image_sets: Sequence[Collection[str]], revoked: Collection[str]) -> Listed | None:
    """
    Return the image to use of the one name in *overview*: in the first zone in which it is known, that which came last.

    As `resolve` has it, a zone has none where several came together, or where the last is in doubt or *revoked*; what
    cannot be used does not count. What is in the first of *image_sets* goes before what is in the next, and that before
    all others.
    """

    def rank(row: Listed) -> tuple[int, RegionZone, str]:
        own = next((n for n, sets in enumerate(image_sets) if row.image_set in sets), len(image_sets))
        return own, row.place, row.image_set

    for _, rows in groupby(sorted(overview.listed, key=rank), rank):
        latest = newest([row for row in rows if not row.unusable])
        if len(latest) == 1 and latest[0].reason is None and latest[0].image_id not in revoked:
            return latest[0]
    return None


def in_all(every: Sequence[Sequence[Gap]]) -> list[Gap]:
    """
    Return the spans that lie in gaps of all of several, with the reason of the first that was asked then.

    What nobody asked yet, or any more, or was never open to its key says nothing of why the others were not known.
    """
    common = list(every[0])
    for other in every[1:]:
        parts = ((part, gap) for gap in other for part in clip(common, gap.unknown_from, gap.unknown_to))
        common = [_for_better_reason(part, gap) for part, gap in parts]
        common.sort(key=begin_of)
    return common


def _for_better_reason(part: Gap, other: Gap) -> Gap:
    """Return a *part* that lies in a gap of one and of an *other*, with the reason that says more."""
    is_better = _SAYING_LITTLE.get(other.reason, 0) < _SAYING_LITTLE.get(part.reason, 0)
    return part._replace(reason=other.reason) if is_better else part


#: Reasons for which a target was not asked at all, that which says least with the largest number.
_SAYING_LITTLE: Mapping[Reason, int] = {"retired": 1, "deselected": 1, "never_observed": 2}
