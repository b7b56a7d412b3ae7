"""
A real forward proxy on loopback: forwards plain requests, opens tunnels for CONNECT, and may ask for a password.

    with forward_proxy(names={"api.example.invalid": port}, login="crawler:hunter2") as proxy:
        proxy.requests    # the head of each request as it came

*names* are hosts that only the proxy knows, each with a port of loopback behind it: who goes past the proxy cannot
resolve them.
"""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from crawler.emulator.server import stop_accepting


def port_of(url: str) -> int:
    """Return the port in *url*."""
    return urlsplit(url).port or 0


@dataclass
class ForwardProxy:
    """What it was asked, and how it behaves."""

    names: Mapping[str, int]
    login: str = ""
    port: int = 0
    #: Answer every request with this status instead of serving it.
    refuse: int = 0
    #: Answer nothing.
    hang: bool = False
    #: The words and the page that go with a refusal; both get the request's head.
    reason: Callable[[str], str] = lambda _: "No"
    page: Callable[[str], str] = lambda _: "<html>the proxy's own page</html>"
    requests: list[str] = field(default_factory=list)
    _open: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address, as a user without a password writes it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url_with_login(self) -> str:
        """Its address with user and password."""
        return f"http://{self.login}@127.0.0.1:{self.port}"

    @property
    def targets(self) -> list[str]:
        """Method and target of each request."""
        return [" ".join(head.split(" ", 2)[:2]) for head in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self._open.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._serve(reader, writer)
        writer.close()

    async def close(self) -> None:
        """End every connection."""
        for writer in self._open:
            writer.transport.abort()
        await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.requests.append(head)
            first, *lines = head.rstrip().split("\r\n")
            method, target, _ = first.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            if self.hang:
                await asyncio.sleep(3600)
            status = self.refuse or (0 if self._is_welcome(headers) else 407)
            if status:
                page = self.page(head).encode()
                first = f"HTTP/1.1 {status} {self.reason(head)}"
                writer.write(f"{first}\r\nContent-Length: {len(page)}\r\n\r\n".encode() + page)
                continue
            address = urlsplit(target if "://" in target else f"//{target}")
            if address.hostname not in self.names:
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                continue
            there, here = await asyncio.open_connection("127.0.0.1", self.names[address.hostname or ""])
            self._open.append(here)
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                kept = [line for line in lines if not line.lower().startswith(("proxy-", "connection:"))]
                path = address._replace(scheme="", netloc="").geturl() or "/"
                head = "\r\n".join([f"{method} {path} HTTP/1.1", *kept, "Connection: close"])
                here.write(head.encode("latin-1") + b"\r\n\r\n" + body)
            await asyncio.gather(_copy(reader, here), _copy(there, writer))
            return

    def _is_welcome(self, headers: Mapping[str, str]) -> bool:
        expected = "Basic " + base64.b64encode(self.login.encode()).decode()
        return not self.login or headers.get("proxy-authorization") == expected


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextmanager
def forward_proxy(*, names: Mapping[str, int] | None = None, login: str = "") -> Iterator[ForwardProxy]:
    """Serve on a free port of loopback for a `with` block."""
    proxy = ForwardProxy(names=names or {}, login=login)
    loop = asyncio.new_event_loop()
    ready, over = threading.Event(), asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        ready.set()
        await over.wait()
        await stop_accepting(*server.sockets)
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await proxy.close()

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=work, name="proxy", daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
