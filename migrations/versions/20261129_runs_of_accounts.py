"""The account of each run that was one account's, so that the last run of an account is found at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261129_runs_of_accounts"
down_revision = "20261129_conditions_and_reports"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
#: `views_digest()` of the views that go with this schema.
VIEWS = "984090ba32990f43"


def upgrade() -> None:
    op.add_column("runs", sa.Column("account_id", KEY, nullable=True, comment="of one account alone; NULL: of several"))
    op.execute(
        "UPDATE runs SET account_id = CAST(replace(replace(accounts, '[', ''), ']', '') AS bigint) "
        "WHERE accounts <> '[]' AND accounts NOT LIKE '%,%'"
    )
    op.create_index(op.f("ix_runs_account_id_id"), "runs", ["account_id", "id"], unique=False)
