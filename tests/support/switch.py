"""A dead man's switch on loopback that keeps what it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Switch:
    """The calls in their order: path and body."""

    url: str = ""
    status: int = 200
    calls: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def dead_man_switch() -> Iterator[Switch]:
    """Serve on a free port for a `with` block."""
    switch = Switch()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            switch.calls.append((self.path, body.decode()))
            self.send_response(switch.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    switch.url = f"http://127.0.0.1:{server.server_address[1]}/token-1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield switch
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
