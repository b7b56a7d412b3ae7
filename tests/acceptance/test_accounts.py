"""Several accounts in one run: side by side, each with keys, faults and an end of its own."""

from __future__ import annotations

import re
from typing import Any

import pytest

from crawler.db.engine import opened, read
from crawler.emulator import EmulatedAccount, run_in_thread
from crawler.ops.after import history_metrics
from tests.support.driving import Driver, account, asked
from tests.support.worlds import make_timeline

ZONES = [f"hk-{number:02}" for number in range(1, 7)]
KEYS = {
    name: {"public_key": f"public-of-{name}-0000", "private_key": f"private-of-{name}-0000"} for name in ("one", "two")
}
IMAGES = {zone: {f"uimage-{zone}": "Ubuntu 20.04", f"uimage-{zone}-x": "CentOS 7.6"} for zone in ZONES}


def shared(*faults: dict[str, Any]) -> Any:
    """Make a cloud with two accounts, and *faults* from its second step on."""
    accounts = [{"name": name, **pair} for name, pair in KEYS.items()]
    return make_timeline(zones=IMAGES, accounts=accounts, steps=[{"faults": list(faults)}])


def both(url: str, **changed: dict[str, Any]) -> list[dict[str, Any]]:
    return [account(url, name, **{**pair, **changed.get(name, {})}) for name, pair in KEYS.items()]


def test_side_by_side(driver: Driver) -> None:
    """Accounts are asked at the same time: each one's first request comes before the other one's last."""
    with run_in_thread(shared()) as cloud:
        ran = driver.configure(*both(cloud.url), limits={"rate": 50, "concurrency": 2}).run()
        order = [line.account for line in asked(cloud)]

    assert ran.targets == {"total": 12, "ok": 12}
    assert ran.summary["accounts"] == ["one", "two"]
    assert max(order.index("one"), order.index("two")) < min(
        len(order) - order[::-1].index("one"), len(order) - order[::-1].index("two")
    )
    assert order != sorted(order)
    assert order != sorted(order, reverse=True)


def test_one_is_refused(driver: Driver) -> None:
    """Of two accounts one is refused: the other is recorded as always, the run is incomplete (3), nothing withdrawn."""
    with run_in_thread(shared()) as cloud:
        first = driver.configure(*both(cloud.url, two={"private_key": "wrong-0000000000"})).run(code=3)
        assert first.targets == {"total": 6, "ok": 6}
        assert first.summary["status"] == "incomplete"
        assert any(notice.startswith("two: ") and "RetCode 171" in notice for notice in first.summary["notices"])

        assert driver.configure(*both(cloud.url)).run().targets == {"total": 12, "ok": 12}
        before = len(cloud.log)
        again = driver.configure(*both(cloud.url, two={"private_key": "wrong-0000000000"})).run(code=3)
        by_account = [line.account for line in cloud.log[before:]]

    assert by_account.count("two") == 1
    assert again.targets == {"total": 12, "ok": 6, "skipped": 6}
    assert {failure["target"]["account"] for failure in again.summary["failures"]} == {"two"}
    assert {(row["account"], row["state"]) for row in driver.rows("images")} == {("one", "present"), ("two", "unknown")}
    assert driver.rows("changes") == []


def test_refused_in_the_middle(driver: Driver) -> None:
    """Credentials refused in the middle of a run stop that account alone; what it had answered is kept."""
    fault = {"ret_code": 171, "account": "two", "action": "Describe*", "zone": "hk-04"}
    with run_in_thread(shared(fault)) as cloud:
        driver.configure(*both(cloud.url), limits={"concurrency": 1}).run()
        cloud.step = 2
        before = len(cloud.log)
        ran = driver.run(code=3)
        two = [line for line in asked(cloud, since=before) if line.account == "two"]

    assert [line.ret_code for line in two][-1] == 171
    assert [line.ret_code for line in two].count(171) == 1
    answered = len(two) - 1
    assert ran.targets == {"total": 12, "ok": 6 + answered, "failed": 1, "skipped": 5 - answered}
    by_class = {failure["class"] for failure in ran.summary["failures"]}
    assert by_class <= {"credential", "account_stopped"}
    assert {failure["target"]["account"] for failure in ran.summary["failures"]} == {"two"}
    assert driver.rows("changes") == []


def test_all_refused_in_the_middle(light: Driver) -> None:
    """When every account is refused the exit code is 5, also when it happens in the middle."""
    with run_in_thread(shared({"ret_code": 172, "action": "Describe*"})) as cloud:
        light.configure(*both(cloud.url)).run()
        cloud.step = 2
        ran = light.run(code=5)

    assert ran.summary["targets"]["ok"] == 0
    assert len(light.rows("images")) == 24


def test_one_hangs(light: Driver) -> None:
    """An account whose cloud hangs holds up nobody: the other is done before the first time-outs are over."""
    with run_in_thread(shared({"hang": True, "account": "two", "action": "Describe*"})) as cloud:
        light.configure(*both(cloud.url)).run()
        light.configure(*both(cloud.url), limits={"timeout_seconds": 1, "run_deadline_seconds": 2.5})
        cloud.step = 2
        before = len(cloud.log)
        ran = light.run(code=3)
        order = [line.account for line in asked(cloud, since=before)]

    assert ran.summary["targets"]["ok"] == order.count("one") == 6
    # A region that never answered is asked four questions at once, no more.
    assert order[: 6 + 4].count("one") == 6
    assert {failure["target"]["account"] for failure in ran.summary["failures"]} == {"two"}


@pytest.mark.parametrize(("hanging", "code", "ok"), [("GetRegion", 0, 12), ("GetProjectList", 0, 12), ("*", 3, 6)])
def test_one_hangs_before_it_is_asked(light: Driver, hanging: str, code: int, ok: int) -> None:
    """Lists that do not come leave the other account most of its time, and their own what the last ones listed."""
    with run_in_thread(shared({"hang": True, "account": "two", "action": hanging})) as cloud:
        light.configure(*both(cloud.url)).run()
        light.configure(*both(cloud.url), limits={"timeout_seconds": 65, "run_deadline_seconds": 4})
        cloud.step = 2
        ran = light.run(code=code)

    assert ran.summary["targets"]["ok"] == ok
    assert {failure["target"]["account"] for failure in ran.summary["failures"]} <= {"two"}
    assert ran.changes == {}
    said = (
        "two: the lists of regions and projects did not come while the other accounts waited for them: 25% of the time"
    )
    assert [notice.startswith(said) for notice in ran.summary["notices"] if "25%" in notice] == [True]


def test_own_rate(light: Driver) -> None:
    """Each account has a throttle of its own: one that is refused as too fast slows nobody else."""
    fault = {"ret_code": 153, "account": "two", "action": "Describe*", "attempts": 1}
    with run_in_thread(shared(fault)) as cloud:
        light.configure(*both(cloud.url)).run()
        cloud.step = 2
        ran = light.run()
        refused = [line.account for line in asked(cloud) if line.ret_code == 153]

    assert ran.targets == {"total": 12, "ok": 12}
    assert set(refused) == {"two"}
    assert ran.summary["requests"]["throttled"] == len(refused) == 6


def test_only_one_selected(driver: Driver) -> None:
    """`run --account one` asks that account alone and says nothing about the other."""
    with run_in_thread(shared()) as cloud:
        driver.configure(*both(cloud.url)).run()
        before = len(cloud.log)
        ran = driver.run("--account", "one")
        assert {line.account for line in cloud.log[before:]} == {"one"}

    assert ran.targets == {"total": 6, "ok": 6}
    assert (ran.summary["accounts"], ran.summary["restricted"]) == (["one"], False)
    assert {row["account"] for row in driver.rows("status", "--account", "two")} == {"two"}


def test_same_cloud_other_projects(light: Driver) -> None:
    """Two keys of one cloud that see different projects are two accounts with targets of their own."""
    keys = [
        EmulatedAccount(name=name, public_key=pair["public_key"], private_key=pair["private_key"], projects=(project,))
        for (name, pair), project in zip(KEYS.items(), ("org-a", "org-b"), strict=True)
    ]
    timeline = make_timeline(zones=IMAGES, projects=["org-a", "org-b"])
    with run_in_thread(type(timeline)(worlds=timeline.worlds, accounts=tuple(keys))) as cloud:
        light.configure(*both(cloud.url)).run()

    seen = {(row["account"], row["project"]) for row in light.rows("images")}
    assert seen == {("one", "org-a"), ("two", "org-b")}


def test_the_way_out(driver: Driver) -> None:
    """An account that selected nothing in its last run, as the page of the configuration has it, is left out since."""
    with run_in_thread(shared()) as cloud:
        driver.configure(*both(cloud.url)).run()
        assert driver.configure(*both(cloud.url, two={"zones": ["!*"]})).run().targets == {"total": 6, "ok": 6}
        last = driver.now
        assert driver.configure(both(cloud.url)[0]).run().targets == {"total": 6, "ok": 6}

    with opened(driver.database) as engine, read(engine) as conn:
        text = history_metrics(conn, now=driver.now)
    (success,) = re.findall(r"^crawler_last_success_timestamp_seconds (\d+)$", text, re.MULTILINE)
    assert int(success) >= last.timestamp(), "what is asked no more is not waited for"
    assert {row["account"] for row in driver.rows("images")} == {"one"}
    known = {(row["account"], row["reason"]) for row in driver.rows("images", "--retired")}
    assert known == {("one", None), ("two", "deselected")}
    assert driver.rows("changes") == []
