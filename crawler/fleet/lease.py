"""
How long a worker may believe that its accounts are its own: as long as its session was heard of lately.

Others evict a worker after `evict_after` of silence. One that stood still, or cannot reach the database, stops sending
sooner than that by its own clock, and sends again when its session has proved to live; if it does not, its runs end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from crawler.client.throttle import Throttle

#: The part of `evict_after` for which a worker that hears nothing goes on sending.
PART = 0.8


def boot_seconds() -> float:
    """Return a clock that goes on while the machine is suspended, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Lease:
    """Whether requests may be sent; renewed by each sign of life of the session that holds the locks."""

    def __init__(self, seconds: float, *, monotonic: Callable[[], float] = boot_seconds) -> None:
        self.monotonic = monotonic
        self._seconds = seconds * PART
        self._until = float("-inf")
        self._renewed = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Return whether a request may be sent now."""
        return self.monotonic() < self._until

    def renew(self, since: float) -> None:
        """Begin anew: the session was alive after *since*, when it was asked."""
        self._until = since + self._seconds
        renewed, self._renewed = self._renewed, asyncio.Event()
        renewed.set()

    def end(self) -> None:
        """Let nothing be sent until the next sign of life."""
        self._until = float("-inf")

    async def opened(self) -> None:
        """Wait until requests may be sent again."""
        while not self.is_open:
            await self._renewed.wait()


class LeasedThrottle:
    """The throttle of an account, as long as the lease lasts."""

    def __init__(self, throttle: Throttle, lease: Lease) -> None:
        self._throttle = throttle
        self._lease = lease

    @property
    def rate(self) -> float:
        """Return the requests per period allowed now."""
        return self._throttle.rate

    @property
    def period(self) -> float:
        """Return the seconds of a period."""
        return self._throttle.period

    async def acquire_by(self, deadline: float | None) -> bool:
        """Wait for a slot and for the lease; give False, as soon as that is known, when it would come too late."""
        while await self._throttle.acquire_by(deadline):
            if self._lease.is_open:
                return True
            await self._lease.opened()  # a slot from before says nothing now
        return False

    def pause(self, seconds: float) -> None:
        """Let nothing through for *seconds* from now."""
        self._throttle.pause(seconds)

    def throttled(self) -> None:
        """Note that the provider refused a request as one too many."""
        self._throttle.throttled()
