"""
The ledger of runs: begin, plan, finish, and what to do about a run that died.

A run is the observation of the targets in its scope. Scopes are sets of target ids, stored once; while a run is going
on, a bitmap over its scope marks the targets already recorded, so that a killed run still counts for exactly those. The
mark is kept apart from the run, in a row that the next run takes over. Every function takes a connection inside
`begin(engine, fence)`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Text,
    Update,
    bindparam,
    cast,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningInsert

from crawler.db import last_observation
from crawler.db.schema import (
    OPEN_RUN,
    Account,
    CatalogRow,
    ChangeLog,
    Hold,
    Interval,
    Mark,
    Run,
    Scope,
    ScopeTarget,
    Setting,
    TargetRow,
)
from crawler.db.sql import TARGET_COLUMNS, among, insert_missing, portions, shared_target, written
from crawler.domain.models import END_OF_TIME, RunStatus, Target, digest_of, iso_utc
from crawler.errors import ClockWentBackwards

#: What a run counts; columns of `runs`.
COUNTERS = (
    *("ok", "held", "denied", "failed", "skipped", "baseline_targets", "baseline_images"),
    *("appeared", "returned", "withdrawn", "modified", "target_added", "target_retired"),
    *("sent", "retried", "throttled"),
)

_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTarget:
    """A target of this run, with what the Recorder needs to know of its past."""

    target: Target
    target_id: int
    account_id: int
    #: It was observed well at least once: it is, or was, open to this key.
    ever_ok: bool
    #: Of the last body that was fully believed; an equal one needs no decoding.
    body_hash: bytes | None
    #: End of the last run that observed it well.
    last_good_at: datetime | None
    #: Start of that run, where it is the last run; None where that has to be looked up.
    last_good_started_at: datetime | None = None
    #: The span of trouble that still lasts.
    trouble: last_observation.LastOutcome | None = None
    has_hold: bool = False


class LastAnswer(NamedTuple):
    """What is kept of the last answer of a target that wrote anything; looked up only where the next one differs."""

    snapshot_digest: str | None
    payload_id: int | None
    written_at: datetime | None
    #: See `TargetRow`.
    unreadable: int
    excess: int
    answered_by: str
    #: Of the images that are open, the versions.
    version_ids: tuple[int, ...]


# --- scopes and their bitmaps ----------------------------------------------------------------------------------------


class Positions:
    """Each target's bit in a bitmap over the scope that holds exactly these targets."""

    __slots__ = ("_ordered",)

    def __init__(self, target_ids: Iterable[int]) -> None:
        self._ordered = array("q", sorted(target_ids))

    def __getitem__(self, target_id: int) -> int:
        """Return the bit of a target; raise KeyError when the scope does not hold it."""
        bit = bisect_left(self._ordered, target_id)
        if bit == len(self._ordered) or self._ordered[bit] != target_id:
            raise KeyError(target_id)
        return bit


def positions(target_ids: Iterable[int]) -> Positions:
    """Return each target's bit, eight bytes for each."""
    return Positions(target_ids)


def marked(bitmap: bytes | None, target_ids: Sequence[int]) -> list[int]:
    """Return those of the sorted *target_ids* whose bit is set."""
    bits = bitmap or b""
    return [
        target_id
        for bit, target_id in enumerate(target_ids)
        if bit >> 3 < len(bits) and bits[bit >> 3] >> (bit & 7) & 1
    ]


def _scope_of(conn: Connection, target_ids: Collection[int]) -> int:
    """Return the id of the scope that holds exactly *target_ids*, storing it when it is new."""
    ordered = sorted(set(target_ids))
    digest = digest_of(ordered)
    scope_id: int | None = conn.execute(_scope_with(), {"digest": digest}).scalar()
    if scope_id is not None:
        return scope_id
    accounts = set[int]()
    for portion in portions(ordered):
        accounts.update(conn.execute(_accounts_of_targets(), {"targets": portion}).scalars())
    account_id = accounts.pop() if len(accounts) == 1 else None
    insert_missing(conn, Scope, [{"digest": digest, "size": len(ordered), "account_id": account_id}])
    added: int = conn.execute(_scope_with(), {"digest": digest}).scalar_one()
    insert_missing(conn, ScopeTarget, ({"scope_id": added, "target_id": target_id} for target_id in ordered))
    return added


@cache
def _scope_with() -> Select[*tuple[Any, ...]]:
    return select(Scope.id).where(Scope.digest == bindparam("digest"))


@cache
def _accounts_of_targets() -> Select[*tuple[Any, ...]]:
    return select(TargetRow.account_id).where(among(TargetRow.id, "targets")).distinct()


def _members(conn: Connection, scope_id: int | None) -> list[int]:
    statement = select(ScopeTarget.target_id).where(ScopeTarget.scope_id == scope_id).order_by(ScopeTarget.target_id)
    return list(conn.execute(statement).scalars())


# --- begin, plan, mark, finish ---------------------------------------------------------------------------------------


def begin_run(
    conn: Connection,
    *,
    started_at: datetime,
    account_ids: Iterable[int],
    target_ids: Collection[int],
    restricted: bool = False,
    tick: datetime | None = None,
) -> int:
    """Add a run over *target_ids*, for a *tick* of the fleet or none, and give its id."""
    accounts = sorted(account_ids)
    row = {"status": "running", "started_at": started_at, "accounts": accounts, "restricted": restricted, "tick": tick}
    row["account_id"] = accounts[0] if len(accounts) == 1 else None
    counters = dict.fromkeys(COUNTERS, 0)
    values = {**row, **counters, "scope_id": _scope_of(conn, target_ids)}
    return conn.execute(_insert_run(), values).scalar_one()


@cache
def _insert_run() -> ReturningInsert[int]:
    return insert(Run).returning(Run.id)


def plan(conn: Connection, target_ids: Collection[int], accounts: Collection[int]) -> list[PlannedTarget]:
    """
    Return the targets of a run with their past, the oldest good observation first (never observed ones lead).

    *accounts*: the ids of those that the targets are of.
    """
    runs = last_observation.last_runs(conn, target_ids, accounts=accounts)
    planned: list[PlannedTarget] = []
    for portion in portions(sorted(target_ids)):
        seen = last_observation.with_troubles(
            conn, {target_id: runs[target_id] for target_id in portion if target_id in runs}
        )
        with_holds = set(conn.execute(_with_open_holds(), {"targets": portion}).scalars())
        rows = conn.execute(_planned_columns(), {"targets": portion})
        for *names, target_id, account_id, baseline_run_id, body_hash in rows:
            observation = seen.get(target_id)
            trouble = observation.current_trouble if observation else None
            is_good = observation is not None and (trouble is None or trouble.outcome == "held")
            planned.append(
                PlannedTarget(
                    target=shared_target(*names),
                    target_id=target_id,
                    account_id=account_id,
                    ever_ok=baseline_run_id is not None,
                    body_hash=body_hash,
                    last_good_at=observation.observed_at if observation else None,
                    last_good_started_at=observation.last_run.started_at if observation and is_good else None,
                    trouble=trouble if trouble and trouble.to_run_id == OPEN_RUN else None,
                    has_hold=target_id in with_holds,
                )
            )
    # By one thing after another, the weightiest last: a key of them all would be as large again as what is planned.
    for weight in _WEIGHTS:
        planned.sort(key=weight)
    return planned


def _age(planned: PlannedTarget) -> datetime:
    return planned.last_good_at or _BEGINNING


#: The order of asking: what is known the longest, then by zone; its projects list much alike, which is read once.
_WEIGHTS: tuple[Callable[[PlannedTarget], Any], ...] = (
    *(attrgetter(f"target.{part}") for part in ("project", "variant", "kind", "zone", "region", "account")),
    _age,
)


@cache
def _with_open_holds() -> Select[*tuple[Any, ...]]:
    return select(Hold.target_id).where(among(Hold.target_id, "targets"), Hold.status == "open")


@cache
def _planned_columns() -> Select[*tuple[Any, ...]]:
    columns: tuple[Any, ...] = (TargetRow.id, TargetRow.account_id, TargetRow.baseline_run_id, TargetRow.body_hash)
    return (
        select(*TARGET_COLUMNS, *columns)
        .join(Account, Account.id == TargetRow.account_id)
        .where(among(TargetRow.id, "targets"))
    )


def last_answers(conn: Connection, target_ids: Iterable[int]) -> dict[int, LastAnswer]:
    """Return what is kept of the last answer of each target."""
    return {
        row.id: LastAnswer(
            snapshot_digest=row.snapshot_digest,
            payload_id=row.payload_id,
            written_at=row.written_at,
            unreadable=row.unreadable,
            excess=row.excess,
            answered_by=row.answered_by or "",
            version_ids=tuple(map(int, (row.version_ids or "").split())),
        )
        for portion in portions(target_ids)
        for row in conn.execute(_kept_of_answers(), {"targets": portion})
    }


@cache
def _kept_of_answers() -> Select[*tuple[Any, ...]]:
    columns: tuple[Any, ...] = (TargetRow.snapshot_digest, TargetRow.payload_id, TargetRow.written_at)
    columns += (TargetRow.unreadable, TargetRow.excess, TargetRow.answered_by)
    # A row per target instead of one per image: of most images nothing but the version is looked at.
    listed = select(func.aggregate_strings(cast(Interval.version_id, Text), " ")).where(
        Interval.target_id == TargetRow.id, Interval.valid_to == END_OF_TIME
    )
    version_ids = listed.scalar_subquery().label("version_ids")
    return select(TargetRow.id, *columns, version_ids).where(among(TargetRow.id, "targets"))


def mark(
    conn: Connection, run_id: int, account_id: int, *, reached: bytes, at: datetime, counters: Mapping[str, int]
) -> None:
    """
    Write down whom the run has *reached*, *at* what moment, and what it has counted.

    The row of *account_id* is used, which is one of those whose locks the run holds, each time the same.
    """
    values = {"run_id": run_id, "reached_at": at, "counters": dict(counters), "reached": reached}
    if not conn.execute(_update_mark(), {**values, "account": account_id}).rowcount:
        conn.execute(insert(Mark), {**values, "account_id": account_id})


@cache
def _update_mark() -> Update:
    return update(Mark).where(Mark.account_id == bindparam("account"))


def finish_run(
    conn: Connection,
    run_id: int,
    status: RunStatus,
    finished_at: datetime,
    counters: Mapping[str, int] | None = None,
    notices: Sequence[str] = (),
    *,
    reached: bytes | None = None,
) -> datetime:
    """
    Finish a run and give the time it is finished at: *finished_at*, never before anything the run recorded.

    A run that did not get to every target of its scope counts only for those it got to, like one that was killed.
    *reached* is the mark of who was reached, where a newer one than that in the database is not written yet.
    """
    run = conn.execute(_run_to_close(), {"run": run_id}).one()
    end: datetime = max(finished_at, run.started_at, run.reached_at or run.started_at)
    values = {**(counters or {}), "notices": list(notices) or None}
    _close(conn, run, run.reached if reached is None else reached, status, end, values)
    return end


def _close(
    conn: Connection, run: Any, bitmap: bytes | None, status: RunStatus, end: datetime, values: Mapping[str, Any]
) -> None:
    scope_id = run.scope_id
    if sum(byte.bit_count() for byte in bitmap or b"") != run.size:
        reached = marked(bitmap, _members(conn, scope_id))
        scope_id = _scope_of(conn, reached) if reached else None
    ended = {"status": status, "finished_at": end, "scope_id": scope_id}
    conn.execute(_update_run(), {**(run.counters or {}), **values, **ended, "run": run.id})


@cache
def _update_run() -> Update:
    return update(Run).where(Run.id == bindparam("run"))


@cache
def _unfinished_runs() -> Select[*tuple[Any, ...]]:
    return _runs_to_close().where(Run.finished_at.is_(None)).order_by(Run.id)


@cache
def _run_to_close() -> Select[*tuple[Any, ...]]:
    return _runs_to_close().where(Run.id == bindparam("run"))


def _runs_to_close() -> Select[*tuple[Any, ...]]:
    columns: tuple[Any, ...] = (Run.id, Run.scope_id, Run.started_at, Run.accounts, Scope.size)
    statement = select(*columns, Mark.reached, Mark.reached_at, Mark.counters)
    return statement.outerjoin(Scope, Scope.id == Run.scope_id).outerjoin(Mark, Mark.run_id == Run.id)


def save_reports(conn: Connection, run_id: int, reports: Mapping[str, int]) -> None:
    """Keep how many reports of a run were queued and sent, and how many failed."""
    conn.execute(update(Run).where(Run.id == run_id).values(reports=dict(reports)))


def save_setting(conn: Connection, name: str, value: str) -> None:
    """Keep a setting that the views need, when it differs; of two that do so at once the later one wins."""
    if conn.execute(_setting(), {"name": name}).scalar() != value:
        insert_missing(conn, Setting, [{"name": name, "value": value}])
        conn.execute(update(Setting).where(Setting.name == name).values(value=value))


def saved_setting(conn: Connection, name: str) -> str | None:
    """Return a setting that was kept; None: there is none."""
    value: str | None = conn.execute(_setting(), {"name": name}).scalar()
    return value


@cache
def _setting() -> Select[*tuple[Any, ...]]:
    return select(Setting.value).where(Setting.name == bindparam("name"))


# --- after a death ---------------------------------------------------------------------------------------------------


def recover(conn: Connection, account_ids: Iterable[int], now: datetime) -> list[int]:
    """
    Mark the dead runs of these accounts `interrupted` and give their ids; their locks are ours, so nobody runs them.

    A dead run counts for the targets it had recorded, and ends when it recorded the last of them. What it had found is
    left to be reported by the next run that finishes. Raises ClockWentBackwards when *now* is before the last recorded
    instant of any of the accounts.
    """
    accounts = set(account_ids)
    refuse_backwards_clock(conn, accounts, now)
    recovered: list[int] = []
    for run in conn.execute(_unfinished_runs()).all():
        if accounts.intersection(run.accounts):
            # never before it began, should the clock have been set back: what it found comes after the runs before it
            end = max(run.started_at, run.reached_at or run.started_at)
            _close(conn, run, run.reached, "interrupted", end, {})
            conn.execute(update(ChangeLog).where(ChangeLog.reported_run_id == run.id).values(reported_run_id=None))
            recovered.append(run.id)
    return recovered


def refuse_backwards_clock(conn: Connection, account_ids: Collection[int], now: datetime) -> None:
    """Raise ClockWentBackwards when *now* is before the last recorded instant of any of these accounts."""
    last = last_instant(conn, account_ids)
    if last is not None and now < last:
        raise ClockWentBackwards(
            f"the clock says {iso_utc(now)}, but the last run recorded something at {iso_utc(last)}; "
            "set the clock right, or wait until it has passed that moment"
        )


def last_instant(conn: Connection, account_ids: Collection[int]) -> datetime | None:
    """Return the latest moment that any run of these accounts recorded; other machines' accounts have other clocks."""
    with_targets = conn.execute(_accounts_with_targets(), {"accounts": sorted(account_ids)}).scalars()
    return max(
        (
            max(run.started_at, run.finished_at or run.started_at, run.reached_at or run.started_at)
            for run in _newest_runs(conn, with_targets).values()
        ),
        default=None,
    )


def last_success(conn: Connection, accounts: Collection[str]) -> datetime | None:
    """Return since when each of the *accounts* (names) has been observed whole; None: one of them never was."""
    ends = last_successes(conn, accounts).values()
    return min(ends) if ends and len(ends) == len(accounts) else None


def last_successes(
    conn: Connection, accounts: Collection[str], *, statuses: tuple[RunStatus, ...] = ("complete",)
) -> dict[str, datetime]:
    """
    Return when each of the *accounts* (names) was last observed whole; those that never were are left out.

    That is by a run over all that is configured which ended with one of *statuses*.
    """
    names = {}
    for portion in portions(sorted(accounts)):
        rows = conn.execute(_accounts_named(), {"accounts": portion})
        names.update({row.id: row.name for row in rows})
    return {names[one]: run.finished_at for one, run in _newest_runs(conn, names, statuses).items()}


@cache
def _accounts_named() -> Select[*tuple[Any, ...]]:
    return select(Account.id, Account.name).where(among(Account.name, "accounts"))


def is_made_since(conn: Connection, account: str, moment: datetime) -> bool:
    """Return whether a run over all that is configured of *account* (a name) began at *moment* or later, and ended."""
    account_id = conn.execute(select(Account.id).where(Account.name == account)).scalar()
    whole = (Run.started_at >= moment, Run.finished_at.is_not(None), Run.status != "interrupted", ~Run.restricted)
    # what began by then ended later, and the index of a scope's runs has their ends
    recent = select(Run.id).join(Scope, Scope.id == Run.scope_id).where(Run.finished_at >= moment, *whole)
    own = recent.where(_may_be_of(account_id), Run.account_id == account_id).limit(1)
    if account_id is None or conn.execute(own).first() is not None:
        return account_id is not None
    shared = select(Run.accounts).where(Run.account_id.is_(None), *whole).order_by(Run.id.desc()).limit(20)
    return any(account_id in run.accounts for run in conn.execute(shared))


def was_whole(conn: Connection, account_id: int) -> bool:
    """Return whether any run since the last catalog of an account was over all that is configured of it."""
    kept = select(func.max(CatalogRow.recorded_at)).where(CatalogRow.account_id == account_id).scalar_subquery()
    whole = (~Run.restricted, Run.started_at >= kept)
    if conn.execute(select(Run.id).where(Run.account_id == account_id, *whole).limit(1)).first():
        return True
    shared = select(Run.accounts).where(Run.account_id.is_(None), *whole).order_by(Run.id.desc())
    with conn.execute(shared.execution_options(yield_per=100)) as rows:
        return any(account_id in accounts for (accounts,) in rows)


def _newest_runs(conn: Connection, account_ids: Iterable[int], statuses: tuple[RunStatus, ...] = ()) -> dict[int, Any]:
    """Return the newest run of each account that has one; with *statuses* of the unrestricted ones that have one."""
    missing = set(account_ids)
    statement = _newest_own_runs(statuses)
    newest = {run.account_id: run for run in conn.execute(statement, {"accounts": sorted(missing)})}
    before = OPEN_RUN
    # Runs of several accounts backwards, a page at a time, until none can be newer than what is found.
    while missing:
        page = conn.execute(_shared_runs_before(statuses), {"before": before}).all()
        for run in page:
            missing = {one for one in missing if one not in newest or newest[one].id < run.id}
            newest.update(dict.fromkeys(missing.intersection(run.accounts), run))
            missing.difference_update(run.accounts)
        if not page:
            break
        before = page[-1].id
    return newest


#: Runs by which the usual time between them is told.
_RUNS_OF_HABIT = 20


def usual_interval(conn: Connection, account_id: int) -> timedelta | None:
    """Return how far apart the last whole runs of an account began as a rule; None: there were fewer than three."""
    newest = select(Run.started_at, Run.accounts).where(~Run.restricted).order_by(Run.id.desc()).limit(_RUNS_OF_HABIT)
    own = newest.where(or_(Run.account_id == account_id, Run.account_id.is_(None)))
    began = [run.started_at for run in conn.execute(own) if account_id in run.accounts]
    gaps = sorted(later - earlier for later, earlier in pairwise(began))
    return max(gaps[len(gaps) // 2], timedelta(seconds=1)) if len(gaps) > 1 else None


@cache
def _accounts_with_targets() -> Select[*tuple[Any, ...]]:
    return select(TargetRow.account_id).where(among(TargetRow.account_id, "accounts")).distinct()


@cache
def _newest_own_runs(statuses: tuple[RunStatus, ...]) -> Select[*tuple[Any, ...]]:
    """Select the newest run of each of `:accounts` that was of it alone: the newest of one of its scopes."""
    own, open_run = Run.alias().c, Run.alias().c
    ended = (
        select(own.id)
        .where(own.scope_id == Scope.id, own.account_id == Account.id, own.finished_at.is_not(None))
        .where(*_wholeness(own, statuses))
        .order_by(own.finished_at.desc(), own.id.desc())
        .limit(written(1))
        .scalar_subquery()
    )
    goes_on = (
        select(func.max(open_run.id))
        .where(open_run.scope_id == Scope.id, open_run.account_id == Account.id, open_run.finished_at.is_(None))
        .scalar_subquery()
    )
    newest = ended if statuses else func.coalesce(goes_on, ended)
    newest_id = select(func.max(newest)).where(_may_be_of(Account.id)).scalar_subquery()
    return _instants().join(Account, Run.id == newest_id).where(among(Account.id, "accounts"))


def _may_be_of(account_id: Any) -> ColumnElement[bool]:
    """Return whether a scope may be that of a run of the account alone: it has targets of it alone, or none."""
    return or_(Scope.account_id == account_id, Scope.digest == digest_of([]))


@cache
def _shared_runs_before(statuses: tuple[RunStatus, ...]) -> Select[*tuple[Any, ...]]:
    shared = Run.account_id.is_(None) & (Run.id < bindparam("before"))
    wholeness = _wholeness(Run, statuses)
    return _instants().where(shared, *wholeness).order_by(Run.id.desc()).limit(written(20))


def _wholeness(run: Any, statuses: tuple[RunStatus, ...]) -> tuple[Any, ...]:
    return (run.status.in_(statuses), ~run.restricted) if statuses else ()


def _instants() -> Select[*tuple[Any, ...]]:
    columns: tuple[Any, ...] = (Run.id, Run.account_id, Run.accounts, Run.started_at, Run.finished_at, Mark.reached_at)
    return select(*columns).outerjoin(Mark, Mark.run_id == Run.id)
