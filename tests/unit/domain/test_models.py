"""What other modules count on: what is remembered for how long, how a catalog is stored, what a database holds."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from crawler.domain.models import (
    Catalog,
    Place,
    Project,
    Recent,
    Target,
    canonical_json,
    digest_of,
    fold_keys,
    is_storable,
    iso_utc,
    require_aware,
)


def test_no_more_values_than_were_asked_for() -> None:
    """Of more values than are kept at once the one goes that was asked for longest ago."""
    recent: Recent[str, int] = Recent(at_once=2, weight=100)
    recent.put("first", 1, 1)
    recent.put("second", 2, 1)
    assert recent.get("first") == 1
    recent.put("third", 3, 1)

    assert [recent.get(key) for key in ("first", "second", "third")] == [1, None, 3]


def test_no_more_weight_than_was_allowed() -> None:
    """Several values weigh no more than is allowed, to the last unit; what goes takes its weight away."""
    recent: Recent[str, int] = Recent(at_once=10, weight=10)
    recent.put("first", 1, 4)
    recent.put("second", 2, 6)
    assert [recent.get("first"), recent.get("second")] == [1, 2]
    recent.put("third", 3, 4)
    assert [recent.get(key) for key in ("first", "second", "third")] == [None, 2, 3]
    recent.put("fourth", 4, 1)

    assert [recent.get(key) for key in ("second", "third", "fourth")] == [None, 3, 4]


def test_a_value_that_comes_again() -> None:
    """A value under the same key takes the place of the other, and its weight alone counts."""
    recent: Recent[str, int] = Recent(at_once=10, weight=10)
    for weight in (9, 8, 2):
        recent.put("same", weight, weight)
    recent.put("other", 1, 8)

    assert [recent.get("same"), recent.get("other")] == [2, 1]


def test_one_value_of_any_weight() -> None:
    """The last value is remembered however heavy it is, and what comes after it takes its place."""
    recent: Recent[str, int] = Recent(at_once=10, weight=10)
    recent.put("light", 1, 1)
    recent.put("heavy", 2, 1000)
    assert [recent.get("light"), recent.get("heavy")] == [None, 2]
    recent.put("after", 3, 10)

    assert [recent.get("heavy"), recent.get("after")] == [None, 3]


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_catalog_as_it_is_stored(is_listed: bool) -> None:
    """A project has a third part where it is the default one, or was listed without a name; a place its number."""
    projects = (Project("org-a", "a"), Project("org-b", ""), Project("org-c", "c", is_default=True))
    catalog = Catalog(projects=projects, places=(Place("hk", "hk-02", 3001),), is_listed=is_listed)

    assert catalog.as_lists() == (
        [["org-a", "a"], ["org-b", "", False] if is_listed else ["org-b", ""], ["org-c", "c", True]],
        [["hk", "hk-02", 3001]],
    )


def test_a_catalog_is_known_by_its_digest() -> None:
    """Two catalogs have one digest when they are stored alike, and else two."""
    catalog = Catalog(projects=(Project("org-a", "a"),), places=(Place("hk", "hk-02", 3001),))
    others = (
        Catalog(projects=(Project("org-a", "b"),), places=catalog.places),
        Catalog(projects=catalog.projects, places=(Place("hk", "hk-02", 3002),)),
        Catalog(projects=(), places=()),
    )

    assert Catalog(projects=catalog.projects, places=catalog.places).digest() == catalog.digest()
    assert len({one.digest() for one in (catalog, *others)}) == 4
    assert catalog.digest() == digest_of([[["org-a", "a"]], [["hk", "hk-02", 3001]]])


@pytest.mark.parametrize("length", [0, 20_000])
def test_equal_values_have_one_text_and_one_digest(length: int) -> None:
    """Keys are sorted and there are no spaces, in short JSON as in long; the digest is that of this text."""
    text = '{"a":[{"c":1,"d":"é"},2],"b":"' + "x" * length + '"}'
    value = {"b": "x" * length, "a": [{"d": "é", "c": 1}, 2]}

    assert canonical_json(value) == text
    assert digest_of(value) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("value", "folded"),
    [
        ({"OsName": "CentOS", "size": {"GB": 20}}, {"osname": "CentOS", "size": {"gb": 20}}),
        ([{"B": 1}, 3, "x", None, {"A": [2, "1"]}], ["x", 3, None, {"a": ["1", 2]}, {"b": 1}]),
        ({"b": 1, "A": None, "a": {}}, {"a": {}, "b": 1}),
        ("Text", "Text"),
    ],
)
def test_folded_keys(value: Any, folded: Any) -> None:
    """Keys are folded at any depth, values are not; lists are in the order of their JSON, whatever stands in them."""
    assert fold_keys(value) == folded


def test_a_target_as_people_read_it() -> None:
    """The parts of a target stand with slashes between them, an empty one too."""
    assert str(Target("prod", "org-x", "hk", "hk-02", "uk8s-image")) == "prod/org-x/hk/hk-02/uk8s-image/default"
    assert str(Target("prod", "org-x", "hk", "", "uhost-image", "arm")) == "prod/org-x/hk//uhost-image/arm"


@pytest.mark.parametrize(
    ("text", "is_it"),
    [("", True), ("Ubuntu 20.04 「EOL」 😀", True), ("\ud7ff\ue000", True), ("a\0", False), ("a\ud800", False),
     ("x\udbff", False), ("\udc00b", False), ("y\udfffy", False)],
)  # fmt: skip
def test_what_a_database_can_hold(text: str, is_it: bool) -> None:
    """A text without NUL and without half of a surrogate pair can be kept."""
    assert is_storable(text) is is_it


def test_moments_as_text() -> None:
    """A moment is told in UTC with Z, its milliseconds where it has a part of a second."""
    noon = datetime(2026, 11, 1, 12, tzinfo=UTC)

    assert iso_utc(noon) == "2026-11-01T12:00:00Z"
    assert iso_utc(noon.astimezone(timezone(timedelta(hours=8)))) == "2026-11-01T12:00:00Z"
    assert iso_utc(noon.replace(microsecond=500_000)) == "2026-11-01T12:00:00.500Z"
    assert iso_utc(None) is None


@pytest.mark.usefixtures("far_east")
def test_moments_are_in_utc() -> None:
    """A moment with a zone is given in UTC, wherever the machine stands; one without is refused."""
    noon = datetime(2026, 11, 1, 12, tzinfo=UTC)

    assert require_aware(noon.astimezone(timezone(timedelta(hours=8)))).isoformat() == "2026-11-01T12:00:00+00:00"
    with pytest.raises(ValueError, match=r"^time without a time zone: 2026-11-01T12:00:00$"):
        require_aware(noon.replace(tzinfo=None))
