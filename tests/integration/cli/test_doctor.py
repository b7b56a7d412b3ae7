"""`crawler doctor`: each finding is provoked for real."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from crawler.config.pin_files import LARGEST
from crawler.db.engine import begin, opened
from crawler.db.locks import take_locks
from crawler.db.locks.postgresql import LockSession
from crawler.emulator import EmulatorServer, run_in_thread
from crawler.ops.doctor import examine
from tests.acceptance.conftest import driver as driver
from tests.acceptance.conftest import light as light
from tests.support.crawling import account_at, settings_for
from tests.support.driving import Driver, account
from tests.support.hooks import Reply, hook_server
from tests.support.matrix import auto, matrix_timeline, zones
from tests.support.smtp import mail_server
from tests.support.worlds import make_timeline

ZONES = {zone: {f"uimage-{zone}": "CentOS 7.6"} for zone in ("hk-02", "sg-01")}
STEPS = [{"faults": [{"ret_code": code}]} for code in (171, 174, 294)]
SMTP = {"host": "127.0.0.1", "security": "none", "from": "crawler@example.com", "timeout_seconds": 5}


@pytest.fixture
def cloud() -> Iterator[EmulatorServer]:
    with run_in_thread(make_timeline(zones=ZONES, steps=STEPS)) as server:
        yield server


def examined(driver: Driver, *words: str, code: int | None = 0, **environ: str) -> dict[str, list[dict[str, Any]]]:
    """Return the findings by check; the clock is the machine's own, since the cloud tells the time too."""
    driver.now = datetime.now(UTC) if driver.now.minute == driver.now.microsecond == 0 else driver.now
    document = json.loads(driver.call("doctor", "--json", *words, code=code, **environ).stdout)
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in document["findings"]:
        assert bool(finding["fix"]) == (finding["state"] != "ok"), finding
        found.setdefault(finding["check"], []).append(finding)
    states = {finding["state"] for finding in document["findings"]}
    assert document["state"] == next(state for state in ("fail", "warn", "ok") if state in states)
    assert code is None or (document["state"] == "fail") == (code == 1)
    return found


def states(found: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    return {check: ",".join(finding["state"] for finding in findings) for check, findings in found.items()}


@pytest.mark.provokes(
    "ok: 'configuration'",
    "ok: 'permissions'",
    "ok: 'time zone'",
    "ok: 'endpoint'",
    "clock agrees with",
    "a signed call was accepted",
    "ok: 'catalog'",
    "ok: 'rate'",
    "is open to this key",
    "free: no run is at work",
    "ok: 'schema'",
    "ok: 'integrity'",
)
def test_all_is_well(driver: Driver, cloud: EmulatorServer) -> None:
    """With nothing wrong every check is ok, on both databases, and the cloud saw four requests."""
    found = examined(driver.configure(account(cloud.url)))

    assert set(states(found).values()) == {"ok"}
    assert {"configuration", "permissions", "time zone", "endpoint", "clock", "keys", "catalog", "rate"} <= set(found)
    assert {"actions", "lock", "schema", "integrity"} <= set(found)
    assert found["catalog"][0]["message"] == "2 targets in 2 zones"
    assert len(cloud.log) == 4


@pytest.mark.provokes("'variants'")
def test_changed_variants(driver: Driver, cloud: EmulatorServer) -> None:
    """Other parameters under the used name of a variant, with which no run begins, are a failure that names both."""
    variant = {"name": "g", "MachineType": "G", "GPUType": "V100"}
    driver.configure(account(cloud.url, variants=[variant])).run()
    (finding,) = examined(driver.configure(account(cloud.url, variants=[{**variant, "GPUType": "A100"}])), code=1)[
        "variants"
    ]

    assert (finding["state"], finding["fix"]) == ("fail", "give the new parameters a new name")
    assert "variant 'g' was used with {'GPUType': 'V100'," in finding["message"]
    assert "and now has {'GPUType': 'A100'," in finding["message"]


@pytest.mark.provokes("its pins are not watched")
def test_pins_out_of_reach(light: Driver, cloud: EmulatorServer) -> None:
    """A file or folder of pins that cannot be read is a warning that names it; "live" is none."""
    report = {"name": "sre", "to": ["a@example.com"], "pins_from": ["live", "nothere/"]}
    smtp = {"host": "127.0.0.1", "port": 9, "security": "none", "from": "a@example.com"}
    (finding,) = examined(light.configure(account(cloud.url), smtp=smtp, reports=[report]), code=None)["pins"]
    assert finding["state"] == "warn"
    assert "nothere cannot be read: " in finding["message"]


def test_pins_out_of_reach_behind_others(light: Driver, cloud: EmulatorServer) -> None:
    """So is a folder in which the first file can be read, and a later one is too large."""
    folder = light.folder / "infra"
    folder.mkdir()
    (folder / "a.tf").write_text('image_id = "uimage-abc"\n')
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    with (folder / "b.tf").open("wb") as file:
        file.truncate(LARGEST + 1)
    subprocess.run(["git", "-C", folder, "add", "--intent-to-add", "."], check=True)
    report = {"name": "sre", "to": ["a@example.com"], "pins_from": ["infra/"]}
    smtp = {"host": "127.0.0.1", "port": 9, "security": "none", "from": "a@example.com"}
    (finding,) = examined(light.configure(account(cloud.url), smtp=smtp, reports=[report]), code=None)["pins"]

    assert "b.tf is larger than 256 MB; its pins are not watched" in finding["message"]


def test_places_of_regions_and_of_a_matrix(light: Driver, cloud: EmulatorServer) -> None:
    """What is asked per region is no zone more, and of a matrix the rate says that it takes longer."""
    found = examined(light.configure(account(cloud.url, kinds=["uk8s-*"], variants="auto")), code=None)
    assert found["catalog"][-1]["message"] == "4 targets in 2 zones"
    assert "with the matrix: `crawler run --dry-run`" in found["rate"][0]["message"]
    found = examined(light.configure(account(cloud.url, kinds=["uk8s-version"])), code=None)
    assert found["catalog"][-1]["message"] == "2 targets in 2 regions"


@pytest.mark.provokes("the selection matches none of")
def test_text(light: Driver, cloud: EmulatorServer) -> None:
    """For people it is a line per check, and the fix below what is wrong."""
    light.now = datetime.now(UTC)
    lines = light.configure(account(cloud.url, zones=["mars-*"])).call("doctor", code=1).stdout.splitlines()
    index = next(index for index, line in enumerate(lines) if line.startswith("fail  catalog"))

    assert lines[index + 1].strip().startswith("→ widen projects, regions, zones or kinds")


@pytest.mark.provokes("correct the word, or take it out", "or have `accounts` select it")
def test_words_that_match_nothing(light: Driver, cloud: EmulatorServer) -> None:
    """Mistyped words of the selection, of a report's filters and of its pins are warnings with the nearest."""
    report = {
        "name": "me",
        "to": ["a@example.com"],
        "filters": {"zone": ["hk-2", "sg-*"]},
        "pins": ["sg-1 uimage-sg-01"],
    }
    smtp = {"host": "127.0.0.1", "port": 9, "security": "none", "from": "a@example.com"}
    configured = light.configure(account(cloud.url, zones=["sg-*", "hk-02", "hk-2"]), smtp=smtp, reports=[report])
    found = examined(configured, code=None)
    assert [finding["message"] for finding in (*found["catalog"], *found["reports"])] == [
        'accounts.zones: "hk-2" matches no zone of the account; the nearest: hk-02',
        "2 targets in 2 zones",
        'reports.filters.zone of me: "hk-2" matches no zone that is asked; the nearest: hk-02',
        'reports.pins of me: "sg-1 uimage-sg-01" matches no zone that is asked; the nearest: sg-01',
    ]
    assert {finding["state"] for finding in found["reports"]} == {"warn"}


@pytest.mark.provokes("correct it; `crawler init")
def test_configuration(light: Driver) -> None:
    """Every problem of the configuration is a finding."""
    found = examined(light.configure(account("ftp://x/"), stale_after="soon"), code=1)

    assert states(found) == {"configuration": "fail,fail"}


@pytest.mark.provokes("warn: 'configuration'")
def test_doubtful_configuration(light: Driver) -> None:
    """What the configuration says and may not mean is a warning, in the words of every other command."""
    (finding,) = examined(light.configure(account("http://api.example.invalid/")), code=1)["configuration"]

    assert (finding["state"], finding["fix"]) == ("warn", "change it, unless this is meant")
    assert finding["about"] == str(light.config)
    assert "api.example.invalid is asked over http" in finding["message"]
    assert finding["message"] in light.call("config", "validate", code=None).output


@pytest.mark.provokes("warn: 'permissions'")
def test_permissions(light: Driver, cloud: EmulatorServer) -> None:
    """A configuration with a secret that everyone may read is a warning with the fix."""
    light.configure(account(cloud.url)).config.chmod(0o644)
    (finding,) = examined(light)["permissions"]

    assert (finding["state"], finding["fix"]) == ("warn", "chmod 600 the file")
    assert str(light.config) in finding["message"]


def test_permissions_of_a_profile(light: Driver, cloud: EmulatorServer) -> None:
    """So is the UCloud CLI's own file."""
    folder = light.folder / ".ucloud"
    folder.mkdir()
    keys = {key: value for key, value in account(cloud.url).items() if key.endswith("_key")}
    (folder / "credential.json").write_text(json.dumps([{"profile": "mine", **keys}]))
    (folder / "credential.json").chmod(0o644)
    light.configure({"name": "prod", "endpoint": cloud.url, "profile": "mine"})

    assert states(examined(light, HOME=str(light.folder)))["permissions"] == "warn"


@pytest.mark.provokes("is no known zone")
def test_time_zone(light: Driver, cloud: EmulatorServer) -> None:
    """A machine whose TZ does not exist lives in UTC without knowing."""
    assert states(examined(light.configure(account(cloud.url)), TZ="Mars/Olympus"))["time zone"] == "warn"


@pytest.mark.parametrize(
    ("minutes", "state", "code"),
    [
        pytest.param(-3, "warn", 0, marks=pytest.mark.provokes("warn: 'clock'")),
        (3, "warn", 0),
        pytest.param(11, "fail", 1, marks=pytest.mark.provokes("fail: 'clock'")),
    ],
)
def test_clock(light: Driver, cloud: EmulatorServer, minutes: int, state: str, code: int) -> None:
    """A clock that differs from the cloud's is a warning, then a failure."""
    light.now = datetime.now(UTC) + timedelta(minutes=minutes, microseconds=1)
    (finding,) = examined(light.configure(account(cloud.url)), code=None)["clock"]

    assert finding["state"] == state
    assert ("behind" if minutes < 0 else "ahead") in finding["message"]


@pytest.mark.parametrize(
    ("date", "state", "said"),
    [
        pytest.param("", "ok", "carry no date", marks=pytest.mark.provokes("carry no date")),
        ("soon", "ok", "carry no date"),
        ("Sun, 06 Nov 99999 08:49:37 GMT", "ok", "carry no date"),
        ("Sun, 06 Nov 99999999999999999999999 08:49:37 GMT", "ok", "carry no date"),
        ("Sun, 06 Nov -1994 08:49:37 GMT", "ok", "carry no date"),
        ("Sun, 06 Nov 1994 08:49:37 +99999999999999999999", "ok", "carry no date"),
        ("Fri, 31 Dec 9999 23:59:59 -2359", "fail", "days behind the cloud's, which says it is 9999-12-31"),
        ("Thu, 01 Jan 1970 00:00:00 GMT", "fail", "days ahead of the cloud's, which says it is 1970-01-01"),
    ],
)
def test_odd_dates(light: Driver, date: str, state: str, said: str) -> None:
    """Whatever the Date header says, the doctor goes on; one that is far off is told in days, with the date."""
    with hook_server() as server:
        server.answer = lambda call: Reply(body='{"RetCode": 0, "Regions": []}', headers={"Date": date})
        (finding,) = examined(light.configure(account(server.url)), code=None)["clock"]

    assert (finding["state"], said in finding["message"]) == (state, True), finding


@pytest.mark.provokes("way_fix(account.proxy)")
def test_endpoint(light: Driver) -> None:
    """An endpoint that nobody serves is one failure; what needs it is not asked."""
    found = examined(light.configure(account("http://127.0.0.1:9/")), code=1)

    assert states(found)["endpoint"] == "fail"
    assert not {"keys", "catalog", "clock"} & set(found)


def test_certificate(light: Driver, tmp_path: Path) -> None:
    """A certificate that is not trusted is told as such."""
    import ssl
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    from tests.support.tls import make_tls

    context, _ = make_tls(tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    assert isinstance(server.socket, ssl.SSLSocket)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        url = f"https://127.0.0.1:{server.server_address[1]}/"
        (finding,) = examined(light.configure(account(url)), code=1)["endpoint"]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)

    assert "certificate" in finding["message"]


@pytest.mark.provokes("warn: 'answers'")
def test_tolerance(light: Driver, cloud: EmulatorServer) -> None:
    """Checks that are switched off are a warning that says what is let pass."""
    (finding,) = examined(light.configure(account(cloud.url, tolerate=["count", "echo"])))["answers"]

    assert finding["state"] == "warn"
    assert "count more records than they list or name another region, zone or project" in finding["message"]
    assert "answers" not in examined(light.configure(account(cloud.url)))


@pytest.mark.provokes("fail: 'keys'")
@pytest.mark.parametrize(("step", "word"), [(2, "private key"), (3, "channel-key"), (4, "white-list")])
def test_keys(light: Driver, cloud: EmulatorServer, step: int, word: str) -> None:
    """Each way of refusing the keys has its own fix."""
    cloud.step = step
    (finding,) = examined(light.configure(account(cloud.url)), code=1)["keys"]

    assert finding["state"] == "fail"
    assert word in finding["fix"]


@pytest.mark.provokes("the list of projects is not open to this key")
def test_catalog_that_is_refused(light: Driver) -> None:
    """A sub-account that may not list its projects is told to name them."""
    with run_in_thread(make_timeline(zones=ZONES, faults=[{"action": "GetProjectList", "ret_code": 299}])) as cloud:
        assert states(examined(light.configure(account(cloud.url))))["catalog"] == "warn,ok"
        light.configure(account(cloud.url, projects=["org-example"]))
        assert states(examined(light))["catalog"] == "ok"


@pytest.mark.provokes("nothing is retired while it is so")
def test_catalog_that_is_incomplete(light: Driver) -> None:
    """A list of which a row cannot be read is told, and what it lists is asked."""
    regions = [{"Region": "hk", "Zone": "hk-02", "RegionId": 1}, {"Region": "hk", "Zone": None, "RegionId": 2}]
    fault = {"action": "GetRegion", "body": json.dumps({"RetCode": 0, "Regions": regions})}
    with run_in_thread(make_timeline(zones=["hk-02", "hk-03"], faults=[fault])) as cloud:
        found = examined(light.configure(account(cloud.url)))["catalog"]
    assert [finding["state"] for finding in found] == ["warn", "ok"]
    assert "1 of 2 rows cannot be read" in found[0]["message"]


@pytest.mark.provokes("runs fall back to the last catalog")
def test_catalog_that_is_empty(light: Driver) -> None:
    """A list of regions that does not come is a warning."""
    faults = [{"action": "GetRegion", "ret_code": 8010}]
    with run_in_thread(make_timeline(zones=ZONES, faults=faults)) as cloud:
        assert states(examined(light.configure(account(cloud.url), limits={"attempts": 1})))["catalog"] == "warn"


@pytest.mark.provokes("without the list of projects nobody knows the ids of")
def test_projects_by_name_without_a_list(light: Driver) -> None:
    """Projects that are configured by their names need the list of projects, or their ids."""
    with run_in_thread(make_timeline(zones=ZONES, faults=[{"action": "GetProjectList", "ret_code": 299}])) as cloud:
        light.configure(account(cloud.url, projects=["Research", "org-example"]))
        found = examined(light, code=None)["catalog"]

    said = {finding["message"]: finding["fix"] for finding in found}
    assert (
        said["without the list of projects nobody knows the ids of 'Research'"]
        == "give the ids (org-…) under `projects`"
    )


@pytest.mark.parametrize(
    ("projects", "state", "where"),
    [
        pytest.param(
            ["org-b"],
            "warn",
            "of project org-b: ",
            marks=pytest.mark.provokes("warn: 'actions', f'{action} {happened}"),
        ),
        pytest.param(
            ["org-a", "org-b"],
            "fail",
            "of project org-a and 1 more project: ",
            marks=pytest.mark.provokes("fail: 'actions'"),
        ),
    ],
)
def test_actions_that_are_refused(light: Driver, projects: list[str], state: str, where: str) -> None:
    """An action that is closed to the key in every project is a failure, in some a warning; one of them is named."""
    faults = [{"action": "DescribeUK8SImage", "project": project, "ret_code": 299} for project in projects]
    with run_in_thread(make_timeline(zones=ZONES, projects=["org-a", "org-b"], faults=faults)) as cloud:
        (finding,) = examined(light.configure(account(cloud.url)), code=None)["actions"]

    assert finding["state"] == state
    assert f"DescribeUK8SImage is refused in hk-02 {where}" in finding["message"]


def test_action_that_failed(light: Driver) -> None:
    """An action that the cloud could not answer just now is no question of rights: it is to be tried again later."""
    faults = [{"action": "DescribeUK8SImage", "ret_code": 150}]
    with run_in_thread(make_timeline(zones=ZONES, faults=faults)) as cloud:
        (finding,) = examined(light.configure(account(cloud.url)), code=None)["actions"]

    assert finding["message"].startswith("DescribeUK8SImage failed in hk-02 of project ")
    assert finding["fix"].startswith("try again later")


@pytest.mark.provokes("was not tried: {exc}")
def test_actions_that_could_not_be_tried(light: Driver) -> None:
    """A cloud that answers about its zones and drops every other call is no proof against the key."""
    faults = [{"action": "DescribeUK8SImage", "drop": True}]
    with run_in_thread(make_timeline(zones=ZONES, faults=faults)) as cloud:
        (finding,) = examined(light.configure(account(cloud.url), limits={"attempts": 1}))["actions"]

    assert (finding["state"], finding["fix"]) == ("warn", "try again later")
    assert finding["message"].startswith("DescribeUK8SImage was not tried: ")


@pytest.mark.provokes("check the configuration of the account")
def test_account_that_cannot_be_set_up(cloud: EmulatorServer, sqlite_url: str, tmp_path: Path) -> None:
    """An account whose file of certificates went since it was configured is a failure, and nothing is asked."""
    prod = replace(account_at(cloud.url), ca_file=tmp_path / "authority.pem")
    found = examine(settings_for(sqlite_url, prod), clock=lambda: datetime.now(UTC), environ={})
    (finding,) = [finding for finding in found if finding.check == "endpoint"]

    assert (finding.state, finding.about) == ("fail", "prod")
    assert "No such file" in finding.message
    assert cloud.log == []


@pytest.mark.provokes("and the run ends after")
def test_rate_too_low(light: Driver, cloud: EmulatorServer) -> None:
    """A rate that cannot ask every target before the deadline is a failure, before the first run shows it."""
    light.configure(account(cloud.url, variants=[{"name": f"v{n}", "GPUType": f"G{n}"} for n in range(60)]))
    light.document["limits"] |= {"rate": 20, "run_deadline_seconds": 5}
    light.configure(*light.document["accounts"], limits=light.document["limits"])
    (finding,) = examined(light, code=1)["rate"]

    assert finding["message"] == "at 20 requests per 1 s asking 122 targets takes 6 s, and the run ends after 5 s"


@pytest.mark.provokes("that it asks too much")
def test_rate_too_high(light: Driver) -> None:
    """A last run that was told to be slower is a warning."""
    faults = [{"ret_code": 153, "zone": "sg-01", "attempts": [1]}]
    with run_in_thread(make_timeline(zones=ZONES, faults=faults)) as cloud:
        light.now = datetime.now(UTC)
        light.configure(account(cloud.url)).run(code=None)
        light.now = datetime.now(UTC)
        assert states(examined(light))["rate"] == "ok,warn"


# --- the database ----------------------------------------------------------------------------------------------------


@pytest.mark.provokes(
    "there is no history yet", "ok: 'disk'", "make the folder, or change `database`", "fail: 'lock', str(exc)"
)
def test_no_history_yet(light: Driver, cloud: EmulatorServer, tmp_path: Path) -> None:
    """Before the first run there is nothing wrong; a folder that is not there is."""
    light.database = f"sqlite:///{tmp_path}/new.db"
    assert states(examined(light.configure(account(cloud.url))))["database"] == "ok"
    light.database = f"sqlite:///{tmp_path}/missing/new.db"
    found = states(examined(light.configure(account(cloud.url)), code=1))

    assert (found["disk"], found["lock"]) == ("fail", "fail")


@pytest.mark.provokes("a newer program wrote")
def test_schema_of_another_program(driver: Driver, cloud: EmulatorServer) -> None:
    """A schema that a newer program wrote is a failure on both databases."""
    with opened(driver.database) as engine, begin(engine) as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '20990101_later'"))

    assert states(examined(driver.configure(account(cloud.url)), code=1))["schema"] == "fail"


@pytest.mark.provokes("the database {what}", "not tried: {exc}', 'crawler db upgrade'")
def test_empty_postgresql(light: Driver, cloud: EmulatorServer, empty_postgres_url: str) -> None:
    """A PostgreSQL database without a schema has to be upgraded by hand."""
    light.database = empty_postgres_url
    (finding,) = examined(light.configure(account(cloud.url)), code=1)["schema"]

    assert (finding["state"], finding["fix"]) == ("fail", "crawler db upgrade")


@pytest.mark.provokes("to see that it works")
def test_empty_sqlite(light: Driver, cloud: EmulatorServer, tmp_path: Path) -> None:
    """A SQLite file without a schema is upgraded by the next run."""
    sqlite3.connect(tmp_path / "empty.db").close()
    light.database = f"sqlite:///{tmp_path}/empty.db"
    (tmp_path / "empty.db").touch()

    assert states(examined(light.configure(account(cloud.url))))["schema"] == "warn"


@pytest.mark.provokes("lists all", "else restore a backup")
def test_damage(light: Driver, cloud: EmulatorServer, tmp_path: Path) -> None:
    """A file that is no database, and a history that contradicts itself, are failures."""
    light.now = datetime.now(UTC)
    light.configure(account(cloud.url)).run()
    light.now = datetime.now(UTC) + timedelta(seconds=1)
    with opened(light.database) as engine, begin(engine) as conn:
        conn.execute(text("UPDATE intervals SET valid_to = valid_from - 1"))
    assert "fail" in states(examined(light, code=1))["integrity"]
    (tmp_path / "no.db").write_bytes(b"this is no database" * 1000)
    light.database = f"sqlite:///{tmp_path}/no.db"

    assert states(examined(light.configure(account(cloud.url)), code=1))["database"] == "fail"


@pytest.mark.provokes("fail: 'disk', text", "warn: 'disk', text")
def test_disk(light: Driver, cloud: EmulatorServer, tmp_path: Path) -> None:
    """A disk that has hardly any room left is a failure; one that has little is a warning."""
    found = [disk_of(light, cloud, tmp_path / f"small-{size}", size) for size in (3, 30)]

    assert [finding["state"] for finding in found] == ["fail", "warn"]
    assert [finding["message"].partition(" free")[0] for finding in found] == ["3 MB", "30 MB"]
    assert found[1]["fix"].startswith("free 34 MB: ")


def disk_of(light: Driver, cloud: EmulatorServer, folder: Path, size: int) -> dict[str, Any]:
    """Return what the doctor says of a disk of *size* MB."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}m", "none", folder], capture_output=True, check=False
    ).returncode
    if mounted != 0:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    try:
        light.database = f"sqlite:///{folder}/crawler.db"
        (finding,) = examined(light.configure(account(cloud.url)), code=None)["disk"]
    finally:
        subprocess.run(["umount", folder], check=True)
    return finding


@pytest.mark.provokes("use one name and remove the others")
def test_names_of_the_file(light: Driver, cloud: EmulatorServer) -> None:
    """A hard link to the database is warned of, whichever name is used; a symbolic link is none."""
    path, link = light.folder / "real.db", light.folder / "link.db"
    link.symlink_to(path)
    light.now = datetime.now(UTC)
    light.database = str(path)
    light.configure(account(cloud.url)).run()
    light.now = datetime.now(UTC) + timedelta(seconds=1)
    light.database = str(link)
    assert "names" not in examined(light.configure(account(cloud.url)))
    (light.folder / "second.db").hardlink_to(path)
    (finding,) = examined(light)["names"]
    assert finding["state"] == "warn"
    assert "2 names" in finding["message"]


@pytest.mark.provokes("ok: 'lock', str(exc)", "longer than any run may take")
def test_lock(light: Driver, cloud: EmulatorServer) -> None:
    """A run at work is fine; one that outlived its own deadline is a failure."""
    light.configure(account(cloud.url))
    now = datetime.now(UTC)
    for age, state, code in ((1, "ok", 0), (60, "fail", 1)):
        since = now - timedelta(minutes=age)
        with take_locks(light.database, ["prod"], clock=lambda since=since: since):  # type: ignore[misc]
            assert states(examined(light, code=code))["lock"] == state


def test_lock_of_a_worker(light: Driver, cloud: EmulatorServer, postgres_url: str) -> None:
    """A worker is at work for weeks, and crawls an account for minutes: that it does so just now is fine."""
    light.database = postgres_url
    light.configure(account(cloud.url)).call("db", "upgrade")
    session = LockSession(postgres_url, clock=lambda: datetime.now(UTC) - timedelta(weeks=2))
    try:
        session.hold(["prod"])
        (finding,) = examined(light, code=None)["lock"]
    finally:
        session.close()

    assert finding["state"] == "ok"
    assert finding["message"].startswith('A worker holds the lock of the account "prod": process ')


def test_history_of_an_account_that_is_renamed_next(light: Driver, cloud: EmulatorServer, postgres_url: str) -> None:
    """An account that only the configuration knows is not made by a look: the history can still be given its name."""
    light.database = postgres_url
    light.configure(account(cloud.url)).call("db", "upgrade")
    light.now = datetime.now(UTC)
    light.run()
    light.configure(account(cloud.url, name="new"))
    assert states(examined(light, code=None))["lock"] == "ok"

    light.call("account", "rename", "prod", "new")


# --- mail and metrics ------------------------------------------------------------------------------------------------


@pytest.mark.provokes("ok: 'mail'", "ok: 'test mail'")
def test_mail(light: Driver, cloud: EmulatorServer) -> None:
    """The server is tried with a login; a mail goes only when one is asked for."""
    with mail_server() as server:
        light.configure(account(cloud.url), smtp={**SMTP, "port": server.port})
        assert states(examined(light))["mail"] == "ok"
        assert (server.connections, server.mails) == (1, [])
        assert states(examined(light, "--test-mail", "Ops <ops@example.com>"))["test mail"] == "ok"
        (mail,) = server.mails

    assert mail.recipients == ("ops@example.com",)
    assert mail.message["Subject"] == "Test mail of crawler doctor"


def test_mail_server_that_is_not_there(light: Driver, cloud: EmulatorServer) -> None:
    """A mail server that cannot be reached is a failure, which names it once."""
    (finding,) = examined(light.configure(account(cloud.url), smtp={**SMTP, "port": 9}), code=1)["mail"]
    assert (finding["state"], finding["about"]) == ("fail", "127.0.0.1:9")
    assert finding["message"] == "cannot be reached, or hung up: Connection refused"


@pytest.mark.provokes("check [smtp]: host, port")
def test_mail_login(light: Driver, cloud: EmulatorServer, tmp_path: Path) -> None:
    """A login that is refused is a failure, and the password is not in it."""
    from tests.support.tls import make_tls

    context, certificate = make_tls(tmp_path)
    smtp = {**SMTP, "security": "starttls", "username": "crawler", "ca_file": str(certificate)}
    with mail_server(starttls=context, login=("crawler", "right-password")) as server:
        found = []
        for password, code in (("wrong-password", 1), ("right-password", 0)):
            light.configure(account(cloud.url), smtp={**smtp, "password": password, "port": server.port})
            found += examined(light, code=code)["mail"]

    assert [finding["state"] for finding in found] == ["fail", "ok"]
    assert "refused the login" in found[0]["message"]
    assert "password" not in str([finding["message"] for finding in found])


@pytest.mark.provokes("there is no [smtp]")
def test_mail_recipient(light: Driver, cloud: EmulatorServer) -> None:
    """A test mail that is refused, or has no server, is a failure."""
    light.configure(account(cloud.url))
    assert states(examined(light, "--test-mail", "ops@example.com", code=1))["mail"] == "fail"
    with mail_server() as server:
        server.behave = lambda stage, _: "550 no such user" if stage == "rcpt" else None
        light.configure(account(cloud.url), smtp={**SMTP, "port": server.port})
        (finding,) = examined(light, "--test-mail", "ops@example.com", code=1)["mail"]

    assert "550" in finding["message"]


@pytest.mark.parametrize(
    ("textfile", "state", "code"),
    [
        pytest.param("crawler.prom", "ok", 0, marks=pytest.mark.provokes("ok: 'metrics'")),
        pytest.param("crawler.txt", "warn", 0, marks=pytest.mark.provokes("does not end in .prom")),
        pytest.param("missing/crawler.prom", "fail", 1, marks=pytest.mark.provokes("or change textfile")),
    ],
)
def test_metrics(light: Driver, cloud: EmulatorServer, textfile: str, state: str, code: int) -> None:
    """A metrics file that the collector would not find, or that cannot be written, is told."""
    light.configure(account(cloud.url), metrics={"textfile": textfile})

    assert states(examined(light, code=code))["metrics"] == state


@pytest.mark.parametrize(
    ("folder", "state", "code"),
    [
        pytest.param("new/site", "ok", 0, marks=pytest.mark.provokes("published into")),
        pytest.param("file/site", "fail", 1, marks=pytest.mark.provokes("or change dir")),
    ],
)
def test_published_folder(
    light: Driver, cloud: EmulatorServer, tmp_path: Path, folder: str, state: str, code: int
) -> None:
    """A folder that runs could not publish into is told; one that is missing they make."""
    (tmp_path / "file").touch()
    light.configure(account(cloud.url), publish={"dir": str(tmp_path / folder)})

    assert states(examined(light, code=code))["publish"] == state


def test_what_a_matrix_is_made_of(tmp_path: Path) -> None:
    """With `variants = "auto"` the actions that tell what is offered are tried as well."""
    faults = [{"action": "GetUK8SVersions", "ret_code": 299}]
    with run_in_thread(matrix_timeline(zones(1), faults=faults)) as cloud:
        driver = Driver(tmp_path, str(tmp_path / "history.db")).configure(auto(cloud.url))
        said = [finding["message"] for finding in examined(driver, code=1)["actions"]]

    assert "GetUK8SAvailableInstanceTypes is open to this key" in said
    assert any(sentence.startswith("GetUK8SVersions is refused in r00") for sentence in said)
