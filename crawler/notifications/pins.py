"""
What of the state of pinned images is news: the words of mails for what `domain.pins` says, and what was told. Pure.

A condition is one state of one pin at one target, with one successor: it is told once, and told to be over once. While
a target is not observed nothing is known to be over, so what was told before stays told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from crawler.domain.models import Target
from crawler.domain.pins import PinnedImages, PinnedState
from crawler.domain.reissues import the_one
from crawler.domain.rows import ChangeRow, StatusRow
from crawler.domain.subscriptions import Pin, Subscription
from crawler.notifications.grouping import between
from crawler.notifications.models import (
    Between,
    DigestFacts,
    NotifiedState,
    PinLine,
    PinState,
    WatchedZones,
    target_key,
    zone_of,
)

#: Most severe first.
STATES: tuple[PinState, ...] = get_args(PinState)
_BLIND = ("unobserved", "retired", "deselected")
_REASONS: Mapping[str, PinState] = {"held": "held", "retired": "retired", "deselected": "deselected"}
#: What is left out is no trouble.
_WORDS: Mapping[PinnedState, PinState] = {
    "superseded": "superseded",
    "gpu-lost": "gpu_lost",
    "re-issued": "reissued",
    "ambiguous": "ambiguous",
    "missing": "withdrawn",
}
Chain = tuple[tuple[str, datetime | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PinNews:
    """What to tell of the pins now."""

    lines: tuple[PinLine, ...]
    #: `NotifiedState.pins` once they are told.
    told: frozenset[str]


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
    subscription: Subscription, facts: DigestFacts, told: NotifiedState, watched_zones: WatchedZones
) -> PinNews:
    """Return the conditions of the pins that were not told yet, and those that were and are over."""
    past = _Past(facts)
    news: list[_Condition] = []
    kept: set[str] = set()
    for pin in subscription.pins:
        for condition in _conditions(pin, past, facts):
            known = {key for key in told.pins if key.startswith(condition.place)}
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
    lines = _gathered(news, watched_zones, facts)
    return PinNews(
        lines=tuple(sorted(lines, key=lambda line: (STATES.index(line.state), line.account, line.pin))),
        told=frozenset(kept),
    )


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
        self.pinned = PinnedImages(facts.images)
        self.pinned.learn(facts.stays)
        self.withdrawals: dict[tuple[Target, str], ChangeRow] = {
            (row.target, row.image_id): row for row in facts.withdrawals if row.image_id
        }
        self.by_zone: dict[str, list[StatusRow]] = {}
        for row in facts.status:
            self.by_zone.setdefault(row.target.zone.casefold(), []).append(row)

    def way(self, target: Target, image_id: str, successor: str | None) -> Chain:
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


def _conditions(pin: Pin, past: _Past, facts: DigestFacts) -> Iterable[_Condition]:
    """Return the condition of *pin* at every target of its zone that ever listed it, or the one that none did."""
    rows = past.by_zone.get(pin.zone.casefold(), [])
    found = [condition for row in rows if (condition := _condition(pin, row, past)) is not None]
    if found:
        return found
    if any(row.last_ok_at is None and row.outcome in ("failed", "skipped", None) for row in rows):
        return []  # nobody has looked yet
    return [_Condition(pin=pin, target=None, state="never_seen")]


def _condition(pin: Pin, row: StatusRow, past: _Past) -> _Condition | None:
    standing = past.pinned.standing(row.target, pin.image_id)
    if standing.state == "never-seen":
        return None
    state = _WORDS.get(standing.state)
    if standing.image and standing.state == "unknown":
        state = _REASONS.get(standing.image.reason or "", "unobserved")
    blind = state in (*_BLIND, "held")
    return _Condition(
        pin=pin,
        target=row.target,
        state=state,
        name=standing.name,
        successors=standing.successors,
        chain=() if blind else past.way(row.target, pin.image_id, standing.successor),
        withdrawal=past.withdrawals.get((row.target, pin.image_id)) if standing.stay else None,
        message=row.message if blind else "",
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
    """Return the changes of the range that are about an image, by target and image id."""
    found: dict[tuple[Target, str], list[int]] = {}
    for row in changes:
        if row.image_id and row.event != "modified":
            found.setdefault((row.target, row.image_id), []).append(row.id)
    return found


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
