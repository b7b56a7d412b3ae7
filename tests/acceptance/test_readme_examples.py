"""Every command of the pages runs as it stands: set-ups in an empty folder, the others over the demo's history."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.command import call, keys
from tests.support.driving import Driver
from tests.support.examples import blocks, crawler_words, from_nothing, single_commands
from tests.support.terminals import bash

#: What the page only makes up, and what stands for it here.
STANDS_FOR = {
    "/backups/crawler.db": "backup.db",
    "/backups/yesterday.db": "yesterday.db",
    "/var/lib/crawler/crawler.db": "crawler.db",
    "postgresql://crawler@db.example.com/history": "copy.db",
    "old-name": "demo",
}
#: Commands with another exit code than 0: the demo's history is a day old, has five runs of UK8S images alone and no
#: report that waits, no fleet has its database, and the cloud's clock is not the one that this test gives the program.
CODES = {
    "inventory --kind uk8s-version": 2,
    "inventory --kind uhost-image --zone hk-02": 2,
    "inventory --kind uk8s-* --at 2026-06-01 -o csv": 8,
    "changes --kind instance-type --since 7d": 2,
    "resolve --kind uhost-image --zone hk-02 --name CentOS 7.9 64位": 2,
    "images --at 2026-06-01 --name Ubuntu*": 8,
    "images --zone hk-02 --at 2026-06-01": 8,
    "diff 2026-06-01 now": 8,
    "runs show 42": 2,
    "replay --kind uhost-image": 2,
    "report skip 12": 2,
    "resolve --zone hk-02 --name Ubuntu 20.04 --min-age 7d": 1,
    "doctor": 1,
    # the demo is a SQLite file, which no fleet shares; `tests/fleet` has them work
    "schedule worker": 2,
    "schedule worker kubernetes": 2,
    "worker --slots 16": 2,
    "fleet status": 2,
    "fleet drain --wait 600": 2,
    "fleet resume": 2,
    "fleet evict host-a:4711": 2,
}
#: These serve until they are stopped: tests of their own start them as processes.
SERVES = ("emulate --step-every", "emulate --timeline", "serve", "worker", "demo --serve")
LINES = [words for command in single_commands() if (words := crawler_words(command)) is not None]
#: The blocks that set something up, but for the two that tests of their own play to the mail at their end.
SET_UP = [block for block in from_nothing() if "aiosmtpd" not in block and "HTTPS_PROXY" not in block]


@pytest.mark.parametrize(
    "line", [words for words in LINES if not " ".join(words).startswith(SERVES)], ids=lambda words: " ".join(words)
)
def test_every_example_runs(desk: Driver, line: list[str]) -> None:
    """The command does what it says, or refuses with the exit code for what this history does not have."""
    words = [STANDS_FOR.get(word, word) for word in line]
    piped = Path("terraform.tfstate").read_text() if "-" in line else None
    if line[0] == "resolve":
        piped = "hk-02 Ubuntu 20.04\n"

    call("--config", desk.config, *words, now=desk.now, code=CODES.get(" ".join(line), 0), stdin=piped)


@pytest.mark.parametrize("script", SET_UP)
def test_every_set_up_runs(world: tuple[str, int], tmp_path: Path, script: str) -> None:
    """A block that sets something up does so in an empty folder with exported keys; only `./dev setup` is left out."""
    script = re.sub(r"\./dev setup.*", ":", script)
    script = re.sub(r"^export .*", "export " + " ".join(f"{k}={v}" for k, v in keys().items()), script, flags=re.M)

    bash(script, tmp_path, **keys(world[0]))


def test_terraform(desk: Driver) -> None:
    """The data source's program answers its query, as Terraform's `external` provider would put it, with the id."""
    (block,) = blocks("hcl", "docs/commands.md")
    program = re.findall(r'"([^"]+)"', re.findall(r"program = \[(.*)\]", block)[0])
    query = dict(re.findall(r'(\w+) = "([^"]+)"', re.findall(r"query   = \{(.*)\}", block)[0]))
    asked = re.findall(r"data\.external\.image\.result\.(\w+)", block)

    answer = call("--config", desk.config, *program[1:], now=desk.now, stdin=json.dumps(query))
    assert program[0] == "crawler"
    assert [json.loads(answer.stdout)[name] for name in asked] == ["uimage-x7zezb1gcv5"]
