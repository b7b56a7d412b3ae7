"""
When nobody knew: for each target the spans without a good observation, from the first day on.

Runs are never scanned. Outcomes other than `ok` are run-length rows already, and the two runs of each are looked up by
key. Silences (more than `stale_after` between a run and the next) are found by seeking: from a run's end hop to the
newest run within `stale_after`, through the index `(scope_id, finished_at)`; where that is the same run, the next one
after it ends a silence. Five years take 1,700 hops, made inside the database by one recursive statement for each scope;
a target was watched whenever one of its scopes was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from itertools import chain, repeat
from operator import itemgetter
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Text,
    TextClause,
    bindparam,
    func,
    select,
    text,
    type_coerce,
)
from sqlalchemy import cast as cast_to

from crawler.db.engine import is_sqlite
from crawler.db.schema import Absence, Hold, HoldImage, OutcomeSpan, Run, ScopeTarget
from crawler.db.sql import among, among_too, portions
from crawler.db.types import each_from_micros, from_micros, to_micros
from crawler.domain.models import END_OF_TIME, ImageKey, canonical_json
from crawler.domain.rows import Gap, Reason, maker_of
from crawler.queries.history import Coverage

#: Targets whose spans are read at once: PostgreSQL reads all runs for each many.
_TOGETHER = 10_000
_new_gap = maker_of(Gap)
#: Runs whose ends are read at once.
_RUNS_TOGETHER = 200_000


@dataclass(slots=True)
class _Spans:
    absences: list[Gap] = field(default_factory=list)
    troubles: list[Gap] = field(default_factory=list)


def coverage(
    conn: Connection,
    target_ids: Collection[int],
    *,
    since: datetime,
    now: datetime,
    stale_after: timedelta,
    from_run: int = 0,
) -> dict[int, Coverage]:
    """
    Return when each target was not known, from *since* (silences; the rest from the first day) to *now*.

    Spans of trouble that were over by the run *from_run* are left out.
    """
    spans = {target_id: _Spans() for target_id in sorted(target_ids)}
    for portion in portions(spans, _TOGETHER):
        for target_id, reason, valid_from, valid_to in conn.execute(_absences(), {"targets": portion}).all():
            if valid_from < valid_to:
                spans[target_id].absences.append(_gap(valid_from, valid_to, reason))
        for target_id, troubles in _troubles(conn, portion, from_run):
            spans[target_id].troubles = troubles
    silences = _silences(conn, spans, since=since, now=now, stale_after=stale_after)
    return {
        target_id: Coverage(
            absences=own.absences,
            troubles=own.troubles,
            silences=silences.get(target_id, ()),
            is_observed=target_id in silences,
        )
        for target_id, own in spans.items()
    }


def holds(
    conn: Connection, target_ids: Collection[int], image_ids: Collection[str]
) -> dict[tuple[int, ImageKey], list[Gap]]:
    """Return when withdrawals of each of the images at the targets waited on a hold."""
    held: dict[tuple[int, ImageKey], list[Gap]] = {}
    images = sorted(image_ids)
    for portion in portions(sorted(target_ids), _TOGETHER):
        rows = conn.execute(_holds(), {"targets": portion, "images": images}).all()
        for target_id, image_set, image_id, held_at, resolved_at in rows:
            if held_at < resolved_at:
                place = (target_id, ImageKey(image_set, image_id))
                held.setdefault(place, []).append(_gap(held_at, resolved_at, "held"))
    return held


def _gap(begin: datetime, end: datetime | None, reason: str) -> Gap:
    return Gap(begin, None if end == END_OF_TIME else end, cast("Reason", reason))


@cache
def _absences() -> Select[*tuple[Any, ...]]:
    return (
        select(Absence.target_id, Absence.reason, Absence.valid_from, Absence.valid_to)
        .where(among(Absence.target_id, "targets"))
        .order_by(Absence.target_id, Absence.valid_from)
    )


def _troubles(conn: Connection, target_ids: Collection[int], from_run: int) -> Iterator[tuple[int, list[Gap]]]:
    """
    Yield each of the targets that had trouble with its spans, in order; without those over by the run *from_run*.

    A span begins with the end of its first run, and ends with that of the first run after it. One whose first run has
    not ended has not begun. SQLite looks both runs up for every span; PostgreSQL would read all runs twice, and is
    asked for the end of each run once.
    """
    has_ends = is_sqlite(conn)
    listed = conn.execute(_spans_of_trouble(has_ends=has_ends), {"targets": target_ids, "run": from_run}).all()
    words = {target_id: spans.split(" ") for target_id, spans in listed}
    ends = {} if has_ends else _ends(conn, set(chain.from_iterable(own[::3] + own[1::3] for own in words.values())))

    def moments(own: Sequence[str]) -> Iterator[datetime]:
        return each_from_micros(map(int, own)) if has_ends else map(ends.get, own, repeat(END_OF_TIME))

    for target_id, own in words.items():
        spans = sorted(zip(moments(own[::3]), moments(own[1::3]), own[2::3], strict=True), key=itemgetter(0))
        gaps = [_new_gap(span) for span in spans if span[0] < span[1]]
        # they do not overlap, so that only the last may last
        if gaps and gaps[-1].unknown_to == END_OF_TIME:
            gaps[-1] = gaps[-1]._replace(unknown_to=None)
        yield target_id, gaps


@cache
def _spans_of_trouble(*, has_ends: bool) -> Select[*tuple[Any, ...]]:
    """
    Select each of `:targets` with its spans of trouble as one text: first run, first run after it, outcome.

    With their ends in place of the two runs where *has_ends*, in microseconds. Spans that were over by the run `:run`
    are left out. One text of many is read in a fraction of the time of as many rows.
    """
    first, after = Run.alias(), Run.alias()
    began: ColumnElement[int] = OutcomeSpan.from_run_id
    ended: ColumnElement[int] = OutcomeSpan.to_run_id
    if has_ends:
        began = type_coerce(first.c.finished_at, BigInteger)
        ended = func.coalesce(type_coerce(after.c.finished_at, BigInteger), to_micros(END_OF_TIME))
    each = cast_to(began, Text) + " " + cast_to(ended, Text) + " " + OutcomeSpan.outcome
    spans = select(OutcomeSpan.target_id, func.aggregate_strings(each, " ")).where(
        among(OutcomeSpan.target_id, "targets"),
        OutcomeSpan.outcome != "held",
        OutcomeSpan.to_run_id > bindparam("run"),
    )
    if has_ends:
        spans = spans.join(first, first.c.id == OutcomeSpan.from_run_id)
        spans = spans.outerjoin(after, after.c.id == OutcomeSpan.to_run_id).where(first.c.finished_at.is_not(None))
    return spans.group_by(OutcomeSpan.target_id)


def _ends(conn: Connection, runs: Collection[str]) -> dict[str, datetime]:
    """Return when those of *runs* ended that have ended; ids as text, for so they come in a text of many."""
    ends: dict[str, datetime] = {}
    for portion in portions(runs, _RUNS_TOGETHER):
        words = (conn.scalar(_ends_of_runs(), {"runs": portion}) or "").split()
        ends.update(zip(words[::2], each_from_micros(map(int, words[1::2])), strict=True))
    return ends


@cache
def _ends_of_runs() -> Select[*tuple[Any, ...]]:
    """Select those of `:runs` that have ended as one text: id, end in microseconds; NULL where there are none."""
    ended = type_coerce(Run.finished_at, BigInteger)
    each = cast_to(Run.id, Text) + " " + cast_to(ended, Text)
    return select(func.aggregate_strings(each, " ")).where(among(Run.id, "runs"), Run.finished_at.is_not(None))


@cache
def _holds() -> Select[*tuple[Any, ...]]:
    return (
        select(Hold.target_id, HoldImage.image_set, HoldImage.image_id, Hold.held_at, Hold.resolved_at)
        .join(HoldImage, HoldImage.hold_id == Hold.id)
        .where(among(Hold.target_id, "targets"), among_too(HoldImage.image_id, "images"))
        .order_by(Hold.held_at)
    )


# --- silences --------------------------------------------------------------------------------------------------------


def _silences(
    conn: Connection, target_ids: Collection[int], *, since: datetime, now: datetime, stale_after: timedelta
) -> Mapping[int, list[Gap]]:
    """
    Return of each target the spans that lie more than *stale_after* after a run and before the next.

    Those of which no run has ended by *now* are left out.
    """
    scopes: dict[int, str] = {}
    for portion in portions(sorted(target_ids), _TOGETHER):
        scopes.update((target_id, own) for target_id, own in conn.execute(_scopes(), {"targets": portion}).all())
    # many targets are in the same scopes
    alike = {own: frozenset(map(int, own.split(","))) for own in set(scopes.values())}
    watches: dict[int, list[tuple[int, int]]] = {}
    bounds = {"since": to_micros(since), "now": to_micros(now), "stale": stale_after // timedelta(microseconds=1)}
    for portion in portions(sorted(frozenset().union(*alike.values()))):
        listed = canonical_json(portion) if is_sqlite(conn) else "{" + ",".join(map(str, portion)) + "}"
        first = 0
        for scope_id, before, after in conn.execute(long_hops(conn.dialect.name), {"scopes": listed, **bounds}).all():
            if before is not None:
                watches.setdefault(scope_id, []).append((first, before))
            first = after
    found = {
        text: list(_between(sorted(watch for scope in own for watch in watches.get(scope, ())), **bounds))
        for text, own in alike.items()
        if not watches.keys().isdisjoint(own)
    }
    return {target_id: found[own] for target_id, own in scopes.items() if own in found}


def _between(watches: Iterable[tuple[int, int]], *, since: int, now: int, stale: int) -> Iterator[Gap]:
    """
    Yield what lies between *watches*, from *since* to *now*; all in microseconds.

    A watch is the end of its first run and that of its last, with never more than *stale* between two. They are in
    order, and may overlap.
    """
    last: int | None = None
    for begins, ends in watches:
        if last is not None and begins > max(last + stale, since):
            yield _gap(from_micros(last + stale), from_micros(begins), "stale")
        last = ends if last is None else max(last, ends)
    if last is not None and last + stale < now:
        yield _gap(from_micros(last + stale), None, "stale")


@cache
def _scopes() -> Select[*tuple[Any, ...]]:
    """Select each of `:targets` with the ids of its scopes, as a text."""
    own = func.aggregate_strings(cast_to(ScopeTarget.scope_id, Text), ",")
    return (
        select(ScopeTarget.target_id, own)
        .where(among(ScopeTarget.target_id, "targets"))
        .group_by(ScopeTarget.target_id)
    )


_NEWEST = "SELECT max(r.finished_at) FROM runs AS r WHERE r.scope_id = {scope} AND r.finished_at <= {moment}"
_NEXT = "SELECT min(r.finished_at) FROM runs AS r WHERE r.scope_id = {scope} AND r.finished_at > {moment}"
_HOPS = """
WITH RECURSIVE hop(scope_id, before, reached) AS (
  SELECT s.id, CAST(NULL AS bigint), coalesce(({newest_at_start}), ({first_after_start}))
  FROM scopes AS s WHERE s.id IN ({scopes})
  UNION ALL
  SELECT hop.scope_id, hop.reached, coalesce(nullif(({newest_near}), hop.reached), ({next}))
  FROM hop WHERE hop.reached <= :now
)
SELECT scope_id, before, CASE WHEN reached <= :now THEN reached END AS after FROM hop
WHERE before IS NULL OR reached IS NULL OR reached > :now OR reached - before > :stale
ORDER BY scope_id, coalesce(before, 0)
"""
_LISTED = {"sqlite": "SELECT value FROM json_each(:scopes)", "postgresql": "SELECT unnest(CAST(:scopes AS bigint[]))"}


@cache
def long_hops(dialect: str) -> TextClause:
    """
    Select `(scope, end of a run, end of the next)` where more than `:stale` microseconds lie between, for `:scopes`.

    The first of a scope has no run before, the last none after: the runs from `:since` to `:now` lie between these.
    """
    statement = _HOPS.format(
        newest_at_start=_NEWEST.format(scope="s.id", moment=":since"),
        first_after_start=_NEXT.format(scope="s.id", moment=":since"),
        newest_near=_NEWEST.format(scope="hop.scope_id", moment="hop.reached + :stale"),
        next=_NEXT.format(scope="hop.scope_id", moment="hop.reached"),
        scopes=_LISTED[dialect],
    )
    return text(statement).bindparams(*(bindparam(name, type_=BigInteger()) for name in ("since", "now", "stale")))
