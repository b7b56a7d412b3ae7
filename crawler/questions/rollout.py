"""A roll-out at a glance: the rows of `where`, folded over projects and summed up over zones and regions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from crawler.domain.models import END_OF_TIME, normalise_name
from crawler.questions.where import STATES, WhereRow, WhereState


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """Rows of one zone that say the same for several projects."""

    row: WhereRow
    projects: tuple[str, ...]


def at_a_glance(rows: Iterable[WhereRow]) -> list[Glance]:
    """Fold the rows of projects that are told the same in a zone into one each: the earliest `since` stands for all."""
    folded: dict[tuple[Any, ...], list[WhereRow]] = {}
    for row in rows:
        target = row.target
        said = (row.image_set, normalise_name(row.image_name), row.image_id, row.state, row.reason, row.previous_ids)
        place = (target.account, target.region, target.zone, target.kind, target.variant)
        folded.setdefault((*place, *said, row.also_open, row.newer_elsewhere), []).append(row)
    return [
        Glance(
            row=min(members, key=lambda row: (row.since or END_OF_TIME, row.target)),
            projects=tuple(sorted({row.target.project for row in members})),
        )
        for members in folded.values()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One name in figures: in how many zones it stands how, and in which order the regions got it."""

    image_name: str
    #: Zones by state; a zone with several states is counted under the first of `STATES` that any project has.
    zones: Mapping[WhereState, Collection[str]]
    #: Regions in the order in which they got the name while somebody looked, each with its lag behind the first.
    regions: tuple[tuple[str, datetime, timedelta], ...]


def rollouts(rows: Iterable[WhereRow]) -> list[Rollout]:
    """Sum up *rows*, one result per name."""
    by_name: dict[str, list[WhereRow]] = {}
    for row in rows:
        by_name.setdefault(normalise_name(row.image_name), []).append(row)
    return [
        Rollout(
            image_name=max(members, key=lambda row: row.first_seen_at is not None).image_name,
            zones=_zones_by_state(members),
            regions=_regions(members),
        )
        for members in by_name.values()
    ]


def _zones_by_state(rows: Iterable[WhereRow]) -> dict[WhereState, list[str]]:
    states: dict[str, set[WhereState]] = {}
    for row in rows:
        states.setdefault(row.target.zone, set()).add(row.state)
    zones: dict[WhereState, list[str]] = {state: [] for state in STATES}
    for zone, found in sorted(states.items()):
        zones[next(state for state in STATES if state in found)].append(zone)
    return zones


def _regions(rows: Iterable[WhereRow]) -> tuple[tuple[str, datetime, timedelta], ...]:
    first: dict[str, tuple[datetime, timedelta]] = {}
    old: set[str] = set()
    for row in rows:
        if row.baseline:
            old.add(row.target.region)
        if row.lag is None or row.first_seen_at is None:
            continue
        seen = (row.first_seen_at, row.lag)
        first[row.target.region] = min(first.get(row.target.region, seen), seen)
    return tuple(sorted(((r, at, lag) for r, (at, lag) in first.items() if r not in old), key=lambda entry: entry[1]))
