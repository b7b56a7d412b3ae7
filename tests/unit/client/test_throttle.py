"""The throttle and the retry budget on a clock of the test's own: counts, no times measured."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from itertools import pairwise

import pytest
from asyncio_throttle.throttler import Throttler
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.client.throttle import PacedThrottler, RetryBudget
from tests.support.fake_time import FakeTime

pytestmark = pytest.mark.asyncio(loop_scope="function")


def throttler(time: FakeTime, rate: float = 10, period: float = 1.0) -> PacedThrottler:
    return PacedThrottler(rate, period, monotonic=time.monotonic, sleep=time.sleep)


def most_in(times: list[float], span: float) -> int:
    return max((bisect_left(times, moment + span) - index for index, moment in enumerate(times)), default=0)


async def passed(throttle: PacedThrottler, time: FakeTime, count: int) -> list[float]:
    """Queue *count* waiters at once and give the times at which they came through."""
    times: list[float] = []

    async def one() -> None:
        async with throttle:
            times.append(time.now)

    await asyncio.gather(*(one() for _ in range(count)))
    return times


async def test_is_the_sliding_log() -> None:
    """The throttle is asyncio-throttle's, whose log holds what the trailing period let through."""
    time = FakeTime()
    throttle = throttler(time)

    await passed(throttle, time, 25)

    assert isinstance(throttle, Throttler)
    assert throttle.rate_limit == 10
    assert len(throttle._task_logs) == 10


@pytest.mark.parametrize("rate", [1, 10, 50, 200, 0.5])
async def test_even_pace(rate: float) -> None:
    """Many waiters at once come through evenly, at 0.97 to 1.00 of the rate."""
    time = FakeTime()

    times = await passed(throttler(time, rate), time, int(rate * 5) + 50)

    gaps = [after - before for before, after in pairwise(times)]
    assert max(gaps) - min(gaps) < 1e-6
    assert 0.97 <= 1 / (gaps[0] * rate) <= 1.0
    assert most_in(times, 1.0) <= max(1, rate)


async def test_one_sleep_each() -> None:
    """However long the queue, each waiter sleeps once, and in the order of asking."""
    time = FakeTime()
    throttle = throttler(time, 100)
    order: list[int] = []

    async def one(number: int) -> None:
        await throttle.acquire()
        order.append(number)

    await asyncio.gather(*(one(number) for number in range(1000)))

    assert order == list(range(1000))
    assert len(time.slept) == 999


@settings(max_examples=60, deadline=None)
@given(
    rate=st.integers(1, 50),
    steps=st.lists(st.tuples(st.floats(0, 0.5), st.sampled_from(["take", "pause", "throttled"])), max_size=120),
)
async def test_hard_bound(rate: int, steps: list[tuple[float, str]]) -> None:
    """Whatever delays, pauses and refusals come, no trailing period holds more than the rate."""
    time = FakeTime()
    throttle = throttler(time, rate)
    times: list[float] = []
    for wait, step in steps:
        time.now += wait
        if step == "pause":
            throttle.pause(wait)
        elif step == "throttled":
            throttle.throttled()
        for _ in range(3):
            await throttle.acquire()
            times.append(time.now)

    assert most_in(times, 1.0) <= rate


async def test_no_burst_after_idling() -> None:
    """After a long silence no more than the catch-up of 20 ms comes at once."""
    time = FakeTime()
    throttle = throttler(time, 200)
    await passed(throttle, time, 10)
    time.now += 60.0

    times = await passed(throttle, time, 100)

    assert most_in(times, 0.1) <= 0.15 * 200 + 2


async def test_late_timers_are_made_up_for() -> None:
    """Timers that are always a few milliseconds late do not lower the rate."""
    time = FakeTime()

    async def late(seconds: float) -> None:
        await time.sleep(seconds + 0.004)

    throttle = PacedThrottler(100, monotonic=time.monotonic, sleep=late)

    times = await passed(throttle, time, 500)

    assert 0.97 <= 499 / times[-1] / 100 <= 1.0


async def test_cancelled_waiter_costs_no_slot() -> None:
    """Waiters that are cancelled leave their slots to the others, wherever they stood."""
    time = FakeTime()
    gate = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await gate.wait()
        await time.sleep(seconds)

    throttle = PacedThrottler(10, monotonic=time.monotonic, sleep=sleep)
    await throttle.acquire()
    tasks = [asyncio.create_task(throttle.acquire()) for _ in range(6)]
    await asyncio.sleep(0)
    for cancelled in (tasks[0], tasks[1], tasks[3]):
        cancelled.cancel()
    gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert [task.cancelled() for task in tasks] == [True, True, False, True, False, False]
    assert len(throttle._task_logs) == 4
    assert time.now == pytest.approx(3 / 9.85)


async def test_pause() -> None:
    """A pause holds everybody back, also the waiter that sleeps already, and no burst follows."""
    time = FakeTime()
    throttle = throttler(time, 10)
    await throttle.acquire()
    waiting = asyncio.create_task(throttle.acquire())
    await asyncio.sleep(0)

    throttle.pause(30.0)
    await waiting
    times = [time.now, *await passed(throttle, time, 20)]

    assert times[0] == pytest.approx(30.0)
    assert most_in(times, 0.1) <= 2


async def test_deadline() -> None:
    """A slot after the deadline is refused at once, without sleeping, and is not taken."""
    time = FakeTime()
    throttle = throttler(time, 1)

    taken = [await throttle.acquire_by(1.5) for _ in range(4)]

    assert taken == [True, True, False, False]
    assert list(throttle._task_logs) == [time.now]
    assert len(time.slept) == 1


async def test_halves_once_per_period() -> None:
    """A volley of refusals halves the rate once, one in the next period again; one per period is the floor."""
    time = FakeTime()
    throttle = throttler(time, 8)
    rates = []
    for _ in range(5):
        for _ in range(10):
            throttle.throttled()
        rates.append(throttle.rate)
        time.now += 1.0

    assert rates == [4, 2, 1, 1, 1]


async def test_grows_back() -> None:
    """Each clean period gives back 5 % of the configured rate, up to it; idle periods prove nothing."""
    time = FakeTime()
    throttle = throttler(time, 100)
    throttle.throttled()
    rates = []
    for _ in range(12):
        time.now += 1.0
        await throttle.acquire()
        rates.append(round(throttle.rate, 6))
    throttle.throttled()
    time.now += 60.0
    await throttle.acquire()

    assert rates == [55, 60, 65, 70, 75, 80, 85, 90, 95, 100, 100, 100]
    assert throttle.rate == pytest.approx(55)


async def test_halved_rate_is_kept() -> None:
    """After a refusal the trailing period holds no more than the halved rate, once what was sent before has left it."""
    time = FakeTime()
    throttle = throttler(time, 100)
    await passed(throttle, time, 300)
    throttle.throttled()
    halved_at = time.now

    times = await passed(throttle, time, 40)

    assert most_in([moment for moment in times if moment <= halved_at + 1], 1.0) <= 50


async def test_halving_is_no_silence() -> None:
    """After a refusal sending goes on at once, at half the pace: a silence would waste what the provider does allow."""
    time = FakeTime()
    throttle = throttler(time, 100)
    last = (await passed(throttle, time, 300))[-1]
    throttle.throttled()

    times = await passed(throttle, time, 40)

    gaps = [after - before for before, after in pairwise([last, *times])]
    assert max(gaps) == pytest.approx(1 / 50, rel=0.02)


@pytest.mark.parametrize(("rate", "period"), [(0, 1), (-1, 1), (1, 0)])
async def test_senseless(rate: float, period: float) -> None:
    """A rate or a period that lets nothing through is refused."""
    with pytest.raises(ValueError, match="positive"):
        PacedThrottler(rate, period)


async def test_no_limit() -> None:
    """An infinite rate never waits."""
    time = FakeTime()

    await passed(throttler(time, float("inf")), time, 1000)

    assert time.slept == []


@pytest.mark.parametrize(("targets", "retries"), [(0, 100), (100, 100), (101, 101), (5000, 5000)])
async def test_budget(targets: int, retries: int) -> None:
    """A run has as many retries as targets, and at least a hundred."""
    budget = RetryBudget(targets)

    assert [budget.take() for _ in range(retries + 2)] == [True] * retries + [False, False]
