"""What runs of several accounts that end together say, on PostgreSQL: what lasts for all of them is told once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier

from sqlalchemy import Engine, insert, select

from crawler.client.api_options import Timing
from crawler.config.loader import load
from crawler.config.models import Settings
from crawler.crawl.run import RunResult, crawl
from crawler.db.engine import Fence, begin, opened, read
from crawler.db.locks import take_locks
from crawler.db.schema import ConditionRow
from crawler.emulator import run_in_thread
from crawler.ops.after import news_of
from tests.support.driving import Driver, account
from tests.support.worlds import make_timeline

ACCOUNTS = 8


def told_together(engine: Engine, settings: Settings, driver: Driver) -> list[str]:
    """Run every account by itself, then have all of them tell at once; give what each told."""
    barrier = Barrier(ACCOUNTS)
    timing = Timing(clock=lambda: driver.now)

    def tell(own: Settings, fence: Fence, result: RunResult) -> str:
        barrier.wait()
        return news_of(own, engine, fence, result, now=driver.now)

    with ExitStack() as stack, ThreadPoolExecutor(ACCOUNTS) as pool:
        telling = []
        for one in settings.accounts:
            own = settings.narrowed_to((one.name,))
            fence = stack.enter_context(take_locks(settings.database, [one.name], clock=timing.clock))
            result = asyncio.run(crawl(own, engine, fence, timing=timing))
            telling.append((own, fence, result))
        return list(pool.map(lambda parts: tell(*parts), telling))


def kept(engine: Engine) -> list[str]:
    """Return the warnings that are remembered."""
    with read(engine) as conn:
        return [str(told) for told in conn.scalars(select(ConditionRow.told).where(ConditionRow.account_id.is_(None)))]


def test_a_warning_is_told_by_one(tmp_path: Path, postgres_url: str) -> None:
    """Of runs that end together one tells what is wrong with the configuration, and one that it is over."""
    driver = Driver(tmp_path, postgres_url)
    with run_in_thread(make_timeline(zones={"hk-01": {"uimage-a": "CentOS 7.6"}})) as cloud:
        driver.configure(*(account(cloud.url, f"a{number}") for number in range(ACCOUNTS)))
        with opened(postgres_url) as engine:
            driver.config.chmod(0o644)
            begun = told_together(engine, load(driver.config, None, {"HOME": "/dev/null"}), driver)
            remembered = kept(engine)
            driver.config.chmod(0o600)
            ended = told_together(engine, load(driver.config, None, {"HOME": "/dev/null"}), driver)
            left = kept(engine)

    assert [text.count("holds a secret") for text in begun if text] == [1]
    assert len(remembered) == 1
    assert [text.count("No longer: ") for text in ended if text] == [1]
    assert left == []


def test_a_warning_that_was_kept_twice(tmp_path: Path, database_url: str) -> None:
    """What runs that ended together once kept several times is over for all of them, and that is told once."""
    driver = Driver(tmp_path, database_url)
    with run_in_thread(make_timeline(zones={"hk-01": {"uimage-a": "CentOS 7.6"}})) as cloud:
        driver.configure(account(cloud.url))
        driver.config.chmod(0o644)
        driver.run()
        with opened(database_url) as engine, begin(engine) as conn:
            row = dict(conn.execute(select(ConditionRow.__table__)).mappings().one())
            del row["id"]
            conn.execute(insert(ConditionRow), [row, row])
        driver.config.chmod(0o600)
        told = [driver.run().result.stderr.count("No longer: ") for _ in range(3)]
        with opened(database_url) as engine:
            left = kept(engine)

    assert (told, left) == ([1, 0, 0], [])
