"""
Differences in, verdict out: which absences to believe.

A good answer that suddenly lacks most of a target's images is more often a fault of the cloud than a withdrawal. Such
absences are asked for again at once, then held, and only written, dated to the first answer that lacked them, after
further good observations confirm them. Everything the answer does list is believed in any case.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from crawler.model import Change, Differences, Event, ImageKey, Known, OpenHold, Snapshot, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardPolicy:
    """How many absences at once are not believed, and what confirms them; `confirmations=0` believes everything."""

    #: Part of a target's images.
    ratio: float = 0.5
    min_images: int = 2
    #: Later good observations that still list none of the held images.
    confirmations: int = 2


def judge(
    differences: Differences,
    known: Known,
    snapshot: Snapshot,
    policy: GuardPolicy,
    *,
    observed_at: datetime,
    reasked: bool,
) -> Verdict:
    """
    Decide what to write for one good observation at *observed_at*.

    With *reasked* false the verdict may be to ask the target again first; the second answer is judged with *reasked*
    true.
    """
    if known.is_new:
        return Verdict(outcome="ok", baseline=differences.merged)

    dissolved = tuple(hold for hold in known.holds if hold.keys & differences.merged.keys())
    lasting = tuple(hold for hold in known.holds if hold not in dissolved)
    waiting = frozenset().union(*(hold.keys for hold in lasting))
    fresh = [key for key in differences.absent if key not in waiting]
    doubtful = frozenset(key for key in fresh if not _is_reissued(key, differences))
    trusted = known.images.keys() - waiting
    held = doubtful if _is_suspicious(doubtful, len(trusted), snapshot, policy) else frozenset()
    if held and not reasked:
        return Verdict(outcome="held", ask_again=True)

    completed = tuple(hold for hold in lasting if hold.confirmations + 1 >= policy.confirmations)
    confirmed = tuple(hold for hold in lasting if hold not in completed)
    changes = [
        *_withdrawals_of_holds(completed, differences, known),
        *(_withdrawal(key, differences, known, observed_at) for key in fresh if key not in held),
        *_arrivals(differences, known, observed_at),
        *_modifications(differences, known, observed_at),
    ]
    return Verdict(
        outcome="held" if held or confirmed else "ok",
        changes=tuple(changes),
        filled={key: differences.merged[key] for key in differences.filled},
        hold=held,
        confirmed=tuple(hold.hold_id for hold in confirmed),
        completed=tuple(hold.hold_id for hold in completed),
        dissolved=tuple(hold.hold_id for hold in dissolved),
    )


def _is_suspicious(doubtful: frozenset[ImageKey], total: int, snapshot: Snapshot, policy: GuardPolicy) -> bool:
    """Tell whether these absences are too many at once, of *total* images, to be believed from one answer."""
    if not doubtful or policy.confirmations == 0:
        return False
    if len(doubtful) == total or snapshot.unreadable:
        return True
    return len(doubtful) >= policy.min_images and len(doubtful) >= policy.ratio * total


def _is_reissued(key: ImageKey, differences: Differences) -> bool:
    """Tell whether the answer lists the counterpart of an absent image: an update, not a loss."""
    return differences.counterparts.get(key) in differences.merged


def _withdrawals_of_holds(holds: Iterable[OpenHold], differences: Differences, known: Known) -> Iterable[Change]:
    """Give the withdrawals of confirmed holds, dated to the first answer that lacked the images."""
    for hold in holds:
        for key in sorted(hold.keys & set(differences.absent)):
            yield _change("withdrawn", key, differences, known, hold.held_at, hold.not_before)


def _withdrawal(key: ImageKey, differences: Differences, known: Known, observed_at: datetime) -> Change:
    return _change("withdrawn", key, differences, known, observed_at, known.last_good_at)


def _arrivals(differences: Differences, known: Known, observed_at: datetime) -> Iterable[Change]:
    for key in differences.new:
        event: Event = "returned" if key in known.withdrawn_before else "appeared"
        yield _change(event, key, differences, known, observed_at, known.last_good_at)


def _modifications(differences: Differences, known: Known, observed_at: datetime) -> Iterable[Change]:
    for key, fields in differences.modified.items():
        yield Change(
            event="modified",
            key=key,
            image_name=_name(key, differences, known),
            observed_at=observed_at,
            not_before=known.last_good_at,
            fields=fields,
            attributes=differences.merged[key],
        )


def _change(
    event: Event,
    key: ImageKey,
    differences: Differences,
    known: Known,
    observed_at: datetime,
    not_before: datetime | None,
) -> Change:
    counterpart = differences.counterparts.get(key)
    return Change(
        event=event,
        key=key,
        image_name=_name(key, differences, known),
        observed_at=observed_at,
        not_before=not_before,
        counterpart=counterpart.image_id if counterpart else None,
        attributes=differences.merged.get(key, {}),
    )


def _name(key: ImageKey, differences: Differences, known: Known) -> str:
    attributes = differences.merged.get(key) or known.images.get(key) or {}
    return str(attributes.get("image_name") or "")
