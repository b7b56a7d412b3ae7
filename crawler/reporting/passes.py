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

from sqlalchemy import Connection, Engine

from crawler.client.options import Timing
from crawler.config.models import ReportSettings, Settings
from crawler.db import outbox, targets
from crawler.db.engine import Fence, begin, read
from crawler.report.values import Digest
from crawler.reporting.channels import channels_of
from crawler.reporting.desk import Bounds, Desk
from crawler.reporting.news import digest_since, look_for_news
from crawler.reporting.sending import Reported, Sending

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
    holds_all: bool = False,
) -> Reported:
    """
    Send what waits, and what is new after *run_id* (None: the last run); say how that went.

    With *is_hurried* nothing waits for its schedule or its next try. With *only* just these digests are tried, and
    nothing new is made. *holds_all*: the locks are those of the whole database, not of the configured accounts alone.
    """
    now = timing.clock()
    seconds = settings.report_deadline_seconds
    with read(engine) as conn:
        names = None if holds_all else [account.name for account in settings.accounts]
        account_ids = targets.find_accounts(conn, names).values()
    bounds = Bounds(
        run_id=run_id,
        account_ids=frozenset(account_ids),
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
            channels_of(settings, timing.clock),
            in_thread,
            monotonic=timing.monotonic,
            deadline=timing.monotonic() + seconds,
            stop=stop,
        )
        return await sending.run(settings.reports)


def tell_again(settings: Settings, engine: Engine, fence: Fence, now: datetime, *, since: datetime) -> list[int]:
    """
    Compose for each report a digest of what was recorded since a moment, told or not; give the ids of the digests.

    What the reports have been told stays as it is. They are sent by `send_reports(…, only=ids)`.
    """
    channels = channels_of(settings, lambda: now)
    ids: list[int] = []
    for report in settings.reports:
        with read(engine) as conn:
            state = outbox.subscribed(conn, report.name)
            digest = digest_since(conn, report.subscription, since, now=now, stale_after=settings.stale_after)
        if digest is None or state is None:
            continue
        channel = channels[report.way]
        letter = channel.compose(digest, report.to, now, copy=f"{int(now.timestamp())}")
        with begin(engine, fence) as conn:
            digest_id = outbox.add_digest(
                conn,
                state.subscription_id,
                kind="again",
                channel=report.channel,
                runs=(digest.first_run, digest.last_run),
                message_id=letter.message_id,
                subject=letter.subject,
                content=letter.content,
                recipients=channel.addresses(report.to),
                queued_at=now,
                now=now,
            )
        ids.append(digest_id)
    return ids


def preview(
    settings: Settings, conn: Connection, now: datetime, *, since: datetime | None = None
) -> list[tuple[ReportSettings, Digest]]:
    """Give what each report would be told now, or of everything *since* a moment; those with nothing are left out."""
    found = []
    for report in settings.reports:
        subscription = report.subscription
        if since is not None:
            digest = digest_since(conn, subscription, since, now=now, stale_after=settings.stale_after)
        else:
            state = outbox.subscribed(conn, report.name) or outbox.stranger(report.name)
            digest = look_for_news(
                conn, subscription, state, run_id=None, now=now, stale_after=settings.stale_after, is_hurried=True
            ).digest
        if digest is not None:
            found.append((report, digest))
    return found


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
