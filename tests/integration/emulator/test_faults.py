"""Scripted faults: every kind, whom they hit, when they stop; and a server that leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from crawler.emulator import EmulatorOptions, EmulatorServer, run_in_thread
from tests.support.by_hand import ask, images, post
from tests.support.proxy import port_of
from tests.support.tls import make_tls
from tests.support.worlds import make_record, make_timeline, sign

HK = {"Action": "DescribeUK8SImage", "Region": "hk", "Zone": "hk-02"}
ZONES = {"hk-02": {"uimage-a": "CentOS 7.6"}, "hk-03": {"uimage-b": "CentOS 7.6"}, "sg-01": {"uimage-c": "CentOS 7.6"}}


def world(*faults: dict[str, Any], **more: Any) -> Any:
    return make_timeline(zones=ZONES, faults=list(faults), **more)


@pytest.mark.asyncio
async def test_ret_code_with_its_message() -> None:
    """A scripted RetCode comes in HTTP 200 with its own message, or the usual one."""
    faults = ({"zone": "hk-02", "ret_code": 8037, "message": "busy"}, {"zone": "hk-03", "ret_code": 130})
    async with EmulatorServer(world(*faults)) as server:
        own = await post(server, sign(HK))
        usual = await images(server, "hk-03")

    assert own.status == 200
    assert own.document == {"RetCode": 8037, "Action": "DescribeUK8SImageResponse", "Message": "busy"}
    assert usual["Message"] == "API gateway failure"
    assert [line.ret_code for line in server.log] == [8037, 130]


@pytest.mark.asyncio
async def test_http_status_with_retry_after() -> None:
    """A scripted HTTP status brings an HTML page and Retry-After; a RetCode may carry both."""
    faults = (
        {"zone": "hk-02", "status": 503, "retry_after": 2},
        {"zone": "hk-03", "status": 429, "ret_code": 153, "retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"},
    )
    async with EmulatorServer(world(*faults)) as server:
        page = await post(server, sign(HK))
        throttled = await post(server, sign({**HK, "Zone": "hk-03"}))

    assert (page.status, page.headers["Retry-After"], page.headers["Content-Type"][:9]) == (503, "2", "text/html")
    assert b"503" in page.body
    assert page.headers["X-UCLOUD-REQUEST-UUID"]
    assert (throttled.status, throttled.document["RetCode"]) == (429, 153)
    assert throttled.headers["Retry-After"].endswith("GMT")
    assert [(line.status, line.ret_code) for line in server.log] == [(503, None), (429, 153)]


@pytest.mark.asyncio
async def test_bodies_that_are_no_answer() -> None:
    """An empty body, a proxy's page and any text come with HTTP 200."""
    faults = ({"zone": "hk-02", "empty": True}, {"zone": "hk-03", "html": True}, {"zone": "sg-01", "body": "[1, 2"})
    async with EmulatorServer(world(*faults)) as server:
        answers = [await post(server, sign({**HK, "Region": z[:-3], "Zone": z})) for z in ZONES]

    assert [answer.status for answer in answers] == [200, 200, 200]
    empty, page, text = (answer.body for answer in answers)
    assert empty == b""
    assert page.startswith(b"<html>")
    assert text == b"[1, 2"


@pytest.mark.asyncio
async def test_conditions_of_a_lie() -> None:
    """An answer that lies lists a record to whom it fits, as the true one does, and never sends the condition."""
    records = [{"ImageId": "any"}, {"ImageId": "gpu", "_when": {"MachineType": "G"}}]
    async with EmulatorServer(world({"images": {"ImageSet": records, "CustomImageSet": None}})) as server:
        plain = await images(server)
        gpu = await images(server, MachineType="G")

    assert (plain["ImageSet"], plain["CustomImageSet"]) == (records[:1], None)
    assert gpu["ImageSet"] == [{"ImageId": "any"}, {"ImageId": "gpu"}]


@pytest.mark.asyncio
async def test_half_a_character() -> None:
    """A text that is no good Unicode is sent as it is, as those in records are."""
    async with EmulatorServer(world({"body": "\ud800"})) as server:
        answer = await post(server, sign(HK))

    assert (answer.status, answer.body) == (200, b"\xed\xa0\x80")


@pytest.mark.asyncio
async def test_attempts_by_parameter() -> None:
    """Attempts are counted for each question by itself, whatever its parameters are called."""
    async with EmulatorServer(world({"ret_code": 150, "attempts": 1})) as server:
        asked = [await images(server, K8SVersion=version) for version in ("1.28.1", "1.30.1", "1.28.1")]

    assert [answer["RetCode"] for answer in asked] == [150, 150, 0]


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", [{"drop": True}, {"cut": True}])
async def test_broken_connections(fault: dict[str, Any]) -> None:
    """A dropped connection gives no answer, a cut one half a body; the next request finds the server well."""
    async with EmulatorServer(world({**fault, "attempts": 1})) as server:
        with pytest.raises(aiohttp.ClientError) as caught:
            await post(server, sign(HK))
        after = await images(server)

    expected = aiohttp.ServerDisconnectedError if "drop" in fault else aiohttp.ClientPayloadError
    # A dropped connection may show as a reset as well.
    assert isinstance(caught.value, (expected, aiohttp.ClientOSError))
    assert after["RetCode"] == 0


@pytest.mark.asyncio
async def test_cut_body_is_the_first_half() -> None:
    """What arrives before the cut is the beginning of the true answer."""
    async with (
        EmulatorServer(world({"cut": True})) as server,
        aiohttp.ClientSession() as session,
        session.post(server.url, data=sign(HK)) as response,
    ):
        start = await response.content.readany()

    assert start.startswith(b'{"RetCode":0,"Action"')
    assert not start.endswith(b"}")


@pytest.mark.asyncio
async def test_hanging_ends_with_the_client_or_the_server() -> None:
    """A hanging request answers nothing, and keeps neither the client that gave up nor the server that closes."""
    before = asyncio.all_tasks()
    async with EmulatorServer(world({"hang": True})) as server, aiohttp.ClientSession() as session:
        with pytest.raises(TimeoutError):
            async with session.post(server.url, data=sign(HK), timeout=aiohttp.ClientTimeout(total=0.05)):
                pass
        waiting = asyncio.create_task(post(server, sign(HK)))
        while len(server.log) < 2:  # noqa: ASYNC110 - the server has no event to wait for
            await asyncio.sleep(0)
    with pytest.raises(aiohttp.ClientError):
        await waiting

    assert [line.status for line in server.log] == [0, 0]
    assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()


@pytest.mark.asyncio
async def test_latency_of_a_fault_alone_only_delays() -> None:
    """`latency_ms` alone delays the true answer, beside an effect it delays that."""
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    faults = ({"zone": "hk-02", "latency_ms": 1500}, {"zone": "hk-03", "latency_ms": 20, "ret_code": 110})
    async with EmulatorServer(world(*faults), sleep=note) as server:
        codes = [(await images(server, zone))["RetCode"] for zone in ("hk-02", "hk-03", "sg-01")]

    assert codes == [0, 110, 0]
    assert waits == [1.5, 0.02]


@pytest.mark.asyncio
async def test_an_answer_that_lies() -> None:
    """Scripted images are sent with RetCode 0 instead of the real ones, for as long as the script says."""
    lie = {"ImageSet": [make_record("uimage-z", "Zorin", "hk-02")]}
    async with EmulatorServer(
        world({"zone": "hk-02", "attempts": 1, "images": lie}, {"zone": "hk-02", "attempts": 2, "images": {}})
    ) as server:
        first, second, third = [await images(server) for _ in range(3)]

    assert first["ImageSet"] == lie["ImageSet"]
    assert second == {"RetCode": 0, "Action": "DescribeUK8SImageResponse"}
    assert third["ImageSet"][0]["ImageId"] == "uimage-a"


@pytest.mark.asyncio
async def test_attempts_are_counted_per_target_and_step() -> None:
    """Each target has its own count, which starts again with each step; refused requests do not count."""
    script = world({"attempts": "1-2", "action": "Describe*", "ret_code": 150}, steps=[{}])
    async with EmulatorServer(script) as server:

        async def codes(zone: str, count: int, **params: str) -> list[int]:
            return [(await images(server, zone, **params))["RetCode"] for _ in range(count)]

        await post(server, {**sign(HK), "Signature": "0" * 40})
        first = await codes("hk-02", 3)
        other_zone = await codes("hk-03", 3)
        other_project = await codes("hk-02", 2, ProjectId="org-example")
        other_variant = await codes("hk-02", 1, MachineType="G", GPUType="V100")
        discovery = await ask(server, "GetRegion")
        server.advance()
        next_step = await codes("hk-02", 3)

    assert first == other_zone == next_step == [150, 150, 0]
    assert other_project == [150, 150]
    assert other_variant == [150]
    assert discovery["RetCode"] == 0
    assert [line.attempt for line in server.log[:4]] == [0, 1, 2, 3]


@pytest.mark.asyncio
async def test_patterns_pick_their_victims() -> None:
    """Globs over project, region, zone and action decide who is hit; the first fault that fits is used."""
    script = make_timeline(
        zones=ZONES,
        projects=["org-a", "org-b"],
        faults=[
            {"project": "org-b", "region": "hk", "ret_code": 299},
            {"region": "h*", "zone": "*-03", "ret_code": 293},
            {"action": "GetProjectList", "ret_code": 299},
        ],
    )
    async with EmulatorServer(script) as server:
        codes = {
            (project, zone): (await images(server, zone, ProjectId=project))["RetCode"]
            for project in ("org-a", "org-b")
            for zone in ZONES
        }
        default = await images(server, "hk-03")
        projects = await ask(server, "GetProjectList")
        regions = await ask(server, "GetRegion")

    assert list(codes.values()) == [0, 293, 0, 299, 299, 0]
    assert (default["RetCode"], projects["RetCode"], regions["RetCode"]) == (293, 299, 0)


@pytest.mark.asyncio
async def test_faults_of_a_step_and_of_chosen_steps() -> None:
    """A fault inside a step holds for that step, one at the top level for the steps it names, a step's own first."""
    script = world(
        {"steps": "2-3", "ret_code": 130},
        steps=[{"faults": [{"zone": "hk-02", "ret_code": 150}]}, {}, {}],
    )
    async with EmulatorServer(script) as server:
        seen = []
        for step in (1, 2, 3, 4):
            server.step = step
            seen.append([(await images(server, zone))["RetCode"] for zone in ("hk-02", "hk-03")])

    assert seen == [[0, 0], [150, 130], [130, 130], [0, 0]]


@pytest.mark.asyncio
async def test_idle_connections_do_not_hold_up_the_end() -> None:
    """The server closes at once although clients keep their connections open, also half-made requests."""
    server = EmulatorServer(world())
    async with aiohttp.ClientSession() as session:
        async with server:
            async with session.post(server.url, data=sign(HK)) as response:
                await response.read()
            host, port = server.url.removeprefix("http://").rstrip("/").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nAct")
            await writer.drain()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncio.open_connection(host, int(port))


@pytest.mark.asyncio
async def test_tls_is_served_and_ends_as_well(tmp_path: Path) -> None:
    """With a TLS context the URL is https, the answers are the same, and a dropped connection is still one."""
    context, certificate = make_tls(tmp_path)
    trust = ssl.create_default_context(cafile=certificate)
    script = world({"attempts": 2, "drop": True})
    async with (
        EmulatorServer(script, EmulatorOptions(ssl_context=context)) as server,
        aiohttp.ClientSession() as session,
    ):
        assert server.url.startswith("https://127.0.0.1:")
        async with session.post(server.url, data=sign(HK), ssl=trust) as response:
            answer = await response.json()
        with pytest.raises(aiohttp.ClientError):
            await session.post(server.url, data=sign(HK), ssl=trust)

    assert answer["RetCode"] == 0


def test_thread_serves_callers_without_a_loop() -> None:
    """`run_in_thread` gives a live server to synchronous code, and frees the port at the end."""
    with run_in_thread(world(steps=[{"images": {"hk-02": {}}}])) as server:
        counts = []
        for _ in range(2):
            counts.append(len(asyncio.run(images(server))["ImageSet"]))
            server.advance()
        port = int(server.url.rstrip("/").rpartition(":")[2])

    assert counts == [1, 0]
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_thread_hands_on_a_port_that_is_taken() -> None:
    """A server that cannot listen raises in the caller's thread."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        options = EmulatorOptions(port=taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"), run_in_thread(world(), options):
            pass


def test_connection_of_the_last_moment() -> None:
    """A connection that arrives while the server ends is closed with it, not left to the garbage collector."""
    for _ in range(5):
        with run_in_thread(world()) as server, socket.create_connection(("127.0.0.1", port_of(server.url))) as late:
            late.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    gc.collect()  # a warning of an open transport fails the test
