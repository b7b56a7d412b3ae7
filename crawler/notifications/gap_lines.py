"""
What was not observed: since when, why, and whether that is news. Pure.

A failure is told twice: when it has lasted for the subscription's patience, and when it is over. In between it stands
in the one line on coverage. Younger failures stand in digests that are sent anyway, and send none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from crawler.domain.models import Target
from crawler.domain.rows import FailureRow, RunSummary, StatusRow
from crawler.domain.subscriptions import Subscription
from crawler.notifications.models import (
    DigestFacts,
    Held,
    NotifiedState,
    Part,
    UnseenZone,
    WatchedZone,
    WatchedZones,
    ZonesObserved,
    target_key,
    zone_of,
)

_SEEN = ("ok", "held")
Failures = Mapping[Target, FailureRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageReport:
    """What is known about how well the watched zones were observed."""

    gaps: tuple[UnseenZone, ...]
    recovered: tuple[UnseenZone, ...]
    held: tuple[Held, ...]
    coverage: ZonesObserved
    #: Whether any of it is worth a digest of its own.
    is_news: bool
    #: `NotifiedState.unobserved` once it is told.
    told: frozenset[str]


def look(
    subscription: Subscription, facts: DigestFacts, told: NotifiedState, watched_zones: WatchedZones
) -> CoverageReport:
    """Sort the watched zones into observed, not observed, and observed again."""
    live = [row for rows in watched_zones.zones.values() for row in rows]
    blind = [row for row in live if row.outcome not in _SEEN]
    back = [row for row in live if row.outcome in _SEEN and target_key(row.target) in told.unobserved]
    known = {target_key(row.target) for row in blind} & told.unobserved
    ripe = {target_key(row.target) for row in blind if row.since and facts.now - row.since >= subscription.patience}
    fresh = {zone_of(row.target) for row in blind if target_key(row.target) not in known}
    failures = {failure.target: failure for run in facts.runs for failure in run.failures}
    return CoverageReport(
        gaps=_gaps((row for row in blind if zone_of(row.target) in fresh), failures, watched_zones),
        recovered=_gaps(back, {}, watched_zones),
        held=_held(subscription, facts, watched_zones),
        coverage=ZonesObserved(
            observed=len(watched_zones.zones) - len({zone_of(row.target) for row in blind}),
            total=len(watched_zones.zones),
            at=_last_whole_run(facts.runs).finished_at or facts.now,
            still=_gaps((row for row in blind if zone_of(row.target) not in fresh), failures, watched_zones),
        ),
        is_news=bool(back or ripe - known),
        told=frozenset(known | ripe),
    )


def _last_whole_run(runs: tuple[RunSummary, ...]) -> RunSummary:
    """Return the last run that was not restricted to some targets; the last one where all were."""
    return next((run for run in reversed(runs) if not run.restricted), runs[-1])


# --- targets to gaps -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cause:
    """What must be the same for two targets to stand in one line."""

    account: str
    outcome: str
    since: datetime | None
    message: str
    ret_code: int | None
    failure_class: str | None


def _gaps(rows: Iterable[StatusRow], failures: Failures, watched_zones: WatchedZones) -> tuple[UnseenZone, ...]:
    """Fold targets into one gap for each cause, the projects of a zone and the zones of a region alike."""
    members: dict[tuple[_Cause, WatchedZone], list[StatusRow]] = {}
    for row in rows:
        members.setdefault((_cause(row, failures.get(row.target)), zone_of(row.target)), []).append(row)
    zones: dict[tuple[_Cause, Part], list[WatchedZone]] = {}
    for (cause, zone), inside in members.items():
        zones.setdefault((cause, watched_zones.part(zone, (row.target for row in inside))), []).append(zone)
    gaps = (_gap(cause, part, sorted(places), members) for (cause, part), places in zones.items())
    return tuple(sorted(gaps, key=lambda gap: (gap.account, gap.zones)))


def _cause(row: StatusRow, failure: FailureRow | None) -> _Cause:
    is_seen = row.outcome in _SEEN
    return _Cause(
        account=row.target.account,
        outcome="ok" if is_seen else row.outcome or "skipped",
        since=row.since and row.since.replace(second=0, microsecond=0),
        message="" if is_seen else row.message,
        ret_code=failure.ret_code if failure else None,
        failure_class=failure.failure_class if failure else None,
    )


def _gap(
    cause: _Cause, part: Part, zones: list[WatchedZone], members: Mapping[tuple[_Cause, WatchedZone], list[StatusRow]]
) -> UnseenZone:
    rows = [row for zone in zones for row in members[cause, zone]]
    seen = [row.last_ok_at for row in rows if row.last_ok_at is not None]
    return UnseenZone(
        account=cause.account,
        zones=tuple(zone.zone for zone in zones),
        since=min((row.since for row in rows if row.since), default=None),
        last_seen_at=min(seen, default=None),
        images=sum(max(row.images for row in members[cause, zone]) for zone in zones),
        outcome=cause.outcome,
        message=cause.message,
        ret_code=cause.ret_code,
        failure_class=cause.failure_class,
        projects=part.projects,
        project_count=part.project_count,
    )


# --- holds -----------------------------------------------------------------------------------------------------------


def _held(subscription: Subscription, facts: DigestFacts, watched_zones: WatchedZones) -> tuple[Held, ...]:
    """Fold the open holds into one entry per zone: every project of a zone got the same odd answer."""
    images: dict[WatchedZone, dict[str, str]] = {}
    since: dict[WatchedZone, tuple[datetime, int]] = {}
    unread: set[WatchedZone] = set()
    for hold in facts.holds:
        if hold.target not in watched_zones.watched:
            continue
        wanted = {image_id: name for _, image_id, name in hold.images if subscription.watch.wants_name(name)}
        if wanted:
            zone = zone_of(hold.target)
            images.setdefault(zone, {}).update(wanted)
            unread |= {zone} if hold.waits_for == "readable" else set()
            since[zone] = min(since.get(zone, (hold.held_at, hold.confirmations)), (hold.held_at, hold.confirmations))
    return tuple(
        Held(
            account=zone.account,
            zone=zone.zone,
            names=tuple(sorted(set(named.values()))),
            image_count=len(named),
            since=since[zone][0],
            confirmations=since[zone][1],
            is_unread=zone in unread,
        )
        for zone, named in sorted(images.items())
    )
