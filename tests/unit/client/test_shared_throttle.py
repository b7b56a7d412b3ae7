"""The throttle of a shared budget, on a clock of the test's own: slots come from a budget that others use too."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from crawler.client.api_options import Timing
from crawler.client.shared_throttle import SHARED_PACE, SharedThrottler
from crawler.db.budgets import Slots
from crawler.errors import DatabaseUnavailable
from tests.simulation.time_travel import TimeTravel
from tests.support.fake_time import FakeTime
from tests.support.fleet import most_in_a_second

#: By how much the budget's clock is ahead of the process's.
AHEAD = 1_000.0


@dataclass
class Budget:
    """One budget in memory, as the row keeps it."""

    monotonic: Callable[[], float]
    rate: float = 10.0
    pace: float = 1.0
    due: float = 0.0
    taken: list[int] = field(default_factory=list)
    halved: list[float] = field(default_factory=list)

    async def take(self, count: int, lead: float) -> Slots:
        now = self.monotonic() + AHEAD
        self.taken.append(count)
        first = max(self.due, now + lead)
        distance = 1 / (self.rate * self.pace)
        self.due = first + count * distance
        return Slots(first=first, distance=distance, count=count, now=now, rate=self.rate)

    async def halve(self, paused_until: float) -> float:
        self.halved.append(paused_until)
        self.rate /= 2
        self.due = max(self.due, paused_until)
        return self.rate


def throttle_of(budget: Budget, time: FakeTime) -> SharedThrottler:
    return SharedThrottler(10, 1.0, take=budget.take, halve=budget.halve, timing=time.timing())


async def passed(throttle: SharedThrottler, time: FakeTime, count: int) -> list[float]:
    times: list[float] = []

    async def one() -> None:
        assert await throttle.acquire_by(None)
        times.append(time.now)

    await asyncio.gather(*(one() for _ in range(count)))
    return times


@pytest.mark.asyncio(loop_scope="function")
async def test_keeps_the_rate() -> None:
    """Many waiters come through evenly, at the budget's rate; half a second of slots is taken at a time."""
    time = FakeTime()
    budget = Budget(time.monotonic)
    times = await passed(throttle_of(budget, time), time, 60)

    assert most_in_a_second(times) <= 11
    assert 5.8 <= times[-1] <= 6.3
    assert max(budget.taken) == 5


@pytest.mark.asyncio(loop_scope="function")
async def test_two_share_it() -> None:
    """Two processes together send no more than one would."""
    time = FakeTime()
    budget = Budget(time.monotonic)
    first, second = throttle_of(budget, time), throttle_of(budget, time)
    parts = await asyncio.gather(passed(first, time, 30), passed(second, time, 30))
    times = sorted([*parts[0], *parts[1]])

    assert most_in_a_second(times) <= 12


@pytest.mark.asyncio(loop_scope="function")
async def test_a_passed_slot_is_forgone() -> None:
    """Whoever stood still with slots in hand does not send them all at once."""
    time = FakeTime()
    throttle = throttle_of(Budget(time.monotonic), time)
    await passed(throttle, time, 7)
    time.now += 5
    times = await passed(throttle, time, 20)

    assert most_in_a_second(times) <= 11


@pytest.mark.parametrize("rate", [10, 50, 200])
def test_late_and_slow_processes_keep_the_rate(rate: int) -> None:
    """Processes that are late for their slots by chance, at a server that is busy by chance, stay within rate + 2."""
    chance = random.Random(7)
    loop = TimeTravel(chance)
    timing = Timing(clock=lambda: datetime.now(UTC), monotonic=loop.time, sleep=asyncio.sleep)
    arrivals: list[float] = []
    seen_from = [0.0]

    async def send(throttle: SharedThrottler) -> None:
        while loop.time() < 60:
            assert await throttle.acquire_by(None)
            arrivals.append(max(loop.time(), seen_from[0]))
            if chance.random() < 0.01:
                loop.advance(chance.uniform(0, 0.04))  # the processes were busy
            elif chance.random() < 0.03:
                seen_from[0] = loop.time() + 0.025  # the server was
            await asyncio.sleep(0.05)

    async def go() -> None:
        budget = Budget(loop.time, rate=rate, pace=SHARED_PACE)
        throttles = [SharedThrottler(rate, 1.0, take=budget.take, halve=budget.halve, timing=timing) for _ in "ab"]
        await asyncio.gather(*(send(throttle) for throttle in throttles for _ in range(20)))

    with closing(loop):
        loop.run_until_complete(go())

    assert most_in_a_second(sorted(arrivals)) <= rate + 2
    assert len(arrivals) >= 0.95 * rate * 60


@pytest.mark.asyncio(loop_scope="function")
async def test_deadline() -> None:
    """A slot after the deadline is not waited for, and stays for the next."""
    time = FakeTime()
    budget = Budget(time.monotonic, due=AHEAD + 5)
    throttle = throttle_of(budget, time)

    assert not await throttle.acquire_by(1.0)
    assert time.now == 0
    assert await throttle.acquire_by(6.0)
    assert len(budget.taken) == 1


@pytest.mark.asyncio(loop_scope="function")
async def test_a_pause_past_the_deadline() -> None:
    """A pause that ends after the deadline is not waited for either, nor one that comes while waiting."""
    time = FakeTime()
    throttle = throttle_of(Budget(time.monotonic), time)
    throttle.pause(30)
    assert not await throttle.acquire_by(6.0)
    assert time.now == 0

    throttle = throttle_of(Budget(time.monotonic), time)
    throttle.pause(3)
    waiting = asyncio.create_task(throttle.acquire_by(6.0))
    await asyncio.sleep(0)
    throttle.pause(30)
    assert not await waiting
    assert time.now <= 3


@pytest.mark.asyncio(loop_scope="function")
async def test_a_refusal_halves_for_all() -> None:
    """One process's 153 is everybody's: the budget is told, and nobody sends before a pause has passed."""
    time = FakeTime()
    budget = Budget(time.monotonic)
    throttle, other = throttle_of(budget, time), throttle_of(budget, time)
    await passed(throttle, time, 5)
    throttle.throttled()
    throttle.pause(3)
    await throttle.close()
    began = time.now
    times = await passed(other, time, 3)

    assert throttle.rate < 10
    assert budget.halved[-1] == pytest.approx(began + 3 + AHEAD)
    assert times[-1] >= began + 3


@pytest.mark.asyncio(loop_scope="function")
async def test_who_waits_no_longer_leaves_the_slots() -> None:
    """A waiter that is cancelled while slots are fetched leaves them to the next."""
    time = FakeTime()
    budget = Budget(time.monotonic)
    throttle = throttle_of(budget, time)
    waiting = asyncio.create_task(throttle.acquire_by(None))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert await throttle.acquire_by(None)
    assert time.now < 0.2
    assert budget.taken[0] == 1


@pytest.mark.asyncio(loop_scope="function")
async def test_a_failure_that_nobody_waited_for() -> None:
    """Slots that were asked for early and could not be had are asked for again by who comes later."""
    time = FakeTime()
    budget = Budget(time.monotonic)

    async def take(count: int, lead: float) -> Slots:
        slots = await budget.take(count, lead)
        if len(budget.taken) == 2:
            await failing.wait()
            raise DatabaseUnavailable("The database does not answer.")
        return slots

    failing = asyncio.Event()
    throttle = SharedThrottler(10, 1.0, take=take, halve=budget.halve, timing=time.timing())
    waiting = [asyncio.create_task(throttle.acquire_by(None)) for _ in range(3)]
    await waiting[0]
    for one in waiting[1:]:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    failing.set()
    await asyncio.sleep(0)

    assert len(budget.taken) == 2
    assert await throttle.acquire_by(None)
    assert len(budget.taken) == 3


def from_far_away(seconds: Callable[[int], float], work: Callable[[SharedThrottler, Budget], Awaitable[None]]) -> float:
    """Do *work* with a budget to which it takes *seconds* there and back, by how often it was asked; give the time."""
    loop = TimeTravel(random.Random(7))
    budget = Budget(loop.time)

    async def take(count: int, lead: float) -> Slots:
        assert loop.time() < 1_000, "slots are asked for again and again"
        half = seconds(len(budget.taken)) / 2
        await asyncio.sleep(half)
        slots = await budget.take(count, lead)
        await asyncio.sleep(half)
        return slots

    timing = Timing(clock=lambda: datetime.now(UTC), monotonic=loop.time, sleep=asyncio.sleep)
    throttle = SharedThrottler(10, 1.0, take=take, halve=budget.halve, timing=timing)
    with closing(loop):
        loop.run_until_complete(work(throttle, budget))
        return loop.time()


@pytest.mark.parametrize("seconds", [0.02, 0.12, 0.3, 2.0])
def test_a_budget_far_away(seconds: float) -> None:
    """However long an answer takes, its slots have not passed when it comes: for one at a time as for many at once."""
    times: list[float] = []

    async def work(throttle: SharedThrottler, budget: Budget) -> None:
        async def one() -> None:
            assert await throttle.acquire_by(None)
            times.append(asyncio.get_running_loop().time())

        for _ in range(3):
            await one()
        assert len(budget.taken) <= 4
        await asyncio.gather(*(one() for _ in range(40)))

    from_far_away(lambda _: seconds, work)
    assert most_in_a_second(times) <= 11


def test_slots_that_always_come_too_late() -> None:
    """Where each answer takes longer than the one before no slot comes in time, and the deadline is kept."""

    async def work(throttle: SharedThrottler, _: Budget) -> None:
        assert not await throttle.acquire_by(6.0)

    assert from_far_away(lambda asked: 0.2 * 3**asked, work) < 20


def test_who_waits_longer_keeps_nobody() -> None:
    """Who is behind somebody with a later deadline waits until its own, and no longer."""

    async def work(throttle: SharedThrottler, _: Budget) -> None:
        throttle.pause(300)
        patient = asyncio.create_task(throttle.acquire_by(600.0))
        await asyncio.sleep(0)
        assert not await throttle.acquire_by(6.0)
        assert asyncio.get_running_loop().time() < 7
        assert await patient

    assert 300 <= from_far_away(lambda _: 0.0, work) < 302
