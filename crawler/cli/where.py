"""`crawler where`: one image name over all zones; a roll-out at a glance."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.hints import few, reasons, require_observed, show_lag, unheard_image
from crawler.cli.options import at_option, reader_options, svg_option
from crawler.cli.output import emit
from crawler.cli.pictures import write_svg
from crawler.cli.selection import check_selection, explain_empty, folded_variants
from crawler.cli.table import Column, Row, state_cell, variant_cell
from crawler.domain.filters import Filters
from crawler.domain.models import normalise_name
from crawler.domain.rows import names_in_json
from crawler.domain.text import counted, visible
from crawler.domain.timefmt import NO_TIME, show_moment
from crawler.errors import ExitCode
from crawler.queries.where import Rollout, WhereRow, at_a_glance, rollouts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def _note(row: Row) -> str:
    parts = [f"was {' → '.join(row['previous_ids'])}"] if row["previous_ids"] else []
    not_to_use = row.get("not_to_use", {})  # a row of json or csv has none
    if row["also_open"]:
        older = [image_id for image_id in row["also_open"] if image_id not in not_to_use]
        parts = [f"older {', '.join(older)} still there"] if older else []
        parts += [f"not to use: {image_id} ({state})" for image_id, state in not_to_use.items()]
    if row["newer_elsewhere"]:
        parts.append(f"{row['newer_elsewhere']} elsewhere")
    return "; ".join(parts)


def _projects(row: Row) -> str:
    return str(row.get("projects") or row["project"])


def _lag(row: Row) -> str:
    return NO_TIME if row["lag_seconds"] is None else show_lag(timedelta(seconds=row["lag_seconds"]))


COLUMNS = (
    Column("account", "ACCOUNT", optional=True),
    Column("image_name", "NAME", optional=True, folds=True),
    Column("image_set", "SET", detail=True),
    Column("zone", "ZONE"),
    Column("projects", "PROJECT", kind="words", optional=True, cell=_projects),
    Column("kind", "KIND", optional=True),
    Column("variant", "VARIANT", optional=True, cell=variant_cell),
    Column("state", "STATE", kind="words", folds=True, cell=state_cell),
    Column("since", "SINCE", kind="time"),
    Column("image_id", "IMAGE ID"),
    Column("lag_seconds", "LAG", sparse=True, cell=_lag),
    Column("note", "IDS", kind="words", sparse=True, folds=True, cell=_note),
)


@click.command()
@click.argument("name", metavar="NAME")
@at_option
@click.option("--retired", is_flag=True, help="Also targets that are retired or deselected.")
@svg_option
@reader_options
@pass_cli
def where(
    context: CliContext,
    name: str,
    at: datetime | None,
    retired: bool,
    svg: Path | None,
    fmt: str,
    selected: Filters,
) -> ExitCode:
    """
    Show where an image NAME is: present since when, withdrawn, unknown, or never offered.

    NAME may be a glob, or the id of an image that has the name. The ids under which a name was issued again belong
    together: SINCE is the start of the unbroken presence, IDS tells the ids before. LAG is how much later than in the
    first zone the name was seen, where that is known. Projects of a zone that are told the same share a line.
    """
    from crawler.db.beginning import begins_at
    from crawler.queries import history_lookup

    settings = context.history_settings()
    with context.history() as conn:
        now = context.now(conn)
        at = at and context.meant(conn, at)
        check_selection(conn, selected, selected.of_images())
        names = history_lookup.image_names(conn, name, selected)
        if not names:
            raise unheard_image(conn, name, by_id=False, kinds=selected.of_images().kind)
        rows = history_lookup.where_is(
            conn,
            names,
            at,
            selected,
            now=now,
            stale_after=settings.stale_after,
            include_retired=retired,
        )
        known = {row.target: row for row in rows}
        if rows and not any(row.observed_at for row in known.values()):
            require_observed(conn, [], at or now, settings.timezone)
        shown = _glances(rows) if fmt == "table" else (row.as_dict() for row in rows)
        folded, fields = folded_variants(conn, selected, shown, fmt, names_in_json(WhereRow), at=at or now)
        if not emit(folded, COLUMNS, fmt, zone=settings.timezone, fields=fields):
            return explain_empty(
                context, conn, selected, what="targets", about=selected.of_images(), at=at, with_retired=retired
            ).say(context)
        if svg is not None:
            moment = at or now
            ids = [image_id for key in names for image_id in history_lookup.image_ids(conn, key)]
            history = history_lookup.history(
                conn, ids, selected.of_images(), now=moment, stale_after=settings.stale_after
            )
            began = [row for row in history if row.valid_from <= moment]
            kept_from = begins_at(conn)
            write_svg(context, svg, began, visible(name), now=moment, kept_from=kept_from, longest=timedelta(days=90))
    for rollout in rollouts(rows) if fmt == "table" else ():
        for line in _summary(rollout, rows, settings.timezone):
            context.say(line)
    return ExitCode.DONE


def _glances(rows: Sequence[WhereRow]) -> Iterator[dict[str, Any]]:
    spelling = {normalise_name(rollout.image_name): rollout.image_name for rollout in rollouts(rows)}
    for glance in at_a_glance(rows):
        projects = glance.projects[0] if len(glance.projects) == 1 else counted(len(glance.projects), "project")
        name = spelling[normalise_name(glance.row.image_name)]
        not_to_use = glance.row.not_to_use
        yield {
            **glance.row.as_dict(), "image_name": name, "projects": projects, "not_to_use": not_to_use,
        }  # fmt: skip


def _summary(rollout: Rollout, rows: Sequence[WhereRow], zone: tzinfo) -> Iterator[str]:
    """Sum up one name: zones by state, who still has an older id, which region got it when."""
    total = sum(map(len, rollout.zones.values()))
    parts = [f"present in {len(rollout.zones['present'])} of {counted(total, 'zone')}"]
    own = [row for row in rows if normalise_name(row.image_name) == normalise_name(rollout.image_name)]
    why: dict[str, set[str]] = {}
    for row in own:
        if row.reason and row.target.zone in rollout.zones["unknown"]:
            why.setdefault(row.reason, set()).add(row.target.zone)
    if rollout.zones["unknown"]:
        parts.append(f"unknown in {len(rollout.zones['unknown'])}: {reasons(why)}")
    if rollout.zones["withdrawn"]:
        parts.append(f"withdrawn in {len(rollout.zones['withdrawn'])}: {few(rollout.zones['withdrawn'])}")
    if rollout.zones["never"]:
        parts.append(f"never offered in {len(rollout.zones['never'])}")
    yield visible(f"{rollout.image_name}: {'; '.join(parts)}.")
    older = {row.target.zone for row in own if set(row.also_open) - row.not_to_use.keys() or row.newer_elsewhere}
    if older:
        yield f"An older id is still there in {few(older)}."
    if rollout.regions:
        (region, first, _), *later = rollout.regions
        behind = "".join(f", {name} {show_lag(lag)}" for name, _, lag in later)
        yield visible(f"First seen in {region} at {show_moment(first, zone)}{behind}.")
