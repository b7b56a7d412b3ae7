"""One call against a real server: what goes out, and what each way of failing becomes."""

from __future__ import annotations

import asyncio
import inspect
import json
import ssl
import traceback
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import quote, urlencode

import aiohttp
import pytest
from aiohttp import client_exceptions, http_exceptions, web

from crawler.client import api as api_module
from crawler.client.api import ApiClient, NetworkFailure, hash_of, network_failure
from crawler.client.api_options import Endpoint, FetchOptions
from crawler.client.cancellation import Cancelled, CancelScope
from crawler.client.responses import Answer, Damaged, Refusal, UnknownPacking
from crawler.client.signing import signature
from crawler.client.throttle import PacedThrottler
from tests.support.api_server import ApiServer, Arrival, answer_json, images
from tests.support.fake_time import START, FakeTime
from tests.support.fetch_bench import fetch_options
from tests.support.tls import make_tls

pytestmark = pytest.mark.asyncio(loop_scope="function")

OK = {"RetCode": 0}


def endpoint(url: str, **more: object) -> Endpoint:
    return Endpoint(url=url, public_key="public-key", private_key="private-key", **more)  # type: ignore[arg-type]


@asynccontextmanager
async def client_of(
    url: str, options: FetchOptions | None = None, time: FakeTime | None = None, **more: object
) -> AsyncIterator[ApiClient]:
    timing = (time or FakeTime()).timing()
    async with ApiClient(endpoint(url, **more), options or fetch_options(), timing=timing) as client:
        yield client


async def call(
    client: ApiClient, action: str = "GetRegion", cancel_scope: CancelScope | None = None, **params: object
) -> Answer:
    return await client.attempt(
        client.form(action, params), cancel_scope or CancelScope(monotonic=client.timing.monotonic)
    )


async def test_request() -> None:
    """A signed form goes out with the time and the program's name; an extra header goes out unless it is empty."""
    async with (
        ApiServer(lambda _: OK) as server,
        client_of(server.url, headers={"channel-key": "abc", "X-Empty": ""}) as client,
    ):
        answer = await call(client, "DescribeUK8SImage", Region="cn-bj2", Zone="cn-bj2-04", ProjectId=None)

    sent = server.log[0]
    unsigned = {"Action": "DescribeUK8SImage", "Region": "cn-bj2", "Zone": "cn-bj2-04", "PublicKey": "public-key"}
    assert sent.params == {**unsigned, "Signature": signature(unsigned, "private-key")}
    assert sent.headers["U-Timestamp-Ms"] == str(int(START.timestamp() * 1000))
    assert sent.headers["User-Agent"].startswith("crawler/")
    assert sent.headers["channel-key"] == "abc"
    assert "X-Empty" not in sent.headers
    assert (answer.status, answer.request_uuid, answer.received_at) == (200, "uuid-1", START)


async def test_nothing_is_kept() -> None:
    """Cookies are not sent back, and redirects are not followed."""

    def respond(arrival: Arrival) -> web.Response:
        headers = {"Set-Cookie": "session=1", "Location": "/elsewhere"}
        return answer_json(OK, status=302, headers=headers)

    async with ApiServer(respond) as server, client_of(server.url) as client:
        answers = [await call(client) for _ in range(2)]

    assert [answer.status for answer in answers] == [302, 302]
    assert len(server.log) == 2
    assert "Cookie" not in server.log[1].headers


async def test_connections() -> None:
    """Many calls share as many connections as the concurrency, and no more."""
    async with ApiServer(images) as server, client_of(server.url, fetch_options(concurrency=3, rate=1e6)) as client:
        await asyncio.gather(*(call(client) for _ in range(60)))

    assert server.connections == 3
    assert client.counts.sent == 60


async def test_retry_after() -> None:
    """The header is read, and a throttled answer with it stops the account for that long."""
    time = FakeTime()

    async with (
        ApiServer(lambda _: answer_json({"RetCode": 153}, headers={"Retry-After": "30"})) as server,
        client_of(server.url, time=time) as client,
    ):
        answer = await call(client)
        refusal = Refusal(
            failure_class="transient", message="x", is_throttled=True, retry_after_seconds=answer.retry_after_seconds
        )
        client.heeded(refusal)
        await call(client)

    assert time.now == pytest.approx(30.0)
    assert client.throttle.rate == pytest.approx(5.5)  # halved, and one clean period since
    assert client.counts.throttled == 1


async def test_retry_after_as_a_moment() -> None:
    """A moment to wait for is one by the server's clock, which the same answer states, however far ours is off."""
    said = {"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    async with (
        ApiServer(lambda _: answer_json({"RetCode": 153}, headers=said)) as server,
        client_of(server.url, time=FakeTime()) as client,
    ):
        assert (await call(client)).retry_after_seconds == 30


async def close_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def cut_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"RetCode"')
    await writer.drain()
    writer.close()


async def speak_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
    await writer.drain()
    writer.close()


async def false_gzip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello")
    await writer.drain()
    writer.close()


@pytest.mark.parametrize(
    ("serve", "words"),
    [
        (close_at_once, "closed before the answer"),
        (cut_the_body, "the answer was cut"),
        (speak_nonsense, "ClientResponseError"),
        (false_gzip, "cut|ClientPayloadError|Error"),
    ],
)
async def test_broken_server(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], words: str
) -> None:
    """A server that closes, cuts or talks something else gives a network failure with a sentence."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, client_of(f"http://127.0.0.1:{port}/") as client:
        with pytest.raises(NetworkFailure, match=words) as caught:
            await call(client)

    refusal = caught.value.refusal()
    assert refusal.is_network
    assert refusal.failure_class == "transient"


async def test_nobody_there() -> None:
    """A refused connection and a name that does not exist are network failures."""
    async with client_of("http://127.0.0.1:9/") as client:
        with pytest.raises(NetworkFailure, match="Cannot connect"):
            await call(client)
    async with client_of("http://nowhere.invalid/") as client:
        with pytest.raises(NetworkFailure, match=r"the name of nowhere\.invalid cannot be resolved"):
            await call(client)


@pytest.mark.parametrize("url", ["nonsense", "ftp://example.com/", "http://", "https://[/"])
async def test_bad_endpoint(url: str) -> None:
    """An endpoint that is no web address is a defect, and not retried."""
    async with client_of(url) as client:
        with pytest.raises(NetworkFailure, match="no web address") as caught:
            await call(client)

    assert caught.value.refusal().failure_class == "defect"


async def test_certificates(tmp_path: Path) -> None:
    """A certificate nobody vouches for is refused; one that was named is accepted."""
    context, certificate = make_tls(tmp_path)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\n{"RetCode":0}')
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server:
        async with client_of(url) as client:
            with pytest.raises(NetworkFailure, match=r"the certificate of 127\.0\.0\.1 is not trusted"):
                await call(client)
        async with client_of(url, ca_file=str(certificate)) as client:
            assert (await call(client)).body == b'{"RetCode":0}'


async def test_too_long() -> None:
    """An endless answer is given up when it is longer than any answer should be."""

    async def respond(_: Arrival) -> web.StreamResponse:
        return web.Response(body=b"x" * (api_module.MAX_BODY_BYTES + 1))

    async with ApiServer(respond) as server, client_of(server.url) as client:
        with pytest.raises(NetworkFailure, match="longer than 4 MB"):
            await call(client)


async def test_a_long_answer_is_no_reason_to_try_again() -> None:
    """It is the fault of the answer and not of the network: no retry, and no mark against its region."""

    async def respond(_: Arrival) -> web.StreamResponse:
        return web.Response(body=b"x" * (api_module.MAX_BODY_BYTES + 1))

    async with ApiServer(respond) as server, client_of(server.url) as client:
        with pytest.raises(api_module.Defect) as caught:
            await call(client)
    assert (caught.value.refusal().failure_class, caught.value.refusal().is_network) == ("defect", False)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
async def test_packed(encoding: str) -> None:
    """gzip and deflate are asked for and unpacked as far as an answer may be long; anything else is a defect."""
    small, large = b'{"RetCode":0}' + b" " * 300_000, b" " * 100 * 2**20

    async def respond(arrival: Arrival) -> web.StreamResponse:
        assert arrival.headers["Accept-Encoding"] == "gzip, deflate"
        window = 31 if encoding == "gzip" else 15
        packer = zlib.compressobj(wbits=window)
        body = packer.compress(small if arrival.action == "Small" else large) + packer.flush()
        return web.Response(body=body, headers={"Content-Encoding": encoding})

    async with ApiServer(respond) as server, client_of(server.url) as client:
        if encoding == "br":
            with pytest.raises(api_module.Defect, match="not asked for: br"):
                await call(client, "Small")
        else:
            assert (await call(client, "Small")).body == small
            with pytest.raises(api_module.Defect, match="longer than 4 MB"):
                await call(client, "Large")


async def test_few_large_answers_at_a_time() -> None:
    """One large answer that never ends keeps no other away; of more than a few the next waits, and small ones pass."""
    body = b"x" * (api_module.LARGE_BODY_BYTES + 1)
    ends = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield body
        await ends.wait()

    async def respond(arrival: Arrival) -> web.StreamResponse:
        return web.Response(body={"Endless": stalled(), "Large": body}.get(arrival.action, b"{}"))

    async with ApiServer(respond) as server, client_of(server.url) as client:
        cancel_scope = CancelScope(monotonic=client.timing.monotonic)
        endless = asyncio.create_task(call(client, "Endless"))
        with ExitStack() as stack:
            for _ in range(api_module.LARGE_AT_ONCE - 1):
                room = stack.enter_context(client.room())
                answer = await client.attempt(client.form("Large"), cancel_scope, room=room)
                assert answer.body == body
            last = asyncio.create_task(call(client, "Large"))
            assert (await call(client, "Small")).body == b"{}"
            done, _ = await asyncio.wait([last, endless], timeout=0.2)
            assert not done
        assert (await last).body == body
        ends.set()
        assert (await endless).body == body


async def hang(_: Arrival) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError("nobody waits that long")


async def test_time_out() -> None:
    """A call ends when its time is up."""
    async with ApiServer(hang) as server, client_of(server.url, fetch_options(timeout_seconds=0.05)) as client:
        with pytest.raises(NetworkFailure, match=r"no complete answer within 0\.05 s"):
            await call(client)


async def test_deadline() -> None:
    """A call in flight is cut at the deadline, and none starts after it."""
    time = FakeTime()
    async with ApiServer(hang) as server, client_of(server.url, time=time) as client:
        cancel_scope = CancelScope(monotonic=time.monotonic, deadline=0.05)
        with pytest.raises(Cancelled, match="deadline"):
            await call(client, cancel_scope=cancel_scope)
        time.now = 0.05
        with pytest.raises(Cancelled, match="deadline"):
            await call(client, cancel_scope=cancel_scope)

    assert len(server.log) == 1


async def test_stop() -> None:
    """A stop cuts a call in flight after a short grace, and a call that waits for its slot at once."""
    stop, arrived = asyncio.Event(), asyncio.Event()

    async def respond(arrival: Arrival) -> web.StreamResponse:
        arrived.set()
        return await hang(arrival)

    async with ApiServer(respond) as server, client_of(server.url, fetch_options(rate=0.001)) as client:
        never = asyncio.Event()
        assert isinstance(client.throttle, PacedThrottler)
        client.throttle._sleep = lambda _: never.wait()
        cancel_scope = CancelScope(monotonic=client.timing.monotonic, stop=stop)
        async with cancel_scope.watched():
            calls = [asyncio.create_task(call(client, cancel_scope=cancel_scope)) for _ in range(3)]
            await arrived.wait()
            stop.set()
            results = await asyncio.gather(*calls, return_exceptions=True)

    assert [getattr(result, "reason", None) for result in results] == ["interrupted"] * 3
    assert len(server.log) == 1
    assert len(client.throttle._task_logs) == 1


async def test_no_secrets_in_reprs() -> None:
    """Neither key nor header is in the repr of an endpoint or a client."""
    secret = endpoint("http://127.0.0.1:9/", headers={"channel-key": "channel-secret"})
    shown = repr(secret) + repr(ApiClient(secret, fetch_options(), timing=FakeTime().timing()))

    assert not any(text in shown for text in ("private-key", "public-key", "channel-secret"))


async def test_repeated_request() -> None:
    """Keys, headers and signatures that the other side repeats are in no part of an answer; its hash fits its body."""

    def respond(arrival: Arrival) -> web.Response:
        said = {"echo": urlencode(arrival.params), "again": arrival.params, "header": arrival.headers["channel-key"]}
        headers = {"X-UCLOUD-REQUEST-UUID": f"id {arrival.params['Signature']}", "Date": quote("public-key;")}
        return answer_json(said, headers=headers)

    async with ApiServer(respond) as server, client_of(server.url, headers={"channel-key": "channel-secret"}) as client:
        answer = await call(client, Region="hk")
        signed = server.log[0].params["Signature"]
        secrets = ("public-key", "private-key", "channel-secret", signed)
        told = f"{answer.body!r} {answer.request_uuid} {answer.date}"

    assert not any(secret in told for secret in secrets)
    assert json.loads(answer.body)["again"] == {"Action": "GetRegion", "Region": "hk"} | dict.fromkeys(
        ("PublicKey", "Signature"), "[redacted]"
    )
    assert answer.request_uuid == "id [redacted]"
    assert answer.body_hash == hash_of(answer.body)


async def test_known_body() -> None:
    """A body that is known by its hash is given as it is, and is not searched again."""
    known = hash_of(b'{"x": "public-key"}')
    async with ApiServer(lambda _: answer_json({"x": "public-key"})) as server, client_of(server.url) as client:
        cancel_scope = CancelScope(monotonic=client.timing.monotonic)
        answer = await client.attempt(client.form("GetRegion"), cancel_scope, known_hash=known)

    assert (answer.body, answer.body_hash) == (b'{"x": "public-key"}', known)


async def repeat_in_the_status_line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
    writer.write(b"HTTP/1.1 200 OK\r\n" + body + b"\r\n\r\n{}")
    await writer.drain()
    writer.close()


async def test_repeated_request_in_an_error() -> None:
    """What is no HTTP at all is quoted without the request that it repeats, and no error behind it holds one."""
    server = await asyncio.start_server(repeat_in_the_status_line, "127.0.0.1", 0)
    async with server, client_of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/") as client:
        with pytest.raises(NetworkFailure, match="redacted") as caught:
            await call(client)

    assert "public-key" not in str(caught.value)
    assert "public-key" not in "".join(traceback.format_exception(caught.value))


def foreign_classes() -> list[type[Exception]]:
    """List what aiohttp's client may raise, and what the socket and TLS below it may."""
    found = {
        cls
        for module in (client_exceptions, http_exceptions)
        for cls in vars(module).values()
        if inspect.isclass(cls) and issubclass(cls, Exception) and cls.__module__.startswith("aiohttp")
    }
    # Web sockets only.
    found.discard(client_exceptions.WSMessageTypeError)
    return sorted(found | {OSError, TimeoutError, ssl.SSLError, EOFError, asyncio.IncompleteReadError}, key=str)


@pytest.mark.parametrize("cls", foreign_classes(), ids=lambda cls: cls.__name__)
async def test_every_foreign_exception_is_mapped(cls: type[Exception]) -> None:
    """No exception class of aiohttp leaves this room as itself."""
    assert issubclass(cls, api_module.FOREIGN_ERRORS)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (aiohttp.ClientPayloadError("x"), "the answer was cut"),
        (http_exceptions.BadHttpMessage("x"), "BadHttpMessage: 400, message: x"),
        (OSError(5, "x"), "OSError: [Errno 5] x"),
        (EOFError(), "EOFError"),
        (UnknownPacking("br"), "the answer is packed in a way that was not asked for: br"),
        (Damaged("x"), "the answer was cut"),
    ],
)
async def test_foreign_exceptions_in_words(error: Exception, words: str) -> None:
    """A foreign exception is told in a sentence, or at least by its name."""
    assert str(network_failure(error)) == words
