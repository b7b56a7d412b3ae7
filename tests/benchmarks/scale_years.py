"""
How a history grows with the years: fifty targets with a hundred images, a run every quarter of an hour, 1 % a day.

The history is that of `five_years`, with the answers behind its changes as the product keeps them; then the product
goes on over it with runs in which nothing changes.
"""

from __future__ import annotations

import hashlib
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, text

from crawler.db.engine import begin, opened, read
from crawler.db.migrations import upgrade
from crawler.db.payloads import NewPayload, store_payloads
from crawler.db.types import from_micros
from crawler.domain.filters import Filters
from crawler.domain.models import Reply, Target
from crawler.queries import changes as queries_changes
from crawler.queries import images as queries_images
from tests.benchmarks.five_years import BEGIN, IMAGES, PROJECTS, Made, generate
from tests.benchmarks.load_server import LoadServer, Offer, load_server
from tests.benchmarks.runs import UNLIMITED, Runs
from tests.support.crawling import account_at, crawl_once, settings_for

YEARS = (1, 5, 20)
OFFER = Offer(projects=PROJECTS, zones=5, images=IMAGES)
#: Of all images a day.
CHURN = 0.01
STALE = timedelta(hours=26)
DAY = timedelta(days=1)
MOMENTS = 60
#: Unchanged runs on top of the history.
ON_TOP = 100
_SETTLED_AFTER = 10


def measure(years: int) -> dict[str, Any]:
    """Make the history, ask it, and go on with it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "crawler.db")
        with opened(path) as engine:
            upgrade(engine)
            changed = int(OFFER.targets * OFFER.images * CHURN * 365.25 * years)
            made = generate(engine, years=years, zones=OFFER.zones, changed=changed, calm=True)
            payloads = keep_evidence(engine)
        size = path.stat().st_size
        with opened(path, read_only=True) as engine, read(engine) as conn:
            asked = _ask(conn, made)
        with opened(path) as engine, load_server(OFFER) as server:
            on_top = _go_on(engine, path, server, made)
    return {
        "years": years,
        "runs": made.runs,
        "intervals": made.intervals,
        "changes": made.changes,
        "answers_kept": payloads,
        "bytes": size,
        "bytes_per_run": round(size / made.runs),
        **asked,
        **on_top,
    }


# --- the answers behind the changes ----------------------------------------------------------------------------------


def keep_evidence(engine: Engine) -> int:
    """Keep an answer for every change of a zone, as the product does; its projects get the same one. Count them."""
    with begin(engine) as conn:
        # the names that the cloud of the measurements has
        conn.execute(text("UPDATE targets SET zone = 'r0' || substr(zone, 2), region = 'r0' || substr(region, 2)"))
        found = conn.execute(
            text(
                "SELECT DISTINCT t.zone, c.run_id, c.observed_at FROM changes AS c JOIN targets AS t"
                " ON t.id = c.target_id ORDER BY t.zone, c.run_id"
            )
        ).all()
        written = 0
        for zone in sorted({row.zone for row in found}):
            events = [(row.run_id, from_micros(row.observed_at)) for row in found if row.zone == zone]
            written += _keep_zone(conn, zone, events)
        return written


def _keep_zone(conn: Connection, zone: str, events: list[tuple[int, datetime]]) -> int:
    body = OFFER.body("org-0", zone, churned=0)
    target = Target("prod", "org-0", zone.rpartition("-")[0], zone, "uk8s-image")
    kept: list[int] = []
    for first in range(0, len(events), 500):
        answers = [
            _evidence(target, body.replace(b"-000", f"-{run_id}".encode()), at)
            for run_id, at in events[first : first + 500]
        ]
        ids = store_payloads(conn, answers)
        kept += [ids[answer.digest] for answer in answers]
    own = text("SELECT min(id), max(id) FROM targets WHERE zone = :zone")
    lowest, highest = conn.execute(own, {"zone": zone}).one()
    rows = [
        {"run": run_id, "after": after, "before": before, "lowest": lowest, "highest": highest}
        for (run_id, _), after, before in zip(events, kept, [None, *kept], strict=False)
    ]
    statement = (
        "UPDATE changes SET after_payload_id = :after, before_payload_id = :before"
        " WHERE run_id = :run AND target_id BETWEEN :lowest AND :highest"
    )
    conn.execute(text(statement), rows)
    return len(rows)


def _evidence(target: Target, body: bytes, at: datetime) -> NewPayload:
    return NewPayload.of(
        Reply(
            target=target,
            body=body,
            received_at=at,
            body_hash=hashlib.blake2b(body, digest_size=16).digest(),
            unchanged=False,
            request_uuid="7d3c8a1e-0000-4000-8000-000000000000",
        )
    )


# --- questions -------------------------------------------------------------------------------------------------------


def _ask(conn: Connection, made: Made) -> dict[str, float]:
    rng = random.Random(3)
    moments = [BEGIN + (made.end - BEGIN) * rng.uniform(0.03, 0.97) for _ in range(MOMENTS)]
    zones = [zone for _, zone in OFFER.places()][:4]  # the last one came later

    def target() -> Filters:
        return Filters(project=(f"org-{rng.randrange(PROJECTS)}",), zone=(rng.choice(zones),))

    def zone() -> Filters:
        return Filters(zone=(rng.choice(zones),))

    def images(at: datetime, filters: Filters) -> int:
        return len(list(queries_images.images(conn, at, filters, now=at, stale_after=STALE)))

    def changes(at: datetime) -> int:
        return len(list(queries_changes.changes(conn, at, at + DAY)))

    return {
        "one_target_ms": _median(lambda at: images(at, target()), moments),
        "zone_ms": _median(lambda at: images(at, zone()), moments),
        "day_ms": _median(changes, moments),
    }


def _median(ask: Callable[[datetime], int], moments: list[datetime]) -> float:
    """Return the median time of an answer; the database is warm by then."""
    for at in moments[:10]:
        ask(at)
    times = []
    for at in moments:
        begun = time.perf_counter()
        ask(at)
        times.append(1000 * (time.perf_counter() - begun))
    return round(statistics.median(times), 3)


# --- and on it goes --------------------------------------------------------------------------------------------------


def _go_on(engine: Engine, path: Path, server: LoadServer, made: Made) -> dict[str, float]:
    """Run until nothing changes any more, then on and on; give the time of such a run, and its bytes."""
    at = made.end
    settings = settings_for(str(path), account_at(server.url, limits=UNLIMITED))
    for _ in range(_SETTLED_AFTER):
        at += timedelta(minutes=15)
        summary = crawl_once(engine, settings, at).summary
        if summary.targets["ok"] == OFFER.targets and not any(summary.changes.values()):
            break
    else:
        raise AssertionError(f"the history does not settle: {summary}")
    runs = Runs(engine, str(path), OFFER.targets, at=at)
    before = _payload(engine)
    took = [runs.run(server) for _ in range(ON_TOP)]
    assert not any(run.changes for run in took)
    return {
        "unchanged_seconds": round(statistics.median(run.seconds for run in took), 4),
        "unchanged_bytes": round((_payload(engine) - before) / ON_TOP),
    }


def _payload(engine: Engine) -> int:
    """Return the bytes of rows and index entries, without the free space of their pages."""
    with read(engine) as conn:
        return int(conn.exec_driver_sql("SELECT sum(payload) FROM dbstat").scalar_one())
