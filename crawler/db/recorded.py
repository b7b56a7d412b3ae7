"""
What a history recorded, as a replay takes it: run after run, the answers and the outcomes without one.

Read in short transactions, so that runs may go on meanwhile: what is read is what was there at the beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Select, delete, func, insert, literal, or_, select, update

from crawler.db import changelog, numbering
from crawler.db.beginning import begins_at
from crawler.db.copy import OF_DATABASE, OF_FLEET, continue_numbering
from crawler.db.engine import read
from crawler.db.filters import chosen_targets
from crawler.db.payloads import NewPayload, load_payload
from crawler.db.schema import (
    Absence,
    Account,
    AnswerForms,
    AnswerRow,
    Base,
    CatalogRow,
    ChangeLog,
    ConditionRow,
    Hold,
    ImageVersion,
    Interval,
    OutcomeSpan,
    Revocation,
    Run,
    Scope,
    ScopeTarget,
    Setting,
    SubscriptionRow,
    TargetRow,
    Variant,
    ZoneNumber,
)
from crawler.db.sql import INSERTED, portions
from crawler.db.target_state import store_versions
from crawler.domain.filters import EVERYTHING, Filters
from crawler.domain.models import IMAGE_EVENTS, Catalog, ImageKey, Place, Target
from crawler.domain.targets import zones_of_numbers

#: Runs that are read together.
RUNS_AT_ONCE = 500
#: What no answer decides, and that is taken over as it is, in an order in which references are there.
_TAKEN_OVER: tuple[type[Base], ...] = (Account, Variant, Revocation)
#: Settings about the changes of a database by their numbers, which begin anew; those of the database itself stay there.
_LEFT = frozenset({changelog.PRUNED_TO, *numbering.GIVEN_TO.values()})
#: Columns of `targets` that its answers fill.
_OF_ANSWERS: Mapping[str, Any] = {
    **dict.fromkeys(("baseline_run_id", "body_hash", "snapshot_digest", "payload_id", "written_at", "answered_by")),
    **dict.fromkeys(("unreadable", "excess"), 0),
}

#: Columns of `intervals` but those that name rows of this database alone.
_OF_STAYS = ("target_id", "account_id", "valid_from", "valid_to", "present_since", "baseline")


class KeptReply(NamedTuple):
    """An answer that changed what is known of a target: which, and when it was observed."""

    payload_id: int
    observed_at: datetime


class RecordedSpan(NamedTuple):
    """A span of runs in which a target's outcome was not `ok`, as it was recorded."""

    target_id: int
    from_run_id: int
    to_run_id: int
    outcome: str
    failure_class: str | None
    ret_code: int | None
    message: str
    request_uuid: str
    payload_id: int | None
    since: datetime


class Resolution(NamedTuple):
    """What a person said of a hold."""

    target_id: int
    held_at: datetime
    status: str
    resolved_at: datetime
    resolved_by: str


@dataclass(kw_only=True)
class RecordedRun:
    """A run that ended, and what it recorded of the targets that are looked at."""

    row: dict[str, Any]
    answers: dict[int, KeptReply] = field(default_factory=dict)
    #: Spans that begin with it, and the targets of those that end before it.
    begun: list[RecordedSpan] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    #: Changes of targets as such.
    events: list[dict[str, Any]] = field(default_factory=list)
    #: When the changes of a target were written, in the order of writing.
    written: dict[int, datetime] = field(default_factory=dict)

    @property
    def run_id(self) -> int:
        """Return its number."""
        return int(self.row["id"])


class Recorded:
    """What the history of *engine* has of the targets that *filters* want, up to now."""

    def __init__(self, engine: Engine, filters: Filters = EVERYTHING) -> None:
        self._engine = engine
        with read(engine) as conn:
            self.last_change = conn.scalar(select(func.max(ChangeLog.id))) or 0
            self.last_run = conn.scalar(select(func.max(Run.id))) or 0
            self._unfinished = frozenset(conn.scalars(select(Run.id).where(Run.finished_at.is_(None))))
            chosen = chosen_targets(conn, filters)
            self.targets: dict[int, Target] = {one.target_id: one.target for one in chosen}
            self.accounts = {one.target_id: one.account_id for one in chosen}
            #: From when on the history is whole; None: it always was.
            self.begins_at = begins_at(conn)
            baselines = {one.target_id: one.baseline_run_id for one in chosen}
            #: The targets of which earlier answers are not kept, with the run of the first that is.
            self.begun_late = {
                target_id: run_id
                for target_id, run_id in conn.execute(_first_answers())
                if target_id in baselines and baselines[target_id] != run_id
            }
            known = {target_id for target_id, run_id in baselines.items() if run_id is not None}
            #: The targets that were observed, and of which no answer is kept.
            self.without_answers = frozenset(known.difference(conn.scalars(select(AnswerRow.target_id).distinct())))

    @property
    def is_whole(self) -> bool:
        """Return whether every answer that changed anything is kept."""
        return not self.begun_late and not self.without_answers

    def runs(self) -> Iterator[RecordedRun]:
        """Yield every run that has ended, in the order of their numbers."""
        first = 0
        while first <= self.last_run:
            with read(self._engine) as conn:
                page = self._page(conn, first)
            if not page:
                return
            yield from page.values()
            first = max(page) + 1

    def takes(self, run_id: int) -> bool:
        """Return whether a run is one of those that are looked at."""
        return run_id <= self.last_run and run_id not in self._unfinished

    def gone_on(self, conn: Connection) -> set[int]:
        """Return the targets of which runs that are not looked at, under way or later ones, have kept an answer."""
        kept = select(AnswerRow.target_id).where(
            or_(AnswerRow.run_id > self.last_run, AnswerRow.run_id.in_(self._unfinished))
        )
        return set(conn.scalars(kept))

    def _page(self, conn: Connection, first: int) -> dict[int, RecordedRun]:
        columns = Run.__table__
        chosen = select(columns).where(Run.id.between(first, self.last_run), Run.finished_at.is_not(None))
        rows = conn.execute(chosen.order_by(Run.id).limit(RUNS_AT_ONCE)).mappings()
        page = {row["id"]: RecordedRun(row=dict(row)) for row in rows if self.takes(row["id"])}
        if not page:
            return page
        ends = min(page), max(page)
        for row in conn.execute(select(AnswerRow).where(AnswerRow.run_id.between(*ends))):
            if row.target_id in self.targets and row.run_id in page:
                page[row.run_id].answers[row.target_id] = KeptReply(row.payload_id, row.observed_at)
        self._add_spans(conn, page, *ends)
        self._add_changes(conn, page, *ends)
        return page

    def _add_spans(self, conn: Connection, page: Mapping[int, RecordedRun], first: int, last: int) -> None:
        columns = [OutcomeSpan.__table__.c[name] for name in RecordedSpan._fields]
        edges = or_(OutcomeSpan.from_run_id.between(first, last), OutcomeSpan.to_run_id.between(first, last))
        for row in conn.execute(select(*columns).where(edges).order_by(OutcomeSpan.id)):
            span = RecordedSpan(*row)
            if span.target_id in self.targets:
                if span.from_run_id in page:
                    page[span.from_run_id].begun.append(span)
                if span.to_run_id in page:
                    page[span.to_run_id].ended.append(span.target_id)

    def _add_changes(self, conn: Connection, page: Mapping[int, RecordedRun], first: int, last: int) -> None:
        chosen = select(ChangeLog.__table__).where(ChangeLog.run_id.between(first, last))
        for row in conn.execute(chosen.where(ChangeLog.id <= self.last_change).order_by(ChangeLog.id)).mappings():
            if row["target_id"] not in self.targets or row["run_id"] not in page:
                continue
            run = page[row["run_id"]]
            if row["event"] not in IMAGE_EVENTS:
                kept = {name: value for name, value in row.items() if name != "id"}
                run.events.append({**kept, "reported_run_id": run.run_id})
            elif row["target_id"] in run.answers:
                run.written.setdefault(row["target_id"], row["recorded_at"])

    def payload(self, payload_id: int) -> NewPayload:
        """Return an answer as it is kept; raises DatabaseUnavailable."""
        with read(self._engine) as conn:
            return load_payload(conn, payload_id)

    def resolutions(self) -> list[Resolution]:
        """Return what people said of holds, in the order in which they did."""
        columns = [Hold.__table__.c[name] for name in Resolution._fields]
        by_hand = select(*columns).where(Hold.resolved_by.is_not(None), Hold.status.in_(("accepted", "rejected")))
        with read(self._engine) as conn:
            found = [Resolution(*row) for row in conn.execute(by_hand.order_by(Hold.resolved_at, Hold.id))]
        return [one for one in found if one.target_id in self.targets]

    @cached_property
    def _catalogs(self) -> Mapping[int, list[tuple[datetime, dict[int, str | None]]]]:
        """The numeric ZoneIds of the catalogs of each account, with the moment from which on they held."""
        found: dict[int, list[tuple[datetime, dict[int, str | None]]]] = {}
        with read(self._engine) as conn:
            for row in conn.execute(select(CatalogRow).order_by(CatalogRow.id)):
                catalog = Catalog(projects=(), places=tuple(Place(*place) for place in row.places))
                found.setdefault(row.account_id, []).append((row.recorded_at, zones_of_numbers(catalog)))
        return found

    def catalog_numbers(self, account_id: int, at: datetime) -> Mapping[int, str | None]:
        """Return the zone of each ZoneId in the catalog of an account *at* the start of a run; None: of several."""
        known = [numbers for recorded_at, numbers in self._catalogs.get(account_id, ()) if recorded_at <= at]
        return known[-1] if known else {}

    def scope_members(self, scope_id: int | None) -> frozenset[int]:
        """Return the targets of a scope that are looked at."""
        statement = select(ScopeTarget.target_id).where(ScopeTarget.scope_id == scope_id)
        with read(self._engine) as conn:
            return frozenset(conn.scalars(statement)) & self.targets.keys()

    # --- a new database ----------------------------------------------------------------------------------------------

    def begin_copy(self, conn: Connection) -> None:
        """Write to an empty database what no answer decides: accounts, catalogs, targets, scopes, absences."""
        with read(self._engine) as reading:
            conn.execute(delete(Setting).where(~Setting.name.startswith(OF_FLEET)))
            _take_over(
                Setting,
                reading,
                conn,
                lambda row: row["name"] not in _LEFT and not row["name"].startswith(OF_DATABASE),
            )
            for table in _TAKEN_OVER:
                _take_over(table, reading, conn)
            # what an account without any target lists is there already for the run that first looks
            accounts = set(self.accounts.values())
            _take_over(CatalogRow, reading, conn, lambda row: row["account_id"] in accounts)
            _take_over(TargetRow, reading, conn, lambda row: row["id"] in self.targets, **_OF_ANSWERS)
            _take_over(Absence, reading, conn, lambda row: row["target_id"] in self.targets)
            _take_over(Scope, reading, conn)
            # the numbers of what is left out may be given to others, whose scope is another
            for portion in portions(self._scopes_in_part(reading)):
                in_part = update(Scope).where(Scope.id.in_(portion))
                conn.execute(in_part.values(digest=literal("part of ") + Scope.digest))
            _take_over(ScopeTarget, reading, conn, lambda row: row["target_id"] in self.targets)
            if not self.is_whole:
                _take_over(ZoneNumber, reading, conn)

    def _scopes_in_part(self, conn: Connection) -> set[int]:
        """Return the scopes that hold a target which is not looked at."""
        members = conn.execute(select(ScopeTarget.scope_id, ScopeTarget.target_id))
        return {scope_id for scope_id, target_id in members if target_id not in self.targets}

    def end_copy(self, conn: Connection) -> None:
        """Write what was told to whom, so that nothing is told again from the new database."""
        nobody = {"sender": None, "sender_until": None}
        with read(self._engine) as reading:
            _take_over(SubscriptionRow, reading, conn, lambda row: self._is_there(row["told_run_id"]), **nobody)
            _take_over(ConditionRow, reading, conn)
            conn.execute(delete(AnswerForms))
            _take_over(AnswerForms, reading, conn, lambda row: row["target_id"] in self.targets)
            for table in Base.metadata.sorted_tables:
                continue_numbering(table, reading, conn)

    def _is_there(self, run_id: int | None) -> bool:
        return run_id is None or self.takes(run_id)

    def take_ended(self, conn: Connection, target_id: int, run_id: int, by: datetime) -> None:
        """
        Write the stays at a target that were over *by* a moment, as the history has them.

        They are those of which no answer is kept; the run that begins the replay of the target stands for theirs.
        """
        columns = (Interval.__table__, ImageVersion.digest, ImageVersion.image_set, ImageVersion.image_id)
        over = (
            select(*columns, ImageVersion.attributes)
            .join(ImageVersion, ImageVersion.id == Interval.version_id)
            .where(Interval.target_id == target_id, Interval.valid_to <= by)
        )
        with read(self._engine) as reading:
            rows = [dict(row) for row in reading.execute(over).mappings()]
        stated = {row["digest"]: (ImageKey(row["image_set"], row["image_id"]), row["attributes"]) for row in rows}
        ids = store_versions(conn, stated)
        for row in rows:
            values = {name: row[name] for name in _OF_STAYS}
            runs = {"opened_run_id": run_id, "closed_run_id": run_id}
            conn.execute(insert(Interval), {**values, **runs, "version_id": ids[row["digest"]]})


def _first_answers() -> Select[*tuple[Any, ...]]:
    return select(AnswerRow.target_id, func.min(AnswerRow.run_id)).group_by(AnswerRow.target_id)


def _take_over(
    table: type[Base],
    reading: Connection,
    writing: Connection,
    wanted: Callable[[Mapping[str, Any]], bool] = lambda row: True,
    **instead: Any,
) -> None:
    """Copy the *wanted* rows of a *table*, with other values *instead* of some."""
    rows = map(dict[str, Any], reading.execute(select(table.__table__)).mappings())
    for portion in portions(filter(wanted, rows), INSERTED):
        writing.execute(insert(table), [{**row, **instead} for row in portion])
