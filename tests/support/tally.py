"""What reaches a database during a block: rows written, statements, transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, event


@dataclass
class Tally:
    """The statements that reached the database."""

    statements: list[tuple[str, int]] = field(default_factory=list)
    transactions: int = 0

    def rows(self, verb: str, table: str) -> int:
        """Count the rows written by statements that begin with *verb* and name *table*."""
        return sum(rows for sql, rows in self.statements if sql.startswith(f"{verb} {table} "))

    def count(self, *verbs: str) -> int:
        """Count the statements that begin with one of *verbs*."""
        return sum(sql.startswith(verbs) for sql, _ in self.statements)

    def rows_of(self, *verbs: str) -> int:
        """Count the rows written by statements that begin with one of *verbs*."""
        return sum(rows for sql, rows in self.statements if sql.startswith(verbs))


@contextmanager
def tallied(engine: Engine) -> Iterator[Tally]:
    """Count what happens on *engine* within the block."""
    tally = Tally()

    def note(conn: Any, cursor: Any, sql: str, params: Any, context: Any, many: bool) -> None:
        if sql.startswith(("BEGIN", "COMMIT")):
            return
        # one statement may write many rows; one with RETURNING does not know how many yet
        written = cursor.rowcount if sql.startswith(("INSERT", "UPDATE", "DELETE")) else -1
        tally.statements.append((sql, max(written, len(params) if many else 1)))

    def begun(conn: Any) -> None:
        tally.transactions += 1

    event.listen(engine, "after_cursor_execute", note)
    event.listen(engine, "begin", begun)
    try:
        yield tally
    finally:
        event.remove(engine, "after_cursor_execute", note)
        event.remove(engine, "begin", begun)
