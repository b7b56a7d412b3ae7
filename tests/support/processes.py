"""Runs of the crawler as processes: forked by the nursery at the same moment, or started from nothing."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from crawler.emulator import EXAMPLE_PRIVATE_KEY, EXAMPLE_PUBLIC_KEY
from tests.support.house import ROOT

Weight = Literal["light", "lock", "heavy"]

#: What a run loads only once it holds the lock.
NETWORK = ("aiohttp", "asyncio_throttle", "yarl", "crawler.client", "crawler.crawl.run")

#: Loaded by Python at the start of a process: at its end it tells what was loaded.
_HOOK = """
import atexit, os, sys
if os.environ.get("MODULES"):
    atexit.register(lambda: open(os.environ["MODULES"], "w").write("\\n".join(sorted(sys.modules))))
"""


@dataclass(frozen=True, kw_only=True)
class Order:
    """A run to be made, and what shall happen to it."""

    words: Sequence[str]
    folder: str
    environ: Mapping[str, str] = field(default_factory=dict)
    #: Write so many targets at once, which the command line does not offer; the words must be `--config FILE …`.
    batch: int | None = None
    #: `kill -9` after so many seconds.
    kill_after: float | None = None
    #: `kill -9` right before this statement to the database.
    kill_at: int | None = None
    #: `kill -9` right before the first statement after so many commits.
    kill_after_commits: int | None = None
    #: No file may grow beyond so many bytes.
    largest_file: int | None = None
    #: Run as this user.
    user: int | None = None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a run ended."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    modules: frozenset[str]
    #: Statements sent to the database, where that was counted.
    statements: int = 0
    index: int = 0
    pid: int = 0

    @property
    def was_killed(self) -> bool:
        """It was ended by `kill -9`."""
        return self.code == -9

    def loaded(self, names: Sequence[str]) -> list[str]:
        """Return those of *names*, packages or modules, that were loaded."""
        return [name for name in names if any(m == name or m.startswith(f"{name}.") for m in self.modules)]


class Nursery:
    """The process that forks runs."""

    def __init__(self, weight: Weight) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.nursery", weight],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.loaded = frozenset(self._line()["loaded"])

    def close(self) -> None:
        """End it, and what it still runs."""
        self._process.communicate()

    def start(self, *orders: Order) -> None:
        """Let the runs go, all at the same moment."""
        for order in orders:
            Path(order.folder).mkdir(exist_ok=True)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"runs": [asdict(order) for order in orders]}) + "\n")
        self._process.stdin.flush()

    def next_end(self) -> Ended:
        """Wait for the next end of a run."""
        line = self._line()
        return Ended(**line | {"modules": frozenset(line["modules"])})

    def run(self, order: Order) -> Ended:
        """Make one run and wait for its end."""
        self.start(order)
        return self.next_end()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line: dict[str, Any] = json.loads(self._process.stdout.readline())
        return line


@contextmanager
def nursery(weight: Weight) -> Iterator[Nursery]:
    """Start a nursery for a `with` block."""
    started = Nursery(weight)
    try:
        yield started
    finally:
        started.close()


class Process:
    """A real `python -m crawler` with *words*, started from nothing."""

    def __init__(self, folder: Path, *words: object, under: Sequence[str] = (), hook: str = "") -> None:
        """Start it *under* another command, and with the Python text *hook* executed first."""
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(f"{_HOOK}\n{hook}\n")
        self._modules = folder / "modules"
        self._modules.unlink(missing_ok=True)
        self._started = time.monotonic()
        self.popen = subprocess.Popen(
            [*under, sys.executable, "-m", "crawler", *map(str, words)],
            env={
                "PATH": os.environ["PATH"],
                "HOME": "/dev/null",
                "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))),
                "MODULES": str(self._modules),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def signal(self, number: int) -> None:
        """Send it a signal; it is ours and not yet waited for, so it is still the one we mean."""
        self.popen.send_signal(number)

    def end(self, *, kill_after: float | None = None) -> Ended:
        """Wait for its end, and kill it *kill_after* seconds after its start."""
        limit = 60.0 if kill_after is None else max(0.0, self._started + kill_after - time.monotonic())
        try:
            stdout, stderr = self.popen.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            stdout, stderr = self.popen.communicate()
        seconds = time.monotonic() - self._started
        modules = frozenset(self._modules.read_text().split("\n")) if self._modules.exists() else frozenset[str]()
        return Ended(code=self.popen.returncode, stdout=stdout, stderr=stderr, seconds=seconds, modules=modules)


class Gate:
    """Given to the emulator as its `sleep`: whoever has to wait waits until the gate opens, not for a time."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self._opened.set()
        self._lets_pass = True
        #: How many wait.
        self.waiting = 0

    async def __call__(self, _: float) -> None:
        """Wait until the gate opens."""
        opened = self._opened
        if self._lets_pass:
            return
        self.waiting += 1
        try:
            while not opened.is_set():  # noqa: ASYNC110 - another thread opens it
                await asyncio.sleep(0.002)
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """Stop those who come from now on."""
        self._opened, self._lets_pass = threading.Event(), False

    def let_newcomers_pass(self) -> None:
        """Let pass who comes from now on; those who wait go on waiting."""
        self._lets_pass = True

    def open(self) -> None:
        """Let everybody pass."""
        self._lets_pass = True
        self._opened.set()


def until(condition: Callable[[], object], *, seconds: float = 30) -> None:
    """Wait until another process has made *condition* true; fail when it has not after *seconds*."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)


def write_config(path: Path, *, database: str, endpoint: str, **limits: float) -> Path:
    """Write a configuration of one account with the emulator's keys, quick and without retries unless told so."""
    chosen = {"rate": 5000, "attempts": 1, "timeout_seconds": 30, **limits}
    lines = [
        f"database = {json.dumps(database)}",
        "[[accounts]]",
        'name = "prod"',
        f"endpoint = {json.dumps(endpoint)}",
        f"public_key = {json.dumps(EXAMPLE_PUBLIC_KEY)}",
        f"private_key = {json.dumps(EXAMPLE_PRIVATE_KEY)}",
        "[limits]",
        *(f"{key} = {value}" for key, value in chosen.items()),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    path.chmod(0o600)
    return path
