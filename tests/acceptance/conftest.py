"""
A `driver`: one user with a configuration file, over SQLite and over PostgreSQL; `light` is SQLite alone.

A `desk` is one with the demo's history and everything else that the README's examples speak of.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from crawler.demo import play
from crawler.emulator import demo, run_in_thread
from tests.support.checkout import POOL
from tests.support.command import NOW
from tests.support.driving import Driver, account
from tests.support.examples import blocks
from tests.support.smtp import mail_server


@pytest.fixture
def driver(tmp_path: Path, database_url: str) -> Driver:
    return Driver(tmp_path, database_url)


@pytest.fixture
def light(tmp_path: Path, sqlite_url: str) -> Driver:
    return Driver(tmp_path, sqlite_url)


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("examples") / "demo.db"
    play(path, clock=lambda: NOW)
    return path


@pytest.fixture(scope="session")
def world() -> Iterator[tuple[str, int]]:
    """Return the cloud's URL, and the port of a mail server."""
    with run_in_thread(demo()) as cloud, mail_server() as mails:
        yield cloud.url, mails.port


@pytest.fixture
def desk(played: Path, world: tuple[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Return a working folder with a configuration, the demo's history, and the files that the pages speak of."""
    monkeypatch.chdir(tmp_path)
    for name in ("crawler.db", "yesterday.db"):
        shutil.copyfile(played, tmp_path / name)
    (rules,) = blocks("toml", "docs/commands.md")
    (tmp_path / "rules.toml").write_text(rules)
    state = {"version": 4, "resources": [{"instances": [{"attributes": {"image_id": "uimage-x7zezb1gcv5"}}]}]}
    (tmp_path / "terraform.tfstate").write_text(json.dumps(state))
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "pool.tf").write_text(POOL % "uimage-x7zezb1gcv5")
    (tmp_path / "values.yaml").write_text("zone: hk-02\nimageId: uimage-x7zezb1gcv5\n")
    driver = Driver(tmp_path, "sqlite:///crawler.db", now=NOW + timedelta(minutes=5))
    url, port = world
    smtp = {"host": "127.0.0.1", "port": port, "security": "none", "from": "crawler@example.com"}
    return driver.configure(account(url, "demo"), smtp=smtp, reports=[{"name": "sre", "to": ["sre@example.com"]}])
