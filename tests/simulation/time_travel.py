"""
An event loop whose time passes only when nobody has anything to do: a 65 s time-out costs nothing.

Work for the database thread is done in place, so that a seed plays the same way every time; its result arrives a little
later, as it would from a thread.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

#: How long the database takes for anything; no time at all is the hardest for whoever waits for two things at once.
DATABASE_SECONDS = (0.0, 0.0, 0.001, 0.004, 0.05)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class TimeTravel(asyncio.SelectorEventLoop):
    """An event loop with a time of its own; no socket is ever looked at."""

    def __init__(self, rng: random.Random) -> None:
        self._now = 0.0
        self._rng = rng
        super().__init__(_Jumper(self.advance))

    def time(self) -> float:
        """Return the seconds since the loop was made."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass."""
        # A little more, so that no rounding keeps the next timer waiting for ever.
        self._now += seconds + 1e-7

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Do the work at once, and let its result arrive later."""
        future: asyncio.Future[T] = self.create_future()
        seconds = self._rng.choice(DATABASE_SECONDS)
        try:
            result = func(*args)
        except BaseException as exc:  # noqa: BLE001 - arrives where the result would
            self.call_later(seconds, _unless_done, future, future.set_exception, exc)
        else:
            self.call_later(seconds, _unless_done, future, future.set_result, result)
        return future


def _unless_done(future: asyncio.Future[Any], settle: Callable[[Any], None], value: Any) -> None:
    if not future.done():
        settle(value)


class _Jumper(selectors.SelectSelector):
    """Where a selector would wait for sockets, time passes instead."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        super().__init__()
        self._advance = advance

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Let *timeout* seconds pass; nobody waits for anything else."""
        if timeout is None:
            raise AssertionError("everybody waits, and nothing will ever happen")
        if timeout > 0:
            self._advance(timeout)
        return []
