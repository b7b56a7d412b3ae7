"""A second migration will work: tables are altered under the views, all or nothing, and a copy is made first."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text

from crawler.db import migrations
from crawler.db.engine import address_of, begin, is_sqlite, read
from crawler.db.migrations import SCHEMA_HEAD, ensure_schema, migrations_folder, schema_state, upgrade
from crawler.db.views import VIEWS
from crawler.errors import DatabaseUnavailable, SchemaMismatch

NEXT = "20270101_colours"
MIGRATION = '''
"""A made-up second migration: it adds a column and makes another one obligatory, which SQLite does by a new table."""

import sqlalchemy as sa
from alembic import op

from crawler.db.views import drop_views

revision = "{next}"
down_revision = "{head}"


def upgrade():
    for statement in drop_views():
        op.execute(statement)
    with op.batch_alter_table("targets") as batch:
        batch.add_column(sa.Column("colour", sa.Text(), nullable=False, server_default="blue"))
        batch.alter_column("project_name", existing_type=sa.Text(), nullable=True)
    op.execute("{extra}")
'''


@pytest.fixture
def behind(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Return a database with a target in it, one revision behind a program of the future."""
    with begin(engine) as connection:
        connection.execute(text("INSERT INTO accounts (id, name, endpoint, fence) VALUES (1, 'prod', '', 0)"))
        connection.execute(
            text(
                "INSERT INTO targets (id, account_id, project, project_name, region, zone, kind, variant,"
                " missing_count, missing_needed)"
                " VALUES (1, 1, 'org-x', '', 'hk', 'hk-02', 'uk8s-image', 'default', 0, 0)"
            )
        )
        connection.execute(
            text("INSERT INTO absences (target_id, reason, valid_from, valid_to) VALUES (1, 'retired', 0, 1)")
        )
    folder = tmp_path / "migrations"
    shutil.copytree(migrations_folder(), folder)
    monkeypatch.setattr(migrations, "migrations_folder", lambda: folder)
    monkeypatch.setattr(migrations, "REVISIONS", (*migrations.REVISIONS, NEXT))
    monkeypatch.setattr(migrations, "SCHEMA_HEAD", NEXT)
    write_migration(folder, "SELECT 1")
    return engine


def write_migration(folder: Path, extra: str) -> None:
    """Write the second migration, with one more statement at its end."""
    text_of_it = MIGRATION.format(next=NEXT, head=SCHEMA_HEAD, extra=extra)
    (folder / "versions" / f"{NEXT}.py").write_text(text_of_it)


def backups(engine: Engine) -> list[Path]:
    """Return the copies beside a SQLite file."""
    path = address_of(engine).path
    return sorted(path.parent.glob("*.bak")) if path else []


def test_writers_upgrade_sqlite_after_a_copy(behind: Engine) -> None:
    """Readers are refused; a writer's SQLite file is copied and upgraded, PostgreSQL waits for its command."""
    assert schema_state(behind).name == "behind"
    with pytest.raises(SchemaMismatch, match=f"{SCHEMA_HEAD}.*`crawler db upgrade`"):
        ensure_schema(behind, may_upgrade=False)
    if is_sqlite(behind):
        ensure_schema(behind, may_upgrade=True)
        (copy,) = backups(behind)
        assert copy.name == f"crawler.db.{SCHEMA_HEAD}.bak"
        with closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("SELECT project FROM targets").fetchall() == [("org-x",)]
    else:
        with pytest.raises(SchemaMismatch, match="run `crawler db upgrade` once"):
            ensure_schema(behind, may_upgrade=True)
        assert upgrade(behind) is None

    assert schema_state(behind).name == "current"
    with read(behind) as connection:
        assert connection.execute(text("SELECT project, colour FROM targets")).all() == [("org-x", "blue")]
        assert connection.execute(text("SELECT count(*) FROM absences")).scalar() == 1
        assert inspect(connection).get_indexes("targets")
        for view in VIEWS:
            connection.execute(text(f"SELECT * FROM {view}"))
    with begin(behind) as connection:
        assert not is_sqlite(behind) or connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_failing_migration_changes_nothing(behind: Engine, tmp_path: Path) -> None:
    """When a migration fails at its end everything before it is undone, and a better one can be run after it."""
    write_migration(tmp_path / "migrations", "SELECT nonsense")
    with pytest.raises(Exception, match="nonsense"):
        upgrade(behind)

    assert schema_state(behind).name == "behind"
    with read(behind) as connection:
        assert "colour" not in {column["name"] for column in inspect(connection).get_columns("targets")}
        assert connection.execute(text("SELECT count(*) FROM current_images")).scalar() == 0
    write_migration(tmp_path / "migrations", "SELECT 1")
    upgrade(behind)
    assert schema_state(behind).name == "current"


def test_migration_that_breaks_a_reference_is_undone(behind: Engine, tmp_path: Path) -> None:
    """SQLite's foreign keys are off during an upgrade, but what would break one is refused as a whole."""
    if not is_sqlite(behind):
        pytest.skip("PostgreSQL checks references itself")
    write_migration(tmp_path / "migrations", "DELETE FROM targets")

    with pytest.raises(DatabaseUnavailable, match="would break a reference in absences; nothing was changed"):
        upgrade(behind)

    with read(behind) as connection:
        assert connection.execute(text("SELECT count(*) FROM targets")).scalar() == 1


def test_rights_on_the_views_survive(behind: Engine) -> None:
    """What other users may do with the views, and who owns them, is after an upgrade as it was before."""
    if is_sqlite(behind):
        pytest.skip("SQLite knows no users")
    reader, owner = f"reader {os.getpid()}", f"owner_{os.getpid()}"
    rights = text(
        "SELECT table_name, grantee, privilege_type, is_grantable FROM information_schema.role_table_grants"
        " WHERE table_name = ANY(:views) UNION ALL "
        "SELECT table_name || '.' || column_name, grantee, privilege_type, is_grantable"
        " FROM information_schema.role_column_grants WHERE table_name = ANY(:views) ORDER BY 1, 2, 3"
    )
    owners = text("SELECT relname, relowner FROM pg_class WHERE relname = ANY(:views) ORDER BY 1")
    views = {"views": list(VIEWS)}
    with begin(behind) as conn:
        conn.exec_driver_sql(f'CREATE ROLE "{reader}" LOGIN')
        conn.exec_driver_sql(f"CREATE ROLE {owner}")
    try:
        with begin(behind) as conn:
            conn.exec_driver_sql(f'GRANT SELECT ON current_images, change_log TO "{reader}"')
            conn.exec_driver_sql(f'GRANT SELECT ON image_history TO "{reader}" WITH GRANT OPTION')
            conn.exec_driver_sql(f'GRANT SELECT (run, status) ON run_log TO "{reader}"')
            conn.exec_driver_sql("GRANT SELECT ON coverage TO PUBLIC")
            conn.exec_driver_sql(f"ALTER VIEW change_log OWNER TO {owner}")
            before = [conn.execute(query, views).all() for query in (rights, owners)]
        upgrade(behind)
        with read(behind) as conn:
            assert [conn.execute(query, views).all() for query in (rights, owners)] == before
            conn.exec_driver_sql(f'SET LOCAL ROLE "{reader}"')
            assert conn.execute(text("SELECT count(*) FROM current_images")).scalar() == 0
            assert conn.execute(text("SELECT count(run) FROM run_log")).scalar() == 0
    finally:
        with begin(behind) as conn:
            conn.exec_driver_sql(f"ALTER VIEW change_log OWNER TO {behind.url.username}")
            conn.exec_driver_sql(f'DROP OWNED BY "{reader}", {owner}')
            conn.exec_driver_sql(f'DROP ROLE "{reader}", {owner}')
