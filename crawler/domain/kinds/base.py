"""What a kind declares: what to ask, the sets its answers may hold, the fields worth keeping, what is never kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: How a field's value is read. `flag_inverted` is a boolean stored as its opposite, `names` a list compared as a set,
#: `date` a day as `2026-11-30`, `moment` seconds since 1970 as a time in UTC, `nested` anything, lists as sets.
FieldType = Literal["text", "flag", "flag_inverted", "integer", "names", "date", "moment", "nested"]
Scope = Literal["region", "zone"]


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
class Paging:
    """The list comes in pages: `Offset` advances by the records received, `Limit` is how many are asked for."""

    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """A further action, asked once for each item of the first one's list; what it lists belongs to the answer."""

    action: str
    #: The member of the item that names it, and the parameter that names it in the request.
    item_key: str
    #: Members of the item that each record gets which states none.
    carried: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The field that says how usable a thing is, and its values that mean that it is."""

    field: str
    bootable: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Qualifier:
    """A member that is part of the identity, but for the value that goes without saying: `V100`, `V100/spot`."""

    key: str
    silent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A type of thing that can be inventoried: one declaration, no code."""

    name: str
    #: The API action that lists it.
    action: str
    #: The action asked where the cloud does not know that one.
    instead: str = ""
    #: What answers may call it besides.
    aliases: tuple[str, ...] = ()
    #: `region`: it is asked once per region, and its targets have the zone `""`.
    scope: Scope = "zone"
    #: Request parameters that are always sent.
    constants: Mapping[str, str] = field(default_factory=dict)
    #: None: an answer is the whole list.
    paging: Paging | None = None
    #: What is asked for each item of the list; the items themselves are not kept then.
    follow: tuple[Follow, ...] = ()
    #: The sets of the first action where others follow.
    items: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Canonical set names, each with the other spellings seen for it; case does not matter.
    sets: Mapping[str, tuple[str, ...]]
    #: A member of each record that says which set it belongs to, and the set that people mean who name none.
    set_key: str = ""
    default_set: str = ""
    #: A top-level key that contains this (lower case) is a set even when it is not listed above; empty: none is.
    set_marker: str = ""
    #: Where the sets are empty the answer itself may be the one record, of this set.
    bare_set: str = ""
    #: The sets whose images are the provider's, the same for every customer: what is published of the kind.
    provider_sets: frozenset[str] = frozenset()
    id_keys: tuple[str, ...]
    #: Of the sets whose records are called by another key.
    own_id_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    qualifier: Qualifier | None = None
    fields: tuple[Field, ...]
    #: The field that names the zone of a record: one that names another zone than was asked belongs to that.
    zone_field: str = ""
    state: State | None = None
    #: Members that are dropped before anything is hashed, logged or kept, beside those whose name says what they are
    #: (`crawler/domain/secrets.py`). None: nothing is looked for, and what the cloud lists is kept as it came.
    secrets: tuple[str, ...] | None = ()
    #: Request parameters of this kind that a variant may set, with the API's spelling.
    parameters: tuple[str, ...] = ()
    #: Top-level keys that are no sets and need no notice.
    envelope: tuple[str, ...] = ("RetCode", "Action", "Message")
    #: Top-level keys that say how many records there are, besides a count named after each set.
    counts: tuple[str, ...] = ("TotalCount",)
    #: Where the facts come from.
    sources: tuple[str, ...] = field(default=())

    @property
    def is_composed(self) -> bool:
        """Return whether an observation may take more than one request."""
        return self.paging is not None or bool(self.follow or self.instead)

    @property
    def uncompared(self) -> frozenset[str]:
        """Return the fields whose difference is no change."""
        return frozenset(spec.name for spec in self.fields if not spec.compared)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of what a record may state, in the order in which a table shows them."""
        own = [spec.name for spec in self.fields]
        if self.state is not None:
            own.insert(own.index(self.state.field) + 1, BOOTABLE)
        return tuple(own)


#: What a record's state says: whether the thing can be used.
BOOTABLE = "bootable"
