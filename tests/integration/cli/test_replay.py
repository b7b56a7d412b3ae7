"""`crawler replay`: the history made anew beside the recorded one, as a person calls it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from crawler.db import workers
from crawler.db.engine import begin, opened, read
from crawler.db.migrations import upgrade
from crawler.db.runs import save_setting, saved_setting
from crawler.db.schema import Run
from crawler.demo import play
from crawler.emulator import EmulatorServer, run_in_thread
from tests.support.command import NOW, call, rows
from tests.support.crawling import account_at, crawl_once, settings_for
from tests.support.driving import Driver, account
from tests.support.worlds import make_record, make_timeline

NAMES = ("crawler.db", "new.db")
IMAGES = {f"uimage-{letter}": f"System {letter}" for letter in "abcd"}


@pytest.fixture
def cloud() -> Iterator[EmulatorServer]:
    """Return a cloud whose zone lists four images, then two of them, then all, one of them renamed."""
    records = [{"ImageId": key, "ImageName": name, "NotSupportGPU": False} for key, name in IMAGES.items()]
    renamed = [{**record, "ImageName": "New name"} if record["ImageId"] == "uimage-d" else record for record in records]
    timeline = make_timeline(
        zones={"hk-02": records},
        steps=[
            {"remove": {"hk-02": ["uimage-a", "uimage-b"]}},
            {},
            {},
            {"images": {"hk-02": {"ImageSet": renamed}}},
        ],
    )
    with run_in_thread(timeline) as server:
        yield server


def lived(driver: Driver, cloud: EmulatorServer, *, accepts: bool = False) -> Driver:
    """Let a history come about: a hold that is confirmed, or accepted by hand, a comeback, a new name."""
    driver.configure(account(cloud.url))
    for step in range(5):
        cloud.step = step + 1
        driver.run(code=None)
        if accepts and step == 1:
            hold = driver.rows("holds", "list")[0]["id"]
            driver.call("holds", "accept", hold)
    return driver


def compared(driver: Driver, *words: object, code: int = 0) -> dict[str, Any]:
    """Return what a replay says in JSON."""
    document: dict[str, Any] = json.loads(driver.call("replay", *words, "-o", "json", code=code).stdout)
    return document


def test_demo(tmp_path: Path) -> None:
    """Five runs come out as they were recorded; the new file answers as the old one does, which is not touched."""
    played = tmp_path / "crawler.db"
    play(played, clock=lambda: datetime.now(UTC))
    before = played.read_bytes()
    result = call("--database", played, "replay", "--into", tmp_path / "new.db")

    assert result.stdout == ""
    assert result.stderr == "5 runs, 29 answers: 7 changes and 73 intervals come out as they were recorded.\n"
    assert played.read_bytes() == before
    for words in (("changes",), ("runs",), ("holds", "list", "--all")):
        answers = [call("--database", tmp_path / name, *words, "-o", "json").stdout for name in NAMES]
        assert answers[0] == answers[1]


@pytest.mark.parametrize("accepts", [False, True])
def test_holds(tmp_path: Path, database_url: str, cloud: EmulatorServer, accepts: bool) -> None:
    """On both databases, whether a hold was confirmed by later answers or accepted by a person."""
    driver = lived(Driver(tmp_path, database_url), cloud, accepts=accepts)
    events = [row["event"] for row in driver.rows("changes")]
    found = compared(driver)

    assert sorted(events) == ["modified", "returned", "returned", "withdrawn", "withdrawn"]
    assert found["equal"]
    assert found["changes"] == {"recorded": 5, "replayed": 5, "equal": 5}
    assert found["differences"] == []


def test_other_settings(tmp_path: Path, sqlite_url: str, cloud: EmulatorServer) -> None:
    """By another guard the withdrawals come a run earlier: exit code 1, and both sides of what differs."""
    driver = lived(Driver(tmp_path, sqlite_url), cloud)
    driver.configure(account(cloud.url), guard={"confirmations": 1})
    found = compared(driver, code=1)
    table = driver.call("replay", code=1)
    lines = driver.call("replay", "-o", "csv", code=1).stdout.splitlines()

    assert not found["equal"]
    sides = [(row["run"], row["recorded"] and row["recorded"]["event"]) for row in found["differences"] if row["run"]]
    assert sides == [(3, None), (3, None), (4, "withdrawn"), (4, "withdrawn")]
    assert "nothing" in table.stdout
    assert "the others are shown" in table.stderr
    assert len(lines) == len(found["differences"]) + 1


def test_pruned(tmp_path: Path, database_url: str, cloud: EmulatorServer) -> None:
    """Where answers were pruned it says so, begins with the first that is kept, and finds what came after it equal."""
    driver = lived(Driver(tmp_path, database_url), cloud)
    driver.call("db", "prune", "--keep", "90m")
    result = driver.call("replay")
    found = compared(driver)

    assert "Of 1 target not all answers are kept: what came before " in result.stderr
    assert found["equal"]
    assert found["begun_late"] == 1
    assert found["begins_at"]
    assert found["changes"]["recorded"] == 3


def test_under_way(tmp_path: Path, database_url: str, cloud: EmulatorServer) -> None:
    """What a run has recorded that goes on, or was killed, is not compared: its answers are none of those replayed."""
    driver = lived(Driver(tmp_path, database_url), cloud)
    with opened(database_url) as engine, begin(engine) as conn:
        conn.execute(update(Run).where(Run.id == 5).values(status="running", finished_at=None))

    found = compared(driver)
    assert (found["runs"], found["differences"]) == (4, [])


def test_order_of_answers(tmp_path: Path, sqlite_url: str) -> None:
    """Answers are read in the order in which they came, so that the same ZoneIds are known when each is read."""
    images = {
        "hk-02": [make_record("uimage-a", "A", "hk-02"), make_record("uimage-x", "X", "hk-03")],
        "hk-03": [make_record("uimage-b", "B", "hk-03")],
    }
    timeline = make_timeline(zones=images, faults=[{"zone": "hk-02", "latency_ms": 300}])
    driver = Driver(tmp_path, sqlite_url)
    with run_in_thread(timeline) as cloud, opened(sqlite_url) as engine:
        upgrade(engine)
        result = crawl_once(engine, settings_for(sqlite_url, account_at(cloud.url)), NOW)
        driver.configure(account(cloud.url))

    assert "left out: 1" in result.summary.notices[0]
    assert compared(driver)["intervals"] == {"recorded": 2, "replayed": 2, "equal": 2}


def test_cursors_after_pruning(tmp_path: Path, sqlite_url: str, cloud: EmulatorServer) -> None:
    """The numbers of changes in the new database are its own: those of its changes that were pruned are not refused."""
    driver = lived(lived(Driver(tmp_path, sqlite_url), cloud), cloud)
    driver.call("db", "prune", "--keep", "90m")
    assert driver.call("changes", "--after", 1, code=8).stderr
    driver.call("replay", "--into", tmp_path / "new.db")
    changes = ("--database", tmp_path / "new.db", "changes")

    first, *others = rows(*changes)
    assert first["cursor"] == 1
    assert rows(*changes, "--after", first["cursor"]) == others


def test_into_postgresql(tmp_path: Path, sqlite_url: str, empty_postgres_url: str, cloud: EmulatorServer) -> None:
    """
    A PostgreSQL database that was made ready for a fleet is empty, and runs go on with what a replay made there; what
    either says of its own fleet stays there.
    """
    driver = lived(Driver(tmp_path, sqlite_url), cloud)
    call("--database", empty_postgres_url, "db", "upgrade")
    with opened(sqlite_url) as source, opened(empty_postgres_url) as goal:
        for engine, name in ((source, "there"), (goal, "here")):
            with begin(engine) as conn:
                save_setting(conn, workers.DRAINED, name)
                save_setting(conn, f"told of {name}", "1")
        driver.call("replay", "--into", empty_postgres_url)
        with read(goal) as conn:
            found = [saved_setting(conn, name) for name in (workers.DRAINED, "told of there", "told of here")]
    assert found == ["here", None, None]
    driver.database = empty_postgres_url
    driver.configure(account(cloud.url), account(cloud.url, name="other"))
    driver.now += timedelta(hours=1)
    ran = driver.run()

    assert (ran.summary["run"], ran.targets) == (6, {"total": 2, "ok": 2})


def test_part(tmp_path: Path, sqlite_url: str, cloud: EmulatorServer) -> None:
    """`--kind` and `--account` take a part; a glob that fits nothing, or a goal that holds anything, is wrong usage."""
    driver = lived(Driver(tmp_path, sqlite_url), cloud)

    assert compared(driver, "--kind", "uk8s-*", "--account", "prod")["answers"] == 5
    assert "The history knows no kind 'uhost-image'" in driver.call("replay", "--kind", "uhost-image", code=2).stderr
    assert "is the database itself" in driver.call("replay", "--into", sqlite_url, code=2).stderr
    driver.call("replay", "--into", tmp_path / "new.db")
    assert "is not empty" in driver.call("replay", "--into", tmp_path / "new.db", code=2).stderr


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_goes_on_after_a_part(database: str, tmp_path: Path, sqlite_url: str, empty_postgres_url: str) -> None:
    """What the part leaves out is observed by the next run as if nobody had looked at it before."""
    goal = empty_postgres_url if database == "postgresql" else str(tmp_path / "new.db")
    with run_in_thread(make_timeline(zones={"hk-01": IMAGES, "hk-02": IMAGES})) as cloud:
        driver = Driver(tmp_path, sqlite_url)
        driver.configure(account(cloud.url), account(cloud.url, name="test"))
        driver.run()
        driver.call("replay", "--account", "prod", "--into", goal)
        driver.database = goal
        driver.configure(account(cloud.url), account(cloud.url, name="test"))
        driver.now += timedelta(hours=1)
        ran = driver.run()

    assert (ran.targets, ran.changes) == ({"total": 4, "ok": 4}, {})
    seen = [(row["account"], row["outcome"], bool(row["last_ok_at"])) for row in driver.rows("status")]
    assert seen == [("prod", "ok", True)] * 2 + [("test", "ok", True)] * 2


def test_goes_on(tmp_path: Path, sqlite_url: str, cloud: EmulatorServer) -> None:
    """The next run goes on with the database that a replay made, and finds nothing new."""
    driver = lived(Driver(tmp_path, sqlite_url), cloud)
    driver.call("replay", "--into", tmp_path / "new.db")
    driver.database = str(tmp_path / "new.db")
    driver.configure(account(cloud.url))
    driver.now += timedelta(hours=1)
    ran = driver.run()

    assert ran.summary["run"] == 6
    assert ran.changes == {}


@pytest.mark.parametrize("damage", ["UPDATE payloads SET body = x'00'", "DELETE FROM payloads"])
def test_damaged(tmp_path: Path, sqlite_url: str, cloud: EmulatorServer, damage: str) -> None:
    """An answer that is damaged, or gone, is said in a sentence that tells what to do."""
    driver = lived(Driver(tmp_path, sqlite_url), cloud)
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as conn, conn:
        conn.execute(f"{damage} WHERE id = 1")

    assert "`crawler db restore`" in " ".join(driver.call("replay", code=74).stderr.split())
