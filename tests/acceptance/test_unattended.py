"""Runs that nobody watches: silence, one paragraph per piece of news, pings, metrics, and records for collectors."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from crawler.db.locks import take_locks
from crawler.emulator import EmulatorServer, run_in_thread
from crawler.ops.healthcheck_ping import address
from tests.support.driving import Driver, account, asked
from tests.support.smtp import mail_server
from tests.support.strangers import stranger
from tests.support.switch import Switch, dead_man_switch
from tests.support.worlds import make_timeline

ZONES = {zone: {f"uimage-{zone}": "CentOS 7.6"} for zone in ("hk-02", "hk-03", "sg-01")}
DOWN = {"zone": "sg-01", "ret_code": 8010, "message": "backend error"}
REFUSED = {"zone": "sg-01", "ret_code": 160, "message": "Missing action"}
#: All well, down for a while, down for another reason, well again.
STEPS: list[dict[str, Any]] = [{"faults": [DOWN]}, {"faults": [REFUSED]}, {"faults": []}]


@pytest.fixture
def cloud() -> Iterator[EmulatorServer]:
    with run_in_thread(make_timeline(zones=ZONES, steps=STEPS)) as server:
        yield server


@pytest.fixture
def switch() -> Iterator[Switch]:
    with dead_man_switch() as started:
        yield started


def test_silence(driver: Driver, cloud: EmulatorServer) -> None:
    """In nineteen runs three paragraphs are said: when the trouble began, when it changed, and when it ended."""
    driver.configure(account(cloud.url), limits={"attempts": 1})
    said: list[str] = []
    for step, runs in ((1, 3), (2, 8), (3, 4), (4, 4)):
        cloud.step = step
        for number in range(runs):
            result = driver.call("run", code=None)
            driver.now += timedelta(minutes=15)
            assert result.exit_code == (3 if step in (2, 3) else 0)
            assert result.stdout == ""
            if result.stderr:
                assert number == 0, result.stderr
                said.append(result.stderr)
    began, changed, ended = said

    assert "\n  Began: prod/org-example/sg/sg-01/uk8s-image/default failed: backend error" in began
    assert began.count("\n") == 2
    assert "\n  Changed: prod/" in changed
    assert "\n  Over: prod/" in ended


def test_answer_that_is_not_believed(light: Driver) -> None:
    """It is one condition, which ends: what it says besides is no news of its own."""
    page = json.dumps({"RetCode": 0, "TotalCount": 9, "ImageSet": [{"ImageId": "uimage-sg-01", "Odd": 1}]})
    faults: list[dict[str, Any]] = [{"zone": "sg-01", "action": "DescribeUK8SImage", "body": page}]
    with run_in_thread(make_timeline(zones=ZONES, steps=[{"faults": faults}, {"faults": []}])) as cloud:
        light.configure(account(cloud.url))
        said: list[str] = []
        for step in (1, 2, 2, 3, 3):
            cloud.step = step
            said.append(light.call("run", code=None).stderr)
            light.now += timedelta(minutes=15)

    assert [text.count("\n") for text in said] == [0, 2, 0, 2, 0], said
    assert "\n  Began: prod/org-example/sg/sg-01/uk8s-image/default failed: it lists 1 of 9 records" in said[1]
    assert "\n  Over: prod/org-example/sg/sg-01/uk8s-image/default: failed (defect)" in said[3]


def test_refused_account(light: Driver) -> None:
    """Keys that are refused are told once, and once more when they work."""
    steps: list[dict[str, Any]] = [{"faults": [{"ret_code": 171}]}, {"faults": []}]
    with run_in_thread(make_timeline(zones=ZONES, steps=steps)) as cloud:
        light.configure(account(cloud.url))
        said = []
        for step, code in ((1, 0), (2, 5), (2, 5), (2, 5), (3, 0), (3, 0)):
            cloud.step = step
            said.append(light.call("run", code=code).stderr)
            light.now += timedelta(minutes=15)

    assert [bool(text) for text in said] == [False, True, False, False, True, False]
    assert "171" in said[1]


def test_first_run_of_an_account_that_is_refused(light: Driver) -> None:
    """Keys that never worked are told by the first run, and by no other."""
    with run_in_thread(make_timeline(zones=ZONES, faults=[{"ret_code": 171}])) as cloud:
        light.configure(account(cloud.url))
        said = []
        for _ in range(3):
            said.append(light.call("run", code=5).stderr)
            light.now += timedelta(minutes=15)

    assert [bool(text) for text in said] == [True, False, False]


def test_lock_outlived(driver: Driver, cloud: EmulatorServer) -> None:
    """A taken lock is no news until its holder outlives its own deadlines; then it is said once."""
    driver.configure(account(cloud.url))
    driver.call("run")
    began = driver.now
    with take_locks(driver.database, ["prod"], clock=lambda: began):
        said = []
        for minutes in (0, 13, 15, 30, 45):
            driver.now = began + timedelta(minutes=minutes)
            said.append(driver.call("run", code=75).stderr)

    assert [bool(text) for text in said] == [False, False, True, False, False]
    assert "Another run holds the lock" in said[2]


def test_error_that_lasts(driver: Driver, cloud: EmulatorServer) -> None:
    """A run that cannot begin says why once, exits with its code each time, and the next that can says it is over."""
    driver.configure(account(cloud.url))
    driver.call("run")
    now, driver.now = driver.now, driver.now - timedelta(days=1)
    said = [driver.call("run", code=70).stderr for _ in range(3)]
    driver.now = now + timedelta(minutes=15)
    ended = [driver.call("run").stderr for _ in range(2)]

    assert [text.count("the clock says") for text in (*said, *ended)] == [1, 0, 0, 1, 0]
    assert "\n  No longer: the clock says" in ended[0]
    assert ended[1] == ""


def test_numbers_of_reports(driver: Driver, cloud: EmulatorServer) -> None:
    """The ledger has the same numbers of reports as the summary of the run."""
    with mail_server() as server:
        smtp = {"host": "127.0.0.1", "port": server.port, "security": "none", "from": "crawler@example.com"}
        reports = [{"name": "sre", "to": ["sre@example.com"], "empty": True}]
        driver.configure(account(cloud.url), smtp=smtp, reports=reports)
        first, second = driver.run().summary, driver.run("--no-report").summary

    assert first["reports"] == {"queued": 1, "sent": 1, "failed": 0}
    assert [row["reports"] for row in driver.rows("runs")] == [first["reports"], second["reports"]]
    assert json.loads(driver.call("runs", "show", 1, "-o", "json").stdout)["reports"] == first["reports"]
    assert "reports   1 queued, 1 sent, 0 failed" in driver.call("runs", "show", 1).stdout


# --- pings -----------------------------------------------------------------------------------------------------------


def test_addresses() -> None:
    """`/start` and `/fail` go to the end of the path, before a query."""
    assert address("https://hc-ping.com/uuid", "start") == "https://hc-ping.com/uuid/start"
    assert address("https://example.com/ping/?rid=1", "fail") == "https://example.com/ping/fail?rid=1"
    assert address("https://example.com/ping/", "done") == "https://example.com/ping/"


@pytest.mark.parametrize(("incomplete", "end"), [({}, "/token-1"), ({"ping_incomplete": "fail"}, "/token-1/fail")])
def test_pings(light: Driver, cloud: EmulatorServer, switch: Switch, incomplete: dict[str, str], end: str) -> None:
    """A run calls the start, and then the end as it was, with its summary; an incomplete one as it is configured."""
    light.configure(account(cloud.url), ping=switch.url, limits={"attempts": 1}, **incomplete)
    light.run()
    cloud.step = 2
    light.run(code=3)

    assert [path for path, _ in switch.calls] == ["/token-1/start", "/token-1", "/token-1/start", end]
    done, failed = (json.loads(switch.calls[index][1]) for index in (1, 3))
    assert (done["run"], done["status"], done["targets"]["ok"], done["exit_code"]) == (1, "complete", 3, 0)
    assert (failed["status"], failed["exit_code"], failed["failures"][0]["target"]["zone"]) == (
        "incomplete",
        3,
        "sg-01",
    )


def test_ping_without_a_database(light: Driver, cloud: EmulatorServer, switch: Switch) -> None:
    """A database that cannot be used is told to the switch, whether it fails before or behind the lock."""
    light.database = f"sqlite:///{light.folder}/missing/crawler.db"
    light.configure(account(cloud.url), ping=switch.url)
    light.call("run", code=74)
    light.database = f"sqlite:///{light.folder}/broken.db"
    (light.folder / "broken.db").write_bytes(b"this is no database" * 1000)
    light.configure(account(cloud.url), ping=switch.url)
    light.call("run", code=74)

    assert [path for path, _ in switch.calls] == ["/token-1/fail", "/token-1/start", "/token-1/fail"]
    assert json.loads(switch.calls[0][1])["exit_code"] == 74
    assert "missing" in json.loads(switch.calls[0][1])["error"]


def test_ping_that_fails(light: Driver, cloud: EmulatorServer, switch: Switch) -> None:
    """A switch that is out of order harms no run and is no mail; -v tells, without the secret address."""
    light.configure(account(cloud.url), ping=switch.url)
    switch.status = 500
    assert light.run().result.stderr == ""
    light.configure(account(cloud.url), ping="http://127.0.0.1:9/token-1")
    told = light.call("-v", "run").stderr

    assert "the ping done was not taken" in told
    assert "token-1" not in told


def test_ping_and_lock(light: Driver, cloud: EmulatorServer, switch: Switch) -> None:
    """A run that finds the lock taken calls nobody: the other run does."""
    light.configure(account(cloud.url), ping=switch.url)
    with take_locks(light.database, ["prod"], clock=lambda: light.now):
        light.call("run", code=75)

    assert switch.calls == []


def test_unknown_holder_is_told_of_once(driver: Driver, cloud: EmulatorServer) -> None:
    """Runs that somebody unknown keeps out exit 75, and the first of them says so; a known run is left to its work."""
    driver.configure(account(cloud.url))
    driver.run()
    with stranger(driver.database):
        said = [driver.call("run", code=75).stderr for _ in range(4)]
        watched = driver.call("-v", "run", code=75).stderr
    with take_locks(driver.database, ["prod"], clock=lambda: driver.now):
        assert driver.call("run", code=75).stderr == ""
    driver.run()
    with stranger(driver.database):
        said += [driver.call("run", code=75).stderr for _ in range(2)]

    assert [text.count("\n") for text in said] == [1, 0, 0, 0, 1, 0]
    assert "that does not say who it is holds the lock of" in said[0]
    assert watched == said[0]


def test_restricted_run_is_private(light: Driver, cloud: EmulatorServer, switch: Switch) -> None:
    """A run restricted to some targets on the command line neither pings nor writes metrics."""
    textfile = light.folder / "crawler.prom"
    second = account(cloud.url, "second")
    light.configure(account(cloud.url), second, ping=switch.url, metrics={"textfile": str(textfile)})
    light.run("--zone", "hk-02")
    light.run("--account", "prod", "--region", "hk")

    assert asked(cloud)
    assert (switch.calls, textfile.exists()) == ([], False)


def test_runs_of_one_account_each(light: Driver, cloud: EmulatorServer, switch: Switch) -> None:
    """A run of some accounts is a whole run of them: it pings, and its metrics speak of all accounts."""
    textfile = light.folder / "crawler.prom"
    light.configure(
        account(cloud.url), account(cloud.url, "second"), ping=switch.url, metrics={"textfile": str(textfile)}
    )
    first = light.now
    light.run("--account", "prod")
    one = textfile.read_text()
    light.now += timedelta(minutes=15)
    light.run("--account", "second")
    both = textfile.read_text()

    assert [path for path, _ in switch.calls] == ["/token-1/start", "/token-1"] * 2
    assert "crawler_last_success_timestamp_seconds" not in one
    assert f"\ncrawler_last_success_timestamp_seconds {int(first.timestamp())}\n" in both
    assert [row["restricted"] for row in light.rows("runs")] == [False, False]


# --- metrics ---------------------------------------------------------------------------------------------------------


def test_metrics(driver: Driver, cloud: EmulatorServer) -> None:
    """The metrics file says what the last run did, is readable by the collector, and nothing else is left beside it."""
    folder = driver.folder / "collector"
    folder.mkdir()
    driver.configure(account(cloud.url), limits={"attempts": 1}, metrics={"textfile": "collector/crawler.prom"})
    first = driver.now
    driver.run()
    cloud.step = 2
    driver.run(code=3)
    text = (folder / "crawler.prom").read_text()
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))

    assert samples["crawler_last_success_timestamp_seconds"] == str(int(first.timestamp()))
    assert samples["crawler_last_run_exit_code"] == "3"
    assert samples['crawler_last_run_targets{outcome="ok"}'] == "2"
    assert samples['crawler_last_run_targets{outcome="failed"}'] == "1"
    assert samples["crawler_oldest_observation_timestamp_seconds"] == str(int(first.timestamp()))
    assert samples['crawler_rate_in_use{account="prod"}'] == "1000"
    assert samples["crawler_outbox_depth"] == "0"
    assert [path.name for path in folder.iterdir()] == ["crawler.prom"]
    assert (folder / "crawler.prom").stat().st_mode & 0o777 == 0o644
    if shutil.which("promtool"):
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_metrics_that_cannot_be_written(light: Driver, cloud: EmulatorServer) -> None:
    """A collector's folder that is not there fails no run and is no mail."""
    light.configure(account(cloud.url), metrics={"textfile": "missing/crawler.prom"})

    assert light.run().result.stderr == ""
    assert "the metrics cannot be written" in light.call("-v", "run").stderr


# --- records ---------------------------------------------------------------------------------------------------------


def test_records(light: Driver, cloud: EmulatorServer) -> None:
    """With JSON logs every record has the run and a target or null, and one record is the run's summary."""
    light.configure(account(cloud.url), limits={"attempts": 1})
    cloud.step = 2
    done = light.process("-vv", "--log-format", "json", "run")
    records = [json.loads(line) for line in done.stderr.splitlines()]
    summaries = [record for record in records if "summary" in record]
    targets = {record["target"] for record in records}

    assert done.returncode == 3
    assert all({"at", "level", "message", "run", "target"} <= record.keys() for record in records)
    assert [(record["run"], record["summary"]["status"]) for record in summaries] == [(1, "incomplete")]
    assert targets == {None, "prod/org-example/sg/sg-01/uk8s-image/default"}


def test_records_of_a_quiet_run(light: Driver, cloud: EmulatorServer, tmp_path: Path) -> None:
    """A run that has no news is one JSON record, its summary."""
    light.configure(account(cloud.url))
    (record,) = light.call("--log-format", "json", "run").stderr.splitlines()

    assert json.loads(record)["summary"]["targets"]["ok"] == 3
