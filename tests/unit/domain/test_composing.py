"""The pages of a list: what makes one whole answer, and what makes none."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from crawler.domain.composing import Composition, NotWhole, RefusedPage
from crawler.domain.kinds import KINDS, Paging
from crawler.domain.models import Target
from crawler.domain.objections import Tolerable
from crawler.domain.parsing import MAX_RECORDS
from crawler.errors import NotUnderstood
from tests.support.kinds import uhost_image
from tests.support.list_pages import KIND, TARGET, Server, beyond, compose, page, paged, records

INSTANCE_TYPES = Target("prod", "org-a", "hk", "hk-02", "instance-type")
UNKNOWN = RefusedPage(ret_code=161, message="Action not found", is_of_product=False, is_passing=False)


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [
        (0, None, [0]),
        (99, None, [0]),
        (100, None, [0, 100]),
        (101, None, [0, 100]),
        (200, None, [0, 100]),
        (250, None, [0, 100, 200]),
        (120, 50, [0, 50, 100]),
        (100, 50, [0, 50]),
        (7, 1, [0, 1, 2, 3, 4, 5, 6]),
    ],
)
@pytest.mark.parametrize("end", [None, beyond()], ids=["empty page", "refusal"])
def test_pages(count: int, size: int | None, expected: list[int], end: Any) -> None:
    """Offset advances by the records received, however many a page gives; only a full page one has one more asked."""
    document, offsets = compose(paged(records(count), size=size, end=end))

    assert isinstance(document, dict)
    assert document["ImageSet"] == records(count)
    assert document.get("TotalCount") == count
    assert offsets == expected


@pytest.mark.parametrize("end", [None, beyond("the Offset is out of range")], ids=["empty page", "refusal"])
@pytest.mark.parametrize(("count", "size"), [(50, 50), (100, 50), (130, 50), (100, None), (230, None)])
def test_no_total(count: int, size: int | None, end: Any) -> None:
    """Where nobody states the total, a list in full pages is read until nothing comes."""
    document, _ = compose(paged(records(count), size=size, total=None, end=end))

    assert isinstance(document, dict)
    assert len(document["ImageSet"]) == count


@pytest.mark.parametrize(
    "told",
    [
        lambda rows: {"Data": {"ImageSet": rows}},
        lambda rows: {"Images": {row["ImageId"]: row for row in rows}},
    ],
    ids=["wrapped", "by id"],
)
def test_a_later_page_in_another_form(told: Callable[[Any], dict[str, Any]]) -> None:
    """A page whose records stand where no page had any before is not the empty one that ends a list without a total."""
    listed = records(150)

    def serve(offset: int, limit: int) -> dict[str, Any]:
        return {"RetCode": 0, **told(listed[100:])} if offset else page(listed[:limit], None)

    with pytest.raises(NotWhole, match="a page has none of the sets of DescribeImage, but objects under"):
        compose(serve)


def test_a_later_page_in_another_form_is_told_short() -> None:
    """The name of the member that nobody knows is cut."""
    listed = records(150)
    told = {"RetCode": 0, "G" * 500: {"ImageSet": listed[100:]}}

    with pytest.raises(NotWhole, match=rf"objects under {'G' * 80}, also"):
        compose(lambda offset, limit: told if offset else page(listed[:limit], None))


def test_a_later_page_under_another_name() -> None:
    """Records that are read count, whatever the list of their page is called."""
    listed = records(150)

    def serve(offset: int, limit: int) -> dict[str, Any]:
        here = page(listed[offset : offset + limit], None)
        return {"RetCode": 0, "Images": here["ImageSet"]} if offset == 100 else here

    document, _ = compose(serve)
    assert isinstance(document, dict)
    assert document["ImageSet"] + document["Images"] == listed


def test_what_every_page_has_beside_its_list() -> None:
    """An empty page without a set ends a list, whatever else it holds that the pages before it held as well."""
    links = {"Links": [{"Rel": "self"}]}

    def serve(offset: int, limit: int) -> dict[str, Any]:
        return {"RetCode": 0, **links} if offset else page(records(limit), None, **links)

    document, _ = compose(serve)
    assert isinstance(document, dict)
    assert document["ImageSet"] == records(100)


def test_short_page_behind_a_full_one() -> None:
    """Where nobody states the total, a list that came in pages ends with an empty one, however short the last was."""
    _, offsets = compose(paged(records(155), total=None))
    assert offsets == [0, 100, 155]

    _, offsets = compose(paged(records(55), total=None))
    assert offsets == [0]


@pytest.mark.parametrize(
    ("count", "served", "limit", "expected"),
    [
        (24, 25, 25, [0]),
        (25, 25, 25, [0, 25]),
        (105, 105, 100, [0, 105]),
        (99, 105, 100, [0]),
    ],
    ids=["not full", "full", "more than was asked for", "less than was asked for"],
)
def test_a_full_page_without_a_total(count: int, served: int, limit: int, expected: list[int]) -> None:
    """Where nobody states the total, one more is asked behind a page that is full, whatever the Limit is."""
    every = records(count)

    document, offsets = compose(
        lambda offset, limit: page(every[offset:][:served], None), kind=replace(KIND, paging=Paging(limit=limit))
    )

    assert isinstance(document, dict)
    assert document["ImageSet"] == every
    assert offsets == expected


@pytest.mark.parametrize(
    ("count", "expected"), [(99, [0]), (130, [0, 100, 130]), (200, [0, 100, 200]), (230, [0, 100, 200, 230])]
)
def test_each_page_counts_itself(count: int, expected: list[int]) -> None:
    """A TotalCount that is the size of the page says nothing about the list, which is read to its end."""
    every = records(count)

    def serve(offset: int, limit: int) -> dict[str, Any]:
        here = every[offset : offset + limit]
        return page(here, len(here))

    document, offsets = compose(serve)

    assert isinstance(document, dict)
    assert document["ImageSet"] == every
    assert document.get("TotalCount") in (None, count)
    assert offsets == expected


@pytest.mark.parametrize(("count", "total"), [(55, 7), (55, 0), (55, 1), (155, 7), (155, 0)])
def test_a_total_that_counts_something_else(count: int, total: int) -> None:
    """A total of less than is listed is none: the list is read and written as if nobody had stated one."""
    document, offsets = compose(paged(records(count), total=total))

    assert isinstance(document, dict)
    assert document["ImageSet"] == records(count)
    assert "TotalCount" not in document
    assert offsets == ([0] if count < 100 else [0, 100, 155])


@pytest.mark.parametrize(
    ("first", "later", "expected"), [(150, None, [0, 100]), (150, 0, [0, 100]), (None, 150, [0, 100, 150])]
)
def test_a_total_that_some_pages_state(first: int | None, later: int | None, expected: list[int]) -> None:
    """A later page need not state the total, or counts nothing; one that the first does not state is none."""
    every = records(150)

    document, offsets = compose(
        lambda offset, limit: page(every[offset : offset + limit], later if offset else first),
    )

    assert isinstance(document, dict)
    assert document["ImageSet"] == every
    assert document.get("TotalCount") == first
    assert offsets == expected


@pytest.mark.parametrize("later", [1, 50, 149, 151])
def test_another_total_on_a_later_page(later: int) -> None:
    """Another total on a later page is a list that moved, also where it is the number of records of that page."""
    every = records(150)

    with pytest.raises(NotWhole) as caught:
        compose(lambda offset, limit: page(every[offset : offset + limit], later if offset else 150))
    assert str(caught.value) == (
        f"the number of records was 150, and then {later}, while they were read, also when it was read once more"
    )


def _repeating(listed: Sequence[Any], *, size: int = 100, total: int | None = -1) -> Server:
    """Return a server that sends every record of a page twice, and counts each once."""
    once = paged(listed, size=size, total=total, end=beyond())

    def serve(offset: int, limit: int) -> dict[str, Any] | RefusedPage:
        answer = once(offset, limit)
        if isinstance(answer, RefusedPage):
            return answer
        return answer | {"ImageSet": [record for record in answer["ImageSet"] for _ in range(2)]}

    return serve


@pytest.mark.parametrize("total", [-1, None], ids=["total", "no total"])
@pytest.mark.parametrize("size", [100, 50, 30], ids=["pages of 100", "pages of 50", "pages of 30"])
@pytest.mark.parametrize("count", [5, 44, 50, 60, 100, 120, 150, 200, 250, 400])
def test_a_page_that_repeats_its_own_records(count: int, size: int, total: int | None) -> None:
    """A record that a page lists twice takes one place in the list: Offset passes over no other because of it."""
    document, offsets = compose(_repeating(records(count), size=size, total=total))

    assert isinstance(document, dict)
    assert {record["ImageId"] for record in document["ImageSet"]} == {record["ImageId"] for record in records(count)}
    assert len(offsets) == len(set(offsets))


@pytest.mark.parametrize(
    ("count", "total", "counted", "expected"),
    [
        (44, 44, 44, [0]),
        (50, 50, 50, [0]),
        (100, 100, 100, [0, 100]),
        (22, 44, None, [0, 22]),
        (25, 50, None, [0, 25]),
        (44, None, None, [0]),
        (50, None, None, [0, 50]),
        (60, None, None, [0, 60]),
    ],
)
def test_when_repeated_records_are_all(count: int, total: int | None, counted: int | None, expected: list[int]) -> None:
    """A page that lists each record twice is the whole list where it counts each once; else more is asked for."""
    document, offsets = compose(_repeating(records(count), total=total))

    assert isinstance(document, dict)
    assert document["ImageSet"] == [record for record in records(count) for _ in range(2)]
    assert document.get("TotalCount") == counted
    assert offsets == expected


def test_a_page_that_repeats_records_without_an_id() -> None:
    """Where a page repeats its records, one that nothing identifies takes one place as well."""
    every = [{**record, "ImageId": None} if number % 37 == 0 else record for number, record in enumerate(records(150))]

    document, offsets = compose(_repeating(every))

    assert isinstance(document, dict)
    assert len(document["ImageSet"]) == 300
    assert offsets == [0, 100]


def test_records_alike_without_an_id() -> None:
    """Records that nothing identifies are as many as are listed, where no other is listed twice."""
    every = [{"State": "Available"} if number < 7 else record for number, record in enumerate(records(150))]

    document, offsets = compose(paged(every))

    assert isinstance(document, dict)
    assert document["ImageSet"] == every
    assert offsets == [0, 100]


@pytest.mark.parametrize("size", [100, 22], ids=["pages of 100", "pages of 22"])
def test_a_total_that_is_what_a_page_repeats(size: int) -> None:
    """A total that the first page reaches only with what it repeats may count that page alone, and ends no list."""
    document, offsets = compose(_repeating(records(size * 2 + 30), size=size, total=size * 2))

    assert isinstance(document, dict)
    assert len(document["ImageSet"]) == 2 * (size * 2 + 30)
    assert offsets[:3] == [0, size, size * 2]


@pytest.mark.parametrize("total", [-1, None], ids=["total", "no total"])
@pytest.mark.parametrize(("count", "again"), [(55, 5), (30, 30), (50, 3)])
def test_a_list_that_holds_a_record_twice(count: int, again: int, total: int | None) -> None:
    """A list in one page may hold records twice and count them so: what lies at the Offset is the rest of it."""
    every = [*records(count), *records(again)]

    document, offsets = compose(paged(every, total=total))

    assert isinstance(document, dict)
    assert document["ImageSet"][: count + again] == every
    assert {record["ImageId"] for record in document["ImageSet"]} == {record["ImageId"] for record in every}
    assert offsets == [0, count]


@pytest.mark.parametrize(
    ("rest", "total"),
    [
        (records(6), 60),
        (records(4), 60),
        ([*records(4), {"State": "Available"}], 60),
        ([*records(4), uhost_image(99)], 60),
        (records(5), 250),
    ],
    ids=["more", "fewer", "unreadable", "another", "of a longer list"],
)
def test_what_is_no_rest_of_a_page(rest: list[Any], total: int) -> None:
    """Records that came before are the rest of a page that repeats its own only where all did, and as many."""
    first = page([*records(55), *records(5)], total)

    with pytest.raises(NotWhole, match=f"\\A{uhost_image(1)['ImageId']} is on two pages of the list"):
        compose(lambda offset, limit: page(rest, total) if offset else first)


def test_a_long_list_that_holds_its_records_twice() -> None:
    """A list in several pages that holds records twice overlaps, and is none."""
    with pytest.raises(NotWhole, match="is on two pages of the list"):
        compose(paged([record for record in records(80) for _ in range(2)]))


def test_repeated_records_and_a_count_of_nothing_at_the_end() -> None:
    """Behind a full page that repeats its records, a page of nothing that counts nothing ends the list."""
    repeating = _repeating(records(100))

    document, offsets = compose(lambda offset, limit: page([], 0) if offset else repeating(offset, limit))

    assert isinstance(document, dict)
    assert len(document["ImageSet"]) == 200
    assert offsets == [0, 100]


def test_nothing_behind_a_page_that_reached_the_total_with_what_it_repeats() -> None:
    """A total that the first page reached only with what it repeats contradicts an empty page behind it."""
    repeating = _repeating(records(10), size=5)

    with pytest.raises(NotWhole, match="the list ends after 5 of 10 records, also when it was read once more"):
        compose(lambda offset, limit: page([], 10) if offset else repeating(offset, limit))


def test_another_total_behind_a_page_that_reached_it_with_what_it_repeats() -> None:
    """A later page that states another total than such a page is one of a list that moved."""
    repeating = _repeating(records(10), size=5)

    with pytest.raises(NotWhole, match=r"\Athe number of records was 10, and then 9, while they were read"):
        compose(lambda offset, limit: page(records(4, 20), 9) if offset else repeating(offset, limit))


def test_pages_that_repeat_their_records_and_count_what_they_send() -> None:
    """Where each page counts what it sends, with what it repeats, the list is read to its end."""
    every = records(230)

    def serve(offset: int, limit: int) -> dict[str, Any]:
        here = [record for record in every[offset : offset + limit] for _ in range(2)]
        return page(here, len(here))

    document, offsets = compose(serve)

    assert isinstance(document, dict)
    assert {record["ImageId"] for record in document["ImageSet"]} == {record["ImageId"] for record in every}
    assert offsets == [0, 100, 200, 230]


def test_a_growing_list_is_read_once_more() -> None:
    """A TotalCount that moves between the pages has the list read again, from the start."""
    asked: list[int] = []

    def serve(offset: int, limit: int) -> dict[str, Any]:
        asked.append(offset)
        every = records(150 if len(asked) == 1 else 151)
        return page(every[offset : offset + limit], len(every))

    document, offsets = compose(serve)

    assert isinstance(document, dict)
    assert len(document["ImageSet"]) == 151
    assert offsets == [0, 100, 0, 100]


def test_a_full_list_that_grows_is_read_once_more() -> None:
    """A list whose only page is full, and that has one more record behind it by then, is read again."""
    asked: list[int] = []

    def serve(offset: int, limit: int) -> dict[str, Any]:
        asked.append(offset)
        every = records(100 if len(asked) == 1 else 101)
        return page(every[offset : offset + limit], len(every))

    document, offsets = compose(serve)

    assert isinstance(document, dict)
    assert document == page(records(101), 101)
    assert offsets == [0, 100, 0, 100]


def _always_growing() -> Server:
    asked: list[int] = []

    def serve(offset: int, limit: int) -> dict[str, Any]:
        asked.append(offset)
        every = records(200 + len(asked))
        return page(every[offset : offset + limit], len(every))

    return serve


def _shifted(offset: int, limit: int) -> dict[str, Any]:
    every = records(250)
    return page(every[max(0, offset - 1) :][:limit], 250)


@pytest.mark.parametrize(
    ("begin", "said"),
    [
        (_always_growing, "the number of records was 203, and then 204, while they were read"),
        (lambda: lambda offset, limit: page(records(100)[offset:], 250), "the list ends after 100 of 250 records"),
        (lambda: lambda offset, limit: page([], 1), "the list ends after 0 of 1 record"),
        (lambda: lambda offset, limit: page(records(100), 250), "a page of the list came twice"),
        (lambda: _shifted, "uimage-u00099 is on two pages of the list, which moved while it was read"),
        (
            lambda: lambda offset, limit: page(records(9), 10, Zone="hk-03"),
            "the answer is about another Zone: hk-03, not hk-02",
        ),
        (
            lambda: lambda offset, limit: page(records(9), 9, Action="DescribeUHostResponse"),
            "the answer is one to another question: its Action is DescribeUHostResponse, not DescribeImageResponse",
        ),
    ],
    ids=["moves", "short", "nothing", "repeated", "shifted", "echo", "action"],
)
def test_no_whole(begin: Callable[[], Server], said: str) -> None:
    """A list that is short, repeated, shifted, of another question, or moves again when it is read again, is none."""
    with pytest.raises(NotWhole) as caught:
        compose(begin())
    assert str(caught.value) == f"{said}, also when it was read once more"


@pytest.mark.parametrize("size", [100, MAX_RECORDS + 1])
def test_an_endless_list(size: int) -> None:
    """Of one list so many records are read, and no more, in whatever pages they come."""
    ids = [f"uimage-{number}" for number in range(MAX_RECORDS + size)]

    def serve(offset: int, limit: int) -> dict[str, Any]:
        return page(ids[offset : offset + size], len(ids))

    with pytest.raises(NotUnderstood) as caught:
        compose(serve)
    assert str(caught.value) == "the list has more than 10,000 records, which is more than are read"


def test_as_many_records_as_are_read() -> None:
    """A list of as many records as are read is whole."""
    ids = [f"uimage-{number}" for number in range(MAX_RECORDS)]

    document, offsets = compose(lambda offset, limit: page(ids, MAX_RECORDS))

    assert isinstance(document, dict)
    assert document["ImageSet"] == ids
    assert offsets == [0]


@pytest.mark.parametrize("total", [-1, None], ids=["total", "no total"])
@pytest.mark.parametrize(
    "end",
    [
        beyond(),
        beyond("OUT OF RANGE"),
        beyond("偏移量大于总数"),
        RefusedPage(ret_code=230, message="Params [Offset] not available", is_of_product=False, is_passing=False),
    ],
    ids=["product", "capitals", "Chinese", "parameter"],
)
def test_a_refused_page_is_the_end(end: RefusedPage, total: int | None) -> None:
    """A refusal that speaks of the Offset behind all records ends the list: the product's, or one for good."""
    document, offsets = compose(paged(records(100), total=total, end=end))

    assert document == page(records(100), None if total is None else 100)
    assert offsets == [0, 100]


@pytest.mark.parametrize(
    ("refusal", "at", "total"),
    [
        (beyond(), 100, 250),
        (beyond(), 200, 201),
        (beyond("product trouble", 8010), 100, 250),
        (
            RefusedPage(ret_code=230, message="Params [Offset] not available", is_of_product=False, is_passing=False),
            100,
            250,
        ),
        (RefusedPage(ret_code=None, message="HTTP 502", is_of_product=False, is_passing=True), 200, None),
        (RefusedPage(ret_code=None, message="offset exceeded", is_of_product=False, is_passing=False), 200, None),
        (RefusedPage(ret_code=150, message="offset service is down", is_of_product=False, is_passing=True), 200, None),
        (beyond(), 0, None),
    ],
)  # fmt: skip
def test_a_refused_page_is_no_end(refusal: RefusedPage, at: int, total: int | None) -> None:
    """A refusal of the first page, before the total is reached, or of the network or the gateway, ends no list."""
    every = paged(records(250), total=total)

    said, offsets = compose(lambda offset, limit: refusal if offset >= at else every(offset, limit))

    assert said == refusal
    assert offsets[-1] == at


@pytest.mark.parametrize("total", [None, 100], ids=["no number", "number of the page"])
@pytest.mark.parametrize(
    "message",
    [
        "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
        "request rate limit exceeded",
        "Quota exceeds the limit, try again later",
        "请求超过频率限制",
        "后端超时，超过 30 秒",
        "Too many requests: exceeds 20 in total",
        "the number of requests exceeds the maximum",
        "max retries exceeded with url: /image/list",
        "请求数超过上限",
        "并发超出限制",
        "runtime error: index out of range [3] with length 3",
        "panic: slice bounds out of range [:12] with capacity 8",
    ],
)
def test_what_exceeds_a_time_or_a_rate_is_no_end(message: str, total: int | None) -> None:
    """
    A time, a rate or a quota that is exceeded ends no list, nor does what broke in the server, also where nobody knows
    how many records there are.
    """
    every = paged(records(130), total=total)
    trouble = beyond(message, 8010)

    said, _ = compose(lambda offset, limit: trouble if offset else every(offset, limit))

    assert said == trouble


def test_a_refusal_that_ends_a_list_counts_as_a_page() -> None:
    """A list that a refusal ends came in pages, as with an empty last one: what it lacks is read once more."""
    composition = Composition(TARGET, KIND, {})
    assert composition.take(json.dumps(page(records(100), None)).encode()) is None

    assert isinstance(composition.refused(beyond()), bytes)
    assert composition.answers == 2


def test_trouble_at_the_end_is_no_end() -> None:
    """Behind a page that is exactly full a refusal ends the list only where it speaks of that: others pass."""
    every = paged(records(100))
    trouble = beyond("backend error", 8010)

    said, _ = compose(lambda offset, limit: trouble if offset else every(offset, limit))

    assert said == trouble


def test_a_count_that_is_too_large_is_tolerated() -> None:
    """Where the account says so, a list that ends before its TotalCount is whole; else it is read again."""
    for tolerated in ((), ("count",)):
        composition = Composition(TARGET, KIND, {}, tolerated)  # type: ignore[arg-type] # of the words of a check
        answers = [json.dumps(page(records(100), 250)).encode(), json.dumps(page([], 250)).encode()]
        taken = [composition.take(body) for body in answers]
        assert (taken[1] is not None) == bool(tolerated)


@pytest.mark.parametrize(
    ("tolerated", "stated"), [("echo", {"Zone": "hk-03"}), ("action", {"Action": "DescribeUHostResponse"})]
)
def test_what_a_page_says_of_itself_is_tolerated(tolerated: Tolerable, stated: dict[str, str]) -> None:
    """Where the account says so, and for that alone, a page may be about another zone or to another action."""
    body = json.dumps(page(records(9), 9, **stated)).encode()

    assert Composition(TARGET, KIND, {}, [tolerated]).take(body) is not None
    assert Composition(TARGET, KIND, {}, ["count", "foreign"]).take(body) is None


@pytest.mark.parametrize("action", ["DescribeImage", "ListImagesResponse", "listimages"])
def test_an_answer_by_another_name(action: str) -> None:
    """An answer may call itself by another name that its kind knows for the action."""
    document, offsets = compose(
        lambda offset, limit: page(records(9), 9, Action=action), kind=replace(KIND, aliases=("ListImages",))
    )

    assert document == page(records(9), 9, Action=action)
    assert offsets == [0]


def test_what_is_no_object() -> None:
    """An answer that is no JSON object is not understood, in these words."""
    with pytest.raises(NotUnderstood, match=r"\Athe answer is not a JSON object\Z"):
        Composition(TARGET, KIND, {}).take(b"[]")


def test_no_other_action() -> None:
    """Of a kind that knows one action, no other is asked where the cloud does not know that."""
    composition = Composition(TARGET, KIND, {})

    assert composition.refused(UNKNOWN) is None
    assert composition.question.action == "DescribeImage"


def test_the_other_action() -> None:
    """Where the cloud does not know an action, and only there, the one instead of it is asked."""
    composition = Composition(INSTANCE_TYPES, KINDS["instance-type"], {})

    assert composition.refused(beyond()) is None
    assert composition.refused(UNKNOWN) == "asked otherwise"
    assert composition.question.action == "DescribeAvailableInstanceTypes"
    assert composition.refused(UNKNOWN) is None
    whole = composition.take(b'{"RetCode":0,"AvailableInstanceTypes":[]}')
    assert json.loads(whole or b"")["Action"] == "DescribeAvailableInstanceTypesResponse"


def test_an_action_that_is_named() -> None:
    """An answer that names its action is written as it came."""
    composition = Composition(INSTANCE_TYPES, KINDS["instance-type"], {})
    composition.refused(UNKNOWN)

    body = b'{"RetCode":0,"ACTION":"describeAvailableInstanceTypes","AvailableInstanceTypes":[{"Name":"A"}]}'
    assert composition.take(body) == body
    assert composition.answers == 1


@pytest.mark.parametrize("stated", [b'""', b'" "', b"null"])
def test_an_action_that_is_not_named(stated: bytes) -> None:
    """An answer whose Action is empty is as good as one without: which of two actions gave it is written into it."""
    composition = Composition(INSTANCE_TYPES, KINDS["instance-type"], {})
    whole = composition.take(b'{"RetCode":0,"Zone":"hk-02","action":%s,"AvailableInstanceTypes":[]}' % stated)

    assert whole == (
        b'{"RetCode":0,"Zone":"hk-02","Action":"GetUK8SAvailableInstanceTypesResponse","AvailableInstanceTypes":[]}'
    )
