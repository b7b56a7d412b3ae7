"""Whole runs in this process over one history, a quarter of an hour apart by their clock, and what each took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

from sqlalchemy import Engine

from crawler.client.api import ApiClient
from crawler.client.api_options import Endpoint, Timing
from crawler.config.models import AccountSettings, Limits
from tests.benchmarks.load_server import LoadServer
from tests.support.crawling import account_at, crawl_once, settings_for
from tests.support.fetch_bench import fetch_options

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

CONCURRENCY = 16
UNLIMITED = Limits(rate=1e9, attempts=2, timeout_seconds=30, concurrency=CONCURRENCY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """What one run took."""

    seconds: float
    #: Of what the run does in its database, from each call to its end.
    store_seconds: float
    connections: int
    changes: int


@dataclass
class Runs:
    """Runs one after the other."""

    engine: Engine
    url: str
    targets: int
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def run(self, server: LoadServer, *, ca_file: Path | None = None, one_by_one: bool = False) -> Took:
        """
        Run once; every target must answer.

        With *one_by_one* nothing is asked while the database works, which tells what its work takes: beside the asking
        some of that time is waiting for the interpreter, which both threads share.
        """
        self.at += timedelta(minutes=15)
        settings = settings_for(self.url, account_at(server.url, limits=UNLIMITED))
        loops: list[_WatchedLoop] = []

        def make_loop() -> asyncio.AbstractEventLoop:
            loops.append(_WatchedLoop(one_by_one=one_by_one))
            return loops[0]

        server.tally()
        begun = time.perf_counter()
        result = crawl_once(
            self.engine, settings, self.at, connect=partial(_connect, ca_file=ca_file), loop_factory=make_loop
        )
        seconds = time.perf_counter() - begun
        assert result.summary.targets["ok"] == self.targets
        return Took(
            seconds=seconds,
            store_seconds=loops[0].thread_seconds,
            connections=server.tally().connections,
            changes=sum(result.summary.changes.values()),
        )


def _connect(account: AccountSettings, timing: Timing, *, ca_file: Path | None) -> ApiClient:
    limits = account.limits
    endpoint = Endpoint(
        url=account.endpoint,
        public_key=account.public_key,
        private_key=account.private_key.reveal(),
        ca_file=str(ca_file) if ca_file else None,
    )
    options = fetch_options(rate=limits.rate, concurrency=limits.concurrency, attempts=limits.attempts)
    return ApiClient(endpoint, options, timing=timing)


class _WatchedLoop(asyncio.SelectorEventLoop):
    """An event loop that knows what it handed to threads, which is what a run does in its database."""

    def __init__(self, *, one_by_one: bool) -> None:
        super().__init__()
        self._one_by_one = one_by_one
        self.thread_seconds = 0.0

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Hand *func* to a thread, timed; only one works at a time."""
        if executor is None:
            return super().run_in_executor(None, func, *args)

        def timed(*args: *Ts) -> T:
            begun = time.perf_counter()
            try:
                return func(*args)
            finally:
                self.thread_seconds += time.perf_counter() - begun

        if not self._one_by_one:
            return super().run_in_executor(executor, timed, *args)
        future = self.create_future()
        try:
            future.set_result(timed(*args))
        except Exception as error:  # noqa: BLE001 - it is the future's
            future.set_exception(error)
        return future
