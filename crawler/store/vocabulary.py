"""The words the history knows: which accounts, zones, image names… were ever recorded; tells a typo from an absence."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select

from crawler.store.tables import Account, ImageVersion, Run, TargetRow

#: Each part of a selection and the columns that hold its values; a project is called by its id or its name.
_COLUMNS = {
    "account": (Account.name,),
    "project": (TargetRow.project, TargetRow.project_name),
    "region": (TargetRow.region,),
    "zone": (TargetRow.zone,),
    "kind": (TargetRow.kind,),
    "variant": (TargetRow.variant,),
    "image_set": (ImageVersion.image_set,),
    "name": (ImageVersion.image_name,),
    "image_id": (ImageVersion.image_id,),
}


def known_words(conn: Connection, part: str) -> set[str]:
    """Give every value that was ever recorded for *part* of a selection (`zone`, `image_id`, …)."""
    return {value for column in _COLUMNS[part] for value in conn.scalars(select(column).distinct()) if value}


def first_run_at(conn: Connection) -> datetime | None:
    """Give the end of the first run that recorded anything; None when there is none yet."""
    return conn.scalar(select(func.min(Run.finished_at)).where(Run.ok + Run.held > 0))
