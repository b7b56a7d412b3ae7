"""What `resolve` and `check` ask the database for: the present, and only that part of the past that a rule needs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo

from sqlalchemy import Connection

from crawler.db.filters import Filters, chosen_targets, known_words, meant_name
from crawler.db.sql import portions
from crawler.domain.models import part_fits
from crawler.domain.rows import StatusRow
from crawler.errors import EmptySelection
from crawler.questions.check import Check
from crawler.questions.resolve import Resolved
from crawler.questions.resolve import resolve as choose
from crawler.questions.rules import CheckRow, Pin, Require
from crawler.store import reader, sightings


def resolve(
    conn: Connection,
    name: str,
    filters: Filters,
    *,
    gpu: bool = False,
    now: datetime,
    stale_after: timedelta,
    max_age: timedelta | None = None,
    timezone: tzinfo = UTC,
) -> tuple[Resolved, StatusRow]:
    """
    Give the image called *name* to use now at the one place that *filters* want, and how that place is.

    From `ImageSet` and the default variant unless *filters* tell otherwise. Raises EmptySelection where there is no
    such place, NoAnswer, Ambiguous and UnknownKnowledge as `questions.resolve` does; *max_age* is *stale_after* by
    default. A refusal tells times in *timezone*.
    """
    place = replace(filters, variant=filters.variant or ("default",), image_set=(), name=(), image_id=())
    status = reader.status(conn, place, now=now)
    if not status:
        variants = {row.target.variant for row in reader.status(conn, replace(place, variant=filters.variant), now=now)}
        hint = f" It is asked with the variant {', '.join(sorted(variants))}." if variants else ""
        parts = ("account", "project", "region", "zone", "kind", "variant")
        words = " ".join(f"--{part} {' '.join(globs)}" for part in parts if (globs := getattr(place, part)))
        raise EmptySelection(f"No target fits {words}.{hint}")
    wanted = replace(place, image_set=filters.image_set or ("ImageSet",))
    images = reader.images(conn, None, wanted, now=now, stale_after=stale_after, include_retired=True)
    longest = stale_after if max_age is None else max_age
    name = meant_name(conn, name)
    found = choose(status, images, name, gpu=gpu, now=now, max_age=longest, timezone=timezone)
    return found, next(row for row in status if row.target == found.target)


def check(
    conn: Connection,
    rules: Sequence[Require | Pin],
    filters: Filters,
    *,
    now: datetime,
    stale_after: timedelta,
    timezone: tzinfo = UTC,
) -> list[CheckRow]:
    """Judge *rules* at the targets that *filters* want, by what the history knows *now*; tell times in *timezone*."""
    status = reader.status(conn, filters, now=now)
    zones = {row.target.zone for row in status}
    left_out = known_words(conn, "zone") - zones
    chosen = [_by_project_id(conn, rule) for rule in rules if not _is_about(rule, left_out) or _is_about(rule, zones)]
    images = reader.images(conn, None, filters, now=now, stale_after=stale_after, include_retired=True)
    gate = Check(chosen, status, images, now=now, stale_after=stale_after, zone=timezone)
    past = gate.past(known_words(conn, "name"))
    gate.learn((), (), sightings.targets_listing(conn, past.name_keys))
    wanted = past.image_ids
    while wanted:
        gone = (
            change
            for ids in portions(sorted(wanted))
            for change in reader.changes(conn, events=("withdrawn",), filters=replace(filters, image_id=tuple(ids)))
        )
        more = gate.learn(sightings.stays_of(conn, wanted), gone)
        wanted = more.image_ids if more else frozenset()
    return list(gate.judge())


def _is_about(rule: Require | Pin, zones: Collection[str]) -> bool:
    """Tell whether *rule* names any of *zones*."""
    globs = rule.zones if isinstance(rule, Require) else () if rule.zone is None else (rule.zone,)
    return any(part_fits("zone", zone, globs) for zone in zones)


def _by_project_id(conn: Connection, rule: Require | Pin) -> Require | Pin:
    """Give *rule* with the ids of its projects, which people also call by name."""
    globs = rule.scope.project
    if not globs:
        return rule
    ids = {choice.target.project for choice in chosen_targets(conn, Filters(project=globs))}
    return replace(rule, scope=replace(rule.scope, project=tuple(sorted(ids)) or globs))
