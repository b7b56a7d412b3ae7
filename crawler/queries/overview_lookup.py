"""
What the web page asks: all names and zones at a moment, how well each zone was known, and what changed on which day.

Every function takes a connection inside `read(engine)`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from operator import attrgetter, itemgetter
from typing import Any, TypeVarTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    select,
    type_coerce,
)

from crawler.db.beginning import begins_at, refuse_before
from crawler.db.filters import ChosenTarget, of_kinds, targets_by_id
from crawler.db.last_observation import Observation, ends_of
from crawler.db.schema import ChangeLog, HoldImage, ImageVersion, Interval, Run, TargetRow
from crawler.db.sql import among, among_too, portions, written
from crawler.db.types import from_micros, read_json, to_micros
from crawler.domain.filters import Filters
from crawler.domain.kinds import KINDS
from crawler.domain.models import ABSENT, END_OF_TIME, LARGEST_ID, SCHEMA, ImageKey, Target
from crawler.domain.rows import ChangeRow, Gap, Reason, unusable_state
from crawler.queries import gaps as queries_gaps
from crawler.queries.freshness import KnownAt, chosen_at
from crawler.queries.history import clip, overlay
from crawler.queries.history_lookup import change_row
from crawler.queries.overview import (
    Listed,
    ListedName,
    ListedSpan,
    NameKey,
    Overview,
    ZoneState,
    in_all,
    merged,
    place_of,
)
from crawler.queries.publish import RegionZone

#: Changes are counted by this; every time zone's days begin at a multiple of it.
_QUARTER = 15 * 60 * 1_000_000
_END = to_micros(END_OF_TIME)
#: Projects whose last stays of an image begin and end within this listed it alike; a run asks all of them meanwhile.
_APART = 3_600 * 1_000_000
#: The kinds whose images are listed in states.
_STATING = frozenset(kind.name for kind in KINDS.values() if kind.state)
#: Decoded where they are looked at.
_ATTRIBUTES = type_coerce(ImageVersion.attributes, Text)
Ts = TypeVarTuple("Ts")
#: Of images in zones when it was not known whether they were there.
HeldSpans = Mapping[tuple[RegionZone, ImageKey], Sequence[Gap]]


@dataclass(slots=True)
class _Zone:
    """The targets of a zone at a moment that are asked."""

    target_ids: list[int]
    state: ZoneState


@dataclass(frozen=True, slots=True, kw_only=True)
class ZonesKnown:
    """How well each zone was known at a moment, by those of its targets that are asked."""

    moment: datetime
    zones: Mapping[RegionZone, _Zone]
    reasons: Mapping[int, Reason | None]
    known: KnownAt
    #: Their kind, where it says of its images in which state they are; else empty.
    stating: str

    @property
    def states(self) -> list[ZoneState]:
        """Return how well each zone was known."""
        return [zone.state for zone in self.zones.values()]

    @property
    def places(self) -> dict[int, RegionZone]:
        """Return where each target is."""
        return {target_id: place for place, zone in self.zones.items() for target_id in zone.target_ids}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedNames:
    """Which names were listed at a moment; `images_of` reads their images."""

    zones: ZonesKnown
    names: Sequence[ListedName]
    #: Of each name the versions that were listed, as texts.
    versions: Mapping[NameKey, Sequence[str]]


def zones_known(conn: Connection, filters: Filters, moment: datetime, *, stale_after: timedelta) -> ZonesKnown:
    """
    Return how well each zone was known at *moment*, without what was asked no more.

    Raises UnknownKnowledge for a moment before the kept history.
    """
    chosen, known = chosen_at(conn, filters, moment)
    refuse_before(known.began, moment)
    targets = {choice.target_id: choice.target for choice in chosen if choice.target_id not in known.absent}
    reasons = {target_id: known.reason(target_id, moment, stale_after) for target_id in targets}
    stating = {target.kind for target in targets.values()} & _STATING
    return ZonesKnown(
        moment=moment,
        zones=_zones(targets, reasons, known),
        reasons=reasons,
        known=known,
        stating=min(stating, default=""),
    )


def listed_names(conn: Connection, zones: ZonesKnown, image_sets: Collection[str] | None = None) -> ListedNames:
    """Return the names that were listed in *zones*; of *image_sets* alone, where these are given."""
    listed: set[int] = set()
    for portion in portions(zones.places):
        listed.update(conn.execute(_open_versions(), {"targets": portion, "at": zones.moment}).scalars().all())
    names: list[ListedName] = []
    versions: dict[NameKey, list[str]] = {}
    for *row, numbers in conn.execute(_names_of(), {"versions": sorted(listed)}):
        name = ListedName(*row)
        if image_sets is None or name.image_set in image_sets:
            names.append(name)
            versions.setdefault(name[:2], []).append(numbers)
    return ListedNames(zones=zones, names=sorted(names), versions=versions)


def images_of(conn: Connection, listed: ListedNames, keys: Collection[NameKey]) -> Overview:
    """Return the images of the names in *keys* that were listed, by zone, set and name."""
    texts = (text for key in keys for text in listed.versions.get(key, ()))
    versions = sorted(int(number) for text in texts for number in text.split(","))
    at = listed.zones
    # what those targets of a zone list alike that are known comes once
    together: list[int] = []
    alone: list[int] = []
    for zone in at.zones.values():
        for target_id in zone.target_ids:
            is_known = at.reasons[target_id] is None and target_id not in at.known.held
            (together if is_known and len(zone.target_ids) > 1 else alone).append(target_id)
    asked = {"versions": versions, "together": together, "alone": alone, "at": at.moment}
    places = at.places
    found = conn.execute(_open_images(with_states=bool(at.stating)), asked)
    rows = [_row(places[row[0]], row[0], row[1:6], at, _unusable(at.stating, row[6:])) for row in found]
    return Overview(moment=at.moment, zones=at.states, listed=merged(rows, at.states))


@dataclass(frozen=True, slots=True, kw_only=True)
class NamePast:
    """All that is known of the images of one name."""

    name_key: str
    #: Of each version its set, the name as it is spelled and the image id.
    versions: Mapping[int, tuple[str, str, str]]
    #: Of each version that cannot be used the state for which it cannot.
    unusable: Mapping[int, str]
    #: By their beginning, each with its target, version, beginning, since when the image was there, end, and whether it
    #: was there before anyone looked; times as they are stored, for there are many.
    intervals: Sequence[Row[*tuple[Any, ...]]]


def name_past(conn: Connection, name_key: str, image_sets: Collection[str] | None, kind: str = "") -> NamePast:
    """
    Return all that is known of the images of a name; of *image_sets* alone, where these are given.

    Whether they can be used is said of those of a *kind* that has states.
    """
    stating = kind if kind in _STATING else ""
    rows = conn.execute(_versions_of_name(with_states=bool(stating)), {"key": name_key}).all()
    versions = {row[0]: tuple(row[1:4]) for row in rows if image_sets is None or row[1] in image_sets}
    unusable = {row[0]: state for row in rows if (state := _unusable(stating, row[4:]))}
    intervals = sorted(conn.execute(_intervals_of(), {"versions": sorted(versions)}), key=itemgetter(2))
    return NamePast(name_key=name_key, versions=versions, unusable=unusable, intervals=intervals)


def _unusable(kind: str, attributes: Sequence[str]) -> str:
    """Return the state for which an image of a *kind* cannot be used, of which *attributes* are given if it has any."""
    return unusable_state(kind, read_json(attributes[0])) if attributes else ""


@cache
def _versions_of_name(*, with_states: bool) -> Select[*tuple[Any, ...]]:
    columns = (ImageVersion.id, ImageVersion.image_set, ImageVersion.image_name, ImageVersion.image_id)
    more = (_ATTRIBUTES,) if with_states else ()
    statement: Select[*tuple[Any, ...]] = select(*columns, *more)
    return statement.where(ImageVersion.name_key == bindparam("key"))


@cache
def _intervals_of() -> Select[*tuple[Any, ...]]:
    times = (type_coerce(time, BigInteger) for time in (Interval.valid_from, Interval.present_since, Interval.valid_to))
    statement: Select[*tuple[Any, ...]] = select(Interval.target_id, Interval.version_id, *times, Interval.baseline)
    return statement.where(among(Interval.version_id, "versions"))


def name_overview(zones: ZonesKnown, past: NamePast) -> Overview:
    """Return the images of one name by its *past*; else as `images_of` does."""
    places, at = zones.places, to_micros(zones.moment)
    rows = []
    for target_id, version_id, begins, since, ends, _ in past.intervals:
        if begins <= at < ends and target_id in places:
            image_set, name, image_id = past.versions[version_id]
            image = (image_set, past.name_key, name, image_id, from_micros(since))
            rows.append(_row(places[target_id], target_id, image, zones, past.unusable.get(version_id, "")))
    return Overview(moment=zones.moment, zones=zones.states, listed=merged(rows, zones.states))


def places_listing(conn: Connection, zones: ZonesKnown) -> set[RegionZone]:
    """Return those of *zones* in which any target lists anything now."""
    places = zones.places
    statement = _listing()
    return {
        places[target_id]
        for portion in portions(places)
        for target_id in conn.execute(statement, {"targets": portion}).scalars()
    }


@cache
def _listing() -> Select[int]:
    anything = select(Interval.id).where(Interval.target_id == TargetRow.id, Interval.valid_to == END_OF_TIME)
    return select(TargetRow.id).where(among(TargetRow.id, "targets"), anything.exists())


def _zones(
    targets: Mapping[int, Target], reasons: Mapping[int, Reason | None], known: KnownAt
) -> dict[RegionZone, _Zone]:
    by_place: dict[RegionZone, list[int]] = {}
    for target_id, target in targets.items():
        by_place.setdefault(place_of(target), []).append(target_id)
    return {
        place: _Zone(target_ids, _state(place, target_ids, reasons, known.seen))
        for place, target_ids in sorted(by_place.items())
    }


def _state(
    place: RegionZone, target_ids: Sequence[int], reasons: Mapping[int, Reason | None], seen: Mapping[int, Observation]
) -> ZoneState:
    def last_seen(target_id: int) -> int:
        at = seen[target_id].observed_at if target_id in seen else None
        return to_micros(at) if at else 0

    well_known = [target_id for target_id in target_ids if reasons[target_id] is None]
    # nothing is missing of what was never open to its key
    opened = [target_id for target_id in target_ids if reasons[target_id] != "denied" or last_seen(target_id)]
    newest = max(well_known or opened or target_ids, key=last_seen)
    observation = seen.get(newest)
    trouble = observation.current_trouble if observation else None
    return ZoneState(
        place=place,
        reason=reasons[newest],
        since=trouble.since if trouble else None,
        observed_at=observation.observed_at if observation else None,
        message=trouble.message if trouble else "",
        targets=len(opened),
        known=len(well_known),
    )


def _row(place: RegionZone, target_id: int, image: Sequence[Any], zones: ZonesKnown, unusable: str) -> Listed:
    reason = zones.reasons[target_id]
    held = zones.known.held.get(target_id)
    if held and ImageKey(image[0], image[3]) in held and reason not in ABSENT:
        reason = "held"
    return Listed._make((place, *image, reason, unusable))


@cache
def _open_versions() -> Select[int]:
    """Select the versions of which `:targets` list an image `:at` a moment."""
    return select(Interval.version_id).distinct().where(among(Interval.target_id, "targets"), *_is_open())


@cache
def _names_of() -> Select[*tuple[Any, ...]]:
    """Select the names of `:versions`, each with the ids of its own as a text."""
    columns = (ImageVersion.image_set, ImageVersion.name_key, ImageVersion.image_name)
    own = func.aggregate_strings(cast(ImageVersion.id, Text), ",")
    return select(*columns, own).where(among(ImageVersion.id, "versions")).group_by(*columns)


@cache
def _open_images(*, with_states: bool) -> Select[*tuple[Any, ...]]:
    """Select what the targets `:alone` list of `:versions`, and once for a zone what those that are `:together` do."""
    target_id, present_since = Interval.target_id, Interval.present_since
    # no index serves a sum: by target every image that is open would be visited; a CASE, for PostgreSQL would join
    # either list by going through all of it
    lister = case(
        (among(target_id + written(0), "alone"), target_id), (among(target_id + written(0), "together"), written(0))
    )
    first, since = func.min(target_id).label("target_id"), func.min(present_since).label("present_since")
    found = (
        select(first, Interval.version_id, since)
        .join(TargetRow, TargetRow.id == target_id)
        .where(among(Interval.version_id, "versions"), lister.is_not(None), *_is_open())
        .group_by(TargetRow.region, TargetRow.zone, Interval.version_id, lister)
        .subquery("found")
    )
    columns = (ImageVersion.image_set, ImageVersion.name_key, ImageVersion.image_name, ImageVersion.image_id)
    more = (_ATTRIBUTES,) if with_states else ()
    statement: Select[*tuple[Any, ...]] = select(found.c.target_id, *columns, found.c.present_since, *more)
    return statement.join(ImageVersion, ImageVersion.id == found.c.version_id)


def _is_open() -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions of an interval that is open `:at` a moment."""
    return Interval.valid_to > bindparam("at"), Interval.valid_from <= bindparam("at")


def last_seen(
    conn: Connection, targets: Mapping[int, Target], name_keys: Collection[str], moment: datetime
) -> dict[tuple[RegionZone, str, str], datetime]:
    """
    Return when each set and name that was in a zone of *targets* before *moment*, and is no more, was last there.

    A target that listed it until nobody asked any more, and never said that it has gone, does not stand against others.
    """
    places = {target_id: place_of(target) for target_id, target in targets.items()}
    gone: dict[tuple[RegionZone, str, str], int] = {}
    for portion in portions(sorted(name_keys), 50):
        for target_id, image_set, name_key, last in conn.execute(_ends(), {"keys": portion, "at": to_micros(moment)}):
            if last <= to_micros(moment) and (place := places.get(target_id)):
                key = (place, image_set, name_key)
                gone[key] = max(gone.get(key, 0), last)
    return {key: from_micros(last) for key, last in gone.items()}


@cache
def _ends() -> Select[*tuple[Any, ...]]:
    """Select when each set and name of `:keys` was last listed by each target, of what began by `:at` a moment."""
    ends = func.max(type_coerce(Interval.valid_to, BigInteger))
    return (
        select(Interval.target_id, ImageVersion.image_set, ImageVersion.name_key, ends)
        .join(ImageVersion, ImageVersion.id == Interval.version_id)
        .where(among(ImageVersion.name_key, "keys"), type_coerce(Interval.valid_from, BigInteger) <= bindparam("at"))
        .group_by(Interval.target_id, ImageVersion.image_set, ImageVersion.name_key)
    )


def spans_of(targets: Mapping[int, Target], past: NamePast, asked: Collection[int]) -> list[ListedSpan]:
    """
    Return when the images of a name were listed in each zone of *targets*, by zone, set and time.

    Of an image that those *asked* have listed the others, which are asked no more, do not say that it is there still.
    """
    places = {target_id: place_of(target) for target_id, target in targets.items()}
    found: dict[tuple[RegionZone, str, str], list[tuple[int, int, str, bool, bool]]] = {}
    for target_id, version_id, _, since, until, baseline in past.intervals:
        if target_id in places:
            image_set, name, image_id = past.versions[version_id]
            own = found.setdefault((places[target_id], image_set, image_id), [])
            own.append((since, until, name, baseline, target_id in asked))
    spans = []
    for (place, image_set, image_id), own in found.items():
        is_asked = any(one[-1] for one in own)
        # a stay is one, whatever was modified in it, and whichever project met it first
        stays: list[tuple[int, int, str, bool]] = []
        for since, until, name, baseline, is_own in sorted(own, key=itemgetter(0)):
            if until == _END and is_asked and not is_own:
                continue
            if stays and since <= stays[-1][1]:
                first, end, called, was_there = stays[-1]
                stays[-1] = (first, max(end, until), called, was_there)
            else:
                stays.append((since, until, name, baseline))
        for since, until, name, baseline in stays:
            ends = None if until == _END else from_micros(until)
            spans.append(ListedSpan(place, image_set, name, image_id, from_micros(since), ends, baseline))
    return sorted(spans, key=_AGE)


#: By place, set, and when it came.
_AGE = attrgetter("place", "image_set", "since", "image_id")


def zone_gaps(
    conn: Connection, chosen: Collection[ChosenTarget], since: datetime, until: datetime, *, stale_after: timedelta
) -> dict[RegionZone, list[Gap]]:
    """
    Return when each zone was not known from *since* to *until*: when none of the targets *chosen* in it was.

    What lies before the kept history is as if nobody had looked: which of its runs went well was forgotten.
    """
    by_place: dict[RegionZone, list[list[Gap]]] = {}
    for target, own in _gaps_of(conn, chosen, since, until, stale_after):
        by_place.setdefault(place_of(target.target), []).append(own)
    return {place: in_all(every) for place, every in sorted(by_place.items())}


def images_ever_held(conn: Connection) -> frozenset[str]:
    """Return the ids of the images that were ever on hold anywhere."""
    return frozenset(conn.scalars(select(HoldImage.image_id).distinct()))


def held_spans(
    conn: Connection,
    chosen: Collection[ChosenTarget],
    past: NamePast,
    ever: frozenset[str],
    asked: Collection[int],
    since: datetime,
    until: datetime,
    *,
    stale_after: timedelta,
) -> HeldSpans:
    """
    Return when it was not known in a zone, however well that was, whether images of a name were there.

    Those are images that were *ever* on hold, last listed by a target that is not *asked* any more, or not listed alike
    by all of several, and it was not known while none of the targets *chosen* that listed one then was known.
    """
    targets = {choice.target_id: choice for choice in chosen}
    places = {target_id: place_of(choice.target) for target_id, choice in targets.items()}
    image_ids = ever.intersection(map(itemgetter(2), past.versions.values()))
    every = queries_gaps.holds(conn, targets, image_ids) if image_ids else {}
    held = {place: spans for place, own in every.items() if (spans := clip(own, since, until))}
    listing: dict[tuple[RegionZone, ImageKey], dict[int, list[tuple[int, int]]]] = {
        (places[target_id], key): {} for target_id, key in held
    }
    absent = targets.keys() - asked
    for target_id, version_id, _, _, ends, _ in past.intervals if absent else ():
        if ends == _END and target_id in absent:
            image_set, _, image_id = past.versions[version_id]
            listing[places[target_id], ImageKey(image_set, image_id)] = {}
    seen = Counter(places[one.target_id] for one in chosen if one.target_id in asked and one.baseline_run_id)
    shared = {target_id: place for target_id, place in places.items() if seen[place] > 1}
    for image in _not_listed_alike(past, shared):
        listing[image] = {}
    in_doubt = {key.image_id for _, key in listing}
    versions = {number: ImageKey(one[0], one[2]) for number, one in past.versions.items() if one[2] in in_doubt}
    for target_id, version_id, begins, _, ends, _ in past.intervals if versions else ():
        if version_id in versions and target_id in targets:
            place = (places[target_id], versions[version_id])
            if place in listing:
                listing[place].setdefault(target_id, []).append((begins, ends))
    those = [targets[target_id] for target_id in sorted(set().union(*listing.values()))]
    gaps = {one.target_id: own for one, own in _gaps_of(conn, those, since, until, stale_after)} if those else {}
    return {
        (place, key): in_all(
            [
                clip(
                    overlay(held.get((target_id, key), ()), gaps[target_id], _not_listed(stays, since, until)),
                    since,
                    until,
                )
                # whose hold it is gives the reason
                for target_id, stays in sorted(own.items(), key=lambda one: ((one[0], key) not in held, one[0]))
            ]
        )
        for (place, key), own in listing.items()
        if own
    }


def _not_listed(stays: Sequence[tuple[int, int]], since: datetime, until: datetime) -> list[Gap]:
    """Return when a target did not list an image of these *stays*, in order: then it does not say that it was there."""
    gaps = []
    begin = since
    for begins, ends in [*stays, (_END, _END)]:
        end = min(from_micros(begins), until)
        if begin < end:
            gaps.append(Gap(begin, end, "never_observed"))
        begin = max(begin, from_micros(ends))
    return gaps


def _not_listed_alike(past: NamePast, places: Mapping[int, RegionZone]) -> Iterator[tuple[RegionZone, ImageKey]]:
    """Yield the images that the targets in each of *places* did not list alike, or that one of them listed alone."""
    keys = {number: ImageKey(one[0], one[2]) for number, one in past.versions.items()}
    last: dict[tuple[RegionZone, ImageKey], dict[int, tuple[int, int]]] = {}
    for target_id, version_id, _, since, ends, _ in past.intervals if places else ():
        if target_id in places:
            last.setdefault((places[target_id], keys[version_id]), {})[target_id] = (since, ends)
    for image, own in last.items():
        begins, ends_of_stays = zip(*own.values(), strict=True)
        if len(own) == 1 or max(begins) - min(begins) > _APART or max(ends_of_stays) - min(ends_of_stays) > _APART:
            yield image


def _gaps_of(
    conn: Connection, chosen: Collection[ChosenTarget], since: datetime, until: datetime, stale_after: timedelta
) -> Iterator[tuple[ChosenTarget, list[Gap]]]:
    """Yield each of the targets *chosen* with the spans in which it was not known."""
    targets = {choice.target_id: choice for choice in chosen}
    first = _run_before(conn, since)
    coverage = queries_gaps.coverage(
        conn, targets, since=since, now=until, stale_after=stale_after, from_run=first or 0
    )
    began = _first_observed(conn, chosen)
    kept_from = min(begins_at(conn) or since, until)
    lost = [Gap(since, kept_from, "never_observed")] if kept_from > since else []
    for target_id, target in targets.items():
        first_at = began.get(target_id, until)
        before = [Gap(since, first_at, "never_observed")] if first_at > since else []
        yield (
            target,
            clip(overlay(lost, coverage[target_id].absences, before, coverage[target_id].gaps()), since, until),
        )


def _first_observed(conn: Connection, chosen: Collection[ChosenTarget]) -> dict[int, datetime]:
    """Return when each target was observed well for the first time."""
    runs = {choice.target_id: choice.baseline_run_id for choice in chosen if choice.baseline_run_id is not None}
    ends = ends_of(conn, set(runs.values()))
    return {target_id: ends[run_id] for target_id, run_id in runs.items() if run_id in ends}


def _run_before(conn: Connection, moment: datetime) -> int | None:
    """Return a run that had ended by *moment*, as late as can be found by a few looks; None: there is none."""
    low, high = 0, conn.scalar(select(func.max(Run.id))) or 0
    found = None
    while low < high:
        middle = (low + high + 1) // 2
        row = conn.execute(_first_run(), {"number": middle}).first()
        if row is not None and row.started_at < moment and row.finished_at is not None and row.finished_at <= moment:
            low, found = middle, row.id
        else:
            high = middle - 1
    return found


@cache
def _first_run() -> Select[*tuple[Any, ...]]:
    columns = (Run.id, Run.started_at, Run.finished_at)
    return select(*columns).where(Run.id <= bindparam("number")).order_by(Run.id.desc()).limit(written(1))


def changes_by_day(
    conn: Connection,
    since: datetime,
    until: datetime,
    zone: tzinfo,
    *,
    image_sets: Collection[str] | None = None,
    kind: str | None = None,
) -> dict[str, int]:
    """
    Return how many changes were recorded in `[since, until)`, by day in *zone* (`2026-11-23`).

    Of *image_sets* and of a *kind* alone, where these are given.
    """
    quarter = type_coerce(ChangeLog.recorded_at, BigInteger) // written(_QUARTER)
    statement = (
        select(quarter.label("quarter"), func.count())
        .where(ChangeLog.recorded_at >= since, ChangeLog.recorded_at < until)
        .group_by("quarter")
    )
    statement = _only(statement, kind)
    if image_sets is not None:
        statement = statement.where(and_(ChangeLog.image_set.in_(sorted(image_sets))))
    days: dict[str, int] = {}
    for number, count in conn.execute(statement):
        day = from_micros(int(number) * _QUARTER).astimezone(zone).date().isoformat()
        days[day] = days.get(day, 0) + count
    return days


def _only(statement: Select[*Ts], kind: str | None) -> Select[*Ts]:
    """Narrow a *statement* about changes to those of images and targets, and of a *kind*, where one is given."""
    statement = statement.where(ChangeLog.event != SCHEMA)
    if kind is None:
        return statement
    return statement.join(TargetRow, TargetRow.id == ChangeLog.target_id).where(TargetRow.kind == kind)


def newest_change_before(
    conn: Connection, moment: datetime, kind: str | None = None, image_sets: Collection[str] | None = None
) -> datetime | None:
    """
    Return when the last change before *moment* was recorded; None: there is none.

    Of a *kind* and of *image_sets* alone, where these are given.
    """
    statement = select(ChangeLog.recorded_at).where(ChangeLog.recorded_at < moment)
    if image_sets is not None:
        statement = statement.where(ChangeLog.image_set.in_(sorted(image_sets)))
    found = conn.scalar(_only(statement.order_by(ChangeLog.recorded_at.desc()).limit(written(1)), kind))
    return found.astimezone(UTC) if found else None


def last_changes_before(conn: Connection, image_ids: Collection[str], moment: datetime) -> list[ChangeRow]:
    """Return the last change of each of the images in each zone that was recorded before *moment*, by their cursors."""
    found = conn.execute(_last_changes(), {"images": sorted(image_ids), "moment": moment}).all()
    targets = targets_by_id(conn, {row.target_id for row in found})
    return [change_row(row, targets[row.target_id]) for row in found]


@cache
def _last_changes() -> Select[*tuple[Any, ...]]:
    """Select the last change of each of `:images` in each zone before `:moment`, whichever project met it."""
    last = (
        select(func.max(ChangeLog.id))
        .join(TargetRow, TargetRow.id == ChangeLog.target_id)
        .where(among_too(ChangeLog.image_id, "images"), ChangeLog.recorded_at < bindparam("moment"))
        .group_by(*(TargetRow.region, TargetRow.zone, TargetRow.kind, TargetRow.variant))
        .group_by(ChangeLog.image_set, ChangeLog.image_id)
    )
    return select(*ChangeLog.__table__.c).where(ChangeLog.id.in_(last)).order_by(ChangeLog.id)


def newest_changes_begin(conn: Connection, most: int) -> int:
    """Return the number of the first of the newest *most* changes; 0: there is none."""
    numbers = select(ChangeLog.id).order_by(ChangeLog.id.desc()).limit(written(most)).subquery()
    return conn.scalar(select(func.min(numbers.c.id))) or 0


def first_good_run(conn: Connection) -> datetime | None:
    """Return the end of the first run that recorded anything; None: there is none."""
    good = and_(Run.finished_at.is_not(None), Run.ok + Run.held > 0)
    return conn.scalar(select(Run.finished_at).where(good).order_by(Run.id).limit(written(1)))


def newest_run(conn: Connection) -> tuple[int, datetime] | None:
    """Return the number and the end of the newest run that has ended; None: there is none."""
    statement = select(Run.id, Run.finished_at).where(Run.finished_at.is_not(None), Run.id <= LARGEST_ID)
    row = conn.execute(statement.order_by(Run.id.desc()).limit(written(1))).first()
    return (row.id, row.finished_at) if row else None


def names_known(
    conn: Connection, name_keys: Collection[str] | None, image_sets: Collection[str] | None, kind: str | None = None
) -> list[tuple[str, str]]:
    """
    Return the names that images ever had, each normalised and as it was spelled; one may have been spelled in two ways.

    Of *name_keys*, *image_sets* and a *kind* alone, where these are given.
    """
    statement = select(ImageVersion.name_key, ImageVersion.image_name).distinct().where(ImageVersion.name_key != "")
    if name_keys is not None:
        statement = statement.where(ImageVersion.name_key.in_(sorted(name_keys)))
    if image_sets is not None:
        statement = statement.where(ImageVersion.image_set.in_(sorted(image_sets)))
    statement = of_kinds(conn, statement, (kind,) if kind else ())
    return sorted((key, name) for key, name in conn.execute(statement))
