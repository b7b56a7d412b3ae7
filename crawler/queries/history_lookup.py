"""
Where an image or a name was ever listed: every interval, with the gaps of knowledge.

Every function takes a connection inside `read(engine)`, so that all statements of an answer see one moment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, cast

from sqlalchemy import Connection, Select, func, select

from crawler.db.beginning import begins_at, require_kept
from crawler.db.filters import chosen_targets, meant_name, of_kinds, targets_by_id, with_known_names
from crawler.db.schema import ChangeLog, ImageVersion, Interval
from crawler.db.sql import PORTION, among, among_too, portions
from crawler.domain.filters import EVERYTHING, Filters, is_glob, name_fits
from crawler.domain.models import (
    END_OF_TIME,
    Event,
    ImageKey,
    Target,
    is_storable,
    normalise_name,
    require_aware,
)
from crawler.domain.reissues import newest, successors
from crawler.domain.rows import ChangeRow, Gap, Stay, unusable_state
from crawler.queries import gaps as queries_gaps
from crawler.queries.freshness import knowledge
from crawler.queries.history import HistoryRow, timeline
from crawler.queries.stays import stay_of
from crawler.queries.where import WhereRow, in_stated_sets, where

#: Earlier than any observation.
START_OF_TIME = datetime(1970, 1, 1, tzinfo=UTC)

# --- one image, everywhere -------------------------------------------------------------------------------------------


def image_ids(conn: Connection, wanted: str) -> list[str]:
    """Return the ids that *wanted* means: the id itself, or those of a name, or of names and ids that fit a glob."""
    if not is_storable(wanted):
        return []
    versions = select(ImageVersion.image_id).distinct()
    exact = conn.scalars(versions.where(ImageVersion.image_id == wanted)).all()
    if not exact and (name := normalise_name(meant_name(conn, wanted))):
        exact = conn.scalars(versions.where(ImageVersion.name_key == name)).all()
    if exact or not is_glob(wanted):
        return sorted(exact)
    every = conn.execute(select(ImageVersion.image_id, ImageVersion.image_name).distinct())
    return sorted({image_id for image_id, name in every if name_fits(name, wanted) or name_fits(image_id, wanted)})


def image_names(conn: Connection, wanted: str, filters: Filters = EVERYTHING) -> list[str]:
    """
    Return the normalised names that *wanted* means: the name itself, those that fit a glob, or those of an id.

    Of UK8S images, unless *filters* name a kind.
    """
    if not is_storable(wanted):
        return []
    kinds = filters.of_images().kind
    keys = of_kinds(conn, select(ImageVersion.name_key).distinct().where(ImageVersion.name_key != ""), kinds)
    exact = conn.scalars(keys.where(ImageVersion.name_key == normalise_name(wanted))).all()
    if not exact:
        exact = conn.scalars(keys.where(ImageVersion.image_id == wanted)).all()
    if not exact:
        exact = conn.scalars(keys.where(ImageVersion.name_key == normalise_name(meant_name(conn, wanted, kinds)))).all()
    if exact or not is_glob(wanted):
        return sorted(exact)
    every = conn.execute(of_kinds(conn, select(ImageVersion.name_key, ImageVersion.image_name).distinct(), kinds))
    return sorted({key for key, name in every if key and name_fits(name, wanted)})


def history(
    conn: Connection,
    ids: Collection[str],
    filters: Filters = EVERYTHING,
    *,
    now: datetime,
    stale_after: timedelta,
) -> list[HistoryRow]:
    """Tell every interval of the images *ids* in every target that *filters* want, with the gaps of knowledge."""
    filters = with_known_names(conn, filters)
    targets = {choice.target_id: choice.target for choice in chosen_targets(conn, filters)}
    versions = _versions_where(conn, ImageVersion.image_id, ids)
    stays = [
        (target_id, stay)
        for target_id, stay in _stays(conn, versions, targets)
        if filters.wants_image(stay.image_set, stay.image_id, stay.image_name)
    ]
    if not stays:
        return []
    found = {target_id for target_id, _ in stays}
    known = queries_gaps.coverage(
        conn,
        found,
        # of the time before the kept history only the intervals that lasted are left
        since=max(min(stay.valid_from for _, stay in stays), begins_at(conn) or START_OF_TIME),
        now=require_aware(now),
        stale_after=stale_after,
    )
    return timeline(
        (stay for _, stay in stays),
        image_changes(conn, ids, targets),
        {targets[target_id]: own for target_id, own in known.items()},
        _holds(conn, found, targets, ids),
        now=now,
    )


def where_is(
    conn: Connection,
    names: Collection[str],
    at: datetime | None,
    filters: Filters = EVERYTHING,
    *,
    now: datetime,
    stale_after: timedelta,
    include_retired: bool = False,
) -> list[WhereRow]:
    """
    Tell how each of the normalised *names* stood at *at* (None: *now*) at every target that *filters* want.

    At those of UK8S images, unless *filters* name a kind.
    """
    moment = require_aware(now if at is None else at)
    filters = with_known_names(conn, filters.of_images())
    require_kept(conn, moment)
    chosen = chosen_targets(conn, filters)
    targets = {choice.target_id: choice.target for choice in chosen}
    known = knowledge(conn, chosen, moment, stale_after, include_retired=include_retired)
    versions = _versions_where(conn, ImageVersion.name_key, names)
    if not filters.is_all_images:  # of a name that no wanted image has nothing is asked
        names = _names_wanted(versions.values(), filters)
    began = (_as_of(stay, moment) for _, stay in _stays(conn, versions, targets) if stay.valid_from <= moment)
    stays = [
        stay for stay in in_stated_sets(began) if filters.wants_image(stay.image_set, stay.image_id, stay.image_name)
    ]
    here = {target_id for target_id, target in targets.items() if target in known}
    holds = _holds(conn, here, targets, {stay.image_id for stay in stays})
    return where(_spellings(conn, names, filters.kind), stays, known, holds, at=moment)


def _names_wanted(versions: Iterable[Any], filters: Filters) -> set[str]:
    """Return the normalised names of those of *versions* that *filters* want."""
    named = ((version, str(version.attributes.get("image_name") or "")) for version in versions)
    return {
        normalise_name(name)
        for version, name in named
        if filters.wants_image(version.image_set, version.image_id, name)
    }


def _spellings(conn: Connection, names: Collection[str], kinds: Collection[str]) -> dict[str, str]:
    """Return for each normalised name the spelling that came last anywhere among *kinds*."""
    spellings = dict.fromkeys(sorted(names), "")
    spelled = of_kinds(conn, _spelled(), kinds)
    for portion in portions(sorted(names)):
        for key, spelling, _ in conn.execute(spelled, {"names": portion}):
            spellings[key] = spelling
    return spellings


@cache
def _spelled() -> Select[*tuple[Any, ...]]:
    """Select the spellings of `:names` with the time each came last, the newest last."""
    last = func.max(Interval.valid_from)
    return (
        select(ImageVersion.name_key, ImageVersion.image_name, last)
        .join(Interval, Interval.version_id == ImageVersion.id)
        .where(among(ImageVersion.name_key, "names"))
        .group_by(ImageVersion.name_key, ImageVersion.image_name)
        .order_by(last, ImageVersion.image_name)
    )


def _as_of(stay: Stay, moment: datetime) -> Stay:
    return stay._replace(valid_to=None) if stay.valid_to is not None and stay.valid_to > moment else stay


def image_changes(conn: Connection, ids: Collection[str], targets: Mapping[int, Target]) -> Iterator[ChangeRow]:
    """Return the changes of the images *ids* at *targets*, in the order in which they were written."""
    for portion in portions(sorted(ids)):
        statement = select(*ChangeLog.__table__.c).where(ChangeLog.image_id.in_(portion)).order_by(ChangeLog.id)
        for row in conn.execute(statement).all():
            if row.target_id in targets:
                yield change_row(row, targets[row.target_id])


def change_row(row: Any, target: Target) -> ChangeRow:
    """Return a row of the change log as readers get it."""
    return ChangeRow(
        id=row.id,
        run=row.run_id,
        target=target,
        event=cast("Event", row.event),
        image_set=row.image_set,
        image_id=row.image_id,
        image_name=row.image_name,
        fields=row.fields or {},
        counterpart=row.counterpart,
        not_before=row.not_before,
        observed_at=row.observed_at,
        recorded_at=row.recorded_at,
    )


def counterparts_of(conn: Connection, image_id: str) -> set[str]:
    """Return the counterparts of the withdrawals of *image_id*: what took its place."""
    statement = (
        select(ChangeLog.counterpart)
        .distinct()
        .where(ChangeLog.image_id == image_id, ChangeLog.event == "withdrawn", ChangeLog.counterpart.is_not(None))
    )
    return {found for found in conn.scalars(statement) if found}


def _versions_where(conn: Connection, column: Any, values: Collection[str]) -> dict[int, Any]:
    """Return the versions whose *column* has one of the *values*, by id."""
    columns = (ImageVersion.id, ImageVersion.image_set, ImageVersion.image_id, ImageVersion.attributes)
    return {
        row.id: row
        for portion in portions(sorted(values))
        for row in conn.execute(select(*columns).where(column.in_(portion))).all()
    }


def _stays(conn: Connection, versions: dict[int, Any], targets: dict[int, Target]) -> Iterator[tuple[int, Stay]]:
    """Return the intervals of *versions* at *targets*, each with the id of its target."""
    is_few = len(targets) <= PORTION
    for portion in portions(sorted(versions)):
        parameters: dict[str, Any] = {"versions": portion} | ({"targets": sorted(targets)} if is_few else {})
        rows = conn.execute(intervals_of(at_targets=is_few), parameters).all()
        for target_id, version_id, *interval in rows:
            if target_id in targets:
                yield target_id, stay_of(targets[target_id], versions[version_id], *interval)


@cache
def intervals_of(*, at_targets: bool) -> Select[*tuple[Any, ...]]:
    """Select the intervals of `:versions`; only those at `:targets`, when they are few enough to be named."""
    statement = select(
        Interval.target_id,
        Interval.version_id,
        Interval.valid_from,
        Interval.valid_to,
        Interval.present_since,
        Interval.baseline,
    ).where(among(Interval.version_id, "versions"))
    return statement.where(among_too(Interval.target_id, "targets")) if at_targets else statement


def _holds(
    conn: Connection, target_ids: Collection[int], targets: dict[int, Target], image_ids: Collection[str]
) -> dict[tuple[Target, ImageKey], Sequence[Gap]]:
    held = queries_gaps.holds(conn, target_ids, image_ids)
    return {(targets[target_id], key): gaps for (target_id, key), gaps in held.items()}


def successors_of(conn: Connection, numbers: Collection[int]) -> dict[int, tuple[str, ...]]:
    """
    Return which image there is in the place of what each of the changes *numbers* withdrew (`ChangeRow.is_alone`).

    Several ids where these came together. What has none, or is there again itself, is left out.
    """
    found: dict[int, tuple[str, ...]] = {}
    for portion in portions(sorted(numbers)):
        gone = conn.execute(_withdrawn(portion)).all()
        ids = sorted({row.target_id for row in gone})
        targets = targets_by_id(conn, ids)
        names = {normalise_name(row.image_name or "") for row in gone} - {""}
        named: dict[tuple[int, str, str], list[Any]] = {}
        for image in conn.execute(_open_under(names, ids)):
            if not unusable_state(targets[image.target_id].kind, image.attributes):
                named.setdefault((image.target_id, image.image_set, image.name_key), []).append(image)
        stays = conn.execute(_ended_at({row.observed_at for row in gone}, ids)).all()
        came = {(stay.target_id, stay.image_set, stay.image_id, stay.valid_to): stay.present_since for stay in stays}
        for row in gone:
            there = named.get((row.target_id, row.image_set, normalise_name(row.image_name or "")), ())
            since = came.get((row.target_id, row.image_set, row.image_id, row.observed_at))
            if since is not None and all(image.image_id != row.image_id for image in there):
                found[row.id] = successors(since, newest(there))
    return {number: there for number, there in found.items() if there}


def _withdrawn(numbers: Collection[int]) -> Select[*tuple[Any, ...]]:
    """Select what some changes withdrew, and where: the rows of pages have no project."""
    columns = (ChangeLog.id, ChangeLog.target_id, ChangeLog.image_set, ChangeLog.image_id, ChangeLog.image_name)
    return select(*columns, ChangeLog.observed_at).where(ChangeLog.id.in_(numbers))


def _open_under(names: Collection[str], target_ids: Collection[int]) -> Select[*tuple[Any, ...]]:
    """Select what some targets list under some normalised names."""
    columns = (ImageVersion.image_set, ImageVersion.name_key, ImageVersion.image_id, ImageVersion.attributes)
    statement = select(Interval.target_id, Interval.present_since, *columns)
    return statement.join(ImageVersion, ImageVersion.id == Interval.version_id).where(
        Interval.target_id.in_(target_ids), Interval.valid_to == END_OF_TIME, ImageVersion.name_key.in_(sorted(names))
    )


def _ended_at(moments: Collection[datetime], target_ids: Collection[int]) -> Select[*tuple[Any, ...]]:
    """Select the stays at some targets that ended at some moments."""
    columns = (ImageVersion.image_set, ImageVersion.image_id)
    statement = select(Interval.target_id, Interval.present_since, Interval.valid_to, *columns)
    return statement.join(ImageVersion, ImageVersion.id == Interval.version_id).where(
        Interval.target_id.in_(target_ids), Interval.valid_to.in_(sorted(moments))
    )
