"""How the database answers: the statements behind a block, and which tables their plans read from end to end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event

from crawler.db.engine import is_sqlite

#: Tables that grow with time, or with the images.
BIG = frozenset(
    {
        "runs", "intervals", "exceptions", "changes", "image_versions", "scope_targets", "holds", "hold_images",
        "payloads", "absences",
    }
)  # fmt: skip

Statement = tuple[str, Any]


@contextmanager
def executed(engine: Engine | type[Engine] = Engine) -> Iterator[list[Statement]]:
    """Collect the statements of the block, in their order; those of every engine, unless one is named."""
    listed: list[Statement] = []

    def note(conn: Any, cursor: Any, sql: str, params: Any, context: Any, many: bool) -> None:
        listed.append((sql, params))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield listed
    finally:
        event.remove(engine, "before_cursor_execute", note)


@contextmanager
def statements(engine: Engine) -> Iterator[list[Statement]]:
    """Collect the distinct statements of the block that read, each with parameters it was run with."""
    listed: list[Statement] = []
    with executed(engine) as every:
        yield listed
    found: dict[str, Any] = {}
    for sql, params in every:
        if sql.lstrip().startswith(("SELECT", "WITH")):
            found.setdefault(sql, params)
    listed += found.items()


def scans(conn: Connection, statement: Statement) -> set[str]:
    """Return the big tables that the plan of *statement* reads from end to end, as a table or by an index."""
    if is_sqlite(conn):
        return {line.split()[1] for line in plan(conn, statement) if line.startswith("SCAN")} & BIG
    (found,) = _explained(conn, "EXPLAIN (GENERIC_PLAN, FORMAT JSON) ", statement)
    return set(_read_whole(found[0]["Plan"], parent="")) & BIG


def plan(conn: Connection, statement: Statement) -> list[str]:
    """Return the lines of a statement's plan: on PostgreSQL the generic one, which is what serves the readers."""
    words = "EXPLAIN QUERY PLAN " if is_sqlite(conn) else "EXPLAIN (GENERIC_PLAN) "
    return [str(line) for line in _explained(conn, words, statement)]


def _explained(conn: Connection, words: str, statement: Statement) -> list[Any]:
    sql, params = statement
    options: dict[str, Any] = {}
    if not is_sqlite(conn):  # a generic plan is made for placeholders, not for values
        options["prepare"] = False
        names: list[str] = []

        def numbered(match: re.Match[str]) -> str:
            if match[1] not in names:
                names.append(match[1])
            return f"${names.index(match[1]) + 1}"

        sql, params = re.sub(r"%\((\w+)\)s", numbered, sql).replace("%%", "%"), None
    cursor = conn.connection.cursor()
    try:
        cursor.execute(words + sql, *([] if params is None else [params]), **options)
        return [row[-1] for row in cursor.fetchall()]
    finally:
        cursor.close()


def _read_whole(node: dict[str, Any], *, parent: str) -> Iterator[str]:
    """Return the tables that nothing narrows: neither a condition on an index nor a limit that ends the reading."""
    kind = node["Node Type"]
    if kind == "Seq Scan" or (kind.startswith("Index") and "Index Cond" not in node and parent != "Limit"):
        yield node["Relation Name"]
    for child in node.get("Plans", ()):
        yield from _read_whole(child, parent=kind)
