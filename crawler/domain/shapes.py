"""
The JSON Schemas (2020-12) of what this program writes, made from the classes that are written: nothing says it twice.

A row's schema has the names that `crawler.domain.rows` writes, each with the type of its field. Pure.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from crawler.domain.kinds import KINDS, UK8S_IMAGE, Kind
from crawler.domain.kinds.base import FieldType
from crawler.domain.models import Target
from crawler.domain.rows import ImageRow, fields_in_json

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_PLAIN: Mapping[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    timedelta: {"type": "number"},
    datetime: {"type": "string", "format": "date-time"},
    types.NoneType: {"type": "null"},
}
_OF_FIELD: Mapping[FieldType, Schema] = {
    "text": {"type": ["string", "null"]},
    "flag": {"type": ["boolean", "null"]},
    "flag_inverted": {"type": ["boolean", "null"]},
    "integer": {"type": ["integer", "null"]},
    "names": {"type": ["array", "null"], "items": {"type": "string"}},
    "date": {"type": ["string", "null"]},
    "moment": {"type": ["string", "null"]},
    "nested": {},
}


def document(schema: Schema, title: str, description: str = "") -> Schema:
    """Return *schema* as a document of its own."""
    said = {"description": description} if description else {}
    return {"$schema": DIALECT, "title": title, **said, **schema}


def array_of(schema: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": schema}


def nullable(schema: Schema) -> Schema:
    """Return *schema*, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def object_of(properties: Mapping[str, Schema], *, optional: Sequence[str] = ()) -> Schema:
    """Return the schema of an object that has all *properties* but the *optional* ones; more may come later."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), "required": required}


def row_schema(kind: type) -> Schema:
    """Return the schema of the rows of a class, as `row_as_dict` writes them; its `MAY_LACK` may be left out."""
    hints = get_type_hints(kind)
    optional = getattr(kind, "MAY_LACK", ())
    properties: dict[str, Schema] = {}
    for rule in fields_in_json(kind):
        if rule.is_flat and rule.field == "target":
            properties |= {part: dict(_PLAIN[str]) for part in Target._fields}
        elif rule.is_flat:
            properties |= _attributes()
        else:
            hint = hints[rule.field] if rule.hint is None else rule.hint
            (name,) = rule.names
            properties[name] = _stated(type_schema(hint)) if name in optional else type_schema(hint)
    return object_of(properties, optional=optional)


def _stated(schema: Schema) -> Schema:
    """Return *schema* without the null that stands for what is left out."""
    (stated,) = (one for one in schema["anyOf"] if one != _PLAIN[types.NoneType])
    return dict(stated)


def _attributes() -> dict[str, Schema]:
    return {**_fields([UK8S_IMAGE]), "extra": {"type": "object"}}


def _fields(kinds: Iterable[Kind]) -> dict[str, Schema]:
    """Return the schema of each field that *kinds* declare; what two kinds read otherwise may be anything."""
    found: dict[str, Schema] = {}
    for kind in kinds:
        types = {spec.name: spec.type for spec in kind.fields}
        for name in kind.names:
            schema = _OF_FIELD[types.get(name, "flag")]
            found[name] = schema if found.get(name, schema) == schema else {}
    return found


def item_schema(kinds: Iterable[Kind] = tuple(KINDS.values())) -> Schema:
    """Return the schema of a row of some *kinds*, as `ImageRow.as_dict` writes it: all fields of its kind are there."""
    own = _fields(kinds)
    row = row_schema(ImageRow)["properties"]
    return object_of({**{name: schema for name, schema in row.items() if name not in own}, **own}, optional=tuple(own))


def type_schema(hint: Any) -> Schema:
    """Return the schema of a value of this type; raises TypeError for one that has no JSON."""
    if hint is Any:
        return {}
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [type_schema(arg) for arg in args]}
    if hint is Target:
        return object_of({part: dict(_PLAIN[str]) for part in Target._fields})
    if is_dataclass(hint) or hasattr(hint, "_fields"):
        return row_schema(hint)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": type_schema(args[1])}
    if isinstance(origin, type) and issubclass(origin, Sequence | set | frozenset):
        return array_of(type_schema(args[0]))
    raise TypeError(f"{hint} has no JSON")
