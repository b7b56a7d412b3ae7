"""A real cron daemon runs the printed line, with no profile and no PATH help."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crawler.emulator import run_in_thread
from tests.support.acceptance_table import Proven
from tests.support.driving import Driver, account
from tests.support.worlds import make_timeline

TABLE = Path("/etc/cron.d/crawler-acceptance")
#: Two starts of the minute, and the time a run takes.
PATIENCE_SECONDS = 150

pytestmark = [
    pytest.mark.prove,
    pytest.mark.skipif(shutil.which("cron") is None, reason="Debian's cron (package cron) is missing"),
    pytest.mark.skipif(os.geteuid() != 0, reason="starting a cron daemon needs root"),
]


@contextmanager
def cron_daemon() -> Iterator[None]:
    """Have a cron daemon for a `with` block: ours, or the machine's where one is at work already."""
    program = shutil.which("cron")
    assert program is not None
    process = subprocess.Popen(
        [program, "-f"],
        env={"PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    time.sleep(1)
    is_ours = process.poll() is None
    if not is_ours:
        assert process.stderr is not None
        assert b"lock" in process.stderr.read()
    try:
        yield
    finally:
        if is_ours:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def test_cron_runs_the_printed_line(tmp_path: Path, sqlite_url: str, proven: Proven) -> None:
    """Within three minutes the daemon has run the line at two minutes, each a complete run that said nothing."""
    driver = Driver(tmp_path, sqlite_url)
    with run_in_thread(make_timeline(zones={"hk-02": {"uimage-a": "CentOS 7.6"}})) as cloud:
        driver.configure(account(cloud.url))
        line = driver.call("schedule", "cron", "--every", "1").stdout.splitlines()[-1]
        said = tmp_path / "said"
        schedule, command = line[: len("* * * * *")], line[len("* * * * *") :].strip()
        # /etc/cron.d wants the user in between; what the run says is kept instead of mailed.
        TABLE.write_text(f"{schedule} root {command} >>{said} 2>&1\n")
        TABLE.chmod(0o644)
        try:
            with cron_daemon():
                until = time.monotonic() + PATIENCE_SECONDS
                while time.monotonic() < until and len(complete(driver)) < 2:
                    time.sleep(2)
        finally:
            TABLE.unlink()
    runs = complete(driver)
    proven(
        "Debian's cron runs the printed line every minute, with no profile or PATH help",
        f"{len(runs)} complete runs in at most {PATIENCE_SECONDS} s; said: {said.read_text()!r}",
    )

    assert len(runs) >= 2
    assert said.read_text() == ""


def complete(driver: Driver) -> list[str]:
    return [run["started_at"] for run in driver.rows("runs") if run["status"] == "complete"]
