"""The OpenAPI description of the published folder, and the JSON Schemas of its documents. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from crawler.domain.shapes import Schema, array_of, document, row_schema
from crawler.web.published_json import (
    ChangesDocument,
    FreshnessDocument,
    IndexDocument,
    PrivateChange,
    RenovateDocument,
    ResolveDocument,
)

_JSON, _TEXT, _ATOM = "application/json", "text/plain", "application/atom+xml"
#: The documents by the name of their schema.
_DOCUMENTS: Mapping[str, type] = {
    "resolve": ResolveDocument,
    "renovate": RenovateDocument,
    "changes": ChangesDocument,
    "freshness": FreshnessDocument,
    "index": IndexDocument,
}
_PARAMETERS: Mapping[str, str] = {
    "zone": "The zone as the cloud names it; anything but [A-Za-z0-9._-] is percent-encoded.",
    "slug": (
        "The normalised name of the image, in lower case, with - for spaces; anything but [a-z0-9._-] is "
        "percent-encoded, and the percent signs are once more in the address."
    ),
}


class _Path(NamedTuple):
    """What there is at a path: its parameters, its type, the name of its schema, and what it says."""

    path: str
    parameters: tuple[str, ...]
    media: str
    schema: str | None
    said: str


_PATHS = (
    _Path("v1/index.json", (), _JSON, "index", "Every name of every zone that has documents, with their paths."),
    _Path("v1/resolve/{zone}/{slug}.json", ("zone", "slug"), _JSON, "resolve", "The image to use now."),
    _Path("v1/resolve/{zone}/{slug}/image_id", ("zone", "slug"), _TEXT, None, "Its id alone; 404 when there is none."),
    _Path("v1/renovate/{zone}/{slug}.json", ("zone", "slug"), _JSON, "renovate", "The ids as releases, for Renovate."),
    _Path("v1/changes.json", (), _JSON, "changes", "The newest changes, the newest first."),
    _Path("v1/freshness.json", (), _JSON, "freshness", "How old the knowledge behind all this is."),
    _Path("v1/atom/all.atom", (), _ATOM, None, "The newest changes as an Atom feed."),
    _Path("v1/atom/zones/{zone}.atom", ("zone",), _ATOM, None, "Those of one zone."),
    _Path("v1/atom/names/{slug}.atom", ("slug",), _ATOM, None, "Those of one image name, in all zones."),
)


def document_schemas(*, is_private: bool = False) -> dict[str, Schema]:
    """Return the JSON Schema of each document by its name."""
    found = {}
    for name, kind in _DOCUMENTS.items():
        schema = row_schema(kind)
        if is_private and kind is ChangesDocument:
            schema["properties"]["changes"] = array_of(row_schema(PrivateChange))
        found[name] = document(schema, name, (kind.__doc__ or "").strip())
    return found


def openapi(url: str | None, *, version: str, is_private: bool = False) -> dict[str, Any]:
    """Return the description of the folder that is published at *url*, or beside this document."""
    schemas = {
        name: {key: value for key, value in schema.items() if key != "$schema"}
        for name, schema in document_schemas(is_private=is_private).items()
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Node images by zone and name",
            "version": version,
            "description": (
                "Files that are replaced whole when what they say changes. Fields may be added; one that goes stays "
                "for a year beside its successor."
            ),
        },
        "servers": [{"url": url or "../"}],
        "paths": {f"/{one.path}": _operation(one) for one in _PATHS},
        "components": {"schemas": schemas},
    }


def _operation(one: _Path) -> dict[str, Any]:
    of_text: Schema = {"type": "string"}
    content = {one.media: {"schema": {"$ref": f"#/components/schemas/{one.schema}"} if one.schema else of_text}}
    named = [
        {"name": name, "in": "path", "required": True, "schema": of_text, "description": _PARAMETERS[name]}
        for name in one.parameters
    ]
    answers: dict[str, Any] = {"200": {"description": one.said, "content": content}}
    if named:
        answers["404"] = {"description": "There is none."}
    return {"get": {"summary": one.said, **({"parameters": named} if named else {}), "responses": answers}}
