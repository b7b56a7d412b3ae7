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

from crawler.fetch.answers import Refusal
from crawler.fetch.circuit import Circuit
from crawler.model import Target

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
    """An ask on its way, with what has been tried."""

    __slots__ = ("ask", "attempts", "form", "is_probe", "is_reask", "lane", "last", "throttled")

    def __init__(self, ask: Ask, *, is_reask: bool = False) -> None:
        self.ask = ask
        self.is_reask = is_reask
        self.form: bytes | None = None
        self.lane: Lane | None = None
        #: Attempts that were not throttled, and those that were.
        self.attempts = 0
        self.throttled = 0
        self.last: Refusal | None = None
        self.is_probe = False

    @property
    def was_tried(self) -> bool:
        """At least one attempt was made."""
        return self.attempts + self.throttled > 0


class Lane:
    """One region's entries and its standing."""

    __slots__ = ("circuit", "good", "in_flight", "is_proven", "ready", "region", "targets", "unfinished", "window")

    def __init__(self, region: str) -> None:
        self.region = region
        self.ready: deque[Entry] = deque()
        self.circuit = Circuit()
        self.targets = 0
        #: Replies, for the log.
        self.good = 0
        #: Entries not ended yet: ready, delayed or in flight.
        self.unfinished = 0
        self.in_flight = 0
        self.window = FIRST_WINDOW
        #: Answered, and never silent since.
        self.is_proven = False


class Lanes:
    """All entries of one account that wait for a worker."""

    def __init__(self, workers: int) -> None:
        self.unfinished = 0
        self._workers = workers
        self._half = max(1, workers // 2)
        self._lanes: dict[str, Lane] = {}
        #: The lanes that have something ready, in turn.
        self._turns: deque[Lane] = deque()
        self._delayed: list[tuple[float, int, Entry]] = []
        self._serial = 0

    def add(self, entry: Entry) -> None:
        """Take a new entry; a re-ask goes to the front of its lane, and its lane is next."""
        region = entry.ask.target.region
        lane = self._lanes.get(region)
        if lane is None:
            lane = self._lanes[region] = Lane(region)
        entry.lane = lane
        lane.unfinished += 1
        self.unfinished += 1
        if not entry.is_reask:
            lane.targets += 1
        self._make_ready(lane, entry, first=entry.is_reask)

    def delay(self, entry: Entry, until: float) -> None:
        """Take back an entry that is to be tried again at *until*; meanwhile it occupies nobody."""
        self._serial += 1
        heapq.heappush(self._delayed, (until, self._serial, entry))

    def pick(self, now: float) -> Entry | None:
        """Give the next entry that may start now; its lane counts one more in flight."""
        while self._delayed and self._delayed[0][0] <= now:
            entry = heapq.heappop(self._delayed)[2]
            self._make_ready(lane_of(entry), entry, first=True)
        for _ in range(len(self._turns)):
            lane = self._turns.popleft()
            if self._admits(lane, now):
                entry = lane.ready.popleft()
                if lane.ready:
                    self._turns.append(lane)
                lane.in_flight += 1
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
        lane = lane_of(entry)
        lane.in_flight -= 1
        lane.window = min(lane.window + 1, self._workers)
        lane.is_proven = True
        lane.circuit.answered()

    def unanswered(self, entry: Entry, now: float) -> bool:
        """Note that the entry's call got no answer; tell whether that opened the region's circuit."""
        lane = lane_of(entry)
        lane.in_flight -= 1
        lane.window = 1
        lane.is_proven = False
        was_open = lane.circuit.failed(entry.ask.target, now, targets=lane.targets, is_probe=entry.is_probe)
        if lane.circuit.is_dead:
            self._bring_forward(lane)
        return was_open

    def released(self, entry: Entry) -> None:
        """Note that the entry's call was cut, or never made."""
        lane = lane_of(entry)
        lane.in_flight -= 1
        if entry.is_probe:
            lane.circuit.released()

    def finish(self, entry: Entry) -> None:
        """Note that the entry has ended."""
        lane_of(entry).unfinished -= 1
        self.unfinished -= 1

    def drain(self) -> Iterator[Entry]:
        """Give every entry that is still waiting, and forget it; nothing is in flight any more."""
        for lane in self._lanes.values():
            lane.in_flight = 0
        while self._turns:
            lane = self._turns.popleft()
            while lane.ready:
                yield lane.ready.popleft()
        while self._delayed:
            yield heapq.heappop(self._delayed)[2]

    def all(self) -> Iterable[Lane]:
        """Give every lane."""
        return self._lanes.values()

    def _make_ready(self, lane: Lane, entry: Entry, *, first: bool) -> None:
        if first:
            if lane.ready:
                self._turns.remove(lane)
            lane.ready.appendleft(entry)
            self._turns.appendleft(lane)
        else:
            if not lane.ready:
                self._turns.append(lane)
            lane.ready.append(entry)

    def _bring_forward(self, lane: Lane) -> None:
        # Nobody waits for a region that was given up: its retries end now.
        mine = [entry for _, _, entry in self._delayed if entry.lane is lane]
        self._delayed = [item for item in self._delayed if item[2].lane is not lane]
        heapq.heapify(self._delayed)
        for entry in mine:
            self._make_ready(lane, entry, first=False)

    def _admits(self, lane: Lane, now: float) -> bool:
        if lane.circuit.is_dead:
            return True
        if lane.in_flight >= lane.window or not lane.circuit.admits(now):
            return False
        if lane.unfinished == self.unfinished:
            return True
        if lane.in_flight >= self._half:
            return False
        return lane.is_proven or self._unproven_in_flight() < self._half

    def _unproven_in_flight(self) -> int:
        return sum(lane.in_flight for lane in self._lanes.values() if not lane.is_proven)


def lane_of(entry: Entry) -> Lane:
    """Give the lane that `add` put the entry in."""
    assert entry.lane is not None, "entries enter through Lanes.add"  # noqa: S101 - narrows the type
    return entry.lane
