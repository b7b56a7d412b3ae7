"""Calls to a dead man's switch that does not behave: slow without an end, or somewhere else by now."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from crawler.ops.healthcheck_ping import Switch
from tests.support.hooks import Call, Reply, hook_server


@contextmanager
def dripping() -> Iterator[tuple[str, list[bytes]]]:
    """Serve somebody who answers a byte at a time, without an end; give the address and what was asked."""
    over = threading.Event()
    asked: list[bytes] = []

    def drip(connection: socket.socket) -> None:
        with connection:
            asked.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Padding: ")
            while not over.wait(0.02):
                connection.sendall(b"a")

    def serve() -> None:
        threads = []
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            threads.append(threading.Thread(target=drip, args=(connection,)))
            threads[-1].start()
        for thread in threads:
            thread.join()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.02)
        server = threading.Thread(target=serve)
        server.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/secret", asked
        finally:
            over.set()
            server.join()


def test_switch_that_drips(caplog: pytest.LogCaptureFixture) -> None:
    """A switch whose answer has no end is given up after one time-out in all, for each call; the log says so."""
    with dripping() as (url, asked), caplog.at_level(logging.INFO, "crawler"):
        switch = Switch(url, timeout_seconds=0.3)
        switch.start()
        switch.end(is_done=True, body="{}")
        requests = [request.partition(b" HTTP")[0] for request in asked]

    assert requests == [b"POST /secret/start", b"POST /secret"]
    assert "the ping done was not answered within 0.3 s" in caplog.messages
    assert "secret" not in caplog.text


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """A redirect is not followed, and told as what it is."""
    with hook_server() as server, hook_server() as other, caplog.at_level(logging.INFO, "crawler"):
        moved = Reply(status=status, headers={"Location": other.url})

        def answer(call: Call) -> Reply:
            return moved

        server.answer = answer
        switch = Switch(server.url)
        switch.end(is_done=False, body="{}")

    assert (len(server.calls), other.calls) == (1, [])
    assert caplog.messages == [
        f"the ping fail was not taken: HTTP {status}, a redirect, and those are not followed",
    ]


def test_user_and_password() -> None:
    """A user and a password in the address go along as HTTP has them, and are no part of the host that is called."""
    with hook_server() as server:
        switch = Switch(server.url.replace("://", "://me:pass%20word@"))
        switch.start()
        switch.end(is_done=True, body="{}")

    assert [call.headers["Authorization"] for call in server.calls] == ["Basic bWU6cGFzcyB3b3Jk"] * 2
    assert server.calls[1].path == server.calls[0].path.removesuffix("/start")
