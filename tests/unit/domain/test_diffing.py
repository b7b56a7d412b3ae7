"""The comparison of two snapshots."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.domain.diffing import MAX_EXTRA, compare
from crawler.domain.kinds import UK8S_IMAGE
from crawler.domain.models import UNSTATED_SET, Attributes, Differences, ImageKey, KnownState, Snapshot
from crawler.domain.parsing import parse
from tests.support.answers import documents, image_key, known_images, shuffled


def read(document: dict[str, Any]) -> Snapshot:
    return parse(document, UK8S_IMAGE, "hk-02", {})


def differences(before: Mapping[str, Attributes], after: Mapping[str, Attributes]) -> Differences:
    known = KnownState(images={image_key(name): value for name, value in before.items()})
    return compare(
        known, Snapshot(images={image_key(name): value for name, value in after.items()}), uncompared={"zone_id"}
    )


def apply(known: KnownState, found: Differences) -> dict[ImageKey, Attributes]:
    """Apply differences to what was known, as the store does."""
    images = {key: value for key, value in known.images.items() if key not in found.absent}
    for key in (*found.new, *found.modified, *found.filled):
        images[key] = found.merged[key]
    return images


def test_new_absent_modified_filled() -> None:
    """Each kind of difference is told apart."""
    found = differences(
        {"gone": {}, "same": {"gpu": True}, "changed": {"gpu": True, "os_name": "a"}, "learns": {"gpu": True}},
        {"new": {}, "same": {"gpu": True}, "changed": {"gpu": False}, "learns": {"gpu": True, "size_gb": 40}},
    )
    assert found.new == (image_key("new"),)
    assert found.absent == (image_key("gone"),)
    assert found.modified == {image_key("changed"): {"gpu": [True, False]}}
    assert found.filled == (image_key("learns"),)
    assert found.merged[image_key("changed")] == {"gpu": False, "os_name": "a"}


@pytest.mark.parametrize(("more", "zone_id"), [({}, None), ({"gpu": False}, 2), ({"size_gb": 40}, 2)])
def test_what_is_not_compared_comes_with_what_is(more: Attributes, zone_id: int | None) -> None:
    """Another value of a field that is not compared is written with a change, or with what is learned, never alone."""
    found = differences({"a": {"gpu": True, "zone_id": 1}}, {"a": {"gpu": True, "zone_id": 2, **more}})
    written = [*found.modified, *found.filled]
    assert [found.merged[key]["zone_id"] for key in written] == ([zone_id] if zone_id else [])


def test_made_up_fields_do_not_grow() -> None:
    """Of more unknown fields than are kept only those stay that the last answer states; fewer are all remembered."""
    half = {f"a{number}": number for number in range(MAX_EXTRA // 2)}
    other = {f"b{number}": number for number in range(MAX_EXTRA // 2)}
    found = differences({"x": {"gpu": True, "extra": half}}, {"x": {"extra": other}})
    assert found.merged[image_key("x")] == {"gpu": True, "extra": half | other}
    found = differences({"x": found.merged[image_key("x")]}, {"x": {"extra": {"A1": 1, "c": 1}}})
    assert found.merged[image_key("x")] == {"gpu": True, "extra": {"a1": 1, "c": 1}}
    assert (found.filled, found.modified) == ((image_key("x"),), {})


@pytest.mark.parametrize(
    ("before", "after", "fields"),
    [
        ({"gpu": True}, {}, {}),  # missing keeps the last known value
        ({}, {"gpu": True}, {}),  # learned later is no change
        ({"zone_id": 1}, {"zone_id": 2}, {}),  # not compared
        ({"features": []}, {"features": ["x"]}, {"features": [[], ["x"]]}),
        ({"extra": {"Arch": "x86"}}, {"extra": {"arch": "arm"}}, {"extra.Arch": ["x86", "arm"]}),
        ({"extra": {"Arch": "x86"}}, {"extra": {"Tag": 1}}, {}),
    ],
)
def test_only_known_to_different_known_is_a_modification(
    before: Attributes, after: Attributes, fields: dict[str, Any]
) -> None:
    """A missing field is unknown; a value learned later is no change; undeclared fields compare without case."""
    found = differences({"a": before}, {"a": after})
    assert found.modified.get(image_key("a"), {}) == fields


def test_counterpart_is_the_one_other_image_of_the_name() -> None:
    """A re-issue pairs the old and the new id, whatever the spelling of the name."""
    found = differences(
        {"uimage-vareox": {"image_name": "UBuntu 20.04"}}, {"new": {"image_name": "Ubuntu  20.04「EOL」"}}
    )
    assert found.counterparts[image_key("uimage-vareox")] == image_key("new")
    assert found.counterparts[image_key("new")] == image_key("uimage-vareox")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": "X"}, {"b": "Y"}),  # other names
        ({"a": "X", "b": "X"}, {"c": "X"}),  # several went
        ({"a": "X"}, {"b": "X", "c": "X"}),  # several came
        ({"a": ""}, {"b": ""}),  # names that were never stated are not one name
    ],
)
def test_no_counterpart_when_there_is_none_or_several(before: dict[str, str], after: dict[str, str]) -> None:
    """Without exactly one other image of the name there is no counterpart."""
    first, second = ({key: {"image_name": name} for key, name in side.items()} for side in (before, after))
    assert differences(first, second).counterparts == {}


def test_images_without_a_name_are_no_counterparts() -> None:
    """Images that state no name, or one that is no text, have none in common."""
    assert differences({"a": {}}, {"b": {}}).counterparts == {}
    assert differences({"a": {"image_name": 7}}, {"b": {"image_name": None}}).counterparts == {}


@pytest.mark.parametrize(
    ("before", "listed", "meant"),
    [
        ([("ImageSet", "a")], ("imageset", "a"), "ImageSet"),
        ([("ImageSet", "a")], ("imageset", "b"), "ImageSet"),
        ([("ImageSet", "a")], (UNSTATED_SET, "a"), "ImageSet"),
        ([("ImageSet", "a")], (UNSTATED_SET, "b"), UNSTATED_SET),
        ([("One", "a"), ("Two", "a")], (UNSTATED_SET, "a"), UNSTATED_SET),
        ([("One", "b"), ("Two", "a")], (UNSTATED_SET, "a"), "Two"),
        ([(UNSTATED_SET, "a")], (UNSTATED_SET, "a"), UNSTATED_SET),
        ([(UNSTATED_SET, "a")], ("One", "a"), "One"),
    ],
)
def test_sets_are_called_as_before(before: list[tuple[str, str]], listed: tuple[str, str], meant: str) -> None:
    """A set in another case is the one that was known, and an image of none is in the one it was in, if any."""
    known = KnownState(images={ImageKey(*key): {} for key in before})
    found = compare(known, Snapshot(images={ImageKey(*listed): {}}))
    assert list(found.merged) == [ImageKey(meant, listed[1])]
    was_there = {(meant, listed[1]), (UNSTATED_SET, listed[1])}.intersection(before)
    assert (ImageKey(meant, listed[1]) in found.new) == (not was_there)


def test_set_that_is_stated_later_is_learned() -> None:
    """An image that stated no set before has not gone when it states one: its open interval learns that."""
    known = KnownState(images={ImageKey(UNSTATED_SET, "a"): {"size_gb": 1}, ImageKey(UNSTATED_SET, "b"): {}})

    def found(*sets: str, **stated: int) -> Differences:
        listed = {ImageKey(image_set, "a"): stated for image_set in sets}
        return compare(known, Snapshot(images={**listed, ImageKey(UNSTATED_SET, "b"): {}}))

    base = ImageKey("Base", "a")
    same, other = found("Base"), found("Base", size_gb=2)
    assert (same.new, same.absent, same.filled, same.merged[base]) == ((), (), (base,), {"size_gb": 1})
    assert (other.new, other.absent, other.filled) == ((), (), ())
    assert other.modified == {base: {"size_gb": [1, 2]}}
    both = found("Base", UNSTATED_SET)
    assert (both.new, both.absent) == ((base,), ())
    two = found("Base", "Custom")
    assert (two.new, two.absent, two.filled) == ((ImageKey("Custom", "a"),), (), (base,))


@pytest.mark.parametrize(
    ("foreign", "is_absent"), [("FooImageSet", False), ("fooimageset", False), (UNSTATED_SET, False), ("Other", True)]
)
def test_foreign_image_of_a_set_in_another_case_is_not_absent(foreign: str, is_absent: bool) -> None:
    """A record of another zone closes nothing either where its set is spelled in another case, or not stated."""
    known = KnownState(images={ImageKey("FooImageSet", "a"): {}, image_key("b"): {}})
    snapshot = Snapshot(images={image_key("b"): {}}, foreign=frozenset({ImageKey(foreign, "a")}))
    assert compare(known, snapshot).absent == ((ImageKey("FooImageSet", "a"),) if is_absent else ())


def test_comeback_in_a_set_in_another_case() -> None:
    """An image that is back is in the set that it was in, though all of that set had gone."""
    known = KnownState(images={image_key("b"): {}}, withdrawn_before=frozenset({ImageKey("FooImageSet", "a")}))
    found = compare(known, Snapshot(images={ImageKey("fooImageSet", "a"): {}, image_key("b"): {}}))
    assert (found.new, found.absent) == ((ImageKey("FooImageSet", "a"),), ())


def test_same_name_in_another_set_is_no_counterpart() -> None:
    """The counterpart is of the same set."""
    known = known_images(("a", "X"))
    found = compare(known, Snapshot(images={image_key("b", "CustomImageSet"): {"image_name": "X"}}))
    assert found.counterparts == {}


def test_foreign_image_is_not_absent() -> None:
    """A record that turned out to be another zone's closes nothing."""
    found = compare(known_images(("a", "X")), Snapshot(images={}, foreign=frozenset({image_key("a")})))
    assert found.absent == ()


@given(documents, documents)
def test_applying_the_differences_gives_the_new_snapshot(first: dict[str, Any], second: dict[str, Any]) -> None:
    """apply(previous, compare(previous, present)) lists exactly the present images, with every stated value."""
    known = KnownState(images=read(first).images)
    present = read(second)
    applied = apply(known, compare(known, present, uncompared={"zone_id"}))
    assert applied.keys() == present.images.keys()
    for key, stated in present.images.items():
        for name, value in stated.items():
            if name == "extra":
                assert value.items() <= applied[key]["extra"].items()
            elif name != "zone_id":
                assert applied[key][name] == value


@given(documents, st.integers())
def test_saying_the_same_otherwise_is_no_difference(document: dict[str, Any], seed: int) -> None:
    """Shuffled lists, records and keys, duplicates and key case give no difference at all."""
    known = KnownState(images=read(document).images)
    found = compare(known, read(shuffled(document, random.Random(seed))), uncompared={"zone_id"})
    assert (found.new, found.absent, found.modified, found.filled) == ((), (), {}, ())


@pytest.mark.parametrize(
    ("before", "after", "pairs"),
    [
        ({"a": True}, {"b": True}, {"a": "b"}),
        ({"a": True}, {"b": False}, {}),
        ({"a": False}, {"b": True}, {"a": "b"}),
        ({"a": True}, {"a": True, "b": True}, {"b": "a"}),
        ({"a": True}, {"a": True, "b": False}, {}),
        ({"a": True}, {"a": False, "b": True}, {}),
        ({"a": True, "b": False}, {"b": False}, {}),
        ({"a": True, "b": False}, {"b": True}, {"a": "b"}),
    ],
)
def test_nothing_gives_way_to_what_cannot_be_used(
    before: Mapping[str, bool], after: Mapping[str, bool], pairs: Mapping[str, str]
) -> None:
    """One of a name that is open is no counterpart while its state says that it cannot be used."""

    def stated(images: Mapping[str, bool]) -> dict[str, Attributes]:
        return {name: {"image_name": "Rocky 9", "bootable": usable} for name, usable in images.items()}

    found = differences(stated(before), stated(after))
    changed = {key: found.counterparts[key] for key in (*found.new, *found.absent) if key in found.counterparts}
    expected = dict(pairs) | {new: old for old, new in pairs.items() if new not in before}
    assert changed == {image_key(one): image_key(other) for one, other in expected.items()}
