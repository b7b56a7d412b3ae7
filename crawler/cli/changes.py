"""`crawler changes`: the change log, oldest first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.hints import pruned
from crawler.cli.language import tr
from crawler.cli.options import MOMENT, TIMES, OneOf, reader_options
from crawler.cli.output import emit
from crawler.cli.selection import check_selection, explain_empty, folded_variants
from crawler.cli.table import IMAGE_COLUMNS, TARGET_COLUMNS, Column, Row
from crawler.domain.filters import Filters
from crawler.domain.models import EVENT_WORDS, LARGEST_ID, RE_ISSUED
from crawler.domain.rows import ChangeRow, names_in_json
from crawler.domain.timefmt import NO_TIME
from crawler.errors import ExitCode, UsageError


class _Cursor(click.ParamType[int]):
    """The `cursor` of a change."""

    name = "cursor"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return it as a number, or fail with one sentence."""
        text = str(value)
        # a number is read only when it is not too long to be read
        if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= LARGEST_ID):
            shown = text if len(text) < 40 else f"{text[:40]}…"
            self.fail(f"{shown!r} is no cursor: take that of a row of `crawler changes -o json`.", param, ctx)
        return int(text)


class _EventWord(OneOf):
    """An event, in any case, by the word that a table has for it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it in English, or fail with one sentence."""
        bare = "".join(str(value).split()).casefold()
        meant = next((word for word in EVENT_WORDS if "".join(tr(word).split()).casefold() == bare), value)
        return super().convert(meant, param, ctx)


def _event(row: Row) -> str:
    return RE_ISSUED if row["event"] == "withdrawn" and row["counterpart"] else str(row["event"])


def _what(row: Row) -> str:
    parts = [told_fields(row["fields"])] if row["fields"] else []
    if row["counterpart"]:
        parts.append(f"{'replaced by' if row['event'] == 'withdrawn' else 'replaces'} {row['counterpart']}")
    return "; ".join(parts)


def told_fields(fields: Mapping[str, Any]) -> str:
    """Tell what a modification changed: `gpu: no → yes; os_name: - → CentOS`."""
    return "; ".join(f"{name}: {_value(before)} → {_value(after)}" for name, (before, after) in fields.items())


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or NO_TIME
    return NO_TIME if value is None else str(value)


#: What changed of an image, last in each table that says so.
CHANGED = Column("fields", "WHAT", kind="words", cell=_what, sparse=True, folds=True)
COLUMNS = (
    Column("id", "ID", kind="count"),
    *TARGET_COLUMNS,
    Column("event", "EVENT", kind="words", cell=_event),
    *IMAGE_COLUMNS,
    Column("not_before", "AFTER", kind="time", spare=True),
    Column("observed_at", "OBSERVED", kind="time"),
    Column("recorded_at", "RECORDED", kind="time", detail=True),
    Column("run", "RUN", kind="count", detail=True),
    CHANGED,
)


@click.command()
@click.option("--since", type=MOMENT, metavar="TIME", help=f"Recorded at or after: {TIMES}.")
@click.option("--until", type=MOMENT, metavar="TIME", help="Recorded before this time, written alike.")
@click.option(
    "--after", type=_Cursor(), metavar="CURSOR", help="After the row with this `cursor`; 0: from the beginning."
)
@click.option(
    "--event",
    "events",
    type=_EventWord(EVENT_WORDS, case_sensitive=False),
    multiple=True,
    help="Only these events, in any case. Repeatable.",
)
@reader_options
@pass_cli
def changes(
    context: CliContext,
    since: datetime | None,
    until: datetime | None,
    after: int | None,
    events: tuple[str, ...],
    fmt: str,
    selected: Filters,
) -> ExitCode:
    """
    Show what changed, oldest first.

    A change happened after AFTER, the previous good observation, and by OBSERVED. --since and --until go by the
    time it was recorded. To be told of every change once, ask again with --after and the `cursor` (in json, jsonl
    and csv) of the last row; where there was none, with the same as before. re-issued: withdrawn, and replaced. What
    several variants of a matrix say in one run is one row.
    """
    from crawler.db import changelog
    from crawler.db.beginning import begins_at
    from crawler.queries import changes as queries_changes

    if since and until and since > until:
        raise UsageError("--since is later than --until, so nothing lies between them.")
    code = ExitCode.DONE
    settings = context.history_settings()
    with context.history() as conn:
        last = changelog.settled(conn)
        until = until and context.meant(conn, until)
        check_selection(conn, selected)
        rows = queries_changes.changes(conn, since, until, events, selected, after=after, until_change=last)
        fields = (*names_in_json(ChangeRow), "cursor")
        told = (row.as_dict() for row in rows)
        shown, names = folded_variants(conn, selected, told, fmt, fields, at=context.clock(), by="run")
        count = emit(shown, COLUMNS, fmt, zone=settings.timezone, fields=names)
        if not count:
            what = f"{' or '.join(events)} changes" if events else "changes"
            what += " in that time" if since or until else ""
            what += f" after the cursor {after}" if after else ""
            at = until if until and until < context.now(conn) else None
            code = explain_empty(context, conn, selected, what=what, at=at, of_images=True).say(context)
        kept_from = None if after else begins_at(conn)
        if kept_from is not None and (since is None or since < kept_from):
            context.say(pruned(kept_from, settings.timezone, "of that time not every change is left"))
    return code
