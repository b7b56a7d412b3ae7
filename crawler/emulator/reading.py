"""
JSON in, `Timeline` out: every problem of a file is reported, one sentence each, and the steps are unrolled into worlds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from crawler.config.textfiles import read_text
from crawler.emulator.faults import read_fault
from crawler.emulator.problems import Problems
from crawler.emulator.timeline import (
    QUIRKS,
    SCHEMAS,
    EmulatedAccount,
    Fault,
    ProjectRow,
    Sets,
    Timeline,
    World,
    Zone,
)
from crawler.errors import ConfigurationError

_TOP_KEYS = ("about", "sources", "schema", "zones", "projects", "accounts", "images", "quirks", "faults", "steps")
_STEP_KEYS = ("title", "schema", "zones", "projects", "images", "add", "remove", "quirks", "faults")
_ZONE_KEYS = ("region", "zone", "zone_id", "region_name", "region_id", "default", "bit_maps")
_PROJECT_KEYS = ("project_id", "name", "default")
_ACCOUNT_KEYS = (
    "name",
    "public_key",
    "private_key",
    "projects",
    "zones",
    "sub_account",
    "may_list_projects",
    "channel_key",
)

_Row = TypeVar("_Row", Zone, ProjectRow, EmulatedAccount)


def load_timeline(path: Path) -> Timeline:
    """Read a timeline file; raise ConfigurationError with all its problems."""
    try:
        text = read_text(path)
    except ValueError as exc:
        raise ConfigurationError(str(path), [f"the file {exc}"]) from exc
    try:
        document = json.loads(text)
    except RecursionError:
        raise ConfigurationError(str(path), ["the file is nested too deeply"]) from None
    except ValueError as exc:
        raise ConfigurationError(str(path), [f"the file is not JSON: {exc}"]) from exc
    return parse_timeline(document, source=str(path))


def parse_timeline(document: Any, *, source: str = "timeline") -> Timeline:
    """Turn the format described in `timeline.py` into a Timeline; raise ConfigurationError with all its problems."""
    problems = Problems()
    timeline = _Reader(problems).timeline(document)
    if problems.found:
        raise ConfigurationError(source, problems.found)
    return timeline


class _Reader:
    def __init__(self, problems: Problems) -> None:
        self.problems = problems

    def timeline(self, document: Any) -> Timeline:
        """Read the whole document."""
        top = self.problems.mapping(document, "the timeline", _TOP_KEYS)
        raw_steps = self.problems.items(top.get("steps", [{}]), "steps")
        if "steps" in top and raw_steps == []:
            self.problems.add("steps: names no step; leave it out for a timeline of one")
        first = raw_steps[0] if raw_steps else None
        if "zones" not in top and not (isinstance(first, Mapping) and "zones" in first):
            self.problems.add("zones: missing; a timeline lists its zones, if only as []")
        everywhere = self.faults(top, "", step_count=len(raw_steps), in_step=False)

        world = self.world(World(), top, "")
        worlds: list[World] = []
        for number, raw in enumerate(raw_steps, start=1):
            where = f"steps[{number}]"
            step = self.problems.mapping(raw, where, _STEP_KEYS)
            world = self.world(world, step, f"{where}.")
            general = tuple(fault for fault in everywhere if not fault.steps or number in fault.steps)
            own = self.faults(step, f"{where}.", step_count=len(raw_steps), in_step=True)
            title = self.problems.text(step, "title", f"{where}.", default="")
            worlds.append(replace(world, title=title, faults=own + general))
        self.keys_name_zones(worlds)
        accounts = self.rows(top.get("accounts", []), "accounts", self.account, lambda row: row.public_key)
        about = self.problems.text(top, "about", "", default="")
        if not accounts:
            return Timeline(worlds=tuple(worlds), about=about)
        return Timeline(worlds=tuple(worlds), accounts=accounts, about=about)

    def world(self, before: World, part: Mapping[str, Any], where: str) -> World:
        """Give the world after what *part* (the top level, or one step) changes of the one *before*."""
        world = before
        if "schema" in part:
            known = next((name for name in SCHEMAS if name == str(part["schema"])), None)
            if known is None:
                self.problems.add(f'{where}schema: {part["schema"]!r} is unknown; there are "2020" and "2026"')
            world = replace(world, schema=known or world.schema)
        if "zones" in part:
            world = replace(world, zones=self.rows(part["zones"], f"{where}zones", self.zone, lambda row: row.zone))
        if "projects" in part:
            rows = self.rows(part["projects"], f"{where}projects", self.project, lambda row: row.project_id)
            world = replace(world, projects=rows)
        if "quirks" in part:
            world = replace(world, quirks=self.quirks(part["quirks"], f"{where}quirks"))
        images = dict(world.images)
        for key, sets in self.problems.mapping(part.get("images", {}), f"{where}images").items():
            images[key] = self.problems.mapping(sets, f"{where}images.{key}")
        for key, ids in self.problems.mapping(part.get("remove", {}), f"{where}remove").items():
            images[key] = self.without(images.get(key, {}), ids, f"{where}remove.{key}")
        for key, sets in self.problems.mapping(part.get("add", {}), f"{where}add").items():
            images[key] = self.joined(images.get(key, {}), sets, f"{where}add.{key}")
        return replace(world, images=images)

    def rows(
        self, value: Any, where: str, read: Callable[[Any, str], _Row], identity: Callable[[_Row], str]
    ) -> tuple[_Row, ...]:
        """Read a list of rows, no two of them for the same thing."""
        rows = tuple(read(raw, f"{where}[{n}]") for n, raw in enumerate(self.problems.items(value, where), start=1))
        seen: set[str] = set()
        for number, row in enumerate(rows, start=1):
            name = identity(row)
            if name and name in seen:
                self.problems.add(f"{where}[{number}]: {_quoted(row, name)} is listed twice")
            seen.add(name)
        return rows

    def zone(self, raw: Any, where: str) -> Zone:
        """Read one row of `zones`."""
        part, at = self.problems.mapping(raw, where, _ZONE_KEYS), f"{where}."
        return Zone(
            region=self.problems.text(part, "region", at),
            zone=self.problems.text(part, "zone", at),
            zone_id=self.problems.integer(part, "zone_id", at),
            region_name=self.problems.text(part, "region_name", at, default=""),
            region_id=self.problems.integer(part, "region_id", at),
            default=self.problems.flag(part, "default", at),
            bit_maps=self.problems.text(part, "bit_maps", at, default=""),
        )

    def project(self, raw: Any, where: str) -> ProjectRow:
        """Read one row of `projects`."""
        part, at = self.problems.mapping(raw, where, _PROJECT_KEYS), f"{where}."
        return ProjectRow(
            project_id=self.problems.text(part, "project_id", at),
            name=self.problems.text(part, "name", at, default=""),
            default=self.problems.flag(part, "default", at),
        )

    def account(self, raw: Any, where: str) -> EmulatedAccount:
        """Read one row of `accounts`."""
        part, at = self.problems.mapping(raw, where, _ACCOUNT_KEYS), f"{where}."
        return EmulatedAccount(
            name=self.problems.text(part, "name", at, default="default"),
            public_key=self.problems.text(part, "public_key", at),
            private_key=self.problems.text(part, "private_key", at),
            projects=self.problems.globs(part, "projects", at),
            zones=self.problems.globs(part, "zones", at),
            sub_account=self.problems.flag(part, "sub_account", at),
            may_list_projects=self.problems.flag(part, "may_list_projects", at, default=True),
            channel_key=self.problems.text(part, "channel_key", at) if "channel_key" in part else None,
        )

    def quirks(self, value: Any, where: str) -> frozenset[str]:
        """Read a list of quirks."""
        names = [str(name) for name in self.problems.items(value, where)]
        for name in names:
            if name not in QUIRKS:
                near = get_close_matches(name, QUIRKS, n=1, cutoff=0.5)
                hint = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(QUIRKS)}"
                self.problems.add(f'{where}: unknown quirk "{name}"; {hint}')
        return frozenset(names)

    def faults(self, part: Mapping[str, Any], where: str, *, step_count: int, in_step: bool) -> tuple[Fault, ...]:
        """Read the faults of the top level or of a step."""
        raw_faults = self.problems.items(part.get("faults", []), f"{where}faults")
        return tuple(
            read_fault(raw, f"{where}faults[{number}]", self.problems, step_count=step_count, in_step=in_step)
            for number, raw in enumerate(raw_faults, start=1)
        )

    def without(self, sets: Sets, ids: Any, where: str) -> Sets:
        """Take the records with these ids out of *sets*."""
        gone = set(map(str, self.problems.items(ids, where)))
        listed = {image_id for records in sets.values() for image_id in map(_image_id, _records(records))}
        for image_id in sorted(gone - listed):
            self.problems.add(f'{where}: "{image_id}" is not listed there at that step')
        return {name: [r for r in _records(records) if _image_id(r) not in gone] for name, records in sets.items()}

    def joined(self, sets: Sets, more: Any, where: str) -> Sets:
        """Append the records of *more* to *sets*."""
        joined = dict(sets)
        for name, records in self.problems.mapping(more, where).items():
            joined[name] = [*_records(joined.get(name)), *self.problems.items(records, f"{where}.{name}")]
        return joined

    def keys_name_zones(self, worlds: Iterable[World]) -> None:
        """Check that images are given for zones and projects that the timeline knows at some step."""
        worlds = list(worlds)
        zones = {row.zone for world in worlds for row in world.zones}
        projects = {row.project_id for world in worlds for row in world.projects}
        for key in dict.fromkeys(key for world in worlds for key in world.images):
            project, _, zone = key.rpartition("/")
            if zone not in zones:
                near = get_close_matches(zone, zones, n=1, cutoff=0.6)
                hint = f'; did you mean "{near[0]}"?' if near else ""
                self.problems.add(f'images: no zone is called "{zone}"{hint}')
            if project and project not in projects:
                self.problems.add(f'images: no project has the id "{project}"')


def _records(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _image_id(record: Any) -> str:
    return str(record.get("ImageId", "")) if isinstance(record, Mapping) else str(record)


def _quoted(row: Zone | ProjectRow | EmulatedAccount, name: str) -> str:
    # A public key stays out of messages.
    return f'account "{row.name}" has a public key that' if isinstance(row, EmulatedAccount) else f'"{name}"'
