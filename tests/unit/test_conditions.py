"""What a run under cron says: what begins, changes or ends, and nothing of what lasts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from crawler.model import Target
from crawler.ops.conditions import NOTHING_KNOWN, Known, Trouble, compare, paragraph
from crawler.records import RunSummary

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ZERO = dict.fromkeys(("total", "ok", "held", "denied", "failed", "skipped"), 0)
SUMMARY = RunSummary(
    run=42,
    status="incomplete",
    started_at=NOW,
    finished_at=NOW + timedelta(seconds=8),
    targets={**ZERO, "total": 3, "ok": 2, "failed": 1},
    baseline={},
    changes={},
    requests={},
)


def trouble(zone: str = "hk-02", **more: Any) -> Trouble:
    target = Target(account="prod", project="p", region=zone[:2], zone=zone, kind="uk8s-image")
    common: dict[str, Any] = {
        "outcome": "failed",
        "failure_class": "transient",
        "ret_code": 150,
        "message": "service unavailable",
        "since": NOW - timedelta(hours=3),
    }
    return Trouble(target=target, **common | more)


def told(before: Known, now: Known) -> list[str]:
    text = paragraph(SUMMARY, compare(before, now, at=NOW), zone=UTC)
    return text.splitlines()


ONE = Known(troubles=[trouble(request_uuid="uuid-1")])


def test_begins() -> None:
    """A condition that begins is told with its reason and the request's id, under a line that says which run."""
    assert told(NOTHING_KNOWN, ONE) == [
        "crawler run 42 of 01 Jun 12:00 (UTC), incomplete: 2 ok, 1 failed.",
        "  Began: prod/p/hk/hk-02/uk8s-image/default failed: service unavailable [uuid-1]",
    ]


def test_lasts() -> None:
    """A condition that merely lasts says nothing, whatever the request's id and the wording."""
    assert told(ONE, Known(troubles=[trouble(request_uuid="uuid-2", message="still unavailable")])) == []


def test_all_is_well() -> None:
    """Where nothing is and was wrong nothing is said."""
    assert told(NOTHING_KNOWN, NOTHING_KNOWN) == []


def test_ends() -> None:
    """A condition that ends is told with how long it was."""
    assert told(ONE, NOTHING_KNOWN)[1:] == [
        "  Over: prod/p/hk/hk-02/uk8s-image/default: failed (transient, RetCode 150), for 3 h"
    ]


def test_changes() -> None:
    """Another code in the same region is a change, not an end and a beginning."""
    lines = told(ONE, Known(troubles=[trouble(ret_code=161, failure_class="defect", message="no such action")]))

    assert lines[1:] == [
        "  Changed: prod/p/hk/hk-02/uk8s-image/default failed: no such action (before: failed (transient, RetCode 150))"
    ]


def test_spreads() -> None:
    """A condition that spreads over a region is told again; one more target of many is not."""
    two = Known(troubles=[trouble(), trouble("hk-03")])
    three = Known(troubles=[*two.troubles, trouble("hk-04")])

    assert told(ONE, two)[1].endswith("and 1 more failed: service unavailable (before: 1 target)")
    assert told(two, three) == []


def test_deadline_wanders() -> None:
    """Runs that stop at the deadline skip other targets each time; that is one condition."""
    skipped = {"outcome": "skipped", "failure_class": "deadline", "ret_code": None, "message": "too late"}
    before, now = (Known(troubles=[trouble(zone, **skipped)]) for zone in ("hk-02", "sg-01"))

    assert told(before, now) == []


def test_others_last() -> None:
    """Beside news, what lasts is counted."""
    lines = told(ONE, Known(troubles=[trouble(), trouble("sg-01")]))

    assert lines[-1] == "  1 more lasts; `crawler status` tells all."


def test_notices() -> None:
    """A notice is told when it is new and when it is gone; counts and request ids in it make no difference."""
    before = replace(NOTHING_KNOWN, notices=("prod: 3 foreign records", "prod: GetRegion: 150 [abc]"))
    same = replace(NOTHING_KNOWN, notices=("prod: 4 foreign records", "prod: GetRegion: 150 [def]"))

    assert told(before, same) == []
    assert told(NOTHING_KNOWN, before)[1] == "  Noted: prod: 3 foreign records"
    assert told(before, NOTHING_KNOWN)[1] == "  No longer: prod: 3 foreign records"
