"""
What a subscription watches, laid over the history: the targets and changes it wants, and the zones they make. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from crawler.domain.models import Target
from crawler.domain.rows import ChangeRow, StatusRow
from crawler.domain.subscriptions import Watch
from crawler.notifications.models import DigestFacts

ProjectNames = Mapping[tuple[str, str], str]


def wants_target(watch: Watch, target: Target, names: ProjectNames) -> bool:
    """Return whether *watch* is about *target*; a project is meant by its id or its name."""
    return watch.wants(target, names.get((target.account, target.project), ""))


def wants_change(watch: Watch, change: ChangeRow, facts: DigestFacts) -> bool:
    """Return whether *watch* is about *change*; what happened to a whole zone concerns every image in it."""
    if watch.event and not change.words & set(watch.event):
        return False
    if not wants_target(watch, change.target, facts.project_names):
        return False
    if change.image_id is None:
        return True
    return watch.wants_name(change.image_name or "") and _fits_gpu(change, watch.gpu, facts)


def _fits_gpu(change: ChangeRow, wanted: bool | None, facts: DigestFacts) -> bool:
    if wanted is None:
        return True
    if "gpu" in change.fields:
        return wanted in change.fields["gpu"]
    known = facts.gpu.get((change.image_set or "", change.image_id or ""))
    return known is None or known is wanted


# --- the zones -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class WatchedZone:
    """A zone as one account sees it."""

    account: str
    region: str
    zone: str


def zone_of(target: Target) -> WatchedZone:
    """Return the zone a target lies in."""
    return WatchedZone(target.account, target.region, target.zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The part of a zone that something concerns; empty where it is the whole zone."""

    projects: tuple[str, ...] = ()
    project_count: int = 0
    variants: tuple[str, ...] = ()


class WatchedZones:
    """The watched targets that are asked and open, by zone."""

    def __init__(self, watch: Watch, facts: DigestFacts) -> None:
        """Take every target's status and keep what *watch* is about."""
        self._names = facts.project_names
        #: Watched targets, whatever their state.
        self.watched = {row.target: row for row in facts.status if wants_target(watch, row.target, self._names)}
        self.zones: dict[WatchedZone, list[StatusRow]] = {}
        for row in self.watched.values():
            if row.is_live:
                self.zones.setdefault(zone_of(row.target), []).append(row)
        self._by_zone: dict[WatchedZone, set[Target]] = {}
        for row in facts.status:
            if row.is_live:
                self._by_zone.setdefault(zone_of(row.target), set()).add(row.target)

    def part(self, zone: WatchedZone, targets: Iterable[Target]) -> Part:
        """Return which part of *zone* the *targets* are."""
        concerned = set(targets)
        everything = self._by_zone.get(zone, set()) | concerned
        projects, all_projects = {t.project for t in concerned}, {t.project for t in everything}
        variants, all_variants = {t.variant for t in concerned}, {t.variant for t in everything}
        partial = projects < all_projects
        return Part(
            projects=tuple(sorted(self.project(zone.account, project) for project in projects)) if partial else (),
            project_count=len(all_projects) if partial else 0,
            variants=tuple(sorted(variants)) if variants < all_variants else (),
        )

    def project(self, account: str, project: str) -> str:
        """Return a project's name, its id where it has none."""
        return self._names.get((account, project)) or project

    def image_count(self, zone: WatchedZone) -> int:
        """Return how many images were last listed in *zone*, to whoever sees most of them."""
        return max((row.images for row in self.zones.get(zone, ())), default=0)

    def is_empty(self, zone: WatchedZone) -> bool:
        """Return whether *zone* was observed well and lists nothing to anybody."""
        rows = self.zones.get(zone, ())
        return bool(rows) and all(row.images == 0 and row.outcome == "ok" for row in rows)
