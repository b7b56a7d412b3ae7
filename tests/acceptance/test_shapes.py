"""What scripts depend on: the JSON of real runs and readers, times, formats, filters, dry runs, restricted runs."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from crawler.db.engine import begin, opened
from crawler.emulator import EmulatorServer, run_in_thread
from tests.support.command import NOW, rows
from tests.support.driving import Driver, Ran, account, asked
from tests.support.worlds import make_timeline

TARGET = {"account": str, "project": str, "region": str, "zone": str, "kind": str, "variant": str}
FAILURE = {
    "target": dict,
    "outcome": str,
    "class": str,
    "ret_code": (int, type(None)),
    "message": str,
    "request_uuid": str,
}
RUN = {
    "run": int, "status": str, "started_at": "time", "finished_at": "time",
    "targets": dict.fromkeys(("total", "ok", "held", "denied", "failed", "skipped"), int),
    "baseline": {"targets": int, "images": int},
    "changes": dict.fromkeys(("appeared", "returned", "withdrawn", "modified", "target_added", "target_retired"), int),
    "requests": {"sent": int, "retried": int, "throttled": int},
    "failures": [FAILURE], "notices": [str], "reports": {"queued": int, "sent": int, "failed": int},
    "accounts": [str], "restricted": bool,
}  # fmt: skip
TEXT, LIST = (str, type(None)), (list, type(None))
CHANGE = {
    **TARGET, "id": int, "run": int, "event": str, "image_set": TEXT, "image_id": TEXT, "image_name": TEXT,
    "fields": dict, "counterpart": TEXT, "not_before": "time?", "observed_at": "time", "recorded_at": "time",
}  # fmt: skip
IMAGE = {
    **TARGET, "image_set": str, "image_id": str, "image_name": TEXT, "gpu": (bool, type(None)), "os_type": TEXT,
    "os_name": TEXT, "features": LIST, "gpu_types": LIST, "software": TEXT, "size_gb": (int, type(None)),
    "zone_id": (int, type(None)), "extra": dict, "valid_from": "time", "baseline": bool, "superseded_by": TEXT,
    "state": str, "reason": TEXT, "observed_at": "time?",
}  # fmt: skip
STATUS = {**TARGET, "outcome": str, "since": "time?", "last_ok_at": "time?", "images": int, "message": str}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")

FIRST = {
    "hk-02": {"uimage-a": "Ubuntu 20.04", "uimage-b": "CentOS 7.6", "uimage-c": "Anolis 8.6"},
    "sg-01": {"uimage-s": "S"},
}
FULL = {
    "ImageId": "uimage-f", "ImageName": "Full", "NotSupportGPU": True, "ZoneId": 3002, "OsType": "Linux",
    "OsName": "Ubuntu", "Features": ["CloudInit"], "SupportedGPUTypes": ["V100"], "IntegratedSoftware": "CUDA",
    "ImageSize": 40, "Odd": {"new": 1},
}  # fmt: skip


def check(value: Any, shape: Any, where: str = "") -> None:
    """Check that *value* has this *shape*; objects may have more fields, not fewer, nor others in between."""
    if isinstance(shape, dict):
        assert [name for name in value if name in shape] == list(shape), where
        for name, inner in shape.items():
            check(value[name], inner, f"{where}.{name}")
    elif isinstance(shape, list):
        for number, inner in enumerate(value):
            check(inner, shape[0], f"{where}[{number}]")
    elif isinstance(shape, str):
        assert (value is None and shape == "time?") or TIME.fullmatch(value), (where, value)
    elif shape is int:
        assert type(value) is int, (where, value)
    else:
        assert isinstance(value, shape), (where, value)


class History:
    """Four runs: a baseline, a re-issue with a new zone, a region that fails, and one more image."""

    def __init__(self, driver: Driver, cloud: EmulatorServer) -> None:
        self.driver = driver
        self.runs: list[Ran] = []
        driver.configure(account(cloud.url))
        for step in range(1, len(cloud.timeline.worlds) + 1):
            cloud.step = step
            self.runs.append(driver.run(code=None))
        driver.now -= timedelta(hours=1)


@pytest.fixture
def history(driver: Driver) -> Iterator[History]:
    steps: list[dict[str, Any]] = [
        {"remove": {"hk-02": ["uimage-b"]}, "add": {"hk-02": {"uimage-b2": "CentOS 7.6"}, "tw-01": [FULL]},
         "zones": ["hk-02", "sg-01", "tw-01"]},
        {"faults": [{"ret_code": 8010, "region": "sg"}], "images": {"tw-01": {}}},
        {"add": {"hk-02": {"uimage-d": "Debian 12"}}},
    ]  # fmt: skip
    with run_in_thread(make_timeline(zones=FIRST, steps=steps)) as cloud:
        yield History(driver, cloud)


def test_run_shape(history: History) -> None:
    """`run --json`, `runs` and `runs show` have the promised fields, and agree with each other."""
    for number, ran in enumerate(history.runs, start=1):
        check(ran.summary, RUN)
        assert json.loads(history.driver.call("runs", "show", number, "-o", "json").stdout) == ran.summary
        for failure in ran.summary["failures"]:
            check(failure["target"], TARGET)
            assert failure["outcome"] in ("failed", "skipped")
    listed = history.driver.rows("runs")

    assert [{**row, "failures": ran.summary["failures"]} for row, ran in zip(listed, history.runs, strict=True)] == [
        ran.summary for ran in history.runs
    ]
    assert [ran.code for ran in history.runs] == [0, 0, 3, 3]
    assert [ran.summary["status"] for ran in history.runs] == ["complete", "complete", "incomplete", "incomplete"]
    assert [ran.changes for ran in history.runs] == [
        {}, {"appeared": 1, "withdrawn": 1, "target_added": 1}, {}, {"appeared": 1},
    ]  # fmt: skip


def test_reader_shapes(history: History) -> None:
    """`images`, `changes` and `status` have the promised fields and types, in every format alike."""
    for command, shape in (("images", IMAGE), ("changes", CHANGE), ("status", STATUS)):
        array = history.driver.rows(command)
        check(array, [shape], command)
        lines = history.driver.call(command, "-o", "jsonl").stdout.splitlines()
        table = list(csv.reader(io.StringIO(history.driver.call(command, "-o", "csv").stdout)))
        assert [json.loads(line) for line in lines] == array
        assert table[0] == list(array[0])
        assert len(table) == len(array) + 1 > 2
    assert [row["id"] for row in history.driver.rows("changes")] == [1, 2, 3, 4]


def test_full_record(history: History) -> None:
    """Every documented field of a record arrives under its name, and what nobody knows is kept in `extra`."""
    (row,) = history.driver.rows("images", "--zone", "tw-01", "--at", f"{NOW + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}")

    expected = {
        "gpu": False, "os_type": "Linux", "os_name": "Ubuntu", "features": ["CloudInit"], "gpu_types": ["V100"],
        "software": "CUDA", "size_gb": 40,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert row["extra"] == {"Odd": {"new": 1}}
    assert any("Odd" in notice for notice in history.runs[1].summary["notices"])


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (0, {("uimage-a", "present"), ("uimage-b", "present"), ("uimage-c", "present"), ("uimage-s", "present")}),
        (1, {("uimage-a", "present"), ("uimage-b2", "present"), ("uimage-c", "present"), ("uimage-s", "present"),
             ("uimage-f", "present")}),
        (2, {("uimage-a", "present"), ("uimage-b2", "present"), ("uimage-c", "present"), ("uimage-s", "unknown"),
             ("uimage-f", "unknown")}),
    ],
)  # fmt: skip
def test_at(history: History, hours: int, expected: set[tuple[str, str]]) -> None:
    """`images --at` answers for each moment what was seen then, with the state of knowledge of then."""
    at = f"{NOW + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}"

    assert {(row["image_id"], row["state"]) for row in history.driver.rows("images", "--at", at)} == expected


def test_filters(history: History) -> None:
    """Globs select, a name is matched case-blind, `--since` and `--event` narrow the changes."""
    ask = history.driver.rows

    assert {row["image_id"] for row in ask("images", "--region", "hk", "--name", "  ubuntu 20.04")} == {"uimage-a"}
    assert {row["image_id"] for row in ask("images", "--image-id", "uimage-[ab]*")} == {"uimage-a", "uimage-b2"}
    assert {row["zone"] for row in ask("status", "--zone", "*-01")} == {"sg-01", "tw-01"}
    assert [row["event"] for row in ask("changes", "--event", "withdrawn")] == ["withdrawn"]
    assert [row["image_id"] for row in ask("changes", "--since", "90m")] == ["uimage-d"]
    assert [row["image_id"] for row in ask("changes", "--until", "90m", "--event", "withdrawn")] == ["uimage-b"]


def test_dry_run(light: Driver) -> None:
    """`--dry-run` asks for the catalog alone and records nothing; `--offline` asks nothing at all."""
    with run_in_thread(make_timeline(zones=FIRST)) as cloud:
        light.configure(account(cloud.url))
        lines = light.call("run", "--dry-run").stdout.splitlines()
        assert lines == [f"prod/org-example/{zone[:2]}/{zone}/uk8s-image/default" for zone in FIRST]
        assert [line.action for line in cloud.log] == ["GetRegion", "GetProjectList"]
        assert light.rows("runs") == []

        light.run()
        before, tables = len(cloud.log), light.row_counts()
        targets = json.loads(light.call("run", "--dry-run", "--offline", "--json", "--zone", "sg-*").stdout)
        assert len(cloud.log) == before
        assert light.row_counts() == tables
    check(targets, [TARGET])
    assert [target["zone"] for target in targets] == ["sg-01"]


def test_dry_run_of_a_newer_schema(driver: Driver) -> None:
    """A dry run refuses a database that a newer program wrote, as a run does: 74, whether it asks the cloud or not."""
    with run_in_thread(make_timeline(zones=FIRST)) as cloud:
        driver.configure(account(cloud.url)).run()
        with opened(driver.database) as engine, begin(engine) as conn:
            conn.execute(text("UPDATE alembic_version SET version_num = '20991231_from_the_future'"))
        for words in ((), ("--offline",)):
            result = driver.call("run", "--dry-run", *words, code=74)
            assert (result.stdout, "20991231_from_the_future" in result.stderr) == ("", True)


def test_dry_run_without_a_catalog(light: Driver) -> None:
    """Where no discovery was ever good there is no catalog: it is said, with 2 offline, and 4 or 5 else, as a run."""
    silent: list[dict[str, Any]] = [{"action": "GetRegion", "ret_code": 161, "steps": [1]}]
    refused: list[dict[str, Any]] = [{"faults": [{"ret_code": 171}]}]
    with run_in_thread(make_timeline(zones=FIRST, steps=refused, faults=silent)) as cloud:
        light.configure(account(cloud.url))
        light.run(code=4)
        offline = light.call("run", "--dry-run", "--offline", code=2)
        assert (offline.stdout, "There is no catalog yet" in offline.stderr) == ("", True)
        assert "no catalog, so there is nothing to ask" in light.call("run", "--dry-run", code=4).stderr
        cloud.step = 2
        light.call("run", "--dry-run", code=5)


def test_default_project(light: Driver) -> None:
    """`projects = ["default"]` is one target per zone that is asked without a ProjectId, though the list is open."""
    with run_in_thread(make_timeline(zones=FIRST)) as cloud:
        light.configure(account(cloud.url, projects=["default"]))
        assert light.run().targets == {"total": len(FIRST), "ok": len(FIRST)}
        projects = [line.project for line in asked(cloud)]
        assert light.call("run", "--dry-run", "--offline").stdout.splitlines() == [
            f"prod/default/{zone[:2]}/{zone}/uk8s-image/default" for zone in FIRST
        ]
    assert projects == [""] * len(FIRST)


def test_dry_run_without_database(tmp_path: Path) -> None:
    """A dry run makes no database."""
    driver = Driver(tmp_path, f"sqlite:///{tmp_path / 'none.db'}")
    with run_in_thread(make_timeline(zones=FIRST)) as cloud:
        driver.configure(account(cloud.url)).call("run", "--dry-run")
        driver.call("run", "--dry-run", "--offline", code=2)
        driver.call("run", "--offline", code=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crawler.toml"]


def test_restricted_runs(driver: Driver) -> None:
    """Restricted runs ask what they are told and retire nothing, though zones are missing from the catalog for long."""
    with run_in_thread(make_timeline(zones=FIRST, steps=[{"zones": ["hk-02"]}])) as cloud:
        driver.configure(account(cloud.url)).run()
        cloud.step = 2
        before = len(cloud.log)
        runs = [driver.run("--zone", "hk-*") for _ in range(10)]
        assert {line.zone for line in asked(cloud, since=before)} == {"hk-02"}
        assert [ran.targets for ran in runs] == [{"total": 1, "ok": 1}] * 10
        assert {row["zone"]: row["outcome"] for row in driver.rows("status")} == {"hk-02": "ok", "sg-01": "ok"}

        full = [driver.run(code=None) for _ in range(9)]
    retired = [ran.changes for ran in full if ran.changes]
    assert retired == [{"target_retired": 1}]
    assert [row["zone"] for row in driver.rows("changes")] == ["sg-01"]
    assert {row["zone"] for row in driver.rows("images")} == {"hk-02"}
    assert {(row["zone"], row["reason"]) for row in driver.rows("images", "--retired")} == {
        ("hk-02", None),
        ("sg-01", "retired"),
    }


def test_readers_need_no_keys(history: History) -> None:
    """Who only asks the history needs the database and nothing else."""
    answer = rows("--database", history.driver.database, "changes", now=history.driver.now)

    assert answer == history.driver.rows("changes")
