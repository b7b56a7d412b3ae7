"""The records of a list in pages: which of them are one, and how the whole answer is written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crawler.domain.composing import Composition, NotWhole, RefusedPage
from tests.support.kinds import uhost_image
from tests.support.list_pages import KIND, TARGET, beyond, compose, page, paged, records


def test_records_of_other_zones_may_share_an_id() -> None:
    """The same id in two zones is two records, and no sign of a list that moved."""
    every = [uhost_image(number // 2, Zone=("hk-02", "hk-01")[number % 2]) for number in range(202)]

    document, _ = compose(paged(every))

    assert isinstance(document, dict)
    assert len(document["ImageSet"]) == 202


@pytest.mark.parametrize(("zone", "is_the_same"), [("hk-02", True), ("HK-02", True), ("", True), ("hk-01", False)])
def test_record_that_states_its_zone(zone: str, is_the_same: bool) -> None:
    """A record that states no zone is of the one that was asked, in any case."""
    every = [*records(100), uhost_image(5, Zone=zone)]
    if is_the_same:
        with pytest.raises(NotWhole, match=f"\\A{uhost_image(5)['ImageId']} is on two pages of the list"):
            compose(paged(every))
        return
    document, _ = compose(paged(every))

    assert document == page(every, 101)


def test_bare_ids() -> None:
    """A record may be an id alone; the same id in two sets is two records, and in one set on two pages one."""
    first = page(["uimage-a", "uimage-b"], 4)
    pages = {0: first, 2: page([], 4, EdgeImageSet=["uimage-a"]), 3: page(["uimage-c"], 4)}

    document, offsets = compose(lambda offset, limit: pages[offset])

    assert document == page(["uimage-a", "uimage-b", "uimage-c"], 4, EdgeImageSet=["uimage-a"])
    assert offsets == [0, 2, 3]
    with pytest.raises(NotWhole, match=r"\Auimage-a is on two pages of the list"):
        compose(lambda offset, limit: page(["uimage-c", "uimage-a"], 4) if offset else first)


def test_which_record_is_on_two_pages() -> None:
    """The record that came twice is named by its id, the first of several."""
    composition = Composition(TARGET, KIND, {})
    first, second = page(records(100), 150), page([*records(2, 5), *records(48, 102)], 150)
    for body in (first, second, first):
        composition.take(json.dumps(body).encode())
    with pytest.raises(NotWhole, match=f"\\A{uhost_image(5)['ImageId']} is on two pages of the list"):
        composition.take(json.dumps(second).encode())


def test_a_long_id_on_two_pages_is_told_short() -> None:
    """The id of a record that came twice is cut."""
    long = uhost_image(0, ImageId="u" * 500)

    with pytest.raises(NotWhole, match=r"\Au{80} is on two pages of the list"):
        compose(paged([long, *records(99, 1), long]))


def test_record_that_comes_again_later() -> None:
    """A record may not come again on any page, and not on the next one alone."""
    composition = Composition(TARGET, KIND, {})
    pages = [page(listed, 301) for listed in (records(100), records(100, 100), records(100, 200), records(1, 5))]
    for body in (*pages, *pages[:3]):
        assert composition.take(json.dumps(body).encode()) is None

    with pytest.raises(NotWhole, match=f"\\A{uhost_image(5)['ImageId']} is on two pages of the list"):
        composition.take(json.dumps(pages[3]).encode())


def test_record_without_a_list() -> None:
    """A set that is one record, and no list of it, is a list of one."""
    document, _ = compose(lambda offset, limit: page([], 1) | {"ImageSet": uhost_image(1)})

    assert isinstance(document, dict)
    assert document["ImageSet"] == [uhost_image(1)]


@pytest.mark.parametrize(
    ("sets", "joined"),
    [
        (["uimage-a", "uimage-b"], ["uimage-a", "uimage-b"]),
        ([["uimage-a"], "uimage-b"], ["uimage-a", "uimage-b"]),
        (["uimage-a", {"ImageId": "uimage-b"}], ["uimage-a", {"ImageId": "uimage-b"}]),
    ],
    ids=["each alone", "the last alone", "a record"],
)
def test_an_id_without_a_list(sets: list[Any], joined: list[Any]) -> None:
    """A set that is one id, and no list of it, is a list of one on every page."""
    document, offsets = compose(lambda offset, limit: page([], 2) | {"ImageSet": sets[offset]})

    assert document == page(joined, 2)
    assert offsets == [0, 1]


@pytest.mark.parametrize("nothing", [[], {}, "", None])
def test_a_set_that_holds_nothing(nothing: Any) -> None:
    """A set that is empty in any way lists no record."""
    document, offsets = compose(lambda offset, limit: page([], 0) | {"ImageSet": nothing})

    assert document == page([], 0)
    assert offsets == [0]


def test_what_pages_say_beside_their_lists() -> None:
    """Of what the pages say beside their lists the first statement counts, in any case; a later page may add to it."""
    every = records(150)

    def serve(offset: int, limit: int) -> dict[str, Any]:
        later: dict[str, Any] = {"MESSAGE": "second", "Later": [1]}
        said = later if offset else {"Message": "first", "Extra": {"Ratio": 1.5}}
        return page(every[offset : offset + limit], 150, **said)

    document, _ = compose(serve)

    assert document == page(every, 150, Message="first", Extra={"Ratio": 1.5}, Later=[1])


def test_records_stay_as_they_came() -> None:
    """Joined pages have each record in the cloud's own writing, numbers and escapes as they were."""
    composition = Composition(TARGET, KIND, {})
    first = b'{"RetCode": 0, "TotalCount": 2, "ImageSet": [ {"ImageId": "a", "Size": 1.50, "N": "\\u00fc"} ]}'
    assert composition.take(first) is None
    whole = composition.take(b'{"RetCode": 0, "TotalCount": 2, "ImageSet": [{"ImageId": "b"}]}')
    assert whole is not None
    assert b'[{"ImageId": "a", "Size": 1.50, "N": "\\u00fc"},{"ImageId": "b"}]' in whole


def test_what_stands_beside_the_records_stays_as_it_came() -> None:
    """What a page says beside its lists is written as the cloud wrote it."""
    whole = Composition(TARGET, KIND, {}).take(b'{"RetCode": 0, "Extra": {"Ratio": 1.50}, "ImageSet": []}')

    assert whole == b'{"RetCode":0,"Extra":{"Ratio": 1.50},"ImageSet":[]}'


def test_pages_that_are_no_strict_json() -> None:
    """Pages with what JSON does not know, such as NaN, make a list as others do, and one that comes twice is none."""
    bodies = [
        b'{"RetCode": 0, "TotalCount": 2, "ImageSet": [{"ImageId": "%s", "Ratio": NaN, "N": [1, 2]}]}' % image_id
        for image_id in (b"a", b"b")
    ]
    composition = Composition(TARGET, KIND, {})

    assert composition.take(bodies[0]) is None
    assert composition.take(bodies[1]) == (
        b'{"RetCode":0,"TotalCount":2,"ImageSet":'
        b'[{"ImageId":"a","Ratio":NaN,"N":[1,2]},{"ImageId":"b","Ratio":NaN,"N":[1,2]}]}'
    )
    composition = Composition(TARGET, KIND, {})
    for _ in range(3):
        assert composition.take(bodies[0]) is None
    with pytest.raises(NotWhole, match=r"\Aa is on two pages of the list"):
        composition.take(bodies[0])


# --- pages that say themselves whether there are more ----------------------------------------------------------------


def saying(told: Any, size: int = 40, *, count: int = 90, total: int | None = None, at_end: Any = None) -> Any:
    """Return a server of *count* records whose pages say *told* while there are more, and *at_end* on the others."""
    serve = paged(records(count), size=size, total=total, end=beyond() if at_end == "refusal" else None)

    def page_at(offset: int, limit: int) -> Any:
        answer = serve(offset, limit)
        if isinstance(answer, RefusedPage):
            return answer
        is_last = offset + len(answer["ImageSet"]) >= count and at_end != "refusal"
        return answer | (({} if at_end is None else {"HasMore": at_end}) if is_last else {"HasMore": told})

    return page_at


@pytest.mark.parametrize("at_end", [None, False])
@pytest.mark.parametrize("total", [None, 90])
def test_pages_that_say_that_there_are_more(total: int | None, at_end: Any) -> None:
    """A page that says so is not the last one, whatever else it looks like; of the whole list it says nothing."""
    document, offsets = compose(saying(True, 43, total=total, at_end=at_end))

    assert isinstance(document, dict)
    assert document["ImageSet"] == records(90)
    assert document.get("HasMore") == at_end
    assert len(offsets) >= 3


def test_more_that_never_come() -> None:
    """Where the last page says that there are more, and nothing comes, or a refusal, the list is not whole."""
    with pytest.raises(NotWhole, match="the list ends after 90, and says with HasMore that there is more"):
        compose(saying(True, at_end=True))
    refusal, _ = compose(saying(True, at_end="refusal"))
    assert isinstance(refusal, RefusedPage)


def test_more_is_tolerated() -> None:
    """Where the account tolerates counts, what pages say of more does not count."""
    composition = Composition(TARGET, KIND, {}, ["count"])
    whole = composition.take(json.dumps(page(records(3), 3, NextToken="x")).encode())
    assert whole is not None
    assert json.loads(whole) == page(records(3), 3)
