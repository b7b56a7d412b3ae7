"""What the exit code of `crawler run` tells cron, and what the history says afterwards."""

from __future__ import annotations

import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from crawler.db.engine import begin, opened
from crawler.db.locks import take_locks
from crawler.emulator import run_in_thread
from tests.support.command import NOW
from tests.support.driving import Driver, account, asked
from tests.support.worlds import make_timeline

ZONES = [f"{region}-{number:02}" for region in ("cn-bj2", "hk", "sg", "th-bkk") for number in (1, 2)]
IMAGES = {zone: {f"uimage-{zone}-{number}": f"Ubuntu {number}" for number in (1, 2, 3)} for zone in ZONES}
WORLD = make_timeline(zones=IMAGES)


def faulty(*faults: dict[str, Any], **more: Any) -> Any:
    """Make a cloud whose second step has these *faults*."""
    return make_timeline(zones=IMAGES, steps=[{"faults": list(faults)}], **more)


def unused_url() -> str:
    """Return an address where nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"private_key": "not-the-key"}, 171),
        ({"public_key": "somebody-else-0000000000"}, 172),
        ({"headers": {"channel-key": "not-asked-for"}}, 174),
    ],
)
def test_wrong_key(light: Driver, wrong: dict[str, Any], code: int) -> None:
    """A wrong key ends the run with 5 after one request, and says what the code means."""
    with run_in_thread(WORLD) as cloud:
        ran = light.configure(account(cloud.url, **wrong)).run(code=5)
        requests = list(cloud.log)

    assert [(line.action, line.ret_code) for line in requests] == [("GetRegion", code)]
    assert ran.summary["status"] == "failed"
    assert ran.summary["requests"]["sent"] == 1
    assert f"RetCode {code}" in ran.result.stderr
    assert requests[0].request_uuid in ran.result.stderr


def test_wrong_key_later(driver: Driver) -> None:
    """A key that was good yesterday ends with 5 after one request; every target is skipped, every image unknown."""
    with run_in_thread(WORLD) as cloud:
        driver.configure(account(cloud.url)).run()
        before = len(cloud.log)
        ran = driver.configure(account(cloud.url, private_key="rotated-elsewhere-0000")).run(code=5)
        assert len(cloud.log) == before + 1

    assert ran.targets == {"total": len(ZONES), "skipped": len(ZONES)}
    assert {failure["class"] for failure in ran.failures.values()} == {"account_stopped"}
    assert {(row["state"], row["reason"]) for row in driver.rows("images")} == {("unknown", "skipped")}
    assert driver.rows("changes") == []


def test_unreachable(driver: Driver) -> None:
    """An endpoint where nobody listens ends with 4: at first with nothing, later with every target named."""
    first = driver.configure(account(unused_url())).run(code=4)
    assert (first.targets, first.summary["status"]) == ({}, "failed")

    with run_in_thread(WORLD) as cloud:
        driver.configure(account(cloud.url)).run()
    later = driver.run(code=4)

    assert later.targets["total"] == len(ZONES)
    assert later.summary["targets"]["ok"] == 0
    assert later.failures.keys() == set(ZONES)
    assert {row["state"] for row in driver.rows("images")} == {"unknown"}
    assert len(driver.rows("images")) == 3 * len(ZONES)
    assert driver.rows("changes") == []


def test_half_fails(driver: Driver) -> None:
    """Half the zones failing ends with 3 and no withdrawal, however often; the other half is recorded as usual."""
    change = {"images": {"hk-01": {"uimage-new": "Ubuntu 1", **dict(list(IMAGES["hk-01"].items())[1:])}}}
    fault = {"ret_code": 8010, "message": "boom", "zone": "*-02"}
    with run_in_thread(make_timeline(zones=IMAGES, steps=[{**change, "faults": [fault]}])) as cloud:
        driver.configure(account(cloud.url)).run()
        cloud.step = 2
        runs = [driver.run(code=3) for _ in range(3)]

    failed = {zone for zone in ZONES if zone.endswith("02")}
    assert [run.failures.keys() for run in runs] == [failed] * 3
    assert [run.changes for run in runs] == [{"appeared": 1, "withdrawn": 1}, {}, {}]
    states = {(row["zone"] in failed, row["state"], row["reason"]) for row in driver.rows("images")}
    assert states == {(True, "unknown", "failed"), (False, "present", None)}
    assert "RetCode 8010" in runs[0].failures["hk-02"]["message"]
    assert "boom" in runs[0].failures["hk-02"]["message"]


@pytest.mark.parametrize("code", [230, 292, 293, 299])
def test_never_open(light: Driver, code: int) -> None:
    """A zone that was never open to the key is `denied`, quiet, asked once a run, and exit 0."""
    timeline = make_timeline(zones=IMAGES, faults=[{"ret_code": code, "action": "Describe*", "zone": "sg-01"}])
    with run_in_thread(timeline) as cloud:
        light.configure(account(cloud.url))
        runs = [light.run(code=0), light.run(code=0)]
        assert len([line for line in asked(cloud) if line.zone == "sg-01"]) == 2

    for ran in runs:
        assert ran.targets == {"total": len(ZONES), "ok": len(ZONES) - 1, "denied": 1}
        assert (ran.summary["status"], ran.failures, ran.result.stderr) == ("complete", {}, "")
    (row,) = light.rows("status", "--zone", "sg-01")
    assert (row["outcome"], row["last_ok_at"], row["images"]) == ("denied", None, 0)


def test_open_yesterday(driver: Driver) -> None:
    """A zone that was open yesterday and is refused today is `failed`, says so, and keeps its images as unknown."""
    with run_in_thread(faulty({"ret_code": 293, "zone": "sg-01"})) as cloud:
        driver.configure(account(cloud.url)).run()
        cloud.step = 2
        runs = [driver.run("-v", code=3), driver.run("-v", code=3)]

    for ran in runs:
        assert ran.failures["sg-01"]["outcome"] == "failed"
        assert ran.failures["sg-01"]["class"] == "denied"
        assert "was open" in ran.failures["sg-01"]["message"]
        assert "sg-01" in ran.result.stderr
        assert f"[{ran.failures['sg-01']['request_uuid']}]" in ran.result.stderr
    assert {(row["state"], row["reason"]) for row in driver.rows("images", "--zone", "sg-01")} == {
        ("unknown", "failed")
    }
    assert driver.rows("changes") == []


def test_html_page(driver: Driver) -> None:
    """A 200 that is a portal's page is a failed target with the page's first line in its message, and no withdrawal."""
    page = "<!DOCTYPE html><title>Welcome to Airport WiFi</title>\n<p>second line"
    with run_in_thread(faulty({"body": page, "action": "Describe*", "zone": "hk-02"})) as cloud:
        driver.configure(account(cloud.url)).run()
        cloud.step = 2
        ran = driver.run(code=3)

    failure = ran.failures["hk-02"]
    assert (failure["outcome"], failure["class"], failure["ret_code"]) == ("failed", "transient", None)
    assert "<!DOCTYPE html><title>Welcome to Airport WiFi</title>" in failure["message"]
    assert "second line" not in failure["message"]
    assert driver.rows("changes") == []


def test_html_everywhere(light: Driver) -> None:
    """A portal in front of everything ends with 4; nothing is withdrawn and nothing retired."""
    with run_in_thread(faulty({"html": True})) as cloud:
        light.configure(account(cloud.url), limits={"attempts": 1}).run()
        cloud.step = 2
        runs = [light.run(code=4) for _ in range(4)]

    assert [run.changes for run in runs] == [{}] * 4
    assert len(light.rows("images")) == 3 * len(ZONES)


def test_broken_configuration(light: Driver) -> None:
    """A broken configuration ends with 2 and lists every problem, before anything is asked or made."""
    light.database = f"sqlite:///{light.folder / 'none.db'}"
    with run_in_thread(WORLD) as cloud:
        light.configure(
            {"name": "prod", "endpont": cloud.url, "public_key": "x", "private_key": "y"},
            account("ftp://example.com", name="prod", zones="hk-02"),
            limits={"rate": -1, "atempts": 3},
            timezone="Mars/Olympus",
            stale_after="soon",
        )
        said = light.call("run", code=2).stderr
        assert cloud.log == []

    for word in ("endpont", "endpoint", "zones", "rate", "atempts", "attempts", "Mars/Olympus", "stale_after"):
        assert word in said
    assert not (light.folder / "none.db").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"zones": ["mars-*"]}, ()),
        ({}, ("--zone", "mars-*")),
        ({}, ("--account", "nobody")),
        ({}, ("--variant", "gpu")),
    ],
)
def test_empty_selection(light: Driver, more: dict[str, Any], words: tuple[str, ...]) -> None:
    """A selection that matches nothing ends with 2, asks no images and leaves no run behind."""
    with run_in_thread(WORLD) as cloud:
        light.configure(account(cloud.url, **more)).call("run", *words, code=2)
        assert asked(cloud) == []
    assert light.rows("runs") == []


def test_lock_taken(driver: Driver) -> None:
    """A run that finds the lock taken ends with 75 and asks nothing."""
    with run_in_thread(WORLD) as cloud:
        driver.configure(account(cloud.url))
        with take_locks(driver.database, ["prod"], clock=lambda: NOW):
            assert driver.call("run", code=75).stderr == ""
            said = driver.call("-v", "run", code=75).stderr
        assert cloud.log == []
        assert driver.run().targets["ok"] == len(ZONES)
    assert "Another run holds the lock" in said


def test_newer_schema(driver: Driver) -> None:
    """A schema newer than the program ends with 74, for the run and the readers, and nothing is written."""
    with opened(driver.database) as engine, begin(engine) as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '20991231_later'"))
    with run_in_thread(WORLD) as cloud:
        driver.configure(account(cloud.url))
        said = [driver.call(*words, code=74).stderr for words in (("run",), ("images",), ("status",))]
        assert cloud.log == []
    assert all("newer" in sentence for sentence in said), said


def test_postgresql_without_schema(tmp_path: Path, empty_postgres_url: str) -> None:
    """An empty PostgreSQL database is not filled unasked: 74, and the command that does it, which then helps."""
    driver = Driver(tmp_path, empty_postgres_url)
    with run_in_thread(WORLD) as cloud:
        driver.configure(account(cloud.url))
        assert "crawler db upgrade" in driver.call("run", code=74).stderr
        assert cloud.log == []
        driver.call("db", "upgrade")
        assert driver.run().targets["ok"] == len(ZONES)


def test_database_out_of_reach(light: Driver) -> None:
    """A PostgreSQL server that is not there ends with 74, and the password is not in the sentence."""
    light.database = unused_url().replace("http://", "postgresql://crawler:pass-canary@") + "crawler"
    with run_in_thread(WORLD) as cloud:
        said = light.configure(account(cloud.url)).call("run", code=74).output
        assert cloud.log == []
    assert "pass-canary" not in said


def test_clock_backwards(driver: Driver) -> None:
    """A clock before the last recorded observation ends with 70, asks nothing and records that it was told, alone."""
    with run_in_thread(WORLD) as cloud:
        driver.configure(account(cloud.url)).run()
        requests, tables = len(cloud.log), driver.row_counts()
        driver.now = NOW - timedelta(minutes=5)
        said = driver.call("run", code=70).stderr
        assert len(cloud.log) == requests
    assert "clock" in said.lower()
    assert driver.row_counts() == {**tables, "conditions": 1}


def test_no_internal_error_looks_like_a_traceback(light: Driver) -> None:
    """Whatever happens, a person sees a sentence: a database that is no database ends with 74."""
    path = light.folder / "not.db"
    path.write_text("this is no database, but long enough to be looked at as one" * 20)
    light.database = f"sqlite:///{path}"
    said = light.configure(account(unused_url())).call("run", code=74).stderr

    assert said.startswith("Error: ")
    assert "Traceback" not in said
