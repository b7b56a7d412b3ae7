"""A drill: back up during a run, lose the database, restore, go on; nothing is invented and nothing else is lost."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crawler.emulator import run_in_thread
from tests.support.driving import Driver, account
from tests.support.worlds import make_timeline

ZONES = [f"hk-0{number}" for number in range(1, 5)]
BEFORE = {zone: {f"{zone}-a": "A", f"{zone}-b": "B"} for zone in ZONES}
AFTER = {zone: {f"{zone}-a": "A", f"{zone}-c": "C"} for zone in ZONES}


def torn(path: Path) -> None:
    """Overwrite the middle of the file."""
    size = path.stat().st_size
    with path.open("r+b") as stream:
        stream.seek(size // 4)
        stream.write(b"\xff" * (size // 2))


def emptied(path: Path) -> None:
    """Leave a file of nothing."""
    path.write_bytes(b"")


def with_a_strange_journal(path: Path) -> None:
    """Leave the journal of a killed writer, which SQLite would roll back into whatever takes the file's place."""
    code = (
        "import os, signal, sqlite3, sys; conn = sqlite3.connect(sys.argv[1]); conn.execute('PRAGMA cache_size = 1');"
        "conn.execute('BEGIN IMMEDIATE'); conn.execute('UPDATE intervals SET valid_from = 1');"
        "conn.execute('UPDATE image_versions SET image_name = hex(randomblob(4000))'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -signal.SIGKILL
    assert Path(f"{path}-journal").stat().st_size > 0
    torn(path)


@pytest.mark.parametrize("lost", [torn, emptied, Path.unlink, with_a_strange_journal])
def test_drill(light: Driver, lost: Callable[[Path], None]) -> None:
    """What was known when the backup was made is known again; what happened since is found by the next run."""
    path, copy = Path(light.database.removeprefix("sqlite:///")), light.folder / "copy.db"
    light.now = datetime.now(UTC)
    with run_in_thread(make_timeline(zones=BEFORE)) as cloud:
        light.configure(account(cloud.url), limits={"concurrency": 1})
        light.run()
        first = datetime.now(UTC).isoformat()
        cloud.play(make_timeline(zones=BEFORE, faults=[{"action": "DescribeUK8SImage", "latency_ms": 600}]))
        run = subprocess.Popen(
            [sys.executable, "-m", "crawler", "--config", str(light.config), "run"], stderr=subprocess.DEVNULL
        )
        before = len(cloud.log)
        while run.poll() is None and len(cloud.log) < before + 3:
            time.sleep(0.02)
        light.call("db", "backup", copy)
        assert run.poll() is None, "the run was over before the backup"
        assert run.wait(60) == 0
    with run_in_thread(make_timeline(zones=AFTER)) as cloud:
        light.configure(account(cloud.url))
        known = light.rows("images", "--at", first)
        assert light.run().changes == {"appeared": 4, "withdrawn": 4}
        lost(path)

        told = light.call("db", "restore", copy).stdout

        assert f"restored from {copy}" in told
        kept = sorted(path.parent.glob("crawler.db.*.replaced"))
        assert len(kept) == (lost is not Path.unlink)
        light.call("db", "check")
        assert light.rows("images", "--at", first) == known != []
        assert light.run().changes == {"appeared": 4, "withdrawn": 4}
        light.call("db", "check")
        assert not Path(f"{path}-journal").exists()


def test_refusals(light: Driver) -> None:
    """A backup that is none, or not sound, is refused in one sentence, and the database stays as it is."""
    path = Path(light.database.removeprefix("sqlite:///"))
    with run_in_thread(make_timeline(zones=BEFORE)) as cloud:
        light.configure(account(cloud.url))
        light.run()
    content = path.read_bytes()
    text, empty, unsound = (light.folder / name for name in ("text", "empty.db", "unsound.db"))
    text.write_text("no database at all, but long enough to be looked at" * 50)
    sqlite3.connect(empty).close()
    light.call("db", "backup", unsound)
    with closing(sqlite3.connect(unsound)) as conn:
        conn.execute("DELETE FROM runs")
        conn.commit()
    for file, code, said in (
        (light.folder / "nowhere.db", 2, "There is no file"),
        (path, 2, "is the database itself"),
        (text, 74, "is not a SQLite database"),
        (empty, 74, "Nothing was restored."),
        (unsound, 74, "Nothing was restored: "),
    ):
        assert said in light.call("db", "restore", file, code=code).stderr
    assert path.read_bytes() == content
    assert not list(path.parent.glob("*.replaced"))


def test_postgresql_has_its_own_tools(postgres_url: str, tmp_path: Path) -> None:
    """The sentence names them."""
    driver = Driver(tmp_path, postgres_url).configure(account("http://127.0.0.1:9/"))
    assert "pg_restore" in driver.call("db", "restore", tmp_path / "copy.db", code=2).stderr


def test_restored_through_a_link_with_its_own_mode(light: Driver) -> None:
    """A database that is a link stays one, and who might read the file before may afterwards."""
    path, copy = Path(light.database.removeprefix("sqlite:///")), light.folder / "copy.db"
    real = light.folder / "elsewhere" / "real.db"
    real.parent.mkdir()
    with run_in_thread(make_timeline(zones=BEFORE)) as cloud:
        light.configure(account(cloud.url))
        light.run()
    path.rename(real)
    path.symlink_to(real)
    real.chmod(0o640)
    light.call("db", "backup", copy)
    copy.chmod(0o600)
    light.call("db", "restore", copy)
    assert (path.readlink(), real.stat().st_mode & 0o777) == (real, 0o640)
    assert len(list(real.parent.glob("real.db.*.replaced"))) == 1
