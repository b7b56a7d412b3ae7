"""
Which schema a database has, how it gets the one this program knows, and who may read it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, Engine, TextClause, bindparam, inspect, text
from sqlalchemy.exc import DBAPIError

import crawler
from crawler.db.backup import back_up
from crawler.db.engine import address_of, begin, is_sqlite, read, require_file
from crawler.db.errors import mapped_errors
from crawler.db.views import VIEWS
from crawler.errors import DatabaseUnavailable, SchemaMismatch

#: Every revision this program knows, oldest first; Alembic's own list is not loaded to tell.
REVISIONS: tuple[str, ...] = (
    "20261123_first_schema",
    "20261129_doubted_answers",
    "20261129_texts_of_any_length",
    "20261129_conditions_and_reports",
    "20261129_runs_of_accounts",
    "20261129_account_of_each_row",
    "20261129_views_of_items",
    "20261129_revocations",
    "20261129_workers_and_budgets",
    "20261130_action_that_answered",
    "20261202_answers_of_runs",
    "20261203_runs_by_scope",
)
SCHEMA_HEAD: str = REVISIONS[-1]

_VERSION_TABLE = "alembic_version"
#: Any fixed number, so that two upgrades of one PostgreSQL database wait for each other.
_UPGRADE_LOCK = 7305463285920912


@dataclass(frozen=True, slots=True)
class SchemaState:
    """How a database's schema compares with this program's."""

    name: Literal["current", "empty", "behind", "ahead"]
    #: The revision found; None in an empty database.
    found: str | None


def schema_state(engine: Engine) -> SchemaState:
    """Look which schema the database has; raise DatabaseUnavailable when it cannot be read or is somebody else's."""
    with read(engine) as connection:
        return _state(connection, engine)


def is_current(conn: Connection) -> bool:
    """Return whether the database has this program's schema for sure, by one statement."""
    try:
        return conn.execute(_found_revision()).scalar() == SCHEMA_HEAD
    except DBAPIError as exc:  # no such table, as a rule
        if exc.connection_invalidated:
            raise
        return False


def ensure_schema(engine: Engine, *, may_upgrade: bool) -> SchemaState:
    """
    Make sure that the database has this program's schema, and give the state found at first.

    *may_upgrade*: the caller writes and holds the lock, so a SQLite file may be made or upgraded now. Raises
    SchemaMismatch where that is not enough.
    """
    if not may_upgrade:
        require_file(engine)
    state = schema_state(engine)
    if state.name == "current":
        return state
    if state.name != "ahead" and may_upgrade and is_sqlite(engine):
        upgrade(engine)
        return state
    raise SchemaMismatch(mismatch(engine, state))


def upgrade(engine: Engine) -> Path | None:
    """
    Bring the schema to this program's, in one transaction; give the path of the copy made before, if one was.

    A killed upgrade leaves the schema as it was. Raises SchemaMismatch when the database is newer than the program.
    """
    state = schema_state(engine)
    if state.name == "ahead":
        raise SchemaMismatch(mismatch(engine, state))
    if state.name == "current":
        return None
    copy: Path | None = None
    path = address_of(engine).path
    if path is not None and state.found is not None:
        copy = back_up(path, label=state.found)
    with _upgrading(engine) as connection:
        _run_alembic(connection)
    return copy


def migrations_folder() -> Path:
    """Return the folder of the migrations: beside the package in a checkout, inside it in a wheel."""
    package = Path(crawler.__file__).parent
    for folder in (package / "migrations", package.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise DatabaseUnavailable(f"The migrations are missing: neither {package} nor its parent has a folder migrations.")


def _state(connection: Connection, engine: Engine) -> SchemaState:
    inspector = inspect(connection)
    if not inspector.has_table(_VERSION_TABLE):
        if is_sqlite(connection) and inspector.get_table_names():
            raise DatabaseUnavailable(
                f"The database {address_of(engine)} belongs to another program: name another one."
            )
        return SchemaState("empty", None)
    found = connection.execute(_found_revision()).scalar()
    if found is None:
        return SchemaState("empty", None)
    if found == SCHEMA_HEAD:
        return SchemaState("current", found)
    return SchemaState("behind" if found in REVISIONS else "ahead", found)


@cache
def _found_revision() -> TextClause:
    return text(f"SELECT version_num FROM {_VERSION_TABLE}")  # noqa: S608 - a constant


def mismatch(engine: Engine, state: SchemaState) -> str | None:
    """Say what is wrong with a database in *state* and what to do; None when nothing is."""
    if state.name == "current":
        return None
    where = f"The database {address_of(engine)}"
    if state.name == "ahead":
        return (
            f"{where} has the schema {state.found}, which crawler {crawler.__version__} does not know "
            f"(it knows {SCHEMA_HEAD}): a newer crawler wrote it. Upgrade this program."
        )
    if is_sqlite(engine):
        if state.name == "empty":
            return f"{where} holds no history yet: `crawler run` makes it."
        return (
            f"{where} has the schema {state.found}, older than this program's {SCHEMA_HEAD}: "
            "the next `crawler run` upgrades it, `crawler db upgrade` does it now."
        )
    found = "no schema yet" if state.name == "empty" else f"the schema {state.found}, this program needs {SCHEMA_HEAD}"
    return f"{where} has {found}: run `crawler db upgrade` once."


@contextmanager
def _upgrading(engine: Engine) -> Iterator[Connection]:
    if not is_sqlite(engine):
        with begin(engine) as connection:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
            yield connection
        return
    with mapped_errors(engine), engine.connect() as connection:
        # SQLite alters a table by building it anew, which foreign keys would forbid; they cannot be switched inside
        # a transaction, so this goes past SQLAlchemy, and they are checked as a whole before the commit.
        raw = connection.connection.driver_connection
        assert raw is not None  # noqa: S101 - a checked-out connection has one
        raw.execute("PRAGMA foreign_keys = OFF")
        try:
            with connection.begin():
                yield connection
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
                if broken is not None:
                    raise DatabaseUnavailable(
                        f"The upgrade would break a reference in {broken[0]}; nothing was changed."
                    )
        finally:
            raw.execute("PRAGMA foreign_keys = ON")


def _run_alembic(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    log = logging.getLogger("alembic")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        config = Config()
        config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    finally:
        log.setLevel(level)


#: One statement per right on a view, or on a column of it, that anybody but its owner has.
_GRANTS = text(
    """
    SELECT c.relname, a.column_name, format('GRANT %s%s ON %I.%I TO %s%s', acl.privilege_type,
        CASE WHEN a.column_name IS NULL THEN '' ELSE format(' (%I)', a.column_name) END, n.nspname, c.relname,
        CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END,
        CASE WHEN acl.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = current_schema()
    CROSS JOIN LATERAL (
        SELECT CAST(NULL AS name) AS column_name, c.relacl AS acl
        UNION ALL SELECT t.attname, t.attacl FROM pg_attribute AS t WHERE t.attrelid = c.oid AND t.attacl IS NOT NULL
    ) AS a
    CROSS JOIN LATERAL aclexplode(a.acl) AS acl
    WHERE c.relkind = 'v' AND c.relname IN :views AND acl.grantee <> c.relowner
    """
).bindparams(bindparam("views", expanding=True))
#: Views that are not the present user's, and whose owner may own the new ones too.
_OWNERS = text(
    """
    SELECT c.relname, NULL AS column_name,
        format('ALTER VIEW %I.%I OWNER TO %I', n.nspname, c.relname, pg_get_userbyid(c.relowner))
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = current_schema()
    WHERE c.relkind = 'v' AND c.relname IN :views AND pg_get_userbyid(c.relowner) <> current_user
      AND pg_has_role(current_user, c.relowner, 'MEMBER')
    """
).bindparams(bindparam("views", expanding=True))
_COLUMNS = text(
    "SELECT table_name, column_name FROM information_schema.columns"
    " WHERE table_schema = current_schema() AND table_name IN :views"
).bindparams(bindparam("views", expanding=True))


@contextmanager
def kept_grants(connection: Connection) -> Iterator[None]:
    """Return the public views, after the block, the owners and the rights they had before it."""
    if is_sqlite(connection):
        yield
        return
    views = {"views": list(VIEWS)}
    before = [row for query in (_OWNERS, _GRANTS) for row in connection.execute(query, views)]
    yield
    if not before:
        return
    columns = {(view, column) for view, column in connection.execute(_COLUMNS, views)}
    columns |= {(view, None) for view, _ in columns}
    for view, column, statement in before:
        if (view, column) in columns:
            connection.exec_driver_sql(statement)
