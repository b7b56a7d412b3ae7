"""
The timelines that come with the package: the demo, and the vendor's published history as it was, accidents included.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crawler.emulator.scenario import Timeline
from crawler.emulator.scenario_loader import load_timeline, parse_timeline

_DATA = Path(__file__).parent / "data"


def demo_path() -> Path:
    """Return the file of the demo timeline."""
    return _DATA / "demo.json"


def published_images() -> dict[str, Any]:
    """Return the raw snapshots of the vendor's table of UK8S images; `fields` names the columns of their `rows`."""
    return _document("published_images.json")


def published_regions() -> dict[str, Any]:
    """Return the raw snapshots of the vendor's regions and zones; `blank` names lists published empty by accident."""
    return _document("published_regions.json")


def demo() -> Timeline:
    """Return the demo: 24 zones, 71 images, five steps."""
    return load_timeline(demo_path())


def image_history() -> Timeline:
    """Return the published images, one step per published snapshot."""
    history = published_images()
    snapshots = [
        (snapshot["date"], [dict(zip(history["fields"], row, strict=True)) for row in snapshot["rows"]])
        for snapshot in history["snapshots"]
    ]
    places = {row["zone"]: row for _, rows in snapshots for row in rows}
    steps = []
    for date, rows in snapshots:
        images: dict[str, Any] = {zone: {"ImageSet": []} for zone in places}
        for row in rows:
            images[row["zone"]]["ImageSet"].append(
                {
                    "ImageId": row["image_id"],
                    "ImageName": f"{row['os']} {row['version']}",
                    "NotSupportGPU": not row["gpu_supported"],
                    "ZoneId": row["zone_id"],
                }
            )
        steps.append({"title": date, "images": images})
    zones = [{"region": row["region"], "zone": zone, "zone_id": row["zone_id"]} for zone, row in sorted(places.items())]
    return parse_timeline(
        {"about": history["source"], "schema": "2020", "zones": zones, "steps": steps}, source="published images"
    )


def region_history() -> Timeline:
    """Return the published regions and zones, a step per published change; a blank list is an empty answer."""
    history = published_regions()
    steps = []
    for snapshot in history["snapshots"]:
        names = dict(snapshot["regions"])
        zones = [
            {"region": region, "zone": zone, "region_name": names.get(region, "")}
            for zone, _ in snapshot["zones"]
            for region in [zone.rpartition("-")[0]]
        ]
        steps.append({"title": snapshot["date"], "zones": [] if snapshot["blank"] else zones})
    return parse_timeline({"about": history["source"], "schema": "2020", "steps": steps}, source="published regions")


BUILTIN: dict[str, Callable[[], Timeline]] = {
    "demo": demo,
    "published-images": image_history,
    "published-regions": region_history,
}


def _document(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((_DATA / name).read_text(encoding="utf-8"))
    return document
