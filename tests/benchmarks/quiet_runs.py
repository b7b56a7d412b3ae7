"""
Runs in which nothing changed: some through the product's own ledger and Recorder, years of them as equal rows.

`QuietRuns` plays a run over a generated history as the pipeline does: begin, judge and commit in batches, finish.
`repeat` writes rows like the last one a run left, in the same two steps (begun, finished), because a row that grows
fills pages otherwise than one that came whole.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, func, select, text

from crawler.crawl.recorder import BATCH
from crawler.db import outbox, targets
from crawler.db.engine import begin, is_sqlite, read
from crawler.db.schema import Base, Run
from crawler.domain.models import END_OF_TIME, Reply, Target
from tests.support.diary import PERIOD, Diary

BODY_HASH = b"as before, always"[:16]
_STEP = int(PERIOD.total_seconds() * 1_000_000)


class QuietRuns:
    """Plays unchanged runs over every target of a history."""

    def __init__(self, engine: Engine, now: datetime) -> None:
        """Take a history of the account `prod` that ends before *now*."""
        self.engine = engine
        self.diary = Diary(engine, now=now, clock_step=timedelta(milliseconds=1))
        with begin(engine) as conn:
            conn.execute(text("UPDATE targets SET body_hash = :hash"), {"hash": BODY_HASH})
            self.targets: list[Target] = [t.target for t in targets.known_targets(conn, self.diary.account_id)]

    def run(self) -> datetime:
        """Play one and give its end."""
        diary = self.diary
        diary.now += PERIOD - timedelta(seconds=diary.now.second, microseconds=diary.now.microsecond)
        run_id, recorder = diary.start(self.targets)
        for first in range(0, len(self.targets), BATCH):
            if first:
                recorder.commit()
            recorder.judge([self._as_before(target) for target in self.targets[first : first + BATCH]])
        recorder.finish(
            lambda counters: "complete",
            {"sent": len(self.targets) + 2, "retried": 0, "throttled": 0},
            afterwards=lambda conn, end: outbox.take_up(conn, run_id, [diary.account_id], [], end),
        )
        return diary.now

    def _as_before(self, target: Target) -> Reply:
        return Reply(
            target=target,
            body=b"",
            received_at=self.diary.tick(),
            body_hash=BODY_HASH,
            unchanged=True,
            request_uuid="",
        )


def rows(engine: Engine) -> dict[str, int]:
    """Count the rows of every table."""
    with read(engine) as conn:
        return {
            table.name: conn.execute(select(func.count()).select_from(table)).scalar_one()
            for table in Base.metadata.sorted_tables
        }


def size(engine: Engine) -> int:
    """Return the bytes of the file; on PostgreSQL those of all tables and indexes."""
    if is_sqlite(engine):
        statement = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    else:
        statement = "SELECT sum(pg_total_relation_size(relid))::bigint FROM pg_stat_user_tables"
    with read(engine) as conn:
        return int(conn.exec_driver_sql(statement).scalar_one())


# --- years of them ---------------------------------------------------------------------------------------------------


def repeat(engine: Engine, count: int) -> datetime:
    """Add *count* runs like the last one, every quarter of an hour, and give the end of the last."""
    last = _last(engine)
    if is_sqlite(engine):
        with begin(engine) as conn:
            _repeat_sqlite(conn, last, count)
    else:
        with engine.connect() as connection:
            # a transaction per step, as in the product: what one has overwritten, the next may reuse
            conn = connection.execution_options(isolation_level="AUTOCOMMIT")
            conn.exec_driver_sql("SET statement_timeout = 0")
            # an ANALYZE would hold back the reuse for its time, which is one run in life, and thousands of them here
            conn.exec_driver_sql("ALTER TABLE runs SET (autovacuum_enabled = off)")
            conn.exec_driver_sql(_postgresql_block(last, count))
            conn.exec_driver_sql("ALTER TABLE runs RESET (autovacuum_enabled)")
    with read(engine) as conn:
        return conn.execute(select(Run.finished_at).order_by(Run.id.desc()).limit(1)).scalars().one() or END_OF_TIME


def _last(engine: Engine) -> dict[str, Any]:
    with read(engine) as conn:
        return dict(conn.execute(text("SELECT * FROM runs ORDER BY id DESC LIMIT 1")).mappings().one())


def _repeat_sqlite(conn: Connection, last: dict[str, Any], count: int) -> None:
    raw: Any = conn.connection.driver_connection
    names = list(last)
    begun = _begun(last)
    insert = f"INSERT INTO runs ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    rest = [name for name in names if name != "id"]
    finish = f"UPDATE runs SET {', '.join(f'{name} = ?' for name in rest)} WHERE id = ?"
    for number in range(1, count + 1):
        shifted = _shifted(last, number)
        raw.execute(insert, [{**shifted, **begun}[name] for name in names])
        raw.execute(finish, [*(shifted[name] for name in rest), shifted["id"]])


def _begun(last: dict[str, Any]) -> dict[str, Any]:
    counters = {name: 0 for name, value in last.items() if isinstance(value, int) and name not in _KEPT}
    return {**counters, "status": "running", "finished_at": None}


_KEPT = ("id", "started_at", "finished_at", "account_id", "restricted", "scope_id")


def _shifted(last: dict[str, Any], number: int) -> dict[str, Any]:
    moved = {name: last[name] + number * _STEP for name in ("started_at", "finished_at")}
    return {**last, **moved, "id": last["id"] + number}


def _postgresql_block(last: dict[str, Any], count: int) -> str:
    names = list(last)
    begun = {"status": "'running'", "finished_at": "NULL"}
    later = f"n * {_STEP}::bigint"
    shifted = {"id": "id + n", "started_at": f"started_at + {later}", "finished_at": f"finished_at + {later}"}
    first = ", ".join({**shifted, **begun}.get(name, name) for name in names)
    rest = [name for name in names if name != "id"]
    final = ", ".join(f"l.{shifted.get(name, name)}" for name in rest)
    number = last["id"]
    return f"""
    DO $$
    BEGIN
      FOR n IN 1..{count} LOOP
        INSERT INTO runs ({", ".join(names)}) SELECT {first} FROM runs WHERE id = {number};
        COMMIT;
        UPDATE runs SET ({", ".join(rest)}) = (SELECT {final} FROM runs AS l WHERE l.id = {number})
        WHERE id = {number} + n;
        COMMIT;
      END LOOP;
    END $$
    """
