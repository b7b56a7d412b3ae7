"""Which absences are believed, and when."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.domain.diffing import compare
from crawler.domain.guard import GuardPolicy, judge
from crawler.domain.kinds import UK8S_IMAGE
from crawler.domain.models import (
    UNSTATED_SET,
    Change,
    ImageKey,
    KnownState,
    OpenHold,
    Snapshot,
    Verdict,
    WaitsFor,
)
from crawler.domain.parsing import parse
from tests.support.answers import EARLIER, NOON, documents, image_key, known_images

LONG_AGO = EARLIER - timedelta(days=1)
FOUR = (("a", "A"), ("b", "B"), ("c", "C"), ("d", "D"))


def verdict(
    known: KnownState,
    *ids: str,
    reasked: bool = True,
    policy: GuardPolicy | None = None,
    unreadable: int = 0,
    **names: str,
) -> Verdict:
    """Return the verdict on an answer that lists *ids* as they were known, and *names* as new images."""
    images = {image_key(i): known.images.get(image_key(i), {"image_name": i.upper()}) for i in ids}
    images |= {image_key(i): {"image_name": name} for i, name in names.items()}
    snapshot = Snapshot(images=images, unreadable=unreadable)
    found = compare(known, snapshot)
    return judge(found, known, snapshot, policy or GuardPolicy(), observed_at=NOON, reasked=reasked)


def events(result: Verdict) -> set[tuple[str, str]]:
    return {(change.event, change.key.image_id) for change in result.changes if change.key}


def hold(*ids: str, confirmations: int = 0, hold_id: int = 7, **more: Any) -> OpenHold:
    return OpenHold(
        hold_id=hold_id,
        keys=frozenset(map(image_key, ids)),
        held_at=EARLIER,
        not_before=LONG_AGO,
        confirmations=confirmations,
        **more,
    )


def unread(*ids: str, unreadable: int = 0) -> OpenHold:
    """Return a hold of images that an answer with more than *unreadable* unreadable records lacked."""
    return hold(*ids, waits_for="readable", unreadable=unreadable)


def withdrawn(result: Verdict) -> set[str]:
    return {image_id for event, image_id in events(result) if event == "withdrawn"}


def test_first_good_observation_is_the_baseline() -> None:
    """The first good observation opens every image and writes no change."""
    result = verdict(KnownState(images={}, is_new=True), "a", "b")
    assert result.outcome == "ok"
    assert result.baseline is not None
    assert set(result.baseline) == {image_key("a"), image_key("b")}
    assert result.changes == ()


def test_one_of_four_is_believed_at_once() -> None:
    """A single absence among several images is a withdrawal, dated to this answer."""
    result = verdict(known_images(*FOUR), "a", "b", "c", reasked=False)
    assert events(result) == {("withdrawn", "d")}
    assert (result.outcome, result.changes[0].observed_at, result.changes[0].not_before) == ("ok", NOON, EARLIER)


def test_what_a_change_says() -> None:
    """Each change has the image's name and, where the answer lists it, what is known of it now; a loss has neither."""
    known = KnownState(
        images={
            image_key("old"): {"image_name": "Ubuntu"},
            image_key("mod"): {"image_name": "Rocky", "gpu": True, "os_name": "R"},
            image_key("bare"): {},
            image_key("stays"): {"image_name": "Kept"},
        },
        last_good_at=EARLIER,
        withdrawn_before=frozenset({image_key("back")}),
    )
    listed: dict[str, dict[str, Any]] = {
        "new": {"image_name": "Ubuntu"},
        "mod": {"image_name": "Rocky", "gpu": False},
        "back": {"gpu": True},
        "stays": {},
    }
    snapshot = Snapshot(images={image_key(name): value for name, value in listed.items()})
    found = judge(
        compare(known, snapshot), known, snapshot, GuardPolicy(confirmations=0), observed_at=NOON, reasked=False
    )

    assert {(change.event, change.key.image_id): change for change in found.changes if change.key} == {
        (event, image_id): Change(
            event=event,  # type: ignore[arg-type] # from the table
            key=image_key(image_id),
            image_name=name,
            observed_at=NOON,
            not_before=EARLIER,
            counterpart=counterpart,
            fields=fields,
            attributes=attributes,
        )
        for event, image_id, name, counterpart, fields, attributes in (
            ("withdrawn", "old", "Ubuntu", "new", {}, {}),
            ("withdrawn", "bare", "", None, {}, {}),
            ("appeared", "new", "Ubuntu", "old", {}, {"image_name": "Ubuntu"}),
            ("returned", "back", "", None, {}, {"gpu": True}),
            (
                "modified", "mod", "Rocky", None, {"gpu": [True, False]},
                {"image_name": "Rocky", "gpu": False, "os_name": "R"},
            ),
        )
    }  # fmt: skip


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
    assert first.outcome == second.outcome == ("held" if is_held else "ok")
    assert not (is_held and events(second))


@pytest.mark.parametrize(
    ("ratio", "had", "lost", "is_held"),
    [(0.07, 100, 7, True), (0.07, 100, 6, False), (0.28, 25, 7, True), (0.29, 100, 28, False), (0.55, 20, 11, True)],
)
def test_exactly_the_ratio_trips_the_guard(ratio: float, had: int, lost: int, is_held: bool) -> None:
    """Where just the ratio is lost it is held, also where the ratio is no binary number: 7 of 100 are 0.07."""
    known = known_images(*((f"i{number}", f"I {number}") for number in range(had)))
    listed = [f"i{number}" for number in range(lost, had)]
    assert bool(verdict(known, *listed, policy=GuardPolicy(ratio=ratio)).hold) == is_held


def test_what_is_learned_is_filled_in() -> None:
    """A value that an image states for the first time is written into what is known of it, and is no change."""
    known = KnownState(images={image_key("a"): {"image_name": "A"}, image_key("b"): {"image_name": "B"}})
    snapshot = Snapshot(images={image_key("a"): {"gpu": True}, image_key("b"): {}})
    found = judge(compare(known, snapshot), known, snapshot, GuardPolicy(), observed_at=NOON, reasked=False)
    assert found.filled == {image_key("a"): {"image_name": "A", "gpu": True}}
    assert found.changes == ()


def test_reissues_do_not_count_towards_the_guard() -> None:
    """Images whose counterpart is in the answer are updates: believed at once, however many."""
    result = verdict(known_images(*FOUR), "a", reasked=False, b2="B", c2="C", d2="D")
    assert not result.ask_again
    assert {change.counterpart for change in result.changes if change.event == "withdrawn"} == {"b2", "c2", "d2"}


@pytest.mark.parametrize(("more", "is_held"), [({}, True), ({"withdrawn_before": frozenset({image_key("a2")})}, False)])
def test_an_answer_of_strange_ids_has_no_exemption(more: dict[str, Any], is_held: bool) -> None:
    """Where not one id was ever seen at the target, namesakes are no updates: the list may be a neighbour's."""
    result = verdict(known_images(*FOUR, **more), a2="A", b2="B", c2="C", d2="D")
    assert result.hold == ({image_key(i) for i in "abcd"} if is_held else set())
    assert withdrawn(result) == (set() if is_held else set("abcd"))


CUSTOM = {image_key(i, "CustomImageSet"): {"image_name": i} for i in ("x", "y", "z")}


@pytest.mark.parametrize(
    ("custom", "listed", "is_held"),
    [
        (2, (), True),  # it held min_images and is empty now
        (2, ("x",), False),
        (2, ("new",), False),  # it holds other images now
        (1, (), False),  # too small to count
    ],
)
def test_a_set_that_empties_is_judged_like_everything(custom: int, listed: tuple[str, ...], is_held: bool) -> None:
    """The loss of a whole set is not believed at once, however small a part of the target it is."""
    base = {image_key(str(n)): {"image_name": str(n)} for n in range(20)}
    ours = dict(list(CUSTOM.items())[:custom])
    known = KnownState(images={**base, **ours}, last_good_at=EARLIER)
    snapshot = Snapshot(images={**base, **{image_key(i, "CustomImageSet"): {} for i in listed}})
    result = judge(compare(known, snapshot), known, snapshot, GuardPolicy(), observed_at=NOON, reasked=True)
    assert result.hold == (ours.keys() if is_held else set())


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


@pytest.mark.parametrize(("before", "now", "is_held"), [(0, 1, True), (1, 2, True), (1, 1, False), (2, 1, False)])
def test_absence_beside_more_unreadable_records_is_held(before: int, now: int, is_held: bool) -> None:
    """Each record that cannot be read may be a missing image, unless it could not be read before either."""
    result = verdict(known_images(*FOUR, unreadable=before), "a", "b", "c", unreadable=now)
    assert result.hold == ({image_key("d")} if is_held else set())
    assert withdrawn(result) == (set() if is_held else {"d"})
    assert not is_held or result.waits_for == "readable"


def test_absence_of_an_updated_image_waits_for_readable_records_too() -> None:
    """Beside more unreadable records not even an update is believed: the old image may be among them."""
    result = verdict(known_images(*FOUR), "a", "b", "c", unreadable=1, d2="D")
    assert result.hold == {image_key("d")}
    assert events(result) == {("appeared", "d2")}


@pytest.mark.parametrize("unreadable", [1, 2, 5])
def test_equal_counts_confirm_nothing(unreadable: int) -> None:
    """What waits for readable records waits on while there are more unreadable ones than before it."""
    known = known_images(*FOUR, holds=(unread("d"),), unreadable=1)
    result = verdict(known, "a", "b", "c", unreadable=unreadable)
    assert (result.outcome, result.completed, result.confirmed, result.changes) == ("held", (), (), ())


@pytest.mark.parametrize(("limit", "unreadable"), [(0, 0), (2, 2), (2, 1)])
def test_an_answer_that_is_read_as_before_ends_the_wait(limit: int, unreadable: int) -> None:
    """With no more unreadable records than before, the absence is a withdrawal, dated to the first held answer."""
    known = known_images(*FOUR, holds=(unread("d", unreadable=limit),), unreadable=3)
    result = verdict(known, "a", "b", "c", unreadable=unreadable, reasked=False)
    assert (result.outcome, result.completed) == ("ok", (7,))
    assert [(c.observed_at, c.not_before) for c in result.changes] == [(EARLIER, LONG_AGO)]


def test_a_wait_that_ends_meets_the_guard() -> None:
    """What waited and would have been too much for one answer is asked again, and waits for confirmations then."""
    known = known_images(*FOUR, holds=(unread("b", "c", "d"),), unreadable=3)
    assert verdict(known, "a", reasked=False).ask_again
    result = verdict(known, "a")
    assert (result.outcome, result.lifted, result.completed, result.changes) == ("held", (7,), (), ())


def test_an_image_that_returns_leaves_the_others_waiting() -> None:
    """Beside unreadable records one image that is listed again says nothing about the others."""
    known = known_images(*FOUR, holds=(unread("c", "d"),), unreadable=2)
    result = verdict(known, "a", "b", "c", unreadable=1)
    assert (result.outcome, result.changes, result.dissolved) == ("held", (), ())
    assert result.returned == {7: {image_key("c")}}


@pytest.mark.parametrize(("listed", "is_held"), [("ab", False), ("d", True)])
def test_an_answer_that_proved_wrong_is_no_measure(listed: str, is_held: bool) -> None:
    """Once an image of a doubted answer is back, records are as unreadable as before that answer; not until then."""
    known = known_images(*FOUR, holds=(hold("a", "b", "c", unreadable=2),), unreadable=0)
    result = verdict(known, *listed, unreadable=2)
    assert (result.measure, result.waits_for) == ((0, "readable") if is_held else (2, "confirmations"))


def test_the_last_image_that_returns_dissolves_the_wait() -> None:
    """A hold whose images are all listed again is over."""
    known = known_images(*FOUR, holds=(unread("c", "d"),), unreadable=2)
    result = verdict(known, "a", "b", "c", "d", unreadable=1)
    assert (result.outcome, result.dissolved, dict(result.returned)) == ("ok", (7,), {})


def dated(result: Verdict) -> list[tuple[str, str, datetime]]:
    """Return each change with the answer that it is dated to, in order."""
    return [(change.event, change.key.image_id, change.observed_at) for change in result.changes if change.key]


def test_a_wait_that_ends_dates_what_it_waited_for() -> None:
    """Where one image of a wait returns and the answer is read well, the other went when it was first missed."""
    result = verdict(known_images(*FOUR, holds=(unread("a", "b"),)), "b", "c", "d")
    assert dated(result) == [("withdrawn", "a", EARLIER)]
    assert (result.completed, result.dissolved) == ((7,), ())


def test_what_returned_counts_as_had_again() -> None:
    """Of a wait that lasts only the images that are still missing are left out of what the target has."""
    known = known_images(("a", "A"), ("b", "B"), ("c", "C"), unreadable=1, holds=(unread("a", "b"),))
    assert dated(verdict(known, "b", unreadable=1)) == [("withdrawn", "c", NOON)]


def test_a_confirmed_hold_withdraws_its_own_images() -> None:
    """Beside a hold that is confirmed a fresh loss is dated to the answer that shows it, and told once."""
    known = known_images(*FOUR, ("e", "E"), ("f", "F"), holds=(hold("a", "b", confirmations=1),))
    assert dated(verdict(known, "d", "e", "f")) == [
        ("withdrawn", "a", EARLIER), ("withdrawn", "b", EARLIER), ("withdrawn", "c", NOON)
    ]  # fmt: skip


def test_absences_first_missed_later_are_judged_normally() -> None:
    """While one image waits for readable records, another that goes beside as many of them is a withdrawal."""
    known = known_images(*FOUR, ("e", "E"), holds=(unread("e"),), unreadable=1)
    result = verdict(known, "a", "b", "c", unreadable=1)
    assert (result.outcome, withdrawn(result)) == ("held", {"d"})


@pytest.mark.parametrize(
    ("waits_for", "dissolved", "returned", "dated"),
    [("confirmations", (7,), (), NOON), ("readable", (), (7,), EARLIER)],
)
def test_image_on_hold_that_states_its_set_now(
    waits_for: WaitsFor, dissolved: tuple[int, ...], returned: tuple[int, ...], dated: datetime
) -> None:
    """An image that stated no set before it was missed, and states one when it comes again, is listed again."""
    unstated = {letter: ImageKey(UNSTATED_SET, letter) for letter in "abcd"}
    doubted = replace(hold(confirmations=1, waits_for=waits_for), keys=frozenset({unstated["c"], unstated["d"]}))
    images = {key: {"image_name": letter} for letter, key in unstated.items()}
    known = KnownState(images=images, holds=(doubted,), last_good_at=EARLIER, unreadable=1)
    listed = {ImageKey("Base", "c"): {"image_name": "c"}} | {unstated[i]: images[unstated[i]] for i in "ab"}
    snapshot = Snapshot(images=listed, unreadable=1)
    result = judge(compare(known, snapshot), known, snapshot, GuardPolicy(), observed_at=NOON, reasked=True)

    assert result.dissolved == dissolved
    assert result.returned == dict.fromkeys(returned, frozenset({unstated["c"]}))
    assert [change.observed_at for change in result.changes if change.event == "withdrawn"] == [dated]


def test_unreadable_records_confirm_no_hold() -> None:
    """An answer with more unreadable records than the good one before a hold neither confirms nor dissolves it."""
    known = known_images(*FOUR, holds=(hold("c", "d", confirmations=1, unreadable=0),))
    missing = verdict(known, "a", "b", unreadable=2)
    partly = verdict(known, "a", "b", "c", unreadable=1)
    assert (missing.outcome, missing.confirmed, missing.completed, missing.changes) == ("held", (), (), ())
    assert (partly.outcome, partly.dissolved, partly.changes) == ("held", (), ())
    assert partly.returned == {7: {image_key("c")}}


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
    known = KnownState(images=parse(first, UK8S_IMAGE, "z", {}).images, last_good_at=EARLIER)
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
        known = KnownState(images={key: {} for key in images}, holds=tuple(holds), last_good_at=EARLIER, is_new=is_new)
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
