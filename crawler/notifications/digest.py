"""
From facts to a digest: what a subscription was not notified of yet, folded and ordered, in no language. Pure.

A digest is worth making when it has news: a pin in trouble, a change, zones unobserved for longer than the patience or
observed again. The first one of a subscription is always made, to say what it watches and to prove the way.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from crawler.domain.subscriptions import Subscription, latest_slot
from crawler.notifications.due_endings import look_at_endings
from crawler.notifications.grouping import fold, is_stock, schema_lines
from crawler.notifications.lasting import PinNews, look, look_at_pins
from crawler.notifications.models import (
    Digest,
    DigestFacts,
    Introduction,
    NotifiedState,
    WatchedZones,
    ZonesObserved,
    wants_change,
)


def build_digest(
    subscription: Subscription, facts: DigestFacts, notified: NotifiedState, *, urgent_only: bool = False
) -> Digest | None:
    """
    Return what *subscription* is to be notified of, by *facts*, and None when that is nothing.

    With *urgent_only* it is what does not wait for the digest: conditions of pins not *notified* before.
    """
    watched_zones = WatchedZones(subscription.watch, facts)
    later = tuple(row for row in facts.changes if row.id not in notified.early)
    pins = look_at_pins(subscription, replace(facts, changes=later), notified, watched_zones)
    if urgent_only:
        if not pins.lines or "pins" not in subscription.urgent:
            return None
        return _urgent(subscription, facts, notified, watched_zones, pins)
    wanted = [row for row in later if wants_change(subscription.watch, row, facts)]
    by_pins = {change_id for line in pins.lines for change_id in line.change_ids}
    lines = fold((row for row in wanted if row.id not in by_pins), watched_zones, facts.runs, facts.successors)
    schema = schema_lines(wanted)
    sight = look(subscription, facts, notified, watched_zones)
    endings, told = look_at_endings(subscription, facts.ending, notified.endings, facts.project_names, facts.now)
    is_stock_alone = (
        bool(lines) and not (pins.lines or sight.is_news or endings or schema) and all(map(is_stock, lines))
    )
    may_wait = is_stock_alone and notified.introduced and not subscription.empty
    if may_wait and _is_soon(subscription, notified.stock_at, facts.now):
        return None
    is_news = bool(pins.lines or lines or sight.is_news or endings or schema)
    if not (is_news or subscription.empty or not notified.introduced):
        return None
    ids = {row.id for row in wanted} | by_pins
    return replace(
        _frame(subscription, facts, watched_zones, pins, sight.coverage),
        lines=lines,
        gaps=sight.gaps,
        recovered=sight.recovered,
        held=sight.held,
        endings=endings,
        schema=schema,
        introduction=None if notified.introduced else _introduction(subscription, watched_zones),
        changes=tuple(row for row in later if row.id in ids),
        notified=NotifiedState(
            introduced=True,
            pins=pins.notified,
            unobserved=sight.notified,
            early=notified.early - {row.id for row in facts.changes},
            endings=told,
            stock_at=facts.now if is_stock_alone else notified.stock_at,
        ),
    )


#: Changes of stock alone are mailed no more often, by a schedule at its times.
STOCK_EVERY = timedelta(days=1)


def waits_for_stock(subscription: Subscription, facts: DigestFacts, notified: NotifiedState) -> bool:
    """Return whether there is news that waits because stock alone was told of a short time ago."""
    if not _is_soon(subscription, notified.stock_at, facts.now):
        return False
    return build_digest(subscription, facts, replace(notified, stock_at=None)) is not None


def _is_soon(subscription: Subscription, last: datetime | None, now: datetime) -> bool:
    """Return whether stock alone was told of at *last*, less than a day ago and since the last time of a schedule."""
    if last is None or now - last >= STOCK_EVERY:
        return False
    return subscription.when.at is None or latest_slot(subscription.when, subscription.timezone, now) <= last


def _urgent(
    subscription: Subscription, facts: DigestFacts, notified: NotifiedState, watched_zones: WatchedZones, pins: PinNews
) -> Digest:
    early = {change_id for line in pins.lines for change_id in line.change_ids}
    coverage = look(subscription, facts, notified, watched_zones).coverage
    return replace(
        _frame(subscription, facts, watched_zones, pins, coverage),
        kind="urgent",
        changes=tuple(row for row in facts.changes if row.id in early),
        notified=replace(notified, pins=pins.notified, early=notified.early | early),
    )


def _frame(
    subscription: Subscription, facts: DigestFacts, watched_zones: WatchedZones, pins: PinNews, coverage: ZonesObserved
) -> Digest:
    """Return a digest with nothing in it but what every one has."""
    first, last = facts.runs[0], facts.runs[-1]
    accounts = watched_zones.accounts | {line.account for line in pins.lines if line.account}
    return Digest(
        kind="digest",
        subscription=subscription,
        accounts=tuple(sorted(accounts or {name for run in facts.runs for name in run.accounts})),
        first_run=first.run,
        last_run=last.run,
        since=first.started_at,
        until=last.finished_at or last.started_at,
        pins=pins.lines,
        lines=(),
        gaps=(),
        recovered=(),
        held=(),
        coverage=coverage,
        introduction=None,
        changes=(),
        notified=NotifiedState(),
    )


def _introduction(subscription: Subscription, watched_zones: WatchedZones) -> Introduction:
    watch = subscription.watch
    is_whole = not watch.name and watch.gpu is None
    return Introduction(
        accounts=tuple(sorted(watched_zones.accounts)),
        zone_count=watched_zones.zone_count,
        image_count=watched_zones.image_count if is_whole else None,
        watch=watch,
        pins=subscription.pins,
    )
