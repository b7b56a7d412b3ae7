"""The page of what is available: in which order its names are, and the way through many of them."""

from __future__ import annotations

from crawler.queries.overview import ListedName
from crawler.web.now_page import Matrix, names_in


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
