"""Every `crawler …` line of the pages runs as it stands, over the demo's history."""

from __future__ import annotations

import shlex

import pytest

from tests.support.driving import Driver
from tests.unit.test_readme import CRAWLER_LINES

#: What the page only makes up, and what stands for it here.
STANDS_FOR = {
    "/backups/crawler.db": "backup.db",
    "postgresql://crawler@db.example.com/history": "copy.db",
    "old-name": "demo",
}
#: Lines with another exit code than 0: the demo's history is a day old, has five runs and no report that waits, the
#: environment has no keys, and the cloud's clock is not the one that this test gives the program.
CODES = {
    "images --at 2026-06-01 --name 'Ubuntu*'": 8,
    "images --zone hk-02 --at 2026-06-01": 8,
    "init": 2,
    "diff 2026-06-01 now": 8,
    "runs show 42": 2,
    "report skip 12": 2,
    "doctor": 1,
    "init --key-file private.key": 2,
}
#: These serve until they are stopped: `test_emulator_command.py` starts them as processes.
SERVES = ("emulate --step-every", "emulate --timeline")
LINES = [line for line in dict.fromkeys(CRAWLER_LINES) if not line.startswith(SERVES)]


@pytest.mark.parametrize("line", LINES)
def test_every_example_runs(desk: Driver, line: str) -> None:
    """The line does what it says, or refuses with the exit code for what this history does not have."""
    words = [STANDS_FOR.get(word, word) for word in shlex.split(line)]

    desk.call(*words, code=CODES.get(line, 0))
