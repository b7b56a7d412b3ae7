"""
Makes timelines for the emulator in a few lines.

    make_timeline(zones={"hk-02": {"uimage-a": "CentOS 7.6"}}, steps=[{"remove": {"hk-02": ["uimage-a"]}}])

A zone's images are `{image_id: name}`, or records as the API sends them, or whole sets; its region is its name without
the last part. Everything else is the format of `crawler.emulator.scenario`, passed on as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from crawler.emulator import EXAMPLE_PRIVATE_KEY, EXAMPLE_PUBLIC_KEY, Timeline, parse_timeline

#: `{image_id: name}`, a list of records, or `{set name: [record, …]}`.
Images = Mapping[str, Any] | Sequence[Any]


def region_of(zone: str) -> str:
    """Return the region of a zone by its name: `hk-02` lies in `hk`."""
    return zone.rpartition("-")[0] or zone


def zone_number(zone: str) -> int:
    """Return a made-up numeric id that is the same for the same name in every process."""
    return 10_000 + int.from_bytes(hashlib.blake2b(zone.encode(), digest_size=4).digest()) % 1_000_000


def make_zone(zone: str, **more: Any) -> dict[str, Any]:
    """Return a row of `zones`."""
    return {"region": region_of(zone), "zone": zone, "zone_id": zone_number(zone), **more}


def make_record(image_id: str, name: str, zone: str, *, gpu: bool = True, **more: Any) -> dict[str, Any]:
    """Return a record of four fields, and *more*."""
    return {"ImageId": image_id, "ImageName": name, "NotSupportGPU": not gpu, "ZoneId": zone_number(zone), **more}


def make_sets(images: Images, zone: str) -> dict[str, Any]:
    """Return the image sets of a zone from the shortest form that says it."""
    if not isinstance(images, Mapping):
        return {"ImageSet": list(images)}
    if images and all(isinstance(name, str) for name in images.values()):
        return {"ImageSet": [make_record(image_id, name, zone) for image_id, name in images.items()]}
    return dict(images)


def make_timeline(
    *,
    zones: Mapping[str, Images] | Iterable[str] = ("hk-02",),
    images: Mapping[str, Images] | None = None,
    projects: Iterable[str | Mapping[str, Any]] | None = None,
    steps: Iterable[Mapping[str, Any]] = (),
    **more: Any,
) -> Timeline:
    """
    Make a timeline: a baseline of these *zones* and *images*, then the *steps*.

    *projects* are ids, the first one the default. In *steps*, `images` and `add` take the short forms too, and `zones`
    may be a list of names. *more* is `schema`, `accounts`, `quirks` or `faults`.
    """
    everything = {**(zones if isinstance(zones, Mapping) else {}), **(images or {})}
    document: dict[str, Any] = {
        "zones": [make_zone(zone) for zone in zones],
        "images": _by_zone(everything),
        "steps": [{"title": "baseline"}, *map(_step, steps)],
        **more,
    }
    if projects is not None:
        document["projects"] = [
            {"project_id": row, "name": row.removeprefix("org-")} if isinstance(row, str) else row for row in projects
        ]
    return parse_timeline(document)


def sign(params: Mapping[str, str], private_key: str = EXAMPLE_PRIVATE_KEY) -> dict[str, str]:
    """Return flat *params* with the example public key (unless they name one) and a signature, for requests by hand."""
    signed = {"PublicKey": EXAMPLE_PUBLIC_KEY, **params}
    text = "".join(name + signed[name] for name in sorted(signed)) + private_key
    return {**signed, "Signature": hashlib.sha1(text.encode()).hexdigest()}


def form(params: Mapping[str, str]) -> bytes:
    """Return *params* as the body of a POST form."""
    return urlencode(params).encode()


def _by_zone(images: Mapping[str, Images]) -> dict[str, Any]:
    return {key: make_sets(listed, key.rpartition("/")[2]) for key, listed in images.items()}


def _step(step: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(step)
    for name in ("images", "add"):
        if name in made:
            made[name] = _by_zone(made[name])
    if "zones" in made:
        made["zones"] = [make_zone(zone) if isinstance(zone, str) else zone for zone in made["zones"]]
    return made
