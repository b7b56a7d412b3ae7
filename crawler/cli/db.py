"""`crawler db`: what state the database is in, and bringing its schema up to date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import click

from crawler.cli import db_care
from crawler.cli.context import CliContext, pass_cli
from crawler.cli.db_copy import copy
from crawler.cli.language import tr
from crawler.cli.options import SentenceGroup, table_options, wait_option
from crawler.cli.output import emit, write_out
from crawler.cli.table import Column
from crawler.errors import ExitCode

if TYPE_CHECKING:
    from sqlalchemy import Engine

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

#: How the reason of a fleet's rest ends that an upgrade asked for.
_FOR_UPGRADE = " for db upgrade"


@click.group(cls=SentenceGroup)
def db() -> None:
    """Look after the database."""


for _command in (db_care.prune, db_care.backup, db_care.restore, db_care.check, db_care.stats):
    db.add_command(_command)


@db.command()
@click.option(
    "--drain",
    is_flag=True,
    help="Have the workers of a fleet begin nothing new meanwhile, and wait for what they crawl.",
)
@wait_option
@pass_cli
def upgrade(context: CliContext, wait_seconds: float, drain: bool) -> None:
    """
    Make the schema, or bring it to this program's; a SQLite file is copied first.

    Where the extra `fleet` is installed, the tables for the jobs of workers are made or upgraded with it.
    """
    url = context.history_settings().database
    with _drained(context) if drain else nullcontext(wait_seconds) as longest:
        _upgrade(context, url, max(wait_seconds, longest))


@contextmanager
def _drained(context: CliContext) -> Iterator[float]:
    """Have the fleet rest for a block, and give how long what runs may take to end."""
    from crawler.cli.fleet import said_of
    from crawler.db import workers
    from crawler.db.engine import begin, is_sqlite, opened
    from crawler.db.migrations import schema_state

    settings = context.settings()
    with opened(settings.database) as engine:
        has_fleet = not is_sqlite(engine) and schema_state(engine).found is not None
        if not has_fleet:
            yield 0.0
            return
        with begin(engine) as conn:
            was = workers.drained(conn)
            # one that was killed left it so; whoever else did it ends it, too
            is_ours = not was or was.endswith(_FOR_UPGRADE)
            if is_ours:
                workers.drain(conn, f"{said_of(context)}{_FOR_UPGRADE}")
        try:
            deadline = max(account.limits.run_deadline_seconds for account in settings.accounts)
            yield deadline + settings.report_deadline_seconds
        finally:
            if is_ours:
                with begin(engine) as conn:
                    workers.resume(conn)
            else:
                context.say(f"The fleet stays drained, as it was before: {was}; `crawler fleet resume` has it go on.")


def _upgrade(context: CliContext, url: str, wait_seconds: float) -> None:
    from crawler.db.locks import take_locks

    with take_locks(url, None, clock=context.clock, wait_seconds=wait_seconds):
        from crawler.db.engine import address_of, opened
        from crawler.db.migrations import SCHEMA_HEAD, schema_state
        from crawler.db.migrations import upgrade as upgrade_schema

        with opened(url) as engine:
            before = schema_state(engine)
            copy = upgrade_schema(engine)
            jobs = _install_jobs(engine)
            where = address_of(engine)
    if jobs:
        write_out([tr(f"{where} has the tables for jobs of {jobs}"), "\n"])
    if before.name == "current":
        write_out([tr(f"{where} has the schema {SCHEMA_HEAD} already"), "\n"])
        return
    done = "upgraded to" if before.found else "made with"
    lines = [f"{where} {done} the schema {SCHEMA_HEAD}", *([f"copy of before: {copy}"] if copy else [])]
    write_out(f"{tr(line)}\n" for line in lines)


def _install_jobs(engine: Engine) -> str | None:
    """Make or upgrade the tables of a fleet's queue where its extra is installed; say which they are, where new."""
    from crawler.db.engine import is_sqlite

    if is_sqlite(engine):
        return None
    from crawler.fleet.queue import install

    return install(engine)


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
