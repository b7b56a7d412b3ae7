"""What `crawler fleet status` tells, and the metrics of a fleet: workers, ticks, the queue, the age of knowledge."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from crawler.db import outbox, runs, workers
from crawler.db.types import from_micros
from crawler.db.workers import EVICTIONS, FENCES_LOST, WorkerState
from crawler.domain.models import iso_utc
from crawler.domain.rows import JsonRow
from crawler.fleet import queue as job_queue
from crawler.ops.metrics import Metric

#: How many ticks are told of.
TICKS = 5

_TICKS = text(
    """
    SELECT tick, count(DISTINCT account_id) FILTER (WHERE finished_at IS NOT NULL AND status <> 'interrupted') AS done,
        max(started_at - tick) AS late
    FROM (SELECT tick, account_id, started_at, finished_at, status FROM runs ORDER BY id DESC LIMIT :newest) AS r
    WHERE tick IS NOT NULL GROUP BY tick ORDER BY tick DESC LIMIT :ticks
    """
)
_CONNECTIONS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'crawler%'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TickState(JsonRow):
    """How a tick went: accounts that are due in each, those done, and how long after it the last of them began."""

    tick: datetime
    due: int
    done: int
    late_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetState:
    """A fleet at a moment."""

    at: datetime
    #: Who had it rest, and when; empty: it works.
    drained: str
    workers: tuple[WorkerState, ...]
    ticks: tuple[TickState, ...]
    #: Jobs by state: due, later, doing, failed.
    queue: dict[str, int]
    #: How long ago each account was last observed whole, in seconds, the oldest last.
    ages: tuple[float, ...]
    #: Accounts that never were.
    never: int
    connections: int
    #: Name, requests per second allowed now, and those of the configuration.
    budgets: tuple[tuple[str, float, float], ...]
    evictions: int
    fences_lost: int
    #: Reports that wait to be told, and recipients to whom one was sent in vain.
    outbox: int
    undelivered: int

    def age(self, part: float) -> float | None:
        """Return the age that such a part of the accounts do not exceed, in seconds; None: none was ever observed."""
        return self.ages[min(len(self.ages) - 1, int(part * len(self.ages)))] if self.ages else None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON."""
        return {
            "at": iso_utc(self.at),
            "drained": self.drained or None,
            "workers": [one.as_dict() for one in self.workers],
            "ticks": [one.as_dict() for one in self.ticks],
            "queue": self.queue,
            "oldest_observation": {
                "p50_seconds": self.age(0.5),
                "p99_seconds": self.age(0.99),
                "max_seconds": self.age(1),
                "never_observed_accounts": self.never,
            },
            "connections": self.connections,
            "budgets": [
                {"name": name, "rate_in_use": rate, "rate": configured} for name, rate, configured in self.budgets
            ],
            "evictions": self.evictions,
            "fences_lost": self.fences_lost,
            "outbox": self.outbox,
            "undelivered_recipients": self.undelivered,
        }


def fleet_state(conn: Connection, accounts: Collection[str], *, silent_after: timedelta) -> FleetState:
    """Return how the fleet of these *accounts* is; a worker that was not heard of for *silent_after* is told so."""
    moment = workers.now(conn)
    seen = runs.last_successes(conn, accounts)
    rows = conn.execute(_TICKS, {"newest": (TICKS + 1) * max(1, len(accounts)), "ticks": TICKS})
    budgets = conn.execute(text("SELECT name, rate, configured, period FROM budgets ORDER BY name"))
    counted = workers.counts(conn)
    waiting, undelivered = outbox.backlog(conn)
    return FleetState(
        at=moment,
        drained=workers.drained(conn),
        workers=tuple(workers.workers(conn, silent_after=silent_after)),
        ticks=tuple(
            TickState(
                tick=from_micros(row.tick), due=len(accounts), done=row.done, late_seconds=round(row.late / 1e6, 1)
            )
            for row in rows
        ),
        queue=job_queue.counts(conn),
        ages=tuple(sorted(round((moment - one).total_seconds(), 1) for one in seen.values())),
        never=len(accounts) - len(seen),
        connections=conn.execute(_CONNECTIONS).scalar_one(),
        budgets=tuple((row.name, row.rate / row.period, row.configured / row.period) for row in budgets),
        evictions=counted[EVICTIONS],
        fences_lost=counted[FENCES_LOST],
        outbox=waiting,
        undelivered=undelivered,
    )


def metrics(state: FleetState) -> list[Metric]:
    """Return what Prometheus is told."""
    states = dict.fromkeys(("alive", "silent", "gone"), 0.0)
    for one in state.workers:
        states[one.state] += 1
    late = [one.late_seconds for one in state.ticks[:1]]
    oldest = state.age(1)
    return [
        Metric("fleet_workers", "Workers by state.", [({"state": name}, count) for name, count in states.items()]),
        Metric("fleet_jobs", "Jobs by state.", [({"state": name}, float(one)) for name, one in state.queue.items()]),
        Metric(
            "fleet_tick_late_seconds",
            "How long after the newest tick its last account began.",
            [({}, one) for one in late],
        ),
        Metric(
            "fleet_oldest_observation_seconds",
            "Age of the last whole run of the account that was observed longest ago.",
            [] if oldest is None else [({}, oldest)],
        ),
        Metric("fleet_never_observed_accounts", "Accounts that were never observed whole.", [({}, float(state.never))]),
        Metric("fleet_evictions_total", "Workers that were evicted.", [({}, float(state.evictions))], "counter"),
        Metric("fleet_fence_lost_total", "Runs that lost their lock.", [({}, float(state.fences_lost))], "counter"),
        Metric(
            "fleet_rate_in_use",
            "Requests per second that a shared budget allows now.",
            [({"budget": name}, rate) for name, rate, _ in state.budgets],
        ),
        Metric("fleet_outbox_depth", "Reports that wait to be told.", [({}, float(state.outbox))]),
        Metric(
            "fleet_undelivered_recipients",
            "Recipients to whom a report was sent in vain, and who have not got it yet.",
            [({}, float(state.undelivered))],
        ),
        Metric("fleet_drained", "1 while the fleet rests.", [({}, float(bool(state.drained)))]),
    ]
