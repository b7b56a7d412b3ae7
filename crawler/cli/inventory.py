"""`crawler inventory`: what is, or was, there of any kind: images of machines, versions, machine types, node groups."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.options import at_option, reader_options
from crawler.cli.output import emit
from crawler.cli.selection import check_selection, explain_empty
from crawler.cli.table import TARGET_COLUMNS, Column, state_cell
from crawler.domain.filters import Filters, part_fits
from crawler.domain.kinds import BOOTABLE, KINDS, Field
from crawler.domain.rows import names_in_items
from crawler.errors import ExitCode, UsageError

#: Types of fields that a table shows without being asked for them.
_SHORT = ("text", "flag", "flag_inverted", "integer", "date")


@click.command()
@at_option
@click.option("--retired", is_flag=True, help="Also what is known of targets that are retired or deselected.")
@reader_options
@pass_cli
def inventory(context: CliContext, at: datetime | None, retired: bool, fmt: str, selected: Filters) -> ExitCode:
    """
    Show what is there of a --kind, or was at a moment, and how well that is known; without --kind of every kind.

    Kinds are uk8s-image, uhost-image, phost-image, uk8s-version, instance-type and node-group; a run asks those that
    `kinds` of the account names. Each has fields of its own. State `unknown` means that the target was not observed
    well: the reason follows.
    """
    from crawler.queries import images as queries_images

    settings = context.history_settings()
    kinds = [kind for kind in KINDS if not selected.kind or part_fits("kind", kind, selected.kind)]
    with context.history() as conn:
        at = at and context.meant(conn, at)
        _refuse_unconfigured(selected)
        check_selection(conn, selected)
        rows = queries_images.images(
            conn, at, selected, now=context.now(conn), stale_after=settings.stale_after, include_retired=retired
        )
        shown = (row.as_dict() for row in rows)
        if not emit(shown, _columns(kinds), fmt, zone=settings.timezone, fields=names_in_items(kinds)):
            return explain_empty(
                context, conn, selected, what="items", at=at, with_retired=retired, of_images=True
            ).say(context)
    return ExitCode.DONE


def _refuse_unconfigured(selected: Filters) -> None:
    """Raise UsageError for a kind that this program does not know; one that no run asked is told by the history."""
    from crawler.domain.suggest import did_you_mean

    for glob in selected.kind:
        if not any(part_fits("kind", kind, [glob.removeprefix("!")]) for kind in KINDS):
            hint = did_you_mean(glob, KINDS) or f"; there are {', '.join(KINDS)}."
            raise UsageError(f"{glob!r} is no kind{hint}")


def _columns(kinds: Iterable[str]) -> tuple[Column, ...]:
    """Return the columns that show *kinds*; what few rows state is left out where none does."""
    of_kinds = list(kinds)
    own = {spec.name: spec for kind in of_kinds for spec in KINDS[kind].fields if spec.name != "image_name"}
    are_many = len(of_kinds) > 1  # whose fields together are more than a table has room for
    return (
        *TARGET_COLUMNS,
        Column("image_set", "SET", optional=True),
        Column("image_name", "NAME", sparse=True, folds=True),
        Column("image_id", "ID"),
        *(
            Column(name, _title(name), sparse=True, detail=are_many or _is_detail(spec), folds=True)
            for name, spec in own.items()
        ),
        Column(BOOTABLE, _title(BOOTABLE), sparse=True, detail=True),
        Column("state", "STATE", kind="words", folds=True, cell=state_cell),
        Column("valid_from", "SINCE", kind="time"),
        Column("observed_at", "OBSERVED", kind="time", optional=True, spare=True),
    )


def _is_detail(spec: Field) -> bool:
    return not spec.compared or spec.type not in _SHORT


def _title(name: str) -> str:
    return name.replace("_", " ").upper()
