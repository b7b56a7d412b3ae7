"""`crawler db`: what state the database is in, and bringing its schema up to date."""

from __future__ import annotations

import click

from crawler.cli import db_care
from crawler.cli.context import CliContext, pass_cli
from crawler.cli.db_copy import copy
from crawler.cli.options import table_options, wait_option
from crawler.cli.output import emit, write_out
from crawler.cli.table import Column
from crawler.errors import ExitCode

_COLUMNS = (
    Column("database", "DATABASE"),
    Column("schema", "SCHEMA"),
    Column("state", "STATE", kind="words"),
    Column("runs", "RUNS", "count"),
    Column("targets", "TARGETS", "count"),
    Column("intervals", "INTERVALS", "count"),
    Column("changes", "CHANGES", "count"),
    Column("size_bytes", "BYTES", "count"),
    Column("last_finished_at", "LAST RUN", "time"),
)


@click.group()
def db() -> None:
    """Look after the database."""


for _command in (db_care.prune, db_care.backup, db_care.restore, db_care.check, db_care.stats):
    db.add_command(_command)


@db.command()
@wait_option
@pass_cli
def upgrade(context: CliContext, wait_seconds: float) -> None:
    """Make the schema, or bring it to this program's; a SQLite file is copied first."""
    from crawler.db.locks import take_locks

    url = context.history_settings().database
    with take_locks(url, None, clock=context.clock, wait_seconds=wait_seconds):
        from crawler.db.engine import address_of, opened
        from crawler.db.migrations import SCHEMA_HEAD, schema_state
        from crawler.db.migrations import upgrade as upgrade_schema

        with opened(url) as engine:
            before = schema_state(engine)
            copy = upgrade_schema(engine)
            where = address_of(engine)
    if before.name == "current":
        write_out([f"{where} has the schema {SCHEMA_HEAD} already\n"])
        return
    done = "upgraded to" if before.found else "made with"
    write_out([f"{where} {done} the schema {SCHEMA_HEAD}\n", f"copy of before: {copy}\n" if copy else ""])


@db.command(short_help="Tell where it is, its schema, and how much it holds.")
@table_options
@pass_cli
def status(context: CliContext, fmt: str) -> ExitCode:
    """Tell where the database is, whether its schema is this program's, and how much it holds."""
    from crawler.db.engine import opened
    from crawler.db.integrity import inventory
    from crawler.db.migrations import mismatch

    settings = context.history_settings()
    with opened(settings.database, read_only=True) as engine:
        found = inventory(engine)
        complaint = mismatch(engine, found.state)
    emit([found.as_dict()], _COLUMNS, fmt, zone=settings.timezone)
    if complaint is None:
        return ExitCode.DONE
    context.say(f"Warning: {complaint}", level="warning")
    return ExitCode.DATABASE


db.add_command(copy)
