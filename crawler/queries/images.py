"""
What is, or was, available: the images of some targets at a moment, each with the state of knowledge.

The answer says how well that moment was observed: a row whose state is unknown is given, never left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import cache
from operator import itemgetter
from typing import Any, Literal, NamedTuple

from sqlalchemy import BigInteger, Connection, Select, Text, bindparam, select, type_coerce

from crawler.db.beginning import refuse_before
from crawler.db.filters import ChosenTarget, version_ids, with_known_names
from crawler.db.last_observation import Observation
from crawler.db.schema import ImageVersion, Interval
from crawler.db.sql import among, among_too, portions
from crawler.db.types import each_from_micros, read_json
from crawler.domain.filters import EVERYTHING, Filters
from crawler.domain.kinds import BOOTABLE
from crawler.domain.models import ABSENT, Attributes, ImageKey, require_aware
from crawler.domain.reissues import newest, successors, the_one
from crawler.domain.rows import ImageRow, Reason, maker_of
from crawler.queries.freshness import KnownAt, chosen_at

#: Targets whose images are read together; bounds the memory of an answer over everything.
TARGETS_AT_ONCE = 200
#: Versions remembered between portions of targets; projects of a zone list the same images, and come far apart.
VERSIONS_AT_ONCE = 60_000
#: Targets from which on versions are read by themselves, once each; for fewer, two statements take longer than one.
MANY_TARGETS = 50


class _Version(NamedTuple):
    """What all targets that list a version share; kept as it is read, by the hundred for one answer."""

    image_set: str
    name: str
    image_id: str
    name_key: str
    attributes: Attributes


class _Valid(NamedTuple):
    """An interval that is valid at the moment."""

    version: _Version
    valid_from: datetime
    present_since: datetime
    baseline: bool

    @property
    def image_id(self) -> str:
        """Return the image's id."""
        return self.version.image_id


_new_valid, _new_row = maker_of(_Valid), maker_of(ImageRow)


def images(
    conn: Connection,
    at: datetime | None,
    filters: Filters = EVERYTHING,
    *,
    now: datetime,
    stale_after: timedelta,
    include_retired: bool = False,
) -> Iterator[ImageRow]:
    """
    Return what is available of any kind at *at* (None: *now*), with the state of knowledge at that moment.

    Rows come by target, then set, name and id. Targets that were retired or deselected then are left out unless
    *include_retired*. Raises ValueError for a time without a time zone.
    """
    moment = require_aware(now if at is None else at)
    filters = with_known_names(conn, filters)
    chosen, known = chosen_at(conn, filters, moment)
    yield from images_of(conn, chosen, known, moment, filters, stale_after=stale_after, include_retired=include_retired)


def images_of(
    conn: Connection,
    chosen: Sequence[ChosenTarget],
    known: KnownAt,
    moment: datetime,
    filters: Filters,
    *,
    stale_after: timedelta,
    include_retired: bool = False,
) -> Iterator[ImageRow]:
    """Return the same of the targets *chosen*, of which so much was *known* at the *moment*."""
    refuse_before(known.began, moment)
    narrowed = version_ids(conn, filters, cheaply=len(chosen) <= TARGETS_AT_ONCE)
    if not include_retired:
        chosen = [choice for choice in chosen if choice.target_id not in known.absent]
    versions: dict[int, _Version] = {}
    for portion in portions(chosen, TARGETS_AT_ONCE):
        ids = [choice.target_id for choice in portion]
        valid = _valid_intervals(conn, ids, moment, narrowed, versions)
        for choice in portion:
            target_id = choice.target_id
            seen, held = known.seen.get(target_id), known.held.get(target_id, ())
            reason = known.reason(target_id, moment, stale_after)
            yield from _rows(choice, valid.get(target_id, []), filters, reason, held, seen)
        if len(versions) > VERSIONS_AT_ONCE:
            versions.clear()


def _rows(
    choice: ChosenTarget,
    intervals: Sequence[_Valid],
    filters: Filters,
    reason: Reason | None,
    held: Collection[ImageKey],
    observation: Observation | None,
) -> Iterator[ImageRow]:
    latest = _newest_of_shared_names(intervals)
    wants_all = filters.is_all_images
    observed_at = observation.observed_at if observation else None
    # Being asked no more outweighs a hold; a hold says more than the outcome of the whole target.
    if reason in ABSENT:
        held = ()
    for version, valid_from, present_since, baseline in sorted(intervals, key=_order):
        image_set, name, image_id, name_key, attributes = version
        if not wants_all and not filters.wants_image(image_set, image_id, name):
            continue
        why = "held" if held and (image_set, image_id) in held else reason
        rivals = latest.get((image_set, name_key))
        superseded_by = the_one(successors(present_since, rivals)) if rivals else None
        state: Literal["present", "unknown"] = "unknown" if why else "present"
        yield _new_row((
            choice.target, image_set, image_id, attributes, valid_from, present_since, baseline, superseded_by,
            state, why, observed_at,
        ))  # fmt: skip


def _newest_of_shared_names(intervals: Iterable[_Valid]) -> dict[tuple[str, str], Sequence[_Valid]]:
    """Return, of each set and name that several images have, those that came last and can be used."""
    named: dict[tuple[str, str], list[_Valid]] = {}
    for valid in intervals:
        image_set, _, _, name_key, _ = valid.version
        if name_key:
            named.setdefault((image_set, name_key), []).append(valid)
    return {
        name: newest([valid for valid in members if valid.version.attributes.get(BOOTABLE) is not False])
        for name, members in named.items()
        if len(members) > 1
    }


def _order(valid: _Valid) -> tuple[Any, ...]:
    return valid[0][:3]  # set, name and id


#: What `_Version` is made of; the attributes are decoded once for all targets that list the version.
_VERSION = (
    *(ImageVersion.image_set, ImageVersion.image_name, ImageVersion.image_id, ImageVersion.name_key),
    type_coerce(ImageVersion.attributes, Text),
)


@cache
def _versions() -> Select[*tuple[Any, ...]]:
    return select(ImageVersion.id, *_VERSION).where(among(ImageVersion.id, "versions"))


@cache
def valid_at(*, narrowed: bool, with_versions: bool = True) -> Select[*tuple[Any, ...]]:
    """
    Select the intervals of `:targets` that are valid `:at` a moment; only of `:versions`, when *narrowed*.

    Their moments in microseconds, which are read together: one by one they take half of the time of an answer.
    """
    moments = (type_coerce(moment, BigInteger) for moment in (Interval.valid_from, Interval.present_since))
    columns = (Interval.version_id, Interval.target_id, *moments, Interval.baseline)
    statement: Select[*tuple[Any, ...]] = select(*columns).where(
        among(Interval.target_id, "targets"),
        Interval.valid_to > bindparam("at"),
        Interval.valid_from <= bindparam("at"),
    )
    if with_versions:
        statement = statement.add_columns(*_VERSION).join(ImageVersion, ImageVersion.id == Interval.version_id)
    return statement.where(among_too(Interval.version_id, "versions")) if narrowed else statement


def _valid_intervals(
    conn: Connection,
    target_ids: Sequence[int],
    moment: datetime,
    narrowed: Sequence[int] | None,
    versions: dict[int, _Version],
) -> dict[int, list[_Valid]]:
    parameters: dict[str, Any] = {"targets": target_ids, "at": moment}
    if narrowed is not None:
        parameters["versions"] = narrowed
    with_versions = len(target_ids) <= MANY_TARGETS
    statement = valid_at(narrowed=narrowed is not None, with_versions=with_versions)
    rows = conn.execute(statement, parameters).all()
    if with_versions:
        stated = ((row[0], *row[5:]) for row in rows)
    else:
        missing = {row[0] for row in rows}.difference(versions)
        stated = (row for ids in portions(missing, 5_000) for row in conn.execute(_versions(), {"versions": ids}).all())
    for version_id, *named, attributes in stated:
        if version_id not in versions:
            versions[version_id] = _Version._make((*named, read_json(attributes)))
    valid: dict[int, list[_Valid]] = {}
    # many are of the same runs, and one object each
    distinct = {*map(itemgetter(2), rows), *map(itemgetter(3), rows)}
    moments = dict(zip(distinct, each_from_micros(distinct), strict=True))
    for version_id, target_id, since, present_since, baseline in map(itemgetter(0, 1, 2, 3, 4), rows):
        valid.setdefault(target_id, []).append(
            _new_valid((versions[version_id], moments[since], moments[present_since], baseline))
        )
    return valid
