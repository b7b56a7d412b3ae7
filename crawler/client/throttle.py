"""
The account's throttle and the run's retry budget.

The throttle keeps the provider's rule at two levels. The sliding log it inherits from asyncio-throttle stays the hard
bound: at most `rate` requests in any trailing period. On top of it sending is paced evenly on an absolute schedule, a
little below the allowed rate, so that the network's jitter cannot push a server's own window over the bound.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from asyncio_throttle.throttler import Throttler

#: The part of the allowed rate that the schedule uses: room for jitter of 15 ms in a period of one second.
PACE = 0.985
#: How much lost time (a late timer, a busy loop) the schedule makes up for; more is forgone.
CATCH_UP_SECONDS = 0.02
#: Regained per clean period, as a part of the configured rate.
REGAIN = 0.05


class Throttle(Protocol):
    """What paces the requests of an account: alone (`PacedThrottler`), or with others (`shared_throttle`)."""

    @property
    def rate(self) -> float:
        """Return the requests per period allowed now."""
        return 0.0

    @property
    def period(self) -> float:
        """Return the seconds of a period."""
        return 0.0

    async def acquire_by(self, deadline: float | None) -> bool:
        """Wait for a slot and take it; give False, as soon as that is known, when it would come after *deadline*."""

    def pause(self, seconds: float) -> None:
        """Let nothing through for *seconds* from now."""

    def throttled(self) -> None:
        """Note that the provider refused a request as one too many."""


class PacedThrottler(Throttler):
    """
    Lets through at most `rate` requests in any trailing period, evenly and in the order of asking.

    Waiting is one queue whose head alone sleeps, once, until its time; the others cost nothing, and one that is
    cancelled takes no slot. After `throttled()` the rate halves (once per period at most, never below one per period)
    and grows back by 5 % of the configured rate per period without another.
    """

    def __init__(
        self,
        rate_limit: float,
        period: float = 1.0,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        if not (rate_limit > 0 and period > 0):
            raise ValueError("rate and period must be positive")
        super().__init__(_whole(rate_limit), period)
        self._configured = float(rate_limit)
        self._monotonic = monotonic
        self._sleep = sleep
        self._turn = asyncio.Lock()  # wakes its waiters first come, first served
        self._rate = self._configured
        self._due = -math.inf
        self._paused_until = -math.inf
        self._halved_at = -math.inf
        self._clean_since = -math.inf

    @property
    def rate(self) -> float:
        """Return the requests per period allowed now; below the configured rate after `throttled()`."""
        return self._rate

    async def acquire(self) -> None:
        """Wait for a slot and take it."""
        await self.acquire_by(None)

    async def acquire_by(self, deadline: float | None) -> bool:
        """Wait for a slot and take it; give False, as soon as that is known, when it would come after *deadline*."""
        async with self._turn:
            while True:
                now = self._monotonic()
                due = self._next_slot(now)
                if deadline is not None and max(due, now) > deadline:
                    return False
                if due <= now:
                    self._take(due, now)
                    return True
                # Sleeps again only when a pause or a halved rate has moved the slot meanwhile.
                await self._sleep(due - now)

    def pause(self, seconds: float) -> None:
        """Let nothing through for *seconds* from now."""
        self._paused_until = max(self._paused_until, self._monotonic() + seconds)

    def throttled(self) -> None:
        """Note that the provider refused a request as one too many."""
        now = self._monotonic()
        self._clean_since = now
        if now >= self._halved_at + self.period:
            self._halved_at = now
            self._rate = max(min(1.0, self._configured), self._rate / 2)

    def flush(self) -> None:
        """Forget the slots that have left the trailing period."""
        now = self._monotonic()
        while self._task_logs and self._task_logs[0] + self.period <= now:
            self._task_logs.popleft()

    def _next_slot(self, now: float) -> float:
        self.flush()
        self._regain(now)
        due = max(self._due, self._paused_until)
        # The configured rate is the hard bound; a halved one is kept by the pace alone, for a log that holds what the
        # old rate let through would stop everything until half of it has left.
        allowed = _whole(self._configured)
        if len(self._task_logs) >= allowed:
            due = max(due, self._task_logs[-allowed] + self.period)
        return due

    def _take(self, due: float, now: float) -> None:
        self._task_logs.append(now)
        base = now if math.isinf(due) else max(due, now - CATCH_UP_SECONDS)
        self._due = base + self.period / (self._rate * PACE)

    def _regain(self, now: float) -> None:
        # One step at a time: periods in which nothing was sent prove nothing.
        if self._rate < self._configured and now >= self._clean_since + self.period:
            self._clean_since = now
            self._rate = min(self._configured, self._rate + REGAIN * self._configured)


def _whole(rate: float) -> int:
    return sys.maxsize if math.isinf(rate) else max(1, math.floor(rate))


class RetryBudget:
    """How many retries a run may spend, over all its accounts; throttled answers do not count."""

    #: However few the targets are.
    FLOOR = 100

    def __init__(self, targets: int) -> None:
        self.remaining = max(self.FLOOR, targets)

    def take(self) -> bool:
        """Take one retry; False when none is left."""
        if self.remaining <= 0:
            return False
        self.remaining -= 1
        return True
