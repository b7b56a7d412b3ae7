"""
Images that a person revoked: what the cloud lists, and nobody should use.

Every function takes a connection; those that write want one inside `begin(engine, fence)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from crawler.db.schema import ImageVersion, Revocation
from crawler.db.sql import portions


def revoked_ids(conn: Connection) -> dict[str, str]:
    """Return the revoked ids, each with the reason why."""
    return {row.image_id: row.reason for row in conn.execute(select(Revocation.image_id, Revocation.reason))}


def revoke(conn: Connection, image_ids: Sequence[str], reason: str, *, who: str, now: datetime) -> None:
    """Revoke *image_ids*; for those that are revoked already the new *reason* counts."""
    unrevoke(conn, image_ids)
    rows = [
        {"image_id": image_id, "reason": reason, "revoked_at": now, "revoked_by": who}
        for image_id in dict.fromkeys(image_ids)
    ]
    conn.execute(insert(Revocation), rows)


def never_listed(conn: Connection, image_ids: Sequence[str]) -> list[str]:
    """Return those of *image_ids* that no observation ever listed, in their order."""
    wanted = list(dict.fromkeys(image_ids))
    listed: set[str] = set()
    for ids in portions(wanted):
        listed.update(conn.scalars(select(ImageVersion.image_id).where(ImageVersion.image_id.in_(ids))))
    return [image_id for image_id in wanted if image_id not in listed]


def unrevoke(conn: Connection, image_ids: Sequence[str]) -> int:
    """Take revocations back, and return how many there were."""
    return conn.execute(delete(Revocation).where(Revocation.image_id.in_(list(image_ids)))).rowcount
