"""
The model cloud: projects, zones and images as they really are, and what an honest answer states about them.

It knows nothing of the crawler. `emulated` hands it to the emulator, which writes the answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from crawler.emulator import EmulatedZone, Fault, ProjectRow, World

Record = Mapping[str, Any]
#: `{field name: value}` in the words of the history; fields nobody declared are `extra.name`.
Stated = Mapping[str, Any]

_TEXTS = {
    "ImageName": "image_name",
    "OsType": "os_type",
    "OsName": "os_name",
    "IntegratedSoftware": "software",
    "ImageSize": "size_gb",
    "ZoneId": "zone_id",
}
_LISTS = {"Features": "features", "SupportedGPUTypes": "gpu_types"}
_FOUR_FIELDS = ("ImageId", "ImageName", "NotSupportGPU", "ZoneId")


class Key(NamedTuple):
    """An image inside a target."""

    image_set: str
    image_id: str


class Spot(NamedTuple):
    """A target, as far as the model knows targets."""

    project: str
    region: str
    zone: str


def region_of(zone: str) -> str:
    """Return the region of `cn-bj2-04`: `cn-bj2`."""
    return zone.rpartition("-")[0]


@dataclass
class Model:
    """The truth; mutable, the weather changes it."""

    #: Ids and names; the first is the default project.
    projects: dict[str, str] = field(default_factory=dict)
    #: Open zones and their numbers.
    zones: dict[str, int] = field(default_factory=dict)
    #: What everybody sees in a zone, open or not.
    images: dict[str, dict[Key, Record]] = field(default_factory=dict)
    #: What one project sees beside that.
    custom: dict[tuple[str, str], dict[Key, Record]] = field(default_factory=dict)
    #: Records state four fields only, as at the brands with the older page.
    is_terse: bool = False
    quirks: frozenset[str] = frozenset()
    #: What every true answer has beside its images: records that cannot be read, more images counted than listed, and
    #: members that say nothing.
    broken: tuple[Any, ...] = ()
    excess: int | None = None
    members: Mapping[str, Any] = field(default_factory=dict)

    @property
    def times_listed(self) -> int:
        """Count how often each record of a set is written."""
        return 2 if "duplicate-records" in self.quirks else 1

    def offers(self, project: str, zone: str) -> dict[Key, Record]:
        """Return the images that really are available at a place; none where there is no such place."""
        project = next(iter(self.projects), "") if project == "default" else project
        if zone not in self.zones or project not in self.projects:
            return {}
        return {**self.images.get(zone, {}), **self.custom.get((project, zone), {})}

    def states(self, records: Mapping[Key, Record]) -> dict[Key, Stated]:
        """Return what an answer that lists *records* says about each."""
        return {key: self._stated(key, record) for key, record in records.items()}

    def emulated(self, faults: Iterable[Fault] = ()) -> World:
        """Return the model as the emulator's world."""
        default = next(iter(self.projects), "")
        images: dict[str, Any] = {zone: self.mannered(self.sets(self.images.get(zone, {}))) for zone in self.zones}
        for project, zone in self.custom:
            if project in self.projects and zone in self.zones:
                images[f"{project}/{zone}"] = self.mannered(self.sets(self.offers(project, zone)))
        return World(
            zones=tuple(
                EmulatedZone(region=region_of(zone), zone=zone, zone_id=number) for zone, number in self.zones.items()
            ),
            projects=tuple(
                ProjectRow(project_id=project, name=name, default=project == default)
                for project, name in self.projects.items()
            ),
            images=images,
            quirks=self.quirks,
            faults=tuple(faults),
        )

    def sets(self, records: Mapping[Key, Record]) -> dict[str, list[dict[str, Any]]]:
        """Return *records* as the image sets of an answer."""
        sets: dict[str, list[dict[str, Any]]] = {}
        for key, record in records.items():
            shown = {name: value for name, value in record.items() if not self.is_terse or name in _FOUR_FIELDS}
            sets.setdefault(key.image_set, []).append(shown)
        return sets

    def mannered(self, sets: Mapping[str, Any]) -> dict[str, Any]:
        """Return image *sets* with what answers here have beside them."""
        shown = {**sets, "ImageSet": [*sets.get("ImageSet", ()), *self.broken]}
        listed = sum(len(records) for records in shown.values()) * self.times_listed
        counts = {} if self.excess is None else {"TotalCount": listed + self.excess}
        return {**shown, **counts, **self.members}

    def _stated(self, key: Key, record: Record) -> Stated:
        if "bare-custom-ids" in self.quirks and key.image_set.startswith("Custom"):
            return {}
        stated: dict[str, Any] = {}
        for name, value in record.items():
            if self.is_terse and name not in _FOUR_FIELDS:
                continue
            if name in _TEXTS:
                stated[_TEXTS[name]] = value
            elif name in _LISTS:
                stated[_LISTS[name]] = sorted(set(value))
            elif name == "NotSupportGPU":
                stated["gpu"] = not value
        if "no-zone-id" in self.quirks:
            stated.pop("zone_id", None)
        if "unknown-field" in self.quirks:
            stated["extra.bootmode"] = "UEFI"
        return stated
