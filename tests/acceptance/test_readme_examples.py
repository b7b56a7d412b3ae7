"""Every `crawler …` line of the README runs as it stands, over the demo's history."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from crawler.demo import play
from crawler.emulator import demo, run_in_thread
from tests.support.command import NOW
from tests.support.driving import Driver, account
from tests.support.smtp import mail_server
from tests.unit.test_readme import CRAWLER_LINES, README

#: What the page only makes up, and what stands for it here.
STANDS_FOR = {
    "/backups/crawler.db": "backup.db",
    "postgresql://crawler@db.example.com/history": "copy.db",
    "old-name": "demo",
}
#: Lines with another exit code than 0: the demo's history is a day old, has five runs and no report that waits, and
#: the cloud's clock is not the one that this test gives the program.
CODES = {
    "images --at 2026-06-01 --name 'Ubuntu*'": 8,
    "diff 2026-06-01 now": 8,
    "runs show 42": 2,
    "report skip 12": 2,
    "doctor": 1,
}
#: These serve until they are stopped: `test_emulator_command.py` starts them as processes.
SERVES = ("emulate --step-every", "emulate --timeline")
LINES = [line for line in dict.fromkeys(CRAWLER_LINES) if not line.startswith(SERVES)]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("examples") / "demo.db"
    play(path, clock=lambda: NOW)
    return path


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[str, int]]:
    """Give the cloud's URL, and the port of a mail server."""
    with run_in_thread(demo()) as cloud, mail_server() as mails:
        yield cloud.url, mails.port


@pytest.fixture
def desk(played: Path, world: tuple[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Give a working folder with a configuration, the demo's history, and the files that the README speaks of."""
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(played, tmp_path / "crawler.db")
    (rules,) = (block for block in re.findall(r"^```toml\n(.*?)^```", README, re.M | re.S) if "[[require]]" in block)
    (tmp_path / "rules.toml").write_text(rules)
    state = {"version": 4, "resources": [{"instances": [{"attributes": {"image_id": "uimage-x7zezb1gcv5"}}]}]}
    (tmp_path / "terraform.tfstate").write_text(json.dumps(state))
    driver = Driver(tmp_path, "sqlite:///crawler.db", now=NOW + timedelta(minutes=5))
    url, port = world
    smtp = {"host": "127.0.0.1", "port": port, "security": "none", "from": "crawler@example.com"}
    return driver.configure(account(url, "demo"), smtp=smtp, reports=[{"name": "sre", "to": ["sre@example.com"]}])


@pytest.mark.parametrize("line", LINES)
def test_every_example_runs(desk: Driver, line: str) -> None:
    """The line does what it says, or refuses with the exit code for what this history does not have."""
    words = [STANDS_FOR.get(word, word) for word in shlex.split(line)]

    desk.call(*words, code=CODES.get(line, 0))
