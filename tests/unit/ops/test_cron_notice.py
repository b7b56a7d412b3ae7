"""What a run under cron says: what begins, changes or ends, and nothing of what lasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crawler.domain.models import Target
from crawler.domain.rows import RunSummary
from crawler.ops.cron_notice import Fact, FailingTarget, Found, Memory, as_text, compare, paragraph, steady

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


def trouble(zone: str = "hk-02", **more: Any) -> FailingTarget:
    target = Target(account="prod", project="p", region=zone[:2], zone=zone, kind="uk8s-image")
    common: dict[str, Any] = {
        "outcome": "failed",
        "failure_class": "transient",
        "ret_code": 150,
        "message": "service unavailable",
        "request_uuid": "",
        "since": NOW - timedelta(hours=3),
    }
    return FailingTarget(target=target, **common | more)


class Cron:
    """Run after run, with what is remembered between them; a run asks every target unless it is told otherwise."""

    def __init__(self) -> None:
        self.memory: Memory = {}

    def told(self, *rows: FailingTarget, facts: Sequence[Fact] = (), **more: Any) -> list[str]:
        """Return the lines that a run with these troubles and facts says."""
        remembered = {target for standing in self.memory.values() for target in standing.targets}
        skipped = {row.target for row in rows if not row.is_about_target}
        found = Found(troubles=rows, facts=facts, **{"asked": remembered - skipped, "read": remembered, **more})
        news, self.memory = compare(self.memory, found, at=NOW)
        return paragraph(SUMMARY, news, zone=UTC).splitlines()


@pytest.fixture
def cron() -> Cron:
    return Cron()


@pytest.fixture
def failing(cron: Cron) -> Cron:
    """Return a cron that was told of one zone that fails."""
    cron.told(trouble(request_uuid="uuid-1"))
    return cron


SKIPPED: dict[str, Any] = {"outcome": "skipped", "ret_code": None, "message": "not asked"}
DEFECT: dict[str, Any] = {"failure_class": "defect", "ret_code": 161, "message": "no such action"}


def test_begins(cron: Cron) -> None:
    """A condition that begins is told with its reason and the request's id, under a line that says which run."""
    assert cron.told(trouble(request_uuid="uuid-1")) == [
        "crawler run 42 of 01 Jun 12:00 (UTC), incomplete: 2 ok, 1 failed.",
        "  Began: prod/p/hk/hk-02/uk8s-image/default failed: service unavailable [uuid-1]",
    ]


def test_lasts(failing: Cron) -> None:
    """A condition that merely lasts says nothing, whatever the request's id, the wording and the transient code."""
    others: list[dict[str, Any]] = [
        {"request_uuid": "uuid-2", "message": "still unavailable"},
        {"ret_code": None},
        {"ret_code": 8010},
    ]
    for more in others:
        assert failing.told(trouble(**more)) == []


def test_all_is_well(cron: Cron) -> None:
    """Where nothing is and was wrong nothing is said."""
    assert cron.told() == []


def test_ends(failing: Cron) -> None:
    """A condition that ends is told once, with how long it was."""
    assert failing.told()[1:] == [
        "  Over: prod/p/hk/hk-02/uk8s-image/default: failed (transient, RetCode 150), for 3 h"
    ]
    assert failing.told() == []


def test_changes(failing: Cron) -> None:
    """Another code in the same region is a change, not an end and a beginning."""
    assert failing.told(trouble(**DEFECT))[1:] == [
        "  Changed: prod/p/hk/hk-02/uk8s-image/default failed: no such action (before: failed (transient, RetCode 150))"
    ]
    assert failing.told(trouble(**DEFECT)) == []


def test_spreads(failing: Cron) -> None:
    """A condition that spreads over a region is told again; one more target of many is not."""
    two = [trouble(), trouble("hk-03")]

    assert failing.told(*two)[1].endswith("and 1 more failed: service unavailable (before: 1 target)")
    assert failing.told(*two, trouble("hk-04")) == []


def test_not_over_where_it_is_something_else(cron: Cron) -> None:
    """A target that fails in a way that was told of its neighbour changed; it is over nowhere, and told once."""
    others = [trouble(zone, **DEFECT) for zone in ("hk-03", "hk-04")]
    cron.told(trouble(), *others)

    assert cron.told(trouble(**DEFECT), *others)[1:] == [
        "  Changed: prod/p/hk/hk-02/uk8s-image/default failed: no such action "
        "(before: failed (transient, RetCode 150))",
        "  1 more lasts; `crawler status` tells all.",
    ]
    assert cron.told(trouble(**DEFECT), *others) == []


def test_part_that_is_well(cron: Cron) -> None:
    """Of a condition that is over only the targets that are well now are named."""
    cron.told(trouble(), trouble("hk-03"))

    assert cron.told(trouble("hk-03", **DEFECT))[-1].startswith("  Over: prod/p/hk/hk-02/uk8s-image/default: failed")


@pytest.mark.parametrize("reason", ["deadline", "interrupted", "account_stopped"])
def test_not_asked_is_not_over(failing: Cron, reason: str) -> None:
    """Of a target that was not asked what was told stands: it is neither over now nor new when it fails again."""
    assert failing.told(trouble(**SKIPPED, failure_class=reason))[1:] == [
        "  Began: prod (1 target) skipped: not asked",
        "  1 more lasts; `crawler status` tells all.",
    ]
    assert failing.told(trouble(**SKIPPED, failure_class=reason)) == []
    assert failing.told(trouble())[1].startswith(f"  Over: prod (1 target): skipped ({reason}), for ")
    assert failing.told(trouble()) == []


def test_not_in_the_run(failing: Cron) -> None:
    """A run that is restricted to other targets says nothing of one it did not ask."""
    assert failing.told(asked=()) == []
    assert failing.told(trouble()) == []


def test_left_alone(failing: Cron) -> None:
    """A region whose circuit opens is the same region that does not answer."""
    assert failing.told(trouble(**SKIPPED, failure_class="circuit"), trouble("hk-03"))[1:] == [
        "  Changed: prod/p/hk/hk-03/uk8s-image/default and 1 more failed: service unavailable (before: 1 target)"
    ]
    assert failing.told(trouble("hk-03", **SKIPPED, failure_class="circuit"), trouble()) == []


def test_one_defect_everywhere(cron: Cron) -> None:
    """What goes wrong in the same way in every region at once is one sentence when it begins, and one when it ends."""
    everywhere = [trouble(zone, **DEFECT) for zone in ("hk-02", "sg-01", "th-01")]

    assert cron.told(*everywhere)[1:] == [
        "  Began: prod/p/hk/hk-02/uk8s-image/default and 2 more in hk, sg, th failed: no such action"
    ]
    assert cron.told()[1:] == [
        "  Over: prod/p/hk/hk-02/uk8s-image/default and 2 more in hk, sg, th: failed (defect, RetCode 161), for 3 h"
    ]


def test_deadline_wanders(cron: Cron) -> None:
    """Runs that stop at the deadline skip other targets each time; that is one condition."""
    assert cron.told(trouble(**SKIPPED, failure_class="deadline")) != []
    assert cron.told(trouble("sg-01", **SKIPPED, failure_class="deadline")) == []


def test_others_last(failing: Cron) -> None:
    """Beside news, what lasts is counted."""
    assert failing.told(trouble(), trouble("sg-01"))[-1] == "  1 more lasts; `crawler status` tells all."


def notice(sentence: str, sort: str = "notice", **more: Any) -> Fact:
    return Fact(key=("prod", sort, steady(sentence)), sentence=sentence, **more)


def test_notices(cron: Cron) -> None:
    """A notice is told when it is new and when it is gone; counts and request ids in it make no difference."""
    before = notice("prod: 3 foreign records"), notice("prod: GetRegion: 150 [abc]")

    assert cron.told(facts=before)[1] == "  Noted: prod: 3 foreign records"
    assert cron.told(facts=(notice("prod: 4 foreign records"), notice("prod: GetRegion: 150 [def]"))) == []
    assert cron.told()[1] == "  No longer: prod: 3 foreign records"
    assert cron.told() == []


def test_notice_of_an_answer_that_is_not_read_again(cron: Cron) -> None:
    """An answer that came as before is not read again; what was noticed of it stands until another one is read."""
    target = trouble().target
    cron.told(facts=[notice("odd", targets=frozenset({target}))])

    assert cron.told(read=()) == []
    assert cron.told(read={target})[1:] == ["  No longer: odd"]


def test_event(cron: Cron) -> None:
    """What happened and is over by itself is told once, without an end."""
    assert cron.told(facts=[notice("the list shrank", "event")])[1:] == ["  Noted: the list shrank"]
    assert cron.told() == []


def test_grown(cron: Cron) -> None:
    """What grew to twice its size is told again, once."""
    cron.told(facts=[notice("not delivered", "report")])

    assert cron.told(facts=[notice("not delivered", "report", size=2)])[1:] == ["  Changed: not delivered"]
    assert cron.told(facts=[notice("not delivered", "report", size=2)]) == []


def test_many_regions(cron: Cron) -> None:
    """Of a condition in many regions eight are named, the rest are counted."""
    (line,) = cron.told(
        *(trouble(f"{region}-1", **DEFECT) for region in ("aa", "bb", "cc", "dd", "ee", "ff", "gg", "hh", "ii", "jj"))
    )[1:]
    assert " and 9 more in aa, bb, cc, dd, ee, ff, gg, hh and 2 more regions failed: no such action" in line


@pytest.mark.parametrize(
    ("targets", "images", "baseline"),
    [
        (0, 0, "no changes"),
        (1, 0, "baseline of 0 images at 1 target"),
        (1, 1, "baseline of 1 image at 1 target"),
        (2, 2, "baseline of 2 images at 2 targets"),
    ],
)
def test_baseline(targets: int, images: int, baseline: str) -> None:
    """A run says how many images it began with, at how many targets."""
    summary = replace(SUMMARY, baseline={"targets": targets, "images": images})

    assert as_text(summary).splitlines()[0] == f"Run 42 incomplete in 8 s: 2 ok, 1 failed; {baseline}."
