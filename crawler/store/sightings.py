"""Where images were ever listed: by id with everything known of them, by name only the places."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, select

from crawler.db.filters import targets_by_id
from crawler.db.schema import ImageVersion, Interval
from crawler.db.sql import among, portions
from crawler.domain.models import END_OF_TIME, Target
from crawler.domain.rows import Stay


def stays_of(conn: Connection, image_ids: Collection[str]) -> Iterator[Stay]:
    """Give every stay of the images with these ids, at every target; in order of time at each."""
    targets: dict[int, Target] = {}
    for portion in portions(sorted(image_ids)):
        rows = conn.execute(_intervals_of(), {"images": portion}).all()
        targets.update(targets_by_id(conn, sorted({row.target_id for row in rows} - targets.keys())))
        for row in rows:
            yield Stay(
                target=targets[row.target_id],
                image_set=row.image_set,
                image_id=row.image_id,
                attributes=row.attributes,
                valid_from=row.valid_from,
                valid_to=None if row.valid_to == END_OF_TIME else row.valid_to,
                present_since=row.present_since,
                baseline=row.baseline,
            )


@cache
def _intervals_of() -> Select[*tuple[Any, ...]]:
    statement: Select[*tuple[Any, ...]] = select(
        Interval.target_id,
        Interval.valid_from,
        Interval.valid_to,
        Interval.present_since,
        Interval.baseline,
        ImageVersion.image_set,
        ImageVersion.image_id,
        ImageVersion.attributes,
    )
    return (
        statement.join(ImageVersion, ImageVersion.id == Interval.version_id)
        .where(among(ImageVersion.image_id, "images"))
        .order_by(Interval.target_id, Interval.valid_from)
    )


def targets_listing(conn: Connection, name_keys: Collection[str]) -> Iterator[tuple[Target, str]]:
    """Give the targets that ever listed an image of one of these normalised names, each with the name."""
    targets: dict[int, Target] = {}
    for portion in portions(sorted(name_keys)):
        rows = conn.execute(_listing(), {"names": portion}).all()
        targets.update(targets_by_id(conn, sorted({row.target_id for row in rows} - targets.keys())))
        for row in rows:
            yield targets[row.target_id], row.name_key


@cache
def _listing() -> Select[*tuple[Any, ...]]:
    statement: Select[*tuple[Any, ...]] = select(Interval.target_id, ImageVersion.name_key)
    return (
        statement.join(ImageVersion, ImageVersion.id == Interval.version_id)
        .where(among(ImageVersion.name_key, "names"))
        .distinct()
    )
