"""The tables of proofs: what `./dev prove` and `./dev mutate` keep in the docs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.mutation import __main__ as mutation
from tests.support import acceptance_table
from tests.support.acceptance_table import PAGE, Row
from tests.support.house import ROOT


def test_kept_table(tmp_path: Path) -> None:
    """The table of `./dev prove --publish` stands between its markers with its date, and the rest of the page stays."""
    page = tmp_path / PAGE
    page.parent.mkdir()
    begin, end = acceptance_table.MARKERS
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n", encoding="utf-8")
    rows = [Row(verdict="pass", line="a|b", measured="1\n2"), Row(verdict="FAIL", line="c", measured="")]

    assert acceptance_table.publish(rows, "on a day · in 59 minutes", tmp_path) == f"published: {PAGE}"
    lines = page.read_text(encoding="utf-8").splitlines()
    assert (lines[:2], lines[-2:]) == (["before", begin], [end, "after"])
    assert lines[2] == "on a day · in 59 minutes"
    assert lines[3:-2] == ["", "| line | measured | |", "|---|---|---|", r"| a\|b | 1 2 | pass |", "| c |  | FAIL |"]


def test_page_has_room_for_both() -> None:
    """The page has the markers of both tables, once each."""
    text = (ROOT / PAGE).read_text(encoding="utf-8")

    assert [text.count(marker) for marker in (*acceptance_table.MARKERS, *mutation.MARKERS)] == [1, 1, 1, 1]


def test_one_table_of_two_sessions(tmp_path: Path) -> None:
    """With `--rows` the table of a session begins with the rows of the one before, and says how long all took."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    prove\n    alone\n    waits\n")
    (tmp_path / "test_lines.py").write_text(
        "import pytest\n"
        "@pytest.mark.prove\n"
        "def test_first(proven):\n"
        "    proven('the first line', '1')\n"
        "@pytest.mark.prove\n"
        "def test_second(proven):\n"
        "    proven('the second line', '2')\n"
        "    assert False\n"
    )
    plugins = ("-p", "no:cacheprovider", "-p", "tests.support.figures", "-p", "tests.support.acceptance_table")
    said = []
    for word in ("first", "second"):
        call = [sys.executable, "-m", "pytest", *plugins, "--rows", "rows.json", "-k", word]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(call, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        said.append([" ".join(line.split()) for line in done.stdout.splitlines()])

    assert "1 of 1 lines hold" in said[0]
    assert any(" UTC · " in line and line.endswith(" minutes") for line in said[1])
    assert [line for line in said[1] if line.startswith(("pass ", "FAIL ", "1 of"))] == [
        "pass the first line 1",
        "FAIL the second line 2",
        "1 of 2 lines hold",
    ]
