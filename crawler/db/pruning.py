"""
Forgetting on purpose: what lies before the kept window goes, and every answer about the window stays the same.

Intervals and changes that ended before the window go, but for those its readers look at (`pruned_intervals`), resolved
holds and absences with them, what was noticed of the form of answers of targets that are asked no more, then what
nobody refers to any more (versions, payloads, scopes). Of the runs before it, those that something kept refers to stay,
and one a day of each scope. From then on the history begins at the window; readers refuse to answer about the time
before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import groupby
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    Select,
    Table,
    bindparam,
    delete,
    exists,
    func,
    select,
    true,
)

from crawler.db import answer_forms, last_observation, numbering, outbox
from crawler.db.beginning import BEGINS_AT, begins_at
from crawler.db.engine import Fence, be_patient, begin, is_sqlite
from crawler.db.errors import mapped_errors
from crawler.db.filters import targets_by_id
from crawler.db.payloads import load_answer
from crawler.db.pruned_intervals import prune_intervals
from crawler.db.runs import save_setting
from crawler.db.schema import (
    OPEN_RUN,
    Absence,
    AnswerRow,
    Base,
    CatalogRow,
    ChangeLog,
    Hold,
    HoldImage,
    ImageVersion,
    Interval,
    OutcomeSpan,
    Payload,
    Run,
    Scope,
    ScopeTarget,
    TargetRow,
)
from crawler.db.sql import portions
from crawler.domain.evidence import kind_of
from crawler.domain.models import iso_utc, require_aware
from crawler.domain.rows import JsonRow
from crawler.domain.text import counted
from crawler.errors import DatabaseUnavailable, UsageError

#: Where the last run is longer ago, the clock may be ahead: by it too much would be forgotten, for good.
LONGEST_REST = timedelta(days=180)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned(JsonRow):
    """How many rows of each kind went."""

    intervals: int = 0
    changes: int = 0
    holds: int = 0
    exceptions: int = 0
    runs: int = 0
    versions: int = 0
    payloads: int = 0
    scopes: int = 0
    forms: int = 0


def prune(
    engine: Engine,
    fence: Fence | None,
    *,
    before: datetime,
    now: datetime,
    is_sure: bool = False,
    complain: Callable[[DatabaseUnavailable], None] = lambda exc: None,
) -> Pruned:
    """
    Forget what lies *before* a moment, in one transaction, and give back the room.

    Raises UsageError when *before* is not in the past, and, unless the caller *is_sure* of *now*, when the last run is
    so long ago that the clock may be ahead; then nothing is changed. Where the room cannot be given back, for which a
    SQLite file needs as much again, the reason goes to *complain*: what went is gone all the same.
    """
    before = require_aware(before)
    if before >= now:
        raise UsageError(f"Nothing was pruned: {iso_utc(before)} is not in the past.")
    with begin(engine, fence) as conn:
        be_patient(conn)
        first, began = conn.scalar(select(func.min(Run.started_at))), begins_at(conn)
        pruned = Pruned()
        if first is not None and first < before:
            if not is_sure:
                _doubt(last_observation.present(conn, first), now)
            before = max(filter(None, (before, began)))
            with references_indexed(conn):
                pruned = _prune(conn, before)
            save_setting(conn, BEGINS_AT, before.isoformat())
    try:
        _give_back(engine)
    except DatabaseUnavailable as exc:
        complain(exc)
    return pruned


def _doubt(latest: datetime, now: datetime) -> None:
    """Raise UsageError where nothing was recorded for so long, since *latest*, that *now* may be wrong."""
    if now - latest > LONGEST_REST:
        raise UsageError(
            f"Nothing was pruned: the last run ended {counted((now - latest).days, 'day')} ago, at {iso_utc(latest)}, "
            f"if it is {iso_utc(now)} now. Set the clock right, or insist with --clock-is-right."
        )


def _prune(conn: Connection, before: datetime) -> Pruned:
    intervals, changes = prune_intervals(conn, before)
    staying = {numbering.newest(conn, Hold), *_explaining_holds(conn, before)}
    resolved = sorted(set(conn.scalars(select(Hold.id).where(Hold.resolved_at <= before))) - staying)
    for portion in portions(resolved):
        conn.execute(delete(HoldImage).where(HoldImage.hold_id.in_(portion)))
        conn.execute(delete(Hold).where(Hold.id.in_(portion)))
    conn.execute(delete(Absence).where(Absence.valid_to <= before))
    _prune_answers(conn, before)
    _prune_catalogs(conn, before)
    outbox.forget(conn, before)
    exceptions, runs = _prune_runs(conn, before)
    versions = _delete(conn, delete(ImageVersion).where(*_unused(ImageVersion)))
    payloads = _delete(conn, delete(Payload).where(*_unused(Payload)))
    scopes = list(conn.execute(select(Scope.id).where(~exists().where(Run.scope_id == Scope.id))).scalars())
    for portion in portions(scopes):
        conn.execute(delete(ScopeTarget).where(ScopeTarget.scope_id.in_(portion)))
        conn.execute(delete(Scope).where(Scope.id.in_(portion)))
    return Pruned(
        intervals=intervals,
        changes=changes,
        holds=len(resolved),
        exceptions=exceptions,
        runs=runs,
        versions=versions,
        payloads=payloads,
        scopes=len(scopes),
        forms=answer_forms.forget(conn, before),
    )


@contextmanager
def references_indexed(conn: Connection) -> Iterator[None]:
    """
    Index every column that refers to runs or payloads for a `with` block inside a transaction.

    The database looks for references to each row it deletes; without an index it would read all intervals for every run
    that is folded. For good these indexes would cost every writer and a tenth of the file, for this alone.
    """
    made = []
    for column in (column for to in (Run, Payload) for column in _referring(to) if not _is_indexed(column)):
        made.append(f"prune_{column.table.name}_{column.name}")
        conn.exec_driver_sql(f"CREATE INDEX {made[-1]} ON {column.table.name} ({column.name})")
    yield
    for name in made:
        conn.exec_driver_sql(f"DROP INDEX {name}")


def _is_indexed(column: Column[Any]) -> bool:
    return any(index.columns[0] is column for index in column.table.indexes)


def _delete(conn: Connection, statement: Any) -> int:
    return int(conn.execute(statement).rowcount)


def _unused(table: type[ImageVersion] | type[Payload]) -> Iterator[ColumnElement[bool]]:
    """Return the conditions that no row of the schema refers to a row of *table*; each is looked up in an index."""
    for column in _referring(table):
        yield ~exists().where(column == table.id)


def _referring(to: type[Base]) -> Iterator[Column[Any]]:
    for table in Base.whole().sorted_tables:
        for column in table.columns:
            if any(_table_of(key) is to.__table__ for key in column.foreign_keys):
                yield column


def _table_of(key: Any) -> Table:
    table: Table = key.column.table
    return table


def _prune_answers(conn: Connection, before: datetime) -> None:
    """
    Forget which answers came before the window, but for the last of each target: a replay begins with it.

    Where images were on hold at the beginning of the window, that is the last answer before the hold.
    """
    since = {row.target_id: row.held_at for row in conn.execute(_holds_over_the_edge(), {"before": before})}
    for target_ids in portions(conn.scalars(select(AnswerRow.target_id).distinct())):
        old = select(AnswerRow.target_id, AnswerRow.run_id, AnswerRow.observed_at).where(
            AnswerRow.target_id.in_(target_ids), AnswerRow.observed_at <= before
        )
        rows = conn.execute(old.order_by(AnswerRow.target_id, AnswerRow.run_id)).all()
        for target_id, own in groupby(rows, key=lambda row: int(row.target_id)):
            edge = since.get(target_id)
            ended = [row.run_id for row in own if edge is None or row.observed_at < edge][:-1]
            for portion in portions(ended):
                conn.execute(delete(AnswerRow).where(AnswerRow.target_id == target_id, AnswerRow.run_id.in_(portion)))


@cache
def _holds_over_the_edge() -> Select[*tuple[Any, ...]]:
    """Select since when each target has had images on hold that were so at `:before`."""
    spans_it = (Hold.held_at <= bindparam("before"), Hold.resolved_at > bindparam("before"))
    return select(Hold.target_id, func.min(Hold.held_at).label("held_at")).where(*spans_it).group_by(Hold.target_id)


def _prune_catalogs(conn: Connection, before: datetime) -> None:
    """Forget catalogs that a later one had replaced before the window."""
    newest = select(func.max(CatalogRow.id)).where(CatalogRow.recorded_at <= before).group_by(CatalogRow.account_id)
    conn.execute(delete(CatalogRow).where(CatalogRow.recorded_at < before, CatalogRow.id.not_in(newest)))


def _explaining_holds(conn: Connection, before: datetime) -> set[int]:
    """
    Return the resolved holds that may explain a withdrawal in the window.

    The answer before it may have left the image out already, because a hold was dissolved by another of its images;
    then the answer before that hold shows it, and so on, as `explain` looks for it.
    """
    kept: set[int] = set()
    rows = conn.execute(_holds_of_what_is_there(), {"before": before}).all()
    targets = targets_by_id(conn, sorted({row.target_id for row in rows}))
    for (target_id, image_set, image_id), holds in groupby(rows, key=lambda row: tuple(row[:3])):
        for hold in holds:
            kept.add(hold.id)
            answer = load_answer(conn, hold.before_payload_id)
            if answer is None or answer.lists(image_set, image_id, kind_of(targets[target_id])):
                break
    return kept


@cache
def _holds_of_what_is_there() -> Select[*tuple[Any, ...]]:
    """Select the resolved holds of images that were there then and at `:before`, by image, the newest first."""
    columns: tuple[Any, ...] = (Hold.target_id, HoldImage.image_set, HoldImage.image_id, Hold.id)
    is_there = exists().where(
        Interval.target_id == Hold.target_id,
        Interval.valid_to > bindparam("before"),
        Interval.present_since < Hold.held_at,
        ImageVersion.id == Interval.version_id,
        ImageVersion.image_set == HoldImage.image_set,
        ImageVersion.image_id == HoldImage.image_id,
    )
    return (
        select(*columns, Hold.before_payload_id)
        .join(HoldImage, HoldImage.hold_id == Hold.id)
        .where(Hold.resolved_at <= bindparam("before"), is_there)
        .order_by(*columns[:3], Hold.held_at.desc())
    )


# --- runs and their outcomes -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Span:
    """An exception row: the runs `[first, end)` of one target."""

    exception_id: int
    target_id: int
    first: int
    end: int


def _prune_runs(conn: Connection, before: datetime) -> tuple[int, int]:
    """
    Fold the runs before the window, and forget the spans of trouble that no kept run lies in.

    A span goes only when no run that stays lies in it, or a run that failed would look like one that went well; and a
    span that stays keeps the runs at its ends, which may lie in further spans: so both sets grow until they agree.
    """
    old = {
        row.id: row
        for row in conn.execute(
            select(Run.id, Run.scope_id, Run.finished_at).where(Run.finished_at.is_not(None), Run.finished_at <= before)
        )
    }
    kept = _needed_runs(conn, old.values(), before) & old.keys()
    spans = [
        _Span(row.id, row.target_id, row.from_run_id, row.to_run_id)
        for row in conn.execute(
            select(OutcomeSpan.id, OutcomeSpan.target_id, OutcomeSpan.from_run_id, OutcomeSpan.to_run_id).where(
                OutcomeSpan.to_run_id <= max(old, default=0)
            )
        )
    ]
    staying = _last_spans(conn, spans, before)
    pending = [span for span in spans if span.exception_id not in staying]
    kept |= _ends(span for span in spans if span.exception_id in staying) & old.keys()
    while True:
        ordered = sorted(kept)
        covering = [span for span in pending if _holds_any(ordered, span)]
        if not covering:
            break
        kept |= _ends(covering) & old.keys()
        going = {span.exception_id for span in covering}
        pending = [span for span in pending if span.exception_id not in going]
    for portion in portions(span.exception_id for span in pending):
        conn.execute(delete(OutcomeSpan).where(OutcomeSpan.id.in_(portion)))
    gone = sorted(old.keys() - kept)
    for portion in portions(gone):
        conn.execute(delete(Run).where(Run.id.in_(portion)))
    return len(pending), len(gone)


def _needed_runs(conn: Connection, old: Collection[Any], before: datetime) -> set[int]:
    """Return the runs that something refers to, the last of each scope by *before*, and one a day of each scope."""
    needed: set[int] = set()
    for column in _referring(Run):
        if column.table is not OutcomeSpan.__table__:
            needed.update(conn.execute(select(column).where(column.is_not(None)).distinct()).scalars())
    # Spans of trouble that reach into the window, whose ends readers look up.
    reaching = select(OutcomeSpan.from_run_id, OutcomeSpan.to_run_id).where(
        OutcomeSpan.to_run_id > max((row.id for row in old), default=0)
    )
    for first, end in conn.execute(reaching):
        needed.update(run for run in (first, end) if run != OPEN_RUN)
    # The last good run of what is in trouble still: the next change there is dated from its start.
    last_good = select(OutcomeSpan.last_good_at).where(OutcomeSpan.to_run_id == OPEN_RUN).distinct()
    for portion in portions(conn.execute(last_good.where(OutcomeSpan.last_good_at.is_not(None))).scalars()):
        needed.update(conn.execute(select(Run.id).where(Run.finished_at.in_(portion))).scalars())
    needed.update(_explaining_runs(conn, before))
    needed.update(conn.execute(select(func.max(Run.id)).group_by(Run.scope_id)).scalars())
    needed.update(
        row.id for row in conn.execute(last_observation.newest_run_per_scope(of_targets=False), {"at": before})
    )
    last_of_day: dict[tuple[int | None, Any], Any] = {}
    for row in old:
        day = (row.scope_id, row.finished_at.date())
        if day not in last_of_day or last_of_day[day].finished_at <= row.finished_at:
            last_of_day[day] = row
    return needed | {row.id for row in last_of_day.values()}


def _explaining_runs(conn: Connection, before: datetime) -> Iterator[int]:
    """Yield the runs before the window that `explain` names for a change in it: those under way at its moments."""
    dated: tuple[tuple[Any, ...], ...] = (
        (ChangeLog.target_id, ChangeLog.not_before, ChangeLog.recorded_at >= before),
        (ChangeLog.target_id, ChangeLog.observed_at, ChangeLog.recorded_at >= before),
        (Hold.target_id, Hold.not_before, true()),
        (Hold.target_id, Hold.held_at, true()),
    )
    moments: set[tuple[int, datetime]] = set()
    for target, moment, is_kept in dated:
        rows = conn.execute(select(target, moment).distinct().where(moment < before, is_kept))
        moments.update((target_id, found) for target_id, found in rows)
    for target_id, at in sorted(moments):
        run_id = conn.scalar(last_observation.run_under_way(), {"target": target_id, "moment": at})
        if run_id is not None:
            yield run_id


def _last_spans(conn: Connection, spans: Iterable[_Span], before: datetime) -> set[int]:
    """Return the newest span of each target by its last run before the window: it may tell since when all is well."""
    by_target: dict[int, list[_Span]] = {}
    for span in spans:
        by_target.setdefault(span.target_id, []).append(span)
    last = last_observation.last_runs(conn, list(conn.execute(select(TargetRow.id)).scalars()), before)
    newest = (
        max(
            (span for span in own if target_id in last and span.first <= last[target_id].run_id), default=None, key=_age
        )
        for target_id, own in by_target.items()
    )
    return {span.exception_id for span in newest if span is not None}


def _age(span: _Span) -> int:
    return span.first


def _ends(spans: Iterable[_Span]) -> set[int]:
    return {run for span in spans for run in (span.first, span.end)}


def _holds_any(ordered: list[int], span: _Span) -> bool:
    position = bisect_left(ordered, span.first)
    return position < len(ordered) and ordered[position] < span.end


def _give_back(engine: Engine) -> None:
    """Let the file shrink; PostgreSQL's own housekeeping reuses the room, and learns the new sizes here."""
    with mapped_errors(engine), engine.connect() as connection:
        if is_sqlite(engine):
            raw = connection.connection.driver_connection
            assert raw is not None  # noqa: S101 - a checked-out connection has one
            raw.execute("VACUUM")
            return
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()  # nobody else gets it, for whom no statement would end
        connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql("VACUUM (ANALYZE)")
