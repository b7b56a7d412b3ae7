"""The migration that names the account of each row: no row is without, none is lost, and it may be killed anywhere."""

from __future__ import annotations

import pytest
from sqlalchemy import inspect, text

from crawler.db.engine import begin, is_sqlite, opened, read
from crawler.db.integrity import findings
from crawler.db.migrations import schema_state, upgrade
from tests.support.ageing import upgrade_killed_at, upgrade_to

#: The schema of version 0.1.0.
BEFORE = "20261129_conditions_and_reports"
ROWS = (
    "INSERT INTO accounts (id, name, endpoint, fence) VALUES (3, 'prod', '', 0), (4, 'test', '', 0)",
    "INSERT INTO targets (id, account_id, project, project_name, region, zone, kind, variant, missing_count,"
    " missing_needed) VALUES (1, 3, 'org-x', '', 'hk', 'hk-01', 'uk8s-image', 'default', 0, 0),"
    " (2, 4, 'org-y', '', 'hk', 'hk-01', 'uk8s-image', 'default', 0, 0)",
    "INSERT INTO scopes (id, digest, size) VALUES (1, 'both', 2), (2, 'one', 1)",
    "INSERT INTO scope_targets (scope_id, target_id) VALUES (1, 1), (1, 2), (2, 2)",
    "INSERT INTO runs (id, status, started_at, finished_at, accounts, restricted, scope_id, ok, held, denied, failed,"
    " skipped, baseline_targets, baseline_images, appeared, returned, withdrawn, modified, target_added,"
    " target_retired, sent, retried, throttled)"
    " VALUES (1, 'complete', 1, 2, '[3,4]', false, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0),"
    " (2, 'complete', 3, 4, '[4]', false, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0)",
    "INSERT INTO image_versions (id, digest, image_set, image_id, image_name, name_key, attributes)"
    " VALUES (1, 'a', 'ImageSet', 'uimage-a', 'A', 'a', '{}')",
    "INSERT INTO intervals (id, target_id, version_id, valid_from, valid_to, present_since, baseline, opened_run_id)"
    " VALUES (1, 1, 1, 1, 9, 1, true, 1), (2, 2, 1, 1, 9, 1, true, 1)",
    "INSERT INTO changes (id, run_id, target_id, event, image_set, image_id, image_name, observed_at, recorded_at)"
    " VALUES (1, 1, 1, 'withdrawn', 'ImageSet', 'uimage-a', 'A', 9, 9),"
    " (2, 1, 2, 'withdrawn', 'ImageSet', 'uimage-a', 'A', 9, 9)",
    "INSERT INTO exceptions (id, target_id, from_run_id, to_run_id, outcome, message, request_uuid, since)"
    " VALUES (1, 2, 1, 2, 'failed', 'down', '', 1)",
)
ACCOUNTS = {
    "intervals": [(1, 3), (2, 4)],
    "changes": [(1, 3), (2, 4)],
    "exceptions": [(1, 4)],
    "runs": [(1, None), (2, 4)],
    "scopes": [(1, None), (2, 4)],
}


@pytest.fixture
def old(empty_database_url: str) -> str:
    """Return a database of version 0.1.0 with two accounts."""
    upgrade_to(empty_database_url, BEFORE)
    with opened(empty_database_url) as engine, begin(engine) as conn:
        for row in ROWS:
            conn.execute(text(row))
    return empty_database_url


def accounts_of_rows(url: str) -> dict[str, list[tuple[int, int | None]]]:
    """Return the id and the account of each row of the tables that have one."""
    with opened(url) as engine, read(engine) as conn:
        return {
            table: [(row.id, row.account_id) for row in conn.execute(text(f"SELECT * FROM {table} ORDER BY id"))]
            for table in ACCOUNTS
        }


def test_every_row_gets_the_account_of_its_target(old: str) -> None:
    """Intervals, changes and spans of trouble of version 0.1.0 have the account of their target, and agree."""
    with opened(old) as engine:
        upgrade(engine)
        with read(engine) as conn:
            assert [one for one in findings(conn) if "another account" in one] == []

    assert accounts_of_rows(old) == ACCOUNTS


def test_killed_and_run_again(old: str) -> None:
    """An upgrade that is killed leaves the database as it was, wherever it had got; the next one does it all."""
    for statement in ("UPDATE intervals", "UPDATE exceptions", "UPDATE alembic_version"):
        upgrade_killed_at(old, statement)
        with opened(old) as engine:
            assert schema_state(engine).found == BEFORE
            with read(engine) as conn:
                assert "account_id" not in {column["name"] for column in inspect(conn).get_columns("intervals")}
    with opened(old) as engine:
        copy = upgrade(engine)
        assert (copy is not None) == is_sqlite(engine)

    assert accounts_of_rows(old) == ACCOUNTS
