"""Which absences are believed, and when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.diff import compare
from crawler.guard import GuardPolicy, judge
from crawler.kinds import UK8S_IMAGE
from crawler.model import ImageKey, Known, OpenHold, Snapshot, Verdict
from crawler.parse import parse
from tests.support.answers import EARLIER, NOON, documents, image_key, known_images

LONG_AGO = EARLIER - timedelta(days=1)
FOUR = (("a", "A"), ("b", "B"), ("c", "C"), ("d", "D"))


def verdict(
    known: Known, *ids: str, reasked: bool = True, policy: GuardPolicy | None = None, unreadable: int = 0, **names: str
) -> Verdict:
    images = {image_key(i): known.images.get(image_key(i), {"image_name": i.upper()}) for i in ids}
    images |= {image_key(i): {"image_name": name} for i, name in names.items()}
    snapshot = Snapshot(images=images, unreadable=unreadable)
    found = compare(known, snapshot)
    return judge(found, known, snapshot, policy or GuardPolicy(), observed_at=NOON, reasked=reasked)


def events(result: Verdict) -> set[tuple[str, str]]:
    return {(change.event, change.key.image_id) for change in result.changes if change.key}


def hold(*ids: str, confirmations: int = 0, hold_id: int = 7) -> OpenHold:
    return OpenHold(
        hold_id=hold_id,
        keys=frozenset(map(image_key, ids)),
        held_at=EARLIER,
        not_before=LONG_AGO,
        confirmations=confirmations,
    )


def test_first_good_observation_is_the_baseline() -> None:
    """The first good observation opens every image and writes no change."""
    result = verdict(Known(images={}, is_new=True), "a", "b")
    assert result.baseline is not None
    assert set(result.baseline) == {image_key("a"), image_key("b")}
    assert result.changes == ()


def test_one_of_four_is_believed_at_once() -> None:
    """A single absence among several images is a withdrawal, dated to this answer."""
    result = verdict(known_images(*FOUR), "a", "b", "c", reasked=False)
    assert events(result) == {("withdrawn", "d")}
    assert (result.outcome, result.changes[0].observed_at, result.changes[0].not_before) == ("ok", NOON, EARLIER)


@pytest.mark.parametrize(
    ("before", "listed", "is_held"),
    [
        (FOUR, ("a", "b"), True),  # 2 of 4: min_images and ratio
        (FOUR, ("a", "b", "c"), False),  # 1 of 4
        (FOUR[:1], (), True),  # everything there was
        (FOUR[:2], ("a",), False),  # 1 of 2 is below min_images
        ((*FOUR, ("e", "E")), ("a", "b", "c"), False),  # 2 of 5 is below the ratio
        (FOUR, (), True),
    ],
)
def test_what_trips_the_guard(before: tuple[tuple[str, str], ...], listed: tuple[str, ...], is_held: bool) -> None:
    """Everything the target had, or at least min_images and ratio of it, is asked again and then held."""
    known = known_images(*before)
    first = verdict(known, *listed, reasked=False)
    second = verdict(known, *listed)
    assert first.ask_again == is_held
    assert bool(second.hold) == is_held
    assert second.outcome == ("held" if is_held else "ok")
    assert not (is_held and events(second))


def test_reissues_do_not_count_towards_the_guard() -> None:
    """Images whose counterpart is in the answer are updates: believed at once, however many."""
    result = verdict(known_images(*FOUR), reasked=False, a2="A", b2="B", c2="C", d2="D")
    assert not result.ask_again
    assert {change.counterpart for change in result.changes if change.event == "withdrawn"} == {"a2", "b2", "c2", "d2"}


def test_listed_images_are_recorded_while_others_are_held() -> None:
    """A held answer still speaks for the images it lists."""
    result = verdict(known_images(*FOUR), "a", "new")
    assert result.hold == {image_key("b"), image_key("c"), image_key("d")}
    assert events(result) == {("appeared", "new")}


def test_second_confirmation_writes_the_withdrawals_with_the_first_date() -> None:
    """After the confirmations the withdrawals carry the time of the first held answer."""
    known = known_images(*FOUR, holds=(hold("c", "d", confirmations=1),))
    result = verdict(known, "a", "b")
    assert events(result) == {("withdrawn", "c"), ("withdrawn", "d")}
    assert {(change.observed_at, change.not_before) for change in result.changes} == {(EARLIER, LONG_AGO)}
    assert (result.outcome, result.completed, result.confirmed) == ("ok", (7,), ())


def test_first_confirmation_keeps_holding() -> None:
    """One confirmation of two leaves the hold open and the outcome held."""
    result = verdict(known_images(*FOUR, holds=(hold("c", "d"),)), "a", "b")
    assert (result.outcome, result.confirmed, result.changes) == ("held", (7,), ())


def test_any_listed_image_dissolves_the_hold() -> None:
    """One held image seen again proves the held answer wrong; what still lacks is judged afresh, dated to itself."""
    known = known_images(*FOUR, holds=(hold("c", "d", confirmations=1),))
    result = verdict(known, "a", "b", "c")
    assert result.dissolved == (7,)
    assert events(result) == {("withdrawn", "d")}
    assert result.changes[0].observed_at == NOON


def test_unrelated_changes_do_not_keep_a_hold_alive() -> None:
    """An image that comes or goes each run neither dissolves nor resets the hold."""
    known = known_images(*FOUR, ("e", "E"), ("f", "F"), ("g", "G"), holds=(hold("a", "b", confirmations=1),))
    result = verdict(known, "c", "d", "e", "f", "new")
    assert events(result) == {("withdrawn", "a"), ("withdrawn", "b"), ("withdrawn", "g"), ("appeared", "new")}


def test_a_second_loss_gets_a_hold_of_its_own() -> None:
    """While one hold waits, further suspicious absences are held apart from it."""
    known = known_images(*FOUR, holds=(hold("a", "b"),))
    result = verdict(known)
    assert result.hold == {image_key("c"), image_key("d")}
    assert result.confirmed == (7,)


def test_absence_beside_an_unreadable_record_is_held() -> None:
    """A record without a readable id may be the missing image: the absence is not believed at once."""
    assert verdict(known_images(*FOUR), "a", "b", "c", unreadable=1).hold == {image_key("d")}


def test_returned_is_told_from_appeared() -> None:
    """An image seen before and withdrawn returns; a new one appears."""
    known = known_images(*FOUR, withdrawn_before=frozenset({image_key("old")}))
    assert events(verdict(known, "a", "b", "c", "d", "old", "new")) == {("returned", "old"), ("appeared", "new")}


def test_zero_confirmations_turn_the_guard_off() -> None:
    """`confirmations = 0` believes every good answer at once."""
    result = verdict(known_images(*FOUR), reasked=False, policy=GuardPolicy(confirmations=0))
    assert len(result.changes) == 4


@given(documents, documents, st.booleans())
def test_a_verdict_never_loses_or_invents_an_image(
    first: dict[str, Any], second: dict[str, Any], reasked: bool
) -> None:
    """After any verdict, every image is listed, was withdrawn by a change, or waits on a hold: exactly one of them."""
    known = Known(images=parse(first, UK8S_IMAGE, "z", {}).images, last_good_at=EARLIER)
    snapshot = parse(second, UK8S_IMAGE, "z", {})
    found = compare(known, snapshot)
    result = judge(found, known, snapshot, GuardPolicy(), observed_at=NOON, reasked=reasked)
    if result.ask_again:
        assert not reasked
        return
    withdrawn = {change.key for change in result.changes if change.event == "withdrawn"}
    arrived = {change.key for change in result.changes if change.event in ("appeared", "returned")}
    assert arrived == found.merged.keys() - known.images.keys()
    assert known.images.keys() == (known.images.keys() & found.merged.keys()) | withdrawn | result.hold
    assert not (withdrawn & result.hold)
    assert not (withdrawn & found.merged.keys())


@given(st.lists(st.sets(st.sampled_from("abcdef")), min_size=1, max_size=12), st.integers(1, 3))
def test_repeated_answers_are_always_believed_in_the_end(answers: list[set[str]], confirmations: int) -> None:
    """Whatever came before, an answer repeated often enough is what the history says: the guard never freezes."""
    policy = GuardPolicy(confirmations=confirmations)
    images: set[ImageKey] = set()
    holds: list[OpenHold] = []
    is_new, number = True, 0
    for listed in [*answers, *[answers[-1]] * (confirmations + 1)]:
        known = Known(images={key: {} for key in images}, holds=tuple(holds), last_good_at=EARLIER, is_new=is_new)
        snapshot = Snapshot(images={image_key(i): {} for i in listed})
        result = judge(compare(known, snapshot), known, snapshot, policy, observed_at=NOON, reasked=True)
        is_new = False
        images = (images | snapshot.images.keys()) - {c.key for c in result.changes if c.event == "withdrawn" and c.key}
        done = {*result.completed, *result.dissolved}
        holds = [
            OpenHold(
                hold_id=h.hold_id,
                keys=h.keys,
                held_at=h.held_at,
                not_before=None,
                confirmations=h.confirmations + (h.hold_id in result.confirmed),
            )
            for h in holds
            if h.hold_id not in done
        ]
        if result.hold:
            number += 1
            holds.append(OpenHold(hold_id=number, keys=result.hold, held_at=NOON, not_before=None, confirmations=0))
    assert images == {image_key(i) for i in answers[-1]}
    assert holds == []
