"""
The account of each interval, change and span of trouble, so that one account is read without the targets of all.

Obligatory columns would make SQLite build the tables anew, so they are not; `crawler db check` finds a row without.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261129_account_of_each_row"
down_revision = "20261129_runs_of_accounts"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
#: `views_digest()` of the views that go with this schema.
VIEWS = "984090ba32990f43"

TARGETS = sa.table("targets", sa.column("id", KEY), sa.column("account_id", KEY))


def upgrade() -> None:
    for table in ("intervals", "changes", "exceptions"):
        op.add_column(table, sa.Column("account_id", KEY, nullable=True, comment="that of the target"))
        rows = sa.table(table, sa.column("target_id", KEY), sa.column("account_id", KEY))
        op.execute(sa.update(rows).values(account_id=TARGETS.c.account_id).where(TARGETS.c.id == rows.c.target_id))
    op.create_index(op.f("ix_changes_account_id_recorded_at"), "changes", ["account_id", "recorded_at"], unique=False)
    op.create_index(op.f("ix_exceptions_account_id_to_run_id"), "exceptions", ["account_id", "to_run_id"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("History is never downgraded: restore the backup that the upgrade made.")
