"""
The access to the database: opens SQLite and PostgreSQL, begins every transaction, and turns foreign errors into ours.

SQLite keeps its rollback journal (not WAL), so that a file at rest can be read with read permission on file and folder
alone. A file that another tool put into WAL mode is put back by the next writer, or used as it is while that tool keeps
it open. pysqlite's own transaction control is switched off: a write transaction is `BEGIN IMMEDIATE`, which waits for
its turn at the start instead of failing in the middle, and makes DDL transactional.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from crawler.db.errors import mapped_errors, said_by_driver
from crawler.db.url import Address, parse_address
from crawler.errors import DatabaseUnavailable, UsageError

BUSY_SECONDS = 30
CONNECT_SECONDS = 10
STATEMENT_SECONDS = 120
IDLE_WRITER_SECONDS = 300
#: How long what is sent to PostgreSQL may stay unconfirmed: a host without power ends no connection, and the system
#: itself gives one up after a quarter of an hour.
SILENCE_SECONDS = 50
#: How long to wait for one of a limited number of connections.
POOL_SECONDS = 120

#: How often a reader of a SQLite file looks into it that seems to have a killed writer's journal.
_LOOKS = 5

_BEGIN_OPTION = "crawler_begin"
_ADDRESS_OPTION = "crawler_address"


class Fence(Protocol):
    """Proof that the lock is still held; every write transaction shows it first."""

    def check(self, connection: Connection, /) -> None:
        """Raise FenceLost when the lock is not ours any more."""


class TimedFence(Fence, Protocol):
    """The fence of a lock that was taken where there may be another clock."""

    @property
    def ahead(self) -> timedelta:
        """Return by how much the database server's clock is ahead of the one its taker gave; zero where it has none."""


def open_engine(
    url_or_path: str | Path,
    *,
    read_only: bool = False,
    application_name: str = "crawler",
    busy_seconds: float = BUSY_SECONDS,
    connections: int | None = None,
) -> Engine:
    """
    Open the database at *url_or_path*; nothing is connected or created before the first transaction.

    *busy_seconds*: how long a statement waits for another process's transaction. *connections*: how many there may be
    to PostgreSQL; None: as many as are used at once. Raises UsageError for an address of no known kind,
    DatabaseUnavailable when the driver is missing.
    """
    address = parse_address(url_or_path)
    if address.path is not None:
        return _sqlite_engine(address, read_only=read_only, busy_seconds=busy_seconds)
    return _postgresql_engine(
        address,
        read_only=read_only,
        application_name=application_name,
        busy_seconds=busy_seconds,
        pool={} if connections is None else {"pool_size": connections, "max_overflow": 0, "pool_timeout": POOL_SECONDS},
    )


@contextmanager
def opened(url_or_path: str | Path, *, read_only: bool = False) -> Iterator[Engine]:
    """Open the database for a `with` block and close every connection after it."""
    engine = open_engine(url_or_path, read_only=read_only)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def begin(engine: Engine, fence: Fence | None = None) -> Iterator[Connection]:
    """Begin a write transaction, show it the *fence*, commit at the end; raise DatabaseUnavailable, FenceLost."""
    with mapped_errors(engine), engine.begin() as connection:
        if fence is not None:
            fence.check(connection)
        yield connection


def be_patient(connection: Connection) -> None:
    """
    Let the statements of this transaction, and the time between them, take as long as they do.

    Each still waits for another's lock no longer than any statement may take: a forgotten session may never end.
    """
    if not is_sqlite(connection):
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{STATEMENT_SECONDS}s'")
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")


@contextmanager
def read(engine: Engine) -> Iterator[Connection]:
    """Begin a read transaction, in which every statement sees the same moment; raise DatabaseUnavailable."""
    with mapped_errors(engine), engine.connect() as connection:
        if is_sqlite(engine):
            yield connection.execution_options(**{_BEGIN_OPTION: "BEGIN"})
        else:
            yield connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def is_sqlite(bind: Engine | Connection) -> bool:
    """Return whether *bind* is a SQLite file."""
    return bind.dialect.name == "sqlite"


def is_in_wal_mode(connection: Connection) -> bool:
    """Return whether the SQLite file is in WAL mode, into which only another tool puts it."""
    return bool(connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal")


def address_of(engine: Engine) -> Address:
    """Return the address *engine* was opened with; its text shows no password."""
    address = engine.get_execution_options()[_ADDRESS_OPTION]
    assert isinstance(address, Address)  # noqa: S101 - set by open_engine
    return address


# --- SQLite ----------------------------------------------------------------------------------------------------------


def _sqlite_engine(address: Address, *, read_only: bool, busy_seconds: float) -> Engine:
    assert address.path is not None  # noqa: S101 - a SQLite address has a path
    path = address.path.absolute()
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        creator=lambda: _connect_sqlite(path, read_only=read_only, busy_seconds=busy_seconds),
        execution_options={_ADDRESS_OPTION: address},
    )

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        default = "BEGIN" if read_only else "BEGIN IMMEDIATE"
        connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN_OPTION, default))
        if read_only:
            driver: Any = connection.connection.driver_connection
            _look_into(driver, path, busy_seconds)

    return engine


def _connect_sqlite(path: Path, *, read_only: bool, busy_seconds: float) -> sqlite3.Connection:
    if read_only:
        _require_file(path)
        return _raw_sqlite(path, "ro", busy_seconds)  # which is looked into when a transaction begins
    is_file(path)
    connection = _raw_sqlite(path, "rwc", busy_seconds)
    try:
        _leave_wal(connection)
        # FULL: in rollback mode the cheaper NORMAL can leave a damaged file after a power cut; a run commits a few
        # dozen times at most, so the extra fsync costs nothing that anyone could notice.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _leave_wal(connection: sqlite3.Connection) -> None:
    """Put a file in WAL mode back to the rollback journal, unless somebody else has it open just now."""
    if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        return
    try:
        connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise


def require_file(engine: Engine) -> None:
    """Raise DatabaseUnavailable where SQLite would make the file on connecting: there is no history in a new one."""
    path = address_of(engine).path
    if path is not None:
        _require_file(path.absolute())


def follow_file(engine: Engine, before: tuple[int, int] | None) -> tuple[int, int] | None:
    """
    Return which SQLite file the address of *engine* means now; where *before* was another, close what is open to it.

    A connection goes on reading the file of before when a backup takes its place.
    """
    path = address_of(engine).path
    if path is None:
        return None
    try:
        state = path.stat()
    except OSError:
        return before
    file = (state.st_dev, state.st_ino)
    if before not in (None, file):
        engine.dispose()
    return file


def _require_file(path: Path) -> None:
    if not is_file(path):
        raise DatabaseUnavailable(
            f"There is no database at {path} yet: `crawler run` makes it. A history that is elsewhere is named by "
            "--database FILE, or by --config FILE and what that says."
        )


def is_file(path: Path) -> bool:
    """Return whether there is a file at *path*; raise DatabaseUnavailable for what is none: SQLite waits for a pipe."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if not os.path.isdir(path.parent):  # noqa: PTH112 - no error where a folder lets this user not in
            raise DatabaseUnavailable(
                f"The folder {path.parent} of the database does not exist: make it, or name another database."
            ) from None
        return False
    except OSError as exc:
        raise DatabaseUnavailable(f"The database {path} cannot be opened: {exc.strerror}.") from exc
    if not stat.S_ISREG(mode):
        kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"))
        kind = next((words for is_kind, words in kinds if is_kind(mode)), "a device")
        raise DatabaseUnavailable(f"The database {path} is {kind}.")
    return True


def _look_into(reader: sqlite3.Connection, path: Path, busy_seconds: float) -> None:
    """
    Look into the file; where a writer was killed in the middle, roll its journal back, which takes write permission.

    SQLite takes a journal for a killed writer's also where a living one removes it just then, and leaves it to the
    rollback to find that out; a connection that only reads is refused without. So the file is looked into again first.
    """
    look = "SELECT count(*) FROM sqlite_schema"
    for attempt in range(1, _LOOKS + 1):
        try:
            reader.execute(look).fetchone()
        except sqlite3.Error as exc:
            if attempt == _LOOKS or not _needs_rollback(exc, path):
                raise
        else:
            return
        if attempt > 1 and os.access(path, os.W_OK):
            with closing(_raw_sqlite(path, "rw", busy_seconds)) as writer:
                writer.execute(look).fetchone()


def _needs_rollback(exc: sqlite3.Error, path: Path) -> bool:
    code = getattr(exc, "sqlite_errorcode", 0)
    if code == sqlite3.SQLITE_READONLY_ROLLBACK:
        return True
    journal = Path(f"{os.path.realpath(path)}-journal")  # where a link leads
    return code & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN) and journal.exists()


def _raw_sqlite(path: Path, mode: str, busy_seconds: float) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,  # the pool hands a connection to one thread at a time
    )


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


def _postgresql_engine(
    address: Address, *, read_only: bool, application_name: str, busy_seconds: float, pool: Mapping[str, float]
) -> Engine:
    try:
        engine = create_engine(
            address.url,
            pool_pre_ping=True,
            **pool,
            execution_options={_ADDRESS_OPTION: address},
            connect_args={
                "application_name": application_name[:63],
                # Whatever PGCLIENTENCODING, the role or the URL says: texts are sent and read as UTF-8.
                "client_encoding": "UTF8",
                "connect_timeout": CONNECT_SECONDS,
                "keepalives_idle": 30,
                "keepalives_interval": 10,
                "keepalives_count": 3,
                "tcp_user_timeout": SILENCE_SECONDS * 1000,
            },
        )
    except ImportError as exc:
        raise DatabaseUnavailable(
            "PostgreSQL needs the driver psycopg: install it with `pip install 'ucloud-image-crawler[postgresql]'`."
        ) from exc
    except (ArgumentError, ValueError) as exc:
        raise UsageError(f"{address}: this is no complete PostgreSQL URL (postgresql://user@host:5432/name).") from exc
    _check_options(engine, address)
    settings = {
        "lock_timeout": f"{round(busy_seconds * 1000)}ms",
        "statement_timeout": f"{STATEMENT_SECONDS}s",
        "idle_in_transaction_session_timeout": "0" if read_only else f"{IDLE_WRITER_SECONDS}s",
    }
    if read_only:
        # Every statement of the readers goes by index whatever its parameters; planning each anew takes longer than
        # most of them run.
        settings["plan_cache_mode"] = "force_generic_plan"

    @event.listens_for(engine, "connect")
    def _set_timeouts(connection: Any, record: object) -> None:
        try:
            _require_usable(connection, engine)
        except DatabaseUnavailable:
            connection.close()
            raise
        # Not as a start-up option: connection poolers refuse those.
        with connection.cursor() as cursor:
            for name, value in settings.items():
                cursor.execute(f"SET {name} = '{value}'")
        connection.commit()

    return engine


def connect_options(address: Address) -> dict[str, Any]:
    """Return what an engine gives the driver for a PostgreSQL *address*, by libpq's names, for who does without one."""
    url = make_url(address.url)
    return dict(url.get_dialect()().create_connect_args(url)[1])


def _check_options(engine: Engine, address: Address) -> None:
    """Raise UsageError when the URL holds an option that PostgreSQL's library does not know."""
    from psycopg import Error
    from psycopg.conninfo import make_conninfo

    try:
        make_conninfo(**dict.fromkeys(engine.url.query, ""))
    except Error as exc:
        raise UsageError(f"{address}: {said_by_driver(exc)}.") from None


def _require_usable(connection: Any, engine: Engine) -> None:
    """Raise DatabaseUnavailable for a database that cannot hold every text, or shows this user no schema."""
    address = address_of(engine)
    encoding = connection.info.parameter_status("server_encoding")
    if encoding is None:  # a connection pooler did not pass it on
        encoding = connection.execute("SHOW server_encoding").fetchone()[0]
        connection.commit()
    if encoding != "UTF8":
        raise DatabaseUnavailable(
            f"The database {address} is encoded in {encoding}, which cannot hold every name: make one with "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0."
        )
    if engine.dialect.default_schema_name is None:
        raise DatabaseUnavailable(
            f"The search_path of this user in the database {address} names no schema that is there and open to it: "
            "set it, as in ALTER ROLE … SET search_path = public."
        )
