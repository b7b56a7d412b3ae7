"""Every stay of images, as the table of intervals has them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, select

from crawler.db.filters import targets_by_id
from crawler.db.schema import ImageVersion, Interval
from crawler.db.sql import among, portions
from crawler.domain.models import END_OF_TIME, Target
from crawler.domain.rows import Stay


def stays_of(conn: Connection, image_ids: Collection[str]) -> Iterator[Stay]:
    """Return every stay of the images with these ids, at every target; in order of time at each."""
    targets: dict[int, Target] = {}
    for portion in portions(sorted(image_ids)):
        rows = conn.execute(_intervals_of(), {"images": portion}).all()
        targets.update(targets_by_id(conn, sorted({row.target_id for row in rows} - targets.keys())))
        for row in rows:
            interval = (row.valid_from, row.valid_to, row.present_since, row.baseline)
            yield stay_of(targets[row.target_id], row, *interval)


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


def stay_of(
    target: Target, version: Any, valid_from: datetime, valid_to: datetime, present_since: datetime, baseline: bool
) -> Stay:
    """Return an interval of a version, as its row in the table has it."""
    return Stay(
        target=target,
        image_set=version.image_set,
        image_id=version.image_id,
        attributes=version.attributes,
        valid_from=valid_from,
        valid_to=None if valid_to == END_OF_TIME else valid_to,
        present_since=present_since,
        baseline=baseline,
    )
