"""`crawler db copy`: a whole history from one database to another."""

from __future__ import annotations

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.options import table_options, wait_option
from crawler.cli.output import emit
from crawler.cli.table import Column
from crawler.domain.text import counted
from crawler.errors import UsageError

_COLUMNS = (Column("table", "TABLE"), Column("rows", "ROWS", "count"), Column("digest", "CHECKSUM"))


@click.command(short_help="Move the whole history to another database.")
@click.option("--to", "to", required=True, metavar="URL-OR-PATH", help="An empty database: SQLite or PostgreSQL.")
@wait_option
@table_options
@pass_cli
def copy(context: CliContext, to: str, wait_seconds: float, fmt: str) -> None:
    """
    Copy every row to an empty database, SQLite to PostgreSQL or back, and compare what arrived.

    No run works on either of them meanwhile. A copy that is cut short leaves nothing behind; begin it again.
    """
    from crawler.db.locks import take_locks
    from crawler.db.url import parse_address

    settings = context.history_settings()
    source, target = parse_address(settings.database), parse_address(to)
    if (source.path and target.path and source.path.resolve() == target.path.resolve()) or (
        source.url and source.url == target.url
    ):
        raise UsageError(f"{target} is the database itself; name another one with --to.")
    if not source.may_exist:
        raise UsageError(f"There is no database at {source} to copy.")
    with (
        take_locks(settings.database, None, clock=context.clock, wait_seconds=wait_seconds),
        take_locks(to, None, clock=context.clock, wait_seconds=wait_seconds) as fence,
    ):
        from crawler.db.backup import new_copy
        from crawler.db.copy import copy_history
        from crawler.db.engine import opened

        with (
            new_copy(target.path, source.path) as file,
            opened(settings.database, read_only=True) as reading,
            opened(file or to) as writing,
        ):
            copied = copy_history(reading, writing, fence=fence)
    emit([table.as_dict() for table in copied], _COLUMNS, fmt)
    rows = counted(sum(table.rows for table in copied), "row")
    context.say(
        f"{rows} copied from {source} to {target} and compared. "
        f"Now set `database` to it, and run `crawler images` there."
    )
