"""The account of each run and scope that is one account's, so that others are not looked at for its sake."""

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
    op.add_column(
        "scopes", sa.Column("account_id", KEY, nullable=True, comment="of one account alone; NULL: of several")
    )
    op.execute(
        "UPDATE scopes SET account_id = (SELECT CASE WHEN min(t.account_id) = max(t.account_id) "
        "THEN min(t.account_id) END FROM scope_targets AS s JOIN targets AS t ON t.id = s.target_id "
        "WHERE s.scope_id = scopes.id)"
    )
    op.create_index(op.f("ix_scopes_account_id"), "scopes", ["account_id"], unique=False)
