"""The pages' answers to questions are the program's own, on the demo's history."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crawler.demo import play
from tests.support.house import ROOT, text_of

(SECTION,) = re.findall(
    r"<!-- answers:begin -->\n(.*?)<!-- answers:end -->", text_of(Path("docs/commands.md")), re.DOTALL
)
EXAMPLES = re.findall(r"^\$ crawler (.*)\n((?:(?!\$ |```).*\n)*)", SECTION, re.MULTILINE)
#: What differs from one demo to the next.
TIME = re.compile(r"(\d{4}-)?\d\d-\d\d \d\d:\d\d(:\d\d)?|times of \d{4}")
REQUEST = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("answers") / "demo.db"
    play(path, clock=lambda: datetime.now(UTC))
    return path


def on_terminal(database: Path, words: list[str]) -> str:
    """Call the program on a terminal of 100 columns and give what a person sees, colours apart."""
    ours, theirs = pty.openpty()
    environ = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "PAGER": "cat",
        "COLUMNS": "100", "LINES": "50",
    }  # fmt: skip
    command = [sys.executable, "-m", "crawler", "--database", str(database), *words]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environ, cwd=database.parent) as running:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            shown += piece
    os.close(ours)
    assert running.returncode == 0, shown
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).replace("\r", "")


def timeless(text: str) -> list[str]:
    """Take from an answer what differs from run to run; an ellipsis stands for itself."""
    lines = [REQUEST.sub("REQUEST", TIME.sub("TIME", line)).rstrip() for line in text.splitlines()]
    return [line for line in lines if line]


@pytest.mark.parametrize(("command", "shown"), EXAMPLES, ids=[command for command, _ in EXAMPLES])
def test_answers(played: Path, command: str, shown: str) -> None:
    """What the page shows under a command is what the command says of the demo's history."""
    if "times of" in shown and len({(datetime.now(UTC) - timedelta(hours=hours)).year for hours in (-8, 32)}) > 1:
        pytest.skip("the demo's day lies in two years, so the table tells both")
    assert timeless(on_terminal(played, shlex.split(command))) == timeless(shown)


def test_every_question_has_an_example() -> None:
    """Each command that answers a question about images over time or place is shown with its answer."""
    assert {command.split()[0] for command, _ in EXAMPLES} >= {"history", "where", "diff", "compare", "explain"}
