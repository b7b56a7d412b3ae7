"""`crawler compare`: two zones side by side by image name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import click

from crawler.cli.changes import CHANGED, told_fields
from crawler.cli.context import CliContext, pass_cli
from crawler.cli.hints import require_asked, require_observed, require_zone
from crawler.cli.options import at_option, reader_options_without
from crawler.cli.output import emit
from crawler.cli.selection import check_selection, explain_empty, folded_variants
from crawler.cli.table import Column, Row, variant_cell
from crawler.domain.filters import Filters
from crawler.domain.rows import names_in_json
from crawler.domain.text import counted, visible
from crawler.errors import ExitCode
from crawler.queries.compare import CompareRow


def _what(row: Row) -> str:
    return f"not known ({row['reason']})" if row["reason"] else told_fields(row["fields"])


def _projects(row: Row) -> str:
    return row["projects"][0] if len(row["projects"]) == 1 else counted(len(row["projects"]), "project")


def _id(side: str) -> Callable[[Row], object]:
    """Return what tells the id of a *side*, with its state where it cannot be used."""

    def cell(row: Row) -> object:
        image = row[side] or {}
        return (
            f"{image['image_id']} ({image['image_state']})" if image.get("bootable") is False else image.get("image_id")
        )

    return cell


def _columns(first: str, second: str) -> tuple[Column, ...]:
    return (
        Column("projects", "PROJECT", kind="words", optional=True, cell=_projects),
        Column("kind", "KIND", optional=True),
        Column("variant", "VARIANT", optional=True, cell=variant_cell),
        Column("image_set", "SET", optional=True),
        Column("image_name", "NAME", folds=True),
        Column("result", "RESULT", kind="words"),
        Column("first.image_id", visible(first), cell=_id("first")),
        Column("second.image_id", visible(second), cell=_id("second")),
        replace(CHANGED, cell=_what),
    )


@click.command()
@click.argument("first", metavar="ZONE1")
@click.argument("second", metavar="ZONE2")
@at_option
@reader_options_without("region", "zone")
@pass_cli
def compare(context: CliContext, first: str, second: str, at: datetime | None, fmt: str, selected: Filters) -> ExitCode:
    """
    Show two zones side by side by image name, as ids differ per zone.

    RESULT is only_first, only_second, differs (WHAT says in which fields), same, or unknown where a zone was not
    observed well: what is not known is no difference. Of several open images of a name the newest is compared.
    """
    from crawler.queries import diff_lookup

    settings = context.history_settings()
    with context.history() as conn:
        now = context.now(conn)
        at = at and context.meant(conn, at)
        check_selection(conn, selected, selected.of_images())
        for zone in (first, second):
            require_zone(conn, zone, selected.of_images().kind)
            check_selection(conn, replace(selected, zone=(zone,)), selected.of_images())
        rows, known = diff_lookup.zones_apart(
            conn, [first], [second], at, selected, now=now, stale_after=settings.stale_after
        )
        for zone, side in zip((first, second), known, strict=True):
            if not side:
                require_asked(conn, zone, selected.of_images(), at or now, settings.timezone)
            require_observed(conn, side.values(), at or now, settings.timezone)
        both = replace(selected, zone=(first, second))
        apart = (row.as_dict() for row in rows)
        folded, names = folded_variants(conn, both, apart, fmt, names_in_json(CompareRow), at=at or now)
        shown = list(folded)
        if not emit(shown, _columns(first, second), fmt, zone=settings.timezone, fields=names):
            what = visible(f"images in {first} or {second}")
            return explain_empty(context, conn, selected, what=what, about=selected.of_images(), at=at).say(context)
    counts = Counter[str](row["result"] for row in shown)
    words = {
        "same": "same",
        "differs": "different",
        "only_first": f"only in {first}",
        "only_second": f"only in {second}",
        "unknown": "unknown",
    }
    if rows and fmt == "table":
        told = ", ".join(f"{counts[result]} {word}" for result, word in words.items() if counts[result])
        context.say(visible(f"{told}."))
    return ExitCode.DONE
