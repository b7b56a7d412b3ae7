"""Images that a person revoked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261129_revocations"
down_revision = "20261129_views_of_items"
branch_labels = None
depends_on = None

#: `views_digest()` of the views that go with this schema.
VIEWS = "077558c932347d0f"


def upgrade() -> None:
    op.create_table(
        "revocations",
        sa.Column("image_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_revocations")),
    )


def downgrade() -> None:
    raise NotImplementedError("History is never downgraded: restore the backup that the upgrade made.")
