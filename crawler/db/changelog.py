"""
Writing the change log so that it can be read on from where one left off: a change's id is its cursor.

Ids rise as they are given, but on PostgreSQL a transaction with lower ids may end after one with higher ids. So each
transaction first announces, with an advisory lock that lasts as long as it does, above which id its changes will lie;
and a reader takes nothing above the lowest announcement. Nobody waits for anybody. SQLite has one writer at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, TextClause, bindparam, insert, select, text

from crawler.db import numbering
from crawler.db.engine import is_sqlite
from crawler.db.numbering import first_to_state, newest
from crawler.db.schema import ChangeLog, Setting

#: First half of the key of the announcing locks; the second is an id, cut off at what fits.
_ANNOUNCING = 7305463
_LARGEST_KEY = 2**31 - 1
#: The setting that names the newest change that was pruned.
PRUNED_TO = "changes_pruned_to"


def append(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write changes, by the columns of `changes` but the id; call it last, for its transaction holds back readers."""
    if not rows:
        return
    announce(conn)
    if (first := first_to_state(conn, ChangeLog)) is not None:
        rows = [{**row, "id": number} for number, row in enumerate(rows, first)]
    conn.execute(insert(ChangeLog), rows)


def announce(conn: Connection) -> None:
    """Say that this transaction is about to give ids to changes: those that can be seen by now lie below them."""
    if not is_sqlite(conn):
        conn.execute(_announcement(), {"announcing": _ANNOUNCING, "largest": _LARGEST_KEY})


def settled(conn: Connection) -> int | None:
    """
    Return the id of the last change that nothing can come before any more; None: that is so of all that can be seen.

    *conn* sees a new moment from here on: only what was written by the time of the answer is told apart by it, so it
    has to be called before the first other statement of a reading.
    """
    if is_sqlite(conn):
        return None
    # The id is read before the locks, since a statement sees the moment at which it began: an id below it was
    # announced by then. And whoever has withdrawn the announcement since can be seen in the next moment.
    conn.rollback()
    last: int = conn.execute(_last_settled(), {"announcing": _ANNOUNCING}).scalar_one()
    conn.rollback()
    return last


def last_change(conn: Connection) -> int:
    """Return the id of the newest change, which pruning never takes; 0 when there is none."""
    return newest(conn, ChangeLog)


def pruned_to(conn: Connection) -> int:
    """Return the id of the newest change that was pruned; 0 when none was."""
    return _number(conn, PRUNED_TO)


def given_to(conn: Connection) -> int:
    """Return up to which id changes were given before a backup was put back, and are not given again; 0: none was."""
    return numbering.given_to(conn, ChangeLog.__tablename__)


def _number(conn: Connection, name: str) -> int:
    return int(conn.scalar(_setting(), {"name": name}) or 0)


@cache
def _setting() -> Select[str]:
    return select(Setting.value).where(Setting.name == bindparam("name"))


@cache
def _announcement() -> TextClause:
    return text(
        "SELECT pg_advisory_xact_lock_shared("
        "CAST(:announcing AS integer), CAST(least(coalesce(max(id), 0), :largest) AS integer)) FROM changes"
    ).bindparams(bindparam("announcing"), bindparam("largest"))


@cache
def _last_settled() -> TextClause:
    # whoever announced has looked into this table as well: another history of the database has one of its own
    return text(
        """
        WITH locks AS (
          SELECT * FROM pg_locks WHERE granted
            AND database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
        )
        SELECT least(
          (SELECT coalesce(max(id), 0) FROM changes),
          (SELECT min(CAST(l.objid AS bigint)) FROM locks AS l
           WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND CAST(l.classid AS bigint) = :announcing
             AND l.pid IN (SELECT t.pid FROM locks AS t WHERE t.relation = CAST('changes' AS regclass)))
        )"""
    ).bindparams(bindparam("announcing"))
