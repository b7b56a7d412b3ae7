"""The JSON of rows, made from their fields."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from crawler.domain.kinds import KINDS
from crawler.domain.models import Target
from crawler.domain.rows import (
    ATTRIBUTES,
    FailureRow,
    Gap,
    HeldImage,
    HoldRow,
    ImageRow,
    StatusRow,
    json_value,
    names_in_items,
    names_in_json,
)
from crawler.queries.diff import DiffRow
from crawler.queries.where import WhereRow

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOME = Target("prod", "org-x", "hk", "hk-02", "uk8s-image")


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
