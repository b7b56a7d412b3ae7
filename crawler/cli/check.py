"""`crawler check`: a policy gate over required images and the ids in use; unknown never passes silently."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crawler.cli.check_files import Sources, all_rules, read_sources, wanted_pins
from crawler.cli.context import CliContext, pass_cli
from crawler.cli.hints import require_records
from crawler.cli.options import OneOf, table_options_with, target_options
from crawler.cli.output import emit, write_out
from crawler.cli.selection import check_selection
from crawler.cli.table import Column, Row
from crawler.domain.filters import Filters
from crawler.domain.rows import names_in_json
from crawler.domain.scanner.words import EFFECTS, Effect
from crawler.domain.text import counted
from crawler.errors import ExitCode, UsageError
from crawler.queries.check.rules import OUTCOMES, CheckRow, PinRule, Require, exit_code

if TYPE_CHECKING:
    from sqlalchemy import Connection


def _rule(row: Row) -> str:
    """Tell the rule; the id of a pin stands beside it."""
    return "pinned" if row["image_id"] and row["rule"] == f"pinned {row['image_id']}" else str(row["rule"])


def _source(row: Row) -> object:
    """Tell where the id stands: files below the working folder from there on, with a line as `FILE:LINE`."""
    line = row.get("line")
    if not line:
        return row["source"]
    place, told, rest = str(row["source"]).removeprefix(f"{Path.cwd()}/").rpartition(f", line {line}")
    return f"{place}:{line}{rest}" if told else rest


COLUMNS = (
    Column("rule", "RULE", kind="words", folds=True, cell=_rule),
    Column("zone", "ZONE"),
    Column("image_id", "IMAGE ID"),
    Column("outcome", "OUTCOME", kind="words"),
    Column("successor", "SUCCESSOR", sparse=True),
    Column("effect", "A CHANGE DOES", kind="words", sparse=True),
    Column("detail", "DETAIL", kind="words", folds=True),
    Column("source", "SOURCE", optional=True, folds=True, keeps_words=True, cell=_source),
)
#: Formats for other tools, all of them in `crawler.cli.check_formats`.
FINDINGS = ("sarif", "github", "gitlab", "junit", "markdown")
_KNOWN_PARTS = ("account", "project", "region", "zone", "kind")


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH|-]...")
@target_options
@click.option("--live", "is_live", is_flag=True, help="Also the images of the node groups that the history knows.")
@click.option("--type", "types", multiple=True, metavar="GLOB", help="Only ids in resources of this type. Repeatable.")
@click.option("--ignore", "ignored", multiple=True, metavar="ID", help="Leave this id out. Repeatable.")
@click.option("--strict", "is_strict", is_flag=True, help="What is out of scope is not known: exit 8.")
@click.option("--fix", "is_fix", is_flag=True, help="Change stale ids in source files to their successors.")
@click.option("--diff", "is_diff", is_flag=True, help="Print what --fix would change, and write nothing.")
@click.option(
    "--effect",
    "effects",
    multiple=True,
    type=OneOf(EFFECTS),
    help="Fix also where a change has this effect [always: later-nodes, rebuilds-image]. Repeatable.",
)
@table_options_with(*FINDINGS)
@pass_cli
def check(
    context: CliContext,
    paths: tuple[str, ...],
    fmt: str,
    selected: Filters,
    types: tuple[str, ...],
    ignored: tuple[str, ...],
    is_live: bool,
    is_strict: bool,
    is_fix: bool,
    is_diff: bool,
    effects: tuple[Effect, ...],
) -> ExitCode:
    """
    Check required images and pinned ids: exit 0 when all are good, 1 when one is not, 8 when nobody knows.

    A PATH is a policy (TOML with [[require]] tables: name, zones, gpu, kind; and [[pinned]] tables: ids, zone), a file
    with ids in use (Terraform, Packer, YAML, JSON, shell; a state, a plan from `terraform show -json`, a manifest;
    lines of `zone id`), or a folder of such files: those that git tracks, else all but hidden ones. Standard input, -,
    holds either. A comment `# ucloud-image: ZONE/NAME` names zone and image of the id on its line, or else on the next
    one; `# crawler: ignore` takes one out.

    With --fix an id is changed only where its successor is certain and every project of the zone agrees on it. The exit
    code judges what is left.
    """
    if effects and not (is_fix or is_diff):
        raise UsageError("--effect says what --fix and --diff may change; give one of them.")
    wants = wanted_pins(types, ignored)
    sources = read_sources(paths or (() if is_live else _stdin_only()), wants)
    sources.is_live = is_live
    for note in sources.notes:
        context.say(note, level="warning" if note.startswith("Warning") else "info")
    rules, rows = judge(context, sources, selected, is_table=fmt == "table")
    if is_fix or is_diff:
        from crawler.cli.check_fix import put_right

        fixed = put_right(context, sources, rows, effects, is_written=not is_diff)
        if fixed is not None:
            rules, rows = judge(context, fixed, selected, is_table=fmt == "table")
    if not is_diff:
        show(context, rows, fmt)
    counts = Counter(row.outcome for row in rows)
    told = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
    if rules:
        context.say(f"{counted(len(rules), 'rule')}: {told or 'no zone to check'}.")
    return exit_code(rows, is_strict=is_strict)


def judge(
    context: CliContext, sources: Sources, selected: Filters, *, is_table: bool
) -> tuple[list[Require | PinRule], list[CheckRow]]:
    """Return the rules that *sources* hold, and how each turned out."""
    if not sources.rules and not sources.is_live:
        return [], []  # whatever the history knows
    settings = context.history_settings()
    with context.history() as conn:
        rules = _rules(conn, sources)
        check_selection(conn, selected)
        doubts: list[CheckRow] = []
        if sources.is_live:
            from crawler.queries.live_pins import live_pins

            now = context.now(conn, is_strict=True)
            live, doubts = live_pins(conn, selected, now=now, stale_after=settings.stale_after)
            rules += [rule for rule in live if rule.place is None or sources.wants(rule.place)]
        rows = rows_now(context, conn, rules, selected, is_table=is_table)
    return rules, [*rows, *doubts]


def rows_now(
    context: CliContext, conn: Connection, rules: Sequence[Require | PinRule], selected: Filters, *, is_table: bool
) -> list[CheckRow]:
    """Return how *rules* turn out now; a table tells times in the configured zone, everything else in UTC."""
    from crawler.queries import check_lookup

    settings = context.history_settings()
    zone = settings.timezone if is_table else UTC
    stale_after = settings.stale_after
    now = context.now(conn, is_strict=True)
    return check_lookup.check(conn, rules, selected, now=now, stale_after=stale_after, timezone=zone)


def show(context: CliContext, rows: Sequence[CheckRow], fmt: str) -> None:
    """Print *rows* as *fmt*."""
    if fmt in FINDINGS:
        from crawler.cli import check_formats

        write_out([check_formats.FINDINGS[fmt](rows)])
        return
    zone = context.history_settings().timezone
    emit((row.as_dict() for row in rows), COLUMNS, fmt, zone=zone, fields=names_in_json(CheckRow))


def _stdin_only() -> tuple[str, ...]:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "Nothing to check: give a RULES.toml, a file or a folder of ids in use, or - and ids on standard input."
        )
    return ("-",)


def _rules(conn: Connection, sources: Sources) -> list[Require | PinRule]:
    from crawler.db.filters import known_words

    require_records(conn)
    return all_rules(sources, lambda: {part: known_words(conn, part) for part in _KNOWN_PARTS})
