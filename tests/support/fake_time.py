"""Time that passes only when somebody sleeps."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from crawler.client.api_options import Timing

START = datetime(2026, 6, 1, tzinfo=UTC)


class FakeTime:
    """A wall clock and a monotonic clock that agree; `sleep` moves both at once."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def clock(self) -> datetime:
        return START + timedelta(seconds=self.now)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        # Another task may have moved the clock meanwhile, as real sleepers' times overlap.
        until = self.now + seconds
        await asyncio.sleep(0)
        self.now = max(self.now, until)

    def timing(self, jitter: float = 1.0) -> Timing:
        """Return it as the fetch room takes it; *jitter* is where in its range every random wait falls (0–1)."""
        return Timing(
            clock=self.clock,
            monotonic=self.monotonic,
            sleep=self.sleep,
            uniform=lambda low, high: low + (high - low) * jitter,
        )
