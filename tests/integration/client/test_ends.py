"""How the fetcher ends early: deadline, stop, cancellation, broken sinks; every ask still ends once."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from aiohttp import web

from crawler.client.region_queue import Ask
from crawler.domain.models import Failure, Reply, Target
from crawler.domain.parsing import MAX_VALUES
from tests.support.api_server import Arrival, answer_json, images
from tests.support.fetch_bench import asks, bench, hang

pytestmark = pytest.mark.asyncio(loop_scope="function")


async def test_deadline() -> None:
    """Nothing starts after the deadline, and a call in flight is cut at it."""

    def respond(arrival: Arrival) -> Any:
        return hang(arrival) if arrival.region == "sg" else images(arrival)

    asked = asks(hk=200, sg=2)
    async with bench(respond, rate=100) as it:
        await it.fetcher(deadline=1.0).run(it.targets(asked))

    assert it.results.each_once(asked)
    assert 90 <= len(it.results.replies) <= 100
    assert set(it.results.classes) == {"skipped deadline"}
    assert it.time.now <= 1.0


async def test_deadline_after_a_try() -> None:
    """A target that was tried says what its last attempt said, not that the time was up."""
    async with bench(
        lambda _: answer_json({"RetCode": 150, "Message": "restoring"}, headers={"Retry-After": "30"})
    ) as it:
        await it.fetcher(deadline=10.0).run(it.targets(asks(hk=1)))

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
            await it.fetcher().run(it.targets(asked))
            await it.fetcher().run([])

    assert it.results.each_once(asked)
    assert len(it.results.replies) == 9
    assert it.results.classes == {"skipped interrupted": 91}


async def test_stopped_before() -> None:
    """A run that is stopped before it starts asks nothing."""
    asked = asks(hk=5)
    async with bench() as it:
        it.stop.set()
        await it.fetcher().run(it.targets(asked))

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
        run = asyncio.create_task(it.fetcher().run(it.targets(asked)))
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
            await it.fetcher().run(it.targets(asked))

    assert it.results.each_once(asked)


async def test_broken_ask() -> None:
    """A request that cannot be made is the failure of its target alone, named by where it arose."""
    asked = [*asks(hk=5), Ask(target=Target("prod", "p", "hk", "x", "k"), action="A", params={"Bad": object()})]
    unknown = Target("prod", "p", "hk", "nobody-knows-what-to-ask", "k")
    async with bench() as it:
        await it.fetcher().run([*it.targets(asked), unknown])

    assert len(it.results.replies) == 5
    assert it.results.classes == {"failed defect": 2}
    said = {failure.target.zone: failure.message for failure in it.results.failures}
    assert re.fullmatch(r"something was raised that nobody foresaw: TypeError in client/signing\.py:\d+", said["x"])
    assert re.fullmatch(r".*: KeyError in client/fetcher\.py:\d+", said[unknown.zone])
    assert [failure.reply for failure in it.results.failures] == [None, None]


async def test_answer_that_cannot_be_read() -> None:
    """An answer of too many values fails its target at once, and comes along as evidence."""
    body = b'{"RetCode":0,"ImageSet":[' + b",".join([b"1"] * (MAX_VALUES + 1)) + b"]}"
    async with bench(lambda arrival: web.Response(body=body) if arrival.region == "sg" else images(arrival)) as it:
        await it.fetcher().run(it.targets(asks(hk=5, sg=1)))

    (failure,) = it.results.failures
    assert (failure.failure_class, failure.message) == (
        "defect",
        "the answer holds more than 150,000 values, which is more than is read",
    )
    assert failure.reply is not None
    assert failure.reply.body == body
    assert it.actions()["sg-00"] == 1
    assert len(it.results.replies) == 5
