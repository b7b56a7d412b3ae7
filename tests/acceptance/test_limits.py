"""Rate, deadline and circuit through the whole program: what a cloud that refuses, hangs or dies in parts costs."""

from __future__ import annotations

import time
from typing import Any

import pytest

from crawler.emulator import EmulatorOptions, EmulatorServer, Timeline, run_in_thread
from tests.support.acceptance_table import Proven
from tests.support.driving import Driver, Ran, account, asked
from tests.support.worlds import make_timeline, region_of


def cloud_of(targets: int, *, zones: int = 20, **more: Any) -> Timeline:
    """Make a cloud of *targets* targets: *zones* zones of five regions, and projects."""
    names = [f"r{number % 5}-{number:02}" for number in range(zones)]
    return make_timeline(
        zones={zone: {f"uimage-{zone}": "Ubuntu 20.04"} for zone in names},
        projects=[f"org-{number:03}" for number in range(targets // zones)],
        **more,
    )


def throttled_run(driver: Driver, *, targets: int, enforced: int, rate: int) -> tuple[Ran, EmulatorServer, float]:
    """Run once against a cloud that enforces a rate; give the run, the cloud's log, and the seconds it took."""
    with run_in_thread(cloud_of(targets), EmulatorOptions(rate=enforced)) as cloud:
        driver.configure(account(cloud.url), limits={"rate": rate, "timeout_seconds": 30, "attempts": 4})
        begun = time.monotonic()
        ran = driver.run(code=None)
        return ran, cloud, time.monotonic() - begun


@pytest.mark.waits
@pytest.mark.prove
@pytest.mark.parametrize("rate", [100, 200])
def test_enforced_rate(light: Driver, proven: Proven, rate: int) -> None:
    """Against 20/s enforced and a rate set far above: nearly all answered, in good time, and soon few refusals."""
    targets, enforced = 600, 20
    ran, cloud, seconds = throttled_run(light, targets=targets, enforced=enforced, rate=rate)
    answered = ran.summary["targets"]["ok"] / targets
    ideal = len([line for line in cloud.log if line.ret_code == 0]) / enforced
    begun = cloud.log[0].at
    late = [line for line in cloud.log if line.at > begun + 5]
    refused = sum(line.ret_code == 153 for line in late) / len(late)
    proven(
        "against 20/s enforced: ≥ 99 % answered, ≤ 1.5 × the ideal time, ≤ 10 % refused after 5 s",
        f"rate = {rate}: {answered:.1%} of {targets} answered in {seconds:.1f} s = {seconds / ideal:.2f} × ideal; "
        f"{refused:.1%} of {len(late)} attempts refused after 5 s",
    )

    assert answered >= 0.99
    assert seconds <= 1.5 * ideal
    assert refused <= 0.10


def test_enforced_rate_small(light: Driver) -> None:
    """Every refusal as too fast is tried again later and costs no target; halving the rate soon ends the refusals."""
    rate = 60
    ran, cloud, _ = throttled_run(light, targets=60, enforced=20, rate=rate)
    refused = sum(line.ret_code == 153 for line in cloud.log)

    assert ran.code == 0
    assert ran.targets == {"total": 60, "ok": 60}
    assert refused > 0
    assert ran.summary["requests"] == {"sent": len(cloud.log), "retried": refused, "throttled": refused}
    assert len(cloud.log) == 60 + 2 + refused
    assert refused <= 2 * rate


def test_retry_after(light: Driver) -> None:
    """`Retry-After` is obeyed: the refused account sends nothing more until it is over."""
    fault = {"status": 429, "retry_after": 1, "zone": "r3-03", "attempts": 1, "action": "Describe*"}
    with run_in_thread(cloud_of(20, faults=[fault])) as cloud:
        ran = light.configure(account(cloud.url), limits={"concurrency": 1}).run()
        log = asked(cloud)

    (refused,) = [line for line in log if line.status == 429]
    after = [line.at for line in log if line.at > refused.at]
    assert ran.targets == {"total": 20, "ok": 20}
    assert [moment for moment in after if moment < refused.at + 1] == []
    assert ran.summary["requests"]["throttled"] == 1


@pytest.mark.parametrize("action", ["GetRegion", "GetProjectList", "DescribeUK8SImage"])
def test_black_hole(light: Driver, proven: Proven, action: str) -> None:
    """A cloud that takes requests and never answers stretches the run's deadline by no more than five seconds."""
    deadline = 2
    with run_in_thread(cloud_of(200, steps=[{"faults": [{"hang": True, "action": action}]}])) as cloud:
        light.configure(account(cloud.url)).run()
        light.configure(account(cloud.url), limits={"timeout_seconds": 65, "run_deadline_seconds": deadline})
        cloud.step = 2
        begun = time.monotonic()
        ran = light.run(code=4)
        seconds = time.monotonic() - begun

    proven(
        "a black hole stretches the run's deadline by ≤ 5 s", f"{action}: deadline {deadline} s, ended at {seconds:.1f}"
    )
    assert seconds <= deadline + 5
    assert ran.targets["total"] == 200
    assert {failure["class"] for failure in ran.summary["failures"]} <= {"deadline", "transient"}
    assert ran.changes == {}


def test_black_hole_region(driver: Driver) -> None:
    """One region that is a black hole: all others are answered before the deadline, and it alone is unknown."""
    fault = {"hang": True, "region": "r2", "action": "Describe*"}
    with run_in_thread(cloud_of(100, steps=[{"faults": [fault]}])) as cloud:
        driver.configure(account(cloud.url)).run()
        limits = {"timeout_seconds": 65, "run_deadline_seconds": 3, "concurrency": 8}
        driver.configure(account(cloud.url), limits=limits)
        cloud.step = 2
        before = len(cloud.log)
        ran = driver.run(code=3)
        dead = [line for line in asked(cloud, since=before) if line.region == "r2"]

    assert ran.targets["ok"] == 80
    assert {region_of(zone) for zone in ran.failures} == {"r2"}
    # Half of the workers at most wait for a region that does not answer.
    assert len(dead) <= 4
    assert {(row["region"], row["state"]) for row in driver.rows("images")} == {
        (f"r{number}", "unknown" if number == 2 else "present") for number in range(5)
    }


def dead_region(driver: Driver, effect: str, *, deadline: float) -> tuple[Ran, list[str]]:
    """Run once with region r2 dead from the second step on; give the run and the regions in the order of asking."""
    fault = {effect: True, "region": "r2", "action": "Describe*"}
    with run_in_thread(cloud_of(200, steps=[{"faults": [fault]}])) as cloud:
        driver.configure(account(cloud.url)).run()
        limits = {"timeout_seconds": 0.5, "run_deadline_seconds": deadline, "concurrency": 8, "attempts": 4}
        driver.configure(account(cloud.url), limits=limits)
        cloud.step = 2
        before = len(cloud.log)
        return driver.run(code=3), [line.region for line in asked(cloud, since=before)]


@pytest.mark.parametrize("effect", ["drop", "hang"])
def test_dead_region(light: Driver, effect: str) -> None:
    """One dead region of five holds up nobody, and its circuit opens after a handful of its forty targets."""
    ran, order = dead_region(light, effect, deadline=3)

    assert ran.summary["targets"]["ok"] == 160
    assert {failure["target"]["region"] for failure in ran.summary["failures"]} == {"r2"}
    # Five failures open it; those under way then, and a probe, come on top.
    assert order.count("r2") <= 5 + 4 + 1
    assert len(order) - order.count("r2") == 160
    assert ran.changes == {}


@pytest.mark.waits
@pytest.mark.prove
@pytest.mark.parametrize("effect", ["drop", "hang"])
def test_dead_region_to_its_end(light: Driver, proven: Proven, effect: str) -> None:
    """With time to spare a dead region is probed twice and then given up: its rest is `skipped` as `circuit`."""
    ran, order = dead_region(light, effect, deadline=600)
    skipped = [failure for failure in ran.summary["failures"] if failure["outcome"] == "skipped"]
    proven(
        "one dead region of five holds up nobody; its circuit opens, is probed twice, and is given up",
        f"{effect}: 160 of 160 others ok, {order.count('r2')} requests to the dead one's 40 targets, "
        f"{len(skipped)} skipped",
    )

    assert ran.summary["targets"]["ok"] == 160
    assert {failure["class"] for failure in skipped} == {"circuit"}
    assert len(skipped) >= 30
    assert order.count("r2") <= 5 + 4 + 2


def test_region_comes_back(light: Driver) -> None:
    """A region that drops its first answers and then recovers is probed, closed again, and answered in full."""
    fault = {"drop": True, "region": "r2", "action": "Describe*", "attempts": 1, "zone": "r2-0*"}
    with run_in_thread(cloud_of(20, faults=[fault])) as cloud:
        ran = light.configure(account(cloud.url), limits={"attempts": 4}).run()

    assert ran.targets == {"total": 20, "ok": 20}


def test_denied_opens_no_circuit(light: Driver) -> None:
    """A region that refuses everything answers all the same: every target of it is asked once."""
    fault = {"ret_code": 230, "region": "r2", "action": "Describe*"}
    with run_in_thread(cloud_of(100, faults=[fault])) as cloud:
        ran = light.configure(account(cloud.url)).run()
        assert len([line for line in asked(cloud) if line.region == "r2"]) == 20

    assert ran.targets == {"total": 100, "ok": 80, "denied": 20}
