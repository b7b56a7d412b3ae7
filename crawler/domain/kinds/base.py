"""What a kind declares: the action to call, the sets its answers may hold, and the fields worth keeping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: How a field's value is read. `flag_inverted` is a boolean stored as its opposite, `names` a list compared as a set.
FieldType = Literal["text", "flag", "flag_inverted", "integer", "names"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a record: where it comes from, what it is called here, how it is compared."""

    #: The name in JSON output and in `changes.fields`.
    name: str
    #: The spellings the API uses; case does not matter.
    keys: tuple[str, ...]
    type: FieldType = "text"
    #: Whether a different value is a change.
    compared: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A type of image that can be inventoried: one declaration, no code."""

    name: str
    #: The API action that lists it.
    action: str
    #: What answers may call it besides.
    aliases: tuple[str, ...] = ()
    #: Canonical set names, each with the other spellings seen for it; case does not matter.
    sets: Mapping[str, tuple[str, ...]]
    #: A top-level key that contains this (lower case) is a set even when it is not listed above.
    set_marker: str
    #: The sets whose images are the provider's, the same for every customer: what is published of the kind.
    provider_sets: frozenset[str] = frozenset()
    id_keys: tuple[str, ...]
    fields: tuple[Field, ...]
    #: Request parameters of this kind that a variant may set, with the API's spelling.
    parameters: tuple[str, ...] = ()
    #: Top-level keys that are no sets and need no notice.
    envelope: tuple[str, ...] = ("RetCode", "Action", "Message")
    #: Top-level keys that say how many records there are, besides a count named after each set.
    counts: tuple[str, ...] = ("TotalCount",)
    #: Where the facts come from.
    sources: tuple[str, ...] = field(default=())
