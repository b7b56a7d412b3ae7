"""`crosscheck = "daily"`: a region asked without a Zone beside the sum of its zones; what differs is named, no more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from crawler.db.engine import opened
from crawler.db.migrations import upgrade
from crawler.domain.models import Target
from crawler.emulator import EmulatorServer, run_in_thread
from tests.support.command import NOW
from tests.support.crawling import account_at, crawl_once, settings_for
from tests.support.driving import Driver, account, asked
from tests.support.worlds import make_record, make_timeline

ZONES = ("hk-01", "hk-02", "sg-01")


def images(zone: str) -> list[dict[str, Any]]:
    """Return two images of a zone."""
    return [make_record(f"uimage-{zone}-{letter}", f"System {letter}", zone) for letter in "ab"]


#: What hk lists without a Zone: an image that no zone lists, and not one of those of hk-02.
REGION = [*images("hk-01"), *images("hk-02")[:1], make_record("uimage-hidden", "Hidden", "hk-02")]


@pytest.fixture
def cloud() -> Iterator[EmulatorServer]:
    """Return a cloud that answers for the region hk differently than for its zones."""
    by_zone = [{"action": "DescribeUK8SImage", "zone": f"{name}-*", "latency_ms": 0} for name in ("hk", "sg")]
    of_region = {"action": "DescribeUK8SImage", "region": "hk", "images": {"ImageSet": REGION}}
    timeline = make_timeline(zones={zone: images(zone) for zone in ZONES}, faults=[*by_zone, of_region])
    with run_in_thread(timeline) as server:
        yield server


def told(driver: Driver, *words: object) -> list[str]:
    """Run once and return the notices of the check."""
    return [notice for notice in driver.run(*words, code=None).summary["notices"] if "cross-check" in notice]


def test_names_what_differs(tmp_path: Path, database_url: str, cloud: EmulatorServer) -> None:
    """It names exactly what differs, once a day, with a request per region, and records nothing of it."""
    driver = Driver(tmp_path, database_url).configure(account(cloud.url, crosscheck="daily"))
    notices = told(driver)
    requests = len(asked(cloud))
    again = told(driver)

    assert notices == [
        "prod: cross-check: hk without Zone (uk8s-image) lists what none of its zones does: uimage-hidden",
        "prod: cross-check: hk without Zone (uk8s-image) does not list what its zones do: uimage-hk-02-b (hk-02)",
    ]
    assert again == []
    assert requests == len(ZONES) + 2
    assert len(asked(cloud)) == requests + len(ZONES)
    driver.now += timedelta(days=1)
    assert told(driver) == notices
    assert driver.rows("changes") == []
    assert {row["image_id"] for row in driver.rows("images")} == {row["ImageId"] for z in ZONES for row in images(z)}


def test_regions_that_differ_by_a_number(tmp_path: Path, sqlite_url: str) -> None:
    """A second region that differs is told under cron, also where its name is another number alone."""
    lie = {"action": "DescribeUK8SImage", "images": {"ImageSet": [make_record("uimage-hidden", "Hidden", "bj1-01")]}}
    honest = [{"action": "DescribeUK8SImage", "zone": "bj*", "latency_ms": 0}]
    zones = ("bj1-01", "bj2-01")
    steps = [{"faults": [*honest, {**lie, "region": region}]} for region in ("bj1", "bj*")]
    with run_in_thread(make_timeline(zones={zone: images(zone) for zone in zones}, steps=steps)) as cloud:
        driver = Driver(tmp_path, sqlite_url).configure(account(cloud.url, crosscheck="daily"))
        said = []
        for step in (2, 3, 3):
            cloud.step = step
            said.append(driver.run(code=None).result.stderr)
            driver.now += timedelta(days=1)

    told = [[region for region in ("bj1", "bj2") if f"cross-check: {region} " in one] for one in said]
    assert told == [["bj1"], ["bj2"], []]


def test_part_of_a_region(tmp_path: Path, sqlite_url: str, cloud: EmulatorServer) -> None:
    """What belongs to a zone that is not asked is no difference; a restricted run and `off` check nothing."""
    driver = Driver(tmp_path, sqlite_url).configure(account(cloud.url, crosscheck="daily", zones=["hk-01", "sg-*"]))
    assert told(driver, "--zone", "sg-01") == []
    assert told(driver) == []
    driver.now += timedelta(days=1)
    driver.configure(account(cloud.url))
    assert told(driver) == []


def test_part_of_a_region_without_numbers(tmp_path: Path, sqlite_url: str) -> None:
    """Where records name no zone, a region lists what a zone does that is asked, though another one is not asked."""
    bare = {zone: [{"ImageId": f"uimage-{zone}", "ImageName": "System"}] for zone in ("hk-01", "hk-02")}
    with run_in_thread(make_timeline(zones=bare)) as cloud:
        driver = Driver(tmp_path, sqlite_url).configure(account(cloud.url, crosscheck="daily", zones=["hk-01"]))
        assert told(driver) == []


def test_region_that_fails(tmp_path: Path, sqlite_url: str) -> None:
    """A region that refuses is said not to be compared, and the run is as complete as without the check."""
    by_zone = {"action": "DescribeUK8SImage", "zone": "hk-*", "latency_ms": 0}
    refused = {"action": "DescribeUK8SImage", "ret_code": 230, "message": "Params [Zone] not available"}
    timeline = make_timeline(zones={"hk-02": images("hk-02")}, faults=[by_zone, refused])
    with run_in_thread(timeline) as cloud:
        driver = Driver(tmp_path, sqlite_url).configure(account(cloud.url, crosscheck="daily"))
        ran = driver.run()

    (notice,) = [one for one in ran.summary["notices"] if "cross-check" in one]
    assert notice.startswith(
        "prod: cross-check: hk without Zone (uk8s-image) not compared: Params [Zone] not available"
    )
    assert ran.targets == {"total": 1, "ok": 1}


def test_zone_that_fails(tmp_path: Path, sqlite_url: str) -> None:
    """A region of which a zone was not observed is not compared."""
    broken = {"action": "DescribeUK8SImage", "zone": "hk-01", "ret_code": 160}
    timeline = make_timeline(zones={zone: images(zone) for zone in ZONES}, faults=[broken])
    with run_in_thread(timeline) as cloud:
        driver = Driver(tmp_path, sqlite_url).configure(account(cloud.url, crosscheck="daily"))
        assert told(driver) == [
            "prod: cross-check: hk without Zone (uk8s-image) not compared, since hk-01 was not observed well"
        ]


def test_images_on_hold(tmp_path: Path, sqlite_url: str) -> None:
    """What a zone stopped to list is no difference to a region that does not list it either, while it is on hold."""
    listed = {zone: [make_record(f"uimage-{zone}-{n}", f"System {n}", zone) for n in range(6)] for zone in ZONES[:2]}
    fewer = {"hk-01": listed["hk-01"][:1], "hk-02": listed["hk-02"]}
    by_zone = {"action": "DescribeUK8SImage", "zone": "hk-*", "latency_ms": 0}
    of_region = {"steps": 2, "action": "DescribeUK8SImage", "images": {"ImageSet": [*fewer["hk-01"], *fewer["hk-02"]]}}
    timeline = make_timeline(zones=listed, steps=[{"images": fewer}], faults=[by_zone, of_region])
    with run_in_thread(timeline) as cloud:
        driver = Driver(tmp_path, sqlite_url).configure(account(cloud.url))
        driver.run()
        cloud.advance()
        driver.configure(account(cloud.url, crosscheck="daily"))
        ran = driver.run(code=None)

    assert ran.targets == {"total": 2, "ok": 1, "held": 1}
    assert not [one for one in ran.summary["notices"] if "cross-check" in one]


def test_run_that_is_stopped(tmp_path: Path, sqlite_url: str, cloud: EmulatorServer) -> None:
    """A run that is stopped checks nothing and does not count as the day's check: the next one has it."""
    settings = settings_for(sqlite_url, account_at(cloud.url, crosscheck="daily"))
    stop = asyncio.Event()

    def stop_at_the_end(_target: Target, done: int, total: int, /) -> None:
        if done == total:
            stop.set()

    with opened(sqlite_url) as engine:
        upgrade(engine)
        stopped = crawl_once(engine, settings, NOW, stop=stop, progress=stop_at_the_end)
        after = crawl_once(engine, settings, NOW + timedelta(hours=1))

    assert stopped.summary.targets["ok"] == len(ZONES)
    assert [[one for one in ran.summary.notices if "cross-check" in one] != [] for ran in (stopped, after)] == [
        False, True,
    ]  # fmt: skip
