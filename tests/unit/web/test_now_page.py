"""The page of what is available: in which order its names are, and the way through many of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from crawler.domain.models import normalise_name
from crawler.queries.overview import Listed, ListedName, ZoneState
from crawler.queries.publish import RegionZone
from crawler.web.now_page import Matrix, cell_of, names_in
from crawler.web.wording import wording


def test_names_as_people_count() -> None:
    """9.04 stands before 10.04, whatever the zeros; a number of any length is one."""
    spelled = ["b 10.04", "b 9.04", "b 9.4", "a", "b 009.05", f"b {'9' * 5000}", "b", "²", "١٠"]
    found = names_in(ListedName("ImageSet", name, name) for name in spelled)

    assert [key[1] for key in found][1:7] == ["a", "b", "b 9.04", "b 9.4", "b 009.05", "b 10.04"]
    assert len(found) == len(spelled)


def test_the_way_through_many_pages() -> None:
    """The first, the last and a few pages around are there to go to, and a gap stands for the others."""

    def near(page: int, pages: int) -> list[int]:
        return list(Matrix(heads=(), rows=(), names=0, page=page, pages=pages).near)

    assert near(1, 1) == [1]
    assert near(2, 4) == [1, 2, 3, 4]
    assert near(40, 75) == [1, 0, 37, 38, 39, 40, 41, 42, 43, 0, 75]
    assert near(75, 75) == [1, 0, 72, 73, 74, 75]


def test_what_has_no_name_supersedes_nothing() -> None:
    """Of the images of a name that a zone lists the newest supersedes the others; one without is its own."""
    place, came = RegionZone("hk", "hk-02"), datetime(2026, 6, 1, tzinfo=UTC)
    zone = ZoneState(place=place, reason=None, since=None, observed_at=came, message="", targets=1, known=1)

    def states(name: str) -> list[tuple[str, str]]:
        key = normalise_name(name)
        rows = [
            Listed(place, "ImageSet", key, name, image_id, came + timedelta(days=days), None)
            for days, image_id in enumerate(("uimage-a", "uimage-b"))
        ]
        cell = cell_of(rows, zone, None, wording("en", ZoneInfo("UTC"), came))
        return [(image.image_id, image.state) for image in cell.images]

    assert states("Mint") == [("uimage-b", "present"), ("uimage-a", "older")]
    assert states("") == states("  ") == [("uimage-b", "present"), ("uimage-a", "present")]
