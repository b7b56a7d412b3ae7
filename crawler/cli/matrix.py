"""`crawler matrix`: what is listed for which machine with which Kubernetes version."""

from __future__ import annotations

from datetime import datetime

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.hints import few
from crawler.cli.options import at_option, reader_options
from crawler.cli.output import emit
from crawler.cli.selection import check_selection, explain_empty
from crawler.cli.table import Column
from crawler.domain.filters import Filters, part_fits
from crawler.domain.matrix import KIND
from crawler.domain.rows import names_in_json
from crawler.domain.text import visible
from crawler.errors import ExitCode, UsageError


@click.command()
@at_option
@click.option("--retired", is_flag=True, help="Also what is retired or deselected.")
@reader_options
@pass_cli
def matrix(context: CliContext, at: datetime | None, retired: bool, fmt: str, selected: Filters) -> ExitCode:
    """
    Show how many images each machine lists with each Kubernetes version, and in how many zones.

    It is about accounts with `variants = "auto"`. `2 to 3 in 24` are two images in some of 24 zones and three in
    others; a zone that is not observed well is told as unknown. With --name or --image-id those images are counted.
    Names that only a machine lists, and the question without one does not, are named below.
    """
    from crawler.queries import matrix as queries_matrix

    if selected.kind and not part_fits("kind", KIND, selected.kind):
        raise UsageError(f"A matrix is about {KIND} alone; leave out --kind.")
    settings = context.history_settings()
    with context.history() as conn:
        at = at and context.meant(conn, at)
        check_selection(conn, selected)
        rows = queries_matrix.matrix(
            conn, at, selected, now=context.now(conn), stale_after=settings.stale_after, include_retired=retired
        )
        if fmt != "table":
            names = names_in_json(queries_matrix.MachineRow)
            count = emit((row.as_dict() for row in rows), (), fmt, zone=settings.timezone, fields=names)
        else:
            versions, machines = queries_matrix.by_machine(rows)
            columns = (Column("machine", "MACHINE"), *(_version(number, name) for number, name in enumerate(versions)))
            count = emit(machines, columns, fmt, zone=settings.timezone)
        if not count:
            what = 'targets of a matrix (an account asks about one with variants = "auto")'
            return explain_empty(context, conn, selected, what=what, at=at, with_retired=retired).say(context)
    if fmt == "table":
        context.say("Each cell: how many images, in how many zones.")
    hidden = list(queries_matrix.hidden_names(rows))
    if hidden and fmt == "table":
        context.say(visible(f"Listed for machines alone, not by `default`: {few(hidden)}."))
    return ExitCode.DONE


def _version(number: int, name: str) -> Column:
    # a version has dots, which would lead inward
    return Column(f"version {number}", visible(name), kind="words", cell=lambda row: row[name], folds=True)
