"""Several cron jobs on one PostgreSQL, one account each: together they are what one run over all accounts would be."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import psycopg
import pytest
from sqlalchemy import select

from crawler.db.engine import begin, opened, read
from crawler.db.locks import take_locks
from crawler.db.migrations import upgrade
from crawler.db.runs import save_setting
from crawler.db.schema import ChangeLog, Run
from crawler.emulator import EmulatorServer, run_in_thread
from tests.support.acceptance_table import Proven
from tests.support.databases import PostgresServer
from tests.support.distant_postgres import distant_postgres, silenced
from tests.support.driving import Driver, account
from tests.support.house import ROOT
from tests.support.processes import until
from tests.support.worlds import make_timeline

NAMES = [f"account-{number}" for number in range(6)]
ONE = {"hk-01": {"uimage-a": "Ubuntu 20.04", "uimage-b": "CentOS 7.6"}}
OTHER = {"hk-01": {"uimage-c": "Ubuntu 20.04", "uimage-b": "CentOS 7.6"}}

#: The command on a host whose clock is sys.argv[1] seconds fast.
SKEWED = """
import sys
from datetime import datetime, timedelta
import crawler.cli.context as context
skew = timedelta(seconds=float(sys.argv.pop(1)))
class Clock(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + skew
context.datetime = Clock
from crawler.cli import main
main()
"""


@pytest.fixture
def crons(tmp_path: Path, postgres_url: str) -> Driver:
    return Driver(tmp_path, postgres_url)


@pytest.fixture
def cloud() -> Iterator[EmulatorServer]:
    with run_in_thread(
        make_timeline(zones=ONE, steps=[{"images": OTHER}, {"images": ONE}, {"images": OTHER}])
    ) as server:
        yield server


@contextmanager
def started(driver: Driver, *words: str, skew: float = 0) -> Iterator[subprocess.Popen[str]]:
    """Start the command in a process of its own, on a host whose clock is *skew* seconds fast."""
    command = [sys.executable, "-c", SKEWED, str(skew), "--config", str(driver.config), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        yield process


def first_runs(driver: Driver) -> list[tuple[int, str]]:
    """Run every account at once, each in a process of its own; give the exit codes with what was said."""
    processes = []
    for name in NAMES:
        command = [sys.executable, "-m", "crawler", "--config", str(driver.config), "run", "--account", name]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT))
    said = [process.communicate(timeout=120)[1] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


@pytest.mark.parametrize("rounds", [1, pytest.param(36, marks=pytest.mark.prove)])
def test_first_runs_at_once(
    _postgres_server: PostgresServer,  # noqa: PT019 - gives a new database for each round
    tmp_path: Path,
    cloud: EmulatorServer,
    rounds: int,
) -> None:
    """Six first runs at once on a new PostgreSQL all end well, and keep the same settings once."""
    for _ in range(rounds):
        with _postgres_server.database() as url:
            driver = Driver(tmp_path, url)
            driver.configure(*(account(cloud.url, name) for name in NAMES))
            ended = first_runs(driver)

            assert ended == [(0, "")] * len(NAMES)
            assert len(driver.rows("status")) == len(NAMES)


def test_hosts_with_clocks_of_their_own(crons: Driver, cloud: EmulatorServer) -> None:
    """Hosts a minute fast and a minute slow record PostgreSQL's time to the second: none is refused, later is later."""
    crons.configure(account(cloud.url))
    # PostgreSQL is on this machine, and its clock is this one's
    spans: list[tuple[datetime, datetime]] = []
    for step, skew in enumerate((60, -60, 0, -60), start=1):
        cloud.step = step
        before = datetime.now(UTC)
        with started(crons, "run", skew=skew) as process:
            said = process.communicate(timeout=60)[1]

        assert process.returncode == 0, said
        spans.append((before - timedelta(seconds=1), datetime.now(UTC) + timedelta(seconds=1)))
        # As every condition it is said once, and once that it is over.
        assert ("the clock of" in said) == (step != 2)
    with opened(crons.database) as engine, read(engine) as conn:
        changes = conn.execute(select(ChangeLog.recorded_at, ChangeLog.run_id).order_by(ChangeLog.id)).all()
        runs = conn.execute(select(Run.started_at, Run.finished_at, Run.notices).order_by(Run.id)).all()

    recorded = [change.recorded_at for change in changes]
    assert recorded == sorted(recorded)
    assert len(recorded) == 6
    for (first, last), run in zip(spans, runs, strict=True):
        assert first <= run.started_at <= run.finished_at <= last
    assert all(spans[change.run_id - 1][0] <= change.recorded_at <= spans[change.run_id - 1][1] for change in changes)
    moments = [moment for run in runs for moment in (run.started_at, run.finished_at)]
    assert moments == sorted(moments)
    assert [" 60 s fast by PostgreSQL's" in (run.notices or [""])[0] for run in runs] == [True, False, False, False]
    assert [" 60 s slow by PostgreSQL's" in (run.notices or [""])[0] for run in runs] == [False, True, False, True]


#: Holds the lock of an account, says from which port, and does nothing more.
HOLDER = """
import sys, time
from datetime import UTC, datetime
from crawler.db.locks import take_locks
with take_locks(sys.argv[1], ["one"], clock=lambda: datetime.now(UTC)):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.prove
def test_lock_of_a_vanished_host(proven: Proven) -> None:
    """The lock of a host that vanished without a word is free within 60 s."""
    with distant_postgres() as url:
        with opened(url) as engine:
            upgrade(engine)
        with subprocess.Popen([sys.executable, "-c", HOLDER, url], stdout=subprocess.PIPE, text=True) as holder:
            try:
                assert holder.stdout is not None
                assert holder.stdout.readline() == "held\n"
                with psycopg.connect(url, autocommit=True) as conn, silenced(port_of_the_holder(conn)):
                    began = time.monotonic()
                    until(lambda: not locks_held(conn), seconds=90)
                    seconds = time.monotonic() - began
            finally:
                holder.kill()
    assert seconds <= 60
    proven("the lock of a vanished host: free within 60 s", f"{seconds:.0f} s")


def port_of_the_holder(conn: psycopg.Connection) -> int:
    """Return the port of the client whose session holds an advisory lock."""
    query = "SELECT client_port FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE locktype = 'advisory'"
    row = conn.execute(query).fetchone()
    assert row is not None
    port: int = row[0]
    return port


def locks_held(conn: psycopg.Connection) -> bool:
    """Return whether anybody holds an advisory lock."""
    return conn.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'").fetchone() is not None


def test_one_account_is_no_matter_of_others(crons: Driver) -> None:
    """`holds` and `report` work while another account is crawled, and wait for nobody but their own."""
    many = {f"uimage-{number}": f"Image {number}" for number in range(12)}
    with run_in_thread(make_timeline(zones={"hk-01": many}, steps=[{"images": {"hk-01": {}}}])) as cloud:
        crons.configure(account(cloud.url, "one"), account(cloud.url, "two"))
        crons.run()
        cloud.step = 2
        crons.run(code=3)
    first, second = (row["id"] for row in crons.rows("holds", "list"))
    with take_locks(crons.database, ["two"], clock=lambda: crons.now):
        crons.call("report", "skip", "1", code=2)
        crons.call("holds", "accept", first)
        crons.call("holds", "accept", second, code=75)

    assert {row["account"] for row in crons.rows("changes") if row["event"] == "withdrawn"} == {"one"}


def test_senders_without_a_run_are_one_at_a_time(crons: Driver, cloud: EmulatorServer) -> None:
    """Of two commands that send reports the second is refused, and no run of an account is."""
    crons.configure(account(cloud.url))
    crons.run()
    with take_locks(crons.database, (), is_sender=True, clock=lambda: crons.now):
        refused = crons.call("report", "skip", "1", code=75)
        crons.run()

    assert "holds the lock of the reports" in refused.stderr


def test_settings_saved_at_once(crons: Driver) -> None:
    """A setting that another transaction is just adding is not added twice."""

    def save(value: str) -> None:
        with begin(engine) as other:
            save_setting(other, "name", value)

    with opened(crons.database) as engine:
        upgrade(engine)
        second = Thread(target=save, args=("second",))
        with begin(engine) as conn:
            save_setting(conn, "name", "first")
            second.start()
            second.join(0.2)
        second.join(30)
        with read(engine) as conn:
            rows = conn.exec_driver_sql("SELECT value FROM settings WHERE name = 'name'").all()

    assert [row.value for row in rows] == ["second"]


def test_times_are_those_of_one_clock(crons: Driver) -> None:
    """The lock's taker learns by how much PostgreSQL's clock is ahead of its own."""
    with take_locks(crons.database, ["one"], clock=lambda: datetime.now(UTC) - timedelta(minutes=1)) as fence:
        assert abs(fence.ahead - timedelta(minutes=1)) < timedelta(seconds=5)
