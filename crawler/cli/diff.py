"""`crawler diff`: two moments side by side."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any

import click

from crawler.cli.changes import CHANGED, told_fields
from crawler.cli.context import CliContext, pass_cli
from crawler.cli.hints import reasons, require_asked, require_observed
from crawler.cli.options import MOMENT, reader_options
from crawler.cli.output import emit
from crawler.cli.selection import check_selection, folded_variants
from crawler.cli.table import IMAGE_COLUMNS, TARGET_COLUMNS, Column, Row
from crawler.domain.filters import Filters
from crawler.domain.models import RE_ISSUED
from crawler.domain.rows import names_in_json
from crawler.domain.timefmt import show_moment, zone_name
from crawler.errors import ExitCode
from crawler.queries.diff import DiffRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from crawler.domain.models import Target
    from crawler.domain.rows import Knowledge


def _what(row: Row) -> str:
    if row["event"] != "unknown":
        return told_fields(row["fields"])
    sides = (("first", row["first"], row["first_reason"]), ("second", row["second"], row["second_reason"]))
    return "; ".join(f"{side}: {state}{f' ({reason})' if reason else ''}" for side, state, reason in sides)


COLUMNS = (
    *TARGET_COLUMNS,
    Column("event", "EVENT", kind="words"),
    *IMAGE_COLUMNS,
    replace(CHANGED, cell=_what),
)


@click.command()
@click.argument("first", metavar="T1", type=MOMENT)
@click.argument("second", metavar="T2", type=MOMENT)
@click.option(
    "--exit-code", is_flag=True, help="Exit 1 when they differ; 8 when nothing known differs, but not all is known."
)
@click.option("--unknown", "with_unknown", is_flag=True, help="Also rows for images that cannot be compared.")
@reader_options
@pass_cli
def diff(
    context: CliContext,
    first: datetime,
    second: datetime,
    exit_code: bool,
    with_unknown: bool,
    fmt: str,
    selected: Filters,
) -> ExitCode:
    """
    Show what differs between two moments, seen from T1 to T2: appeared, withdrawn, modified.

    Times are dates, ISO 8601 (in the configured time zone where they name none), ages (7d, 90m) or `now`. What was not
    known at one of the moments is no difference: the zones are named on stderr, their images shown with --unknown. In
    the table an id that took another's place under the same name is one line, re-issued; in the other formats it is two
    rows that name each other as `counterpart`.
    """
    from crawler.queries import diff_lookup

    settings = context.history_settings()
    zone = settings.timezone
    with context.history() as conn:
        context.now(conn)  # ages are by this machine's clock, and one that is far behind is told
        first, second = (context.meant(conn, moment) for moment in (first, second))
        check_selection(conn, selected)
        found, known = diff_lookup.moments_apart(conn, first, second, selected, stale_after=settings.stale_after)
        if not known and len(selected.zone) == 1:
            require_asked(conn, selected.zone[0], selected, second, zone)
        require_observed(conn, (own for own, _ in known.values()), first, zone)
        require_observed(conn, (own for _, own in known.values()), second, zone)
        tally = _Tally(known if first != second else {}, with_unknown=with_unknown)
        rows = tally.sift(found if first != second else ())
        shown = _folded(rows) if fmt == "table" else (row.as_dict() for row in rows)
        folded, names = folded_variants(conn, selected, shown, fmt, names_in_json(DiffRow), at=second, by="place")
        emit(folded, COLUMNS, fmt, zone=zone, fields=names)
    span = f"{show_moment(first, zone)} and {show_moment(second, zone)} ({zone_name(zone)})"
    if not tally.differences:
        context.say(f"No known difference between {span}." if tally.is_incomplete else f"No difference between {span}.")
    for line in dict.fromkeys(tally.lines(first, second, zone)):  # of one moment there is one
        context.say(line)
    if not exit_code:
        return ExitCode.DONE
    return ExitCode.NO if tally.differences else ExitCode.UNKNOWN if tally.is_incomplete else ExitCode.DONE


class _Tally:
    """Counts differences as they pass, and gathers what could not be compared."""

    def __init__(
        self, known: Mapping[Target, tuple[Knowledge | None, Knowledge | None]], *, with_unknown: bool
    ) -> None:
        self.differences = 0
        self.with_unknown = with_unknown
        #: Of each side, zones by reason.
        self.unknown: tuple[dict[str, set[str]], dict[str, set[str]]] = ({}, {})
        for target, sides in known.items():
            if all(own is None or own.observed_at is None for own in sides):
                continue  # never open to this key, or never seen: nothing is missing that was ever there
            for own, zones in zip(sides, self.unknown, strict=True):
                if own is not None and own.reason:
                    zones.setdefault(own.reason, set()).add(target.place)

    @property
    def is_incomplete(self) -> bool:
        return any(self.unknown)

    def sift(self, rows: Iterable[DiffRow]) -> Iterator[DiffRow]:
        for row in rows:
            if row.event != "unknown":
                self.differences += 1
                yield row
                continue
            for reason, zones in zip((row.first_reason, row.second_reason), self.unknown, strict=True):
                if reason:
                    zones.setdefault(reason, set()).add(row.target.place)
            if self.with_unknown:
                yield row

    def lines(self, first: datetime, second: datetime, zone: tzinfo) -> Iterator[str]:
        for moment, zones in zip((first, second), self.unknown, strict=True):
            if zones:
                yield f"Not known at {show_moment(moment, zone)}, so not compared: {reasons(zones)}."


def _folded(rows: Iterable[DiffRow]) -> Iterator[dict[str, Any]]:
    """Return rows for the table: the two halves of a re-issue as one."""
    waiting: dict[tuple[Target, str, str], DiffRow] = {}
    for row in rows:
        half = (row.target, row.image_set, row.counterpart or "")
        if row.counterpart is None or row.event not in ("appeared", "withdrawn"):
            yield row.as_dict()
        elif (other := waiting.pop(half, None)) is not None:
            old, new = (row, other) if row.event == "withdrawn" else (other, row)
            yield {**new.as_dict(), "event": RE_ISSUED, "image_id": f"{old.image_id} → {new.image_id}"}
        else:
            waiting[row.target, row.image_set, row.image_id] = row
    yield from (row.as_dict() for row in waiting.values())
