"""`crawler images`: what is, or was, available, with the state of knowledge."""

from __future__ import annotations

from datetime import datetime

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.options import at_option, reader_options
from crawler.cli.output import emit
from crawler.cli.selection import check_selection, explain_empty, folded_variants
from crawler.cli.table import IMAGE_COLUMNS, TARGET_COLUMNS, Column, state_cell
from crawler.domain.filters import Filters, part_fits
from crawler.domain.kinds import KINDS
from crawler.domain.rows import names_in_items
from crawler.errors import ExitCode

COLUMNS = (
    *TARGET_COLUMNS,
    *IMAGE_COLUMNS,
    Column("gpu", "GPU"),
    Column("state", "STATE", kind="words", folds=True, cell=state_cell),
    Column("superseded_by", "SUPERSEDED BY", sparse=True),
    Column("valid_from", "SINCE", kind="time"),
    Column("observed_at", "OBSERVED", kind="time", optional=True, spare=True),
)


@click.command()
@at_option
@click.option("--retired", is_flag=True, help="Also images of targets that are retired or deselected.")
@reader_options
@pass_cli
def images(context: CliContext, at: datetime | None, retired: bool, fmt: str, selected: Filters) -> ExitCode:
    """
    Show what is available now, or was at a moment, and how well that is known.

    State `unknown` means that the target was not observed well: the reason follows. Such images are never left out.
    Where, or at a moment before which, nobody has looked well, the exit code is 8. An image that several variants of a
    matrix list is one line.
    """
    from crawler.queries import images as queries_images

    settings = context.history_settings()
    with context.history() as conn:
        at = at and context.meant(conn, at)
        check_selection(conn, selected, selected.of_images())
        rows = queries_images.images(
            conn,
            at,
            selected.of_images(),
            now=context.now(conn),
            stale_after=settings.stale_after,
            include_retired=retired,
        )
        kinds = [kind for kind in KINDS if part_fits("kind", kind, selected.of_images().kind)]
        moment = at or context.now(conn)
        shown, names = folded_variants(
            conn, selected, (row.as_dict() for row in rows), fmt, names_in_items(kinds), at=moment, by="place"
        )
        count = emit(shown, COLUMNS, fmt, zone=settings.timezone, fields=names)
        if not count:
            return explain_empty(
                context,
                conn,
                selected,
                what="images",
                about=selected.of_images(),
                at=at,
                with_retired=retired,
                of_images=True,
            ).say(context)
    return ExitCode.DONE
