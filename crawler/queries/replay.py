"""
What was recorded beside what a replay makes of the same answers: which changes and intervals are not the same.

Both databases have the same numbers of runs and targets. Compared is what happened and when, not when it was written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Engine, Select, select

from crawler.db.engine import read
from crawler.db.recorded import Recorded
from crawler.db.schema import ChangeLog, ImageVersion, Interval
from crawler.db.sql import PAGED, among, portions
from crawler.domain.models import END_OF_TIME, IMAGE_EVENTS, Target, iso_utc
from crawler.domain.rows import JsonRow

#: Targets whose intervals are compared together.
TARGETS_AT_ONCE = 50

Sides = tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayDifference(JsonRow):
    """A change or an interval that is not the same in both."""

    target: Target
    what: Literal["change", "interval"]
    #: Of a change: the run that recorded it.
    run: int | None
    image_set: str
    image_id: str
    #: None: there is none.
    recorded: Mapping[str, Any] | None
    replayed: Mapping[str, Any] | None

    @property
    def fields(self) -> list[str]:
        """Return the names of what differs; empty where one of them is not there at all."""
        if self.recorded is None or self.replayed is None:
            return []
        return [name for name, value in self.recorded.items() if value != self.replayed[name]]


class ReplayCount(NamedTuple):
    """How many there are on each side, and how many are the same."""

    recorded: int
    replayed: int
    equal: int


@dataclass(slots=True)
class _PairCount:
    recorded: int = 0
    replayed: int = 0
    equal: int = 0

    def add(self, sides: Sides) -> bool:
        """Count a pair, and return whether it differs."""
        one, other = sides
        self.recorded += one is not None
        self.replayed += other is not None
        self.equal += one == other
        return one != other

    def counted(self) -> ReplayCount:
        return ReplayCount(self.recorded, self.replayed, self.equal)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport(JsonRow):
    """How a replay compares with what was recorded."""

    equal: bool
    runs: int
    answers: int
    changes: ReplayCount
    intervals: ReplayCount
    #: Recorded changes of before the first kept answer of their target.
    not_compared: int
    #: Targets of which earlier answers, or any, are not kept any more.
    begun_late: int
    #: From when on the history is whole; None: nothing was ever pruned.
    begins_at: datetime | None
    differences: tuple[ReplayDifference, ...]


def compare_replay(recorded: Recorded, source: Engine, replayed: Engine, *, runs: int, answers: int) -> ReplayReport:
    """Compare what *source* holds with what a replay of its *runs* and *answers* wrote to *replayed*."""
    comparison = _Comparison(recorded)
    with read(source) as one, read(replayed) as other:
        differences = (*comparison.changes(one, other), *comparison.intervals(one, other))
    return ReplayReport(
        equal=not differences,
        runs=runs,
        answers=answers,
        changes=comparison.of_changes.counted(),
        intervals=comparison.of_intervals.counted(),
        not_compared=comparison.not_compared,
        begun_late=len(recorded.begun_late) + len(recorded.without_answers),
        begins_at=recorded.begins_at,
        differences=differences,
    )


class _Comparison:
    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded
        self.of_changes = _PairCount()
        self.of_intervals = _PairCount()
        self.not_compared = 0

    def _is_before(self, target_id: int, run_id: int) -> bool:
        """Return whether a run came before what is kept of a target, or was the first of that."""
        if target_id in self._recorded.without_answers:
            return True
        first = self._recorded.begun_late.get(target_id)
        return first is not None and run_id <= first

    # --- changes -----------------------------------------------------------------------------------------------------

    def changes(self, one: Connection, other: Connection) -> Iterator[ReplayDifference]:
        """Yield the changes that differ, by run."""
        sides = _by_run(one), _by_run(other)
        for run_id, (mine, theirs) in _joined(*sides):
            if not self._recorded.takes(run_id):
                continue
            for place, pair in _pairs(self._wanted(mine), self._wanted(theirs, is_source=False)):
                if self.of_changes.add(pair):
                    target_id, image_set, image_id = place
                    yield ReplayDifference(
                        target=self._recorded.targets[target_id],
                        what="change",
                        run=run_id,
                        image_set=image_set,
                        image_id=image_id,
                        recorded=pair[0],
                        replayed=pair[1],
                    )

    def _wanted(self, rows: list[Any], *, is_source: bool = True) -> dict[Any, list[dict[str, Any]]]:
        found: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            is_known = row.target_id in self._recorded.targets
            if not is_known or (is_source and row.id > self._recorded.last_change):
                continue
            if self._is_before(row.target_id, row.run_id):
                self.not_compared += 1
                continue
            found[row.target_id, row.image_set, row.image_id].append(
                {
                    "event": row.event,
                    "image_name": row.image_name,
                    "fields": row.fields or {},
                    "counterpart": row.counterpart,
                    "not_before": iso_utc(row.not_before),
                    "observed_at": iso_utc(row.observed_at),
                }
            )
        return found

    # --- intervals ---------------------------------------------------------------------------------------------------

    def intervals(self, one: Connection, other: Connection) -> Iterator[ReplayDifference]:
        """Yield the intervals that differ, by target; of a target that a run not looked at went on with none."""
        moved = self._recorded.gone_on(one)
        moved |= set(one.scalars(select(ChangeLog.target_id).where(ChangeLog.id > self._recorded.last_change)))
        for target_ids in portions(sorted(self._recorded.targets.keys() - moved), TARGETS_AT_ONCE):
            sides = [self._stays(conn, target_ids) for conn in (one, other)]
            for place, pair in _pairs(*sides):
                if self.of_intervals.add(pair):
                    target_id, image_set, image_id, _ = place
                    yield ReplayDifference(
                        target=self._recorded.targets[target_id],
                        what="interval",
                        run=None,
                        image_set=image_set,
                        image_id=image_id,
                        recorded=pair[0],
                        replayed=pair[1],
                    )

    def _stays(self, conn: Connection, target_ids: list[int]) -> dict[Any, list[dict[str, Any]]]:
        found: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for row in conn.execute(_intervals_of(), {"targets": target_ids}):
            if not self._is_before(row.target_id, row.opened_run_id):
                found[row.target_id, row.image_set, row.image_id, row.valid_from].append(
                    {
                        "valid_from": iso_utc(row.valid_from),
                        "valid_to": None if row.valid_to == END_OF_TIME else iso_utc(row.valid_to),
                        "baseline": row.baseline,
                        "attributes": row.attributes,
                    }
                )
        return found


def _by_run(conn: Connection) -> Iterator[tuple[int, list[Any]]]:
    rows = conn.execute(_changes_by_run(), execution_options=PAGED)
    return ((run_id, list(own)) for run_id, own in groupby(rows, key=lambda row: int(row.run_id)))


def _joined(
    one: Iterator[tuple[int, list[Any]]], other: Iterator[tuple[int, list[Any]]]
) -> Iterator[tuple[int, tuple[list[Any], list[Any]]]]:
    """Yield each run of either side with the rows of both."""
    mine, theirs = next(one, None), next(other, None)
    while mine is not None or theirs is not None:
        run_id = min(side[0] for side in (mine, theirs) if side is not None)
        rows: tuple[list[Any], list[Any]] = ([], [])
        if mine is not None and mine[0] == run_id:
            rows = mine[1], rows[1]
            mine = next(one, None)
        if theirs is not None and theirs[0] == run_id:
            rows = rows[0], theirs[1]
            theirs = next(other, None)
        yield run_id, rows


def _pairs(mine: Mapping[Any, list[Any]], theirs: Mapping[Any, list[Any]]) -> Iterator[tuple[Any, Sides]]:
    """Yield what is of the same image side by side, what is equal first: the rest in its order."""
    for place in sorted(mine.keys() | theirs.keys()):
        left, right = list(mine.get(place, [])), list(theirs.get(place, []))
        for row in list(left):
            if row in right:
                left.remove(row)
                right.remove(row)
                yield place, (row, row)
        for number in range(max(len(left), len(right))):
            yield place, (_at(left, number), _at(right, number))


def _at(rows: list[Any], number: int) -> Any:
    return rows[number] if number < len(rows) else None


def _changes_by_run() -> Select[*tuple[Any, ...]]:
    is_of_image = ChangeLog.event.in_(IMAGE_EVENTS)
    return select(ChangeLog.__table__).where(is_of_image).order_by(ChangeLog.run_id, ChangeLog.id)


def _intervals_of() -> Select[*tuple[Any, ...]]:
    columns = (Interval.target_id, Interval.valid_from, Interval.valid_to, Interval.baseline, Interval.opened_run_id)
    of_version = (ImageVersion.image_set, ImageVersion.image_id, ImageVersion.attributes)
    return (
        select(*columns, *of_version)
        .join(ImageVersion, ImageVersion.id == Interval.version_id)
        .where(among(Interval.target_id, "targets"))
        .order_by(Interval.target_id, Interval.valid_from)
    )
