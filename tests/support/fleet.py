"""Worker processes, as an operator starts, kills, stops and counts them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from crawler.db.locks.postgresql import _SENDER as SENDER
from crawler.db.locks.postgresql import holders
from crawler.emulator import EmulatorServer, run_in_thread
from tests.support.driving import ASKED, Driver, account, asked
from tests.support.house import ROOT
from tests.support.worlds import make_timeline

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
if skew:
    context.datetime = Clock
from crawler.cli import main
main()
"""


@dataclass
class Fleet:
    """A fleet on one PostgreSQL and one emulated cloud; account N asks for project org-N alone."""

    driver: Driver
    cloud: EmulatorServer
    engine: Engine
    workers: list[subprocess.Popen[str]] = field(default_factory=list)

    def configure(self, accounts: int, *, every: str, rate: float = 1000, is_known: bool = False, **more: Any) -> None:
        """Write the configuration, and make the tables for jobs; *is_known* has every account run once, in one tick."""
        names = [f"account-{number}" for number in range(accounts)]
        tables = [account(self.cloud.url, name, projects=[f"org-{number}"]) for number, name in enumerate(names)]
        limits = {"rate": rate, **more.pop("limits", {})}
        fleet = {"every": every, **more.pop("fleet", {})}
        self.driver.configure(*tables, fleet=fleet, limits=limits | {"rate": 1000}, **more)
        self.driver.call("db", "upgrade")
        tick = f"SELECT floor(extract(epoch FROM clock_timestamp()) / {every.removesuffix('s')})"
        while is_known:
            before = self.value(tick)
            self.driver.call("run")
            is_known = self.value(tick) != before  # else some are still due in the newer tick, and some are not
        self.driver.configure(*tables, fleet=fleet, limits=limits, **more)

    def start(self, count: int = 1, *, slots: int = 8, skew: float = 0, program: Sequence[str] = ()) -> None:
        """Start workers, on hosts whose clocks are *skew* seconds fast, or of another *program*."""
        for _ in range(count):
            log = (self.driver.folder / f"worker-{len(self.workers)}.log").open("w")
            command = [*(program or (sys.executable, "-c", SKEWED, str(skew))), "--config", str(self.driver.config)]
            command += ["worker", "--slots", str(slots)]
            self.workers.append(subprocess.Popen(command, stderr=log, stdout=log, text=True, cwd=ROOT))
            log.close()

    def end(self, *, timeout: float = 30) -> list[int]:
        """End all workers by SIGTERM; give their exit codes."""
        for process in self.workers:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGTERM)
        return [process.wait(timeout) for process in self.workers]

    def said(self) -> str:
        """Return what all workers have said."""
        return "".join(path.read_text() for path in sorted(self.driver.folder.glob("worker-*.log")))

    def rows(self, query: str, **values: Any) -> list[Any]:
        """Ask the database."""
        with self.engine.connect() as conn:
            return list(conn.execute(text(query), values))

    def value(self, query: str, **values: Any) -> Any:
        """Ask the database for one value."""
        return self.rows(query, **values)[0][0]

    def wait(self, condition: Callable[[], Any], seconds: float) -> float:
        """Wait until *condition* holds; give how long that took."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < seconds, f"not within {seconds} s:\n{self.said()}\n{self.state()}"
            time.sleep(0.1)
        return time.monotonic() - began

    def state(self) -> dict[str, Any]:
        """Return what is going on, for the message of a failed assertion."""
        return {
            "runs": self.rows("SELECT status, count(*) FROM runs GROUP BY 1"),
            "jobs": self.rows("SELECT task_name, status, count(*) FROM crawler_jobs.procrastinate_jobs GROUP BY 1, 2"),
            "workers": self.rows("SELECT host, pid, in_flight, session FROM workers"),
        }

    def running(self) -> set[str]:
        """Return the accounts that a run is made of now."""
        return {
            row.name
            for row in self.rows(
                "SELECT a.name FROM runs AS r JOIN accounts AS a ON a.id = r.account_id WHERE r.status = 'running'"
            )
        }

    def complete(self, *, since: int = 0) -> set[str]:
        """Return the accounts of which a run after that of the number *since* is complete."""
        query = (
            "SELECT DISTINCT a.name FROM runs AS r JOIN accounts AS a ON a.id = r.account_id "
            "WHERE r.status = 'complete' AND r.id > :since"
        )
        return {row.name for row in self.rows(query, since=since)}

    def busiest(self, at_least: int, seconds: float = 40) -> tuple[subprocess.Popen[str], set[str]]:
        """Wait until a worker crawls so many accounts; give its process and the accounts."""
        query = (
            "SELECT w.pid, count(*) AS held FROM workers AS w JOIN pg_locks AS l ON l.pid = w.session "
            "WHERE l.locktype = 'advisory' AND l.mode = 'ExclusiveLock' GROUP BY 1 ORDER BY 2 DESC LIMIT 1"
        )

        def found() -> bool:
            rows[:] = self.rows(query)
            return bool(rows) and rows[0].held >= at_least and len(self.running()) >= at_least

        rows: list[Any] = []
        self.wait(found, seconds)
        return next(process for process in self.workers if process.pid == rows[0].pid), self.running()

    def held_by(self, process: subprocess.Popen[str]) -> set[str]:
        """Return the accounts whose locks the worker of *process* holds."""
        names = [one["name"] for one in self.driver.document["accounts"]]
        session = self.value("SELECT session FROM workers WHERE pid = :pid", pid=process.pid)
        with self.engine.connect() as conn:
            return {name for name, pid in holders(conn, names).items() if pid == session}

    def sender(self) -> subprocess.Popen[str]:
        """Return the process of the worker that sends reports now."""
        query = (
            "SELECT w.pid FROM workers AS w JOIN pg_locks AS l ON l.pid = w.session WHERE l.locktype = 'advisory' "
            "AND (CAST(l.classid AS bigint) << 32 | CAST(l.objid AS bigint)) = :key"
        )
        pid = self.value(query, key=SENDER)
        return next(process for process in self.workers if process.pid == pid)

    def now(self) -> int:
        """Return the time by PostgreSQL's clock, in microseconds since 1970, as the history keeps it."""
        return int(self.value("SELECT extract(epoch FROM clock_timestamp()) * 1000000"))

    def began_again(self, accounts: Collection[str], since: int) -> list[float]:
        """Return how many seconds after a moment a run of each of the *accounts* began; some may have none yet."""
        query = (
            "SELECT min(r.started_at) AS began FROM runs AS r JOIN accounts AS a ON a.id = r.account_id "
            "WHERE a.name = ANY(:names) AND r.started_at > :since GROUP BY a.id"
        )
        return [(row.began - since) / 1e6 for row in self.rows(query, names=sorted(accounts), since=since)]

    def last_run(self) -> int:
        """Return the number of the newest run."""
        return int(self.value("SELECT coalesce(max(id), 0) FROM runs"))

    def twice(self) -> list[Any]:
        """Return the accounts and ticks with more than one run that went to its end."""
        return self.rows(
            "SELECT account_id, tick, count(*) FROM runs WHERE status <> 'interrupted' AND finished_at IS NOT NULL "
            "AND tick IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1"
        )

    def overlaps(self) -> list[Any]:
        """Return the pairs of runs of one account that were made at the same time, as the database has it."""
        return self.rows(
            "SELECT a.id, b.id FROM runs AS a JOIN runs AS b ON a.account_id = b.account_id AND a.id < b.id "
            "AND b.started_at < a.finished_at AND a.started_at < b.finished_at"
        )

    def interleaved(self, zones: int) -> dict[str, list[str]]:
        """Return what the server was asked by project where a zone came again before all *zones* had come."""
        by_project: dict[str, list[str]] = defaultdict(list)
        for line in asked(self.cloud):
            by_project[line.project].append(line.zone)
        return {
            project: listed
            for project, listed in by_project.items()
            if any(len(set(part)) < len(part) for part in portions_of(listed, zones))
        }


def portions_of(listed: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Cut *listed* into parts of *size*."""
    return (listed[start : start + size] for start in range(0, len(listed), size))


def most_in_a_second(moments: Sequence[float]) -> int:
    """Return how many of the sorted *moments* lie within one second, at most."""
    first, most = 0, 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - 1:
            first += 1
        most = max(most, last - first + 1)
    return most


@contextmanager
def made_fleet(folder: Path, url: str, *, zones: int = 4, projects: int = 12, **more: Any) -> Iterator[Fleet]:
    """Make a fleet without workers for a block; they are ended after it."""
    images = {f"hk-{zone:02}": {f"uimage-{n}": f"Image {n}" for n in range(4)} for zone in range(zones)}
    names = [f"org-{number}" for number in range(projects)]
    engine = create_engine(
        url.replace("postgresql", "postgresql+psycopg", 1), isolation_level="AUTOCOMMIT", poolclass=NullPool
    )
    with run_in_thread(make_timeline(zones=images, projects=names, **more)) as cloud:
        fleet = Fleet(Driver(folder, url), cloud, engine)
        try:
            yield fleet
        finally:
            for process in fleet.workers:
                if process.poll() is None:
                    process.kill()
                    process.wait()


__all__ = ["ASKED", "Counter", "Fleet", "Mapping", "made_fleet", "most_in_a_second"]
