"""Chains of re-issues."""

from __future__ import annotations

from datetime import timedelta

import pytest

from crawler.domain.models import Event, Target
from crawler.domain.reissues import fold_reissues
from crawler.domain.rows import ChangeRow
from tests.support.answers import EARLIER, NOON

HK = Target("prod", "org-a", "hk", "hk-02", "uk8s-image")


def change(number: int, event: Event, image_id: str, counterpart: str | None = None, target: Target = HK) -> ChangeRow:
    return ChangeRow(
        id=number,
        run=number,
        target=target,
        event=event,
        image_set="ImageSet",
        image_id=image_id,
        image_name="Ubuntu 20.04",
        fields={},
        counterpart=counterpart,
        not_before=EARLIER,
        observed_at=NOON,
        recorded_at=NOON,
    )


def test_two_reissues_make_one_chain() -> None:
    """hk-02's Ubuntu 20.04 as UCloud published it: two re-issues of one name are one chain of three ids."""
    chains, rest = fold_reissues(
        [
            change(1, "withdrawn", "uimage-vareox", "uimage-rccvz4l9itr"),
            change(2, "appeared", "uimage-rccvz4l9itr", "uimage-vareox"),
            change(3, "withdrawn", "uimage-rccvz4l9itr", "uimage-x7zezb1gcv5"),
            change(4, "appeared", "uimage-x7zezb1gcv5", "uimage-rccvz4l9itr"),
            change(5, "withdrawn", "uimage-yjoh5a"),
        ]
    )
    assert [chain.image_ids for chain in chains] == [("uimage-vareox", "uimage-rccvz4l9itr", "uimage-x7zezb1gcv5")]
    assert [row.id for row in chains[0].withdrawals] == [1, 3]
    assert [row.id for row in chains[0].arrivals] == [2, 4]
    assert [row.id for row in rest] == [5]


def test_successor_that_came_earlier() -> None:
    """A withdrawal whose successor appeared before the range is a re-issue all the same."""
    chains, rest = fold_reissues([change(9, "withdrawn", "a", "b")])
    assert [chain.image_ids for chain in chains] == [("a", "b")]
    assert rest == []


def test_successor_that_had_been_there_before() -> None:
    """An image that returned in the place of another is part of the chain as well; it arrived once."""
    chains, rest = fold_reissues(
        [change(1, "withdrawn", "a", "b"), change(2, "returned", "b", "a"), change(3, "withdrawn", "c", "b")]
    )
    assert [(chain.image_ids, [row.id for row in chain.arrivals]) for chain in chains] == [
        (("a", "b"), [2]),
        (("c", "b"), []),
    ]
    assert rest == []


def test_image_that_arrives_twice() -> None:
    """Where an image comes, goes and comes again, each withdrawal has the arrival of its own time."""
    moments = [NOON + timedelta(hours=number) for number in range(4)]
    rows = [
        change(1, "withdrawn", "a", "b")._replace(observed_at=moments[0]),
        change(2, "appeared", "b", "a")._replace(observed_at=moments[0]),
        change(3, "withdrawn", "b", None)._replace(observed_at=moments[1]),
        change(4, "returned", "b", "c")._replace(observed_at=moments[3]),
        change(5, "withdrawn", "c", "b")._replace(observed_at=moments[2]),
    ]
    chains, rest = fold_reissues(rows)
    assert [(chain.image_ids, [row.id for row in chain.arrivals]) for chain in chains] == [
        (("a", "b"), [2]),
        (("c", "b"), [4]),
    ]
    assert [row.id for row in rest] == [3]


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ((1, 2, 3), 2),  # in the very run that found the other gone
        ((0, 1), 1),
        ((0, 1, 2), 2),
        ((3, 4), 3),  # nothing by then: what waited on a hold had gone before
    ],
)
def test_arrival_of_a_withdrawal(hours: tuple[int, ...], expected: int) -> None:
    """Of several arrivals of what came in its place, a withdrawal has the last by its time, or the first after it."""
    arrived = [change(hour + 1, "returned", "b")._replace(observed_at=NOON + timedelta(hours=hour)) for hour in hours]
    gone = change(9, "withdrawn", "a", "b")._replace(observed_at=NOON + timedelta(hours=2))

    ([chain], rest) = fold_reissues([*arrived, gone])

    assert [row.id - 1 for row in chain.arrivals] == [expected]
    assert [row.id - 1 for row in rest] == [hour for hour in hours if hour != expected]


def test_changes_that_are_of_no_image() -> None:
    """A withdrawal without an id, a set or a counterpart, and any other change, stands for itself."""
    whole = change(1, "withdrawn", "a", "b")
    odd = [
        whole._replace(image_id=None),
        whole._replace(image_set=None),
        whole._replace(counterpart=None),
        whole._replace(event="modified"),
    ]
    assert fold_reissues(odd) == ([], odd)


def test_new_id_beside_the_old_one_is_an_arrival() -> None:
    """While both ids are open nothing was re-issued yet."""
    chains, rest = fold_reissues([change(1, "appeared", "b", "a")])
    assert (chains, [row.id for row in rest]) == ([], [1])


def test_targets_do_not_mix() -> None:
    """The same ids at two targets are two chains, and going back and forth does not loop."""
    other = Target("prod", "org-b", "hk", "hk-02", "uk8s-image")
    chains, _ = fold_reissues(
        [
            change(1, "withdrawn", "a", "b"),
            change(2, "withdrawn", "a", "b", other),
            change(3, "withdrawn", "b", "a"),
        ]
    )
    assert [chain.image_ids for chain in chains] == [("a", "b", "a"), ("a", "b")]


def test_the_newest_name_is_the_chain_s() -> None:
    """A chain is called as its last withdrawal was; where that has no name, as the one before it."""
    first = change(1, "withdrawn", "a", "b")
    chains, _ = fold_reissues([first, change(2, "withdrawn", "b", "c")._replace(image_name="Ubuntu  20.04")])
    assert [chain.image_name for chain in chains] == ["Ubuntu  20.04"]
    chains, _ = fold_reissues([first, change(2, "withdrawn", "b", "c")._replace(image_name=None)])
    assert [chain.image_name for chain in chains] == ["Ubuntu 20.04"]
    chains, _ = fold_reissues([first._replace(image_name=None)])
    assert [chain.image_name for chain in chains] == [""]
