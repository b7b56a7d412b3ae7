"""
A new id under the old name, as UCloud ships updates: which image succeeds another, and its changes as one thing.

The successor of an image at a target is, of the other images of the same set and normalised name that are open there
and came later than it (start of their present stay), the one that came last; several that came together are ambiguous.
Who has the open images of a set and name takes the `newest` of them and asks for the `successors` among these.

A withdrawal whose counterpart is known and the arrival of that counterpart are two changes in the log and one event to
a reader; re-issues that follow one another make a chain (`uimage-vareox → uimage-rccvz4l9itr → uimage-x7zezb1gcv5`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, TypeVar

from crawler.domain.models import Target
from crawler.domain.rows import ChangeRow


class OpenImage(Protocol):
    """An image that is open at a target."""

    @property
    def image_id(self) -> str:
        """Return the image's id."""

    @property
    def present_since(self) -> datetime:
        """Return when its present stay began."""


T = TypeVar("T", bound=OpenImage)


def newest(images: Sequence[T]) -> Sequence[T]:
    """Return those of *images* that came last, sorted by id: several where they came together."""
    if len(images) < 2:
        return images
    last = max(image.present_since for image in images)
    return sorted((image for image in images if image.present_since == last), key=lambda image: image.image_id)


def successors(came: datetime, latest: Sequence[OpenImage]) -> tuple[str, ...]:
    """
    Return the id of the successor of an image whose last stay began at *came*, or several ids: it is ambiguous.

    *latest* are the `newest` open images of its set and name at its target, whether it is one of them or not.
    """
    return tuple(image.image_id for image in latest if image.present_since > came)


def the_one(image_ids: Sequence[str]) -> str | None:
    """Return the id that stands alone in *image_ids*; None when there is none, or it is ambiguous."""
    return image_ids[0] if len(image_ids) == 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """One image name at one target and the ids it went through, oldest first."""

    target: Target
    image_set: str
    image_name: str
    #: One more than `withdrawals`.
    image_ids: tuple[str, ...]
    #: The withdrawal of each id but the last, in order; they say when.
    withdrawals: tuple[ChangeRow, ...]
    #: The arrivals among the changes of every id but the first.
    arrivals: tuple[ChangeRow, ...] = ()


def fold_reissues(changes: Iterable[ChangeRow]) -> tuple[list[Chain], list[ChangeRow]]:
    """Fold *changes*, oldest first, into chains of re-issues and the changes that are none of them."""
    rows = list(changes)
    chains: list[Chain] = []
    #: Where the chain that ends with an id stands.
    ends: dict[tuple[Target, str, str], int] = {}
    consumed: set[int] = set()
    arrivals: dict[tuple[Target, str | None, str | None], list[ChangeRow]] = {}
    for row in rows:
        if row.event in ("appeared", "returned"):
            arrivals.setdefault((row.target, row.image_set, row.image_id), []).append(row)
    for row in rows:
        if row.event != "withdrawn" or not row.counterpart or not row.image_id or row.image_set is None:
            continue
        came = _last_by(row.observed_at, arrivals.get((row.target, row.image_set, row.counterpart), []), consumed)
        consumed.update(change.id for change in (row, *came))
        index = ends.pop((row.target, row.image_set, row.image_id), None)
        chain = _begun(row, row.image_id, row.image_set) if index is None else chains[index]
        chain = replace(
            chain,
            image_name=row.image_name or chain.image_name,
            image_ids=(*chain.image_ids, row.counterpart),
            withdrawals=(*chain.withdrawals, row),
            arrivals=(*chain.arrivals, *came),
        )
        if index is None:
            index = len(chains)
            chains.append(chain)
        chains[index] = chain
        ends[row.target, row.image_set, row.counterpart] = index
    return chains, [row for row in rows if row.id not in consumed]


def _last_by(moment: datetime, arrivals: Sequence[ChangeRow], consumed: Collection[int]) -> tuple[ChangeRow, ...]:
    """
    Return the last of an image's *arrivals* by a *moment*, or the first after it, of those that are not *consumed*.

    One that comes and goes arrives several times; what waited on a hold went before its counterpart came, perhaps.
    """
    left = [row for row in arrivals if row.id not in consumed]
    by_then = [row for row in left if row.observed_at <= moment]
    return tuple(by_then[-1:] or left[:1])


def _begun(row: ChangeRow, image_id: str, image_set: str) -> Chain:
    return Chain(
        target=row.target, image_set=image_set, image_name=row.image_name or "", image_ids=(image_id,), withdrawals=()
    )
