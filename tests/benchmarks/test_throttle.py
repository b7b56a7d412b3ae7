"""
The throttle in real time: what the server at the other end records, and what waiting costs.

A busy machine makes it slower, not wrong.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from crawler.client.api import ApiClient
from crawler.client.api_options import Endpoint, FetchOptions, Timing
from crawler.client.fetcher import Fetcher
from crawler.client.region_queue import Ask
from crawler.client.throttle import PacedThrottler, RetryBudget
from crawler.config.models import Limits
from crawler.db.engine import opened
from crawler.domain.models import Failure, Reply, Target
from tests.benchmarks.load_server import Offer, load_server
from tests.support.api_server import ApiServer, Arrival, answer_json, images
from tests.support.crawling import account_at, crawl_once, settings_for
from tests.support.fetch_bench import fetch_options
from tests.support.figures import Figures

pytestmark = pytest.mark.prove

TIMING = Timing(clock=lambda: datetime.now(UTC))
ROW = "throttle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What a server saw of one throttle."""

    #: Requests in the five seconds from the first on, as a part of those allowed; and in the least of all such windows.
    used: float
    used_least: float
    most_in_second: int
    most_in_tenth: int


def pace_of(arrivals: Sequence[float], rate: float) -> Pace:
    """Read the figures off a server's log."""
    starts = [moment for moment in arrivals if moment + 5.0 <= arrivals[-1]]
    windows = [bisect_left(arrivals, start + 5.0) - bisect_left(arrivals, start) for start in starts]
    return Pace(
        used=windows[0] / (rate * 5),
        used_least=min(windows) / (rate * 5),
        most_in_second=most_in(arrivals, 1.0),
        most_in_tenth=most_in(arrivals, 0.1),
    )


def most_in(arrivals: Sequence[float], span: float) -> int:
    """Return the most requests in any time of that length."""
    return max(bisect_left(arrivals, moment + span) - index for index, moment in enumerate(arrivals))


def places(count: int, regions: int = 20) -> Iterator[Target]:
    """Make targets over a few regions."""
    for number in range(count):
        yield Target("prod", "org-x", f"region-{number % regions}", f"zone-{number}", "uk8s-image")


def question(target: Target) -> Ask:
    """Return what is asked of a target."""
    params = {"Region": target.region, "Zone": target.zone, "ProjectId": target.project}
    return Ask(target=target, action="DescribeUK8SImage", params=params)


async def crawl(
    url: str, options: FetchOptions, targets: int, *, seconds: float | None = None, budget: int = 0
) -> list[Reply | Failure]:
    """Ask so many targets with the fetcher alone, for so many seconds at most, and give what came."""
    results: list[Reply | Failure] = []

    async def sink(result: Reply | Failure) -> None:
        results.append(result)

    endpoint = Endpoint(url=url, public_key="public", private_key="private")
    deadline = None if seconds is None else time.monotonic() + seconds
    async with ApiClient(endpoint, options, timing=TIMING) as client:
        fetcher = Fetcher(client, question=question, sink=sink, budget=RetryBudget(budget), deadline=deadline)
        await fetcher.run(places(targets))
    return results


@pytest.mark.parametrize("rate", [10, 50, 200])
def test_pace(rate: int, figures: Figures) -> None:
    """The server sees 0.97–1.00 of the rate over 5 s, at most rate + 1 in any second, no bursts in any 100 ms."""
    with load_server(Offer(projects=1, zones=1, images=2)) as server:
        asyncio.run(crawl(server.url, fetch_options(rate=rate), int(rate * 6.5) + 100, seconds=6.5))
        pace = pace_of(server.tally().arrivals, rate)

    case = f"{rate}/s"
    least = f"in the least of all windows {pace.used_least:.3f}"
    figures.between(ROW, "part of the rate used over 5 s", pace.used, 0.97, 1.0, case=case, detail=least)
    figures.at_most(ROW, "most requests in any 1 s", pace.most_in_second, rate + 1, case=case)
    figures.at_most(ROW, "most requests in any 100 ms", pace.most_in_tenth, 0.15 * rate + 2, case=case, minor=True)


def test_pace_of_a_run(sqlite_url: str, figures: Figures) -> None:
    """A whole run at 50/s uses 0.97 of it from the first request to the last, without one excess second."""
    offer = Offer(projects=10, zones=40)
    rate = 50
    at = datetime.now(UTC)
    with load_server(offer) as server, opened(sqlite_url) as engine:
        limits = Limits(rate=rate, attempts=2, timeout_seconds=30)
        settings = settings_for(sqlite_url, account_at(server.url, limits=limits))
        for number, case in enumerate(("first run", "unchanged run")):
            summary = crawl_once(engine, settings, at + number * timedelta(minutes=15)).summary
            assert summary.targets["ok"] == offer.targets
            arrivals = server.tally().arrivals
            used = (len(arrivals) - 1) / (arrivals[-1] - arrivals[0]) / rate
            detail = f"{offer.targets} targets with {offer.images} images and the discovery, as the server saw them"
            figures.at_least(ROW, "part of 50/s that a whole run uses", used, 0.97, case=case, detail=detail)
            most = most_in(arrivals, 1.0)
            figures.at_most(ROW, "most requests of a run at 50/s in any 1 s", most, rate + 1, case=case, minor=True)


def test_cost_of_waiting(figures: Figures) -> None:
    """Ten thousand waiters, or ten thousand queued targets, cost less than a tenth of a core."""
    waiting, queued = asyncio.run(cost_of_waiting()), asyncio.run(cost_of_queueing())

    figures.at_most(ROW, "part of a core for 10,000 queued targets", 100 * queued, 10, "%", minor=True)
    figures.at_most(ROW, "part of a core for 10,000 tasks at one throttle", 100 * waiting, 10, "%", minor=True)


async def cost_of_waiting(waiters: int = 10_000, rate: float = 50) -> float:
    """Return the part of a core that *waiters* tasks queued on one throttle take."""
    throttle = PacedThrottler(rate)
    tasks = [asyncio.create_task(throttle.acquire()) for _ in range(waiters)]
    await asyncio.sleep(0.1)
    cost = await _cost()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return cost


async def cost_of_queueing(targets: int = 10_000, rate: float = 10) -> float:
    """Return the part of a core that a crawl of *targets* at *rate* takes once it is under way."""
    with load_server(Offer(projects=1, zones=1, images=2)) as server:
        task = asyncio.create_task(crawl(server.url, fetch_options(rate=rate), targets))
        await asyncio.sleep(1.0)
        cost = await _cost()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return cost


async def _cost(seconds: float = 3.0) -> float:
    begun, spent = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    return (time.process_time() - spent) / (time.perf_counter() - begun)


def test_lower_limit(figures: Figures) -> None:
    """Told 100/s where 20/s are allowed: all answered, in at most 1.5 × the ideal time, soon hardly refused."""
    answered, times_ideal, refused_later = asyncio.run(against_a_lower_limit())

    detail = "300 targets, configured for 100/s; the server refuses what exceeds 20 in any second"
    figures.at_least(ROW, "targets answered where the cloud allows less", answered, 0.99, detail=detail, minor=True)
    figures.at_most(ROW, "time of the ideal where the cloud allows less", times_ideal, 1.5, "×", minor=True)
    figures.at_most(ROW, "part refused after 5 s where it allows less", refused_later, 0.1, minor=True)


async def against_a_lower_limit(
    allowed: int = 20, configured: float = 100, targets: int = 300
) -> tuple[float, float, float]:
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
        results = await crawl(server.url, fetch_options(rate=configured), targets, budget=targets)
        spent = time.monotonic() - begun
    later = [is_good for at, is_good in log if at > log[0][0] + 5.0]
    answered = sum(isinstance(result, Reply) for result in results) / targets
    return answered, spent / (targets / allowed), later.count(False) / len(later)
