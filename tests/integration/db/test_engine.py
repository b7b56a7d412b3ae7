"""The door to the database: transactions as they should be, foreign errors as one sentence, readers without rights."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy import exc as sa

from crawler.db.engine import begin, is_sqlite, open_engine, opened, read
from crawler.db.errors import mapped_errors
from crawler.db.migrations import ensure_schema, is_current
from crawler.errors import DatabaseUnavailable, UsageError
from tests.support.house import ROOT
from tests.support.other_user import as_nobody

#: Writes more than its cache holds, so that the file is half-written, says so and waits to be killed.
KILLED_WRITER = """
import sqlite3, sys, time
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("PRAGMA cache_size = 2")
c.execute("BEGIN IMMEDIATE")
c.executemany("INSERT INTO settings VALUES (?, ?)", ((str(i), "x" * 1000) for i in range(2000)))
print("written", flush=True)
time.sleep(60)
"""


def settings(engine: Engine) -> list[str]:
    """Return the names of all stored settings."""
    with read(engine) as connection:
        return list(connection.execute(text("SELECT name FROM settings ORDER BY name")).scalars())


def add(engine: Engine, name: str) -> None:
    """Store a setting."""
    with begin(engine) as connection:
        connection.execute(text("INSERT INTO settings (name, value) VALUES (:name, '')"), {"name": name})


def complaint(engine: Engine, action: Callable[[Engine], object]) -> str:
    """Return the sentence with which *action* fails."""
    with pytest.raises(DatabaseUnavailable) as caught:
        action(engine)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


@contextmanager
def open_for_a_moment(url: str) -> Iterator[Engine]:
    """Open an engine that waits for nobody."""
    engine = open_engine(url, busy_seconds=0.05)
    try:
        yield engine
    finally:
        engine.dispose()


# --- transactions ----------------------------------------------------------------------------------------------------


def test_transaction_is_all_or_nothing(engine: Engine) -> None:
    """What a failed block wrote is gone, tables it made included."""

    def fail() -> None:
        with begin(engine) as connection:
            connection.execute(text("INSERT INTO settings (name, value) VALUES ('a', '')"))
            connection.execute(text("CREATE TABLE extra (id INTEGER)"))
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail()

    assert settings(engine) == []
    with pytest.raises(sa.DBAPIError), read(engine) as connection:
        connection.execute(text("SELECT * FROM extra"))


def test_reader_sees_one_moment(engine: Engine) -> None:
    """All statements of a read see the same moment, and cannot write."""
    with read(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM settings")).scalar() == 0
        if not is_sqlite(engine):  # SQLite lets the writer wait instead
            add(engine, "later")
            assert connection.execute(text("SELECT count(*) FROM settings")).scalar() == 0
    if not is_sqlite(engine):
        with pytest.raises(DatabaseUnavailable, match="is read-only"), read(engine) as connection:
            connection.execute(text("DELETE FROM settings"))


def test_sqlite_stays_readable_while_it_is_written(sqlite_url: str) -> None:
    """A writer that has begun keeps other writers out from the start, and no reader until it commits."""
    with opened(sqlite_url) as engine, open_for_a_moment(sqlite_url) as other:
        with begin(engine) as connection:
            connection.execute(text("INSERT INTO settings (name, value) VALUES ('a', '')"))

            assert settings(other) == []
            assert "is locked by another process" in complaint(other, lambda e: add(e, "b"))
        assert settings(other) == ["a"]


def test_sqlite_file_is_whole_without_companions(sqlite_url: str) -> None:
    """After a write the database is one file: no write-ahead log, no journal."""
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with opened(sqlite_url) as engine:
        add(engine, "a")
        with read(engine) as connection:
            modes = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1

        assert modes == ["delete", 2]
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_references_are_checked(engine: Engine) -> None:
    """A row that names what does not exist is a mistake of the program, not a sentence for its user."""
    with pytest.raises(sa.IntegrityError), begin(engine) as connection:
        connection.execute(text("INSERT INTO variants (account_id, name, parameters) VALUES (77, 'x', '{}')"))


# --- SQLite: what can be wrong ---------------------------------------------------------------------------------------


def test_missing_database_is_not_made_by_a_reader(tmp_path: Path) -> None:
    """A reader of a file that is not there says who makes it, and makes none."""
    with opened(tmp_path / "none.db", read_only=True) as engine:
        assert "There is no database at" in complaint(engine, settings)

    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_said(tmp_path: Path) -> None:
    """A folder that is not there is named."""
    with opened(tmp_path / "nowhere" / "crawler.db") as engine:
        assert complaint(engine, settings).startswith(f"The folder {tmp_path}/nowhere of the database does not exist")


def test_other_files_are_no_databases(tmp_path: Path) -> None:
    """A text file is not a database; nor is a folder, a pipe, a socket, a device, or a name that leads nowhere."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "crawler.db").write_text("hello, this is no database at all\n" * 100)
    for read_only in (True, False):
        with opened(tmp_path / "crawler.db", read_only=read_only) as engine:
            assert "is not a SQLite database" in complaint(engine, settings)
        with opened(tmp_path, read_only=read_only) as engine:
            assert "is a folder" in complaint(engine, settings)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "socket"))
            (tmp_path / "socket").rename(tmp_path / f"socket-{read_only}")
        for name, said in (
            ("pipe", "is a named pipe."),
            (f"socket-{read_only}", "is a socket."),
            ("/dev/null", "is a device."),
            ("loop", "cannot be opened: Too many levels of symbolic links."),
            ("x" * 300, "cannot be opened: File name too long."),
        ):
            with opened(tmp_path / name, read_only=read_only) as engine:
                assert said in complaint(engine, settings)


def test_damaged_database_is_said(sqlite_url: str) -> None:
    """A file with broken pages is called damaged."""
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with opened(sqlite_url) as engine:
        assert "is damaged" in complaint(engine, settings)


def test_full_disk_is_said(sqlite_url: str) -> None:
    """When no page can be added the sentence says that the disk is full, and nothing was written."""

    def fill(engine: Engine) -> None:
        with begin(engine) as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 60")
            for number in range(100):
                values = {"name": str(number), "value": "x" * 4000}
                connection.execute(text("INSERT INTO settings (name, value) VALUES (:name, :value)"), values)

    with opened(sqlite_url) as engine:
        assert complaint(engine, fill).startswith("The disk is full:")
        assert settings(engine) == []


def test_read_only_engine_cannot_write(sqlite_url: str) -> None:
    """What is opened for reading stays as it is."""
    with opened(sqlite_url, read_only=True) as engine:
        assert "is read-only" in complaint(engine, lambda e: add(e, "a"))


def test_odd_names_are_paths_like_others(tmp_path: Path) -> None:
    """Question marks, hashes, percent signs and blanks in a path mean themselves."""
    path = tmp_path / "a?mode=memory#b %41ü.db"
    with opened(path) as engine:
        ensure_schema(engine, may_upgrade=True)
    with opened(path, read_only=True) as engine:
        assert settings(engine) == []

    assert path.stat().st_size > 0


# --- SQLite: other users, killed writers -----------------------------------------------------------------------------


@pytest.fixture
def open_folder(sqlite_url: str) -> Iterator[Path]:
    """Return a copy of the database in a folder that every user of the machine may read."""
    folder = Path(tempfile.mkdtemp(prefix="crawler-readable-"))
    path = folder / "crawler.db"
    shutil.copyfile(sqlite_url.removeprefix("sqlite:///"), path)
    path.chmod(0o644)
    folder.chmod(0o755)
    yield path
    shutil.rmtree(folder)


def read_there(path: Path) -> str:
    """Read the settings at *path* and give their number."""
    with opened(path, read_only=True) as engine:
        return f"{len(settings(engine))} settings"


def kill_a_writer(path: Path) -> None:
    """Leave *path* as a writer leaves it that was killed in the middle of a transaction."""
    process = subprocess.Popen([sys.executable, "-c", KILLED_WRITER, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert path.with_name(f"{path.name}-journal").stat().st_size > 0


def test_other_user_can_read_but_not_write(open_folder: Path) -> None:
    """Read permission on file and folder is enough to read a database at rest."""
    assert as_nobody(lambda: read_there(open_folder)) == "0 settings"

    def write() -> str:
        with opened(open_folder) as engine:
            return complaint(engine, lambda e: add(e, "a"))

    assert "is read-only for this user" in as_nobody(write)


def test_killed_writer_is_repaired_by_its_owners_next_read(open_folder: Path) -> None:
    """A reader who may write rolls a killed writer's transaction back; another user is told what to do, then reads."""
    kill_a_writer(open_folder)

    if os.geteuid() == 0:
        assert "left in the middle of a write by a killed process" in as_nobody(lambda: read_there(open_folder))
    assert read_there(open_folder) == "0 settings"
    if os.geteuid() == 0:
        assert as_nobody(lambda: read_there(open_folder)) == "0 settings"


def test_killed_writer_beside_an_open_reader(open_folder: Path) -> None:
    """A reader that has the file open repairs it at its next transaction; of two, either."""
    with opened(open_folder, read_only=True) as engine, opened(open_folder, read_only=True) as other:
        assert settings(engine) == settings(other) == []
        kill_a_writer(open_folder)
        assert settings(engine) == settings(other) == []


def test_killed_writer_is_repaired_through_a_link(open_folder: Path, tmp_path: Path) -> None:
    """SQLite keeps the journal beside the file and not beside a link to it: a reader by the link repairs it, too."""
    link = tmp_path / "linked.db"
    link.symlink_to(open_folder)
    kill_a_writer(open_folder)

    assert read_there(link) == "0 settings"


def test_unreadable_file_is_said(open_folder: Path) -> None:
    """A file without read permission cannot be opened, and the sentence says so."""
    open_folder.chmod(0o600)

    assert "cannot be opened" in as_nobody(lambda: read_there(open_folder))


# --- PostgreSQL: what can be wrong -----------------------------------------------------------------------------------


def test_unreachable_server_is_said_without_password() -> None:
    """Nobody listens: the sentence has the address, not the password."""
    with opened("postgresql://me:s3cret@127.0.0.1:1/history") as engine:
        sentence = complaint(engine, settings)

    assert sentence.startswith("Cannot connect to the database postgresql://me:***@127.0.0.1:1/history: ")
    assert "Connection refused" in sentence
    assert "s3cret" not in sentence


def test_unknown_database_is_said(postgres_url: str) -> None:
    """A database that does not exist on the server is named."""
    missing = postgres_url.replace("/test_", "/missing_test_")
    with opened(missing) as engine:
        assert "does not exist" in complaint(engine, settings)


def test_ended_session_is_said_and_the_next_transaction_connects_anew(postgres_url: str) -> None:
    """When the server ends the session, that transaction fails with a sentence; the engine stays usable."""

    def suicide(engine: Engine) -> None:
        with begin(engine) as connection:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with opened(postgres_url) as engine:
        assert "went away" in complaint(engine, suicide)
        assert settings(engine) == []


def test_ended_session_that_is_used_on(postgres_url: str) -> None:
    """A session that ended while an error was borne is said to have gone by whatever uses it next."""

    def go_on(engine: Engine) -> None:
        with begin(engine) as connection:
            with suppress(sa.DBAPIError):
                connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
            connection.execute(text("SELECT 1"))

    def end_and_look(engine: Engine) -> None:
        with begin(engine) as connection, opened(postgres_url) as another:
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with begin(another) as killer:
                killer.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})
            is_current(connection)

    with opened(postgres_url) as engine:
        assert "went away (the session is gone)" in complaint(engine, go_on)
        assert "went away" in complaint(engine, end_and_look)
        assert settings(engine) == []


def test_locked_row_is_waited_for_and_then_said(postgres_url: str) -> None:
    """A statement waits for another transaction's row, but not for ever."""

    def update(engine: Engine) -> None:
        with begin(engine) as connection:
            connection.execute(text("UPDATE settings SET value = 'b'"))

    with opened(postgres_url) as engine, open_for_a_moment(postgres_url) as impatient:
        add(engine, "a")
        with begin(engine) as connection:
            connection.execute(text("UPDATE settings SET value = 'a'"))
            assert "is locked by another process" in complaint(impatient, update)


def test_missing_rights_are_said(postgres_url: str) -> None:
    """A user without rights on a table is told so."""

    def as_stranger(engine: Engine) -> None:
        with begin(engine) as connection:
            connection.execute(text("CREATE ROLE stranger"))
            connection.execute(text("SET LOCAL ROLE stranger"))
            connection.execute(text("SELECT * FROM settings"))

    with opened(postgres_url) as engine:
        assert "does not allow this user" in complaint(engine, as_stranger)


def test_missing_driver_names_the_extra() -> None:
    """Without psycopg the sentence says what to install."""
    program = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from crawler.db.engine import open_engine\n"
        "try: open_engine('postgresql://localhost/x')\n"
        "except Exception as exc: print(type(exc).__name__, exc)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)

    assert done.stdout.startswith("DatabaseUnavailable PostgreSQL needs the driver psycopg")
    assert "ucloud-image-crawler[postgresql]" in done.stdout


def test_incomplete_url_is_wrong_usage() -> None:
    """A URL that PostgreSQL cannot mean is a mistake of its writer, told without the password."""
    with pytest.raises(UsageError, match="no complete PostgreSQL URL") as caught:
        open_engine("postgresql://me:s3cret@host:port/history")

    assert "s3cret" not in str(caught.value)


# --- the list of foreign errors --------------------------------------------------------------------------------------

#: sqlite3 result codes that tell of the world; the others tell of a mistake in a statement.
WORLDLY_SQLITE = ("FULL", "BUSY", "LOCKED", "READONLY", "PERM", "NOTADB", "CORRUPT", "CANTOPEN", "IOERR", "NOMEM")


@pytest.mark.parametrize("name", WORLDLY_SQLITE)
def test_every_worldly_sqlite_error_is_mapped(name: str) -> None:
    """Each result code of SQLite that is nobody's mistake becomes DatabaseUnavailable."""
    error = sqlite3.OperationalError(f"text of {name}")
    error.sqlite_errorcode = getattr(sqlite3, f"SQLITE_{name}")

    with pytest.raises(DatabaseUnavailable), mapped_errors():
        raise error


#: Class 54: a value or a statement is too large.
ABOUT_THE_DATA = (
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
    psycopg.errors.TooManyColumns,
    psycopg.errors.TooManyArguments,
)


def _classes() -> list[type[psycopg.Error]]:
    everything = [value for value in vars(psycopg.errors).values() if isinstance(value, type)]
    return [c for c in everything if issubclass(c, psycopg.OperationalError | psycopg.InternalError)]


def test_every_worldly_postgresql_error_is_mapped() -> None:
    """Each of psycopg's operational and internal errors becomes DatabaseUnavailable, but those about the data."""
    worldly = [error for error in _classes() if error not in ABOUT_THE_DATA]
    assert len(worldly) > 50
    for error in worldly:
        wrapper = sa.OperationalError if issubclass(error, psycopg.OperationalError) else sa.InternalError
        with pytest.raises(DatabaseUnavailable), mapped_errors():
            raise wrapper("SELECT 1", {}, error("text"))


@pytest.mark.parametrize("error", ABOUT_THE_DATA)
def test_limits_of_postgresql_pass_through(error: type[psycopg.Error]) -> None:
    """What one value exceeds says nothing about the database: it passes through, and fails the target it came from."""
    with pytest.raises(sa.OperationalError), mapped_errors():
        raise sa.OperationalError("SELECT 1", {}, error("text"))


def test_mistakes_in_statements_pass_through(engine: Engine) -> None:
    """A wrong statement is a bug, and shows as one."""
    with pytest.raises(sa.DBAPIError), read(engine) as connection:
        connection.execute(text("SELECT nonsense FROM settings"))
