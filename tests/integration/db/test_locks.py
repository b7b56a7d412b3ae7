"""One run per account at a time: locks are all or none, a living holder keeps them, a dead one leaves none behind."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select, text

from crawler.db.engine import begin, opened, read
from crawler.db.locks import file, first_to_tell, take_locks
from crawler.db.locks.file import network_file_system, take_file_lock
from crawler.db.schema import Account
from crawler.errors import DatabaseUnavailable, FenceLost, LockTaken, SchemaMismatch
from tests.support.house import ROOT
from tests.support.other_user import as_nobody
from tests.support.strangers import strange_session, stranger

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

#: A second process: it takes the locks, says so, and holds them until its stdin closes or it is killed.
HOLDER = """
import sys
from datetime import UTC, datetime
from crawler.errors import LockTaken
from crawler.db.locks import first_to_tell, take_locks
accounts = None if sys.argv[2] == "*" else sys.argv[2].split(",")
try:
    with take_locks(sys.argv[1], accounts, clock=lambda: datetime(2026, 11, 23, 12, 0, tzinfo=UTC)):
        print("taken", flush=True)
        sys.stdin.read()
except LockTaken as exc:
    print(exc, flush=True)
"""


def clock() -> datetime:
    """Return the one moment of these tests."""
    return NOW


@contextmanager
def holder(url: str, accounts: str = "prod") -> Iterator[subprocess.Popen[str]]:
    """Run the second process; its first line of output is already read into `.said`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url, accounts],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "taken\n"
        yield process
    finally:
        process.communicate("")


def refused(url: str, accounts: list[str] | None) -> str:
    """Return the sentence with which the locks are refused."""
    with pytest.raises(LockTaken) as caught, take_locks(url, accounts, clock=clock):
        pass
    return str(caught.value)


def lock_of(url: str) -> Path:
    """Return the lock file of a SQLite database."""
    return Path(url.removeprefix("sqlite:///") + ".lock")


def unknown_holder(path: Path) -> str:
    """Return the sentence about a holder of the lock file at *path* that left no note."""
    database = path.with_suffix("")
    return f"A process that does not say who it is holds the lock of {database}; `fuser -v {path}` names it."


def test_second_run_is_told_who_holds_the_lock(database_url: str) -> None:
    """While one process holds the lock another is refused, with the holder's pid and since when."""
    with holder(database_url) as process:
        sentence = refused(database_url, ["prod"])

        assert sentence.startswith("Another run holds the lock of ")
        assert f"process {process.pid} on {os.uname().nodename[:24]}" in sentence
        assert "since 2026-11-23T12:00:00Z" in sentence
    with take_locks(database_url, ["prod"], clock=clock):
        pass


def test_dead_holder_needs_no_manual_step(database_url: str) -> None:
    """After `kill -9` of the holder the lock can be taken at once."""
    with holder(database_url) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with (
            take_locks(database_url, ["prod"], clock=clock, wait_seconds=5) as fence,
            opened(database_url) as engine,
            begin(engine, fence) as connection,
        ):
            connection.execute(text("INSERT INTO settings (name, value) VALUES ('written', 'yes')"))


def test_lock_is_refused_inside_one_process_too(database_url: str) -> None:
    """Two takers in one process exclude each other like two processes."""
    with take_locks(database_url, ["prod"], clock=clock):
        refused(database_url, ["prod"])


def test_waiting_takes_the_lock_when_it_comes_free(database_url: str) -> None:
    """With a wait the taker looks again until the holder is gone; the waits add up to no more than allowed."""
    waited: list[float] = []
    with holder(database_url) as process:

        def sleep(seconds: float) -> None:
            waited.append(seconds)
            if len(waited) == 3:
                process.communicate("")

        with take_locks(
            database_url, ["prod"], clock=clock, wait_seconds=10, sleep=sleep, monotonic=lambda: sum(waited)
        ):
            assert len(waited) >= 3


def test_waiting_ends(database_url: str) -> None:
    """A taker gives up after exactly the seconds it may wait."""
    waited: list[float] = []
    with (
        holder(database_url),
        pytest.raises(LockTaken),
        take_locks(
            database_url, ["prod"], clock=clock, wait_seconds=1.2, sleep=waited.append, monotonic=lambda: sum(waited)
        ),
    ):
        pass

    assert sum(waited) == pytest.approx(1.2)


def test_session_that_ends_while_it_waits_is_said(postgres_url: str) -> None:
    """A taker whose own session is ended while it waits for the lock gives one sentence."""

    def end_every_session(_: float) -> None:
        with opened(postgres_url) as engine, engine.begin() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )

    with (
        holder(postgres_url),
        pytest.raises(DatabaseUnavailable, match="went away"),
        take_locks(postgres_url, ["prod"], clock=clock, wait_seconds=10, sleep=end_every_session),
    ):
        pass


def test_accounts_share_a_postgresql_database(postgres_url: str) -> None:
    """Workers for different accounts run side by side; one of several taken accounts refuses all."""
    with holder(postgres_url, "prod"):
        with take_locks(postgres_url, ["test"], clock=clock):
            pass
        assert 'the account "prod"' in refused(postgres_url, ["dev", "prod"])
        with take_locks(postgres_url, ["dev"], clock=clock):
            pass


def test_whole_database_keeps_every_account_out(postgres_url: str) -> None:
    """What changes the whole database waits for all accounts, and all accounts for it."""
    with holder(postgres_url, "prod"):
        assert "holds the lock of the database postgresql://" in refused(postgres_url, None)
    with holder(postgres_url, "*"):
        assert "holds the lock of the database postgresql://" in refused(postgres_url, ["prod"])


def test_lost_session_cannot_write(postgres_url: str) -> None:
    """A holder whose session was cut off is refused at its next write transaction, though nobody came after it."""
    with opened(postgres_url) as engine, take_locks(postgres_url, ["prod"], clock=clock) as fence:
        with begin(engine, fence) as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory' AND database ="
                    " (SELECT oid FROM pg_database WHERE datname = current_database())"
                )
            )
        with pytest.raises(FenceLost, match="session that held this run's lock is gone"), begin(engine, fence):
            pass


def test_raised_fence_keeps_the_old_holder_out(postgres_url: str) -> None:
    """When another run took the lock meanwhile, the earlier holder cannot write."""
    with opened(postgres_url) as engine, take_locks(postgres_url, ["prod"], clock=clock) as fence:
        with begin(engine) as connection:
            connection.execute(text("UPDATE accounts SET fence = fence + 1 WHERE name = 'prod'"))

        with pytest.raises(FenceLost, match="Another run took the lock"), begin(engine, fence):
            pass


def test_each_taker_raises_the_fence(postgres_url: str) -> None:
    """A new account gets its row with the lock, and each taker a higher fence than the one before."""
    seen = []
    for _ in range(2):
        with take_locks(postgres_url, ["new"], clock=clock), opened(postgres_url) as engine, read(engine) as connection:
            seen.append(connection.execute(text("SELECT fence FROM accounts WHERE name = 'new'")).scalar_one())

    assert seen == [1, 2]


def test_trial_changes_nothing(postgres_url: str) -> None:
    """Whoever only tries the locks makes no account and raises no fence, and still finds out who holds them."""
    with opened(postgres_url) as engine:
        with take_locks(postgres_url, ["prod"], clock=clock):
            pass
        accounts = select(Account.name, Account.fence)
        with read(engine) as conn:
            before = conn.execute(accounts).all()
        with take_locks(postgres_url, ["prod", "new"], clock=clock, is_trial=True):
            assert "holds the lock of" in refused(postgres_url, ["new"])
        with read(engine) as conn:
            assert conn.execute(accounts).all() == before


def test_postgresql_without_schema_names_the_command(empty_postgres_url: str) -> None:
    """Locks of accounts need the schema; the lock of the whole database, which makes it, does not."""
    with pytest.raises(SchemaMismatch, match="crawler db upgrade"):
        take_locks(empty_postgres_url, ["prod"], clock=clock).__enter__()
    with (
        take_locks(empty_postgres_url, None, clock=clock) as fence,
        opened(empty_postgres_url) as engine,
        begin(engine, fence) as connection,
    ):
        connection.execute(text("SELECT 1"))


def test_replaced_lock_file_stops_the_holder(sqlite_url: str) -> None:
    """A holder whose lock file was deleted, or made anew by another, writes nothing more."""
    path = lock_of(sqlite_url)
    with opened(sqlite_url) as engine, take_locks(sqlite_url, ["prod"], clock=clock) as fence:
        path.unlink()
        with pytest.raises(FenceLost, match="is gone"), begin(engine, fence):
            pass
        path.write_text("")
        with pytest.raises(FenceLost, match="was replaced"), begin(engine, fence):
            pass


def test_stale_content_is_harmless(sqlite_url: str) -> None:
    """Whatever a dead holder or anybody else left in the lock file, it can be taken, and named when taken."""
    path = lock_of(sqlite_url)
    path.write_bytes(b"\xff\x00 no note")

    with take_locks(sqlite_url, ["prod"], clock=clock):
        path.write_text("[]")

        assert refused(sqlite_url, ["prod"]) == unknown_holder(path)


def test_note_that_cannot_be_written_costs_nothing(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note for people is a courtesy: on a full disk the lock holds without it."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)

    with take_locks(sqlite_url, ["prod"], clock=clock):
        assert refused(sqlite_url, ["prod"]) == unknown_holder(lock_of(sqlite_url))


def test_holder_is_given_a_moment_to_say_who_it_is(sqlite_url: str) -> None:
    """Between the lock and the note of its holder lies a moment; who looks right then looks again."""
    path, looks = lock_of(sqlite_url), []
    with take_locks(sqlite_url, ["prod"], clock=clock):
        note = path.read_text()
        path.write_text("")

        def sleep(seconds: float) -> None:
            looks.append(seconds)
            path.write_text(note)

        with pytest.raises(LockTaken) as caught, take_locks(sqlite_url, ["prod"], clock=clock, sleep=sleep):
            pass

    assert caught.value.since == NOW
    assert len(looks) == 1


def test_note_of_a_dead_holder_is_not_believed(sqlite_url: str) -> None:
    """Where a stranger holds the lock, the note that a killed run left in the file does not speak for it."""
    path = lock_of(sqlite_url)
    with holder(sqlite_url) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert f'"pid": {process.pid}' in path.read_text()

    with path.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert refused(sqlite_url, ["prod"]) == unknown_holder(path)


# --- the lock file belongs to its user -------------------------------------------------------------------------------


def test_other_users_cannot_hold_the_lock() -> None:
    """Another user can neither read nor lock the lock file, even one that an older program left open to all."""
    shared = Path(tempfile.mkdtemp(prefix="crawler-shared-"))
    try:
        shared.chmod(0o755)
        for database in (shared / "new.db", shared / "old.db"):
            path = database.with_name(f"{database.name}.lock")
            if database.stem == "old":
                path.touch(0o644)
            with take_locks(database, ["prod"], clock=clock):
                assert path.stat().st_mode & 0o777 == 0o600
            if os.geteuid() == 0:
                assert "PermissionError" in as_nobody(lambda path=path: str(os.open(path, os.O_RDONLY)))  # type: ignore[misc]
    finally:
        shutil.rmtree(shared)


def test_shared_lock_keeps_no_run_out(sqlite_url: str) -> None:
    """Whoever shares the lock, as anybody can who may read the file, stops no run; runs still exclude each other."""
    path = lock_of(sqlite_url)
    path.touch()
    with path.open() as before, path.open() as meanwhile:
        fcntl.flock(before, fcntl.LOCK_SH)
        with holder(sqlite_url) as process:
            fcntl.flock(meanwhile, fcntl.LOCK_SH)
            assert f"process {process.pid} on" in refused(sqlite_url, ["prod"])
            fcntl.flock(before, fcntl.LOCK_UN)
            assert f"process {process.pid} on" in refused(sqlite_url, ["prod"])
        with take_locks(sqlite_url, ["prod"], clock=clock):
            refused(sqlite_url, ["prod"])
    with take_locks(sqlite_url, ["prod"], clock=clock), path.open() as late, pytest.raises(BlockingIOError):
        fcntl.flock(late, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_lock_file_follows_no_link(sqlite_url: str, tmp_path: Path) -> None:
    """Where the lock file is a symbolic link the lock is refused, and what the link leads to stays as it is."""
    path, victim = lock_of(sqlite_url), tmp_path / "victim"
    victim.write_text("precious")
    for target in (victim, tmp_path / "missing"):
        path.symlink_to(target)
        with pytest.raises(DatabaseUnavailable, match="is a symbolic link, which is not followed: remove the link"):
            take_locks(sqlite_url, ["prod"], clock=clock).__enter__()
        assert first_to_tell(sqlite_url, LockTaken())
        path.unlink()

    assert victim.read_text() == "precious"
    assert not (tmp_path / "missing").exists()


def test_file_of_another_name_keeps_its_content(sqlite_url: str, tmp_path: Path) -> None:
    """A lock file that has another name besides can be locked; nothing is written to it, and nothing cut off."""
    path, victim = lock_of(sqlite_url), tmp_path / "victim"
    victim.write_text("precious")
    path.hardlink_to(victim)

    with take_locks(sqlite_url, ["prod"], clock=clock):
        assert refused(sqlite_url, ["prod"]) == unknown_holder(path)
        assert first_to_tell(sqlite_url, LockTaken())

    assert victim.read_text() == "precious"


def test_lock_file_is_a_file(sqlite_url: str) -> None:
    """A FIFO or a folder under the lock file's name is refused with a sentence, at once."""
    path = lock_of(sqlite_url)
    os.mkfifo(path)
    with pytest.raises(DatabaseUnavailable, match="is no ordinary file: remove it"):
        take_locks(sqlite_url, ["prod"], clock=clock).__enter__()
    path.unlink()
    path.mkdir()
    with pytest.raises(DatabaseUnavailable, match="cannot be opened: Is a directory"):
        take_locks(sqlite_url, ["prod"], clock=clock).__enter__()


# --- holders that nobody knows ---------------------------------------------------------------------------------------


def test_unknown_session_is_named_by_its_number(postgres_url: str) -> None:
    """A database session that holds the lock and is no run is told of by its number, with what ends it."""
    with strange_session(postgres_url) as pid:
        sentence = refused(postgres_url, ["prod"])

    assert sentence == (
        f'A database session that does not say who it is holds the lock of the account "prod": {pid}. '
        f"If it is no run, `SELECT pg_terminate_backend({pid})` ends it."
    )


def test_holder_is_complained_of_once(database_url: str) -> None:
    """Of several who find the lock taken the first may tell; the next holder is told of anew."""
    for _ in range(2):
        with stranger(database_url):
            with pytest.raises(LockTaken) as caught:
                take_locks(database_url, ["prod"], clock=clock).__enter__()
            assert [first_to_tell(database_url, caught.value) for _ in range(3)] == [True, False, False]
        with take_locks(database_url, ["prod"], clock=clock):
            pass


# --- which file, which file system -----------------------------------------------------------------------------------


def test_all_names_of_a_file_share_its_lock(sqlite_url: str, tmp_path: Path) -> None:
    """A symbolic link to the database leads to the same lock."""
    link = tmp_path / "link.db"
    link.symlink_to(sqlite_url.removeprefix("sqlite:///"))

    with take_locks(sqlite_url, ["prod"], clock=clock):
        refused(str(link), ["prod"])


def test_network_file_systems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where locks may hold on one machine only, the database is refused by the file system's name."""
    mounts = (
        "/dev/sda / ext4 rw 0 0\nserver:/x /mnt/my\\040share nfs4 rw 0 0\n/dev/sdb /mnt/my\\040share/disk xfs rw 0 0\n"
    )

    assert network_file_system(Path("/mnt/my share/crawler.db"), mounts) == "nfs4"
    assert network_file_system(Path("/mnt/my share/disk/crawler.db"), mounts) is None
    assert network_file_system(Path("/mnt/my share2/crawler.db"), mounts) is None
    monkeypatch.setattr(file, "_mounts", lambda: f"server:/x {tmp_path} nfs rw 0 0")
    with pytest.raises(DatabaseUnavailable, match=r"network file system \(nfs\)"):
        take_file_lock(tmp_path / "crawler.db", clock=clock).__enter__()


def test_file_system_that_gives_a_lock_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that a second taker gets as well is no lock: the run is refused instead of running unprotected."""
    monkeypatch.setattr("fcntl.flock", lambda descriptor, operation: None)

    with pytest.raises(DatabaseUnavailable, match="no working file locks"):
        take_file_lock(tmp_path / "crawler.db", clock=clock).__enter__()


def test_missing_folder_is_said(tmp_path: Path) -> None:
    """A database in a folder that does not exist gives one sentence."""
    with pytest.raises(DatabaseUnavailable, match=r"folder .* does not exist"):
        take_file_lock(tmp_path / "nowhere" / "crawler.db", clock=clock).__enter__()


def test_refusal_loads_neither_database_nor_network_library(sqlite_url: str) -> None:
    """A run that finds the lock taken leaves before SQLAlchemy, aiohttp and pydantic are loaded."""
    program = f"""
import sys
from datetime import UTC, datetime
from crawler.errors import LockTaken
from crawler.db.locks import first_to_tell, take_locks
try:
    take_locks({sqlite_url!r}, ["prod"], clock=lambda: datetime.now(UTC)).__enter__()
except LockTaken:
    heavy = [m for m in sys.modules if m.split(".")[0] in ("sqlalchemy", "aiohttp", "asyncio", "pydantic", "alembic")]
    print("refused", heavy)
"""
    with holder(sqlite_url):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)

    assert done.stdout == "refused []\n"
