"""
The readers: what is, or was, available, what changed, how fresh the targets are, what the runs did.

Every function takes a connection inside `read(engine)`, so that all statements of an answer see the same moment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import Any, cast

from sqlalchemy import (
    Connection,
    Select,
    and_,
    bindparam,
    func,
    select,
)

from crawler.db import last_observation
from crawler.db import runs as db_runs
from crawler.db.filters import chosen_targets, targets_by_id
from crawler.db.schema import Account, ChangeLog, Mark, Run, Scope, ScopeTarget
from crawler.db.sql import among, portions
from crawler.domain.filters import EVERYTHING, TARGET_PARTS, Filters, part_fits
from crawler.domain.models import END_OF_TIME, IMAGE_EVENTS, RE_ISSUED, TARGET_EVENTS, RunStatus
from crawler.domain.rows import NO_REPORTS, FailureRow, RunSummary
from crawler.queries.changes import _is_one_of


def runs(
    conn: Connection, limit: int | None = None, *, ids: Collection[int] | None = None, filters: Filters = EVERYTHING
) -> Iterator[RunSummary]:
    """
    Return the newest *limit* runs (None: all), or those with these *ids*, oldest first, without their failures.

    With *filters* only those of the accounts, and those that asked any of the targets, that these want.
    """
    names = _account_names(conn)
    if filters.given(TARGET_PARTS):
        is_wanted = _wanted(conn, names, filters)
        statement = _run_columns().order_by(Run.id if limit is None else Run.id.desc())
        with conn.execute(statement, execution_options={"yield_per": 1000}) as rows:
            found: Iterable[Any] = filter(is_wanted, rows)
            if limit is not None:
                found = reversed(list(islice(found, limit)))
            for row in found:
                yield _summary(row, names)
        return
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


def _wanted(conn: Connection, names: Mapping[int, str], filters: Filters) -> Callable[[Any], bool]:
    """Return what tells whether a run is one that *filters* want; that of an account may have asked nothing."""
    if filters.given(TARGET_PARTS).keys() == {"account"}:
        accounts = {number for number, name in names.items() if part_fits("account", name, filters.account)}
        return lambda row: not accounts.isdisjoint(row.accounts)
    scopes: set[int] = set()
    for portion in portions([choice.target_id for choice in chosen_targets(conn, filters)]):
        scopes.update(conn.scalars(_scopes_of(), {"targets": portion}))
    return lambda row: row.scope_id in scopes


@cache
def _scopes_of() -> Select[int]:
    return select(ScopeTarget.scope_id).distinct().where(among(ScopeTarget.target_id, "targets"))


def run(conn: Connection, run_id: int) -> RunSummary | None:
    """Return one run with every target that was not `ok` in it; None when there is no such run."""
    row = conn.execute(_one_run(), {"run": run_id}).first()
    if row is None:
        return None
    own = {entry.id: entry.name for entry in conn.execute(_accounts_numbered(), {"accounts": row.accounts})}
    summary = _summary(row, own, _failures(conn, row))
    if not summary.changes["withdrawn"]:
        return summary
    # what was on hold and is believed by hand later is of the run, and not counted in it
    counted = (ChangeLog.run_id == run_id, ChangeLog.recorded_at <= (row.finished_at or END_OF_TIME))
    reissued = select(func.count()).where(*counted, _is_one_of([RE_ISSUED]))
    return replace(summary, re_issued=conn.scalar(reissued) or 0)


def last_run(conn: Connection) -> int | None:
    """Return the number of the newest run; None when there is none."""
    return conn.scalar(select(func.max(Run.id)))


@cache
def _one_run() -> Select[*tuple[Any, ...]]:
    return _run_columns().where(Run.id == bindparam("run"))


@cache
def _run_columns() -> Select[*tuple[Any, ...]]:
    columns: Select[*tuple[Any, ...]] = select(*Run.__table__.c, Scope.size, Mark.reached, Mark.counters)
    goes_on = and_(Mark.run_id == Run.id, Run.finished_at.is_(None))
    return columns.outerjoin(Scope, Scope.id == Run.scope_id).outerjoin(Mark, goes_on)


@cache
def _accounts_numbered() -> Select[*tuple[Any, ...]]:
    return select(Account.id, Account.name).where(among(Account.id, "accounts"))


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
        changes={event: counts[event] for event in (*IMAGE_EVENTS, *TARGET_EVENTS)},
        requests={name: counts[name] for name in ("sent", "retried", "throttled")},
        failures=failures,
        notices=tuple(row.notices or ()),
        reports=NO_REPORTS | (row.reports or {}),
        accounts=tuple(names.get(account_id, str(account_id)) for account_id in row.accounts),
        restricted=row.restricted,
    )


def _counts(row: Any) -> Mapping[str, Any]:
    """Return what a run has counted, by column; while it goes on, its mark has the newest counts."""
    return {**row._mapping, **(row.counters or {})}  # noqa: SLF001 - a public name, for all its underscore


def _failures(conn: Connection, row: Any) -> tuple[FailureRow, ...]:
    """Return the targets in the run's scope that a span of trouble covers."""
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
