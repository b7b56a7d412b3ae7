"""Whose turn it is, without a network: entries picked and given back by hand."""

from __future__ import annotations

from collections import Counter

from crawler.client.region_queue import QueuedTarget, RegionQueues
from crawler.domain.models import Target


def target(region: str, number: int = 0) -> Target:
    return Target("prod", "org-x", region, f"{region}-{number}", "uk8s-image")


def queues(workers: int = 16, **counts: int) -> RegionQueues:
    result = RegionQueues(workers)
    for region, count in counts.items():
        for number in range(count):
            result.add(target(region, number))
    return result


def pick_all(queue: RegionQueues, now: float = 0.0, limit: int = 100) -> list[QueuedTarget]:
    """Pick what may start now, as that many idle workers would."""
    picked: list[QueuedTarget] = []
    while len(picked) < limit and (found := queue.pick(now)) is not None:
        picked.append(found)
    return picked


def regions(entries: list[QueuedTarget]) -> Counter[str]:
    return Counter(item.target.region for item in entries)


def test_slow_start() -> None:
    """A region alone starts with four calls and gets one more per answer, up to the workers."""
    queue = queues(8, a=100)
    flying = pick_all(queue)
    sizes = [len(flying)]
    for _ in range(10):
        queue.answered(flying[0])
        queue.finish(flying.pop(0))
        flying += pick_all(queue)
        sizes.append(len(flying))

    assert sizes == [4, 5, 6, 7, 8, 8, 8, 8, 8, 8, 8]


def test_turns() -> None:
    """Regions take turns, in the order of asking inside each."""
    queue = queues(16, a=3, b=3)

    names = [found.target.zone for found in pick_all(queue, limit=4)]

    assert names == ["a-0", "b-0", "a-1", "b-1"]


def test_silent_regions_leave_workers() -> None:
    """Regions that have never answered occupy at most half of the workers while others have work."""
    queue = queues(16, a=50, b=50, c=50, d=50, e=50)

    first = pick_all(queue)
    proven = next(item for item in first if item.target.region == "e")
    queue.answered(proven)
    queue.finish(proven)
    flying = regions([item for item in first if item is not proven] + pick_all(queue))

    assert len(first) == 8
    assert flying["e"] == 5
    assert flying.total() - flying["e"] == 8


def test_half_of_the_workers() -> None:
    """No region takes more than half of the workers while another has work, and all of them when none has."""
    queue = queues(8, a=100, b=1)
    for _ in range(20):
        found = queue.pick(0.0)
        assert found is not None
        if found.target.region == "b":
            kept = found
            continue
        queue.answered(found)
        queue.finish(found)

    with_other = len(pick_all(queue))
    queue.answered(kept)
    queue.finish(kept)

    assert with_other == 4
    assert with_other + len(pick_all(queue)) == 8


def test_back_to_one() -> None:
    """A call without an answer takes the window back to one."""
    queue = queues(8, a=100)
    flying = pick_all(queue)
    for item in flying[:3]:
        queue.answered(item)
        queue.finish(item)
    queue.unanswered(flying[3], 0.0)

    assert len(pick_all(queue)) == 1


def test_delayed() -> None:
    """A delayed entry occupies nobody and comes back first when it is due."""
    queue = queues(8, a=3)
    found = queue.pick(0.0)
    assert found is not None
    queue.answered(found)
    queue.delay(found, 5.0)

    assert queue.next_due(0.0) == 5.0
    assert regions(pick_all(queue)) == {"a": 2}
    assert queue.pick(5.0) is found


def test_reask_is_next() -> None:
    """A re-ask goes before everything else that is ready."""
    queue = queues(8, a=3, b=3)
    queue.add_again(target("b", 9))

    found = queue.pick(0.0)
    assert found is not None
    assert (found.target, found.is_reask) == (target("b", 9), True)


def test_circuit() -> None:
    """After five silent calls a region waits for its probe; after two silent probes its entries come at once."""
    queue = queues(16, a=30)
    for now in (0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 9.0):
        found = queue.pick(now)
        assert found is not None
        queue.unanswered(found, now)
        queue.delay(found, 100.0)
        waits = queue.next_due(now)
        assert waits is not None

    rest = pick_all(queue, 9.0)

    # The one whose failure gave the region up was delayed after that; the others were brought forward.
    assert len(rest) == 29
    assert all(item.queue.circuit.is_dead for item in rest)


def test_drain() -> None:
    """Draining gives everything that waits, and nothing twice."""
    queue = queues(4, a=5, b=5)
    flying = pick_all(queue)
    queue.released(flying[0])
    queue.delay(flying[0], 7.0)

    rest = list(queue.drain())

    assert len({id(item) for item in rest}) == len(rest) == 10 - len(flying) + 1
    assert list(queue.drain()) == []
