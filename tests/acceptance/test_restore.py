"""A drill: back up during a run, lose the database, restore, go on; nothing is invented and nothing else is lost."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crawler.db.backup import restore
from crawler.db.migrations import REVISIONS
from crawler.emulator import run_in_thread
from crawler.errors import DatabaseUnavailable
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


def test_no_number_is_given_again(light: Driver) -> None:
    """Whoever asks for changes by cursor misses none that is recorded after a backup was put back, copied or not."""
    copy, goal = light.folder / "copy.db", light.folder / "goal.db"
    steps = [{"add": {"hk-01": {f"uimage-{number}": f"Image {number}"}}} for number in range(2, 6)]
    with run_in_thread(make_timeline(zones=BEFORE, steps=steps)) as cloud:
        light.configure(account(cloud.url)).run()
        light.call("db", "backup", copy)
        for cloud.step in (2, 3, 4):
            light.run()
        seen = [row["cursor"] for row in light.rows("changes", "--after", 0)]
        assert seen == [1, 2, 3]

        light.call("db", "restore", copy)

        assert light.rows("changes", "--after", 3) == []
        light.call("changes", "--after", 4, code=2)
        for cloud.step in (2, 3):
            light.run()
        told = light.rows("changes", "--after", 3)
        assert [(row["cursor"], row["image_id"]) for row in told] == [(4, "uimage-2"), (5, "uimage-3")]
        assert [row["run"] for row in light.rows("runs")] == [1, 5, 6]
        light.call("db", "check")
        light.call("db", "restore", copy)
        light.call("db", "copy", "--to", goal)
        light.configure(account(cloud.url), database=f"sqlite:///{goal}").run()
        assert [row["cursor"] for row in light.rows("changes", "--after", 5)] == [6, 7]


def test_no_number_of_a_hold_is_given_again(light: Driver) -> None:
    """Whoever noted a hold's number accepts no other by it: not after pruning, nor after a backup was put back."""
    copy = light.folder / "copy.db"
    whole = {"hk-01": {f"uimage-{number}": f"Image {number}" for number in range(4)}}
    steps: list[dict[str, Any]] = [{"images": {"hk-01": {}}}, {"images": whole}]

    def newest() -> int:
        (row,) = light.rows("holds", "list")
        return int(row["id"])

    with run_in_thread(make_timeline(zones=whole, steps=steps)) as cloud:
        light.configure(account(cloud.url)).run()
        for cloud.step in (2, 2, 2, 3, 2, 2, 2):
            light.run(code=None)
        assert [row["status"] for row in light.rows("holds", "list", "--all")] == 2 * ["confirmed"]
        light.now += timedelta(days=10)
        light.run()
        light.call("db", "backup", copy)
        light.call("db", "prune", "--keep", "1d")
        assert [row["id"] for row in light.rows("holds", "list", "--all")] == [2], "the newest stays"
        for cloud.step in (3, 2):
            light.run(code=None)
        assert newest() == 3

        light.call("db", "restore", copy)

        for cloud.step in (3, 2):
            light.run(code=None)
        assert newest() == 4
        light.call("holds", "accept", 3, code=None)
        assert newest() == 4
        light.call("db", "check")


def test_refusals(light: Driver) -> None:
    """A backup that is none, or not sound, is refused in one sentence, and the database stays as it is."""
    path = Path(light.database.removeprefix("sqlite:///"))
    with run_in_thread(make_timeline(zones=BEFORE)) as cloud:
        light.configure(account(cloud.url))
        light.run()
    content = path.read_bytes()
    text, empty, unsound, older = (light.folder / name for name in ("text", "empty.db", "unsound.db", "older.db"))
    text.write_text("no database at all, but long enough to be looked at" * 50)
    sqlite3.connect(empty).close()
    light.call("db", "backup", unsound)
    with closing(sqlite3.connect(unsound)) as conn:
        conn.execute("DELETE FROM runs")
        conn.commit()
    shutil.copyfile(unsound, older)
    with closing(sqlite3.connect(older)) as conn:
        conn.execute("UPDATE alembic_version SET version_num = ?", [REVISIONS[-2]])
        conn.commit()
    for file, code, said in (
        (light.folder / "nowhere.db", 2, "There is no file"),
        (path, 2, "is the database itself"),
        (text, 74, "is not a SQLite database"),
        (empty, 74, "Nothing was restored."),
        (unsound, 74, "Nothing was restored: "),
        (older, 74, "Nothing was restored: "),
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


@pytest.mark.parametrize("name", ["50%25 of it.db", "which?.db", "trailing.db "])
def test_restored_from_any_name(light: Driver, name: str) -> None:
    """The backup that is looked at is the one that is put back, whatever its name would mean in a URL."""
    light.configure(account("http://127.0.0.1:9/")).call("db", "upgrade")
    (light.folder / "50% of it.db").write_text("another file, no database")
    copy = light.folder / name
    light.call("db", "backup", copy)

    assert f"restored from {copy}" in light.call("db", "restore", copy).stdout


@pytest.mark.parametrize("there", [False, True])
def test_set_aside_where_there_are_no_links(light: Driver, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    """Where a file system has no links, the database of before is copied in private; one kept earlier stays."""
    light.configure(account("http://127.0.0.1:9/")).call("db", "upgrade")
    path = Path(light.database.removeprefix("sqlite:///"))
    path.chmod(0o640)
    copy, kept = light.folder / "copy.db", path.with_name(f"{path.name}.x.replaced")
    light.call("db", "backup", copy)
    if there:
        kept.write_text("kept earlier")
    modes = []

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    def copied(source: Path, to: Path) -> None:
        to.touch()
        modes.append(stat.S_IMODE(to.stat().st_mode))
        to.write_bytes(source.read_bytes())

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(shutil, "copyfile", copied)
    if there:
        with pytest.raises(DatabaseUnavailable, match="File exists"):
            restore(path, copy, label="x")
        assert kept.read_text() == "kept earlier"
        return
    assert restore(path, copy, label="x") == kept
    assert modes == [0o600]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640
