"""
What the records of an answer state at all, beside what they stated before: fields that are gone, names nobody knew.

About the form of the answers, not about what they say: a field that no record states any more is unknown from then on,
and keeps its last value, so without a word about it nobody would notice. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from crawler.domain.kinds import Kind
from crawler.domain.models import Attributes, ImageKey
from crawler.domain.values import plain_name

#: Before the name of a field that is not declared, and before that of a set.
EXTRA, SET = "extra.", "set "


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerForm:
    """What an answer states, and how that differs from what its target was known to state."""

    stated: frozenset[str]
    #: No record states it now, and one of those listed did before.
    missing: frozenset[str]
    #: Neither the kind's declaration nor an earlier answer has it.
    new: frozenset[str]


def form_of(
    kind: Kind,
    known: Mapping[ImageKey, Attributes],
    listed: Mapping[ImageKey, Attributes],
    ignored: Collection[str] = (),
) -> AnswerForm:
    """Compare the names that records *listed* by an answer state with those *known*; *ignored* ones are not read."""
    declared = {spelling.casefold() for spec in kind.fields for spelling in spec.keys}
    own = {*kind.names} - {spec.name for spec in kind.fields}
    left_out = {*map(plain_name, ignored)}
    left_out |= {plain_name(spec.name) for spec in kind.fields if not left_out.isdisjoint(map(plain_name, spec.keys))}

    def names(images: Collection[Attributes]) -> frozenset[str]:
        found = set[str]().union(*images) - own
        extra: dict[str, str] = {}
        if "extra" in found:
            found.remove("extra")
            extra = {str(name).casefold(): str(name) for one in images for name in one.get("extra", ())}
        found |= {f"{EXTRA}{name}" for folded, name in extra.items() if folded not in declared}
        return frozenset(name for name in found if plain_name(name.removeprefix(EXTRA)) not in left_out)

    stated = names(listed.values())
    before = names([attributes for key, attributes in known.items() if key in listed])
    ever = names(known.values())
    sets = {key.image_set for key in listed} if not kind.set_key else set[str]()
    known_sets = {*kind.sets, *(key.image_set for key in known)}
    return AnswerForm(
        stated=stated,
        missing=without(before, stated),
        new=without((name for name in stated if name.startswith(EXTRA)), ever)
        | {f"{SET}{name}" for name in without(sets, known_sets)},
    )


def without(names: Iterable[str], others: Iterable[str]) -> frozenset[str]:
    """Return those of *names* that are none of the *others*, in any case."""
    folded = {name.casefold() for name in others}
    return frozenset(name for name in names if name.casefold() not in folded)
