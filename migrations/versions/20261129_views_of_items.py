"""Views over every kind, and those about images of UK8S images alone, as they have always been."""

from __future__ import annotations

revision = "20261129_views_of_items"
down_revision = "20261129_account_of_each_row"
branch_labels = None
depends_on = None

#: `views_digest()` of the views that go with this schema.
VIEWS = "077558c932347d0f"


def upgrade() -> None:
    """Change no table: the views are made anew when the newest revision is reached."""


def downgrade() -> None:
    raise NotImplementedError("History is never downgraded: restore the backup that the upgrade made.")
