"""
What was known of some targets at a moment: were they asked, how did that go, and which absences were not believed.

The common question is about one project in one zone, for which one statement finds the targets and tells all of it;
others take a few statements, whatever the number of targets.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    CompoundSelect,
    Connection,
    ScalarSelect,
    Select,
    Subquery,
    and_,
    bindparam,
    func,
    null,
    select,
    true,
    union_all,
)

from crawler.db import last_observation
from crawler.db.beginning import BEGINS_AT, read_beginning
from crawler.db.engine import is_sqlite
from crawler.db.filters import (
    ChosenTarget,
    Exact,
    are_as_stated,
    chosen_targets,
    exact_parts,
    sorted_targets,
    targets_with,
)
from crawler.db.last_observation import LastRun, Observation
from crawler.db.schema import Absence, Hold, HoldImage, OutcomeSpan, Run, ScopeTarget, Setting
from crawler.db.sql import among, portions, written
from crawler.domain.filters import Filters
from crawler.domain.models import AbsenceReason, ImageKey, Target
from crawler.domain.rows import Knowledge, Reason
from crawler.domain.staleness import reason_of

#: Targets of one project in one zone, kinds times variants, are fewer than this as a rule.
FEW = 9


@dataclass(slots=True, kw_only=True)
class KnownAt:
    """What was known at a moment, by target."""

    #: When the kept history begins; None: nothing was forgotten.
    began: datetime | None = None
    #: Why targets are not asked, and since when.
    absent: dict[int, tuple[AbsenceReason, datetime]] = field(default_factory=dict)
    #: Images on hold.
    held: dict[int, set[ImageKey]] = field(default_factory=dict)
    seen: dict[int, Observation] = field(default_factory=dict)

    def reason(self, target_id: int, moment: datetime, stale_after: timedelta) -> Reason | None:
        """Return why the images of a target are unknown at *moment*, but for holds; None: they are known."""
        absence = self.absent.get(target_id)
        return _reason(self.seen.get(target_id), absence[0] if absence else None, moment, stale_after)


def chosen_at(conn: Connection, filters: Filters, moment: datetime) -> tuple[list[ChosenTarget], KnownAt]:
    """Return the targets that *filters* want, sorted, and what was known of them at *moment*."""
    if len(filters.project) == 1 and len(filters.zone) == 1:
        exact, parameters = exact_parts(filters)
        if exact.project and exact.zone:
            statement = _few_at(exact, has_lateral=not is_sqlite(conn))
            rows = conn.execute(statement, {**parameters, "at": moment}).all()
            if 0 < len(rows) < FEW and are_as_stated(rows, filters, exact):
                return _chosen_few(conn, rows, filters, moment)
    chosen = chosen_targets(conn, filters)
    target_ids = [choice.target_id for choice in chosen]
    known = KnownAt(seen=last_observation.observations(conn, target_ids, moment))
    for portion in list(portions(target_ids)) or [[]]:
        _doubts(conn, portion, moment, known)
    return chosen, known


def knowledge(
    conn: Connection,
    chosen: Collection[ChosenTarget],
    moment: datetime,
    stale_after: timedelta,
    *,
    include_retired: bool = False,
) -> dict[Target, Knowledge]:
    """Return how well each target was known at *moment*; absent ones are left out unless *include_retired*."""
    target_ids = [choice.target_id for choice in chosen]
    absent = last_observation.absences(conn, target_ids, moment)
    seen = last_observation.observations(conn, target_ids, moment)
    known: dict[Target, Knowledge] = {}
    for choice in chosen:
        observation, absence = seen.get(choice.target_id), absent.get(choice.target_id)
        if absence is not None and not include_retired:
            continue
        reason = _reason(observation, absence[0] if absence else None, moment, stale_after)
        observed_at = observation.observed_at if observation else None
        trouble = observation.current_trouble if observation else None
        since = absence[1] if absence else trouble.since if trouble else None
        if reason == "stale" and observed_at is not None:
            since = observed_at + stale_after
        known[choice.target] = Knowledge(reason=reason, since=since if reason else None, observed_at=observed_at)
    return known


def _reason(
    seen: Observation | None, absence: AbsenceReason | None, moment: datetime, stale_after: timedelta
) -> Reason | None:
    outcome = absence or (seen.outcome if seen else None)
    return reason_of(outcome, seen.observed_at if seen else None, moment, stale_after)


# --- of many targets -------------------------------------------------------------------------------------------------


def _doubts(conn: Connection, target_ids: Collection[int], moment: datetime, known: KnownAt) -> None:
    """Add when the kept history begins, why targets were not asked at *moment*, and the images of each on hold."""
    for target_id, first, image_id, since in conn.execute(_doubts_at(), {"targets": target_ids, "at": moment}):
        if target_id is None:
            known.began = read_beginning(first)
        elif image_id is None:
            known.absent[target_id] = first, since
        else:
            known.held.setdefault(target_id, set()).add(ImageKey(first, image_id))


@cache
def _doubts_at() -> CompoundSelect[*tuple[Any, ...]]:
    """
    Select, of `:targets` `:at` a moment, what was not asked, why and since when, and what was on hold, with set and id.

    One more row, of no target, says when the kept history begins, if it does: one statement is quicker than three.
    """
    absent = select(Absence.target_id, Absence.reason, null(), Absence.valid_from).where(
        among(Absence.target_id, "targets"),
        Absence.valid_to > bindparam("at"),
        Absence.valid_from <= bindparam("at"),
    )
    held = (
        select(Hold.target_id, HoldImage.image_set, HoldImage.image_id, null())
        .join(HoldImage, HoldImage.hold_id == Hold.id)
        .where(
            among(Hold.target_id, "targets"),
            Hold.held_at <= bindparam("at"),
            Hold.resolved_at > bindparam("at"),
        )
    )
    began = select(null(), Setting.value, null(), null()).where(Setting.name == BEGINS_AT)
    return union_all(absent, held, began)


# --- of the few targets of one project in one zone ------------------------------------------------------------------


def _chosen_few(
    conn: Connection, rows: Sequence[Any], filters: Filters, moment: datetime
) -> tuple[list[ChosenTarget], KnownAt]:
    known = KnownAt()
    if any(row.hold is not None for row in rows):
        _doubts(conn, [row.id for row in rows], moment, known)
    for row in rows:
        if row.began is not None:
            known.began = read_beginning(row.began)
        if row.absence is not None:
            known.absent[row.id] = row.absence, row.absent_since
        if row.run_id is not None:
            last = LastRun(run_id=row.run_id, started_at=row.started_at, finished_at=row.finished_at)
            known.seen[row.id] = Observation(
                last_run=last, trouble=last_observation.trouble_of(row) if row.exception_id else None
            )
    return sorted_targets(rows, filters), known


@cache
def _few_at(exact: Exact, *, has_lateral: bool) -> Select[*tuple[Any, ...]]:
    """Select a row for each target: the target, its last run `:at` a moment, its newest trouble, what was doubtful."""
    # cut off inside: else PostgreSQL plans for many, and reads all runs to find the last of these
    few = targets_with(exact).limit(written(FEW)).subquery("few")
    inner = OutcomeSpan.alias()
    newest_trouble = (
        select(inner.c.id)
        .where(inner.c.target_id == few.c.id, inner.c.from_run_id <= Run.id)
        .order_by(inner.c.from_run_id.desc())
        .limit(written(1))
        .scalar_subquery()
    )
    is_absent = and_(
        Absence.target_id == few.c.id, Absence.valid_from <= bindparam("at"), Absence.valid_to > bindparam("at")
    )
    # not EXISTS, for which PostgreSQL may read all holds to look this one up in
    hold = (
        select(func.min(Hold.id))
        .where(Hold.target_id == few.c.id, Hold.held_at <= bindparam("at"), Hold.resolved_at > bindparam("at"))
        .scalar_subquery()
    )
    began = select(Setting.value).where(Setting.name == BEGINS_AT).scalar_subquery()
    columns = (Run.id.label("run_id"), Run.started_at, Run.finished_at, *last_observation.TROUBLE_COLUMNS)
    about: Select[*tuple[Any, ...]] = select(
        *(*few.c, *columns, Absence.reason.label("absence"), Absence.valid_from.label("absent_since")),
        *(hold.label("hold"), began.label("began")),
    )
    return (
        about.select_from(few)
        .outerjoin(Run, Run.id == _last_run_of(few, has_lateral=has_lateral))
        .outerjoin(OutcomeSpan, OutcomeSpan.id == newest_trouble)
        .outerjoin(Absence, is_absent)
    )


def _last_run_of(targets: Subquery, *, has_lateral: bool) -> ScalarSelect[int]:
    """Select, of the newest runs `:at` a moment of the scopes that hold a target, the newest."""
    inner, chosen = Run.alias(), Run.alias()
    newest = (
        select(inner.c.id, inner.c.finished_at)
        .where(inner.c.scope_id == ScopeTarget.scope_id, inner.c.finished_at <= bindparam("at"))
        .order_by(inner.c.finished_at.desc(), inner.c.id.desc())
        .limit(written(1))
    )
    if has_lateral:  # finds and reads the run of a scope in one step
        of_scope = newest.lateral()
        runs = select(of_scope.c.id).select_from(ScopeTarget).join(of_scope, true())
        runs = runs.order_by(of_scope.c.finished_at.desc(), of_scope.c.id.desc())
    else:
        newest_id = newest.with_only_columns(inner.c.id).correlate(ScopeTarget).scalar_subquery()
        runs = select(chosen.c.id).select_from(ScopeTarget).join(chosen, chosen.c.id == newest_id)
        runs = runs.order_by(chosen.c.finished_at.desc(), chosen.c.id.desc())
    return runs.where(ScopeTarget.target_id == targets.c.id).limit(written(1)).correlate(targets).scalar_subquery()
