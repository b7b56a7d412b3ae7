"""
When nobody knew: for each target the spans without a good observation, from the first day on.

Runs are never scanned. Outcomes other than `ok` are run-length rows already, joined to the two runs at their ends by
key. Silences (more than `stale_after` between a run and the next) are found by seeking: from a run's end hop to the
newest run within `stale_after`, through the index `(scope_id, finished_at)`; where that is the same run, the next one
after it ends a silence. Five years take 1,700 hops, made inside the database by one recursive statement for all
targets that are in the same scopes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast

from sqlalchemy import BigInteger, Connection, Select, TextClause, bindparam, select, text

from crawler.db.schema import Absence, Hold, HoldImage, OutcomeSpan, Run, ScopeTarget
from crawler.db.sql import among, portions
from crawler.db.types import from_micros, to_micros
from crawler.domain.models import END_OF_TIME, ImageKey
from crawler.domain.rows import Gap, Reason
from crawler.queries.history import Coverage


@dataclass(slots=True)
class _Spans:
    absences: list[Gap] = field(default_factory=list)
    troubles: list[Gap] = field(default_factory=list)


def coverage(
    conn: Connection, target_ids: Collection[int], *, since: datetime, now: datetime, stale_after: timedelta
) -> dict[int, Coverage]:
    """Return when each target was not known, from *since* (silences; the rest from the first day) to *now*."""
    spans = {target_id: _Spans() for target_id in sorted(target_ids)}
    for portion in portions(spans):
        for target_id, reason, valid_from, valid_to in conn.execute(_absences(), {"targets": portion}):
            spans[target_id].absences.append(_gap(valid_from, valid_to, reason))
        for target_id, outcome, began, ended in conn.execute(_troubles(), {"targets": portion}):
            if ended is None or began < ended:
                spans[target_id].troubles.append(_gap(began, ended, outcome))
    silences = _silences(conn, spans, since=since, now=now, stale_after=stale_after)
    return {
        target_id: Coverage(absences=own.absences, troubles=own.troubles, silences=silences[target_id])
        for target_id, own in spans.items()
    }


def holds(conn: Connection, target_ids: Collection[int]) -> dict[tuple[int, ImageKey], list[Gap]]:
    """Return when withdrawals of each image of the targets waited on a hold."""
    held: dict[tuple[int, ImageKey], list[Gap]] = {}
    for portion in portions(sorted(target_ids)):
        for target_id, image_set, image_id, held_at, resolved_at in conn.execute(_holds(), {"targets": portion}):
            if held_at < resolved_at:
                place = (target_id, ImageKey(image_set, image_id))
                held.setdefault(place, []).append(_gap(held_at, resolved_at, "held"))
    return held


def _gap(begin: datetime, end: datetime | None, reason: str) -> Gap:
    return Gap(unknown_from=begin, unknown_to=None if end == END_OF_TIME else end, reason=cast("Reason", reason))


@cache
def _absences() -> Select[*tuple[Any, ...]]:
    return (
        select(Absence.target_id, Absence.reason, Absence.valid_from, Absence.valid_to)
        .where(among(Absence.target_id, "targets"))
        .order_by(Absence.target_id, Absence.valid_from)
    )


@cache
def _troubles() -> Select[*tuple[Any, ...]]:
    """Select the spans of trouble of `:targets` from the end of their first run to the end of the first run after."""
    first, after = Run.alias(), Run.alias()
    return (
        select(OutcomeSpan.target_id, OutcomeSpan.outcome, first.c.finished_at, after.c.finished_at)
        .join(first, first.c.id == OutcomeSpan.from_run_id)
        .outerjoin(after, after.c.id == OutcomeSpan.to_run_id)
        .where(
            among(OutcomeSpan.target_id, "targets"),
            OutcomeSpan.outcome != "held",
            first.c.finished_at.is_not(None),
        )
        .order_by(OutcomeSpan.target_id, OutcomeSpan.from_run_id)
    )


@cache
def _holds() -> Select[*tuple[Any, ...]]:
    return (
        select(Hold.target_id, HoldImage.image_set, HoldImage.image_id, Hold.held_at, Hold.resolved_at)
        .join(HoldImage, HoldImage.hold_id == Hold.id)
        .where(among(Hold.target_id, "targets"))
        .order_by(Hold.held_at)
    )


# --- silences --------------------------------------------------------------------------------------------------------


def _silences(
    conn: Connection, target_ids: Collection[int], *, since: datetime, now: datetime, stale_after: timedelta
) -> Mapping[int, list[Gap]]:
    """Return of each target the spans that lie more than *stale_after* after a run and before the next."""
    scopes: dict[int, set[int]] = {target_id: set() for target_id in target_ids}
    for portion in portions(sorted(target_ids)):
        rows = conn.execute(
            select(ScopeTarget.target_id, ScopeTarget.scope_id).where(ScopeTarget.target_id.in_(portion))
        )
        for target_id, scope_id in rows:
            scopes[target_id].add(scope_id)
    found: dict[frozenset[int], list[Gap]] = {}
    silences: dict[int, list[Gap]] = {}
    for target_id, own in scopes.items():
        alike = frozenset(own)
        if alike not in found:
            found[alike] = _silences_of(conn, target_id, since=since, now=now, stale_after=stale_after)
        silences[target_id] = found[alike]
    return silences


def _silences_of(
    conn: Connection, target_id: int, *, since: datetime, now: datetime, stale_after: timedelta
) -> list[Gap]:
    parameters = {"target": target_id, "since": to_micros(since), "now": to_micros(now)}
    stale_micros = stale_after // timedelta(microseconds=1)
    gaps = []
    for before, after in conn.execute(long_hops(), {**parameters, "stale": stale_micros}):
        end = None if after is None else from_micros(after)
        gaps.append(_gap(from_micros(before + stale_micros), end, "stale"))
    return gaps


_NEWEST = """(
    SELECT max((SELECT max(r.finished_at) FROM runs AS r WHERE r.scope_id = s.scope_id AND r.finished_at <= {moment}))
    FROM scope_targets AS s WHERE s.target_id = :target)"""
_NEXT = """(
    SELECT min((SELECT min(r.finished_at) FROM runs AS r WHERE r.scope_id = s.scope_id AND r.finished_at > {moment}))
    FROM scope_targets AS s WHERE s.target_id = :target)"""
_HOPS = """
WITH RECURSIVE hop(before, reached) AS (
  SELECT CAST(NULL AS bigint), CAST(coalesce({newest_at_start}, {first_after_start}) AS bigint)
  UNION ALL
  SELECT hop.reached, coalesce(nullif({newest_near}, hop.reached), {next})
  FROM hop WHERE hop.reached < :now
)
SELECT before, CASE WHEN reached <= :now THEN reached END AS after FROM hop
WHERE before IS NOT NULL AND coalesce(CASE WHEN reached <= :now THEN reached END, :now) - before > :stale
ORDER BY before
"""


@cache
def long_hops() -> TextClause:
    """
    Select `(end of a run, end of the next)` where more than `:stale` microseconds lie between, from `:since` to `:now`.

    They are the runs that looked at `:target`; the next is NULL where there is none by `:now`.
    """
    statement = _HOPS.format(
        newest_at_start=_NEWEST.format(moment=":since"),
        first_after_start=_NEXT.format(moment=":since"),
        newest_near=_NEWEST.format(moment="hop.reached + :stale"),
        next=_NEXT.format(moment="hop.reached"),
    )
    names = ("target", "since", "now", "stale")
    return text(statement).bindparams(*(bindparam(name, type_=BigInteger()) for name in names))
