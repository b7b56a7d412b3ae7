"""
What the variants of a matrix have in common: rows that say the same of several variants of a place are one.

Only variants whose parameters are those of a matrix are folded, and `default` with them; where there is no matrix all
rows stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Literal

from sqlalchemy import Connection, select

from crawler.db.filters import chosen_targets
from crawler.db.last_observation import absences
from crawler.db.schema import Account, Variant
from crawler.domain.filters import Filters
from crawler.domain.matrix import KIND, question_of, told_variants
from crawler.domain.models import DEFAULT_VARIANT, canonical_json

Row = Mapping[str, Any]
#: Account, project, region and zone.
Place = tuple[str, str, str, str]

#: What a table says where all variants of a place are meant.
ALL = "all"


def _earliest(values: list[Any]) -> Any:
    return min((value for value in values if value is not None), default=None)


def _latest(values: list[Any]) -> Any:
    return max((value for value in values if value is not None), default=None)


def _known_start(values: list[Any]) -> Any:
    return None if None in values else min(values)


#: What may differ between variants that say the same, and what stands for all of them.
MERGED: Mapping[str, Callable[[list[Any]], Any]] = {
    **dict.fromkeys(("valid_from", "present_since", "since", "id_since", "first_seen_at", "id"), _earliest),
    **dict.fromkeys(("lag_seconds", "observed_at"), _earliest),
    "recorded_at": _latest,
    "cursor": _latest,
    "not_before": _known_start,
    "baseline": any,
    # Of images that were there when a variant was first asked nothing tells which came later.
    "superseded_by": lambda values: next(filter(None, values), None),
}
#: An observation of a change is over when the last variant was observed.
OF_CHANGES: Mapping[str, Callable[[list[Any]], Any]] = {**MERGED, "observed_at": _latest}


def _said(row: Row, merged: Collection[str]) -> dict[str, Any]:
    """Return what a row says that has to be the same, also of each side of a comparison."""
    return {
        name: _said(value, merged) if name in ("first", "second") and isinstance(value, Mapping) else value
        for name, value in row.items()
        if name not in merged and name != "variant"
    }


def _cursors(rows: Sequence[Sequence[int]]) -> Iterator[int]:
    """
    Yield a cursor for each of the folded *rows*, which are given by those of their parts, the first part in order.

    It is the last before which every part belongs to a row that was given by then: who asks on from it misses nothing.
    """
    open_parts = sorted(cursor for parts in rows for cursor in parts)
    given: set[int] = set()
    reached = 0
    for parts in rows:
        given.update(parts)
        while reached < len(open_parts) and open_parts[reached] in given:
            reached += 1
        yield open_parts[reached - 1]


def _told(names: set[str], asked: set[str], ever: set[str]) -> str:
    """Return the variants of a row in few words: which, or which not, of those *asked* or that *ever* were."""
    everything = asked if names <= asked else ever
    if names == everything and len(names) > 1:
        return ALL
    told, rest = told_variants(names, everything), told_variants(everything - names, everything)
    return f"{ALL} but {', '.join(rest)}" if 0 < len(rest) < len(told) else ", ".join(told)


class Variants:
    """The variants of the matrix by place, those asked at a moment and all that ever were."""

    def __init__(self, asked: Mapping[Place, set[str]], ever: Mapping[Place, set[str]]) -> None:
        self._asked = asked
        self._ever = ever
        self._everywhere = set().union(*ever.values())

    def __bool__(self) -> bool:
        """Return whether there is any matrix."""
        return bool(self._ever)

    def names(self, fields: tuple[str, ...]) -> tuple[str, ...]:
        """Return the *fields* of rows with what folded rows have besides."""
        return (*fields, "variants") if self else fields

    def fold(
        self, rows: Iterable[Row], fmt: str, *, by: Literal["place", "run", "everything"] = "everything"
    ) -> Iterator[Row]:
        """
        Yield *rows* with one for those that say the same of several variants: the first, with all of its `variants`.

        Looked at together are rows of one place, or run, that follow each other, or all. Cursors go on rising. A table
        (*fmt*) has the variants in few words instead.
        """
        if not self:
            yield from rows
            return
        merged = OF_CHANGES if by == "run" else MERGED
        for _, members in groupby(rows, _BLOCKS[by]):
            found: dict[Hashable, list[Row]] = {}
            for number, row in enumerate(members):
                key: Hashable = number
                if row["kind"] == KIND and row["variant"] in self._known(row, self._ever):
                    key = canonical_json(_said(row, merged))
                found.setdefault(key, []).append(row)
            cursors = _cursors([[row["cursor"] for row in alike] for alike in found.values() if "cursor" in alike[0]])
            for alike in found.values():
                one = self._one(alike, fmt, merged)
                yield {**one, "cursor": next(cursors)} if "cursor" in one else one

    def _known(self, row: Row, places: Mapping[Place, set[str]]) -> set[str]:
        if "zone" not in row:  # of several places
            return self._everywhere
        return places.get((row["account"], row["project"], row["region"], row["zone"]), set())

    def _one(self, alike: list[Row], fmt: str, merged: Mapping[str, Callable[[list[Any]], Any]]) -> Row:
        names = sorted({row["variant"] for row in alike}, key=lambda name: (name != DEFAULT_VARIANT, name))
        first = next(row for row in alike if row["variant"] == names[0])
        one = {
            name: merged[name]([row[name] for row in alike]) if name in merged and len(alike) > 1 else value
            for name, value in first.items()
        }
        if fmt != "table":
            return one | {"variants": names}
        return one | {"variant": _told(set(names), self._known(first, self._asked), self._known(first, self._ever))}


def variants_of_matrices(conn: Connection) -> dict[str, set[str]]:
    """Return the variants of each account that has a matrix, `default` among them."""
    of_matrix: dict[str, set[str]] = {}
    stated = select(Account.name, Variant.name, Variant.parameters).join(Account, Account.id == Variant.account_id)
    for account, name, parameters in conn.execute(stated):
        if parameters and question_of(parameters) is not None:
            of_matrix.setdefault(account, {DEFAULT_VARIANT}).add(name)
    return of_matrix


def variants_of(conn: Connection, filters: Filters, moment: datetime) -> Variants:
    """Return the variants of the matrix in the places that *filters* want, asked at *moment*, and ever."""
    of_matrix = variants_of_matrices(conn)
    if not of_matrix:
        return Variants({}, {})
    wanted = Filters(account=filters.account, project=filters.project, region=filters.region, zone=filters.zone)
    chosen = [
        choice
        for choice in chosen_targets(conn, wanted)
        if choice.target.kind == KIND and choice.target.variant in of_matrix.get(choice.target.account, ())
    ]
    absent = absences(conn, [choice.target_id for choice in chosen], moment)
    asked: dict[Place, set[str]] = {}
    ever: dict[Place, set[str]] = {}
    for choice in chosen:
        target = choice.target
        place = (target.account, target.project, target.region, target.zone)
        ever.setdefault(place, set()).add(target.variant)
        if choice.target_id not in absent:
            asked.setdefault(place, set()).add(target.variant)
    return Variants(asked, ever)


#: What rows that are looked at together have in common.
_BLOCKS: Mapping[str, Callable[[Row], Hashable]] = {
    "place": lambda row: tuple(row[name] for name in ("account", "project", "region", "zone", "kind")),
    "run": lambda row: row["run"],
    "everything": lambda row: None,
}
