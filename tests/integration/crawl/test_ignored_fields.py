"""Fields that are different in every answer: `[accounts.ignore]` leaves them out, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from crawler.config.models import IgnoreSettings
from crawler.db.engine import read
from crawler.db.schema import ChangeLog, ImageVersion, Interval
from crawler.emulator import run_in_thread
from crawler.queries import changes, images
from tests.support.answers import NOON
from tests.support.crawling import account_at, crawl_once, settings_for
from tests.support.worlds import make_timeline

IMAGES = 12
DAY = timedelta(days=1)
LATER = NOON + DAY


def answer(number: int, **fields: Any) -> Mapping[str, Any]:
    """Return answer *number*: each image has a size, an age and a mark of its own kind, different each time."""
    records = [
        {
            "ImageId": f"uimage-{image}",
            "ImageName": f"System {image}",
            "ImageSize": 20 + number,
            "IntegratedSoftware": f"checked {number} times",
            "Checked_At": number,
            **fields,
        }
        for image in range(IMAGES)
    ]
    return {"RetCode": 0, "Action": "DescribeUK8SImageResponse", "ImageSet": records}


class World:
    """One zone that answers what it is told to, and the history of its runs."""

    def __init__(self, engine: Engine, database: str) -> None:
        self.engine, self.database, self.number, self.runs = engine, database, 0, 0

    def run(self, ignored: tuple[str, ...], *, is_equal: bool = False, **fields: Any) -> tuple[int, list[str]]:
        """Crawl once, with the last answer or the next, and return how many changes came of it, and the notices."""
        self.number += not is_equal
        self.runs += 1
        body = json.dumps(answer(self.number, **fields))
        timeline = make_timeline(zones={"hk-02": {}}, faults=[{"action": "DescribeUK8SImage", "body": body}])
        with run_in_thread(timeline) as cloud:
            account = account_at(cloud.url, ignore=IgnoreSettings(fields=ignored))
            result = crawl_once(
                self.engine, settings_for(self.database, account), NOON + self.runs * timedelta(hours=1)
            )
        with read(self.engine) as conn:
            found = [row for row in changes.changes(conn) if row.run == result.summary.run]
        return len(found), list(result.summary.notices)

    def rows(self) -> list[int]:
        """Count intervals, versions of images and changes."""
        with read(self.engine) as conn:
            return [
                conn.scalar(select(func.count()).select_from(table)) or 0
                for table in (Interval.__table__, ImageVersion.__table__, ChangeLog.__table__)
            ]


@pytest.fixture
def world(engine: Engine, database_url: str) -> World:
    return World(engine, database_url)


def test_what_is_ignored_is_no_change(world: World) -> None:
    """By our name, the API's name in any case, or one that no page documents: nothing changes, nothing is noted."""
    names = ("size_gb", "INTEGRATEDSOFTWARE", "checkedat")
    assert [world.run(names) for _ in range(4)] == [(0, [])] * 4
    assert world.run(names, OsType="Linux") == (0, [])
    assert world.run(names, OsType="Windows") == (IMAGES, [])


def test_ignoring_begins_and_ends_without_a_change(world: World) -> None:
    """What was known stays as it was known while it is ignored; afterwards only a difference is a change."""
    assert world.run(())[0] == 0
    assert world.run(())[0] == IMAGES
    names = ("ImageSize", "software", "Checked_At")
    assert [world.run(names)[0] for _ in range(2)] == [0, 0]
    assert world.run(())[0] == IMAGES


def test_an_ignored_field_opens_no_interval(world: World) -> None:
    """Fifty answers that differ in ignored fields alone leave the rows of the first."""
    names = ("size_gb", "software", "Checked_At")
    world.run(names)
    before = world.rows()
    assert before == [IMAGES, IMAGES, 0]
    assert [world.run(names) for _ in range(50)] == [(0, [])] * 50
    assert world.rows() == before


def test_what_was_ignored_is_known_at_once_afterwards(world: World) -> None:
    """The answer that equals the last is read again, so what it states beyond is known without a change."""
    world.run(("size_gb",))
    assert world.run((), is_equal=True)[0] == 0
    with read(world.engine) as conn:
        sizes = {row.attributes.get("size_gb") for row in images.images(conn, None, now=LATER, stale_after=DAY)}
    assert sizes == {21}
