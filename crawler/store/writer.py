"""
The Recorder: judges what the cloud answered against what the history holds, and writes what follows.

Used by one thread. `judge` reads and decides, `commit` writes everything decided so far in one transaction, each target
whole, together with the run's mark of who was reached; `finish` is the last one and ends the run with it. A target that
answers as before costs one bit of that mark.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, delete, insert, update

from crawler.model import (
    IMAGE_EVENTS,
    OUTCOMES,
    Failure,
    Known,
    Reply,
    RunStatus,
    Snapshot,
    Target,
    Verdict,
    digest_of,
    require_aware,
)
from crawler.store import batch, state
from crawler.store.batch import Decision, News, Setback
from crawler.store.engine import Fence, begin, read
from crawler.store.evidence import Evidence
from crawler.store.ledger import PlannedTarget, finish_run, positions
from crawler.store.tables import Run, ZoneNumber
from crawler.store.versions import Versions

#: Different notices of one run that are kept.
MAX_NOTICES = 50
#: Answers remembered as read: projects of a zone often get the same body, and more zones than this are nowhere.
ANSWERS_AT_ONCE = 128


class Judge(Protocol):
    """The thinking: what an answer says, and what it means."""

    def read(self, reply: Reply, zone_numbers: Mapping[int, str], /) -> Snapshot:
        """Read the images a reply lists; *zone_numbers* are the numeric ZoneIds whose zone is known."""

    def decide(self, known: Known, snapshot: Snapshot, /, *, observed_at: datetime, reasked: bool) -> Verdict:
        """Decide what a snapshot means; with *reasked* false it may want the target asked again first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """A reply that has to be judged."""

    planned: PlannedTarget
    reply: Reply
    snapshot: Snapshot
    digest: str
    observed_at: datetime
    reasked: bool


class Recorder:
    """Records the observations of one run."""

    def __init__(
        self,
        engine: Engine,
        fence: Fence | None,
        run_id: int,
        planned: Mapping[Target, PlannedTarget],
        judge: Judge,
        clock: Callable[[], datetime],
        *,
        unlisted: Collection[Target] = (),
        zone_numbers: Mapping[int, Mapping[int, str]] | None = None,
        catalog_numbers: Mapping[int, Mapping[int, str]] | None = None,
    ) -> None:
        """
        Take the run and its *planned* targets, which are exactly those of its scope.

        *unlisted* targets are missing from the last good discovery. *zone_numbers* are the confirmed numeric ZoneIds,
        *catalog_numbers* the unique ones of the catalog, both as `{account id: {number: zone}}`.
        """
        self._engine = engine
        self._fence = fence
        self._run_id = run_id
        self._planned = planned
        self._judge = judge
        self._clock = clock
        self._unlisted = frozenset(unlisted)
        self._catalog_numbers = catalog_numbers or {}
        # A number that the catalog now gives to another zone is not confirmed any more.
        self._zone_numbers = {
            account_id: {
                number: zone
                for number, zone in numbers.items()
                if self._catalog_numbers.get(account_id, {}).get(number, zone) == zone
            }
            for account_id, numbers in (zone_numbers or {}).items()
        }
        self._bits = positions(target.target_id for target in planned.values())
        self._reached = bytearray((len(planned) + 7) // 8)
        self._latest: datetime | None = None
        self._judged: set[Target] = set()
        self._waiting: dict[Target, _Answer] = {}
        self._pending: list[Decision] = []
        self._confirmed: list[tuple[int, int, str]] = []
        self._counters = dict.fromkeys((*OUTCOMES, "baseline_targets", "baseline_images", *IMAGE_EVENTS), 0)
        self._notices: dict[str, list[Target]] = {}
        self._read_before: OrderedDict[object, tuple[Snapshot, str]] = OrderedDict()
        self._versions = Versions()
        #: Answers of what is pending, by the hash of the body.
        self._packed: dict[bytes, Evidence] = {}

    @property
    def pending(self) -> int:
        """Count the targets that are decided and not yet written."""
        return len(self._pending)

    @property
    def pending_images(self) -> int:
        """Count the images that those targets open or change: what writing them takes follows that."""
        return sum(len(item.news.verdict.baseline or item.news.verdict.changes) for item in self._pending if item.news)

    @property
    def waiting(self) -> frozenset[Target]:
        """Give the targets that were to be asked again and have not answered yet."""
        return frozenset(self._waiting)

    @property
    def counters(self) -> dict[str, int]:
        """Give what was committed so far, by the names of the run's columns."""
        return dict(self._counters)

    @property
    def notices(self) -> list[str]:
        """Give what was not understood, each sentence once, with how many targets said so."""
        lines = [
            f"{targets[0]}: {notice}" + (f" (and {len(targets) - 1} more targets)" if len(targets) > 1 else "")
            for notice, targets in self._notices.items()
        ]
        if len(lines) > MAX_NOTICES:
            lines[MAX_NOTICES:] = [f"and {len(lines) - MAX_NOTICES} more kinds of notices"]
        return lines

    # --- judging -----------------------------------------------------------------------------------------------------

    def judge(self, items: Sequence[Reply | Failure]) -> list[Target]:
        """Decide what *items* mean, and give the targets to ask again at once."""
        answers: list[_Answer] = []
        for item in items:
            first = self._waiting.pop(item.target, None) if item.is_reask else None
            if isinstance(item, Reply):
                answer = self._read(item)
                if answer is not None:
                    answers.append(answer)
            elif first is not None:
                # There is no second answer to be had, so the first one has to do.
                answers.append(replace(first, reasked=True))
            else:
                self._decide(Decision(planned=self._planned[item.target], setback=self._setback(item)))
        return self._decide_answers(answers)

    def settle(self) -> None:
        """Judge the first answers of targets whose second answer never came, as if it had failed."""
        answers = [replace(first, reasked=True) for first in self._waiting.values()]
        self._waiting.clear()
        self._decide_answers(answers)

    def _read(self, reply: Reply) -> _Answer | None:
        """Give the answer to judge; None when it says what the last one said, and is decided by that."""
        planned = self._planned[reply.target]
        if reply.unchanged and not planned.has_hold:
            self._decide(Decision(planned=planned))
            return None
        snapshot, digest = self._snapshot(planned, reply)
        self._confirm_zone_number(planned, snapshot)
        for notice in snapshot.notices:
            self._notices.setdefault(notice, []).append(planned.target)
        # The same snapshot in another body (a cloud that shuffles its lists): nothing is written, not even the new
        # hash. Were it kept, a cloud that shuffles every time would cost an update per target per run; so this one
        # costs decoding and reading each time, until something really changes and the hash is written with it.
        if digest == planned.snapshot_digest and planned.body_hash is not None and not planned.has_hold:
            self._decide(Decision(planned=planned))
            return None
        # Never before what the target's history holds already, should the clock have been set back within the run.
        floor = [moment for moment in (planned.last_good_at, planned.written_at) if moment is not None]
        observed_at = max([require_aware(reply.received_at), *floor])
        return _Answer(
            planned=planned,
            reply=replace(reply, document=None),  # the largest part of it, and done with
            snapshot=snapshot,
            digest=digest,
            observed_at=observed_at,
            reasked=reply.is_reask,
        )

    def _snapshot(self, planned: PlannedTarget, reply: Reply) -> tuple[Snapshot, str]:
        """Read a reply, once for all targets of a zone that got the same body."""
        numbers = self._zone_numbers.get(planned.account_id, {})
        # Numbers are only ever added during a run, so their count says which were known.
        same = (reply.body_hash, planned.account_id, reply.target.zone, reply.target.kind, len(numbers))
        found = self._read_before.get(same)
        if found is None:
            if reply.document is None:
                reply = replace(reply, document=json.loads(reply.body), unchanged=False)
            snapshot = self._judge.read(reply, numbers)
            found = self._read_before[same] = (snapshot, self._digest(snapshot))
            if len(self._read_before) > ANSWERS_AT_ONCE:
                self._read_before.popitem(last=False)
        self._read_before.move_to_end(same)
        return found

    def _digest(self, snapshot: Snapshot) -> str:
        """
        Give the digest by which the next answer is compared: what the snapshot lists, and what was not understood.

        Order, duplicates and key case do not count. A new oddity does: it makes a different answer, is looked at and
        kept as evidence once, and no more after that.
        """
        versions = [self._versions.digest(key, attributes) for key, attributes in snapshot.images.items()]
        return digest_of([sorted(versions), sorted(snapshot.foreign), sorted(snapshot.notices)])

    def _decide_answers(self, answers: Sequence[_Answer]) -> list[Target]:
        if not answers:
            return []
        with read(self._engine) as conn:
            states = state.load(
                conn,
                [answer.planned for answer in answers],
                {answer.planned.target_id: answer.snapshot.images.keys() for answer in answers},
                self._versions,
            )
        again: list[Target] = []
        for answer in answers:
            planned, target_state = answer.planned, states[answer.planned.target_id]
            verdict = self._judge.decide(
                target_state.known, answer.snapshot, observed_at=answer.observed_at, reasked=answer.reasked
            )
            if verdict.ask_again and not answer.reasked:
                self._waiting[planned.target] = answer
                again.append(planned.target)
                continue
            setback = _held(answer, verdict, target_state.known) if verdict.outcome == "held" else None
            news = News(
                evidence=self._evidence(answer.reply),
                digest=answer.digest,
                verdict=verdict,
                state=target_state.narrowed_to(verdict.keys),
                observed_at=answer.observed_at,
            )
            self._decide(Decision(planned=planned, setback=setback, news=news))
        return again

    def _evidence(self, reply: Reply) -> Evidence:
        """Give a reply as it is kept; projects of a zone often got the same body, which is packed once."""
        if reply.body_hash not in self._packed:
            self._packed[reply.body_hash] = Evidence.of(reply)
        return self._packed[reply.body_hash]

    def _setback(self, failure: Failure) -> Setback:
        """Give the outcome of a failure; a refusal is `denied` only where nothing else was to be expected."""
        planned = self._planned[failure.target]
        outcome, message = failure.outcome, failure.message
        if failure.failure_class == "denied":
            if planned.ever_ok and failure.target not in self._unlisted:
                outcome, message = "failed", f"{message} (this target was open to this key before)"
            else:
                outcome = "denied"
        return Setback(
            outcome=outcome,
            failure_class=failure.failure_class,
            ret_code=failure.ret_code,
            message=message,
            request_uuid=failure.request_uuid,
            at=failure.at,
        )

    def _decide(self, decision: Decision) -> None:
        target = decision.planned.target
        if target in self._judged:
            raise ValueError(f"{target} was answered twice in one run")
        self._judged.add(target)
        self._pending.append(decision)

    def _confirm_zone_number(self, planned: PlannedTarget, snapshot: Snapshot) -> None:
        """Learn a numeric ZoneId: the catalog gives it to this zone alone, and all records of this answer agree."""
        number, zone = snapshot.zone_number, planned.target.zone
        numbers = self._zone_numbers.setdefault(planned.account_id, {})
        if number is None or number in numbers:
            return
        if self._catalog_numbers.get(planned.account_id, {}).get(number) == zone:
            numbers[number] = zone
            self._confirmed.append((planned.account_id, number, zone))

    # --- writing -----------------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Write everything pending, and the mark of who was reached, in one transaction; raises FenceLost."""
        if not self._pending:
            return

        def mark(conn: Connection, reached: bytes, latest: datetime, counters: Mapping[str, int]) -> None:
            conn.execute(
                update(Run).where(Run.id == self._run_id).values(reached=reached, reached_at=latest, **counters)
            )

        self._write(mark)

    def finish(
        self,
        status: Callable[[Mapping[str, int]], RunStatus],
        counters: Mapping[str, int] | None = None,
        notices: Sequence[str] = (),
        *,
        afterwards: Callable[[Connection, datetime], object] | None = None,
    ) -> None:
        """
        Write everything pending and finish the run, in one transaction; raises FenceLost.

        *status* tells how the run went from its counters; *counters* are the caller's own, *notices* come before ours.
        *afterwards* gets the transaction and the end of the run, for what has to be there when the run is.
        """

        def end(conn: Connection, reached: bytes, latest: datetime, counted: Mapping[str, int]) -> None:
            finished_at = finish_run(
                conn,
                self._run_id,
                status(counted),
                latest,
                {**counted, **(counters or {})},
                [*notices, *self.notices],
                reached=reached,
            )
            if afterwards is not None:
                afterwards(conn, finished_at)

        self._write(end)

    def _write(self, close: Callable[[Connection, bytes, datetime, Mapping[str, int]], None]) -> None:
        """Write everything pending, then let *close* write the mark, the newest moment and the counters."""
        reached, counters = bytearray(self._reached), dict(self._counters)
        latest = self._latest
        for decision in self._pending:
            bit = self._bits[decision.planned.target_id]
            reached[bit >> 3] |= 1 << (bit & 7)
            _count(counters, decision)
            for moment in _moments(decision):
                latest = moment if latest is None else max(latest, moment)
        with begin(self._engine, self._fence) as conn:
            batch.write(conn, self._run_id, self._pending, self._versions, self._clock)
            self._write_zone_numbers(conn)
            now = self._clock()
            latest = now if latest is None else max(now, latest)
            close(conn, bytes(reached), latest, counters)
        self._reached, self._counters, self._latest = reached, counters, latest
        self._pending.clear()
        self._packed.clear()
        self._confirmed.clear()

    def _write_zone_numbers(self, conn: Connection) -> None:
        if not self._confirmed:
            return
        for account_id, number, _ in self._confirmed:
            # One that belonged to another zone once, and that the catalog has moved.
            conn.execute(delete(ZoneNumber).where(ZoneNumber.account_id == account_id, ZoneNumber.number == number))
        rows: list[dict[str, Any]] = [
            {"account_id": account_id, "number": number, "zone": zone} for account_id, number, zone in self._confirmed
        ]
        conn.execute(insert(ZoneNumber), rows)


def _held(answer: _Answer, verdict: Verdict, known: Known) -> Setback:
    waiting = set(verdict.hold).union(*(hold.keys for hold in known.holds if hold.hold_id in verdict.confirmed))
    return Setback(
        outcome="held",
        message=f"{len(waiting)} of {len(known.images)} images are not listed any more; waiting for confirmation",
        request_uuid=answer.reply.request_uuid,
        at=answer.observed_at,
    )


def _count(counters: dict[str, int], decision: Decision) -> None:
    counters[decision.outcome] += 1
    if decision.news is None:
        return
    if decision.news.verdict.baseline is not None:
        counters["baseline_targets"] += 1
        counters["baseline_images"] += len(decision.news.verdict.baseline)
    for change in decision.news.verdict.changes:
        counters[change.event] += 1


def _moments(decision: Decision) -> list[datetime]:
    return [part.at for part in (decision.setback,) if part] + [part.observed_at for part in (decision.news,) if part]
