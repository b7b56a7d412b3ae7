"""
The throttle of accounts that share a rate with others, in this process or on other hosts.

The slots come from one place, half a second's worth at a time, and are mapped from that place's clock to this
process's by the middle of the way there and back. They are asked for with so much lead as an answer takes, or those of
a place far away would have passed when they come. A slot that passed unused is forgone: whoever stood still does not
catch up. Where no slots can be had no request is sent.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from crawler.client.api_options import Timing
from crawler.errors import CrawlerError

#: The part of the allowed rate that is given out as slots. Nobody sees what the others send, so no log keeps the bound
#: as it does for an account's own throttle: of a slot that is used late, the second that begins then has one more. At
#: 200 a second this leaves 30 ms from a slot to the server's seeing it, and 2.5 % for slots that are forgone.
SHARED_PACE = 0.975
#: How late a slot may be used: the way to the next, of which a second has one more at most, within these bounds.
SHORTEST_CATCH_UP, LONGEST_CATCH_UP = 0.010, 0.050
#: How much of the budget one process takes at a time; more where an answer takes longer.
AHEAD_SECONDS = 0.5
#: How long before its last slot the next are asked for, beside twice the time of an answer: a slow one shall find them
#: still to come.
EARLY_SECONDS = 0.1
#: For how long the clocks count as compared.
MEASURED_SECONDS = 10.0


class Given(Protocol):
    """Slots as they were given, by another clock, in seconds."""

    @property
    def first(self) -> float:
        """Return the first one's moment."""
        return 0.0

    @property
    def distance(self) -> float:
        """Return how far one is from the next."""
        return 0.0

    @property
    def count(self) -> int:
        """Return how many they are."""
        return 0

    @property
    def now(self) -> float:
        """Return what that clock showed."""
        return 0.0

    @property
    def rate(self) -> float:
        """Return the requests per period that are allowed now."""
        return 0.0


class SharedThrottler:
    """Lets through what slots of a shared budget it was given, evenly and in the order of asking."""

    def __init__(
        self,
        rate: float,
        period: float,
        *,
        take: Callable[[int, float], Awaitable[Given]],
        halve: Callable[[float], Awaitable[float]],
        timing: Timing,
    ) -> None:
        """
        Take the configured *rate* per *period*, and how slots are taken and the rate is halved.

        *take* is given how many, and how far the first of them lies ahead at least.
        *halve* is given until when, by the other clock, nobody shall send (0: no matter), and gives the rate.
        """
        self._configured = rate
        self._rate = rate
        self._period = period
        self._take = take
        self._halve = halve
        self._timing = timing
        self._turn = asyncio.Lock()  # wakes its waiters first come, first served
        self._slots: list[float] = []
        self._used = 0
        self._waiting = 0
        self._catch_up = SHORTEST_CATCH_UP
        self._ahead = 0.0
        self._paused_until = 0.0
        self._coming: asyncio.Task[Given] | None = None
        self._shortest = math.inf
        self._measured_at = -math.inf
        self._telling = set[asyncio.Task[None]]()

    @property
    def rate(self) -> float:
        """Return the requests per period allowed to all together, as of the last answer."""
        return self._rate

    @property
    def period(self) -> float:
        """Return the seconds of a period."""
        return self._period

    async def acquire_by(self, deadline: float | None) -> bool:
        """Wait for a slot and take it; give False, as soon as that is known, when it would come after *deadline*."""
        self._waiting += 1
        try:
            if not await self._is_my_turn_by(deadline):
                return False
            try:
                while True:
                    due = await self._next_slot(deadline)
                    now = self._timing.monotonic()
                    if deadline is not None and max(due, now) > deadline:
                        return False
                    if due <= now:
                        self._slots.pop(0)
                        self._used += 1
                        return True
                    await self._timing.sleep(due - now)
            finally:
                self._turn.release()
        finally:
            self._waiting -= 1

    async def _is_my_turn_by(self, deadline: float | None) -> bool:
        """Wait for the turn, which is to be released; give False where who has it may wait until after *deadline*."""
        try:
            async with asyncio.timeout(None if deadline is None else deadline - self._timing.monotonic()):
                return await self._turn.acquire()
        except TimeoutError:
            return False

    def pause(self, seconds: float) -> None:
        """Let nothing through for *seconds* from now, in this process and elsewhere."""
        self._paused_until = max(self._paused_until, self._timing.monotonic() + seconds)
        self._tell(self._paused_until + self._ahead)

    def throttled(self) -> None:
        """Note that the provider refused a request as one too many: the rate halves for everybody."""
        self._rate = max(min(1.0, self._configured), self._rate / 2)
        self._tell(0.0)

    async def close(self) -> None:
        """Wait for what is on its way."""
        if self._coming is not None:
            await asyncio.gather(self._coming, return_exceptions=True)
        await asyncio.gather(*self._telling, return_exceptions=True)

    async def _next_slot(self, deadline: float | None) -> float:
        """
        Return the moment of the next slot, which stays the first of `_slots` until it is popped.

        During a pause that ends after *deadline* it is the end of the pause, and there is no slot; nor is there one
        where the deadline passed while none could be had in time.
        """
        while True:
            now = self._timing.monotonic()
            while self._slots and self._slots[0] < max(now - self._catch_up, self._paused_until):
                self._slots.pop(0)
            if self._slots:
                early = EARLY_SECONDS + 2 * self._lead
                if self._coming is None and self._waiting > len(self._slots) and self._slots[-1] - now < early:
                    self._ask()
                return self._slots[0]
            if deadline is not None and now > deadline:
                return now
            if now < self._paused_until:
                if deadline is not None and self._paused_until > deadline:
                    return self._paused_until
                await self._timing.sleep(self._paused_until - now)
                continue
            coming = self._coming
            if coming is None or (coming.done() and coming.exception() is not None):
                coming = self._ask()  # what was asked for early may have failed long ago
            try:
                given = await asyncio.shield(coming)  # who waits no longer leaves them to the next
            finally:
                if coming.done():
                    self._coming = None
            self._map(given)

    @property
    def _lead(self) -> float:
        """Return how long an answer takes at the least: what lies nearer has passed when it comes."""
        return self._shortest if math.isfinite(self._shortest) else 0.0

    def _ask(self) -> asyncio.Task[Given]:
        """Ask for as many slots as half a second seems to need: twice what was used of the last ones, at most."""
        most = max(1, int(self._rate / self._period * max(AHEAD_SECONDS, self._lead)))
        count = min(most, max(self._waiting, 2 * self._used, 1))
        self._used = 0
        self._coming = asyncio.create_task(self._asked(count))
        return self._coming

    async def _asked(self, count: int) -> Given:
        before = self._timing.monotonic()
        given = await self._take(count, self._lead)
        after = self._timing.monotonic()
        # The middle is the more exact the sooner the answer came; of the last seconds the soonest counts.
        if after - before <= self._shortest or after > self._measured_at + MEASURED_SECONDS:
            self._shortest, self._measured_at = after - before, after
            self._ahead = given.now - (before + after) / 2
        return given

    def _map(self, given: Given) -> None:
        self._rate = given.rate
        self._catch_up = min(max(given.distance, SHORTEST_CATCH_UP), LONGEST_CATCH_UP)
        self._slots += [given.first + number * given.distance - self._ahead for number in range(given.count)]

    def _tell(self, paused_until: float) -> None:
        task = asyncio.create_task(self._told(paused_until))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _told(self, paused_until: float) -> None:
        with suppress(CrawlerError):  # who cannot tell the others gets no further slots either
            self._rate = await self._halve(paused_until)
