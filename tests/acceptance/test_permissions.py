"""Each row of `docs/permissions.md`: an action is denied, or a right is missing, and what the page says comes true."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from crawler.client import discovery
from crawler.db.engine import begin, opened
from crawler.domain.kinds import KINDS, UK8S_IMAGE, Kind
from crawler.emulator import run_in_thread
from tests.acceptance.conftest import light as light
from tests.support.databases import as_role
from tests.support.driving import Driver, account
from tests.support.examples import blocks
from tests.support.house import text_of
from tests.support.worlds import make_timeline

PAGE = text_of(Path("docs/permissions.md"))
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]
DENIALS = [row for row in ROWS if len(row) == 7 and row[1] in ("at first", "later")]
ACTIONS = [row for row in ROWS if len(row) == 4 and re.fullmatch(r"`\w+`", row[2]) and row[1] != "Allow"]
#: Two projects with two zones each.
ZONES = {zone: {f"uimage-{zone}": "CentOS 7.6"} for zone in ("hk-02", "sg-01")}
PLACES = [{"region": zone.partition("-")[0], "zone": zone} for zone in ZONES]
CONFIGURED: dict[str, dict[str, Any]] = {
    "–": {},
    "places": {"places": PLACES},
    "projects": {"projects": ["org-a", "org-b"]},
}


def test_page_names_every_action() -> None:
    """The page's first table has each action that the program calls, and no other."""
    catalog = set(re.findall(r'_ask\(client, "(\w+)"', text_of(Path(discovery.__file__))))
    of_kinds = {action for kind in KINDS.values() for action in actions_of(kind)}
    called = of_kinds | catalog

    assert {row[2].strip("`") for row in ACTIONS} == called
    assert {row[1].strip("`") for row in ACTIONS} == {"all", *KINDS}
    assert {row[0].split("`")[1] for row in DENIALS} == catalog | {UK8S_IMAGE.action}
    named = {(row[1].strip("`"), row[2].strip("`")) for row in ACTIONS if row[1] != "all"}
    assert named == {(kind.name, action) for kind in KINDS.values() for action in actions_of(kind)}
    policies = [row[2] for row in ROWS if row[1] == "Allow"]
    assert set(re.findall(r"`(\w+)`", " ".join(policies))) == called


def actions_of(kind: Kind) -> list[str]:
    return [kind.action, *filter(None, [kind.instead]), *(follow.action for follow in kind.follow)]


@pytest.mark.parametrize("row", DENIALS, ids=" ".join)
def test_denied_action(light: Driver, row: list[str]) -> None:
    """A run and the doctor say of a denied action what the page's table says."""
    denied, when, configured, code, targets, said, doctor = row
    fault = {"action": denied.split("`")[1], "project": "org-b" if "one project" in denied else "*", "ret_code": 299}
    steps, faults = ([{"faults": [fault]}], []) if when == "later" else ([], [fault])
    with run_in_thread(make_timeline(zones=ZONES, projects=["org-a", "org-b"], steps=steps, faults=faults)) as cloud:
        light.configure(account(cloud.url, **CONFIGURED[configured]))
        if when == "later":
            light.run()
            cloud.advance()
        ran = light.run(code=int(code))
        findings = examined(light, code=None)

    assert set(ran.targets) - {"total"} == set(targets.split(", ")) - {"none"}
    heard = [*ran.summary["notices"], *(failure["message"] for failure in ran.summary["failures"])]
    assert said == "–" or any(said in sentence for sentence in heard), heard
    assert "withdrawn" not in ran.changes
    state, _, check = doctor.partition(" ")
    worst = [finding for finding in findings if finding["state"] != "ok"]
    assert [(one["state"], one["check"]) for one in worst] == ([(state, check)] if check else []), worst


def test_closed_zone_is_no_denied_action(light: Driver) -> None:
    """The doctor goes on to another zone of the project where the first is closed to the key."""
    fault = {"action": "DescribeUK8SImage", "zone": "hk-02", "ret_code": 293}
    with run_in_thread(make_timeline(zones=ZONES, projects=["org-a"], faults=[fault])) as cloud:
        findings = examined(light.configure(account(cloud.url)))

    assert [one["state"] for one in findings if one["check"] == "actions"] == ["ok"]


@pytest.mark.provokes("runs may write; {upgrades}", "this role lacks what a run needs")
def test_two_roles_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    """
    With the page's grants a role can run, with SELECT alone it reads; the doctor names what is missing.

    Forgetting is for the role that owns the tables.
    """
    statements, _ = blocks("sql", "docs/permissions.md")
    grants = [line for line in statements.splitlines() if line.startswith("GRANT")]
    role = "crawler_run_" + re.sub(r"\W", "", postgres_url.rpartition("/")[2].partition("?")[0])[-20:]
    driver = Driver(tmp_path, as_role(postgres_url, role))
    with opened(postgres_url) as engine, begin(engine) as conn:
        conn.execute(text(f"CREATE ROLE {role}"))
        for grant in grants:
            conn.execute(text(grant.replace("crawler_run", role)))
    try:
        with run_in_thread(make_timeline(zones=ZONES)) as cloud:
            driver.configure(account(cloud.url))
            driver.run()
            assert [one["state"] for one in examined(driver) if one["check"] == "rights"] == ["ok"]
            assert "must be owner" in driver.call("db", "prune", "--keep", "1d", code=74).stderr
            driver.call("account", "rename", "prod", "other")
            driver.call("account", "rename", "other", "prod")
            driver.call("revoke", "uimage-hk-02", "--reason", "broken")
            revoke(postgres_url, f"INSERT ON changes FROM {role}")
            (finding,) = (one for one in examined(driver, code=1) if one["check"] == "rights")
            assert finding["message"].endswith(": INSERT on changes")
            revoke(postgres_url, f"INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public FROM {role}")
            assert driver.rows("images")
            driver.run(code=74)
    finally:
        with opened(postgres_url) as engine, begin(engine) as conn:
            conn.execute(text(f"DROP OWNED BY {role}"))
            conn.execute(text(f"DROP ROLE {role}"))


def test_upgrade_without_rights(tmp_path: Path, empty_postgres_url: str) -> None:
    """A role that may not create anything in the schema is told so by the upgrade, with 74."""
    with opened(empty_postgres_url) as engine, begin(engine) as conn:
        conn.execute(text("DROP ROLE IF EXISTS crawler_nobody"))
        conn.execute(text("CREATE ROLE crawler_nobody"))
    driver = Driver(tmp_path, as_role(empty_postgres_url, "crawler_nobody")).configure(account("http://127.0.0.1:9/"))

    assert "permission denied" in driver.call("db", "upgrade", code=74).stderr
    with opened(empty_postgres_url) as engine, begin(engine) as conn:
        conn.execute(text("DROP ROLE crawler_nobody"))


def revoke(url: str, rights: str) -> None:
    with opened(url) as engine, begin(engine) as conn:
        conn.execute(text(f"REVOKE {rights}"))


def examined(driver: Driver, code: int | None = 0) -> list[dict[str, Any]]:
    driver.now = datetime.now(UTC)
    findings: list[dict[str, Any]] = json.loads(driver.call("doctor", "--json", code=code).stdout)["findings"]
    return findings
