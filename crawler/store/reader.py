"""
The readers: what is, or was, available, what changed, how fresh the targets are, what the runs did.

Every function takes a connection inside `read(engine)`, so that all statements of an answer see the same moment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any, Literal, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    type_coerce,
)

from crawler.db import changelog, last_observation
from crawler.db import runs as db_runs
from crawler.db.filters import EVERYTHING, ChosenTarget, Filters, chosen_targets, targets_by_id, with_known_names
from crawler.db.last_observation import Observation
from crawler.db.schema import Account, ChangeLog, Interval, Mark, Run, Scope, ScopeTarget
from crawler.db.sql import PORTION, portions, written
from crawler.db.types import read_json
from crawler.domain.models import END_OF_TIME, IMAGE_EVENTS, RE_ISSUED, Outcome, RunStatus, is_glob, require_aware
from crawler.domain.rows import NO_REPORTS, ChangeRow, FailureRow, RunSummary, StatusRow
from crawler.errors import UnknownKnowledge, UsageError
from crawler.store.available import images

__all__ = ["EVERYTHING", "Filters", "changes", "images", "run", "runs", "status"]

#: Changes read together; bounds the memory of an answer over everything.
ROWS_AT_ONCE = 1_000

# --- the change log --------------------------------------------------------------------------------------------------


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
) -> Iterator[ChangeRow]:
    """
    Return the changes recorded in `[since, until)`, by their cursors; raise ValueError for a time without a time zone.

    Only those with a cursor above *after*, and of at most *until_change* (`changelog.settled`). With *reported_by* only
    those that the reports of these runs tell. Raises UsageError for an *after* that this history never gave,
    UnknownKnowledge for one after which changes were pruned.
    """
    if after is not None:
        _check_cursor(conn, after)
    filters = with_known_names(conn, filters)
    target_ids = None
    if not filters.is_all_targets:
        target_ids = {choice.target_id for choice in chosen_targets(conn, filters)}
    narrowing: list[Any] = []
    if events:
        narrowing.append(_is_one_of(events))
    if filters.image_id and not any(map(is_glob, filters.image_id)):
        narrowing.append(ChangeLog.image_id.in_(filters.image_id))
    if reported_by is not None:
        narrowing.append(ChangeLog.reported_run_id.in_(sorted(reported_by)))
    if target_ids is not None and len(target_ids) <= PORTION:
        narrowing.append(ChangeLog.target_id.in_(sorted(target_ids)))
    moments = {name: require_aware(at) for name, at in (("since", since), ("until", until)) if at is not None}
    numbers = {name: at for name, at in (("after", after), ("last", until_change)) if at is not None}
    statement = _first_changes((*moments, *numbers), in_order=not moments and not narrowing).where(*narrowing)
    parameters = {**moments, **numbers}
    targets: dict[int, Any] = {}
    wants_all = filters.is_all_images
    for rows in _in_portions(conn, statement, parameters):
        targets.update(targets_by_id(conn, {row[2] for row in rows} - targets.keys()))
        for row in rows:
            (
                number, run_id, target_id, event, image_set, image_id, name, fields, counterpart,
                not_before, observed_at, recorded_at,
            ) = row  # fmt: skip
            if target_ids is not None and target_id not in target_ids:
                continue
            if not wants_all and not filters.wants_image(image_set, image_id, name):
                continue
            # by position: with words a row would take twice as long
            yield ChangeRow(
                number, run_id, targets[target_id], event, image_set, image_id, name, read_json(fields) or {},
                counterpart, not_before, observed_at, recorded_at,
            )  # fmt: skip


def _in_portions(
    conn: Connection, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
) -> Iterator[Sequence[Any]]:
    """Give the rows in portions; most answers are one, for which a cursor on the server would take longer to open."""
    first = conn.execute(statement, parameters).all()
    yield first
    if len(first) == ROWS_AT_ONCE:
        rest = statement.limit(None).offset(ROWS_AT_ONCE).execution_options(yield_per=ROWS_AT_ONCE)
        yield from conn.execute(rest, parameters).partitions()


def _check_cursor(conn: Connection, after: int) -> None:
    """Raise UsageError or UnknownKnowledge where a poller would not get every change after the cursor *after*."""
    last, pruned = changelog.last_change(conn), changelog.pruned_to(conn)
    if after > last:
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
    """Tell whether a change is one of *events*; a re-issue is a withdrawal that has a counterpart."""
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


# --- freshness -------------------------------------------------------------------------------------------------------


def status(
    conn: Connection, filters: Filters = EVERYTHING, *, now: datetime, include_retired: bool = True
) -> list[StatusRow]:
    """Give the freshness and the last outcome of every target."""
    chosen = chosen_targets(conn, filters)
    target_ids = [choice.target_id for choice in chosen]
    absent = last_observation.absences(conn, target_ids, require_aware(now))
    seen = last_observation.observations(conn, target_ids)
    counts = _open_counts(conn, target_ids)
    began = _ends_of(conn, {first for choice in chosen if (first := _first_ok(choice, seen.get(choice.target_id)))})
    rows: list[StatusRow] = []
    for choice in chosen:
        observation, absence = seen.get(choice.target_id), absent.get(choice.target_id)
        if absence is not None and not include_retired:
            continue
        trouble = observation.current_trouble if observation else None
        outcome: Outcome | Literal["retired", "deselected"] | None = observation.outcome if observation else None
        since = trouble.since if trouble else began.get(_first_ok(choice, observation) or 0)
        if absence is not None:
            outcome, since = absence
        rows.append(
            StatusRow(
                target=choice.target,
                outcome=outcome,
                since=since,
                last_ok_at=observation.observed_at if observation else None,
                images=counts.get(choice.target_id, 0),
                message=trouble.message if trouble else "",
            )
        )
    return rows


def _first_ok(choice: ChosenTarget, observation: Observation | None) -> int | None:
    """Give the first run since which all has been well: the one that ended the last trouble, or the baseline."""
    if observation is None or observation.current_trouble is not None:
        return None
    return observation.trouble.to_run_id if observation.trouble else choice.baseline_run_id


def _ends_of(conn: Connection, run_ids: Collection[int]) -> dict[int, datetime]:
    ends: dict[int, datetime] = {}
    for portion in portions(sorted(run_ids)):
        for run_id, finished_at in conn.execute(select(Run.id, Run.finished_at).where(Run.id.in_(portion))):
            if finished_at is not None:
                ends[run_id] = finished_at
    return ends


def _open_counts(conn: Connection, target_ids: Sequence[int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for portion in portions(target_ids):
        rows = conn.execute(
            select(Interval.target_id, func.count())
            .where(Interval.target_id.in_(portion), Interval.valid_to == END_OF_TIME)
            .group_by(Interval.target_id)
        )
        counts.update((target_id, count) for target_id, count in rows)
    return counts


# --- the ledger ------------------------------------------------------------------------------------------------------


def runs(conn: Connection, limit: int | None = None, *, ids: Collection[int] | None = None) -> Iterator[RunSummary]:
    """Give the newest *limit* runs (None: all), or those with these *ids*, oldest first, without their failures."""
    names = _account_names(conn)
    if ids is not None:
        for portion in portions(sorted(ids)):
            for row in conn.execute(_run_columns().where(Run.id.in_(portion)).order_by(Run.id)):
                yield _summary(row, names)
        return
    if limit is None:
        for row in conn.execute(_run_columns().order_by(Run.id).execution_options(yield_per=1000)):
            yield _summary(row, names)
        return
    newest = conn.execute(_run_columns().order_by(Run.id.desc()).limit(limit)).all()
    for row in reversed(newest):
        yield _summary(row, names)


def run(conn: Connection, run_id: int) -> RunSummary | None:
    """Give one run with every target that was not `ok` in it; None when there is no such run."""
    row = conn.execute(_one_run(), {"run": run_id}).first()
    if row is None:
        return None
    summary = _summary(row, _account_names(conn), _failures(conn, row))
    if not summary.changes["withdrawn"]:
        return summary
    reissued = select(func.count()).where(ChangeLog.run_id == run_id, _is_one_of([RE_ISSUED]))
    return replace(summary, re_issued=conn.scalar(reissued) or 0)


def last_run(conn: Connection) -> int | None:
    """Give the number of the newest run; None when there is none."""
    return conn.scalar(select(func.max(Run.id)))


@cache
def _one_run() -> Select[*tuple[Any, ...]]:
    return _run_columns().where(Run.id == bindparam("run"))


@cache
def _run_columns() -> Select[*tuple[Any, ...]]:
    columns: Select[*tuple[Any, ...]] = select(*Run.__table__.c, Scope.size, Mark.reached, Mark.counters)
    goes_on = and_(Mark.run_id == Run.id, Run.finished_at.is_(None))
    return columns.outerjoin(Scope, Scope.id == Run.scope_id).outerjoin(Mark, goes_on)


def _account_names(conn: Connection) -> dict[int, str]:
    return {row.id: row.name for row in conn.execute(select(Account.id, Account.name))}


def _summary(row: Any, names: Mapping[int, str], failures: tuple[FailureRow, ...] = ()) -> RunSummary:
    counts = _counts(row)
    return RunSummary(
        run=row.id,
        status=cast("RunStatus", row.status),
        started_at=row.started_at,
        finished_at=row.finished_at,
        targets={"total": row.size or 0}
        | {name: counts[name] for name in ("ok", "held", "denied", "failed", "skipped")},
        baseline={name: counts[f"baseline_{name}"] for name in ("targets", "images")},
        changes={event: counts[event] for event in (*IMAGE_EVENTS, "target_added", "target_retired")},
        requests={name: counts[name] for name in ("sent", "retried", "throttled")},
        failures=failures,
        notices=tuple(row.notices or ()),
        reports=NO_REPORTS | (row.reports or {}),
        accounts=tuple(names.get(account_id, str(account_id)) for account_id in row.accounts),
        restricted=row.restricted,
    )


def _counts(row: Any) -> Mapping[str, Any]:
    """Give what a run has counted, by column; while it goes on, its mark has the newest counts."""
    return {**row._mapping, **(row.counters or {})}  # noqa: SLF001 - a public name, for all its underscore


def _failures(conn: Connection, row: Any) -> tuple[FailureRow, ...]:
    """Give the targets in the run's scope that a span of trouble covers."""
    counts = _counts(row)
    if not any(counts[outcome] for outcome in ("held", "denied", "failed", "skipped")):
        return ()
    members = list(
        conn.execute(
            select(ScopeTarget.target_id).where(ScopeTarget.scope_id == row.scope_id).order_by(ScopeTarget.target_id)
        ).scalars()
    )
    if row.finished_at is None:
        members = db_runs.marked(row.reached, members)
    troubles = {
        target_id: trouble
        for target_id, trouble in last_observation.troubles_at(conn, row.id, members).items()
        if trouble.to_run_id > row.id
    }
    targets = targets_by_id(conn, troubles)
    return tuple(
        FailureRow(
            target=targets[target_id],
            outcome=trouble.outcome,
            failure_class=trouble.failure_class,
            ret_code=trouble.ret_code,
            message=trouble.message,
            request_uuid=trouble.request_uuid,
        )
        for target_id, trouble in sorted(troubles.items(), key=lambda item: targets[item[0]])
    )
