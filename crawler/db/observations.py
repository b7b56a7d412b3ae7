"""
What was decided about some targets, written down: one transaction's worth of rows, each kind with one statement.

The caller has begun the transaction. Targets that answered as before do not come here at all, unless their outcome
changed: what is written follows the changes, not the number of targets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, Update, bindparam, func, insert, select, update

from crawler.db import changelog
from crawler.db.answer_forms import FormNews
from crawler.db.numbering import numbered
from crawler.db.payloads import NewPayload, store_payloads
from crawler.db.runs import PlannedTarget
from crawler.db.schema import OPEN_RUN, AnswerRow, Hold, HoldImage, Interval, OutcomeSpan, TargetRow
from crawler.db.sql import among, among_pairs, portions
from crawler.db.target_state import TargetState, Versions, store_versions
from crawler.domain.kinds import KINDS
from crawler.domain.models import END_OF_TIME, UNSTATED_SET, Attributes, Change, ImageKey, Outcome, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class BadOutcome:
    """Why an outcome is not `ok`; lasts from run to run while outcome, class and RetCode stay the same."""

    outcome: Outcome
    message: str
    at: datetime
    failure_class: str | None = None
    ret_code: int | None = None
    request_uuid: str = ""
    #: The answer, where there was one that is not believed at all.
    evidence: NewPayload | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodAnswer:
    """A good answer that differs from the last one."""

    evidence: NewPayload
    #: Of the canonical snapshot and of what was not understood in it.
    digest: str
    verdict: Verdict
    state: TargetState
    observed_at: datetime
    #: What the next answer is measured by: see `TargetRow`.
    unreadable: int
    excess: int
    #: The action that gave it, where its kind knows two.
    answered_by: str = ""
    #: The bytes of memory that the answer takes, about.
    weight: int = 0
    #: What it shows of its form.
    form: FormNews | None = None

    @property
    def images(self) -> int:
        """Return how many images are opened, changed, filled or held: what writing takes follows that."""
        verdict = self.verdict
        held = [verdict.hold, *(hold.keys for hold in self.state.known.holds)]
        return len(verdict.baseline or ()) + len(verdict.changes) + len(verdict.filled) + sum(map(len, held))


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one target's observation means: its outcome, and what there is to write."""

    planned: PlannedTarget
    #: None: the outcome is `ok`.
    setback: BadOutcome | None = None
    news: GoodAnswer | None = None

    @property
    def outcome(self) -> Outcome:
        """Return the outcome of the observation."""
        return self.setback.outcome if self.setback else "ok"

    @property
    def answers(self) -> tuple[NewPayload, ...]:
        """Return the answers to keep with it: one with news, or one that was not understood."""
        parts = (self.news, self.setback)
        return tuple(part.evidence for part in parts if part is not None and part.evidence is not None)


def write(
    conn: Connection, run_id: int, decisions: Sequence[Decision], versions: Versions, clock: Callable[[], datetime]
) -> None:
    """Write everything the *decisions* say."""
    news = [(decision.planned, decision.news) for decision in decisions if decision.news is not None]
    payloads = store_payloads(conn, _evidence(decisions))
    _write_setbacks(conn, run_id, decisions, payloads)
    if not news:
        return
    filled = _write_intervals(conn, run_id, news, versions)
    _write_holds(conn, run_id, news, payloads)
    _name_sets_of_holds(conn, filled)
    _write_targets(conn, run_id, news, payloads)
    _write_answers(conn, run_id, news, payloads)
    # Last, so that `recorded_at` is as near as can be to the moment others can see the rows, and holds no reader back.
    _write_changes(conn, run_id, news, payloads, clock)


def _evidence(decisions: Iterable[Decision]) -> Iterator[NewPayload]:
    """Return the answers to keep: those with news, and the first of each span of those that were not understood."""
    for decision in decisions:
        if decision.news is not None or not _is_same(decision):
            yield from decision.answers


def _each(conn: Connection, statement: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Execute *statement* once with all *rows*, or not at all."""
    if rows:
        conn.execute(statement, rows)


# --- outcomes other than ok, run-length ------------------------------------------------------------------------------


def _write_setbacks(
    conn: Connection, run_id: int, decisions: Iterable[Decision], payloads: Mapping[bytes, int]
) -> None:
    """End the spans of trouble that are over, begin the new ones; one that goes on as it is costs nothing."""
    ended: list[int] = []
    begun: list[dict[str, Any]] = []
    retold: list[dict[str, Any]] = []
    for decision in decisions:
        before, setback, planned = decision.planned.trouble, decision.setback, decision.planned
        if before is not None:
            if setback is not None and _is_same(decision):
                if setback.outcome == "held" and setback.message != before.message:
                    # other images are on hold now, or wait for something else
                    retold.append({"span": before.exception_id, "said": setback.message})
                continue
            ended.append(before.exception_id)
        if setback is not None:
            begun.append(
                {
                    "target_id": planned.target_id,
                    "account_id": planned.account_id,
                    "from_run_id": run_id,
                    "to_run_id": OPEN_RUN,
                    "outcome": setback.outcome,
                    "failure_class": setback.failure_class,
                    "ret_code": setback.ret_code,
                    "message": setback.message,
                    "request_uuid": setback.request_uuid,
                    "payload_id": payloads[setback.evidence.digest] if setback.evidence else None,
                    # Another RetCode begins another span; how long the outcome lasts goes on.
                    "since": before.since if before and before.outcome == setback.outcome else setback.at,
                    "last_good_at": planned.last_good_at,
                }
            )
    _each(
        conn,
        update(OutcomeSpan).where(OutcomeSpan.id == bindparam("ended")).values(to_run_id=run_id),
        [{"ended": exception_id} for exception_id in ended],
    )
    _each(
        conn, update(OutcomeSpan).where(OutcomeSpan.id == bindparam("span")).values(message=bindparam("said")), retold
    )
    _each(conn, insert(OutcomeSpan), begun)


def _is_same(decision: Decision) -> bool:
    """Return whether a span goes on; of answers that are not believed, one with another reason begins another."""
    before, setback = decision.planned.trouble, decision.setback
    if before is None or setback is None:
        return False
    is_alike = (before.outcome, before.failure_class, before.ret_code) == (
        setback.outcome, setback.failure_class, setback.ret_code
    )  # fmt: skip
    return is_alike and (setback.evidence is None or setback.message == before.message)


# --- the history -----------------------------------------------------------------------------------------------------

Item = tuple[PlannedTarget, GoodAnswer]


class _Opening(NamedTuple):
    """An interval to open."""

    target: PlannedTarget
    version: str
    valid_from: datetime
    present_since: datetime
    baseline: bool


class _Filled(NamedTuple):
    """An open interval that learned something."""

    target: PlannedTarget
    key: ImageKey
    interval_id: int
    version: str


def _write_intervals(conn: Connection, run_id: int, news: Sequence[Item], versions: Versions) -> list[_Filled]:
    """
    Open, close and fill intervals, and return those filled.

    A modification closes one and opens the next with the same `present_since`.
    """
    wanted: dict[str, tuple[ImageKey, Attributes]] = {}
    opened: list[_Opening] = []
    closed: list[dict[str, Any]] = []
    filled: list[_Filled] = []

    def version(key: ImageKey, attributes: Attributes) -> str:
        digest = versions.digest(key, attributes)
        wanted[digest] = (key, attributes)
        return digest

    intervals = _open_intervals(conn, news)
    for planned, item in news:
        target_id, observed_at = planned.target_id, item.observed_at
        for key, attributes in (item.verdict.baseline or {}).items():
            opened.append(_Opening(planned, version(key, attributes), observed_at, observed_at, True))
        ended: set[ImageKey] = set()
        for key, change in _image_changes(item.verdict):
            present_since = change.observed_at
            if change.event in ("withdrawn", "modified"):
                interval = intervals[target_id, item.state.version_ids[key]]
                present_since = interval.present_since
                closed.append({"interval": interval.interval_id, "ended": change.observed_at})
                ended.add(key)
            if change.event != "withdrawn":
                opened.append(
                    _Opening(planned, version(key, change.attributes), change.observed_at, present_since, False)
                )
        filled.extend(
            _Filled(
                planned, key, intervals[target_id, item.state.version_ids[key]].interval_id, version(key, attributes)
            )
            for key, attributes in item.verdict.filled.items()
            if key not in ended
        )

    ids = store_versions(conn, wanted)
    statement = update(Interval).where(Interval.id == bindparam("interval"))
    _each(conn, statement.values(valid_to=bindparam("ended"), closed_run_id=run_id), closed)
    _each(
        conn,
        statement.values(version_id=bindparam("version")),
        [{"interval": one.interval_id, "version": ids[one.version]} for one in filled],
    )
    # a first run opens all there is; a portion at a time takes less memory
    for portion in portions(opened):
        _each(
            conn,
            insert(Interval).values(valid_to=END_OF_TIME, opened_run_id=run_id),
            [
                {
                    "target_id": opening.target.target_id,
                    "account_id": opening.target.account_id,
                    "version_id": ids[opening.version],
                    "valid_from": opening.valid_from,
                    "present_since": opening.present_since,
                    "baseline": opening.baseline,
                }
                for opening in portion
            ],
        )
    return filled


class _OpenInterval(NamedTuple):
    """An interval that lasts."""

    interval_id: int
    present_since: datetime


def _open_intervals(conn: Connection, news: Iterable[Item]) -> dict[tuple[int, int], _OpenInterval]:
    """Return the open intervals of the images that something happened to, by target and version."""
    wanted = [(planned.target_id, version) for planned, item in news for version in item.state.version_ids.values()]
    found: dict[tuple[int, int], _OpenInterval] = {}
    for pairs in portions(wanted):
        for target_id, version_id, interval_id, present_since in conn.execute(_open_intervals_of(), {"pairs": pairs}):
            found[target_id, version_id] = _OpenInterval(interval_id, present_since)
    return found


@cache
def _open_intervals_of() -> Select[*tuple[Any, ...]]:
    columns = (Interval.target_id, Interval.version_id, Interval.id, Interval.present_since)
    is_wanted = among_pairs(Interval.target_id, Interval.version_id, "pairs")
    return select(*columns).where(is_wanted, Interval.valid_to == END_OF_TIME)


def _image_changes(verdict: Verdict) -> Iterator[tuple[ImageKey, Change]]:
    for change in verdict.changes:
        if change.key is not None:
            yield change.key, change


def _write_changes(
    conn: Connection, run_id: int, news: Iterable[Item], payloads: Mapping[bytes, int], clock: Callable[[], datetime]
) -> None:
    """Log the changes, each with the two answers behind it."""
    rows: list[dict[str, Any]] = []
    for planned, item in news:
        # A withdrawal that waited on a hold shows the answers of that time, not those that confirmed it.
        held = {
            key: item.state.holds[hold.hold_id]
            for hold in item.state.known.holds
            if hold.hold_id in item.verdict.completed
            for key in hold.keys
        }
        for key, change in _image_changes(item.verdict):
            before, after = item.state.last.payload_id, payloads[item.evidence.digest]
            if change.event == "withdrawn" and key in held:
                before, after = held[key].before_payload_id, held[key].payload_id or after
            rows.append(
                {
                    "run_id": run_id,
                    "target_id": planned.target_id,
                    "account_id": planned.account_id,
                    "event": change.event,
                    "image_set": key.image_set,
                    "image_id": key.image_id,
                    "image_name": change.image_name,
                    "fields": dict(change.fields) or None,
                    "counterpart": change.counterpart,
                    "not_before": change.not_before,
                    "observed_at": change.observed_at,
                    "before_payload_id": before,
                    "after_payload_id": after,
                    "reported_run_id": run_id,
                }
            )
    if rows:
        changelog.append(conn, _stamped(rows, clock()))


def _stamped(rows: Sequence[dict[str, Any]], recorded_at: datetime) -> list[dict[str, Any]]:
    # Never before the answer itself, should the clock have been set back meanwhile.
    return [{**row, "recorded_at": max(recorded_at, row["observed_at"])} for row in rows]


# --- holds -----------------------------------------------------------------------------------------------------------


def _write_holds(conn: Connection, run_id: int, news: Sequence[Item], payloads: Mapping[bytes, int]) -> None:
    """Open new holds; count confirmations; resolve those that were confirmed or proved wrong, whole or in part."""
    new: dict[int, Item] = {planned.target_id: (planned, item) for planned, item in news if item.verdict.hold}
    if new:
        rows = [
            {
                "target_id": target_id,
                "run_id": run_id,
                "held_at": item.observed_at,
                "not_before": item.state.known.last_good_at,
                "confirmations": 0,
                "waits_for": item.verdict.waits_for,
                "unreadable": item.verdict.measure,
                "status": "open",
                "resolved_at": END_OF_TIME,
                "before_payload_id": item.state.last.payload_id,
                "payload_id": payloads[item.evidence.digest],
            }
            for target_id, (_, item) in new.items()
        ]
        # At most one new hold per target, so the target names it.
        added = conn.execute(insert(Hold).returning(Hold.id, Hold.target_id), numbered(conn, Hold, rows)).all()
        conn.execute(
            insert(HoldImage),
            [
                {"hold_id": hold_id, "position": position, "image_set": key.image_set, "image_id": key.image_id}
                for hold_id, target_id in added
                for position, key in enumerate(sorted(new[target_id][1].verdict.hold))
            ],
        )
    _split_holds(conn, run_id, news)
    statement = update(Hold).where(Hold.id == bindparam("hold"))
    _each(
        conn,
        statement.values(waits_for="confirmations", confirmations=0),
        [{"hold": hold_id} for _, item in news for hold_id in item.verdict.lifted],
    )
    _each(
        conn,
        statement.values(confirmations=Hold.confirmations + 1),
        [{"hold": hold_id} for _, item in news for hold_id in (*item.verdict.confirmed, *item.verdict.completed)],
    )
    resolved = [
        {"hold": hold_id, "outcome": outcome, "ended": item.observed_at}
        for _, item in news
        for outcome, hold_ids in (("confirmed", item.verdict.completed), ("dissolved", item.verdict.dissolved))
        for hold_id in hold_ids
    ]
    _each(
        conn,
        statement.values(status=bindparam("outcome"), resolved_at=bindparam("ended"), resolved_run_id=run_id),
        resolved,
    )


def _split_holds(conn: Connection, run_id: int, news: Iterable[Item]) -> None:
    """Move the images that are listed again out of their hold, into a dissolved one beside it; the others stay."""
    for planned, item in news:
        holds = {hold.hold_id: hold for hold in item.state.known.holds}
        for hold_id, keys in item.verdict.returned.items():
            hold, evidence = holds[hold_id], item.state.holds[hold_id]
            row = {
                "target_id": planned.target_id,
                "run_id": evidence.run_id,
                "held_at": hold.held_at,
                "not_before": hold.not_before,
                "confirmations": hold.confirmations,
                "waits_for": hold.waits_for,
                "unreadable": hold.unreadable,
                "status": "dissolved",
                "resolved_at": item.observed_at,
                "resolved_run_id": run_id,
                "before_payload_id": evidence.before_payload_id,
                "payload_id": evidence.payload_id,
            }
            part = conn.execute(insert(Hold).returning(Hold.id), numbered(conn, Hold, [row])).scalar_one()
            for key in sorted(keys):
                is_key = (HoldImage.image_set == key.image_set) & (HoldImage.image_id == key.image_id)
                conn.execute(update(HoldImage).where(HoldImage.hold_id == hold_id, is_key).values(hold_id=part))


def _name_sets_of_holds(conn: Connection, filled: Iterable[_Filled]) -> None:
    """
    Call the images of holds as their open intervals are called now, where it was not stated until now in which set they
    are: what was held is looked for by set and id, also in what is past.
    """
    learning = [one for one in filled if one.key.image_set != UNSTATED_SET and KINDS[one.target.target.kind].set_key]
    held: set[tuple[int, str]] = set()
    for portion in portions(sorted({one.target.target_id for one in learning})):
        held.update((row[0], row[1]) for row in conn.execute(_held_in_no_set(), {"targets": portion}))
    _each(
        conn,
        _set_of_held(),
        [
            {"interval": one.interval_id, "image": one.key.image_id, "stated": one.key.image_set}
            for one in learning
            if (one.target.target_id, one.key.image_id) in held
        ],
    )


@cache
def _held_in_no_set() -> Select[*tuple[Any, ...]]:
    """Select what `:targets` ever had on hold that stated no set, by target and id."""
    held = select(Hold.target_id, HoldImage.image_id).join(HoldImage, HoldImage.hold_id == Hold.id)
    return held.where(among(Hold.target_id, "targets"), HoldImage.image_set == UNSTATED_SET)


@cache
def _set_of_held() -> Update:
    """Give `:image` the set `:stated` in the holds of its target that lie within `:interval`."""
    within = (
        select(Hold.id)
        .join(Interval, Interval.target_id == Hold.target_id)
        .where(Interval.id == bindparam("interval"), Hold.held_at >= Interval.valid_from)
    )
    own = (HoldImage.image_set == UNSTATED_SET, HoldImage.image_id == bindparam("image"), HoldImage.hold_id.in_(within))
    return update(HoldImage).where(*own).values(image_set=bindparam("stated"))


# --- what the next run compares with ---------------------------------------------------------------------------------


def _write_targets(conn: Connection, run_id: int, news: Iterable[Item], payloads: Mapping[bytes, int]) -> None:
    """Remember the answer; only one that was believed whole may spare the next run its decoding."""
    rows = [
        {
            "target": planned.target_id,
            "hash": item.evidence.digest if _is_believed(item) else None,
            "digest": item.digest if _is_believed(item) else None,
            "payload": payloads[item.evidence.digest],
            "written": item.observed_at,
            "unread": item.unreadable,
            "surplus": item.excess,
            "action": item.answered_by or None,
        }
        for planned, item in news
    ]
    _each(
        conn,
        update(TargetRow)
        .where(TargetRow.id == bindparam("target"))
        .values(
            body_hash=bindparam("hash"),
            snapshot_digest=bindparam("digest"),
            payload_id=bindparam("payload"),
            written_at=bindparam("written"),
            unreadable=bindparam("unread"),
            excess=bindparam("surplus"),
            answered_by=bindparam("action"),
            baseline_run_id=func.coalesce(TargetRow.baseline_run_id, run_id),
        ),
        rows,
    )


def _write_answers(conn: Connection, run_id: int, news: Iterable[Item], payloads: Mapping[bytes, int]) -> None:
    """Note which answer came in this run, so that `crawler replay` can judge all of them again."""
    rows = [
        {
            "run_id": run_id,
            "target_id": planned.target_id,
            "payload_id": payloads[item.evidence.digest],
            "observed_at": item.observed_at,
        }
        for planned, item in news
    ]
    _each(conn, insert(AnswerRow), rows)


def _is_believed(item: GoodAnswer) -> bool:
    """Return whether nothing of the answer waits on a hold: such an answer has to be judged again each time."""
    lasting = {hold.hold_id for hold in item.state.known.holds} - {*item.verdict.completed, *item.verdict.dissolved}
    return item.verdict.outcome == "ok" and not lasting
