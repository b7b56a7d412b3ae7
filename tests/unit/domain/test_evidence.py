"""Two raw answers side by side, in the cloud's own words."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from crawler.domain.evidence import MISSING, Explanation, KeptAnswer, differing_records, field_text, kind_of
from crawler.domain.kinds import KINDS, UK8S_IMAGE
from crawler.domain.models import Target
from crawler.domain.rows import ChangeRow, RunSummary

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CHANGE = ChangeRow(
    id=1, run=1, event="withdrawn", target=Target("ucloud", "org-x", "cn-bj2", "cn-bj2-02", "uk8s-image"),
    image_set="ImageSet", image_id="uimage-y", image_name="", fields={}, counterpart="uimage-x",
    not_before=NOW, observed_at=NOW, recorded_at=NOW,
)  # fmt: skip


def answer(document: Any) -> KeptAnswer:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return KeptAnswer(body=body, request_uuid="uuid-1", received_at=NOW)


def test_only_what_differs() -> None:
    """Records that both answers list alike are left out, whatever their order, key case and the spelling of the set."""
    same = {"ImageId": "uimage-a", "Features": ["x", "y"]}
    before = {"RetCode": 0, "CustomImageSet": [same, {"ImageId": "uimage-b", "ImageName": "Ubuntu"}]}
    after = {
        "RetCode": 0,
        "CustomIImageSet": [
            {"ImageID": "uimage-b", "ImageName": "SUSE"},
            {"imageid": "uimage-a", "Features": ["y", "x"]},
        ],
        "ImageSet": {"ImageId": "uimage-c"},
    }
    pairs = differing_records(answer(before), answer(after), UK8S_IMAGE)

    assert [(pair.image_set, pair.image_id, pair.before is None, pair.after is None) for pair in pairs] == [
        ("CustomImageSet", "uimage-b", False, False),
        ("ImageSet", "uimage-c", True, False),
    ]
    assert list(pairs[0].fields()) == [("ImageName", "Ubuntu", "SUSE"), ("ImageId", "uimage-b", "uimage-b")]
    assert list(pairs[1].fields()) == [("ImageId", MISSING, "uimage-c")]


def test_records_of_the_change_come_first() -> None:
    """What a change is about stands before what else differs, the image itself first, and then its counterpart."""
    ids = ("uimage-a", "uimage-x", "uimage-y")
    explained = Explanation(
        change=CHANGE, before=answer({"ImageSet": [{"ImageId": image_id} for image_id in ids]}), after=answer({}),
        seen_run=None, observed_run=None, written_run=None,
    )  # fmt: skip

    assert [pair.image_id for pair in explained.records()] == ["uimage-y", "uimage-x", "uimage-a"]


def test_json_of_an_answer() -> None:
    """An answer is told with its id and size, as what it says, or as it came where it is no object."""
    told = answer({"RetCode": 0}).as_dict()
    assert told == {
        "request_uuid": "uuid-1",
        "received_at": "2026-06-01T00:00:00Z",
        "size": 14,
        "document": {"RetCode": 0},
    }
    assert KeptAnswer(body=b"<\xff>", request_uuid="", received_at=NOW).as_dict() == {
        **told, "request_uuid": None, "size": 3, "document": "<\ufffd>",
    }  # fmt: skip


def test_bare_ids() -> None:
    """An id that stands alone in a set is a record that says no more; other words of an answer are none."""
    bare = answer({"RetCode": 0, "Message": "Success", "CustomImageSet": ["uimage-a", "uimage-b"], "newimageset": "x"})
    full = answer({"CustomImageSet": [{"ImageId": "uimage-a"}, {"ImageId": "uimage-b", "ImageName": "SUSE"}]})
    told = [pair.as_dict() for pair in differing_records(bare, full, UK8S_IMAGE)]

    assert [(row["image_set"], row["image_id"]) for row in told] == [
        ("CustomImageSet", "uimage-b"),
        ("newimageset", "x"),
    ]
    assert told[0]["before"] == {"ImageId": "uimage-b"}
    assert told[1]["after"] is None


def test_answers_that_say_nothing() -> None:
    """An answer that was not kept, is no JSON, or holds no records lists nothing."""
    listed = answer({"ImageSet": [7, {"NoId": 1}, {"ImageId": "uimage-a"}, {"ImageId": None}]})

    for nothing in (None, answer(b"<html>"), answer([]), answer({"ImageSet": None, "Count": 3})):
        (pair,) = differing_records(nothing, listed, UK8S_IMAGE)
        assert (pair.image_id, pair.before) == ("uimage-a", None)


def test_json() -> None:
    """In JSON an answer is there whole; one that is no JSON as its text."""
    assert answer({"RetCode": 0}).as_dict()["document"] == {"RetCode": 0}
    assert answer(b"\xff<html>").as_dict()["document"] == "\ufffd<html>"
    assert [field_text(value) for value in ("x", True, ["a"], None)] == ["x", "true", '["a"]', "null"]


def test_text_of_an_answer() -> None:
    """For people an answer is JSON in lines of two blanks, every letter as it is, or the text that came."""
    assert answer({"名": 1}).text() == '{\n  "名": 1\n}'
    assert answer(b"\xff<html>").text() == "\ufffd<html>"
    assert answer(b"[1]").text() == "[1]"


def test_what_an_answer_lists() -> None:
    """An image is listed by its set, in each spelling of it, and its id."""
    listing = answer({"CustomIImageSet": [{"ImageId": "uimage-a"}]})

    assert listing.lists("CustomImageSet", "uimage-a", UK8S_IMAGE)
    assert not listing.lists("ImageSet", "uimage-a", UK8S_IMAGE)
    assert not listing.lists("CustomImageSet", "uimage-b", UK8S_IMAGE)
    assert answer({"GPUIMAGESET": [{"ImageId": "uimage-a"}]}).lists("GpuImageSet", "uimage-a", UK8S_IMAGE)


def test_listed_in_no_set() -> None:
    """An image of a machine is listed also where the answer, or all that is known of it, does not state its type."""
    machines = KINDS["uhost-image"]
    without = answer({"ImageSet": [{"ImageId": "uimage-a"}]})
    stated = answer({"ImageSet": [{"ImageId": "uimage-a", "ImageType": "Base"}]})

    assert without.lists("Base", "uimage-a", machines)
    assert stated.lists("unstated", "uimage-a", machines)
    assert stated.lists("Base", "uimage-a", machines)
    assert not stated.lists("Custom", "uimage-a", machines)
    assert not without.lists("Base", "uimage-b", machines)
    assert not stated.lists("unstated", "uimage-b", machines)


def test_kind_of_a_target() -> None:
    """A kind that nobody knows is read as UK8S images are."""
    target = Target("ucloud", "org-x", "cn-bj2", "cn-bj2-02", "uhost-image")

    assert kind_of(target) is KINDS["uhost-image"]
    assert kind_of(target._replace(kind="other")) is UK8S_IMAGE


def test_first_record_counts() -> None:
    """Of a record that comes twice the first is shown."""
    twice = answer({"ImageSet": [{"ImageId": "uimage-a", "ImageName": "1"}, {"ImageId": "uimage-a", "ImageName": "2"}]})
    (pair,) = differing_records(twice, None, UK8S_IMAGE)

    assert pair.before == {"ImageId": "uimage-a", "ImageName": "1"}
    assert pair.after is None


def test_json_of_an_explanation() -> None:
    """A change is explained with its runs in short, the records that differ, and both answers; null for what is not."""
    run = RunSummary(
        run=7, status="complete", started_at=NOW, finished_at=None, targets={}, baseline={}, changes={}, requests={}
    )  # fmt: skip
    before = answer({"ImageSet": [{"ImageId": "uimage-y"}]})
    explained = Explanation(
        change=CHANGE, before=before, after=None, seen_run=run, observed_run=None, written_run=replace(run, run=8)
    )  # fmt: skip
    others = replace(explained, observed_run=replace(run, run=9, finished_at=NOW), seen_run=None, after=before)
    short = {"run": 7, "status": "complete", "started_at": "2026-06-01T00:00:00Z", "finished_at": None}

    assert explained.as_dict() == {
        "change": CHANGE.as_dict(),
        "runs": {"seen": short, "observed": None, "written": {**short, "run": 8}},
        "records": [
            {"image_set": "ImageSet", "image_id": "uimage-y", "before": {"ImageId": "uimage-y"}, "after": None},
        ],
        "before": before.as_dict(),
        "after": None,
    }
    assert others.as_dict() == {
        **explained.as_dict(),
        "runs": {
            "seen": None,
            "observed": {**short, "run": 9, "finished_at": "2026-06-01T00:00:00Z"},
            "written": {**short, "run": 8},
        },
        "records": [],
        "after": before.as_dict(),
    }
