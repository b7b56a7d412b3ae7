"""Worker processes on one PostgreSQL: each account once a tick, whatever becomes of its worker."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, text

from crawler.fleet.queue import opened_queue
from crawler.fleet.tasks import CRAWLS, crawl_job, tick_of
from tests.fleet.expected import expected_changes, recorded_changes
from tests.support.acceptance_table import Proven
from tests.support.driving import asked
from tests.support.examples import blocks
from tests.support.fleet import Fleet, made_fleet

PROVE = pytest.mark.prove
ZONES = 24
NAMES = [f"hk-{number:02}" for number in range(ZONES)]
#: The cloud of the tests with deaths: images come, go and are renamed, and in the step after that some return.
STEPS = [
    {
        "images": {
            zone: {"uimage-0": "Image 0", "uimage-1": "Renamed", f"uimage-{number % 2 + 2}": "I", "uimage-new": "New"}
            for number, zone in enumerate(NAMES)
        }
    },
    {"images": {zone: {f"uimage-{number}": f"Image {number}" for number in range(4)} for zone in NAMES[:12]}},
]


@pytest.mark.parametrize(
    ("accounts", "zones", "workers", "ticks", "every"),
    [
        (40, 6, 3, 2, "6s"),
        pytest.param(12, ZONES, 3, 20, "10s", marks=PROVE),
        pytest.param(200, ZONES, 3, 3, "60s", marks=PROVE),
    ],
)
def test_each_account_once_a_tick(
    tmp_path: Path,
    postgres_url: str,
    accounts: int,
    zones: int,
    workers: int,
    ticks: int,
    every: str,
    proven: Proven,
    request: pytest.FixtureRequest,
) -> None:
    """Several workers crawl every account exactly once in every tick, never two runs of one at a time."""
    with made_fleet(tmp_path, postgres_url, zones=zones, projects=accounts) as fleet:
        fleet.configure(accounts, every=every)
        fleet.start(workers)
        whole = "SELECT tick FROM runs WHERE status = 'complete' GROUP BY tick HAVING count(*) >= :accounts"
        seconds = float(every.removesuffix("s"))
        fleet.wait(lambda: len(fleet.rows(whole, accounts=accounts)) >= ticks, 60 + (ticks + 2) * 2 * seconds)
        connections = fleet.rows(
            "SELECT count(*) AS used FROM pg_stat_activity "
            "WHERE application_name LIKE 'crawler %' AND datname = current_database()"
        )
        codes = fleet.end()
        by_tick = fleet.rows(
            "SELECT tick, count(*) AS runs, count(DISTINCT account_id) AS accounts FROM runs GROUP BY 1 ORDER BY 1"
        )
        overlaps, interleaved = fleet.overlaps(), fleet.interleaved(zones)
        proven(
            f"{accounts} accounts, {workers} workers: once a tick, and no two runs of one account at a time",
            f"{len(by_tick)} ticks, {sum(row.runs for row in by_tick)} runs, {len(fleet.twice())} twice, "
            f"{len(overlaps)} overlaps in the database, {len(interleaved)} at the server",
        )

        assert codes == [0] * workers, fleet.said()
        assert fleet.twice() == []
        assert overlaps == []
        assert interleaved == {}
        if request.node.get_closest_marker("prove"):  # a busy machine may be too late for a tick of seconds
            # the first and the last are cut: workers came, and went, in the middle of them
            assert {(row.runs, row.accounts) for row in by_tick[1:-1]} == {(accounts, accounts)}
        assert sum(row.used for row in connections) <= 12 * workers
        assert fleet.rows("SELECT status FROM crawler_jobs.procrastinate_jobs WHERE status <> 'todo'") == []
        assert fleet.rows("SELECT id FROM workers") == []
        assert fleet.rows("SELECT id FROM runs WHERE status = 'failed'") == []


@pytest.mark.parametrize(
    ("accounts", "workers", "at_least", "every", "rate"),
    [(12, 2, 4, "10s", 5.0), pytest.param(30, 3, 8, "30s", 1.5, marks=PROVE)],
)
def test_killed_worker(
    tmp_path: Path,
    postgres_url: str,
    accounts: int,
    workers: int,
    at_least: int,
    every: str,
    rate: float,
    proven: Proven,
    request: pytest.FixtureRequest,
) -> None:
    """What a worker that is killed had begun is begun anew by others; what is recorded is what an oracle knows."""
    with made_fleet(tmp_path, postgres_url, zones=ZONES, projects=accounts, steps=STEPS) as fleet:
        fleet.configure(accounts, every=every, rate=rate, is_known=True)
        fleet.cloud.advance()
        fleet.start(workers, slots=16)
        known = fleet.last_run()
        victim, _ = fleet.busiest(at_least, 90)
        held = fleet.held_by(victim)
        moment = fleet.now()
        victim.kill()
        victim.wait()
        fleet.wait(lambda: len(fleet.began_again(held, moment)) == len(held), 90)
        seconds = max(fleet.began_again(held, moment))
        fleet.wait(lambda: len(fleet.complete(since=known)) == accounts, 150)
        if request.node.get_closest_marker("prove"):
            fleet.cloud.advance()
            last = fleet.last_run()
            fleet.wait(lambda: len(fleet.complete(since=last)) == accounts, 150)
        codes = sorted(fleet.end(timeout=90))
        recorded, expected = recorded_changes(postgres_url), expected_changes(fleet.cloud)
        proven(
            f"kill -9 of a worker with {at_least} accounts in flight: all run again within 15 s",
            f"{len(held)} after {seconds:.1f} s",
        )
        proven("what is recorded then equals the oracle", f"{recorded.total()} changes, {expected.total()} expected")

        assert codes == [-9, *[0] * (workers - 1)], fleet.said()
        assert fleet.overlaps() == []
        assert fleet.driver.call("db", "check").exit_code == 0
        assert len(held) >= at_least
        assert recorded == expected, (recorded - expected, expected - recorded)
        assert recorded.total() > 0
        if request.node.get_closest_marker("prove"):
            assert seconds <= 15


def test_killed_before_the_next_turn(fleet: Fleet) -> None:
    """What a killed worker had begun is begun anew at once, also where the next tick has a turn for it later."""
    fleet.configure(1, every="600s", rate=1.5)
    database, name = fleet.driver.database, "account-0"

    async def begin() -> bool:
        handlers = {CRAWLS: {"crawl": nothing}}
        async with opened_queue(database, handlers, application_name="crawler test") as queue:
            return await queue.add(crawl_job(name, tick_of(datetime.now(UTC), timedelta(minutes=10))))

    async def nothing(**_: object) -> None:
        """Do nothing."""

    def waiting() -> list[Any]:
        query = "FROM crawler_jobs.procrastinate_jobs WHERE task_name = 'crawl' AND status = 'todo'"
        return fleet.rows(f"SELECT id, extract(epoch FROM scheduled_at - clock_timestamp()) AS seconds {query}")

    assert asyncio.run(begin())
    fleet.start()
    victim, _ = fleet.busiest(1)
    fleet.wait(waiting, 30)
    with fleet.engine.connect() as conn:
        conn.execute(text("SET search_path = crawler_jobs"))
        later = "UPDATE procrastinate_jobs SET scheduled_at = clock_timestamp() + interval '300 s'"
        conn.execute(text(f"{later} WHERE task_name = 'crawl' AND status = 'todo'"))
    moment = fleet.now()
    victim.kill()
    victim.wait()
    assert [row.seconds > 200 for row in waiting()] == [True]
    fleet.start()
    fleet.wait(lambda: fleet.began_again({name}, moment), 60)

    assert fleet.overlaps() == []
    assert fleet.end(timeout=60) == [-signal.SIGKILL, 0]


@pytest.mark.parametrize("still_seconds", [0, pytest.param(60, marks=PROVE)])
def test_worker_that_stands_still(fleet: Fleet, still_seconds: float, proven: Proven) -> None:
    """A worker that stood still finds its accounts elsewhere: it writes nothing, and asks nothing for them."""
    evict_after = "10s" if still_seconds else "5s"
    fleet.configure(12, every="10s", rate=5, is_known=True, fleet={"evict_after": evict_after})
    fleet.start(2)
    victim, _ = fleet.busiest(4)
    held, moment, stopped = fleet.held_by(victim), fleet.now(), time.monotonic()
    os.kill(victim.pid, signal.SIGSTOP)
    fleet.wait(lambda: len(fleet.began_again(held, moment)) == len(held), 90)
    elsewhere = max(fleet.began_again(held, moment))
    time.sleep(max(0, stopped + still_seconds - time.monotonic()))
    fleet.driver.call("fleet", "drain", "--wait", "60")  # no tick shall come meanwhile
    runs, rows = fleet.last_run(), rows_of(fleet)
    goes_on = time.monotonic()
    os.kill(victim.pid, signal.SIGCONT)
    fleet.wait(lambda: "There is a session for the locks again." in fleet.said(), 60)
    time.sleep(1)
    late = [line for line in asked(fleet.cloud) if line.at > goes_on + 0.5]
    proven(
        f"a worker with {len(held)} accounts that stands still for {time.monotonic() - stopped:.0f} s: "
        "they are elsewhere within 45 s",
        f"after {elsewhere:.1f} s; then it wrote {fleet.last_run() - runs} runs and sent {len(late)} requests",
    )

    assert fleet.overlaps() == []
    assert fleet.last_run() == runs, fleet.state()
    assert rows_of(fleet) == rows
    assert late == []
    assert "Another run took the lock" in fleet.said() or "is gone; nothing more is written" in fleet.said()
    assert fleet.driver.call("db", "check").exit_code == 0
    if still_seconds:
        assert elsewhere <= 45


def rows_of(fleet: Fleet) -> dict[str, int]:
    """Count the rows of the history; what workers say of themselves is none of it."""
    return {name: rows for name, rows in fleet.driver.row_counts().items() if name not in ("workers", "settings")}


def test_second_signal_ends_what_runs(fleet: Fleet) -> None:
    """At SIGTERM nothing new is begun and what runs goes on; at a second one it ends, and what was answered is kept."""
    fleet.configure(12, every="30s", rate=1)
    fleet.start()
    process, _ = fleet.busiest(3)
    process.send_signal(signal.SIGTERM)
    fleet.wait(lambda: "nothing new is begun" in fleet.said(), 30)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)

    assert process.wait(60) == 0, fleet.said()
    assert fleet.value("SELECT count(*) FROM runs WHERE skipped > 0") > 0
    assert fleet.value("SELECT count(*) FROM runs WHERE finished_at IS NULL") == 0


def test_worker_of_a_role_of_its_own(fleet: Fleet) -> None:
    """With the grants of the page a role that owns nothing works in a fleet, and asks how it is."""
    fleet.configure(2, every="6s")
    role = f"crawler_worker_{os.getpid()}"
    with fleet.engine.connect() as conn:
        conn.execute(text(f"CREATE ROLE {role} LOGIN"))
        for statements in blocks("sql", "docs/permissions.md"):
            for line in statements.splitlines():
                conn.execute(text(line.replace("crawler_run", role)))
    try:
        owned = fleet.driver.database
        fleet.driver.database = make_url(owned).set(username=role).render_as_string(hide_password=False)
        document = {
            name: value for name, value in fleet.driver.document.items() if name not in ("database", "accounts")
        }
        fleet.driver.configure(*fleet.driver.document["accounts"], **document)
        fleet.start()
        fleet.wait(lambda: len(fleet.complete()) == 2, 40)
        asked_by = fleet.rows(
            "SELECT DISTINCT usename FROM pg_stat_activity "
            "WHERE application_name LIKE 'crawler %' AND datname = current_database()"
        )
        status = fleet.driver.call("fleet", "status")
        codes = fleet.end()
    finally:
        with fleet.engine.connect() as conn:
            conn.execute(text(f"DROP OWNED BY {role}"))
            conn.execute(text(f"DROP ROLE {role}"))

    assert codes == [0], fleet.said()
    assert [row.usename for row in asked_by] == [role]
    assert "Evicted so far: 0" in status.stderr
    assert "permission denied" not in fleet.said()
