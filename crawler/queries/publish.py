"""
What `publish` puts into files: the images of the provider by name and zone, what changed, and how fresh that is. Pure.

Projects of a zone list the provider's images alike, so they are one here: an id is there while any of them lists it,
and a change is told when the first of them meets it. What to use now is said by the rule of `resolve`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

from crawler.domain.models import normalise_name
from crawler.domain.rows import ChangeRow, ImageRow, Reason, StatusRow
from crawler.domain.staleness import reason_of
from crawler.errors import Ambiguous, NoAnswer, UnknownKnowledge
from crawler.queries.resolve import resolve

#: Changes in the list of them all, and in each feed; the newest.
MOST_CHANGES, MOST_ENTRIES = 1_000, 100
#: The date of what has none.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RegionZone(NamedTuple):
    """A zone in its region."""

    region: str
    zone: str


class ZoneStay(NamedTuple):
    """A time for which an image was listed in a zone without a break."""

    image_id: str
    since: datetime
    #: None while it lasts.
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneName:
    """One image name in one zone."""

    place: RegionZone
    #: Normalised.
    name_key: str
    #: As it was spelled last.
    image_name: str
    #: The first first.
    stays: tuple[ZoneStay, ...]
    #: Whether there is an image of the name to use now; None: nobody can tell.
    is_there: bool | None
    #: The same as last known, which is what it says while nobody can tell; None: that was never certain.
    was_there: bool | None
    #: The image to use, as last known; None where there was none, or it was not certain which.
    image_id: str | None
    #: Why nobody can tell.
    doubt: str | None
    #: Those of its ids that somebody revoked.
    revoked: frozenset[str] = frozenset()

    @property
    def is_revoked(self) -> bool:
        """Return whether there is none to use, as last known, but one that somebody revoked."""
        return self.was_there is False and any(
            stay.until is None and stay.image_id in self.revoked for stay in self.stays
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneFreshness:
    """How well a zone is known now, by the project that was observed last."""

    place: RegionZone
    #: End of the last run that observed it well; None: none did.
    observed_at: datetime | None
    #: Why it is unknown now; None: it is known.
    reason: Reason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedChanges:
    """
    The newest changes, the newest first: of all places, of each, and of each normalised name.

    What several variants of a matrix say in one run is one: the first of them, which stays while a run records others.
    """

    newest: Sequence[ChangeRow] = ()
    by_place: Mapping[RegionZone, Sequence[ChangeRow]] = field(default_factory=dict)
    by_name: Mapping[str, Sequence[ChangeRow]] = field(default_factory=dict)
    #: All variants of those that are of several, by their numbers; `default` comes first.
    variants: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedKnowledge:
    """All that is published."""

    names: Sequence[ZoneName]
    freshness: Sequence[ZoneFreshness]
    changes: PublishedChanges
    #: With accounts, projects and custom images.
    is_private: bool
    now: datetime
    stale_after: timedelta


def freshness(place: RegionZone, rows: Sequence[StatusRow], now: datetime, stale_after: timedelta) -> ZoneFreshness:
    """Return how well a zone is known by the *rows* of its targets, each of which was observed well once."""
    newest = max(rows, key=lambda row: row.last_ok_at or EPOCH)
    reasons = {reason_of(row.outcome, row.last_ok_at, now, stale_after) for row in rows}
    reason = None if None in reasons else reason_of(newest.outcome, newest.last_ok_at, now, stale_after)
    return ZoneFreshness(place=place, observed_at=newest.last_ok_at, reason=reason)


def zone_name(
    place: RegionZone,
    image_name: str,
    stays: Iterable[ZoneStay],
    rows: Sequence[StatusRow],
    images: Sequence[ImageRow],
    *,
    now: datetime,
    stale_after: timedelta,
    revoked: Mapping[str, str] = MappingProxyType({}),
) -> ZoneName:
    """
    Return how a name stands in a zone, by the *rows* of its targets and the *images* of the name that are open there.

    Each target was observed well once. Where nobody can tell, it is said besides what was last known. *revoked* ids,
    each with the reason why, are not to be used, as `resolve` has it.
    """
    own = sorted(stays, key=lambda stay: (stay.since, stay.image_id))
    is_there, image_id, doubt = _to_use(rows, images, image_name, now, stale_after, revoked)
    was_there = is_there
    if is_there is None:  # as if all were known as it was known last
        sure = [row._replace(outcome="ok", last_ok_at=now) for row in rows]
        known = [image._replace(state="present", reason=None, observed_at=now) for image in images]
        was_there, image_id, _ = _to_use(sure, known, image_name, now, stale_after, revoked)
    return ZoneName(
        place=place,
        name_key=normalise_name(image_name),
        image_name=image_name,
        stays=tuple(own),
        is_there=is_there,
        was_there=was_there,
        image_id=image_id,
        doubt=doubt,
        revoked=frozenset(stay.image_id for stay in own if stay.image_id in revoked),
    )


def _to_use(
    rows: Sequence[StatusRow],
    images: Sequence[ImageRow],
    name: str,
    now: datetime,
    stale_after: timedelta,
    revoked: Mapping[str, str],
) -> tuple[bool | None, str | None, str | None]:
    """Return whether there is an image of the name to use, which, and why nobody can tell."""
    try:
        return True, resolve(rows, images, name, now=now, max_age=stale_after, revoked=revoked).image_id, None
    except NoAnswer:  # Revoked is one
        return False, None, None
    except (Ambiguous, UnknownKnowledge) as exc:
        return None, None, str(exc)
