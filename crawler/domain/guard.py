"""
Differences in, verdict out: which absences to believe.

A good answer that suddenly lacks most of a target's images is more often a fault of the cloud than a withdrawal. Such
absences are asked for again at once, then held, and only written, dated to the first answer that lacked them, after
further good observations confirm them. Absences in an answer with more unreadable records than the one before are held
until an answer has no more of them: each of those records may be the missing image. Everything the answer does list is
believed in any case.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from datetime import datetime

from crawler.domain.models import (
    UNSTATED_SET,
    Change,
    Differences,
    Event,
    ImageKey,
    KnownState,
    OpenHold,
    Snapshot,
    Verdict,
)


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
    known: KnownState,
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

    listed = _listed_again(differences, known)
    dissolved, lasting = _after_returns(known.holds, listed, snapshot)
    readable = [hold for hold in lasting if hold.waits_for == "readable" and _is_read_well(hold, snapshot)]
    waiting = frozenset().union(*(hold.keys for hold in lasting if hold not in readable))
    missing = [key for key in differences.absent if key not in waiting]
    fresh = frozenset(missing).difference(*(hold.keys for hold in readable))
    measure = _measure(known, dissolved)
    is_garbled = snapshot.unreadable > measure
    doubtful = _doubtful(missing, waiting, differences, known, policy)
    held = fresh if is_garbled else fresh & doubtful
    lifted = tuple(hold for hold in readable if hold.keys & doubtful)
    if (held or lifted) and not reasked:
        return Verdict(outcome="held", ask_again=True)

    confirming = [hold for hold in lasting if hold.waits_for == "confirmations" and _is_read_well(hold, snapshot)]
    completed = [hold for hold in confirming if hold.confirmations + 1 >= policy.confirmations]
    ended = [*completed, *(hold for hold in readable if hold not in lifted)]
    changes = [
        *_withdrawals_of_holds(ended, differences, known),
        *(_withdrawal(key, differences, known, observed_at) for key in sorted(fresh - held)),
        *_arrivals(differences, known, observed_at),
        *_modifications(differences, known, observed_at),
    ]
    return Verdict(
        outcome="held" if held or len(ended) < len(lasting) else "ok",
        changes=tuple(changes),
        filled={key: differences.merged[key] for key in differences.filled},
        hold=held,
        waits_for="readable" if is_garbled else "confirmations",
        measure=measure,
        confirmed=tuple(hold.hold_id for hold in confirming if hold not in completed),
        completed=tuple(hold.hold_id for hold in ended),
        dissolved=tuple(hold.hold_id for hold in dissolved),
        returned={
            hold.hold_id: gone
            for hold in known.holds
            if hold not in dissolved and (gone := hold.keys.intersection(listed))
        },
        lifted=tuple(hold.hold_id for hold in lifted),
    )


def _listed_again(differences: Differences, known: KnownState) -> Set[ImageKey]:
    """Return what the answer lists as holds call it: one that stated no set before is on hold under none."""
    listed = differences.merged.keys()
    without = {key for key in known.images if key.image_set == UNSTATED_SET} if known.holds else set[ImageKey]()
    if not without:
        return listed
    ids = {key.image_id for key in listed}
    return listed | {key for key in without.difference(differences.absent) if key.image_id in ids}


def _after_returns(
    holds: Iterable[OpenHold], listed: Set[ImageKey], snapshot: Snapshot
) -> tuple[list[OpenHold], list[OpenHold]]:
    """
    Return the holds that the *listed* images prove wrong, and those that last, with the images that still wait.

    One image listed again proves an answer wrong that was doubted as a whole. Where records could not be read, then or
    now, it says nothing about the others.
    """
    dissolved, lasting = [], []
    for hold in holds:
        missing = hold.keys.difference(listed)
        stays = hold.waits_for == "readable" or not _is_read_well(hold, snapshot)
        if missing == hold.keys or (missing and stays):
            lasting.append(replace(hold, keys=missing))
        else:
            dissolved.append(hold)
    return dissolved, lasting


def _is_read_well(hold: OpenHold, snapshot: Snapshot) -> bool:
    """Return whether an answer has no more unreadable records than the good answer before the hold."""
    return hold.unreadable is None or snapshot.unreadable <= hold.unreadable


def _measure(known: KnownState, dissolved: Iterable[OpenHold]) -> int:
    """
    Return how many unreadable records are usual: those of the last good answer.

    Where an answer that was doubted as a whole has turned out wrong, it is the one before that again.
    """
    before = (hold.unreadable for hold in dissolved if hold.waits_for == "confirmations")
    return max([known.unreadable, *(count for count in before if count is not None)])


def _doubtful(
    missing: Iterable[ImageKey],
    waiting: Set[ImageKey],
    differences: Differences,
    known: KnownState,
    policy: GuardPolicy,
) -> frozenset[ImageKey]:
    """
    Return those *missing* that one answer does not make believable: all, or none.

    Images *waiting* on a hold count for what their set has held, and not for how much of the target is lost.
    """
    had = known.images.keys() - waiting
    seen_before = {key.image_id for key in (*known.images, *known.withdrawn_before)}
    is_strange = seen_before.isdisjoint(key.image_id for key in differences.merged)
    lost = frozenset(key for key in missing if is_strange or not _is_reissued(key, differences))
    if not lost or policy.confirmations == 0:
        return frozenset()
    # Divided: a product such as 0.07 * 100 is more than the 7 that it means.
    is_much = len(lost) >= policy.min_images and len(lost) / len(had) >= policy.ratio
    sizes = Counter(key.image_set for key in known.images)
    emptied = sizes.keys() - {key.image_set for key in differences.merged}
    loses_a_set = any(sizes[key.image_set] >= policy.min_images for key in lost if key.image_set in emptied)
    return lost if is_much or loses_a_set or len(lost) == len(had) else frozenset()


def _is_reissued(key: ImageKey, differences: Differences) -> bool:
    """Return whether the answer lists the counterpart of an absent image: an update, not a loss."""
    return differences.counterparts.get(key) in differences.merged


def _withdrawals_of_holds(holds: Iterable[OpenHold], differences: Differences, known: KnownState) -> Iterable[Change]:
    """Return the withdrawals of confirmed holds, dated to the first answer that lacked the images."""
    for hold in holds:
        for key in sorted(hold.keys & set(differences.absent)):
            yield _change("withdrawn", key, differences, known, hold.held_at, hold.not_before)


def _withdrawal(key: ImageKey, differences: Differences, known: KnownState, observed_at: datetime) -> Change:
    return _change("withdrawn", key, differences, known, observed_at, known.last_good_at)


def _arrivals(differences: Differences, known: KnownState, observed_at: datetime) -> Iterable[Change]:
    for key in differences.new:
        event: Event = "returned" if _was_here(key, known) else "appeared"
        yield _change(event, key, differences, known, observed_at, known.last_good_at)


def _was_here(key: ImageKey, known: KnownState) -> bool:
    """Return whether an image that is new was listed before: in its set, or in any where one of the two is unstated."""
    if key.image_set == UNSTATED_SET:
        return any(seen.image_id == key.image_id for seen in known.withdrawn_before)
    return not known.withdrawn_before.isdisjoint((key, key._replace(image_set=UNSTATED_SET)))


def _modifications(differences: Differences, known: KnownState, observed_at: datetime) -> Iterable[Change]:
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
    known: KnownState,
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


def _name(key: ImageKey, differences: Differences, known: KnownState) -> str:
    attributes = differences.merged.get(key) or known.images.get(key) or {}
    return str(attributes.get("image_name") or "")
