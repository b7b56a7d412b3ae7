"""`crawler replay`: the history made anew from the kept answers, beside the one that was recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.options import table_options, wait_option
from crawler.cli.output import emit, json_line, write_out
from crawler.cli.selection import check_selection
from crawler.cli.table import TARGET_COLUMNS, Column, Row
from crawler.domain.filters import Filters
from crawler.domain.text import counted
from crawler.domain.timefmt import tell_moment
from crawler.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from crawler.db.engine import TimedFence
    from crawler.db.url import Address
    from crawler.queries.replay import ReplayReport

FIELDS = (*(column.key for column in TARGET_COLUMNS), "what", "run", "image_set", "image_id", "recorded", "replayed")
#: Of a change and of an interval, what says which it is.
_IN_SHORT = ("event", "fields", "valid_from", "valid_to")
#: Runs after which a person hears how far it is.
_TOLD_AFTER = 5_000


def _side(row: Row, side: str, other: str) -> str:
    """Return what one side has: what differs from the other, or in short what it is where that has nothing."""
    mine, theirs = row[side], row[other]
    if mine is None:
        return "nothing"
    names = _IN_SHORT if theirs is None else [name for name in mine if mine[name] != theirs[name]]
    shown = {name: mine[name] for name in names if name in mine}
    return ", ".join(_part(name, value) for name, value in shown.items() if value is not None and value != {})


def _part(name: str, value: Any) -> str:
    return str(value) if name == "event" else f"{name} {value if isinstance(value, str) else json_line(value)}"


COLUMNS = (
    Column("run", "RUN", cell=lambda row: row["run"] or " "),
    *TARGET_COLUMNS,
    Column("what", "WHAT", kind="words"),
    Column("image_set", "SET", optional=True),
    Column("image_id", "IMAGE ID"),
    Column("recorded", "RECORDED", cell=lambda row: _side(row, "recorded", "replayed"), kind="words", folds=True),
    Column("replayed", "REPLAYED", cell=lambda row: _side(row, "replayed", "recorded"), kind="words", folds=True),
)


@click.command()
@click.option(
    "--into",
    "--to",
    "into",
    metavar="URL-OR-PATH",
    help="Keep what was made: an empty database, SQLite or PostgreSQL. Default: one that is removed afterwards.",
)
@click.option("--account", "accounts", multiple=True, metavar="GLOB", help="Accounts by name. Repeatable.")
@click.option("--kind", "kinds", multiple=True, metavar="GLOB", help="Kinds, such as uk8s-image. Repeatable.")
@wait_option
@table_options
@pass_cli
def replay(
    context: CliContext,
    into: str | None,
    accounts: tuple[str, ...],
    kinds: tuple[str, ...],
    wait_seconds: float,
    fmt: str,
) -> ExitCode:
    """
    Make intervals and changes anew from the kept answers, and compare them with the recorded ones.

    The answers of every run are judged again, in their order and with their times, by this version's declarations of
    the kinds and the guard, `tolerate` and `ignore` of the configuration as it is now. Exit code 0: all is as it was
    recorded; 1: some is not, and is shown with both sides. The database itself is only read, and runs may go on. In
    json and jsonl the comparison is one object, in csv a line is one difference.
    """
    from crawler.config.loader import load_judging
    from crawler.crawl.replay import Replay
    from crawler.crawl.run import judge_of
    from crawler.db.copy import prepare
    from crawler.db.engine import opened, read
    from crawler.db.locks import take_locks
    from crawler.db.migrations import ensure_schema
    from crawler.db.recorded import Recorded
    from crawler.queries.replay import compare_replay

    settings = context.history_settings()
    judge = judge_of(load_judging(context.config_path, context.environ))
    selected = Filters(account=accounts, kind=kinds)
    with opened(settings.database, read_only=True) as source:
        ensure_schema(source, may_upgrade=False)
        with read(source) as conn:
            check_selection(conn, selected)
        recorded = Recorded(source, selected)
        lock = partial(take_locks, accounts=None, clock=context.clock, wait_seconds=wait_seconds)
        with _goal(settings.database, into, lock) as (goal, fence), opened(goal) as writing:
            prepare(writing)
            done = Replay(recorded, writing, fence, judge).run(_telling(context))
            report = compare_replay(recorded, source, writing, runs=done.runs, answers=done.answers)
    if fmt == "table":
        emit((one.as_dict() for one in report.differences), COLUMNS, fmt, zone=settings.timezone)
    elif fmt == "csv":
        emit((one.as_dict() for one in report.differences), COLUMNS, fmt, fields=FIELDS)
    else:
        write_out([json_line(report.as_dict()), "\n"])
    for line in _told(report, recorded.begins_at):
        context.say(line)
    return ExitCode.DONE if report.equal else ExitCode.NO


@contextmanager
def _goal(
    database: str, into: str | None, lock: Callable[[str], AbstractContextManager[TimedFence]]
) -> Iterator[tuple[str | Path, TimedFence]]:
    """Yield the database to write to, the one that was named or a temporary one, with the fence of its lock."""
    from crawler.db.backup import new_copy
    from crawler.db.url import parse_address

    source = parse_address(database)
    if into is None:
        with TemporaryDirectory(prefix="crawler-replay-") as folder:
            path = str(Path(folder) / "replay.db")
            with lock(path) as fence:
                yield path, fence
        return
    target = parse_address(into)
    if _is_same(source, target):
        raise UsageError(f"{target} is the database itself; name another one with --into.")
    with lock(into) as fence, new_copy(target.path, source.path) as file:
        yield file or into, fence


def _is_same(one: Address, other: Address) -> bool:
    if one.path is not None and other.path is not None:
        return one.path.resolve() == other.path.resolve()
    return one.url == other.url


def _telling(context: CliContext) -> Callable[[int, datetime], None]:
    zone = context.history_settings().timezone

    def told(count: int, at: datetime) -> None:
        if count % _TOLD_AFTER == 0:
            context.say(f"{counted(count, 'run')} replayed, the last of {tell_moment(at, zone)}")

    return told


def _told(report: ReplayReport, begins_at: datetime | None) -> Iterator[str]:
    """Yield how it went in sentences."""
    of = f"{counted(report.runs, 'run')}, {counted(report.answers, 'answer')}"
    changes, intervals = report.changes, report.intervals
    if report.equal:
        whole = f"{counted(changes.recorded, 'change')} and {counted(intervals.recorded, 'interval')}"
        yield f"{of}: {whole} come out as they were recorded."
    else:
        every = max(changes[:2]), max(intervals[:2])
        yield (
            f"{of}: {changes.equal} of {counted(every[0], 'change')} and {intervals.equal} of "
            f"{counted(every[1], 'interval')} come out as they were recorded; the others are shown."
        )
    if report.begun_late:
        pruned = f": what came before {begins_at:%Y-%m-%d} was pruned" if begins_at is not None else ""
        yield (
            f"Of {counted(report.begun_late, 'target')} not all answers are kept{pruned}. They begin with the first "
            f"that is; {counted(report.not_compared, 'change up to then was', 'changes up to then were')} not compared."
        )
