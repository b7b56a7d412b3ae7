"""
The emulated cloud's server: requests in, answers out, each logged; in the caller's loop or in a thread of its own.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from asyncio.trsock import TransportSocket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple

from aiohttp import web

from crawler.emulator.gateway import Gateway, decode
from crawler.emulator.responses import Answers, RefusedRequest, refusal_body
from crawler.emulator.scenario import EmulatedAccount, Fault, Timeline, World

_HTML = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_JSON_TYPE = "application/json; charset=utf-8"
_HTML_TYPE = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorOptions:
    """Where the server listens, and how it behaves apart from the timeline."""

    host: str = "127.0.0.1"
    #: 0 takes a free one.
    port: int = 0
    #: Instead of the timeline's.
    accounts: tuple[EmulatedAccount, ...] = ()
    #: Accepted requests per account and period; more answer 153. None: no limit.
    rate: float | None = None
    period_seconds: float = 1.0
    #: Added to every answer.
    latency_ms: float = 0.0
    keep_log: bool = True
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False)


class EmulatorServer:
    """
    The emulated API on a socket: `async with EmulatorServer(timeline) as server`, then `server.url`.

    `step` may be read and set, and the log read, from any thread.
    """

    def __init__(
        self,
        timeline: Timeline,
        options: EmulatorOptions | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.options = options or EmulatorOptions()
        self.timeline = timeline
        self.url = ""
        #: TCP connections accepted since the start.
        self.connections_opened = 0
        self.log: list[LoggedRequest] = []
        self._monotonic = monotonic
        self._sleep = sleep
        self._gateway = Gateway(
            self.options.accounts or timeline.accounts,
            rate=self.options.rate,
            period_seconds=self.options.period_seconds,
        )
        #: Set once a request was admitted: its key is known and its signature right.
        self.was_asked = asyncio.Event()
        self._requests = 0
        self._step = 0
        self._closing = asyncio.Event()
        self._web: web.Server | None = None
        self._listener: asyncio.Server | None = None
        self.step = 1

    @property
    def accounts(self) -> tuple[EmulatedAccount, ...]:
        """The accounts that may ask."""
        return self._gateway.accounts

    @property
    def world(self) -> World:
        """What the cloud shows now."""
        return self._answers.world

    @property
    def step(self) -> int:
        """The step the cloud is at, from 1; setting it starts that step anew (attempts count from 1 again)."""
        return self._step

    @step.setter
    def step(self, step: int) -> None:
        self._answers = Answers(self.timeline.world(step))
        #: By the signature, which is the same for the same question of an account and for no other.
        self._attempts: Counter[str] = Counter()
        self._step = step

    def advance(self) -> int:
        """Go to the next step, or stay at the last; give the step's number."""
        if self._step < len(self.timeline.worlds):
            self.step = self._step + 1
        return self._step

    def play(self, timeline: Timeline) -> None:
        """Show another *timeline* from its first step on; the accounts stay as they are."""
        self.timeline = timeline
        self.step = 1

    async def __aenter__(self) -> EmulatorServer:
        """Listen, and know the URL."""
        loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        self._web = web.Server(self._handle, access_log=None, handler_cancellation=True)
        self._listener = await loop.create_server(
            self._accept, self.options.host, self.options.port, ssl=self.options.ssl_context, backlog=1024
        )
        host, port = self._listener.sockets[0].getsockname()[:2]
        scheme = "https" if self.options.ssl_context else "http"
        self.url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the socket, end what hangs, and wait until nothing is left."""
        self._closing.set()
        if self._listener is not None and self._web is not None:
            await stop_accepting(*self._listener.sockets)
            self._listener.close()
            await close_connections(self._web)
            await self._listener.wait_closed()
        self._listener = self._web = None

    def _accept(self) -> asyncio.Protocol:
        self.connections_opened += 1
        assert self._web is not None  # noqa: S101 - only called while listening
        return self._web()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        arrived = self._monotonic()
        self._requests += 1
        headers = request.headers
        body = await request.read() if request.can_read_body else b""
        params = decode(request.rel_url.raw_query_string, body, headers.get("Content-Type", ""))
        exchange = Exchange(
            arrived=arrived,
            step=self._step,
            action=str(params.get("Action", "")),
            request_uuid=f"e3a1c0de-0000-4000-8000-{self._requests:012x}",
            user_agent=headers.get("User-Agent", ""),
            params=params,
        )
        try:
            return await self._perform(request, exchange)
        except asyncio.CancelledError:
            # The client gave up, or the server closes: the request was made all the same.
            if not exchange.is_logged:
                self._write_log(exchange, None, 0)
            raise

    async def _perform(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        answers = self._answers
        try:
            account, flat = self._gateway.admit(
                exchange.params,
                channel_key=request.headers.get("channel-key"),
                authorization=request.headers.get("Authorization"),
                now=exchange.arrived,
            )
        except RefusedRequest as refusal:
            known = self._gateway.account_of(exchange.params)
            exchange.account = "" if known is None else known.name
            await self._delay(self.options.latency_ms)
            return self._refuse(exchange, refusal)
        self.was_asked.set()
        exchange.account, exchange.params = account.name, flat
        self._attempts[flat["Signature"]] += 1
        exchange.attempt = self._attempts[flat["Signature"]]
        fault = self._fault(exchange, account, answers) if answers.world.faults else None
        await self._delay(self.options.latency_ms)
        if fault is not None:
            await self._delay(fault.latency_ms or 0)
            if fault.effect != "delay":
                return await self._fail(request, exchange, fault, account, answers)
        try:
            body = answers.body(exchange.action, account, flat)
        except RefusedRequest as refusal:
            return self._refuse(exchange, refusal)
        return self._respond(exchange, body, ret_code=0)

    async def _delay(self, milliseconds: float) -> None:
        if milliseconds:
            await self._sleep(milliseconds / 1000)

    def _fault(self, exchange: Exchange, account: EmulatedAccount, answers: Answers) -> Fault | None:
        params, attempt = exchange.params, exchange.attempt
        about_project = exchange.action not in ("GetRegion", "GetProjectList")
        project = answers.project_of(account, params) if about_project else params.get("ProjectId", "")
        for fault in answers.world.faults:
            if (not fault.attempts or attempt in fault.attempts) and fault.hits(
                account=exchange.account,
                action=exchange.action,
                project=project,
                params=params,
            ):
                return fault
        return None

    def _refuse(self, exchange: Exchange, refusal: RefusedRequest) -> web.Response:
        return self._respond(
            exchange, refusal_body(exchange.action, refusal.ret_code, refusal.message), ret_code=refusal.ret_code
        )

    async def _fail(
        self,
        request: web.BaseRequest,
        exchange: Exchange,
        fault: Fault,
        account: EmulatedAccount,
        answers: Answers,
    ) -> web.StreamResponse:
        status = fault.status or 200
        extra = {"Retry-After": fault.retry_after} if fault.retry_after is not None else {}
        if fault.effect == "ret_code" and fault.ret_code is not None:
            body = refusal_body(exchange.action, fault.ret_code, fault.message)
            return self._respond(exchange, body, ret_code=fault.ret_code, status=status, extra=extra)
        if fault.effect == "images" and fault.images is not None:
            return self._respond(exchange, answers.lie(exchange.action, fault.images, exchange.params), ret_code=0)
        if fault.effect == "cut":
            return await self._cut(request, exchange, account, answers)
        if fault.effect in ("drop", "hang"):
            self._write_log(exchange, None, 0)
            if fault.effect == "hang":
                # Ends with the client (the task is cancelled then) or with the server.
                await self._closing.wait()
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        body, content_type = {
            "status": (_HTML.replace(b"502 Bad Gateway", str(status).encode()), _HTML_TYPE),
            "html": (_HTML, _HTML_TYPE),
            "body": ((fault.body or "").encode("utf-8", "surrogatepass"), "text/plain; charset=utf-8"),
        }.get(fault.effect, (b"", _JSON_TYPE))
        return self._respond(exchange, body, ret_code=None, status=status, extra=extra, content_type=content_type)

    async def _cut(
        self, request: web.BaseRequest, exchange: Exchange, account: EmulatedAccount, answers: Answers
    ) -> web.StreamResponse:
        try:
            body = answers.body(exchange.action, account, exchange.params)
        except RefusedRequest as refusal:
            body = refusal_body(exchange.action, refusal.ret_code, refusal.message)
        response = web.StreamResponse(headers=self._headers(exchange, _JSON_TYPE))
        response.content_length = len(body)
        self._write_log(exchange, None, 200)
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.close()
        return response

    def _respond(
        self,
        exchange: Exchange,
        body: bytes,
        *,
        ret_code: int | None,
        status: int = 200,
        extra: Mapping[str, str] | None = None,
        content_type: str = _JSON_TYPE,
    ) -> web.Response:
        self._write_log(exchange, ret_code, status)
        headers = self._headers(exchange, content_type)
        if extra:
            headers.update(extra)
        return web.Response(body=body, status=status, headers=headers)

    @staticmethod
    def _headers(exchange: Exchange, content_type: str) -> dict[str, str]:
        return {"Content-Type": content_type, "X-UCLOUD-REQUEST-UUID": exchange.request_uuid}

    def _write_log(self, exchange: Exchange, ret_code: int | None, status: int) -> None:
        exchange.is_logged = True
        if self.options.keep_log:
            self.log.append(exchange.logged(ret_code, status))


_SECRETS = frozenset({"PublicKey", "Signature", "PrivateKey", "SecurityToken", "Password"})


async def stop_accepting(*listening: socket.socket | TransportSocket) -> None:
    """
    Accept no more connections of the *listening* sockets, and let those that were accepted reach their handlers.

    A server that is closed in between loses them: the event loop then refuses to attach them, and leaves them open.
    """
    for each in listening:
        asyncio.get_running_loop().remove_reader(each.fileno())
    await _few_turns()


async def close_connections(server: web.Server) -> None:
    """End every connection of *server*, also one whose client does not read what is still to be written."""
    transports = [handler.transport for handler in server.connections]
    await server.shutdown(timeout=0.1)
    for transport in transports:
        if transport is not None:
            transport.abort()
    await _few_turns()


async def _few_turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class LoggedRequest(NamedTuple):
    """One request as it arrived, without keys and signatures."""

    #: Monotonic seconds, when the headers were in.
    at: float
    step: int
    account: str
    action: str
    project: str
    region: str
    zone: str
    #: 1 for the first request of its target in this step; 0 where the request did not get that far.
    attempt: int
    #: None where the answer had none (a fault of HTTP or of the connection).
    ret_code: int | None
    #: 0 where there was none: the connection was closed, or the client gave up.
    status: int
    request_uuid: str
    user_agent: str
    #: The rest of the parameters, flat.
    params: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Exchange:
    """What is known of a request while it is answered."""

    arrived: float
    step: int
    action: str
    request_uuid: str
    user_agent: str
    params: dict[str, Any]
    account: str = ""
    attempt: int = 0
    is_logged: bool = False

    def logged(self, ret_code: int | None, status: int) -> LoggedRequest:
        """Return the line of the log, without keys and signatures."""
        params = {name: str(value) for name, value in self.params.items() if name not in _SECRETS}
        return LoggedRequest(
            at=self.arrived,
            step=self.step,
            account=self.account,
            action=self.action,
            project=params.get("ProjectId", ""),
            region=params.get("Region", ""),
            zone=params.get("Zone", ""),
            attempt=self.attempt,
            ret_code=ret_code,
            status=status,
            request_uuid=self.request_uuid,
            user_agent=self.user_agent,
            params=params,
        )


@contextmanager
def run_in_thread(
    timeline: Timeline,
    options: EmulatorOptions | None = None,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Iterator[EmulatorServer]:
    """Run a server in a thread with its own event loop, for callers that have none; it is gone when the block ends."""
    server = EmulatorServer(timeline, options, sleep=sleep)
    started = threading.Event()
    failures: list[BaseException] = []
    ends: list[Callable[[], object]] = []

    async def serve() -> None:
        end = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with server:
            ends.append(lambda: loop.call_soon_threadsafe(end.set))
            started.set()
            await end.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as exc:  # noqa: BLE001 - handed to the caller below
            failures.append(exc)
        finally:
            started.set()

    thread = threading.Thread(target=run, name="emulator", daemon=True)
    thread.start()
    started.wait()
    try:
        if not failures:
            yield server
    finally:
        for end in ends:
            end()
        thread.join()
    if failures:
        raise failures[0]
