"""
What of the intervals before the kept window its readers still look at; the rest goes.

Of every image at every target, under each of its names: its last presence, since readers say `withdrawn` and `missing`
of it and a comeback is `returned`; the first, since a name was first seen then; and whatever the unbroken presence of
the name at the beginning of the window goes back to. Of these only the last stay is kept as it is. Those before it are
folded into one that says no more than that the image was there under the name, and whether it supported GPU.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, bindparam, delete, func, or_, select, update

from crawler.db import changelog, outbox
from crawler.db.runs import save_setting
from crawler.db.schema import ChangeLog, ImageVersion, Interval, TargetRow
from crawler.db.sql import among, portions
from crawler.db.target_state import Versions, store_versions
from crawler.domain.models import Attributes, ImageKey

#: Targets sifted together, which bounds the memory.
TARGETS_AT_ONCE = 200
#: Rows deleted by one statement.
DELETED_AT_ONCE = 5_000


class Row(NamedTuple):
    """An interval that began by the beginning of the window."""

    interval_id: int
    key: ImageKey
    image_name: str
    name_key: str
    gpu: bool | None
    valid_from: datetime
    valid_to: datetime
    closed_run_id: int | None
    baseline: bool


class Fold(NamedTuple):
    """Intervals that become one: the first of them, with the end of the last."""

    first: Row
    last: Row

    @property
    def attributes(self) -> Attributes:
        """Return what all of them stated."""
        named = {"image_name": self.first.image_name} if self.first.image_name else {}
        return named if self.first.gpu is None else {**named, "gpu": self.first.gpu}


@dataclass(slots=True)
class Sifted:
    """What becomes of the intervals of one target."""

    gone: list[int] = field(default_factory=list)
    folds: list[Fold] = field(default_factory=list)
    #: The images and moments of which the changes are kept: how what is kept ended, or what was open then began.
    logged: set[tuple[ImageKey, datetime]] = field(default_factory=set)


class _Run(NamedTuple):
    """One unbroken presence of an image under one name."""

    rows: list[Row]

    @property
    def begins(self) -> datetime:
        return self.rows[0].valid_from

    @property
    def ends(self) -> datetime:
        return self.rows[-1].valid_to

    @property
    def key(self) -> ImageKey:
        return self.rows[0].key

    @property
    def has_gpu(self) -> bool:
        return any(row.gpu for row in self.rows)


def sift(rows: Iterable[Row], before: datetime) -> Sifted:
    """Tell what becomes of the *rows* of one target, all that began by *before*, when what ended by then is pruned."""
    sifted = Sifted()
    by_name: dict[tuple[str, str], dict[ImageKey, list[Row]]] = {}
    for row in sorted(rows, key=lambda row: row.valid_from):
        by_name.setdefault((row.key.image_set, row.name_key), {}).setdefault(row.key, []).append(row)
        if row.valid_to > before and not row.baseline:
            sifted.logged.add((row.key, row.valid_from))
    presences: list[_Run] = []
    wanted: set[int] = set()
    for images in by_name.values():
        of_name = [list(_runs(own)) for own in images.values()]
        presences += (run for own in of_name for run in own)
        wanted |= {id(run) for own in of_name for run in (own[0], own[-1])}
        wanted |= {id(run) for run in _reaching(before, (run for own in of_name for run in own))}
    wanted |= {id(run) for run in _with_gpu(presences, wanted)}
    for run in presences:
        if id(run) in wanted:
            _fold(run, before, sifted)
        else:
            sifted.gone += [row.interval_id for row in run.rows]
    return sifted


def _runs(rows: Sequence[Row]) -> Iterator[_Run]:
    """Yield the unbroken presences in *rows* of one image under one name, which are in order of time."""
    run = [rows[0]]
    for row in rows[1:]:
        if row.valid_from > run[-1].valid_to:
            yield _Run(run)
            run = []
        run.append(row)
    yield _Run(run)


def _reaching(before: datetime, runs: Iterable[_Run]) -> Iterator[_Run]:
    """Yield the presences through which one name was there at *before*, as far back as it was without a break."""
    reached = before
    is_there = False
    for run in sorted(runs, key=lambda run: run.ends, reverse=True):
        is_there = is_there or run.ends > before
        if not is_there or run.ends < reached:
            return
        if run.begins < reached:
            reached = run.begins
            yield run


def _with_gpu(presences: Sequence[_Run], wanted: Collection[int]) -> Iterable[_Run]:
    """Return one presence with GPU of each image without one among the *wanted*: `check` tells that it lost it."""
    had = {run.key for run in presences if id(run) in wanted and run.has_gpu}
    return {run.key: run for run in presences if run.has_gpu and run.key not in had}.values()


def _fold(run: _Run, before: datetime, sifted: Sifted) -> None:
    """Keep *run*: what ended by *before* is folded, but for the last stay of a presence that is over."""
    over = [row for row in run.rows if row.valid_to <= before]
    folding = over if run.ends > before else over[:-1]
    for _, alike in groupby(folding, key=lambda row: (row.image_name, row.gpu)):
        rows = list(alike)
        if len(rows) > 1:
            sifted.folds.append(Fold(rows[0], rows[-1]))
            sifted.gone += [row.interval_id for row in rows[1:]]
        sifted.logged.add((rows[-1].key, rows[-1].valid_to))
    sifted.logged |= {(row.key, row.valid_to) for row in over[len(folding) :]}


# --- in the database -------------------------------------------------------------------------------------------------


def prune_intervals(conn: Connection, before: datetime) -> tuple[int, int]:
    """
    Forget the intervals and the changes before the window, but for what its readers look at; count what went.

    Changes that some report has not told yet stay until it has.
    """
    intervals: list[int] = []
    changes: list[int] = []
    folds: list[Fold] = []
    kept = {changelog.last_change(conn), *conn.scalars(_untold_changes(), {"before": before})}
    for target_ids in portions(conn.scalars(select(TargetRow.id).order_by(TargetRow.id)).all(), TARGETS_AT_ONCE):
        rows = conn.execute(_begun(), {"targets": target_ids, "before": before})
        # by id: an image whose set was stated later is under that, but for its changes until then
        logged: set[tuple[int, str | None, datetime]] = set()
        for target_id, own in groupby(rows, key=lambda row: int(row.target_id)):
            sifted = sift(map(_row, own), before)
            intervals += sifted.gone
            folds += sifted.folds
            logged |= {(target_id, key.image_id, at) for key, at in sifted.logged}
        for change_id, target_id, image_id, observed_at in conn.execute(
            _old_changes(), {"targets": target_ids, "before": before}
        ):
            if (target_id, image_id, observed_at) not in logged and change_id not in kept:
                changes.append(change_id)
    _write_folds(conn, folds)
    for portion in portions(intervals, DELETED_AT_ONCE):
        conn.execute(_deletion(Interval), {"ids": portion})
    for portion in portions(changes, DELETED_AT_ONCE):
        conn.execute(_deletion(ChangeLog), {"ids": portion})
    if changes:
        save_setting(conn, changelog.PRUNED_TO, str(max(*changes, changelog.pruned_to(conn))))
    has_answers = func.coalesce(ChangeLog.before_payload_id, ChangeLog.after_payload_id).is_not(None)
    conn.execute(
        update(ChangeLog)
        .where(ChangeLog.recorded_at < before, has_answers)
        .values(before_payload_id=None, after_payload_id=None)
    )
    return len(intervals), len(changes)


def _row(row: Any) -> Row:
    _, interval_id, image_set, image_id, *rest = row
    return Row(interval_id, ImageKey(image_set, image_id), *rest)


def _write_folds(conn: Connection, folds: Sequence[Fold]) -> None:
    versions = Versions()
    for portion in portions(folds):
        stated = {
            versions.digest(fold.first.key, fold.attributes): (fold.first.key, fold.attributes) for fold in portion
        }
        ids = store_versions(conn, stated)
        conn.execute(
            update(Interval)
            .where(Interval.id == bindparam("interval"))
            .values(version_id=bindparam("version"), valid_to=bindparam("ended"), closed_run_id=bindparam("closed_by")),
            [
                {
                    "interval": fold.first.interval_id,
                    "version": ids[versions.digest(fold.first.key, fold.attributes)],
                    "ended": fold.last.valid_to,
                    "closed_by": fold.last.closed_run_id,
                }
                for fold in portion
            ],
        )


@cache
def _begun() -> Select[*tuple[Any, ...]]:
    columns: tuple[Any, ...] = (
        *(Interval.target_id, Interval.id, ImageVersion.image_set, ImageVersion.image_id, ImageVersion.image_name),
        *(ImageVersion.name_key, ImageVersion.gpu, Interval.valid_from, Interval.valid_to, Interval.closed_run_id),
        Interval.baseline,
    )
    return (
        select(*columns)
        .join(ImageVersion, ImageVersion.id == Interval.version_id)
        .where(among(Interval.target_id, "targets"), Interval.valid_from <= bindparam("before"))
        .order_by(Interval.target_id)
    )


@cache
def _old_changes() -> Select[*tuple[Any, ...]]:
    columns: tuple[Any, ...] = (ChangeLog.id, ChangeLog.target_id, ChangeLog.image_id, ChangeLog.observed_at)
    return select(*columns).where(among(ChangeLog.target_id, "targets"), ChangeLog.recorded_at < bindparam("before"))


@cache
def _untold_changes() -> Select[int]:
    """Select the changes that a report has to tell yet, or the next run has to report."""
    is_untold = or_(ChangeLog.reported_run_id.is_(None), ChangeLog.reported_run_id.in_(outbox.untold_runs()))
    return select(ChangeLog.id).where(ChangeLog.recorded_at < bindparam("before"), is_untold)


@cache
def _deletion(table: type[Interval] | type[ChangeLog]) -> Any:
    return delete(table).where(among(table.id, "ids"))
