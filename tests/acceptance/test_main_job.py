"""The main job: what was published is recorded as it was, and a run in which nothing changed costs next to nothing."""

from __future__ import annotations

from typing import Any

import pytest

from crawler.emulator import Timeline, image_history, run_in_thread
from crawler.emulator.builtin import published_images
from tests.support.acceptance_table import Proven
from tests.support.driving import Driver, account, counted_statements, zones_of
from tests.support.worlds import make_timeline

SHARED = "uimage-2qkirw"


def published() -> list[set[tuple[str, str, str]]]:
    """Return each published snapshot as a set of (zone, id, name)."""
    history = published_images()
    rows = [[dict(zip(history["fields"], row, strict=True)) for row in one["rows"]] for one in history["snapshots"]]
    return [{(row["zone"], row["image_id"], f"{row['os']} {row['version']}") for row in one} for one in rows]


def keyed(rows: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    return {(row["zone"], row["image_id"], row["image_name"]) for row in rows}


def test_published_history(driver: Driver) -> None:
    """Both published snapshots, the second three times, give exactly their set difference, dated to the first sight."""
    before, after = published()
    with run_in_thread(image_history()) as cloud:
        driver.configure(account(cloud.url))
        baseline = driver.run()
        assert baseline.summary["baseline"] == {"targets": 24, "images": len(before)}
        assert keyed(driver.rows("images")) == before

        cloud.step = 2
        first_sight = driver.now
        runs = [driver.run(code=3), driver.run(code=3), driver.run(code=0)]

    changes = driver.rows("changes")
    assert [run.targets.get("held") for run in runs] == [1, 1, None]
    assert [run.changes for run in runs] == [{}, {}, {"withdrawn": len(before - after)}]
    assert {(row["event"], *key) for row in changes for key in keyed([row])} == {
        ("withdrawn", *key) for key in before - after
    } | {("appeared", *key) for key in after - before}
    assert len(changes) == len(before ^ after) == 2
    assert {row["observed_at"] for row in changes} == {f"{first_sight:%Y-%m-%dT%H:%M:%SZ}"}
    assert {row["not_before"] for row in changes} == {baseline.summary["started_at"]}
    assert {row["recorded_at"] for row in changes} == {runs[-1].summary["started_at"]}
    assert keyed(driver.rows("images")) == after


def test_held_is_unknown(driver: Driver) -> None:
    """Between the first sight and the last confirmation the held images are shown as unknown, then as gone."""
    before, after = published()
    with run_in_thread(image_history()) as cloud:
        driver.configure(account(cloud.url)).run()
        cloud.step = 2
        driver.run(code=3)
    states = {(row["zone"], row["state"], row["reason"]) for row in driver.rows("images", "--zone", "th-bkk-01")}

    assert states == {("th-bkk-01", "unknown", "held")}
    assert keyed(driver.rows("images")) == before
    assert before - after == keyed(driver.rows("images", "--zone", "th-bkk-01"))


def test_one_id_two_histories(driver: Driver) -> None:
    """An id listed in two zones is two histories: one ends, the other goes on."""
    with run_in_thread(image_history()) as cloud:
        driver.configure(account(cloud.url)).run()
        rows = driver.rows("images", "--image-id", SHARED)
        assert zones_of(rows) == {"sg-01": 1, "sg-02": 1}
        assert {row["zone"]: row["zone_id"] for row in rows} == {"sg-01": 10005, "sg-02": 10028}

        stays = {
            row["image_id"]: row["image_name"]
            for row in driver.rows("images", "--zone", "sg-02")
            if row["image_id"] != SHARED
        }
        zones = {"sg-01": {SHARED: "CentOS 7.6"}, "sg-02": {**stays, "uimage-new": "CentOS 7.6"}}
        cloud.play(make_timeline(zones=zones))
        driver.run("--region", "sg", code=None)

    assert {(row["event"], row["zone"], row["image_id"], row["counterpart"]) for row in driver.rows("changes")} >= {
        ("withdrawn", "sg-02", SHARED, "uimage-new"),
        ("appeared", "sg-02", "uimage-new", SHARED),
    }
    (left,) = driver.rows("images", "--image-id", SHARED)
    assert (left["zone"], left["state"]) == ("sg-01", "present")


def many(targets: int, *, images: int) -> Timeline:
    """Make a cloud of *targets* targets: 20 zones, or as many as there are targets, and projects for the rest."""
    zones = min(targets, 20)
    return make_timeline(
        zones={
            f"r{number // 4}-{number:02}": {f"uimage-{number}-{image}": f"Ubuntu {image}" for image in range(images)}
            for number in range(zones)
        },
        projects=[f"org-{number:03}" for number in range(targets // zones)],
    )


@pytest.mark.parametrize("targets", [24, 400])
def test_unchanged_run(driver: Driver, proven: Proven, targets: int) -> None:
    """A run over unchanged answers inserts one row and nothing per image or target; `changes` stays as it was."""
    timeline = image_history() if targets == 24 else many(targets, images=3)
    with run_in_thread(timeline) as cloud:
        driver.configure(account(cloud.url, limits={"rate": 5000}))
        driver.run()
        driver.run()
        tables, changes, images = driver.row_counts(), driver.rows("changes"), driver.rows("images")
        with counted_statements() as counted:
            ran = driver.run()

    is_sqlite = driver.database.startswith("sqlite")
    assert ran.targets == {"total": targets, "ok": targets}
    growth = {name: count - tables[name] for name, count in driver.row_counts().items()}
    proven(
        f"an unchanged run over {targets} targets: one inserted row, ≤ N/100 updates, ≤ N/100 + 3 transactions",
        f"{'SQLite' if is_sqlite else 'PostgreSQL'}: {counted.rows['INSERT']} inserted, "
        f"{counted.rows['UPDATE']} updated, {counted.transactions} transactions; {dict(counted.tables)}",
    )
    assert {name: count for name, count in growth.items() if count} == {"runs": 1}
    assert counted.rows["INSERT"] == 1
    assert counted.rows["DELETE"] == 0
    # The run's own end, which even the smallest run has to write, and on PostgreSQL the fence of its one account.
    least = 1 if is_sqlite else 2
    assert counted.rows["UPDATE"] <= max(least, targets // 100), counted.tables
    assert counted.transactions <= targets // 100 + 3
    assert driver.rows("changes") == changes
    assert [{**row, "observed_at": None} for row in driver.rows("images")] == [
        {**row, "observed_at": None} for row in images
    ]
