"""The policy gate: every outcome, the exit code of each, and work that grows with the sum and not the product."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from crawler.domain.filters import Filters
from crawler.domain.matrix import Machine
from crawler.domain.models import Target
from crawler.domain.rows import ChangeRow, ImageRow, StatusRow, Stay
from crawler.domain.scanner import FoundPin
from crawler.errors import ExitCode
from crawler.queries.check import Check
from crawler.queries.check.rules import OUTCOMES, CheckOutcome, CheckRow, Group, PinRule, Require, exit_code
from tests.support.facts import HK, NOON, hours, image, status, target

STALE = timedelta(hours=26)
UBUNTU = "Ubuntu 20.04"
OTHER = target(project="org-b")


def stay(
    image_id: str, name: str = "Ubuntu 20.04", where: Target = HK, *, until: float | None = 10, **more: Any
) -> Stay:
    attributes = {"image_name": name, "gpu": True, **more}
    return Stay(
        target=where,
        image_set="ImageSet",
        image_id=image_id,
        attributes=attributes,
        valid_from=hours(200),
        valid_to=None if until is None else hours(until),
        present_since=hours(200),
        baseline=True,
    )


def withdrawn(image_id: str, counterpart: str | None = None, where: Target = HK, number: int = 1) -> ChangeRow:
    return ChangeRow(
        id=number,
        run=1,
        target=where,
        event="withdrawn",
        image_set="ImageSet",
        image_id=image_id,
        image_name="Ubuntu 20.04",
        fields={},
        counterpart=counterpart,
        not_before=hours(11),
        observed_at=hours(10),
        recorded_at=hours(10),
    )


def judge(
    rules: Sequence[Require | PinRule],
    states: Sequence[StatusRow],
    images: Sequence[ImageRow] = (),
    stays: Sequence[Stay] = (),
    changes: Sequence[ChangeRow] = (),
) -> list[CheckRow]:
    gate = Check(rules, states, images, now=NOON, stale_after=STALE)
    past = gate.past()
    keys = {(s.target, s.image_name.casefold()) for s in stays if s.image_name.casefold() in past.name_keys}
    gate.learn([s for s in stays if s.image_id in past.image_ids], changes, keys)
    return list(gate.judge())


def one(*arguments: Any) -> tuple[str, str | None, str | None]:
    (row,) = judge(*arguments)
    return row.outcome, row.image_id, row.successor


REQUIRE = Require(name="ubuntu 20.04", zones=("hk-02",))
GPU = Require(name="Ubuntu*", zones=("hk-*",), gpu=True)


@pytest.mark.parametrize(
    ("rule", "state", "images", "stays", "expected"),
    [
        (REQUIRE, status(), [image("uimage-a"), image("uimage-b", came=1)], [], ("ok", "uimage-b", None)),
        (REQUIRE, status(), [image("uimage-a", "Debian")], [], ("never-seen", None, None)),
        (REQUIRE, status(), [], [stay("uimage-a")], ("missing", None, None)),
        (REQUIRE, status(outcome="failed"), [image("uimage-a", reason="failed")], [], ("unknown", None, None)),
        (REQUIRE, status(outcome="denied", last_ok=None), [], [], ("unknown", None, None)),
        (REQUIRE, status(outcome="retired"), [image("uimage-a", reason="retired")], [], ("unknown", None, None)),
        (REQUIRE, status(last_ok=27), [image("uimage-a", reason="stale")], [], ("stale", None, None)),
        (REQUIRE, status(outcome="held"), [image("uimage-a", reason="held")], [], ("unknown", "uimage-a", None)),
        (
            REQUIRE,
            status(outcome="held"),
            [image("uimage-a", reason="held", came=1), image("uimage-b")],
            [],
            ("ok", "uimage-b", None),
        ),
        (GPU, status(), [image("uimage-a"), image("uimage-b", came=1, gpu=False)], [], ("ok", "uimage-a", None)),
        (GPU, status(), [image("uimage-b", gpu=False)], [], ("gpu-lost", "uimage-b", None)),
        (GPU, status(), [image("uimage-b", gpu=None)], [], ("unknown", "uimage-b", None)),
        (GPU, status(), [image("uimage-b", reason="held", gpu=None)], [], ("unknown", "uimage-b", None)),
        (GPU, status(), [image("uimage-b", reason="held", gpu=False)], [], ("gpu-lost", "uimage-b", None)),
        (
            GPU,
            status(),
            [image("uimage-a", reason="held"), image("uimage-b", gpu=False)],
            [],
            ("unknown", "uimage-a", None),
        ),
    ],
)
def test_required(rule: Require, state: StatusRow, images: Any, stays: Any, expected: Any) -> None:
    """A required name is there (the newest id), was there, never was, lost its GPU support, or nobody knows."""
    assert one([rule], [state], images, stays) == expected


@pytest.mark.parametrize(
    ("rule", "images", "outcome"),
    [
        (REQUIRE, [image("uimage-a")], "ok"),
        (REQUIRE, [image("uimage-a", reason="held")], "unknown"),
        (GPU, [image("uimage-a", gpu=None)], "unknown"),
        (GPU, [image("uimage-a", gpu=False)], "gpu-lost"),
    ],
)
def test_a_required_image_that_is_named_by_its_id_has_its_name_too(rule: Require, images: Any, outcome: str) -> None:
    """A row that names an image says what it is called, also where it does not satisfy the rule."""
    (row,) = judge([rule], [status()], images)
    assert (row.outcome, row.image_id, row.image_name) == (outcome, "uimage-a", "Ubuntu 20.04")


@pytest.mark.parametrize(
    ("rule", "images", "expected"),
    [
        (REQUIRE, [image("uimage-z")], ("revoked", "uimage-z", "revoked: CVE")),
        (REQUIRE, [image("uimage-a"), image("uimage-z", came=1)], ("ok", "uimage-a", "Ubuntu 20.04")),
        (REQUIRE, [image("uimage-z", reason="held")], ("revoked", "uimage-z", "revoked: CVE")),
        (REQUIRE, [image("uimage-z"), image("uimage-a", reason="held")], ("unknown", "uimage-a", None)),
        (GPU, [image("uimage-z", gpu=False)], ("gpu-lost", "uimage-z", "Ubuntu 20.04 does not support GPU")),
    ],
)
def test_a_required_name_is_not_satisfied_by_a_revoked_image(rule: Require, images: Any, expected: Any) -> None:
    """
    `resolve` refuses a revoked image, so a policy that requires its name does not pass with it alone.

    Another image of the name that is there satisfies it, and one that is on hold leaves it unknown.
    """
    gate = Check([rule], [status()], images, now=NOON, stale_after=STALE, revoked={"uimage-z": "CVE"})
    gate.past()
    gate.learn([], [], [])
    (row,) = gate.judge()
    outcome, image_id, detail = expected
    assert (row.outcome, row.image_id, row.image_name) == (outcome, image_id, "Ubuntu 20.04")
    assert detail in (None, row.detail)


PIN = PinRule(image_id="uimage-a", zone="hk-02")
NO_GPU, NEEDS_GPU = replace(PIN, gpu=False), replace(PIN, gpu=True)
WAS = stay("uimage-a")
GONE = withdrawn("uimage-a")


@pytest.mark.parametrize(
    ("pin", "state", "images", "stays", "changes", "expected"),
    [
        (PIN, status(), [image("uimage-a")], [], [], ("ok", None)),
        (PIN, status(), [image("uimage-a"), image("uimage-b", came=1)], [], [], ("superseded", "uimage-b")),
        (PIN, status(), [], [], [], ("never-seen", None)),
        (PIN, status(), [], [stay("uimage-a")], [withdrawn("uimage-a")], ("missing", None)),
        (PIN, status(), [image("uimage-b", came=5)], [WAS], [GONE], ("re-issued", "uimage-b")),
        (PIN, status(), [image("uimage-b"), image("uimage-c")], [stay("uimage-a")], [], ("ambiguous", None)),
        (PIN, status(outcome="failed"), [], [stay("uimage-a")], [withdrawn("uimage-a", "uimage-b")], ("unknown", None)),
        (PIN, status(last_ok=27), [image("uimage-a", reason="stale")], [], [], ("stale", None)),
        (PIN, status(outcome="held"), [image("uimage-a", reason="held")], [], [], ("unknown", None)),
        (PIN, status(outcome="retired"), [image("uimage-a", reason="retired")], [], [], ("unknown", None)),
        (PIN, status(), [image("uimage-a", gpu=False)], [stay("uimage-a")], [], ("gpu-lost", None)),
        (PIN, status(), [image("uimage-a", gpu=False)], [stay("uimage-a", gpu=False)], [], ("ok", None)),
        (NO_GPU, status(), [image("uimage-a", gpu=False)], [WAS], [], ("ok", None)),
        (NEEDS_GPU, status(), [image("uimage-a", gpu=None)], [], [], ("unknown", None)),
        (PinRule(image_id="uimage-a", zone="hk-03"), status(), [image("uimage-a")], [], [], ("unknown", None)),
    ],
)  # fmt: skip
def test_pinned(pin: PinRule, state: StatusRow, images: Any, stays: Any, changes: Any, expected: Any) -> None:
    """A pinned id is there, superseded, re-issued, gone, never was there, lost its GPU support, or nobody knows."""
    outcome, image_id, successor = one([pin], [state], images, stays, changes)

    assert (outcome, successor) == expected
    assert image_id == "uimage-a"


def test_chain_of_reissues() -> None:
    """The successor of an id that was re-issued again and again is the one of its name that is open now."""
    stays = [stay("uimage-a"), stay("uimage-b"), stay("uimage-c", until=None)]
    changes = [withdrawn("uimage-a", "uimage-b", number=1), withdrawn("uimage-b", "uimage-c", number=2)]

    assert one([PIN], [status()], [image("uimage-c")], stays, changes) == ("re-issued", "uimage-a", "uimage-c")
    assert one([PIN], [status()], [image("uimage-c", "Debian 12")], stays, changes) == ("missing", "uimage-a", None)


def test_what_came_earlier_is_no_successor() -> None:
    """An older image of the name that is still there takes no place of a withdrawn one, though the change names it."""
    older = [image("uimage-b", came=300)]

    assert one([PIN], [status()], older, [WAS], [withdrawn("uimage-a", "uimage-b")]) == ("missing", "uimage-a", None)


def test_several_that_came_together() -> None:
    """Where several came together the answer is no and names them; one that is still there is superseded."""
    both = [image("uimage-b", came=5), image("uimage-c", came=5), image("uimage-d", came=9)]
    (gone,) = judge([PIN], [status()], both, [WAS], [GONE])
    (there,) = judge([PIN], [status()], [image("uimage-a"), *both])

    assert (gone.outcome, gone.successor, exit_code([gone])) == ("ambiguous", None, ExitCode.NO)
    assert (there.outcome, there.successor, exit_code([there])) == ("superseded", None, ExitCode.DONE)
    for row in (gone, there):
        assert "uimage-b, uimage-c came together later" in row.detail
        assert "uimage-d" not in row.detail


def test_a_newer_image_of_the_name_in_a_comment_that_is_on_hold() -> None:
    """By a comment, too, the image that came last takes the place, and where that is on hold nothing is certain."""
    place = FoundPin(image_id="uimage-x", zone="hk-02", line=1, column=1, at=0, named="ubuntu-20.04")
    pin = PinRule(image_id="uimage-x", zone="hk-02", file="a.tf", place=place)
    older, newer = image("uimage-a"), image("uimage-b", came=1)
    (sure,) = judge([pin], [status()], [older, newer])
    (doubtful,) = judge([pin], [status(outcome="held")], [older, image("uimage-b", came=1, reason="held")])

    assert (sure.outcome, sure.successor, sure.is_certain) == ("never-seen", "uimage-b", True)
    assert (doubtful.outcome, doubtful.successor, doubtful.is_certain) == ("never-seen", "uimage-b", False)
    assert "is uimage-b there, which is on hold" in doubtful.detail


def test_sets_of_the_name_in_a_comment() -> None:
    """The set counts that the id was of, else that which `resolve` takes; of two sets or names nothing tells which."""
    place = FoundPin(image_id="uimage-x", zone="hk-02", line=1, column=1, at=0, named="ubuntu-20.04")
    pin = PinRule(image_id="uimage-x", zone="hk-02", file="a.tf", place=place)
    ours = image("uimage-a")
    metal, custom = image("uimage-p", came=1, image_set="PHostImageSet"), image("uimage-c", image_set="CustomImageSet")
    was_metal = stay("uimage-x", "Ubuntu 18.04")._replace(image_set="PHostImageSet")
    called_alike = image("uimage-d", "Ubuntu-20.04", came=1)

    assert one([pin], [status()], [ours, metal, custom]) == ("never-seen", "uimage-x", "uimage-a")
    assert one([pin], [status()], [ours, metal], [was_metal]) == ("missing", "uimage-x", "uimage-p")
    assert one([pin], [status()], [metal]) == ("never-seen", "uimage-x", "uimage-p")
    assert one([pin], [status()], [metal, custom]) == ("never-seen", "uimage-x", None)
    assert one([pin], [status()], [ours, called_alike]) == ("never-seen", "uimage-x", None)


def test_bare_ids() -> None:
    """A bare id is judged in every zone it lives, or lived, in; nowhere seen, it has one row without a zone."""
    elsewhere = target("hk-01")
    states = [status(), status(elsewhere), status(target("hk-03"))]
    found = judge(
        [PinRule(image_id="uimage-a"), PinRule(image_id="uimage-z")],
        states,
        [image("uimage-a")],
        [stay("uimage-a", until=None), stay("uimage-a", where=elsewhere)],
    )

    assert [(row.zone, row.outcome) for row in found] == [
        ("hk-01", "missing"),
        ("hk-02", "ok"),
        (None, "never-seen"),
    ]


@pytest.mark.parametrize(
    ("states", "outcome"),
    [
        ([status(), status(target("hk-01"), "failed")], "never-seen"),
        ([status(outcome="failed"), status(target("hk-01"), last_ok=27)], "unknown"),
        ([status(last_ok=27), status(target("hk-01"), last_ok=30), status(target("hk-03"), "retired")], "stale"),
    ],
)
def test_bare_id_that_nobody_knows_of(states: list[StatusRow], outcome: str) -> None:
    """That an id was never seen is no finding where nothing at all is known now; where some is, the doubt is told."""
    (row,) = judge([PinRule(image_id="uimage-z")], states)

    assert row.outcome == outcome
    assert "was never listed anywhere; not known in hk-01" in row.detail


GPU_GROUP = Group(cluster_id="uk8s-1", cluster_name="prod", node_group_id="ng-1", machine=Machine("G", "V100"))


@pytest.mark.parametrize(
    "pin",
    [
        PinRule(image_id="uimage-z"),
        PinRule(image_id="uimage-z", zone="mars-01"),
        PinRule(image_id="uimage-z", zone="hk-02", scope=Filters(region=("sg",))),
        PinRule(image_id="uimage-z", zone="hk-02", group=GPU_GROUP),
    ],
    ids=["nowhere", "unknown zone", "place not asked", "machine not asked"],
)
def test_revoked_wherever_it_is(pin: PinRule) -> None:
    """Somebody revoked an id, which needs no observation: it is revoked also where nobody asks about it."""
    gate = Check([pin], [status()], [], now=NOON, stale_after=STALE, revoked={"uimage-z": "CVE"})

    assert [(row.outcome, row.detail) for row in gate.judge()] == [("revoked", "revoked: CVE")]
    (row,) = Check([pin], [status()], [], now=NOON, stale_after=STALE).judge()
    assert row.outcome in ("never-seen", "unknown", "not-asked")


@pytest.mark.parametrize(
    ("zone", "outcome", "expected"),
    [
        ("hk-02", "denied", "unknown"),
        (None, "denied", "not-asked"),
        ("hk-02", "deselected", "out-of-scope"),
        (None, "deselected", "out-of-scope"),
    ],
)
def test_machines_that_are_not_open_to_the_key(zone: str | None, outcome: str, expected: str) -> None:
    """A kind that is asked for and refused is not known; out of scope is one that nobody asks for."""
    place = FoundPin(image_id="uimage-x", zone=zone, line=1, column=1, at=0, resource="ucloud_instance")
    scope = Filters(kind=("uk8s-image", "uhost-image"))
    pin = PinRule(image_id="uimage-x", zone=zone, file="a.tf", place=place, scope=scope)
    states = [status(), status(HK._replace(kind="uhost-image"), outcome, last_ok=None)]

    assert [row.outcome for row in judge([pin], states)] == [expected]


def test_an_id_of_another_zone() -> None:
    """An id is judged in the zone it is used in; where it lives instead is told."""
    (row,) = judge([PIN], [status(), status(target("hk-01"))], [image("uimage-a", where=target("hk-01"))])

    assert (row.zone, row.outcome) == ("hk-02", "never-seen")
    assert "it lives in hk-01" in row.detail


@pytest.mark.parametrize("zone", ["hk-02", "HK-02", "Hk-02", None])
def test_a_zone_in_two_cases(zone: str | None) -> None:
    """A zone that another account has in another case is the same zone: an id is judged at all of its targets."""
    spelled = target("HK-02", account="other")
    states = [status(), status(spelled)]
    pin, gone = replace(PIN, zone=zone), [stay("uimage-a"), stay("uimage-a", where=spelled)]

    assert one([pin], states, [image("uimage-a", where=spelled)]) == ("ok", "uimage-a", None)
    assert one([pin], states, [], gone) == ("missing", "uimage-a", None)
    found = judge([pin], states, [image("uimage-a")], gone[1:])
    assert {(row.zone, row.outcome, row.account) for row in found} == {
        ("hk-02", "ok", "prod"), ("hk-02", "missing", "other"),
    }  # fmt: skip


@pytest.mark.parametrize("rule", [REQUIRE, PIN], ids=["required", "pinned"])
def test_a_zone_that_is_written_in_another_case_since(rule: Require | PinRule) -> None:
    """A zone whose cloud writes it in another case is asked still: that the old spelling is retired is no doubt."""
    states = [status(target("HK-02"), "retired"), status()]
    images = [image("uimage-a", where=target("HK-02"), reason="retired"), image("uimage-a")]

    (row,) = judge([rule], states, images)
    assert (row.zone, row.outcome, row.image_id) == ("hk-02", "ok", "uimage-a")


def test_projects() -> None:
    """Projects that agree share a row; those that differ are told apart; an id of one project is no other's matter."""
    states = [status(), status(OTHER), status(target(project="org-c"), "denied", last_ok=None)]
    both = [image("uimage-a"), image("uimage-a", where=OTHER)]

    assert one([REQUIRE], states, both) == ("ok", "uimage-a", None)
    assert one([PIN], states, [image("uimage-a")]) == ("ok", "uimage-a", None)
    ours, theirs = judge([REQUIRE], states, [image("uimage-a")])
    assert (ours.outcome, theirs.outcome, theirs.detail) == ("ok", "never-seen", "was never listed here; project org-b")


def test_not_asked() -> None:
    """A rule about a variant that nobody asks for is not asked."""
    scope = Filters(variant=("g-v100",))

    assert one([Require(name="x", zones=("hk-02",), scope=scope)], [status()]) == ("not-asked", None, None)
    assert one([PinRule(image_id="x", zone="hk-02", scope=scope)], [status()]) == ("not-asked", "x", None)
    assert one([PinRule(image_id="x", scope=scope)], [status()]) == ("not-asked", "x", None)


def test_places_out_of_reach() -> None:
    """A glob over zones leaves out those that are retired or never were open; a zone called by name is unknown."""
    closed, retired = target("hk-01"), target("hk-03")
    states = [status(), status(closed, "denied", last_ok=None), status(retired, "retired")]
    wide = Require(name="Ubuntu 20.04", zones=("hk-*",))

    assert [row.zone for row in judge([wide], states, [image("uimage-a")])] == ["hk-02"]
    named = Require(name="Ubuntu 20.04", zones=("hk-01", "hk-03"))
    assert {row.outcome for row in judge([named], states)} == {"unknown"}


def test_a_rule_that_is_judged_nowhere_does_not_pass() -> None:
    """Where every zone that a glob fits is out of reach, or there is none, one row without a zone says so."""
    states = [status(target("hk-01"), "denied", last_ok=None), status(target("hk-03"), "retired")]

    for zones in (("hk-*",), ("sg-*",)):
        (row,) = judge([Require(name="Ubuntu 20.04", zones=zones)], states)
        assert (row.zone, row.image_id, row.outcome) == (None, None, "not-asked")
        assert exit_code([row]) == ExitCode.UNKNOWN


def test_each_word_for_zones_has_to_be_judged() -> None:
    """A zone or a glob that nobody asks about does not pass because another of the same rule is good."""
    states = [status(), status(target("sg-01"), "retired")]
    rule = Require(name="Ubuntu 20.04", zones=("hk-*", "sg-*", "th-01", "HK-02", "!kr-*"))
    found = judge([rule], states, [image("uimage-a")])

    assert [(row.zone, row.outcome, row.detail) for row in found] == [
        ("hk-02", "ok", "Ubuntu 20.04"),
        (None, "not-asked", "no zone that fits sg-* is asked"),
        ("th-01", "not-asked", "th-01 is not asked with variant default"),
    ]
    left_out = replace(rule, zones=("hk-*", "sg-*", "th-01", "!sg-*", "!th-01"))
    assert [row.zone for row in judge([left_out], states, [image("uimage-a")])] == ["hk-02"]


def test_zones_of_another_kind_are_no_matter_of_a_rule() -> None:
    """Zones where others are asked about alone give a rule no rows: regions of versions, or a rule beside it."""
    version = HK._replace(kind="uk8s-version", zone="")
    elsewhere = target("sg-01")._replace(kind="uhost-image")
    states = [status(), status(version), status(elsewhere)]
    images = [image("uimage-a"), image("1.30.1", "1.30.1", version)]
    ubuntu = Require(name="Ubuntu 20.04", scope=Filters(variant=("default",), kind=("uk8s-image",)))
    newest = Require(name="1.30.1", scope=Filters(variant=("default",), kind=("uk8s-version",)))

    assert [(row.rule, row.zone, row.outcome) for row in judge([ubuntu, newest], states, images)] == [
        ("require Ubuntu 20.04", "hk-02", "ok"),
        ("require 1.30.1", "", "ok"),
    ]
    (row,) = judge([replace(ubuntu, zones=("sg-01",))], states, images)
    assert (row.zone, row.outcome) == (None, "not-asked")


def test_globs_of_names_know_the_past() -> None:
    """A glob that fits nothing that is open is compared with every name ever recorded."""
    gate = Check([Require(name="Deb*")], [status()], [], now=NOON, stale_after=STALE)

    assert "debian 12" in gate.past(["Debian 12", "CentOS"]).name_keys
    gate.learn((), (), [(HK, "debian 12")])
    assert [row.outcome for row in gate.judge()] == ["missing"]


EXITS: dict[CheckOutcome, ExitCode] = {
    "ok": ExitCode.DONE,
    "superseded": ExitCode.DONE,
    "ending": ExitCode.DONE,
    "out-of-scope": ExitCode.DONE,
    "re-issued": ExitCode.NO,
    "ambiguous": ExitCode.NO,
    "missing": ExitCode.NO,
    "never-seen": ExitCode.NO,
    "gpu-lost": ExitCode.NO,
    "revoked": ExitCode.NO,
    "not-asked": ExitCode.UNKNOWN,
    "unknown": ExitCode.UNKNOWN,
    "stale": ExitCode.UNKNOWN,
}


def test_exit_codes() -> None:
    """0 when all are ok or superseded, else 1, or 8 when nothing worse than not knowing is among them."""

    def row(outcome: CheckOutcome) -> CheckRow:
        return CheckRow(rule="r", zone=None, image_id=None, outcome=outcome)

    assert set(EXITS) == set(OUTCOMES)
    for outcome, code in EXITS.items():
        assert exit_code([row("ok"), row(outcome), row("superseded")]) == code
        assert exit_code([row("stale"), row(outcome)]) == (ExitCode.NO if code == ExitCode.NO else ExitCode.UNKNOWN)
    assert exit_code([]) == ExitCode.DONE
    assert exit_code([row("ok"), row("out-of-scope")], is_strict=True) == ExitCode.UNKNOWN
    assert exit_code([row("missing"), row("out-of-scope")], is_strict=True) == ExitCode.NO
    assert exit_code([row("ending"), row("superseded")], is_strict=True) == ExitCode.DONE


class Counted(UserDict[str, Any]):
    """Attributes that count how often somebody looks."""

    looks = 0

    def __getitem__(self, key: str) -> Any:
        """Look."""
        Counted.looks += 1
        return super().__getitem__(key)


def many(rules: int, images: int) -> tuple[list[Require | PinRule], list[StatusRow], list[ImageRow]]:
    """Make so many rules of every sort over so many images in fifty zones."""
    places = [target(f"hk-{number:02}") for number in range(50)]
    rows = [
        image(f"uimage-{number}", f"Image {number // 50}", places[number % 50], came=number + 1)
        for number in range(images)
    ]
    asked: list[Require | PinRule] = []
    for number in range(rules):
        match number % 4:
            case 0:
                asked.append(Require(name=f"Image {number % 100}", zones=(f"hk-{number % 50:02}",), gpu=True))
            case 1:
                asked.append(Require(name=f"IMAGE {number % 100}?", zones=(f"hk-{number % 50:02}",)))
            case 2:
                asked.append(PinRule(image_id=f"uimage-{number}", zone=f"hk-{number % 50:02}"))
            case _:
                asked.append(PinRule(image_id=f"uimage-{number}"))
    return asked, [status(place) for place in places], rows


def test_no_rule_looks_at_every_image() -> None:
    """1,000 rules over 5,000 images look into an image a few times per image and rule, not once per pair."""
    rules, states, rows = many(1_000, 5_000)
    counted = [row._replace(attributes=Counted(row.attributes)) for row in rows]
    Counted.looks = 0
    found = judge(rules, states, counted)

    assert len(found) >= 1_000
    assert Counted.looks <= 4 * (len(rules) + len(rows))
