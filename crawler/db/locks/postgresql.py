"""
The locks on PostgreSQL: a session advisory lock per account, and a fence behind which its holder writes.

The locks live in the session of one connection of their own, so a dead holder's vanish with it. A holder whose session
was cut off does not know it; therefore every taker raises the fence of its accounts, and every write transaction looks
first whether the fence is still ours and the session still holds its locks. Whoever takes the whole database keeps the
holders of all accounts out.

A pooler that gives each transaction another session (PgBouncer in transaction mode) would leave the locks on sessions
of its pool, where they stay when their holder is long gone. It is recognised before any lock is taken.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Executable, inspect, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError

from crawler.db.engine import address_of, begin, open_engine, opened, read
from crawler.db.errors import mapped_errors
from crawler.db.migrations import ensure_schema, is_current
from crawler.db.schema import Account, Setting
from crawler.domain.models import iso_utc
from crawler.errors import DatabaseUnavailable, FenceLost, LockTaken

_POLL_SECONDS = 0.5
#: How long to stand in the queue for the whole database before looking who is in the way.
_QUEUE_SECONDS = 30.0
#: How often a pooler is tried: it shows itself at once unless others use it at the same instant.
_PROBES = 20
_APPLICATION = "crawler"
#: What the session of a worker says of itself in the place of since when it has its locks: each since another moment.
_WORKER = "worker"
#: The settings that remember which holder was complained of, one for each lock.
_TOLD = "told of"

#: Other sessions with an advisory lock of this database on one of :keys.
_HOLDER = text(
    """
    SELECT s.application_name, l.pid, s.backend_start
    FROM pg_locks AS l LEFT JOIN pg_stat_activity AS s ON s.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid <> pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND ((CAST(CAST(l.classid AS bigint) AS bit(64)) << 32) | CAST(CAST(l.objid AS bigint) AS bit(64)))
        = ANY (CAST(CAST(:keys AS bigint[]) AS bit(64)[]))
    LIMIT 1
    """
)
#: Of the advisory locks of this database on :keys: the session that holds each, and those that wait for one.
_LOCKS = """
    SELECT CAST(
        (CAST(CAST(classid AS bigint) AS bit(64)) << 32) | CAST(CAST(objid AS bigint) AS bit(64)) AS bigint
    ) AS key, pid, granted
    FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_HELD = text(
    f"SELECT count(DISTINCT key) FROM ({_LOCKS}) AS l WHERE granted AND pid = :pid AND key = ANY(:keys)"  # noqa: S608 - a constant
)
_HOLDERS = text(
    f"SELECT key, pid FROM ({_LOCKS}) AS l WHERE granted AND key = ANY(:keys)"  # noqa: S608 - a constant
)
_IS_WANTED = f"SELECT count(*) FROM ({_LOCKS}) AS l WHERE NOT granted AND key = :key AND pid <> pg_backend_pid()"  # noqa: S608 - a constant
#: For the session of the locks: it is idle by design, and the server shall notice within 50 s when its client is gone.
_SETTINGS = text(
    """
    SELECT set_config(name, wish, false) FROM pg_settings JOIN (
      VALUES ('idle_session_timeout', '0'), ('tcp_keepalives_idle', '20'), ('tcp_keepalives_interval', '10'),
        ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '50000')
    ) AS wanted(parameter, wish) ON parameter = name
    """
)


def _key(name: str) -> int:
    """Return the number of an advisory lock; it must never change, or two versions would not see each other's locks."""
    return int.from_bytes(hashlib.blake2b(f"crawler {name}".encode(), digest_size=8).digest(), "big", signed=True)


def key_of(name: str) -> int:
    """Return the number of the lock of an account."""
    return _key(f"account {name}")


#: Held by everybody: shared with other runs, or alone.
_DATABASE = _key("database")
#: Held by those who send reports without a run.
_SENDER = _key("reports")


class SessionFence:
    """Proof that the session still holds its locks and nobody raised the fence since."""

    def __init__(self, pid: int, keys: Iterable[int], fences: Mapping[int, int], *, ahead: timedelta) -> None:
        self.ahead = ahead
        self._pid = pid
        self._keys = sorted(set(keys))
        self._fences = dict(fences)

    def check(self, connection: Connection, /) -> None:
        """Raise FenceLost when another holder came after us, or the session with our locks is gone."""
        if self._fences:
            # FOR SHARE: whoever raises the fence now waits for the end of this transaction.
            statement = select(Account.id, Account.fence).where(Account.id.in_(list(self._fences)))
            rows = connection.execute(statement.order_by(Account.id).with_for_update(read=True))
            if {row.id: row.fence for row in rows} != self._fences:
                raise FenceLost("Another run took the lock after this one lost it; nothing more is written.")
        held = connection.execute(_HELD, {"pid": self._pid, "keys": self._keys}).scalar_one()
        if held < len(self._keys):
            raise FenceLost("The database session that held this run's lock is gone; nothing more is written.")


@contextmanager
def take_session_locks(
    url: str | Path,
    accounts: Sequence[str] | None,
    *,
    is_sender: bool,
    clock: Callable[[], datetime],
    wait_seconds: float,
    sleep: Callable[[float], None],
    monotonic: Callable[[], float],
    is_trial: bool = False,
) -> Iterator[SessionFence]:
    """Hold the advisory locks of *accounts* (None: of the whole database) for a `with` block; see `lock.take_locks`."""
    names = None if accounts is None else sorted(set(accounts))
    engine = open_engine(url, application_name=_APPLICATION)
    try:
        if names is not None:
            ensure_schema(engine, may_upgrade=False)
        with mapped_errors(engine):
            session = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            _refuse_shared_sessions(session, engine)
        except BaseException:
            session.close()
            raise
        try:
            deadline = monotonic() + wait_seconds
            # who looks at a lock that was just taken finds the name of its holder already
            pid = _introduce(session, engine, _moment(clock))
            wanted = _wanted(names, is_sender=is_sender)
            while (blocked := _try_all(session, engine, wanted)) is not None:
                left = deadline - monotonic()
                if left <= 0:
                    raise blocked
                if names is None:
                    _queue(session, engine, min(_QUEUE_SECONDS, left))
                else:
                    sleep(min(_POLL_SECONDS, left))
                pid = _introduce(session, engine, _moment(clock))
            ahead = _ahead(session, engine, clock)
            fences = {} if is_trial else raise_fences(engine, names)
            yield SessionFence(pid, (key for *_, key in wanted), fences, ahead=ahead)
        finally:
            if not session.invalidated:  # else its locks are gone, and so is the way to the server
                with contextlib.suppress(DatabaseUnavailable), mapped_errors(engine):
                    session.execute(text("SELECT pg_advisory_unlock_all()"))
            session.close()
    finally:
        engine.dispose()


def first_to_tell(url: str | Path, taken: LockTaken) -> bool:
    """Return whether nobody complained yet of the session that holds the lock, and note that somebody did now."""
    noted = insert(Setting).values(name=f"{_TOLD} {taken.lock}", value=taken.session)
    noted = noted.on_conflict_do_update(
        index_elements=[Setting.name],
        set_={"value": noted.excluded.value},
        where=Setting.value != noted.excluded.value,
    )
    with opened(url) as engine, contextlib.suppress(DatabaseUnavailable), begin(engine) as connection:
        return connection.execute(noted.returning(Setting.name)).first() is not None
    return True


def _refuse_shared_sessions(session: Connection, engine: Engine) -> None:
    """
    Raise DatabaseUnavailable where a pooler gives a client another database session for each transaction.

    A pooler makes up the process number that it greets its clients with, so whoever is greeted with the server's own
    talks to the server. Through a pooler two clients take turns: one that lends sessions for a transaction gives the
    second client the session that the first has just used or, where others use the pool too, the first one another.
    """
    driver: Any = session.connection.driver_connection
    with mapped_errors(engine):
        own = _pid(session)
        if own == driver.info.backend_pid:
            return
        for _ in range(_PROBES):
            with read(engine) as other:
                if _pid(other) != own and _pid(session) == own:
                    continue
            raise DatabaseUnavailable(
                f"{address_of(engine)} is a pooler that gives every transaction another database session (PgBouncer "
                "with pool_mode = transaction): the locks of a run would stay behind in its pool. Connect to "
                "PostgreSQL itself, or use pool_mode = session."
            )


def _pid(connection: Connection) -> int:
    """Return the number of the present database session, by a statement that leaves nothing behind in it."""
    driver: Any = connection.connection.driver_connection
    threshold, driver.prepare_threshold = driver.prepare_threshold, None
    try:
        pid: int = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    finally:
        driver.prepare_threshold = threshold
    return pid


def _wanted(names: Sequence[str] | None, *, is_sender: bool) -> list[tuple[str, str, int]]:
    """Return the locks to take, in their order: the function, what it locks in words, and the key."""
    if names is None:
        return [("pg_try_advisory_lock", "the database", _DATABASE)]
    wanted = [("pg_try_advisory_lock_shared", "the database", _DATABASE)]
    wanted += [("pg_try_advisory_lock", f'the account "{name}"', key_of(name)) for name in names]
    return [*wanted, ("pg_try_advisory_lock", "the reports", _SENDER)] if is_sender else wanted


def _try_all(session: Connection, engine: Engine, wanted: Sequence[tuple[str, str, int]]) -> LockTaken | None:
    """Take every lock and give None, or take none and say who holds the first that is taken."""
    with mapped_errors(engine):
        for function, what, key in wanted:
            while not session.execute(text(f"SELECT {function}(:key)"), {"key": key}).scalar_one():
                holder = session.execute(_HOLDER, {"keys": [key]}).first()
                if holder is not None:  # else it has just let go
                    session.execute(text("SELECT pg_advisory_unlock_all()"))
                    return _taken(f"{what} {address_of(engine)}" if key == _DATABASE else what, *holder)
    return None


def _queue(session: Connection, engine: Engine, seconds: float) -> None:
    """
    Stand in the queue for the whole database for so long, and take nothing: what was free at the end is tried.

    While somebody stands there no run begins: else there would always be one, where many accounts are crawled.
    """
    wait = text("SELECT set_config('lock_timeout', :wait, false), set_config('statement_timeout', '0', false)")
    with mapped_errors(engine):
        session.execute(wait, {"wait": str(max(1, round(seconds * 1000)))})
        with contextlib.suppress(OperationalError):  # the time is over; a session that is gone shows itself next
            session.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _DATABASE})
        session.execute(text("RESET lock_timeout"))
        session.execute(text("RESET statement_timeout"))


def is_held(connection: Connection, accounts: Iterable[str], *, is_sender: bool) -> bool:
    """Return whether another session holds the lock of one of *accounts*, or with *is_sender* that of a sender."""
    keys = [key_of(name) for name in accounts] + ([_SENDER] if is_sender else [])
    return connection.execute(_HOLDER, {"keys": keys}).first() is not None


def holders(connection: Connection, accounts: Iterable[str]) -> dict[str, int]:
    """Return the number of the session that holds the lock of each of *accounts*, without those that nobody holds."""
    names = {key_of(name): name for name in accounts}
    rows = connection.execute(_HOLDERS, {"keys": list(names)})
    return {names[row.key]: row.pid for row in rows}


class LockSession:
    """
    One session that holds the locks of many accounts, each taken and let go by itself; for one thread at a time.

    What a fleet's worker has. The numbers and the fences are those of everybody's locks, so that `crawler run` and
    the commands that write work beside it. Opening one raises DatabaseUnavailable.
    """

    def __init__(self, url: str | Path, *, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        # a second connection is made only to find out about a pooler
        self._engine = open_engine(url, application_name=_APPLICATION, connections=2)
        self._keys = set[int]()
        try:
            with mapped_errors(self._engine):
                self._session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            _refuse_shared_sessions(self._session, self._engine)
            #: The session's number, and when it began.
            self.pid = _introduce(self._session, self._engine, _WORKER)
        except BaseException:
            self.close()
            raise

    def hold(self, accounts: Iterable[str], *, is_sender: bool = False) -> tuple[list[int], timedelta]:
        """
        Take the locks of *accounts*, or none of them; give their keys, and by how much the server's clock is ahead.

        Raises LockTaken where another session holds one, or waits for the whole database: a session that has the
        database's lock already would get it again however many wait. *accounts* may not hold one that is held here.
        """
        wanted = _wanted(sorted(set(accounts)), is_sender=is_sender)
        new = [one for one in wanted if one[2] not in self._keys]
        with self._used():
            before = self._clock()
            [is_waited_for, there, *got] = self._session.execute(*_try_each(new)).one()
            ahead: timedelta = there - (before + (self._clock() - before) / 2)
            taken = [key for (*_, key), is_taken in zip(new, got, strict=True) if is_taken]
            if len(taken) < len(wanted):
                refused = next(one for one in wanted if one[2] not in taken)
                holder = self._session.execute(_HOLDER, {"keys": [refused[2]]}).first()
                self._unlock(taken)
                if is_waited_for:
                    raise LockTaken(f"Somebody waits for the lock of the database {address_of(self._engine)}.")
                if holder is None:  # it is held here, or was just let go
                    raise LockTaken(f"The lock of {refused[1]} is taken.")
                raise _taken(refused[1], *holder)
        # the session would be given what it holds again, and one account have two runs; the database's lock it shares
        self._keys.update(key for key in taken if key != _DATABASE)
        return taken, ahead

    def let_go(self, keys: Iterable[int]) -> None:
        """Let go of locks that `hold` gave; raises DatabaseUnavailable, and then they are gone with the session."""
        keys = list(keys)
        with self._used():
            self._unlock(keys)
        self._keys.difference_update(keys)

    def execute(self, statement: Executable, values: Mapping[str, Any]) -> Any:
        """Execute *statement* in the session, and give its first row; whoever gets it knows that the session lives."""
        with self._used():
            return self._session.execute(statement, values).first()

    def close(self) -> None:
        """End the session, and with it all locks."""
        self._engine.dispose()
        with contextlib.suppress(AttributeError, DatabaseUnavailable), mapped_errors(self._engine):
            self._session.invalidate()
            self._session.close()

    @contextmanager
    def _used(self) -> Iterator[None]:
        if self._session.invalidated:  # it would be made anew, without the locks
            raise DatabaseUnavailable(f"The session with the locks in {address_of(self._engine)} is gone.")
        with mapped_errors(self._engine):
            yield

    def _unlock(self, keys: Sequence[int]) -> None:
        if keys:
            undone = (f"pg_advisory_unlock{'_shared' if key == _DATABASE else ''}(:k{n})" for n, key in enumerate(keys))
            self._session.execute(text(f"SELECT {', '.join(undone)}"), _numbered(keys))


def _try_each(wanted: Sequence[tuple[str, str, int]]) -> tuple[Executable, Mapping[str, int]]:
    """
    Return the statement that tries the *wanted* locks in one round trip, and its values.

    Its row says whether somebody waits for the whole database (then none is tried), what time it is, and which were
    taken.
    """
    tried = "".join(
        f", CASE WHEN w.is_waited_for THEN false ELSE {function}(:k{number}) END"
        for number, (function, *_) in enumerate(wanted)
    )
    waits = f"SELECT ({_IS_WANTED}) > 0 AS is_waited_for OFFSET 0"  # looked at once, and first
    statement = text(f"SELECT w.is_waited_for, clock_timestamp(){tried} FROM ({waits}) AS w")  # noqa: S608 - constants
    return statement, {"key": _DATABASE, **_numbered([key for *_, key in wanted])}


def _numbered(keys: Iterable[int]) -> dict[str, int]:
    return {f"k{number}": key for number, key in enumerate(keys)}


def _introduce(session: Connection, engine: Engine, since: str) -> int:
    """Write who we are, and *since* when, for those who find the lock taken; give the session's number."""
    name = f"{_APPLICATION} {os.getpid()}@{socket.gethostname()[:24]} {since}"
    with mapped_errors(engine):
        session.execute(_SETTINGS).all()
        session.execute(text("SELECT set_config('application_name', :name, false)"), {"name": name})
        return _pid(session)


def _moment(clock: Callable[[], datetime]) -> str:
    return f"{iso_utc(clock().replace(microsecond=0))}"


def _ahead(session: Connection, engine: Engine, clock: Callable[[], datetime]) -> timedelta:
    """Return by how much the server's clock is ahead of *clock*, to within half of the way there and back."""
    with mapped_errors(engine):
        before = clock()
        there: datetime = session.execute(text("SELECT clock_timestamp()")).scalar_one()
        return there - (before + (clock() - before) / 2)


def _taken(lock: str, name: str | None, pid: int, began: datetime | None) -> LockTaken:
    """Say who holds a *lock* and since when by its session's *name*, which may be anybody's."""
    session = f"{pid} {iso_utc(began)}"
    parts = (name or "").split(" ")
    if len(parts) == 3 and parts[0] == _APPLICATION and "@" in parts[1]:
        process, _, host = parts[1].partition("@")
        who = f"process {process} on {host}"
        if parts[2] == _WORKER:
            return LockTaken(
                f"A worker holds the lock of {lock}: {who}.", lock=lock, session=session, is_of_worker=True
            )
        with contextlib.suppress(ValueError):
            since = datetime.fromisoformat(parts[2])
            return LockTaken(
                f"Another run holds the lock of {lock}: {who} since {parts[2]}.",
                since=since,
                lock=lock,
                session=session,
            )
    return LockTaken(
        f"A database session that does not say who it is holds the lock of {lock}: {pid}. If it is no run, "
        f"`SELECT pg_terminate_backend({pid})` ends it.",
        lock=lock,
        session=session,
    )


def raise_fences(engine: Engine, names: Sequence[str] | None) -> dict[int, int]:
    """
    Raise the fence of every locked account, adding those that are new, and give them by account id.

    Raises SchemaMismatch where the schema of the accounts is not this program's any more: it may have been upgraded
    while their locks were waited for, or since a worker began, and is not while they are held.
    """
    with begin(engine) as connection:
        if names is None or is_current(connection):
            return _raised(connection, names)
    ensure_schema(engine, may_upgrade=False)
    return raise_fences(engine, names)


def _raised(connection: Connection, names: Sequence[str] | None) -> dict[int, int]:
    statement = update(Account).values(fence=Account.fence + 1).returning(Account.id, Account.fence)
    if names is None:
        if not inspect(connection).has_table(Account.__tablename__):
            return {}
    elif names:
        known = set(connection.scalars(select(Account.name).where(Account.name.in_(names))))
        rows = [{"name": name, "endpoint": "", "fence": 0} for name in names if name not in known]
        if rows:
            connection.execute(insert(Account).on_conflict_do_nothing(index_elements=[Account.name]), rows)
        statement = statement.where(Account.name.in_(names))
    else:
        return {}
    return {row.id: row.fence for row in connection.execute(statement)}
