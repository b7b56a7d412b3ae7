"""
A database that version 0.1.0 wrote: it upgrades without losing or changing an answer, whenever it is killed.

`first_release/history.sql.gz` is the dump of a SQLite file after eight runs of that version against its emulator: two
accounts, a variant, re-issues, an emptied zone, withdrawals that were held, confirmed and dissolved, failures,
refusals, a retired zone, an answer that was partly unreadable, and mails sent and waiting.
`first_release/answers.json.gz` is what that version answered then.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Boolean, Engine, LargeBinary, MetaData, insert, text
from sqlalchemy.types import JSON

from crawler.db.engine import begin, is_sqlite, opened, read
from crawler.db.integrity import findings
from crawler.db.migrations import migrations_folder, schema_state, upgrade
from crawler.db.views import create_views
from crawler.emulator import run_in_thread
from tests.support.driving import Driver, account
from tests.support.processes import Nursery, Order, nursery
from tests.support.worlds import make_timeline

FOLDER = Path(__file__).parent / "first_release"
REVISION = "20261129_conditions_and_reports"
ANSWERS: dict[str, Any] = json.loads(gzip.decompress((FOLDER / "answers.json.gz").read_bytes()))
QUESTIONS: dict[str, Sequence[str]] = {
    "images": ("images",),
    "changes": ("changes",),
    "history": ("history", "Ubuntu 20.04"),
    "status": ("status",),
    "runs": ("runs",),
    "holds": ("holds", "list"),
    "where": ("where", "Ubuntu 20.04"),
    "compare": ("compare", "hk-01", "hk-02"),
    **{f"images {hour}": ("images", "--at", f"2026-11-23T{10 + hour}:30Z") for hour in range(1, 9)},
}


@pytest.fixture(scope="module")
def dump() -> Iterator[sqlite3.Connection]:
    """Return the database of that version, in memory."""
    with closing(sqlite3.connect(":memory:")) as conn:
        conn.executescript(gzip.decompress((FOLDER / "history.sql.gz").read_bytes()).decode())
        yield conn


@pytest.fixture
def released(dump: sqlite3.Connection, empty_database_url: str, tmp_path: Path) -> Driver:
    """Return somebody who has such a database, on SQLite or on PostgreSQL."""
    driver = Driver(tmp_path, empty_database_url).configure(account("http://127.0.0.1:9/"))
    driver.now = driver.now.fromisoformat(ANSWERS["now"])
    if empty_database_url.startswith("sqlite"):
        with closing(sqlite3.connect(empty_database_url.removeprefix("sqlite:///"))) as conn:
            dump.backup(conn)
        return driver
    with opened(empty_database_url) as engine:
        with begin(engine) as conn:
            config = Config()
            config.set_main_option("script_location", str(migrations_folder()))
            config.set_main_option("path_separator", "os")
            config.attributes["connection"] = conn
            command.upgrade(config, REVISION)
        _fill(engine, dump)
    return driver


def _fill(engine: Engine, dump: sqlite3.Connection) -> None:
    """Write the rows of the SQLite file to PostgreSQL, whatever refers to whatever."""
    tables = MetaData()
    with begin(engine) as conn:
        tables.reflect(conn)
        conn.execute(text("SET session_replication_role = replica"))
        for table in tables.sorted_tables:
            names = [column.name for column in table.columns]
            found = dump.execute(f"SELECT {', '.join(names)} FROM {table.name}")
            rows = [
                {name: _as(table.c[name].type, value) for name, value in zip(names, row, strict=True)} for row in found
            ]
            conn.execute(table.delete())
            if rows:
                conn.execute(insert(table), rows)
            if "id" in names and rows:
                conn.execute(
                    text(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), max(id)) FROM {table.name}")
                )


def _as(wanted: Any, value: Any) -> Any:
    if value is None or isinstance(wanted, LargeBinary):
        return value
    if isinstance(wanted, Boolean):
        return bool(value)
    return json.loads(value) if isinstance(wanted, JSON) else value


def compare(driver: Driver) -> None:
    """Ask everything again: each answer has the rows of that version, with every field that they had."""
    with opened(driver.database, read_only=True) as engine, read(engine) as conn:
        assert findings(conn) == []
    for question, words in QUESTIONS.items():
        rows = json.loads(driver.call(*words, "-o", "json", code=None).stdout)
        assert [_with(row, before) for row, before in zip(rows, ANSWERS[question], strict=True)] == rows, question


def _with(row: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Return *row* with every field of *before*, at any depth: fields may be added, and none may change."""
    return row | {
        name: _with(row[name], value) if isinstance(value, dict) and isinstance(row.get(name), dict) else value
        for name, value in before.items()
    }


def test_way_back(dump: sqlite3.Connection, empty_sqlite_url: str, tmp_path: Path) -> None:
    """The copy that an upgrade makes is put back by the program that upgraded: the old one finds what it left."""
    path = Path(empty_sqlite_url.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(path)) as conn:
        dump.backup(conn)
    driver = Driver(tmp_path, empty_sqlite_url).configure(account("http://127.0.0.1:9/"))
    driver.call("db", "upgrade")
    driver.call("db", "restore", f"{path}.{REVISION}.bak")

    with opened(empty_sqlite_url, read_only=True) as engine:
        assert schema_state(engine).found == REVISION
    with closing(sqlite3.connect(path)) as conn:
        assert list(conn.iterdump()) == list(dump.iterdump())


def test_every_answer_stays(released: Driver) -> None:
    """After the upgrade every reader answers as that version did, and nothing that must never be is found."""
    with opened(released.database) as engine:
        assert schema_state(engine).found == REVISION
        upgrade(engine)
    compare(released)


def test_views_of_others(released: Driver) -> None:
    """A view that somebody made of one of ours stands in no upgrade's way, and shows what ours does after it."""
    with opened(released.database) as engine:
        with begin(engine) as conn:
            # which nobody made of that version on PostgreSQL
            for statement in () if is_sqlite(engine) else create_views("postgresql"):
                conn.exec_driver_sql(statement)
            conn.exec_driver_sql("CREATE VIEW mine AS SELECT zone, image_id, state FROM current_images")
        upgrade(engine)
        with read(engine) as conn:
            shown = [
                conn.exec_driver_sql(f"SELECT count(*) FROM {view}").scalar() for view in ("mine", "current_images")
            ]
    assert shown[0] == shown[1]
    assert shown[0]
    compare(released)


def test_runs_go_on(released: Driver) -> None:
    """The first run of this program on it finds what is different, and nothing that is not."""
    zones: dict[str, dict[str, str]] = {
        "hk-01": {"uimage-a1": "Ubuntu 20.04"},
        "hk-02": {"uimage-b1": "CentOS 7.6", "uimage-a2": "Ubuntu 20.04"},
        "sg-01": {"uimage-s2": "Debian 12"},
    }
    with opened(released.database) as engine:
        upgrade(engine)
    with run_in_thread(make_timeline(zones=zones, projects=["org-alpha", "org-beta"])) as cloud:
        variant = {"name": "g-v100", "MachineType": "G", "GPUType": "V100"}
        released.configure(account(cloud.url, "prod", variants=[variant]), account(cloud.url, "lab", zones=["hk-*"]))
        ran = released.run()
        assert (ran.targets, ran.changes) == ({"total": 16, "ok": 16}, {})
        zones["hk-01"]["uimage-n9"] = "Rocky 9"
        cloud.play(make_timeline(zones=zones, projects=["org-alpha", "org-beta"]))
        assert released.run().changes == {"appeared": 6}
    released.call("db", "check")


def killed_upgrades(released: Driver, heavy: Nursery, every: int) -> int:
    """Kill an upgrade before each *every*th statement until one is over; return how many were killed."""
    kills = 0
    while True:
        order = Order(
            words=["--database", released.database, "db", "upgrade"],
            folder=str(released.folder / "upgrade"),
            kill_at=1 + kills * every,
        )
        ended = heavy.run(order)
        if not ended.was_killed:
            assert ended.code == 0, ended
            return kills
        kills += 1
        with opened(released.database, read_only=True) as engine:
            assert schema_state(engine).name in ("behind", "current")


@pytest.fixture(scope="module")
def heavy() -> Iterator[Nursery]:
    with nursery("heavy") as started:
        yield started


def test_killed_upgrades(released: Driver, heavy: Nursery) -> None:
    """Killed before every third of its statements, an upgrade is begun again and loses nothing."""
    assert killed_upgrades(released, heavy, every=3) > 5
    compare(released)


@pytest.mark.prove
def test_upgrades_killed_at_each_statement(released: Driver, heavy: Nursery) -> None:
    """The same before every single statement."""
    assert killed_upgrades(released, heavy, every=1) > 20
    compare(released)


def test_replay(released: Driver) -> None:
    """The last answer of each target is taken up by the upgrade: a replay begins with it, and says so."""
    released.call("db", "upgrade")
    found = json.loads(released.call("replay", "-o", "json").stdout)
    answered = [row for row in released.rows("status") if row["last_ok_at"]]

    assert found["equal"]
    assert found["answers"] >= found["begun_late"] >= len(answered) > 5
    assert found["not_compared"] > 5
