"""Changes as Atom feeds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest

from crawler.domain.rows import ChangeRow
from crawler.web.atom import atom_feed
from tests.support.atom_rules import faults
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
    return fromstring(document(*rows, url=url, is_private=is_private))


def document(*rows: ChangeRow, url: str | None = None, is_private: bool = False) -> bytes:
    """Return a feed that RFC 4287 has nothing against."""
    about: Any = {"title": "Images", "path": "v1/a.atom", "began": hours(9), "variants": {}}
    body = atom_feed(rows, url=url, is_private=is_private, **about)
    assert faults(body) == []
    return body


def texts(root: Element, path: str) -> list[str | None]:
    return [found.text for found in root.iterfind("/".join(f"{ATOM}{step}" for step in path.split("/")))]


def test_what_a_feed_says() -> None:
    """The feed has the date of its newest entry, and each entry an id of its own."""
    root = feed(change(2), change(1))

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


def test_what_changed() -> None:
    """Values are in the words of tables and mails, not in those of a language for programs."""
    fields = {"gpu": [True, False], "gpu_types": [None, ["A100", "V100"]], "size_gb": [20, 40]}
    (text,) = texts(feed(change(event="modified", fields=fields)), "entry/content")

    assert text is not None
    assert "gpu: yes → no. gpu_types: – → A100, V100. size_gb: 20 → 40." in text


def test_what_has_no_zone() -> None:
    """What is asked of a region as a whole is told to be in the region, not in a zone without a name."""
    row = change(name=None, image_id="1.30.14", event="appeared")._replace(target=HK._replace(zone=""))
    root = feed(row, is_private=True)

    assert texts(root, "entry/title") == ["1.30.14 appeared: 1.30.14, hk"]
    assert str(texts(root, "entry/content")[0]).startswith("Region hk. Account prod")


def test_a_full_feed() -> None:
    """A hundred changes have a hundred ids, and dates with fractions are dates as well."""
    rows = [change(number, observed_at=hours(2) + number * timedelta(milliseconds=1)) for number in range(100, 0, -1)]
    root = feed(*rows, url="https://x.example")

    assert len(set(texts(root, "entry/id"))) == 100
    assert texts(root, "entry/published")[0] == "2026-11-23T10:00:00.100Z"


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("<author><name>crawler</name></author>", "", "neither the feed nor every entry has an author"),
        ("<name>crawler</name>", "<name>a</name><name>b</name>", "author has 2 of name"),
        ("<title>Images</title>", "", "feed has 0 of title"),
        (' xml:lang="en"', "", "the language of the texts is not said"),
        ('xml:lang="en"', 'xml:lang="en_GB"', "no language"),
        ("11:00:00Z</updated>\n<author>", "11:00</updated>\n<author>", "3.3: updated"),
        ("<published>2026-11-23T10:", "<published>2026-02-30T10:", "3.3: published"),
        ("<id>tag:crawler.invalid,2026:feed/", "<id>feed/", "4.2.6: id"),
        ("change/1/", "change/1 /", "4.2.6: id"),
        (' term="withdrawn"', "", "category has no term"),
        ('term="withdrawn"', 'term="a" weight="1"', "category has an attribute weight"),
        ('rel="self" type="application/atom+xml"', 'rel="alternate"', "two alternates of one type"),
        ('type="text">', 'type="markdown">', "content has the type"),
        ('href="https://x.example/"', 'href="https://x.example/ "', "href is"),
        ("<entry>", "<entry><entry/>", "entry has 1 of entry"),
        ("</feed>", "<title>again</title></feed>", "something stands after the first entry"),
        ('xmlns="http://www.w3.org/2005/Atom"', 'xmlns="http://purl.org/atom/ns#"', "the root is"),
    ],
)
def test_the_rules(before: str, after: str, told: str) -> None:
    """The rules find what they are for."""
    text = document(change(), url="https://x.example").decode()

    assert before in text
    assert told in " ".join(faults(text.replace(before, after, 1).encode()))


def test_one_change_twice() -> None:
    """No feed has a change twice with one date."""
    body = atom_feed([change(), change()], variants={}, title="x", path="a", began=hours(9), url=None, is_private=False)

    (fault,) = faults(body)
    assert "2 entries have the id and the date" in fault
