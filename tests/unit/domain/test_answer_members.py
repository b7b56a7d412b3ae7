"""What each top-level member of an answer is taken for: a set, a count, part of the envelope, or something unknown."""

from __future__ import annotations

from typing import Any

import pytest

from crawler.domain.kinds import KINDS
from crawler.domain.models import ImageKey, Snapshot
from crawler.domain.parsing import Unread, key_of, members, parse, read_members
from crawler.errors import NotUnderstood


def read(kind: str, document: dict[str, Any], zone: str = "hk-02") -> Snapshot:
    return parse(document, KINDS[kind], zone, {})


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("uk8s-image", {"RetCode": 0, "Message": "all well"}),
        ("uk8s-image", {"RETCODE": "0", "message": {}}),
        ("uk8s-image", {"RetCode": [], "Message": Unread(b"[]")}),
        ("node-group", {"ClusterId": "uk8s-a", "Update": True}),
        ("node-group", {"Autoscaler": {"Enabled": True}, "update": Unread(b'[{"NodeGroupId": "a"}]')}),
        ("instance-type", {"Status": ["OK"]}),
        ("uk8s-version", {"K8sVersion": "1.30.14", "containerdversion": "1.7", "Message": "x"}),
    ],
)
def test_envelope(kind: str, members: dict[str, Any]) -> None:
    """Nothing is said of what every answer has, as a plain value or empty, nor of what those of its kind have."""
    assert read(kind, members).notices == ()


@pytest.mark.parametrize(
    ("kind", "members", "unknown"),
    [
        ("uk8s-image", {"Message": {"Text": "x"}}, "Message"),
        ("uk8s-image", {"RetCode": Unread(b"[1]")}, "RetCode"),
        ("uk8s-image", {"Quota": None}, "Quota"),
        ("uk8s-image", {"Quota": 0}, "Quota"),
        ("uk8s-image", {"Quota": Unread(b"{}")}, "Quota"),
        ("uk8s-image", {"ImageSize": 40}, "ImageSize"),
        ("uk8s-image", {"Data": {"Id": "a"}}, "Data"),
        ("uk8s-version", {"Autoscaler": {"ImageId": "a"}}, "Autoscaler"),
        ("uk8s-version", {"VersionSet": "a"}, "VersionSet"),
        ("node-group", {"OddImageSet": [{"Id": "a"}]}, "OddImageSet"),
    ],
)
def test_unknown_members(kind: str, members: dict[str, Any], unknown: str) -> None:
    """Any other member is named, empty or not, and lists nothing: it is no set by its name nor by its records."""
    snapshot = read(kind, members)
    assert snapshot.notices == (f"unknown field {unknown} in the answer",)
    assert (snapshot.images, snapshot.records) == ({}, 0)


@pytest.mark.parametrize("name", ["Message", "Odd"])
def test_records_under_any_name(name: str) -> None:
    """A list whose records have an id is a set, whatever it is called; what a kind's answers have is none."""
    snapshot = read("uk8s-image", {name: [{"ImageId": "a"}]})
    assert snapshot.images == {ImageKey(name, "a"): {}}
    assert snapshot.notices == (f"unknown image set {name}",)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("uk8s-image", "imagecount"),
        ("uk8s-image", "ImageSetCount"),
        ("uk8s-image", "BrandNewImageSetCount"),
        ("uk8s-version", "DataCount"),
        ("node-group", "AutoScalingGroupCount"),
        ("node-group", "NodeGroupCount"),
        ("node-group", "TotalCount"),
    ],
)
def test_names_of_counts(kind: str, name: str) -> None:
    """A count is called after a set, with or without the word, after what marks a set, or as those of all records."""
    found = read_members({name: "3"}, KINDS[kind], KINDS[kind].sets)
    assert (found.counts, found.notices) == ([(name, 3)], [])


@pytest.mark.parametrize(
    ("kind", "name"),
    [("uk8s-image", "QuotaCount"), ("uk8s-image", "FutureImageSet2"), ("uk8s-version", "ImageSetCount")],
)
def test_what_counts_no_records(kind: str, name: str) -> None:
    """A number under another name counts something else, and is named as unknown."""
    found = read_members({name: 3}, KINDS[kind], KINDS[kind].sets)
    assert (found.counts, found.notices) == ([], [f"unknown field {name} in the answer"])


def test_sentences_of_an_excess() -> None:
    """Each count that exceeds the records is told with both numbers, in the order of the answer; others are not."""
    one = read("uk8s-image", {"TotalCount": 5, "ImageCount": 1, "ImageSetCount": 2, "ImageSet": ["a"]})
    assert one.notices == ("TotalCount is 5, and 1 record is listed", "ImageSetCount is 2, and 1 record is listed")
    none = read("uk8s-image", {"TotalCount": 1, "ImageSet": []})
    assert none.notices == ("TotalCount is 1, and 0 records are listed",)


@pytest.mark.parametrize("nothing", [None, "", " ", [], {}, [""], [None], [{}], ["a", "b"], {"Name": "hk-02"}])
def test_a_zone_that_is_not_stated(nothing: Any) -> None:
    """What is null, blank or empty, alone or in a list of one, states no zone, nor does an object or a longer list."""
    assert read("uk8s-image", {"Zone": nothing, "Region": 7}).stated == (("Region", "7"),)


@pytest.mark.parametrize(
    ("document", "rest"),
    [
        ({"NextToken": "eyJ"}, "NextToken"),
        ({"next_page_token": 7}, "next_page_token"),
        ({"NextMarker": "x", "HasMore": True}, "NextMarker"),
        ({"HASMORE": "true"}, "HASMORE"),
        ({"IsTruncated": 1}, "IsTruncated"),
        ({"Page": Unread(b'{"Info": [{"HasNext": "yes"}]}')}, "HasNext"),
        ({"Data": '{"NextCursor": "c"}'}, "NextCursor"),
        ({"ContinuationToken": Unread(b'{"Zone": 1}')}, "ContinuationToken"),
        ({"NextToken": ""}, ""),
        ({"NextToken": None, "NextCursor": "null", "NextMarker": 0}, ""),
        ({"NextToken": Unread(b"[]"), "NextPageToken": Unread(b"{}")}, ""),
        ({"HasMore": False, "Truncated": "0", "IsTruncated": "perhaps"}, ""),
        ({"NextTokenCount": "x", "Remaining": 4}, ""),
        ({"ImageSet": [{"ImageId": "a", "HasMore": True}]}, ""),
    ],
)
def test_more_to_list(document: dict[str, Any], rest: str) -> None:
    """An answer that says it is a part of a longer list names the member that says so; a record's own says nothing."""
    assert read("uk8s-image", {"RetCode": 0, **document}).rest == rest


@pytest.mark.parametrize("nothing", [None, "", " ", [], {}, [{}]])
def test_an_action_that_is_not_stated(nothing: Any) -> None:
    """An answer that has an empty Action states none; any other value is one, be it a list or an object."""
    assert read("uk8s-image", {"Action": nothing}).stated == ()
    assert read("uk8s-image", {"Action": ["a", "b"]}).stated == (("Action", "['a', 'b']"),)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"RetCode": 0, "ImageSet": ["a"], "ImageSet": []}', "ImageSet"),
        (b'{"\xe9\x95\x9c\xe5\x83\x8f": [1], "\xe9\x95\x9c\xe5\x83\x8f": [2]}', "\u955c\u50cf"),
        (b'{"a": 1, "b": "a", "a": 2}', "a"),
        (b'{"a": NaN, "b": 1, "b": 2}', "b"),
        (b'\xef\xbb\xbf{"a": {"b": [1], "b": [1, 2]}}', "b"),
    ],
)
def test_a_member_that_comes_twice(body: bytes, name: str) -> None:
    """An answer that states a member twice and not alike is not understood: one of the two would be lost."""
    with pytest.raises(NotUnderstood) as caught:
        members(body)
    assert str(caught.value) == f"the answer states {name} twice in one object, and not alike"


def test_a_member_that_comes_twice_farther_inside() -> None:
    """So it is where the objects of a set are read; a member that comes twice alike says one thing."""
    with pytest.raises(NotUnderstood, match=r"^the answer states ImageId twice in one object, and not alike$"):
        read("uk8s-image", {"ImageSet": Unread(b'[{"ImageId": "a", "Size": 1, "ImageId": "b"}]')})
    assert set(read("uk8s-image", {"ImageSet": Unread(b'[{"ImageId": "a", "ImageId": "a"}]')}).images) == {
        ImageKey("ImageSet", "a")
    }
    assert members(b'{"Zone": [], "Action": "Zone", "In": {"Zone": 1}, "Zone": []}') == {
        "Zone": Unread(b"[]"), "Action": "Zone", "In": Unread(b'{"Zone": 1}'),
    }  # fmt: skip


def test_a_text_that_is_nested_too_deeply() -> None:
    """A text that is JSON is looked into; where it cannot be decoded, the answer is not understood."""
    assert read("uk8s-image", {"Data": "[" * 100}).unknown_lists == ""
    with pytest.raises(NotUnderstood) as caught:
        read("uk8s-image", {"Data": "[" * 100_000})
    assert str(caught.value) == "the answer is nested too deeply to be read"


@pytest.mark.parametrize(
    ("image_set", "record", "image_id"),
    [
        ("NodeGroupList", {"NodeGroupId": "g", "Id": "i"}, "g"),
        ("NodeGroupList", {"Id": "i"}, None),
        ("AutoScalingGroup", {"NodeGroupId": "g", "Id": "i"}, "i"),
        ("AutoScalingGroup", {"NodeGroupId": "g"}, None),
    ],
)
def test_ids_by_a_key_of_the_set(image_set: str, record: dict[str, Any], image_id: str | None) -> None:
    """In a set whose records have another key as their id that one alone is it; elsewhere it is the kind's."""
    expected = None if image_id is None else ImageKey(image_set, image_id)
    assert key_of(KINDS["node-group"], image_set, record) == expected


@pytest.mark.parametrize(
    ("qualifier", "image_id"),
    [
        (" SPOT ", "V100/spot"),
        ("uhost", "V100"),
        (" UHost ", "V100"),
        ("", "V100"),
        (" ", "V100"),
        (None, "V100"),
        (7, "V100"),
    ],
)
def test_qualifiers(qualifier: Any, image_id: str) -> None:
    """What qualifies an id is part of it, lower case; what goes without saying, is blank or no text is not."""
    record = {"Name": "V100", "InstanceType": qualifier}
    assert key_of(KINDS["instance-type"], "AvailableInstanceTypes", record) == ImageKey(
        "AvailableInstanceTypes", image_id
    )


@pytest.mark.parametrize(
    ("image_type", "image_set"), [(" Custom ", "Custom"), ("", "unstated"), (" ", "unstated"), (5, "unstated")]
)
def test_sets_that_records_name(image_type: Any, image_set: str) -> None:
    """Where records say which set they belong to, that is their set; one that does not say has none stated."""
    record = {"ImageId": "a", "ImageType": image_type}
    assert key_of(KINDS["uhost-image"], "ImageSet", record) == ImageKey(image_set, "a")
