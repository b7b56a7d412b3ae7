"""Seeds of a world with paged and nested kinds: what is there is not withdrawn, whatever goes wrong between pages."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from multiprocessing import get_context

import pytest
from sqlalchemy import Connection

from crawler.client.api_options import Timing
from crawler.config.models import AccountSettings
from crawler.crawl.run import crawl
from crawler.db.engine import read
from crawler.domain.filters import Filters
from crawler.queries import changes as queries_changes
from crawler.queries import images as queries_images
from crawler.queries import status as queries_status
from tests.simulation.expected_log import EVENTS
from tests.simulation.ledger import Ledger
from tests.simulation.paged_cloud import PagedClient, PagedCloud, PagedWorld, weathers
from tests.simulation.run import START, client_options
from tests.simulation.seeds import fresh_database
from tests.simulation.time_travel import TimeTravel
from tests.support.acceptance_table import Proven
from tests.support.crawling import account_at, settings_for

KINDS = ("uhost-image", "node-group")
STALE_AFTER = timedelta(days=9999)


def play(seed: int, runs: int = 50) -> Counter[str]:
    """Play a seed; fail where a run recorded what was not so, or missed what was; give what happened."""
    tally: Counter[str] = Counter()
    world, rng = PagedWorld.of(seed), random.Random(f"runs {seed}")
    weather = weathers(rng)
    account = account_at("http://cloud.invalid/", kinds=KINDS)
    settings = settings_for("sqlite://", account, stale_after=STALE_AFTER)
    loop = TimeTravel(random.Random(f"database {seed}"))
    try:
        with fresh_database() as engine:
            for number in range(runs):
                loop.advance(3600)
                for _ in range(rng.choice((0, 0, 1, 3))):
                    world.happen()
                cloud = PagedCloud(world, {} if number == 0 else next(weather))
                timing = Timing(
                    clock=lambda: START + timedelta(seconds=loop.time()),
                    monotonic=loop.time,
                    sleep=asyncio.sleep,
                    uniform=lambda low, high: low,
                )
                before = timing.clock()
                ledger = Ledger(timing.clock, None)
                loop.run_until_complete(
                    crawl(
                        settings,
                        engine,
                        ledger,
                        timing=timing,
                        connect=partial(connected, cloud),
                    )
                )
                with read(engine) as conn:
                    check(conn, cloud, before, timing.clock(), tally, f"seed {seed}, run {number + 1}")
                tally.update(cloud.happened)
    finally:
        loop.close()
    return tally


def connected(cloud: PagedCloud, account: AccountSettings, timing: Timing) -> PagedClient:
    """Return a client of *cloud*."""
    return PagedClient(*client_options(account), timing=timing).of(cloud)


def check(
    conn: Connection, cloud: PagedCloud, before: datetime, now: datetime, tally: Counter[str], where: str
) -> None:
    """Hold what a run recorded against every state of the world that it may have seen."""
    for index, kind in enumerate(KINDS):
        truths = [state[index] for state in cloud.seen]
        filters = Filters(kind=(kind,))
        (status,) = queries_status.status(conn, filters, now=now)
        rows = queries_images.images(conn, None, filters, now=now, stale_after=STALE_AFTER)
        field = "image_state" if kind == "uhost-image" else "node_image_id"
        known = {row.image_id: (row.attributes[field], row.reason) for row in rows}
        recorded = list(queries_changes.changes(conn, since=before, events=EVENTS, filters=filters))
        story = f"{where}, {kind}: {cloud.happened}, {status.outcome} {status.message}"
        tally[f"{kind} {status.outcome}"] += 1
        tally.update(row.event for row in recorded)
        for row in recorded:
            if row.event == "withdrawn":
                assert any(row.image_id not in truth for truth in truths), f"{row.image_id} withdrawn; {story}"
        if status.outcome not in ("ok", "held"):
            assert recorded == [], story
            continue
        held = {image_id for image_id, (_, reason) in known.items() if reason == "held"}
        present = {image_id: value for image_id, (value, _) in known.items() if image_id not in held}
        if not cloud.has_moved:
            assert present == truths[0], story
        assert any(held.isdisjoint(truth) for truth in truths), story


@pytest.mark.parametrize("first", range(0, 100, 25))
def test_seeds(first: int) -> None:
    """No image or group that is there is withdrawn, and a good observation leaves the history as the world is."""
    tally: Counter[str] = Counter()
    for seed in range(first, first + 25):
        tally += play(seed, 12)
    assert tally["withdrawn"] > 0
    assert {tally[f"{kind} {outcome}"] > 0 for kind in KINDS for outcome in ("ok", "failed")} == {True}


@pytest.mark.prove
@pytest.mark.parametrize("first", range(0, 1_000, 100))
def test_all_seeds(first: int, proven: Proven) -> None:
    """A thousand seeds of fifty runs, a tenth at a time."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        tally = sum(pool.map(play, range(first, first + 100)), Counter[str]())
    proven(
        f"100 seeds x 50 runs of paged and nested kinds (from seed {first}): 0 withdrawals of what is there, all true "
        "changes recorded by the next good observation",
        f"{tally['withdrawn']} withdrawals, {tally['modified']} modifications, {sum(tally.values())} things happened",
    )
