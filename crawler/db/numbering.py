"""
The numbers by which people and programs name changes and holds: none is given twice.

PostgreSQL counts on by itself. SQLite gives the number after the highest there is: so pruning keeps the newest row, and
a database that is a backup put back remembers how far the one before it had come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from crawler.db.engine import is_sqlite
from crawler.db.schema import ChangeLog, Hold, Setting

Numbered = type[ChangeLog] | type[Hold]

#: By table the setting that names the newest row of the database in whose place a backup was put, where that was newer.
GIVEN_TO: Mapping[str, str] = {
    ChangeLog.__tablename__: "changes_given_to",
    Hold.__tablename__: "holds_given_to",
}


def newest(conn: Connection, rows: Numbered) -> int:
    """Return the number of the newest of *rows*, which pruning never takes; 0 when there is none."""
    return conn.scalar(select(func.max(rows.id))) or 0


def given_to(conn: Connection, table: str) -> int:
    """Return up to which number rows of *table* were given before a backup was put back; 0: none was."""
    return int(conn.scalar(select(Setting.value).where(Setting.name == GIVEN_TO[table])) or 0)


def first_to_state(conn: Connection, rows: Numbered) -> int | None:
    """Return the number of the next of *rows* where the database would give one again; None: it counts on itself."""
    given = given_to(conn, rows.__tablename__) if is_sqlite(conn) else 0
    return given + 1 if given and given > newest(conn, rows) else None


def numbered(conn: Connection, rows: Numbered, new: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Return the *new* ones of *rows*, with their numbers where the database would give some again."""
    first = first_to_state(conn, rows)
    return new if first is None else [{**row, "id": number} for number, row in enumerate(new, first)]
