"""`crawler runs`: the ledger of runs, and one run in full."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from itertools import chain
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from crawler.cli.context import CliContext
from crawler.cli.hints import pruned
from crawler.cli.options import NUMBER, SentenceGroup, format_option, table_options, target_options
from crawler.cli.output import emit, json_line, write_notes, write_out
from crawler.cli.selection import check_selection, explain_empty
from crawler.cli.table import Column, Row
from crawler.domain.filters import Filters
from crawler.domain.text import visible
from crawler.domain.timefmt import show_moment, tell_moment, zone_name
from crawler.errors import EmptySelection

if TYPE_CHECKING:
    from crawler.domain.rows import FailureRow, RunSummary

FIELDS = (
    "run", "status", "started_at", "finished_at", "targets.total", "targets.ok", "targets.held", "targets.denied",
    "targets.failed", "targets.skipped", "baseline.targets", "baseline.images", "changes.appeared", "changes.returned",
    "changes.withdrawn", "changes.modified", "changes.target_added", "changes.target_retired", "requests.sent",
    "requests.retried", "requests.throttled", "reports.queued", "reports.sent", "reports.failed", "restricted",
    "accounts", "notices",
)  # fmt: skip

_OUTCOMES = ("ok", "held", "denied", "failed", "skipped")


def _changes(row: Row) -> int:
    return sum(row["changes"].values())


def _outcomes(row: Row) -> str:
    counts = row["targets"]
    return ", ".join(f"{counts[name]} {name}" for name in _OUTCOMES if counts[name] or name == "ok")


COLUMNS = (
    Column("run", "RUN", kind="count"),
    Column("status", "STATUS", kind="words"),
    Column("started_at", "STARTED", kind="time"),
    Column("finished_at", "FINISHED", kind="time", detail=True),
    Column("targets.total", "TARGETS", kind="count", spare=True),
    Column("targets", "OUTCOMES", kind="words", cell=_outcomes, folds=True),
    *(Column(f"targets.{name}", name.upper(), kind="count", detail=True) for name in _OUTCOMES),
    Column("baseline.images", "BASELINE", kind="count", sparse=True),
    Column("changes", "CHANGES", kind="count", cell=_changes),
    Column("requests.sent", "REQUESTS", kind="count"),
)


@click.group(cls=SentenceGroup, invoke_without_command=True)
@click.option("--limit", type=NUMBER, metavar="N", help="Only the newest N [default: all].")
@table_options
@target_options
@click.pass_context
def runs(ctx: click.Context, limit: int | None, fmt: str, selected: Filters) -> None:
    """
    List the runs, oldest first; `crawler runs show N` tells one in full.

    With --account those of these accounts; with --project, --zone, … those that asked any such target.
    """
    if ctx.invoked_subcommand is not None:
        return
    context = ctx.ensure_object(CliContext)
    from crawler.db.beginning import begins_at
    from crawler.queries import runs as queries_runs

    zone = context.history_settings().timezone
    with context.history() as conn:
        check_selection(conn, selected)
        every = queries_runs.runs(conn, limit, filters=selected)
        oldest = next(every, None)
        # The list does not look up failures; an empty `failures` would say that there were none.
        rows = (
            {name: value for name, value in row.as_dict().items() if name != "failures"}
            for row in chain([oldest] if oldest else [], every)
        )
        if not emit(rows, COLUMNS, fmt, zone=zone, fields=FIELDS):
            if selected.is_all:
                context.say("Nothing is recorded yet: `crawler run` makes the first run.")
            else:
                context.say(explain_empty(context, conn, selected, what="runs").sentence)
        kept_from = begins_at(conn)
        if kept_from is not None and oldest is not None and oldest.started_at < kept_from:
            context.say(pruned(kept_from, zone, "of that time not every run is left"))


@runs.command()
@click.argument("number", metavar="N", type=NUMBER)
@format_option
@click.pass_context
def show(ctx: click.Context, number: int, fmt: str) -> None:
    """Tell run N in full: its counts, what failed and why, and its notices."""
    from crawler.db.beginning import begins_at
    from crawler.queries import runs as queries_runs

    group = ctx.parent
    if group is not None and group.get_parameter_source("fmt") is ParameterSource.COMMANDLINE:
        fmt = fmt if ctx.get_parameter_source("fmt") is ParameterSource.COMMANDLINE else group.params["fmt"]
    context = ctx.ensure_object(CliContext)
    zone = context.history_settings().timezone
    with context.history() as conn:
        summary = queries_runs.run(conn, number)
        last, kept_from = queries_runs.last_run(conn), begins_at(conn)
    if summary is None:
        known = f"they go to {last}" if last else "none is recorded yet"
        if last and kept_from is not None and number < last:
            known += f", and of those before {tell_moment(kept_from, zone)} not every one is left"
        raise EmptySelection(f"There is no run {number}: {known}; `crawler runs` lists them.")
    if fmt == "table":
        write_notes(describe(summary, zone))
    elif fmt == "csv":
        emit([summary.as_dict()], COLUMNS, fmt, fields=FIELDS)
    else:
        write_out([json_line(summary.as_dict()), "\n"])


def describe(summary: RunSummary, zone: tzinfo) -> Iterator[str]:
    """Tell a run in lines of text, its troubles last."""
    restricted = ", restricted on the command line" if summary.restricted else ""
    yield f"run       {summary.run}, {summary.status}{restricted}"
    yield (
        f"time      {show_moment(summary.started_at, zone)} to {show_moment(summary.finished_at, zone)}"
        f" ({zone_name(zone)})"
    )
    if summary.accounts:
        yield f"accounts  {visible(', '.join(summary.accounts))}"
    yield f"targets   {_counts(summary.targets)}"
    yield f"baseline  {_counts(summary.baseline)}"
    yield f"changes   {_counts(summary.change_counts())}"
    yield f"requests  {_counts(summary.requests)}"
    yield f"reports   {_counts(summary.reports)}"
    for notice in summary.notices:
        yield f"notice    {visible(notice)}"
    for failure in summary.failures:
        request = f" [{failure.request_uuid}]" if failure.request_uuid else ""
        yield visible(f"{failure.outcome:9} {failure.target}: {_said(failure)}{request}")


def _said(failure: FailureRow) -> str:
    """Return why a target failed, its RetCode first; the message then leaves it out."""
    if failure.ret_code is None:
        return failure.message
    code = f"RetCode {failure.ret_code}"
    return f"{code} {failure.message.replace(f' ({code})', '').replace(f'({code}: ', '(')}"


def _counts(counts: Row) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
