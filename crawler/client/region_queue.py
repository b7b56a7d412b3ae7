"""
Whose turn it is: one queue per region, so that a region which does not answer never occupies all workers.

A queue has a window of calls in flight that starts small, grows by one per answer and falls to one when a call gets no
answer. While other regions still have work no queue takes more than half of the workers, and all queues that have not
answered yet (or not since their last failure) together take no more than that. Nothing awaits here; time is an
argument.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from crawler.client.circuit_breaker import CircuitBreaker
from crawler.client.responses import Answer, Refusal
from crawler.domain.composing import Composition
from crawler.domain.kinds import KINDS
from crawler.domain.models import Target
from crawler.domain.objections import Tolerable
from crawler.domain.targets import request_parameters

FIRST_WINDOW = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question: a target, and the request that asks for it."""

    target: Target
    action: str
    params: Mapping[str, object]
    #: The hash of the last good body; an equal one is not decoded.
    known_hash: bytes | None = None
    #: Begins what makes one answer of several; None: this request is all there is to ask.
    compose: Callable[[], Composition] | None = None
    #: Members that are dropped from every answer before anything else looks at it; None: it is not looked through.
    secrets: tuple[str, ...] | None = None

    @classmethod
    def about(
        cls,
        target: Target,
        variant: Mapping[str, str],
        tolerated: Collection[Tolerable] = (),
        known_hash: bytes | None = None,
    ) -> Ask:
        """Return what asks for *target* with the parameters of its *variant*, as its kind declares it."""
        kind = KINDS[target.kind]
        return cls(
            target=target,
            action=kind.action,
            params={**kind.constants, **request_parameters(target, variant)},
            # A body that may hold a secret is looked through before it is taken for a known one.
            known_hash=known_hash if not kind.secrets or kind.is_composed else None,
            compose=partial(Composition, target, kind, variant, tolerated) if kind.is_composed else None,
            secrets=kind.secrets,
        )


class QueuedTarget:
    """A target on its way, with what has been tried; made when it is its turn, for most targets wait long."""

    __slots__ = (
        *("answer", "ask", "attempts", "composition", "form", "is_in_flight", "is_probe", "is_reask"),
        *("queue", "last", "target", "throttled"),
    )

    def __init__(self, target: Target, queue: RegionQueue, *, is_reask: bool = False) -> None:
        self.target = target
        self.queue = queue
        self.is_reask = is_reask
        #: What is sent for it, once it was prepared.
        self.ask: Ask | None = None
        self.form: bytes | None = None
        #: What its requests gave so far, where it takes several.
        self.composition: Composition | None = None
        #: Attempts of the request under way that were not throttled, and those that were.
        self.attempts = 0
        self.throttled = 0
        self.last: Refusal | None = None
        #: What came back of the attempt under way.
        self.answer: Answer | None = None
        self.is_probe = False
        #: A call for it is counted in its queue.
        self.is_in_flight = False

    @property
    def was_tried(self) -> bool:
        """At least one attempt was made."""
        return self.attempts + self.throttled > 0

    def go_on(self) -> None:
        """Turn to the next request."""
        self.form = None
        self.attempts = self.throttled = 0
        self.last = None


class RegionQueue:
    """One region's targets and its standing."""

    __slots__ = (
        *("circuit", "fresh", "good", "in_flight", "is_proven"),
        *("ready", "region", "targets", "unfinished", "window"),
    )

    def __init__(self, region: str) -> None:
        self.region = region
        #: Targets not asked yet, and entries that go before them, the last one first.
        self.fresh: deque[Target] = deque()
        self.ready: list[QueuedTarget] = []
        self.circuit = CircuitBreaker()
        self.targets = 0
        #: Replies, for the log.
        self.good = 0
        #: Targets and entries not ended yet: fresh, ready, delayed or in flight.
        self.unfinished = 0
        self.in_flight = 0
        self.window = FIRST_WINDOW
        #: Answered, and never silent since.
        self.is_proven = False

    @property
    def has_work(self) -> bool:
        """Something waits for a worker."""
        return bool(self.ready or self.fresh)

    def next(self) -> QueuedTarget:
        """Take what is next."""
        return self.ready.pop() if self.ready else QueuedTarget(self.fresh.popleft(), self)


class RegionQueues:
    """All targets of one account that wait for a worker."""

    def __init__(self, workers: int) -> None:
        self.unfinished = 0
        self._workers = workers
        self._half = max(1, workers // 2)
        self._queues: dict[str, RegionQueue] = {}
        #: Calls in flight in queues that are not proven.
        self._unproven = 0
        #: The queues that have something ready, in turn.
        self._turns: deque[RegionQueue] = deque()
        self._delayed: list[tuple[float, int, QueuedTarget]] = []
        self._serial = 0

    def add(self, target: Target) -> None:
        """Take a new target; it is asked after those its queue has already."""
        queue = self._enter(target)
        queue.targets += 1
        if not queue.has_work:
            self._turns.append(queue)
        queue.fresh.append(target)

    def add_again(self, target: Target) -> None:
        """Take a target to be asked once more: it goes to the front of its queue, and its queue is next."""
        queue = self._enter(target)
        self._put_first(QueuedTarget(target, queue, is_reask=True))

    def go_on(self, entry: QueuedTarget) -> None:
        """Take back an entry whose next request may start at once: what has begun is ended first."""
        entry.go_on()
        self._put_first(entry)

    def delay(self, entry: QueuedTarget, until: float) -> None:
        """Take back an entry that is to be tried again at *until*; meanwhile it occupies nobody."""
        self._serial += 1
        heapq.heappush(self._delayed, (until, self._serial, entry))

    def pick(self, now: float) -> QueuedTarget | None:
        """Return the next entry that may start now; its queue counts one more in flight."""
        while self._delayed and self._delayed[0][0] <= now:
            self._put_first(heapq.heappop(self._delayed)[2])
        for _ in range(len(self._turns)):
            queue = self._turns.popleft()
            if self._admits(queue, now):
                entry = queue.next()
                if queue.has_work:
                    self._turns.append(queue)
                self._count_flights(queue, 1)
                entry.is_in_flight = True
                entry.is_probe = not queue.circuit.is_dead and queue.circuit.begin()
                return entry
            self._turns.append(queue)
        return None

    def next_due(self, now: float) -> float | None:
        """Return the time at which something may start that may not now, apart from what calls in flight bring."""
        times = [self._delayed[0][0]] if self._delayed else []
        times += [queue.circuit.probe_at for queue in self._turns if queue.circuit.probe_at is not None]
        return min((time for time in times if time > now), default=None)

    def answered(self, entry: QueuedTarget) -> None:
        """Note that the entry's call was answered, whatever the answer said."""
        queue = entry.queue
        self._land(entry)
        queue.window = min(queue.window + 1, self._workers)
        self._prove(queue, True)
        queue.circuit.answered()

    def unanswered(self, entry: QueuedTarget, now: float) -> bool:
        """Note that the entry's call got no answer; tell whether that opened the region's circuit."""
        queue = entry.queue
        self._land(entry)
        queue.window = 1
        self._prove(queue, False)
        was_open = queue.circuit.failed(entry.target, now, targets=queue.targets, is_probe=entry.is_probe)
        if queue.circuit.is_dead:
            self._bring_forward(queue)
        return was_open

    def released(self, entry: QueuedTarget) -> None:
        """Note that the entry's call was cut, or never made; nothing follows when its end was noted already."""
        if entry.is_in_flight:
            self._land(entry)
            if entry.is_probe:
                entry.queue.circuit.released()

    def finish(self, entry: QueuedTarget) -> None:
        """Note that the entry has ended."""
        entry.queue.unfinished -= 1
        self.unfinished -= 1

    def drain(self) -> Iterator[QueuedTarget]:
        """Return everything that is still waiting, and forget it; nothing is in flight any more."""
        for queue in self._queues.values():
            queue.in_flight = 0
        self._unproven = 0
        while self._turns:
            queue = self._turns.popleft()
            while queue.has_work:
                yield queue.next()
        while self._delayed:
            yield heapq.heappop(self._delayed)[2]

    def all(self) -> Iterable[RegionQueue]:
        """Return every queue."""
        return self._queues.values()

    def _enter(self, target: Target) -> RegionQueue:
        queue = self._queues.get(target.region)
        if queue is None:
            queue = self._queues[target.region] = RegionQueue(target.region)
        queue.unfinished += 1
        self.unfinished += 1
        return queue

    def _put_first(self, entry: QueuedTarget) -> None:
        queue = entry.queue
        if queue.has_work:
            self._turns.remove(queue)
        queue.ready.append(entry)
        self._turns.appendleft(queue)

    def _land(self, entry: QueuedTarget) -> None:
        self._count_flights(entry.queue, -1)
        entry.is_in_flight = False

    def _count_flights(self, queue: RegionQueue, more: int) -> None:
        queue.in_flight += more
        if not queue.is_proven:
            self._unproven += more

    def _prove(self, queue: RegionQueue, is_proven: bool) -> None:
        if queue.is_proven != is_proven:
            queue.is_proven = is_proven
            self._unproven += -queue.in_flight if is_proven else queue.in_flight

    def _bring_forward(self, queue: RegionQueue) -> None:
        # Nobody waits for a region that was given up: its retries end now.
        mine = [entry for _, _, entry in self._delayed if entry.queue is queue]
        self._delayed = [item for item in self._delayed if item[2].queue is not queue]
        heapq.heapify(self._delayed)
        if mine and not queue.has_work:
            self._turns.append(queue)
        queue.ready.extend(mine)

    def _admits(self, queue: RegionQueue, now: float) -> bool:
        if queue.circuit.is_dead:
            return True
        if queue.in_flight >= queue.window or not queue.circuit.admits(now):
            return False
        if queue.unfinished == self.unfinished:
            return True
        if queue.in_flight >= self._half:
            return False
        return queue.is_proven or self._unproven < self._half
