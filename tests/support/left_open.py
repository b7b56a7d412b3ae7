"""Readers that people leave open: in a pager on a terminal, or with a pipe that nobody empties."""

from __future__ import annotations

import array
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

from tests.support.house import ROOT
from tests.support.processes import until

#: Takes the whole page, and then nobody presses q.
_PAGER = '#!/bin/sh\ncat > "$PAGE.part"\nmv "$PAGE.part" "$PAGE"\nexec sleep 600\n'


def _narrow_pipe() -> tuple[int, int]:
    """Make a pipe that holds one page of memory: any answer is longer."""
    ours, theirs = os.pipe()
    fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, 4096)
    return ours, theirs


class LeftOpen:
    """A `crawler` with *words* whose answer somebody has begun to read and does not go on reading."""

    def __init__(self, folder: Path, words: Sequence[object], *, in_pager: bool) -> None:
        folder.mkdir()
        self.words = list(map(str, words))
        self._page = folder / "page" if in_pager else None
        pager = folder / "pager"
        pager.write_text(_PAGER)
        pager.chmod(0o755)
        self._end, theirs = pty.openpty() if in_pager else _narrow_pipe()
        self._said = (folder / "stderr").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "crawler", *self.words],
            env={
                "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "200", "LINES": "10",
                "PAGER": str(pager), "PAGE": str(folder / "page"),
            },
            stdin=theirs if in_pager else subprocess.DEVNULL,
            stdout=theirs,
            stderr=self._said,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)

    def wait_until_shown(self) -> None:
        """Wait until the answer, or as much of it as a pipe takes, is before the person."""
        until(self._is_shown, seconds=120)

    def _is_shown(self) -> bool:
        assert self._process.poll() is None, f"{self.words} ended: {self._what_was_said()}"
        if self._page is not None:
            return self._page.exists()
        waiting = array.array("i", [0])
        fcntl.ioctl(self._end, termios.FIONREAD, waiting)
        return waiting[0] > 0

    def answer(self) -> str:
        """Read what is left of the answer, and give all of it; a pager is left with its page on the screen."""
        assert self._process.poll() is None, f"{self.words} ended: {self._what_was_said()}"
        if self._page is not None:
            return self._page.read_text()
        with os.fdopen(os.dup(self._end)) as stream:
            text = stream.read()
        assert self._process.wait(60) == 0, self._what_was_said()
        return text

    def close(self) -> None:
        """End what still runs."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._end)
        self._said.close()

    def _what_was_said(self) -> str:
        self._said.seek(0)
        return self._said.read()
