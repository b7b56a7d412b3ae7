"""Changes as Atom feeds."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest

from crawler.domain.rows import ChangeRow
from crawler.web.atom import atom_feed
from tests.support.facts import HK, hours
from tests.support.hostile import HOSTILE

ATOM = "{http://www.w3.org/2005/Atom}"


def change(number: int = 1, name: str | None = "Ubuntu 20.04", **more: Any) -> ChangeRow:
    told: dict[str, Any] = {
        "event": "withdrawn",
        "image_set": "ImageSet",
        "image_id": "uimage-a",
        "fields": {},
        "counterpart": None,
        "not_before": hours(3),
        "observed_at": hours(2),
        "recorded_at": hours(1),
        **more,
    }
    return ChangeRow(id=number, run=7, target=HK, image_name=name, **told)


def feed(*rows: ChangeRow, url: str | None = None, is_private: bool = False) -> Element:
    body = atom_feed(rows, title="Images", path="v1/a.atom", began=hours(9), url=url, is_private=is_private)
    return fromstring(body)


def texts(root: Element, path: str) -> list[str | None]:
    return [found.text for found in root.iterfind("/".join(f"{ATOM}{step}" for step in path.split("/")))]


def test_what_a_feed_needs() -> None:
    """A feed and each entry have an id, a title and a date, and the feed an author; RFC 4287 demands no more."""
    root = feed(change(2), change(1))

    for name in ("id", "title", "updated", "author/name", "entry/id", "entry/title", "entry/updated", "entry/content"):
        assert all(texts(root, name)), name
        assert texts(root, name), name
    assert texts(root, "updated") == ["2026-11-23T11:00:00Z"]
    ids = texts(root, "entry/id")
    assert len(set(ids)) == 2
    assert [str(one).split("/")[1] for one in ids] == ["2", "1"]


def test_ids_stay() -> None:
    """An entry has the same id at another address and with private data, whatever changes came before it."""
    ids = [
        texts(feed(change(2), url=url, is_private=private), "entry/id")
        for url in (None, "https://x.example")
        for private in (False, True)
    ]

    assert len({str(one) for one in ids}) == 1


def test_nothing_private() -> None:
    """Accounts and projects stand in a feed only where they are to be told."""
    said = {private: str(texts(feed(change(), is_private=private), "entry/content")) for private in (False, True)}

    assert "org-a" not in said[False]
    assert "prod" not in said[False]
    assert "Account prod, project org-a" in said[True]


def test_an_empty_feed() -> None:
    """A feed without changes has the date that it is given."""
    assert texts(feed(), "updated") == ["2026-11-23T03:00:00Z"]


def test_links() -> None:
    """With an address a feed links itself and the folder."""
    links = {one.get("rel"): one.get("href") for one in feed(url="https://x.example/i").iterfind(f"{ATOM}link")}

    assert links == {"self": "https://x.example/i/v1/a.atom", "alternate": "https://x.example/i/"}


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name[:12]))
def test_hostile_names(name: str) -> None:
    """No name breaks the feed."""
    fields = {"image_name": [name, "x"], "features": [[name], None]}
    root = feed(change(name=name, event="modified", fields=fields))

    assert len(texts(root, "entry/title")) == 1
    assert root.find(f"{ATOM}entry/script") is None


def test_reissue() -> None:
    """A re-issue is told by both ids."""
    assert texts(feed(change(counterpart="uimage-b")), "entry/title") == [
        "Ubuntu 20.04 re-issued: uimage-a → uimage-b, hk-02"
    ]
