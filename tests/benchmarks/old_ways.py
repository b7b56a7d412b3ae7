"""
The questions over everything as they were answered before: what the answers of today are measured against.

Each was the product's way once, and gives the same rows. Only what has changed since is here; the rest they share with
it, so that they are rather quicker than they were.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import BigInteger, Connection, Text, bindparam, select, text, type_coerce

from crawler.db.schema import ChangeLog, Hold, HoldImage, ImageVersion, Interval, OutcomeSpan, Run, ScopeTarget
from crawler.db.sql import among, portions
from crawler.db.types import from_micros, read_json, to_micros
from crawler.domain.filters import Filters
from crawler.domain.models import END_OF_TIME, ImageKey
from crawler.domain.rows import Gap
from crawler.queries import gaps, history, images
from crawler.queries.history import Coverage

_NEWEST = """(
    SELECT max((SELECT max(r.finished_at) FROM runs AS r WHERE r.scope_id = s.scope_id AND r.finished_at <= {moment}))
    FROM scope_targets AS s WHERE s.target_id = :target)"""
_NEXT = """(
    SELECT min((SELECT min(r.finished_at) FROM runs AS r WHERE r.scope_id = s.scope_id AND r.finished_at > {moment}))
    FROM scope_targets AS s WHERE s.target_id = :target)"""
_HOPS = f"""
WITH RECURSIVE hop(before, reached) AS (
  SELECT CAST(NULL AS bigint),
    CAST(coalesce({_NEWEST.format(moment=":since")}, {_NEXT.format(moment=":since")}) AS bigint)
  UNION ALL
  SELECT hop.reached,
    coalesce(nullif({_NEWEST.format(moment="hop.reached + :stale")}, hop.reached), {_NEXT.format(moment="hop.reached")})
  FROM hop WHERE hop.reached < :now
)
SELECT before, CASE WHEN reached <= :now THEN reached END AS after FROM hop
WHERE before IS NOT NULL AND coalesce(CASE WHEN reached <= :now THEN reached END, :now) - before > :stale
ORDER BY before
"""


def silences(
    conn: Connection, target_ids: Collection[int], *, since: datetime, now: datetime, stale_after: timedelta
) -> Mapping[int, list[Gap]]:
    """Hop from run to run through all scopes of a target, once for each set of scopes."""
    scopes: dict[int, set[int]] = {target_id: set() for target_id in target_ids}
    for portion in portions(sorted(target_ids)):
        members = select(ScopeTarget.target_id, ScopeTarget.scope_id).where(ScopeTarget.target_id.in_(portion))
        for target_id, scope_id in conn.execute(members):
            scopes[target_id].add(scope_id)
    names = ("target", "since", "now", "stale")
    hops = text(_HOPS).bindparams(*(bindparam(name, type_=BigInteger()) for name in names))
    stale = stale_after // timedelta(microseconds=1)
    found: dict[frozenset[int], list[Gap]] = {}
    for target_id, own in scopes.items():
        if frozenset(own) in found:
            continue
        asked = {"target": target_id, "since": to_micros(since), "now": to_micros(now), "stale": stale}
        found[frozenset(own)] = [
            Gap(from_micros(before + stale), None if after is None else from_micros(after), "stale")
            for before, after in conn.execute(hops, asked)
        ]
    return {target_id: found[frozenset(own)] for target_id, own in scopes.items()}


def troubles(conn: Connection, target_ids: Collection[int]) -> Iterator[tuple[int, Gap]]:
    """Look up the two runs at the ends of every span of trouble."""
    first, after = Run.alias(), Run.alias()
    spans = (
        select(OutcomeSpan.target_id, OutcomeSpan.outcome, first.c.finished_at, after.c.finished_at)
        .join(first, first.c.id == OutcomeSpan.from_run_id)
        .outerjoin(after, after.c.id == OutcomeSpan.to_run_id)
        .where(among(OutcomeSpan.target_id, "targets"), OutcomeSpan.outcome != "held", first.c.finished_at.is_not(None))
        .order_by(OutcomeSpan.target_id, OutcomeSpan.from_run_id)
    )
    for portion in portions(sorted(target_ids)):
        for target_id, outcome, began, ended in conn.execute(spans, {"targets": portion}):
            if ended is None or began < ended:
                yield target_id, Gap(began, ended, outcome)


def coverage(
    conn: Connection, target_ids: Collection[int], *, since: datetime, now: datetime, stale_after: timedelta
) -> dict[int, Coverage]:
    """Tell when each target was not known, in those ways."""
    absences: dict[int, list[Gap]] = {target_id: [] for target_id in target_ids}
    troubled: dict[int, list[Gap]] = {target_id: [] for target_id in target_ids}
    for portion in portions(sorted(target_ids)):
        for target_id, reason, begin, end in conn.execute(gaps._absences(), {"targets": portion}):
            absences[target_id].append(Gap(begin, None if end == END_OF_TIME else end, reason))
    for target_id, gap in troubles(conn, target_ids):
        troubled[target_id].append(gap)
    silent = silences(conn, target_ids, since=since, now=now, stale_after=stale_after)
    return {one: Coverage(absences=absences[one], troubles=troubled[one], silences=silent[one]) for one in target_ids}


def holds(
    conn: Connection, target_ids: Collection[int], image_ids: Collection[str]
) -> dict[tuple[int, ImageKey], list[Gap]]:
    """Look up every image that was on hold at the targets."""
    on_hold = (
        select(Hold.target_id, HoldImage.image_set, HoldImage.image_id, Hold.held_at, Hold.resolved_at)
        .join(HoldImage, HoldImage.hold_id == Hold.id)
        .where(among(Hold.target_id, "targets"))
        .order_by(Hold.held_at)
    )
    held: dict[tuple[int, ImageKey], list[Gap]] = {}
    for portion in portions(sorted(target_ids)):
        for target_id, image_set, image_id, held_at, resolved_at in conn.execute(on_hold, {"targets": portion}):
            if held_at < resolved_at:
                gap = Gap(held_at, None if resolved_at == END_OF_TIME else resolved_at, "held")
                held.setdefault((target_id, ImageKey(image_set, image_id)), []).append(gap)
    return held


def valid_intervals(
    conn: Connection,
    target_ids: Sequence[int],
    moment: datetime,
    narrowed: Sequence[int] | None,
    versions: dict[int, Any],
) -> dict[int, list[Any]]:
    """Read every version with every interval, and forget them after 20,000."""
    assert narrowed is None
    if len(versions) > 20_000:
        versions.clear()
    rows = conn.execute(
        select(
            *(Interval.target_id, Interval.version_id, Interval.valid_from, Interval.present_since, Interval.baseline),
            *(ImageVersion.image_set, ImageVersion.image_name, ImageVersion.image_id, ImageVersion.name_key),
            type_coerce(ImageVersion.attributes, Text),
        )
        .join(ImageVersion, ImageVersion.id == Interval.version_id)
        .where(among(Interval.target_id, "targets"), Interval.valid_to > moment, Interval.valid_from <= moment),
        {"targets": target_ids},
    ).all()
    valid: dict[int, list[Any]] = {}
    for target_id, version_id, valid_from, present_since, baseline, *named, attributes in rows:
        if version_id not in versions:
            versions[version_id] = images._Version._make((*named, read_json(attributes)))
        valid.setdefault(target_id, []).append(images._Valid(versions[version_id], valid_from, present_since, baseline))
    return valid


def changes(conn: Connection, filters: Filters) -> Iterator[Any]:
    """Read the whole log, and ask of each change whether it is wanted."""
    statement = select(*ChangeLog.__table__.c).order_by(ChangeLog.id).execution_options(yield_per=1_000)
    for rows in conn.execute(statement).partitions():
        yield from (row for row in rows if filters.wants_image(row.image_set, row.image_id, row.image_name))


def overlay(*layers: Sequence[Gap]) -> list[Gap]:
    """Cut every layer by those above it, even where there is none, and put all in order again."""
    spans: list[Gap] = []
    for layer in layers:
        spans = sorted([*spans, *_uncovered(layer, spans)], key=lambda gap: gap.unknown_from)
    joined: list[Gap] = []
    for gap in spans:
        last = joined[-1] if joined else None
        if last and last.reason == gap.reason and last.unknown_to == gap.unknown_from:
            joined[-1] = Gap(last.unknown_from, gap.unknown_to, gap.reason)
        else:
            joined.append(gap)
    return joined


def _uncovered(layer: Iterable[Gap], cover: Sequence[Gap]) -> list[Gap]:
    free: list[Gap] = []
    position = 0
    for gap in sorted(layer, key=lambda gap: gap.unknown_from):
        begin, end = gap.unknown_from, gap.unknown_to or END_OF_TIME
        while position < len(cover) and (cover[position].unknown_to or END_OF_TIME) <= begin:
            position += 1
        for above in cover[position:]:
            if above.unknown_from >= end:
                break
            free += _clip([gap], begin, above.unknown_from) if above.unknown_from > begin else []
            begin = max(begin, above.unknown_to or END_OF_TIME)
        if begin < end:
            free += _clip([gap], begin, None)
    return free


def _begun(gaps: Sequence[Gap], first: datetime, last: datetime) -> tuple[Gap, ...]:
    return tuple(_clip([gap for gap in gaps if gap.unknown_from >= first], first, last))


def _clip(gaps: Iterable[Gap], begin: datetime, end: datetime | None) -> list[Gap]:
    parts = []
    for gap in gaps:
        first = max(gap.unknown_from, begin)
        last = min(gap.unknown_to or END_OF_TIME, end or END_OF_TIME)
        if first < last:
            parts.append(Gap(first, None if last == END_OF_TIME else last, gap.reason))
    return parts


@contextmanager
def put_in() -> Iterator[None]:
    """Let the readers go the old ways for a `with` block."""
    with pytest.MonkeyPatch.context() as readers:
        readers.setattr(gaps, "coverage", coverage)
        readers.setattr(gaps, "holds", holds)
        readers.setattr(history, "_begun", _begun)
        readers.setattr(history, "clip", _clip)
        readers.setattr(history, "overlay", overlay)
        readers.setattr(images, "_valid_intervals", valid_intervals)
        yield
