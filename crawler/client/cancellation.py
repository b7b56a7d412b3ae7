"""What ends calls early: the run's deadline, a stop from outside, and an account whose credentials were refused."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal, TypeVar

from crawler.errors import CrawlerError

T = TypeVar("T")
CutReason = Literal["deadline", "interrupted", "account_stopped"]

SENTENCES: dict[CutReason, str] = {
    "deadline": "the run's deadline came first",
    "interrupted": "the run was interrupted",
    "account_stopped": "the account was stopped because its credentials were refused",
}

#: How long calls in flight may go on after a stop.
GRACE_SECONDS = 0.5


class Cancelled(CrawlerError):
    """A call was not made, or not waited for, because the run ends."""

    def __init__(self, reason: CutReason) -> None:
        self.reason: CutReason = reason
        super().__init__(SENTENCES[reason])


class CancelScope:
    """Ends what waits at once and what is in flight after a short grace."""

    def __init__(
        self,
        *,
        monotonic: Callable[[], float],
        deadline: float | None = None,
        stop: asyncio.Event | None = None,
    ) -> None:
        self.deadline = deadline
        self.reason: Literal["interrupted", "account_stopped"] | None = None
        self._monotonic = monotonic
        self._stop = stop
        self._waiting: set[asyncio.Timeout] = set()
        self._in_flight: set[asyncio.Timeout] = set()

    def remaining_seconds(self) -> float:
        """Return the time left until the deadline, infinite when there is none."""
        return math.inf if self.deadline is None else self.deadline - self._monotonic()

    def cut_reason(self) -> CutReason | None:
        """Say why nothing more may start; None while it may."""
        if self.reason is None and self._stop is not None and self._stop.is_set():
            self.pull("interrupted", grace_seconds=GRACE_SECONDS)
        return self.reason or ("deadline" if self.remaining_seconds() <= 0 else None)

    def check(self) -> None:
        """Raise Cancelled when nothing more may start."""
        reason = self.cut_reason()
        if reason is not None:
            raise Cancelled(reason)

    def pull(self, reason: Literal["interrupted", "account_stopped"], *, grace_seconds: float | None = None) -> None:
        """Let nothing more start; cut the calls in flight after *grace_seconds*, or leave them alone (None)."""
        if self.reason != "interrupted":
            self.reason = reason
        now = asyncio.get_running_loop().time()
        for scope in self._waiting:
            _hasten(scope, now)
        if grace_seconds is not None:
            for scope in self._in_flight:
                _hasten(scope, now + grace_seconds)

    @asynccontextmanager
    async def watched(self, on_pull: Callable[[], None] = lambda: None) -> AsyncIterator[None]:
        """Watch for the stop while the block runs; *on_pull* is called when it comes."""
        watcher = asyncio.create_task(self._watch(self._stop, on_pull)) if self._stop is not None else None
        try:
            yield
        finally:
            if watcher is not None:
                watcher.cancel()
                await asyncio.gather(watcher, return_exceptions=True)

    async def wait(self, waiting: Awaitable[object]) -> None:
        """Await *waiting*, such as a sleep between two attempts; raise Cancelled when the run is stopped meanwhile."""
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._waiting.add(scope)
                await waiting
        except TimeoutError:
            raise Cancelled(self.reason or "deadline") from None
        finally:
            self._waiting.discard(scope)

    async def call(
        self, slot: Callable[[], Awaitable[bool]], request: Callable[[], Awaitable[T]], timeout_seconds: float
    ) -> T:
        """
        Wait for a *slot*, then make the *request*, for at most *timeout_seconds*.

        Raises Cancelled when the run ends before or meanwhile, TimeoutError when the time is up.
        """
        self.check()
        scope = asyncio.timeout(None)
        ends_at_deadline = False
        try:
            async with scope:
                self._waiting.add(scope)
                if not await slot():
                    raise Cancelled("deadline")
                self._waiting.discard(scope)
                self.check()
                remaining = self.remaining_seconds()
                ends_at_deadline = remaining <= timeout_seconds
                scope.reschedule(asyncio.get_running_loop().time() + min(timeout_seconds, remaining))
                self._in_flight.add(scope)
                return await request()
        except TimeoutError:
            if self.reason == "interrupted" or scope in self._waiting:
                raise Cancelled(self.reason or "deadline") from None
            if ends_at_deadline:
                raise Cancelled("deadline") from None
            raise
        finally:
            self._waiting.discard(scope)
            self._in_flight.discard(scope)

    async def _watch(self, stop: asyncio.Event, on_pull: Callable[[], None]) -> None:
        await stop.wait()
        self.pull("interrupted", grace_seconds=GRACE_SECONDS)
        on_pull()


def _hasten(scope: asyncio.Timeout, when: float) -> None:
    planned = scope.when()
    if not scope.expired() and (planned is None or when < planned):
        scope.reschedule(when)
