"""`crawler status`: freshness and outcome of every target."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack, closing
from itertools import islice

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.options import NUMBER, reader_options
from crawler.cli.output import emit
from crawler.cli.selection import check_selection, explain_empty
from crawler.cli.table import TARGET_COLUMNS, Column
from crawler.domain.filters import Filters
from crawler.domain.rows import StatusRow, names_in_json

COLUMNS = (
    *TARGET_COLUMNS,
    Column("outcome", "OUTCOME", kind="words"),
    Column("since", "SINCE", kind="time"),
    Column("last_ok_at", "LAST OK", kind="time", optional=True),
    Column("images", "IMAGES", kind="count"),
    Column("message", "MESSAGE", kind="words", sparse=True, folds=True),
)


@click.command()
@click.option("--retired", is_flag=True, help="Also targets that are retired or deselected.")
@click.option("--limit", type=NUMBER, metavar="N", help="Only the first N [default: all].")
@reader_options
@pass_cli
def status(context: CliContext, retired: bool, limit: int | None, fmt: str, selected: Filters) -> None:
    """
    Show of every target how its last observation went, since when it is so, and how many images are open there.

    Options about images select the targets where such images are open.
    """
    from crawler.queries import images
    from crawler.queries import status as queries_status

    settings = context.history_settings()
    with context.history() as conn, ExitStack() as stack:
        now = context.now(conn)
        check_selection(conn, selected)
        every = queries_status.each_status(conn, selected, now=now, include_retired=retired)
        rows: Iterable[StatusRow] = stack.enter_context(closing(every))
        if not selected.is_all_images:
            found = images.images(
                conn, None, selected, now=now, stale_after=settings.stale_after, include_retired=retired
            )
            having = {image.target for image in found}
            rows = (row for row in rows if row.target in having)
        shown = (row.as_dict() for row in islice(rows, limit))
        if not emit(shown, COLUMNS, fmt, zone=settings.timezone, fields=names_in_json(StatusRow)):
            context.say(explain_empty(context, conn, selected, what="targets", with_retired=retired).sentence)
