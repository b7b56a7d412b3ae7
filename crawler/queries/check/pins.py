"""
Image ids in use, read from what other tools write: lines of text, a Terraform state, a Packer manifest.

Tolerant of versions: any JSON is searched for `image_id` fields, each with the zone that the same object or one around
it names. Only what is managed and in use counts: no data sources, no outputs of a state, no other clouds' resources, no
artifacts of other builders or of Packer runs before the last.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from crawler.domain.filters import Filters
from crawler.errors import ConfigurationError, EmptySelection
from crawler.queries.check.rules import PinRule

_ZONE_KEYS = ("availability_zone", "zone")
_SEPARATOR = re.compile(r"[\s,;]+")
_IMAGE_ID = re.compile(r"u?image-\w+|bsi-\w+", re.IGNORECASE)
#: What an id looks like, whoever gave it; in a list of ids nothing else is taken for one.
_LIKE_AN_ID = re.compile(r"[A-Za-z0-9][\w.]*(?:-[\w.]+)+", re.ASCII)
#: What the types of the provider's resources, and the names of its Packer builders, begin with.
_OURS = ("ucloud_", "ucloud-")
#: What the ids of images begin with that somebody made: those that a post-processor imports for another builder.
_OWN_IMAGE = "uimage-"
#: What `terraform output -json` says of an output.
_OUTPUT = frozenset({"sensitive", "type", "value"})


def read_pins(text: str, source: str) -> list[PinRule]:
    """
    Return the ids in *text*, each once per place; *source* names it for people.

    Raises ConfigurationError with every line that is none, which it does not quote: anything may stand there.
    EmptySelection when no id is found at all.
    """
    is_list = True
    stripped = text.strip().removeprefix("\ufeff")
    if stripped.startswith(("{", "[")):
        try:
            document = json.loads(stripped)
            is_list = isinstance(document, list) and all(isinstance(element, str) for element in document)
            found = list(_from_json(document, source))
        except ValueError as exc:
            raise ConfigurationError(source, [f"is no JSON: {exc}"]) from None
        except RecursionError:
            raise ConfigurationError(source, ["is nested too deeply"]) from None
    else:
        found = _from_lines(text, source)
    unreadable = [
        pin
        for pin in found
        if not f"{pin.zone or ''}{pin.image_id}".isprintable() or (is_list and not _LIKE_AN_ID.fullmatch(pin.image_id))
    ]
    if unreadable:
        raise ConfigurationError(source, [f"{pin.source}: what stands there is no image id" for pin in unreadable])
    if not found:
        raise EmptySelection(f"{source} holds no image id: there is nothing to check.")
    return _once(found)


def _once(pins: list[PinRule]) -> list[PinRule]:
    """Fold pins of one id in one place; the source of the first says how many more there are."""
    folded: dict[PinRule, list[PinRule]] = {}
    for pin in pins:
        folded.setdefault(replace(pin, source=""), []).append(pin)
    return [
        replace(same[0], source=f"{same[0].source} and {len(same) - 1} more" if len(same) > 1 else same[0].source)
        for same in folded.values()
    ]


# --- lines -----------------------------------------------------------------------------------------------------------


def _from_lines(text: str, source: str) -> list[PinRule]:
    pins: list[PinRule] = []
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = [word for word in _SEPARATOR.split(line.partition("#")[0].strip().removeprefix("\ufeff")) if word]
        if not words:
            continue
        if len(words) > 2:
            problems.append(f"line {number}: what stands there is neither an image id nor a zone and an image id")
            continue
        image_id, zone = words[-1], words[0] if len(words) == 2 else None
        if zone is not None and _IMAGE_ID.fullmatch(zone) and not _IMAGE_ID.fullmatch(image_id):
            image_id, zone = zone, image_id
        pins.append(PinRule(image_id=image_id, zone=zone, source=f"{source}, line {number}"))
    if problems:
        raise ConfigurationError(source, problems)
    return pins


# --- JSON ------------------------------------------------------------------------------------------------------------


def _from_json(document: Any, source: str) -> Iterator[PinRule]:
    if isinstance(document, Mapping) and isinstance(document.get("builds"), list):
        yield from _from_packer(document["builds"], document.get("last_run_uuid"), source)
        return
    if isinstance(document, list) and all(isinstance(element, str) for element in document):
        yield from (PinRule(image_id=image_id, source=source) for image_id in document if image_id)
        return
    if isinstance(document, Mapping) and document.keys() & {"planned_values", "resource_changes"}:
        document = document.get("planned_values")  # of a Terraform plan: what will be there after it
    yield from _search(document, zone=None, name=source, source=source)


def _from_packer(builds: list[Any], last_run: Any, source: str) -> Iterator[PinRule]:
    """
    Read the builds of the *last_run*; a manifest keeps those of earlier runs, whose images were replaced.

    An artifact is `region:id` pairs, separated by commas; of three parts the first is the project.
    """
    for number, build in enumerate(builds, start=1):
        artifact = build.get("artifact_id") if isinstance(build, Mapping) else None
        if not isinstance(artifact, str) or (last_run and build.get("packer_run_uuid", last_run) != last_run):
            continue
        builder = build.get("builder_type")
        name = build.get("name") or f"build {number}"
        for part in filter(None, (part.strip() for part in artifact.split(","))):
            *places, image_id = part.split(":")
            if image_id and (_is_ours(builder) or image_id.startswith(_OWN_IMAGE)):
                scope = Filters(region=tuple(places[-1:]), project=tuple(places[-2:-1]))
                yield PinRule(image_id=image_id, scope=scope, source=f"{source}, {name}")


def _is_ours(kind: Any) -> bool:
    """Return whether a builder or a type of resource is UCloud's, or not stated."""
    return not isinstance(kind, str) or kind.startswith(_OURS)


def _search(value: Any, *, zone: str | None, name: str, source: str) -> Iterator[PinRule]:
    if isinstance(value, list):
        for element in value:
            yield from _search(element, zone=zone, name=name, source=source)
        return
    if not isinstance(value, Mapping) or _is_not_in_use(value):
        return
    if "value" in value and "type" in value and value.keys() <= _OUTPUT:
        value = {"value": value["value"]}  # its type may have a member `image_id` as well
    zone = next((value[key] for key in _ZONE_KEYS if isinstance(value.get(key), str) and value[key]), zone)
    name = _resource(value, source) or name
    image_id = value.get("image_id")
    if isinstance(image_id, str) and image_id:
        yield PinRule(image_id=image_id, zone=zone, source=name)
    for key, inner in value.items():
        if key == "deposed" or (key == "outputs" and _is_terraform(value)):
            continue
        if isinstance(inner, Mapping) and "primary" in inner:  # a resource in a state of Terraform before 0.12
            if not key.startswith("data."):
                yield from _search(inner, zone=zone, name=f"{source}, {key}", source=source)
        elif isinstance(inner, Mapping | list):
            yield from _search(inner, zone=zone, name=name, source=source)


def _is_not_in_use(value: Mapping[str, Any]) -> bool:
    """Return whether *value* is what Terraform only looks up, has replaced already, or manages in another cloud."""
    is_resource = bool(value.keys() & {"instances", "values", "primary"}) and "type" in value
    is_replaced = isinstance(value.get("deposed"), str) or "deposed_key" in value
    return value.get("mode") == "data" or is_replaced or (is_resource and not _is_ours(value["type"]))


def _is_terraform(value: Mapping[str, Any]) -> bool:
    """Return whether *value* is a state, a module of an old one, or the `values` of `terraform show -json`."""
    return bool(value.keys() & {"resources", "root_module"})


def _resource(value: Mapping[str, Any], source: str) -> str | None:
    """Return the address of a Terraform resource, when *value* is one."""
    if isinstance(value.get("address"), str):
        return f"{source}, {value['address']}"
    kind, name = value.get("type"), value.get("name")
    if isinstance(kind, str) and isinstance(name, str) and ("instances" in value or "values" in value):
        module = f"{value['module']}." if isinstance(value.get("module"), str) else ""
        return f"{source}, {module}{kind}.{name}"
    return None
