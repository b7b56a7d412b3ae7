"""A rate that accounts share, kept by processes that know nothing of each other, as the server saw it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

import pytest

from tests.support.acceptance_table import Proven
from tests.support.driving import account, asked
from tests.support.fleet import Fleet, most_in_a_second
from tests.support.house import ROOT

#: Kept free of the seconds that are counted: processes start, and the first connections are made.
WARM_SECONDS = 3


def begun(fleet: Fleet, rate: int, processes: int, seconds: int) -> list[subprocess.Popen[bytes]]:
    """Start processes that each crawl an account of their own under one budget, and have enough to ask for so long."""
    projects = [f"org-{number}" for number in range(12)]
    names = [f"account-{number}" for number in range(processes)]
    tables = [account(fleet.cloud.url, name, projects=projects, limits={"budget": "key"}) for name in names]
    variants = [{"name": f"v{number}", "K8sVersion": f"1.{number}"} for number in range(1 + rate * seconds // 250)]
    fleet.driver.configure(*({**table, "variants": variants} for table in tables), limits={"rate": rate})
    command = [sys.executable, "-m", "crawler", "--config", str(fleet.driver.config), "run", "--account"]
    running = [
        subprocess.Popen([*command, name], cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for name in names
    ]
    fleet.wait(lambda: len(asked(fleet.cloud)) > 2 * processes, 60)
    time.sleep(WARM_SECONDS)
    return running


def part_used(moments: Sequence[float], rate: int, since: float, until: float) -> float:
    """Return the part of the rate that the requests at these *moments* used between two others."""
    return sum(1 for moment in moments if since <= moment < until) / (until - since) / rate


@pytest.mark.parametrize(
    ("rate", "processes", "seconds"),
    [
        (20, 2, 5),
        *(pytest.param(rate, 2, 60, marks=pytest.mark.prove) for rate in (10, 50, 200)),
        *(pytest.param(rate, 3, 60, marks=pytest.mark.prove) for rate in (10, 50)),
        pytest.param(200, 3, 60, marks=[pytest.mark.prove, pytest.mark.alone]),
    ],
)
def test_shared_rate(fleet: Fleet, rate: int, processes: int, seconds: int, proven: Proven) -> None:
    """Runs of several processes under one budget never send more than it allows, and use it."""
    running = begun(fleet, rate, processes, seconds + WARM_SECONDS)
    began = time.monotonic()
    time.sleep(seconds)
    ended = time.monotonic()
    for process in running:
        process.terminate()
    assert [process.wait(60) for process in running] == [3] * processes
    moments = sorted(line.at for line in fleet.cloud.log)
    most, used = most_in_a_second(moments), part_used(moments, rate, began, ended)

    proven(f"{rate}/s shared by {processes}: at most rate + 2 in any second", f"{most}, {used:.3f} used")
    assert most <= rate + 2
    if seconds >= 60:
        assert used >= 0.95


@pytest.mark.parametrize(
    ("rate", "processes", "seconds"),
    [(20, 2, 4), pytest.param(50, 3, 20, marks=[pytest.mark.prove, pytest.mark.alone])],
)
def test_killed_process(fleet: Fleet, rate: int, processes: int, seconds: int, proven: Proven) -> None:
    """When one of them is killed, the others have the whole budget a second later, and send no more than it allows."""
    running = begun(fleet, rate, processes, seconds + WARM_SECONDS + 2)
    running[0].kill()
    killed = time.monotonic()
    time.sleep(1 + seconds)
    ended = time.monotonic()
    for process in running[1:]:
        process.terminate()
    assert [process.wait(60) for process in running] == [-9] + [3] * (processes - 1)
    moments = sorted(line.at for line in fleet.cloud.log)
    most, used = most_in_a_second(moments), part_used(moments, rate, killed + 1, ended)

    proven("a shared budget after kill -9: >= 0.95 used from one second later on", f"{used:.3f} used, {most} at most")
    assert most <= rate + 2
    assert used >= (0.95 if seconds >= 20 else 0.5)


@pytest.mark.parametrize(
    ("words", "rate"), [(("run", "--dry-run"), 10), (("doctor",), 20), (("doctor", "--assumptions"), 60)]
)
def test_shared_rate_without_a_run(fleet: Fleet, words: tuple[str, ...], rate: int) -> None:
    """Commands that look at the cloud without a run keep to the rate that their accounts share, and see all of them."""
    tables = [
        account(fleet.cloud.url, f"account-{number}", projects=[f"org-{number}"], limits={"budget": "key"})
        for number in range(12)
    ]
    fleet.driver.configure(*tables, limits={"rate": rate})
    said = fleet.driver.call(*words, code=None)
    moments = sorted(line.at for line in fleet.cloud.log)

    assert len(moments) >= 24
    assert most_in_a_second(moments) <= rate + 2
    assert "deadline" not in said.output
