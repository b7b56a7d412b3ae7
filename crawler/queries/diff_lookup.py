"""
Two moments, or two zones, side by side.

Every function takes a connection inside `read(engine)`, so that all statements of an answer see one moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from crawler.db.beginning import require_kept
from crawler.db.filters import chosen_targets, images_wanted, with_known_names
from crawler.db.schema import ImageVersion
from crawler.db.sql import among, portions
from crawler.domain.filters import EVERYTHING, Filters
from crawler.domain.models import ABSENT, Target, require_aware
from crawler.domain.rows import Knowledge
from crawler.errors import Ambiguous
from crawler.queries.compare import CompareRow, compared_by, side_by_side
from crawler.queries.diff import DiffRow, differences
from crawler.queries.freshness import knowledge
from crawler.queries.images import images

#: Ids that a comparison of two moments asks for; above that, it reads all there is.
RELATED = 5_000


def moments_apart(
    conn: Connection,
    first: datetime,
    second: datetime,
    filters: Filters = EVERYTHING,
    *,
    stale_after: timedelta,
) -> tuple[Iterator[DiffRow], dict[Target, tuple[Knowledge | None, Knowledge | None]]]:
    """
    Compare what was available at *first* and at *second*; give the rows, and how well each target was known then.

    Targets that were retired or deselected at both moments are left out.
    """
    filters = with_known_names(conn, filters)
    for at in (first, second):
        require_kept(conn, require_aware(at))
    chosen = chosen_targets(conn, filters)
    known = [knowledge(conn, chosen, require_aware(at), stale_after, include_retired=True) for at in (first, second)]
    asked = {target for side in known for target, own in side.items() if own.reason not in ABSENT}
    related = _related_ids(conn, filters)
    # an image may have stated its set at one of the moments alone
    narrowed = replace(filters, image_set=(), name=(), image_id=related or ())
    rows = [
        (
            row
            for row in images(conn, at, narrowed, now=at, stale_after=stale_after, include_retired=True)
            if row.target in asked
        )
        for at in (first, second)
    ]
    found = differences(rows[0], rows[1], known[0], known[1]) if related != () else iter(())
    wanted = (row for row in found if _wants(filters, row))
    return wanted, {target: (known[0].get(target), known[1].get(target)) for target in sorted(asked)}


def _wants(filters: Filters, row: DiffRow) -> bool:
    """Return whether an image is wanted under the name it had at either moment."""
    return any(filters.wants_image(row.image_set, row.image_id, name) for name in row.names)


def _related_ids(conn: Connection, filters: Filters) -> tuple[str, ...] | None:
    """
    Return the ids that an answer about the wanted images has to look at: theirs, and those that ever shared their
    names.

    None: there are too many to name, or all are wanted.
    """
    if not filters.name and not filters.image_id:
        return None
    wanted = images_wanted(conn, filters)
    if wanted is None:
        return None
    named = select(ImageVersion.name_key).where(among(ImageVersion.image_id, "ids"), ImageVersion.name_key != "")
    keys = {key for ids in portions(wanted) for key in conn.execute(named, {"ids": ids}).scalars()}
    namesakes = select(ImageVersion.image_id).where(among(ImageVersion.name_key, "keys"))
    found = {one for some in portions(sorted(keys)) for one in conn.execute(namesakes, {"keys": some}).scalars()}
    related = found.union(wanted)
    return tuple(sorted(related)) if len(related) <= RELATED else None


def zones_apart(
    conn: Connection,
    first: Iterable[str],
    second: Iterable[str],
    at: datetime | None,
    filters: Filters = EVERYTHING,
    *,
    now: datetime,
    stale_after: timedelta,
) -> tuple[list[CompareRow], tuple[dict[Target, Knowledge], dict[Target, Knowledge]]]:
    """
    Compare the zones *first* and *second* as of *at* (None: *now*); give the rows, and how well each was known.

    Of UK8S images, unless *filters* name a kind. Raises Ambiguous when a side fits several zones: an image has an id
    in each.
    """
    filters = filters.of_images()
    moment = require_aware(now if at is None else at)
    filters = with_known_names(conn, filters)
    require_kept(conn, moment)
    sides = [replace(filters, zone=tuple(zones)) for zones in (first, second)]
    every = [knowledge(conn, chosen_targets(conn, side), moment, stale_after, include_retired=True) for side in sides]
    known = [{target: own for target, own in side.items() if own.reason not in ABSENT} for side in every]
    for side in known:
        zones = sorted({target.zone for target in side})
        lanes = {target._replace(region="", zone="") for target in side}
        is_one = len({zone.casefold() for zone in zones}) == 1 and len(lanes) == len(side)
        if len(zones) > 1 and not is_one:
            raise Ambiguous(f"Several zones fit: {', '.join(zones)}; one is compared with one other.")
    rows = [
        list(images(conn, moment, replace(side, image_id=()), now=moment, stale_after=stale_after)) for side in sides
    ]
    # of a project that is asked no more in one of them it is told so; where a glob fits a zone that is, that one counts
    told = [
        {target: own for target, own in side.items() if target not in asked} | asked
        for side, asked in zip(every, known, strict=True)
    ]
    every_row = side_by_side(rows[0], rows[1], *told)
    if not filters.image_id:
        return every_row, (known[0], known[1])
    # the names of those images, also where another one of the name is compared, as it came later
    meant = {
        compared_by(row)
        for row in (*rows[0], *rows[1])
        if filters.wants_image(row.image_set, row.image_id, row.image_name)
    }
    wanted = [row for row in every_row if not meant.isdisjoint(row.compared)]
    return wanted, (known[0], known[1])
