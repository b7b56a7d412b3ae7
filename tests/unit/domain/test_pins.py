"""How an image id that somebody depends on stands at one target: every state, and what is told with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from crawler.domain.models import Target
from crawler.domain.pins import PinnedImages, PinStanding
from crawler.domain.rows import ImageRow, Stay
from tests.support.facts import HK, hours, image, target


def stay(
    image_id: str,
    name: str = "Ubuntu 20.04",
    where: Target = HK,
    *,
    came: float = 100,
    left: float | None = 50,
    gpu: bool | None = True,
) -> Stay:
    """Return a stay from *came* to *left* hours before noon."""
    return Stay(
        target=where,
        image_set="ImageSet",
        image_id=image_id,
        attributes={"image_name": name, "gpu": gpu},
        valid_from=hours(came),
        valid_to=None if left is None else hours(left),
        present_since=hours(came),
        baseline=False,
    )


def standing(
    image_id: str, *rows: ImageRow, stays: tuple[Stay, ...] = (), where: Target = HK, gpu: bool | None = None
) -> PinStanding:
    pinned = PinnedImages(rows)
    pinned.learn(stays)
    return pinned.standing(where, image_id, gpu=gpu)


def test_ok() -> None:
    """An id that is open and newest is ok, with its row and its name."""
    row = image("a")

    assert standing("a", row) == PinStanding(state="ok", image=row)
    assert standing("a", row).name == "Ubuntu 20.04"
    assert standing("a", row).successor is None


def test_superseded() -> None:
    """A later image of its name, as it is normalised, and of its set takes its place; where two came together none."""
    old, new = image("a", came=100), image("b", "ubuntu  20.04", came=50)
    other = [image("c", "Rocky", came=10), image("d", came=10, image_set="Else"), image("e", "", came=5)]

    assert standing("a", old, new, *other) == PinStanding(state="superseded", successors=("b",), image=old)
    assert standing("a", old, new).successor == "b"
    assert standing("b", old, new).state == "ok"
    both = standing("a", old, new, image("b2", came=50))
    assert (both.state, both.successors, both.successor) == ("superseded", ("b", "b2"), None)


@pytest.mark.parametrize("name", ["", "  "])
def test_without_a_name(name: str) -> None:
    """Nothing takes the place of an image without a name, nor one of blanks, and such a one takes nobody's."""
    old, new, last = image("a", name, came=100), image("b", "  ", came=50), stay("a", name)

    assert standing("a", old, new) == PinStanding(state="ok", image=old)
    assert standing("a", new, stays=(last,)) == PinStanding(state="missing", stay=last)


@pytest.mark.parametrize(
    ("has_gpu", "had_gpu", "wanted", "state"),
    [
        (True, None, True, "ok"),
        (False, True, None, "gpu-lost"),
        (False, False, None, "ok"),
        (False, None, None, "ok"),
        (False, False, True, "gpu-lost"),
        (False, True, False, "ok"),
        (None, True, True, "gpu-unknown"),
        (None, True, None, "ok"),
        (True, False, None, "ok"),
        (True, True, True, "ok"),
    ],
)
def test_gpu(has_gpu: bool | None, had_gpu: bool | None, wanted: bool | None, state: str) -> None:
    """Support that must be there, or must not have been lost, or does not matter; that it was there once is told."""
    found = standing("a", image("a", gpu=has_gpu), stays=(stay("a", gpu=had_gpu, left=None),), gpu=wanted)

    assert (found.state, found.had_gpu) == (state, had_gpu is True)


def test_lost_gpu_comes_before_a_successor() -> None:
    """An image that lost its support says so, with its successors."""
    found = standing("a", image("a", gpu=False), image("b", came=1), stays=(stay("a", left=None),))

    assert (found.state, found.successors) == ("gpu-lost", ("b",))


def test_unknown() -> None:
    """While nobody knows the images of its target nothing else is said of it."""
    row = image("a", gpu=False, reason="stale")

    assert standing("a", row, image("b", came=1), stays=(stay("a"),)) == PinStanding(
        state="unknown", image=row, had_gpu=True
    )


@pytest.mark.parametrize("turned", [False, True])
def test_two_sets(turned: bool) -> None:
    """Where two sets of a target list an id, that it is surely in one of them counts."""
    rows = [image("a", reason="held", image_set="One"), image("a", image_set="Two")]

    assert standing("a", *(reversed(rows) if turned else rows)).state == "ok"


@pytest.mark.parametrize(
    ("open_now", "state", "successors"),
    [
        ({}, "missing", ()),
        ({"b": 40}, "re-issued", ("b",)),
        ({"b": 40, "c": 40}, "ambiguous", ("b", "c")),
        ({"b": 40, "c": 20}, "re-issued", ("c",)),
        ({"b": 200}, "missing", ()),
    ],
)
def test_gone(open_now: Mapping[str, float], state: str, successors: tuple[str, ...]) -> None:
    """Of an id that is open no more the last stay counts: what came later than that began succeeds it."""
    last = stay("a", came=90, left=50)
    rows = [image(image_id, came=came) for image_id, came in open_now.items()]
    found = standing("a", *rows, stays=(stay("a", "Old name", came=300, left=250), last, stay("a", came=200, left=190)))

    assert found == PinStanding(state=state, successors=successors, stay=last)  # type: ignore[arg-type] # from the table
    assert found.name == "Ubuntu 20.04"


def test_elsewhere() -> None:
    """What is there, or was, at other targets says nothing here."""
    sg = target("sg-01")
    found = standing("a", image("a", where=sg), image("b", where=sg), stays=(stay("a", where=sg),))

    assert found == PinStanding(state="never-seen")
    assert found.name == ""


MACHINES = HK._replace(kind="uhost-image")


def made(image_id: str, state: str, *, came: float, **more: Any) -> ImageRow:
    """Return an image of machines that is listed in a state."""
    return image(image_id, where=MACHINES, came=came, image_state=state, bootable=state == "Available", **more)


def test_unusable() -> None:
    """What cannot be used takes nothing's place, and is in trouble itself, beside what does; a doubt comes first."""
    old, new = made("a", "Available", came=100), made("b", "Making", came=50)

    assert standing("a", old, new, where=MACHINES) == PinStanding(state="ok", image=old)
    assert standing("b", old, new, where=MACHINES) == PinStanding(state="unusable", image=new)
    broken, good = made("a", "Unavailable", came=100), made("b", "Available", came=50)
    found = standing("a", broken, good, where=MACHINES)
    assert (found.state, found.successor) == ("unusable", "b")
    gone = stay("a", where=MACHINES)
    assert standing("a", new, stays=(gone,), where=MACHINES).state == "missing"
    assert standing("a", made("a", "Copying", came=9, reason="held"), where=MACHINES).state == "unknown"
