"""What a whole run loads, opens and writes, by exact counts."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from crawler.config.models import Limits
from crawler.db.engine import opened, read
from crawler.db.locks import take_locks
from crawler.domain.models import Target
from crawler.queries import status
from tests.benchmarks.load_server import Offer, load_server
from tests.support.crawling import account_at, crawl_once, settings_for
from tests.support.modules import HEAVY, modules_of
from tests.support.processes import write_config
from tests.support.tally import tallied


def test_alembic_is_for_migrations(empty_sqlite_url: str, tmp_path: Path) -> None:
    """The run that makes the schema loads Alembic, the next one does not; neither loads the templates of mails."""
    config = tmp_path / "crawler.toml"
    with load_server(Offer(projects=1, zones=1, images=2)) as server:
        write_config(config, database=empty_sqlite_url, endpoint=server.url)
        first = modules_of("--config", config, "run")
        second = modules_of("--config", config, "run")

    assert HEAVY & first == {"aiohttp", "sqlalchemy", "alembic", "pydantic"}
    assert HEAVY & second == {"aiohttp", "sqlalchemy", "pydantic"}


def test_run_that_is_too_early(sqlite_url: str, tmp_path: Path) -> None:
    """The command that finds the lock taken leaves without network, database and migrations loaded."""
    config = tmp_path / "crawler.toml"
    write_config(config, database=sqlite_url, endpoint="http://127.0.0.1:9/")
    with take_locks(sqlite_url, ["prod"], clock=lambda: datetime.now(UTC)):
        loaded = modules_of("--config", config, "run", code=75)

    assert {"aiohttp", "sqlalchemy", "alembic", "jinja2"} & loaded == set()


@pytest.mark.parametrize("concurrency", [1, 3, 16])
def test_connections(sqlite_url: str, concurrency: int) -> None:
    """A run opens no more connections to its endpoint than it may have calls in flight, discovery included."""
    offer = Offer(projects=4, zones=12, images=2)
    limits = Limits(rate=5_000, attempts=2, timeout_seconds=30, concurrency=concurrency)
    with load_server(offer) as server, opened(sqlite_url) as engine:
        settings = settings_for(sqlite_url, account_at(server.url, limits=limits))
        summary = crawl_once(engine, settings, datetime.now(UTC)).summary
        seen = server.tally()

    assert summary.targets["ok"] == offer.targets
    assert seen.requests == offer.targets + 2
    assert seen.connections <= concurrency


def test_runs_that_are_cut_short_leave_nothing_out_for_ever(sqlite_url: str) -> None:
    """What a run did not reach is asked first by the next one: some that end after a third have seen everything."""
    offer = Offer(projects=3, zones=12, images=2)
    limits = Limits(rate=60, attempts=2, timeout_seconds=30, concurrency=1)
    at = datetime.now(UTC)
    seen: list[int] = []
    with load_server(offer) as server, opened(sqlite_url) as engine:
        settings = settings_for(sqlite_url, account_at(server.url, limits=limits))
        for number in range(6):
            loop, stop = asyncio.new_event_loop(), asyncio.Event()

            def cut(_target: Target, done: int, _total: int, loop: Any = loop, stop: asyncio.Event = stop) -> None:
                if done == offer.targets // 3:
                    loop.call_soon_threadsafe(stop.set)

            began = at + timedelta(hours=number)
            crawl_once(engine, settings, began, loop_factory=partial(iter([loop]).__next__), stop=stop, progress=cut)
            with read(engine) as conn:
                rows = status.status(conn, now=began + timedelta(minutes=30))
            seen.append(sum(row.last_ok_at is not None for row in rows))

    assert 0 < seen[0] < offer.targets
    assert seen[-1] == offer.targets


def test_unchanged_run(engine: Engine, database_url: str) -> None:
    """A whole run over 400 targets without changes inserts one row, updates four, in seven transactions, at most."""
    offer = Offer(projects=10, zones=40, images=2)
    now = datetime.now(UTC)
    with load_server(offer) as server:
        settings = settings_for(database_url, account_at(server.url))
        crawl_once(engine, settings, now)
        with tallied(engine) as tally:
            summary = crawl_once(engine, settings, now + timedelta(minutes=15)).summary

    assert (summary.targets["ok"], sum(summary.changes.values())) == (offer.targets, 0)
    assert tally.rows_of("INSERT", "DELETE") == tally.rows("INSERT", "INTO runs") == 1
    assert tally.rows_of("UPDATE") == tally.rows("UPDATE", "marks") + tally.rows("UPDATE", "runs")
    assert tally.rows_of("UPDATE") <= offer.targets / 100
    assert tally.transactions <= offer.targets / 100 + 3
