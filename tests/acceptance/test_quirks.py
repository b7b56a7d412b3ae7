"""Both generations of the API, and every oddity the emulator knows, switched on and off in the middle of a history."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from crawler.emulator import QUIRKS, Timeline, run_in_thread
from tests.support.driving import Driver, account
from tests.support.worlds import make_record, make_timeline

#: What a quirk tells that was not known before, as changes per zone; all others tell nothing new.
NEWS = {"unknown-set": Counter(appeared=1), "set-new": Counter(appeared=3)}
ZONES = ("hk-02", "sg-01")


def sets(zone: str, schema: str) -> dict[str, Any]:
    """Return the sets of a zone in the vocabulary of *schema*; with empty ones, and with records that miss fields."""
    fields: dict[str, dict[str, Any]] = {
        "a": {"OsType": "Linux", "Features": ["CloudInit", "NetEnhanced"], "ImageSize": 40},
        "b": {"OsName": "Ubuntu 20.04", "SupportedGPUTypes": ["V100", "T4"]},
        "c": {},
    }
    base = [
        make_record(f"uimage-{zone}-{letter}", f"Ubuntu {letter}", zone, gpu=letter == "a", **more)
        for letter, more in fields.items()
    ]
    old = {"ImageSet": base, "PHostImageSet": []}
    if schema == "2020":
        return old
    custom = [make_record(f"uimage-{zone}-x", "Ours", zone, OsType="Linux"), {"ImageId": f"uimage-{zone}-y"}]
    return {**old, "CustomImageSet": custom, "CustomPHostImageSet": []}


def cloud_with(schema: str, *steps: dict[str, Any]) -> Timeline:
    return make_timeline(
        zones=ZONES, images={zone: sets(zone, schema) for zone in ZONES}, schema=schema, steps=list(steps)
    )


def known(driver: Driver) -> set[tuple[Any, ...]]:
    """Return what is known of every present image, apart from what only says when and where."""
    return {
        (row["zone"], row["image_set"], row["image_id"], row["image_name"], row["gpu"], row["os_type"], row["size_gb"],
         tuple(row["features"] or ()), tuple(row["gpu_types"] or ()), row["valid_from"], row["state"])
        for row in driver.rows("images")
    }  # fmt: skip


@pytest.mark.parametrize("schema", ["2020", "2026"])
def test_quirks(light: Driver, schema: str) -> None:
    """Oddities that appear in the middle of a history, one after the other, make no change and lose no knowledge."""
    quirks = [quirk for quirk in QUIRKS if quirk not in NEWS]
    steps: list[dict[str, Any]] = [{"quirks": quirk} for name in quirks for quirk in ([name], [])]
    with run_in_thread(cloud_with(schema, *steps)) as cloud:
        light.configure(account(cloud.url)).run()
        before = known(light)
        for number, step in enumerate(steps, start=2):
            cloud.step = number
            ran = light.run(code=0)
            assert ran.changes == {}, step
            assert ran.targets == {"total": 2, "ok": 2}, step
            assert known(light) == before, step
    assert light.rows("changes") == []


@pytest.mark.parametrize("quirk", [quirk for quirk in QUIRKS if quirk not in NEWS])
def test_quirk_from_the_beginning(light: Driver, quirk: str) -> None:
    """A cloud that was always odd and becomes regular makes no change either; what it did not tell is learned."""
    with run_in_thread(cloud_with("2026", {"quirks": []})) as cloud:
        odd = make_timeline(zones=ZONES, images={zone: sets(zone, "2026") for zone in ZONES}, quirks=[quirk])
        cloud.play(odd)
        light.configure(account(cloud.url)).run()
        cloud.play(cloud_with("2026"))
        ran = light.run()

    assert ran.changes == {}
    assert light.rows("changes") == []
    named = {row["image_id"]: row["image_name"] for row in light.rows("images")}
    assert named == {f"uimage-{zone}-{letter}": name for zone in ZONES for letter, name in NAMES.items()}


NAMES = {"a": "Ubuntu a", "b": "Ubuntu b", "c": "Ubuntu c", "x": "Ours", "y": None}


def test_all_at_once(driver: Driver) -> None:
    """All compatible oddities together, in both generations, make no change."""
    clash = {"upper-case-keys", "null-sets"}
    quirks = [quirk for quirk in QUIRKS if quirk not in {*NEWS, *clash}]
    for schema in ("2020", "2026"):
        with run_in_thread(cloud_with(schema, {"quirks": quirks})) as cloud:
            driver.configure(account(cloud.url, name=f"brand-{schema}")).run()
            before = known(driver)
            cloud.step = 2
            runs = [driver.run(), driver.run()]
            assert [ran.changes for ran in runs] == [{}, {}]
            assert known(driver) == before


def test_unknown_set(driver: Driver) -> None:
    """A set nobody has heard of is new information: its images appear under its own name, and a notice names it."""
    with run_in_thread(cloud_with("2026", {"quirks": ["unknown-set"]})) as cloud:
        driver.configure(account(cloud.url)).run()
        cloud.step = 2
        ran = driver.run()
        assert driver.run().changes == {}

    assert ran.changes == {"appeared": 2}
    assert any("EdgeImageSet" in notice for notice in ran.summary["notices"])
    assert {(row["image_set"], row["gpu"]) for row in driver.rows("images", "--image-id", "uimage-edge")} == {
        ("EdgeImageSet", False)
    }


def test_unknown_field_is_told(light: Driver) -> None:
    """A field nobody has heard of is kept and named, and is no change where it was unknown before."""
    with run_in_thread(cloud_with("2026", {"quirks": ["unknown-field"]})) as cloud:
        light.configure(account(cloud.url)).run()
        cloud.step = 2
        ran = light.run()

    assert any("BootMode" in notice for notice in ran.summary["notices"])
    extras = [row["extra"] for row in light.rows("images") if row["image_set"] == "ImageSet"]
    assert extras == [{"BootMode": "UEFI"}] * 6


def test_set_under_another_name(driver: Driver) -> None:
    """A set that comes under the name of another known set is not believed at once: held, nothing withdrawn yet."""
    with run_in_thread(cloud_with("2020", {"quirks": ["set-new"]}, {"quirks": []})) as cloud:
        driver.configure(account(cloud.url)).run()
        cloud.step = 2
        ran = driver.run(code=3)
        assert (ran.targets, ran.changes) == ({"total": 2, "held": 2}, {"appeared": 6})
        states = Counter((row["image_set"], row["state"]) for row in driver.rows("images"))
        assert states == {("ImageSet", "unknown"): 6, ("ImageSetnew", "present"): 6}
        cloud.step = 3
        back = driver.run(code=None)

    assert "withdrawn" not in {row["event"] for row in driver.rows("changes") if row["image_set"] == "ImageSet"}
    assert back.targets["total"] == 2


@pytest.mark.parametrize(("before", "after"), [("2020", "2026"), ("2026", "2020")])
def test_generations(driver: Driver, before: str, after: str) -> None:
    """A brand that moves between the generations: more is learned, or less is told, and neither is a change."""
    images = {zone: {"ImageSet": sets(zone, "2026")["ImageSet"]} for zone in ZONES}
    with run_in_thread(make_timeline(zones=ZONES, images=images, schema=before, steps=[{"schema": after}])) as cloud:
        driver.configure(account(cloud.url)).run()
        valid_from = {row["valid_from"] for row in driver.rows("images")}
        cloud.step = 2
        runs = [driver.run(), driver.run()]

    assert [ran.changes for ran in runs] == [{}, {}]
    rows = {row["image_id"]: row for row in driver.rows("images", "--zone", "hk-02")}
    assert rows["uimage-hk-02-a"]["features"] == ["CloudInit", "NetEnhanced"]
    assert rows["uimage-hk-02-b"]["gpu_types"] == ["T4", "V100"]
    assert {row["valid_from"] for row in driver.rows("images")} == valid_from


def test_known_to_other_known(driver: Driver) -> None:
    """What really changes is told, quirk or not: a name, the GPU flag; each once, with before and after."""
    changed = {zone: sets(zone, "2026") for zone in ZONES}
    changed["hk-02"]["ImageSet"][0] |= {"ImageName": "Ubuntu renamed", "NotSupportGPU": True}
    quirks = ["text-values", "lower-case-keys", "shuffled-records"]
    with run_in_thread(cloud_with("2026", {"images": changed, "quirks": quirks})) as cloud:
        driver.configure(account(cloud.url)).run()
        cloud.step = 2
        assert driver.run().changes == {"modified": 1}
        assert driver.run().changes == {}

    (row,) = driver.rows("changes")
    assert row["image_id"] == "uimage-hk-02-a"
    assert row["fields"] == {"image_name": ["Ubuntu a", "Ubuntu renamed"], "gpu": [True, False]}
