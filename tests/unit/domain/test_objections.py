"""Why an answer is none to the question, or was not understood: each condition from both sides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crawler.domain.kinds import KINDS, UK8S_IMAGE
from crawler.domain.models import DEFAULT_PROJECT, Snapshot, Target
from crawler.domain.objections import TOLERATED, LastGood, Tolerable, answered_by, objection, other_action, tolerance
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
        ("Zone", "cn-bj2-04/x", False),
        ("Region", "cn-bj2/x", False),
        ("ProjectId", " org-x /sub", True),
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
    assert said(target=HERE._replace(zone=""), stated=(("Zone", "hk-02"),)) is None


def test_a_project_that_was_sent_with_what_is_under_it() -> None:
    """A configured project may be written with its folder, too."""
    assert said(target=HERE._replace(project="org-x/lab"), stated=(("ProjectId", "ORG-X"),)) is None


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


@pytest.mark.parametrize("last", [KNOWN, NEW])
def test_more_to_list(last: LastGood) -> None:
    """A part of a list is none, also the first time: nobody knows what the next answer leaves out."""
    assert said(last, rest="HasMore")
    assert objection(HERE, UK8S_IMAGE, Snapshot(images={}, rest="HasMore"), last, ["count"]) is None


def test_count_in_words() -> None:
    """Of an answer that counts more than it lists both numbers are told, and by how much it was so before."""
    sentence = "it lists 2 of 7 records (the last good answer lacked 3 of its count)"
    assert said(replace(KNOWN, excess=3), records=2, excess=5) == sentence


def test_several_tolerated_checks_in_words() -> None:
    """What is let pass is one sentence, whatever its number."""
    (sentence,) = tolerance(["count", "echo"])
    assert sentence.endswith("that count more records than they list or name another region, zone or project")


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


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"stated": (("Action", "GetRegion"),)},
            "the answer is one to another question: its Action is GetRegion, not DescribeUK8SImageResponse",
        ),
        ({"stated": (("Zone", "hk-02"),)}, "the answer is about another Zone: hk-02, not cn-bj2-04"),
        ({"stated": (("ProjectId", "org-y"),)}, "the answer is about another ProjectId: org-y, not org-X"),
        (
            {"images": {}, "records": 1, "is_elsewhere": True},
            "its only record states the ZoneId of another zone than cn-bj2-04",
        ),
        (
            {"images": {}, "records": 2, "is_elsewhere": True},
            "each of its 2 records states the ZoneId of another zone than cn-bj2-04",
        ),
        ({"images": {}, "records": 1, "unreadable": 1}, "its only record could not be read: it has no ImageId"),
        (
            {"images": {}, "records": 2, "unreadable": 2},
            "none of its 2 records could be read: they have no ImageId",
        ),
        ({"unknown_lists": "Data"}, "it has none of the sets of DescribeUK8SImage, but objects under Data"),
        ({"rest": "NextToken"}, "it says with NextToken that there is more than it lists"),
        ({"records": 0, "excess": 1}, "it lists 0 of 1 record (the last good answer lacked 0 of its count)"),
    ],
)
def test_sentences(options: dict[str, Any], sentence: str) -> None:
    """Each objection is told in these words."""
    assert said(**options) == sentence


def test_sentence_of_the_other_action() -> None:
    """What the last good answer was one to is told beside what this one is, and how it is let pass once."""
    target, kind = HERE._replace(kind="instance-type"), KINDS["instance-type"]
    snapshot = Snapshot(images={}, stated=(("Zone", HERE.zone), ("Action", f"{kind.action}Response")))
    assert kind.instead
    assert answered_by(kind, snapshot) == kind.action
    assert answered_by(kind, Snapshot(images={}, stated=(("Action", kind.instead.upper()),))) == kind.instead
    assert answered_by(kind, Snapshot(images={}, stated=(("Action", "GetRegion"),))) == ""
    assert answered_by(kind, Snapshot(images={})) == ""
    assert answered_by(UK8S_IMAGE, Snapshot(images={}, stated=(("Action", UK8S_IMAGE.action),))) == ""
    assert objection(target, kind, snapshot, replace(KNOWN, answered_by=kind.instead)) == (
        f"the last good answer was one to {kind.instead} and this one is to {kind.action}, which may list other things "
        '(if the endpoint has changed for good: tolerate = ["action"] for one run)'
    )


def test_what_is_known_of_no_answer() -> None:
    """Before any good answer nothing is known: no record unreadable, no count, no images, no action."""
    assert LastGood(unreadable=0, excess=None, has_images=False, answered_by="") == NEW
    assert said(NEW, images={}, records=3, is_elsewhere=True) is None


def test_tolerance_in_words() -> None:
    """What is let pass is told in these words, in the order in which it was given."""
    assert list(tolerance(["echo", "foreign", "action"])) == [
        "tolerate is set: answers are believed, and what they lack, that name another region, zone or project or list "
        "the records of another zone alone or call themselves by another action"
    ]


def test_shown_text_has_eighty_characters() -> None:
    """Of a long text of the answer eighty characters are shown."""
    sentence = said(stated=(("Zone", "z" * 81),))
    assert sentence == f"the answer is about another Zone: {'z' * 79}…, not cn-bj2-04"
