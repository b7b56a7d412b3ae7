"""Texts of any length: indexes by hash on PostgreSQL, images of a hold by number; the answers behind failures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from crawler.db.views import drop_views

revision = "20261129_texts_of_any_length"
down_revision = "20261129_doubted_answers"
branch_labels = None
depends_on = None

#: `views_digest()` of the views that go with this schema.
VIEWS = "984090ba32990f43"

BY_HASH = (("image_versions", "image_id"), ("image_versions", "name_key"), ("changes", "image_id"))


def upgrade() -> None:
    for statement in drop_views():
        op.execute(statement)
    if op.get_bind().dialect.name == "postgresql":
        for table, column in BY_HASH:
            op.drop_index(op.f(f"ix_{table}_{column}"), table)
            op.create_index(op.f(f"ix_{table}_{column}"), table, [column], postgresql_using="hash")
    _number_images_of_holds()


def _number_images_of_holds() -> None:
    """Make the table anew: its key was the texts themselves."""
    op.rename_table("hold_images", "hold_images_by_text")
    if op.get_bind().dialect.name == "postgresql":
        for name in ("pk_hold_images", "fk_hold_images_hold_id_holds"):
            op.execute(f"ALTER TABLE hold_images_by_text DROP CONSTRAINT {name}")
    op.create_table(
        "hold_images",
        sa.Column("hold_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False, comment="counts the images of a hold", autoincrement=False),
        sa.Column("image_set", sa.Text(), nullable=False),
        sa.Column("image_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["hold_id"], ["holds.id"], name=op.f("fk_hold_images_hold_id_holds")),
        sa.PrimaryKeyConstraint("hold_id", "position", name=op.f("pk_hold_images")),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO hold_images (hold_id, position, image_set, image_id) "
        "SELECT hold_id, row_number() OVER (PARTITION BY hold_id ORDER BY image_set, image_id) - 1, "
        "image_set, image_id "
        "FROM hold_images_by_text"
    )
    op.drop_table("hold_images_by_text")


def downgrade() -> None:
    raise NotImplementedError("History is never downgraded: restore the backup that the upgrade made.")
