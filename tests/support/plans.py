"""How the database answers: the statements behind a block, and which tables their plans read from end to end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event

from crawler.store.engine import is_sqlite

#: Tables that grow with time, or with the images.
BIG = frozenset(
    {
        "runs", "intervals", "exceptions", "changes", "image_versions", "scope_targets", "holds", "hold_images",
        "payloads", "absences",
    }
)  # fmt: skip

Statement = tuple[str, Any]


@contextmanager
def statements(engine: Engine) -> Iterator[list[Statement]]:
    """Collect the distinct SELECT statements of the block, each with parameters it was run with."""
    found: dict[str, Any] = {}
    listed: list[Statement] = []

    def note(conn: Any, cursor: Any, sql: str, params: Any, context: Any, many: bool) -> None:
        if sql.lstrip().startswith("SELECT") and sql not in found:
            found[sql] = params

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield listed
    finally:
        event.remove(engine, "before_cursor_execute", note)
        listed += found.items()


def scans(conn: Connection, statement: Statement) -> set[str]:
    """Give the big tables that the plan of *statement* reads from end to end."""
    lines = plan(conn, statement)
    if is_sqlite(conn):
        return {line.split()[1] for line in lines if line.startswith("SCAN")} & BIG
    return {match[1] for line in lines if (match := re.search(r"Seq Scan on (\w+)", line))} & BIG


def plan(conn: Connection, statement: Statement) -> list[str]:
    """Give the lines of a statement's plan."""
    sql, params = statement
    cursor = conn.connection.cursor()
    try:
        cursor.execute(f"EXPLAIN {'QUERY PLAN ' if is_sqlite(conn) else ''}{sql}", params)
        return [str(row[-1]) for row in cursor.fetchall()]
    finally:
        cursor.close()
