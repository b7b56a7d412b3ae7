"""
A scenario file in, a `Timeline` out, or every problem of it at once. `scenario.py` documents the format.

Pydantic checks what one value shows; what takes two of them, such as a key that names no zone, stands below.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from crawler.config.sources import Location, path_of
from crawler.config.textfiles import read_text
from crawler.config.validation import describe
from crawler.domain.filters import is_glob
from crawler.domain.suggest import did_you_mean
from crawler.emulator.lists import KINDS
from crawler.emulator.scenario import (
    CONDITIONS,
    WHEN,
    EmulatedAccount,
    EmulatedZone,
    Fault,
    ProjectRow,
    Quirks,
    Rows,
    ScenarioTable,
    Schema,
    Sets,
    Text,
    Timeline,
    World,
)
from crawler.errors import ConfigurationError


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
    """Turn the format described in `scenario.py` into a Timeline; raise ConfigurationError with all its problems."""
    if not isinstance(document, Mapping):
        raise ConfigurationError(source, ["the file must hold one JSON object"])
    try:
        read = _Document.model_validate(document)
    except ValidationError as exc:
        problems = [f"{_path(where)}: {sentence}" for where, sentence in describe(exc, _unknown_key, _WORDS)]
        raise ConfigurationError(source, problems) from None
    worlds = list(_worlds(read))
    problems = [*_misplaced(read, worlds), *_not_listed(read, worlds), *_nowhere(worlds), *_never_fitting(worlds)]
    if problems:
        raise ConfigurationError(source, problems)
    return Timeline(worlds=tuple(worlds), accounts=read.accounts or (EmulatedAccount(),), about=read.about)


# --- the tables of the file ------------------------------------------------------------------------------------------


def _some(steps: tuple[_Step, ...]) -> tuple[_Step, ...]:
    if not steps:
        raise ValueError("names no step; leave it out for a timeline of one")
    return steps


def _generation(value: Any) -> Any:
    """Return the year of a schema as it is written; as a number it means the same."""
    return str(value) if type(value) is int else value


def _once(key: str) -> AfterValidator:
    """Return what refuses two rows with the same *key*, which it names by their `name` where it is a key of access."""

    def check(rows: Sequence[BaseModel]) -> Sequence[BaseModel]:
        seen = set()
        for row in rows:
            value = getattr(row, key)
            if value in seen:
                shown = f'account "{row.name}" has a public key that' if isinstance(row, _Account) else f'"{value}"'
                raise ValueError(f"{shown} is listed twice")
            seen.add(value)
        return rows

    return AfterValidator(check)


class _Account(EmulatedAccount):
    public_key: Text
    private_key: Text = Field(repr=False)


class _Changes(ScenarioTable):
    schema_: Annotated[Schema | None, BeforeValidator(_generation)] = Field(default=None, alias="schema")
    zones: Annotated[Rows[EmulatedZone], _once("zone")] | None = None
    projects: Annotated[Rows[ProjectRow], _once("project_id")] | None = None
    images: dict[str, dict[str, Any]] = Field(default={})
    inventory: dict[str, dict[str, list[Any]]] = Field(default={})
    quirks: Quirks | None = None
    faults: Rows[Fault] = ()


class _Step(_Changes):
    title: str = ""
    add: dict[str, dict[str, list[Any]]] = Field(default={})
    remove: dict[str, list[Any]] = Field(default={})


class _Document(_Changes):
    about: str = ""
    sources: Any = None
    accounts: Annotated[Rows[_Account], _once("public_key")] = ()
    steps: Annotated[Rows[_Step], AfterValidator(_some)] = (_Step(),)


#: Values of the wrong type, in the words of JSON.
_WORDS = {
    "model_type": "must be an object", "dict_type": "must be an object", "string_type": "must be a text",
    "list_type": "must be a list", "tuple_type": "must be a list", "frozen_set_type": "must be a list",
}  # fmt: skip
_TABLES: dict[str, type[ScenarioTable]] = {
    "": _Document, "steps": _Step, "zones": EmulatedZone, "projects": ProjectRow, "accounts": _Account, "faults": Fault,
}  # fmt: skip


def _path(location: Location) -> str:
    """Write a location as people count: `steps[1].zones[2].region`."""
    return path_of(tuple(part + 1 if isinstance(part, int) else part for part in location))


def _unknown_key(location: Location) -> str:
    table = next((part for part in reversed(location[:-1]) if isinstance(part, str)), "")
    keys = [one.alias or name for name, one in _TABLES[table].model_fields.items()]
    return f"is no key{did_you_mean(str(location[-1]), keys) or '; known here: ' + ', '.join(keys)}"


# --- the worlds ------------------------------------------------------------------------------------------------------


def _worlds(read: _Document) -> Iterator[World]:
    """Return the world of every step: each begins as the one before."""
    world = _after(World(), read)
    for number, step in enumerate(read.steps, start=1):
        world = _after(world, step)
        everywhere = [fault for fault in read.faults if not fault.steps or number in fault.steps]
        yield replace(world, title=step.title, faults=(*step.faults, *everywhere))


def _after(world: World, part: _Changes) -> World:
    """Return *world* with what *part*, the top of the file or a step, changes of it."""
    changed: dict[str, Any] = {"images": {**world.images, **part.images}}
    if part.inventory:
        kinds = world.inventory.keys() | part.inventory.keys()
        changed["inventory"] = {
            kind: {**world.inventory.get(kind, {}), **part.inventory.get(kind, {})} for kind in sorted(kinds)
        }
    given = {"schema": part.schema_, "zones": part.zones, "projects": part.projects, "quirks": part.quirks}
    changed |= {name: value for name, value in given.items() if value is not None}
    if isinstance(part, _Step):
        images = changed["images"] = _with_own(changed["images"], part)
        for key, ids in part.remove.items():
            gone = set(map(str, ids))
            images[key] = {
                name: [one for one in records if _image_id(one) not in gone] if isinstance(records, list) else records
                for name, records in images.get(key, {}).items()
            }
        for key, sets in part.add.items():
            so_far = images.get(key, {})
            more = {name: [*_records(so_far.get(name)), *records] for name, records in sets.items()}
            images[key] = {**so_far, **more}
    return replace(world, **changed)


def _with_own(images: Mapping[str, Sets], step: _Step) -> dict[str, Sets]:
    """Return *images* in which each project has a list of its own where a step changes what it sees."""
    changed = (key for key in (*step.remove, *step.add) if key not in images)
    return {**images, **{key: images[zone] for key in changed if (zone := key.rpartition("/")[2]) in images}}


def _records(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _image_id(record: Any) -> str:
    return str(record.get("ImageId", "")) if isinstance(record, Mapping) else str(record)


# --- what takes two values to see ------------------------------------------------------------------------------------


def _misplaced(read: _Document, worlds: Sequence[World]) -> Iterator[str]:
    """Return what is wrong with the zones and the faults as a whole."""
    if read.zones is None and read.steps[0].zones is None:
        yield "zones: is missing; a timeline lists its zones, if only as []"
    regions = {row.region for world in worlds for row in world.zones}
    known = {
        "zone": _zones(worlds),
        "region": regions,
        "account": {account.name for account in read.accounts or (EmulatedAccount(),)},
    }
    places = [((), read), *((("steps", index), step) for index, step in enumerate(read.steps))]
    for location, part in places:
        for index, fault in enumerate(part.faults):
            at = _path((*location, "faults", index))
            if fault.steps and location:
                yield f"{at}.steps: a fault inside a step holds for that step alone; move it to the top level"
            for what, names in known.items():
                given = getattr(fault, what)
                if given not in names and not is_glob(given):
                    yield f'{at}.{what}: no {what} is called "{given}"{did_you_mean(given, names)}'
            last = fault.steps[-1] if isinstance(fault.steps, range) else max(fault.steps, default=0)
            if last > len(read.steps):
                yield f"{at}.steps: there is no step {last}, the timeline has {len(read.steps)}"


def _not_listed(read: _Document, worlds: Sequence[World]) -> Iterator[str]:
    """Return the ids that a step removes although they are not listed there."""
    before = _after(World(), read)
    zones = _zones(worlds)
    for index, (step, world) in enumerate(zip(read.steps, worlds, strict=True)):
        images = _with_own({**before.images, **step.images}, step)
        for key, ids in step.remove.items():
            if key.rpartition("/")[2] not in zones:
                continue  # which is what is wrong with it
            listed = {_image_id(record) for records in images.get(key, {}).values() for record in _records(records)}
            for image_id in sorted(set(map(str, ids)) - listed):
                yield f'{_path(("steps", index, "remove", key))}: "{image_id}" is not listed there at that step'
        before = world


def _nowhere(worlds: Sequence[World]) -> Iterator[str]:
    """Return the keys of images that name a zone or a project that the timeline has at no step."""
    zones = _zones(worlds)
    projects = {row.project_id for world in worlds for row in world.projects}
    for key in dict.fromkeys(key for world in worlds for key in world.images):
        project, _, zone = key.rpartition("/")
        if zone not in zones:
            yield f'images: no zone is called "{zone}"{did_you_mean(zone, zones)}'
        if project and project not in projects:
            yield f'images: no project has the id "{project}"'
    regions = {row.region for world in worlds for row in world.zones}
    places = dict.fromkeys((kind, key) for world in worlds for kind, own in world.inventory.items() for key in own)
    for kind, key in places:
        if kind not in KINDS:
            yield f'inventory: "{kind}" is no kind{did_you_mean(kind, KINDS) or "; known: " + ", ".join(KINDS)}'
            continue
        project, _, place = key.rpartition("/")
        known, what = (regions, "region") if KINDS[kind] else (zones, "zone")
        if place not in known:
            yield f'inventory.{kind}: no {what} is called "{place}"{did_you_mean(place, known)}'
        if project and project not in projects:
            yield f'inventory.{kind}: no project has the id "{project}"'


def _zones(worlds: Sequence[World]) -> set[str]:
    return {row.zone for world in worlds for row in world.zones}


def _never_fitting(worlds: Sequence[World]) -> Iterator[str]:
    """Return what is wrong with the conditions of records, each once: one that nobody knows would hide nothing."""
    found: dict[str, None] = {}
    for world in worlds:
        lists = [(f"images.{key}.{name}", one) for key, sets in world.images.items() for name, one in sets.items()]
        lies = [fault.images for fault in world.faults if fault.images is not None]
        lists += [(f"faults.images.{name}", one) for sets in lies for name, one in sets.items()]
        for place, record in _conditional(lists):
            found |= {f"{place}{problem}": None for problem in _conditions(record[WHEN])}
        listed = [(f"inventory.{kind}.{key}", one) for kind, own in world.inventory.items() for key, one in own.items()]
        found |= {f"{place}: only records of images have conditions": None for place, _ in _conditional(listed)}
    yield from found


def _conditional(lists: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the records that have conditions, each with the place of those."""
    for place, records in lists:
        for number, record in enumerate(_records(records), start=1):
            if isinstance(record, Mapping) and WHEN in record:
                yield f"{place}[{number}].{WHEN}", record


def _conditions(conditions: Any) -> Iterator[str]:
    if not isinstance(conditions, Mapping):
        yield ": must be an object"
        return
    for name, globs in conditions.items():
        if name not in CONDITIONS:
            yield f".{name}: is no condition{did_you_mean(name, CONDITIONS) or '; known: ' + ', '.join(CONDITIONS)}"
        elif not all(isinstance(glob, str) for glob in (globs if isinstance(globs, list) else [globs])):
            yield f".{name}: must be a text or a list of texts"
