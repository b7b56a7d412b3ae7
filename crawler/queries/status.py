"""
The readers: what is, or was, available, what changed, how fresh the targets are, what the runs did.

Every function takes a connection inside `read(engine)`, so that all statements of an answer see the same moment.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, func, select

from crawler.db import last_observation
from crawler.db.filters import ChosenTarget, target_pages, targets_in
from crawler.db.last_observation import Observation
from crawler.db.schema import Absence, Interval, TargetRow
from crawler.db.sql import PAGE, among, portions
from crawler.domain.filters import EVERYTHING, Filters
from crawler.domain.matrix import is_of_matrix
from crawler.domain.models import END_OF_TIME, AbsenceReason, Outcome, require_aware
from crawler.domain.rows import StatusRow
from crawler.queries.freshness import KnownAt


def status(
    conn: Connection,
    filters: Filters = EVERYTHING,
    *,
    now: datetime,
    include_retired: bool = True,
) -> list[StatusRow]:
    """Return the freshness and the last outcome of every target."""
    return list(each_status(conn, filters, now=now, include_retired=include_retired))


def each_status(
    conn: Connection,
    filters: Filters = EVERYTHING,
    *,
    now: datetime,
    include_retired: bool = True,
) -> Generator[StatusRow, None, None]:
    """
    Yield the same: in memory are the targets of a page, however many there are (`target_pages`).

    Who does not read it to its end closes it before the connection.
    """
    require_aware(now)
    for page in target_pages(conn, filters, PAGE):
        yield from _rows_of(conn, page, now, include_retired=include_retired)


def status_in(conn: Connection, zones: Collection[tuple[str, str, str]], *, now: datetime) -> Iterator[StatusRow]:
    """Yield the same of the targets in some *zones* (account, region, zone) alone."""
    for page in portions(targets_in(conn, zones), PAGE):
        yield from _rows_of(conn, page, now, include_retired=True)


def status_of(conn: Connection, chosen: Sequence[ChosenTarget], known: KnownAt) -> list[StatusRow]:
    """Return the same of the targets *chosen*, of which so much is *known* now, their images not counted."""
    return list(_rows_known(conn, chosen, known, {}))


def _rows_of(
    conn: Connection, chosen: Sequence[ChosenTarget], now: datetime, *, include_retired: bool
) -> Iterator[StatusRow]:
    target_ids = [choice.target_id for choice in chosen]
    known = KnownAt(
        absent=last_observation.absences(conn, target_ids, now),
        seen=last_observation.observations(conn, target_ids, accounts={choice.account_id for choice in chosen}),
    )
    if not include_retired:
        chosen = [choice for choice in chosen if choice.target_id not in known.absent]
    return _rows_known(conn, chosen, known, _open_counts(conn, target_ids))


def _rows_known(
    conn: Connection, chosen: Sequence[ChosenTarget], known: KnownAt, counts: Mapping[int, int]
) -> Iterator[StatusRow]:
    absent, seen = known.absent, known.seen
    began = last_observation.ends_of(conn, _first_runs(chosen, seen))
    for target, target_id, _, baseline_run_id in chosen:
        observation = seen.get(target_id)
        outcome: Outcome | AbsenceReason | None = None
        since, last_ok_at, message = None, None, ""
        if observation is None:
            pass
        elif observation.trouble is None:  # most are so
            outcome, since, last_ok_at = "ok", began.get(baseline_run_id or 0), observation.last_run.finished_at
        else:
            trouble = observation.current_trouble
            outcome, last_ok_at = observation.outcome, observation.observed_at
            since = trouble.since if trouble else began.get(observation.trouble.to_run_id)
            message = trouble.message if trouble else ""
        if target_id in absent:
            outcome, since = absent[target_id]
        # by position: with words a row would take twice as long
        yield StatusRow(target, outcome, since, last_ok_at, counts.get(target_id, 0), message)


def _first_runs(chosen: Sequence[ChosenTarget], seen: Mapping[int, Observation]) -> set[int]:
    """Return the runs since which all has been well: the baseline of a target, or the one that ended its trouble."""
    first = {choice.baseline_run_id for choice in chosen}
    first |= {one.trouble.to_run_id for one in seen.values() if one.trouble and one.current_trouble is None}
    return {run_id for run_id in first if run_id is not None}


def oldest_observation(conn: Connection, *, now: datetime) -> tuple[datetime | None, int]:
    """
    Return when the target was last observed well that was so longest ago, and how many never were.

    Of the targets that are asked and not denied; the rows of `status` say the same of each, one row a target. One of a
    matrix that was not in turn yet is none of those that never were.
    """
    absent = select(Absence.target_id).where(Absence.valid_from <= require_aware(now), Absence.valid_to > now)
    columns = select(TargetRow.id, TargetRow.account_id, TargetRow.variant)
    asked = columns.where(TargetRow.id.not_in(absent)).order_by(TargetRow.id)
    oldest, never = None, 0
    with conn.execute(asked, execution_options={"yield_per": PAGE}) as result:
        for rows in result.partitions():
            target_ids = [row.id for row in rows]
            seen = last_observation.observations(conn, target_ids, accounts={row.account_id for row in rows})
            never += sum(row.id not in seen and not is_of_matrix(row.variant) for row in rows)
            for observation in seen.values():
                moment = observation.observed_at
                if observation.outcome == "denied":
                    continue
                if moment is None:
                    never += 1
                elif oldest is None or moment < oldest:
                    oldest = moment
    return oldest, never


def _open_counts(conn: Connection, target_ids: Sequence[int]) -> dict[int, int]:
    rows = conn.execute(_counts_of_open(), {"targets": target_ids})
    return dict(rows.all())


@cache
def _counts_of_open() -> Select[*tuple[Any, ...]]:
    is_open = among(Interval.target_id, "targets"), Interval.valid_to == END_OF_TIME
    return select(Interval.target_id, func.count()).where(*is_open).group_by(Interval.target_id)
