"""`crawler changes`: the change log, oldest first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.options import MOMENT, Selected, reader_options
from crawler.cli.output import Column, Row, emit
from crawler.cli.selection import check_selection, say_empty
from crawler.errors import ExitCode, UsageError
from crawler.model import EVENTS
from crawler.moments import NO_TIME

FIELDS = (
    "account", "project", "region", "zone", "kind", "variant", "id", "run", "event", "image_set", "image_id",
    "image_name", "fields", "counterpart", "not_before", "observed_at", "recorded_at",
)  # fmt: skip


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


COLUMNS = (
    Column("id", "ID", kind="count"),
    Column("account", "ACCOUNT", optional=True),
    Column("project", "PROJECT", optional=True),
    Column("zone", "ZONE"),
    Column("kind", "KIND", optional=True),
    Column("variant", "VARIANT", optional=True),
    Column("event", "EVENT"),
    Column("image_set", "SET", optional=True),
    Column("image_name", "NAME", folds=True),
    Column("image_id", "IMAGE ID"),
    Column("fields", "WHAT", cell=_what, sparse=True, folds=True),
    Column("not_before", "AFTER", kind="time", spare=True),
    Column("observed_at", "OBSERVED", kind="time"),
)


@click.command()
@click.option(
    "--since", type=MOMENT, metavar="TIME", help="Recorded at or after: 2026-06-01, 2026-06-01T12:00, 7d, 90m."
)
@click.option("--until", type=MOMENT, metavar="TIME", help="Recorded before this time.")
@click.option("--event", "events", type=click.Choice(EVENTS), multiple=True, help="Only these events. Repeatable.")
@reader_options
@pass_cli
def changes(
    context: CliContext,
    since: datetime | None,
    until: datetime | None,
    events: tuple[str, ...],
    fmt: str,
    selected: Selected,
) -> ExitCode:
    """
    Show what changed, oldest first.

    A change happened after AFTER, the previous good observation, and by OBSERVED. --since and --until go by the
    time it was recorded, so that nothing is missed by asking again from where the last answer ended.
    """
    from crawler.store import reader

    if since and until and since > until:
        raise UsageError("--since is later than --until, so nothing lies between them.")
    settings = context.history_settings()
    with context.history() as conn:
        check_selection(conn, selected)
        rows = reader.changes(conn, since, until, events, selected.filters())
        count = emit((row.as_dict() for row in rows), COLUMNS, fmt, zone=settings.timezone, fields=FIELDS)
        if not count:
            what = f"{' or '.join(events)} changes" if events else "changes"
            what += " in that time" if since or until else ""
            return say_empty(context, conn, selected, what=what, at=until)
    return ExitCode.DONE
