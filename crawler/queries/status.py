"""
The readers: what is, or was, available, what changed, how fresh the targets are, what the runs did.

Every function takes a connection inside `read(engine)`, so that all statements of an answer see the same moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import (
    Connection,
    func,
    select,
)

from crawler.db import last_observation
from crawler.db.filters import ChosenTarget, chosen_targets
from crawler.db.last_observation import Observation
from crawler.db.schema import OPEN_RUN, Absence, Interval, OutcomeSpan, Run, TargetRow
from crawler.db.sql import PORTION, portions
from crawler.domain.filters import EVERYTHING, Filters
from crawler.domain.models import END_OF_TIME, AbsenceReason, Outcome, require_aware
from crawler.domain.rows import StatusRow


def status(
    conn: Connection, filters: Filters = EVERYTHING, *, now: datetime, include_retired: bool = True
) -> list[StatusRow]:
    """Return the freshness and the last outcome of every target."""
    chosen = chosen_targets(conn, filters)
    target_ids = [choice.target_id for choice in chosen]
    absent = last_observation.absences(conn, target_ids, require_aware(now))
    seen = last_observation.observations(conn, target_ids)
    counts = _open_counts(conn, target_ids)
    first_ok = {first for choice in chosen if (first := _first_ok(choice, seen.get(choice.target_id)))}
    began = last_observation.ends_of(conn, first_ok)
    rows: list[StatusRow] = []
    for choice in chosen:
        observation, absence = seen.get(choice.target_id), absent.get(choice.target_id)
        if absence is not None and not include_retired:
            continue
        trouble = observation.current_trouble if observation else None
        outcome: Outcome | AbsenceReason | None = observation.outcome if observation else None
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


def oldest_observation(conn: Connection, *, now: datetime) -> tuple[datetime | None, int]:
    """
    Return when the target was last observed well that was so longest ago, and how many never were.

    Of the targets that are asked and not denied; the rows of `status` say the same of each, one row a target.
    """
    absent = select(Absence.target_id).where(Absence.valid_from <= require_aware(now), Absence.valid_to > now)
    asked = conn.execute(select(TargetRow.id).where(TargetRow.id.not_in(absent))).scalars().all()
    runs = last_observation.last_runs(conn, asked)
    under_way = select(func.coalesce(func.min(Run.id), OPEN_RUN)).where(Run.finished_at.is_(None)).scalar_subquery()
    spans = conn.execute(
        select(OutcomeSpan.target_id, *last_observation.TROUBLE_COLUMNS).where(OutcomeSpan.to_run_id >= under_way)
    )
    troubles = {
        row.target_id: last_observation.trouble_of(row)
        for row in spans.yield_per(PORTION)
        if row.target_id in runs and row.from_run_id <= runs[row.target_id].run_id
    }
    oldest, never = None, 0
    for target_id in asked:
        run = runs.get(target_id)
        seen = Observation(last_run=run, trouble=troubles.get(target_id)) if run is not None else None
        if seen is not None and seen.outcome == "denied":
            continue
        moment = seen.observed_at if seen is not None else None
        if moment is None:
            never += 1
        elif oldest is None or moment < oldest:
            oldest = moment
    return oldest, never


def _first_ok(choice: ChosenTarget, observation: Observation | None) -> int | None:
    """Return the first run since which all has been well: the one that ended the last trouble, or the baseline."""
    if observation is None or observation.current_trouble is not None:
        return None
    return observation.trouble.to_run_id if observation.trouble else choice.baseline_run_id


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
