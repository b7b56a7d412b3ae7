"""
The workers of a fleet, as the database knows them: who lives, who is gone or stands still, and whether all shall rest.

All times are the server's. A worker says that it lives over the session that holds its locks, so a worker that is
alive here has them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Executable, delete, func, select, text

from crawler.db.runs import save_setting
from crawler.db.schema import Setting, WorkerRow
from crawler.db.types import from_micros, to_micros
from crawler.domain.rows import JsonRow

#: The setting that says which migrations of the queue's engine the database has: of this database, whatever history.
ENGINE = "fleet engine"
#: The setting that says since when and by whom the fleet is drained; empty where it is not.
DRAINED = "fleet drained"
#: Settings that count what happened to the fleet.
EVICTIONS, FENCES_LOST = "fleet evictions", "fleet fences lost"
#: The setting with the crawls that nobody seemed to work on.
SUSPECTS = "fleet suspects"

#: Within this a worker has heard that the fleet is drained, and said again what it crawls.
HEARD = timedelta(seconds=4)

_NOW = "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"
_LIVES = text(
    f"""
    INSERT INTO workers (id, host, pid, version, config, slots, in_flight, session, session_began, started_at, seen_at)
    VALUES (:id, :host, :pid, :version, :config, :slots, :in_flight, pg_backend_pid(),
        (SELECT CAST(extract(epoch FROM backend_start) * 1000000 AS bigint) FROM pg_stat_activity
            WHERE pid = pg_backend_pid()), {_NOW}, {_NOW})
    ON CONFLICT (id) DO UPDATE SET in_flight = excluded.in_flight, session = excluded.session,
        session_began = excluded.session_began, seen_at = excluded.seen_at
    RETURNING seen_at, (SELECT value FROM settings WHERE name = '{DRAINED}') AS drained
    """  # noqa: S608 - constants
)
# Its pool as well: a transaction that stands still keeps others from what it has written.
_END = text(
    """
    SELECT w.id, count(pg_terminate_backend(a.pid)) AS sessions
    FROM workers AS w JOIN pg_stat_activity AS a ON a.datname = current_database() AND (
        a.application_name = 'crawler worker ' || w.id OR (a.pid = w.session
        AND CAST(extract(epoch FROM a.backend_start) * 1000000 AS bigint) = w.session_began))
    WHERE w.id = ANY(:ids) GROUP BY w.id
    """
)
_COUNT = text(
    """
    INSERT INTO settings (name, value) VALUES (:name, CAST(:more AS text))
    ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(settings.value AS bigint) + :more AS text)
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Myself:
    """What a worker says of itself."""

    id: str
    host: str
    pid: int
    version: str
    config: str
    slots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState(JsonRow):
    """A worker as others see it."""

    worker: str
    host: str
    pid: int
    version: str
    config: str
    slots: int
    in_flight: int
    started_at: datetime
    seen_at: datetime
    #: alive | silent (not heard of for too long) | gone (its session is)
    state: str


def application_name(worker_id: str) -> str:
    """Return the name of the sessions of a worker's pool."""
    return f"crawler worker {worker_id}"


def lives(me: Myself, in_flight: int) -> tuple[Executable, Mapping[str, Any]]:
    """Return the statement with which a worker says that it lives, and learns the time and whether it shall rest."""
    return _LIVES, {**asdict(me), "in_flight": in_flight}


def heard(row: Any) -> tuple[datetime, bool]:
    """Return the server's time, and whether the fleet is drained, from the row of `lives`."""
    return from_micros(row.seen_at), bool(row.drained)


def forget(conn: Connection, worker_id: str) -> None:
    """Remove a worker that leaves."""
    conn.execute(delete(WorkerRow).where(WorkerRow.id == worker_id))


def now(conn: Connection) -> datetime:
    """Return the server's time."""
    moment: datetime = conn.execute(select(func.clock_timestamp())).scalar_one()
    return moment


def workers(conn: Connection, *, silent_after: timedelta) -> list[WorkerState]:
    """Return every worker that is not forgotten, by host and process."""
    return [one for one, _ in _seen(conn, silent_after)]


def _seen(conn: Connection, silent_after: timedelta) -> Iterator[tuple[WorkerState, bool]]:
    """Yield the workers, each with whether its session is of a role whose sessions this one may look into, and end."""
    moment = now(conn)
    sessions = text(
        "SELECT pid, CAST(extract(epoch FROM backend_start) * 1000000 AS bigint) AS began FROM pg_stat_activity"
    )
    began = {row.pid: row.began for row in conn.execute(sessions)}
    table: Any = WorkerRow.__table__
    for row in conn.execute(select(table).order_by(table.c.host, table.c.pid, table.c.started_at)):
        state = "silent" if moment - row.seen_at > silent_after else "alive"
        is_open = began.get(row.session) is not None
        # PostgreSQL tells nobody when the sessions of other roles began
        if row.session not in began or (is_open and began[row.session] != to_micros(row.session_began)):
            state = "gone"
        one = WorkerState(
            worker=row.id,
            host=row.host,
            pid=row.pid,
            version=row.version,
            config=row.config,
            slots=row.slots,
            in_flight=row.in_flight,
            started_at=row.started_at,
            seen_at=row.seen_at,
            state=state,
        )
        yield one, is_open


def evict(conn: Connection, ids: list[str]) -> int:
    """End all sessions of these workers, so that their accounts are free; count the workers that had any."""
    ended = len(conn.execute(_END, {"ids": ids}).all()) if ids else 0
    if ended:
        count(conn, EVICTIONS, ended)
    return ended


def evict_silent(conn: Connection, *, silent_after: timedelta) -> int:
    """Evict every worker whose session lives though nobody has heard of it, as far as this role may; count them."""
    silent = [one.worker for one, is_open in _seen(conn, silent_after) if one.state == "silent" and is_open]
    return evict(conn, silent)


def forget_gone(conn: Connection, *, before: datetime) -> None:
    """Remove workers that nobody has heard of since *before*."""
    conn.execute(delete(WorkerRow).where(WorkerRow.seen_at < before))


def count(conn: Connection, name: str, more: int = 1) -> None:
    """Count *more* of what happened to the fleet."""
    conn.execute(_COUNT, {"name": name, "more": more})


def counts(conn: Connection) -> dict[str, int]:
    """Return what was counted of evictions and lost fences."""
    rows = conn.execute(select(Setting.name, Setting.value).where(Setting.name.in_((EVICTIONS, FENCES_LOST))))
    return {EVICTIONS: 0, FENCES_LOST: 0} | {row.name: int(row.value) for row in rows}


def suspected(conn: Connection, job_ids: Collection[int]) -> set[int]:
    """Return the jobs that nobody seemed to work on at the last look of any worker, and keep those of this one."""
    before = conn.execute(select(Setting.value).where(Setting.name == SUSPECTS)).scalar() or ""
    save_setting(conn, SUSPECTS, " ".join(map(str, sorted(job_ids))))
    return {int(number) for number in before.split()}


# --- at rest ---------------------------------------------------------------------------------------------------------


def drain(conn: Connection, reason: str) -> datetime:
    """Have no worker take a job from now on; give the server's time."""
    save_setting(conn, DRAINED, reason)
    return now(conn)


def resume(conn: Connection) -> None:
    """Have the workers take jobs again."""
    save_setting(conn, DRAINED, "")


def drained(conn: Connection) -> str:
    """Return who drained the fleet and when, as it was said; empty where nobody did."""
    return conn.execute(select(Setting.value).where(Setting.name == DRAINED)).scalar() or ""


def busy(found: list[WorkerState], since: datetime) -> Iterator[WorkerState]:
    """Yield those that may still crawl something, though the fleet is drained *since* then: they hear of it late."""
    return (one for one in found if one.state != "gone" and (one.in_flight or one.seen_at < since + HEARD))
