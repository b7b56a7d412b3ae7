"""
Whether a history contradicts itself, and how much of what it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, exists, func, or_, select, text

from crawler.db.engine import address_of, is_sqlite, read
from crawler.db.filters import targets_by_id
from crawler.db.migrations import SCHEMA_HEAD, SchemaState, schema_state
from crawler.db.schema import (
    Base,
    ChangeLog,
    Hold,
    HoldImage,
    ImageVersion,
    Interval,
    OutcomeSpan,
    Run,
    ScopeTarget,
    TargetRow,
)
from crawler.domain.models import END_OF_TIME, Target, iso_utc

Rows = Select[*tuple[Any, ...]]

#: Examples given of each kind of finding.
EXAMPLES = 5


def findings_of_file(conn: Connection) -> list[str]:
    """Return what is wrong with the SQLite file, whatever its schema, one sentence each; nothing on PostgreSQL."""
    return list(_file(conn)) if is_sqlite(conn) else []


def findings(conn: Connection) -> list[str]:
    """Return what is wrong with the history, one sentence each."""
    found = findings_of_file(conn)
    for sentence, statement in _invariants():
        rows = conn.execute(statement.limit(EXAMPLES + 1)).all()
        if not rows:
            continue
        targets = targets_by_id(conn, {row.target_id for row in rows if row.target_id is not None})
        examples = "; ".join(_example(row, targets.get(row.target_id)) for row in rows[:EXAMPLES])
        found.append(f"{sentence}: {examples}{' …' if len(rows) > EXAMPLES else ''}")
    return found


def _example(row: Any, target: Target | None) -> str:
    return f"{target} {row.what}" if target else str(row.what)


def _file(conn: Connection) -> Iterator[str]:
    """Ask SQLite about its own file, and about references to rows that are not there."""
    for (line,) in conn.exec_driver_sql(f"PRAGMA integrity_check({EXAMPLES})"):
        if line != "ok":
            yield f"the file is damaged: {line}"
    broken = conn.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(EXAMPLES)
    for table, rowid, parent, _ in broken:
        yield f"{table} row {rowid} refers to a row of {parent} that is not there"


def _invariants() -> Iterator[tuple[str, Rows]]:
    checks: tuple[tuple[str, Callable[[], Rows]], ...] = (
        ("one image is listed twice at the same time", _overlaps),
        ("an interval ends before it begins", _reversed),
        ("an interval ended without a change that says so", _silent_ends),
        ("a withdrawal was recorded by a run that did not observe the target well", _unseen_withdrawals),
        ("a hold is open for an image that is not", _empty_holds),
        ("a run ended before it began", _reversed_runs),
        ("an interval is of another account than its target", partial(_strangers, Interval)),
        ("a change is of another account than its target", partial(_strangers, ChangeLog)),
        ("a span of trouble is of another account than its target", partial(_strangers, OutcomeSpan)),
    )
    for sentence, build in checks:
        yield sentence, build()


def _overlaps() -> Rows:
    image = (Interval.target_id, ImageVersion.image_set, ImageVersion.image_id)
    before = func.max(Interval.valid_to).over(
        partition_by=image, order_by=(Interval.valid_from, Interval.id), rows=(None, -1)
    )
    rows = (
        select(Interval.target_id, ImageVersion.image_id.label("what"), Interval.valid_from, before.label("before"))
        .join(ImageVersion, ImageVersion.id == Interval.version_id)
        .subquery()
    )
    return select(rows.c.target_id, rows.c.what).where(rows.c.valid_from < rows.c.before)


def _reversed() -> Rows:
    return _intervals().where(Interval.valid_to <= Interval.valid_from)


def _intervals() -> Rows:
    return select(Interval.target_id, ImageVersion.image_id.label("what")).join(
        ImageVersion, ImageVersion.id == Interval.version_id
    )


def _silent_ends() -> Rows:
    logged = exists().where(
        ChangeLog.target_id == Interval.target_id,
        ChangeLog.image_id == ImageVersion.image_id,
        ChangeLog.observed_at == Interval.valid_to,
        ChangeLog.event.in_(("withdrawn", "modified")),
    )
    return _intervals().where(Interval.valid_to != END_OF_TIME, ~logged)


def _unseen_withdrawals() -> Rows:
    in_scope = exists().where(ScopeTarget.scope_id == Run.scope_id, ScopeTarget.target_id == ChangeLog.target_id)
    in_trouble: ColumnElement[bool] = exists().where(
        OutcomeSpan.target_id == ChangeLog.target_id,
        OutcomeSpan.from_run_id <= ChangeLog.run_id,
        OutcomeSpan.to_run_id > ChangeLog.run_id,
        OutcomeSpan.outcome != "held",
    )
    return (
        select(ChangeLog.target_id, ChangeLog.image_id.label("what"))
        .join(Run, Run.id == ChangeLog.run_id)
        .where(ChangeLog.event == "withdrawn", Run.finished_at.is_not(None), or_(~in_scope, in_trouble))
    )


def _empty_holds() -> Rows:
    is_open = exists().where(
        Interval.target_id == Hold.target_id,
        Interval.valid_to == END_OF_TIME,
        ImageVersion.id == Interval.version_id,
        ImageVersion.image_set == HoldImage.image_set,
        ImageVersion.image_id == HoldImage.image_id,
    )
    return (
        select(Hold.target_id, HoldImage.image_id.label("what"))
        .join(HoldImage, HoldImage.hold_id == Hold.id)
        .where(Hold.status == "open", ~is_open)
    )


def _reversed_runs() -> Rows:
    # No target: the run's number says which.
    return select(func.nullif(Run.id, Run.id).label("target_id"), Run.id.label("what")).where(
        Run.finished_at < Run.started_at
    )


def _strangers(table: type[Interval] | type[ChangeLog] | type[OutcomeSpan]) -> Rows:
    is_strange = or_(table.account_id.is_(None), table.account_id != TargetRow.account_id)
    rows: Rows = select(table.target_id, table.id.label("what"))
    return rows.join(TargetRow, TargetRow.id == table.target_id).where(is_strange)


_COUNTED = {"runs": Run, "targets": TargetRow, "intervals": Interval, "changes": ChangeLog}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """One database: where, which schema, how many rows, how many bytes."""

    database: str
    state: SchemaState
    #: Empty unless the schema is current: another one may count otherwise.
    counts: dict[str, int]
    size_bytes: int | None
    last_finished_at: datetime | None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON shape of `db status`."""
        return {
            "database": self.database,
            "state": self.state.name,
            "schema": self.state.found,
            "program_schema": SCHEMA_HEAD,
            **{name: self.counts.get(name) for name in _COUNTED},
            "size_bytes": self.size_bytes,
            "last_finished_at": iso_utc(self.last_finished_at),
        }


def tables(conn: Connection) -> list[dict[str, Any]]:
    """Return the rows of every table, and its bytes with its indexes where the database can tell."""
    sizes = _sizes(conn)
    return [
        {
            "table": table.name,
            "rows": conn.execute(select(func.count()).select_from(table)).scalar_one(),
            "size_bytes": sizes.get(table.name),
        }
        for table in sorted(Base.metadata.tables.values(), key=lambda table: table.name)
    ]


def _sizes(conn: Connection) -> dict[str, int]:
    if is_sqlite(conn):
        built_with = {option for (option,) in conn.exec_driver_sql("PRAGMA compile_options")}
        if "ENABLE_DBSTAT_VTAB" not in built_with:
            return {}
        statement = "SELECT m.tbl_name, sum(s.pgsize) FROM dbstat s JOIN sqlite_schema m ON m.name = s.name GROUP BY 1"
    else:
        own = "FROM pg_stat_user_tables WHERE schemaname = current_schema()"
        statement = f"SELECT relname, pg_total_relation_size(relid) {own}"
    return {name: int(size) for name, size in conn.exec_driver_sql(statement)}


def inventory(engine: Engine) -> Inventory:
    """Count what the database holds; raise DatabaseUnavailable when it cannot be read."""
    state = schema_state(engine)
    counts: dict[str, int] = {}
    last: datetime | None = None
    with read(engine) as connection:
        if is_sqlite(engine):
            size = connection.exec_driver_sql(
                "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
            ).scalar()
        else:
            size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar()
        if state.name == "current":
            for name, table in _COUNTED.items():
                counts[name] = connection.execute(select(func.count()).select_from(table)).scalar_one()
            last = connection.execute(select(Run.finished_at).order_by(Run.id.desc()).limit(1)).scalar()
    return Inventory(
        database=str(address_of(engine)), state=state, counts=counts, size_bytes=size, last_finished_at=last
    )
