"""Worker processes on one PostgreSQL: each account once a tick, whatever becomes of its worker."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.support.acceptance_table import Proven
from tests.support.driving import asked
from tests.support.fleet import Fleet

ZONES = 24


@pytest.mark.parametrize(
    ("accounts", "workers", "ticks", "every"),
    [(12, 2, 2, "6s"), pytest.param(12, 3, 20, "10s", marks=pytest.mark.prove)],
)
def test_each_account_once_a_tick(fleet: Fleet, accounts: int, workers: int, ticks: int, every: str) -> None:
    """Several workers crawl every account exactly once in every tick, never two runs of one at a time."""
    fleet.configure(accounts, every=every)
    fleet.start(workers)
    whole = "SELECT tick FROM runs WHERE status = 'complete' GROUP BY tick HAVING count(*) >= :accounts"
    fleet.wait(lambda: len(fleet.rows(whole, accounts=accounts)) >= ticks, 30 + ticks * 12)
    connections = fleet.rows(
        "SELECT count(*) AS used FROM pg_stat_activity "
        "WHERE application_name LIKE 'crawler %' AND datname = current_database()"
    )
    codes = fleet.end()
    by_tick = fleet.rows("SELECT tick, count(*) AS runs, count(DISTINCT account_id) AS accounts FROM runs GROUP BY 1")

    assert codes == [0] * workers, fleet.said()
    assert fleet.twice() == []
    assert fleet.overlaps() == []
    assert fleet.interleaved(ZONES) == {}
    # the first and the last tick are cut: workers came, and went, in the middle of them
    assert {row.runs for row in sorted(by_tick, key=lambda row: row.tick)[1:-1]} <= {accounts}
    assert sum(row.used for row in connections) <= 12 * workers
    assert fleet.rows("SELECT status FROM crawler_jobs.procrastinate_jobs WHERE status <> 'todo'") == []
    assert fleet.rows("SELECT id FROM workers") == []
    assert [row.task for row in fleet.rows("SELECT DISTINCT 'failed' AS task FROM runs WHERE status = 'failed'")] == []


def test_killed_worker(fleet: Fleet, proven: Proven) -> None:
    """What a worker that is killed had begun is begun anew by others, and the history is that of one run each."""
    fleet.configure(12, every="40s", rate=2)
    fleet.start(3)
    victim, _ = fleet.busiest(4)
    query = (
        "SELECT r.account_id FROM runs AS r JOIN accounts AS a ON a.id = r.account_id WHERE r.finished_at IS NULL "
        "AND a.name = ANY(:held)"
    )
    held = fleet.held_by(victim)
    accounts = [row.account_id for row in fleet.rows(query, held=sorted(held))]
    victim.kill()
    victim.wait()
    again = "SELECT count(DISTINCT account_id) FROM runs WHERE account_id = ANY(:ids) AND status = 'interrupted'"
    seconds = fleet.wait(lambda: fleet.value(again, ids=accounts) == len(accounts), 60)
    fleet.wait(lambda: not fleet.running(), 60)
    codes = sorted(fleet.end())

    assert codes == [-9, 0, 0], fleet.said()
    assert fleet.overlaps() == []
    assert fleet.driver.call("db", "check").exit_code == 0
    seen = len(fleet.complete())
    assert fleet.value("SELECT count(*) FROM intervals") == seen * ZONES * 4
    proven("a killed worker's accounts run again within 15 s", f"{len(accounts)} after {seconds:.1f} s")


def test_worker_that_stands_still(fleet: Fleet) -> None:
    """A worker that stood still finds its accounts elsewhere: it writes nothing, and asks nothing for them."""
    fleet.configure(12, every="30s", rate=3)
    fleet.start(2)
    victim, _ = fleet.busiest(4)
    os.kill(victim.pid, signal.SIGSTOP)
    session = fleet.value("SELECT session FROM workers WHERE pid = :pid", pid=victim.pid)
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = :session"
    fleet.wait(lambda: not fleet.value(held, session=session), 45)
    fleet.wait(lambda: len(fleet.complete()) == 12, 60)
    fleet.driver.call("fleet", "drain", "--wait", "60")  # no tick shall come meanwhile
    runs, requests = fleet.last_run(), len(asked(fleet.cloud))
    os.kill(victim.pid, signal.SIGCONT)
    fleet.wait(lambda: "There is a session for the locks again." in fleet.said(), 20)
    time.sleep(1)

    assert fleet.overlaps() == []
    assert fleet.last_run() == runs, fleet.state()
    assert len(asked(fleet.cloud)) == requests
    assert "Another run took the lock" in fleet.said() or "is gone; nothing more is written" in fleet.said()
    assert fleet.driver.call("db", "check").exit_code == 0


def test_second_signal_ends_what_runs(fleet: Fleet) -> None:
    """At SIGTERM nothing new is begun and what runs goes on; at a second one it ends, and what was answered is kept."""
    fleet.configure(12, every="30s", rate=1)
    fleet.start()
    process, _ = fleet.busiest(3)
    process.send_signal(signal.SIGTERM)
    fleet.wait(lambda: "nothing new is begun" in fleet.said(), 10)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)

    assert process.wait(20) == 0, fleet.said()
    assert fleet.value("SELECT count(*) FROM runs WHERE skipped > 0") > 0
    assert fleet.value("SELECT count(*) FROM runs WHERE finished_at IS NULL") == 0


def test_rest_and_resume(fleet: Fleet) -> None:
    """A drained fleet ends what runs and begins nothing; `db upgrade --drain` has it rest and go on."""
    fleet.configure(12, every="10s", rate=20)
    fleet.start(2)
    fleet.busiest(1)
    drained = fleet.driver.call("fleet", "drain", "--wait", "60")
    runs = fleet.last_run()
    assert "The fleet is drained." in drained.stderr
    assert fleet.running() == set()
    time.sleep(3)
    assert fleet.last_run() == runs
    fleet.driver.call("fleet", "resume")
    fleet.wait(lambda: fleet.last_run() > runs, 30)
    upgraded = fleet.driver.call("db", "upgrade", "--drain")
    runs = fleet.last_run()
    fleet.wait(lambda: fleet.last_run() > runs, 30)

    assert "already" in upgraded.stdout
    assert fleet.end() == [0, 0], fleet.said()
    assert fleet.value("SELECT count(*) FROM runs WHERE status <> 'complete'") == 0
    assert fleet.value("SELECT count(*) FROM crawler_jobs.procrastinate_jobs WHERE status = 'failed'") == 0


def test_worker_of_an_older_version(fleet: Fleet) -> None:
    """A worker that rests while the schema is upgraded leaves with 74 when the fleet goes on; no job is lost."""
    fleet.configure(12, every="20s", rate=100)
    fleet.start(1)
    fleet.wait(lambda: "slots" in fleet.said() and fleet.rows("SELECT id FROM workers"), 30)
    fleet.driver.call("fleet", "drain", "--wait", "30")
    waiting = fleet.value("SELECT count(*) FROM crawler_jobs.procrastinate_jobs WHERE task_name = 'crawl'")
    (head,) = fleet.rows("SELECT version_num FROM alembic_version")
    change = "UPDATE alembic_version SET version_num = :to RETURNING version_num"
    fleet.rows(change, to="99990101_newer")
    fleet.rows("UPDATE settings SET value = '' WHERE name = 'fleet drained' RETURNING name")
    fleet.wait(lambda: fleet.workers[0].poll() is not None, 30)
    fleet.rows(change, to=head.version_num)
    fleet.start(1)
    fleet.wait(lambda: len(fleet.complete()) == 12, 90)

    assert fleet.workers[0].returncode == 74
    assert "a newer crawler wrote it" in fleet.said()
    assert waiting + len(fleet.complete()) >= 12
    assert fleet.twice() == []
