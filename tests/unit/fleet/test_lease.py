"""The lease of a worker: requests are sent only while its session was heard of lately."""

from __future__ import annotations

import asyncio

import pytest

from crawler.client.throttle import PacedThrottler
from crawler.fleet.lease import Lease, LeasedThrottle
from tests.support.fake_time import FakeTime

pytestmark = pytest.mark.asyncio(loop_scope="function")


def leased(time: FakeTime) -> tuple[Lease, LeasedThrottle]:
    lease = Lease(10, monotonic=time.monotonic)
    return lease, LeasedThrottle(PacedThrottler(10, monotonic=time.monotonic, sleep=time.sleep), lease)


async def test_ends_before_others_take_over() -> None:
    """A worker stops by its own clock sooner than it is evicted, counted from when it asked and not from the answer."""
    time = FakeTime()
    lease, _ = leased(time)
    asked, time.now = time.now, 3.0
    lease.renew(asked)

    assert lease.is_open
    time.now = 7.9
    assert lease.is_open
    time.now = 8.0
    assert not lease.is_open


async def test_nothing_is_sent_without_it() -> None:
    """A slot taken before the worker stood still is worth nothing: it waits for the session to prove itself."""
    time = FakeTime()
    lease, throttle = leased(time)
    lease.renew(0)
    assert await throttle.acquire_by(None)
    time.now = 60.0
    waiting = asyncio.create_task(throttle.acquire_by(None))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    lease.end()
    lease.renew(time.now)

    assert await waiting
    assert not await throttle.acquire_by(time.now - 1)


async def test_is_the_throttle_otherwise() -> None:
    """Rate, pauses and refusals are those of the account's own throttle."""
    time = FakeTime()
    lease, throttle = leased(time)
    lease.renew(0)
    throttle.throttled()
    throttle.pause(3)

    assert (throttle.rate, throttle.period) == (5, 1.0)
    assert await throttle.acquire_by(None)
    assert time.now == 3
