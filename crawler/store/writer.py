"""
The Recorder: judges what the cloud answered against what the history holds, and writes what follows.

Used by one thread. `judge` reads and decides, `commit` writes everything decided so far in one transaction, each target
whole, together with the run's mark of who was reached; `finish` is the last one and ends the run with it. A target that
answers as before costs one bit of that mark.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, Engine

from crawler.model import (
    IMAGE_EVENTS,
    OUTCOMES,
    Failure,
    Reply,
    RunStatus,
    Target,
    require_aware,
)
from crawler.records import Notice
from crawler.store import batch, ledger, state
from crawler.store.batch import Decision, News, Setback
from crawler.store.engine import Fence, begin, read
from crawler.store.ledger import LastAnswer, PlannedTarget, finish_run, last_answers, positions
from crawler.store.understanding import Judge, Understanding, Understood


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """A reply that has to be judged."""

    planned: PlannedTarget
    reply: Reply
    understood: Understood
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
        self._understanding = Understanding(judge, confirmed=zone_numbers or {}, catalog=catalog_numbers or {})
        self._bits = positions(target.target_id for target in planned.values())
        #: The account that keeps the mark.
        self._account_id = min((target.account_id for target in planned.values()), default=0)
        self._reached = bytearray((len(planned) + 7) // 8)
        self._latest: datetime | None = None
        self._judged = bytearray(len(self._reached))
        self._waiting: dict[Target, _Answer] = {}
        self._pending: list[Decision] = []
        self._counters = dict.fromkeys((*OUTCOMES, "baseline_targets", "baseline_images", *IMAGE_EVENTS), 0)

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
        return self._understanding.notices

    @property
    def noticed(self) -> list[Notice]:
        """Give the same with the targets that said so."""
        return self._understanding.noticed

    @property
    def read_targets(self) -> frozenset[Target]:
        """Give the targets whose answers were read, because they differed from the last ones."""
        return frozenset(self._understanding.read_targets)

    # --- judging -----------------------------------------------------------------------------------------------------

    def judge(self, items: Sequence[Reply | Failure]) -> list[Target]:
        """Decide what *items* mean, and give the targets to ask again at once."""
        answers: list[_Answer] = []
        for item in items:
            planned = self._planned[item.target]
            first = self._waiting.pop(item.target, None) if item.is_reask else None
            if isinstance(item, Reply):
                if item.unchanged and not planned.has_hold:
                    self._decide(Decision(planned=planned))
                else:
                    answers.append(self._understood(planned, item))
            elif first is not None:
                # There is no second answer to be had, so the first one has to do.
                answers.append(replace(first, reasked=True))
            else:
                self._decide(Decision(planned=planned, setback=self._setback(item)))
        return self._decide_answers(answers)

    def settle(self) -> None:
        """Judge the first answers of targets whose second answer never came, as if it had failed."""
        answers = [replace(first, reasked=True) for first in self._waiting.values()]
        self._waiting.clear()
        self._decide_answers(answers)

    def _understood(self, planned: PlannedTarget, reply: Reply) -> _Answer:
        understood = self._understanding.read(planned, reply)
        return _Answer(planned=planned, reply=reply, understood=understood, reasked=reply.is_reask)

    def _decide_answers(self, answers: Sequence[_Answer]) -> list[Target]:
        if not answers:
            return []
        with read(self._engine) as conn:
            last = last_answers(conn, sorted(answer.planned.target_id for answer in answers))
            differing = [answer for answer in answers if not self._is_shuffled(answer, last[answer.planned.target_id])]
            states = state.load(
                conn,
                [answer.planned for answer in differing],
                {answer.planned.target_id: answer.understood.snapshot.images.keys() for answer in differing},
                last,
                self._understanding.versions,
            )
        return [
            answer.planned.target
            for answer in differing
            if self._decide_answer(answer, states[answer.planned.target_id]) == "ask again"
        ]

    def _is_shuffled(self, answer: _Answer, last: LastAnswer) -> bool:
        """
        Tell whether an answer is the last snapshot in another body, and decide it so: a cloud that shuffles its lists.

        Nothing is written, not even the new hash. Were it kept, a cloud that shuffles every time would cost an update
        per target per run; so this one costs decoding and reading each time, until something really changes and the
        hash is written with it.
        """
        planned = answer.planned
        is_same = answer.understood.digest == last.snapshot_digest
        if not is_same or planned.body_hash is None or planned.has_hold:
            return False
        self._decide(Decision(planned=planned))
        return True

    def _decide_answer(self, answer: _Answer, known: state.TargetState) -> Literal["decided", "ask again"]:
        planned = answer.planned
        # Never before what the target's history holds already, should the clock have been set back within the run.
        floor = [moment for moment in (planned.last_good_at, known.last.written_at) if moment is not None]
        observed_at = max([require_aware(answer.reply.received_at), *floor])
        verdict = self._judge.decide(
            known.known, answer.understood.snapshot, observed_at=observed_at, reasked=answer.reasked
        )
        if verdict.ask_again and not answer.reasked:
            self._waiting[planned.target] = answer
            return "ask again"
        news = News(
            evidence=self._understanding.evidence(answer.reply),
            digest=answer.understood.digest,
            verdict=verdict,
            state=known.narrowed_to(verdict.keys),
            observed_at=observed_at,
        )
        setback = _held(news, len(known.known.images)) if verdict.outcome == "held" else None
        self._decide(Decision(planned=planned, setback=setback, news=news))
        return "decided"

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
        byte, bit = self._bit(decision)
        if self._judged[byte] & bit:
            raise ValueError(f"{decision.planned.target} was answered twice in one run")
        self._judged[byte] |= bit
        self._pending.append(decision)

    def _bit(self, decision: Decision) -> tuple[int, int]:
        """Give where the target stands in a bitmap over the scope: the byte, and the bit in it."""
        position = self._bits[decision.planned.target_id]
        return position >> 3, 1 << (position & 7)

    # --- writing -----------------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Write everything pending, and the mark of who was reached, in one transaction; raises FenceLost."""
        if not self._pending:
            return

        def mark(conn: Connection, reached: bytes, latest: datetime, counters: Mapping[str, int]) -> None:
            ledger.mark(conn, self._run_id, self._account_id, reached=reached, at=latest, counters=counters)

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
            byte, bit = self._bit(decision)
            reached[byte] |= bit
            _count(counters, decision)
            for moment in _moments(decision):
                latest = moment if latest is None else max(latest, moment)
        with begin(self._engine, self._fence) as conn:
            batch.write(conn, self._run_id, self._pending, self._understanding.versions, self._clock)
            self._understanding.write(conn)
            now = self._clock()
            latest = now if latest is None else max(now, latest)
            close(conn, bytes(reached), latest, counters)
        self._reached, self._counters, self._latest = reached, counters, latest
        self._pending.clear()
        self._understanding.written()


def _held(news: News, images: int) -> Setback:
    holds = news.state.known.holds
    waiting = set(news.verdict.hold).union(*(hold.keys for hold in holds if hold.hold_id in news.verdict.confirmed))
    return Setback(
        outcome="held",
        message=f"{len(waiting)} of {images} images are not listed any more; waiting for confirmation",
        request_uuid=news.evidence.request_uuid,
        at=news.observed_at,
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
