"""
Asking and recording at the same time: the loop asks, one thread records, a bounded queue lies between.

Each account is asked by its own fetcher and waits for nobody else's. A target that the guard wants asked again goes
back to its fetcher at once; an account is done when all its answers are judged and none is to be asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from itertools import count
from math import inf

from crawler.client.api import ApiClient
from crawler.client.fetcher import Fetcher
from crawler.client.region_queue import Ask
from crawler.client.throttle import RetryBudget
from crawler.config.models import AccountSettings
from crawler.crawl.plan import NotAsked
from crawler.crawl.recorder import BATCH, Recorder
from crawler.db.runs import PlannedTarget
from crawler.db.thread import DatabaseThread
from crawler.domain.models import Failure, Reply, Target
from crawler.errors import CrawlerError

#: Answers that wait to be judged: so many that a few which take long do not keep the others from being asked.
QUEUE = 200
#: Bytes of them, as text. A longer answer is alone.
QUEUE_BYTES = 8 * 2**20
#: Bytes that are judged before it is looked at what has come meanwhile. A longer answer is alone.
TOGETHER_BYTES = 2**20
#: How long after its account's deadline an answer may still be judged.
JUDGING_SECONDS = 0.5
#: The longest a decided target waits for its transaction.
COMMIT_SECONDS = 30.0

Item = Reply | Failure
#: What is judged the later the larger it is: its bytes, when it came, and what it is (None: no more comes).
Entry = tuple[float, int, Item | None]


class Worker:
    """One run's asking and recording."""

    def __init__(
        self,
        recorder: Recorder,
        targets: Mapping[Target, PlannedTarget],
        accounts: Mapping[str, AccountSettings],
        clients: Mapping[str, ApiClient],
        in_thread: DatabaseThread,
        variants: Mapping[str, Mapping[str, Mapping[str, str]]],
        *,
        batch: int = BATCH,
    ) -> None:
        """
        Take the *targets* in the order of asking, and a client per account; *batch* targets are written at once.

        *variants* are the request parameters by account and variant.

        The fetchers take the regions of an account in turn; the order counts inside each region.
        """
        self._recorder = recorder
        self._targets = targets
        self._accounts = accounts
        self._clients = clients
        self._in_thread = in_thread
        self._variants = variants
        self._batch = batch
        #: Accounts whose credentials were refused while asking.
        self.refused: set[str] = set()
        # The smallest first: some that take long keep no other target from being observed before the deadline.
        self._queue: asyncio.PriorityQueue[Entry] = asyncio.PriorityQueue(QUEUE)
        self._numbers = count()
        self._room = ByteRoom(QUEUE_BYTES)
        self._deadlines: Mapping[str, float] = {}
        self._fetchers: dict[str, Fetcher] = {}
        self._unjudged = dict.fromkeys(accounts, 0)
        self._again: dict[str, set[Target]] = {name: set() for name in accounts}
        self._judged = asyncio.Condition()
        self._is_broken = False

    async def run(
        self, *, deadlines: Mapping[str, float], stop: asyncio.Event | None, left_out: Mapping[str, NotAsked]
    ) -> None:
        """
        Ask and record every target; the targets of accounts that are *left_out* are skipped, with the reason there.

        What was decided last is left to the Recorder's `finish`. Raises DatabaseUnavailable when an answer cannot be
        written; the asking is over then.
        """
        budget = RetryBudget(len(self._targets))
        self._deadlines = deadlines
        self._fetchers = {
            name: Fetcher(
                client,
                question=self._question,
                sink=self._sink,
                budget=budget,
                deadline=deadlines[name],
                stop=stop,
            )
            for name, client in self._clients.items()
        }
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._record())
                group.create_task(self._ask_all(left_out))
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors

    # --- asking ------------------------------------------------------------------------------------------------------

    async def _ask_all(self, left_out: Mapping[str, NotAsked]) -> None:
        async with asyncio.TaskGroup() as group:
            for name in self._accounts:
                if name in left_out:
                    group.create_task(self._skip(name, left_out[name]))
                else:
                    group.create_task(self._ask(name))
        await self._queue.put((inf, next(self._numbers), None))

    def _targets_of(self, name: str) -> Iterator[Target]:
        return (target for target in self._targets if target.account == name)

    async def _ask(self, name: str) -> None:
        fetcher = self._fetchers[name]
        await fetcher.run(self._targets_of(name))
        while await self._wants_more(name):
            await fetcher.run_again()

    async def _wants_more(self, name: str) -> bool:
        """Wait until every answer of the account is judged; tell whether any target is to be asked again."""
        async with self._judged:
            await self._judged.wait_for(lambda: self._unjudged[name] == 0)
        return bool(self._again[name])

    async def _skip(self, name: str, why: NotAsked) -> None:
        for target in self._targets_of(name):
            await self._sink(
                Failure(
                    target=target,
                    outcome="skipped",
                    failure_class=why.failure_class,
                    message=f"not asked: {why.reason}",
                    at=self._clients[name].timing.clock(),
                )
            )

    def _question(self, target: Target) -> Ask:
        variant = self._variants[target.account][target.variant]
        known_hash = self._targets[target].body_hash
        return Ask.about(target, variant, self._accounts[target.account].tolerate, known_hash)

    async def _sink(self, item: Item) -> None:
        """Take one answer from a fetcher; waits while the database is behind."""
        if self._is_broken:
            return
        await self._room.take(_size(item))
        if isinstance(item, Failure) and item.failure_class == "credential":
            self.refused.add(item.target.account)
        self._unjudged[item.target.account] += 1
        await self._queue.put((_size(item), next(self._numbers), item))

    # --- recording ---------------------------------------------------------------------------------------------------

    async def _record(self) -> None:
        try:
            is_open = True
            while is_open:
                items, is_open = await self._next_items()
                if items:
                    await self._judge(items)
                if self._recorder.is_full or (is_open and not items):
                    await self._in_thread(self._recorder.commit)
            await self._in_thread(self._recorder.settle, self._late)
        finally:
            self._is_broken = True

    async def _next_items(self) -> tuple[list[Item], bool]:
        """Wait for an answer and take what else is there; give none when it is time to commit, and False at the end."""
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                entry = await self._queue.get()
        except TimeoutError:
            return [], True
        items: list[Item] = []
        size = 0
        while (item := entry[2]) is not None:
            size += _size(item)
            if items and size > TOGETHER_BYTES:
                self._queue.put_nowait(entry)
                return items, True
            items.append(item)
            if len(items) == self._batch or self._queue.empty():
                return items, True
            entry = self._queue.get_nowait()
        return items, False

    async def _judge(self, items: list[Item]) -> None:
        again = await self._in_thread(self._recorder.judge, items, self._late)
        await self._room.give_back(sum(map(_size, items)))
        for item in items:
            self._again[item.target.account].discard(item.target)
        for target in again:
            self._again[target.account].add(target)
            self._fetchers[target.account].ask_again(target)
        async with self._judged:
            for item in items:
                self._unjudged[item.target.account] -= 1
            self._judged.notify_all()

    def _late(self, reply: Reply) -> Failure | None:
        """Say that a target was skipped, where its answer would be judged long after the deadline."""
        name = reply.target.account
        timing = self._clients[name].timing
        if timing.monotonic() <= self._deadlines[name] + JUDGING_SECONDS:
            return None
        return Failure(
            target=reply.target,
            outcome="skipped",
            failure_class="deadline",
            message="it answered, and the run's deadline came before the answer could be read",
            at=timing.clock(),
            request_uuid=reply.request_uuid,
            is_reask=reply.is_reask,
        )


class ByteRoom:
    """Lets answers through while they are not too large together; one that is larger alone passes alone."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._freed = asyncio.Condition()

    async def take(self, size: int) -> None:
        """Wait until there is room for *size* bytes, and take it."""
        async with self._freed:
            await self._freed.wait_for(lambda: not self._taken or self._taken + size <= self._size)
            self._taken += size

    async def give_back(self, size: int) -> None:
        """Let *size* bytes go."""
        async with self._freed:
            self._taken -= size
            self._freed.notify_all()


def _size(item: Item) -> int:
    """Return the bytes of the answer that *item* brings."""
    reply = item if isinstance(item, Reply) else item.reply
    return len(reply.body) if reply is not None else 0


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error that tells most: ours before foreign ones."""
    flat: list[BaseException] = []
    for error in errors.exceptions:
        flat.append(_first(error) if isinstance(error, BaseExceptionGroup) else error)
    return next((error for error in flat if isinstance(error, CrawlerError)), flat[0])
