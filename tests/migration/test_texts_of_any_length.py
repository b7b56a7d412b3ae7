"""The migration that lets texts be of any length keeps what a database of the first schema holds."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from crawler.db.engine import begin, is_sqlite, opened, read
from crawler.db.migrations import REVISIONS, upgrade
from crawler.db.views import VIEWS
from tests.support.ageing import upgrade_to

ROWS = (
    "INSERT INTO accounts (id, name, endpoint, fence) VALUES (1, 'prod', '', 0)",
    "INSERT INTO targets (id, account_id, project, project_name, region, zone, kind, variant, missing_count,"
    " missing_needed) VALUES (1, 1, 'org-x', '', 'hk', 'hk-02', 'uk8s-image', 'default', 0, 0)",
    "INSERT INTO runs (id, status, started_at, finished_at, accounts, restricted, ok, held, denied, failed, skipped,"
    " baseline_targets, baseline_images, appeared, returned, withdrawn, modified, target_added, target_retired, sent,"
    " retried, throttled) VALUES (1, 'complete', 1, 2, '[1]', false, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0)",
    "INSERT INTO holds (id, target_id, run_id, held_at, confirmations, status, resolved_at)"
    " VALUES (1, 1, 1, 1, 0, 'open', 9), (2, 1, 1, 1, 0, 'open', 9)",
    "INSERT INTO hold_images (hold_id, image_set, image_id)"
    " VALUES (1, 'ImageSet', 'b'), (1, 'ImageSet', 'a'), (2, 'ImageSet', 'a')",
    "INSERT INTO exceptions (target_id, from_run_id, to_run_id, outcome, message, request_uuid, since)"
    " VALUES (1, 1, 9, 'failed', 'down', '', 1)",
)


@pytest.fixture
def first(empty_database_url: str) -> str:
    """Return a database of the first schema with a hold and a failure in it."""
    upgrade_to(empty_database_url, REVISIONS[0])
    with opened(empty_database_url) as engine, begin(engine) as conn:
        for row in ROWS:
            conn.execute(text(row))
    return empty_database_url


def test_what_was_held_is_held(first: str) -> None:
    """The images of each hold are counted, nothing is lost, and every view answers."""
    with opened(first) as engine:
        upgrade(engine)
        with read(engine) as conn:
            images = conn.execute(text("SELECT * FROM hold_images ORDER BY hold_id, position")).all()
            failures = conn.execute(text("SELECT message, payload_id FROM exceptions")).all()
            for view in VIEWS:
                conn.execute(text(f"SELECT * FROM {view}")).all()

        assert images == [(1, 0, "ImageSet", "a"), (1, 1, "ImageSet", "b"), (2, 0, "ImageSet", "a")]
        assert failures == [("down", None)]
        assert indexes_by_hash(engine) == ([] if is_sqlite(engine) else ["changes", "image_versions", "image_versions"])


def indexes_by_hash(engine: Engine) -> list[str]:
    """Return the tables that have an index by hash, once for each."""
    if is_sqlite(engine):
        return []
    with read(engine) as conn:
        query = "SELECT tablename FROM pg_indexes WHERE indexdef LIKE '%USING hash%' ORDER BY 1"
        return list(conn.execute(text(query)).scalars())
