"""The JSON of rows, made from their fields."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from crawler.domain.kinds import KINDS
from crawler.domain.models import Outcome, Target
from crawler.domain.rows import (
    ATTRIBUTES,
    ChangeRow,
    FailureRow,
    Gap,
    HeldImage,
    HoldRow,
    ImageRow,
    JsonField,
    RunSummary,
    StatusRow,
    fields_in_json,
    in_json,
    json_value,
    maker_of,
    names_in_items,
    names_in_json,
    or_null,
    state_of,
    unusable_state,
)
from crawler.queries.diff import DiffRow
from crawler.queries.where import WhereRow

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOME = Target("prod", "org-x", "hk", "hk-02", "uk8s-image")
RUN = RunSummary(
    run=7,
    status="incomplete",
    started_at=NOON,
    finished_at=None,
    targets={"total": 4},
    baseline={"targets": 0, "images": 0},
    changes={"appeared": 1, "withdrawn": 3},
    requests={"sent": 9},
)


@dataclass(frozen=True, slots=True)
class Plain:
    """A dataclass that has no JSON form of its own."""

    when: datetime
    parts: tuple[int, ...] = ()


class Pair(NamedTuple):
    """A named tuple that has none."""

    name: str
    took: timedelta


def test_target_is_flattened() -> None:
    """A row begins with the parts of its target; times are UTC with Z, what is absent is null."""
    row = StatusRow(target=HOME, outcome="ok", since=NOON, last_ok_at=None, images=3, message="")

    assert list(row.as_dict().items()) == [
        *HOME._asdict().items(),
        ("outcome", "ok"),
        ("since", "2026-11-01T12:00:00Z"),
        ("last_ok_at", None),
        ("images", 3),
        ("message", ""),
    ]


def test_rules_of_fields() -> None:
    """A field may be called otherwise, stay an object, be null where it is empty, or be left out."""
    failure = FailureRow(
        target=HOME, outcome="failed", failure_class="transient", ret_code=None, message="", request_uuid=""
    )
    row = DiffRow(
        target=HOME,
        image_set="ImageSet",
        image_id="uimage-x",
        image_name="",
        event="appeared",
        first="absent",
        second="present",
        names=("Ubuntu",),
    )

    assert failure.as_dict()["target"] == HOME.as_dict()
    assert failure.as_dict()["class"] == "transient"
    assert row.as_dict()["image_name"] is None
    assert "names" not in row.as_dict()
    assert "lag_seconds" in names_in_json(WhereRow)


def test_values() -> None:
    """Rows within rows are objects, tuples lists, and a duration counts seconds."""
    gap = Gap(unknown_from=NOON, unknown_to=None, reason="failed")

    assert json_value((gap,)) == [
        {"unknown_from": "2026-11-01T12:00:00Z", "unknown_to": None, "reason": "failed"},
    ]
    assert json_value(timedelta(minutes=1.5)) == 90.0
    failure = FailureRow(
        target=HOME, outcome="failed", failure_class="transient", ret_code=1, message="m", request_uuid=""
    )
    assert json_value([failure]) == [failure.as_dict()]  # by its own rules: it has a class, no failure_class
    assert json_value(HeldImage("ImageSet", "uimage-x", "")) == {
        "image_set": "ImageSet",
        "image_id": "uimage-x",
        "image_name": "",
    }


def test_names_are_those_of_a_row() -> None:
    """The names of a class are those that its rows have, in the same order, and every row is JSON."""
    image = ImageRow(
        HOME, "ImageSet", "uimage-x", {"gpu": True}, NOON, NOON, False, None, "present", None, NOON
    )  # fmt: skip
    hold = HoldRow(
        id=1,
        run=2,
        target=HOME,
        status="open",
        images=(HeldImage("ImageSet", "uimage-x", "Ubuntu"),),
        held_at=NOON,
        not_before=None,
        confirmations=0,
        waits_for="confirmations",
        resolved_at=None,
        resolved_by=None,
    )

    for row in (image, hold):
        assert tuple(row.as_dict()) == names_in_json(type(row))
        assert json.loads(json.dumps(row.as_dict())) == row.as_dict()


def test_rows_of_other_kinds() -> None:
    """A row of another kind has that kind's fields in place of the node images', in the order that is told of it."""
    kind = KINDS["instance-type"]
    attributes = dict.fromkeys(kind.names[:1], 1)
    image = ImageRow(
        HOME._replace(kind=kind.name), "Set", "N.Standard", attributes, NOON, NOON, False, None, "present", None, NOON
    )  # fmt: skip
    told = image.as_dict()

    assert tuple(told) == names_in_items([kind.name, "no-kind"])
    assert "gpu" not in told or "gpu" in kind.names
    assert (told["account"], told["image_id"], told["extra"]) == ("prod", "N.Standard", {})
    assert told["valid_from"] == "2026-11-01T12:00:00Z"
    assert [told[name] for name in kind.names] == [1, *[None] * (len(kind.names) - 1)]
    assert set(kind.names) <= set(names_in_items(KINDS))
    assert image._replace(target=HOME._replace(kind="no-kind")).as_dict()["gpu"] is None


def test_attributes_are_flattened() -> None:
    """An image's row has each attribute by its name, null where nobody stated it, and what else was said."""
    stated = {"gpu": True, "extra": {"BootMode": "UEFI"}}
    image = ImageRow(HOME, "ImageSet", "uimage-x", stated, NOON, NOON, False, None, "present", None, NOON)
    told = image.as_dict()

    assert (told["gpu"], told["extra"]) == (True, {"BootMode": "UEFI"})
    assert {told[name] for name in ATTRIBUTES if name != "gpu"} == {None}
    assert image._replace(attributes={}).as_dict()["extra"] == {}


def test_values_without_a_form_of_their_own() -> None:
    """A dataclass and a named tuple are objects of their fields, a mapping one by its keys as text."""
    assert json_value(Plain(NOON, (1, 2))) == {"when": "2026-11-01T12:00:00Z", "parts": [1, 2]}
    assert json_value(Pair("x", timedelta(seconds=2))) == {"name": "x", "took": 2.0}
    assert json_value({1: NOON, "a": [None, True]}) == {"1": "2026-11-01T12:00:00Z", "a": [None, True]}


def test_how_fields_stand_in_json() -> None:
    """The target comes first and is flattened, as attributes are; a field may be called, written or typed otherwise."""

    @dataclass(frozen=True)
    class Row:
        """One field of each sort."""

        plain: int
        attributes: dict[str, Any]
        called: str = field(metadata=in_json("class"))
        emptied: str = field(metadata=in_json(by=or_null, hint=bool))
        target: Target

    @dataclass(frozen=True)
    class Kept:
        """Both that would be flattened stay objects."""

        target: Target = field(metadata=in_json(by=Target.as_dict))
        attributes: dict[str, Any] = field(metadata=in_json("stated"))

    # the kept answers of the function itself would show rules that were made before
    assert fields_in_json.__wrapped__(Kept) == (
        JsonField("target", ("target",), False, Target.as_dict, None),
        JsonField("attributes", ("stated",), False, json_value, None),
    )
    rules = fields_in_json.__wrapped__(Row)

    assert rules == (
        JsonField("target", Target._fields, True, Target.as_dict, None),
        JsonField("plain", ("plain",), False, json_value, None),
        JsonField("attributes", (*ATTRIBUTES, "extra"), True, rules[2].write, None),
        JsonField("called", ("class",), False, json_value, None),
        JsonField("emptied", ("emptied",), False, or_null, bool),
    )
    assert rules[2].write({"gpu": True}) == {**dict.fromkeys(ATTRIBUTES), "gpu": True, "extra": {}}
    assert fields_in_json.__wrapped__(Pair) == (
        JsonField("name", ("name",), False, json_value, None),
        JsonField("took", ("took",), False, json_value, None),
    )


def test_made_of_parts() -> None:
    """A named tuple that is made of its parts is like one that is made by their names."""
    made = maker_of(Pair)(("x", timedelta(0)))

    assert type(made) is Pair
    assert made == Pair("x", timedelta(0))


@pytest.mark.parametrize(
    ("kind", "attributes", "state", "unusable"),
    [
        ("uhost-image", {"image_state": "Making", "bootable": False}, "Making", "Making"),
        ("uhost-image", {"image_state": "Available", "bootable": True}, "Available", ""),
        ("uhost-image", {"bootable": False}, None, ""),
        ("uk8s-image", {"image_state": "Making", "bootable": False}, None, ""),
        ("no-kind", {"image_state": "Making", "bootable": False}, None, ""),
    ],
)
def test_state(kind: str, attributes: dict[str, Any], state: str | None, unusable: str) -> None:
    """A state is told of kinds that have one, and where it was stated; it counts as unusable where nothing boots."""
    assert state_of(kind, attributes) == state
    assert unusable_state(kind, attributes) == unusable


def test_cursor_of_a_change() -> None:
    """A change is told with what to ask on from."""
    change = ChangeRow(
        id=12, run=7, target=HOME, event="withdrawn", image_set="ImageSet", image_id="uimage-x", image_name="Ubuntu",
        fields={}, counterpart=None, not_before=None, observed_at=NOON, recorded_at=NOON,
    )  # fmt: skip

    assert list(change.as_dict())[-1] == "cursor"
    assert change.as_dict()["cursor"] == 12
    assert change.words == {"withdrawn"}
    assert change._replace(counterpart="uimage-y").words == {"withdrawn", "re-issued"}


def test_what_a_run_tells() -> None:
    """A run tells what it did not observe, and beside the withdrawn how many of them were replaced."""
    outcomes: tuple[Outcome, ...] = ("failed", "held", "denied", "skipped")
    failures = tuple(
        FailureRow(target=HOME, outcome=outcome, failure_class=None, ret_code=None, message="", request_uuid="")
        for outcome in outcomes
    )
    told = replace(RUN, failures=failures).as_dict()

    assert [failure["outcome"] for failure in told["failures"]] == ["failed", "skipped"]
    assert told["reports"] == {"queued": 0, "sent": 0, "failed": 0}
    assert "re_issued" not in told
    assert RUN.change_counts() == {"appeared": 1, "withdrawn": 3}
    assert replace(RUN, re_issued=2).change_counts() == {"appeared": 1, "withdrawn (2 re-issued)": 3}
