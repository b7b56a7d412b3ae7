"""
What lasts: zones that are not observed, and pinned images in trouble; when it is news, and when its end is. Pure.

A failure is reported twice: when it has lasted for the subscription's patience, and when it is over. In between it
stands in the one line on coverage. Younger failures stand in digests that are sent anyway, and send none.

A condition of a pin is one state of it at one target, with one successor: it is reported once, and its end once. While
a target is not observed nothing is known to be over, so what was reported before stays so.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import get_args

from crawler.domain.matrix import is_of_matrix
from crawler.domain.models import Target, normalise_name
from crawler.domain.pins import PinnedImages, PinnedState
from crawler.domain.reissues import newest, the_one
from crawler.domain.rows import ChangeRow, FailureRow, ImageRow, RunSummary, StatusRow
from crawler.domain.subscriptions import Pin, Subscription
from crawler.notifications.grouping import between
from crawler.notifications.models import (
    Between,
    DigestFacts,
    Held,
    NotifiedState,
    Part,
    PinLine,
    PinState,
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
    #: `NotifiedState.unobserved` once it is sent.
    notified: frozenset[str]


def look(
    subscription: Subscription, facts: DigestFacts, notified: NotifiedState, watched_zones: WatchedZones
) -> CoverageReport:
    """Sort the watched zones into observed, not observed, and observed again."""
    live = [row for rows in watched_zones.zones.values() for row in rows]
    blind = [row for row in live if row.outcome not in _SEEN and not _waits(row)]
    back = [row for row in live if row.outcome in _SEEN and target_key(row.target) in notified.unobserved]
    known = {target_key(row.target) for row in blind} & notified.unobserved
    ripe = {target_key(row.target) for row in blind if row.since and facts.now - row.since >= subscription.patience}
    fresh = {zone_of(row.target) for row in blind if target_key(row.target) not in known}
    unseen = {zone_of(row.target).place for row in blind if row.target.zone or watched_zones.is_of_regions}
    failures = {failure.target: failure for run in facts.runs for failure in run.failures}
    return CoverageReport(
        gaps=_gaps((row for row in blind if zone_of(row.target) in fresh), failures, watched_zones),
        recovered=_gaps(back, {}, watched_zones),
        held=_held(subscription, facts, watched_zones),
        coverage=ZonesObserved(
            observed=watched_zones.zone_count - len(unseen),
            total=watched_zones.zone_count,
            at=_last_whole_run(facts.runs).finished_at or facts.now,
            still=_gaps((row for row in blind if zone_of(row.target) not in fresh), failures, watched_zones),
        ),
        is_news=bool(back or ripe - known),
        notified=frozenset(known | ripe),
    )


def _waits(row: StatusRow) -> bool:
    """Return whether a target of the matrix was not in turn yet, which says nothing about its zone."""
    return row.outcome is None and is_of_matrix(row.target.variant)


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
    rows = list(rows)
    began = _beginnings(rows)
    for row in rows:
        since = began[row.since] if row.since else None
        members.setdefault((_cause(row, failures.get(row.target), since), zone_of(row.target)), []).append(row)
    zones: dict[tuple[_Cause, Part], list[WatchedZone]] = {}
    for (cause, zone), inside in members.items():
        zones.setdefault((cause, watched_zones.part(zone, (row.target for row in inside))), []).append(zone)
    gaps = (_gap(cause, part, sorted(places), members) for (cause, part), places in zones.items())
    return tuple(sorted(gaps, key=lambda gap: (gap.account, gap.zones)))


def _beginnings(rows: Iterable[StatusRow]) -> dict[datetime, datetime]:
    """Return of each moment since when something is so the first of those that follow each other closely: one run's."""
    began: dict[datetime, datetime] = {}
    last: datetime | None = None
    for moment in sorted({row.since for row in rows if row.since}):
        began[moment] = began[last] if last and moment - last < TOGETHER else moment
        last = moment
    return began


def _cause(row: StatusRow, failure: FailureRow | None, since: datetime | None) -> _Cause:
    is_seen = row.outcome in _SEEN
    return _Cause(
        account=row.target.account,
        outcome="ok" if is_seen else row.outcome or "skipped",
        since=since,
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
        regions=tuple(zone.region for zone in zones),
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
    """
    Fold the open holds into one entry per zone: every project of a zone got the same odd answer.

    Where nobody asks any more no answer comes to confirm or dissolve them, so they are left out.
    """
    images: dict[WatchedZone, dict[str, str]] = {}
    since: dict[WatchedZone, tuple[datetime, int]] = {}
    unread: set[WatchedZone] = set()
    for hold in facts.holds:
        row = watched_zones.watched.get(hold.target)
        if row is None or row.is_absent:
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


#: Most severe first.
STATES: tuple[PinState, ...] = get_args(PinState)
_BLIND = ("unobserved", "retired", "deselected")
_REASONS: Mapping[str, PinState] = {"held": "held", "retired": "retired", "deselected": "deselected"}
#: What is left out is no trouble.
_WORDS: Mapping[PinnedState, PinState] = {
    "superseded": "superseded",
    "gpu-lost": "gpu_lost",
    "unusable": "unusable",
    "re-issued": "reissued",
    "ambiguous": "ambiguous",
    "missing": "withdrawn",
}
#: What begins within this of the one before began in the same run.
TOGETHER = timedelta(minutes=1)
#: How long a new image may take from the first zone to the last.
ROLL_OUT = timedelta(days=30)
#: Zones named in a warning.
_NAMED_ZONES = 5
Chain = tuple[tuple[str, datetime | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PinNews:
    """What is to be reported of the pins now."""

    lines: tuple[PinLine, ...]
    #: `NotifiedState.pins` once they are sent.
    notified: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Condition:
    """The state of a pin at one target; `state` None: all is well."""

    pin: Pin
    target: Target | None
    state: PinState | None
    name: str = ""
    successors: tuple[str, ...] = ()
    chain: Chain = ()
    withdrawal: ChangeRow | None = None
    message: str = ""
    since: datetime | None = None
    last_seen_at: datetime | None = None

    @property
    def place(self) -> str:
        """Return what the keys of this pin at this target begin with."""
        return f"{target_key(self.target) if self.target else self.pin.zone} {self.pin.image_id} "

    @property
    def key(self) -> str:
        """Return the text under which the condition is remembered."""
        return f"{self.place}{self.state} {' '.join(self.successors)}".rstrip()


def look_at_pins(
    subscription: Subscription, facts: DigestFacts, notified: NotifiedState, watched_zones: WatchedZones
) -> PinNews:
    """Return the conditions of the pins that nobody was notified of yet, and those that are over."""
    past = _Past(facts)
    told = sorted(notified.pins)
    news: list[_Condition] = []
    kept: set[str] = set()
    looked_at: set[str] = set()
    for pin in subscription.pins:
        conditions = _conditions(pin, past)
        if not conditions:  # of its zone nobody knows yet what all of it lists: what was told stands
            known = _beginning(told, _Condition(pin=pin, target=None, state=None).place)
            looked_at |= known
            kept |= known
        for condition in conditions:
            known = _beginning(told, condition.place)
            looked_at |= known
            if condition.state is None:
                if known:
                    news.append(_clear(condition))
                continue
            if condition.state in _BLIND:
                kept |= known
            if condition.key in known:
                kept.add(condition.key)
            elif _is_ripe(condition, subscription, facts):
                kept.add(condition.key)
                news.append(condition)
            elif condition.state == "unobserved":
                kept |= known
    if not subscription.has_all_pins:
        kept |= notified.pins - looked_at
    lines = _gathered(news, watched_zones, facts)
    return PinNews(
        lines=tuple(sorted(lines, key=lambda line: (STATES.index(line.state), line.account, line.pin))),
        notified=frozenset(kept),
    )


def _beginning(told: Sequence[str], place: str) -> set[str]:
    """Return those of *told*, which are sorted, that begin with *place*: they stand together."""
    return set(told[bisect_left(told, place) : bisect_left(told, f"{place}\U0010ffff")])


def _clear(condition: _Condition) -> _Condition:
    return _Condition(
        pin=condition.pin,
        target=condition.target,
        state="clear",
        name=condition.name,
        last_seen_at=condition.last_seen_at,
    )


def _is_ripe(condition: _Condition, subscription: Subscription, facts: DigestFacts) -> bool:
    if condition.state != "unobserved" or condition.since is None:
        return True
    return facts.now - condition.since >= subscription.patience


# --- the state of a pin ----------------------------------------------------------------------------------------------


class _Past:
    """The facts about pinned zones, by what they are looked up with."""

    def __init__(self, facts: DigestFacts) -> None:
        self.revoked = facts.revoked
        self.reissued_in = _reissues(facts)
        self.pinned = PinnedImages(facts.images)
        self.pinned.learn(facts.stays)
        self.withdrawals: dict[tuple[Target, str], ChangeRow] = {
            (row.target, row.image_id): row for row in facts.withdrawals if row.image_id
        }
        self.by_zone: dict[str, list[StatusRow]] = {}
        self._numbered: dict[Target, tuple[int, StatusRow]] = {}
        for number, row in enumerate(facts.status):
            self.by_zone.setdefault(row.target.zone.casefold(), []).append(row)
            self._numbered[row.target] = number, row

    def listing(self, image_id: str) -> list[StatusRow]:
        """Return the targets that list an image, or did: a few of all there are."""
        places = {*self.pinned.open.get(image_id, ()), *self.pinned.stays.get(image_id, ())}
        return [row for _, row in sorted(self._numbered[place] for place in places if place in self._numbered)]

    def ahead_of(self, image: ImageRow) -> tuple[str, ...]:
        """
        Return the zones in which the name of *image* got a newer image than it, which has not come to its own zone yet.

        An image that came with the same roll-out is none of them.
        """
        own = image.present_since if image.baseline else image.present_since + ROLL_OUT
        places = self.reissued_in.get((image.image_set, normalise_name(image.image_name)), ())
        return tuple(sorted({zone for came, zone in places if came > own and zone != image.target.zone}))

    def chain(self, target: Target, image_id: str, successor: str | None) -> Chain:
        """Return the re-issues of *image_id* up to its *successor*, each with when it had gone."""
        steps: dict[str, datetime | None] = {}
        current: str | None = image_id
        while current is not None and current not in steps:
            is_open = target in self.pinned.open.get(current, ())
            gone = None if is_open else self.withdrawals.get((target, current))
            if steps and gone is None and not (is_open and successor):
                break
            steps[current] = gone.observed_at if gone else None
            current = gone.counterpart if gone else None
        if successor:
            steps.setdefault(successor, None)
        return tuple(steps.items()) if len(steps) > 1 else ()


def _reissues(facts: DigestFacts) -> dict[tuple[str, str], list[tuple[datetime, str]]]:
    """Return when, and in which zones, the names of the pinned images got the image that is the newest there."""
    replaced = {(row.target, row.counterpart) for row in facts.name_withdrawals if row.counterpart}
    named: dict[tuple[Target, str, str], list[ImageRow]] = {}
    for image in facts.namesakes:
        if not image.unusable:
            named.setdefault((image.target, image.image_set, normalise_name(image.image_name)), []).append(image)
    found: dict[tuple[str, str], list[tuple[datetime, str]]] = {}
    for (target, image_set, key), listed in named.items():
        last = newest(listed)[-1]
        if len(newest(listed)) < len(listed) or (target, last.image_id) in replaced:
            found.setdefault((image_set, key), []).append((last.present_since, target.zone))
    return found


def _message(
    pin: Pin, row: StatusRow, past: _Past, state: PinState, elsewhere: tuple[str, ...], image: ImageRow | None
) -> str:
    """Return what is said beside the state: a reason, what the cloud said, its state, or where else it happened."""
    if state == "revoked":
        return past.revoked[pin.image_id]
    if state == "unusable" and image is not None:
        return image.unusable
    if elsewhere:
        more = " …" if len(elsewhere) > _NAMED_ZONES else ""
        return f"{', '.join(elsewhere[:_NAMED_ZONES])}{more}"
    return row.message if state in (*_BLIND, "held") else ""


def _conditions(pin: Pin, past: _Past) -> Sequence[_Condition]:
    """Return the condition of *pin* at every target of its zone that ever listed it, or the one that none did."""
    zone = pin.zone.casefold()
    rows = [row for row in past.listing(pin.image_id) if zone in ("", row.target.zone.casefold())]
    # Which machine a pin is for nobody knows: where `default` lists it, or did, the matrix tells nothing more of it.
    plain = {row.target[:4] for row in rows if not is_of_matrix(row.target.variant)}
    rows = [row for row in rows if not (is_of_matrix(row.target.variant) and row.target[:4] in plain)]
    found = [condition for row in rows if (condition := _condition(pin, row, past)) is not None]
    if found or not pin.zone:
        return found
    rows = past.by_zone.get(zone, [])
    if any(row.last_ok_at is None and row.outcome in ("failed", "skipped", None) for row in rows):
        return []  # nobody has looked yet
    has_looked = any(row.last_ok_at is not None for row in rows)
    return [_Condition(pin=pin, target=None, state="never_seen" if has_looked else "never_observed")]


def _condition(pin: Pin, row: StatusRow, past: _Past) -> _Condition | None:
    standing = past.pinned.standing(row.target, pin.image_id)
    if standing.state == "never-seen":
        return None
    state = _WORDS.get(standing.state)
    if standing.image and standing.state == "unknown":
        state = _REASONS.get(standing.image.reason or "", "unobserved")
    if pin.image_id in past.revoked and state in (None, "superseded", "gpu_lost", "unusable"):
        state = "revoked"
    elsewhere = past.ahead_of(standing.image) if state is None and standing.image else ()
    if elsewhere:
        state = "reissued_elsewhere"
    blind = state in (*_BLIND, "held")
    return _Condition(
        pin=pin if pin.zone else Pin(row.target.zone, pin.image_id),
        target=row.target,
        state=state,
        name=standing.name,
        successors=standing.successors,
        chain=() if blind else past.chain(row.target, pin.image_id, standing.successor),
        withdrawal=past.withdrawals.get((row.target, pin.image_id)) if standing.stay else None,
        message=_message(pin, row, past, state, elsewhere, standing.image) if state else "",
        since=row.since if blind else None,
        last_seen_at=row.last_ok_at,
    )


# --- over projects ---------------------------------------------------------------------------------------------------


def _gathered(news: Iterable[_Condition], watched_zones: WatchedZones, facts: DigestFacts) -> Iterable[PinLine]:
    """Fold what is the same in several projects of a zone into one line."""
    groups: dict[tuple[object, ...], list[_Condition]] = {}
    for condition in news:
        account = condition.target.account if condition.target else ""
        likeness = (
            condition.pin,
            account,
            condition.state,
            condition.successors,
            tuple(step for step, _ in condition.chain),
        )
        groups.setdefault(likeness, []).append(condition)
    ids = _ids_of(facts.changes)
    return [_line(alike, watched_zones, ids) for alike in groups.values()]


def _ids_of(changes: Iterable[ChangeRow]) -> dict[tuple[Target, str], list[int]]:
    """
    Return the changes of the range that are about an image, by target and image id.

    With each are those that say the same of other variants of the place: the line of a pin is about all of them.
    """
    alike: dict[tuple[object, ...], list[int]] = {}
    found: dict[tuple[Target, str], list[list[int]]] = {}
    for row in changes:
        if row.image_id and row.event != "modified":
            same = alike.setdefault((row.target[:5], row.event, row.image_id, row.counterpart), [])
            same.append(row.id)
            found.setdefault((row.target, row.image_id), []).append(same)
    return {key: [change_id for same in members for change_id in same] for key, members in found.items()}


def _line(alike: list[_Condition], watched_zones: WatchedZones, ids: Mapping[tuple[Target, str], list[int]]) -> PinLine:
    first = alike[0]
    targets = [condition.target for condition in alike if condition.target]
    part = watched_zones.part(zone_of(targets[0]), targets) if targets else None
    gone = [condition.withdrawal for condition in alike if condition.withdrawal]
    when: Between | None = between(gone) if gone else None
    covered = {
        change_id
        for target in targets
        if first.state not in _BLIND
        for image_id in (first.pin.image_id, *(step for step, _ in first.chain))
        for change_id in ids.get((target, image_id), ())
    }
    return PinLine(
        pin=first.pin,
        state=first.state or "clear",
        name=first.name,
        account=targets[0].account if targets else "",
        successor=the_one(first.successors),
        candidates=first.successors if len(first.successors) > 1 else (),
        chain=first.chain,
        between=when,
        message=first.message,
        since=min((condition.since for condition in alike if condition.since), default=None),
        last_seen_at=max((condition.last_seen_at for condition in alike if condition.last_seen_at), default=None),
        projects=part.projects if part else (),
        project_count=part.project_count if part else 0,
        change_ids=tuple(sorted(covered)),
    )
