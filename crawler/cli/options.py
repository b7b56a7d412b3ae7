"""Options that several commands share: what to select, how to write it, and times as people write them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

import click

from crawler.cli.context import CliContext
from crawler.cli.output import ASKED_COLUMNS, FORMATS, IS_WIDE
from crawler.domain.filters import IMAGE_PARTS, TARGET_PARTS, Filters
from crawler.domain.models import LARGEST_ID
from crawler.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., Any])


class OneOf(click.Choice[str]):
    """One of some words; for another the nearest is named."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it, or fail with one sentence."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as exc:
            from crawler.domain.suggest import did_you_mean

            hint = did_you_mean(str(value), self.choices)
            self.fail(f"{exc.message.removesuffix('.')}{hint}" if hint else exc.message, param, ctx)


class WholeNumber(click.IntRange):
    """A whole number in a range, which messages and the help call an integer and not an "integer range"."""

    name = "integer"


class Number(click.FloatRange):
    """A number in a range; `nan` is in none, and `inf` stands for nothing that a command could do."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return it, or fail with one sentence."""
        number = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value!r} is not a valid {self.name}.", param, ctx)
        return number


class FolderPath(click.Path):
    """The path of a folder; an empty one, as of a variable that is not set, is not the present folder."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return it, or fail with one sentence."""
        if not str(value):
            self.fail("it is empty; name a folder.", param, ctx)
        return super().convert(value, param, ctx)


#: How the help of an option says what a time may be.
TIMES = "2026-06-01, 2026-06-01T12:00 (in the configured time zone), or an age such as 90m or 7d"
#: What runs, changes and holds are called by.
NUMBER = WholeNumber(1, LARGEST_ID)
_HELP = {
    "account": "Accounts by name.",
    "project": "Projects by id or name, in any case.",
    "region": "Regions, such as cn-bj2, in any case.",
    "zone": "Zones, such as cn-bj2-04, in any case.",
    "kind": "Kinds, such as uk8s-image.",
    "variant": "Variants by name.",
    "image_set": "Image sets, such as ImageSet.",
    "name": "Image names; case and spacing do not matter.",
    "image_id": "Image ids, such as uimage-vareox.",
}


class SentenceGroup(click.Group):
    """A group that lists its commands with their first sentence whole, which click cuts to the rest of the line."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with what they do."""
        rows = [(name, self.commands[name].get_short_help_str(sys.maxsize)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _selecting(parts: tuple[str, ...]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_selection(*args: Any, **kwargs: Any) -> Any:
            selected = Filters(**{part: tuple(kwargs.pop(f"select_{part}")) for part in parts})
            return command(*args, selected=selected, **kwargs)

        decorated: Any = with_selection
        for part in reversed(parts):
            decorated = click.option(
                f"--{part.replace('_', '-')}",
                f"select_{part}",
                multiple=True,
                metavar="GLOB",
                help=f"{_HELP[part]} Repeatable.",
            )(decorated)
        result: Command = decorated
        return result

    return decorate


def target_options(command: Command) -> Command:
    """Add `--account --project --region --zone --kind --variant`; the command gets `selected: Filters`."""
    return _selecting(TARGET_PARTS)(command)


def account_option(command: Command) -> Command:
    """Add `--account`; the command gets `selected: Filters`."""
    return _selecting(("account",))(command)


def format_option(command: Command, more: tuple[str, ...] = ()) -> Command:
    """Add `-o/--format`, which takes the words *more* as well; the command gets `fmt`."""
    return click.option(
        "-o",
        "--format",
        "fmt",
        type=OneOf([*FORMATS, *more]),
        default="table",
        show_default=True,
        envvar="CRAWLER_FORMAT",
        show_envvar=True,
        help="json is one array, jsonl one object a line; in csv a cell like =… gets a leading apostrophe.",
    )(command)


def _keep(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Keep what is asked of a table where `emit` finds it; an option that was not given changes nothing."""
    if parameter.name == "columns" and value is not None:
        ctx.meta[ASKED_COLUMNS] = [name.strip() for name in value.split(",")]
    elif value:
        ctx.meta[IS_WIDE] = True


def table_options_with(*more: str) -> Callable[[Command], Command]:
    """Add `table_options` to a command that writes the formats *more* as well."""
    return lambda command: table_options(command, more)


def table_options(command: Command, more: tuple[str, ...] = ()) -> Command:
    """Add `-o/--format`, `--columns` and `--wide`; the command gets `fmt`, and `emit` the others."""
    wide = click.option(
        "--wide",
        is_flag=True,
        expose_value=False,
        callback=_keep,
        help="In the table every column, times to the second, and each row on one line, however long.",
    )
    columns = click.option(
        "--columns",
        metavar="A,B",
        expose_value=False,
        callback=_keep,
        help="Only these columns, in this order: headings in any case, or names of fields.",
    )
    return format_option(columns(wide(command)), more)


def reader_options(command: Command) -> Command:
    """Add all options that readers share; the command gets `fmt` and `selected: Filters`."""
    return table_options(_selecting((*TARGET_PARTS, *IMAGE_PARTS))(command))


def reader_options_without(*parts: str) -> Callable[[Command], Command]:
    """Add the options that readers share, but those that select *parts*."""
    kept = tuple(part for part in (*TARGET_PARTS, *IMAGE_PARTS) if part not in parts)
    return lambda command: table_options(_selecting(kept)(command))


def wait_option(command: Command) -> Command:
    """Add `--wait`; the command gets `wait_seconds`."""
    return click.option(
        "--wait",
        "wait_seconds",
        type=Number(min=0),
        default=0,
        metavar="SECONDS",
        help="Wait so long for another run to end, instead of leaving with exit code 75 at once.",
    )(command)


def at_option(command: Command) -> Command:
    """Add `--at`; the command gets `at`, a moment or None."""
    return click.option("--at", type=MOMENT, metavar="TIME", help=f"As of a past moment: {TIMES}.")(command)


def svg_option(command: Command) -> Command:
    """Add `--svg`; the command gets `svg`, a path or None."""
    return click.option(
        "--svg",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Write a picture too: a bar for each zone, hatched where nobody knew.",
    )(command)


class Moment(click.ParamType[datetime]):
    """A time: ISO 8601 (naive: the configured zone), a date, or an age such as 90m, 7d, 2w, 6mo, 2y."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return it in UTC, or fail with one sentence."""
        if isinstance(value, datetime):
            return value
        context = (ctx.find_object(CliContext) if ctx else None) or CliContext()
        try:
            return context.moment(str(value))
        except UsageError as exc:
            if type(exc) is not UsageError:
                raise
            self.fail(str(exc), param, ctx)


MOMENT = Moment()


class Duration(click.ParamType[timedelta]):
    """A length of time, such as 90m, 26h, 7d or 6mo."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return it, or fail with one sentence."""
        if isinstance(value, timedelta):
            return value
        from crawler.domain.timefmt import parse_duration

        try:
            return parse_duration(str(value))
        except ValueError as exc:
            self.fail(f"{str(value)!r} {exc}", param, ctx)


DURATION = Duration()
