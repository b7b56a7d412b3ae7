"""One session with the locks of many accounts, as a worker has it, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from crawler.db import workers
from crawler.db.engine import begin, opened, read
from crawler.db.locks import take_locks
from crawler.db.locks.postgresql import LockSession, SessionFence, holders, raise_fences
from crawler.errors import DatabaseUnavailable, FenceLost, LockTaken, SchemaMismatch
from crawler.fleet.worker import OwnSession


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    with opened(postgres_url) as made:
        yield made


@pytest.fixture
def session(postgres_url: str) -> Iterator[LockSession]:
    made = LockSession(postgres_url, clock=now)
    yield made
    made.close()


def fence_of(session: LockSession, engine: Engine, accounts: list[str]) -> tuple[SessionFence, list[int]]:
    keys, ahead = session.hold(accounts)
    return SessionFence(session.pid, keys, raise_fences(engine, accounts), ahead=ahead), keys


def test_each_account_by_itself(session: LockSession, engine: Engine, postgres_url: str) -> None:
    """Accounts are taken and let go one by one; others find exactly those taken that are held."""
    one, one_keys = fence_of(session, engine, ["one"])
    two, _ = fence_of(session, engine, ["two"])
    with read(engine) as conn:
        assert holders(conn, ["one", "two", "three"]) == {"one": session.pid, "two": session.pid}
    session.let_go(one_keys)

    with take_locks(postgres_url, ["one", "three"], clock=now), begin(engine, two):
        pass
    with pytest.raises(LockTaken, match='the account "two"'), take_locks(postgres_url, ["two"], clock=now):
        pass
    with pytest.raises(FenceLost), begin(engine, one):
        pass


def test_not_twice_in_one_session(session: LockSession, engine: Engine) -> None:
    """A session is not given an account's lock again, though PostgreSQL would give it."""
    _, keys = fence_of(session, engine, ["one"])
    with pytest.raises(LockTaken):
        session.hold(["one"])
    session.let_go(keys)

    assert session.hold(["one"])[0] == keys


def test_held_by_a_worker(session: LockSession, engine: Engine, postgres_url: str) -> None:
    """Who finds a worker's lock taken learns whose it is, and no moment: its session is far older than the lock."""
    fence_of(session, engine, ["one"])

    with pytest.raises(LockTaken, match=r'^A worker holds the lock of the account "one"') as refused:
        take_locks(postgres_url, ["one"], clock=now).__enter__()
    assert refused.value.is_of_worker
    assert refused.value.since is None


@pytest.mark.parametrize("accounts", [["one"], []], ids=["account", "reports"])
def test_upgraded_since(session: LockSession, engine: Engine, accounts: list[str]) -> None:
    """Under locks that are taken after an upgrade of the schema this program gets no fence, and so writes nothing."""
    session.hold(accounts)
    with begin(engine) as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '99990101_newer'"))

    with pytest.raises(SchemaMismatch, match="a newer crawler wrote it"):
        raise_fences(engine, accounts)
    with read(engine) as conn:
        assert conn.execute(text("SELECT count(*) FROM accounts")).scalar() == 0


def test_who_waits_for_the_database_comes_next(session: LockSession, engine: Engine, postgres_url: str) -> None:
    """Nothing new is taken while somebody waits for the whole database; what is held goes on."""
    fence, _ = fence_of(session, engine, ["one"])
    with opened(postgres_url) as other, other.connect() as waiting:
        driver = waiting.connection.driver_connection
        assert driver is not None
        from crawler.db.locks.postgresql import _DATABASE

        driver.pgconn.send_query(f"SELECT pg_advisory_lock({_DATABASE})".encode())
        driver.pgconn.flush()
        with read(engine) as conn:
            while not conn.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar():
                pass
        with pytest.raises(LockTaken, match="waits for the lock of the database"):
            session.hold(["two"])
        with begin(engine, fence):
            pass
        waiting.invalidate()


def test_evicted(session: LockSession, engine: Engine) -> None:
    """A worker whose session is ended has lost its locks, says so at its next word, and is counted."""
    fence, _ = fence_of(session, engine, ["one"])
    me = workers.Myself(id="abc", host="host", pid=1, version="1", config="c", slots=4)
    workers.heard(session.execute(*workers.lives(me, 1)))
    with read(engine) as conn:
        (found,) = workers.workers(conn, silent_after=timedelta(seconds=10))
    assert (found.state, found.in_flight, found.host) == ("alive", 1, "host")
    with begin(engine) as conn:
        assert workers.evict_silent(conn, silent_after=timedelta(seconds=10)) == 0
        assert workers.evict_silent(conn, silent_after=timedelta(0)) == 1
    with pytest.raises(DatabaseUnavailable):
        session.execute(*workers.lives(me, 0))
    with pytest.raises(DatabaseUnavailable):
        session.hold(["two"])
    with pytest.raises(FenceLost), begin(engine, fence):
        pass
    with begin(engine) as conn:
        assert workers.counts(conn)[workers.EVICTIONS] == 1
        assert [one.state for one in workers.workers(conn, silent_after=timedelta(0))] == ["gone"]
        workers.forget_gone(conn, before=workers.now(conn))
        assert workers.workers(conn, silent_after=timedelta(0)) == []


def test_workers_of_another_role(session: LockSession, engine: Engine) -> None:
    """To a role that may not look into the sessions of workers these are alive as well, and it tries to end none."""
    me = workers.Myself(id="abc", host="host", pid=1, version="1", config="c", slots=4)
    session.execute(*workers.lives(me, 1))
    stranger = f"stranger_{os.getpid()}"
    with engine.connect() as conn:
        for right in (f"CREATE ROLE {stranger}", f"GRANT SELECT ON workers TO {stranger}"):
            conn.execute(text(right))
        conn.execute(text(f"SET LOCAL ROLE {stranger}"))
        found = [workers.workers(conn, silent_after=timedelta(seconds=longest))[0].state for longest in (10, 0)]
        ended = workers.evict_silent(conn, silent_after=timedelta(0))
        conn.rollback()

    assert found == ["alive", "silent"]
    assert ended == 0


def test_rest(session: LockSession, engine: Engine) -> None:
    """A worker hears over its session that the fleet rests; it is busy until it has said that it crawls nothing."""
    me = workers.Myself(id="abc", host="host", pid=1, version="1", config="c", slots=4)
    with begin(engine) as conn:
        since = workers.drain(conn, "by me")
    _, is_drained = workers.heard(session.execute(*workers.lives(me, 2)))
    assert is_drained
    with begin(engine) as conn:
        found = workers.workers(conn, silent_after=timedelta(seconds=10))
        assert len(list(workers.busy(found, since))) == 1
        assert list(workers.busy([], since)) == []
        workers.resume(conn)
        assert workers.drained(conn) == ""
    assert not workers.heard(session.execute(*workers.lives(me, 0)))[1]


def test_suspects_are_those_of_two_looks(engine: Engine) -> None:
    """A job is suspected once any worker saw it without a lock at the look before."""
    with begin(engine) as conn:
        assert workers.suspected(conn, {1, 2}) == set()
        assert workers.suspected(conn, {2}) == {1, 2}
        assert workers.suspected(conn, set()) == {2}


def test_lock_that_comes_too_late(postgres_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that was not heard of in time holds nothing when it answers again, not even what it took meanwhile."""
    monkeypatch.setattr("crawler.fleet.worker.SILENT_SECONDS", 0.5)

    async def take() -> None:
        own = OwnSession(postgres_url, now)
        await own.open()
        pid = await own.do(lambda locks: locks.pid)
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError):
                await own.do(lambda locks: locks.hold(["one"]))
        finally:
            os.kill(pid, signal.SIGCONT)
        with pytest.raises(DatabaseUnavailable, match="is gone"):
            await own.do(lambda locks: locks.pid)
        own.leave()
        assert _ends(engine, pid)

    asyncio.run(take())

    with take_locks(postgres_url, ["one"], clock=now):
        pass


def _ends(engine: Engine, pid: int) -> bool:
    """Wait until a session is gone; give False where it is not within 20 s."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with read(engine) as conn:
            if conn.execute(text("SELECT 1 FROM pg_stat_activity WHERE pid = :pid"), {"pid": pid}).first() is None:
                return True
        time.sleep(0.05)
    return False
