"""
A scenario file in, a `Timeline` out, or every problem of it at once. The faults it may script are documented here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

from crawler.config.textfiles import read_text
from crawler.emulator.scenario import (
    QUIRKS,
    SCHEMAS,
    EmulatedAccount,
    EmulatedZone,
    Fault,
    FaultEffect,
    ProjectRow,
    Sets,
    Timeline,
    World,
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

_Row = TypeVar("_Row", EmulatedZone, ProjectRow, EmulatedAccount)


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
        """Return the world after what *part* (the top level, or one step) changes of the one *before*."""
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

    def zone(self, raw: Any, where: str) -> EmulatedZone:
        """Read one row of `zones`."""
        part, at = self.problems.mapping(raw, where, _ZONE_KEYS), f"{where}."
        return EmulatedZone(
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


def _quoted(row: EmulatedZone | ProjectRow | EmulatedAccount, name: str) -> str:
    # A public key stays out of messages.
    return f'account "{row.name}" has a public key that' if isinstance(row, EmulatedAccount) else f'"{name}"'


_WHOM = ("account", "action", "project", "region", "zone")
_EFFECTS: tuple[FaultEffect, ...] = tuple(effect for effect in get_args(FaultEffect) if effect != "delay")
_SWITCHES: tuple[FaultEffect, ...] = ("drop", "cut", "hang", "empty", "html")
_KEYS = (*_WHOM, "steps", "attempts", *_EFFECTS, "message", "retry_after", "latency_ms")


def read_fault(raw: Any, where: str, problems: Problems, *, step_count: int, in_step: bool) -> Fault:
    """Turn one object into a Fault, noting what is wrong with it in *problems*."""
    part = problems.mapping(raw, where, _KEYS)
    at = f"{where}."
    steps = problems.numbers(part, "steps", at)
    if steps and in_step:
        problems.add(f"{at}steps: a fault inside a step holds for that step alone; move it to the top level")
    if steps and max(steps) > step_count:
        problems.add(f"{at}steps: there is no step {max(steps)}, the timeline has {step_count}")
    return Fault(
        **{name: problems.text(part, name, at, default="*") for name in _WHOM},
        steps=steps,
        attempts=problems.numbers(part, "attempts", at),
        effect=_effect(part, where, problems),
        ret_code=problems.integer(part, "ret_code", at),
        message=problems.text(part, "message", at) if "message" in part else None,
        status=_status(part, at, problems),
        retry_after=_retry_after(part, at, problems),
        body=problems.text(part, "body", at, default=""),
        images=dict(problems.mapping(part["images"], f"{at}images")) if "images" in part else None,
        latency_ms=_latency(part, at, problems),
    )


def _effect(part: Mapping[str, Any], where: str, problems: Problems) -> FaultEffect:
    for name in _SWITCHES:
        if name in part and part[name] is not True:
            problems.add(f"{where}.{name}: must be true, or left out")
    named = [effect for effect in _EFFECTS if effect in part]
    # A refusal may come with an HTTP status of its own.
    if set(named) == {"ret_code", "status"}:
        return "ret_code"
    if len(named) > 1:
        problems.add(f"{where}: {' and '.join(named)} exclude each other; keep one")
    elif not named and "latency_ms" not in part:
        problems.add(f"{where}: says nothing that happens; add one of {', '.join(_EFFECTS)}, latency_ms")
    return named[0] if named else "delay"


def _status(part: Mapping[str, Any], at: str, problems: Problems) -> int:
    status = problems.integer(part, "status", at)
    if status is None:
        return 200
    if not 200 <= status <= 599:
        problems.add(f"{at}status: must be an HTTP status between 200 and 599, not {status}")
        return 500
    return status


def _retry_after(part: Mapping[str, Any], at: str, problems: Problems) -> str | None:
    value = part.get("retry_after")
    if value is None or (isinstance(value, (int, str)) and not isinstance(value, bool)):
        return None if value is None else str(value)
    problems.add(f"{at}retry_after: must be a number of seconds or a date as HTTP writes it, not {value!r}")
    return None


def _latency(part: Mapping[str, Any], at: str, problems: Problems) -> float:
    value = part.get("latency_ms", 0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        problems.add(f"{at}latency_ms: must be a number of milliseconds, not {value!r}")
        return 0.0
    return float(value)


class Problems:
    """One sentence per problem, in the order of the file."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, sentence: str) -> None:
        """Note one problem."""
        self.found.append(sentence)

    def mapping(self, value: Any, where: str, keys: Iterable[str] | None = None) -> Mapping[str, Any]:
        """Return *value* as an object whose keys are among *keys*, with the nearest valid key for each that is not."""
        if not isinstance(value, Mapping):
            self.add(f"{where}: must be an object, not {_kind(value)}")
            return {}
        if keys is not None:
            valid = tuple(keys)
            for key in value:
                if key not in valid:
                    near = get_close_matches(str(key), valid, n=1, cutoff=0.5)
                    hint = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(valid)}"
                    self.add(f'{where}: unknown key "{key}"; {hint}')
        return value

    def items(self, value: Any, where: str) -> list[Any]:
        """Return *value* as a list."""
        if not isinstance(value, list):
            self.add(f"{where}: must be a list, not {_kind(value)}")
            return []
        return value

    def text(self, part: Mapping[str, Any], key: str, where: str, *, default: str | None = None) -> str:
        """Return a text; without *default* it is required and not empty."""
        value: Any = part.get(key, default)
        if value is None:
            self.add(f"{where}{key}: missing")
            return ""
        if not isinstance(value, str):
            self.add(f"{where}{key}: must be a text, not {_kind(value)}")
            return ""
        if default is None and not value:
            self.add(f"{where}{key}: must not be empty")
        return str(value)

    def flag(self, part: Mapping[str, Any], key: str, where: str, *, default: bool = False) -> bool:
        """Return a true or false."""
        value = part.get(key, default)
        if not isinstance(value, bool):
            self.add(f"{where}{key}: must be true or false, not {_kind(value)}")
            return default
        return value

    def integer(self, part: Mapping[str, Any], key: str, where: str) -> int | None:
        """Return a whole number, or None where there is none."""
        value = part.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            self.add(f"{where}{key}: must be a whole number, not {_kind(value)}")
            return None
        return value

    def globs(self, part: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        """Return a list of globs, or `*` where there is none."""
        value = part.get(key, ["*"])
        if not isinstance(value, list) or not all(isinstance(glob, str) for glob in value):
            self.add(f"{where}{key}: must be a list of texts, not {_kind(value)}")
            return ("*",)
        return tuple(value)

    def numbers(self, part: Mapping[str, Any], key: str, where: str) -> frozenset[int]:
        """Return a set of numbers from 1 up, written as a number, a list or a range such as "2-4"; may be empty."""
        value = part.get(key)
        if value is None:
            return frozenset()
        if isinstance(value, str):
            first, dash, last = value.partition("-")
            if dash and first.strip().isdecimal() and last.strip().isdecimal() and 1 <= int(first) <= int(last):
                return frozenset(range(int(first), int(last) + 1))
        else:
            numbers = value if isinstance(value, list) else [value]
            if numbers and all(type(number) is int and number >= 1 for number in numbers):
                return frozenset(numbers)
        self.add(f'{where}{key}: must be a number from 1 up, a list of them or a range such as "2-4", not {value!r}')
        return frozenset()


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    names = {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)
