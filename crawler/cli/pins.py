"""`crawler pins`: every id that somebody is known to depend on, worst first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from crawler.cli.check import COLUMNS, rows_now
from crawler.cli.check_files import inside_notes, silence_notes, untracked_notes
from crawler.cli.context import CliContext, pass_cli
from crawler.cli.hints import require_records
from crawler.cli.options import table_options, target_options
from crawler.cli.output import emit
from crawler.cli.selection import check_selection
from crawler.config.pin_files import checkouts_in, untracked_in
from crawler.domain.filters import Filters
from crawler.domain.rows import names_in_json
from crawler.errors import UsageError
from crawler.queries.check.rules import WORST_FIRST, CheckRow, PinRule


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@target_options
@table_options
@pass_cli
def pins(context: CliContext, paths: tuple[str, ...], fmt: str, selected: Filters) -> None:
    """
    List every known pin, worst first: of the reports (pins, pins_file, pins_from), of node groups, and in PATHs.

    Each row is one of `crawler check`, with the place where the id stands, its successor, and what a change there does.
    """
    from crawler.db.filters import known_words
    from crawler.queries.live_pins import KIND, live_pins

    settings = context.history_settings()
    rules = list(dict.fromkeys(known_rules(context, paths, tells_untracked=True)))
    doubts: list[CheckRow] = []
    with context.history() as conn:
        require_records(conn)
        check_selection(conn, selected)
        if KIND in known_words(conn, "kind"):
            live, doubts = live_pins(conn, selected, now=context.now(conn), stale_after=settings.stale_after)
            rules += live
        rows = rows_now(context, conn, rules, selected, is_table=fmt == "table")
    rows += doubts
    rows.sort(key=lambda row: (WORST_FIRST.index(row.outcome), row.zone or "", row.image_id or "", row.source))
    shown = (row.as_dict() for row in rows)
    if not emit(shown, COLUMNS, fmt, zone=settings.timezone, fields=names_in_json(CheckRow)):
        context.say("No pin is known: name ids in `pins` or files in `pins_from` of a report, or give a PATH.")


def known_rules(
    context: CliContext, paths: tuple[str, ...] = (), *, tells_untracked: bool = False
) -> Iterator[PinRule]:
    """
    Return the pins of the reports, and those in *paths*; what cannot be read is told.

    With *tells_untracked* that is told as well which files git does not track.
    """
    from crawler.config.loader import load_pins
    from crawler.notifications.pinned_files import rules_of

    def complain(name: str, problem: ValueError) -> None:
        if name in paths:
            raise UsageError(f"{problem}.") from None
        context.say(f"Warning: {problem}; its pins are left out.", level="warning")

    pinned, names = load_pins(context.config_path, context.environ)
    if tells_untracked:
        named = (*paths, *names)
        folders = [name for name in named if os.path.isdir(name)]  # noqa: PTH112 - no error
        paths_named = {os.path.abspath(name) for name in named}  # noqa: PTH100 - as named
        notes = untracked_notes({name: untracked_in(Path(name)) for name in folders}, paths_named)
        notes += inside_notes({name: checkouts_in(Path(name)) for name in folders}, paths_named)
        for note in (*notes, *silence_notes(folders)):
            context.say(note, level="warning")
    return rules_of(pinned, (*paths, *names), complain)
