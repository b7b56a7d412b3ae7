"""
How Alembic reaches the database: over the connection `crawler.db.migrations` hands in, or `alembic -x database=URL`.

When the newest revision is reached the views are made anew, always those of this program. A migration that alters a
table drops them first (the template has the line): SQLite could not rename a table under a view. On PostgreSQL they
are replaced where they are if their columns allow it, and otherwise get back the rights that other users had on them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from crawler.db.engine import begin, is_sqlite, opened
from crawler.db.migrations import SCHEMA_HEAD, kept_grants
from crawler.db.schema import Base
from crawler.db.types import BigKey, CanonicalJSON, UTCDateTime
from crawler.db.views import create_views, drop_views

#: What PostgreSQL calls it that a view cannot be replaced, for its columns are others.
_OTHER_COLUMNS = "42P16"


def render_item(kind: str, item: Any, autogen_context: object) -> str | Literal[False]:
    """Write our column types into a generated migration by what they are in the database."""
    if kind == "type" and item is BigKey:
        return 'sa.BigInteger().with_variant(sa.Integer(), "sqlite")'
    if kind == "type" and isinstance(item, UTCDateTime):
        return "sa.BigInteger()"
    if kind == "type" and isinstance(item, CanonicalJSON):
        return "sa.Text()"
    return False


def is_ours(name: str | None, kind: str, parents: object) -> bool:
    """Leave other people's tables in the same database alone."""
    return kind != "table" or name in Base.metadata.tables


def make_views(ctx: Any, step: object, heads: Collection[str], run_args: object) -> None:
    """Make the views when a step has reached the newest revision."""
    if SCHEMA_HEAD not in heads:
        return
    statements = create_views(ctx.connection.dialect.name)
    if not _are_replaced(ctx.connection, statements):
        for statement in (*drop_views(), *statements):
            ctx.connection.exec_driver_sql(statement)


def _are_replaced(connection: Connection, statements: Collection[str]) -> bool:
    """
    Make the views in the places of those that are there, and return whether that could be done.

    PostgreSQL drops none that somebody made another of; one whose columns are others now it cannot replace.
    """
    if is_sqlite(connection):
        return False
    try:
        with connection.begin_nested():
            for statement in statements:
                connection.exec_driver_sql(statement.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))
    except DBAPIError as exc:
        if getattr(exc.orig, "sqlstate", None) != _OTHER_COLUMNS:
            raise
        return False
    return True


def migrate(connection: Connection) -> None:
    """Run the migrations over *connection*, inside its transaction."""
    context.configure(
        connection=connection,
        target_metadata=Base.whole(),
        render_as_batch=True,
        render_item=render_item,
        include_name=is_ours,
        compare_type=True,
        on_version_apply=make_views,
    )
    with kept_grants(connection), context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    raise CommandError("Migrations need a connection; --sql is not supported.")
handed_in = context.config.attributes.get("connection")
if handed_in is not None:
    migrate(handed_in)
else:
    url = context.get_x_argument(as_dictionary=True).get("database")
    if not isinstance(url, str):
        raise CommandError("Say which database: alembic -x database=URL …, or use `crawler db upgrade`.")
    with opened(url) as engine, begin(engine) as own:
        migrate(own)
