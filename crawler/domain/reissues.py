"""
Changes in, re-issues out: a new id under the old name, as UCloud ships updates, told as one thing.

A withdrawal whose counterpart is known and the arrival of that counterpart are two changes in the log and one event to
a reader; re-issues that follow one another make a chain (`uimage-vareox → uimage-rccvz4l9itr → uimage-x7zezb1gcv5`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from crawler.domain.models import Target
from crawler.domain.rows import ChangeRow


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
    arrivals = {(row.target, row.image_set, row.image_id): row for row in rows if row.event in ("appeared", "returned")}
    for row in rows:
        if row.event != "withdrawn" or not row.counterpart or not row.image_id or row.image_set is None:
            continue
        arrival = arrivals.get((row.target, row.image_set, row.counterpart))
        came = () if arrival is None or arrival.id in consumed else (arrival,)
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


def _begun(row: ChangeRow, image_id: str, image_set: str) -> Chain:
    return Chain(
        target=row.target, image_set=image_set, image_name=row.image_name or "", image_ids=(image_id,), withdrawals=()
    )
