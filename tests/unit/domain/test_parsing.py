"""The tolerant reader: everything the reference says an answer may look like."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from sys import getsizeof
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.domain.kinds import KINDS, UK8S_IMAGE
from crawler.domain.models import ImageKey, Snapshot, canonical_json, fold_keys
from crawler.domain.parsing import (
    BYTES_AT_ONCE,
    MAX_RECORDS,
    MAX_VALUES,
    WORTH_REMEMBERING,
    SetReader,
    Unread,
    find,
    key_of,
    members,
    parse,
    read_members,
    sets_read_before,
    size_of,
    weight_of,
)
from crawler.domain.values import LONGEST_TEXT, MAX_DEPTH
from crawler.errors import NotUnderstood
from tests.support.answers import answer, documents, image_key, shuffled


def read(document: dict[str, Any], zone: str = "hk-02", zone_of: dict[int, str] | None = None) -> Snapshot:
    return parse(document, UK8S_IMAGE, zone, zone_of or {})


@pytest.mark.parametrize(
    ("spelling", "canonical"),
    [
        ("ImageSet", "ImageSet"),
        ("ImageSetnew", "ImageSetnew"),  # in the example of the page since 2020, in no table
        ("PHostImageSet", "PHostImageSet"),
        ("CustomImageSet", "CustomImageSet"),
        ("CustomIImageSet", "CustomImageSet"),  # the example's double I
        ("CustomPHostImageSet", "CustomPHostImageSet"),
        ("PHostCustomIImageSet", "CustomPHostImageSet"),
        ("imageset", "ImageSet"),  # key case does not matter
        ("FutureImageSet", "FutureImageSet"),  # unknown sets keep their own name
        ("Images", "Images"),  # no set by name, but its records have an ImageId
    ],
)
def test_set_names(spelling: str, canonical: str) -> None:
    """Every spelling of a set is read under its canonical name; unknown sets keep their own."""
    snapshot = read({"RetCode": 0, spelling: [{"ImageId": "uimage-vareox"}]})
    assert list(snapshot.images) == [ImageKey(canonical, "uimage-vareox")]
    assert bool(snapshot.notices) == (canonical not in UK8S_IMAGE.sets)


@pytest.mark.parametrize("name", ["CustomImageSet", "FutureImageSet"])
@pytest.mark.parametrize("value", ["a", ["a"], {"ImageId": "a"}, [{"ImageId": "a"}], " a "])
def test_one_id_or_record_is_a_list_of_one(name: str, value: Any) -> None:
    """A set may hold one record, or one id as text, whether it is known or not: its image is no less there."""
    assert list(read({"RetCode": 0, "ImageSet": [], name: value}).images) == [ImageKey(name, "a")]
    garbled = read({"RetCode": 0, "ImageSet": [], name: "no id"})
    assert (garbled.records, garbled.unreadable) == (1, 1)
    assert read({"RetCode": 0, "ImageSet": [], "ImageSetVersion": "v3", "ImageSetCount": "0"}).records == 0


def test_an_image_listed_with_its_set_and_without() -> None:
    """An id that one record lists with its set and another without is one image, whatever their order."""
    stated: list[dict[str, Any]] = [{"ImageId": "a", "ImageType": "Base"}, {"ImageId": "a", "ImageName": "A"}]
    more: list[dict[str, Any]] = [{"ImageId": "b"}, {"ImageId": "c", "ImageType": "Custom"}]
    for records in (stated, stated[::-1]):
        images = parse({"ImageSet": [*records, *more]}, KINDS["uhost-image"], "hk-02", {}).images
        assert images == {
            ImageKey("Base", "a"): {"image_name": "A"},
            ImageKey("unstated", "b"): {},
            ImageKey("Custom", "c"): {},
        }

        assert set(parse({"ImageSet": records}, KINDS["uhost-image"], "hk-02", {}).images) == {ImageKey("Base", "a")}

    several = [*stated, {"ImageId": "a", "ImageType": "Custom"}]
    images = parse({"ImageSet": several}, KINDS["uhost-image"], "hk-02", {}).images
    assert {key.image_set for key in images} == {"Base", "Custom", "unstated"}


def test_set_in_several_cases_is_one() -> None:
    """One set that an answer spells in several cases is one set, whatever their order; a zone's records join."""
    spelled = {"fooImageSet": [{"ImageId": "a", "OsType": "x"}, {"ImageId": "c"}], "FooImageSet": [{"ImageId": "a"}]}
    first = read({"RetCode": 0, **spelled})
    assert first.images == {ImageKey("FooImageSet", "a"): {"os_type": "x"}, ImageKey("FooImageSet", "c"): {}}
    assert read({"RetCode": 0, **dict(reversed(spelled.items()))}).images == first.images

    foreign = {"fooImageSet": [{"ImageId": "a", "ZoneId": 7}], "FooImageSet": [{"ImageId": "a"}]}
    assert read({"RetCode": 0, **foreign}, zone_of={7: "hk-01"}).foreign == frozenset()


@pytest.mark.parametrize("empty", [None, [], {}, ""])
def test_empty_sets(empty: Any) -> None:
    """A set that is missing, null or empty lists nothing, and is no problem."""
    assert read({"RetCode": 0, "ImageSet": empty}) == Snapshot(images={})
    assert read({"RetCode": 0}) == Snapshot(images={})


def test_record_of_2020() -> None:
    """The four fields of the first page are read; NotSupportGPU true means no GPU."""
    record = {"ImageId": "uimage-yjoh5a", "ImageName": "Anolis 8.6", "NotSupportGPU": True, "ZoneId": 3002}
    snapshot = read(answer(record))
    assert snapshot.images == {image_key("uimage-yjoh5a"): {"image_name": "Anolis 8.6", "gpu": False, "zone_id": 3002}}
    assert snapshot.zone_number == 3002
    assert snapshot.notices == ()


def test_record_of_2026() -> None:
    """The ten fields of the present page are read, lists as sorted sets."""
    record = {
        "ImageId": "uimage-x7zezb1gcv5",
        "ImageName": "Ubuntu 20.04",
        "NotSupportGPU": "false",
        "ZoneId": "3002",
        "OsType": "Linux",
        "OsName": "Ubuntu 20.04 64位",
        "Features": ["NetEnhanced", "CloudInit", "NetEnhanced"],
        "SupportedGPUTypes": [],
        "IntegratedSoftware": "CUDA 12.4",
        "ImageSize": "40",
    }
    assert read(answer(record)).images[image_key("uimage-x7zezb1gcv5")] == {
        "image_name": "Ubuntu 20.04",
        "gpu": True,
        "zone_id": 3002,
        "os_type": "Linux",
        "os_name": "Ubuntu 20.04 64位",
        "features": ["CloudInit", "NetEnhanced"],
        "gpu_types": [],
        "software": "CUDA 12.4",
        "size_gb": 40,
    }


def test_bare_ids() -> None:
    """Elements that are bare id strings are images whose fields are unknown."""
    assert read(answer("uimage-a", "uimage-b")).images == {image_key("uimage-a"): {}, image_key("uimage-b"): {}}


@pytest.mark.parametrize("missing", [None, "", "maybe", 7, []])
def test_unreadable_gpu_flag_is_unknown(missing: Any) -> None:
    """A GPU flag that is absent or makes no sense stays unknown; it never reads as support."""
    assert "gpu" not in read(answer({"ImageId": "uimage-a", "NotSupportGPU": missing})).images[image_key("uimage-a")]


def test_unknown_fields_are_kept_and_named() -> None:
    """A field nobody declared is kept under extra and named in the notices."""
    snapshot = read(answer({"ImageId": "uimage-a", "Arch": "arm64"}, Quota=5))
    assert snapshot.images[image_key("uimage-a")] == {"extra": {"Arch": "arm64"}}
    assert any("Arch" in notice for notice in snapshot.notices)
    assert any("Quota" in notice for notice in snapshot.notices)


@pytest.mark.parametrize(
    "record", [{"ImageName": "x"}, {"ImageId": None}, {"ImageId": " "}, 5, False, [], "", "a,b", '{"ImageId": "a"}']
)
def test_record_without_an_id_is_counted(record: Any) -> None:
    """A record whose id cannot be read is counted and named, and the others are kept."""
    snapshot = read(answer(record, "uimage-b"))
    assert list(snapshot.images) == [image_key("uimage-b")]
    assert (snapshot.records, snapshot.unreadable) == (2, 1)
    assert snapshot.notices


@pytest.mark.parametrize("record", [None, {}])
def test_null_and_an_empty_object_are_no_records(record: Any) -> None:
    """An element that is null or `{}` is no record, not one that could not be read."""
    snapshot = read(answer(record, "uimage-b", record))
    assert (list(snapshot.images), snapshot.records, snapshot.unreadable) == ([image_key("uimage-b")], 1, 0)
    assert snapshot.notices == ()


@pytest.mark.parametrize("record", [{"ImageId": "uimage-a"}, "uimage-a"])
def test_one_record_is_a_list_of_one(record: Any) -> None:
    """A set that is one record, or one id, lists that image alone."""
    snapshot = read({"RetCode": 0, "CustomImageSet": record})
    assert (list(snapshot.images), snapshot.records) == ([image_key("uimage-a", "CustomImageSet")], 1)


def test_what_the_answer_says_it_is_about() -> None:
    """Action, Region, Zone and ProjectId are read in any key case; one that is empty states nothing."""
    snapshot = read({"RetCode": 0, "action": " X ", "Zone": "hk-02", "ZONE": "hk-01", "Region": "", "projectid": None})
    assert snapshot.stated == (("Action", "X"), ("Zone", "hk-02"), ("Zone", "hk-01"))
    assert snapshot.notices == ()
    snapshot = read({"Action": {"Name": "X"}, "Zone": ["hk-02"], "Region": {"Name": "hk"}, "ProjectId": {}})
    assert snapshot.stated == (("Action", "{'Name': 'X'}"), ("Zone", "hk-02"))


@pytest.mark.parametrize(
    ("members", "excess"),
    [
        ({"TotalCount": 2}, 0),
        ({"TotalCount": 1}, None),
        ({"TotalCount": -7}, None),
        ({"TotalCount": 1, "ImageSetCount": 2}, 0),
        ({"TotalCount": 5}, 3),
        ({"totalcount": "5"}, 3),
        ({"ImageSetCount": 4}, 2),
        ({"ImageCount": 3}, 1),
        ({"FutureImageSetCount": 5}, 3),
        ({"ImageCount": 3, "TotalCount": 9}, 7),
        ({"CustomIImageSetCount": 3}, 1),
        ({"TotalCount": 2**80}, 2**63 - 3),
        ({"TotalCount": 10**400}, 2**63 - 3),
        ({"TotalCount": "9" * 5_000}, 2**63 - 3),
        ({"TotalCount": 1e300}, 2**63 - 3),
        ({"TotalCount": "5.0"}, 3),
        ({"TotalCount": "1,000"}, 998),
        ({"TotalCount": -(10**400)}, None),
        ({"TotalCount": "nan"}, None),
        ({"TotalCount": None}, None),
        ({"TotalCount": "many"}, None),
        ({"TotalCount": True}, None),
        ({"QuotaCount": 9}, None),
        ({"Meta": {"TotalCount": 9}}, None),
    ],
)
def test_counts(members: dict[str, Any], excess: int | None) -> None:
    """A count at top level is compared with all records listed, readable or not; one of fewer says nothing."""
    snapshot = read(answer({"ImageName": "no id"}, PHostImageSet=["uimage-a"], **members))
    assert snapshot.excess == excess
    assert any("records are listed" in notice for notice in snapshot.notices) == bool(excess)


@pytest.mark.parametrize(("count", "excess"), [(0, None), (3, 3)])
def test_count_of_nothing(count: int, excess: int | None) -> None:
    """An empty list that counts nothing does not say how this cloud counts."""
    assert read(answer(TotalCount=count) | {"ImageSet": []}).excess == excess


@pytest.mark.parametrize(
    ("members", "holding"),
    [
        ({"Data": [{"Id": "a"}]}, "Data"),
        ({"Data": {"Page": {"Rows": [[{"Id": "a"}]]}}}, "Data"),
        ({"Images": [{"ImageId": "a"}]}, "Images"),
        ({"FutureImageSet": [{"ImageId": "a"}]}, "FutureImageSet"),
        ({"Data": '{"Rows": [{"Id": "a"}]}'}, "Data"),
        ({"Data": {"Rows": ['{"Id": "a"}']}}, "Data"),
        ({"Data": '[{"Id": "a"}]'}, "Data"),
        ({"Data": ' \n[{"Id": "a"}]'}, "Data"),
        ({"Data": "[a, b] {of} 3"}, ""),
        ({"Data": [{"Id": "a"}], "ImageSet": None}, ""),
        ({"Data": [{"Id": "a"}], "custompHOSTiimageset": []}, ""),
        ({"Data": ["a"]}, ""),
        ({"Data": [{}]}, ""),
        ({"Data": {"Rows": {"a": {"Id": "a"}}}}, ""),
        ({"Images": {"uimage-a": {"ImageId": "uimage-a"}}}, "Images"),
        ({"Image": {"imageID": "uimage-a"}}, "Image"),
        ({"Data": {"ImageSet": ["uimage-a"]}}, "Data"),
        ({"Data": {"Page": {"customImageset": {"uimage-a": "A"}}}}, "Data"),
        ({"Data": {"ImageSet": [], "PHostImageSet": None}}, ""),
        ({"Data": {"ImageId": ""}, "Meta": {"Name": "ImageId"}}, ""),
        ({"Data": {"ImageSet": ["uimage-a"]}, "ImageSet": []}, ""),
        ({"Message": {"ImageId": "uimage-a"}}, ""),
        ({"Meta": {}}, ""),
        ({}, ""),
    ],
)
def test_objects_under_an_unknown_member(members: dict[str, Any], holding: str) -> None:
    """
    Where no known set is there, a member that holds a list of objects at any depth is named, and one with a record or a
    set in it, which are no list.
    """
    assert read({"RetCode": 0, "Message": "", **members}).unknown_lists == holding


@pytest.mark.parametrize(
    ("rows", "is_elsewhere"),
    [
        ([{"ImageId": "a", "ZoneId": 4001}, {"ImageId": "b", "ZoneId": "4001"}], True),
        ([{"ImageId": "a", "ZoneId": 4001}, {"ImageId": "b", "ZoneId": 3002}], False),
        ([{"ImageId": "a", "ZoneId": 4001}, {"ImageId": "b"}], False),
        ([{"ImageId": "a", "ZoneId": 4001}, {"ImageName": "no id", "ZoneId": 4001}], True),
        ([{"ImageId": "a", "ZoneId": 4001}, {"ImageName": "no id"}], False),
        ([{"ImageId": "a", "ZoneId": 5001}], False),
        ([], False),
    ],
)
def test_every_record_is_elsewhere(rows: list[dict[str, Any]], is_elsewhere: bool) -> None:
    """An answer is another zone's when each record states a number known for that zone, and the catalog agrees."""
    known = {3002: "hk-02", 4001: "cn-bj2-02", 5001: "cn-sh2-01"}
    catalog = {3002: "hk-02", 4001: "cn-bj2-02"}
    snapshot = parse(answer(*rows), UK8S_IMAGE, "hk-02", known, catalog=catalog)
    assert snapshot.is_elsewhere == is_elsewhere


def test_foreign_records_are_left_out() -> None:
    """A record whose ZoneId is known to be another zone's opens nothing; one of an unknown number is kept."""
    zone_of = {3002: "hk-02", 4001: "cn-bj2-02"}
    rows = [{"ImageId": "own", "ZoneId": 3002}, {"ImageId": "other", "ZoneId": 4001}, {"ImageId": "new", "ZoneId": 9}]
    snapshot = read(answer(*rows), zone_of=zone_of)
    assert set(snapshot.images) == {image_key("own"), image_key("new")}
    assert snapshot.foreign == {image_key("other")}
    assert snapshot.zone_number is None
    assert any("records that belong to another zone and were left out: 1" in notice for notice in snapshot.notices)


def test_what_no_database_stores_is_replaced() -> None:
    """NUL, lone surrogates, NaN and numbers beyond 64 bits never reach the store."""
    record = {
        "ImageId": "a\x00b",
        "ImageName": "x\ud800y",
        "ZoneId": 2**70,
        "ImageSize": float("inf"),
        "Deep": {"k\x00": [float("nan"), "z\x00", 1]},
    }
    snapshot = read(answer(record))
    text = canonical_json(list(snapshot.images.values()))
    assert list(snapshot.images) == [image_key("a\ufffdb")]
    assert "\\u0000" not in text
    assert "NaN" not in text
    text.encode("utf-8")
    assert "zone_id" not in snapshot.images[image_key("a\ufffdb")]


@given(documents, st.integers())
def test_order_duplicates_and_key_case_do_not_count(document: dict[str, Any], seed: int) -> None:
    """The same answer with lists, records and keys shuffled, repeated or recased gives the same images."""
    again = shuffled(document, random.Random(seed))
    first, second = read(document), read(again)
    fold = {ImageKey(key.image_set.casefold(), key.image_id): fold_keys(value) for key, value in first.images.items()}
    assert fold == {
        ImageKey(key.image_set.casefold(), key.image_id): fold_keys(value) for key, value in second.images.items()
    }


_text = st.text(alphabet="aZ0 \x00\ud800\udc00é「", max_size=8)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["ImageSet", "x", "PHostImageSet", "", "ImageId"]), _json, max_size=4))
def test_any_object_is_read_without_an_exception(document: dict[str, Any]) -> None:
    """No JSON object makes the reader fail, and what it gives can be written as UTF-8."""
    snapshot = read(document)
    canonical_json([[*key, value] for key, value in snapshot.images.items()]).encode("utf-8")
    assert snapshot == read(document)


def undecoded(document: dict[str, Any]) -> dict[str, Any]:
    """Return the members as an answer brings them."""
    found = members(json.dumps(document).encode())
    assert found is not None
    return found


def test_what_is_nested_too_deeply_is_not_understood() -> None:
    """A set that cannot be decoded is no empty set; a field is kept to a depth that every reader can read."""
    for levels, is_kept in ((MAX_DEPTH, True), (MAX_DEPTH + 1, False), (600, False)):
        odd: Any = 1
        for _ in range(levels):
            odd = [odd]
        document = {"ImageSet": [{"ImageId": "a", "Odd": odd}]}
        if is_kept:
            (attributes,) = read(document).images.values()
            assert attributes["extra"]["Odd"] == odd
        else:
            with pytest.raises(NotUnderstood, match="nested"):
                read(document)
    with pytest.raises(NotUnderstood, match="nested too deeply"):
        read({"ImageSet": Unread(b"[" * 100_000 + b"]" * 100_000)})


@pytest.mark.parametrize("where", ["ImageId", "ImageName", "Odd"])
def test_the_longest_text(where: str) -> None:
    """A text of any length that a person may want is kept; one that is longer than that is not understood."""
    document = {"ImageSet": [{"ImageId": "a", where: "x" * LONGEST_TEXT}]}
    assert str(read(document).images).count("x") >= LONGEST_TEXT
    document["ImageSet"][0][where] += "x"
    with pytest.raises(NotUnderstood, match="longer than 100,000 characters"):
        read(document)


def test_records_in_another_wrapper() -> None:
    """Each object inside what is no record itself counts as one that could not be read; an empty one does not."""
    snapshot = read({"RetCode": 0, "ImageSet": {"a": {"x": 1}, "b": [{"y": 2}, {}], "c": 3}})

    assert (snapshot.images, snapshot.records, snapshot.unreadable) == ({}, 2, 2)


@pytest.mark.parametrize("place", [lambda r: [r], lambda r: [[r]], lambda r: {"a": [r]}, lambda r: r, json.dumps])
def test_a_record_in_another_place_is_one(place: Callable[[Any], Any]) -> None:
    """A record that cannot be read counts once wherever it stands, whatever its fields hold: answers are compared."""
    record = {"UImageId": "uimage-a", "imagename": "x", "Extra": {"a": {"b": 1}}, "Tags": [{"c": 2}]}

    snapshot = read({"RetCode": 0, "ImageSet": place(record)})

    assert (snapshot.images, snapshot.records, snapshot.unreadable) == ({}, 1, 1)


def test_nothing_before_a_record() -> None:
    """What is null or empty in a list that is read piece by piece ends it as little as in one that is read at once."""
    document = members(b'{"RetCode":0,"ImageSet":[null,{},{"ImageId":"uimage-a"},null,"uimage-b"]}')
    assert document is not None

    snapshot = read(document)
    assert list(snapshot.images) == [image_key("uimage-a"), image_key("uimage-b")]
    assert (snapshot.records, snapshot.unreadable) == (2, 0)


def test_too_many_records() -> None:
    """More records than are read are no answer, in one set or in several together."""
    assert len(read({"ImageSet": [str(number) for number in range(MAX_RECORDS)]}).images) == MAX_RECORDS
    half = [str(number) for number in range(MAX_RECORDS // 2 + 1)]
    assert len(read({"ImageSet": half}).images) == len(half)
    for document in ({"ImageSet": half * 2}, {"ImageSet": half, "CustomImageSet": half}):
        with pytest.raises(NotUnderstood, match="more than 10,000 records"):
            read(document)


def test_fields_with_names_of_ours() -> None:
    """A field that is called as something of ours is a field like any other, also where two records state it."""
    for name in ("extra", "EXTRA", "image_name", "image_id", "zone_id", ""):
        document = {"ImageSet": [{"ImageId": "a", name: "v2"}, {"ImageId": "a", name: "v1"}]}
        (attributes,) = read(document).images.values()
        assert attributes == {"extra": {name: "v1"}}


def test_many_records_of_one_id() -> None:
    """They are one image with the fields of all; of a field that several state the smallest value, in any order."""
    many = [{"ImageId": "a", "ImageSize": size, "Odd": {"n": size}} for size in range(200, 0, -1)]
    many += [{"ImageId": "a", f"f{number}": number} for number in range(200)] + [{"ImageId": "a", "odd": []}]
    for records in (many, many[::-1]):
        (attributes,) = read({"ImageSet": records}).images.values()
        extra = fold_keys(attributes["extra"])
        assert attributes["size_gb"] == 1
        assert extra.pop("odd") == []
        assert extra == {f"f{number}": number for number in range(200)}


def test_keys_in_any_order() -> None:
    """An object of tens of thousands of keys has its canonical text, in whatever order they come."""
    names = [f"k{number:05}" for number in range(60_000)]
    text = "{" + ",".join(f'"{name}":1' for name in names) + "}"
    for order in (names, names[::-1], [names[-1], *names[:-1]], [*names[1::2], *names[::2]]):
        assert canonical_json([dict.fromkeys(order, 1)]) == f"[{text}]"
        assert canonical_json(dict.fromkeys(order, 1)) == text


def test_numbers_that_no_database_holds() -> None:
    """A known field with such a number states nothing; an unknown one keeps its digits, and NaN is nothing."""
    huge = 10**30
    (attributes,) = read(
        {"ImageSet": [{"ImageId": "a", "ImageSize": huge, "ZoneId": -huge, "Odd": [huge, 1], "Nan": float("nan")}]}
    ).images.values()
    assert attributes == {"extra": {"Odd": sorted([str(huge), 1], key=canonical_json)}}


def test_notices_show_the_beginning_of_a_long_name() -> None:
    """A name that the cloud made up does not fill the notices."""
    snapshot = read({"ImageSet": [{"ImageId": "a", "x" * 5_000: 1}], "y" * 5_000: 1, "ImageSet" + "z" * 5_000: ["b"]})
    assert len(snapshot.notices) == 3
    assert max(map(len, snapshot.notices)) < 200


def test_sets_read_before() -> None:
    """A reader that has read a set gives the same again, its notices too, and never takes one for another."""
    reader = SetReader(UK8S_IMAGE, read_before=sets_read_before(at_once=2))
    bodies: list[dict[str, Any]] = [
        {"ImageSet": [{"ImageId": "a", "Odd": 1, "ImageSize": "big"}, {"ImageId": "b", "Odd": True}]},
        {"ImageSet": [{"ImageId": "a", "Odd": 1.0}, {"ImageId": "a", "Odd": 1, "ImageSize": "big"}, {"Odd": 1}]},
        {"ImageSet": ["a", "b", " ", None, 5, {"ImageId": "c", "NotSupportGPU": False}]},
    ]
    bodies += [{"ImageSet": body["ImageSet"] * WORTH_REMEMBERING} for body in bodies]
    for document in bodies * 2:
        shared = parse(undecoded(document), UK8S_IMAGE, "hk-02", {}, reader)
        alone = read(document)
        assert shared == alone
        assert canonical_json(list(shared.images.values())) == canonical_json(list(alone.images.values()))


def test_records_of_two_targets_are_shared() -> None:
    """Projects that list the same image hold one copy of what it says."""
    reader = SetReader(UK8S_IMAGE)
    records = [{"ImageId": str(number), "ImageName": "Ubuntu"} for number in range(WORTH_REMEMBERING)]
    first, second = (parse(undecoded({"ImageSet": records}), UK8S_IMAGE, "hk-02", {}, reader).images for _ in range(2))
    assert first[ImageKey("ImageSet", "0")] is second[ImageKey("ImageSet", "0")]


def test_size_of() -> None:
    """What is remembered is weighed by what it takes: all it holds, a shared part of it once, no names of fields."""
    text, other = "x" * 1_000, "y" * 2_000
    notes = [other, text]
    extra = {"Note": notes}
    record = {"image_name": text, "extra": extra}
    parts = (record, extra, notes, text, other, "extra", "Note")
    assert size_of(record, text) == sum(map(getsizeof, parts))


def test_sets_are_remembered_by_what_they_take() -> None:
    """Sets that take more than may be remembered together are forgotten, the one not asked for the longest first."""
    reader = SetReader(UK8S_IMAGE)
    sets = [
        [{"ImageId": f"{number}-{own}", "ImageName": f"{own:0100000}"} for own in range(WORTH_REMEMBERING)]
        for number in range(BYTES_AT_ONCE // (WORTH_REMEMBERING * 100_000) + 1)
    ]
    values = [undecoded({"ImageSet": records})["ImageSet"] for records in sets]
    before = [reader.read("ImageSet", value) for value in values]
    again = [reader.read("ImageSet", value) for value in reversed(values)]
    assert [one is two for one, two in zip(reversed(before), again, strict=True)][:-1] == [True] * (len(sets) - 1)
    assert again[-1] is not before[0]


def kind_read(kind: str, document: dict[str, Any], zone: str = "hk-02") -> dict[tuple[str, str], Any]:
    """Return what a document of *kind* lists, by set and id."""
    snapshot = parse({"RetCode": 0, **document}, KINDS[kind], zone, {})
    return {(key.image_set, key.image_id): attributes for key, attributes in snapshot.images.items()}


def test_versions_in_both_forms() -> None:
    """The table's array `Data` is read, and the example's version beside an empty one."""
    listed = {"Data": [{"K8sVersion": "1.30.14", "ContainerdVersion": "1.7"}]}
    example = {"Action": "GetUK8SVersionsResponse", "ContainerdVersion": "1.7", "Data": {}, "K8sVersion": "1.30.14"}

    expected = {("Data", "1.30.14"): {"containerd_version": "1.7"}}
    assert kind_read("uk8s-version", listed, "") == expected
    assert kind_read("uk8s-version", example, "") == expected
    assert kind_read("uk8s-version", {"Data": []}, "") == {}


def test_sets_states_and_days() -> None:
    """An image's type is its set, its State says whether it boots, and days and seconds are read as such."""
    record = {
        "ImageId": "uimage-a",
        "ImageType": "Custom",
        "State": "Copying",
        "MaintainEol": "2026/06/30",
        "CreateTime": "0",
    }

    assert kind_read("uhost-image", {"ImageSet": [record]}) == {
        ("Custom", "uimage-a"): {"image_state": "Copying", "bootable": False, "maintain_eol": "2026-06-30"}
    }
    assert kind_read(
        "uhost-image", {"ImageSet": [{"ImageId": "uimage-b", "ImageType": "Custom", "State": "available"}]}
    ) == {("Custom", "uimage-b"): {"image_state": "available", "bootable": True}}


def test_what_is_not_compared() -> None:
    """A snapshot says which of its kind's fields make no difference."""
    groups = parse({"NodeGroupList": []}, KINDS["node-group"], "", {})

    assert groups.uncompared == KINDS["node-group"].uncompared != frozenset()
    assert read({"ImageSet": []}).uncompared == UK8S_IMAGE.uncompared


def test_records_of_another_zone_by_name() -> None:
    """A record that names another zone than was asked belongs to that; where all do, the answer is about another."""
    own, other = ({"ImageId": f"uimage-{zone}", "ImageType": "Base", "Zone": zone} for zone in ("HK-02", "hk-01"))
    some = parse({"ImageSet": [own, other]}, KINDS["uhost-image"], "hk-02", {})
    others = parse({"ImageSet": [other]}, KINDS["uhost-image"], "hk-02", {})

    assert [key.image_id for key in some.images] == ["uimage-HK-02"]
    assert [key.image_id for key in some.foreign] == ["uimage-hk-01"]
    assert (some.is_elsewhere, others.is_elsewhere) == (False, True)


def test_spot_capacity_is_another_thing() -> None:
    """A machine type is called by its name, and as spot capacity by that too."""
    types = [{"Name": "V100", "InstanceType": kind} for kind in ("uhost", "Spot")] + [{"Name": "O"}]

    assert {key[1] for key in kind_read("instance-type", {"AvailableInstanceTypes": types, "Status": "OK"})} == {
        "V100", "V100/spot", "O",
    }  # fmt: skip


def test_ignored_fields_in_any_spelling() -> None:
    """A field that is ignored is so by the API's name or ours, whatever its case and its underscores."""
    record = {"ImageId": "a", "ImageName": "A", "NotSupportGPU": False, "New_Field": 1, "Kept": 2}
    document = {"RetCode": 0, "ImageSet": [record]}
    reader = SetReader(UK8S_IMAGE, ignored=("gpu", "NEWFIELD"))
    (attributes,) = parse(document, UK8S_IMAGE, "hk-02", {}, reader).images.values()

    assert attributes == {"image_name": "A", "extra": {"Kept": 2}}


def test_most_values_of_an_answer() -> None:
    """An answer of the most values is read, one of a value more is refused, and a limit may be stated."""
    assert members(b'{"a": [1, 2, 3]}', 4) == {"a": Unread(b"[1, 2, 3]")}
    with pytest.raises(NotUnderstood) as caught:
        members(b'{"a": [1, 2, 3]}', 3)
    assert str(caught.value) == "the answer holds more than 3 values, which is more than is read"

    enough = b'{"a": [' + b"1," * (MAX_VALUES - 2) + b"1]}"
    assert members(enough) is not None
    with pytest.raises(NotUnderstood, match=r"^the answer holds more than 150,000 values, which"):
        members(enough.replace(b"[", b"[1,"))


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b"{", b"", b'{"a": "\xff"}'])
def test_what_is_no_object_has_no_members(body: bytes) -> None:
    """Of what is no JSON object there are no members."""
    assert members(body) is None


def test_members_that_only_json_takes() -> None:
    """What `json.loads` reads and the quick decoder does not is read all the same, and plain values are decoded."""
    assert members(b'{"a": Infinity, "b": [1]}') == {"a": float("inf"), "b": [1]}
    assert members(b'{"a": "x", "b": 1, "c": null, "d": {}}') == {"a": "x", "b": 1, "c": None, "d": Unread(b"{}")}


@pytest.mark.parametrize(
    ("text", "images", "weight"),
    [
        (b"1", 0, 1),
        (b"[1,2]", 0, 5 + 90 + 60),
        (b'{"a":1}', 0, 7 + 250 + 110),
        (b"1", 2, 1 + 800),
        ('"é"'.encode(), 0, 8),
        ('"\U0001f600"'.encode(), 0, 24),
    ],
)
def test_weight_of(text: bytes, images: int, weight: int) -> None:
    """What a text takes decoded grows with its characters, its values, its names and the images it lists."""
    assert weight_of(text, images) == weight
    assert weight_of(text) == weight - 400 * images


@pytest.mark.parametrize(
    ("record", "value"),
    [
        ({"a": 1, "B": 2}, 1),
        ({"B": 2, "c": 3}, 2),
        ({"a": None, "B": 2}, 2),
        ({"A": None, "b": 0}, 0),
        ({"A": 4, "b": 5}, 4),
        ({"C": 1}, None),
        ({}, None),
    ],
)
def test_find(record: dict[str, Any], value: Any) -> None:
    """The first spelling that states a value wins, as documented before any other case; null states none."""
    assert find(record, ("a", "B")) == value


@pytest.mark.parametrize(
    ("record", "image_id"),
    [
        (" a ", "a"),
        ("a b", None),
        ("[a", None),
        ({"ImageId": " a "}, "a"),
        ({"ImageId": 7}, "7"),
        ({"ImageId": True}, None),
        ({"ImageId": 1.5}, None),
        ({"ImageId": " "}, None),
        ({"imageid": "a\x00"}, "a\ufffd"),
        (None, None),
        (["a"], None),
    ],
)
def test_key_of(record: Any, image_id: str | None) -> None:
    """An id is a text or a whole number, without the blanks around it; anything else identifies nothing."""
    expected = None if image_id is None else ImageKey("ImageSet", image_id)
    assert key_of(UK8S_IMAGE, "ImageSet", record) == expected


def test_members_in_their_order() -> None:
    """Sets have their canonical names, what the answer states about itself its own, and counts their members'."""
    found = read_members({"imageset": ["a"], "TOTALCOUNT": "3", "RetCode": 0}, UK8S_IMAGE, UK8S_IMAGE.sets)
    assert found == ([("ImageSet", ["a"])], [("TOTALCOUNT", 3)], (), "", "", [])
