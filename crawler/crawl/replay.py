"""
A history made anew from its kept answers: run after run they are read, compared, judged and written as a run does it.

Nothing here decides anything about an answer: that is the Recorder's and the Judge's, with the declarations of the
kinds and the settings as they are now. What no answer decides (the runs and their times, outcomes without an answer,
what discovery found, what people said of holds) is taken over as it was recorded. A target that answered as before in a
run has no answer of that run: the one before it stands for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection, Engine, delete, insert, select, update

from crawler.crawl.recorder import Recorder
from crawler.crawl.reply_reader import Judge
from crawler.db import changelog, runs
from crawler.db import targets as db_targets
from crawler.db.engine import Fence, begin, read
from crawler.db.observations import BadOutcome
from crawler.db.payloads import NewPayload
from crawler.db.recorded import KeptReply, Recorded, RecordedRun, RecordedSpan, Resolution
from crawler.db.schema import OPEN_RUN, ChangeLog, Hold, Mark, OutcomeSpan, Run
from crawler.db.sql import portions
from crawler.domain.kinds import KINDS
from crawler.domain.models import END_OF_TIME, IMAGE_EVENTS, OUTCOMES, SCHEMA, Outcome, Recent, Reply, Target
from crawler.queries import holds

#: Answers that are remembered, and the bytes that they may take.
ANSWERS_AT_ONCE = 256
BYTES_AT_ONCE = 16 * 2**20

#: Told of every run that was replayed: how many there were, and the last one's end.
Told = Callable[[int, datetime], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay went through."""

    runs: int
    answers: int


class Replay:
    """Makes the history of `recorded` anew in an empty database."""

    def __init__(self, recorded: Recorded, engine: Engine, fence: Fence | None, judge: Judge) -> None:
        """Write to *engine*, which has the schema and nothing else; *judge* reads and judges."""
        self._recorded = recorded
        self._engine = engine
        self._fence = fence
        self._judge = judge
        #: The last answer of each target that was believed when it came.
        self._last: dict[int, int] = {}
        #: The recorded span of trouble that each target is in.
        self._spans: dict[int, RecordedSpan] = {}
        #: Targets to look at in every run: here they are on hold, or their outcome is not the recorded one.
        self._unsettled: set[int] = set()
        #: Runs that are not written yet: nothing is judged in them.
        self._idle: list[dict[str, Any]] = []
        self._payloads: Recent[int, NewPayload] = Recent(at_once=ANSWERS_AT_ONCE, weight=BYTES_AT_ONCE)
        self._scope: tuple[int | None, frozenset[int]] = (None, frozenset())
        self._now = END_OF_TIME

    def run(self, told: Told = lambda count, at: None) -> Replayed:
        """Go through all runs, and return what that took; raises DatabaseUnavailable and FenceLost."""
        with begin(self._engine, self._fence) as conn:
            self._recorded.begin_copy(conn)
        waiting = self._recorded.resolutions()
        count = answers = 0
        for run in self._recorded.runs():
            while waiting and waiting[0].resolved_at <= run.row["started_at"]:
                self._resolve(waiting.pop(0))
            self._replay(run)
            count, answers = count + 1, answers + len(run.answers)
            told(count, run.row["finished_at"])
        self._write_idle()
        for resolution in waiting:
            self._resolve(resolution)
        with begin(self._engine, self._fence) as conn:
            self._recorded.end_copy(conn)
            conn.execute(delete(Mark))
            # Nothing that happened is told again from here.
            untold = ChangeLog.reported_run_id.is_(None)
            conn.execute(update(ChangeLog).where(untold).values(reported_run_id=ChangeLog.run_id))
        return Replayed(runs=count, answers=answers)

    def _replay(self, run: RecordedRun) -> None:
        for target_id in run.ended:
            self._spans.pop(target_id, None)
        self._spans.update((span.target_id, span) for span in run.begun)
        concerned = {*run.answers, *run.ended, *(span.target_id for span in run.begun)}
        if self._unsettled:
            concerned |= self._unsettled & self._members(run.row["scope_id"])
        found = {target_id: item for target_id in concerned if (item := self._item(run, target_id)) is not None}
        if not found and not run.events:
            self._idle.append(_without_news(run.row))
            return
        self._write_idle()
        self._observe(run, found)

    def _members(self, scope_id: int | None) -> frozenset[int]:
        if self._scope[0] != scope_id:
            self._scope = (scope_id, self._recorded.scope_members(scope_id))
        return self._scope[1]

    def _item(self, run: RecordedRun, target_id: int) -> KeptReply | BadOutcome | None:
        """Return what a run got of a target; None where nothing is kept of it."""
        if (reply := run.answers.get(target_id)) is not None:
            self._last[target_id] = reply.payload_id
            return reply
        span = self._spans.get(target_id)
        if span is not None and span.outcome != "held":
            is_first = span.from_run_id == run.run_id
            if is_first and span.payload_id is not None and self._may_be_read(span):
                received_at = self._payload(span.payload_id).received_at
                return KeptReply(span.payload_id, max(received_at, run.row["started_at"]))
            return self._outcome(span, is_first=is_first)
        if target_id in self._last:
            # when in the run it answered as before is not known
            return KeptReply(self._last[target_id], run.row["finished_at"])
        return None

    def _may_be_read(self, span: RecordedSpan) -> bool:
        """Return whether a whole answer was kept that was not believed: of several requests it is the one at fault."""
        is_whole = not KINDS[self._recorded.targets[span.target_id].kind].is_composed
        return is_whole and span.failure_class == "defect" and span.ret_code is None

    def _outcome(self, span: RecordedSpan, *, is_first: bool) -> BadOutcome:
        evidence = self._payload(span.payload_id) if is_first and span.payload_id is not None else None
        return BadOutcome(
            outcome=cast("Outcome", span.outcome),
            failure_class=span.failure_class,
            ret_code=span.ret_code,
            message=span.message,
            request_uuid=span.request_uuid,
            at=span.since,
            evidence=evidence,
        )

    def _payload(self, payload_id: int) -> NewPayload:
        found = self._payloads.get(payload_id)
        if found is None:
            found = self._recorded.payload(payload_id)
            self._payloads.put(payload_id, found, len(found.body))
        return found

    # --- a run -------------------------------------------------------------------------------------------------------

    def _observe(self, run: RecordedRun, found: Mapping[int, KeptReply | BadOutcome]) -> None:
        """Judge and write what a run *found*, in the order and at the times of the writing then."""
        row, targets = run.row, self._recorded.targets
        accounts = {self._recorded.accounts[target_id] for target_id in found}
        with begin(self._engine, self._fence) as conn:
            conn.execute(insert(Run), {**_without_news(row), "status": "running", "finished_at": None})
            self._take_ended(conn, run)
            planned = {entry.target: entry for entry in runs.plan(conn, list(found), accounts)}
            numbers = {account_id: db_targets.zone_numbers(conn, account_id) for account_id in accounts}
            changelog.append(conn, [row for row in run.events if row["event"] != SCHEMA])
        recorder = Recorder(
            self._engine,
            self._fence,
            run.run_id,
            planned,
            self._judge,
            lambda: self._now,
            zone_numbers=numbers,
            catalog_numbers={key: self._recorded.catalog_numbers(key, row["started_at"]) for key in accounts},
        )
        for target_id, written_at in _in_order(run, found):
            if written_at != self._now:
                recorder.commit()
                self._now = written_at
            item, target = found[target_id], targets[target_id]
            if isinstance(item, BadOutcome):
                recorder.take_outcome(target, item)
            else:
                recorder.judge([self._reply(target, item, planned[target].body_hash)])
                recorder.settle()  # which is what an answer means that is not asked for again
        recorder.commit()
        counters: dict[str, int] = {event: recorder.counters[event] for event in IMAGE_EVENTS}
        counters |= self._outcomes(run, found, recorder.counters)
        with begin(self._engine, self._fence) as conn:
            ended = {"status": row["status"], "finished_at": row["finished_at"]}
            conn.execute(update(Run).where(Run.id == run.run_id).values(**ended, **counters))
            changelog.append(conn, [row for row in run.events if row["event"] == SCHEMA])
        self._look_again_at(found)

    def _take_ended(self, conn: Connection, run: RecordedRun) -> None:
        for target_id, reply in run.answers.items():
            if self._recorded.begun_late.get(target_id) == run.run_id:
                self._recorded.take_ended(conn, target_id, run.run_id, reply.observed_at)

    def _reply(self, target: Target, kept: KeptReply, body_hash: bytes | None) -> Reply:
        payload = self._payload(kept.payload_id)
        reply = Reply(
            target=target,
            body=b"",
            body_hash=payload.digest,
            unchanged=payload.digest == body_hash,
            received_at=kept.observed_at,
            request_uuid=payload.request_uuid,
        )
        return payload.unpacked(reply)

    def _outcomes(self, run: RecordedRun, found: Iterable[int], counters: Mapping[str, int]) -> dict[str, int]:
        """Return how many targets of a run have each outcome: as recorded, but for those that were judged anew."""
        before = Counter(self._recorded_outcome(target_id) for target_id in found)
        return {outcome: run.row[outcome] - before[outcome] + counters[outcome] for outcome in OUTCOMES}

    def _recorded_outcome(self, target_id: int) -> str:
        span = self._spans.get(target_id)
        return "ok" if span is None else span.outcome

    def _look_again_at(self, target_ids: Iterable[int]) -> None:
        """Have those of the targets looked at in every run whose state is not what was recorded, or may change."""
        wanted = sorted(target_ids)
        self._unsettled.difference_update(wanted)
        with read(self._engine) as conn:
            for portion in portions(wanted):
                on_hold = select(Hold.target_id).where(Hold.target_id.in_(portion), Hold.status == "open")
                self._unsettled.update(conn.scalars(on_hold))
                lasting = select(OutcomeSpan.target_id, OutcomeSpan.outcome).where(
                    OutcomeSpan.target_id.in_(portion), OutcomeSpan.to_run_id == OPEN_RUN
                )
                outcomes = {row.target_id: row.outcome for row in conn.execute(lasting)}
                self._unsettled.update(
                    target_id
                    for target_id in portion
                    if outcomes.get(target_id, "ok") != self._recorded_outcome(target_id)
                )

    def _write_idle(self) -> None:
        if self._idle:
            with begin(self._engine, self._fence) as conn:
                conn.execute(insert(Run), self._idle)
            self._idle.clear()

    # --- by hand -----------------------------------------------------------------------------------------------------

    def _resolve(self, resolution: Resolution) -> None:
        """Say of a hold what a person said of it, where it is on hold here, too."""
        same = (Hold.target_id == resolution.target_id, Hold.held_at == resolution.held_at, Hold.status == "open")
        self._write_idle()
        with begin(self._engine, self._fence) as conn:
            hold_ids = list(conn.scalars(select(Hold.id).where(*same).order_by(Hold.id).limit(1)))
            say = holds.accept if resolution.status == "accepted" else holds.reject
            say(conn, hold_ids, who=resolution.resolved_by, now=resolution.resolved_at)


def _in_order(run: RecordedRun, found: Mapping[int, KeptReply | BadOutcome]) -> list[tuple[int, datetime]]:
    """
    Return the targets that a run *found* something of as their answers came, each with when it was written.

    What is read later is read with the ZoneIds that were confirmed before. What wrote changes keeps the order of those.
    """
    came = {key: item.observed_at if isinstance(item, KeptReply) else item.at for key, item in found.items()}
    places: dict[int, tuple[datetime, int]] = {}
    latest = run.row["started_at"]
    for place, target_id in enumerate(run.written):
        latest = max(latest, came[target_id])
        places[target_id] = latest, place
    ordered = sorted(found, key=lambda key: (*places.get(key, (came[key], len(places))), key))
    moments = []
    written_at = run.row["finished_at"]
    for target_id in reversed(ordered):
        written_at = run.written.get(target_id, written_at)
        moments.append((target_id, written_at))
    return moments[::-1]


def _without_news(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run as it was recorded, but for what it found: that is counted anew."""
    return {**row, **dict.fromkeys(IMAGE_EVENTS, 0), "reports": None}
