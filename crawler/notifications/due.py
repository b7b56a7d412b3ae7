"""
Whether a subscription has something to send, and what the history says about its range of runs. Reads only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from crawler.db import digest_records, outbox
from crawler.db.filters import meant_name
from crawler.db.outbox import Subscribed
from crawler.domain.filters import Filters
from crawler.domain.rows import ChangeRow
from crawler.domain.subscriptions import Subscription, is_due
from crawler.errors import DatabaseUnavailable
from crawler.notifications.digest import build_digest
from crawler.notifications.models import Digest, DigestFacts, NotifiedState
from crawler.queries import changes as queries_changes
from crawler.queries import holds, images, lookup, status
from crawler.queries import runs as queries_runs


@dataclass(frozen=True, slots=True, kw_only=True)
class DueNews:
    """What a subscription is to be told now."""

    digest: Digest | None = None
    #: Nothing of what waits is worth a digest, and the schedule wanted to know now: it is told, by silence.
    is_range_over: bool = False
    #: There is news of this run that the schedule wants told later.
    is_for_later: bool = False


NO_NEWS = DueNews()


def look_for_news(
    conn: Connection,
    subscription: Subscription,
    state: Subscribed,
    *,
    run_id: int | None,
    now: datetime,
    stale_after: timedelta,
    is_hurried: bool = False,
) -> DueNews:
    """
    Return what is new for *subscription* after *run_id* (None: the last run).

    When its time has come, or is not waited for (*is_hurried*), that is everything; before that only what is urgent.
    """
    last = run_id or outbox.last_finished_run(conn)
    if last is None:
        return NO_NEWS
    subscription = _in_known_names(conn, subscription)
    told = NotifiedState.from_json(state.told)
    has_schedule = subscription.when.at is not None
    if is_hurried or is_due(subscription.when, subscription.timezone, last=state.due_at, now=now):
        if _is_quiet(conn, subscription, state, told, last):
            return DueNews(is_range_over=True)
        runs = outbox.finished_runs(conn, after=state.told_run_id if has_schedule else None, among={*state.runs, last})
        facts = gather(conn, subscription, runs, now=now, stale_after=stale_after)
        digest = build_digest(subscription, facts, told)
        return DueNews(digest=digest, is_range_over=digest is None)
    has_urgent = bool(subscription.pins) and "pins" in subscription.urgent
    if not has_urgent and last not in state.runs:
        return NO_NEWS
    facts = gather(conn, subscription, sorted({*state.runs, last}), now=now, stale_after=stale_after)
    return DueNews(
        digest=build_digest(subscription, facts, told, urgent_only=True) if has_urgent else None,
        is_for_later=last in state.runs and build_digest(subscription, facts, told) is not None,
    )


def digest_since(
    conn: Connection, subscription: Subscription, since: datetime, *, now: datetime, stale_after: timedelta
) -> Digest | None:
    """
    Return a digest of everything recorded *since* a moment, whether it was told or not; None when that is nothing.
    """
    subscription = _in_known_names(conn, subscription)
    last, first = outbox.last_finished_run(conn), outbox.first_run_since(conn, since)
    if last is None:
        return None
    runs = outbox.finished_runs(conn, after=None if first is None else first - 1, among={last})
    facts = gather(conn, subscription, runs, now=now, stale_after=stale_after, since=since)
    return build_digest(subscription, facts, NotifiedState(introduced=True))


def _in_known_names(conn: Connection, subscription: Subscription) -> Subscription:
    """Return *subscription* with the names that the history knows, where its filter has them with other spaces."""
    names = tuple(meant_name(conn, name) for name in subscription.watch.name)
    return replace(subscription, watch=replace(subscription.watch, name=names))


def _is_quiet(conn: Connection, subscription: Subscription, state: Subscribed, told: NotifiedState, last: int) -> bool:
    """Tell cheaply that there is nothing to tell: no change, and no condition that could have begun or ended."""
    if state.runs or subscription.pins or subscription.empty or told.pins or told.unobserved or not told.introduced:
        return False
    (run,) = queries_runs.runs(conn, ids=[last])
    return not (run.targets["failed"] + run.targets["skipped"] or run.restricted)


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
    Return the facts over *runs* (at least one), for *subscription*.

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
        stays=tuple(lookup.stays_of(conn, {pin.image_id for pin in subscription.pins})),
        gpu=digest_records.gpu_of(conn, _images(changes)) if subscription.watch.gpu is not None else {},
        project_names=digest_records.project_names(conn),
    )


def _images(changes: Sequence[ChangeRow]) -> list[tuple[str, str]]:
    return [(row.image_set, row.image_id) for row in changes if row.image_set is not None and row.image_id is not None]
