"""
Which schema a database has, and how it gets the one this program knows.

Looking needs no Alembic; only an upgrade loads it. SQLite upgrades by itself, after a copy; PostgreSQL is upgraded by
`crawler db upgrade`, because there the database is often somebody else's to watch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, Engine, inspect, text

import crawler
from crawler.errors import DatabaseUnavailable, SchemaMismatch
from crawler.store.backup import back_up
from crawler.store.engine import address_of, begin, is_sqlite, read
from crawler.store.foreign_errors import mapped_errors

#: Every revision this program knows, oldest first; Alembic's own list is not loaded to tell.
REVISIONS: tuple[str, ...] = (
    "20261123_first_schema",
    "20261129_doubted_answers",
    "20261129_texts_of_any_length",
    "20261129_conditions_and_reports",
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


def ensure_schema(engine: Engine, *, may_upgrade: bool) -> SchemaState:
    """
    Make sure that the database has this program's schema, and give the state found at first.

    *may_upgrade*: the caller writes and holds the lock, so a SQLite file may be made or upgraded now. Raises
    SchemaMismatch where that is not enough.
    """
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
    """Give the folder of the migrations: beside the package in a checkout, inside it in a wheel."""
    package = Path(crawler.__file__).parent
    for folder in (package / "migrations", package.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise DatabaseUnavailable(f"The migrations are missing: neither {package} nor its parent has a folder migrations.")


def _state(connection: Connection, engine: Engine) -> SchemaState:
    inspector = inspect(connection)
    if not inspector.has_table(_VERSION_TABLE):
        if is_sqlite(connection) and inspector.get_table_names():
            raise DatabaseUnavailable(f"The database {address_of(engine)} belongs to another program.")
        return SchemaState("empty", None)
    found = connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar()  # noqa: S608 - a constant
    if found is None:
        return SchemaState("empty", None)
    if found == SCHEMA_HEAD:
        return SchemaState("current", found)
    return SchemaState("behind" if found in REVISIONS else "ahead", found)


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
