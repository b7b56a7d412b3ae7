"""
Targets that come and go: a zone that closes is one line, not one per project; so is a project that goes. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from crawler.domain.models import Target
from crawler.domain.rows import ChangeRow
from crawler.report.values import Between, Line, Place, Topic
from crawler.report.watching import Territory, Zone, is_live, zone_of

_WAYS: tuple[tuple[str, Callable[[Target], str]], ...] = (
    ("zone", lambda target: target.zone),
    ("project", lambda target: target.project),
    ("variant", lambda target: target.variant),
)


def opened_and_closed(rows: Sequence[ChangeRow], territory: Territory) -> list[Line]:
    """Give the lines that tell `target_added` and `target_retired` *rows*, oldest first."""
    by_target: dict[Target, list[ChangeRow]] = {}
    for row in rows:
        by_target.setdefault(row.target, []).append(row)
    news: dict[tuple[Topic, bool], dict[Target, list[ChangeRow]]] = {}
    for target, own in by_target.items():
        is_open = own[-1].event == "target_added"
        topic: Topic = "opened" if is_open else "closed"
        if own[0].event != own[-1].event:
            topic = "flapped"
        news.setdefault((topic, is_open), {})[target] = own
    return [
        line for (topic, is_open), group in news.items() for line in _lines(topic, group, territory, is_open=is_open)
    ]


def _lines(topic: Topic, group: dict[Target, list[ChangeRow]], territory: Territory, *, is_open: bool) -> list[Line]:
    """Cover the targets of *group* with as few zones, whole projects and whole variants as a greedy look finds."""
    left = set(group)
    everything = {target for target, row in territory.watched.items() if is_live(row)} | left
    zones: list[Target] = []
    lines = []
    while left:
        way, members = _largest(left, everything)
        left -= members
        if way == "zone":
            zones += members
        else:
            lines.append(_line(topic, way, sorted(members), group, territory, is_open=is_open))
    if zones:
        lines.insert(0, _line(topic, "zone", sorted(zones), group, territory, is_open=is_open))
    return lines


def _largest(left: set[Target], everything: set[Target]) -> tuple[str, set[Target]]:
    """Give the zone, the whole project or the whole variant that covers most of *left*."""
    best: tuple[str, set[Target]] = ("zone", set())
    for way, value_of in _WAYS:
        covers: dict[tuple[str, str], set[Target]] = {}
        for target in left:
            covers.setdefault((target.account, value_of(target)), set()).add(target)
        if way != "zone":
            sizes = Counter((target.account, value_of(target)) for target in everything)
            accounts = Counter(account for account, _ in sizes)
            # A project is told as one when all of it is concerned, and there are others to tell it from.
            covers = {
                key: members for key, members in covers.items() if len(members) == sizes[key] and accounts[key[0]] > 1
            }
        for _, members in sorted(covers.items()):
            if len(members) > len(best[1]):
                best = (way, members)
    return best


def _line(
    topic: Topic,
    way: str,
    members: Sequence[Target],
    group: dict[Target, list[ChangeRow]],
    territory: Territory,
    *,
    is_open: bool,
) -> Line:
    rows = [row for target in members for row in group[target]]
    by_zone: dict[Zone, list[Target]] = {}
    for target in members:
        by_zone.setdefault(zone_of(target), []).append(target)
    first = members[0]
    return Line(
        topic=topic,
        names=(),
        image_set="",
        places=tuple(_place(zone, inside, territory, way) for zone, inside in sorted(by_zone.items())),
        zone_count=len(territory.zones),
        between=Between(
            after=min((row.not_before for row in rows if row.not_before), default=None),
            by=max(row.observed_at for row in rows),
        ),
        image_count=_images(by_zone, territory),
        is_present=is_open,
        project=territory.project(first.account, first.project) if way == "project" else None,
        variant=first.variant if way == "variant" else None,
        change_ids=tuple(sorted(row.id for row in rows)),
    )


def _place(zone: Zone, targets: Sequence[Target], territory: Territory, way: str) -> Place:
    part = territory.part(zone, targets)
    return Place(
        account=zone.account,
        region=zone.region,
        zone=zone.zone,
        projects=part.projects if way == "zone" else (),
        project_count=part.project_count if way == "zone" else 0,
    )


def _images(by_zone: dict[Zone, list[Target]], territory: Territory) -> int:
    """Give how many images were last listed there, counted once per zone."""
    return sum(
        max((territory.watched[target].images for target in targets if target in territory.watched), default=0)
        for targets in by_zone.values()
    )
