"""`crawler db prune|backup|restore|check|stats` and `crawler account rename`: looking after a history."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.language import tr
from crawler.cli.options import DURATION, table_options, wait_option
from crawler.cli.output import emit, write_out
from crawler.cli.table import Column
from crawler.domain.text import counted, visible
from crawler.errors import DatabaseUnavailable, ExitCode, UsageError

_LONGEST = timedelta(days=36_500)

_STATS = (
    Column("table", "TABLE"),
    Column("rows", "ROWS", "count"),
    Column("size_bytes", "BYTES", "count", optional=True),
)


@click.command()
@click.option(
    "--keep",
    type=DURATION,
    required=True,
    metavar="AGE",
    help="What to keep: 2y, 6mo, 26w, 90d. Answers within it stay the same.",
)
@click.option(
    "--clock-is-right",
    is_flag=True,
    help="Prune although the last run is more than 180 days ago, which a clock that is ahead would look like.",
)
@wait_option
@pass_cli
def prune(context: CliContext, keep: timedelta, clock_is_right: bool, wait_seconds: float) -> None:
    """
    Forget what ended before the kept window, and give its disk space back.

    Intervals, changes, resolved holds and evidence from before it go, but for the first and last stay of each image:
    it is still withdrawn, or missing, and its comeback a return. Old runs are folded to one a day. Questions about the
    time before the window are refused from then on.
    """
    from crawler.db.engine import opened, require_file
    from crawler.db.locks import take_locks
    from crawler.db.migrations import ensure_schema
    from crawler.db.pruning import prune as forget

    if not timedelta(0) < keep < _LONGEST:
        raise UsageError("--keep must be longer than nothing and shorter than a hundred years, as in --keep 2y.")
    url = context.history_settings().database
    problems: list[DatabaseUnavailable] = []
    with opened(url) as engine:
        require_file(engine)  # the lock of a path that is mistyped would stay beside it
        with take_locks(url, None, clock=context.clock, wait_seconds=wait_seconds) as fence:
            ensure_schema(engine, may_upgrade=False)
            now = context.clock_of(fence)[0]()
            found = forget(engine, fence, before=now - keep, now=now, is_sure=clock_is_right, complain=problems.append)
    gone = found.as_dict()
    told = ", ".join(counted(count, name.removesuffix("s")) for name, count in gone.items() if count)
    write_out([tr(f"Forgotten: {told or 'nothing'}"), "\n"])
    for problem in problems:
        context.say(f"Warning: the room was not given back, and is used again by runs. {problem}", level="warning")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@pass_cli
def backup(context: CliContext, file: Path | None) -> None:
    """
    Copy the SQLite database, whole as of one moment, to FILE; a run may go on meanwhile.

    Without FILE the copy is beside the database, and called by its name, the time in UTC and `.bak`.
    """
    from crawler.db.backup import copy_to
    from crawler.db.url import parse_address

    path = parse_address(context.history_settings().database).path
    if path is None:
        raise UsageError(
            "A PostgreSQL database is copied with its own pg_dump; `crawler db copy --to` moves a history."
        )
    copy = copy_to(path, file or path.with_name(f"{path.name}.{context.clock():%Y%m%dT%H%M%SZ}.bak"))
    write_out([f"{copy}\n"])


@click.command(short_help="Put a backup in the place of the SQLite database.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@wait_option
@pass_cli
def restore(context: CliContext, file: Path, wait_seconds: float) -> None:
    """
    Put the backup FILE in the place of the SQLite database, if it is sound.

    The database of before is kept beside it, damaged or not. What happened after the backup was made is not known any
    more; the next run tells what is different now.
    """
    from crawler.db.backup import restore as put_back
    from crawler.db.engine import opened, read
    from crawler.db.integrity import findings, findings_of_file
    from crawler.db.locks import take_locks
    from crawler.db.migrations import SCHEMA_HEAD, mismatch, schema_state
    from crawler.db.url import parse_address

    url = context.history_settings().database
    path = parse_address(url).path
    if path is None:
        raise UsageError("A PostgreSQL database is restored with its own pg_restore, into an empty database.")
    if not file.is_file():
        raise UsageError(f"There is no file {file} to restore.")
    if path.exists() and path.samefile(file):
        raise UsageError(f"{file} is the database itself; name a backup of it.")
    with opened(file.absolute(), read_only=True) as engine:
        state = schema_state(engine)
        if state.name in ("empty", "ahead"):
            raise DatabaseUnavailable(f"Nothing was restored. {mismatch(engine, state)}")
        with read(engine) as conn:
            found = findings(conn) if state.name == "current" else findings_of_file(conn)
        if found:
            raise DatabaseUnavailable(f"Nothing was restored: {file} is not sound. {found[0]}")
    with take_locks(url, None, clock=context.clock, wait_seconds=wait_seconds):
        kept = put_back(path, file, label=f"{context.clock():%Y%m%dT%H%M%SZ}")
    lines = [f"{path} restored from {file}", *([f"database of before: {kept}"] if kept else [])]
    write_out(f"{tr(line)}\n" for line in lines)
    if state.name == "behind":
        context.say(f"Its schema is older than {SCHEMA_HEAD}: the next run, or `crawler db upgrade`, upgrades it.")


@click.command()
@pass_cli
def check(context: CliContext) -> ExitCode:
    """
    Check the file and what must always be true of a history; exit code 1 when anything is wrong.

    No image is listed twice at a time, no change is without a run, and no withdrawal without a good observation.
    """
    from crawler.db.integrity import findings

    with context.history() as conn:
        found = findings(conn)
    for sentence in found:
        write_out([f"{visible(tr(sentence))}\n"])
    if found:
        return ExitCode.NO
    context.say("Nothing is wrong.")
    return ExitCode.DONE


@click.command()
@table_options
@pass_cli
def stats(context: CliContext, fmt: str) -> None:
    """Tell how many rows each table holds, and how large it is where the database tells."""
    from crawler.db.integrity import tables

    settings = context.history_settings()
    with context.history() as conn:
        rows: list[dict[str, Any]] = tables(conn)
    emit(rows, _STATS, fmt, zone=settings.timezone)
