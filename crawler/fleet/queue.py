"""
The queue that delivers a fleet's jobs: Procrastinate, in a schema of its own beside the history. Known to this file
alone.

What is used of it is small: jobs with a name, a key and a time, of which one per key waits and one per key is worked
on. Its retries, its locks as a fence, its listening and its own schedule are not used: a retry collides with a waiting
job of its key and then stays for ever, the lock has no owner, a lost listener ends a worker, and its schedule goes by
the host's clock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib import metadata, util
from typing import Any

from sqlalchemy import Connection, Engine, text

from crawler.db.engine import SILENCE_SECONDS, address_of, begin, connect_options, is_sqlite, read
from crawler.db.runs import save_setting
from crawler.db.url import parse_address
from crawler.db.workers import ENGINE
from crawler.errors import DatabaseUnavailable, SchemaMismatch, UsageError

logger = logging.getLogger(__name__)

SCHEMA = "crawler_jobs"
MISSING = (
    "Workers need the queue Procrastinate: install it with `pip install 'ucloud-image-crawler[fleet]'`, "
    "then run `crawler db upgrade`."
)
#: How often is looked for jobs, and how often the engine notes that a worker lives.
POLL_SECONDS = 1.0
HEARTBEAT_SECONDS = 2.0
#: Rows of workers stay so long, for the sweep to know whose jobs those were.
FORGOTTEN_SECONDS = 3600.0
#: A restart of PostgreSQL may take so long.
POOL_SECONDS = 90.0
#: Connections of a worker for its queue.
CONNECTIONS = 4
#: Jobs that are added by one statement.
BATCH = 1000
#: So many new jobs change what PostgreSQL has to know of the table.
MANY = 100
#: Any fixed number, so that two upgrades wait for each other.
_INSTALL_LOCK = 7305463285920913

Handler = Callable[..., Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetJob:
    """Something to be done: one of a *key* at a time, and one more may wait."""

    task: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    #: None: any number may wait.
    key: str | None = None
    #: Nobody works on it while another of its key is worked on.
    is_alone: bool = False
    #: Not before; by the server's clock. None: at once.
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """A job that is being worked on, or was by somebody who is dead."""

    id: int
    task: str
    arguments: Mapping[str, Any]
    #: Since it was begun.
    age_seconds: float
    #: The engine has not heard of its worker for so long; None: it knows none.
    silent_seconds: float | None


# --- its tables ------------------------------------------------------------------------------------------------------


def is_there() -> bool:
    """Return whether the extra `fleet` is installed."""
    return util.find_spec("procrastinate") is not None and util.find_spec("psycopg_pool") is not None


def newest() -> str:
    """Return the last of the engine's own migrations that this installation has; raise UsageError without the extra."""
    return _migrations()[-1].removesuffix(".sql")


def _migrations() -> list[str]:
    if not is_there():
        raise UsageError(MISSING)
    from importlib.resources import files

    folder = files("procrastinate.sql").joinpath("migrations")
    return sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))


def installed(conn: Connection) -> str | None:
    """Return the last of the engine's migrations that the database has; None: it has no tables for jobs."""
    if is_sqlite(conn) or conn.execute(text(f"SELECT to_regclass('{SCHEMA}.procrastinate_jobs')")).scalar() is None:
        return None
    return conn.execute(text("SELECT value FROM settings WHERE name = :name"), {"name": ENGINE}).scalar() or ""


def install(engine: Engine) -> str | None:
    """
    Make the engine's tables, or bring them to this installation's; give what was reached, None where nothing was to do.

    Raises SchemaMismatch where a newer engine made them, DatabaseUnavailable where those of another history are there.
    """
    if is_sqlite(engine) or not is_there():
        return None
    from importlib.resources import files

    sql = files("procrastinate.sql")
    with begin(engine) as conn:
        conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _INSTALL_LOCK})
        found = installed(conn)
        if found is not None and found > newest():
            raise SchemaMismatch(_newer(engine, found))
        if not found and found is not None:
            raise DatabaseUnavailable(
                f"The schema {SCHEMA} of the database {address_of(engine)} has the jobs of another history: give this "
                "one a database of its own. Where there is no other history, drop that schema first."
            )
        if found == newest():
            return None
        if found is None:
            scripts = [sql.joinpath("schema.sql")]
            conn.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        else:
            scripts = [sql.joinpath("migrations", name) for name in _migrations() if name.removesuffix(".sql") > found]
        conn.execute(text(f"SET LOCAL search_path = {SCHEMA}"))
        for script in scripts:
            _execute_script(conn, script.read_text(encoding="utf-8"))
        conn.execute(text("RESET search_path"))
        save_setting(conn, ENGINE, newest())
    return newest()


def _execute_script(conn: Connection, script: str) -> None:
    driver: Any = conn.connection.driver_connection
    with driver.cursor() as cursor:
        cursor.execute(script)  # without parameters, so a per cent sign is one


def _newer(engine: Engine, found: str) -> str:
    return (
        f"The tables for jobs in the database {address_of(engine)} are those of a newer Procrastinate ({found}); "
        f"{metadata.version('procrastinate')} is installed here. Upgrade this installation."
    )


def ensure(engine: Engine) -> None:
    """Raise UsageError without the extra, SchemaMismatch where the tables are not those of this installation."""
    if not is_there():
        raise UsageError(MISSING)
    with read(engine) as conn:
        found = installed(conn)
    if found is None or found < newest():
        state = "no tables for jobs yet" if found is None else "the tables for jobs of an older Procrastinate"
        raise SchemaMismatch(f"The database {address_of(engine)} has {state}: run `crawler db upgrade` once.")
    if found > newest():
        raise SchemaMismatch(_newer(engine, found))


def counts(conn: Connection) -> dict[str, int]:
    """Return how many jobs there are by their state: those that are due, wait for their time, are worked on, failed."""
    statement = text(
        f"""
        SELECT CASE WHEN status <> 'todo' THEN CAST(status AS text)
            WHEN scheduled_at > clock_timestamp() THEN 'later' ELSE 'due' END AS state, count(*) AS jobs
        FROM {SCHEMA}.procrastinate_jobs GROUP BY 1
        """  # noqa: S608 - a constant
    )
    found = {"due": 0, "later": 0, "doing": 0, "failed": 0}
    return found | {row.state: row.jobs for row in conn.execute(statement)} if installed(conn) is not None else found


# --- its jobs --------------------------------------------------------------------------------------------------------


class Queue:
    """The queue of one process; its methods raise DatabaseUnavailable."""

    def __init__(self, app: Any, database: str) -> None:
        self._app = app
        self._database = database

    async def add(self, job: FleetJob) -> bool:
        """Add *job*; give False where one of its key waits already."""
        from procrastinate.exceptions import AlreadyEnqueued

        with _told(self._database):
            try:
                await self._configured(job).defer_async(**job.arguments)
            except AlreadyEnqueued:
                return False
        return True

    async def add_all(self, jobs: Sequence[FleetJob]) -> int:
        """Add those of which none of their key waits, in their order; count them."""
        waiting = await self._keys_waiting()
        new = [job for job in jobs if job.key is None or job.key not in waiting]
        added = 0
        for start in range(0, len(new), BATCH):
            added += await self._add_batch(new[start : start + BATCH])
        if added >= MANY:
            # else the plan for taking one goes by the empty table of before, and looks at every job for each: at 3,000
            # that is 350 ms a job instead of 0.6, until the server looks by itself
            with _told(self._database):
                await self._app.connector.execute_query_async("ANALYZE procrastinate_jobs")
        return added

    async def _add_batch(self, jobs: Sequence[FleetJob]) -> int:
        from procrastinate.exceptions import AlreadyEnqueued

        with _told(self._database):
            try:
                await self._app.job_manager.batch_defer_jobs_async(
                    jobs=[self._configured(job).job.evolve(task_kwargs=dict(job.arguments)) for job in jobs]
                )
                return len(jobs)
            except AlreadyEnqueued:  # somebody added one meanwhile
                return sum([await self.add(job) for job in jobs])

    async def add_once(self, job: FleetJob, moment: int) -> bool:
        """Add *job* for a *moment* (seconds since 1970), of which one is ever added; give whether this one was."""
        from procrastinate.exceptions import AlreadyEnqueued

        arguments = {**job.arguments, "timestamp": moment}
        with _told(self._database):
            try:
                added = await self._app.job_manager.defer_periodic_job(
                    job=self._configured(job).job.evolve(task_kwargs=arguments),
                    periodic_id="",
                    defer_timestamp=moment,
                )
            except AlreadyEnqueued:
                return False
        return added is not None

    async def pending(self, task: str, **arguments: Any) -> int:
        """Count the jobs of *task* that wait or are worked on, of those with these *arguments*."""
        [row] = await self._rows(
            "SELECT count(*) AS jobs FROM procrastinate_jobs "
            "WHERE status IN ('todo', 'doing') AND task_name = %(task)s AND args @> %(arguments)s::jsonb",
            task=task,
            arguments=arguments,
        )
        return int(row["jobs"])

    async def doing(self) -> list[Doing]:
        """Return what is being worked on, or was by somebody who is dead."""
        rows = await self._rows(
            "SELECT j.id, j.task_name, j.args, extract(epoch FROM clock_timestamp() - max(e.at))::float AS age, "
            "extract(epoch FROM clock_timestamp() - max(w.last_heartbeat))::float AS silent "
            "FROM procrastinate_jobs AS j LEFT JOIN procrastinate_workers AS w ON w.id = j.worker_id "
            "LEFT JOIN procrastinate_events AS e ON e.job_id = j.id AND e.type = 'started' "
            "WHERE j.status = 'doing' GROUP BY j.id"
        )
        return [
            Doing(
                id=row["id"],
                task=row["task_name"],
                arguments=row["args"],
                age_seconds=row["age"] or 0.0,
                silent_seconds=row["silent"],
            )
            for row in rows
        ]

    async def hasten(self, key: str, seconds: float) -> None:
        """Have the job of *key* that waits be due in so many seconds from now, where it is due later."""
        query = (
            "UPDATE procrastinate_jobs SET scheduled_at = clock_timestamp() + make_interval(secs => %(seconds)s) "
            "WHERE queueing_lock = %(key)s AND status = 'todo' "
            "AND scheduled_at > clock_timestamp() + make_interval(secs => %(seconds)s) RETURNING id"
        )
        await self._rows(query, key=key, seconds=seconds)

    async def bury(self, job_id: int) -> bool:
        """Remove a job that nobody works on any more; give False where it has just ended."""
        query = "DELETE FROM procrastinate_jobs WHERE id = %(job)s AND status = 'doing' RETURNING id"
        return bool(await self._rows(query, job=job_id))

    async def tidy(self, hours: int) -> None:
        """Remove what ended so long ago."""
        with _told(self._database):
            await self._app.job_manager.delete_old_jobs(
                nb_hours=hours, include_failed=True, include_cancelled=True, include_aborted=True
            )

    async def work(self, queue: str, slots: int) -> None:
        """
        Do the jobs of *queue*, so many at a time, until cancelled; then take nothing new, and wait for what runs.

        A database that cannot be reached is waited for.
        """
        while True:
            try:
                await self._app.run_worker_async(
                    queues=[queue],
                    name=queue,
                    concurrency=slots,
                    install_signal_handlers=False,
                    listen_notify=False,
                    fetch_job_polling_interval=POLL_SECONDS,
                    delete_jobs="successful",
                    update_heartbeat_interval=HEARTBEAT_SECONDS,
                    stalled_worker_timeout=FORGOTTEN_SECONDS,
                )
            except Exception as exc:  # noqa: BLE001 - whatever the engine left for, the fleet goes on
                logger.info("the queue %s is taken up again: %s", queue, exc)
            await asyncio.sleep(POLL_SECONDS)

    async def _keys_waiting(self) -> set[str]:
        query = "SELECT queueing_lock FROM procrastinate_jobs WHERE status = 'todo' AND queueing_lock IS NOT NULL"
        return {row["queueing_lock"] for row in await self._rows(query)}

    async def _rows(self, query: Any, **arguments: Any) -> list[dict[str, Any]]:
        with _told(self._database):
            rows: list[dict[str, Any]] = await self._app.connector.execute_query_all_async(query, **arguments)
        return rows

    def _configured(self, job: FleetJob) -> Any:
        return self._app.tasks[job.task].configure(
            lock=job.key if job.is_alone else None, queueing_lock=job.key, schedule_at=job.at
        )


@asynccontextmanager
async def opened_queue(
    url: str, handlers: Mapping[str, Mapping[str, Handler]], *, application_name: str
) -> AsyncIterator[Queue]:
    """
    Open the queue at *url* for a block; *handlers* by queue and task. A handler raises nothing.

    Raises DatabaseUnavailable.
    """
    from procrastinate import App, PsycopgConnector
    from psycopg import AsyncConnection

    async def configure(connection: AsyncConnection[Any]) -> None:
        # not as a start-up option: connection poolers refuse those
        await connection.execute(f"SET search_path = {SCHEMA}")
        await connection.execute("SET statement_timeout = '60s'")
        await connection.commit()

    app = App(
        connector=PsycopgConnector(
            conninfo=_conninfo(url),
            kwargs={
                "application_name": application_name,
                "client_encoding": "UTF8",
                "connect_timeout": 10,
                "keepalives_idle": 20,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": SILENCE_SECONDS * 1000,
            },
            configure=configure,
            min_size=1,
            max_size=CONNECTIONS,
            timeout=POOL_SECONDS,
        )
    )
    for queue, tasks in handlers.items():
        for name, handler in tasks.items():
            app.task(name=name, queue=queue)(handler)
    for name in ("procrastinate", "psycopg.pool"):  # what happens to jobs is told by those who do them
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with _told(url):
        await app.open_async()
    try:
        yield Queue(app, url)
    finally:
        await app.close_async()


def _conninfo(url: str) -> str:
    # an address for SQLAlchemy is not always one for libpq: several hosts, blanks in a password or an option
    from psycopg.conninfo import make_conninfo

    return make_conninfo(**connect_options(parse_address(url)))


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Turn what the engine or the driver raises for a database that cannot be used into DatabaseUnavailable."""
    from procrastinate.exceptions import ConnectorException
    from psycopg import Error
    from psycopg_pool import PoolTimeout

    try:
        yield
    except (ConnectorException, Error, PoolTimeout) as exc:
        cause = type(exc.__cause__ or exc).__name__
        raise DatabaseUnavailable(
            f"The jobs in the database {parse_address(url)} cannot be reached ({cause})."
        ) from exc
