"""Why an answer is none to the question, or was not understood: each condition from both sides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crawler.domain.kinds import KINDS, UK8S_IMAGE
from crawler.domain.models import DEFAULT_PROJECT, Snapshot, Target
from crawler.domain.objections import TOLERATED, LastGood, Tolerable, objection, other_action, tolerance
from tests.support.answers import image_key

HERE = Target("prod", "org-X", "cn-bj2", "cn-bj2-04", "uk8s-image")
KNOWN = LastGood(excess=0, has_images=True)
NEW = LastGood()


def said(last: LastGood = KNOWN, target: Target = HERE, **more: Any) -> str | None:
    """Return what is said against a snapshot of one image that is otherwise fine."""
    options: dict[str, Any] = {"images": {image_key("a"): {}}, "records": 1, **more}
    return objection(target, UK8S_IMAGE, Snapshot(**options), last)


@pytest.mark.parametrize(
    ("stated", "is_believed"),
    [
        ("DescribeUK8SImageResponse", True),
        ("DescribeUK8SImage", True),
        ("describeuk8simageRESPONSE", True),
        ("ListUK8SImage", True),
        ("ListUK8SImageResponse", True),
        ("DescribeImageResponse", False),
        ("DescribeUK8SImages", False),
        ("Response", False),
        ("0", False),
    ],
)
def test_action(stated: str, is_believed: bool) -> None:
    """An answer is one to its action, with `Response` or without, or to an alias of it, in any case."""
    kind = replace(UK8S_IMAGE, aliases=("ListUK8SImage",))
    snapshot = Snapshot(images={}, stated=(("Action", stated),))
    assert (objection(HERE, kind, snapshot, KNOWN) is None) == is_believed
    assert (other_action(stated, kind.action, kind.aliases) is None) == is_believed


@pytest.mark.parametrize(
    ("before", "stated", "is_believed"),
    [
        ("", "DescribeAvailableInstanceTypesResponse", True),
        ("GetUK8SAvailableInstanceTypes", "getuk8savailableinstancetypesresponse", True),
        ("GetUK8SAvailableInstanceTypes", "DescribeAvailableInstanceTypesResponse", False),
        ("DescribeAvailableInstanceTypes", "GetUK8SAvailableInstanceTypesResponse", False),
    ],
)
def test_the_other_of_two_actions(before: str, stated: str, is_believed: bool) -> None:
    """What another action lists than the last time says nothing about what that one lists."""
    target, kind = HERE._replace(kind="instance-type"), KINDS["instance-type"]
    snapshot = Snapshot(images={}, stated=(("Action", stated),))
    last = replace(KNOWN, answered_by=before)
    assert (objection(target, kind, snapshot, last) is None) == is_believed
    assert objection(target, kind, snapshot, last, ["action"]) is None


def test_one_wrong_action_of_two_is_enough() -> None:
    """Where the answer states two, in two spellings of the key, neither may be another."""
    assert said(stated=(("Action", UK8S_IMAGE.action), ("Action", "GetRegion")))


@pytest.mark.parametrize(
    ("name", "stated", "is_believed"),
    [
        ("Region", "CN-BJ2", True),
        ("Region", "cn-sh2", False),
        ("Zone", "cn-bj2-04", True),
        ("Zone", "cn-bj2-05", False),
        ("Zone", "7001", False),
        ("ProjectId", "org-x", True),
        ("ProjectId", "ORG-X/sub", True),
        ("ProjectId", "org-x2", False),
        ("ProjectId", "org-y/org-x", False),
    ],
)
def test_echo(name: str, stated: str, is_believed: bool) -> None:
    """An echo names the place that was asked, in any case; of a project what comes before a slash counts."""
    assert (said(stated=((name, stated),)) is None) == is_believed


def test_what_was_not_sent_cannot_be_echoed_wrongly() -> None:
    """The default project's id is no other one: none was sent."""
    assert said(target=HERE._replace(project=DEFAULT_PROJECT), stated=(("ProjectId", "org-y"),)) is None


@pytest.mark.parametrize(("has_images", "is_believed"), [(True, False), (False, True)])
def test_elsewhere(has_images: bool, is_believed: bool) -> None:
    """Records of another zone alone are no answer for a target that has images; for one without, they are left out."""
    last = LastGood(excess=0, has_images=has_images)
    assert (said(last, images={}, records=3, is_elsewhere=True) is None) == is_believed


@pytest.mark.parametrize(
    ("last", "records", "unreadable", "is_believed"),
    [
        (KNOWN, 2, 2, False),
        (NEW, 1, 1, False),
        (KNOWN, 2, 1, True),
        (KNOWN, 0, 0, True),
        (replace(KNOWN, unreadable=2), 2, 2, True),
        (replace(KNOWN, unreadable=2), 3, 3, False),
    ],
)
def test_nothing_can_be_read(last: LastGood, records: int, unreadable: int, is_believed: bool) -> None:
    """Records of which none can be read say nothing, unless no more were unreadable in the last good answer."""
    assert (said(last, images={}, records=records, unreadable=unreadable) is None) == is_believed


def test_unknown_lists() -> None:
    """Objects under an unknown member, with no known set beside it, are an answer that was not understood."""
    assert "objects under Data" in (said(unknown_lists="Data") or "")


@pytest.mark.parametrize(
    ("last", "excess", "is_believed"),
    [
        (KNOWN, 0, True),
        (KNOWN, 1, False),
        (replace(KNOWN, excess=3), 3, True),
        (replace(KNOWN, excess=3), 2, False),
        (replace(KNOWN, excess=3), 0, True),
        (NEW, 5, True),  # a baseline, with a notice
    ],
)
def test_count(last: LastGood, excess: int, is_believed: bool) -> None:
    """A count larger than the list is one page of it, unless it was larger by as much before, or nobody knows yet."""
    assert (said(last, excess=excess) is None) == is_believed


@pytest.mark.parametrize("check", TOLERATED)
def test_what_is_tolerated(check: Tolerable) -> None:
    """Each check can be switched off, alone, and that is told in words; what was not understood cannot be tolerated."""
    odd = {
        "action": Snapshot(images={}, stated=(("Action", "GetRegion"),)),
        "echo": Snapshot(images={}, stated=(("Zone", "hk-02"),)),
        "foreign": Snapshot(images={}, records=1, is_elsewhere=True),
        "count": Snapshot(images={}, records=1, excess=1),
        "": Snapshot(images={}, records=1, unreadable=1),
    }
    passing = {name for name, snapshot in odd.items() if objection(HERE, UK8S_IMAGE, snapshot, KNOWN, (check,)) is None}
    assert passing == {check}
    assert [TOLERATED[check] in sentence for sentence in tolerance([check])] == [True]
    assert list(tolerance([])) == []


def test_a_text_of_the_answer_is_shown_short_and_harmless() -> None:
    """A long Action or one with controls makes no long or many-lined message."""
    sentence = said(stated=(("Action", "x\x1b\n\u202e" * 1000),))
    assert sentence is not None
    assert sentence.isprintable()
    assert len(sentence) < 250
