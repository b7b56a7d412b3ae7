"""Bars and the links of pages: places in percent, relative addresses, from a server and from files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from xml.etree.ElementTree import fromstring

from crawler.web.bars import Axis, PictureRow, Segment, picture, rectangles, ticks
from crawler.web.links import Links

BEGIN = datetime(2026, 6, 1, tzinfo=UTC)
AXIS = Axis(BEGIN, BEGIN + timedelta(days=10))


def test_places() -> None:
    """A segment stands where its time is, cut at the ends, and never too narrow to be seen; its title is text."""
    day = timedelta(days=1)
    bar = rectangles(
        AXIS,
        [
            Segment("a", BEGIN - day, BEGIN + 5 * day, "<b>"),
            Segment("u", BEGIN + 5 * day, BEGIN + 5 * day),
            Segment("d", BEGIN + 9 * day, BEGIN + 20 * day, share=0.5),
            Segment("a", BEGIN + 20 * day, BEGIN + 30 * day),
        ],
    )
    first, second, third = fromstring(f"<svg>{bar}</svg>")

    assert (first.get("x"), first.get("width"), first.findtext("title")) == ("0%", "50%", "<b>")
    assert (second.get("x"), second.get("width")) == ("50%", "0.25%")
    assert (third.get("x"), third.get("width"), third.get("y"), third.get("height")) == ("90%", "10%", "9", "9")


def test_ticks() -> None:
    """A few days are named, whatever the length, and none at the very ends."""
    for days in (1, 2, 10, 90, 365, 2000):
        marks = ticks(Axis(BEGIN, BEGIN + timedelta(days=days)), UTC)
        assert len(marks) <= 8
        assert all(2 <= mark.at <= 98 for mark in marks)
    assert [mark.label for mark in ticks(AXIS, UTC)][:2] == ["06-02", "06-04"]
    day = Axis(BEGIN - timedelta(hours=5), BEGIN + timedelta(hours=19))
    assert [mark.label for mark in ticks(day, UTC)] == ["06-01", "06:00", "12:00", "18:00"]


def test_a_picture_stands_alone() -> None:
    """A file has its own style, and no element or attribute that leads anywhere."""
    whole = picture("A & B", AXIS, [PictureRow("<hk>", [Segment("a", *AXIS)], "id")], [("a", "ids")], UTC)
    root = fromstring(whole)

    assert root.findtext("{http://www.w3.org/2000/svg}title") == "A & B"
    assert "href" not in whole


def test_links_of_a_kind() -> None:
    """Another kind is a part of the question to a server, and a folder of files; lost pages lead to now."""
    live = Links(here="names/ubuntu-20.04", language="zh", is_live=True, kind="uhost-image")
    assert live.to("now", q="x") == "../../zh/now?kind=uhost-image&q=x"
    assert (live.of_kind(""), live.of_kind("phost-image")) == ("../../zh/now", "../../zh/now?kind=phost-image")
    file = Links(here="now", language="zh", is_live=False, kind="uhost-image")
    assert (file.path, file.asset("page.css")) == ("zh/uhost-image/now.html", "../../assets/page.css")
    assert (file.of_kind(""), file.in_language("en")) == ("../../zh/now.html", "../../uhost-image/now.html")
    assert file.name("a b") == "../../zh/uhost-image/names/a-b.html"


def test_links() -> None:
    """Links are relative, from wherever a page stands; files have their endings, and percent signs are encoded."""
    deep = Links(here="names/ubuntu-20.04", language="zh", is_live=True)
    assert deep.to("now", at="7d", q="") == "../../zh/now?at=7d"
    assert deep.in_language("en") == "../../names/ubuntu-20.04"
    assert deep.asset("page.css") == "../../assets/page.css"
    assert deep.to() == "../../zh/"
    top = Links(here="", language="en", is_live=True)
    assert (top.to(), top.to("changes", "c1"), top.name("a/b")) == ("./", "changes#c1", "names/a%252Fb")
    assert top.name(" ") == ""
    file = Links(here="changes/2026-11-23", language="en", is_live=False)
    assert (file.to(), file.to("now"), file.path) == ("../index.html", "../now.html", "changes/2026-11-23.html")
    assert file.in_language("zh") == "../zh/changes/2026-11-23.html"
