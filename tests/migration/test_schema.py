"""The migrations make exactly the schema of the models, on both databases, and look-ups of its state tell the truth."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from crawler.db.engine import begin, is_sqlite, opened, read
from crawler.db.migrations import REVISIONS, SCHEMA_HEAD, ensure_schema, migrations_folder, schema_state, upgrade
from crawler.db.schema import Base
from crawler.db.views import VIEW_COLUMNS, VIEWS, views_digest
from crawler.errors import DatabaseUnavailable, SchemaMismatch


def _script() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def _age(engine: Engine, revision: str) -> None:
    with begin(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


def test_migrations_make_the_schema_of_the_models(engine: Engine) -> None:
    """A database upgraded from nothing differs in nothing from the models: tables, columns, types, keys, indexes."""
    options = {"compare_type": True, "include_name": lambda name, kind, parents: name != "alembic_version"}
    with read(engine) as connection:
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), Base.whole())

    assert differences == []


def test_sqlite_text_of_the_schema_is_that_of_the_models(sqlite_url: str, tmp_path: Path) -> None:
    """What comparison cannot see (AUTOINCREMENT, WITHOUT ROWID, partial indexes) is the same as well."""

    def statements(engine: Engine) -> dict[str, list[str]]:
        query = "SELECT name, sql FROM sqlite_schema WHERE type IN ('table', 'index') AND sql IS NOT NULL"
        with read(engine) as connection:
            rows = connection.execute(text(query)).all()
        return {
            name: sorted(re.findall(r"\w+", sql))  # the order of the constraints says nothing
            for name, sql in rows
            if not name.startswith(("alembic", "sqlite"))
        }

    with opened(sqlite_url) as migrated, opened(tmp_path / "models.db") as made:
        with begin(made) as connection:
            Base.whole().create_all(connection)

        assert statements(migrated) == statements(made)


def test_head_and_revisions_are_those_of_the_scripts() -> None:
    """The constants that save loading Alembic agree with the folder of migrations."""
    script = _script()

    assert script.get_current_head() == SCHEMA_HEAD
    assert [revision.revision for revision in script.walk_revisions()][::-1] == list(REVISIONS)


def test_newest_migration_names_the_views() -> None:
    """A changed view comes with a migration, or old databases would keep the old one."""
    newest = _script().get_revision(SCHEMA_HEAD)

    assert newest is not None
    assert views_digest() == newest.module.VIEWS


def test_views_exist_with_their_documented_columns(engine: Engine) -> None:
    """Every view can be selected from, and has the documented columns in the documented order."""
    with read(engine) as connection:
        for view in VIEWS:
            rows = connection.execute(text(f"SELECT * FROM {view}"))

            assert list(rows.keys()) == list(VIEW_COLUMNS[view])
            assert rows.all() == []


def test_empty_database_is_told_and_sqlite_makes_itself(empty_database_url: str) -> None:
    """SQLite makes its schema when it may; PostgreSQL names the command, even when empty."""
    with opened(empty_database_url) as engine:
        assert schema_state(engine).name == "empty"
        if is_sqlite(engine):
            with pytest.raises(SchemaMismatch, match="no history yet: `crawler run` makes it"):
                ensure_schema(engine, may_upgrade=False)
            ensure_schema(engine, may_upgrade=True)
        else:
            with pytest.raises(SchemaMismatch, match="no schema yet: run `crawler db upgrade` once"):
                ensure_schema(engine, may_upgrade=True)
            upgrade(engine)

        assert schema_state(engine).name == "current"
        assert ensure_schema(engine, may_upgrade=False).found == SCHEMA_HEAD


def test_upgrade_twice_is_once(engine: Engine) -> None:
    """An upgrade of a current database does nothing and makes no copy."""
    assert upgrade(engine) is None


def test_newer_schema_says_so(engine: Engine) -> None:
    """A database of a newer program is refused by readers, writers and upgrades, with both versions named."""
    _age(engine, "20991231_from_the_future")

    assert schema_state(engine).name == "ahead"
    for refuse in (
        lambda: ensure_schema(engine, may_upgrade=True),
        lambda: ensure_schema(engine, may_upgrade=False),
        lambda: upgrade(engine),
    ):
        with pytest.raises(SchemaMismatch, match=f"20991231_from_the_future.*{SCHEMA_HEAD}.*Upgrade this program"):
            refuse()


def test_failed_upgrade_leaves_nothing_behind(empty_database_url: str) -> None:
    """An upgrade that fails half-way is undone as a whole, and the next one succeeds."""
    with opened(empty_database_url) as engine:
        with begin(engine) as connection:
            connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
            connection.execute(text("CREATE TABLE runs (id INTEGER)"))
        with pytest.raises(DBAPIError, match="runs"):
            upgrade(engine)
        with read(engine) as connection:
            assert sorted(inspect(connection).get_table_names()) == ["alembic_version", "runs"]
        with begin(engine) as connection:
            connection.execute(text("DROP TABLE runs"))

        upgrade(engine)

        assert schema_state(engine).name == "current"


def test_file_of_another_program_is_refused(tmp_path: Path) -> None:
    """A SQLite file with somebody else's tables is left alone."""
    with opened(tmp_path / "other.db") as engine:
        with begin(engine) as connection:
            connection.execute(text("CREATE TABLE bookmarks (id INTEGER)"))

        with pytest.raises(DatabaseUnavailable, match="belongs to another program"):
            ensure_schema(engine, may_upgrade=True)


def test_looking_loads_no_alembic(sqlite_url: str) -> None:
    """A run on a current database does not import Alembic."""
    program = (
        "import sys; from crawler.db.engine import opened; from crawler.db.migrations import ensure_schema\n"
        f"with opened({sqlite_url!r}) as engine: ensure_schema(engine, may_upgrade=True)\n"
        "assert not [m for m in sys.modules if m.startswith(('alembic', 'mako'))]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
