"""
The runs of one account are found by its scopes, and an index has those of several alone.

On PostgreSQL each index of runs is written twice by a run, when it begins and when it ends: the one by account took a
sixth of what an unchanged run left there.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261203_runs_by_scope"
down_revision = "20261202_answers_of_runs"
branch_labels = None
depends_on = None

#: `views_digest()` of the views that go with this schema.
VIEWS = "8b1e308e4b2f58e0"

SHARED = sa.text("account_id IS NULL")


def upgrade() -> None:
    op.drop_index(op.f("ix_runs_account_id_id"), table_name="runs")
    op.create_index("ix_runs_shared", "runs", ["id"], unique=False, sqlite_where=SHARED, postgresql_where=SHARED)


def downgrade() -> None:
    raise NotImplementedError("History is never downgraded: restore the backup that the upgrade made.")
