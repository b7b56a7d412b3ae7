"""From nothing to the first mail about a change, with the README's own commands."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.acceptance_table import Proven
from tests.support.examples import blocks, commands


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.slow
def test_first_mail(tmp_path: Path, proven: Proven) -> None:
    """The README's commands, five at most, bring a mail about a re-issue within 60 seconds."""
    (script,) = (block for block in blocks("sh", "README.md") if "aiosmtpd" in block)
    typed = [words for words in commands(script) if words[0] not in (".", "sleep", "(umask")]
    assert len(typed) <= 5
    script, set_ups = re.subn(r"^\./dev setup --dev && \. \.venv/bin/activate", ":", script)
    assert set_ups == 1
    mail, cloud = free_port(), free_port()
    script = script.replace("8025", str(mail)).replace("8484", str(cloud)).replace("emulate", f"emulate --port {cloud}")
    started = time.monotonic()
    process = subprocess.Popen(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(100)
    finally:
        # The script leaves its two servers behind; they are in its own session, and nothing else is.
        os.killpg(process.pid, signal.SIGTERM)
    seconds = time.monotonic() - started
    text = (tmp_path / "mail.txt").read_text(encoding="utf-8", errors="replace")
    proven(
        "from nothing to the first change mail against the emulator in at most 5 commands and 60 seconds",
        f"{len(typed)} commands, {seconds:.0f} s",
    )

    assert process.returncode in (0, 3)
    assert "uimage-rccvz4l9itr" in text or "uimage-x7zezb1gcv5" in text
    assert seconds < 60
