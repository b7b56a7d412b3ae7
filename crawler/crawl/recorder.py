"""
The Recorder: judges what the cloud answered against what the history holds, and writes what follows.

Used by one thread. `judge` reads and decides, `commit` writes everything decided so far in one transaction, each
target whole, together with the run's mark of who was reached; `finish` is the last one and ends the run with it. A
target that answers as before costs one bit of that mark.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Protocol

from sqlalchemy import Connection, Engine

from crawler.crawl.reply_reader import CatalogNumbers, Judge, ReplyReader, Understood
from crawler.db import answer_forms, observations, runs, target_state
from crawler.db.answer_forms import FormNews
from crawler.db.engine import Fence, begin, read
from crawler.db.observations import BadOutcome, Decision, GoodAnswer
from crawler.db.payloads import NewPayload
from crawler.db.runs import LastAnswer, PlannedTarget, finish_run, last_answers, positions
from crawler.domain.forms import without
from crawler.domain.kinds import KINDS
from crawler.domain.models import (
    IMAGE_EVENTS,
    OUTCOMES,
    WAITING,
    Change,
    Failure,
    Reply,
    RunStatus,
    Snapshot,
    Target,
    WaitsFor,
    require_aware,
)
from crawler.domain.objections import LastGood, answered_by
from crawler.domain.rows import Notice
from crawler.domain.text import agreeing, counted
from crawler.errors import contained

#: Ends a transaction: writes the mark of who was reached, the newest moment and the counters.
Close = Callable[[Connection, bytes, datetime, Mapping[str, int]], None]

#: Images that are decoded at once, those an answer lists or those known of its target; one target's are never parted.
IMAGES_AT_ONCE = 10_000
#: Bytes of memory that the answers take which are decoded at once; a larger one is alone.
BYTES_AT_ONCE = 8 * 2**20
#: Targets, images and bytes of memory that may wait to be written together.
BATCH = 250
PENDING_IMAGES = 10_000
PENDING_BYTES = 16 * 2**20

#: Says why a reply is not judged any more; None: it is in time.
Late = Callable[[Reply], Failure | None]


def never_late(reply: Reply) -> None:
    """Judge every reply, whenever it is its turn."""


class Progress(Protocol):
    """Told of every target that has ended, for a person who waits."""

    def __call__(self, target: Target, done: int, total: int, /) -> None:
        """Take the target, how many have ended, and of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unread:
    """A reply that has to be judged, as it waits for that: nothing of it is decoded."""

    planned: PlannedTarget
    reply: Reply
    #: The reply as it is kept, where that was made already: then the reply is without its body.
    evidence: NewPayload | None = None
    #: What was asked again before it: an answer that lacked images, one that was not believed at all.
    reasked: bool = False
    retried: bool = False
    #: The answer because of which the target was asked again.
    first: _Unread | None = None
    #: This one is not believed at all.
    is_objected: bool = False

    @property
    def instead(self) -> _Unread | None:
        """Return the one that counts, should this one not be believed."""
        return self.first.instead if self.first is not None and self.first.is_objected else self.first

    def last(self) -> _Unread:
        """Return the answer as one that has to do: nothing is asked again."""
        return replace(self, reasked=True, retried=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """A reply that was read, and is being judged."""

    unread: _Unread
    understood: Understood
    #: Why it is not believed at all.
    objection: str | None = None

    @property
    def planned(self) -> PlannedTarget:
        return self.unread.planned


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
        catalog_numbers: CatalogNumbers | None = None,
        batch: int = BATCH,
        progress: Progress | None = None,
    ) -> None:
        """
        Take the run and its *planned* targets, which are exactly those of its scope.

        *unlisted* targets are missing from the last good discovery. *zone_numbers* are the confirmed numeric ZoneIds,
        *catalog_numbers* those of the catalog (None: of several zones), as `{account id: {number: zone}}`. *batch*
        targets are written at once; *progress* is told in the thread that judges.
        """
        self._engine = engine
        self._fence = fence
        self._run_id = run_id
        self._planned = planned
        self._judge = judge
        self._clock = clock
        self._unlisted = frozenset(unlisted)
        self._understanding = ReplyReader(judge, confirmed=zone_numbers or {}, catalog=catalog_numbers or {})
        self._bits = positions(target.target_id for target in planned.values())
        #: The account that keeps the mark.
        self._account_id = min((target.account_id for target in planned.values()), default=0)
        self._reached = bytearray((len(planned) + 7) // 8)
        self._latest: datetime | None = None
        self._judged = bytearray(len(self._reached))
        self._batch = batch
        self._progress = progress
        self._ended = 0
        self._waiting: dict[Target, _Unread] = {}
        #: Names that the answers of each target are known to lack; None: not looked up yet.
        self._lacking: dict[int, frozenset[str]] | None = None
        self._pending: list[Decision] = []
        self._counters = dict.fromkeys((*OUTCOMES, "baseline_targets", "baseline_images", *IMAGE_EVENTS), 0)

    @property
    def pending(self) -> int:
        """Count the targets that are decided and not yet written."""
        return len(self._pending)

    @property
    def is_full(self) -> bool:
        """Return whether so much is pending that it is to be written before more is judged."""
        news = [decision.news for decision in self._pending if decision.news is not None]
        return (
            self.pending >= self._batch
            or sum(one.images for one in news) >= PENDING_IMAGES
            or sum(one.weight for one in news) >= PENDING_BYTES
        )

    @property
    def waiting(self) -> frozenset[Target]:
        """Return the targets that were to be asked again and have not answered yet."""
        return frozenset(self._waiting)

    @property
    def counters(self) -> dict[str, int]:
        """Return what was committed so far, by the names of the run's columns."""
        return dict(self._counters)

    @property
    def notices(self) -> list[str]:
        """Return what was not understood, each sentence once, with how many targets said so."""
        return self._understanding.notices

    @property
    def noticed(self) -> list[Notice]:
        """Return the same with the targets that said so."""
        return self._understanding.noticed

    @property
    def read_targets(self) -> frozenset[Target]:
        """Return the targets whose answers were read, because they differed from the last ones, and believed."""
        return frozenset(self._understanding.read_targets)

    # --- judging -----------------------------------------------------------------------------------------------------

    def judge(self, items: Sequence[Reply | Failure], late: Late = never_late) -> list[Target]:
        """
        Decide what *items* mean, and give the targets to ask again at once.

        A few answers are decoded at a time, and what was decided is written in between when it is much; raises
        FenceLost then. An answer that is *late* when it is its turn ends its target as *late* says.
        """
        answers: list[_Unread] = []
        for item in items:
            planned = self._planned[item.target]
            first = self._waiting.pop(item.target, None) if item.is_reask else None
            if isinstance(item, Reply):
                if item.unchanged and not planned.has_hold:
                    self._decide(Decision(planned=planned))
                else:
                    answers.append(_after(first, planned, item))
            elif first is not None:
                # There is no second answer to be had, so the first one has to do.
                answers.append(first.last())
            else:
                self._decide(Decision(planned=planned, setback=self._setback(item)))
        return self._decide_answers(answers, late)

    def take_outcome(self, target: Target, outcome: BadOutcome) -> None:
        """Take it as decided that a target has an *outcome*: it was so before."""
        self._decide(Decision(planned=self._planned[target], setback=outcome))

    def settle(self, late: Late = never_late) -> None:
        """Judge the first answers of targets whose second answer never came, as if it had failed."""
        answers = [first.last() for first in self._waiting.values()]
        self._waiting.clear()
        self._decide_answers(answers, late)

    def _decide_answers(self, answers: Sequence[_Unread], late: Late) -> list[Target]:
        """Decide what the *answers* mean, and give the targets to ask again."""
        for portion in self._read_some(answers, late):
            for settled in self._settled_some(portion):
                for compared in self._compared(settled):
                    for answer, known in compared:
                        with contained(partial(self._fail_answer, answer.unread)):
                            if answer.objection is not None:
                                self._object(answer, answer.objection)
                            elif known is None:
                                self._understanding.believe(answer.planned.target, answer.understood)
                                self._decide(Decision(planned=answer.planned))
                            else:
                                self._decide_answer(answer, known)
                    if self.is_full:
                        self.commit()
        return [answer.planned.target for answer in answers if answer.planned.target in self._waiting]

    # How much is in memory at once follows from these two: what the answers list, and what is known of their targets.

    def _read_some(self, answers: Iterable[_Unread], late: Late) -> Iterator[list[_Answer]]:
        """Read the *answers* that are not *late*, and yield so many at a time as may be decoded at once."""
        portion: list[_Answer] = []
        found: set[str] = set()
        images = weight = 0
        for unread in answers:
            lateness = late(unread.reply)
            if lateness is not None:
                self._decide(Decision(planned=unread.planned, setback=self._setback(lateness)))
            elif (answer := self._read(unread)) is not None:
                understood = answer.understood
                # projects of a zone often share what was decoded
                more = (0, 0) if understood.digest in found else (len(understood.snapshot.images), understood.weight)
                if portion and (images + more[0] > IMAGES_AT_ONCE or weight + more[1] > BYTES_AT_ONCE):
                    yield portion
                    portion, found, images, weight = [], set(), 0, 0
                portion.append(answer)
                found.add(understood.digest)
                images, weight = images + more[0], weight + more[1]
        if portion:
            yield portion

    def _settled_some(self, answers: Sequence[_Answer]) -> Iterator[list[tuple[_Answer, LastAnswer]]]:
        """Yield the answers that count, each with the last one before it: as many as may be looked up at once."""
        portion: list[tuple[_Answer, LastAnswer]] = []
        images = 0
        for answer, last in self._settled_all(answers):
            if portion and images + len(last.version_ids) > IMAGES_AT_ONCE:
                yield portion
                portion, images = [], 0
            portion.append((answer, last))
            images += len(last.version_ids)
        if portion:
            yield portion

    def _read(self, unread: _Unread) -> _Answer | None:
        """
        Read a reply.

        Where reading failed, the answer before it has to do; None where there is none, and that is the outcome of the
        target then.
        """
        faults: list[str] = []
        with contained(faults.append):
            reply = unread.reply if unread.evidence is None else unread.evidence.unpacked(unread.reply)
            return _Answer(unread=unread, understood=self._understanding.read(unread.planned, reply))
        if unread.first is not None:
            return self._read(unread.first.last())
        self._fail_answer(unread, faults[0])
        return None

    def _object(self, answer: _Answer, objection: str) -> None:
        """Have the target of an answer that is not believed asked again, once; then it fails."""
        if answer.unread.retried:
            self._fail_answer(answer.unread, objection)
        else:
            self._waiting[answer.planned.target] = replace(self._packed(answer), is_objected=True)

    def _settled_all(self, answers: Sequence[_Answer]) -> list[tuple[_Answer, LastAnswer]]:
        """Return of each of *answers* the one that counts, with what is kept of the last one of its target."""
        faults: list[str] = []
        with contained(faults.append):
            with read(self._engine) as conn:
                last = last_answers(conn, sorted(answer.planned.target_id for answer in answers))
            # Decides nothing, for it is done again where one of them is at fault.
            judged = [replace(answer, objection=self._objection(answer, last)) for answer in answers]
        if not faults:
            settled = [(self._settled(answer), answer.planned.target_id) for answer in judged]
            return [(counts, last[target_id]) for counts, target_id in settled if counts is not None]
        if len(answers) > 1:  # one of them is at fault, and takes no other with it
            return [done for answer in answers for done in self._settled_all([answer])]
        self._fail_answer(answers[0].unread, faults[0])
        return []

    def _compared(
        self, settled: Sequence[tuple[_Answer, LastAnswer]]
    ) -> Iterator[list[tuple[_Answer, target_state.TargetState | None]]]:
        """
        Yield the answers with what is known of their targets; None where one says what the last one said.

        In halves where it is too much at once, or one of them is at fault, which takes no other with it.
        """
        faults: list[str] = []
        with contained(faults.append):
            found = self._look_up(settled)
        if not faults:
            yield found
        elif len(settled) > 1:
            half = len(settled) // 2
            yield from self._compared(settled[:half])
            yield from self._compared(settled[half:])
        else:
            self._fail_answer(settled[0][0].unread, faults[0])

    def _look_up(
        self, settled: Sequence[tuple[_Answer, LastAnswer]]
    ) -> list[tuple[_Answer, target_state.TargetState | None]]:
        differing = [
            (answer, last) for answer, last in settled if answer.objection is None and not _is_shuffled(answer, last)
        ]
        states: Mapping[int, target_state.TargetState] = {}
        if differing:
            with read(self._engine) as conn:
                states = target_state.load(
                    conn,
                    [answer.planned for answer, _ in differing],
                    {answer.planned.target_id: answer.understood.snapshot.images.keys() for answer, _ in differing},
                    {answer.planned.target_id: last for answer, last in differing},
                    self._understanding.versions,
                )
        return [(answer, states.get(answer.planned.target_id)) for answer, _ in settled]

    def _objection(self, answer: _Answer, answers: Mapping[int, LastAnswer]) -> str | None:
        """Say why an answer is not to be believed at all, by the last one of its target; None: it is."""
        last = answers[answer.planned.target_id]
        good = LastGood(
            unreadable=last.unreadable,
            excess=last.excess if answer.planned.ever_ok else None,
            has_images=bool(last.version_ids),
            answered_by=last.answered_by,
        )
        return self._judge.objection(answer.planned.target, answer.understood.snapshot, good)

    def _settled(self, answer: _Answer) -> _Answer | None:
        """
        Return the answer that counts: this one, with the objection to it if there is one, or the one before it.

        None where that one cannot be read any more, which is the outcome of the target then.
        """
        unread = answer.unread
        if answer.objection is not None and unread.retried and unread.instead is not None:
            return self._read(unread.instead.last())
        return answer

    def _decide_answer(self, answer: _Answer, known: target_state.TargetState) -> None:
        """Decide what an answer means for a target of which so much is *known*, or have it asked again."""
        planned = answer.planned
        if answer.unread.reply.answers > 1 and self._is_left_to_reread(answer, known):
            return
        # Never before what the target's history holds already, should the clock have been set back within the run.
        floor = [moment for moment in (planned.last_good_at, known.last.written_at) if moment is not None]
        observed_at = max([require_aware(answer.unread.reply.received_at), *floor])
        verdict = self._judge.decide(
            known.known, answer.understood.snapshot, observed_at=observed_at, reasked=answer.unread.reasked
        )
        if verdict.ask_again and not answer.unread.reasked:
            self._waiting[planned.target] = self._packed(answer)
            return
        self._understanding.believe(planned.target, answer.understood)
        snapshot, last = answer.understood.snapshot, known.last
        # What a doubted answer is like is no measure for the next one: an empty one has no unreadable record either.
        # The good one before the hold is.
        is_measure = not verdict.is_doubted
        ongoing = {*verdict.confirmed, *verdict.lifted}
        before = [
            hold.unreadable for hold in known.known.holds if hold.hold_id in ongoing and hold.unreadable is not None
        ]
        news = GoodAnswer(
            evidence=self._evidence(answer.unread),
            digest=answer.understood.digest,
            verdict=verdict,
            state=known.narrowed_to(verdict.keys),
            observed_at=observed_at,
            unreadable=snapshot.unreadable if is_measure else min([verdict.measure, *before]),
            excess=snapshot.excess if is_measure and snapshot.excess is not None else last.excess,
            answered_by=answered_by(KINDS[planned.target.kind], snapshot),
            weight=answer.understood.weight + sum(map(_weight_of, verdict.changes)),
            form=None if verdict.is_doubted else self._form(planned, known, snapshot),
        )
        setback = _held(news, len(known.known.images)) if verdict.outcome == "held" else None
        self._decide(Decision(planned=planned, setback=setback, news=news))

    def _form(self, planned: PlannedTarget, known: target_state.TargetState, snapshot: Snapshot) -> FormNews | None:
        """Return what an answer shows of its form that was not noticed before; None: nothing."""
        form = self._judge.form(planned.target, known.known, snapshot)
        if form is None or not (form.missing or form.new or self._lacking is None or self._lacking):
            return None
        if self._lacking is None:
            with read(self._engine) as conn:
                self._lacking = answer_forms.lacking(conn, {one.account_id for one in self._planned.values()})
        lacked = self._lacking.get(planned.target_id, frozenset())
        news = FormNews(
            target_id=planned.target_id,
            account_id=planned.account_id,
            missing=without(form.missing, lacked),
            back=lacked - without(lacked, form.stated),
            # what was lacked is back, also where the images that stated it once are not listed any more
            new=without(form.new, lacked),
        )
        return news or None

    def _is_left_to_reread(self, answer: _Answer, known: target_state.TargetState) -> bool:
        """
        Have what several answers make read once more where it lacks anything, and believe an absence that both readings
        agree on.

        What was on a page that was still to come may have moved onto one that had come already: no page says so. Of one
        item an empty answer is little beside all others, too little for the guard.
        Returns whether the answer is dealt with.
        """
        missing = self._judge.absent(known.known, answer.understood.snapshot)
        if not missing:
            return False
        unread = answer.unread
        if unread.first is None or unread.first.is_objected:
            if unread.reasked:
                self._fail_answer(
                    unread,
                    f"its list in {counted(unread.reply.answers, 'answer')} lacks images, and was not read again",
                )
            else:
                self._waiting[answer.planned.target] = self._packed(answer)
            return True
        before = self._read(unread.first.last())
        if before is None:  # and its target has failed with that
            return True
        if not missing <= self._judge.absent(known.known, before.understood.snapshot):
            self._fail_answer(unread, "its list lacks images that it had when it was read just before: it moved")
            return True
        return False

    def _packed(self, answer: _Answer) -> _Unread:
        """Return *answer* as it waits for a second one: packed, for both it and what was decoded may be large."""
        unread = answer.unread
        return replace(unread, evidence=self._evidence(unread), reply=replace(unread.reply, body=b""))

    def _evidence(self, unread: _Unread) -> NewPayload:
        return unread.evidence or self._understanding.evidence(unread.reply)

    def _fail_answer(self, unread: _Unread, fault: str) -> None:
        """Let a target fail because of what its answer made happen; the answer is kept."""
        setback = _failed(fault, self._evidence(unread), unread.reply.received_at)
        self._decide(Decision(planned=unread.planned, setback=setback))

    def _setback(self, failure: Failure) -> BadOutcome:
        """Return the outcome of a failure; a refusal is `denied` only where nothing else was to be expected."""
        planned = self._planned[failure.target]
        outcome, message = failure.outcome, failure.message
        if failure.failure_class == "denied":
            if planned.ever_ok and failure.target not in self._unlisted:
                outcome, message = "failed", f"{message} (this target was open to this key before)"
            else:
                outcome = "denied"
        return BadOutcome(
            outcome=outcome,
            failure_class=failure.failure_class,
            ret_code=failure.ret_code,
            message=message,
            request_uuid=failure.request_uuid,
            at=failure.at,
            evidence=self._understanding.evidence(failure.reply) if failure.reply else None,
        )

    def _decide(self, decision: Decision) -> None:
        byte, bit = self._bit(decision.planned)
        if self._judged[byte] & bit:  # a fault of ours, which is no reason to lose the others
            self._understanding.note(decision.planned.target, "was answered twice in this run; the first answer counts")
            return
        self._judged[byte] |= bit
        self._pending.append(decision)
        self._ended += 1
        if self._progress is not None:
            self._progress(decision.planned.target, self._ended, len(self._planned))

    def _bit(self, planned: PlannedTarget) -> tuple[int, int]:
        """Return where the target stands in a bitmap over the scope: the byte, and the bit in it."""
        position = self._bits[planned.target_id]
        return position >> 3, 1 << (position & 7)

    # --- writing -----------------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Write everything pending, and the mark of who was reached, in one transaction; raises FenceLost."""
        if self._pending:
            self._write(self._mark)

    def _mark(self, conn: Connection, reached: bytes, latest: datetime, counters: Mapping[str, int]) -> None:
        runs.mark(conn, self._run_id, self._account_id, reached=reached, at=latest, counters=counters)

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
            answer_forms.tell(conn, self._run_id, {one.account_id for one in self._planned.values()}, latest)
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

    def _write(self, close: Close) -> None:
        """
        Write everything pending, then let *close* write the mark, the newest moment and the counters.

        Where that is refused because of what some target brought, the others are written without it.
        """
        faults: list[str] = []
        with contained(faults.append):
            return self._write_together(self._pending, close)
        self._write_apart(self._pending, faults[0])
        return self._write_together([], close)

    def _write_apart(self, decisions: Sequence[Decision], fault: str) -> None:
        """Write *decisions*, which *fault* kept from being written together, in halves; one alone has failed."""
        if len(decisions) <= 1:
            self._write_together([self._failed_instead(decision, fault) for decision in decisions], self._mark)
            return
        half = len(decisions) // 2
        for part in (decisions[:half], decisions[half:]):
            faults: list[str] = []
            with contained(faults.append):
                self._write_together(part, self._mark)
            if faults:
                self._write_apart(part, faults[0])

    def _failed_instead(self, decision: Decision, fault: str) -> Decision:
        """Return the outcome of a target whose own could not be written."""
        at = max(_moments(decision), default=self._clock())
        evidence = next(iter(decision.answers), None)
        message = f"what follows from its answer could not be written: {fault}"
        return Decision(planned=decision.planned, setback=_failed(message, evidence, at))

    def _write_together(self, decisions: Sequence[Decision], close: Close) -> None:
        """Write *decisions* in one transaction, and let *close* end it."""
        reached, counters = bytearray(self._reached), dict(self._counters)
        latest = self._latest
        for decision in decisions:
            byte, bit = self._bit(decision.planned)
            reached[byte] |= bit
            _count(counters, decision)
            for moment in _moments(decision):
                latest = moment if latest is None else max(latest, moment)
        with begin(self._engine, self._fence) as conn:
            answer_forms.write(
                conn, [one.news.form for one in decisions if one.news is not None and one.news.form is not None]
            )
            self._understanding.find_elsewhere(conn)
            observations.write(conn, self._run_id, decisions, self._understanding.versions, self._clock)
            self._understanding.write(conn)
            now = self._clock()
            latest = now if latest is None else max(now, latest)
            close(conn, bytes(reached), latest, counters)
        self._reached, self._counters, self._latest = reached, counters, latest
        written = {decision.planned.target_id for decision in decisions}
        self._pending = [decision for decision in self._pending if decision.planned.target_id not in written]
        self._understanding.written()


def _after(first: _Unread | None, planned: PlannedTarget, reply: Reply) -> _Unread:
    """Return a reply that has to be judged; *first* is the answer because of which its target was asked again."""
    if first is None:
        return _Unread(planned=planned, reply=reply)
    reasked, retried = (first.reasked, True) if first.is_objected else (True, first.retried)
    return _Unread(planned=planned, reply=reply, reasked=reasked, retried=retried, first=first)


def _is_shuffled(answer: _Answer, last: LastAnswer) -> bool:
    """
    Return whether an answer is the last snapshot in another body: a cloud that shuffles its lists.

    Nothing is written then, not even the new hash. Were it kept, a cloud that shuffles every time would cost an update
    per target per run; so this one costs decoding and reading each time, until something really changes and the hash is
    written with it.
    """
    planned = answer.planned
    is_same = answer.understood.digest == last.snapshot_digest
    return is_same and planned.body_hash is not None and not planned.has_hold


def _failed(fault: str, evidence: NewPayload | None, at: datetime) -> BadOutcome:
    """Return the outcome of a target whose answer, or what was made of it, is at *fault*."""
    return BadOutcome(
        outcome="failed",
        failure_class="defect",
        message=fault,
        request_uuid=evidence.request_uuid if evidence else "",
        at=require_aware(at),
        evidence=evidence,
    )


def _held(news: GoodAnswer, images: int) -> BadOutcome:
    verdict = news.verdict
    keys = set(verdict.hold)
    reasons: set[WaitsFor] = {verdict.waits_for} if verdict.hold else set()
    for hold in news.state.known.holds:
        if hold.hold_id not in {*verdict.completed, *verdict.dissolved}:
            keys |= hold.keys - verdict.returned.get(hold.hold_id, frozenset())
            reasons.add("confirmations" if hold.hold_id in verdict.lifted else hold.waits_for)
    are = agreeing(len(keys), "is", "are")
    waits_for = " and ".join(WAITING[reason] for reason in sorted(reasons))
    return BadOutcome(
        outcome="held",
        message=f"{len(keys)} of {counted(images, 'image')} {are} not listed any more; waiting for {waits_for}",
        request_uuid=news.evidence.request_uuid,
        at=news.observed_at,
    )


def _weight_of(change: Change) -> int:
    """Return how many characters *change* tells besides those of the answer: what was known before."""
    return len(change.image_name) + sum(len(str(value)) for values in change.fields.values() for value in values)


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
