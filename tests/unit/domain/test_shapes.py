"""The JSON Schemas that are made from classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, NamedTuple

import pytest

from crawler.domain.kinds import KINDS, UK8S_IMAGE
from crawler.domain.kinds.base import Field
from crawler.domain.models import Target
from crawler.domain.rows import ATTRIBUTES, ImageRow, JsonRow, in_json
from crawler.domain.shapes import (
    DIALECT,
    array_of,
    document,
    item_schema,
    nullable,
    object_of,
    row_schema,
    type_schema,
)

TEXT = {"type": "string"}
PLACE = dict.fromkeys(("account", "project", "region", "zone", "kind", "variant"), TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample(JsonRow):
    MAY_LACK: ClassVar[tuple[str, ...]] = ("rare",)

    target: Target
    count: int
    at: datetime | None
    rare: str | None


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, TEXT),
        (bool, {"type": "boolean"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (timedelta, {"type": "number"}),
        (datetime, {"type": "string", "format": "date-time"}),
        (None | int, {"anyOf": [{"type": "null"}, {"type": "integer"}]}),
        (Any, {}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (Sequence[str], {"type": "array", "items": TEXT}),
        (frozenset[str], {"type": "array", "items": TEXT}),
        (tuple[str, ...], {"type": "array", "items": TEXT}),
        (Mapping[str, bool], {"type": "object", "additionalProperties": {"type": "boolean"}}),
        (dict[str, list[str]], {"type": "object", "additionalProperties": {"type": "array", "items": TEXT}}),
        (Target, {"type": "object", "properties": PLACE, "required": list(PLACE)}),
    ],
)
def test_types(hint: Any, schema: dict[str, Any]) -> None:
    """Each type of a field has the schema of what is written for it."""
    assert type_schema(hint) == schema


def test_type_without_json() -> None:
    """A type that is never written is a mistake of the program."""
    with pytest.raises(TypeError, match=r"complex.* has no JSON"):
        type_schema(complex)


def test_rows() -> None:
    """A row has its target's parts beside its own fields; one that may be left out is never null."""
    properties = {
        **PLACE,
        "count": {"type": "integer"},
        "at": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
        "rare": TEXT,
    }
    assert row_schema(_Sample) == {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name != "rare"],
    }
    assert type_schema(_Sample | None) == {"anyOf": [row_schema(_Sample), {"type": "null"}]}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told(JsonRow):
    names: Mapping[str, str] = field(metadata=in_json("called", by=list, hint=list[str]))
    at: datetime = field(metadata=in_json("since"))


class _Tuple(NamedTuple):
    nodes: int
    name: str


def test_rows_that_are_written_otherwise() -> None:
    """A field that JSON has by another name or rule has the schema of what is written; a named tuple is a row too."""
    assert row_schema(_Told)["properties"] == {
        "called": {"type": "array", "items": TEXT}, "since": {"type": "string", "format": "date-time"},
    }  # fmt: skip
    assert type_schema(list[_Tuple])["items"] == {
        "type": "object", "properties": {"nodes": {"type": "integer"}, "name": TEXT}, "required": ["nodes", "name"],
    }  # fmt: skip


def test_rows_of_images() -> None:
    """An image has what it may state beside its own fields, and whatever else was said of it as an object."""
    properties = row_schema(ImageRow)["properties"]

    assert {*PLACE, *ATTRIBUTES, "image_id", "extra"} <= set(properties)
    assert (properties["extra"], properties["gpu"]) == ({"type": "object"}, {"type": ["boolean", "null"]})


def test_items() -> None:
    """A row of any kind has every field of every kind, none of them for sure."""
    schema = item_schema()
    own = {name for kind in KINDS.values() for name in kind.names}

    assert own <= set(schema["properties"])
    assert set(schema["required"]) == set(schema["properties"]) - own
    assert schema["properties"]["gpu"] == {"type": ["boolean", "null"]}
    assert {"account", "image_id", "state"} <= set(schema["required"])


def test_a_field_that_two_kinds_read_otherwise() -> None:
    """What two kinds read as the same type is of it, what they read otherwise may be anything, whichever is first."""
    text = replace(UK8S_IMAGE, fields=(Field(name="size", keys=()), Field(name="family", keys=())))
    number = replace(UK8S_IMAGE, fields=(Field(name="size", keys=(), type="integer"), Field(name="family", keys=())))
    for kinds in ((text, number), (number, text)):
        properties = item_schema(kinds)["properties"]
        assert (properties["size"], properties["family"]) == ({}, {"type": ["string", "null"]})
    assert item_schema([number])["properties"]["size"] == {"type": ["integer", "null"]}


def test_documents() -> None:
    """A document says its dialect and its title, and a description where it has one; parts are put together as said."""
    assert document(array_of(TEXT), "Names") == {
        "$schema": DIALECT, "title": "Names", "type": "array", "items": TEXT,
    }  # fmt: skip
    assert document({}, "Names", "All of them.") == {
        "$schema": DIALECT, "title": "Names", "description": "All of them.",
    }  # fmt: skip
    assert nullable(TEXT) == {"anyOf": [TEXT, {"type": "null"}]}
    assert object_of({"a": TEXT, "b": {}}, optional=["b"]) == {
        "type": "object", "properties": {"a": TEXT, "b": {}}, "required": ["a"],
    }  # fmt: skip


def test_dialect() -> None:
    """The schemas are of the dialect of 2020-12."""
    assert DIALECT == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("gpu", {"type": ["boolean", "null"]}),
        ("family", {"type": ["string", "null"]}),
        ("created_at", {"type": ["string", "null"]}),
        ("gpu_types", {"type": ["array", "null"], "items": {"type": "string"}}),
        ("nodes_now", {"type": ["integer", "null"]}),
        ("disks", {}),
    ],
)
def test_types_of_the_fields_of_items(name: str, schema: object) -> None:
    """A field that kinds declare has the schema of its type, or null; what is kept as it came may be anything."""
    assert item_schema()["properties"][name] == schema


def test_sentence_of_a_type_without_json() -> None:
    """The type is named that has no JSON."""
    with pytest.raises(TypeError) as caught:
        type_schema(complex)
    assert str(caught.value) == "<class 'complex'> has no JSON"
