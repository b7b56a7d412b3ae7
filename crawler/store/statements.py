"""Small shared pieces of SQL: lists in portions, and inserts that leave existing rows alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from crawler.store.tables import Base

T = TypeVar("T")

#: Values in one IN list; far below every database's limit of parameters, and few enough to keep statements cached.
PORTION = 500


def portions(values: Iterable[T], size: int = PORTION) -> Iterator[list[T]]:
    """Yield *values* in lists of at most *size*."""
    iterator = iter(values)
    while portion := list(islice(iterator, size)):
        yield portion


def insert_missing(conn: Connection, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """
    Insert *rows* and leave alone those that exist already under a unique key.

    Rows that several writers may share (versions, payloads, scopes) go in through here, sorted by their key, so that
    two workers on one PostgreSQL neither collide nor wait for each other in a circle.
    """
    if not rows:
        return
    if conn.dialect.name == "postgresql":
        statement: Any = postgresql.insert(table).on_conflict_do_nothing()
    else:
        statement = sqlite.insert(table).on_conflict_do_nothing()
    conn.execute(statement, [dict(row) for row in rows])
