"""One question of each kind that is asked of a part of the history, for measuring and for looking at the plans."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from crawler.domain.filters import Filters
from crawler.queries import changes, check_lookup, runs, status
from crawler.queries import images as queries_images
from crawler.queries.explain import explain
from crawler.queries.stays import stays_of

STALE = timedelta(hours=26)
ZONE = Filters(zone=("r001-02",))


def questions(at: datetime, now: datetime) -> dict[str, Callable[[Connection], object]]:
    """Return questions about *at* and *now* to a history that `tests.benchmarks.five_years` made."""

    def images(conn: Connection, **filters: Any) -> int:
        return len(list(queries_images.images(conn, at, Filters(**filters), now=now, stale_after=STALE)))

    a_day = at, at + timedelta(days=1)
    return {
        "one target": lambda conn: images(conn, project=("org-3",), zone=("r001-02",)),
        "a zone": lambda conn: images(conn, zone=("r001-02",)),
        "a zone by glob": lambda conn: images(conn, zone=("r001-0[12]",)),
        "an image": lambda conn: images(conn, image_id=("uimage-5-7",)),
        "a name": lambda conn: images(conn, name=("system 7 v0",)),
        "a day": lambda conn: list(changes.changes(conn, *a_day)),
        "a day of a zone": lambda conn: list(changes.changes(conn, *a_day, filters=ZONE)),
        "an image's changes": lambda conn: list(changes.changes(conn, filters=Filters(image_id=("uimage-5-7",)))),
        "status": lambda conn: status.status(conn, ZONE, now=now),
        "a change": lambda conn: explain(conn, 1_000),
        "a run": lambda conn: runs.run(conn, 2_000),
        "stays": lambda conn: list(stays_of(conn, ["uimage-5-7", "uimage-5-8"])),
        "listings": lambda conn: list(check_lookup.targets_listing(conn, ["system 7 v0"])),
    }
