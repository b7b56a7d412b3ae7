"""The fetcher against a real server: every ask ends once, whatever happens."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from aiohttp import web

from crawler.client.api import hash_of
from crawler.client.retry import THROTTLED_ATTEMPTS
from crawler.domain.models import Failure, Reply
from tests.support.api_server import Arrival, answer_json, images
from tests.support.fetch_bench import ask, asks, bench, drop, hang

pytestmark = pytest.mark.asyncio(loop_scope="function")


async def test_replies() -> None:
    """Every target is asked once and its reply says what came."""
    asked = asks(hk=30, sg=20)
    async with bench() as it:
        counts = await it.fetcher().run(it.targets(asked))

    first = it.results.replies[0]
    assert it.results.each_once(asked)
    assert (counts.sent, counts.retried, counts.throttled) == (50, 0, 0)
    assert json.loads(first.body)["RetCode"] == 0
    assert first.body_hash == hash_of(first.body)
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
    known = hash_of(body)

    def respond(arrival: Arrival) -> web.Response:
        return web.Response(status=500 if arrival.region == "sg" else 200, body=body)

    async with bench(respond) as it:
        await it.fetcher().run(it.targets([ask("hk", known_hash=known), ask("sg", known_hash=known)]))

    assert [(reply.unchanged, reply.body) for reply in it.results.replies] == [(True, body)]
    assert it.results.classes == {"failed transient": 1}


async def test_classes() -> None:
    """Only transient refusals are retried; each failure carries its class, code, message and request id."""
    codes = {"a": 150, "b": 230, "c": 161, "d": 2001}

    async with bench(lambda arrival: {"RetCode": codes[arrival.region], "Message": "says so"}) as it:
        counts = await it.fetcher().run(it.targets(asks(a=1, b=1, c=1, d=1)))

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
        await it.fetcher().run(it.targets(asked))

    assert it.results.each_once(asked)
    assert len(it.results.replies) == 25


async def test_budget() -> None:
    """The run's retries are shared by all its targets; without one left a failure stands."""
    async with bench(lambda _: {"RetCode": 150}) as it:
        it.budget.remaining = 10
        counts = await it.fetcher().run(it.targets(asks(hk=20)))

    assert (counts.sent, counts.retried) == (30, 10)
    assert any("retry budget is spent" in failure.message for failure in it.results.failures)


async def test_throttled_costs_no_budget() -> None:
    """Refusals for too many requests are tried again beyond the attempts, and cost no retry of the budget."""
    seen: Counter[str] = Counter()

    def respond(arrival: Arrival) -> Any:
        seen[arrival.zone] += 1
        return images(arrival) if seen[arrival.zone] > 7 else {"RetCode": 153}

    async with bench(respond, rate=1000) as it:
        counts = await it.fetcher().run(it.targets(asks(hk=10)))

    assert len(it.results.replies) == 10
    assert (counts.sent, counts.retried, counts.throttled) == (80, 70, 70)
    assert it.budget.remaining == 100


async def test_throttled_until_the_deadline() -> None:
    """A target that was asked and throttled until the run ended is told with what the provider said, not as unasked."""
    said = {"RetCode": 153, "Message": "quota 0"}
    async with bench(lambda _: answer_json(said, status=429, headers={"Retry-After": "1"})) as it:
        fetcher = it.fetcher(deadline=it.time.timing().monotonic() + 6)
        await fetcher.run(it.targets(asks(hk=1)))

    (failure,) = it.results.failures
    assert len(it.server.log) > 1
    assert (failure.outcome, failure.failure_class, failure.ret_code) == ("failed", "transient", 153)
    assert "quota 0" in failure.message
    assert failure.message.endswith("no further attempt: the run's deadline came first")


async def test_throttled_for_ever() -> None:
    """A target that is only ever throttled ends, too."""
    async with bench(lambda _: answer_json({}, status=429)) as it:
        await it.fetcher().run(it.targets(asks(hk=1)))

    assert it.results.classes == {"failed transient": 1}
    assert len(it.server.log) == THROTTLED_ATTEMPTS == 60


async def test_credentials() -> None:
    """Refused credentials stop the account: what was not asked is skipped and says why."""
    asked = asks(hk=50)
    async with bench(lambda _: {"RetCode": 171, "Message": "Signature VerifyAC Error"}, concurrency=4, rate=10) as it:
        await it.fetcher().run(it.targets(asked))

    assert it.results.each_once(asked)
    # Those that were in flight together with the first.
    asked_before = len(it.server.log)
    assert asked_before <= 4
    assert it.results.classes == {"failed credential": asked_before, "skipped account_stopped": 50 - asked_before}
    assert "Signature VerifyAC Error" in it.results.failures[-1].message


async def test_dead_region() -> None:
    """A region that drops every call is probed twice and given up; the others are all answered."""
    asked = asks(hk=40, dead=40, sg=40)

    async with bench(lambda arrival: drop(arrival) if arrival.region == "dead" else images(arrival)) as it:
        await it.fetcher().run(it.targets(asked))

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
        run = asyncio.create_task(it.fetcher().run(it.targets(asked)))
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
        await it.fetcher().run(it.targets(asks(hk=40)))

    assert len(it.results.replies) == 40


async def test_ask_again_joins() -> None:
    """A target asked again during the run is answered as a re-ask, at once and not at the end."""
    async with bench(concurrency=1) as it:
        fetcher = it.fetcher()

        def again(result: Reply | Failure) -> None:
            if result.target.zone == "hk-03" and not result.is_reask:
                fetcher.ask_again(result.target)

        it.results.on_result = again
        counts = await fetcher.run(it.targets(asks(hk=10)))

    order = [(result.target.zone, result.is_reask) for result in it.results.all]
    assert order[3:5] == [("hk-03", False), ("hk-03", True)]
    assert (counts.sent, counts.retried) == (11, 0)


async def test_run_again() -> None:
    """After the run targets are asked again, with their failures marked as answers to a re-ask."""
    asked = asks(hk=3, sg=1)
    async with bench(lambda arrival: {"RetCode": 161} if len(it.server.log) > 4 else images(arrival)) as it:
        fetcher = it.fetcher()
        await fetcher.run(it.targets(asked))
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
        await fetcher.run(it.targets(asked))
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
        run = asyncio.create_task(fetcher.run(it.targets(asks(hk=1))))
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
        await it.fetcher().run(it.targets(asks(hk=4)))

    assert [arrival.zone for arrival in it.server.log] == ["hk-00", "hk-01", "hk-01", "hk-02", "hk-03"]
