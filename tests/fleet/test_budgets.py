"""A rate that accounts share, kept by processes that know nothing of each other, as the server saw it."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.support.acceptance_table import Proven
from tests.support.driving import account, asked
from tests.support.fleet import Fleet, most_in_a_second
from tests.support.house import ROOT


@pytest.mark.parametrize(
    ("rate", "processes", "seconds"),
    [
        (20, 2, 6),
        *(pytest.param(rate, count, 60, marks=pytest.mark.prove) for rate in (10, 50, 200) for count in (2, 3)),
    ],
)
def test_shared_rate(fleet: Fleet, rate: int, processes: int, seconds: int, proven: Proven) -> None:
    """Runs of several processes under one budget never send more than it allows, and use it."""
    projects = [f"org-{number}" for number in range(12)]
    names = [f"account-{number}" for number in range(processes)]
    tables = [account(fleet.cloud.url, name, projects=projects, limits={"budget": "key"}) for name in names]
    variants = [{"name": f"v{number}", "K8sVersion": f"1.{number}"} for number in range(rate * seconds // 250)]
    fleet.driver.configure(*({**table, "variants": variants} for table in tables), limits={"rate": rate})
    command = [sys.executable, "-m", "crawler", "--config", str(fleet.driver.config), "run", "--account"]
    running = [
        subprocess.Popen([*command, name], cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for name in names
    ]
    fleet.wait(lambda: len(asked(fleet.cloud)) > 2 * processes, 60)
    began = time.monotonic()
    time.sleep(seconds)
    ended = time.monotonic()
    for process in running:
        process.terminate()
    assert [process.wait(60) for process in running] == [3] * processes
    moments = sorted(line.at for line in fleet.cloud.log)
    used = sum(1 for moment in moments if began <= moment < ended) / (ended - began) / rate

    most = most_in_a_second(moments)

    assert most <= rate + 2
    proven(f"{rate}/s shared by {processes}: at most rate + 2 in any second", f"{most}, {used:.3f} used")
    if seconds >= 60:
        assert used >= 0.95
