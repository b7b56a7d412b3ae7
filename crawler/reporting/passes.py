"""
One pass over the reports: after a run, or when a person wants it. The caller holds the locks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Engine

from crawler.fetch import Timing
from crawler.reporting.channels import channels_of
from crawler.reporting.desk import Bounds, Desk
from crawler.reporting.news import look_for_news
from crawler.reporting.sending import Reported, Sending
from crawler.settings import Settings
from crawler.store import outbox, roster
from crawler.store.engine import Fence, read

#: After its deadline a sender ends its last letter, and has surely ended then.
MARGIN = timedelta(minutes=1)

T = TypeVar("T")


async def send_reports(
    settings: Settings,
    engine: Engine,
    fence: Fence,
    *,
    timing: Timing,
    stop: asyncio.Event | None = None,
    run_id: int | None = None,
    is_hurried: bool = False,
    only: Collection[int] | None = None,
) -> Reported:
    """
    Send what waits, and what is new after *run_id* (None: the last run); say how that went.

    With *is_hurried* nothing waits for its schedule or its next try. With *only* just these digests are tried, and
    nothing new is made.
    """
    now = timing.clock()
    seconds = settings.report_deadline_seconds
    with read(engine) as conn:
        accounts = roster.find_accounts(conn, [account.name for account in settings.accounts])
    bounds = Bounds(
        run_id=run_id,
        account_ids=frozenset(accounts.values()),
        until=now + timedelta(seconds=seconds) + MARGIN,
        stale_after=settings.stale_after,
        is_hurried=is_hurried,
        only=None if only is None else frozenset(only),
    )
    with ThreadPoolExecutor(1, thread_name_prefix="database") as thread:

        async def in_thread(work: Callable[..., T], *args: Any) -> T:
            return await asyncio.get_running_loop().run_in_executor(thread, partial(work, *args))

        sending = Sending(
            Desk(engine, fence, timing.clock, bounds),
            channels_of(settings),
            in_thread,
            monotonic=timing.monotonic,
            deadline=timing.monotonic() + seconds,
            stop=stop,
        )
        return await sending.run(settings.reports)


def waiting_reports(settings: Settings, engine: Engine, clock: Callable[[], datetime], *, run_id: int) -> int:
    """Count the reports that have something to tell after *run_id*, and send nothing."""
    count = 0
    with read(engine) as conn:
        for report in settings.reports:
            state = outbox.subscribed(conn, report.name)
            if state is not None:
                news = look_for_news(
                    conn,
                    report.subscription,
                    state,
                    run_id=run_id,
                    now=clock(),
                    stale_after=settings.stale_after,
                    is_hurried=True,
                )
                count += news.digest is not None
    return count
