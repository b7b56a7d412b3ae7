"""
Two moments side by side. What is not known is no difference, and is said.

Images are compared where both sides were known: a target that nobody observed well at one of the moments gives rows of
the event `unknown`, whatever its last known images are. A field that one side does not state is no difference either.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Any, Literal

from crawler.domain.kinds import KINDS
from crawler.domain.models import UNSTATED_SET, Attributes, ImageKey, Target, fold_keys, normalise_name, stated_sets
from crawler.domain.rows import NOT_IN_JSON, ImageRow, JsonRow, Knowledge, Reason, in_json, or_null

Side = Literal["present", "absent", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffRow(JsonRow):
    """One image that differs between two moments, seen from the first to the second; or that cannot be compared."""

    target: Target
    image_set: str
    image_id: str
    image_name: str = field(metadata=in_json(by=or_null, hint=str | None))
    event: Literal["appeared", "withdrawn", "modified", "unknown"]
    #: Of a modified image: `{name: [first, second]}`.
    fields: Mapping[str, list[Any]] = field(default_factory=dict)
    #: The one image of the same name that is there at the other moment instead: the other half of a re-issue.
    counterpart: str | None = None
    first: Side
    second: Side
    #: Why a side is unknown.
    first_reason: Reason | None = None
    second_reason: Reason | None = None
    #: The names it had, at either moment.
    names: tuple[str, ...] = field(default=(), metadata=NOT_IN_JSON)


# --- two moments -----------------------------------------------------------------------------------------------------


def differences(
    first: Iterable[ImageRow],
    second: Iterable[ImageRow],
    known_first: Mapping[Target, Knowledge],
    known_second: Mapping[Target, Knowledge],
) -> Iterator[DiffRow]:
    """
    Compare the images of two moments, both sorted by target; rows come by target, name and id.

    A target without knowledge of a moment was not there to be asked then, which is unknown too.
    """
    for target, before, after in _by_target(first, second):
        sides = _with_stated_sets(before, after), _with_stated_sets(after, before)
        yield from sorted(
            _of_target(target, *sides, known_first.get(target), known_second.get(target)),
            key=lambda row: (row.image_set, row.image_name.casefold(), row.event, row.image_id),
        )


def _by_target(
    first: Iterable[ImageRow], second: Iterable[ImageRow]
) -> Iterator[tuple[Target, dict[ImageKey, ImageRow], dict[ImageKey, ImageRow]]]:
    """Walk both sides together, a target at a time, so that neither has to be held whole."""
    sides = [groupby(rows, key=attrgetter("target")) for rows in (first, second)]
    heads = [_next(side) for side in sides]
    while any(heads):
        target = min(head[0] for head in heads if head)
        images: list[dict[ImageKey, ImageRow]] = []
        for index, head in enumerate(heads):
            is_here = head is not None and head[0] == target
            images.append(head[1] if head is not None and is_here else {})
            if is_here:
                heads[index] = _next(sides[index])
        yield target, images[0], images[1]


def _next(side: Iterator[tuple[Target, Iterator[ImageRow]]]) -> tuple[Target, dict[ImageKey, ImageRow]] | None:
    head = next(side, None)
    return head and (head[0], {ImageKey(row.image_set, row.image_id): row for row in head[1]})


def _with_stated_sets(
    images: Mapping[ImageKey, ImageRow], others: Mapping[ImageKey, ImageRow]
) -> Mapping[ImageKey, ImageRow]:
    """Return *images*, each that stated no set under the one in which it is among *others*: it is the same image."""
    without = {key for key in images if key.image_set == UNSTATED_SET and key not in others}
    if not without:
        return images
    learned = stated_sets(without | (others.keys() - images.keys()))
    called = {key: learned[key.image_id] for key in without if key.image_id in learned}
    return {
        called.get(key, key): row._replace(image_set=called[key].image_set) if key in called else row
        for key, row in images.items()
    }


def _of_target(
    target: Target,
    before: Mapping[ImageKey, ImageRow],
    after: Mapping[ImageKey, ImageRow],
    known_before: Knowledge | None,
    known_after: Knowledge | None,
) -> Iterator[DiffRow]:
    gone = [before[key] for key in before.keys() - after.keys()]
    new = [after[key] for key in after.keys() - before.keys()]
    for key in before.keys() | after.keys():
        first, first_reason = side(before.get(key), known_before)
        second, second_reason = side(after.get(key), known_after)
        row = after.get(key) or before[key]
        fields: dict[str, list[Any]] = {}
        counterpart = None
        event: Literal["appeared", "withdrawn", "modified", "unknown"]
        if "unknown" in (first, second):
            event = "unknown"
        elif second == "absent":
            event = "withdrawn"
            counterpart = _counterpart(row, after.values(), among=gone)
            if counterpart and after[ImageKey(key.image_set, counterpart)].unusable:
                counterpart = None
        elif first == "absent":
            event = "appeared"
            counterpart = None if row.unusable else _counterpart(row, before.values(), among=new)
        else:
            event = "modified"
            fields = changed_fields(before[key].attributes, after[key].attributes, uncompared(target.kind))
            if not fields:
                continue
        yield DiffRow(
            target=target,
            image_set=key.image_set,
            image_id=key.image_id,
            image_name=row.image_name,
            event=event,
            fields=fields,
            counterpart=counterpart,
            first=first,
            second=second,
            first_reason=first_reason,
            second_reason=second_reason,
            names=tuple(images[key].image_name for images in (before, after) if key in images),
        )


def side(row: ImageRow | None, known: Knowledge | None) -> tuple[Side, Reason | None]:
    """Tell how an image stands on one side, given its *row* there and what was *known*; with the reason if unknown."""
    if row is not None:
        return ("unknown", row.reason) if row.state == "unknown" else ("present", None)
    if known is None:
        return "unknown", "never_observed"
    return ("unknown", known.reason) if known.reason else ("absent", None)


def _counterpart(row: ImageRow, others: Iterable[ImageRow], *, among: Collection[ImageRow]) -> str | None:
    """Return the one image at the other moment of *row*'s set and name, where *row* is the only one to need it."""
    name = normalise_name(row.image_name)
    if not name or sum(_is_same(row, name, rival) for rival in among) != 1:
        return None
    found = [other.image_id for other in others if _is_same(row, name, other)]
    return found[0] if len(found) == 1 else None


def _is_same(row: ImageRow, name: str, other: ImageRow) -> bool:
    return other.image_set == row.image_set and normalise_name(other.image_name) == name


# --- fields ----------------------------------------------------------------------------------------------------------


def uncompared(kind: str) -> frozenset[str]:
    """Return the fields whose difference is none, as the kind declares them."""
    return KINDS[kind].uncompared if kind in KINDS else frozenset()


def changed_fields(first: Attributes, second: Attributes, but: Collection[str] = ()) -> dict[str, list[Any]]:
    """
    Return the fields that both sides state, and differently, as `{name: [first, second]}`; those in *but* left out.
    """
    fields: dict[str, list[Any]] = {}
    for name in sorted(first.keys() & second.keys()):
        one, other = first[name], second[name]
        if name in but:
            continue
        if name == "extra" and isinstance(one, Mapping) and isinstance(other, Mapping):
            fields |= {f"extra.{inner}": values for inner, values in changed_fields(one, other).items()}
        elif fold_keys(one) != fold_keys(other):
            fields[name] = [one, other]
    return fields
