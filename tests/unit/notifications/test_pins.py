"""Pinned images: every condition, first and at once, and each of them once."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from crawler.domain.rows import Stay
from crawler.domain.subscriptions import Pin, Watch, parse_pin, pin_lines
from crawler.notifications.digest import build_digest
from crawler.notifications.models import NotifiedState, PinLine
from tests.support.reporting import Story, at, subscribe, target

KNOWN = NotifiedState(introduced=True)
PIN = "zone-01 uimage-a"


def pin_line(story: Story, **more: Any) -> PinLine:
    digest = build_digest(subscribe(pins=[PIN], **more), story.facts(), KNOWN)
    assert digest is not None
    (line,) = digest.pins
    return line


def withdrawn(story: Story) -> None:
    story.change("withdrawn", "uimage-a")


def reissued(story: Story) -> None:
    story.change("withdrawn", "uimage-a", counterpart="uimage-b")
    story.image("uimage-b")


def superseded(story: Story) -> None:
    story.image("uimage-a")
    story.image("uimage-b", present_since=at(2))


def gpu_lost(story: Story) -> None:
    story.image("uimage-a", attributes={"image_name": "Ubuntu 22.04", "gpu": False})
    was = {"image_name": "Ubuntu 22.04", "gpu": True}
    story.stays.append(
        Stay(
            target=target("zone-01"), image_set="ImageSet", image_id="uimage-a", attributes=was,
            valid_from=at(0), valid_to=at(1), present_since=at(0), baseline=True,
        )
    )  # fmt: skip


def ambiguous(story: Story) -> None:
    story.change("withdrawn", "uimage-a")
    story.image("uimage-b")
    story.image("uimage-c")


def unusable(story: Story) -> None:
    machines = target("zone-01")._replace(kind="uhost-image")
    story.set(machines)
    for image_id, state, came in (("uimage-a", "Unavailable", 1), ("uimage-b", "Available", 2)):
        stated = {"image_name": "Rocky 9", "image_state": state, "bootable": state == "Available"}
        story.image(image_id, where=machines, attributes=stated, present_since=at(came))


def held(story: Story) -> None:
    story.image("uimage-a", state="unknown", reason="held")
    story.set(target("zone-01"), outcome="held", since=at(2))


def retired(story: Story) -> None:
    story.image("uimage-a", state="unknown", reason="retired")
    story.set(target("zone-01"), outcome="retired", since=at(2))


def unobserved(story: Story) -> None:
    story.image("uimage-a", state="unknown", reason="failed")
    story.set(target("zone-01"), outcome="failed", since=at(1), last_ok_at=at(0), message="no route")


def deselected(story: Story) -> None:
    story.image("uimage-a", state="unknown", reason="deselected")
    story.set(target("zone-01"), outcome="deselected", since=at(2))


def never_seen(story: Story) -> None:
    story.image("uimage-b")


def never_observed(story: Story) -> None:
    story.set(target("zone-01"), outcome="denied", last_ok_at=None, since=at(1))


CONDITIONS = [
    (withdrawn, None),
    (reissued, "uimage-b"),
    (superseded, "uimage-b"),
    (gpu_lost, None),
    (ambiguous, None),
    (unusable, "uimage-b"),
    (held, None),
    (retired, None),
    (unobserved, None),
    (deselected, None),
    (never_observed, None),
    (never_seen, None),
]


@pytest.mark.parametrize(("condition", "successor"), CONDITIONS, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("urgent_only", [False, True], ids=["digest", "urgent"])
def test_conditions(condition: Any, successor: str | None, urgent_only: bool) -> None:
    """Each condition of a pin is told whatever the filters, at once if need be, and only once."""
    story = Story()
    condition(story)
    subscription = subscribe(pins=[PIN], watch=Watch(zone=("elsewhere",)))
    digest = build_digest(subscription, story.facts(), KNOWN, urgent_only=urgent_only)

    assert digest is not None
    assert [(line.state, line.successor) for line in digest.pins] == [(condition.__name__, successor)]
    assert digest.kind == ("urgent" if urgent_only else "digest")
    assert build_digest(subscription, story.facts(3), digest.notified, urgent_only=urgent_only) is None


def test_zone_without_targets() -> None:
    """A zone that nobody asks about is told as never observed, once; that it is and lists the image is no news."""
    subscription = subscribe(pins=["zone-09 uimage-a"])
    story = Story()
    digest = build_digest(subscription, story.facts(), KNOWN)
    assert digest is not None
    assert [(line.state, line.pin.zone) for line in digest.pins] == [("never_observed", "zone-09")]
    assert build_digest(subscription, story.facts(3), digest.notified) is None

    story.set(target("zone-09"))
    story.image("uimage-a", where="zone-09")
    assert build_digest(subscription, story.facts(4), digest.notified) is None


def test_revoked() -> None:
    """That somebody revoked a pinned image is told once, with the reason; taken back, that it is well again."""
    story = Story()
    story.image("uimage-a")
    subscription = subscribe(pins=[PIN])
    digest = build_digest(subscription, story.facts(revoked={"uimage-a": "its kernel hangs"}), KNOWN, urgent_only=True)

    assert digest is not None
    assert [(line.state, line.message) for line in digest.pins] == [("revoked", "its kernel hangs")]
    later = story.facts(3, revoked={"uimage-a": "another reason"})
    assert build_digest(subscription, later, digest.notified, urgent_only=True) is None
    over = build_digest(subscription, story.facts(4), digest.notified, urgent_only=True)
    assert over is not None
    assert [line.state for line in over.pins] == ["clear"]


@pytest.mark.parametrize(
    ("came", "is_baseline", "expected"), [(0, True, ["reissued_elsewhere"]), (0, False, []), (4, True, [])]
)
def test_reissued_elsewhere(came: int, is_baseline: bool, expected: list[str]) -> None:
    """A pin is warned of, once, when its name got a newer image elsewhere; not within the roll-out it came with."""
    story = Story()
    story.image("uimage-a", present_since=at(came), baseline=is_baseline)
    other = Story()
    other.image("uimage-x", where="zone-02", present_since=at(0))
    other.image("uimage-y", where="zone-02", present_since=at(2))
    subscription = subscribe(pins=[PIN])
    digest = build_digest(subscription, story.facts(namesakes=tuple(other.images)), KNOWN, urgent_only=True)

    assert [line.state for line in digest.pins] == expected if digest else expected == []
    if digest:
        assert digest.pins[0].message == "zone-02"
        again = story.facts(3, namesakes=tuple(other.images))
        assert build_digest(subscription, again, digest.notified, urgent_only=True) is None


def test_all_is_well() -> None:
    """A pin that is listed is no news, in whatever case its zone is written."""
    story = Story()
    story.image("uimage-a")

    assert build_digest(subscribe(pins=[PIN, "ZONE-01 uimage-a"]), story.facts(), KNOWN) is None


def test_not_urgent() -> None:
    """A subscription that wants nothing at once is told with its digest."""
    story = Story()
    withdrawn(story)
    subscription = subscribe(pins=[PIN], urgent=())

    assert build_digest(subscription, story.facts(), KNOWN, urgent_only=True) is None
    assert build_digest(subscription, story.facts(), KNOWN) is not None


def test_told_at_once_and_not_again() -> None:
    """What an urgent mail told is left out of the digest that follows; everything else of its run is in it."""
    story = Story()
    reissued(story)
    story.change("appeared", "uimage-b")
    story.change("appeared", "uimage-c", "CentOS 7.9", where="zone-02")
    subscription = subscribe(pins=[PIN])
    urgent = build_digest(subscription, story.facts(), KNOWN, urgent_only=True)
    assert urgent is not None
    digest = build_digest(subscription, story.facts(2, 3), urgent.notified)
    assert digest is not None

    assert ([row.id for row in urgent.changes], urgent.lines) == ([1, 2], ())
    assert ([row.id for row in digest.changes], digest.pins) == ([3], ())
    assert digest.notified.early == frozenset()
    assert build_digest(subscription, story.facts(3), digest.notified) is None


def test_chain_to_the_image_of_today() -> None:
    """The way from the pinned id to what is listed now is told in full, however long ago it began."""
    story = Story()
    for run, (old, new) in enumerate([("a", "b"), ("b", "c"), ("c", "d")], start=2):
        story.change("withdrawn", f"uimage-{old}", run=run, counterpart=f"uimage-{new}")
    story.image("uimage-d")
    story.image("uimage-e", present_since=at(2))
    digest = build_digest(subscribe(pins=[PIN]), story.facts(9), KNOWN)

    assert digest is not None
    (line,) = digest.pins
    assert line.chain == (
        ("uimage-a", at(2)), ("uimage-b", at(3)), ("uimage-c", at(4)), ("uimage-d", None), ("uimage-e", None)
    )  # fmt: skip
    assert (line.successor, digest.changes) == ("uimage-e", ())


def test_new_advice_is_news() -> None:
    """When the image that was recommended goes too, the pin is told again, with the one to use now."""
    story = Story()
    reissued(story)
    first = build_digest(subscribe(pins=[PIN]), story.facts(2), KNOWN)
    assert first is not None
    story.images.clear()
    story.change("withdrawn", "uimage-b", run=3, counterpart="uimage-c")
    story.image("uimage-c")
    second = build_digest(subscribe(pins=[PIN]), story.facts(3), first.notified)

    assert second is not None
    assert [line.successor for line in second.pins] == ["uimage-c"]
    assert second.lines == ()


def test_namesake_is_a_successor() -> None:
    """An image that came under the same name later is what to use, though the withdrawal named no counterpart."""
    story = Story()
    story.change("withdrawn", "uimage-a", "Ubuntu 22.04")
    story.image("uimage-z", "ubuntu  22.04")

    assert (pin_line(story).state, pin_line(story).successor) == ("reissued", "uimage-z")


def test_three_images_of_a_name() -> None:
    """Where several of the name are open, what came last is what to use; nothing that came earlier, and none of two."""
    story = Story()
    story.change("withdrawn", "uimage-a", "Ubuntu 22.04")
    story.image("uimage-b", present_since=at(1))
    story.image("uimage-c", present_since=at(2))
    assert (pin_line(story).state, pin_line(story).successor) == ("reissued", "uimage-c")

    story.image("uimage-d", present_since=at(2))
    assert (pin_line(story).state, pin_line(story).candidates) == ("ambiguous", ("uimage-c", "uimage-d"))

    story.images.clear()
    story.image("uimage-z", present_since=at(-1))
    assert (pin_line(story).state, pin_line(story).successor, pin_line(story).chain) == ("withdrawn", None, ())


def test_circle() -> None:
    """Ids that replaced one another in a circle end the chain instead of the program."""
    story = Story()
    story.change("withdrawn", "uimage-a", run=2, counterpart="uimage-b")
    story.change("withdrawn", "uimage-b", run=2, counterpart="uimage-a")

    assert pin_line(story).state == "withdrawn"


def test_patience_with_pins() -> None:
    """A zone that has just begun to fail says nothing about a pin yet."""
    story = Story()
    unobserved(story)
    facts = story.facts(now=at(1) + timedelta(minutes=59))

    assert build_digest(subscribe(pins=[PIN]), facts, KNOWN, urgent_only=True) is None


def test_over_once() -> None:
    """When what was told is over, that is told, once; a gap in between ends nothing and repeats nothing."""
    subscription = subscribe(pins=[PIN])
    story = Story()
    superseded(story)
    first = build_digest(subscription, story.facts(2), KNOWN, urgent_only=True)
    assert first is not None
    story.images.clear()
    unobserved(story)
    young = replace(story.facts(3), now=at(1) + timedelta(minutes=5))
    assert build_digest(subscription, young, first.notified, urgent_only=True) is None
    second = build_digest(subscription, story.facts(3), first.notified, urgent_only=True)
    assert second is not None
    story.images.clear()
    story.set(target("zone-01"))
    superseded(story)
    assert build_digest(subscription, story.facts(4), second.notified, urgent_only=True) is None
    story.images.clear()
    story.image("uimage-a")
    third = build_digest(subscription, story.facts(5), second.notified, urgent_only=True)
    assert third is not None

    assert [digest.pins[0].state for digest in (first, second, third)] == ["superseded", "unobserved", "clear"]
    assert build_digest(subscription, story.facts(6), third.notified, urgent_only=True) is None


def test_projects() -> None:
    """A pin that went for some projects of its zone says for which; for others it is news when it goes there."""
    story = Story(zones=1, projects=("org-a", "org-b"))
    story.change("withdrawn", "uimage-a", where=target("zone-01", "org-a"))
    story.image("uimage-a", where=target("zone-01", "org-b"))
    first = build_digest(subscribe(pins=[PIN]), story.facts(2), KNOWN)
    story.images.clear()
    story.change("withdrawn", "uimage-a", where=target("zone-01", "org-b"), run=3)
    second = build_digest(subscribe(pins=[PIN]), story.facts(3), first.notified if first else KNOWN)

    assert [digest.pins[0].projects for digest in (first, second) if digest] == [("org-a",), ("org-b",)]


def test_the_matrix_says_no_more_than_its_pin() -> None:
    """What every variant says of a pinned image is told with the pin; what one says otherwise has a line of its own."""
    story = Story(zones=1)
    variants = [target("zone-01", variant=name) for name in ("default", "g-a100-1.30", "g-v100-1.30")]
    for where, successor in zip(variants, ("uimage-b", "uimage-b", None), strict=True):
        story.set(where)
        story.change("withdrawn", "uimage-a", where=where, counterpart=successor)
        if successor:
            story.change("appeared", "uimage-b", where=where, counterpart="uimage-a")
            story.image("uimage-b", where=where)
    digest = build_digest(subscribe(pins=[PIN]), story.facts(), KNOWN)

    assert digest is not None
    assert [line.change_ids for line in digest.pins] == [(1, 2, 3, 4)]
    assert [line.change_ids for line in digest.lines] == [(5,)]


def test_nobody_has_looked() -> None:
    """A pin in a zone that was never observed yet is no news."""
    story = Story()
    story.set(target("zone-01"), outcome="failed", last_ok_at=None, since=at(2))

    assert build_digest(subscribe(pins=[PIN]), story.facts(), KNOWN) is None


def test_never_seen_in_a_zone_that_grows() -> None:
    """That a pin was never listed is told once, also where a new target of its zone is not observed at first."""
    subscription, story = subscribe(pins=[PIN]), Story()
    never_seen(story)
    first = build_digest(subscription, story.facts(2), KNOWN)
    assert first is not None
    grown = target("zone-01", "org-new")
    story.set(grown, outcome="failed", last_ok_at=None, since=at(3))
    story.change("appeared", "uimage-c", "CentOS 7.9", where="zone-02", run=3)
    second = build_digest(subscription, story.facts(3), first.notified)
    assert second is not None
    story.set(grown)

    assert [line.state for line in (*first.pins, *second.pins)] == ["never_seen"]
    assert build_digest(subscription, story.facts(4), second.notified) is None


def steps(targets: int, pins: int) -> int:
    """Count the calls that a digest about so many pins without a zone takes, of which none is in trouble."""
    story = Story(zones=targets)
    for number in range(pins):
        story.image(f"uimage-{number}", f"Image {number}")
    subscription = replace(subscribe(), pins=tuple(Pin("", f"uimage-{number}") for number in range(pins)))
    facts, calls = story.facts(), 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(note)
    try:
        digest = build_digest(subscription, facts, KNOWN)
    finally:
        sys.setprofile(None)
    assert digest is None
    return calls


def test_urgent_mails_share_no_change() -> None:
    """What an urgent mail told is in no later one, though the digest that both belong to is still to come."""
    subscription, story = subscribe(pins=[PIN]), Story()
    withdrawn(story)
    gone = build_digest(subscription, story.facts(2), KNOWN, urgent_only=True)
    assert gone is not None
    story.change("returned", "uimage-a", run=3)
    story.image("uimage-a")
    back = build_digest(subscription, story.facts(2, 3), gone.notified, urgent_only=True)
    assert back is not None

    assert [[row.event for row in digest.changes] for digest in (gone, back)] == [["withdrawn"], ["returned"]]
    assert [digest.pins[0].change_ids for digest in (gone, back)] == [(1,), (2,)]


def test_many_pins_of_no_zone() -> None:
    """Pins that say no zone are looked for where they are listed: what is asked besides costs each of them nothing."""
    few, many = (steps(200, pins) - steps(20, pins) for pins in (20, 80))

    assert many < 1.5 * few


def test_told_is_kept_as_text() -> None:
    """What was told survives being written down, and a version that knew less or more."""
    told = NotifiedState(
        introduced=True, pins=frozenset({"a b"}), unobserved=frozenset({"x/y", "ü"}), early=frozenset({3, 1})
    )

    assert NotifiedState.from_json(told.as_json()) == told
    assert NotifiedState.from_json("{}") == NotifiedState()
    assert NotifiedState.from_json('{"introduced": true, "later": 1}') == KNOWN


def test_pin_files() -> None:
    """A file of pins has a pair a line; comments and empty lines are passed over, and numbers stay right."""
    assert list(pin_lines("# a\n\nhk-02 uimage-a # b\r\n  cn-1\tuimage-b\n")) == [
        (3, "hk-02 uimage-a"), (4, "cn-1\tuimage-b")
    ]  # fmt: skip
    assert parse_pin("  cn-1 \t uimage-b ") == ("cn-1", "uimage-b")
    for wrong in ("", "uimage-a", "a b c", "hk-* uimage-a", "a/b"):
        with pytest.raises(ValueError, match="must be a zone and an image id"):
            parse_pin(wrong)
