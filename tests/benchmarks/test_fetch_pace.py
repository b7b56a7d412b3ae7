"""
The fetcher in real time: against a server that allows less than we were told, and without any limit.

Run by an explicit path. Ratios only: against the ideal time, and against a bare aiohttp loop in the same round.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import web

from crawler.fetch import ApiClient, Endpoint, Fetcher, FetchOptions, RetryBudget, signature
from crawler.model import Failure, Reply
from tests.benchmarks.test_throttle import TIMING, asks, recording_server
from tests.support.api_server import ApiServer, Arrival, answer_json, images

pytestmark = pytest.mark.prove


@dataclass(frozen=True, slots=True, kw_only=True)
class Yielding:
    """How a crawl went whose configured rate is more than the server allows."""

    answered: float
    #: The crawl's time as a multiple of the targets divided by the allowed rate.
    times_ideal: float
    #: The part of the attempts after the first five seconds that was refused.
    refused_later: float


async def against_a_lower_limit(allowed: int = 20, configured: float = 100, targets: int = 400) -> Yielding:
    """Crawl a server that answers 153 above *allowed* requests in any trailing second."""
    accepted: deque[float] = deque()
    log: list[tuple[float, bool]] = []

    def respond(arrival: Arrival) -> web.Response:
        while accepted and accepted[0] <= arrival.at - 1.0:
            accepted.popleft()
        is_good = len(accepted) < allowed
        log.append((arrival.at, is_good))
        if not is_good:
            return answer_json({"RetCode": 153, "Message": "throttled"})
        accepted.append(arrival.at)
        return answer_json(images(arrival))

    async with ApiServer(respond) as server:
        begun = time.monotonic()
        results = await crawl(server.url, FetchOptions(rate=configured), targets)
        spent = time.monotonic() - begun
    later = [is_good for at, is_good in log if at > log[0][0] + 5.0]
    return Yielding(
        answered=sum(isinstance(result, Reply) for result in results) / targets,
        times_ideal=spent / (targets / allowed),
        refused_later=later.count(False) / len(later),
    )


async def crawl(url: str, options: FetchOptions, targets: int) -> list[Reply | Failure]:
    """Ask so many targets and give what came."""
    results: list[Reply | Failure] = []

    async def sink(result: Reply | Failure) -> None:
        results.append(result)

    endpoint = Endpoint(url=url, public_key="public", private_key="private")
    async with ApiClient(endpoint, options, timing=TIMING) as client:
        await Fetcher(client, sink=sink, budget=RetryBudget(targets)).run(asks(targets))
    return results


async def bare(url: str, targets: int, concurrency: int = 16) -> None:
    """Ask the same with nothing but aiohttp: signed, sent, read, decoded."""
    waiting = asks(targets)

    async def work(session: aiohttp.ClientSession) -> None:
        for ask in waiting:
            params = {**ask.params, "Action": ask.action, "PublicKey": "public"}
            form = {**params, "Signature": signature(params, "private")}
            async with session.post(url, data=form) as response:
                await response.json()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:
        await asyncio.gather(*(work(session) for _ in range(concurrency)))


def throughput(targets: int = 4000, rounds: int = 5) -> float:
    """Give the fetcher's speed without a limit as a part of a bare loop's, the best of *rounds* each."""
    with recording_server() as (url, _):
        ours, theirs = [], []
        for _ in range(rounds):
            begun = time.perf_counter()
            asyncio.run(crawl(url, FetchOptions(rate=float("inf")), targets))
            ours.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            asyncio.run(bare(url, targets))
            theirs.append(time.perf_counter() - begun)
    return min(theirs) / min(ours)


def test_lower_limit() -> None:
    """Told 100/s where 20/s are allowed: all answered, in at most 1.5 × the ideal time, soon hardly refused."""
    found = asyncio.run(against_a_lower_limit())

    assert found.answered >= 0.99, found
    assert found.times_ideal <= 1.5, found
    assert found.refused_later <= 0.1, found


def test_throughput() -> None:
    """Without a limit the fetcher asks at least 0.75 × as fast as a bare aiohttp loop."""
    assert throughput() >= 0.75
