"""
What changed: the change log, filtered, in the order of its cursor.

`change_row` in `history_lookup` makes the same rows of the changes of an image. Every function takes a connection
inside `read(engine)`, so that all statements of an answer see the same moment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    literal_column,
    or_,
    select,
    type_coerce,
)

from crawler.db import changelog
from crawler.db.beginning import begins_at
from crawler.db.filters import MANY, ChosenTarget, chosen_targets, images_wanted, targets_by_id, with_known_names
from crawler.db.schema import ChangeLog
from crawler.db.sql import PORTION, among, among_too, written
from crawler.db.types import read_json
from crawler.domain.filters import EVERYTHING, TARGET_PARTS, Filters, is_glob
from crawler.domain.models import END_OF_TIME, LARGEST_ID, RE_ISSUED, SCHEMA, is_storable, require_aware
from crawler.domain.rows import ChangeRow
from crawler.errors import UnknownKnowledge, UsageError

#: Changes read together; bounds the memory of an answer over everything.
ROWS_AT_ONCE = 1_000


def changes(
    conn: Connection,
    since: datetime | None = None,
    until: datetime | None = None,
    events: Collection[str] = (),
    filters: Filters = EVERYTHING,
    *,
    after: int | None = None,
    until_change: int | None = None,
    reported_by: Collection[int] | None = None,
    with_schema: bool = False,
) -> Iterator[ChangeRow]:
    """
    Return the changes recorded in `[since, until)`, by their cursors; raise ValueError for a time without a time zone.

    Only those with a cursor above *after*, and of at most *until_change* (`changelog.settled`). With *reported_by* only
    those that the reports of these runs tell. A filter of names wants a new name under the old one as well. What
    answers state at all (`schema`) is told where it is asked for among *events*, or *with_schema*: it is about no
    image. Raises UsageError for an *after* that this history never gave, UnknownKnowledge for one after which changes
    were pruned.
    """
    if after is not None:
        _check_cursor(conn, after)
    filters = with_known_names(conn, filters)
    target_ids = None
    narrowing: list[Any] = []
    if filters.given(TARGET_PARTS):
        chosen = chosen_targets(conn, filters)
        target_ids = {choice.target_id for choice in chosen}
        narrowing = _is_at(chosen, filters)
    if events:
        narrowing.append(_is_one_of(events))
    parameters: dict[str, Any] = {}
    ids: Sequence[str] | None = tuple(filter(is_storable, filters.image_id))
    if not filters.image_id or any(map(is_glob, filters.image_id)):
        is_worth_it = (filters.name or filters.image_id) and _is_long(conn, since, until, after)
        ids = images_wanted(conn, filters) if is_worth_it else None
    if ids is not None:
        narrowing.append(among_too(ChangeLog.image_id, "ids"))
        parameters["ids"] = ids
    if reported_by is not None:
        narrowing.append(among(ChangeLog.reported_run_id, "runs"))
        parameters["runs"] = sorted(reported_by)
    if since is not None and until is None:
        until = END_OF_TIME  # else PostgreSQL, which plans once for every moment, takes a third of all to be as young
    moments = {name: require_aware(at) for name, at in (("since", since), ("until", until)) if at is not None}
    numbers = {name: at for name, at in (("after", after), ("last", until_change)) if at is not None}
    statement = _first_changes((*moments, *numbers), in_order=not moments and not narrowing).where(*narrowing)
    parameters |= {**moments, **numbers}
    targets: dict[int, Any] = {}
    # the statement asks for the ids, where there are no globs among them
    wants_all = filters.is_all_images or (ids == filters.image_id and not (filters.image_set or filters.name))
    for rows in _in_portions(conn, statement, parameters):
        targets.update(targets_by_id(conn, {row[2] for row in rows} - targets.keys()))
        for row in rows:
            (
                number, run_id, target_id, event, image_set, image_id, name, fields, counterpart,
                not_before, observed_at, recorded_at,
            ) = row  # fmt: skip
            is_elsewhere = target_ids is not None and target_id not in target_ids
            if is_elsewhere or (event == SCHEMA and not (events or with_schema)):
                continue
            if not (wants_all or filters.wants_image(image_set, image_id, name)) and not (
                fields is not None and _was_wanted(filters, image_set, image_id, fields)
            ):
                continue
            # by position: with words a row would take twice as long
            yield ChangeRow(
                number, run_id, targets[target_id], event, image_set, image_id, name, read_json(fields) or {},
                counterpart, not_before, observed_at, recorded_at,
            )  # fmt: skip


def _was_wanted(filters: Filters, image_set: str | None, image_id: str | None, fields: str) -> bool:
    """Return whether a change, by its *fields*, took a name from an image that is wanted under it."""
    if not filters.name or image_id is None or '"image_name":' not in fields:
        return False
    return any(filters.wants_image(image_set, image_id, name) for name in read_json(fields).get("image_name", ()))


def _is_at(chosen: Sequence[ChosenTarget], filters: Filters) -> list[ColumnElement[bool]]:
    """Return what an index knows of changes at the *chosen* targets: these, or of whose account they are."""
    if len(chosen) <= PORTION:
        return [ChangeLog.target_id.in_(sorted(choice.target_id for choice in chosen))]
    return [ChangeLog.account_id.in_(sorted({choice.account_id for choice in chosen}))] if filters.account else []


def _is_long(conn: Connection, since: datetime | None, until: datetime | None, after: int | None) -> bool:
    """Return whether so much was recorded in that time that it is worth looking up which images are wanted."""
    if begins_at(conn) is not None:
        return False  # a change may have outlived what was known of its image
    first, last = after or 0, LARGEST_ID
    if since is not None:
        begun = select(ChangeLog.id).where(ChangeLog.recorded_at >= since).order_by(ChangeLog.recorded_at, ChangeLog.id)
        first = max(first, conn.scalar(begun.limit(written(1))) or LARGEST_ID)
    if until is not None:
        ended = select(ChangeLog.id).where(ChangeLog.recorded_at < until)
        ended = ended.order_by(ChangeLog.recorded_at.desc(), ChangeLog.id.desc())
        last = conn.scalar(ended.limit(written(1))) or 0
    return min(last, changelog.last_change(conn)) - first > MANY


def _in_portions(
    conn: Connection, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
) -> Iterator[Sequence[Any]]:
    """Return the rows in portions; most answers are one, for which a cursor on the server would take longer to open."""
    first = conn.execute(statement, parameters).all()
    yield first
    if len(first) == ROWS_AT_ONCE:
        rest = statement.limit(None).offset(ROWS_AT_ONCE).execution_options(yield_per=ROWS_AT_ONCE)
        yield from conn.execute(rest, parameters).partitions()


def _check_cursor(conn: Connection, after: int) -> None:
    """Raise UsageError or UnknownKnowledge where a poller would not get every change after the cursor *after*."""
    last, pruned = changelog.last_change(conn), changelog.pruned_to(conn)
    if after > last and after > changelog.given_to(conn):
        raise UsageError(
            f"{after} is no cursor of this history: its last change has {last}."
            if last
            else f"{after} is no cursor of this history: it has no change yet."
        )
    if 0 < after < pruned:
        raise UnknownKnowledge(
            f"Nobody can tell any more what came after the cursor {after}: the changes up to {pruned} were pruned. "
            "Begin again without a cursor."
        )


def _is_one_of(events: Collection[str]) -> ColumnElement[bool]:
    """Return whether a change is one of *events*; a re-issue is a withdrawal that has a counterpart."""
    reissued = and_(ChangeLog.event == "withdrawn", ChangeLog.counterpart.is_not(None))
    wanted = ChangeLog.event.in_(sorted(set(events) - {RE_ISSUED}))
    return or_(wanted, reissued) if RE_ISSUED in events else wanted


_BOUNDS: Mapping[str, Callable[[Any], ColumnElement[bool]]] = {
    "since": lambda value: ChangeLog.recorded_at >= value,
    "until": lambda value: ChangeLog.recorded_at < value,
    "after": lambda value: ChangeLog.id > value,
    "last": lambda value: ChangeLog.id <= value,
}


@cache
def _first_changes(bounds: tuple[str, ...], *, in_order: bool) -> Select[*tuple[Any, ...]]:
    """
    Select the first portion of all changes within the parameters that *bounds* names, by their cursors.

    *in_order*: read in that order; else found by another index and sorted.
    """
    statement: Select[*tuple[Any, ...]] = select(
        ChangeLog.id,
        ChangeLog.run_id,
        ChangeLog.target_id,
        ChangeLog.event,
        ChangeLog.image_set,
        ChangeLog.image_id,
        ChangeLog.image_name,
        type_coerce(ChangeLog.fields, Text),  # decoded for those that are wanted
        ChangeLog.counterpart,
        ChangeLog.not_before,
        ChangeLog.observed_at,
        ChangeLog.recorded_at,
    )
    for bound in bounds:
        statement = statement.where(_BOUNDS[bound](bindparam(bound)))
    # the sum keeps the databases from walking all there is in the wanted order
    order = ChangeLog.id if in_order else ChangeLog.id + literal_column("0", Integer)
    return statement.order_by(order).limit(written(ROWS_AT_ONCE))
