"""A fetcher on a bench: a real server, virtual time, and a sink that remembers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict, fields
from typing import Any

from aiohttp import web

from crawler.client.api import ApiClient
from crawler.client.api_options import Endpoint, FetchOptions
from crawler.client.fetcher import Fetcher
from crawler.client.region_queue import Ask
from crawler.client.throttle import RetryBudget
from crawler.config.models import Limits
from crawler.domain.models import Failure, Reply, Target
from tests.support.api_server import ApiServer, Arrival, images
from tests.support.fake_time import FakeTime


def fetch_options(**more: Any) -> FetchOptions:
    """Return how an account is asked for which the configuration says no more than *more*."""
    names = {one.name for one in fields(FetchOptions)}
    limits = asdict(Limits(**more))
    return FetchOptions(**{name: limits[name] for name in names})


def ask(region: str, number: int = 0, **more: Any) -> Ask:
    """Return the question for one made-up zone of *region*."""
    target = Target("prod", "org-x", region, f"{region}-{number:02}", "uk8s-image")
    params = {"Region": target.region, "Zone": target.zone, "ProjectId": target.project}
    return Ask(target=target, action="DescribeUK8SImage", params=params, **more)


def asks(**counts: int) -> list[Ask]:
    """Return so many questions for each region."""
    return [ask(region, number) for region, count in counts.items() for number in range(count)]


class Results:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.all: list[Reply | Failure] = []
        self.on_result: Callable[[Reply | Failure], None] = lambda _: None

    async def sink(self, result: Reply | Failure) -> None:
        self.all.append(result)
        self.on_result(result)

    @property
    def replies(self) -> list[Reply]:
        return [result for result in self.all if isinstance(result, Reply)]

    @property
    def failures(self) -> list[Failure]:
        return [result for result in self.all if isinstance(result, Failure)]

    @property
    def classes(self) -> Counter[str]:
        return Counter(f"{failure.outcome} {failure.failure_class}" for failure in self.failures)

    def each_once(self, asked: Iterable[Ask]) -> bool:
        return Counter(result.target for result in self.all) == Counter(one.target for one in asked)


class Bench:
    """A fetcher, its server and what came of it."""

    def __init__(self, server: ApiServer, client: ApiClient, time: FakeTime) -> None:
        self.server = server
        self.client = client
        self.time = time
        self.results = Results()
        self.budget = RetryBudget(0)
        self.stop = asyncio.Event()
        self._asks: dict[Target, Ask] = {}

    def fetcher(self, deadline: float | None = None) -> Fetcher:
        return Fetcher(
            self.client,
            question=self._asks.__getitem__,
            sink=self.results.sink,
            budget=self.budget,
            deadline=deadline,
            stop=self.stop,
        )

    def targets(self, asked: Iterable[Ask]) -> list[Target]:
        """Return what the fetcher is to run over so that it asks this."""
        self._asks |= {one.target: one for one in asked}
        return [one.target for one in asked]

    def actions(self) -> Counter[str]:
        return Counter(arrival.zone for arrival in self.server.log)


@asynccontextmanager
async def bench(respond: Callable[[Arrival], Any] = images, **options: Any) -> AsyncIterator[Bench]:
    """Return a bench whose server answers with *respond*."""
    time = FakeTime()
    async with ApiServer(respond) as server:
        endpoint = Endpoint(url=server.url, public_key="public", private_key="private")
        fast = fetch_options(**{"rate": float("inf"), **options})
        async with ApiClient(endpoint, fast, timing=time.timing()) as client:
            yield Bench(server, client, time)


async def hang(_: Arrival) -> web.StreamResponse:
    """Never answer."""
    await asyncio.sleep(60)
    raise AssertionError("nobody waits that long")


async def drop(_: Arrival) -> web.StreamResponse:
    """Close the connection without an answer."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)
    raise AssertionError("cancelled")
