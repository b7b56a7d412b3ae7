"""How much a database holds: for `db status` and those who ask whether it grows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, select, text

from crawler.domain.models import iso_utc
from crawler.store.base import Base
from crawler.store.engine import address_of, is_sqlite, read
from crawler.store.migrate import SCHEMA_HEAD, SchemaState, schema_state
from crawler.store.tables import ChangeLog, Interval, Run, TargetRow

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
        """Give the JSON shape of `db status`."""
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
    """Give the rows of every table, and its bytes with its indexes where the database can tell."""
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
        statement = "SELECT relname, pg_total_relation_size(relid) FROM pg_stat_user_tables"
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
