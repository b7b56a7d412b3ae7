"""A small real API server for tests of the fetch room: it logs what arrives and answers what a function says."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl

from aiohttp import web

from crawler.emulator.server import close_connections, stop_accepting


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One request as the server saw it."""

    at: float
    params: Mapping[str, str]
    headers: Mapping[str, str]
    peer: str

    @property
    def action(self) -> str:
        return self.params.get("Action", "")

    @property
    def zone(self) -> str:
        return self.params.get("Zone", "")

    @property
    def region(self) -> str:
        return self.params.get("Region", "")


Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def listening(serve: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Answer HTTP with *serve* on a free port of loopback, which is yielded; no connection outlives the block."""
    runner = web.ServerRunner(web.Server(serve, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    sock = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, sock, ssl_context=tls).start()
    try:
        yield sock.getsockname()[1]
    finally:
        await stop_accepting(sock)
        assert runner.server is not None
        await close_connections(runner.server)
        await runner.cleanup()


Responder = Callable[[Arrival], Awaitable[web.StreamResponse] | web.StreamResponse | Mapping[str, Any]]


@dataclass
class ApiServer:
    """Serves on loopback while its context is open."""

    respond: Responder
    log: list[Arrival] = field(default_factory=list)
    url: str = ""
    in_flight: int = 0
    most_in_flight: int = 0
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> Self:
        """Start serving on a free port."""
        port = await self._stack.enter_async_context(listening(self._serve))
        self.url = f"http://127.0.0.1:{port}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop serving."""
        await self._stack.aclose()

    @property
    def connections(self) -> int:
        return len({arrival.peer for arrival in self.log})

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.text()
        peer = request.transport.get_extra_info("peername") if request.transport else None
        arrival = Arrival(
            at=time.monotonic(), params=dict(parse_qsl(body)), headers=dict(request.headers), peer=str(peer)
        )
        self.log.append(arrival)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            answer = self.respond(arrival)
            # A response of aiohttp is a mapping too, so it is asked first.
            if isinstance(answer, web.StreamResponse):
                return answer
            return answer_json(answer) if isinstance(answer, Mapping) else await answer
        finally:
            self.in_flight -= 1


def answer_json(document: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return *document* as the API answers it."""
    return web.Response(
        status=status,
        text=json.dumps(document),
        content_type="application/json",
        headers={"X-UCLOUD-REQUEST-UUID": "uuid-1", **(headers or {})},
    )


def images(arrival: Arrival) -> Mapping[str, Any]:
    """Answer DescribeUK8SImage with one image named after the zone."""
    row = {"ImageId": f"uimage-{arrival.zone}", "ImageName": "Ubuntu", "NotSupportGPU": False, "ZoneId": 1}
    return {"RetCode": 0, "Action": "DescribeUK8SImageResponse", "ImageSet": [row], "Message": ""}
