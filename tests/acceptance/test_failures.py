"""Every way in which a cloud fails, through the whole program: what is tried again, what is told, and what is never
concluded."""

from __future__ import annotations

from typing import Any

import pytest

from crawler.emulator import run_in_thread
from tests.support.driving import Driver, account, asked
from tests.support.worlds import make_timeline

#: A zone per fault. What each fault's failed target says: class, RetCode, a part of the message.
FAULTS: dict[str, tuple[dict[str, Any], str, int | None, str]] = {
    "a-110": ({"ret_code": 110}, "transient", 110, "RetCode 110"),
    "a-130": ({"ret_code": 130}, "transient", 130, "RetCode 130"),
    "a-150": ({"ret_code": 150, "message": "being restored"}, "transient", 150, "being restored"),
    "b-8010": ({"ret_code": 8010}, "transient", 8010, "RetCode 8010"),
    "b-500": ({"status": 500}, "transient", None, "500"),
    "b-502": ({"status": 502}, "transient", None, "502"),
    "c-503": ({"status": 503}, "transient", None, "503"),
    "c-504": ({"status": 504}, "transient", None, "504"),
    "d-drop": ({"drop": True}, "transient", None, ""),
    "d-cut": ({"cut": True}, "transient", None, ""),
    "e-json": ({"body": '{"RetCode": 0, "ImageSet": ['}, "transient", None, "RetCode"),
    "e-list": ({"body": "[1, 2]"}, "transient", None, "[1, 2]"),
    "e-text": ({"body": "Sorry, maintenance\nuntil noon"}, "transient", None, "Sorry, maintenance"),
    "f-empty": ({"empty": True}, "transient", None, "empty"),
    "f-html": ({"html": True}, "transient", None, "<html>"),
    "g-hang": ({"hang": True}, "transient", None, ""),
    "h-160": ({"ret_code": 160}, "defect", 160, "RetCode 160"),
    "h-161": ({"ret_code": 161}, "defect", 161, "does not offer UK8S images"),
    "h-999": ({"ret_code": 999, "message": "what?"}, "defect", 999, "what?"),
}
#: Never answered a second time: asking again would say the same.
ONCE = {"h-160", "h-161", "h-999"}
HEALTHY = {"a-ok", "b-ok", "c-ok", "d-ok", "e-ok", "f-ok", "g-ok", "h-ok", "h-ok2"}
IMAGES = {zone: {f"uimage-{zone}": "Ubuntu 20.04", f"uimage-{zone}-2": "CentOS 7.6"} for zone in (*FAULTS, *HEALTHY)}


def faults(attempts: int | str | None = None) -> list[dict[str, Any]]:
    times = {} if attempts is None else {"attempts": attempts}
    return [{"zone": zone, "action": "Describe*", **fault, **times} for zone, (fault, *_) in FAULTS.items()]


def test_every_fault_stays_a_fault(driver: Driver) -> None:
    """Every fault, lasting: its target is failed with class, RetCode and words; the others are ok; nothing changes."""
    with run_in_thread(make_timeline(zones=IMAGES, steps=[{"faults": faults()}])) as cloud:
        driver.configure(account(cloud.url), limits={"timeout_seconds": 1}).run()
        cloud.step = 2
        ran = driver.run(code=3)
        attempts = {
            zone: len([line for line in asked(cloud) if (line.zone, line.step) == (zone, 2)]) for zone in IMAGES
        }

    assert ran.failures.keys() == FAULTS.keys()
    for zone, (_, failure_class, ret_code, words) in FAULTS.items():
        failure = ran.failures[zone]
        assert (failure["outcome"], failure["class"], failure["ret_code"]) == ("failed", failure_class, ret_code), zone
        assert words in failure["message"], zone
        assert failure["message"].isprintable(), zone
        assert bool(failure["request_uuid"]) == (zone not in {"d-drop", "g-hang", "d-cut"}), zone
    assert attempts == {zone: 1 if zone in ONCE | HEALTHY else 2 for zone in IMAGES}
    assert ran.summary["requests"]["retried"] == len(FAULTS) - len(ONCE)
    assert ran.changes == {}
    assert {(row["zone"] in FAULTS, row["state"]) for row in driver.rows("images")} == {
        (True, "unknown"),
        (False, "present"),
    }
    assert len(driver.rows("images")) == 2 * len(IMAGES)


def test_every_fault_once(light: Driver) -> None:
    """Every fault on the first attempt alone: the second one is believed, and the run is complete."""
    passing = [fault for fault in faults(attempts=1) if fault["zone"] not in ONCE]
    with run_in_thread(make_timeline(zones=IMAGES, faults=passing)) as cloud:
        ran = light.configure(account(cloud.url), limits={"timeout_seconds": 1}).run()

    assert ran.targets == {"total": len(IMAGES), "ok": len(IMAGES)}
    assert ran.summary["requests"]["retried"] == len(passing)
    assert ran.summary["baseline"]["images"] == 2 * len(IMAGES)


def test_back_again(driver: Driver) -> None:
    """After any fault the images are present again as they were: nothing was withdrawn, nothing returns."""
    with run_in_thread(make_timeline(zones=IMAGES, steps=[{"faults": faults()}, {"faults": []}])) as cloud:
        driver.configure(account(cloud.url), limits={"timeout_seconds": 1, "attempts": 1}).run()
        before = driver.rows("images")
        cloud.step = 2
        driver.run(code=3)
        cloud.step = 3
        ran = driver.run(code=0)

    after = driver.rows("images")
    assert ran.changes == {}
    assert driver.rows("changes") == []
    assert [{**row, "observed_at": None} for row in after] == [{**row, "observed_at": None} for row in before]
    assert {row["state"] for row in after} == {"present"}


def test_empty_answers(driver: Driver) -> None:
    """A cloud that suddenly answers emptily everywhere is not believed: held, asked twice, unknown, no withdrawal."""
    lie = {"images": {"ImageSet": []}, "action": "Describe*"}
    with run_in_thread(make_timeline(zones=IMAGES, steps=[{"faults": [lie]}, {}])) as cloud:
        driver.configure(account(cloud.url)).run()
        cloud.step = 2
        ran = driver.run(code=3)
        assert len([line for line in asked(cloud) if line.step == 2]) == 2 * len(IMAGES)
        assert ran.targets == {"total": len(IMAGES), "held": len(IMAGES)}
        assert {(row["state"], row["reason"]) for row in driver.rows("images")} == {("unknown", "held")}
        cloud.step = 3
        assert driver.run().targets == {"total": len(IMAGES), "ok": len(IMAGES)}

    assert driver.rows("changes") == []
    assert {row["state"] for row in driver.rows("images")} == {"present"}


def test_empty_catalog(driver: Driver) -> None:
    """A catalog that comes back empty is not believed: the last good one is asked, and the run says so."""
    with run_in_thread(make_timeline(zones=IMAGES, steps=[{"zones": []}, {"projects": []}])) as cloud:
        driver.configure(account(cloud.url)).run()
        for step in (2, 3):
            cloud.step = step
            ran = driver.run(code=None)
            assert ran.targets["total"] == len(IMAGES)
            assert any("asking what the last good catalog lists" in notice for notice in ran.summary["notices"])
    assert driver.rows("changes") == []


@pytest.mark.parametrize("action", ["GetRegion", "GetProjectList"])
@pytest.mark.parametrize("fault", [{"ret_code": 150}, {"html": True}, {"drop": True}, {"status": 503}])
def test_discovery_fails(light: Driver, action: str, fault: dict[str, Any]) -> None:
    """A discovery that fails falls back to the last catalog, says so, and retires nothing however often."""
    with run_in_thread(make_timeline(zones=IMAGES, steps=[{"faults": [{**fault, "action": action}]}])) as cloud:
        light.configure(account(cloud.url), limits={"attempts": 1}).run()
        cloud.step = 2
        runs = [light.run(code=None) for _ in range(3)]

    for ran in runs:
        assert ran.targets["total"] == len(IMAGES)
        assert ran.changes == {}
        assert any(action in notice for notice in ran.summary["notices"])


def test_retry_budget(light: Driver) -> None:
    """A cloud that fails everywhere is not asked `attempts` times by every target: the run's budget ends that."""
    zones = {f"r{number // 30}-{number:03}": {"uimage-a": "A"} for number in range(120)}
    fault = {"ret_code": 8010, "action": "Describe*"}
    with run_in_thread(make_timeline(zones=zones, faults=[fault])) as cloud:
        ran = light.configure(account(cloud.url), limits={"attempts": 3, "concurrency": 64}).run(code=4)
        attempts = len(asked(cloud))

    assert attempts == 120 + 120
    assert ran.summary["requests"]["retried"] == 120
    assert any("retry budget is spent" in failure["message"] for failure in ran.summary["failures"])
