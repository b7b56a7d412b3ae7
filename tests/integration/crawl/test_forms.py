"""What answers state at all: a field that vanishes, its return, a new key and an unknown set are told once each."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crawler.domain.models import EVENTS
from crawler.emulator import run_in_thread
from crawler.emulator.scenario import Timeline
from tests.support.driving import Driver, account
from tests.support.worlds import make_timeline

ZONES = ("hk-02", "th-bkk-01", "sg-01")
REPORT = {"name": "ops", "channel": "webhook", "url": "http://127.0.0.1:9/hook", "secret": "s" * 40}


def records(zone: str, **fields: Any) -> list[dict[str, Any]]:
    """Return three images of a zone; what is None in *fields* they do not state."""
    stated = {"NotSupportGPU": False, "OsName": "CentOS", **fields}
    kept = {name: value for name, value in stated.items() if value is not None}
    return [{"ImageId": f"uimage-{zone}-{n}", "ImageName": f"System {n}", **kept} for n in range(3)]


def world(images: Callable[[str], Any]) -> Timeline:
    """Return a cloud whose zones list *images*."""
    return make_timeline(zones={zone: images(zone) for zone in ZONES})


def _lacking(lacking: tuple[str, ...], zone: str) -> list[dict[str, Any]]:
    return records(zone, OsName=None) if zone in lacking else records(zone)


@pytest.fixture
def play(tmp_path: Path, database_url: str) -> Callable[[Timeline], list[dict[str, Any]]]:
    """Return what runs once over a cloud, and gives the changes of that run."""
    driver = Driver(tmp_path, database_url)

    def run(timeline: Timeline) -> list[dict[str, Any]]:
        with run_in_thread(timeline) as cloud:
            driver.configure(account(cloud.url), reports=[REPORT])
            number = driver.run("--no-report").summary["run"]
        run.driver = driver  # type: ignore[attr-defined]
        events = [word for event in EVENTS for word in ("--event", event)]
        return [row for row in driver.rows("changes", *events) if row["run"] == number]

    return run


def test_field_that_vanishes_everywhere(play: Any) -> None:
    """One change says so, and one that it is back; runs between them say nothing, and no image is modified."""
    play(world(records))
    (gone,) = play(world(lambda zone: records(zone, OsName=None)))
    quiet = [play(world(partial(records, OsName=None, OsType=f"Linux {number}"))) for number in range(2)]
    (back, *others) = [row for row in play(world(records)) if row["event"] == "schema"]

    assert (gone["event"], gone["fields"]) == ("schema", {"os_name": ["stated", "gone"]})
    assert gone["image_id"] is None
    assert not [row for rows in quiet for row in rows if row["event"] == "schema" and "os_name" in row["fields"]]
    assert back["fields"]["os_name"] == ["gone", "stated"]
    assert not others


def test_zone_after_zone(play: Any) -> None:
    """Where zones follow one another it is told with the first, and its return with the last."""
    steps: list[tuple[str, ...]] = [ZONES[:1], ZONES[:2], ZONES, ZONES[1:], ()]
    play(world(records))
    told = [play(world(partial(_lacking, lacking))) for lacking in steps]

    assert [[row["fields"] for row in rows] for rows in told] == [
        [{"os_name": ["stated", "gone"]}],
        [],
        [],
        [],
        [{"os_name": ["gone", "stated"]}],
    ]


def test_zones_by_turns(play: Any) -> None:
    """Where one zone states it again as another lacks it, it is gone as before; it is back when all state it."""
    steps: list[tuple[str, ...]] = [ZONES[:1], ZONES[1:2], ZONES[2:], ZONES[:1], (), ZONES[:1]]
    play(world(records))
    told = [play(world(partial(_lacking, lacking))) for lacking in steps]

    gone, back = {"os_name": ["stated", "gone"]}, {"os_name": ["gone", "stated"]}
    assert [[row["fields"] for row in rows] for rows in told] == [[gone], [], [], [], [back], [gone]]


def test_who_is_asked_no_more(play: Any) -> None:
    """A zone that lacked it and is asked no more is not waited for, and says nothing when it is asked again."""
    play(world(records))
    driver = play.driver
    told: list[list[Any]] = []
    for lacking, wanted in (
        (ZONES[:1], ["*"]), (ZONES[:2], ["*"]), (ZONES[:1], ["!hk-02"]), ((), ["*"]), (ZONES[:1], ["*"]),
    ):  # fmt: skip
        with run_in_thread(world(partial(_lacking, lacking))) as cloud:
            driver.configure(account(cloud.url, zones=wanted))
            number = driver.run().summary["run"]
        rows = driver.rows("changes", "--event", "schema")
        told.append([row["fields"] for row in rows if row["run"] == number])

    gone, back = {"os_name": ["stated", "gone"]}, {"os_name": ["gone", "stated"]}
    assert told == [[gone], [], [back], [], [gone]]


def test_who_left_before_the_window(play: Any) -> None:
    """`db prune` forgets and counts what a zone lacked that is asked no more; of the others nothing is told anew."""
    play(world(records))
    driver = play.driver
    told: list[list[Any]] = []
    for lacking, wanted in ((ZONES[:2], ["*"]), (ZONES[:2], ["!hk-02"]), (ZONES[1:2], ["!hk-02"]), ((), ["!hk-02"])):
        with run_in_thread(world(partial(_lacking, lacking))) as cloud:
            driver.configure(account(cloud.url, zones=wanted))
            number = driver.run().summary["run"]
        told.append([row["fields"] for row in driver.rows("changes", "--event", "schema") if row["run"] == number])
        if wanted != ["*"] and len(told) == 2:
            driver.now += timedelta(days=2)
            assert ", 1 form\n" in driver.call("db", "prune", "--keep", "1d").stdout

    assert told == [[{"os_name": ["stated", "gone"]}], [], [], [{"os_name": ["gone", "stated"]}]]


def test_new_names(play: Any) -> None:
    """A key and a set that this program does not know are told once; those of the first answer are no news."""
    play(world(lambda zone: records(zone, Odd="x")))
    new = {"ImageSetFuture": [{"ImageId": "uimage-future", "ImageName": "Future", "Odd": "x", "Level": 3}]}
    rows = play(world(lambda zone: {"ImageSet": records(zone, Odd="x", Level=3), **new}))
    again = play(world(lambda zone: {"ImageSet": records(zone, Odd="x", Level=4), **new}))

    assert [row["fields"] for row in rows if row["event"] == "schema"] == [
        {"extra.Level": ["unknown", "stated"], "set ImageSetFuture": ["unknown", "stated"]}
    ]
    assert {row["event"] for row in again} == {"modified"}


@pytest.mark.parametrize("spelling", ["Odd", "odd"])
def test_undeclared_field_that_comes_back_with_another_image(play: Any, spelling: str) -> None:
    """It is back, whatever its spelling, and not new, though no image that was listed before has it."""
    stating, *others = records("hk-02")

    def told(*listed: dict[str, Any]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = play(make_timeline(zones={"hk-02": listed}))
        return rows

    told({**stating, "Odd": "x"}, *others)
    gone = told(stating, *others)
    withdrawn = told(*others)
    back = told(*others, {**stating, "ImageId": "uimage-next", spelling: "y"})
    again = told({**stating, "Odd": "z"}, *others, {**stating, "ImageId": "uimage-next", spelling: "y"})

    assert [row["fields"] for row in gone] == [{"extra.Odd": ["stated", "gone"]}]
    assert [row["event"] for row in withdrawn] == ["withdrawn"]
    assert {row["event"]: row["fields"] for row in back} == {
        "appeared": {},
        "schema": {"extra.Odd": ["gone", "stated"]},
    }
    assert [row["event"] for row in again] == ["returned"]


def test_new_field_that_goes_with_its_image(play: Any) -> None:
    """It is no news when another image states it after that."""
    first, *others = records("hk-02")
    steps = [others, [*others, {**first, "Odd": "x"}], others, [*others, {**first, "ImageId": "next", "Odd": "y"}]]
    _, new, withdrawn, later = (play(make_timeline(zones={"hk-02": listed})) for listed in steps)

    assert [row["fields"] for row in new if row["event"] == "schema"] == [{"extra.Odd": ["unknown", "stated"]}]
    assert [row["event"] for row in withdrawn] == ["withdrawn"]
    assert [row["event"] for row in later] == ["appeared"]


def test_report(play: Any) -> None:
    """The report has it in a part of its own, once, in English and Chinese."""
    play(world(records))
    driver = play.driver
    driver.call("report", "skip", "--all", code=None)
    play(world(lambda zone: records(zone, OsName=None)))
    text = driver.call("report", "preview", "--since", "3h").stdout
    asked_for = json.dumps(driver.rows("changes", "--event", "schema"))

    assert text.count("no record states it any more") == 1
    assert "TECHNICAL: WHAT THE ANSWERS STATE" in text
    assert "1 change in what answers state" in text
    assert '"os_name": ["stated", "gone"]' in asked_for
    assert driver.rows("changes") == []
    assert "数据结构" in driver.call("--language", "zh", "changes", "--event", "schema").stdout


def test_ignored_field(play: Any) -> None:
    """A field that is left out by `[accounts.ignore]` is neither missing nor new."""
    play(world(lambda zone: records(zone, Checked="1")))
    driver = play.driver
    with run_in_thread(world(lambda zone: records(zone, Checked="2", OsName="Ubuntu"))) as cloud:
        driver.configure(account(cloud.url, ignore={"fields": ["Checked", "os_name"]}))
        assert driver.run("--no-report").changes == {}
    assert driver.rows("changes") == []
