"""
The image id to use now, from the history.

Every function takes a connection inside `read(engine)`, so that all statements of an answer see one moment.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo

from sqlalchemy import Connection

from crawler.db.filters import meant_name
from crawler.domain.filters import Filters
from crawler.domain.rows import StatusRow
from crawler.errors import EmptySelection
from crawler.queries import images as queries_images
from crawler.queries import status as queries_status
from crawler.queries.resolve import Resolved
from crawler.queries.resolve import resolve as choose


def resolve(
    conn: Connection,
    name: str,
    filters: Filters,
    *,
    gpu: bool = False,
    now: datetime,
    stale_after: timedelta,
    max_age: timedelta | None = None,
    timezone: tzinfo = UTC,
) -> tuple[Resolved, StatusRow]:
    """
    Return the image called *name* to use now at the one place that *filters* want, and how that place is.

    From `ImageSet` and the default variant unless *filters* tell otherwise. Raises EmptySelection where there is no
    such place, NoAnswer, Ambiguous and UnknownKnowledge as `questions.resolve` does; *max_age* is *stale_after* by
    default. A refusal tells times in *timezone*.
    """
    place = replace(filters, variant=filters.variant or ("default",), image_set=(), name=(), image_id=())
    status = queries_status.status(conn, place, now=now)
    if not status:
        variants = {
            row.target.variant for row in queries_status.status(conn, replace(place, variant=filters.variant), now=now)
        }
        hint = f" It is asked with the variant {', '.join(sorted(variants))}." if variants else ""
        parts = ("account", "project", "region", "zone", "kind", "variant")
        words = " ".join(f"--{part} {' '.join(globs)}" for part in parts if (globs := getattr(place, part)))
        raise EmptySelection(f"No target fits {words}.{hint}")
    wanted = replace(place, image_set=filters.image_set or ("ImageSet",))
    images = queries_images.images(conn, None, wanted, now=now, stale_after=stale_after, include_retired=True)
    longest = stale_after if max_age is None else max_age
    name = meant_name(conn, name)
    found = choose(status, images, name, gpu=gpu, now=now, max_age=longest, timezone=timezone)
    return found, next(row for row in status if row.target == found.target)
