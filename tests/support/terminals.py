"""Reads a pseudo terminal as the person in front of it, and runs scripts as somebody does who is new."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.house import ROOT


def read_terminal(ours: int) -> str:
    """Return what is shown on a pseudo terminal until its other end is closed, and close this one."""
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    return shown.decode()


def bash(script: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run *script* in *folder* as a new user, with `crawler` on the path; it must end well."""
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=folder,
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done
    return done
