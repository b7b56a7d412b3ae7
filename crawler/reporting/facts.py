"""
What the history says about a range of runs, as the digest wants it. Reads only.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from crawler.db import digest_records
from crawler.db.filters import Filters
from crawler.domain.rows import ChangeRow
from crawler.domain.subscriptions import Subscription
from crawler.errors import DatabaseUnavailable
from crawler.queries import changes as queries_changes
from crawler.queries import holds, images, status
from crawler.queries import runs as queries_runs
from crawler.report.values import DigestFacts


def gather(
    conn: Connection,
    subscription: Subscription,
    runs: Sequence[int],
    *,
    now: datetime,
    stale_after: timedelta,
    since: datetime | None = None,
) -> DigestFacts:
    """
    Give the facts over *runs* (at least one), for *subscription*.

    The changes are those that the reports of these runs tell; with *since* those recorded since then, told or not.
    """
    changes = tuple(
        queries_changes.changes(conn, since) if since is not None else queries_changes.changes(conn, reported_by=runs)
    )
    last = queries_runs.run(conn, max(runs))
    if last is None:
        raise DatabaseUnavailable(f"Run {max(runs)} is not there any more.")
    pinned = Filters(zone=tuple(sorted({pin.zone for pin in subscription.pins})))
    has_pins = bool(subscription.pins)
    return DigestFacts(
        now=now,
        runs=(*(run for run in queries_runs.runs(conn, ids=runs) if run.run != last.run), last),
        changes=changes,
        status=tuple(status.status(conn, now=now)),
        holds=tuple(holds.holds(conn)),
        images=tuple(
            images.images(conn, None, pinned, now=now, stale_after=stale_after, include_retired=True)
            if has_pins
            else ()
        ),
        withdrawals=tuple(queries_changes.changes(conn, events=("withdrawn",), filters=pinned) if has_pins else ()),
        gpu=digest_records.gpu_of(conn, _images(changes)) if subscription.watch.gpu is not None else {},
        project_names=digest_records.project_names(conn),
    )


def _images(changes: Sequence[ChangeRow]) -> list[tuple[str, str]]:
    return [(row.image_set, row.image_id) for row in changes if row.image_set is not None and row.image_id is not None]
