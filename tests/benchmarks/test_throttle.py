"""
The throttle in real time, as the server records it: the allowed rate is used fully, evenly, and never exceeded.

Run by an explicit path (`pytest tests/benchmarks/test_throttle.py`); a busy machine makes it slower, not wrong, so the
figures are asserted. `measure` and `cost_of_waiting` may be called from elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from crawler.fetch import ApiClient, Ask, Endpoint, Fetcher, FetchOptions, PacedThrottler, RetryBudget, Timing
from crawler.model import Failure, Reply, Target

pytestmark = pytest.mark.prove

TIMING = Timing(clock=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What a server saw of one throttle."""

    rate: float
    #: Requests in the five seconds from the first on, as a part of those allowed; and in the least of all such windows.
    used: float
    used_least: float
    most_in_second: int
    most_in_tenth: int


@contextmanager
def recording_server() -> Iterator[tuple[str, list[float]]]:
    """Serve from a process of its own; the list holds the arrival times once the block is left."""
    arrivals: list[float] = []
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.api_server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/", arrivals
        said, _ = process.communicate()
        arrivals.extend(json.loads(said))


def asks(count: int, regions: int = 20) -> Iterator[Ask]:
    """Make targets over a few regions."""
    for number in range(count):
        target = Target("prod", "org-x", f"region-{number % regions}", f"zone-{number}", "uk8s-image")
        params = {"Region": target.region, "Zone": target.zone, "ProjectId": target.project}
        yield Ask(target=target, action="DescribeUK8SImage", params=params)


def measure(rate: float, seconds: float = 6.5, concurrency: int = 16) -> Pace:
    """Crawl at *rate* for *seconds* and read the server's log."""
    with recording_server() as (url, arrivals):
        asyncio.run(_crawl(url, rate, seconds, concurrency))
    return pace_of(arrivals, rate)


def pace_of(arrivals: Sequence[float], rate: float) -> Pace:
    """Read the figures off a server's log."""

    def most_in(span: float) -> int:
        return max(bisect_left(arrivals, moment + span) - index for index, moment in enumerate(arrivals))

    starts = [moment for moment in arrivals if moment + 5.0 <= arrivals[-1]]
    windows = [bisect_left(arrivals, start + 5.0) - bisect_left(arrivals, start) for start in starts]
    return Pace(
        rate=rate,
        used=windows[0] / (rate * 5),
        used_least=min(windows) / (rate * 5),
        most_in_second=most_in(1.0),
        most_in_tenth=most_in(0.1),
    )


async def _crawl(url: str, rate: float, seconds: float, concurrency: int) -> None:
    async def sink(_: Reply | Failure) -> None:
        return

    endpoint = Endpoint(url=url, public_key="public", private_key="private")
    async with ApiClient(endpoint, FetchOptions(rate=rate, concurrency=concurrency), timing=TIMING) as client:
        deadline = time.monotonic() + seconds
        fetcher = Fetcher(client, sink=sink, budget=RetryBudget(0), deadline=deadline)
        await fetcher.run(asks(int(rate * seconds) + 100))


async def cost_of_waiting(waiters: int = 10_000, rate: float = 50, seconds: float = 3.0) -> float:
    """Give the part of a core that *waiters* tasks queued on one throttle take."""
    throttle = PacedThrottler(rate)
    tasks = [asyncio.create_task(throttle.acquire()) for _ in range(waiters)]
    await asyncio.sleep(0.1)
    begun, spent = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    cost = (time.process_time() - spent) / (time.perf_counter() - begun)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return cost


async def cost_of_queueing(targets: int = 10_000, rate: float = 10, seconds: float = 3.0) -> float:
    """Give the part of a core that a crawl of *targets* at *rate* takes once it is under way."""
    with recording_server() as (url, _):
        crawl = asyncio.create_task(_crawl_many(url, rate, targets))
        await asyncio.sleep(1.0)
        begun, spent = time.perf_counter(), time.process_time()
        await asyncio.sleep(seconds)
        cost = (time.process_time() - spent) / (time.perf_counter() - begun)
        crawl.cancel()
        await asyncio.gather(crawl, return_exceptions=True)
    return cost


async def _crawl_many(url: str, rate: float, targets: int) -> None:
    async def sink(_: Reply | Failure) -> None:
        return

    endpoint = Endpoint(url=url, public_key="public", private_key="private")
    async with ApiClient(endpoint, FetchOptions(rate=rate), timing=TIMING) as client:
        await Fetcher(client, sink=sink, budget=RetryBudget(0)).run(asks(targets))


@pytest.mark.parametrize("rate", [10, 50, 200])
def test_pace(rate: int) -> None:
    """The server sees 0.97–1.00 of the rate over 5 s, at most rate + 1 in any second, no bursts in any 100 ms."""
    pace = measure(rate)

    assert 0.97 <= pace.used <= 1.0, pace
    assert pace.most_in_second <= rate + 1, pace
    assert pace.most_in_tenth <= 0.15 * rate + 2, pace


def test_cost_of_waiting() -> None:
    """Ten thousand waiters, or ten thousand queued targets, cost less than a tenth of a core."""
    assert asyncio.run(cost_of_waiting()) < 0.1
    assert asyncio.run(cost_of_queueing()) < 0.1
