"""Which id to use now: the last that came, and rather none than a doubtful one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from crawler.domain.rows import ImageRow, StatusRow
from crawler.errors import Ambiguous, CrawlerError, NoAnswer, UnknownKnowledge
from crawler.queries.resolve import Resolved, resolve
from tests.support.facts import HK, NOON, hours, image, status, target

OTHER = target(project="org-b")


def ask(states: Sequence[StatusRow], *images: ImageRow, name: str = "ubuntu  20.04", **more: Any) -> Resolved:
    return resolve(states, images, name, now=NOON, max_age=timedelta(hours=26), **more)


def test_the_last_that_came() -> None:
    """Of several open images of one name the one that appeared last is given, with where and when it was seen."""
    found = ask(
        [status()], image("uimage-old"), image("uimage-new", "UBUNTU 20.04", came=3), image("uimage-x", "Debian")
    )

    assert found.as_dict() == {
        "image_id": "uimage-new",
        "image_name": "UBUNTU 20.04",
        "region": "hk",
        "zone": "hk-02",
        "observed_at": "2026-11-23T11:45:00Z",
    }


def test_names_before_globs() -> None:
    """The name itself wins over what fits it as a glob; a glob may fit one name, not several."""
    images = (image("uimage-a", "Ubuntu [20]"), image("uimage-b", "Ubuntu 2"), image("uimage-c", "Debian 12"))

    assert ask([status()], *images, name="Ubuntu [20]").image_id == "uimage-a"
    assert ask([status()], *images, name="debian*").image_id == "uimage-c"
    with pytest.raises(Ambiguous, match=r"'\*' fits several image names in hk-02: Debian 12, Ubuntu 2, Ubuntu \[20\]"):
        ask([status()], *images, name="*")


@pytest.mark.parametrize(
    ("states", "images", "error", "said"),
    [
        ([status()], [], NoAnswer, "No image called"),
        ([status()], [image("uimage-a", "Ubuntu 20.4")], NoAnswer, "the nearest: Ubuntu 20.4."),
        (
            [status()],
            [image("uimage-a"), image("uimage-b")],
            Ambiguous,
            "came to hk-02 at the same time: uimage-a, uimage-b",
        ),
        ([status(last_ok=27)], [image("uimage-a")], UnknownKnowledge, "longer ago than 26h"),
        ([status(outcome="denied", last_ok=None, message="no right")], [], UnknownKnowledge, "never observed well: no"),
        ([status(outcome="retired")], [image("uimage-a", reason="retired")], UnknownKnowledge, "retired since 2026-"),
        (
            [status(outcome="held")],
            [image("uimage-a", came=1, reason="held"), image("uimage-b")],
            UnknownKnowledge,
            "uimage-a .* was not listed",
        ),
        (
            [status(), status(OTHER)],
            [image("uimage-a"), image("uimage-b", where=OTHER)],
            Ambiguous,
            r"\(org-a: uimage-a, org-b: uimage-b\); choose with --project",
        ),
        (
            [status(), status(OTHER, last_ok=30)],
            [image("uimage-a"), image("uimage-b", where=OTHER)],
            UnknownKnowledge,
            r"\(project org-b\); choose with --project",
        ),
        ([status(), status(target("hk-01"))], [image("uimage-a")], Ambiguous, "Several zones fit: hk-01, hk-02"),
        ([status(), status(OTHER, last_ok=30)], [], UnknownKnowledge, "longer ago"),
    ],
    ids=["none", "near", "tie", "stale", "denied", "retired", "held", "projects", "doubt", "zones", "none-or-stale"],
)
def test_refusals(states: list[StatusRow], images: list[ImageRow], error: type[CrawlerError], said: str) -> None:
    """What is not there, not sure, or known too long ago is refused, each for its own reason."""
    with pytest.raises(error, match=said) as refusal:
        ask(states, *images)

    assert type(refusal.value) is error


def test_gpu() -> None:
    """With gpu, images without are passed over; one of which it is not known gives no answer."""
    without, unstated = image("uimage-b", came=1, gpu=False), image("uimage-c", came=1)
    del unstated.attributes["gpu"]  # type: ignore[attr-defined]

    assert ask([status()], image("uimage-a"), without, gpu=True).image_id == "uimage-a"
    assert ask([status()], image("uimage-a"), without).image_id == "uimage-b"
    with pytest.raises(NoAnswer, match=r"supports GPU \(uimage-b does not\)"):
        ask([status()], without, gpu=True)
    with pytest.raises(UnknownKnowledge, match="does not state"):
        ask([status()], without, unstated, gpu=True)


def test_a_failure_since_takes_nothing_back() -> None:
    """A last good observation that is recent enough is an answer, whatever failed since."""
    found = ask([status(outcome="failed", last_ok=2)], image("uimage-a", reason="failed", observed=2))

    assert (found.image_id, found.observed_at) == ("uimage-a", hours(2))


def test_projects_that_agree() -> None:
    """Projects that list the same id, do not list it, or are closed to this key do not stand in each other's way."""
    closed, gone = target(project="org-c"), target(project="org-d")
    states = [status(HK, last_ok=3), status(OTHER), status(closed, "denied", last_ok=None), status(gone, "retired")]
    found = ask(
        states,
        image("uimage-a", observed=3),
        image("uimage-a", where=OTHER),
        image("uimage-z", where=gone, reason="retired"),
    )

    assert (found.image_id, found.target) == ("uimage-a", OTHER)


def test_a_stale_project_with_the_same_id() -> None:
    """A project known too long ago does not matter where its last known id is the same, whatever was before it."""
    stale = status(OTHER, last_ok=30)

    assert ask([status(), stale], image("uimage-a"), image("uimage-a", where=OTHER)).image_id == "uimage-a"
    older = image("uimage-0", where=OTHER, came=200)
    assert ask([status(), stale], image("uimage-a"), image("uimage-a", where=OTHER), older).image_id == "uimage-a"


def test_a_zone_in_two_cases() -> None:
    """A zone that another account has in another case is the same zone."""
    spelled = target("HK-02", account="other")
    states = [status(), status(spelled)]

    assert ask(states, image("uimage-a"), image("uimage-a", where=spelled)).image_id == "uimage-a"
    with pytest.raises(Ambiguous, match=r"\(other: uimage-b, prod: uimage-a\); choose with --account"):
        ask(states, image("uimage-a"), image("uimage-b", where=spelled))
