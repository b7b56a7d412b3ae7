"""Which words are keys of ids, zones, and what comments say."""

from __future__ import annotations

import pytest

from crawler.domain.scanner.words import (
    Said,
    image_key,
    is_image_id,
    is_zone,
    is_zone_by_itself,
    key_of_patch,
    name_in_comment,
    read_comments,
    uncommented,
    zone_key,
)


@pytest.mark.parametrize(
    ("key", "prefix"),
    [
        ("image_id", ""), ("IMAGE_ID", ""), ("imageIds", ""), ("--image-id", ""), ("-image-id", ""),
        ("Pool_image_id", "pool"), ("Nodes.0.ImageId", "nodes.0"), ("ImageIds.0", ""), ("image_id[3]", ""),
        ("nodeImageId", "node"), ("infra:imageId", ""), ("infra:gpu_image_id", "gpu"), ("a:b:ImageId", ""),
        ("image_id:a", None), ("a" * 191 + "_image_id", "a" * 191), ("a" * 192 + "_image_id", None),
        ("image", None), ("preimage_id", None), ("image_id_x", None), ("", None), ("X_image_id", "x"),
    ],
)  # fmt: skip
def test_keys_of_ids(key: str, prefix: str | None) -> None:
    """A key of an id is told with the words before it, up to two hundred characters."""
    assert image_key(key) == prefix


@pytest.mark.parametrize(
    ("key", "prefix"),
    [
        ("zone", ""), ("ZONE", ""), ("Zone", ""), ("--zone", ""), ("availability_zone", ""), ("AvailabilityZone", ""),
        ("AVAILABILITY_ZONE", ""), ("availability_zones", ""), ("AVAILABILITY_ZONES", ""), ("Pool_Zone", "pool"),
        ("infra:zone", ""), ("infra:gpuZone", "gpu"),
        ("zones", None), ("pool_zones", None), ("ZONES", None), ("infra:zones", None), ("timezone", None),
        ("zone_id", None),
    ],
)  # fmt: skip
def test_keys_of_zones(key: str, prefix: str | None) -> None:
    """A key of a zone is told with the words before it; a plural is one of availability zones alone."""
    assert zone_key(key) == prefix


@pytest.mark.parametrize(
    ("text", "where_one_stands", "anywhere"),
    [
        ("hk-02", True, True), ("cn-bj2-02", True, True), ("hk-a1", True, True), ("cn-north", True, False),
        ("hk", False, False), ("2k-02", True, False), ("hk-002", True, False), ("image-1", False, False),
        ("a-b-c-d-e", True, False), ("a-b-c-d-e-f", False, False), ("", False, False),
    ],
)  # fmt: skip
def test_zones(text: str, where_one_stands: bool, anywhere: bool) -> None:
    """Where a zone should stand words with hyphens are one; elsewhere it ends in a number; an id of an image never."""
    assert is_zone(text) is where_one_stands
    assert is_zone_by_itself(text) is anywhere


def test_ids() -> None:
    """An id is its kind and small letters or digits."""
    words = ("uimage-a", "image-1", "bsi-z9", "uimage-A", "uimage-", " image-1")
    assert [one for one in words if is_image_id(one)] == ["uimage-a", "image-1", "bsi-z9"]


@pytest.mark.parametrize(
    ("op", "path", "key"),
    [
        ("replace", "/spec/imageId", "imageId"), ("add", "/spec/imageIds/-", "imageIds"),
        ("add", "/spec/imageIds/10", "imageIds"), (None, "/imageId", "imageId"), ("test", "/spec/imageId", ""),
        ("replace", "/spec/imageIds/0/name", "name"), ("replace", "/pools/0", "pools"), ("replace", "", ""),
    ],
)  # fmt: skip
def test_keys_of_patches(op: str | None, path: str, key: str) -> None:
    """A patch sets the last member of its path, or an element of it, unless it only tests that."""
    assert key_of_patch(op, path) == key


def test_comments() -> None:
    """A comment is about its own line where an id stands in it, else about the next; its name is as names compare."""
    text = (
        "a: uimage-a # ucloud-image: hk-02/Rocky%20Linux\n"
        "# ucloud-image: hk-03/b (was uimage-b)\n"
        "x\n"
        "# crawler: ignore\n"
        "# ucloud-image: nowhere/c\n"
        "y // crawler:ignore /* ucloud-image: sg-01/D*/\n"
        "# crawler: ignored\n"
    )
    said = read_comments(text)

    assert said.named == {1: Said("hk-02", "rocky-linux"), 3: Said("hk-03", "b"), 7: Said("sg-01", "d")}
    assert said.ignored == {4, 6}
    assert read_comments("# crawler: ignore").ignored == {1}
    assert read_comments("# ucloud-image: hk-02/a").named == {2: Said("hk-02", "a")}
    assert read_comments("nothing") == ({}, frozenset())


def test_blanks_for_comments() -> None:
    """A comment becomes as many blanks; what is none stays."""
    assert uncommented("a # bc") == "a     "
    assert uncommented("a /* b */ c;// d") == "a         c;    "
    assert uncommented("a#b http://c") == "a#b http://c"
    assert name_in_comment("Rocky  Linux 9*/") == "rocky-linux-9"


def test_comments_of_json() -> None:
    """In JSON the text of a member `"//"` is a comment, but on a line of several ids: it may be the whole file."""
    lines = (
        '"//": "ucloud-image: hk-02/ubuntu-22.04-%28gpu%29",\n'
        '"//" : "ucloud-image: hk-03/b was uimage-old"}\n'
        '{"//":"ucloud-image: sg-01/c","ImageId":"uimage-a"}\n'
        '[{"//":"ucloud-image: sg-01/c","ImageId":"uimage-a"}, {"ImageId":"uimage-b"}]\n'
        '{"ImageId": "uimage-b", "//": "crawler: ignore", "/": "ucloud-image: hk-04/d"}\n'
        '"//": "ucloud-image: hk-04/e"\n'
    )
    said = read_comments(lines)

    assert said.named == {2: Said("hk-02", "ubuntu-22.04-(gpu)"), 3: Said("sg-01", "c"), 7: Said("hk-04", "e")}
    assert not said.ignored
