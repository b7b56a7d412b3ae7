"""
Changes in, re-issues out: a new id under the old name, as UCloud ships updates, told as one thing.

A withdrawal whose counterpart is known and the arrival of that counterpart are two changes in the log and one event to
a reader; re-issues that follow one another make a chain (`uimage-vareox → uimage-rccvz4l9itr → uimage-x7zezb1gcv5`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from crawler.model import Target
from crawler.records import ChangeRow


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


def fold_reissues(changes: Iterable[ChangeRow]) -> tuple[list[Chain], list[ChangeRow]]:
    """Fold *changes*, oldest first, into chains of re-issues and the changes that are none of them."""
    rows = list(changes)
    chains: list[Chain] = []
    consumed: set[int] = set()
    arrivals = {
        (row.target, row.image_set, row.image_id): row.id for row in rows if row.event in ("appeared", "returned")
    }
    for row in rows:
        if row.event != "withdrawn" or not row.counterpart or not row.image_id or row.image_set is None:
            continue
        consumed.add(row.id)
        arrival = arrivals.get((row.target, row.image_set, row.counterpart))
        if arrival is not None:
            consumed.add(arrival)
        _extend(chains, row, row.image_id, row.counterpart, row.image_set)
    return chains, [row for row in rows if row.id not in consumed]


def _extend(chains: list[Chain], row: ChangeRow, old: str, new: str, image_set: str) -> None:
    """Add one re-issue to the chain that ends with the old id, or begin a chain."""
    for index, chain in enumerate(chains):
        if (chain.target, chain.image_set, chain.image_ids[-1]) == (row.target, image_set, old):
            chains[index] = Chain(
                target=chain.target,
                image_set=image_set,
                image_name=row.image_name or chain.image_name,
                image_ids=(*chain.image_ids, new),
                withdrawals=(*chain.withdrawals, row),
            )
            return
    chains.append(
        Chain(
            target=row.target,
            image_set=image_set,
            image_name=row.image_name or "",
            image_ids=(old, new),
            withdrawals=(row,),
        )
    )
