"""Pages and follow-ups: what makes one whole answer, and what makes none."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from crawler.domain.composing import Composition, NotWhole, RefusedPage
from crawler.domain.kinds import KINDS, Kind
from crawler.domain.models import Target
from crawler.domain.objections import Tolerable
from crawler.domain.parsing import MAX_RECORDS
from crawler.errors import NotUnderstood
from tests.support.kinds import uhost_image

KIND = KINDS["uhost-image"]
TARGET = Target("prod", "org-a", "hk", "hk-02", "uhost-image")

Server = Callable[[int, int], "dict[str, Any] | RefusedPage"]


def records(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [uhost_image(number) for number in range(first, first + count)]


def page(listed: Sequence[Any], total: int | None, **more: Any) -> dict[str, Any]:
    counts = {} if total is None else {"TotalCount": total}
    document = {"RetCode": 0, "Action": "DescribeImageResponse", **counts, "ImageSet": list(listed)}
    return document | more


def beyond(message: str = "Offset exceeds the total", ret_code: int = 8039) -> RefusedPage:
    return RefusedPage(ret_code=ret_code, message=message, is_of_product=ret_code >= 2000, is_passing=ret_code >= 2000)


def paged(listed: Sequence[Any], *, size: int | None = None, total: int | None = -1, end: Any = None) -> Server:
    """Return a server of *listed*, *size* records a page; it states *total* (None: nothing; -1: the truth)."""

    def serve(offset: int, limit: int) -> dict[str, Any] | RefusedPage:
        here = listed[offset : offset + min(limit, size or limit)]
        if offset and not here and end is not None:
            refused: RefusedPage = end
            return refused
        return page(here, len(listed) if total == -1 else total)

    return serve


def compose(serve: Server, *, kind: Kind = KIND, most: int = 400) -> tuple[dict[str, Any] | RefusedPage, list[int]]:
    """Ask until there is a whole answer, or a refusal that ends nothing; give it, and the offsets that were asked."""
    composition = Composition(TARGET, kind, {})
    offsets: list[int] = []
    while len(offsets) < most:
        params = composition.question.params
        offsets.append(int(params["Offset"]))
        answer = serve(offsets[-1], int(params["Limit"]))
        if isinstance(answer, RefusedPage):
            said = composition.refused(answer)
            if said is None:
                return answer, offsets
            whole = said if isinstance(said, bytes) else None
        else:
            whole = composition.take(json.dumps(answer).encode())
        if whole is not None:
            document: dict[str, Any] = json.loads(whole)
            return document, offsets
    raise AssertionError("it asks for ever")


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [
        (0, None, [0]),
        (99, None, [0]),
        (100, None, [0, 100]),
        (101, None, [0, 100]),
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


def test_short_page_behind_a_full_one() -> None:
    """Where nobody states the total, a list that came in pages ends with an empty one, however short the last was."""
    _, offsets = compose(paged(records(155), total=None))
    assert offsets == [0, 100, 155]

    _, offsets = compose(paged(records(55), total=None))
    assert offsets == [0]


def test_each_page_counts_itself() -> None:
    """A TotalCount that is the size of the page says nothing about the list, which is read to its end."""
    every = records(230)

    def serve(offset: int, limit: int) -> dict[str, Any]:
        here = every[offset : offset + limit]
        return page(here, len(here))

    document, _ = compose(serve)

    assert isinstance(document, dict)
    assert len(document["ImageSet"]) == 230


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
def test_a_list_that_holds_a_record_twice(total: int | None) -> None:
    """A list in one page may hold records twice and count them so: what lies at the Offset is the rest of it."""
    every = [*records(55), *records(5)]

    document, offsets = compose(paged(every, total=total))

    assert isinstance(document, dict)
    assert document["ImageSet"][:60] == every
    assert {record["ImageId"] for record in document["ImageSet"]} == {record["ImageId"] for record in every}
    assert offsets == [0, 55]


@pytest.mark.parametrize(
    "rest",
    [records(6), records(4), [*records(4), {"State": "Available"}], [*records(4), uhost_image(99)]],
    ids=["more", "fewer", "unreadable", "another"],
)
def test_what_is_no_rest_of_a_page(rest: list[Any]) -> None:
    """Records that came before are the rest of a page that repeats its own only where all did, and as many."""
    first = page([*records(55), *records(5)], 60)

    with pytest.raises(NotWhole, match="is on two pages of the list"):
        compose(lambda offset, limit: page(rest, 60) if offset else first)


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
        (lambda: lambda offset, limit: page(records(100), 250), "a page of the list came twice"),
        (lambda: _shifted, "is on two pages of the list, which moved while it was read"),
        (lambda: lambda offset, limit: page(records(9), 10, Zone="hk-03"), "is about another Zone: hk-03, not hk-02"),
        (lambda: lambda offset, limit: page(records(9), 9, Action="DescribeUHostResponse"), "to another question"),
        (lambda: lambda offset, limit: page(records(100, offset), 20_000), "the list has more than 10,000 records"),
    ],
    ids=["moves", "short", "repeated", "shifted", "echo", "action", "endless"],
)  # fmt: skip
def test_no_whole(begin: Callable[[], Server], said: str) -> None:
    """A list that is short, repeated, shifted, of another question, or moves again when it is read again, is none."""
    with pytest.raises(Exception, match=said) as caught:
        compose(begin())
    assert isinstance(caught.value, NotWhole) or "10,000" in said


@pytest.mark.parametrize(
    ("refusal", "at"),
    [
        (beyond(), 100),
        (beyond("product trouble", 8010), 100),
        (
            RefusedPage(ret_code=230, message="Params [Offset] not available", is_of_product=False, is_passing=False),
            100,
        ),
        (RefusedPage(ret_code=None, message="HTTP 502", is_of_product=False, is_passing=True), 200),
        (RefusedPage(ret_code=150, message="offset service unavailable", is_of_product=False, is_passing=True), 200),
    ],
)
def test_a_refused_page_is_no_end(refusal: RefusedPage, at: int) -> None:
    """A refusal before the total is reached, or one of the network or the gateway, ends no list."""
    every = paged(records(250))

    said, _ = compose(lambda offset, limit: refusal if offset >= at else every(offset, limit))

    assert said == refusal


@pytest.mark.parametrize("total", [None, 100], ids=["no number", "number of the page"])
@pytest.mark.parametrize(
    "message",
    [
        "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
        "request rate limit exceeded",
        "Quota exceeds the limit, try again later",
        "请求超过频率限制",
        "后端超时，超过 30 秒",
    ],
)
def test_what_exceeds_a_time_or_a_rate_is_no_end(message: str, total: int | None) -> None:
    """A time, a rate or a quota that is exceeded ends no list, also where nobody knows how many records there are."""
    every = paged(records(130), total=total)
    trouble = beyond(message, 8010)

    said, _ = compose(lambda offset, limit: trouble if offset else every(offset, limit))

    assert said == trouble


def test_a_refusal_that_ends_a_list_counts_as_a_page() -> None:
    """A list that a refusal ends came in pages, as with an empty last one: what it lacks is read once more."""
    composition = Composition(TARGET, KIND, {})
    assert composition.take(json.dumps(page(records(100), None)).encode()) is None

    assert isinstance(composition.refused(beyond()), bytes)
    assert composition.pages == 2


def test_trouble_at_the_end_is_no_end() -> None:
    """Behind a page that is exactly full a refusal ends the list only where it speaks of that: others pass."""
    every = paged(records(100))
    trouble = beyond("backend error", 8010)

    said, _ = compose(lambda offset, limit: trouble if offset else every(offset, limit))

    assert said == trouble


def test_records_of_other_zones_may_share_an_id() -> None:
    """The same id in two zones is two records, and no sign of a list that moved."""
    every = [uhost_image(number // 2, Zone=("hk-02", "hk-01")[number % 2]) for number in range(202)]

    document, _ = compose(paged(every))

    assert isinstance(document, dict)
    assert len(document["ImageSet"]) == 202


def test_a_count_that_is_too_large_is_tolerated() -> None:
    """Where the account says so, a list that ends before its TotalCount is whole; else it is read again."""
    for tolerated in ((), ("count",)):
        composition = Composition(TARGET, KIND, {}, tolerated)  # type: ignore[arg-type] # of the words of a check
        answers = [json.dumps(page(records(100), 250)).encode(), json.dumps(page([], 250)).encode()]
        taken = [composition.take(body) for body in answers]
        assert (taken[1] is not None) == bool(tolerated)


def test_what_is_no_object() -> None:
    """An answer that is no JSON object is not understood, in these words."""
    with pytest.raises(NotUnderstood, match=r"\Athe answer is not a JSON object\Z"):
        Composition(TARGET, KIND, {}).take(b"[]")


def test_which_record_is_on_two_pages() -> None:
    """The record that came twice is named by its id, the first of several."""
    composition = Composition(TARGET, KIND, {})
    first, second = page(records(100), 150), page([*records(2, 5), *records(48, 102)], 150)
    for body in (first, second, first):
        composition.take(json.dumps(body).encode())
    with pytest.raises(NotWhole, match=f"\\A{uhost_image(5)['ImageId']} is on two pages of the list"):
        composition.take(json.dumps(second).encode())


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


def test_records_stay_as_they_came() -> None:
    """Joined pages have each record in the cloud's own writing, numbers and escapes as they were."""
    composition = Composition(TARGET, KIND, {})
    first = b'{"RetCode": 0, "TotalCount": 2, "ImageSet": [ {"ImageId": "a", "Size": 1.50, "N": "\\u00fc"} ]}'
    assert composition.take(first) is None
    whole = composition.take(b'{"RetCode": 0, "TotalCount": 2, "ImageSet": [{"ImageId": "b"}]}')
    assert whole is not None
    assert b'[{"ImageId": "a", "Size": 1.50, "N": "\\u00fc"},{"ImageId": "b"}]' in whole


# --- follow-ups ------------------------------------------------------------------------------------------------------


GROUPS = KINDS["node-group"]
REGION = Target("prod", "org-a", "hk", "", "node-group")


def follow(
    answers: dict[str, Any], tolerated: Sequence[Tolerable] = ()
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Ask for the node groups of a region; *answers* are by action and cluster."""
    composition = Composition(REGION, GROUPS, {}, tolerated)
    asked: list[tuple[str, str]] = []
    while True:
        action, params = composition.question
        asked.append((action, params.get("ClusterId", "")))
        assert "Zone" not in params
        answer = answers.get(f"{action} {params.get('ClusterId', '')}".strip(), {})
        whole = composition.take(json.dumps({"RetCode": 0, "Action": f"{action}Response", **answer}).encode())
        if whole is not None:
            document: dict[str, Any] = json.loads(whole)
            return document, asked


CLUSTERS = {
    "ClusterCount": 2,
    "TotalCount": 2,
    "ClusterSet": [{"ClusterId": f"uk8s-{c}", "ClusterName": c} for c in "ab"],
}


def test_every_cluster_is_asked() -> None:
    """The groups of every cluster make one answer, each with the cluster that it belongs to."""
    document, asked = follow(
        {
            "ListUK8SClusterV2": CLUSTERS,
            "ListUK8SNodeGroup uk8s-a": {"NodeGroupList": [{"NodeGroupId": "ng-1", "ImageId": "uimage-x"}]},
            "ListUK8SNodeGroup uk8s-b": {"NodeGroupList": []},
            "DescribeUK8SAutoscalerGroup uk8s-b": {"AutoScalingGroup": [{"Id": "asg-1", "ClusterName": "own"}]},
        }
    )

    actions = ("ListUK8SNodeGroup", "DescribeUK8SAutoscalerGroup")
    assert asked[0] == ("ListUK8SClusterV2", "")
    assert sorted(asked[1:]) == sorted((action, f"uk8s-{c}") for action in actions for c in "ab")
    assert document == {
        "RetCode": 0,
        "Action": "ListUK8SClusterV2Response",
        "NodeGroupList": [{"NodeGroupId": "ng-1", "ImageId": "uimage-x", "ClusterId": "uk8s-a", "ClusterName": "a"}],
        "AutoScalingGroup": [{"Id": "asg-1", "ClusterName": "own", "ClusterId": "uk8s-b"}],
    }


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"ListUK8SNodeGroup uk8s-a": {"TotalCount": 3, "NodeGroupList": []}}, "of uk8s-a lists 0 of 3 records"),
        ({"ListUK8SNodeGroup uk8s-b": {"ClusterId": "uk8s-a", "NodeGroupList": []}}, "of uk8s-b answers about uk8s-a"),
        (
            {"ListUK8SNodeGroup uk8s-b": {"NodeGroupList": [{"NodeGroupId": "ng-1", "ClusterId": "uk8s-a"}]}},
            "of uk8s-b answers about uk8s-a",
        ),
        ({"ListUK8SNodeGroup uk8s-a": {"Groups": [{"Nodes": 1}]}}, "none of the sets of ListUK8SNodeGroup"),
        ({"ListUK8SClusterV2": {"ClusterSet": [{"ClusterName": "nameless"}]}}, "1 item of .* has no ClusterId"),
        ({"ListUK8SClusterV2": {"Clusters": [{"Name": "a"}]}}, "none of the sets of ListUK8SClusterV2"),
    ],
)
def test_a_cluster_that_does_not_answer(answers: dict[str, Any], said: str) -> None:
    """What is short, about another cluster, or not understood of one cluster leaves no answer about any."""
    with pytest.raises(NotWhole, match=said):
        follow({"ListUK8SClusterV2": CLUSTERS, **answers})


def test_what_is_tolerated_of_a_cluster() -> None:
    """A count that is too large, and an answer about another cluster, pass where the account says so, and only then."""
    short = {"ListUK8SNodeGroup uk8s-a": {"TotalCount": 3, "NodeGroupList": [{"NodeGroupId": "ng-1"}]}}
    other = {"ListUK8SNodeGroup uk8s-b": {"ClusterId": "uk8s-z", "NodeGroupList": [{"NodeGroupId": "ng-2"}]}}
    for answers, tolerated, group in ((short, "count", "ng-1"), (other, "echo", "ng-2")):
        document, _ = follow({"ListUK8SClusterV2": CLUSTERS, **answers}, [tolerated])  # type: ignore[list-item] # two of them
        assert [row["NodeGroupId"] for row in document["NodeGroupList"]] == [group]


def test_counts_of_several_sets() -> None:
    """A count is held against the records of all sets of an answer together; records that are no objects are kept."""
    both = {"TotalCount": 3, "NodeGroupList": [{"NodeGroupId": "a"}, "odd"], "AutoScalingGroup": [{"Id": "b"}]}
    document, _ = follow({"ListUK8SClusterV2": CLUSTERS, "ListUK8SNodeGroup uk8s-a": both})

    assert len(document["NodeGroupList"]) == 2
    assert document["NodeGroupList"][1] == "odd"


def test_a_cluster_s_own_id_in_another_case() -> None:
    """An id that is repeated with other capitals, spaces or as nothing is no other one; a long one is told short."""
    for said in ("UK8S-A ", "", None):
        follow({"ListUK8SClusterV2": CLUSTERS, "ListUK8SNodeGroup uk8s-a": {"ClusterId": said, "NodeGroupList": []}})
    with pytest.raises(NotWhole) as caught:
        follow({"ListUK8SClusterV2": CLUSTERS, "ListUK8SNodeGroup uk8s-a": {"ClusterId": "z" * 500}})
    assert f" answers about {'z' * 80}," in str(caught.value)


def test_an_unknown_set_of_a_cluster_is_told_short() -> None:
    """The name of a member that nobody knows is cut."""
    with pytest.raises(NotWhole) as caught:
        follow({"ListUK8SClusterV2": CLUSTERS, "ListUK8SNodeGroup uk8s-a": {"G" * 500: [{"Nodes": 1}]}})
    assert str(caught.value).endswith(f"under {'G' * 80}")


def test_items_that_are_no_objects() -> None:
    """A cluster that is no object has no id."""
    with pytest.raises(NotWhole, match="1 item of ListUK8SClusterV2 has no ClusterId"):
        follow({"ListUK8SClusterV2": {"ClusterSet": [{"ClusterId": "uk8s-a"}, "uk8s-b"]}})


@pytest.mark.parametrize(("more", "is_too_much"), [(0, False), (1, True)])
def test_many_groups(more: int, is_too_much: bool) -> None:
    """So many records as are read of one list are read of all clusters together, and no more."""
    groups = {c: [{"NodeGroupId": f"{c}{number}"} for number in range(MAX_RECORDS // 2)] for c in "ab"}
    groups["b"] += [{"NodeGroupId": "z"}] * more
    answers = {f"ListUK8SNodeGroup uk8s-{c}": {"NodeGroupList": listed} for c, listed in groups.items()}
    if is_too_much:
        with pytest.raises(NotUnderstood, match="the answers list more than 10,000 records"):
            follow({"ListUK8SClusterV2": CLUSTERS, **answers})
        return
    document, _ = follow({"ListUK8SClusterV2": CLUSTERS, **answers})
    assert len(document["NodeGroupList"]) == MAX_RECORDS


def test_the_other_action() -> None:
    """Where the cloud does not know an action, and only there, the one instead of it is asked."""
    target = Target("prod", "org-a", "hk", "hk-02", "instance-type")
    unknown = RefusedPage(ret_code=161, message="Action not found", is_of_product=False, is_passing=False)
    composition = Composition(target, KINDS["instance-type"], {})

    assert composition.refused(beyond()) is None
    assert composition.refused(unknown) == "asked otherwise"
    assert composition.question.action == "DescribeAvailableInstanceTypes"
    assert composition.refused(unknown) is None
    whole = composition.take(b'{"RetCode":0,"AvailableInstanceTypes":[]}')
    assert json.loads(whole or b"")["Action"] == "DescribeAvailableInstanceTypesResponse"


@pytest.mark.parametrize("stated", [b'""', b'" "', b"null"])
def test_an_action_that_is_not_named(stated: bytes) -> None:
    """An answer whose Action is empty is as good as one without: which of two actions gave it is written into it."""
    composition = Composition(Target("prod", "org-a", "hk", "hk-02", "instance-type"), KINDS["instance-type"], {})
    whole = composition.take(b'{"RetCode":0,"action":%s,"AvailableInstanceTypes":[]}' % stated)

    assert json.loads(whole or b"") == {
        "RetCode": 0, "Action": "GetUK8SAvailableInstanceTypesResponse", "AvailableInstanceTypes": [],
    }  # fmt: skip
