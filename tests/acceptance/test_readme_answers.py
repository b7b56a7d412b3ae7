"""The pages' answers to questions are the program's own, on the demo's history."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crawler.cli.language import speaking, tr
from crawler.demo import play
from tests.support.examples import blocks
from tests.support.house import ROOT
from tests.support.terminals import read_terminal

EXAMPLES = re.findall(r"^\$ crawler (.*)\n((?:(?!\$ ).*\n)*)", "".join(blocks("console")), re.MULTILINE)
#: What differs from one demo to the next.
TIME = re.compile(r"(\d{4}-)?\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d{3}Z)?)?|times of \d{4}")
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
        shown = read_terminal(ours)
    assert running.returncode == 0, shown
    return re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r", "")


def timeless(text: str) -> list[str]:
    """Take from an answer what differs from run to run; an ellipsis stands for itself."""
    lines = [REQUEST.sub("REQUEST", TIME.sub("TIME", line)).rstrip() for line in text.splitlines()]
    return [line for line in lines if line]


@pytest.mark.parametrize(("command", "shown"), EXAMPLES, ids=[command for command, _ in EXAMPLES])
def test_answers(played: Path, command: str, shown: str) -> None:
    """What the page shows under a command is what the command says of the demo's history."""
    if "times of" in shown and len({(datetime.now(UTC) - timedelta(hours=hours)).year for hours in (-8, 32)}) > 1:
        pytest.skip("the demo's day lies in two years, so the table tells both")
    given = timeless(on_terminal(played, shlex.split(command)))
    if command.endswith("-o json"):
        assert rows_of(given, shown) == rows_of(timeless(shown), shown)
    else:
        assert given == timeless(shown)


def test_chinese_screen(tmp_path: Path) -> None:
    """The demo's screen on the Chinese front page is the one that a reader of Chinese gets."""
    (shown,) = blocks("", "README.zh.md")
    with speaking("zh"):
        screen = play(tmp_path / "demo.db", clock=lambda: datetime.now(UTC), say=tr)
    times = re.compile(r"(\d\d-\d\d )?\d\d:\d\d")

    assert [times.sub("TIME", line) for line in screen] == times.sub("TIME", shown.split("\n网页 ")[0]).splitlines()


def rows_of(lines: list[str], shown: str) -> list[Any]:
    """Return the JSON rows in *lines*: the first ones, where an ellipsis stands for more in what is *shown*."""
    is_cut = shown.endswith("…\n")
    found: list[Any] = json.loads("".join(line for line in lines if line != "…").rstrip(",]") + "]")
    return found[: shown.count('{"account"')] if is_cut else found


def test_every_question_has_an_example() -> None:
    """Each command that answers a question about images over time or place is shown with its answer."""
    assert {command.split()[0] for command, _ in EXAMPLES} >= {"history", "where", "diff", "compare", "explain"}
