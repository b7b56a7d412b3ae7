"""`crawler fleet`: how the workers are, and having them rest, go on, or give up what they hold."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from crawler.cli.calling import user
from crawler.cli.context import CliContext, pass_cli
from crawler.cli.options import Number, SentenceGroup, table_options
from crawler.cli.output import emit, json_line, write_out
from crawler.cli.table import Column
from crawler.domain.text import agreeing, counted
from crawler.domain.timefmt import show_moment, zone_name
from crawler.errors import EmptySelection, LockTaken, UsageError

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from sqlalchemy import Engine

    from crawler.config.models import Settings
    from crawler.db.workers import WorkerState
    from crawler.fleet.status import FleetState

COLUMNS = (
    Column("host", "HOST"),
    Column("pid", "PID", kind="count"),
    Column("state", "STATE", kind="words"),
    Column("in_flight", "IN FLIGHT", kind="count"),
    Column("slots", "SLOTS", kind="count"),
    Column("version", "VERSION"),
    Column("config", "CONFIG"),
    Column("started_at", "STARTED", kind="time"),
    Column("seen_at", "SEEN", kind="time"),
)


@click.group(cls=SentenceGroup)
def fleet() -> None:
    """How the workers of a fleet are, and having them rest, go on, or give up what they hold."""


@fleet.command()
@click.option("--json", "as_json", is_flag=True, help="Print all of it as one JSON object.")
@table_options
@pass_cli
def status(context: CliContext, as_json: bool, fmt: str) -> None:
    """List the workers, and tell of the last ticks, the queue, and how long ago accounts were observed."""
    from crawler.db.engine import read
    from crawler.fleet.status import fleet_state

    settings = context.settings()
    with _database(settings) as engine, read(engine) as conn:
        names = [account.name for account in settings.accounts]
        found = fleet_state(conn, names, silent_after=settings.fleet.evict_after)
    if as_json:
        write_out([json_line(found.as_dict()), "\n"])
        return
    if not emit((one.as_dict() for one in found.workers), COLUMNS, fmt, zone=settings.timezone):
        context.say("There is no worker: start one with `crawler worker`.")
    for line in _told(found, settings.timezone):
        context.say(line)


def _told(found: FleetState, zone: tzinfo) -> Iterator[str]:
    if found.drained:
        yield f"Drained: {found.drained}; `crawler fleet resume` has the workers go on."
    for tick in found.ticks:
        done = f"{tick.done} of {tick.due} done, the last began {tick.late_seconds:.0f} s after it"
        yield f"Tick {show_moment(tick.tick, zone)} ({zone_name(zone)}): {done}."
    oldest, middle = found.age(1), found.age(0.5)
    if oldest is not None:
        yield f"Observed whole: half of the accounts within {middle:.0f} s, all within {oldest:.0f} s."
    if found.never:
        yield f"Never observed whole: {counted(found.never, 'account')}."
    jobs = ", ".join(f"{count} {name}" for name, count in found.queue.items())
    yield f"Jobs: {jobs}. Connections: {found.connections}. Evicted so far: {found.evictions}."
    if found.undelivered:
        yield f"Sent in vain so far: to {counted(found.undelivered, 'recipient')}; `crawler report list` says why."
    for name, rate, configured in found.budgets:
        yield f"Budget {name}: {rate:g} of {configured:g} {agreeing(configured, 'request')} per second."


@fleet.command()
@click.option(
    "--wait",
    "wait_seconds",
    type=Number(min=0),
    default=0,
    metavar="SECONDS",
    help="Wait so long for what runs to end; exit code 75 where something still does [default: no wait].",
)
@pass_cli
def drain(context: CliContext, wait_seconds: float) -> None:
    """Have no worker begin anything new; what runs goes on to its end."""
    from crawler.db import workers
    from crawler.db.engine import begin

    settings = context.settings()
    with _database(settings) as engine:
        with begin(engine) as conn:
            since = workers.drain(conn, said_of(context))
        busy = wait_for_rest(engine, settings, since, wait_seconds)
    if busy and wait_seconds:
        raise LockTaken(f"The fleet is drained, and {_count(busy)} still crawled.")
    context.say(f"The fleet is drained: {_count(busy)} still crawled." if busy else "The fleet is drained.")


@fleet.command()
@pass_cli
def resume(context: CliContext) -> None:
    """Have the workers go on."""
    from crawler.db import workers
    from crawler.db.engine import begin

    with _database(context.settings()) as engine, begin(engine) as conn:
        was = workers.drained(conn)
        workers.resume(conn)
    context.say("The fleet goes on." if was else "The fleet was not drained.")


@fleet.command()
@click.argument("worker", metavar="HOST:PID")
@pass_cli
def evict(context: CliContext, worker: str) -> None:
    """End the database sessions of a worker, so that others take its accounts at once; it begins anew if it lives."""
    from crawler.db import workers
    from crawler.db.engine import begin

    settings = context.settings()
    host, _, pid = worker.rpartition(":")
    if not (host and pid.isdecimal()):
        raise UsageError(f"{worker!r} is no HOST:PID, as `crawler fleet status` lists them.")
    with _database(settings) as engine, begin(engine) as conn:
        known = workers.workers(conn, silent_after=settings.fleet.evict_after)
        meant = [one for one in known if one.host == host and one.pid == int(pid)]
        if not meant:
            listed = ", ".join(f"{one.host}:{one.pid}" for one in known) or "none"
            raise EmptySelection(f"There is no worker {worker}; the workers are {listed}.")
        ended = workers.evict(conn, [one.worker for one in meant])
    context.say(f"{worker} is evicted." if ended else f"{worker} had no sessions any more.")


def said_of(context: CliContext) -> str:
    """Return who drains the fleet now, as it is kept."""
    return f"by {user()} on {socket.gethostname()} at {context.clock():%Y-%m-%dT%H:%M:%SZ}"


def wait_for_rest(engine: Engine, settings: Settings, since: datetime, seconds: float) -> list[WorkerState]:
    """Wait until no worker of a fleet drained *since* crawls anything; give those that may after so many seconds."""
    from crawler.db import workers
    from crawler.db.engine import begin, read

    deadline = time.monotonic() + seconds
    while True:
        with begin(engine) as conn:  # one that stands still would be waited for in vain
            workers.evict_silent(conn, silent_after=settings.fleet.evict_after)
        with read(engine) as conn:
            busy = list(workers.busy(workers.workers(conn, silent_after=settings.fleet.evict_after), since))
        if not busy or time.monotonic() >= deadline:
            return busy
        time.sleep(0.5)


def _count(busy: list[WorkerState]) -> str:
    accounts = sum(one.in_flight for one in busy)
    if not accounts:
        return f"{counted(len(busy), 'worker has', 'workers have')} not heard of it yet, nothing is"
    return counted(accounts, "account is", "accounts are")


@contextmanager
def _database(settings: Settings) -> Iterator[Engine]:
    from crawler.db.engine import is_sqlite, opened
    from crawler.db.migrations import ensure_schema

    with opened(settings.database) as engine:
        if is_sqlite(engine):
            raise UsageError(
                "A fleet shares a PostgreSQL database; the configuration has a SQLite file: set `database` to a "
                "postgresql:// URL."
            )
        ensure_schema(engine, may_upgrade=False)
        yield engine
