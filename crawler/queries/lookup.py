"""
Rows for the questions that need more than one reading, and where an image or a name was ever listed.

Every function takes a connection inside `read(engine)`, so that all statements of an answer see one moment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from typing import Any, cast

from sqlalchemy import Connection, Select, func, select

from crawler.db.filters import chosen_targets, known_words, meant_name, targets_by_id, with_known_names
from crawler.db.pruning import begins_at, require_kept
from crawler.db.schema import ChangeLog, ImageVersion, Interval
from crawler.db.sql import PORTION, among, among_too, portions
from crawler.domain.filters import EVERYTHING, Filters, is_glob, name_fits, part_fits
from crawler.domain.models import (
    ABSENT,
    END_OF_TIME,
    Event,
    ImageKey,
    Target,
    is_storable,
    normalise_name,
    require_aware,
)
from crawler.domain.rows import ChangeRow, Gap, Knowledge, StatusRow, Stay
from crawler.errors import Ambiguous, EmptySelection
from crawler.queries import changes
from crawler.queries import gaps as queries_gaps
from crawler.queries import images as queries_images
from crawler.queries import status as queries_status
from crawler.queries.check import Check
from crawler.queries.check.rules import CheckRow, PinRule, Require
from crawler.queries.compare import CompareRow, side_by_side
from crawler.queries.diff import DiffRow, differences
from crawler.queries.freshness import knowledge
from crawler.queries.history import HistoryRow, timeline
from crawler.queries.images import images
from crawler.queries.resolve import Resolved
from crawler.queries.resolve import resolve as choose
from crawler.queries.where import WhereRow, where

#: Ids that a comparison of two moments asks for; above that, it reads all there is.
RELATED = 5_000
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


def image_names(conn: Connection, wanted: str) -> list[str]:
    """Return the normalised names that *wanted* means: the name itself, those that fit a glob, or those of an id."""
    if not is_storable(wanted):
        return []
    keys = select(ImageVersion.name_key).distinct().where(ImageVersion.name_key != "")
    exact = conn.scalars(keys.where(ImageVersion.name_key == normalise_name(wanted))).all()
    if not exact:
        exact = conn.scalars(keys.where(ImageVersion.image_id == wanted)).all()
    if not exact:
        exact = conn.scalars(keys.where(ImageVersion.name_key == normalise_name(meant_name(conn, wanted)))).all()
    if exact or not is_glob(wanted):
        return sorted(exact)
    every = conn.execute(select(ImageVersion.name_key, ImageVersion.image_name).distinct())
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
        _holds(conn, found, targets),
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
    """Tell how each of the normalised *names* stood at *at* (None: *now*) at every target that *filters* want."""
    moment = require_aware(now if at is None else at)
    require_kept(conn, moment)
    chosen = chosen_targets(conn, filters)
    targets = {choice.target_id: choice.target for choice in chosen}
    known = knowledge(conn, chosen, moment, stale_after, include_retired=include_retired)
    versions = _versions_where(conn, ImageVersion.name_key, names)
    stays = [
        _as_of(stay, moment)
        for _, stay in _stays(conn, versions, targets)
        if stay.valid_from <= moment and filters.wants_image(stay.image_set, stay.image_id, stay.image_name)
    ]
    here = {target_id for target_id, target in targets.items() if target in known}
    return where(_spellings(conn, names), stays, known, _holds(conn, here, targets), at=moment)


def _spellings(conn: Connection, names: Collection[str]) -> dict[str, str]:
    """Return for each normalised name the spelling that came last anywhere."""
    spellings = dict.fromkeys(sorted(names), "")
    for portion in portions(sorted(names)):
        for key, spelling, _ in conn.execute(_spelled(), {"names": portion}):
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
    return replace(stay, valid_to=None) if stay.valid_to is not None and stay.valid_to > moment else stay


def image_changes(conn: Connection, ids: Collection[str], targets: Mapping[int, Target]) -> Iterator[ChangeRow]:
    """Return the changes of the images *ids* at *targets*, in the order in which they were written."""
    for portion in portions(sorted(ids)):
        statement = select(*ChangeLog.__table__.c).where(ChangeLog.image_id.in_(portion)).order_by(ChangeLog.id)
        for row in conn.execute(statement):
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


def successors(conn: Connection, image_id: str) -> set[str]:
    """Return the images that took the place of *image_id* where it was withdrawn."""
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
        for row in conn.execute(select(*columns).where(column.in_(portion)))
    }


def _stays(conn: Connection, versions: dict[int, Any], targets: dict[int, Target]) -> Iterator[tuple[int, Stay]]:
    """Return the intervals of *versions* at *targets*, each with the id of its target."""
    is_few = len(targets) <= PORTION
    for portion in portions(sorted(versions)):
        parameters: dict[str, Any] = {"versions": portion} | ({"targets": sorted(targets)} if is_few else {})
        for row in conn.execute(intervals_of(at_targets=is_few), parameters):
            if row.target_id not in targets:
                continue
            version = versions[row.version_id]
            yield row.target_id, _stay(targets[row.target_id], version, row)


def _stay(target: Target, version: Any, interval: Any) -> Stay:
    """Return one interval of a version; the rows of both have what the tables have."""
    return Stay(
        target=target,
        image_set=version.image_set,
        image_id=version.image_id,
        attributes=version.attributes,
        valid_from=interval.valid_from,
        valid_to=None if interval.valid_to == END_OF_TIME else interval.valid_to,
        present_since=interval.present_since,
        baseline=interval.baseline,
    )


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
    conn: Connection, target_ids: Collection[int], targets: dict[int, Target]
) -> dict[tuple[Target, ImageKey], Sequence[Gap]]:
    return {(targets[target_id], key): gaps for (target_id, key), gaps in queries_gaps.holds(conn, target_ids).items()}


# --- two moments, two zones ------------------------------------------------------------------------------------------


def moments_apart(
    conn: Connection,
    first: datetime,
    second: datetime,
    filters: Filters = EVERYTHING,
    *,
    stale_after: timedelta,
) -> tuple[Iterator[DiffRow], dict[Target, tuple[Knowledge | None, Knowledge | None]]]:
    """
    Compare what was available at *first* and at *second*; give the rows, and how well each target was known then.

    Targets that were retired or deselected at both moments are left out.
    """
    filters = with_known_names(conn, filters)
    for at in (first, second):
        require_kept(conn, require_aware(at))
    chosen = chosen_targets(conn, filters)
    known = [knowledge(conn, chosen, require_aware(at), stale_after, include_retired=True) for at in (first, second)]
    asked = {target for side in known for target, own in side.items() if own.reason not in ABSENT}
    related = _related_ids(conn, filters)
    narrowed = replace(filters, name=(), image_id=related or ())
    rows = [
        (
            row
            for row in images(conn, at, narrowed, now=at, stale_after=stale_after, include_retired=True)
            if row.target in asked
        )
        for at in (first, second)
    ]
    found = differences(rows[0], rows[1], known[0], known[1]) if related != () else iter(())
    wanted = (row for row in found if _wants(filters, row))
    return wanted, {target: (known[0].get(target), known[1].get(target)) for target in sorted(asked)}


def _wants(filters: Filters, row: DiffRow) -> bool:
    """Return whether an image is wanted under the name it had at either moment."""
    return any(filters.wants_image(row.image_set, row.image_id, name) for name in row.names)


def _related_ids(conn: Connection, filters: Filters) -> tuple[str, ...] | None:
    """
    Return the ids that an answer about the wanted images has to look at: theirs, and those that ever shared their
    names.

    None: there are too many to name, or all are wanted.
    """
    if not filters.name and not filters.image_id:
        return None
    every = conn.execute(select(ImageVersion.image_id, ImageVersion.image_name, ImageVersion.name_key).distinct()).all()
    any_set = replace(filters, image_set=())
    ids = {row.image_id for row in every if any_set.wants_image(None, row.image_id, row.image_name)}
    keys = {row.name_key for row in every if row.image_id in ids and row.name_key}
    ids |= {row.image_id for row in every if row.name_key in keys}
    return tuple(sorted(ids)) if len(ids) <= RELATED else None


def zones_apart(
    conn: Connection,
    first: Iterable[str],
    second: Iterable[str],
    at: datetime | None,
    filters: Filters = EVERYTHING,
    *,
    now: datetime,
    stale_after: timedelta,
) -> tuple[list[CompareRow], tuple[dict[Target, Knowledge], dict[Target, Knowledge]]]:
    """
    Compare the zones *first* and *second* as of *at* (None: *now*); give the rows, and how well each was known.

    Raises Ambiguous when a side fits several zones: an image has an id in each.
    """
    moment = require_aware(now if at is None else at)
    filters = with_known_names(conn, filters)
    require_kept(conn, moment)
    sides = [replace(filters, zone=tuple(zones)) for zones in (first, second)]
    known = [knowledge(conn, chosen_targets(conn, side), moment, stale_after) for side in sides]
    for side in known:
        zones = sorted({target.zone for target in side})
        if len(zones) > 1:
            raise Ambiguous(f"Several zones fit: {', '.join(zones)}; one is compared with one other.")
    rows = [images(conn, moment, replace(side, image_id=()), now=moment, stale_after=stale_after) for side in sides]
    every = side_by_side(rows[0], rows[1], known[0], known[1])
    wanted = [
        row
        for row in every
        if not filters.image_id
        or any(
            filters.wants_image(side.image_set, side.image_id, side.image_name)
            for side in (row.first, row.second)
            if side
        )
    ]
    return wanted, (known[0], known[1])


def stays_of(conn: Connection, image_ids: Collection[str]) -> Iterator[Stay]:
    """Return every stay of the images with these ids, at every target; in order of time at each."""
    targets: dict[int, Target] = {}
    for portion in portions(sorted(image_ids)):
        rows = conn.execute(_intervals_of(), {"images": portion}).all()
        targets.update(targets_by_id(conn, sorted({row.target_id for row in rows} - targets.keys())))
        for row in rows:
            yield _stay(targets[row.target_id], row, row)


@cache
def _intervals_of() -> Select[*tuple[Any, ...]]:
    statement: Select[*tuple[Any, ...]] = select(
        Interval.target_id,
        Interval.valid_from,
        Interval.valid_to,
        Interval.present_since,
        Interval.baseline,
        ImageVersion.image_set,
        ImageVersion.image_id,
        ImageVersion.attributes,
    )
    return (
        statement.join(ImageVersion, ImageVersion.id == Interval.version_id)
        .where(among(ImageVersion.image_id, "images"))
        .order_by(Interval.target_id, Interval.valid_from)
    )


def targets_listing(conn: Connection, name_keys: Collection[str]) -> Iterator[tuple[Target, str]]:
    """Return the targets that ever listed an image of one of these normalised names, each with the name."""
    targets: dict[int, Target] = {}
    for portion in portions(sorted(name_keys)):
        rows = conn.execute(_listing(), {"names": portion}).all()
        targets.update(targets_by_id(conn, sorted({row.target_id for row in rows} - targets.keys())))
        for row in rows:
            yield targets[row.target_id], row.name_key


@cache
def _listing() -> Select[*tuple[Any, ...]]:
    statement: Select[*tuple[Any, ...]] = select(Interval.target_id, ImageVersion.name_key)
    return (
        statement.join(ImageVersion, ImageVersion.id == Interval.version_id)
        .where(among(ImageVersion.name_key, "names"))
        .distinct()
    )


def resolve(
    conn: Connection,
    name: str,
    filters: Filters,
    *,
    gpu: bool = False,
    now: datetime,
    stale_after: timedelta,
    max_age: timedelta | None = None,
    timezone: tzinfo = UTC,
) -> tuple[Resolved, StatusRow]:
    """
    Return the image called *name* to use now at the one place that *filters* want, and how that place is.

    From `ImageSet` and the default variant unless *filters* tell otherwise. Raises EmptySelection where there is no
    such place, NoAnswer, Ambiguous and UnknownKnowledge as `questions.resolve` does; *max_age* is *stale_after* by
    default. A refusal tells times in *timezone*.
    """
    place = replace(filters, variant=filters.variant or ("default",), image_set=(), name=(), image_id=())
    status = queries_status.status(conn, place, now=now)
    if not status:
        variants = {
            row.target.variant for row in queries_status.status(conn, replace(place, variant=filters.variant), now=now)
        }
        hint = f" It is asked with the variant {', '.join(sorted(variants))}." if variants else ""
        parts = ("account", "project", "region", "zone", "kind", "variant")
        words = " ".join(f"--{part} {' '.join(globs)}" for part in parts if (globs := getattr(place, part)))
        raise EmptySelection(f"No target fits {words}.{hint}")
    wanted = replace(place, image_set=filters.image_set or ("ImageSet",))
    images = queries_images.images(conn, None, wanted, now=now, stale_after=stale_after, include_retired=True)
    longest = stale_after if max_age is None else max_age
    name = meant_name(conn, name)
    found = choose(status, images, name, gpu=gpu, now=now, max_age=longest, timezone=timezone)
    return found, next(row for row in status if row.target == found.target)


def check(
    conn: Connection,
    rules: Sequence[Require | PinRule],
    filters: Filters,
    *,
    now: datetime,
    stale_after: timedelta,
    timezone: tzinfo = UTC,
) -> list[CheckRow]:
    """Judge *rules* at the targets that *filters* want, by what the history knows *now*; tell times in *timezone*."""
    status = queries_status.status(conn, filters, now=now)
    zones = {row.target.zone for row in status}
    left_out = known_words(conn, "zone") - zones
    chosen = [_by_project_id(conn, rule) for rule in rules if not _is_about(rule, left_out) or _is_about(rule, zones)]
    images = queries_images.images(conn, None, filters, now=now, stale_after=stale_after, include_retired=True)
    gate = Check(chosen, status, images, now=now, stale_after=stale_after, zone=timezone)
    past = gate.past(known_words(conn, "name"))
    withdrawals = (
        change
        for ids in portions(sorted(past.image_ids))
        for change in changes.changes(conn, events=("withdrawn",), filters=replace(filters, image_id=tuple(ids)))
    )
    gate.learn(stays_of(conn, past.image_ids), withdrawals, targets_listing(conn, past.name_keys))
    return list(gate.judge())


def _is_about(rule: Require | PinRule, zones: Collection[str]) -> bool:
    """Return whether *rule* names any of *zones*."""
    globs = rule.zones if isinstance(rule, Require) else () if rule.zone is None else (rule.zone,)
    return any(part_fits("zone", zone, globs) for zone in zones)


def _by_project_id(conn: Connection, rule: Require | PinRule) -> Require | PinRule:
    """Return *rule* with the ids of its projects, which people also call by name."""
    globs = rule.scope.project
    if not globs:
        return rule
    ids = {choice.target.project for choice in chosen_targets(conn, Filters(project=globs))}
    return replace(rule, scope=replace(rule.scope, project=tuple(sorted(ids)) or globs))
