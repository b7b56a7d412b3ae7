"""
What several machines need: the tick that a run was made for, the workers, and the rates that accounts share.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261129_workers_and_budgets"
down_revision = "20261129_revocations"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
#: `views_digest()` of the views that go with this schema.
VIEWS = "077558c932347d0f"


def upgrade() -> None:
    tick = "of the fleet, that it was made for; NULL: of no fleet"
    op.add_column("runs", sa.Column("tick", sa.BigInteger(), nullable=True, comment=tick))
    op.create_table(
        "workers",
        sa.Column("id", sa.Text(), nullable=False, comment="chosen at its start; in the names of its sessions"),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False, comment="of the program"),
        sa.Column("config", sa.Text(), nullable=False, comment="digest of its configuration without secrets"),
        sa.Column("slots", sa.Integer(), nullable=False, comment="accounts that it crawls at a time"),
        sa.Column("in_flight", sa.Integer(), nullable=False, comment="accounts that it crawls now"),
        sa.Column("session", KEY, nullable=False, comment="the database session that holds its locks"),
        sa.Column(
            "session_began", sa.BigInteger(), nullable=False, comment="when that began; numbers of sessions come again"
        ),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_table(
        "budgets",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("configured", sa.Float(53), nullable=False, comment="requests per period, by the configuration"),
        sa.Column("period", sa.Float(53), nullable=False, comment="seconds"),
        sa.Column("rate", sa.Float(53), nullable=False, comment="requests per period allowed now"),
        sa.Column("due", sa.Float(53), nullable=False, comment="when the next slot is free, by the server's clock"),
        sa.Column("halved_at", sa.Float(53), nullable=False, comment="when the rate was last halved"),
        sa.Column("clean_since", sa.Float(53), nullable=False, comment="since when nothing was refused as too many"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_budgets")),
    )


def downgrade() -> None:
    raise NotImplementedError("History is never downgraded: restore the backup that the upgrade made.")
