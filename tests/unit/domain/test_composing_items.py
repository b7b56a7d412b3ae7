"""What is asked for each item of a list: whose answers make one, and what makes none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from crawler.domain.composing import Composition, NotWhole
from crawler.domain.kinds import KINDS
from crawler.domain.models import Target
from crawler.domain.objections import Tolerable
from crawler.domain.parsing import MAX_RECORDS
from crawler.errors import NotUnderstood
from tests.support.list_pages import beyond

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
        (
            {"ListUK8SNodeGroup uk8s-a": {"HasMore": True}},
            "of uk8s-a says with HasMore that there is more than",
        ),
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
    more = {"ListUK8SNodeGroup uk8s-a": {"NextToken": "x", "NodeGroupList": [{"NodeGroupId": "ng-3"}]}}
    for answers, tolerated, group in ((short, "count", "ng-1"), (other, "echo", "ng-2"), (more, "count", "ng-3")):
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


@pytest.mark.parametrize("action", ["ListUK8SClusterV2", "ListUK8SNodeGroup uk8s-a"])
def test_an_unknown_set_is_told_short(action: str) -> None:
    """The name of a member that nobody knows is cut."""
    with pytest.raises(NotWhole) as caught:
        follow({"ListUK8SClusterV2": CLUSTERS, action: {"G" * 500: [{"Nodes": 1}]}})
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


# --- clusters in pages -----------------------------------------------------------------------------------------------


def clusters(count: int, first: int = 0) -> list[dict[str, str]]:
    return [{"ClusterId": f"uk8s-{number}"} for number in range(first, first + count)]


def take_clusters(composition: Composition, listed: Sequence[Any], total: int) -> bytes | None:
    return composition.take(json.dumps({"RetCode": 0, "TotalCount": total, "ClusterSet": listed}).encode())


def take_groups(composition: Composition) -> list[tuple[str, str]]:
    """Answer with no groups until there is a whole answer; give the actions and clusters that were asked for."""
    asked: list[tuple[str, str]] = []
    while True:
        action, params = composition.question
        asked.append((action, params["ClusterId"]))
        if composition.take(b'{"RetCode": 0}') is not None:
            return asked


def test_clusters_in_pages() -> None:
    """The clusters of every page are asked about, in their order, and each by every action."""
    composition = Composition(REGION, GROUPS, {})

    for offset, listed in ((0, clusters(100)), (100, clusters(50, 100))):
        assert composition.question.action == "ListUK8SClusterV2"
        assert composition.question.params["Offset"] == str(offset)
        assert take_clusters(composition, listed, 150) is None
    assert take_groups(composition) == [
        (action, f"uk8s-{number}")
        for number in range(150)
        for action in ("ListUK8SNodeGroup", "DescribeUK8SAutoscalerGroup")
    ]
    assert composition.answers == 2 + 300


def test_a_refusal_that_ends_the_clusters() -> None:
    """Behind a refusal that ends the list of clusters these are asked about."""
    composition = Composition(REGION, GROUPS, {})
    assert take_clusters(composition, clusters(100), 100) is None
    assert composition.question.params["Offset"] == "100"

    assert composition.refused(beyond()) == "asked otherwise"
    assert composition.question == ("ListUK8SNodeGroup", {"Region": "hk", "ProjectId": "org-a", "ClusterId": "uk8s-0"})
    assert composition.refused(beyond()) is None
    assert len(take_groups(composition)) == 200


def test_a_cluster_on_two_pages() -> None:
    """A cluster that comes again on the next page is a list that moved, also where other members differ."""
    composition = Composition(REGION, GROUPS, {})
    pages = [clusters(100), [{"ClusterId": "uk8s-99", "ClusterName": "moved"}, *clusters(50, 101)]]
    for listed in (*pages, pages[0]):
        assert take_clusters(composition, listed, 151) is None

    with pytest.raises(NotWhole) as caught:
        take_clusters(composition, pages[1], 151)
    assert str(caught.value) == (
        "uk8s-99 is on two pages of the list, which moved while it was read, also when it was read once more"
    )


@pytest.mark.parametrize("follow_ups", [1, 2])
def test_clusters_without_an_id(follow_ups: int) -> None:
    """Clusters without an id, on whatever pages, are told of when all are listed, however many actions would follow."""
    kind = replace(GROUPS, follow=GROUPS.follow[:follow_ups])
    composition = Composition(REGION, kind, {})
    assert take_clusters(composition, [*clusters(99), {"ClusterName": "a"}], 101) is None

    with pytest.raises(NotWhole) as caught:
        take_clusters(composition, [{"ClusterName": "b"}], 101)
    assert str(caught.value) == "2 items of ListUK8SClusterV2 have no ClusterId"


def test_one_action_that_follows() -> None:
    """A kind may ask one thing alone about each item, whose answers may call themselves by another name."""
    kind = replace(GROUPS, follow=(replace(GROUPS.follow[0], aliases=("ListNodeGroups",)),))
    composition = Composition(REGION, kind, {})
    assert take_clusters(composition, clusters(1), 1) is None

    whole = composition.take(b'{"RetCode": 0, "Action": "ListNodeGroupsResponse", "NodeGroupList": []}')
    assert json.loads(whole or b"") == {
        "RetCode": 0, "Action": "ListUK8SClusterV2Response", "NodeGroupList": [], "AutoScalingGroup": [],
    }  # fmt: skip


@pytest.mark.parametrize("nothing", [[], {}, "", None])
def test_no_clusters(nothing: Any) -> None:
    """A region without clusters has no groups, and nothing more is asked."""
    document, asked = follow({"ListUK8SClusterV2": {"TotalCount": 0, "ClusterSet": nothing}})

    assert asked == [("ListUK8SClusterV2", "")]
    assert document == {
        "RetCode": 0, "Action": "ListUK8SClusterV2Response", "NodeGroupList": [], "AutoScalingGroup": [],
    }  # fmt: skip
