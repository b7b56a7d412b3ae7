"""
When each target was last looked at, and how that went: the knowledge behind every answer.

A run observed a target when it finished and its scope holds the target; the exception row that covers the run says what
went wrong, and without one all was well. Nothing here scans `runs`: each scope is asked for its newest run at or before
the moment through the index `(scope_id, finished_at)`. Statements are built once: building one costs more than running
it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from typing import Any, Literal, cast

from sqlalchemy import Connection, Select, bindparam, select, true

from crawler.db.engine import is_sqlite
from crawler.db.schema import OPEN_RUN, Absence, Mark, OutcomeSpan, Run, ScopeTarget, TargetRow
from crawler.db.schema import Scope as ScopeRow
from crawler.db.sql import PAGE, PAGED, PORTION, among, portions, written
from crawler.domain.models import END_OF_TIME, AbsenceReason, Outcome, digest_of
from crawler.domain.timefmt import tell_moment

#: How far behind a reader's clock may be before it is told; machines that follow a time server are seconds apart.
MOST_BEHIND = timedelta(minutes=5)
#: Runs looked at for the latest moment: hosts do not end theirs in the order in which they began.
LATEST_RUNS = 50


def present(conn: Connection, clock: datetime) -> datetime:
    """
    Return what counts as now where a machine's *clock* says that: the latest moment recorded where that is later.

    What was recorded has happened, and a reader whose clock is behind must not answer with what was before it.
    """
    moments = (moment for run in conn.execute(_latest_moments()) for moment in run if moment is not None)
    latest: datetime = max([clock, *moments])
    return latest


def slow_clock(clock: datetime, now: datetime, zone: tzinfo = UTC) -> str | None:
    """Say in times of *zone* that a machine's *clock* is far behind *now*, the latest moment recorded; else None."""
    if now - clock <= MOST_BEHIND:
        return None
    return (
        f"This machine's clock says {tell_moment(clock, zone)}, but the history was recorded until "
        f"{tell_moment(now, zone)}: set the clock right."
    )


@cache
def _latest_moments() -> Select[*tuple[Any, ...]]:
    moments = (Run.started_at, Run.finished_at, Mark.reached_at)
    return select(*moments).outerjoin(Mark, Mark.run_id == Run.id).order_by(Run.id.desc()).limit(written(LATEST_RUNS))


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """A finished run."""

    run_id: int
    started_at: datetime
    finished_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LastOutcome:
    """A span of runs in which a target's outcome was not `ok`: `[from_run_id, to_run_id)`."""

    exception_id: int
    from_run_id: int
    to_run_id: int
    outcome: Outcome
    failure_class: str | None
    ret_code: int | None
    message: str
    request_uuid: str
    since: datetime
    last_good_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is known of one target at a moment: the last run that looked, and how it went."""

    last_run: LastRun
    #: The newest span of trouble that began by then; it may be over.
    trouble: LastOutcome | None

    @property
    def current_trouble(self) -> LastOutcome | None:
        """Return the span of trouble that covers the last run; None when that run went well."""
        if self.trouble is None or self.trouble.to_run_id <= self.last_run.run_id:
            return None
        return self.trouble

    @property
    def outcome(self) -> Outcome:
        """Return the outcome of the last run."""
        return self.current_trouble.outcome if self.current_trouble else "ok"

    @property
    def observed_at(self) -> datetime | None:
        """Return the end of the last run that observed the target well; `held` is a good observation too."""
        trouble = self.current_trouble
        if trouble is None or trouble.outcome == "held":
            return self.last_run.finished_at
        return trouble.last_good_at


def observations(
    conn: Connection,
    target_ids: Collection[int],
    at: datetime | None = None,
    *,
    accounts: Collection[int] | None = None,
) -> dict[int, Observation]:
    """Return the last observation at or before *at* (None: ever) of every target that has one, as `last_runs` does."""
    return with_troubles(conn, last_runs(conn, target_ids, at, accounts=accounts))


def with_troubles(conn: Connection, runs: Mapping[int, LastRun]) -> dict[int, Observation]:
    """Return how the last run of each target `{target: run}` went."""
    troubles = _troubles(conn, {target_id: run.run_id for target_id, run in runs.items()})
    # what is the same for thousands of targets is in memory once
    well = {run.run_id: Observation(last_run=run, trouble=None) for run in set(runs.values())}
    return {
        target_id: Observation(last_run=run, trouble=troubles[target_id]) if target_id in troubles else well[run.run_id]
        for target_id, run in runs.items()
    }


def last_runs(
    conn: Connection,
    target_ids: Collection[int],
    at: datetime | None = None,
    *,
    accounts: Collection[int] | None = None,
) -> dict[int, LastRun]:
    """
    Return the last finished run at or before *at* (None: ever) that had each target in its scope.

    *accounts*, where they are known, are those that the targets are of: the runs of others are not looked at.
    """
    wanted = set(target_ids)
    found: dict[int, LastRun] = {}
    ordered = sorted(wanted)
    # Most targets are in the newest scope or two, so scopes are opened a few at a time, the newest first.
    for chosen in _scopes_newest_first(conn, ordered, at or END_OF_TIME, accounts):
        # A run mostly asks what the last one asked, and a large scope is told faster than read.
        if not found and chosen and len(ordered) > PORTION and _holds_exactly(conn, chosen[0].scope_id, ordered):
            return dict.fromkeys(ordered, _last_run(chosen[0]))
        scope_ids = [row.scope_id for row in chosen]
        # Scopes are chosen by the target when there is but one.
        members = _members(conn, scope_ids, wanted) if len(target_ids) > 1 else {key: set(wanted) for key in scope_ids}
        for row in chosen:
            hits = wanted & members.get(row.scope_id, set())
            wanted -= hits
            found.update(dict.fromkeys(hits, _last_run(row)))
        if not wanted:
            break
    return found


def _holds_exactly(conn: Connection, scope_id: int, ordered: Sequence[int]) -> bool:
    return conn.execute(select(ScopeRow.digest).where(ScopeRow.id == scope_id)).scalar() == digest_of(ordered)


def _last_run(row: Any) -> LastRun:
    return LastRun(run_id=row.id, started_at=row.started_at, finished_at=row.finished_at)


def _scopes_newest_first(
    conn: Connection, target_ids: Sequence[int], at: datetime, accounts: Collection[int] | None
) -> Iterator[Sequence[Any]]:
    """Yield the scopes that may hold some of the targets, each with its newest run at *at*: few, then larger lots."""
    is_few = len(target_ids) <= PORTION
    parameters: dict[str, Any] = {"at": at}
    if is_few:
        parameters["targets"] = target_ids
    elif accounts:
        parameters["accounts"] = sorted(accounts)
    of = {"of_targets": is_few, "of_accounts": "accounts" in parameters}
    done, size = 0, 2 * len(parameters.get("accounts", ()))
    if size <= 2:
        first = _newest_two_lateral() if is_few and not is_sqlite(conn) else _newest_two(**of)
        yield conn.execute(first, parameters).all()
        done, size = 2, 8
    rest = conn.execute(newest_run_per_scope(**of), parameters).all()[done:]
    while rest:
        yield rest[:size]
        rest, size = rest[size:], min(size * 4, PORTION)


@cache
def newest_run_per_scope(*, of_targets: bool, of_accounts: bool = False) -> Select[*tuple[Any, ...]]:
    """
    Select each scope's newest run finished at or before `:at`, newest first.

    Of scopes that hold any of `:targets`, or that may hold targets of `:accounts`.
    """
    inner = Run.alias()
    newest = (
        select(inner.c.id)
        .where(inner.c.scope_id == ScopeRow.id, inner.c.finished_at <= bindparam("at"))
        .order_by(inner.c.finished_at.desc(), inner.c.id.desc())
        .limit(written(1))
        .scalar_subquery()
    )
    statement: Select[*tuple[Any, ...]] = (
        select(Run.scope_id, Run.id, Run.started_at, Run.finished_at)
        .select_from(ScopeRow)
        .join(Run, Run.id == newest)
        .order_by(Run.finished_at.desc(), Run.id.desc())
    )
    if of_targets:
        scopes = select(ScopeTarget.scope_id).where(among(ScopeTarget.target_id, "targets"))
        statement = statement.where(ScopeRow.id.in_(scopes))
    if of_accounts:
        # Each by its index, which an OR would not be read by on both databases.
        own = select(ScopeRow.id).where(among(ScopeRow.account_id, "accounts"))
        shared = select(ScopeRow.id).where(ScopeRow.account_id.is_(None))
        statement = statement.where(ScopeRow.id.in_(own.union_all(shared)))
    return statement


@cache
def _newest_two(*, of_targets: bool, of_accounts: bool) -> Select[*tuple[Any, ...]]:
    return newest_run_per_scope(of_targets=of_targets, of_accounts=of_accounts).limit(written(2))


@cache
def _newest_two_lateral() -> Select[*tuple[Any, ...]]:
    """Select the same; PostgreSQL finds and reads the run of a scope in one step, which SQLite has no words for."""
    scopes = select(ScopeTarget.scope_id).where(among(ScopeTarget.target_id, "targets")).distinct().subquery()
    newest = (
        select(Run.scope_id, Run.id, Run.started_at, Run.finished_at)
        .where(Run.scope_id == scopes.c.scope_id, Run.finished_at <= bindparam("at"))
        .order_by(Run.finished_at.desc(), Run.id.desc())
        .limit(written(1))
        .lateral()
    )
    return (
        select(newest.c.scope_id, newest.c.id, newest.c.started_at, newest.c.finished_at)
        .select_from(scopes.join(newest, true()))
        .order_by(newest.c.finished_at.desc(), newest.c.id.desc())
        .limit(written(2))
    )


def _members(conn: Connection, scope_ids: Sequence[int], wanted: Set[int]) -> dict[int, set[int]]:
    """Return which of the *wanted* targets are in each scope."""
    parameters: dict[str, Any] = {"scopes": scope_ids}
    is_few = len(wanted) <= PORTION
    parameters |= {"targets": sorted(wanted)} if is_few else {"first": min(wanted), "last": max(wanted)}
    members: dict[int, set[int]] = {}
    # of many, the targets between the first and the last may be all there are
    options = {} if is_few else PAGED
    with conn.execute(_members_of_scopes(of_targets=is_few), parameters, execution_options=options) as rows:
        for scope_id, target_id in rows:
            if target_id in wanted:
                members.setdefault(scope_id, set()).add(target_id)
    return members


@cache
def _members_of_scopes(*, of_targets: bool) -> Select[*tuple[Any, ...]]:
    statement = select(ScopeTarget.scope_id, ScopeTarget.target_id).where(among(ScopeTarget.scope_id, "scopes"))
    if of_targets:
        return statement.where(among(ScopeTarget.target_id, "targets"))
    return statement.where(ScopeTarget.target_id.between(bindparam("first"), bindparam("last")))


@cache
def newest_trouble() -> Select[*tuple[Any, ...]]:
    """Select the newest span of trouble of each of `:targets` that began in `:run` or before."""
    inner = OutcomeSpan.alias()
    newest = (
        select(inner.c.id)
        .where(inner.c.target_id == TargetRow.id, inner.c.from_run_id <= bindparam("run"))
        .order_by(inner.c.from_run_id.desc())
        .limit(written(1))
        .scalar_subquery()
    )
    return (
        select(OutcomeSpan.target_id, *TROUBLE_COLUMNS)
        .select_from(TargetRow)
        .join(OutcomeSpan, OutcomeSpan.id == newest)
        .where(among(TargetRow.id, "targets"))
    )


def _troubles(conn: Connection, run_of: Mapping[int, int]) -> dict[int, LastOutcome]:
    """Return the newest trouble of each target up to its own run `{target: run}`."""
    # Hardly any has a newer one than its own run, so all are looked up at once by the newest run.
    found = troubles_at(conn, max(run_of.values(), default=0), run_of)
    earlier: dict[int, list[int]] = {}
    for target_id, trouble in found.items():
        if trouble.from_run_id > run_of[target_id]:
            earlier.setdefault(run_of[target_id], []).append(target_id)
    troubles = {key: trouble for key, trouble in found.items() if trouble.from_run_id <= run_of[key]}
    for run_id, target_ids in earlier.items():
        troubles.update(troubles_at(conn, run_id, target_ids))
    return troubles


def troubles_at(conn: Connection, run_id: int, target_ids: Iterable[int]) -> dict[int, LastOutcome]:
    """Return the newest span of trouble of each target that began in *run_id* or before."""
    troubles: dict[int, LastOutcome] = {}
    for portion in portions(sorted(target_ids), PAGE):
        for row in conn.execute(newest_trouble(), {"run": run_id, "targets": portion}):
            troubles[row.target_id] = trouble_of(row)
    return troubles


def ends_of(conn: Connection, run_ids: Collection[int]) -> dict[int, datetime]:
    """Return when each of the runs ended; those that did not are left out."""
    ends = select(Run.id, Run.finished_at).where(among(Run.id, "runs"))
    asked = (conn.execute(ends, {"runs": portion}) for portion in portions(sorted({*run_ids} - {OPEN_RUN})))
    return {run_id: end for rows in asked for run_id, end in rows if end is not None}


#: What `trouble_of` makes a span of trouble of.
TROUBLE_COLUMNS: tuple[Any, ...] = (
    OutcomeSpan.id.label("exception_id"),
    *(OutcomeSpan.from_run_id, OutcomeSpan.to_run_id, OutcomeSpan.outcome, OutcomeSpan.failure_class),
    *(OutcomeSpan.ret_code, OutcomeSpan.message, OutcomeSpan.request_uuid, OutcomeSpan.since),
    OutcomeSpan.last_good_at,
)


def trouble_of(row: Any) -> LastOutcome:
    """Return the span of trouble in a row of `TROUBLE_COLUMNS`."""
    return LastOutcome(
        exception_id=row.exception_id,
        from_run_id=row.from_run_id,
        to_run_id=row.to_run_id,
        outcome=cast("Outcome", row.outcome),
        failure_class=row.failure_class,
        ret_code=row.ret_code,
        message=row.message,
        request_uuid=row.request_uuid,
        since=row.since,
        last_good_at=row.last_good_at,
    )


def absences(conn: Connection, target_ids: Iterable[int], at: datetime) -> dict[int, tuple[AbsenceReason, datetime]]:
    """Return the targets that were retired or deselected at *at*: the reason, and since when."""
    found: dict[int, tuple[AbsenceReason, datetime]] = {}
    for portion in portions(target_ids, PAGE):
        for target_id, reason, valid_from in conn.execute(_absences_at(), {"targets": portion, "at": at}):
            found[target_id] = (cast("Literal['retired', 'deselected']", reason), valid_from)
    return found


@cache
def _absences_at() -> Select[*tuple[Any, ...]]:
    return select(Absence.target_id, Absence.reason, Absence.valid_from).where(
        among(Absence.target_id, "targets"),
        Absence.valid_to > bindparam("at"),
        Absence.valid_from <= bindparam("at"),
    )


@cache
def run_under_way() -> Select[*tuple[Any, ...]]:
    """Select the run that looked at `:target` and was under way at `:moment`; a seek per scope."""
    first = (
        select(Run.id)
        .where(Run.scope_id == ScopeTarget.scope_id, Run.finished_at >= bindparam("moment"))
        .order_by(Run.finished_at, Run.id)
        .limit(written(1))
        .correlate(ScopeTarget)
        .scalar_subquery()
    )
    scopes = select(first.label("run_id")).where(ScopeTarget.target_id == bindparam("target")).subquery()
    under_way = Run.started_at <= bindparam("moment")
    return (
        select(Run.id)
        .join(scopes, scopes.c.run_id == Run.id)
        .where(under_way)
        .order_by(Run.finished_at)
        .limit(written(1))
    )
