"""One name over all zones: unbroken presence through re-issues, what is unknown, who lags behind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.domain.models import ImageKey, Target, normalise_name
from crawler.domain.rows import Gap, Knowledge, Stay
from crawler.queries.where import WhereRow, at_a_glance, rollouts, where

DAY = timedelta(days=1)
START = datetime(2026, 6, 1, tzinfo=UTC)
NOW = START + 30 * DAY
WELL = Knowledge(reason=None, since=None, observed_at=NOW)
BADLY = Knowledge(reason="failed", since=NOW - DAY, observed_at=NOW - 2 * DAY)


def target(zone: str, project: str = "org-x") -> Target:
    return Target("prod", project, zone.rpartition("-")[0], zone, "uk8s-image")


HOME, AWAY, FAR = target("hk-02"), target("hk-03"), target("cn-bj2-02")


def stay(image_id: str, first: int, last: int | None = None, where: Target = HOME, **more: Any) -> Stay:
    """Return a stay from one day to another."""
    options: dict[str, Any] = {
        "baseline": False, "image_set": "ImageSet", "name": "Ubuntu 20.04", "came": first, **more
    }  # fmt: skip
    return Stay(
        target=where,
        image_set=options["image_set"],
        image_id=image_id,
        attributes={"image_name": options["name"]},
        valid_from=START + first * DAY,
        valid_to=None if last is None else START + last * DAY,
        present_since=START + options["came"] * DAY,
        baseline=options["baseline"],
    )


def ask(
    *stays: Stay,
    known: dict[Target, Knowledge] | None = None,
    holds: dict[tuple[Target, ImageKey], list[Gap]] | None = None,
) -> list[WhereRow]:
    names = {normalise_name(s.image_name): s.image_name for s in stays} or {"ubuntu 20.04": "Ubuntu 20.04"}
    return where(names, stays, known or {HOME: WELL}, holds or {}, at=NOW)


def test_reissues_are_one_presence() -> None:
    """Ids that took each other's place in one answer are one presence since the first of them."""
    (row,) = ask(stay("uimage-a", 0, 5, baseline=True), stay("uimage-b", 5, 9), stay("uimage-c", 9))

    assert (row.state, row.image_id, row.previous_ids) == ("present", "uimage-c", ("uimage-a", "uimage-b"))
    assert (row.since, row.id_since, row.first_seen_at, row.baseline) == (START, START + 9 * DAY, START, True)


def test_a_break_is_a_break() -> None:
    """A presence begins anew after a time without the name; an overlap is no break."""
    (broken,) = ask(stay("uimage-a", 0, 5), stay("uimage-b", 6))
    (overlapping,) = ask(stay("uimage-a", 0, 7), stay("uimage-b", 6))
    (again,) = ask(stay("uimage-a", 0, 5), stay("uimage-a", 8))

    assert broken.since == START + 6 * DAY
    assert overlapping.since == START
    assert (again.since, again.previous_ids) == (START + 8 * DAY, ())


def test_a_modification_is_no_break() -> None:
    """An image that changed a field has been there all the time."""
    (row,) = ask(stay("uimage-a", 0, 3), stay("uimage-a", 3, came=0))

    assert (row.since, row.id_since) == (START, START)


def test_a_renamed_image_came_when_its_stay_began() -> None:
    """An image that got the name later than another is older all the same, when it was there before the other."""
    (row,) = ask(stay("uimage-a", 5, came=0), stay("uimage-b", 3))

    assert (row.image_id, row.id_since, row.also_open) == ("uimage-b", START + 3 * DAY, ("uimage-a",))


def test_newer_elsewhere_is_the_successor_there() -> None:
    """Newer is what succeeded the id elsewhere and is open there; images that came together succeed nothing."""
    known = {HOME: WELL, AWAY: WELL}

    def newer(*there: Stay) -> str | None:
        (row,) = [row for row in ask(stay("uimage-a", 1), *there, known=known) if row.target == HOME]
        return row.newer_elsewhere

    old = stay("uimage-a", 0, 4, where=AWAY)
    assert newer(old, stay("uimage-b", 2, where=AWAY), stay("uimage-c", 3, 5, where=AWAY)) == "uimage-b"
    assert newer(old, stay("uimage-b", 2, where=AWAY), stay("uimage-c", 2, where=AWAY)) is None


def test_withdrawn_never_unknown() -> None:
    """Withdrawn says when; never says nothing; unknown outweighs both and keeps what was last known."""
    known = {HOME: WELL, AWAY: WELL, FAR: BADLY, target("sg-01"): BADLY}
    rows = ask(stay("uimage-a", 0, 5), stay("uimage-f", 1, 3, FAR), known=known)
    told = {row.target.zone: (row.state, row.since, row.image_id, row.reason) for row in rows}

    assert told == {
        "hk-02": ("withdrawn", START + 5 * DAY, "uimage-a", None),
        "hk-03": ("never", None, None, None),
        "cn-bj2-02": ("unknown", NOW - DAY, "uimage-f", "failed"),
        "sg-01": ("unknown", NOW - DAY, None, "failed"),
    }
    assert {row.image_name for row in rows} == {"Ubuntu 20.04"}


def test_held() -> None:
    """A name all of whose open ids are on hold is unknown; one id beside it that is not held keeps it known."""
    hold = Gap(unknown_from=NOW - DAY, unknown_to=None, reason="held")
    holds = {(HOME, ImageKey("ImageSet", "uimage-a")): [hold]}
    over = {(HOME, ImageKey("ImageSet", "uimage-a")): [Gap(unknown_from=START, unknown_to=NOW, reason="held")]}

    (row,) = ask(stay("uimage-a", 0), holds=holds)
    assert (row.state, row.reason, row.since, row.present_since) == ("unknown", "held", NOW - DAY, START)
    assert ask(stay("uimage-a", 0), stay("uimage-b", 3), holds=holds)[0].state == "present"
    assert ask(stay("uimage-a", 0), holds=over)[0].state == "present"
    retired = {HOME: Knowledge(reason="retired", since=START, observed_at=START)}
    assert ask(stay("uimage-a", 0), holds=holds, known=retired)[0].reason == "retired"


def test_the_newest_is_held() -> None:
    """An id on hold is not the one that a name has while one beside it is surely there; it is told as open too."""
    hold = [Gap(unknown_from=NOW - DAY, unknown_to=None, reason="held")]
    stays = stay("uimage-a", 0), stay("uimage-b", 3)
    held = {(HOME, ImageKey("ImageSet", "uimage-b")): hold}

    def told(**more: Any) -> tuple[Any, ...]:
        (row,) = ask(*stays, **more)
        return row.state, row.reason, row.image_id, row.id_since, row.also_open, row.not_to_use

    day = START + 3 * DAY
    assert told() == ("present", None, "uimage-b", day, ("uimage-a",), {})
    assert told(holds=held) == ("present", None, "uimage-a", START, ("uimage-b",), {"uimage-b": "held"})
    both = {**held, (HOME, ImageKey("ImageSet", "uimage-a")): hold}
    assert told(holds=both)[:3] == ("unknown", "held", "uimage-b")
    assert told(holds=held, known={HOME: BADLY})[:3] == ("unknown", "failed", "uimage-a")
    retired = Knowledge(reason="retired", since=START, observed_at=START)
    assert told(holds=held, known={HOME: retired})[:3] == ("unknown", "retired", "uimage-b")


def test_who_has_the_older_id() -> None:
    """Told are ids still open beside the newest, and the newest elsewhere of an id that was replaced there."""
    rows = ask(
        stay("uimage-a", 0, 9),
        stay("uimage-b", 9),
        stay("uimage-a", 0, None, AWAY),
        stay("uimage-a", 0, None, FAR),
        stay("uimage-b", 9, None, FAR),
        known={HOME: WELL, AWAY: WELL, FAR: WELL},
    )
    told = {row.target.zone: (row.image_id, row.also_open, row.newer_elsewhere) for row in rows}

    assert told == {
        "hk-02": ("uimage-b", (), None),
        "hk-03": ("uimage-a", (), "uimage-b"),
        "cn-bj2-02": ("uimage-b", ("uimage-a",), None),
    }


def test_lag() -> None:
    """The lag counts from the first zone that saw the name; a baseline has none, as it may be older."""
    rows = ask(
        stay("uimage-a", 2),
        stay("uimage-b", 5, None, AWAY),
        stay("uimage-c", 6, None, FAR),
        stay("uimage-d", 0, None, target("sg-01"), baseline=True, name="SUSE"),
        stay("uimage-e", 4, None, FAR, name="SUSE"),
        known={HOME: WELL, AWAY: WELL, FAR: WELL, target("sg-01"): WELL},
    )
    lags = {(row.image_name, row.target.zone): row.lag for row in rows if row.first_seen_at}

    assert lags == {
        ("Ubuntu 20.04", "hk-02"): timedelta(0),
        ("Ubuntu 20.04", "hk-03"): 3 * DAY,
        ("Ubuntu 20.04", "cn-bj2-02"): 4 * DAY,
        ("SUSE", "sg-01"): None,
        ("SUSE", "cn-bj2-02"): 4 * DAY,
    }


def test_sets_are_told_apart() -> None:
    """The same name in two sets is two rows where both are; a zone that has neither has one row."""
    rows = ask(stay("uimage-a", 0), stay("uimage-b", 0, image_set="CustomImageSet"), known={HOME: WELL, AWAY: WELL})

    assert [(row.target.zone, row.image_set) for row in rows] == [
        ("hk-02", "CustomImageSet"),
        ("hk-02", "ImageSet"),
        ("hk-03", None),
    ]


def test_at_a_glance() -> None:
    """Projects that are told the same share a line, with the earliest time."""
    others = [target("hk-02", project) for project in ("org-y", "org-z")]
    rows = ask(
        stay("uimage-a", 1),
        stay("uimage-a", 0, None, others[0]),
        stay("uimage-b", 0, None, others[1]),
        known=dict.fromkeys((HOME, *others), WELL),
    )

    assert [(glance.row.image_id, glance.projects, glance.row.since) for glance in at_a_glance(rows)] == [
        ("uimage-a", ("org-x", "org-y"), START),
        ("uimage-b", ("org-z",), START),
    ]
    assert [glance.row.target.project for glance in at_a_glance(rows)] == ["org-x", "org-z"]


def test_rollout() -> None:
    """Each zone is counted once, under the best that any project has there; regions are told in order."""
    poor = target("hk-02", "org-y")
    rows = ask(
        stay("uimage-a", 2),
        stay("uimage-c", 6, None, FAR),
        stay("uimage-d", 0, None, target("sg-01"), baseline=True),
        known={HOME: WELL, poor: BADLY, AWAY: BADLY, FAR: WELL, target("sg-01"): WELL, target("us-ca-01"): WELL},
    )
    (rollout,) = rollouts(rows)

    assert rollout.image_name == "Ubuntu 20.04"
    assert rollout.zones == {
        "present": ["cn-bj2-02", "hk-02", "sg-01"],
        "withdrawn": [],
        "unknown": ["hk-03"],
        "never": ["us-ca-01"],
    }
    assert [(region, lag) for region, _, lag in rollout.regions] == [("hk", 2 * DAY), ("cn-bj2", 6 * DAY)]


SPANS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12), st.integers(1, 12)), min_size=1, max_size=8)


@given(SPANS, st.booleans())
def test_presence_is_the_union_of_its_ids(spans: list[tuple[str, int, int]], lasts: bool) -> None:
    """Day by day, the name is there when any of its ids is, and `since` is the first day of the last such stretch."""
    stays: list[Stay] = []
    busy: dict[str, int] = {}
    for letter, first, length in spans:
        begin = max(first, busy.get(letter, 0))
        busy[letter] = begin + length
        stays.append(stay(f"uimage-{letter}", begin, begin + length))
    final = max(busy.values())
    if lasts:
        stays.append(stay("uimage-z", final - 1))
    days = {
        day
        for s in stays
        for day in range((s.valid_from - START).days, 30 if s.valid_to is None else (s.valid_to - START).days)
    }
    (row,) = ask(*stays)

    if not lasts:
        assert (row.state, row.since) == ("withdrawn", START + final * DAY)
        return
    first_day = next(day for day in range(29, -2, -1) if day not in days) + 1
    assert (row.state, row.since, row.image_id) == ("present", START + first_day * DAY, "uimage-z")


@pytest.mark.parametrize("state", ["present", "withdrawn", "never", "unknown"])
def test_json(state: str) -> None:
    """Every state has all the fields, in JSON values."""
    stays = {"present": [stay("uimage-a", 3)], "withdrawn": [stay("uimage-a", 3, 4)]}.get(state, [])
    (row,) = ask(*stays, known={HOME: BADLY if state == "unknown" else WELL})
    told = row.as_dict()

    assert told["state"] == state
    assert list(told)[:6] == list(HOME.as_dict())
    assert {"image_name", "image_id", "state", "since", "previous_ids"} <= told.keys()
    assert told["lag_seconds"] == (0 if stays else None)
