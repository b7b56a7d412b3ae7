"""The documents of `publish`: what they say of what is known."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate

from crawler.domain.rows import ImageRow, StatusRow
from crawler.queries.publish import RegionZone, ZoneName, ZoneStay, zone_name
from crawler.web.openapi import document_schemas, openapi
from crawler.web.published_json import renovate_document, resolve_document
from tests.support.examples import blocks
from tests.support.facts import NOON, hours, image, status

PLACE = RegionZone("hk", "hk-02")
STALE = timedelta(hours=26)


def named(
    *stays: ZoneStay, rows: tuple[StatusRow, ...] = (status(),), images: tuple[ImageRow, ...] = (), **more: Any
) -> ZoneName:
    return zone_name(PLACE, "Ubuntu 20.04", stays, rows, images, now=NOON, stale_after=STALE, **more)


def releases(name: ZoneName) -> list[dict[str, Any]]:
    document = renovate_document(name).as_dict()
    jsonschema.validate(document, document_schemas()["renovate"])
    jsonschema.validate(resolve_document(name).as_dict(), document_schemas()["resolve"])
    found: list[dict[str, Any]] = document["releases"]
    return found


OLD = ZoneStay("uimage-old", hours(100), hours(50))
NEW = ZoneStay("uimage-new", hours(50), None)


def test_a_reissue() -> None:
    """Each stay is a release by the calendar, the over ones deprecated; `current` has the image to use."""
    name = named(OLD, NEW, images=(image("uimage-new", came=50),))

    assert releases(name) == [
        {
            "version": "2026.11.19.0800.00",
            "digest": "uimage-old",
            "releaseTimestamp": "2026-11-19T08:00:00Z",
            "isDeprecated": True,
        },
        {"version": "2026.11.21.1000.00", "digest": "uimage-new", "releaseTimestamp": "2026-11-21T10:00:00Z"},
        {"version": "current", "digest": "uimage-new"},
    ]
    assert resolve_document(name).as_dict() == {
        "schema_version": 1,
        "region": "hk",
        "zone": "hk-02",
        "image_id": "uimage-new",
        "image_name": "Ubuntu 20.04",
        "state": "present",
        "present_since": "2026-11-21T10:00:00Z",
        "previous_ids": ["uimage-old"],
    }


@pytest.mark.parametrize(
    ("image_name", "page"),
    [("Ubuntu 20.04", "names/ubuntu-20.04.html"), ("100% 镜像", "names/100%2525-%25E9%2595%259C%25E5%2583%258F.html")],
)
def test_homepage(image_name: str, page: str) -> None:
    """A name's releases lead to its page where the address of the folder is known, and else nowhere."""
    name = replace(named(NEW), image_name=image_name)

    assert renovate_document(name, "https://images.example.com").homepage == f"https://images.example.com/{page}"
    assert renovate_document(name).as_dict().keys() == {"releases"}


def test_gone() -> None:
    """Of a name that is gone every release is deprecated and none is `current`; no id is given to use."""
    name = named(OLD, ZoneStay("uimage-new", hours(50), hours(2)))

    assert [(one["version"], one["isDeprecated"]) for one in releases(name)] == [
        ("2026.11.19.0800.00", True),
        ("2026.11.21.1000.00", True),
    ]
    gone = resolve_document(name)
    assert (gone.image_id, gone.state, gone.previous_ids) == (None, "withdrawn", ("uimage-old", "uimage-new"))


def test_revoked() -> None:
    """An image that somebody revoked is none to use, as `resolve` has it, and deprecated; the reason is not told."""
    images = (image("uimage-new", came=50),)
    name = named(OLD, NEW, images=images, revoked={"uimage-new": "its kernel hangs"})

    assert [(one["version"], one["isDeprecated"]) for one in releases(name)] == [
        ("2026.11.19.0800.00", True),
        ("2026.11.21.1000.00", True),
    ]
    shown = resolve_document(name)
    assert (shown.image_id, shown.state, shown.present_since) == (None, "revoked", None)
    assert "kernel" not in repr(name)


def test_newer_than_what_is_revoked() -> None:
    """Once another image of the name came after the revoked one it is the image to use."""
    images = (image("uimage-new", came=50), image("uimage-next", came=5))
    name = named(NEW, ZoneStay("uimage-next", hours(5), None), images=images, revoked={"uimage-new": "hangs"})

    assert resolve_document(name).image_id == "uimage-next"
    assert [(one["digest"], one.get("isDeprecated")) for one in releases(name)] == [
        ("uimage-new", True),
        ("uimage-next", None),
        ("uimage-next", None),
    ]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ((status(outcome="failed", last_ok=100),), None),
        ((status(last_ok=30),), None),
        ((status(outcome="retired"),), "retired"),
        ((status(outcome="held"),), "held"),
    ],
    ids=["failed", "stale", "retired", "held"],
)
def test_unknown(rows: tuple[StatusRow, ...], reason: str | None) -> None:
    """Where nobody can tell, the name says what it said when it was known last."""
    known = named(OLD, NEW, images=(image("uimage-new", came=50),))
    unknown = named(OLD, NEW, rows=rows, images=(image("uimage-new", came=50, reason=reason),))

    assert (known.is_there, unknown.is_there, unknown.was_there) == (True, None, True)
    assert unknown.doubt
    assert releases(unknown) == releases(known)
    assert resolve_document(unknown) == resolve_document(known)


def test_never_certain() -> None:
    """Of two images that came together neither is given, and it was never certain which."""
    together = (image("uimage-a", came=5), image("uimage-b", came=5))
    name = named(*(ZoneStay(one.image_id, hours(5), None) for one in together), images=together)

    assert (name.is_there, name.was_there, name.image_id) == (None, None, None)


def test_the_page() -> None:
    """The document of the page has the fields of the program's own, and is valid by their schema."""
    (shown,) = (json.loads(block) for block in blocks("json", "docs/publish.md"))
    schema = document_schemas()["resolve"]

    jsonschema.validate(shown, schema)
    assert list(shown) == list(schema["properties"])


def test_openapi() -> None:
    """The OpenAPI description is one, with and without an address and what is private."""
    for url, is_private in ((None, False), ("https://images.example.com", True)):
        validate(openapi(url, version="1", is_private=is_private))


@pytest.mark.parametrize("is_private", [False, True])
def test_schemas(is_private: bool) -> None:
    """Each schema is one."""
    for schema in document_schemas(is_private=is_private).values():
        jsonschema.Draft202012Validator.check_schema(schema)
