"""A file that another tool put into WAL mode: used as it is while that tool has it open, put back afterwards."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from crawler import History
from crawler.db.engine import begin, opened, read
from crawler.emulator import EmulatorServer, run_in_thread
from tests.support.driving import Driver, account
from tests.support.other_user import as_nobody
from tests.support.worlds import make_timeline

#: Puts the file into WAL mode, writes, says so and waits to be killed.
KILLED_TOOL = """
import sqlite3, sys, time
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("PRAGMA journal_mode = WAL")
c.execute("INSERT INTO settings VALUES ('of the tool', '')")
print("written", flush=True)
time.sleep(60)
"""


@pytest.fixture
def cloud() -> Iterator[EmulatorServer]:
    with run_in_thread(make_timeline(zones={"hk-02": {"uimage-a": "CentOS 7.6"}})) as server:
        yield server


@pytest.fixture
def light(tmp_path: Path, sqlite_url: str, cloud: EmulatorServer) -> Driver:
    return Driver(tmp_path, sqlite_url).configure(account(cloud.url))


def path_of(url: str) -> Path:
    """Return the file of a SQLite database."""
    return Path(url.removeprefix("sqlite:///"))


def tool(path: Path) -> sqlite3.Connection:
    """Put the file into WAL mode as datasette does, and keep it open."""
    connection = sqlite3.connect(path, isolation_level=None)
    assert connection.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
    connection.execute("SELECT count(*) FROM runs").fetchall()
    return connection


def mode_of(path: Path) -> str:
    """Read from the file's header which journal it keeps."""
    return {1: "rollback", 2: "wal"}[path.read_bytes()[18]]


def journal(light: Driver) -> list[dict[str, Any]]:
    """Return what the doctor finds about the journal."""

    findings = json.loads(light.call("doctor", "--json", code=None).stdout)["findings"]
    return [finding for finding in findings if finding["check"] == "journal"]


@pytest.mark.provokes("another tool put the file into WAL mode")
def test_runs_and_readers_carry_on_in_wal(light: Driver) -> None:
    """While a tool keeps the file open in WAL mode runs are complete and are read; afterwards it is put back."""
    path = path_of(light.database)
    with closing(tool(path)) as other:
        for number in (1, 2, 3):
            assert light.run().summary["status"] == "complete"
            assert other.execute("SELECT count(*) FROM runs").fetchone() == (number,)
        assert [row["image_id"] for row in light.rows("images")] == ["uimage-a"]
        assert len(History(light.database, clock=lambda: light.now).runs()) == 3
        (found,) = journal(light)
        light.call("db", "prune", "--keep", "1d")
    assert mode_of(path) == "wal"
    assert found["state"] == "warn"
    assert "another tool put the file into WAL mode" in found["message"]

    assert light.run().summary["status"] == "complete"
    assert mode_of(path) == "rollback"
    assert sorted(entry.name for entry in path.parent.iterdir()) == [path.name, f"{path.name}.lock"]
    assert journal(light) == []


def test_tool_that_holds_a_transaction_open(light: Driver) -> None:
    """In WAL mode even a tool that goes on reading one moment keeps no run from writing."""
    with closing(tool(path_of(light.database))) as other:
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM runs").fetchone() == (0,)
        assert light.run().summary["status"] == "complete"
        assert other.execute("SELECT count(*) FROM runs").fetchone() == (0,)
        other.execute("COMMIT")


def test_file_is_put_into_wal_in_the_middle(sqlite_url: str) -> None:
    """A tool may change the mode between two transactions of one connection."""
    with opened(sqlite_url) as engine:
        for number in range(3):
            with begin(engine) as connection:
                values = {"name": str(number)}
                connection.execute(text("INSERT INTO settings (name, value) VALUES (:name, '')"), values)
            if number == 0:
                other = tool(path_of(sqlite_url))
        with closing(other), read(engine) as connection:
            assert connection.execute(text("SELECT count(*) FROM settings")).scalar() == 3


def test_copy_of_a_wal_file_is_an_ordinary_one(light: Driver) -> None:
    """What `db backup` makes of a file in WAL mode has the rollback journal, and what stood in the log."""
    with closing(tool(path_of(light.database))):
        light.run()
        light.call("db", "backup", light.folder / "copy.db")

    assert mode_of(light.folder / "copy.db") == "rollback"
    assert len(History(light.folder / "copy.db").runs()) == 1


def test_killed_tool_leaves_a_log_that_is_kept(sqlite_url: str) -> None:
    """The log that a killed tool left behind is read, and taken into the file by the next writer."""
    path = path_of(sqlite_url)
    with subprocess.Popen([sys.executable, "-c", KILLED_TOOL, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.kill()
    for read_only in (True, False):
        with opened(sqlite_url, read_only=read_only) as engine, read(engine) as connection:
            assert connection.execute(text("SELECT name FROM settings")).scalar() == "of the tool"

    assert mode_of(path) == "rollback"


def test_other_user_is_told_about_wal_at_rest(sqlite_url: str) -> None:
    """A reader who may make no files beside a file in WAL mode is told so, and reads when it is put back."""
    folder = Path(tempfile.mkdtemp(prefix="crawler-readable-"))
    path = folder / "crawler.db"

    def count() -> str:
        with opened(path, read_only=True) as engine, read(engine) as connection:
            return str(connection.execute(text("SELECT count(*) FROM settings")).scalar())

    try:
        shutil.copyfile(path_of(sqlite_url), path)
        path.chmod(0o644)
        folder.chmod(0o755)
        tool(path).close()
        assert "while the file is in WAL mode" in as_nobody(count)
        with opened(path) as engine, read(engine):
            pass
        assert as_nobody(count) == "0"
    finally:
        shutil.rmtree(folder)
