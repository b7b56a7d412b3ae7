"""What a fleet costs as it grows: its queue, its jobs, and what one account costs beside ten thousand others."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from crawler.db import runs
from crawler.db.engine import begin, opened, read
from crawler.db.types import to_micros
from crawler.domain.filters import Filters
from crawler.fleet import queue as job_queue
from crawler.fleet.queue import opened_queue
from crawler.fleet.status import fleet_state
from crawler.fleet.tasks import Tasks, crawl_job
from crawler.queries import images
from tests.benchmarks.test_accounts import best, fill, fill_with_images
from tests.support.figures import Figures
from tests.support.fleet import Fleet, made_fleet

pytestmark = [pytest.mark.prove, pytest.mark.filterwarnings("ignore::ResourceWarning")]

ROW = "many accounts"
ACCOUNTS = 10_000
#: Targets of one account beside the others.
OWN = list(range(1, 201))
#: Jobs that find their account crawled since the tick.
EMPTY = 3_000


def cpu_seconds(pid: int) -> float:
    """Return how much CPU a process and its threads have used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def waiting(fleet: Fleet) -> int:
    """Count the crawls that wait or are worked on."""
    return int(fleet.value("SELECT count(*) FROM crawler_jobs.procrastinate_jobs WHERE task_name = 'crawl'"))


async def added(url: str, names: list[str]) -> float:
    """Add a crawl of each account, all due; give how long that took, in seconds."""
    nothing: Any = SimpleNamespace(accounts=(), reports=(), fleet=SimpleNamespace(every=timedelta(minutes=15)))
    handlers = Tasks(
        nothing, nothing, holding=nothing, say=print, timing=nothing, throttle=nothing, is_resting=lambda: True
    ).handlers()
    async with opened_queue(url, handlers, application_name="crawler bench") as queue:
        began = time.perf_counter()
        assert await queue.add_all([crawl_job(name, 0) for name in names]) == len(names)
        return time.perf_counter() - began


@pytest.mark.parametrize("workers", [1, 2])
def test_empty_jobs(tmp_path: Path, postgres_url: str, workers: int, figures: Figures) -> None:
    """10,000 due accounts are added within 30 s, and 50 jobs a second go through that find their account crawled."""
    with made_fleet(tmp_path, postgres_url, zones=1) as fleet, opened(postgres_url) as engine:
        fleet.configure(EMPTY + 1, every="86400s")
        fill(engine, range(1, EMPTY + 1), 1)
        with begin(engine) as conn:  # the runs are those of today's tick
            now = to_micros(datetime.now(UTC))
            conn.execute(text("UPDATE runs SET started_at = :now, finished_at = :now"), {"now": now})
        many = asyncio.run(added(postgres_url, [f"other-{number}" for number in range(ACCOUNTS)]))
        with begin(engine) as conn:
            conn.execute(text(f"TRUNCATE {job_queue.SCHEMA}.procrastinate_jobs CASCADE"))
        asyncio.run(added(postgres_url, [f"account-{number}" for number in range(1, EMPTY + 1)]))
        fleet.start(workers, slots=16)
        fleet.wait(lambda: waiting(fleet) < 0.95 * EMPTY, 120)
        began, left, used = time.monotonic(), waiting(fleet), [cpu_seconds(one.pid) for one in fleet.workers]
        fleet.wait(lambda: waiting(fleet) < 0.05 * EMPTY, 300)
        done, seconds = left - waiting(fleet), time.monotonic() - began
        cpu = sum(cpu_seconds(one.pid) for one in fleet.workers) - sum(used)
        assert fleet.end(timeout=60) == [0] * workers
    case = f"{workers} worker(s) of 16 slots"
    figures.at_most(ROW, f"adding {ACCOUNTS:,} due accounts to the queue", many, 30, "s", case=case)
    figures.at_least(ROW, "jobs that find their account crawled", done / seconds, 50, "/s", case=case)
    figures.shown(ROW, "such a job, CPU", cpu / done * 1000, "ms", case=case)


def test_unchanged_jobs(tmp_path: Path, postgres_url: str, figures: Figures) -> None:
    """A job of 24 unchanged targets costs a worker at most 100 ms of CPU."""
    with made_fleet(tmp_path, postgres_url, zones=24, projects=50) as fleet:
        fleet.configure(50, every="10s", is_known=True)
        fleet.start(slots=16)
        finished = "SELECT count(*) FROM runs WHERE status = 'complete' AND tick IS NOT NULL"
        fleet.wait(lambda: fleet.value(finished) >= 50, 120)
        before, used = fleet.value(finished), cpu_seconds(fleet.workers[0].pid)
        fleet.wait(lambda: fleet.value(finished) >= before + 100, 120)
        cost = (cpu_seconds(fleet.workers[0].pid) - used) / (fleet.value(finished) - before)
        assert fleet.end(timeout=60) == [0]
    figures.at_most(ROW, "a job of 24 unchanged targets, CPU", cost * 1000, 100, "ms")


def test_beside_many_accounts(postgres_url: str, figures: Figures) -> None:
    """What a job and a tick ask of the database beside 10,000 accounts."""
    with opened(postgres_url) as engine:
        job_queue.install(engine)
        made = 0
        for accounts in (100, 1_000, ACCOUNTS):
            fill(engine, range(made + 1, accounts + 1), 1)
            made = accounts
            names = [f"account-{number}" for number in range(1, accounts + 1)]
            questions: dict[str, Callable[[Connection], object]] = {
                "whether an account is crawled since a tick": lambda conn: runs.is_made_since(
                    conn, "account-1", datetime.now(UTC)
                ),
                "the end of every account's last run, for a tick": lambda conn, names=names: runs.last_successes(  # type: ignore[misc]
                    conn, names
                ),
                "fleet status": lambda conn, names=names: fleet_state(  # type: ignore[misc]
                    conn, names, silent_after=timedelta(seconds=10)
                ),
            }
            for what, ask in questions.items():
                figures.shown(ROW, what, asked(engine, ask), "ms", case=f"{accounts:,} accounts")


def test_rows_of_many_accounts(postgres_url: str, figures: Figures) -> None:
    """How one account's questions, the sizes and the care of tables grow with everybody's intervals."""
    with opened(postgres_url) as engine:
        made = 0
        for accounts in (10, 100, 1_000):
            with begin(engine) as conn:
                conn.execute(text("TRUNCATE intervals, image_versions, exceptions CASCADE"))
            fill(engine, range(made + 1, accounts + 1), 200)
            fill_with_images(engine)
            made = accounts
            case = f"{accounts * 1_000:,} intervals"
            figures.shown(
                ROW,
                "planning 200 targets of one account",
                asked(engine, lambda conn: runs.plan(conn, OWN, [1])),
                "ms",
                case=case,
            )
            figures.shown(ROW, "images of one account's 200 targets", asked(engine, _images), "ms", case=case)
            figures.shown(ROW, "closing and opening 200 intervals", best(lambda: _change(engine)), "ms", case=case)
            began = time.perf_counter()
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
                conn.execute(text("VACUUM (FREEZE) intervals"))
            figures.shown(ROW, "vacuum of all intervals", time.perf_counter() - began, "s", case=case)
            with read(engine) as conn:
                for table in ("intervals", "targets", "runs", "scope_targets"):
                    size = text(f"SELECT pg_total_relation_size('{table}')::float / count(*) FROM {table}")
                    figures.shown(ROW, f"a row of {table}", conn.execute(size).scalar_one(), "B", case=case, minor=True)


def asked(engine: Engine, ask: Callable[[Connection], object]) -> float:
    """Return how long the database and the program take for a question, in milliseconds."""

    def look() -> None:
        with read(engine) as conn:
            ask(conn)

    return best(look)


def _images(conn: Connection) -> int:
    now = datetime.now(UTC)
    filters = Filters(account=("account-1",))
    return sum(1 for _ in images.images(conn, now, filters, now=now, stale_after=timedelta(days=999)))


def _change(engine: Engine) -> None:
    """Do to 200 intervals what changes of their images do, and take it back."""
    with engine.connect() as conn:
        conn.execute(text(f"UPDATE intervals SET valid_to = {_LATER} WHERE {_OWN}"))
        conn.execute(text(_AGAIN))
        conn.rollback()


_OWN = "target_id BETWEEN 1 AND 200 AND version_id = 1"
_LATER = to_micros(datetime(2026, 11, 3, tzinfo=UTC))
_AGAIN = (
    "INSERT INTO intervals (target_id, account_id, version_id, valid_from, valid_to, present_since, baseline, "
    f"opened_run_id) SELECT target_id, account_id, 2, {_LATER + 1}, {_LATER + 2}, present_since, false, opened_run_id "
    f"FROM intervals WHERE {_OWN}"
)
