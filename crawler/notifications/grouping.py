"""
Changes of a digest grouped into lines: re-issues folded, one line per image over its zones, zones that open or close.
Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from crawler.domain.kinds import KINDS
from crawler.domain.models import SCHEMA, Target, normalise_name
from crawler.domain.reissues import Chain, fold_reissues
from crawler.domain.rows import ChangeRow, RunSummary
from crawler.notifications.models import (
    Between,
    FieldChange,
    Line,
    LinePlace,
    SchemaLine,
    Topic,
    WatchedZone,
    WatchedZones,
    zone_of,
)

#: Most severe first.
TOPICS: tuple[Topic, ...] = (
    "withdrawn", "reissued", "gpu_lost", "closed", "ended", "appeared", "returned", "modified", "opened", "offered",
    "flapped",
)  # fmt: skip
_ARRIVALS = ("appeared", "returned")
#: What there is in the place of what was withdrawn without a counterpart, by the number of the change.
Successors = Mapping[int, tuple[str, ...]]
_SCHEMA_STATES: tuple[Literal["missing", "again", "new"], ...] = ("missing", "again", "new")


def fold(
    changes: Iterable[ChangeRow],
    watched_zones: WatchedZones,
    runs: Sequence[RunSummary],
    successors: Successors = MappingProxyType({}),
) -> tuple[Line, ...]:
    """Return the lines that report *changes*, by severity; *successors* are those of what was withdrawn."""
    rows = sorted((row for row in changes if row.event != SCHEMA), key=lambda row: (row.observed_at, row.id))
    presence = [row for row in rows if row.image_id is not None and row.event != "modified"]
    things = [*_presence(presence, successors), *_modifications(row for row in rows if row.event == "modified")]
    lines = [
        *_lines(things, watched_zones, runs),
        *opened_and_closed([row for row in rows if row.image_id is None], watched_zones),
    ]
    return tuple(sorted(lines, key=_order))


def schema_lines(changes: Iterable[ChangeRow]) -> tuple[SchemaLine, ...]:
    """Return what the `schema` rows among *changes* say: what is lacking first, each name as it was last."""
    last: dict[tuple[str, str, str], tuple[list[Any], ChangeRow]] = {}
    for row in sorted((row for row in changes if row.event == SCHEMA), key=lambda row: row.id):
        for name, (before, after) in row.fields.items():
            place = (row.target.account, row.target.kind, name)
            first = last[place][0][0] if place in last else before
            last[place] = ([first, after], row)
    found: dict[tuple[int, str, str], list[tuple[str, ChangeRow]]] = {}
    for (account, kind, name), ((before, after), row) in last.items():
        if before != after:
            state = 0 if after == "gone" else 1 if before == "gone" else 2
            found.setdefault((state, account, kind), []).append((name, row))
    return tuple(
        SchemaLine(
            account=account,
            kind=kind,
            state=_SCHEMA_STATES[state],
            names=tuple(sorted(name for name, _ in own)),
            between=between(row for _, row in own),
        )
        for (state, account, kind), own in sorted(found.items())
    )


def between(rows: Iterable[ChangeRow]) -> Between:
    """Return the span in which all of *rows* happened."""
    rows = list(rows)
    starts = [row.not_before for row in rows]
    return Between(
        after=None if None in starts else min(start for start in starts if start is not None),
        by=max(row.observed_at for row in rows),
    )


def _order(line: Line) -> tuple[int, bool, int, str, str, tuple[str, ...]]:
    first = line.places[0]
    return (TOPICS.index(line.topic), line.is_replaced, -len(line.places), first.account, first.zone, line.names)


# --- what happened to one image at one target ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """What happened to one image at one target."""

    topic: Topic
    target: Target
    image_set: str
    name: str
    image_ids: tuple[str, ...]
    #: All that it reports.
    rows: tuple[ChangeRow, ...]
    #: Those that say when.
    dated: tuple[ChangeRow, ...]
    supersedes: str | None = None
    #: Of what was withdrawn: what there is in its place.
    successors: tuple[str, ...] = ()
    is_present: bool = False
    fields: tuple[tuple[str, Any, Any], ...] = ()


def _image(row: ChangeRow) -> tuple[Target, str, str]:
    return row.target, row.image_set or "", row.image_id or ""


def _presence(rows: Sequence[ChangeRow], successors: Successors) -> list[Thing]:
    """Report comings and goings: flaps first, then re-issues, then what is left."""
    by_image: dict[tuple[Target, str, str], list[ChangeRow]] = {}
    for row in rows:
        by_image.setdefault(_image(row), []).append(row)
    back = [own for own in by_image.values() if own[0].event == "withdrawn" and own[-1].event in _ARRIVALS]
    flapped = {row.id for own in back for row in own}
    is_back = {_image(own[0]) for own in back}
    chains, rest = fold_reissues(
        # What gave way to an image that had only been away is no re-issue.
        row._replace(counterpart=None) if (row.target, row.image_set or "", row.counterpart or "") in is_back else row
        for row in rows
        if row.id not in flapped
    )
    left: dict[tuple[Target, str, str], list[ChangeRow]] = {}
    for row in rest:
        left.setdefault(_image(row), []).append(row)
    things = [_thing("flapped", own, own, is_present=True) for own in back]
    for chain in chains:
        gone = left.pop((chain.target, chain.image_set, chain.image_ids[-1]), None)
        things.append(_chain(chain, gone or (), successors))
    things += [_net(own, successors) for own in left.values()]
    return things


def _chain(chain: Chain, gone: Sequence[ChangeRow], successors: Successors) -> Thing:
    """Report a chain of re-issues, whose last id may be *gone* as well by now, or be the first one again."""
    is_round = chain.image_ids[0] == chain.image_ids[-1]
    is_gone = bool(gone) and gone[-1].event == "withdrawn"
    rows = (*chain.withdrawals, *chain.arrivals, *gone)
    return Thing(
        topic="withdrawn" if is_gone else "flapped" if is_round else "reissued",
        target=chain.target,
        image_set=chain.image_set,
        name=chain.image_name,
        image_ids=chain.image_ids,
        rows=rows,
        dated=tuple(gone[-1:]) if is_gone else chain.withdrawals,
        is_present=not is_gone,
        successors=successors.get(gone[-1].id, ()) if is_gone else (),
    )


def _net(own: Sequence[ChangeRow], successors: Successors) -> Thing:
    """Report what the changes of one image come to: gone, there, or a flap when it is as it was."""
    first, last = own[0], own[-1]
    if (first.event in _ARRIVALS) != (last.event in _ARRIVALS):
        return _thing("flapped", own, own, is_present=last.event in _ARRIVALS)
    topic: Topic = first.event if first.event in ("returned", "appeared") else "withdrawn"
    superseded = last.counterpart if topic == "appeared" else None
    is_gone = topic == "withdrawn"
    there = successors.get(last.id, ()) if is_gone else ()
    return _thing(topic, own, (last,), is_present=not is_gone, supersedes=superseded, successors=there)


def _thing(topic: Topic, own: Sequence[ChangeRow], dated: Sequence[ChangeRow], **more: Any) -> Thing:
    """Return what the changes *own* of one image are, named as the last of them names it."""
    last = own[-1]
    return Thing(
        topic=topic,
        target=last.target,
        image_set=last.image_set or "",
        name=last.image_name or (last.image_id or "" if has_no_names(last.target.kind) else ""),
        image_ids=(last.image_id or "",),
        rows=tuple(own),
        dated=tuple(dated),
        **more,
    )


def has_no_names(kind: str) -> bool:
    """Return whether the things of a kind are called by their ids."""
    return kind in KINDS and "image_name" not in KINDS[kind].names


def is_stock(line: Line) -> bool:
    """Return whether a line tells of nothing but what is sold out, or sold again."""
    return line.topic in ("modified", "flapped") and {change.field for change in line.fields} == {"status"}


def _modifications(rows: Iterable[ChangeRow]) -> list[Thing]:
    """Report modifications, each field from what it was first to what it is last."""
    by_image: dict[tuple[Target, str, str], list[ChangeRow]] = {}
    for row in rows:
        by_image.setdefault(_image(row), []).append(row)
    things = []
    for own in by_image.values():
        net: dict[str, list[Any]] = {}
        for row in own:
            for name, (before, after) in row.fields.items():
                net[name] = [net.get(name, [before])[0], after]
        changed = tuple((name, *values) for name, values in sorted(net.items()) if values[0] != values[1])
        lost = any(name == "gpu" and before is True and after is False for name, before, after in changed)
        topic: Topic = "gpu_lost" if lost else "modified" if changed else "flapped"
        shown = changed or tuple((name, *values) for name, values in sorted(net.items()))
        things.append(_thing(topic, own, own, is_present=True, fields=shown))
    return things


# --- over projects, zones and images ---------------------------------------------------------------------------------


def _lines(things: Iterable[Thing], watched_zones: WatchedZones, runs: Sequence[RunSummary]) -> list[Line]:
    gathered: dict[tuple[object, ...], list[Thing]] = {}
    for thing in things:
        gathered.setdefault(_likeness(thing), []).append(thing)
    return [_line(alike, watched_zones, runs) for alike in gathered.values()]


def _likeness(thing: Thing) -> tuple[object, ...]:
    """Return what two things must share to stand in one line."""
    fields = tuple(name for name, _, _ in thing.fields)
    if thing.fields and thing.topic != "flapped":
        return (thing.topic, thing.target.kind, thing.image_set, fields)
    name = normalise_name(thing.name) or thing.image_ids[0]
    return (thing.topic, thing.target.kind, thing.image_set, name, thing.is_present, bool(thing.successors), fields)


def _line(alike: Sequence[Thing], watched_zones: WatchedZones, runs: Sequence[RunSummary]) -> Line:
    where: dict[tuple[WatchedZone, tuple[str, ...]], list[Thing]] = {}
    for thing in alike:
        where.setdefault((zone_of(thing.target), thing.image_ids), []).append(thing)
    dated = [row for thing in alike for row in thing.dated]
    supersedes = {thing.supersedes for thing in alike if thing.supersedes}
    topic = alike[0].topic
    return Line(
        topic=topic,
        kind=alike[0].target.kind,
        names=tuple(sorted({thing.name for thing in alike if thing.name})) if alike[0].fields else _one_name(alike),
        image_set=alike[0].image_set,
        places=_places(where, watched_zones, is_chain=topic in ("reissued", "withdrawn", "flapped")),
        zone_count=watched_zones.zone_count,
        between=between(dated),
        fields=_fields(alike),
        image_count=len({(zone.place, image_ids) for zone, image_ids in where}),
        supersedes=tuple(sorted(supersedes)) if len(supersedes) == 1 else (),
        confirmed_by=min(_confirmations(row, runs) for row in dated) if topic == "withdrawn" else 1,
        is_present=alike[0].is_present,
        is_replaced=bool(alike[0].successors),
        change_ids=tuple(sorted(row.id for thing in alike for row in thing.rows)),
    )


def _one_name(alike: Sequence[Thing]) -> tuple[str, ...]:
    """Return the spelling that most have, of names that are the same when normalised."""
    names = [thing.name for thing in alike if thing.name]
    return (max(sorted(set(names)), key=names.count),) if names else ()


def _places(
    where: dict[tuple[WatchedZone, tuple[str, ...]], list[Thing]], watched_zones: WatchedZones, *, is_chain: bool
) -> tuple[LinePlace, ...]:
    """Return the places in order of zone; ids of one zone stand together, but each chain stands alone."""
    places: dict[tuple[object, ...], LinePlace] = {}
    for (zone, image_ids), things in sorted(where.items(), key=lambda item: item[0]):
        part = watched_zones.part(zone, (thing.target for thing in things))
        place = LinePlace(
            account=zone.account,
            region=zone.region,
            zone=zone.zone,
            image_ids=image_ids,
            projects=part.projects,
            project_count=part.project_count,
            variants=part.variants,
            successors=tuple(sorted({one for thing in things for one in thing.successors})),
            is_chain=is_chain and len(image_ids) > 1,
            is_empty=watched_zones.is_empty(zone, things[0].target.kind),
        )
        alone = image_ids if place.is_chain else ()
        key = (zone, part, alone)
        if key in places:
            there = tuple(dict.fromkeys((*places[key].successors, *place.successors)))
            place = replace(place, image_ids=(*places[key].image_ids, *image_ids), successors=there)
        places[key] = place
    return tuple(places.values())


def _fields(alike: Sequence[Thing]) -> tuple[FieldChange, ...]:
    """Return the changed fields, with their values where they are the same for all."""
    first = alike[0].fields
    same: Callable[[int], bool] = lambda index: all(thing.fields[index] == first[index] for thing in alike)  # noqa: E731
    return tuple(
        FieldChange(field=name, values=(before, after) if same(index) else None)
        for index, (name, before, after) in enumerate(first)
    )


def _confirmations(row: ChangeRow, runs: Sequence[RunSummary]) -> int:
    """Return how many runs saw a withdrawal until it was believed: 1 at once, 0 later but more than *runs* tell."""
    recorded = next((run for run in runs if run.run == row.run), None)
    if recorded is None or row.observed_at >= recorded.started_at:
        return 1
    if row.observed_at < runs[0].started_at:
        return 0
    return sum(run.run <= row.run and (run.finished_at or run.started_at) >= row.observed_at for run in runs)


_DIMENSIONS: tuple[tuple[str, Callable[[Target], str]], ...] = (
    ("zone", lambda target: target.zone),
    ("project", lambda target: target.project),
    ("variant", lambda target: target.variant),
)


def opened_and_closed(rows: Sequence[ChangeRow], watched_zones: WatchedZones) -> list[Line]:
    """Return the lines that report `target_added` and `target_retired` *rows*, oldest first."""
    by_target: dict[Target, list[ChangeRow]] = {}
    offered: dict[tuple[object, ...], list[ChangeRow]] = {}
    for row in rows:
        if row.fields:
            offered.setdefault((row.target.account, *_offer(row)), []).append(row)
        else:
            by_target.setdefault(row.target, []).append(row)
    news: dict[tuple[Topic, bool], dict[Target, list[ChangeRow]]] = {}
    for target, own in by_target.items():
        is_open = own[-1].event == "target_added"
        topic: Topic = "opened" if is_open else "closed"
        if own[0].event != own[-1].event:
            topic = "flapped"
        news.setdefault((topic, is_open), {})[target] = own
    return [
        line
        for (topic, is_open), group in news.items()
        for line in _target_lines(topic, group, watched_zones, is_open=is_open)
    ] + [_offer_line(own, watched_zones) for own in offered.values()]


def _offer(row: ChangeRow) -> tuple[tuple[str, str], ...]:
    """Return what of the matrix came or went by a change of many targets, by the names of fields."""
    stated = {name: next(filter(None, values), None) for name, values in row.fields.items()}
    return tuple((name, str(value)) for name, value in stated.items() if value and name != "zones")


def _offer_line(rows: Sequence[ChangeRow], watched_zones: WatchedZones) -> Line:
    """Return the line of a version or machine that the last of *rows* says is offered no more, or again."""
    first, last = rows[0], rows[-1]
    is_open = last.event == "target_added"
    zones = sorted({zone for row in rows for values in row.fields.get("zones", ()) for zone in values or ()})
    regions = {zone.zone: zone.region for zone in watched_zones.zones if zone.account == last.target.account}
    places = (LinePlace(account=last.target.account, region=regions.get(zone, ""), zone=zone) for zone in zones)
    return Line(
        topic="flapped" if first.event != last.event else "offered" if is_open else "ended",
        names=(),
        image_set="",
        places=tuple(places),
        zone_count=watched_zones.zone_count,
        between=Between(after=None, by=max(row.observed_at for row in rows)),
        image_count=0,
        is_present=is_open,
        offered=_offer(last),
        change_ids=tuple(sorted(row.id for row in rows)),
    )


def _target_lines(
    topic: Topic, group: dict[Target, list[ChangeRow]], watched_zones: WatchedZones, *, is_open: bool
) -> list[Line]:
    """Cover the targets of *group* with as few zones, whole projects and whole variants as a greedy look finds."""
    left = set(group)
    everything = {target for target, row in watched_zones.watched.items() if row.is_live} | left
    zones: list[Target] = []
    lines = []
    while left:
        dimension, members = _largest(left, everything)
        left -= members
        if dimension == "zone":
            zones += members
        else:
            lines.append(_target_line(topic, dimension, sorted(members), group, watched_zones, is_open=is_open))
    if zones:
        lines.insert(0, _target_line(topic, "zone", sorted(zones), group, watched_zones, is_open=is_open))
    return lines


def _largest(left: set[Target], everything: set[Target]) -> tuple[str, set[Target]]:
    """Return the zone, the whole project or the whole variant that covers most of *left*."""
    best: tuple[str, set[Target]] = ("zone", set())
    for dimension, value_of in _DIMENSIONS:
        covers: dict[tuple[str, str], set[Target]] = {}
        for target in left:
            covers.setdefault((target.account, value_of(target)), set()).add(target)
        if dimension != "zone":
            sizes = Counter((target.account, value_of(target)) for target in everything)
            accounts = Counter(account for account, _ in sizes)
            # A project is one line when all of it is concerned, and there are others.
            covers = {
                key: members for key, members in covers.items() if len(members) == sizes[key] and accounts[key[0]] > 1
            }
        for _, members in sorted(covers.items()):
            if len(members) > len(best[1]):
                best = (dimension, members)
    return best


def _target_line(
    topic: Topic,
    dimension: str,
    members: Sequence[Target],
    group: dict[Target, list[ChangeRow]],
    watched_zones: WatchedZones,
    *,
    is_open: bool,
) -> Line:
    rows = [row for target in members for row in group[target]]
    by_zone: dict[WatchedZone, list[Target]] = {}
    for target in members:
        by_zone.setdefault(zone_of(target), []).append(target)
    first = members[0]
    return Line(
        topic=topic,
        names=(),
        image_set="",
        places=tuple(_place(zone, inside, watched_zones, dimension) for zone, inside in sorted(by_zone.items())),
        zone_count=watched_zones.zone_count,
        between=Between(
            after=min((row.not_before for row in rows if row.not_before), default=None),
            by=max(row.observed_at for row in rows),
        ),
        image_count=_images(by_zone, watched_zones),
        is_present=is_open,
        project=watched_zones.project(first.account, first.project) if dimension == "project" else None,
        variant=first.variant if dimension == "variant" else None,
        change_ids=tuple(sorted(row.id for row in rows)),
    )


def _place(zone: WatchedZone, targets: Sequence[Target], watched_zones: WatchedZones, dimension: str) -> LinePlace:
    part = watched_zones.part(zone, targets)
    return LinePlace(
        account=zone.account,
        region=zone.region,
        zone=zone.zone,
        projects=part.projects if dimension == "zone" else (),
        project_count=part.project_count if dimension == "zone" else 0,
    )


def _images(by_zone: dict[WatchedZone, list[Target]], watched_zones: WatchedZones) -> int:
    """Return how many images were last listed there, counted once per zone, to whoever sees most of them."""
    most: dict[tuple[str, str], int] = {}
    for zone, targets in by_zone.items():
        known = (watched_zones.watched[target].images for target in targets if target in watched_zones.watched)
        most[zone.place] = max(most.get(zone.place, 0), *known, 0)
    return sum(most.values())
