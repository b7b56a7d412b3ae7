"""The records of sets: several sets in one answer, long ones, odd members of a record, and readers that share."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from crawler.domain.kinds import KINDS, UK8S_IMAGE
from crawler.domain.models import ImageKey, Snapshot
from crawler.domain.parsing import (
    LONG_LIST,
    MAX_RECORDS,
    WORTH_REMEMBERING,
    SetReader,
    Unread,
    parse,
    sets_read_before,
)
from crawler.errors import NotUnderstood
from tests.support.answers import answer, image_key


def read(document: dict[str, Any], zone_of: dict[int, str] | None = None, kind: str = "uk8s-image") -> Snapshot:
    return parse(document, KINDS[kind], "hk-02", zone_of or {})


# --- several sets ----------------------------------------------------------------------------------------------------


def test_foreign_and_unreadable_records_of_several_sets() -> None:
    """What each set has of other zones' records, and of records without an id, is counted in all of them."""
    sets = {
        "ImageSet": [{"ImageId": "a", "ZoneId": 7}, {"OsType": "x"}, {"ImageId": "b"}],
        "PHostImageSet": [{"ImageId": "a", "ZoneId": 7}, {"OsType": "x"}, {"OsType": "y"}],
        "CustomImageSet": ["c"],
    }
    snapshot = read(sets, zone_of={7: "hk-01"})
    assert list(snapshot.images) == [image_key("b"), image_key("c", "CustomImageSet")]
    assert snapshot.foreign == {image_key("a"), image_key("a", "PHostImageSet")}
    assert (snapshot.records, snapshot.unreadable, snapshot.is_elsewhere) == (7, 3, False)
    assert snapshot.notices == (
        "ImageSet: a record without ImageId",
        "PHostImageSet: a record without ImageId",
        "hk-02: records that belong to another zone and were left out: 2",
    )


@pytest.mark.parametrize("own_first", [True, False])
@pytest.mark.parametrize(
    ("own", "is_elsewhere"),
    [
        ({"ImageId": "a", "ZoneId": 3002}, False),
        ({"ImageId": "a"}, False),
        ({"ImageName": "no id", "ZoneId": 3002}, False),
        ({"ImageName": "no id"}, False),
        ({"ImageId": "a", "ZoneId": 4001}, True),
        ({"ImageName": "no id", "ZoneId": 4001}, True),
    ],
)
def test_every_set_is_elsewhere(own: dict[str, Any], is_elsewhere: bool, own_first: bool) -> None:
    """An answer is another zone's where each record of each set states so, whichever set comes first."""
    sets = [("ImageSet", [own]), ("PHostImageSet", [{"ImageId": "b", "ZoneId": 4001}])]
    document = dict(sets if own_first else reversed(sets))
    assert read(document, zone_of={3002: "hk-02", 4001: "hk-01"}).is_elsewhere == is_elsewhere


@pytest.mark.parametrize("zones", [("hk-01", "hk-01"), ("hk-01", "HK-02"), ("hk-02", "hk-01"), ("hk-01", None)])
def test_several_sets_that_name_a_zone(zones: tuple[str, str | None]) -> None:
    """Where the records of all sets name another zone the answer is another's, and not where one names its own."""
    first, second = ([{"ImageId": "a", "ImageType": "Base", "Zone": zone}] for zone in zones)
    snapshot = read({"ImageSet": first, "MoreImageSet": second}, kind="uhost-image")
    assert snapshot.records == 2
    assert snapshot.is_elsewhere == (zones == ("hk-01", "hk-01"))


def test_no_zone_was_asked() -> None:
    """A record that names a zone is nobody else's where the answer is a whole region's."""
    machine = {"Name": "O", "Zone": "hk-01"}
    snapshot = parse({"AvailableInstanceTypes": [machine]}, KINDS["instance-type"], "", {})
    assert snapshot.images == {ImageKey("AvailableInstanceTypes", "O"): {"zone_name": "hk-01"}}
    assert (snapshot.foreign, snapshot.is_elsewhere) == (frozenset(), False)


def test_sets_that_are_spelled_alike_beside_another() -> None:
    """Where one set comes in several cases the others keep their names, also those of another zone's records."""
    document = {
        "fooImageSet": ["a"],
        "FooImageSet": ["b", {"ImageId": "f", "ZoneId": 7}],
        "ImageSet": ["c", {"ImageId": "g", "ZoneId": 7}],
        "barImageSet": ["d"],
    }
    snapshot = read(document, zone_of={7: "hk-01"})
    assert set(snapshot.images) == {
        ImageKey("FooImageSet", "a"), ImageKey("FooImageSet", "b"), ImageKey("ImageSet", "c"),
        ImageKey("barImageSet", "d"),
    }  # fmt: skip
    assert snapshot.foreign == {ImageKey("FooImageSet", "f"), ImageKey("ImageSet", "g")}


def test_a_version_without_its_number() -> None:
    """A record of a set that the answer itself could be is counted where its id is missing, and the set is named."""
    snapshot = read({"Data": [{"ContainerdVersion": "1.7"}], "K8sVersion": "1.30.14"}, kind="uk8s-version")
    assert (snapshot.images, snapshot.records, snapshot.unreadable) == ({}, 1, 1)
    assert snapshot.notices == ("Data: a record without K8sVersion",)


# --- records ---------------------------------------------------------------------------------------------------------


def test_members_that_say_nothing() -> None:
    """A member that is null, empty or ignored is passed over, and those after it are read."""
    record: dict[str, Any] = {
        "A": None,
        "AOdd": 1,
        "Features": None,
        "ImageId": "a",
        "ImageSize": "",
        "OsName": {},
        "ZoneId": 3002,
    }
    reader = SetReader(UK8S_IMAGE, ignored=("a_odd",))
    (attributes,) = (found := parse(answer(record), UK8S_IMAGE, "hk-02", {}, reader)).images.values()
    assert attributes == {"zone_id": 3002}
    assert found.notices == ()


@pytest.mark.parametrize("size", ["big", " ", [], [5], {"a": 1}, True])
def test_a_member_that_is_not_understood(size: Any) -> None:
    """Whatever else a member holds that is not of its type is told, and states nothing."""
    snapshot = read(answer({"ImageId": "a", "ImageSize": size}))
    assert snapshot.images == {image_key("a"): {}}
    assert snapshot.notices == ("ImageSize was not understood in at least one record",)


def test_unknown_members_of_duplicates() -> None:
    """Of unknown members that several records of one id state each is kept, the smallest value of it."""
    records: list[dict[str, Any]] = [
        {"ImageId": "a", "X": 2, "Y": [1], "OsType": "u"},
        {"ImageId": "a", "x": 1, "Z": 3},
        {"ImageId": "a"},
    ]
    for rows in (records, [*records[1:], records[0]]):
        (attributes,) = read(answer(*rows)).images.values()
        assert attributes["os_type"] == "u"
        assert {name.casefold(): value for name, value in attributes["extra"].items()} == {"x": 1, "y": [1], "z": 3}
    (without,) = read(answer({"ImageId": "a", "OsType": "v"}, {"ImageId": "a", "OsType": "u"})).images.values()
    assert without == {"os_type": "u"}


# --- long lists ------------------------------------------------------------------------------------------------------


def long_list(*records: Any) -> Unread:
    """Return *records* as an answer brings them, the member `Odd` of the last being as long as a long list."""
    last = {"ImageId": "last", "Odd": ["x" * 50_000] * (LONG_LIST // 50_000 + 1)}
    return Unread(json.dumps([*records, last]).encode())


def test_a_long_list() -> None:
    """A list that is read record by record says what a short one does; null and `{}` in it are no records."""
    records = [None, {"ImageId": "a", "OsType": "x"}, {}, {"OsType": "y"}, None, "b", {"ImageId": "a", "OsType": "u"}]
    value = long_list(*records)
    assert len(bytes(value)) > LONG_LIST
    found = SetReader(UK8S_IMAGE, ignored=("Odd",)).read("ImageSet", value)
    short = SetReader(UK8S_IMAGE, ignored=("Odd",)).read("ImageSet", [*records, "last"])
    assert found == short
    assert [record and record.key.image_id for record in found.records] == ["a", None, "b", "a", "last"]
    assert found.images == {image_key("a"): {"os_type": "u"}, image_key("b"): {}, image_key("last"): {}}
    assert found.notices == ("ImageSet: a record without ImageId",)


def test_a_long_record() -> None:
    """One record as long as a long list is one record."""
    record = {"ImageId": "a", "OsType": "x", "Odd": ["x" * 50_000] * (LONG_LIST // 50_000 + 1)}
    found = SetReader(UK8S_IMAGE, ignored=("Odd",)).read("ImageSet", Unread(json.dumps(record).encode()))
    assert found.images == {image_key("a"): {"os_type": "x"}}


def test_a_long_list_is_never_decoded_as_a_whole() -> None:
    """Of a long list one record at a time is in memory, which is less than what all of them take."""
    records = b",".join(b'{"ImageId":"%d","Odd":[%s]}' % (number, b"1.5," * 2_000 + b"1.5") for number in range(80))
    value = Unread(b"[" + records + b"]")
    assert len(bytes(value)) > LONG_LIST
    decoded_whole = 80 * 2_000 * (8 + 24)  # the place of a number in its list, and the number
    reader = SetReader(UK8S_IMAGE, ignored=("Odd",))
    tracemalloc.start()
    try:
        found = reader.read("ImageSet", value)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found.images) == 80
    assert peak < decoded_whole / 4


def test_most_records_are_records() -> None:
    """What is null or empty does not count among the records of a list, of which so many are read."""
    rows = [str(number) for number in range(MAX_RECORDS)]
    assert read({"ImageSet": [None, {}, *rows, None]}).records == MAX_RECORDS
    with pytest.raises(NotUnderstood) as caught:
        read({"ImageSet": [*rows, "one more"]})
    assert str(caught.value) == "the answer lists more than 10,000 records, which is more than are read"


# --- readers that share ----------------------------------------------------------------------------------------------


def test_readers_share_what_they_have_read() -> None:
    """A set that one reader has read another of the same kind and fields takes from it, and no other reader does."""
    value = Unread(json.dumps([f"uimage-{number}" for number in range(WORTH_REMEMBERING)]).encode())
    shared = sets_read_before()
    first = SetReader(UK8S_IMAGE, read_before=shared).read("ImageSet", value)
    assert SetReader(UK8S_IMAGE, read_before=shared).read("ImageSet", value) is first
    assert SetReader(UK8S_IMAGE, read_before=shared).read("PHostImageSet", value) is not first
    assert SetReader(UK8S_IMAGE, read_before=shared, ignored=("OsType",)).read("ImageSet", value) is not first
    assert SetReader(UK8S_IMAGE).read("ImageSet", value) is not first
