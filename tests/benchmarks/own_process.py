"""`crawler run` in a process of its own, with what the system says it took: seconds, and memory at its peak."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.house import ROOT
from tests.support.processes import write_config

#: Counts as the child's peak what its parent had when it was started, so the parent is this small one: the system
#: takes the memory of the process that forks into the account of the one that is forked.
_STARTER = r"""
import json, os, sys, time
begun = time.perf_counter()
pid = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ)
_, status, usage = os.wait4(pid, 0)
seconds = time.perf_counter() - begun
peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print("", json.dumps([os.waitstatus_to_exitcode(status), seconds, peak]), sep="\n", file=sys.stderr)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a process ended, and what it took."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    peak_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a run did, and what its process took."""

    seconds: float
    peak_mb: float
    summary: dict[str, Any]


def crawler_run(folder: Path, endpoint: str, database: Path) -> Ran:
    """Run `crawler run` over every target of *endpoint*; *folder* takes the configuration."""
    config = folder / "crawler.toml"
    write_config(config, database=str(database), endpoint=endpoint, rate=1e6, run_deadline_seconds=300)
    done = python("-m", "crawler", "--config", config, "run", "--json")
    assert done.code == 0, done
    return Ran(seconds=done.seconds, peak_mb=done.peak_mb, summary=json.loads(done.stdout))


def python(*arguments: object, stdin: str = "") -> Ended:
    """Run a Python with *arguments* and that *stdin*, without an environment of its caller's."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _STARTER, *map(str, arguments)],
        env={"PATH": os.environ["PATH"], "HOME": "/dev/null", "PYTHONPATH": str(ROOT)},
        input=stdin,
        capture_output=True,
        text=True,
        check=True,
    )
    *said, told = done.stderr.splitlines()
    code, seconds, peak = json.loads(told)
    return Ended(code=code, stdout=done.stdout, stderr="\n".join(said), seconds=seconds, peak_mb=peak / 1e6)
