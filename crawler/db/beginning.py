"""From when on the history is whole, for readers; `pruning.py` moves it."""

from __future__ import annotations

from datetime import datetime
from functools import cache

from sqlalchemy import Connection, Select, select

from crawler.db.schema import Setting
from crawler.domain.models import iso_utc
from crawler.errors import UnknownKnowledge

#: The setting that says it.
BEGINS_AT = "history_begins_at"


def begins_at(conn: Connection) -> datetime | None:
    """Return from when on the history is whole; None when nothing was ever pruned."""
    return read_beginning(conn.execute(_beginning()).scalar())


def read_beginning(text: str | None) -> datetime | None:
    """Return the setting's value as a time."""
    return None if text is None else datetime.fromisoformat(text)


@cache
def _beginning() -> Select[str]:
    return select(Setting.value).where(Setting.name == BEGINS_AT)


def require_kept(conn: Connection, moment: datetime) -> None:
    """Raise UnknownKnowledge when *moment* lies before the kept history."""
    refuse_before(begins_at(conn), moment)


def refuse_before(began: datetime | None, moment: datetime) -> None:
    """Raise UnknownKnowledge when the kept history *began* after *moment*."""
    if began is not None and moment < began:
        raise UnknownKnowledge(
            f"Nobody can tell any more what was there at {iso_utc(moment)}: "
            f"the history before {iso_utc(began)} was pruned."
        )
