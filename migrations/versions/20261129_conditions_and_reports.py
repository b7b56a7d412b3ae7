"""What was told of conditions that last, and what became of the reports of each run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261129_conditions_and_reports"
down_revision = "20261129_texts_of_any_length"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
#: Microseconds since 1970 UTC.
INSTANT = sa.BigInteger()
JSON_TEXT = sa.Text()
#: `views_digest()` of the views that go with this schema.
VIEWS = "984090ba32990f43"


def upgrade() -> None:
    op.create_table(
        "conditions",
        sa.Column("id", KEY, nullable=False),
        sa.Column("account_id", KEY, nullable=True, comment="NULL: of a configuration or a report"),
        sa.Column("key", JSON_TEXT, nullable=False, comment="what goes wrong, and where"),
        sa.Column("since", INSTANT, nullable=False),
        sa.Column("size", sa.Integer(), nullable=False, comment="when it was last told: told again once it doubles"),
        sa.Column("told", sa.Text(), nullable=False, comment="what it is called when it is over"),
        sa.Column("target_ids", JSON_TEXT, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_conditions_account_id_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conditions")),
    )
    op.create_index(op.f("ix_conditions_account_id"), "conditions", ["account_id"], unique=False)
    op.add_column(
        "runs",
        sa.Column("reports", JSON_TEXT, nullable=True, comment="queued, sent, failed; NULL: none of them"),
    )
