"""The page about many machines, and what a process loads that is of no fleet."""

from __future__ import annotations

import subprocess
import sys

from crawler.cli.worker import SLOTS
from crawler.fleet.queue import CONNECTIONS, SCHEMA
from crawler.fleet.worker import POOL
from tests.support.examples import blocks
from tests.support.fleet import Fleet
from tests.support.house import ROOT

LOADED = """
import sys
from crawler.cli import main
try:
    main()
finally:
    print(*sorted(name for name in sys.modules if name.startswith(("crawler.fleet", "procrastinate", "psycopg_pool"))))
"""


def test_figures_of_the_picture() -> None:
    """The picture shows the slots, the connections and the schema that a worker has."""
    (picture,) = blocks("", "docs/fleet.md")

    connections = 1 + POOL + CONNECTIONS
    assert f"{SLOTS} slots, {connections} conn." in picture
    assert connections <= 12
    assert SCHEMA in picture


def test_run_loads_nothing_of_it(fleet: Fleet) -> None:
    """`crawler run` and `db status` load no module of the fleet, not even with a budget."""
    fleet.configure(2, every="15m", limits={"budget": "key"})
    for words in (["run"], ["db", "status"]):
        command = [sys.executable, "-c", LOADED, "--config", str(fleet.driver.config), *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)

        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == ""
