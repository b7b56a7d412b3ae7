"""Workers of different accounts on one PostgreSQL, at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from crawler.db.engine import begin, opened, read
from crawler.db.schema import ImageVersion, Interval, Payload, Run
from crawler.errors import DatabaseUnavailable
from tests.support.diary import Diary, target

ACCOUNTS = ("prod", "test", "backup", "lab")
ROUNDS = 6


def test_accounts_share_what_is_the_same(postgres_url: str) -> None:
    """Workers that find the same new images at the same moment store them once, and none of them fails."""

    def crawl(account: str) -> None:
        with opened(postgres_url) as engine:
            diary = Diary(engine, account=account)
            # each worker meets the images in another order
            order = 1 if account in ACCOUNTS[:2] else -1
            for number in range(ROUNDS):
                images = {f"uimage-{number}-{n}": f"Image {n}" for n in range(40)[::order]}
                diary.run(dict.fromkeys([target(f"hk-{n:02}", account=account) for n in range(10)], images))

    with ThreadPoolExecutor(len(ACCOUNTS)) as pool:
        for future in [pool.submit(crawl, account) for account in ACCOUNTS]:
            future.result(timeout=120)

    with opened(postgres_url) as engine, read(engine) as conn:
        count = {table: conn.execute(select(func.count()).select_from(table)).scalar() for table in (ImageVersion, Run)}
        assert count == {ImageVersion: 40 * ROUNDS, Run: len(ACCOUNTS) * ROUNDS}
        # two orders of the same images are two bodies
        assert conn.execute(select(func.count()).select_from(Payload)).scalar() == 2 * ROUNDS
        assert conn.execute(select(func.count(func.distinct(Interval.version_id)))).scalar() == 40 * ROUNDS


def test_writer_leaves_nothing_of_a_failed_batch(postgres_url: str) -> None:
    """A transaction that the database cannot take writes nothing, and the batch can be committed again."""
    with opened(postgres_url) as engine:
        diary = Diary(engine)
        home = target()
        run_id, recorder = diary.start([home])
        recorder.judge([diary.item(home, {"uimage-a": "A"})])
        with begin(engine) as conn:
            # the disk is full for as long as it takes to fail once
            conn.exec_driver_sql(
                "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql"
                " AS $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = 'disk_full'; END $$"
            )
            conn.exec_driver_sql("CREATE TRIGGER full_disk BEFORE INSERT ON intervals EXECUTE FUNCTION fill()")
        with pytest.raises(DatabaseUnavailable, match="The disk is full"):
            recorder.commit()
        with begin(engine) as conn:
            conn.exec_driver_sql("DROP TRIGGER full_disk ON intervals")
        assert recorder.pending == 1
        assert recorder.counters["ok"] == 0
        recorder.commit()
        diary.finish(run_id, recorder)
        with read(engine) as conn:
            assert conn.execute(select(func.count()).select_from(Interval)).scalar() == 1
            assert conn.execute(select(func.count()).select_from(Payload)).scalar() == 1
