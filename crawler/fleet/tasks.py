"""
What the jobs of a fleet do. Each may come twice, late, or on two hosts at once, and each may die at any line.

None raises: what cannot be done now is added anew, under the same key, of which one waits.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Connection, Engine

from crawler.client.api_options import Timing
from crawler.client.throttle import Throttle
from crawler.config.models import AccountSettings, Settings
from crawler.crawl.run import crawl
from crawler.db import runs, workers
from crawler.db.engine import begin, read
from crawler.db.locks.postgresql import holders
from crawler.domain.models import RunStatus
from crawler.domain.text import counted, visible_lines
from crawler.errors import CrawlerError, DatabaseUnavailable, FenceLost, LockTaken, fault_of
from crawler.fleet.queue import FleetJob, Handler, Queue
from crawler.notifications.delivery import send_reports
from crawler.ops.after import news_of
from crawler.ops.healthcheck_ping import Switch

if TYPE_CHECKING:
    from crawler.fleet.worker import Holding

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: The queues: of accounts, with a worker's slots, and of what keeps the fleet going, beside them.
CRAWLS, CARE = "crawl", "care"
#: How much of the time between two ticks the accounts of one are spread over.
SPREAD = 0.6
#: A lock that is taken is tried again after this; a database that is away after these, doubled each time.
TAKEN_SECONDS = 5.0
AGAIN_SECONDS, LONGEST_SECONDS = 3.0, 60.0
#: A report waits so long for what else the tick finds, or a twentieth of the time between two ticks where that is
#: shorter; then it looks three times as often whether the tick's accounts are done, and no longer than this for them.
REPORT_SECONDS, LATE_SECONDS = 30.0, 60.0
REPORT_PART = 1 / 20
#: A crawl is not given up sooner: it has its lock by then.
YOUNG_SECONDS = 5.0
SWEEP_SECONDS, PULSE_SECONDS, CARE_SECONDS = 2, 60, 86_400
#: Jobs that failed, and workers that are gone, are kept so long.
KEPT = timedelta(days=1)


class Tasks:
    """The jobs of one worker."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        *,
        holding: Callable[..., AbstractAsyncContextManager[Holding]],
        say: Callable[[str], None],
        timing: Callable[[timedelta], Timing],
        throttle: Callable[[AccountSettings, Throttle], Throttle],
        is_resting: Callable[[], bool],
    ) -> None:
        """
        Take what the worker gives its jobs.

        *holding* takes locks, *timing* gives the time for a server that is so much ahead of the host, *throttle* what
        paces an account, *is_resting* whether to begin nothing any more.
        """
        self.queue: Queue | None = None
        self._settings = settings
        self._engine = engine
        self._holding = holding
        self._say = say
        self._timing = timing
        self._throttle = throttle
        self._is_resting = is_resting
        self._accounts = {account.name: account for account in settings.accounts}
        self._report_seconds = min(REPORT_SECONDS, settings.fleet.every.total_seconds() * REPORT_PART)

    def handlers(self) -> dict[str, dict[str, Handler]]:
        """Return what does the jobs, by queue and task."""
        care = (self.tick, self.report, self.sweep, self.pulse, self.care)
        return {
            CRAWLS: {"crawl": self._contained(self.crawl)},
            CARE: {one.__name__: self._contained(one) for one in care},
        }

    # --- tick --------------------------------------------------------------------------------------------------------

    async def tick(self, timestamp: int) -> None:
        """Have every account crawled once for the tick, those first that were observed longest ago."""
        every = self._settings.fleet.every
        seen = await self._in_thread(lambda conn: runs.last_successes(conn, self._accounts))
        beginning = datetime.fromtimestamp(timestamp, UTC)
        order = sorted(self._accounts, key=lambda name: (seen.get(name, datetime.min.replace(tzinfo=UTC)), name))
        await self._added(
            [
                # never before the tick, so that a run of it is known by its beginning
                crawl_job(name, timestamp, at=beginning + every * SPREAD * share_of(name))
                for name in order
            ]
        )
        if self._settings.reports:
            await self._again(report_job(timestamp), self._report_seconds)

    # --- crawl -------------------------------------------------------------------------------------------------------

    async def crawl(self, account: str, tick: int, attempt: int = 1) -> None:
        """Crawl one account for a tick, unless a run of it began since."""
        own = self._accounts.get(account)
        if own is None or self._is_resting():
            return
        try:
            async with self._holding([account]) as held:
                # one that comes late is also for the ticks that passed meanwhile, which added none beside it
                def of_tick(moment: datetime) -> datetime:
                    return datetime.fromtimestamp(max(tick, tick_of(moment, self._settings.fleet.every)), UTC)

                beginning = of_tick(self._timing(held.fence.ahead).clock())
                if await self._in_thread(lambda conn: runs.is_made_since(conn, account, beginning)):
                    return
                found = await self._crawled(own, held, of_tick)
        except LockTaken as exc:
            logger.info("%s: %s", account, exc)
            await self._again(crawl_job(account, tick), TAKEN_SECONDS)
            return
        except DatabaseUnavailable as exc:
            if isinstance(exc, FenceLost):
                await self._count_lost()
            seconds = seconds_after(attempt)
            self._say(f"{account}: {exc} It is tried again in {seconds:.0f} s.")
            await self._again(crawl_job(account, tick, attempt=attempt + 1), seconds)
            return
        if found and self._settings.reports:
            await self._again(report_job(tick), self._report_seconds)

    async def _crawled(self, account: AccountSettings, held: Holding, tick: Callable[[datetime], datetime]) -> bool:
        """Crawl *account* and say what is news; tell whether there may be something to report."""
        settings = replace(self._settings, accounts=(account,))
        timing = self._timing(held.fence.ahead)
        result = await crawl(
            settings, self._engine, held.fence, timing=timing, stop=held.stop, throttle=self._throttle, tick=tick
        )
        news = await asyncio.to_thread(news_of, settings, self._engine, held.fence, result, now=timing.clock())
        if news:
            self._say(visible_lines(news))
        return any(result.summary.changes.values()) or result.summary.status != "complete" or bool(news)

    # --- report ------------------------------------------------------------------------------------------------------

    async def report(self, tick: int) -> None:
        """Send what is to be told, once the accounts of the tick are done or too late for it."""
        assert self.queue is not None  # noqa: S101 - set before any job is done
        every = self._settings.fleet.every
        moment = await self._in_thread(workers.now)
        is_late = moment > datetime.fromtimestamp(tick, UTC) + every * SPREAD + timedelta(seconds=LATE_SECONDS)
        if not is_late and await self.queue.pending("crawl", tick=tick):
            await self._again(report_job(tick), self._report_seconds / 3)
            return
        try:
            async with self._holding([], is_sender=True) as held:
                done = await send_reports(
                    self._settings,
                    self._engine,
                    held.fence,
                    timing=self._timing(held.fence.ahead),
                    stop=held.stop,
                    has_run=False,
                )
        except (LockTaken, DatabaseUnavailable) as exc:
            logger.info("reports: %s", exc)
            await self._again(report_job(tick), TAKEN_SECONDS)
            return
        for problem in done.problems:
            self._say(visible_lines(f"Warning: {problem}"))

    # --- sweep -------------------------------------------------------------------------------------------------------

    async def sweep(self, timestamp: int) -> None:
        """Evict workers that stand still, and add the jobs of dead ones anew."""
        assert self.queue is not None  # noqa: S101 - set before any job is done
        silent_after = self._settings.fleet.evict_after
        evicted = await self._in_transaction(lambda conn: workers.evict_silent(conn, silent_after=silent_after))
        if evicted:
            were = counted(evicted, "worker was", "workers were")
            self._say(f"{were} not heard of for {silent_after.total_seconds():.0f} s: evicted.")
        doing = await self.queue.doing()
        crawls = {one.id: one for one in doing if one.task == "crawl" and one.age_seconds > YOUNG_SECONDS}
        names = {str(one.arguments["account"]) for one in crawls.values()}
        held = await self._in_thread(lambda conn: holders(conn, names)) if names else {}
        free = {number for number, one in crawls.items() if one.arguments["account"] not in held}
        for number in free & await self._in_transaction(lambda conn: workers.suspected(conn, free)):
            job = crawls[number].arguments
            if await self.queue.bury(number):
                await self._again(crawl_job(job["account"], job["tick"]), 0)
        for one in doing:
            if one.task == "crawl" or not _is_dead(one.silent_seconds, silent_after):
                continue
            if await self.queue.bury(one.id) and one.task in ("tick", "report"):
                await self._again(FleetJob(task=one.task, arguments=one.arguments, key=one.task), 0)

    # --- pulse, care -------------------------------------------------------------------------------------------------

    async def pulse(self, timestamp: int) -> None:
        """
        Tell the dead man's switch that the fleet lives, while no account is older than two ticks.

        A run that was incomplete did its work, unless the configuration has it told as failed.
        """
        if self._settings.ping is None:
            return
        done: tuple[RunStatus, ...] = ("complete",)
        if self._settings.ping_incomplete == "done":
            done = ("complete", "incomplete")
        seen = await self._in_thread(lambda conn: runs.last_successes(conn, self._accounts, statuses=done))
        oldest = min(seen.values(), default=None) if len(seen) == len(self._accounts) else None
        moment = await self._in_thread(workers.now)
        if oldest is None or moment - oldest > 2 * self._settings.fleet.every:
            return
        switch = Switch(
            self._settings.ping.reveal(), proxy=self._settings.ping_proxy, ca_file=self._settings.ping_ca_file
        )
        body = json.dumps({"status": "complete", "accounts": len(seen), "oldest_run": oldest.isoformat()})
        await asyncio.to_thread(switch.end, is_done=True, body=body)

    async def care(self, timestamp: int) -> None:
        """Remove what is left of jobs that failed, and of workers that are gone."""
        assert self.queue is not None  # noqa: S101 - set before any job is done
        await self.queue.tidy(round(KEPT.total_seconds() / 3600))
        moment = await self._in_thread(workers.now)
        await self._in_transaction(lambda conn: workers.forget_gone(conn, before=moment - KEPT))

    # --- how they are done -------------------------------------------------------------------------------------------

    def _contained(self, task: Callable[..., Awaitable[None]]) -> Handler:
        """Return *task* as a handler that raises nothing."""

        async def handler(**arguments: object) -> None:
            try:
                await task(**arguments)
            except CrawlerError as exc:
                what = arguments.get("account", task.__name__)
                self._say(visible_lines(f"{what}: {exc}"))
            except Exception as exc:
                logger.debug("job", exc_info=exc)
                self._say(f"{arguments.get('account', task.__name__)}: {fault_of(exc)}")

        return handler

    async def _again(self, job: FleetJob, seconds: float) -> None:
        """
        Add *job* for so many seconds from now, once the database can be reached.

        Where a crawl of the account waits for a later turn in the next tick, that one is done then instead.
        """
        assert self.queue is not None  # noqa: S101 - set before any job is done
        while True:
            try:
                moment = await self._in_thread(workers.now) if seconds else None
                await self._added([replace(job, at=moment and moment + timedelta(seconds=seconds))])
                if job.task == "crawl" and job.key:
                    await self.queue.hasten(job.key, seconds)
                return
            except DatabaseUnavailable as exc:
                logger.info("%s waits to be added: %s", job.key, exc)
                if self._is_resting():  # the next tick brings it
                    return
                await asyncio.sleep(AGAIN_SECONDS)

    async def _added(self, jobs: list[FleetJob]) -> None:
        assert self.queue is not None  # noqa: S101 - set before any job is done
        await self.queue.add_all(jobs)

    async def _count_lost(self) -> None:
        try:
            await self._in_transaction(lambda conn: workers.count(conn, workers.FENCES_LOST))
        except DatabaseUnavailable as exc:
            logger.info("a lost fence is not counted: %s", exc)

    async def _in_thread(self, work: Callable[[Connection], T]) -> T:
        def do() -> T:
            with read(self._engine) as conn:
                return work(conn)

        return await asyncio.to_thread(do)

    async def _in_transaction(self, work: Callable[[Connection], T]) -> T:
        def do() -> T:
            with begin(self._engine) as conn:
                return work(conn)

        return await asyncio.to_thread(do)


def crawl_job(account: str, tick: int, *, attempt: int = 1, at: datetime | None = None) -> FleetJob:
    """Return the job that crawls *account* for a *tick*, one at a time."""
    arguments = {"account": account, "tick": tick, "attempt": attempt}
    return FleetJob(task="crawl", arguments=arguments, key=f"account {account}", is_alone=True, at=at)


def seconds_after(attempt: int) -> float:
    """Return how many seconds a crawl waits that lost the database, after its first attempt and those that follow."""
    return min(LONGEST_SECONDS, AGAIN_SECONDS * 2.0 ** min(attempt - 1, 10))  # higher powers are too large for a float


def report_job(tick: int) -> FleetJob:
    """Return the job that sends what the *tick* found."""
    return FleetJob(task="report", arguments={"tick": tick}, key="report")


def tick_of(moment: datetime, every: timedelta) -> int:
    """Return the last tick before *moment*, in seconds since 1970: a whole number of *every* lies before it."""
    seconds = every.total_seconds()
    return int(moment.timestamp() // seconds * seconds)


def share_of(name: str) -> float:
    """Return where between 0 and 1 an account lies, always the same and evenly over all names."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big") / 2**32


def _is_dead(silent_seconds: float | None, silent_after: timedelta) -> bool:
    return silent_seconds is None or silent_seconds > 2 * silent_after.total_seconds()
