"""
What `publish` puts into files, from the history.

Every function takes a connection inside `read(engine)`, so that all statements of an answer see one moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, Select, Text, select, type_coerce

from crawler.db import changelog
from crawler.db.filters import chosen_targets, targets_by_id
from crawler.db.schema import ChangeLog, ImageVersion, Interval, TargetRow
from crawler.db.sql import PORTION, among, portions
from crawler.db.types import from_micros, read_json, to_micros
from crawler.domain.filters import EVERYTHING, Filters
from crawler.domain.kinds import KINDS, UK8S_IMAGE
from crawler.domain.models import DEFAULT_VARIANT, END_OF_TIME, SCHEMA, Target, normalise_name
from crawler.domain.rows import ChangeRow, ImageRow, StatusRow
from crawler.queries import images as queries_images
from crawler.queries import status as queries_status
from crawler.queries.history_lookup import change_row
from crawler.queries.publish import (
    MOST_CHANGES,
    MOST_ENTRIES,
    PublishedChanges,
    PublishedKnowledge,
    RegionZone,
    ZoneName,
    ZoneStay,
    freshness,
    zone_name,
)
from crawler.queries.revoke import revoked_ids
from crawler.queries.variants import variants_of_matrices

#: The set whose images are resolved and proposed, as `resolve` has it.
FEED_SET = "ImageSet"
#: Where the images are asked that are resolved and proposed.
_ASKED = Filters(kind=(UK8S_IMAGE.name,), variant=(DEFAULT_VARIANT,))
_END = to_micros(END_OF_TIME)


def knowledge(
    conn: Connection, *, now: datetime, stale_after: timedelta, with_private: bool = False
) -> PublishedKnowledge:
    """
    Return all that is published of the history, as of *now*.

    Without *with_private* nothing in it tells of an account, a project or an image that is not the provider's. *conn*
    must not have been used before: what is settled of the changes has to be asked first.
    """
    last = changelog.settled(conn)
    by_place = _places(conn, _ASKED, now)
    return PublishedKnowledge(
        names=_names(conn, by_place, now, stale_after),
        freshness=[freshness(place, rows, now, stale_after) for place, rows in by_place.items()],
        changes=_all_changes(conn, last) if with_private else _public_changes(conn, last),
        is_private=with_private,
        now=now,
        stale_after=stale_after,
    )


def zone_knowledge(
    conn: Connection, zone: str, *, now: datetime, stale_after: timedelta, with_private: bool = False
) -> PublishedKnowledge:
    """Return what `knowledge` says of one zone, but for changes."""
    asked = _places(conn, replace(_ASKED, zone=(zone,)), now)
    by_place = {place: rows for place, rows in asked.items() if place.zone == zone}
    return PublishedKnowledge(
        names=_names(conn, by_place, now, stale_after),
        freshness=(),
        changes=PublishedChanges(),
        is_private=with_private,
        now=now,
        stale_after=stale_after,
    )


def known_freshness(
    conn: Connection, *, now: datetime, stale_after: timedelta, with_private: bool = False
) -> PublishedKnowledge:
    """Return how fresh `knowledge` is, without what it says."""
    return PublishedKnowledge(
        names=(),
        freshness=[freshness(place, rows, now, stale_after) for place, rows in _places(conn, _ASKED, now).items()],
        changes=PublishedChanges(),
        is_private=with_private,
        now=now,
        stale_after=stale_after,
    )


def _places(conn: Connection, asked: Filters, now: datetime) -> dict[RegionZone, list[StatusRow]]:
    """Return how the targets of each place are known that were observed well once."""
    by_place: dict[RegionZone, list[StatusRow]] = {}
    for row in queries_status.status(conn, asked, now=now):
        if row.last_ok_at is not None:
            by_place.setdefault(RegionZone(row.target.region, row.target.zone), []).append(row)
    # who is asked no more says nothing beside who is
    return {place: [row for row in rows if not row.is_absent] or rows for place, rows in sorted(by_place.items())}


# --- names -----------------------------------------------------------------------------------------------------------


def _names(
    conn: Connection, by_place: Mapping[RegionZone, Sequence[StatusRow]], now: datetime, stale_after: timedelta
) -> list[ZoneName]:
    asked = {row.target for rows in by_place.values() for row in rows}
    listed: dict[tuple[RegionZone, str], list[ImageRow]] = {}
    zones = {place.zone for place in by_place}
    few = (*zones,) if len(zones) == 1 else ()
    wanted = replace(_ASKED, image_set=(FEED_SET,), zone=few)
    for image in queries_images.images(conn, None, wanted, now=now, stale_after=stale_after, include_retired=True):
        if image.target in asked:
            place = RegionZone(image.target.region, image.target.zone)
            listed.setdefault((place, normalise_name(image.image_name)), []).append(image)
    target_ids = {choice.target_id: choice.target for choice in chosen_targets(conn, wanted) if choice.target in asked}
    places = {target_id: RegionZone(target.region, target.zone) for target_id, target in target_ids.items()}
    revoked = revoked_ids(conn)
    return [
        zone_name(
            place,
            seen.spelling[1],
            _stays(seen),
            by_place[place],
            listed.get((place, name_key), []),
            now=now,
            stale_after=stale_after,
            revoked=revoked,
        )
        for (place, name_key), seen in sorted(_seen(conn, places).items())
    ]


@dataclass(slots=True)
class _Seen:
    """What was ever seen of a name in a zone, in microseconds."""

    spans: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    spelling: tuple[int, str] = (0, "")


def _seen(conn: Connection, places: Mapping[int, RegionZone]) -> dict[tuple[RegionZone, str], _Seen]:
    columns = (ImageVersion.id, ImageVersion.name_key, ImageVersion.image_name, ImageVersion.image_id)
    named = select(*columns).where(ImageVersion.image_set == FEED_SET, ImageVersion.name_key != "")
    versions = {version_id: rest for version_id, *rest in conn.execute(named)}
    seen: dict[tuple[RegionZone, str], _Seen] = {}
    spans = conn.execute(_spans(of_targets=True), {"targets": sorted(places)}) if len(places) <= PORTION else None
    for target_id, version_id, valid_from, present_since, valid_to in spans or conn.execute(_spans(of_targets=False)):
        if target_id not in places or version_id not in versions:
            continue
        name_key, spelling, image_id = versions[version_id]
        own = seen.setdefault((places[target_id], name_key), _Seen())
        own.spans.setdefault(image_id, []).append((present_since, valid_to))
        own.spelling = max(own.spelling, (valid_from, spelling))
    return seen


@cache
def _spans(*, of_targets: bool) -> Select[*tuple[Any, ...]]:
    """Select the intervals of all that is asked, or of `:targets`; their times as stored, for there may be many."""
    times = (type_coerce(time, BigInteger) for time in (Interval.valid_from, Interval.present_since, Interval.valid_to))
    statement: Select[*tuple[Any, ...]] = select(Interval.target_id, Interval.version_id, *times)
    if of_targets:
        return statement.where(among(Interval.target_id, "targets"))
    asked = (TargetRow.kind == UK8S_IMAGE.name, TargetRow.variant == DEFAULT_VARIANT)
    return statement.join(TargetRow, TargetRow.id == Interval.target_id).where(*asked)


def _stays(seen: _Seen) -> Iterator[ZoneStay]:
    for image_id, spans in seen.spans.items():
        begin, end = -1, -1
        for since, until in [*sorted(spans), (_END, _END)]:
            if since <= end and end >= 0 and since != _END:
                end = max(end, until)
                continue
            if end >= 0:
                yield ZoneStay(image_id, from_micros(begin), None if end == _END else from_micros(end))
            begin, end = since, until


# --- changes ---------------------------------------------------------------------------------------------------------


def _public_kinds() -> dict[str, Collection[str]]:
    return {kind.name: kind.provider_sets for kind in KINDS.values() if kind.provider_sets}


class _Light(NamedTuple):
    """What tells a change from others."""

    number: int
    run_id: int
    target: Target
    image: tuple[str | None, str | None]
    #: Event, counterpart and fields.
    said: tuple[Any, ...]
    name: str | None

    @property
    def place(self) -> RegionZone:
        return RegionZone(self.target.region, self.target.zone)

    @property
    def names(self) -> Collection[str]:
        """What the image is called, and where that is what changed what it was called before."""
        fields, called = self.said[-1], self.name or ""
        return {called, *read_json(fields)["image_name"]} if '"image_name"' in (fields or "") else (called,)


def _public_changes(conn: Connection, last: int | None) -> PublishedChanges:
    """Return the changes of the provider's images, each once for its zone: as the first project met it."""
    sets = _public_kinds()
    told: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    def is_first(change: _Light) -> bool:
        if change.image[0] not in sets[change.target.kind]:
            return False
        image = (_unnamed(change.target), *change.image)
        if told.get(image) == change.said:
            return False
        told[image] = change.said
        return True

    return _newest(conn, filter(is_first, _changes(conn, Filters(kind=tuple(sets)), last)), _unnamed)


def _all_changes(conn: Connection, last: int | None) -> PublishedChanges:
    return _newest(conn, _changes(conn, EVERYTHING, last), lambda target: target)


def _unnamed(target: Target) -> Target:
    return target._replace(account="", project="")


def _changes(conn: Connection, filters: Filters, last: int | None) -> Iterator[_Light]:
    targets = {choice.target_id: choice.target for choice in chosen_targets(conn, filters)}
    for number, run_id, target_id, event, image_set, image_id, name, counterpart, fields in conn.execute(_light(last)):
        if target_id in targets:
            said = (event, counterpart, fields)
            yield _Light(number, run_id, targets[target_id], (image_set, image_id), said, name)


def _newest(conn: Connection, changes: Iterable[_Light], whose: Callable[[Target], Target]) -> PublishedChanges:
    """Return the newest of *changes*; *whose* leaves of a target what is told of it."""
    newest = _Newest()
    of_matrix = variants_of_matrices(conn)
    for _, of_run in groupby(changes, key=lambda change: change.run_id):
        found: dict[Any, list[_Light]] = {}
        for change in of_run:
            is_of_matrix = change.target.variant in of_matrix.get(change.target.account, ())
            place = whose(change.target)._replace(variant="")
            same = (place, change.image, change.said) if is_of_matrix and change.image[1] else change.number
            found.setdefault(same, []).append(change)
        for own in found.values():
            names = {one.target.variant for one in own}
            newest.add(own[0], tuple(sorted(names, key=lambda name: (name != DEFAULT_VARIANT, name))))
    return newest.rows(conn)


class _Newest:
    """The ids of the newest changes of all, of each place and of each name; they are given oldest first."""

    def __init__(self) -> None:
        self._all: deque[int] = deque(maxlen=MOST_CHANGES)
        self._places: dict[RegionZone, deque[int]] = {}
        self._names: dict[str, deque[int]] = {}
        self._variants: dict[int, tuple[str, ...]] = {}

    def add(self, change: _Light, variants: tuple[str, ...]) -> None:
        self._all.append(change.number)
        self._places.setdefault(change.place, deque(maxlen=MOST_ENTRIES)).append(change.number)
        # who follows a name is told that an image has lost it
        for key in set(map(normalise_name, change.names)) - {""}:
            self._names.setdefault(key, deque(maxlen=MOST_ENTRIES)).append(change.number)
        if len(variants) > 1:
            self._variants[change.number] = variants

    def rows(self, conn: Connection) -> PublishedChanges:
        wanted = {*self._all}.union(*self._places.values(), *self._names.values())
        rows = {row.id: row for row in _with_ids(conn, wanted)}

        def newest_first(numbers: Iterable[int]) -> list[ChangeRow]:
            return [rows[number] for number in sorted(numbers, reverse=True)]

        return PublishedChanges(
            newest=newest_first(self._all),
            by_place={place: newest_first(numbers) for place, numbers in sorted(self._places.items())},
            by_name={name: newest_first(numbers) for name, numbers in sorted(self._names.items())},
            variants={number: names for number, names in self._variants.items() if number in wanted},
        )


def _light(last: int | None) -> Select[*tuple[Any, ...]]:
    """Select what tells changes apart, up to the change *last*, the oldest first."""
    columns = (ChangeLog.id, ChangeLog.run_id, ChangeLog.target_id, ChangeLog.event, ChangeLog.image_set)
    more = (ChangeLog.image_id, ChangeLog.image_name, ChangeLog.counterpart, type_coerce(ChangeLog.fields, Text))
    of_images = ChangeLog.event != SCHEMA
    statement: Select[*tuple[Any, ...]] = select(*columns, *more).where(of_images).order_by(ChangeLog.id)
    return statement if last is None else statement.where(ChangeLog.id <= last)


def _with_ids(conn: Connection, numbers: Collection[int]) -> Iterator[ChangeRow]:
    for portion in portions(sorted(numbers)):
        rows = conn.execute(select(*ChangeLog.__table__.c).where(ChangeLog.id.in_(portion))).all()
        targets = targets_by_id(conn, sorted({row.target_id for row in rows}))
        for row in rows:
            yield change_row(row, targets[row.target_id])
