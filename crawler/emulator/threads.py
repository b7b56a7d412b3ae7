"""A thread to run the server in, for callers without an event loop: the demo, and tests of synchronous clients."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from crawler.emulator.server import EmulatorOptions, EmulatorServer
from crawler.emulator.timeline import Timeline


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
