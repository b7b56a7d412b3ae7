"""
Asks every target of one account: a few workers, queues per region, retries that wait without occupying a worker.

What a target is asked is made when it is its turn. Every target ends in exactly one call of the sink, with a Reply or a
Failure, also when the deadline comes, the run is stopped or something breaks. What a good reply means is none of this
file's business.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from http import HTTPStatus
from typing import Literal

from crawler.client.api import ApiClient, NetworkFailure, Room, hash_of
from crawler.client.api_options import FetchCounts
from crawler.client.cancellation import SENTENCES, Cancelled, CancelScope, CutReason
from crawler.client.region_queue import Ask, QueuedTarget, RegionQueues
from crawler.client.responses import Answer, Refusal, read_answer
from crawler.client.retry import PRODUCT_CODES, decide
from crawler.client.throttle import RetryBudget
from crawler.domain.composing import Composition, RefusedPage
from crawler.domain.models import Failure, Reply, Target
from crawler.errors import contained

logger = logging.getLogger(__name__)

Sink = Callable[[Reply | Failure], Awaitable[None]]

#: Why an ask was not asked (again).
SKIPPED = SENTENCES | {"circuit": "its region does not answer"}


class Fetcher:
    """Asks the targets of one account through its client."""

    def __init__(
        self,
        client: ApiClient,
        *,
        question: Callable[[Target], Ask],
        sink: Sink,
        budget: RetryBudget,
        deadline: float | None = None,
        stop: asyncio.Event | None = None,
    ) -> None:
        """Take what to ask of a target as *question*, and where every answer goes as *sink*."""
        self._client = client
        self._timing = client.timing
        self._policy = client.options.retry_policy
        self._question = question
        self._sink = sink
        self._budget = budget
        self._cancel_scope = CancelScope(monotonic=client.timing.monotonic, deadline=deadline, stop=stop)
        self._queues = RegionQueues(client.options.concurrency)
        self._stopped_by: Refusal | None = None
        #: Entries whose worker was cancelled under them.
        self._stray: list[QueuedTarget] = []
        self._idle: deque[asyncio.Future[None]] = deque()
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = 0.0
        self._is_running = False

    @property
    def counts(self) -> FetchCounts:
        """Return what the account's client has sent so far, discovery included."""
        return self._client.counts

    async def run(self, targets: Iterable[Target]) -> FetchCounts:
        """Ask every one of *targets*, and what `ask_again` adds meanwhile; give what this call sent."""
        for target in targets:
            self._queues.add(target)
        return await self._run()

    def ask_again(self, target: Target) -> None:
        """Ask *target* once more, next: in the run under way, or in `run_again`. Call it from the event loop."""
        self._queues.add_again(target)
        self._wake()

    async def run_again(self, targets: Iterable[Target] = ()) -> FetchCounts:
        """Ask *targets* once more, and what `ask_again` has queued; give what this call sent."""
        for target in targets:
            self.ask_again(target)
        return await self._run()

    async def _run(self) -> FetchCounts:
        if self._is_running:
            raise RuntimeError("the fetcher is running already: use ask_again")
        self._is_running = True
        before = self.counts
        is_complete = False
        try:
            async with self._cancel_scope.watched(self._wake_all):
                await self._work_together()
            is_complete = self._cancel_scope.cut_reason() is None
        finally:
            self._is_running = False
            # Of a complete run only what was asked again while its last workers went home is left: for `run_again`.
            if not is_complete:
                await self._end_rest()
            for queue in self._queues.all():
                logger.info("%s: %d of %d targets answered", queue.region, queue.good, queue.targets)
        return self.counts - before

    async def _work_together(self) -> None:
        workers = [asyncio.create_task(self._work()) for _ in range(self._client.options.concurrency)]
        try:
            await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            tasks = [*workers, self._alarm] if self._alarm is not None else workers
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            self._alarm = None
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _work(self) -> None:
        while (entry := await self._next()) is not None:
            with self._client.room() as room:
                try:
                    result = await self._attempt(entry, room)
                except BaseException:
                    self._stray.append(entry)
                    raise
                if result is not None:
                    await self._end(entry, result)

    async def _end(self, entry: QueuedTarget, result: Reply | Failure) -> None:
        try:
            await self._sink(result)
        finally:
            self._queues.finish(entry)
            # The last one done wakes those who waited for a retry of it.
            if not self._queues.unfinished:
                self._wake_all()

    # --- whose turn it is ---------------------------------------------------------------------------------------------

    async def _next(self) -> QueuedTarget | None:
        while self._queues.unfinished and self._cancel_scope.cut_reason() is None:
            entry = self._queues.pick(self._timing.monotonic())
            if entry is not None:
                self._wake()
                return entry
            self._set_alarm()
            change = asyncio.get_running_loop().create_future()
            self._idle.append(change)
            await change
        self._wake_all()
        return None

    def _wake(self) -> None:
        """Wake one idle worker; when it finds work it wakes the next."""
        while self._idle:
            change = self._idle.popleft()
            if not change.done():
                change.set_result(None)
                return

    def _wake_all(self) -> None:
        while self._idle:
            self._wake()

    def _set_alarm(self) -> None:
        now = self._timing.monotonic()
        due = self._queues.next_due(now)
        if due is None:
            return
        due = min(due, now + self._cancel_scope.remaining_seconds())
        if self._alarm is not None:
            if self._alarm_at <= due:
                return
            self._alarm.cancel()
        self._alarm_at = due
        self._alarm = asyncio.create_task(self._ring(due - now))

    async def _ring(self, seconds: float) -> None:
        await self._timing.sleep(max(0.0, seconds))
        self._alarm = None
        self._wake()

    # --- one attempt --------------------------------------------------------------------------------------------------

    async def _attempt(self, entry: QueuedTarget, room: Room) -> Reply | Failure | None:
        """Return what `_try` gives; whatever that raises is the end of this target alone."""
        entry.answer = None
        faults: list[str] = []
        with contained(faults.append):
            return await self._try(entry, room)
        self._queues.released(entry)
        self._wake()
        answer, entry.composition = entry.answer, None
        request_uuid = answer.request_uuid if answer else ""
        refusal = Refusal(failure_class="defect", message=faults[0], request_uuid=request_uuid)
        return self._failure(entry, refusal, reply=self._reply(entry, answer) if answer else None)

    async def _try(self, entry: QueuedTarget, room: Room) -> Reply | Failure | None:
        """Try *entry* once; give what it ended in, or None when it is to be tried again."""
        if entry.queue.circuit.is_dead:
            self._queues.released(entry)
            return self._without_answer(entry, "circuit")
        ask = entry.ask = entry.ask or self._question(entry.target)
        if ask.compose is not None and entry.composition is None:
            entry.composition = ask.compose()
        action, params = entry.composition.question if entry.composition else (ask.action, ask.params)
        form = entry.form = entry.form or self._client.form(action, params)
        known_hash = None if entry.composition else ask.known_hash
        try:
            answer = await self._client.attempt(
                form,
                self._cancel_scope,
                is_retry=entry.was_tried,
                room=room,
                known_hash=known_hash,
                secrets=ask.secrets,
            )
        except Cancelled as cut:
            self._queues.released(entry)
            return self._without_answer(entry, cut.reason)
        except NetworkFailure as failure:
            return self._refused(entry, self._unanswered(entry, failure.refusal()))
        entry.answer = answer
        self._queues.answered(entry)
        self._wake()
        is_known = answer.status == HTTPStatus.OK and answer.body_hash == known_hash
        refusal = None if is_known or not isinstance(said := read_answer(answer, action), Refusal) else said
        if entry.composition is not None:
            return self._composed(entry, entry.composition, answer, refusal)
        if refusal is not None:
            return self._refused(entry, refusal)
        entry.queue.good += 1
        return self._reply(entry, answer, unchanged=is_known)

    def _composed(
        self, entry: QueuedTarget, composition: Composition, answer: Answer, refusal: Refusal | None
    ) -> Reply | Failure | None:
        """Put *answer*, which may be a *refusal*, to the others of its entry; give the whole when it is the last."""
        if refusal is None:
            whole = composition.take(answer.body)
        else:
            end = composition.refused(as_page(refusal))
            if end is None:
                return self._refused(entry, refusal)
            whole = end if isinstance(end, bytes) else None
        if whole is None:
            self._queues.go_on(entry)
            self._wake()
            return None
        body_hash = hash_of(whole)
        known_hash = entry.ask.known_hash if entry.ask is not None else None
        entry.queue.good += 1
        return self._reply(entry, replace(answer, body=whole, body_hash=body_hash), unchanged=body_hash == known_hash)

    def _unanswered(self, entry: QueuedTarget, refusal: Refusal) -> Refusal:
        if not refusal.is_network:
            self._queues.released(entry)
        elif self._queues.unanswered(entry, self._timing.monotonic()):
            queue = entry.queue
            logger.info("%s/%s does not answer: left alone for a while", entry.target.account, queue.region)
        self._wake()
        return refusal

    def _reply(self, entry: QueuedTarget, answer: Answer, *, unchanged: bool = False) -> Reply:
        return Reply(
            target=entry.target,
            body=answer.body,
            body_hash=answer.body_hash,
            unchanged=unchanged,
            received_at=answer.received_at,
            request_uuid=answer.request_uuid,
            is_reask=entry.is_reask,
            answers=entry.composition.answers if entry.composition else 1,
        )

    def _refused(self, entry: QueuedTarget, refusal: Refusal) -> Failure | None:
        """Queue *entry* for another attempt and give None, or give the failure that it ends in."""
        refusal = self._client.heeded(refusal)
        if refusal.failure_class == "credential" and self._stopped_by is None:
            self._stopped_by = refusal
            self._cancel_scope.pull("account_stopped")
            self._wake_all()
        throttled_before = entry.throttled
        if refusal.is_throttled:
            entry.throttled += 1
        else:
            entry.attempts += 1
        entry.last = refusal
        wait_seconds = decide(
            self._policy,
            refusal.failure_class,
            attempts_made=entry.attempts,
            throttled_before=throttled_before,
            is_throttled=refusal.is_throttled,
            retry_after_seconds=refusal.retry_after_seconds,
            uniform=self._timing.uniform,
        ).wait_seconds
        if wait_seconds is None:
            return self._failure(entry, refusal)
        if entry.queue.circuit.is_dead:
            return self._without_answer(entry, "circuit")
        if wait_seconds >= self._cancel_scope.remaining_seconds():
            return self._without_answer(entry, "deadline")
        if not refusal.is_throttled and not self._budget.take():
            return self._failure(entry, refusal, "no further attempt: the run's retry budget is spent")
        self._queues.delay(entry, self._timing.monotonic() + wait_seconds)
        self._wake()
        return None

    # --- how asks end without a reply ---------------------------------------------------------------------------------

    def _failure(self, entry: QueuedTarget, refusal: Refusal, note: str = "", *, reply: Reply | None = None) -> Failure:
        target = entry.target
        logger.debug("%s: %s", target, refusal.message, extra={"target": str(target)})
        return Failure(
            target=target,
            outcome="failed",
            failure_class=refusal.failure_class,
            message=f"{refusal.message}; {note}" if note else refusal.message,
            at=self._timing.clock(),
            ret_code=refusal.ret_code,
            request_uuid=refusal.request_uuid,
            is_reask=entry.is_reask,
            reply=reply,
        )

    def _without_answer(self, entry: QueuedTarget, reason: CutReason | Literal["circuit"]) -> Failure:
        """Return the end of an entry that is asked no more: what its last attempt said, or why there was none."""
        sentence = SKIPPED[reason]
        if entry.last is not None:
            return self._failure(entry, entry.last, f"no further attempt: {sentence}")
        if reason == "account_stopped" and self._stopped_by is not None:
            sentence = f"{sentence}: {self._stopped_by.message}"
        return Failure(
            target=entry.target,
            outcome="skipped",
            failure_class=reason,
            message=f"not asked: {sentence}",
            at=self._timing.clock(),
            is_reask=entry.is_reask,
        )

    async def _end_rest(self) -> None:
        """End every entry that is left when the workers are gone, however they went."""
        reason = self._cancel_scope.cut_reason() or "interrupted"
        errors: list[Exception] = []
        for entry in [*self._stray, *self._queues.drain()]:
            try:
                await self._end(entry, self._without_answer(entry, reason))
            except Exception as exc:  # noqa: BLE001 - the others must end too; the first is raised below
                errors.append(exc)
        self._stray.clear()
        if errors:
            raise errors[0]


def as_page(refusal: Refusal) -> RefusedPage:
    """Return a refusal as a composition judges it."""
    return RefusedPage(
        ret_code=refusal.ret_code,
        message=refusal.message,
        is_of_product=(refusal.ret_code or 0) >= PRODUCT_CODES,
        is_passing=refusal.failure_class == "transient",
    )
