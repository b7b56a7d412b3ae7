"""
What is needed to doubt an answer: what the last good one left unread, what a hold waits for, what was not believed.

What the last good answers left unread is counted in the answers that were kept of them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

from crawler.db.views import drop_views

revision = "20261129_doubted_answers"
down_revision = "20261123_first_schema"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
#: `views_digest()` of the views that go with this schema.
VIEWS = "984090ba32990f43"

PAYLOADS = sa.table("payloads", sa.column("id", KEY), sa.column("body", sa.LargeBinary()))
TARGETS = sa.table("targets", *(sa.column(name, KEY) for name in ("payload_id", "unreadable", "excess")))


def upgrade() -> None:
    for statement in drop_views():
        op.execute(statement)
    with op.batch_alter_table("targets") as batch:
        batch.add_column(
            sa.Column(
                "unreadable",
                sa.Integer(),
                nullable=False,
                server_default=sa.text("0"),
                comment="records without a readable id in the last good answer that did not lack too much",
            )
        )
        batch.add_column(
            sa.Column(
                "excess",
                KEY,
                nullable=False,
                server_default=sa.text("0"),
                comment="by how many records that answer counted more than it listed",
            )
        )
    with op.batch_alter_table("holds") as batch:
        batch.add_column(
            sa.Column(
                "waits_for",
                sa.Text(),
                nullable=False,
                server_default=sa.text("'confirmations'"),
                comment="confirmations | readable: an answer with no more unreadable records",
            )
        )
        batch.add_column(
            sa.Column(
                "unreadable",
                sa.Integer(),
                nullable=True,
                comment=(
                    "unreadable records of the good answer before it; one with more confirms nothing; NULL: not kept"
                ),
            )
        )
    with op.batch_alter_table("exceptions") as batch:
        batch.add_column(
            sa.Column(
                "payload_id",
                KEY,
                nullable=True,
                comment="the first answer of the span that was not believed at all",
            )
        )
        batch.create_foreign_key(op.f("fk_exceptions_payload_id_payloads"), "payloads", ["payload_id"], ["id"])
    _count_unread(op.get_bind())


def _count_unread(conn: sa.Connection) -> None:
    """Fill the new columns of `targets` where the last answer left anything unread."""
    kept = sa.select(TARGETS.c.payload_id).where(TARGETS.c.payload_id.is_not(None)).distinct()
    for payload_id in conn.execute(kept).scalars().all():
        body = conn.execute(sa.select(PAYLOADS.c.body).where(PAYLOADS.c.id == payload_id)).scalar_one()
        unreadable, excess = _unread(body)
        if unreadable or excess:
            conn.execute(
                sa.update(TARGETS)
                .where(TARGETS.c.payload_id == payload_id)
                .values(unreadable=unreadable, excess=excess)
            )


def _unread(packed: bytes) -> tuple[int, int]:
    """Give how many records of an answer have no id, and by how many it counts more than it lists."""
    try:
        document = json.loads(zlib.decompress(packed))
    except (ValueError, RecursionError):
        return 0, 0
    members = {str(name).casefold(): value for name, value in document.items()}
    records = [record for name, value in members.items() if "imageset" in name for record in _records(value)]
    counts = [value for name, value in members.items() if name.endswith("count") and type(value) is int]
    return sum(not _has_id(record) for record in records), min(max([0, *(n - len(records) for n in counts)]), 2**62)


def _records(value: Any) -> Iterator[Any]:
    entries = value if isinstance(value, list) else [value] if isinstance(value, dict | str) else []
    yield from (entry for entry in entries if entry not in (None, {}, ""))


def _has_id(record: Any) -> bool:
    if not isinstance(record, Mapping):
        return isinstance(record, str) and bool(record.strip())
    stated = [value for name, value in record.items() if str(name).casefold() == "imageid"]
    return any(bool(str(value).strip()) for value in stated if isinstance(value, str | int))


def downgrade() -> None:
    raise NotImplementedError("History is never downgraded: restore the backup that the upgrade made.")
