"""The same simulation over real sockets: the emulator's server, real threads, a clock faster than ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from crawler.client.api_options import Timing
from crawler.config.models import AccountSettings, Limits
from crawler.crawl.run import RunResult
from crawler.emulator import EmulatorServer, Timeline
from tests.simulation.cloud import Cloud, Witness
from tests.simulation.model import Model
from tests.simulation.run import START, Simulation, client_options
from tests.simulation.world import Plan
from tests.support.crawling import account_at

#: How much faster waits go by here.
SPEED = 50.0


class SocketSimulation(Simulation):
    """A simulation whose calls go through a server."""

    def __init__(self, engine: Engine, server: EmulatorServer, model: Model, *, seed: int = 0) -> None:
        super().__init__(engine, model, seed=seed)
        self._server = server
        self._zero = time.monotonic()
        self._skipped = 0.0

    def clock(self) -> datetime:
        """Return the time."""
        return START + timedelta(seconds=self._monotonic())

    def advance(self, seconds: float) -> None:
        """Let time pass without waiting."""
        self._skipped += seconds

    def timing(self) -> Timing:
        """Return a time in which one waits shortly."""
        return Timing(
            clock=self.clock,
            monotonic=self._monotonic,
            sleep=lambda seconds: asyncio.sleep(seconds / SPEED),
            uniform=self._rng.uniform,
        )

    def account(self) -> AccountSettings:
        """Return an account at the server."""
        return account_at(self._server.url, limits=Limits(rate=500, concurrency=8, attempts=2, timeout_seconds=1.5))

    def client(self, account: AccountSettings, timing: Timing, cloud: Cloud) -> Witness:
        """Return a client that speaks HTTP."""
        return Witness(*client_options(account), timing=timing).observed_by(cloud)

    def play(self, crawling: Coroutine[Any, Any, RunResult], cloud: Cloud) -> RunResult:
        """Show the server the model as it is now, and run over it in an event loop of its own."""
        self._server.play(replace(self._server.timeline, worlds=(cloud.world,)))
        return asyncio.run(crawling)

    def _monotonic(self) -> float:
        return self._skipped + SPEED * (time.monotonic() - self._zero)


def over_sockets(plan: Plan) -> Plan:
    """Return *plan* without what needs a time of its own: deaths at exact moments, long waits, answers that differ."""
    faults = tuple(
        fault
        if id(fault) in plan.lies and not fault.attempts
        else fault.model_copy(update={"retry_after": None, "latency_ms": None})
        for fault in plan.faults
        if fault.effect != "images" or not fault.attempts
    )
    return replace(plan, faults=faults, dies_at=None, cancelled_after=None, stopped_after=None, meanwhile=())


def empty_timeline() -> Timeline:
    """Return a timeline to start a server with."""
    return Timeline(worlds=(Model().emulated(),))
