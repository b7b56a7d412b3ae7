"""
One worker: a session that holds the locks of what it crawls, a pool of connections, and the queue's jobs in its slots.

It says every two seconds over that session that it lives. When it cannot, its runs send nothing more and end; a new
session is made, and the jobs come again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from sqlalchemy import Engine

from crawler import __version__
from crawler.client.api_options import Timing
from crawler.client.throttle import Throttle
from crawler.config.models import AccountSettings, Settings
from crawler.crawl.shared_rates import shared_budgets
from crawler.db import workers
from crawler.db.engine import begin, open_engine, read
from crawler.db.locks.postgresql import LockSession, SessionFence, raise_fences
from crawler.db.migrations import ensure_schema
from crawler.db.workers import Myself
from crawler.domain.text import counted
from crawler.errors import DatabaseUnavailable, SchemaMismatch
from crawler.fleet import queue as job_queue
from crawler.fleet.lease import Lease, LeasedThrottle
from crawler.fleet.queue import FleetJob, Queue, opened_queue
from crawler.fleet.status import fleet_state, metrics
from crawler.fleet.tasks import CARE, CARE_SECONDS, CRAWLS, PULSE_SECONDS, SWEEP_SECONDS, Tasks
from crawler.ops.after import write_atomically
from crawler.ops.metrics import written_out

T = TypeVar("T")

logger = logging.getLogger(__name__)

BEAT_SECONDS = 2.0
#: A session that does not answer for so long is given up.
SILENT_SECONDS = 8.0
#: How long to wait before the next try to make a session.
RETRY_SECONDS = 1.0
#: What keeps the fleet going has so many slots of its own.
CARE_SLOTS = 3
#: Connections of the pool; with those of the queue and the session of the locks a worker has twelve at most.
POOL = 6


@dataclass(slots=True)
class Holding:
    """Locks that a job has, the proof of it, and what ends the job early."""

    fence: SessionFence
    stop: asyncio.Event


class OwnSession:
    """The session of the locks, and the one thread in which it is used."""

    def __init__(self, url: str, clock: Callable[[], datetime]) -> None:
        self._url = url
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="locks")
        self._locks: LockSession | None = None
        self._is_left = False

    async def open(self) -> None:
        """Make the session; raise DatabaseUnavailable."""
        self._locks = await self._in_thread(lambda: LockSession(self._url, clock=self._clock))

    async def do(self, work: Callable[[LockSession], T]) -> T:
        """
        Return what *work* returns with the session; raise DatabaseUnavailable for one that was left.

        Raises TimeoutError where the server does not answer. The session is left then: the thread goes on with the
        work, and the lock that it takes or does not let go would be nobody's, as long as the session lives.
        """
        assert self._locks is not None  # noqa: S101 - it is open
        locks = self._locks
        self._refuse_left()
        try:
            done = await asyncio.wait_for(self._in_thread(lambda: work(locks)), SILENT_SECONDS)
        except TimeoutError:
            self.leave()
            raise
        self._refuse_left()  # what was taken meanwhile is gone with it
        return done

    def leave(self) -> None:
        """End the session without waiting for it: the server may not answer."""
        if self._is_left:
            return
        self._is_left = True
        if self._locks is not None:
            self._thread.submit(self._locks.close)
        self._thread.shutdown(wait=False)

    def _refuse_left(self) -> None:
        if self._is_left:
            raise DatabaseUnavailable("The session with the locks is gone.")

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


class FleetWorker:
    """A process of the fleet."""

    def __init__(
        self,
        settings: Settings,
        *,
        config: str,
        slots: int,
        grace_seconds: float,
        clock: Callable[[], datetime],
        say: Callable[[str], None],
    ) -> None:
        """
        Take the configuration and its digest *config*, and how many accounts are crawled at a time (*slots*).

        *grace_seconds*: how long what runs may go on once the worker is to end.
        """
        self._settings = settings
        self._grace_seconds = grace_seconds
        self._clock = clock
        self._say = say
        self._me = Myself(
            id=uuid.uuid4().hex[:12],
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            config=config,
            slots=slots,
        )
        self._lease = Lease(settings.fleet.evict_after.total_seconds())
        self._session: OwnSession | None = None
        self._ahead = timedelta(0)
        self._is_drained = False
        self._is_leaving = False
        #: The schema is not this program's any more, as far as a job has found.
        self._is_outdated = False
        self._changed = asyncio.Event()
        #: What ends each job that holds locks, and how many of them crawl.
        self._stops: set[asyncio.Event] = set()
        self._in_flight = 0
        #: The last moment that each task was planned for.
        self._planned: dict[str, int] = {}

    async def run(self) -> None:
        """
        Work until SIGTERM or Ctrl-C; then take nothing new, and end what runs within the grace.

        Raises DatabaseUnavailable where the database cannot be reached at the start, SchemaMismatch whenever it is not
        this program's any more, UsageError without the extra.
        """
        database, name = self._settings.database, workers.application_name(self._me.id)
        async with AsyncExitStack() as stack:
            pool = open_engine(database, application_name=name, connections=POOL)
            stack.callback(pool.dispose)
            await asyncio.to_thread(_check, pool)
            loop = asyncio.get_running_loop()
            # a job that the sweep has buried cannot be ended, which the queue tells nobody but the loop
            loop.set_exception_handler(lambda _, about: logger.info("%s", about.get("message"), extra={"about": about}))
            loop.set_default_executor(ThreadPoolExecutor(self._me.slots + 16, thread_name_prefix="fleet"))
            await self._renew()
            stack.push_async_callback(self._end, pool)
            budgets = await stack.enter_async_context(shared_budgets(self._settings, pool, self._timing(timedelta(0))))

            def throttle(account: AccountSettings, own: Throttle) -> Throttle:
                return LeasedThrottle(budgets(account, own), self._lease)

            tasks = Tasks(
                self._settings,
                pool,
                holding=partial(self._holding, pool),
                say=self._say,
                timing=self._timing,
                throttle=throttle,
                is_resting=self._is_resting,
            )
            tasks.queue = await stack.enter_async_context(
                opened_queue(database, tasks.handlers(), application_name=name)
            )
            with self._signals():
                await self._live(pool, tasks.queue)

    # --- its life ----------------------------------------------------------------------------------------------------

    async def _live(self, pool: Engine, queue: Queue) -> None:
        working = asyncio.create_task(self._work(pool, queue))
        others = [
            asyncio.create_task(self._beat()),
            asyncio.create_task(self._plan(queue)),
            asyncio.create_task(self._measure(pool)),
        ]
        try:
            await asyncio.wait({working, *others}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():  # one of the others was ended by a fault of ours: without it this is no worker
                self._leave(0)
            await working
        finally:
            for task in others:
                task.cancel()
            ended = await asyncio.gather(*others, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error

    async def _work(self, pool: Engine, queue: Queue) -> None:
        """Do jobs while the fleet does not rest, until the worker is to leave."""
        while not self._is_leaving:
            if self._is_drained:
                await self._turn()
                continue
            try:
                await asyncio.to_thread(_check, pool)
            except SchemaMismatch:
                raise
            except DatabaseUnavailable as exc:
                logger.info("%s", exc)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._is_outdated = False
            slots = {CRAWLS: self._me.slots, CARE: CARE_SLOTS}
            working = [asyncio.create_task(queue.work(name, count)) for name, count in slots.items()]
            while not self._is_resting():
                await self._turn()
            for task in working:
                task.cancel()  # it takes nothing new, and waits for what runs
            await asyncio.gather(*working, return_exceptions=True)

    def _is_resting(self) -> bool:
        return self._is_leaving or self._is_drained or self._is_outdated

    async def _turn(self) -> None:
        """Wait until the fleet is to rest or to go on, or the worker to leave."""
        await self._changed.wait()
        self._changed.clear()

    def _leave(self, grace_seconds: float) -> None:
        self._is_leaving = True
        self._changed.set()
        asyncio.get_running_loop().call_later(grace_seconds, self._stop_all)

    def _stop_all(self) -> None:
        for stop in self._stops:
            stop.set()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Leave at the first Ctrl-C or SIGTERM; at the second what runs is ended: what was answered is recorded."""
        loop = asyncio.get_running_loop()

        def heard(number: signal.Signals) -> None:
            if self._is_leaving:
                self._stop_all()
                return
            are = counted(self._in_flight, "account is", "accounts are")
            self._say(f"{number.name}: nothing new is begun; {are} crawled to the end.")
            self._leave(self._grace_seconds)

        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, heard, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    async def _end(self, pool: Engine) -> None:
        def forget() -> None:
            with begin(pool) as conn:
                workers.forget(conn, self._me.id)

        with suppress(DatabaseUnavailable):
            await asyncio.to_thread(forget)
        if self._session is not None:
            self._session.leave()

    # --- its session -------------------------------------------------------------------------------------------------

    async def _renew(self) -> None:
        """Make a session where there is none, and say over it that the worker lives; raise DatabaseUnavailable."""
        session = self._session or OwnSession(self._settings.database, self._clock)
        asked, before = self._lease.monotonic(), self._clock()
        try:
            if self._session is None:
                await session.open()
                asked, before = self._lease.monotonic(), self._clock()
            statement, values = workers.lives(self._me, self._in_flight)
            row = await session.do(lambda locks: locks.execute(statement, values))
        except (DatabaseUnavailable, TimeoutError) as exc:
            session.leave()
            self._session = None
            raise DatabaseUnavailable(str(exc) or "The database does not answer.") from exc
        self._session = session
        self._lease.renew(asked)
        moment, is_drained = workers.heard(row)
        self._ahead = moment - (before + (self._clock() - before) / 2)
        if is_drained != self._is_drained:
            self._is_drained = is_drained
            self._say("The fleet is drained: nothing new is begun." if is_drained else "The fleet goes on.")
            self._changed.set()

    async def _beat(self) -> None:
        while True:
            had = self._session is not None
            try:
                await self._renew()
            except DatabaseUnavailable as exc:
                self._lease.end()
                self._stop_all()  # their locks are gone
                if had:
                    are = counted(self._in_flight, "account is", "accounts are")
                    self._say(f"The session with the locks is gone: {are} begun anew. {exc}")
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if not had:
                self._say("There is a session for the locks again.")
            await asyncio.sleep(BEAT_SECONDS)

    @asynccontextmanager
    async def _holding(
        self, pool: Engine, accounts: Sequence[str], *, is_sender: bool = False
    ) -> AsyncIterator[Holding]:
        """Hold the locks of *accounts* for a block; raise LockTaken, DatabaseUnavailable."""
        session = self._session
        if session is None:
            raise DatabaseUnavailable("The session with the locks is being made anew.")
        stop = asyncio.Event()
        self._stops.add(stop)
        self._in_flight += len(accounts)
        try:
            with self._answering(session):
                pid, (keys, ahead) = await session.do(lambda it: (it.pid, it.hold(accounts, is_sender=is_sender)))
            try:
                fences = await self._fences(pool, accounts)
                yield Holding(SessionFence(pid, keys, fences, ahead=ahead), stop)
            finally:
                if session is self._session:
                    with suppress(DatabaseUnavailable), self._answering(session):
                        await session.do(lambda locks: locks.let_go(keys))
        finally:
            self._in_flight -= len(accounts)
            self._stops.discard(stop)

    async def _fences(self, pool: Engine, accounts: Sequence[str]) -> dict[int, int]:
        """Return the raised fences; raise SchemaMismatch, which ends the worker as well, once its jobs have ended."""
        try:
            return await asyncio.to_thread(raise_fences, pool, accounts)
        except SchemaMismatch:
            self._is_outdated = True
            self._changed.set()
            raise

    @contextmanager
    def _answering(self, session: OwnSession) -> Iterator[None]:
        """Raise DatabaseUnavailable for a server that does not answer: all locks of the session are given up then."""
        try:
            yield
        except TimeoutError as exc:
            if session is self._session:
                self._lease.end()
                self._stop_all()
            raise DatabaseUnavailable("The database does not answer.") from exc

    def _timing(self, ahead: timedelta) -> Timing:
        """Return the time by the clock of a server that is so much ahead of the host's."""
        return Timing(clock=lambda: self._clock() + ahead)

    # --- its plan ----------------------------------------------------------------------------------------------------

    async def _plan(self, queue: Queue) -> None:
        """Add what is to be done regularly; each moment of it is added once, whoever does."""
        rhythm = {
            "tick": self._settings.fleet.every.total_seconds(),
            "sweep": SWEEP_SECONDS,
            "pulse": PULSE_SECONDS,
            "care": CARE_SECONDS,
        }
        while True:
            now = (self._clock() + self._ahead).timestamp()
            if not self._is_resting():
                for task, seconds in rhythm.items():
                    await self._plan_once(queue, task, int(now // seconds * seconds))
            await asyncio.sleep(min(seconds - now % seconds for seconds in rhythm.values()) + 0.01)

    async def _measure(self, pool: Engine) -> None:
        """Write the metrics file of this host every minute, where there is to be one."""
        path = self._settings.metrics.textfile

        def measure() -> str:
            names = [account.name for account in self._settings.accounts]
            with read(pool) as conn:
                return written_out(metrics(fleet_state(conn, names, silent_after=self._settings.fleet.evict_after)))

        while path is not None:
            try:
                text = await asyncio.to_thread(measure)
                await asyncio.to_thread(write_atomically, path, text)
            except DatabaseUnavailable as exc:
                logger.info("%s", exc)
            except OSError as exc:  # the metrics that stand still raise an alert, and the doctor says why
                logger.info("the metrics cannot be written to %s: %s", path, exc.strerror)
            await asyncio.sleep(PULSE_SECONDS)
        await asyncio.Event().wait()

    async def _plan_once(self, queue: Queue, task: str, moment: int) -> None:
        if self._planned.get(task) == moment:
            return
        try:
            await queue.add_once(FleetJob(task=task, key=task), moment)
        except DatabaseUnavailable as exc:
            logger.info("%s", exc)
            return
        self._planned[task] = moment


def _check(pool: Engine) -> None:
    ensure_schema(pool, may_upgrade=False)
    job_queue.ensure(pool)
