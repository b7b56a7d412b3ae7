"""
Moving a whole history from one database to another, SQLite or PostgreSQL either way: same rows, same ids, proven.

Rows go over as they are stored, in portions, inside one transaction of the target, so that a copy that was cut short
leaves an empty database behind. At the end every table is read back and compared: its count, and a digest that does not
depend on the order of rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Table,
    Text,
    TypeDecorator,
    column,
    delete,
    false,
    func,
    insert,
    select,
    table,
    text,
)
from sqlalchemy.types import TypeEngine

from crawler.db import numbering
from crawler.db.engine import Fence, address_of, be_patient, begin, is_sqlite, read
from crawler.db.migrations import mismatch, schema_state, upgrade
from crawler.db.schema import Base, Setting, WorkerRow
from crawler.domain.rows import JsonRow
from crawler.domain.text import counted
from crawler.errors import DatabaseUnavailable, SchemaMismatch, UsageError

#: Rows in one insert.
ROWS_AT_ONCE = 2_000
#: How the settings begin that are of a database and no history, as a table is that says which workers it has.
OF_FLEET = "fleet "
OF_DATABASE = (OF_FLEET, "told of ")
_SETTINGS, _WORKERS = Setting.__table__, WorkerRow.__table__


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedTable(JsonRow):
    """One table that was copied."""

    table: str
    rows: int
    #: Of all rows, the same on every database.
    digest: str


def copy_history(
    source: Engine,
    target: Engine,
    *,
    fence: Fence | None = None,
    progress: Callable[[str, int], None] = lambda name, rows: None,
) -> list[CopiedTable]:
    """
    Copy every row of *source* to *target*, which is empty, and give what was copied; a fleet stays where it is.

    The caller holds the locks of both; *fence* is the target's. *progress* hears of each portion. Raises SchemaMismatch
    for a source of another schema, UsageError for a target that holds anything, DatabaseUnavailable when what arrived
    is not what was sent; then the target is left empty.
    """
    state = schema_state(source)
    if state.name != "current":
        raise SchemaMismatch(mismatch(source, state))
    prepare(target)
    copied: list[CopiedTable] = []
    with read(source) as reading, begin(target, fence) as writing:
        be_patient(reading)
        be_patient(writing)
        writing.execute(delete(Setting).where(~Setting.name.startswith(OF_FLEET)))
        for original in Base.metadata.sorted_tables:
            sent = _copy(original, reading, writing, progress)
            continue_numbering(original, reading, writing)
            arrived = _digest(original, writing)
            if arrived != sent:
                raise DatabaseUnavailable(
                    f"Of {counted(sent.rows, 'row')} of {sent.table}, {arrived.rows} arrived in {address_of(target)}, "
                    "or some arrived changed; nothing was kept there. Begin the copy again."
                )
            copied.append(sent)
    if not is_sqlite(target):
        with begin(target, fence) as writing:
            writing.execute(text("ANALYZE"))
    return copied


def prepare(target: Engine) -> None:
    """
    Make the schema in an empty database; raise UsageError where anything is there already.

    What an upgrade, workers or a run that found a lock taken leave in the settings does not count.
    """
    state = schema_state(target)
    if state.name == "empty":
        upgrade(target)
        return
    if state.name != "current":
        raise SchemaMismatch(mismatch(target, state))
    with read(target) as conn:
        for original in Base.metadata.sorted_tables:
            own = OF_DATABASE if original is _SETTINGS else ()
            rows = select(original).where(*(~Setting.name.startswith(lead) for lead in own))
            if conn.execute(select(func.count()).select_from(rows.limit(1).subquery())).scalar_one():
                raise UsageError(
                    f"The database {address_of(target)} is not empty: it has rows in {original.name}. "
                    "A whole history goes into an empty database."
                )


# --- rows as they are stored -----------------------------------------------------------------------------------------


def _stored(original: Table) -> Any:
    """Return *original* with the columns' types as the database has them, so that nothing is converted on the way."""
    return table(original.name, *(column(c.name, _plain(c.type)) for c in original.columns))


def _plain(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    return kind.impl_instance if isinstance(kind, TypeDecorator) else kind


def _portions(original: Table, conn: Connection) -> Generator[list[dict[str, Any]], None, None]:
    statement = select(_stored(original)).execution_options(yield_per=ROWS_AT_ONCE)
    if original is _SETTINGS:  # neither the queue goes along, nor its workers, nor that they rest
        statement = statement.where(*(~column("name", Text).startswith(own) for own in OF_DATABASE))
    if original is _WORKERS:
        statement = statement.where(false())
    with conn.execute(statement) as result:
        for rows in result.mappings().partitions():
            yield [dict(row) for row in rows]


def _copy(
    original: Table, reading: Connection, writing: Connection, progress: Callable[[str, int], None]
) -> CopiedTable:
    statement = insert(_stored(original))
    total, count = 0, 0
    with closing(_portions(original, reading)) as portions:
        for rows in portions:
            total += sum(map(_row_hash, rows))
            count += len(rows)
            writing.execute(statement, rows)
            progress(original.name, count)
    return _table_of(original, count, total)


def _digest(original: Table, conn: Connection) -> CopiedTable:
    total, count = 0, 0
    for rows in _portions(original, conn):
        total += sum(map(_row_hash, rows))
        count += len(rows)
    return _table_of(original, count, total)


def _table_of(original: Table, count: int, total: int) -> CopiedTable:
    return CopiedTable(table=original.name, rows=count, digest=f"{total % 2**128:032x}")


def _row_hash(row: dict[str, Any]) -> int:
    values = [bytes(value) if isinstance(value, memoryview) else value for value in row.values()]
    return int.from_bytes(
        hashlib.blake2b(repr(values).encode("utf-8", "surrogatepass"), digest_size=16).digest(), "big"
    )


# --- numbers to come -------------------------------------------------------------------------------------------------


def continue_numbering(original: Table, reading: Connection, writing: Connection) -> None:
    """Let the target's next number of a table be one that the source never gave either."""
    key = original.autoincrement_column
    if key is None or len(original.primary_key.columns) != 1:
        return
    last = max(_last_number(original, key.name, conn) for conn in (reading, writing))
    if last == 0:
        return
    if not is_sqlite(writing):
        sequence = _sequence(original, key.name, writing)
        if sequence:
            writing.execute(text("SELECT setval(:sequence, :last)"), {"sequence": sequence, "last": last})
    elif original.dialect_options["sqlite"]["autoincrement"]:
        parameters = {"name": original.name, "last": last}
        writing.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), parameters)
        writing.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"), parameters)


def _last_number(original: Table, key: str, conn: Connection) -> int:
    """Return the highest number that *conn*'s database ever gave, as far as it remembers."""
    highest = conn.execute(select(func.max(original.c[key]))).scalar() or 0
    given: int | None = None
    if original.name in numbering.GIVEN_TO:
        highest = max(highest, numbering.given_to(conn, original.name))
    if is_sqlite(conn):
        if original.dialect_options["sqlite"]["autoincrement"]:
            statement = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
            given = conn.execute(statement, {"name": original.name}).scalar()
    elif sequence := _sequence(original, key, conn):
        statement = text("SELECT pg_sequence_last_value(CAST(:sequence AS regclass))")
        given = conn.execute(statement, {"sequence": sequence}).scalar()
    return max(int(highest), int(given or 0))


def _sequence(original: Table, key: str, conn: Connection) -> str | None:
    statement = text("SELECT pg_get_serial_sequence(:table, :key)")
    name: str | None = conn.execute(statement, {"table": original.name, "key": key}).scalar()
    return name
