"""${message}

Rules: the previous program must still be able to read while this runs; a released migration is never edited; new views need a
migration too, whose upgrade may be empty. Add the revision to REVISIONS in crawler/db/migrations.py.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
from crawler.db.views import drop_views

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}

#: `views_digest()` of the views that go with this schema.
VIEWS = ""


def upgrade() -> None:
    for statement in drop_views():  # made anew at the end
        op.execute(statement)
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    raise NotImplementedError("History is never downgraded: restore the backup that the upgrade made.")
