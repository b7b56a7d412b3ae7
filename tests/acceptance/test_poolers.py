"""Runs through a real PgBouncer: complete where a session is one, refused with a sentence where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from crawler.db.engine import opened, read
from crawler.emulator import EmulatorServer, run_in_thread
from tests.support.driving import Driver, account, asked
from tests.support.pgbouncer import other_clients, pgbouncer
from tests.support.worlds import make_timeline

LOCKS = text(
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
REFUSAL = "is a pooler that gives every transaction another database session (PgBouncer with pool_mode = transaction)"


@pytest.fixture
def cloud() -> Iterator[EmulatorServer]:
    with run_in_thread(make_timeline(zones={"hk-02": {"uimage-a": "CentOS 7.6"}})) as server:
        yield server


@pytest.mark.parametrize("clients", [0, 8], ids=["idle", "busy"])
def test_transaction_mode_is_refused(postgres_url: str, tmp_path: Path, cloud: EmulatorServer, clients: int) -> None:
    """Six runs through a pooler in transaction mode, idle or busy, are six refusals that leave no lock behind."""
    with pgbouncer(postgres_url, "transaction") as url, other_clients(url, clients):
        user = Driver(tmp_path, url).configure(account(cloud.url))
        for _ in range(6):
            refused = user.call("run", code=74)
            assert REFUSAL in refused.stderr
            assert refused.stderr.count("\n") == 1
        with opened(postgres_url, read_only=True) as engine, read(engine) as connection:
            assert connection.execute(LOCKS).scalar() == 0

        assert REFUSAL in user.call("holds", "accept", "1", code=74).stderr
        assert user.call("runs").stdout == ""
        assert asked(cloud) == []
        found = user.call("doctor", code=1).stdout
    assert REFUSAL in found
    assert "through one with pool_mode = session" in found


def test_saturated_transaction_mode_is_refused(postgres_url: str, tmp_path: Path, cloud: EmulatorServer) -> None:
    """Where eight clients queue for two sessions, runs are refused just so."""
    with pgbouncer(postgres_url, "transaction", sessions=2) as url, other_clients(url, 8):
        user = Driver(tmp_path, url).configure(account(cloud.url))
        for _ in range(6):
            assert REFUSAL in user.call("run", code=74).stderr


@pytest.mark.parametrize("clients", [0, 8], ids=["idle", "busy"])
def test_session_mode_works(postgres_url: str, tmp_path: Path, cloud: EmulatorServer, clients: int) -> None:
    """Six runs through a pooler in session mode, idle or busy, are six complete runs, the lock free after them."""
    with pgbouncer(postgres_url, "session") as url, other_clients(url, clients):
        user = Driver(tmp_path, url).configure(account(cloud.url))
        assert [user.run().summary["status"] for _ in range(6)] == ["complete"] * 6
        assert [run["status"] for run in user.rows("runs")] == ["complete"] * 6
        assert "free: no run is at work" in user.call("doctor", code=None).stdout
