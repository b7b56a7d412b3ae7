"""The fetcher against a real server: every ask ends once, whatever happens."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from crawler.fetch import ApiClient, Ask, Endpoint, Fetcher, FetchOptions, RetryBudget
from crawler.model import Failure, Reply, Target
from tests.support.api_server import ApiServer, Arrival, answer_json, images
from tests.support.fake_time import FakeTime

pytestmark = pytest.mark.asyncio(loop_scope="function")


def ask(region: str, number: int = 0, **more: Any) -> Ask:
    target = Target("prod", "org-x", region, f"{region}-{number:02}", "uk8s-image")
    params = {"Region": target.region, "Zone": target.zone, "ProjectId": target.project}
    return Ask(target=target, action="DescribeUK8SImage", params=params, **more)


def asks(**counts: int) -> list[Ask]:
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

    def fetcher(self, deadline: float | None = None) -> Fetcher:
        return Fetcher(self.client, sink=self.results.sink, budget=self.budget, deadline=deadline, stop=self.stop)

    def actions(self) -> Counter[str]:
        return Counter(arrival.zone for arrival in self.server.log)


@asynccontextmanager
async def bench(respond: Callable[[Arrival], Any] = images, **options: Any) -> AsyncIterator[Bench]:
    time = FakeTime()
    async with ApiServer(respond) as server:
        endpoint = Endpoint(url=server.url, public_key="public", private_key="private")
        fast = FetchOptions(**{"rate": float("inf"), **options})
        async with ApiClient(endpoint, fast, timing=time.timing()) as client:
            yield Bench(server, client, time)


async def hang(_: Arrival) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError("nobody waits that long")


async def drop(_: Arrival) -> web.StreamResponse:
    """Close the connection without an answer."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)
    raise AssertionError("cancelled")


async def test_replies() -> None:
    """Every target is asked once and its reply says what came."""
    asked = asks(hk=30, sg=20)
    async with bench() as it:
        counts = await it.fetcher().run(asked)

    first = it.results.replies[0]
    assert it.results.each_once(asked)
    assert (counts.sent, counts.retried, counts.throttled) == (50, 0, 0)
    assert first.document == json.loads(first.body)
    assert first.body_hash == hashlib.blake2b(first.body, digest_size=16).digest()
    assert (first.unchanged, first.is_reask, first.request_uuid) == (False, False, "uuid-1")
    assert it.server.most_in_flight <= 16


async def test_nothing_to_ask() -> None:
    """A run without asks ends at once."""
    async with bench() as it:
        counts = await it.fetcher().run([])

    assert counts.sent == 0


async def test_unchanged() -> None:
    """A body that equals the last good one is not decoded; one that was an error then is no such body."""
    body = b'{"RetCode": 0, "not even": JSON'
    known = hashlib.blake2b(body, digest_size=16).digest()

    def respond(arrival: Arrival) -> web.Response:
        return web.Response(status=500 if arrival.region == "sg" else 200, body=body)

    async with bench(respond) as it:
        await it.fetcher().run([ask("hk", known_hash=known), ask("sg", known_hash=known)])

    assert [(reply.unchanged, reply.document) for reply in it.results.replies] == [(True, None)]
    assert it.results.classes == {"failed transient": 1}


async def test_classes() -> None:
    """Only transient refusals are retried; each failure carries its class, code, message and request id."""
    codes = {"a": 150, "b": 230, "c": 161, "d": 2001}

    async with bench(lambda arrival: {"RetCode": codes[arrival.region], "Message": "says so"}) as it:
        counts = await it.fetcher().run(asks(a=1, b=1, c=1, d=1))

    found = {failure.target.region: failure for failure in it.results.failures}
    assert {region: failure.failure_class for region, failure in found.items()} == {
        "a": "transient",
        "b": "denied",
        "c": "defect",
        "d": "transient",
    }
    assert it.actions() == {"a-00": 4, "b-00": 1, "c-00": 1, "d-00": 4}
    assert (counts.sent, counts.retried) == (10, 6)
    assert {failure.outcome for failure in found.values()} == {"failed"}
    assert (found["b"].ret_code, found["b"].request_uuid) == (230, "uuid-1")
    assert found["b"].message.startswith("says so (RetCode 230: ")
    assert it.budget.remaining == 94


async def test_recovers() -> None:
    """A target that answers at its last attempt is answered."""
    seen: Counter[str] = Counter()

    def respond(arrival: Arrival) -> Any:
        seen[arrival.zone] += 1
        return images(arrival) if seen[arrival.zone] == 4 else answer_json({}, status=503)

    asked = asks(hk=20, sg=5)
    async with bench(respond) as it:
        await it.fetcher().run(asked)

    assert it.results.each_once(asked)
    assert len(it.results.replies) == 25


async def test_budget() -> None:
    """The run's retries are shared by all its targets; without one left a failure stands."""
    async with bench(lambda _: {"RetCode": 150}) as it:
        it.budget.remaining = 10
        counts = await it.fetcher().run(asks(hk=20))

    assert (counts.sent, counts.retried) == (30, 10)
    assert any("retry budget is spent" in failure.message for failure in it.results.failures)


async def test_throttled_costs_no_budget() -> None:
    """Refusals for too many requests are tried again beyond the attempts, and cost no retry of the budget."""
    seen: Counter[str] = Counter()

    def respond(arrival: Arrival) -> Any:
        seen[arrival.zone] += 1
        return images(arrival) if seen[arrival.zone] > 7 else {"RetCode": 153}

    async with bench(respond, rate=1000) as it:
        counts = await it.fetcher().run(asks(hk=10))

    assert len(it.results.replies) == 10
    assert (counts.sent, counts.retried, counts.throttled) == (80, 70, 70)
    assert it.budget.remaining == 100


async def test_throttled_for_ever() -> None:
    """A target that is only ever throttled ends, too."""
    async with bench(lambda _: answer_json({}, status=429)) as it:
        await it.fetcher().run(asks(hk=1))

    assert it.results.classes == {"failed transient": 1}
    assert 50 <= len(it.server.log) <= 100


async def test_credentials() -> None:
    """Refused credentials stop the account: what was not asked is skipped and says why."""
    asked = asks(hk=50)
    async with bench(lambda _: {"RetCode": 171, "Message": "Signature VerifyAC Error"}, concurrency=4, rate=10) as it:
        await it.fetcher().run(asked)

    assert it.results.each_once(asked)
    # Those that were in flight together with the first.
    asked_before = len(it.server.log)
    assert asked_before <= 4
    assert it.results.classes == {"failed credential": asked_before, "skipped account_stopped": 50 - asked_before}
    assert "Signature VerifyAC Error" in it.results.failures[-1].message


async def test_deadline() -> None:
    """Nothing starts after the deadline, and a call in flight is cut at it."""

    def respond(arrival: Arrival) -> Any:
        return hang(arrival) if arrival.region == "sg" else images(arrival)

    asked = asks(hk=200, sg=2)
    async with bench(respond, rate=100) as it:
        await it.fetcher(deadline=1.0).run(asked)

    assert it.results.each_once(asked)
    assert 90 <= len(it.results.replies) <= 100
    assert set(it.results.classes) == {"skipped deadline"}
    assert it.time.now <= 1.0


async def test_deadline_after_a_try() -> None:
    """A target that was tried says what its last attempt said, not that the time was up."""
    async with bench(
        lambda _: answer_json({"RetCode": 150, "Message": "restoring"}, headers={"Retry-After": "30"})
    ) as it:
        await it.fetcher(deadline=10.0).run(asks(hk=1))

    assert it.results.classes == {"failed transient": 1}
    assert "restoring" in it.results.failures[0].message
    assert "deadline" in it.results.failures[0].message
    assert len(it.server.log) == 1


async def test_stop() -> None:
    """A stop from outside ends the run: calls in flight get a short grace, the rest is skipped as interrupted."""

    def respond(arrival: Arrival) -> Any:
        if len(it.server.log) == 10:
            it.stop.set()
        return hang(arrival) if len(it.server.log) >= 10 else images(arrival)

    asked = asks(hk=50, sg=50)
    async with bench(respond) as it:
        async with asyncio.timeout(5):
            await it.fetcher().run(asked)
            await it.fetcher().run([])

    assert it.results.each_once(asked)
    assert len(it.results.replies) == 9
    assert it.results.classes == {"skipped interrupted": 91}


async def test_stopped_before() -> None:
    """A run that is stopped before it starts asks nothing."""
    asked = asks(hk=5)
    async with bench() as it:
        it.stop.set()
        await it.fetcher().run(asked)

    assert it.server.log == []
    assert it.results.classes == {"skipped interrupted": 5}


async def test_cancelled() -> None:
    """A cancelled run still ends every ask, and is cancelled."""
    asked = asks(hk=50)
    arrived = asyncio.Event()

    def respond(arrival: Arrival) -> Any:
        arrived.set()
        return hang(arrival)

    async with bench(respond) as it:
        run = asyncio.create_task(it.fetcher().run(asked))
        await arrived.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    assert it.results.each_once(asked)
    assert it.results.classes == {"skipped interrupted": 50}


async def test_broken_sink() -> None:
    """An error of the sink ends the run with that error, after every ask had its call."""
    asked = asks(hk=50)

    def refuse(result: Reply | Failure) -> None:
        if result.target.zone == "hk-05":
            raise RuntimeError("the writer is gone")

    async with bench() as it:
        it.results.on_result = refuse
        with pytest.raises(RuntimeError, match="the writer is gone"):
            await it.fetcher().run(asked)

    assert it.results.each_once(asked)


async def test_broken_ask() -> None:
    """A request that cannot be made is our own error: it is raised, and every ask still ends."""
    asked = [*asks(hk=5), Ask(target=Target("prod", "p", "hk", "x", "k"), action="A", params={"Bad": object()})]
    async with bench() as it:
        with pytest.raises(TypeError, match="no form parameter"):
            await it.fetcher().run(asked)

    assert it.results.each_once(asked)


async def test_dead_region() -> None:
    """A region that drops every call is probed twice and given up; the others are all answered."""
    asked = asks(hk=40, dead=40, sg=40)

    async with bench(lambda arrival: drop(arrival) if arrival.region == "dead" else images(arrival)) as it:
        await it.fetcher().run(asked)

    dead = [failure for failure in it.results.failures if failure.target.region == "dead"]
    assert it.results.each_once(asked)
    assert len(it.results.replies) == 80
    assert len(dead) == 40
    assert it.results.classes["skipped circuit"] >= 30
    # Five to open it, those in flight beside them, two probes.
    assert sum(arrival.region == "dead" for arrival in it.server.log) <= 12
    assert all("does not answer" in failure.message for failure in dead if failure.outcome == "skipped")


async def test_black_hole() -> None:
    """Regions that never answer hold up nobody: all others are answered while the first calls still hang."""
    holes = {f"hole{number}": 10 for number in range(4)}
    asked = asks(hk=60, **holes)
    answered = asyncio.Event()

    async with bench(lambda arrival: images(arrival) if arrival.region == "hk" else hang(arrival)) as it:
        it.results.on_result = lambda _: answered.set() if len(it.results.replies) == 60 else None
        run = asyncio.create_task(it.fetcher().run(asked))
        async with asyncio.timeout(5):
            await answered.wait()
            hanging = it.server.in_flight
            it.stop.set()
            await run

    assert hanging <= 16
    assert it.results.each_once(asked)


async def test_region_comes_back() -> None:
    """A region whose probe is answered goes on as if nothing had been."""
    dropped = 0

    def respond(arrival: Arrival) -> Any:
        nonlocal dropped
        if dropped < 5:
            dropped += 1
            return drop(arrival)
        return images(arrival)

    async with bench(respond) as it:
        await it.fetcher().run(asks(hk=40))

    assert len(it.results.replies) == 40


async def test_ask_again_joins() -> None:
    """A target asked again during the run is answered as a re-ask, at once and not at the end."""
    async with bench(concurrency=1) as it:
        fetcher = it.fetcher()

        def again(result: Reply | Failure) -> None:
            if result.target.zone == "hk-03" and not result.is_reask:
                fetcher.ask_again(result.target)

        it.results.on_result = again
        counts = await fetcher.run(asks(hk=10))

    order = [(result.target.zone, result.is_reask) for result in it.results.all]
    assert order[3:5] == [("hk-03", False), ("hk-03", True)]
    assert (counts.sent, counts.retried) == (11, 0)


async def test_run_again() -> None:
    """After the run targets are asked again, with their failures marked as answers to a re-ask."""
    asked = asks(hk=3, sg=1)
    async with bench(lambda arrival: {"RetCode": 161} if len(it.server.log) > 4 else images(arrival)) as it:
        fetcher = it.fetcher()
        await fetcher.run(asked)
        fetcher.ask_again(asked[0].target)
        counts = await fetcher.run_again([asked[3].target])

    assert counts.sent == 2
    assert [(failure.target, failure.is_reask) for failure in it.results.failures] == [
        (asked[3].target, True),
        (asked[0].target, True),
    ]


@pytest.mark.parametrize("turns", range(12))
async def test_ask_again_while_the_run_ends(turns: int) -> None:
    """A re-ask that comes while the last workers go home is made: in this run, or in the next `run_again`."""
    asked = asks(hk=1)
    async with bench(concurrency=2) as it:
        fetcher = it.fetcher()
        loop = asyncio.get_running_loop()

        def later(left: int) -> None:
            if left:
                loop.call_soon(later, left - 1)
            else:
                fetcher.ask_again(asked[0].target)

        it.results.on_result = lambda result: None if result.is_reask else later(turns)
        await fetcher.run(asked)
        for _ in range(turns):
            await asyncio.sleep(0)
        await fetcher.run_again()

    assert it.results.failures == []
    assert [reply.is_reask for reply in it.results.replies] == [False, True]


async def test_one_run_at_a_time() -> None:
    """A second run on the same fetcher is our own mistake and is refused."""
    arrived = asyncio.Event()

    def respond(arrival: Arrival) -> Any:
        arrived.set()
        return hang(arrival)

    async with bench(respond) as it:
        fetcher = it.fetcher()
        run = asyncio.create_task(fetcher.run(asks(hk=1)))
        await arrived.wait()
        with pytest.raises(RuntimeError, match="running already"):
            await fetcher.run([])
        it.stop.set()
        await run


async def test_order() -> None:
    """Inside a region targets are asked in the order given, and a retry comes before what was not asked yet."""
    seen: set[str] = set()

    def respond(arrival: Arrival) -> Any:
        if arrival.zone == "hk-01" and arrival.zone not in seen:
            seen.add(arrival.zone)
            return answer_json({}, status=500, headers={"Retry-After": "0"})
        return images(arrival)

    async with bench(respond, concurrency=1) as it:
        await it.fetcher().run(asks(hk=4))

    assert [arrival.zone for arrival in it.server.log] == ["hk-00", "hk-01", "hk-01", "hk-02", "hk-03"]
