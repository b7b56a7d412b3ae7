"""`crawler check`: a policy gate over required images and pinned ids; unknown never passes silently."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.options import table_options, target_options
from crawler.cli.output import emit
from crawler.cli.selection import check_selection
from crawler.cli.table import Column, Row
from crawler.config.textfiles import decoded, read_bytes, read_stream
from crawler.domain.filters import Filters
from crawler.domain.rows import names_in_json
from crawler.errors import ConfigurationError, CrawlerError, ExitCode, UnknownKnowledge, UsageError
from crawler.queries.check.rules import OUTCOMES, CheckRow, PinRule, Require, exit_code

if TYPE_CHECKING:
    from sqlalchemy import Connection


def _rule(row: Row) -> str:
    """Tell the rule; the id of a pin stands beside it."""
    return str(row["rule"]).removesuffix(f" {row['image_id']}") if row["image_id"] else str(row["rule"])


COLUMNS = (
    Column("rule", "RULE", kind="words", folds=True, cell=_rule),
    Column("zone", "ZONE"),
    Column("image_id", "IMAGE ID"),
    Column("outcome", "OUTCOME", kind="words"),
    Column("successor", "SUCCESSOR", sparse=True),
    Column("detail", "DETAIL", kind="words", folds=True),
    Column("source", "SOURCE", optional=True, folds=True),
)
#: What tells a policy from ids in use, under whatever name it comes.
_RULES = re.compile(r"^\s*\[\[\s*(require|pinned)\s*\]\]", re.MULTILINE)
#: More than any state or plan; and what a tool may take to write one into a pipe, as in `crawler check <(…)`.
_LARGEST = 256 * 2**20
_PATIENCE_SECONDS = 60.0
_KNOWN_PARTS = ("account", "project", "region", "zone", "kind")


@click.command()
@click.argument("files", nargs=-1, metavar="RULES.toml|IDS...")
@target_options
@table_options
@pass_cli
def check(context: CliContext, files: tuple[str, ...], fmt: str, selected: Filters) -> ExitCode:
    """
    Check required images and pinned ids: exit 0 when all are ok or superseded, 1 when one is not, 8 when nobody knows.

    RULES.toml holds [[require]] tables (name, zones, gpu, kind) and [[pinned]] tables (ids, zone). Any other file holds
    ids in use: lines of `zone id` or `id`, a Terraform state or plan (resources of this provider that are managed), a
    Packer manifest (builds of its last run). Standard input, -, holds either.
    """
    from crawler.queries import check_lookup

    texts = [(name, _read(name)) for name in files or _stdin_only()]
    settings = context.history_settings()
    with context.history() as conn:
        rules = _rules(conn, texts)
        check_selection(conn, selected, selected.of_images())
        rows = check_lookup.check(
            conn,
            rules,
            selected,
            now=context.clock(),
            stale_after=settings.stale_after,
            timezone=settings.timezone if fmt == "table" else UTC,
        )
    emit((row.as_dict() for row in rows), COLUMNS, fmt, zone=settings.timezone, fields=names_in_json(CheckRow))
    counts = Counter(row.outcome for row in rows)
    told = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
    context.say(f"{len(rules)} {'rule' if len(rules) == 1 else 'rules'}: {told or 'no zone to check'}.")
    return exit_code(rows)


def _stdin_only() -> tuple[str, ...]:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("Nothing to check: give a RULES.toml, a file of ids in use, or - and ids on standard input.")
    return ("-",)


def _read(name: str) -> str:
    if name == "-" and sys.stdin is None:
        raise UsageError("Standard input is closed.")
    try:
        if name == "-":
            return decoded(read_stream(sys.stdin.buffer, _LARGEST))
        return decoded(read_bytes(Path(name), _LARGEST, patience_seconds=_PATIENCE_SECONDS))
    except ValueError as exc:
        raise UsageError(f"{name} {exc}.") from None


def _rules(conn: Connection, texts: Iterable[tuple[str, str]]) -> list[Require | PinRule]:
    """Read all files; raise their problems all together."""
    from crawler.cli.check_rules import read_rules
    from crawler.db.filters import is_anything_recorded, known_words
    from crawler.queries.check.pins import read_pins

    if not is_anything_recorded(conn):
        raise UnknownKnowledge("Nothing is recorded yet: `crawler run` asks the cloud and records what it says.")
    known = {part: known_words(conn, part) for part in _KNOWN_PARTS}
    rules: list[Require | PinRule] = []
    complaints: list[CrawlerError] = []
    for name, text in texts:
        source = "stdin" if name == "-" else name
        try:
            is_policy = name.lower().endswith(".toml") or _RULES.search(text)
            rules += read_rules(text, source, known) if is_policy else read_pins(text, source)
        except UsageError as exc:
            complaints.append(exc)
    if len(complaints) == 1:
        raise complaints[0]
    if complaints:
        raise ConfigurationError("rules", [str(complaint) for complaint in complaints])
    return rules
