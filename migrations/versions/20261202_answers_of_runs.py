"""
Which answer of a target changed what is known, in what run: what `crawler replay` reads again. And what was noticed of
the form of answers, for `schema` changes.

Of a history that is there already the last answer of each target is taken up; in which run an earlier one came is not
known of all.
"""

from __future__ import annotations

import json
from bisect import bisect_right

import sqlalchemy as sa
from alembic import op

revision = "20261202_answers_of_runs"
down_revision = "20261130_action_that_answered"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
#: `views_digest()` of the views that go with this schema.
VIEWS = "8b1e308e4b2f58e0"

RUNS = sa.table(
    "runs",
    *(sa.column(name, KEY) for name in ("id", "started_at", "finished_at", "account_id")),
    sa.column("accounts", sa.Text()),
)
TARGETS = sa.table("targets", *(sa.column(name, KEY) for name in ("id", "account_id", "payload_id", "written_at")))
#: Rows in one insert.
PORTION = 5_000


def upgrade() -> None:
    op.create_table(
        "answers",
        sa.Column("run_id", KEY, nullable=False),
        sa.Column("target_id", KEY, nullable=False),
        sa.Column("payload_id", KEY, nullable=False),
        sa.Column("observed_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["payload_id"], ["payloads.id"], name=op.f("fk_answers_payload_id_payloads")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_answers_run_id_runs")),
        sa.ForeignKeyConstraint(["target_id"], ["targets.id"], name=op.f("fk_answers_target_id_targets")),
        sa.PrimaryKeyConstraint("run_id", "target_id", name=op.f("pk_answers")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "answer_forms",
        sa.Column("target_id", KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False, comment="a field, extra. and a field, set and a set"),
        sa.Column("account_id", KEY, nullable=False),
        sa.Column("state", sa.Text(), nullable=False, comment="missing | back | new"),
        sa.Column("is_told", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_answer_forms_account_id_accounts")),
        sa.ForeignKeyConstraint(["target_id"], ["targets.id"], name=op.f("fk_answer_forms_target_id_targets")),
        sa.PrimaryKeyConstraint("target_id", "name", name=op.f("pk_answer_forms")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_answer_forms_account_id"), "answer_forms", ["account_id"], unique=False)
    answers = sa.table(
        "answers", *(sa.column(name, KEY) for name in ("run_id", "target_id", "payload_id", "observed_at"))
    )
    rows = list(_last_answers(op.get_bind()))
    for first in range(0, len(rows), PORTION):
        op.bulk_insert(answers, rows[first : first + PORTION])


def _last_answers(conn: sa.Connection) -> list[dict[str, int]]:
    """Return the last answer of each target, in the newest run of its account that began by then."""
    begun: dict[int, list[tuple[int, int]]] = {}
    ended = sa.select(RUNS.c.id, RUNS.c.started_at, RUNS.c.account_id, RUNS.c.accounts).where(
        RUNS.c.finished_at.is_not(None)
    )
    for run_id, started_at, account_id, accounts in conn.execute(ended):
        for account in [account_id] if account_id is not None else json.loads(accounts):
            begun.setdefault(account, []).append((started_at, run_id))
    found = []
    for account, runs in begun.items():
        runs.sort()
        known = sa.select(TARGETS.c.id, TARGETS.c.payload_id, TARGETS.c.written_at).where(
            TARGETS.c.account_id == account, TARGETS.c.payload_id.is_not(None), TARGETS.c.written_at.is_not(None)
        )
        for target_id, payload_id, written_at in conn.execute(known):
            place = bisect_right(runs, (written_at, 2**62))
            if place:
                found.append(
                    {
                        "run_id": runs[place - 1][1],
                        "target_id": target_id,
                        "payload_id": payload_id,
                        "observed_at": written_at,
                    }
                )
    return found


def downgrade() -> None:
    raise NotImplementedError("History is never downgraded: restore the backup that the upgrade made.")
