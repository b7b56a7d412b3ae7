"""Zones where nothing happened are counted instead of read, and the digest says the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from crawler.db.engine import read
from crawler.domain.subscriptions import Subscription, Watch
from crawler.emulator import run_in_thread
from crawler.notifications.delivery_store import gather
from crawler.notifications.digest import build_digest
from crawler.notifications.models import NotifiedState
from crawler.queries import changes, images, status
from tests.support.crawling import account_at, crawl_once, settings_for
from tests.support.kinds import version
from tests.support.reporting import subscribe
from tests.support.worlds import make_timeline

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
LISTED = {"uimage-a": "Ubuntu 22.04", "uimage-b": "CentOS 7.6"}
ZONES = dict.fromkeys(("hk-01", "hk-02", "sg-01", "sg-02", "cn-01", "cn-02"), LISTED)
PROJECTS = ("org-a", "org-b")
DOWN = {"zone": "sg-01", "ret_code": 150}
#: After the baseline: an image that comes, a zone that fails, one that withholds most of its images, and one that goes.
STEPS: list[dict[str, Any]] = [
    {"add": {"hk-02": {"uimage-c": "Ubuntu 24.04"}}},
    {"faults": [DOWN]},
    {"images": {"cn-01": {}}},
    {"zones": [zone for zone in ZONES if zone != "hk-01"]},
    {},
    {},
    {},
]
ACCOUNTS = ("one", "two")
WATCHES: dict[str, dict[str, Any]] = {
    "everything": {},
    "a pin": {"pins": ("CN-02 uimage-b",)},
    "a pin of no zone": {"pins": ("uimage-c", "uimage-never")},
    "pins of some": {"pins": ("cn-01 uimage-a", "uimage-c", "nowhere uimage-b"), "watch": Watch(zone=("sg-*",))},
    "a project": {"watch": Watch(project=("b*",))},
    "an account": {"watch": Watch(account=("two",), zone=("sg-*", "cn-02"))},
    "even nothing": {"empty": True},
}


def digests(conn: Connection, subscription: Subscription, notified: NotifiedState, run: int, now: datetime) -> bool:
    """Compare the digest of a run with the one that is made of every target; tell whether any zone was quiet."""
    stale_after = timedelta(hours=26)
    facts = gather(conn, subscription, [run], notified, now=now, stale_after=stale_after)
    nothing = frozenset[Any]()
    whole = replace(
        facts,
        status=tuple(status.status(conn, now=now)),
        quiet_zones=nothing,
        quiet_regions=nothing,
        quiet_accounts=nothing,
        images=tuple(images.images(conn, None, now=now, stale_after=stale_after, include_retired=True)),
        withdrawals=tuple(changes.changes(conn, events=("withdrawn",))),
    )
    assert build_digest(subscription, facts, notified) == build_digest(subscription, whole, notified)
    assert build_digest(subscription, facts, notified, urgent_only=True) == build_digest(
        subscription, whole, notified, urgent_only=True
    )
    return bool(facts.quiet_zones or facts.quiet_regions)


@pytest.mark.parametrize("watch", WATCHES)
def test_quiet_zones_change_no_digest(engine: Engine, database_url: str, watch: str) -> None:
    """At every step the digest is the one of all targets, whatever is watched, pinned, failing, held or gone."""
    subscription = subscribe(**WATCHES[watch])
    told = 0
    with run_in_thread(make_timeline(zones=ZONES, projects=PROJECTS, steps=STEPS)) as cloud:
        settings = settings_for(database_url, *(account_at(cloud.url, name) for name in ACCOUNTS))
        for step in range(len(STEPS) + 1):
            cloud.step = step + 1
            now = NOON + timedelta(hours=step)
            run = crawl_once(engine, settings, now).summary.run
            with read(engine) as conn:
                keys = frozenset(str(row.target) for row in status.status(conn, now=now) if row.target.zone > "hk")
                for notified in (
                    NotifiedState(introduced=True),
                    NotifiedState(introduced=True, unobserved=keys),
                    NotifiedState(introduced=True, unobserved=frozenset({"a/b"})),
                    NotifiedState(),
                ):
                    told += digests(conn, subscription, notified, run, now + timedelta(minutes=5))
    assert told >= len(STEPS)


@pytest.mark.parametrize("watch", [{}, {"watch": Watch(kind=("uk8s-version",))}, {"watch": Watch(region=("sg",))}])
def test_regions_that_are_asked_as_a_whole(engine: Engine, database_url: str, watch: dict[str, Any]) -> None:
    """Quiet regions are no zones beside those of which something is told, and stand for them where there are none."""
    subscription = subscribe(**watch)
    versions = [[version("1.30.14")], [version("1.30.14"), version("1.32.9")]]
    inventories = [{"uk8s-version": {"hk": hk, "sg": versions[0]}} for hk in versions]
    steps: list[dict[str, Any]] = [
        {"inventory": inventories[1]},
        {"add": {zone: {"uimage-c": "New"} for zone in ("hk-01", "sg-01")}},
        {},
    ]
    zones = {"hk-01": LISTED, "sg-01": LISTED}
    told = 0
    with run_in_thread(make_timeline(zones=zones, inventory=inventories[0], steps=steps)) as cloud:
        settings = settings_for(database_url, account_at(cloud.url, kinds=("uk8s-image", "uk8s-version")))
        for step in range(len(steps) + 1):
            cloud.step = step + 1
            now = NOON + timedelta(hours=step)
            run = crawl_once(engine, settings, now).summary.run
            with read(engine) as conn:
                for notified in (NotifiedState(introduced=True), NotifiedState()):
                    told += digests(conn, subscription, notified, run, now + timedelta(minutes=5))
    assert told >= len(steps)
