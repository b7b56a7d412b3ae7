"""
The numbers of holds, by which people accept and reject them: none is given twice.

PostgreSQL counts on by itself. SQLite gives the number after the highest there is: so pruning keeps the newest hold,
and a database that is a backup put back remembers how far the one before it had come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from crawler.db.engine import is_sqlite
from crawler.db.schema import Hold, Setting

#: The setting that names the newest hold of the database in whose place a backup was put, where that was newer.
GIVEN_TO = "holds_given_to"


def newest_hold(conn: Connection) -> int:
    """Return the number of the newest hold, which pruning never takes; 0 when there is none."""
    return conn.scalar(select(func.max(Hold.id))) or 0


def given_to(conn: Connection) -> int:
    """Return up to which number holds were given before a backup was put back; 0: none was."""
    return int(conn.scalar(select(Setting.value).where(Setting.name == GIVEN_TO)) or 0)


def numbered(conn: Connection, rows: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Return *rows* of new holds, with their numbers where the database would give some again."""
    given = given_to(conn) if is_sqlite(conn) else 0
    if given and given > newest_hold(conn):
        return [{**row, "id": number} for number, row in enumerate(rows, given + 1)]
    return rows
