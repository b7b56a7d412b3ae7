"""
Which of the two actions that its kind knows gave a target's last answer: the other may list other things.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261130_action_that_answered"
down_revision = "20261129_workers_and_budgets"
branch_labels = None
depends_on = None

#: `views_digest()` of the views that go with this schema.
VIEWS = "077558c932347d0f"


def upgrade() -> None:
    which = "action of that answer, where its kind knows two; else NULL"
    op.add_column("targets", sa.Column("answered_by", sa.Text(), nullable=True, comment=which))


def downgrade() -> None:
    raise NotImplementedError("History is never downgraded: restore the backup that the upgrade made.")
