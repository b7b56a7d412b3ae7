"""
One image name over all zones: present since, absent, unknown; and the roll-out of a new id at a glance. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from crawler.domain.kinds import BOOTABLE
from crawler.domain.models import ABSENT, END_OF_TIME, UNSTATED_SET, ImageKey, Target, normalise_name, stated_sets
from crawler.domain.reissues import newest, successors, the_one
from crawler.domain.rows import NOT_IN_JSON, Gap, JsonRow, Knowledge, Reason, Stay, in_json, state_of

WhereState = Literal["present", "withdrawn", "never", "unknown"]
STATES: tuple[WhereState, ...] = ("present", "withdrawn", "unknown", "never")


@dataclass(frozen=True, slots=True, kw_only=True)
class WhereRow(JsonRow):
    """One image name at one target."""

    target: Target
    #: None where the name was never listed.
    image_set: str | None
    image_name: str
    #: The open id that came last, of those not on hold where there are such, and of these that can be used; the
    #: last known one where none is open; None where none ever was.
    image_id: str | None
    state: WhereState
    #: Since when the state is so: the start of the unbroken presence, the withdrawal, or when it became unknown.
    since: datetime | None
    #: The other ids this name had here, oldest first.
    previous_ids: tuple[str, ...]
    reason: Reason | None
    #: As last known: when the unbroken presence of the name began, and of the id; None where it is not open.
    present_since: datetime | None
    id_since: datetime | None
    #: When the name was first seen here; with `baseline` it was there before anyone looked.
    first_seen_at: datetime | None
    baseline: bool
    #: How much later than at the first target of all; None where that cannot be said.
    lag: timedelta | None = field(metadata=in_json("lag_seconds"))
    #: Other ids that are open beside `image_id`, oldest first.
    also_open: tuple[str, ...]
    #: What took the place of `image_id` at another target and never came here.
    newer_elsewhere: str | None
    observed_at: datetime | None
    #: As the cloud states it of `image_id`, and whether it can be used then; None where it is not open, and of a kind
    #: that has no states.
    image_state: str | None = None
    bootable: bool | None = None
    #: Those of `also_open` that cannot be used, each with its state, and those that are on hold.
    not_to_use: Mapping[str, str] = field(default_factory=dict, metadata=NOT_IN_JSON)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Id:
    """One id of a name at one target: all its stays, as one presence each while unbroken."""

    image_id: str
    first_from: datetime
    #: Start of its last stay, whatever it was called then.
    present_since: datetime
    #: None while it is open.
    valid_to: datetime | None
    baseline: bool
    #: As it is while it is open.
    image_state: str | None
    bootable: bool | None


class _Group(NamedTuple):
    """The ids of one name in one set."""

    image_set: str
    name_key: str


def where(
    names: Mapping[str, str],
    stays: Iterable[Stay],
    knowledge: Mapping[Target, Knowledge],
    holds: Mapping[tuple[Target, ImageKey], Sequence[Gap]],
    *,
    at: datetime,
) -> list[WhereRow]:
    """
    Tell how each of the *names* (a spelling by normalised name) stands at every target of *knowledge* at *at*.

    *stays* are those of the names that began by then, open when they were open then. A target that was not known then
    is unknown, whatever was seen there before; that is told beside it.
    """
    found: dict[Target, dict[_Group, list[Stay]]] = {}
    for stay in stays:
        group = _Group(stay.image_set, normalise_name(stay.image_name))
        found.setdefault(stay.target, {}).setdefault(group, []).append(stay)
    ids = {target: {group: _ids(members) for group, members in groups.items()} for target, groups in found.items()}
    firsts = _first_seen(ids)
    newer = _successors(ids)

    rows: list[WhereRow] = []
    for target, known in knowledge.items():
        here = ids.get(target, {})
        for name_key, spelling in names.items():
            groups = sorted(group for group in here if group.name_key == name_key)
            rows += [
                _row(
                    target,
                    group,
                    here[group],
                    found[target][group],
                    known,
                    _on_hold(known, here[group], holds, target, group, at),
                    firsts[group],
                    newer,
                )
                for group in groups
            ] or [_absent(target, spelling, known)]
    return sorted(rows, key=lambda row: (normalise_name(row.image_name), row.target, row.image_set or ""))


def in_stated_sets(stays: Iterable[Stay]) -> Sequence[Stay]:
    """Return *stays*, each that stated no set in the one in which its image was at the same target, if in one alone."""
    every = list(stays)
    if all(stay.image_set != UNSTATED_SET for stay in every):
        return every
    keys: dict[Target, set[ImageKey]] = {}
    for stay in every:
        keys.setdefault(stay.target, set()).add(ImageKey(stay.image_set, stay.image_id))
    learned = {target: stated_sets(own) for target, own in keys.items()}
    return [
        stay._replace(image_set=learned[stay.target][stay.image_id].image_set)
        if stay.image_set == UNSTATED_SET and stay.image_id in learned[stay.target]
        else stay
        for stay in every
    ]


def _ids(members: Sequence[Stay]) -> list[_Id]:
    """Join the stays of each id, oldest id first."""
    by_id: dict[str, list[Stay]] = {}
    for stay in sorted(members, key=lambda stay: stay.valid_from):
        by_id.setdefault(stay.image_id, []).append(stay)
    joined = [
        _Id(
            image_id=image_id,
            first_from=own[0].valid_from,
            present_since=own[-1].present_since,
            valid_to=own[-1].valid_to,
            baseline=own[0].baseline,
            image_state=state_of(own[-1].target.kind, own[-1].attributes) if own[-1].valid_to is None else None,
            bootable=own[-1].attributes.get(BOOTABLE) if own[-1].valid_to is None else None,
        )
        for image_id, own in by_id.items()
    ]
    return sorted(joined, key=lambda entry: (entry.present_since, entry.image_id))


def _unbroken_since(spans: Iterable[tuple[datetime, datetime | None]]) -> datetime:
    """Return when the last presence began that goes on without a break through the *spans*."""
    begin, reached = END_OF_TIME, None
    for valid_from, valid_to in sorted(spans, key=lambda span: span[0]):
        if reached is None or valid_from > reached:
            begin, reached = valid_from, valid_to or END_OF_TIME
        else:
            reached = max(reached, valid_to or END_OF_TIME)
    return begin


def _on_hold(
    known: Knowledge,
    ids: Sequence[_Id],
    holds: Mapping[tuple[Target, ImageKey], Sequence[Gap]],
    target: Target,
    group: _Group,
    at: datetime,
) -> dict[str, datetime]:
    """Return those of the open *ids* that are on hold, each since when; none where the target is asked no more."""
    if known.reason in ABSENT:
        return {}
    return {
        entry.image_id: gap.unknown_from
        for entry in ids
        if entry.valid_to is None
        for gap in holds.get((target, ImageKey(group.image_set, entry.image_id)), ())
        if gap.unknown_from <= at < (gap.unknown_to or END_OF_TIME)
    }


def _row(
    target: Target,
    group: _Group,
    ids: Sequence[_Id],
    stays: Sequence[Stay],
    known: Knowledge,
    held: Mapping[str, datetime],
    first: tuple[datetime, bool],
    newer: Mapping[tuple[_Group, str], str],
) -> WhereRow:
    opened = [entry for entry in ids if entry.valid_to is None]
    if opened and len(held) == len(opened):  # else one beside them is surely there
        known = Knowledge(reason="held", since=max(held.values()), observed_at=known.observed_at)
    sure = [entry for entry in opened if entry.image_id not in held] or opened
    to_use = [entry for entry in sure if entry.bootable is not False] or sure
    current = (newest(to_use) or sorted(ids, key=lambda entry: (entry.valid_to or END_OF_TIME, entry.present_since)))[
        -1
    ]
    own_first = min(ids, key=lambda entry: entry.first_from)
    present_since = None
    if opened:
        present_since = _unbroken_since((stay.valid_from, stay.valid_to) for stay in stays)
    state: WhereState = "unknown" if known.reason else "present" if opened else "withdrawn"
    seen_here = {entry.image_id for entry in ids}
    elsewhere = newer.get((group, current.image_id))
    since = {"unknown": known.since, "present": present_since, "withdrawn": current.valid_to, "never": None}
    return WhereRow(
        target=target,
        image_set=group.image_set,
        image_name=max(stays, key=lambda stay: (stay.valid_from, stay.image_name)).image_name,
        image_id=current.image_id,
        state=state,
        since=since[state],
        previous_ids=tuple(
            entry.image_id
            for entry in sorted(ids, key=lambda entry: (entry.first_from, entry.image_id))
            if entry is not current
        ),
        reason=known.reason,
        present_since=present_since,
        id_since=current.present_since if opened else None,
        first_seen_at=own_first.first_from,
        baseline=own_first.baseline,
        lag=None if own_first.baseline else own_first.first_from - first[0],
        also_open=tuple(entry.image_id for entry in opened if entry is not current),
        newer_elsewhere=elsewhere if opened and elsewhere not in seen_here else None,
        observed_at=known.observed_at,
        image_state=current.image_state,
        bootable=current.bootable,
        not_to_use={
            entry.image_id: "held" if entry.image_id in held else entry.image_state or ""
            for entry in opened
            if entry is not current and (entry.image_id in held or entry.bootable is False)
        },
    )


def _absent(target: Target, image_name: str, known: Knowledge) -> WhereRow:
    return WhereRow(
        target=target,
        image_set=None,
        image_name=image_name,
        image_id=None,
        state="unknown" if known.reason else "never",
        since=known.since,
        previous_ids=(),
        reason=known.reason,
        present_since=None,
        id_since=None,
        first_seen_at=None,
        baseline=False,
        lag=None,
        also_open=(),
        newer_elsewhere=None,
        observed_at=known.observed_at,
    )


def _first_seen(ids: Mapping[Target, Mapping[_Group, Sequence[_Id]]]) -> dict[_Group, tuple[datetime, bool]]:
    """Return when each name was first seen anywhere, and whether it was there before anyone looked."""
    firsts: dict[_Group, tuple[datetime, bool]] = {}
    for groups in ids.values():
        for group, entries in groups.items():
            for entry in entries:
                first = (entry.first_from, entry.baseline)
                firsts[group] = min(firsts.get(group, first), first)
    return firsts


def _successors(ids: Mapping[Target, Mapping[_Group, Sequence[_Id]]]) -> dict[tuple[_Group, str], str]:
    """Return for each id its successor: of those that it has at different targets, the one that came last."""
    newer: dict[tuple[_Group, str], tuple[datetime, str]] = {}
    for groups in ids.values():
        for group, entries in groups.items():
            latest = newest([entry for entry in entries if entry.valid_to is None and entry.bootable is not False])
            for entry in entries:
                successor = the_one(successors(entry.present_since, latest))
                if successor:
                    came = (latest[0].present_since, successor)
                    newer[group, entry.image_id] = max(newer.get((group, entry.image_id), came), came)
    return {place: image_id for place, (_, image_id) in newer.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """Rows of one zone that say the same for several projects."""

    row: WhereRow
    projects: tuple[str, ...]


def at_a_glance(rows: Iterable[WhereRow]) -> list[Glance]:
    """
    Fold the rows of projects that are told the same in a zone into one each: the earliest `since` stands for all.

    It bears the first project, whichever was the earliest, so that what variants say the same stays the same.
    """
    folded: dict[tuple[Any, ...], list[WhereRow]] = {}
    for row in rows:
        target = row.target
        said = (row.image_set, normalise_name(row.image_name), row.image_id, row.state, row.reason, row.previous_ids)
        place = (target.account, target.region, target.zone, target.kind, target.variant)
        ids = (row.also_open, row.newer_elsewhere, row.image_state, *row.not_to_use.items())
        folded.setdefault((*place, *said, *ids), []).append(row)
    return [
        Glance(
            row=replace(
                min(members, key=lambda row: (row.since or END_OF_TIME, row.target)),
                target=min(row.target for row in members),
            ),
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
