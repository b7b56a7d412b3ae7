"""Two moments and two zones side by side: only what is known on both sides is a difference."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crawler.domain.models import Target
from crawler.domain.rows import ImageRow, Knowledge, Reason
from crawler.queries.compare import side_by_side
from crawler.queries.diff import DiffRow, changed_fields, differences, uncompared

NOW = datetime(2026, 6, 1, tzinfo=UTC)
WELL = Knowledge(reason=None, since=None, observed_at=NOW)
TARGETS = [Target("prod", "org-x", "hk", f"hk-0{zone}", "uk8s-image") for zone in (1, 2)]


def badly(reason: Reason = "failed") -> Knowledge:
    return Knowledge(reason=reason, since=NOW, observed_at=NOW)


def image(
    image_id: str, name: str = "", where: Target = TARGETS[0], reason: Reason | None = None, **fields: Any
) -> ImageRow:
    return ImageRow(
        target=where,
        image_set="ImageSet",
        image_id=image_id,
        attributes={**({"image_name": name} if name else {}), **fields},
        valid_from=NOW,
        present_since=NOW,
        baseline=False,
        superseded_by=None,
        state="unknown" if reason else "present",
        reason=reason,
        observed_at=NOW,
    )


def told(rows: list[DiffRow]) -> list[tuple[str, str, str | None]]:
    return [(row.event, row.image_id, row.counterpart) for row in rows]


def diff(
    first: list[ImageRow], second: list[ImageRow], one: Knowledge = WELL, other: Knowledge = WELL
) -> list[tuple[str, str, str | None]]:
    return told(list(differences(first, second, {TARGETS[0]: one}, {TARGETS[0]: other})))


def test_reissue() -> None:
    """A new id under the old name is two differences that name each other, whatever the spelling."""
    rows = diff([image("uimage-a", "Ubuntu 20.04")], [image("uimage-b", "UBuntu  20.04")])

    assert sorted(rows) == [("appeared", "uimage-b", "uimage-a"), ("withdrawn", "uimage-a", "uimage-b")]


def test_reissue_that_was_there_before() -> None:
    """The successor of a withdrawn image may have been there at the first moment already."""
    both = [image("uimage-a", "Ubuntu 20.04"), image("uimage-b", "Ubuntu 20.04")]

    assert diff(both, both[1:]) == [("withdrawn", "uimage-a", "uimage-b")]
    assert diff(both[1:], both) == [("appeared", "uimage-a", "uimage-b")]


def test_several_candidates_name_none() -> None:
    """Where several images share the name on either side, none is called the other half."""
    old = [image("uimage-a", "Ubuntu"), image("uimage-b", "Ubuntu")]
    new = [image("uimage-c", "Ubuntu")]

    assert {row[2] for row in diff(old, new)} == {None}
    assert {row[2] for row in diff([image("uimage-a")], [image("uimage-b")])} == {None}


def test_unknown_is_no_difference() -> None:
    """What a zone lists at one moment and nobody knows at the other is unknown, in either direction."""
    rows = [image("uimage-a", "Ubuntu")]
    held = [image("uimage-a", "Ubuntu", reason="held")]

    assert diff(rows, [], other=badly()) == diff([], rows, one=badly()) == [("unknown", "uimage-a", None)]
    assert diff(rows, held) == diff(held, rows) == [("unknown", "uimage-a", None)]
    (row,) = differences([], rows, {}, {TARGETS[0]: WELL})
    assert (row.event, row.first, row.first_reason, row.second) == ("unknown", "unknown", "never_observed", "present")


def test_modified() -> None:
    """Known to different known is a modification; a field that one side does not state, and ZoneId, are none."""
    first = [image("uimage-a", "Ubuntu", gpu=True, zone_id=1, os_name="x")]
    second = [image("uimage-a", "Ubuntu", gpu=False, zone_id=2, size_gb=4)]
    (row,) = differences(first, second, {TARGETS[0]: WELL}, {TARGETS[0]: WELL})

    assert (row.event, row.fields) == ("modified", {"gpu": [True, False]})


def test_changed_fields() -> None:
    """Lists compare as sets, undeclared fields by name, kinds nobody knows have no uncompared fields."""
    one = {"features": ["a", "b"], "extra": {"Color": "red", "Size": 1}}
    other = {"features": ["b", "a"], "extra": {"Color": "blue", "Weight": 2}}

    assert changed_fields(one, other) == {"extra.Color": ["red", "blue"]}
    assert uncompared("nothing") == frozenset()
    assert uncompared("uk8s-image") == {"zone_id"}


IMAGES = st.dictionaries(
    st.tuples(st.sampled_from(TARGETS), st.sampled_from("abcd")),
    st.tuples(st.sampled_from(["Ubuntu", "UBUNTU ", "CentOS", ""]), st.sampled_from([None, "held"]), st.booleans()),
)
KNOWN = st.fixed_dictionaries({where: st.sampled_from([WELL, badly(), badly("stale")]) for where in TARGETS})


def rows_of(images: Mapping[Any, Any], known: Mapping[Target, Knowledge]) -> list[ImageRow]:
    """Return the rows that the readers would give."""
    return [
        image(f"uimage-{letter}", name, where, known[where].reason or held, gpu=gpu)
        for (where, letter), (name, held, gpu) in sorted(images.items())
    ]


@given(IMAGES, KNOWN)
def test_a_moment_does_not_differ_from_itself(images: Mapping[Any, Any], known: Mapping[Target, Knowledge]) -> None:
    """Compared with itself, a moment shows nothing but what was not known."""
    rows = rows_of(images, known)
    unknown = [row for row in rows if row.state == "unknown"]

    found = list(differences(rows, rows, known, known))
    assert {row.event for row in found} <= {"unknown"}
    assert len(found) == len(unknown)


@given(IMAGES, KNOWN, IMAGES, KNOWN)
def test_turned_round(
    images: Mapping[Any, Any],
    known: Mapping[Target, Knowledge],
    others: Mapping[Any, Any],
    other_known: Mapping[Target, Knowledge],
) -> None:
    """Seen from the second moment to the first, what appeared was withdrawn, and the other way round."""
    first, second = rows_of(images, known), rows_of(others, other_known)
    turned = {"appeared": "withdrawn", "withdrawn": "appeared", "modified": "modified", "unknown": "unknown"}
    there = differences(first, second, known, other_known)
    back = differences(second, first, other_known, known)

    assert {(r.target, turned[r.event], r.image_id, r.counterpart, r.first, r.second) for r in there} == {
        (r.target, r.event, r.image_id, r.counterpart, r.second, r.first) for r in back
    }


@given(IMAGES, KNOWN, IMAGES, KNOWN)
def test_every_difference_is_one(
    images: Mapping[Any, Any],
    known: Mapping[Target, Knowledge],
    others: Mapping[Any, Any],
    other_known: Mapping[Target, Knowledge],
) -> None:
    """Each image of either moment is told once at most, and rightly: as equal where it is not told."""
    first, second = rows_of(images, known), rows_of(others, other_known)
    one = {(row.target, row.image_id): row for row in first}
    other = {(row.target, row.image_id): row for row in second}
    found = {(row.target, row.image_id): row for row in differences(first, second, known, other_known)}

    for place in one.keys() | other.keys():
        sides = [one.get(place), other.get(place)]
        unknown = any(side and side.state == "unknown" for side in sides) or any(
            side is None and known_there[place[0]].reason
            for side, known_there in zip(sides, (known, other_known), strict=True)
        )
        event = found[place].event if place in found else None
        if unknown:
            assert event == "unknown"
        elif sides[0] is None or sides[1] is None:
            assert event == ("appeared" if sides[0] is None else "withdrawn")
        else:
            assert (event == "modified") is (sides[0].attributes != sides[1].attributes and event is not None)
    assert found.keys() <= one.keys() | other.keys()


def test_zones_by_name() -> None:
    """Two zones are compared by name and not by id; the newest image of a name speaks for it."""
    first = [image("uimage-a", "Ubuntu", gpu=True), image("uimage-b", "SUSE", zone_id=1)]
    second = [
        image("uimage-1", "ubuntu", TARGETS[1], gpu=False),
        image("uimage-2", "suse", TARGETS[1], zone_id=2, extra={"Url": "x"}),
        image("uimage-3", "", TARGETS[1]),
    ]
    rows = side_by_side(first, second, {TARGETS[0]: WELL}, {TARGETS[1]: WELL})

    assert [(row.image_name, row.result, row.fields) for row in rows] == [
        ("", "only_second", {}),
        ("SUSE", "same", {}),
        ("Ubuntu", "differs", {"gpu": [True, False]}),
    ]


def test_zones_unknown() -> None:
    """A zone that is not known, or a project that is asked in one of the zones only, lacks nothing."""
    rows = [image("uimage-a", "Ubuntu")]
    elsewhere = Target("prod", "org-y", "hk", "hk-02", "uk8s-image")

    for known in ({TARGETS[1]: badly("denied")}, {elsewhere: WELL}):
        (row,) = side_by_side(rows, [], {TARGETS[0]: WELL}, known)
        assert (row.result, row.reason) == ("unknown", "denied" if TARGETS[1] in known else "never_observed")


def test_projects_that_differ_otherwise() -> None:
    """Projects that have the same ids share a row where the same differs between the zones, and there alone."""
    targets = [[where._replace(project=project) for where in TARGETS] for project in ("org-x", "org-y", "org-z")]
    sizes = {"org-x": 20, "org-y": 20, "org-z": 40}
    first = [image("uimage-a", "Ubuntu", one, size_gb=10) for one, _ in targets]
    second = [image("uimage-b", "Ubuntu", other, size_gb=sizes[other.project]) for _, other in targets]
    rows = side_by_side(first, second, {row.target: WELL for row in first}, {row.target: WELL for row in second})

    assert [(row.projects, row.fields) for row in rows] == [
        (("prod/org-x", "prod/org-y"), {"size_gb": [10, 20]}),
        (("prod/org-z",), {"size_gb": [10, 40]}),
    ]
