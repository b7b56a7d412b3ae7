"""The one place where errors of SQLAlchemy, sqlite3 and psycopg become ours: one sentence, no SQL, no password."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy import exc as sa

from crawler.db.url import Address
from crawler.errors import CrawlerError, DatabaseUnavailable, are_exhausted, exhausted

#: Wrapped DB-API classes that tell of the world, not of a mistake in a statement.
_WORLDLY = (sa.OperationalError, sa.InternalError, sa.InterfaceError)

_SQLITE: dict[int, str] = {
    sqlite3.SQLITE_FULL: "The disk is full: {where} cannot be written.",
    sqlite3.SQLITE_BUSY: "{where} is locked by another process, which did not let go in time.",
    sqlite3.SQLITE_LOCKED: "{where} is locked by another process, which did not let go in time.",
    sqlite3.SQLITE_READONLY: "{where} is read-only for this user.",
    sqlite3.SQLITE_PERM: "{where} may not be used by this user.",
    sqlite3.SQLITE_NOTADB: "{where} is not a SQLite database.",
    sqlite3.SQLITE_CORRUPT: "{where} is damaged ({text}): restore a backup.",
    sqlite3.SQLITE_CANTOPEN: "{where} cannot be opened: the file, its folder or its journal does not let this user in.",
    sqlite3.SQLITE_IOERR: "{where} cannot be read or written ({text}).",
    sqlite3.SQLITE_NOMEM: "There is not enough memory to use {where}.",
}
#: Where the general code would blame the user's rights.
_SQLITE_EXACTLY: dict[int, str] = {
    sqlite3.SQLITE_READONLY_DIRECTORY: (
        "{where} lies in a folder in which this user may make no files: writing takes that, and so does reading while "
        "the file is in WAL mode, where another tool put it and the next run takes it back."
    ),
    sqlite3.SQLITE_READONLY_DBMOVED: "{where} was moved or deleted while it was in use.",
    sqlite3.SQLITE_READONLY_ROLLBACK: (
        "{where} was left in the middle of a write by a killed process; one command of a user who may write it "
        "repairs it."
    ),
}

_EXHAUSTED = "{where} cannot be opened: {limit}."

_POSTGRESQL: dict[str, str] = {
    "25006": "{where} is read-only.",
    "25P03": "{where} ended the session because a transaction stayed idle too long.",
    "28": "{where} does not let this user in ({text}).",
    "3F000": "{where} shows this user no schema to work in ({text}).",
    "3D000": "{where} does not exist ({text}).",
    "40": "{where} had to end the transaction because of a conflict with another one ({text}).",
    "42501": "{where} does not allow this user to do that ({text}).",
    "53100": "The disk is full: {where} cannot be written.",
    "53300": "{where} has no free connection left ({text}).",
    "55P03": "{where} is locked by another process, which did not let go in time.",
    "57014": "{where} took too long to answer and the statement was ended.",
    "57P": "{where} went away ({text}).",
    "08": "{where} went away ({text}).",
}

#: A limit that a value or a statement exceeds: it says nothing about the world, though its class does.
_ABOUT_THE_DATA = "54"


@contextmanager
def mapped_errors(engine: Engine | None = None) -> Iterator[None]:
    """Turn what the database reports inside the block into DatabaseUnavailable; mistakes in statements pass through."""
    try:
        yield
    except (sa.DBAPIError, sa.TimeoutError, sa.PendingRollbackError, sqlite3.Error) as exc:
        mapped = _map(exc, engine)
        if mapped is None:
            raise
        raise mapped from exc


def _map(exc: Exception, engine: Engine | None) -> CrawlerError | None:
    address = engine.get_execution_options().get("crawler_address") if engine is not None else None
    where = f"The database {address}" if address is not None else "The database"
    if isinstance(exc, sa.TimeoutError):
        return DatabaseUnavailable(f"{where} has no free connection left in this process.")
    if isinstance(exc, sa.PendingRollbackError):  # a session that had ended was used once more
        return DatabaseUnavailable(f"{where} went away (the session is gone).")
    origin = exc.orig if isinstance(exc, sa.DBAPIError) else exc
    if isinstance(origin, sqlite3.Error):
        return _map_sqlite(origin, where)
    return _map_postgresql(exc, origin, where, address)


def _map_sqlite(origin: sqlite3.Error, where: str) -> CrawlerError | None:
    code = getattr(origin, "sqlite_errorcode", None)
    if code is None:
        return None  # the Python module's own complaint: a mistake of ours
    sentence = _SQLITE_EXACTLY.get(code) or _SQLITE.get(code & 0xFF)
    if sentence is None:
        return None
    if code & 0xFF == sqlite3.SQLITE_CANTOPEN and are_exhausted():
        sentence = _EXHAUSTED
    return DatabaseUnavailable(sentence.format(where=where, text=said_by_driver(origin), limit=exhausted()))


def _map_postgresql(
    exc: Exception, origin: BaseException | None, where: str, address: Address | None
) -> CrawlerError | None:
    state = getattr(origin, "sqlstate", None) or ""
    if state.startswith(_ABOUT_THE_DATA):
        return None
    text = _without_password(said_by_driver(origin), address)
    for prefix, sentence in _POSTGRESQL.items():
        if state.startswith(prefix):
            return DatabaseUnavailable(sentence.format(where=where, text=text))
    if isinstance(exc, sa.DBAPIError) and exc.statement is None and not exc.connection_invalidated and not state:
        reason = exhausted() if are_exhausted() else text
        return DatabaseUnavailable(f"Cannot connect to {where[0].lower()}{where[1:]}: {reason}.")
    if not isinstance(exc, _WORLDLY):
        return None
    if not state:
        return DatabaseUnavailable(f"{where} went away ({text}).")
    return DatabaseUnavailable(f"{where} cannot be used ({text}).")


def said_by_driver(exc: BaseException | None) -> str:
    """Return what *exc* says on one line, without the driver's lead and full stop; it may still hold a password."""
    line = next(iter(str(exc).strip().splitlines()), "") if exc is not None else ""
    return re.sub(r"^(connection failed: |connection is bad: )+", "", line).strip().rstrip(".")


def _without_password(text: str, address: Address | None) -> str:
    if address is None or address.path is not None:
        return text
    from sqlalchemy import make_url

    password = make_url(address.url).password
    return text.replace(password, "***") if password else text
