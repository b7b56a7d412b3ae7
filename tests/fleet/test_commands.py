"""What the commands of a fleet say where something is missing, wrong or in need of a hand."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml
from sqlalchemy import text

from crawler.client.api_options import Timing
from crawler.config.loader import load
from crawler.db import workers
from crawler.db.beginning import begins_at
from crawler.db.engine import begin, opened, read
from crawler.db.locks.postgresql import LockSession
from crawler.emulator import run_in_thread
from crawler.fleet import queue as job_queue
from crawler.fleet.queue import opened_queue
from crawler.fleet.tasks import CRAWLS, Tasks, crawl_job, share_of, tick_of
from crawler.ops.deploy import DUE_QUERY
from crawler.web.answers import answer_schemas
from tests.support.diary import Diary, target
from tests.support.driving import Driver, account
from tests.support.fleet import SKEWED
from tests.support.house import ROOT
from tests.support.switch import dead_man_switch
from tests.support.worlds import make_timeline

WORDS = [("worker",), ("fleet", "status"), ("fleet", "drain"), ("fleet", "resume"), ("schedule", "worker")]


@pytest.fixture
def driver(tmp_path: Path, postgres_url: str) -> Driver:
    return Driver(tmp_path, postgres_url).configure(account("http://127.0.0.1:9/"))


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_sqlite_is_no_fleet(tmp_path: Path, sqlite_url: str, words: tuple[str, ...]) -> None:
    """A fleet shares a PostgreSQL database: over a SQLite file each command says so."""
    light = Driver(tmp_path, sqlite_url).configure(account("http://127.0.0.1:9/"))

    assert "a PostgreSQL database; the configuration has a SQLite file" in light.call(*words, code=2).stderr


def test_tables_for_jobs(driver: Driver) -> None:
    """A worker asks for the tables that `db upgrade` makes once, and leaves those of a newer engine alone."""
    first = driver.call("worker", code=74)
    made = driver.call("db", "upgrade")
    again = driver.call("db", "upgrade")
    with opened(driver.database) as engine, begin(engine) as conn:
        conn.execute(text(f"UPDATE settings SET value = '99.00.00' WHERE name = '{workers.ENGINE}'"))
    newer = driver.call("worker", code=74)
    refused = driver.call("db", "upgrade", code=74)

    assert "has no tables for jobs yet: run `crawler db upgrade` once." in first.stderr
    assert f"has the tables for jobs of {job_queue.newest()}" in made.stdout
    assert "tables for jobs" not in again.stdout
    for said in (newer, refused):
        assert "are those of a newer Procrastinate (99.00.00)" in said.stderr


def test_older_tables_are_brought_up(driver: Driver) -> None:
    """`db upgrade` runs those of the engine's own migrations that the tables lack."""
    driver.call("db", "upgrade")
    before = job_queue._migrations()[-2].removesuffix(".sql")
    with opened(driver.database) as engine, begin(engine) as conn:
        conn.execute(text(f"UPDATE settings SET value = '{before}' WHERE name = '{workers.ENGINE}'"))
        conn.execute(text("SET LOCAL search_path = crawler_jobs"))
        dropped = conn.execute(
            text(
                "SELECT 'DROP FUNCTION ' || oid::regprocedure FROM pg_proc WHERE proname = 'procrastinate_retry_job_v1'"
            )
        )
        for (statement,) in dropped.all():
            conn.execute(text(statement))
    said = driver.call("worker", code=74)
    done = driver.call("db", "upgrade")

    assert "has the tables for jobs of an older Procrastinate" in said.stderr
    assert job_queue.newest() in done.stdout


def test_jobs_of_another_history(driver: Driver) -> None:
    """A second history in the database, in a schema of its own, gets no jobs among those of the first."""
    driver.call("db", "upgrade")
    with opened(driver.database) as engine, begin(engine) as conn:
        conn.execute(text("CREATE SCHEMA second"))
    second = f"{driver.database}{'&' if '?' in driver.database else '?'}options=-csearch_path%3Dsecond"
    said = driver.call("--database", second, "db", "upgrade", code=74)

    assert "has the jobs of another history: give this one a database of its own." in said.stderr
    assert "current" in driver.call("--database", second, "db", "status").stdout


def test_without_the_extra(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra is missing the worker names it, and `db upgrade` makes the history's schema alone."""
    monkeypatch.setattr("crawler.fleet.queue.is_there", lambda: False)

    assert "pip install 'ucloud-image-crawler[fleet]'" in driver.call("worker", code=2).stderr
    assert "tables for jobs" not in driver.call("db", "upgrade").stdout


@pytest.mark.provokes("the fleet is drained", "workers have different", "} on {hosts}")
def test_doctor_and_evict(driver: Driver) -> None:
    """`doctor` names what is wrong with the workers, and `evict` ends the sessions of one."""
    driver.call("db", "upgrade")
    session = LockSession(driver.database, clock=lambda: datetime.now(UTC))
    try:
        for number, version in enumerate(("1.0", "2.0")):
            me = workers.Myself(id=f"{number}", host="host-a", pid=4711 + number, version=version, config="c", slots=4)
            session.execute(*workers.lives(me, 0))
        driver.call("fleet", "drain")
        doctor = json.loads(driver.call("doctor", "--json", code=None).stdout)
        told = {row["message"] for row in doctor["findings"] if row["check"] == "fleet"}
        unknown = driver.call("fleet", "evict", "host-b:1", code=2)
        wrong = driver.call("fleet", "evict", "host-b", code=2)
        evicted = driver.call("fleet", "evict", "host-a:4711")
        status = json.loads(driver.call("fleet", "status", "--json").stdout)
        jsonschema.validate(status, answer_schemas()["fleet status --json"])
        rows = driver.rows("fleet", "status")
        assert rows == status["workers"] != []
        jsonschema.validate(rows, answer_schemas()["fleet status"])
    finally:
        session.close()

    assert any("the fleet is drained by" in message for message in told)
    assert "workers have different versions of the program: 1.0, 2.0" in told
    assert "There is no worker host-b:1; the workers are host-a:4711, host-a:4712." in unknown.stderr
    assert "'host-b' is no HOST:PID" in wrong.stderr
    assert "host-a:4711 is evicted." in evicted.stderr
    assert {one["state"] for one in status["workers"]} == {"gone"}
    assert status["evictions"] == 1
    assert status["drained"]


@pytest.mark.provokes("stands still", "no worker is alive")
def test_doctor_of_a_worker_that_stands_still(driver: Driver) -> None:
    """A worker that was not heard of for longer than `evict_after` is named with its cure, and counts as none alive."""
    driver.call("db", "upgrade")
    session = LockSession(driver.database, clock=lambda: datetime.now(UTC))
    try:
        me = workers.Myself(id="1", host="host-a", pid=4711, version="1.0", config="c", slots=4)
        session.execute(*workers.lives(me, 0))
        with opened(driver.database) as engine, begin(engine) as conn:
            conn.execute(text("UPDATE workers SET seen_at = seen_at - 86400000000"))
        found = json.loads(driver.call("doctor", "--json", code=None).stdout)["findings"]
    finally:
        session.close()

    assert {finding["message"]: finding["fix"] for finding in found if finding["check"] == "fleet"} == {
        "worker host-a:4711 stands still": "crawler fleet evict host-a:4711",
        "no worker is alive": "start `crawler worker`; `crawler fleet status`",
    }


def test_query_for_keda(driver: Driver) -> None:
    """The query in the printed manifest counts the crawls that are due or worked on."""
    driver.call("db", "upgrade")
    printed = driver.call("schedule", "worker", "kubernetes", "--slots", "4").stdout
    kept = "\n".join(line.removeprefix("# ") for line in printed.splitlines() if line.startswith("# "))
    scaled = yaml.safe_load(kept[kept.index("apiVersion: keda.sh") :].split("\nThe history")[0])
    trigger = scaled["spec"]["triggers"][0]["metadata"]
    with opened(driver.database) as engine, read(engine) as conn:
        assert conn.execute(text(trigger["query"])).scalar() == 0
    assert trigger == {"connectionFromEnv": "DATABASE_URL", "query": DUE_QUERY, "targetQueryValue": "4"}


@pytest.mark.parametrize(
    ("database", "rates", "sentence"),
    [
        ("sqlite", (10, 10), "is shared through a PostgreSQL database, and there is none"),
        ("postgresql", (10, 5), "is one rate: b has 5 per 1 s and a has 10 per 1 s for it"),
    ],
)
def test_budgets_that_cannot_be_kept(tmp_path: Path, database: str, rates: tuple[int, int], sentence: str) -> None:
    """A budget needs PostgreSQL and one rate; the configuration says which account has it wrong."""
    url = "postgresql://user@host/name" if database == "postgresql" else str(tmp_path / "crawler.db")
    tables = [
        account("http://127.0.0.1:9/", name, limits={"budget": "key", "rate": rate})
        for name, rate in zip("ab", rates, strict=True)
    ]
    said = Driver(tmp_path, url).configure(*tables).call("config", "validate", code=2).stderr

    assert sentence in said


def test_silence_that_is_too_short(driver: Driver) -> None:
    """A worker cannot be evicted sooner than it can say that it lives."""
    driver.configure(account("http://127.0.0.1:9/"), fleet={"evict_after": "4s"})

    assert "fleet.evict_after: must be 5s or longer" in driver.call("config", "validate", code=2).stderr


def test_a_tick_of_many_accounts(driver: Driver) -> None:
    """After many jobs were added the server knows of them; else it looks at all for each that is taken."""
    driver.call("db", "upgrade")

    async def add() -> int:
        handlers = {CRAWLS: {"crawl": nothing}}
        async with opened_queue(driver.database, handlers, application_name="crawler test") as queue:
            return await queue.add_all([crawl_job(f"account-{number}", 0) for number in range(2500)])

    async def nothing(**_: object) -> None:
        """Do nothing."""

    assert asyncio.run(add()) == 2500
    with opened(driver.database) as engine, read(engine) as conn:
        known = text("SELECT reltuples FROM pg_class WHERE oid = 'crawler_jobs.procrastinate_jobs'::regclass")
        assert conn.execute(known).scalar() == 2500


def test_ticks() -> None:
    """A tick is a whole number of intervals after 1970, and accounts are spread evenly behind it."""
    moment = datetime(2026, 11, 29, 12, 34, 56, tzinfo=UTC)
    shares = [share_of(f"account-{number}") for number in range(1000)]

    assert datetime.fromtimestamp(tick_of(moment, timedelta(minutes=15)), UTC) == datetime(
        2026, 11, 29, 12, 30, tzinfo=UTC
    )
    assert all(0 <= share < 1 for share in shares)
    assert all(60 < sum(1 for share in shares if int(share * 10) == tenth) < 140 for tenth in range(10))


def test_upgrade_of_a_fleet_at_rest(driver: Driver) -> None:
    """`db upgrade --drain` leaves a fleet drained that somebody had drained, and wakes one that it left so itself."""

    def drained() -> str:
        with opened(driver.database) as engine, read(engine) as conn:
            return workers.drained(conn)

    driver.call("db", "upgrade")
    driver.call("fleet", "drain")
    by_hand = drained()
    upgraded = driver.call("db", "upgrade", "--drain")
    after = drained()
    with opened(driver.database) as engine, begin(engine) as conn:
        workers.drain(conn, "by me on host-a at 2026-11-30T08:00:00Z for db upgrade")  # and killed
    driver.call("db", "upgrade", "--drain")

    assert after == by_hand != ""
    assert f"The fleet stays drained, as it was before: {by_hand}" in upgraded.stderr
    assert drained() == ""


def test_cron_beside_a_worker(driver: Driver) -> None:
    """A run of an account that a worker crawls just now leaves with 75; cron mails nothing, however old both are."""
    driver.call("db", "upgrade")
    driver.now = datetime.now(UTC)
    session = LockSession(driver.database, clock=lambda: datetime.now(UTC) - timedelta(weeks=2))
    try:
        session.hold(["prod"])
        assert driver.call("run", code=75).output == ""
        assert "A worker holds the lock of the account" in driver.call("-v", "run", code=75).stderr
    finally:
        session.close()


@pytest.mark.parametrize(("told", "calls"), [("done", ["/token-1"]), ("fail", [])])
def test_incomplete_runs_and_the_switch(tmp_path: Path, postgres_url: str, told: str, calls: list[str]) -> None:
    """The switch hears that the fleet lives while runs are incomplete, unless these are to be told as failed."""
    faults = [{"action": "DescribeUK8SImage", "zone": "hk-02", "ret_code": 160}]
    with run_in_thread(make_timeline(zones=["hk-01", "hk-02"], faults=faults)) as cloud, dead_man_switch() as switch:
        driver = Driver(tmp_path, postgres_url, now=datetime.now(UTC))
        driver.configure(account(cloud.url), ping=switch.url, ping_incomplete=told)
        driver.run(code=3)
        switch.calls.clear()
        with opened(postgres_url) as engine:
            tasks = Tasks(
                load(driver.config, None, {}),
                engine,
                holding=lambda *_, **__: nullcontext(),  # type: ignore[arg-type]
                say=print,
                timing=lambda ahead: Timing(clock=lambda: datetime.now(UTC)),
                throttle=lambda one, own: own,
                is_resting=lambda: False,
            )
            asyncio.run(tasks.pulse(0))

    assert [path for path, _ in switch.calls] == calls


def test_pruned_by_the_server_s_clock(driver: Driver, postgres_url: str) -> None:
    """A host whose clock is a year fast forgets no more than any other would."""
    with opened(postgres_url) as engine:
        Diary(engine, now=datetime.now(UTC) - timedelta(days=100)).run({target(): {"uimage-a": "A"}})
    words = [sys.executable, "-c", SKEWED, str(86_400 * 365), "--config", str(driver.config)]
    subprocess.run([*words, "db", "prune", "--keep", "90d"], check=True, cwd=ROOT)
    with opened(postgres_url) as engine, read(engine) as conn:
        began = begins_at(conn)
    assert began is not None
    assert abs(datetime.now(UTC) - timedelta(days=90) - began) < timedelta(hours=1)
