"""
The throttle's figures as the emulated cloud's own log has them, counted on a clock that only sleeping moves.

With one request in flight at a time no answer takes any time on that clock, so a request arrives when it was let
through. `./dev bench` measures the same promises in real time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

import pytest

from crawler.client.api import ApiClient
from crawler.client.api_options import Endpoint
from crawler.client.fetcher import Fetcher
from crawler.client.region_queue import Ask
from crawler.client.throttle import RetryBudget
from crawler.domain.models import Failure, Reply, Target
from crawler.emulator import EXAMPLE_PRIVATE_KEY, EXAMPLE_PUBLIC_KEY, EmulatorOptions, EmulatorServer
from crawler.emulator.server import LoggedRequest
from tests.support.fake_time import FakeTime
from tests.support.fetch_bench import fetch_options
from tests.support.worlds import make_timeline

pytestmark = pytest.mark.asyncio(loop_scope="function")

THROTTLED = 153


def question(target: Target) -> Ask:
    """Return what is asked of a target."""
    params = {"Region": target.region, "Zone": target.zone, "ProjectId": target.project}
    return Ask(target=target, action="DescribeUK8SImage", params=params)


async def crawled(targets: int, rate: float, allowed: float | None = None) -> tuple[list[LoggedRequest], int]:
    """Ask so many targets, configured for *rate* of a cloud that allows less or not; give its log, and the replies."""
    time = FakeTime()
    zones = [f"hk-{number:03}" for number in range(targets)]
    options = EmulatorOptions(rate=allowed)
    replies = 0

    async def sink(result: Reply | Failure) -> None:
        nonlocal replies
        replies += isinstance(result, Reply)

    async with EmulatorServer(make_timeline(zones=zones), options, monotonic=time.monotonic) as cloud:
        endpoint = Endpoint(url=cloud.url, public_key=EXAMPLE_PUBLIC_KEY, private_key=EXAMPLE_PRIVATE_KEY)
        async with ApiClient(endpoint, fetch_options(rate=rate, concurrency=1), timing=time.timing()) as client:
            fetcher = Fetcher(client, question=question, sink=sink, budget=RetryBudget(targets))
            await fetcher.run(Target("prod", "org-example", "hk", zone, "uk8s-image") for zone in zones)
    return cloud.log, replies


def windows(log: list[LoggedRequest], span: float) -> Iterator[int]:
    """Yield how many requests each whole window of the log has that begins with one."""
    times = [request.at for request in log]
    return (
        bisect_left(times, moment + span - 1e-9) - index
        for index, moment in enumerate(times)
        if moment + span <= times[-1]
    )


@pytest.mark.parametrize("rate", [10, 50, 200])
async def test_pace(rate: int) -> None:
    """The cloud sees 0.97 to 1.00 of the rate in any 5 s, never more than it in 1 s, and no burst in 100 ms."""
    log, replies = await crawled(targets=int(rate * 5.5), rate=rate)

    assert replies == len(log) == int(rate * 5.5)
    assert {0.97 * rate * 5 <= count <= rate * 5 for count in windows(log, 5.0)} == {True}
    assert max(windows(log, 1.0)) <= rate
    assert max(windows(log, 0.1)) <= 0.15 * rate + 2


async def test_lower_limit() -> None:
    """Told 100/s where 20/s are allowed: all is answered in 1.5 of the ideal time, and soon hardly any is refused."""
    log, replies = await crawled(targets=300, rate=100, allowed=20)
    refused = [request for request in log if request.ret_code == THROTTLED]
    later = [request.ret_code == THROTTLED for request in log if request.at > log[0].at + 5]

    assert replies == len(log) - len(refused) == 300
    assert refused
    assert later.count(True) <= 0.1 * len(later)
    assert log[-1].at - log[0].at <= 1.5 * 300 / 20
