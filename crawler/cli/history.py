"""`crawler history`: every interval of an image in every target, with the gaps of knowledge."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crawler.cli.changes import CHANGED, told_fields
from crawler.cli.context import CliContext, pass_cli
from crawler.cli.hints import pruned, unheard_image
from crawler.cli.options import reader_options, svg_option
from crawler.cli.output import emit
from crawler.cli.pictures import write_svg
from crawler.cli.selection import check_selection, explain_empty
from crawler.cli.table import TARGET_COLUMNS, Column, Row
from crawler.domain.filters import Filters
from crawler.domain.models import RE_ISSUED
from crawler.domain.rows import names_in_json
from crawler.domain.text import visible
from crawler.errors import ExitCode
from crawler.queries.history import HistoryRow, chain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection


def _state(row: Row) -> str:
    if row["ended_by"] == "withdrawn" and row["replaced_by"]:
        return RE_ISSUED
    return f"unknown ({row['reason']})" if row["reason"] else str(row["state"] or row["ended_by"] or "ended")


def _what(row: Row) -> str:
    parts = ["baseline"] if row["baseline"] else []
    parts += [told_fields(row["fields"])] if row["fields"] else []
    parts += [f"← {row['replaces']}"] if row["replaces"] else []
    parts += [f"→ {row['replaced_by']}"] if row["replaced_by"] else []
    return " ".join(parts)


COLUMNS = (
    *TARGET_COLUMNS,
    Column("image_set", "SET", optional=True),
    Column("image_name", "NAME", optional=True, folds=True),
    Column("image_id", "IMAGE ID"),
    Column("not_before", "AFTER", kind="time", detail=True),
    Column("valid_from", "FROM", kind="time"),
    Column("valid_to", "TO", kind="time"),
    Column("state", "STATE", kind="words", folds=True, cell=_state),
    replace(CHANGED, key="what", cell=_what),
)


@click.command()
@click.argument("image", metavar="ID-OR-NAME")
@svg_option
@reader_options
@pass_cli
def history(context: CliContext, image: str, svg: Path | None, fmt: str, selected: Filters) -> ExitCode:
    """
    Show every interval of an image in every target, and when nobody knew.

    Say an image id, a name (then all ids it had), or a glob. An interval was seen to begin at FROM and to end at TO; it
    lasts where TO is empty. A baseline was there before anyone looked; → names the id that took the place. A line `gap`
    is a time for which the cloud gave no good answer, or gave one that is not believed yet: whether the image was there
    then is not known.
    """
    from crawler.db.beginning import begins_at
    from crawler.queries import history_lookup

    settings = context.history_settings()
    with context.history() as conn:
        now = context.now(conn)
        check_selection(conn, selected)
        ids = history_lookup.image_ids(conn, image)
        if not ids:
            raise unheard_image(conn, image, by_id=True)
        rows = history_lookup.history(conn, ids, selected, now=now, stale_after=settings.stale_after)
        shown = _with_gaps(rows) if fmt == "table" else (row.as_dict() for row in rows)
        if not emit(shown, COLUMNS, fmt, zone=settings.timezone, fields=names_in_json(HistoryRow)):
            what = f"intervals of {visible(image)}"
            return explain_empty(context, conn, selected, what=what, of_images=True).say(context)
        kept_from = begins_at(conn)
        if kept_from is not None and any(row.valid_from < kept_from for row in rows):
            context.say(pruned(kept_from, settings.timezone, "of that time not every interval and gap is left"))
        if svg is not None:
            write_svg(context, svg, rows, visible(image), now=now, kept_from=kept_from)
        if ids == [image] and fmt == "table":
            _say_chain(context, conn, rows, image)
    return ExitCode.DONE


def _with_gaps(rows: Sequence[HistoryRow]) -> Iterator[dict[str, Any]]:
    """Return each interval as a line, the gaps before and within it as lines of their own."""
    successors = {(row.target, row.replaced_by) for row in rows}
    for row in rows:
        line = row.as_dict()
        if (row.target, row.image_id) in successors:
            line["replaces"] = None  # the line of the other says it
        yield from (_gap(line, gap) for gap in line["gaps_before"])
        yield line
        yield from (_gap(line, gap) for gap in line["gaps"])


def _gap(line: Row, gap: Row) -> dict[str, Any]:
    times = {"not_before": None, "valid_from": gap["unknown_from"], "valid_to": gap["unknown_to"]}
    nothing = {"baseline": False, "fields": {}, "replaces": None, "replaced_by": None, "reason": None}
    return {**line, **times, **nothing, "state": f"gap ({gap['reason']})"}


def _say_chain(context: CliContext, conn: Connection, rows: Iterable[HistoryRow], image: str) -> None:
    """Tell which ids came in the place of an id that was withdrawn."""
    from crawler.queries import history_lookup

    ids = chain(image, lambda image_id: history_lookup.counterparts_of(conn, image_id))
    names = {row.image_name for row in rows if row.image_name}
    if len(ids) > 1:
        more = f"; `crawler history {shlex.quote(names.pop())}` shows them all" if len(names) == 1 else ""
        context.say(visible(f"{' → '.join(ids)}{more}."))
