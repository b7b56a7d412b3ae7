"""
Whose turn it is: one lane per region, so that a region which does not answer never occupies all workers.

A lane has a window of calls in flight that starts small, grows by one per answer and falls to one when a call gets no
answer. While other regions still have work no lane takes more than half of the workers, and all lanes that have not
answered yet (or not since their last failure) together take no more than that. Nothing awaits here; time is an
argument.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from crawler.client.circuit_breaker import Circuit
from crawler.client.responses import Answer, Refusal
from crawler.domain.models import Target

FIRST_WINDOW = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question: a target, and the request that asks for it."""

    target: Target
    action: str
    params: Mapping[str, object]
    #: The hash of the last good body; an equal one is not decoded.
    known_hash: bytes | None = None


class Entry:
    """A target on its way, with what has been tried; made when it is its turn, for most targets wait long."""

    __slots__ = (
        *("answer", "ask", "attempts", "form", "is_in_flight", "is_probe", "is_reask"),
        *("lane", "last", "target", "throttled"),
    )

    def __init__(self, target: Target, lane: Lane, *, is_reask: bool = False) -> None:
        self.target = target
        self.lane = lane
        self.is_reask = is_reask
        #: What is sent for it, once it was prepared.
        self.ask: Ask | None = None
        self.form: bytes | None = None
        #: Attempts that were not throttled, and those that were.
        self.attempts = 0
        self.throttled = 0
        self.last: Refusal | None = None
        #: What came back of the attempt under way.
        self.answer: Answer | None = None
        self.is_probe = False
        #: A call for it is counted in its lane.
        self.is_in_flight = False

    @property
    def was_tried(self) -> bool:
        """At least one attempt was made."""
        return self.attempts + self.throttled > 0


class Lane:
    """One region's targets and its standing."""

    __slots__ = (
        *("circuit", "fresh", "good", "in_flight", "is_proven"),
        *("ready", "region", "targets", "unfinished", "window"),
    )

    def __init__(self, region: str) -> None:
        self.region = region
        #: Targets not asked yet, and entries that go before them, the last one first.
        self.fresh: deque[Target] = deque()
        self.ready: list[Entry] = []
        self.circuit = Circuit()
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

    def next(self) -> Entry:
        """Take what is next."""
        return self.ready.pop() if self.ready else Entry(self.fresh.popleft(), self)


class Lanes:
    """All targets of one account that wait for a worker."""

    def __init__(self, workers: int) -> None:
        self.unfinished = 0
        self._workers = workers
        self._half = max(1, workers // 2)
        self._lanes: dict[str, Lane] = {}
        #: Calls in flight in lanes that are not proven.
        self._unproven = 0
        #: The lanes that have something ready, in turn.
        self._turns: deque[Lane] = deque()
        self._delayed: list[tuple[float, int, Entry]] = []
        self._serial = 0

    def add(self, target: Target) -> None:
        """Take a new target; it is asked after those its lane has already."""
        lane = self._enter(target)
        lane.targets += 1
        if not lane.has_work:
            self._turns.append(lane)
        lane.fresh.append(target)

    def add_again(self, target: Target) -> None:
        """Take a target to be asked once more: it goes to the front of its lane, and its lane is next."""
        lane = self._enter(target)
        self._put_first(Entry(target, lane, is_reask=True))

    def delay(self, entry: Entry, until: float) -> None:
        """Take back an entry that is to be tried again at *until*; meanwhile it occupies nobody."""
        self._serial += 1
        heapq.heappush(self._delayed, (until, self._serial, entry))

    def pick(self, now: float) -> Entry | None:
        """Give the next entry that may start now; its lane counts one more in flight."""
        while self._delayed and self._delayed[0][0] <= now:
            self._put_first(heapq.heappop(self._delayed)[2])
        for _ in range(len(self._turns)):
            lane = self._turns.popleft()
            if self._admits(lane, now):
                entry = lane.next()
                if lane.has_work:
                    self._turns.append(lane)
                self._count_flights(lane, 1)
                entry.is_in_flight = True
                entry.is_probe = not lane.circuit.is_dead and lane.circuit.begin()
                return entry
            self._turns.append(lane)
        return None

    def next_due(self, now: float) -> float | None:
        """Give the time at which something may start that may not now, apart from what calls in flight bring."""
        times = [self._delayed[0][0]] if self._delayed else []
        times += [lane.circuit.probe_at for lane in self._turns if lane.circuit.probe_at is not None]
        return min((time for time in times if time > now), default=None)

    def answered(self, entry: Entry) -> None:
        """Note that the entry's call was answered, whatever the answer said."""
        lane = entry.lane
        self._land(entry)
        lane.window = min(lane.window + 1, self._workers)
        self._prove(lane, True)
        lane.circuit.answered()

    def unanswered(self, entry: Entry, now: float) -> bool:
        """Note that the entry's call got no answer; tell whether that opened the region's circuit."""
        lane = entry.lane
        self._land(entry)
        lane.window = 1
        self._prove(lane, False)
        was_open = lane.circuit.failed(entry.target, now, targets=lane.targets, is_probe=entry.is_probe)
        if lane.circuit.is_dead:
            self._bring_forward(lane)
        return was_open

    def released(self, entry: Entry) -> None:
        """Note that the entry's call was cut, or never made; nothing follows when its end was noted already."""
        if entry.is_in_flight:
            self._land(entry)
            if entry.is_probe:
                entry.lane.circuit.released()

    def finish(self, entry: Entry) -> None:
        """Note that the entry has ended."""
        entry.lane.unfinished -= 1
        self.unfinished -= 1

    def drain(self) -> Iterator[Entry]:
        """Give everything that is still waiting, and forget it; nothing is in flight any more."""
        for lane in self._lanes.values():
            lane.in_flight = 0
        self._unproven = 0
        while self._turns:
            lane = self._turns.popleft()
            while lane.has_work:
                yield lane.next()
        while self._delayed:
            yield heapq.heappop(self._delayed)[2]

    def all(self) -> Iterable[Lane]:
        """Give every lane."""
        return self._lanes.values()

    def _enter(self, target: Target) -> Lane:
        lane = self._lanes.get(target.region)
        if lane is None:
            lane = self._lanes[target.region] = Lane(target.region)
        lane.unfinished += 1
        self.unfinished += 1
        return lane

    def _put_first(self, entry: Entry) -> None:
        lane = entry.lane
        if lane.has_work:
            self._turns.remove(lane)
        lane.ready.append(entry)
        self._turns.appendleft(lane)

    def _land(self, entry: Entry) -> None:
        self._count_flights(entry.lane, -1)
        entry.is_in_flight = False

    def _count_flights(self, lane: Lane, more: int) -> None:
        lane.in_flight += more
        if not lane.is_proven:
            self._unproven += more

    def _prove(self, lane: Lane, is_proven: bool) -> None:
        if lane.is_proven != is_proven:
            lane.is_proven = is_proven
            self._unproven += -lane.in_flight if is_proven else lane.in_flight

    def _bring_forward(self, lane: Lane) -> None:
        # Nobody waits for a region that was given up: its retries end now.
        mine = [entry for _, _, entry in self._delayed if entry.lane is lane]
        self._delayed = [item for item in self._delayed if item[2].lane is not lane]
        heapq.heapify(self._delayed)
        if mine and not lane.has_work:
            self._turns.append(lane)
        lane.ready.extend(mine)

    def _admits(self, lane: Lane, now: float) -> bool:
        if lane.circuit.is_dead:
            return True
        if lane.in_flight >= lane.window or not lane.circuit.admits(now):
            return False
        if lane.unfinished == self.unfinished:
            return True
        if lane.in_flight >= self._half:
            return False
        return lane.is_proven or self._unproven < self._half
