"""
A real HTTP server on loopback that keeps what is posted to it and answers as a test says.

    with hook_server() as hooks:
        hooks.answer = lambda call: Reply(status=503)
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.support.api_server import listening

#: A path that is as secret as the paths of such services are.
PATH = "/hook/secret-path-51c2"


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request as it arrived."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The body as JSON."""
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the server answers; `hang` answers nothing, `drop` hangs up; `begun`: either after the status."""

    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: bool = False
    drop: bool = False
    begun: bool = False


@dataclass
class HookServer:
    """What was posted, and how to answer."""

    port: int = 0
    scheme: str = "http"
    answer: Callable[[Call], Reply] = lambda call: Reply()
    calls: list[Call] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The address with its secret path."""
        return f"{self.scheme}://127.0.0.1:{self.port}{PATH}"

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Keep a request and answer it."""
        call = Call(path=request.path, headers=dict(request.headers), body=await request.read())
        self.calls.append(call)
        reply = self.answer(call)
        begun = web.StreamResponse(status=reply.status, headers={"Content-Length": "1000"})
        if reply.begun:
            await begun.prepare(request)
            await begun.write(b"{")
        if reply.hang:
            await asyncio.sleep(3600)
        if reply.drop and request.transport is not None:
            request.transport.abort()
        return begun if reply.begun else web.Response(status=reply.status, text=reply.body, headers=dict(reply.headers))


@contextmanager
def hook_server(tls: ssl.SSLContext | None = None) -> Iterator[HookServer]:
    """Serve on a free port of loopback for a `with` block."""
    server = HookServer(scheme="https" if tls else "http")
    ready, over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with listening(server.serve, tls) as server.port:
            ready.set()
            await over.wait()

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=work, name="hooks", daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
