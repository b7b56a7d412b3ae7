"""Runs the real pipeline in the test's own process, against an emulated cloud and at a chosen time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from crawler.client.api_options import Timing
from crawler.config.models import AccountSettings, Limits, Secret, Settings
from crawler.crawl.run import RunResult, crawl
from crawler.db.locks import take_locks
from crawler.emulator import EXAMPLE_PRIVATE_KEY, EXAMPLE_PUBLIC_KEY

#: So fast that no test waits for a throttle.
QUICK = Limits(rate=5_000, attempts=2, timeout_seconds=5)


def account_at(endpoint: str, name: str = "prod", **more: Any) -> AccountSettings:
    """Return an account with the emulator's example keys at *endpoint*."""
    return AccountSettings(
        name=name,
        endpoint=endpoint,
        public_key=EXAMPLE_PUBLIC_KEY,
        private_key=Secret(EXAMPLE_PRIVATE_KEY),
        **{"limits": QUICK, **more},
    )


def settings_for(database_url: str, *accounts: AccountSettings, **more: Any) -> Settings:
    """Return settings for *accounts* over the database at *database_url*."""
    defaults: dict[str, Any] = {"timezone": ZoneInfo("Asia/Shanghai"), "stale_after": timedelta(hours=26)}
    return Settings(database=database_url, accounts=accounts, **defaults | more)


def crawl_once(
    engine: Engine,
    settings: Settings,
    at: datetime,
    *,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    **more: Any,
) -> RunResult:
    """Run once; the clock reads *at* in the beginning and goes on from there."""
    zero = time.monotonic()

    def clock() -> datetime:
        return at + timedelta(seconds=time.monotonic() - zero)

    names = [account.name for account in settings.accounts]
    with (
        take_locks(settings.database, names, clock=clock) as fence,
        asyncio.Runner(loop_factory=loop_factory) as runner,
    ):
        return runner.run(crawl(settings, engine, fence, timing=Timing(clock=clock), **more))
