"""
A pytest plugin: the dated table of acceptance lines that `./dev prove` prints, and with `--publish` keeps in the docs.

A test calls the fixture `proven(line, measured)` once per line of the promise it checks; the row passes when the test
does. Figures (`tests.support.figures`) are rows as well, each with its own verdict. A test of the lane that notes
nothing has a row too, with its own claim (its docstring), so that a failure before the first measurement is not lost.
Works with and without pytest-xdist: rows travel in the reports' `user_properties`.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.figures import Figure, claim_of, figures_of, noted

Proven = Callable[[str, str], None]

ROOT = Path(__file__).resolve().parents[2]
PAGE = Path("docs/proofs.md")
#: The marks of all tests of a folder, but for those that say themselves what they need.
MARKS = {ROOT / "tests/benchmarks": "alone", ROOT / "tests/fleet": "waits"}
_OWN_MARKS = ("alone", "counts")
MARKERS = ("<!-- prove:begin -->", "<!-- prove:end -->")

_PROPERTY = "proven"
_CLAIM = "claim"
_VERDICTS = {"passed": "pass", "failed": "FAIL", "skipped": "skip"}
_FIGURES = {"SHORT": "FAIL", "shown": "show"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the promise, how it went and what was measured."""

    verdict: str
    line: str
    measured: str


@pytest.fixture
def proven(request: pytest.FixtureRequest) -> Proven:
    """Return the function that notes what was measured for a line; best called before the assertion that judges it."""

    def note(line: str, measured: str) -> None:
        request.node.user_properties.append((_PROPERTY, [line, measured]))

    return note


class _Table:
    """Collects the rows of the session and prints them at its end, after those of a session before it in *file*."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        kept = json.loads(file.read_text(encoding="utf-8")) if file is not None and file.exists() else {}
        #: Unix seconds at which the first session began.
        self.began: float = kept.get("began", time.time())
        self.rows = [Row(**row) for row in kept.get("rows", ())]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the rows of a test that was called, or could not be."""
        if report.when == "call" or (report.when == "setup" and report.outcome != "passed"):
            self.rows += rows_of(report)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table, when the session has one; `./dev bench` has its own."""
        if self.file is not None:
            self.file.parent.mkdir(exist_ok=True)
            kept = {"began": self.began, "rows": [asdict(row) for row in self.rows]}
            self.file.write_text(json.dumps(kept), encoding="utf-8")
        if self.rows and not terminalreporter.config.getoption("figures"):
            terminalreporter.section("acceptance")
            width = min(shutil.get_terminal_size((120, 24)).columns, 140)
            dated = f"{heading()} · in {(time.time() - self.began) / 60:.0f} minutes"
            for text in render(self.rows, width=width, heading=dated):
                terminalreporter.write_line(text)
            if terminalreporter.config.getoption("publish"):
                terminalreporter.write_line(publish(self.rows, dated))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option by which `./dev prove` makes one table of its sessions."""
    text = "Begin the table with the rows that FILE holds, where it is there, and keep all in it."
    parser.getgroup("acceptance").addoption("--rows", type=Path, metavar="FILE", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Register the table once per session; the workers of pytest-xdist report to the session that has it."""
    is_worker = hasattr(config, "workerinput")
    config.pluginmanager.register(_Table(None if is_worker else config.getoption("rows")), "acceptance-table")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what a folder's tests need, and note the claim of each test of the lane where its report will carry it."""
    for item in items:
        for folder, mark in MARKS.items():
            if folder in item.path.parents and not any(map(item.get_closest_marker, _OWN_MARKS)):
                item.add_marker(mark)
        if isinstance(item, pytest.Function) and item.get_closest_marker("prove"):
            case = f" [{item.callspec.id}]" if hasattr(item, "callspec") else ""
            item.user_properties.append((_CLAIM, claim_of(item.function, item.nodeid) + case))


def rows_of(report: pytest.TestReport) -> list[Row]:
    """Return the rows a report carries; a test of the `prove` lane without any is a row by its own claim."""
    if noted(report.user_properties):
        return [_row(figure) for figure in figures_of(report)]
    verdict = _VERDICTS[report.outcome]
    lines: list[Any] = [value for name, value in report.user_properties if name == _PROPERTY]
    if not lines:
        return [
            Row(verdict=verdict, line=str(text), measured="") for name, text in report.user_properties if name == _CLAIM
        ]
    return [Row(verdict=verdict, line=str(line), measured=str(measured)) for line, measured in lines]


def _row(figure: Figure) -> Row:
    measured = " — ".join(text for text in (figure.value, figure.detail) if text)
    return Row(verdict=_FIGURES.get(figure.verdict, figure.verdict), line=figure.line, measured=measured)


def render(rows: list[Row], *, width: int, heading: str) -> list[str]:
    """Lay the rows out in *width* columns, the failures last, where they are seen."""
    ordered = sorted(rows, key=lambda row: row.verdict == "FAIL")
    left = min(max(len(row.line) for row in ordered), (width - 8) // 2)
    right = max(width - 8 - left, 20)
    lines = [heading]
    for row in ordered:
        claim = textwrap.wrap(row.line, left) or [""]
        figures = textwrap.wrap(row.measured, right) or [""]
        height = max(len(claim), len(figures))
        claim += [""] * (height - len(claim))
        figures += [""] * (height - len(figures))
        for index, (one, other) in enumerate(zip(claim, figures, strict=True)):
            lines.append(f"{row.verdict if index == 0 else '':4}  {one:{left}}  {other}".rstrip())
    passed = sum(row.verdict == "pass" for row in rows)
    lines.append(f"{passed} of {sum(row.verdict != 'show' for row in rows)} lines hold")
    return lines


def publish(rows: Sequence[Row], heading: str, root: Path = ROOT) -> str:
    """Put the table of *rows* into its page under *heading*, and say so."""
    put(root, MARKERS, [heading, "", "| line | measured | |", "|---|---|---|", *map(_in_page, rows)])
    return f"published: {PAGE}"


def put(root: Path, markers: tuple[str, str], lines: Sequence[str]) -> None:
    """Put *lines* between *markers* of the page of proofs."""
    from tests.support.bench_report import in_place

    page = root / PAGE
    page.write_text(in_place(page.read_text(encoding="utf-8"), lines, markers), encoding="utf-8")


def _in_page(row: Row) -> str:
    cells = (" ".join(text.split()).replace("|", "\\|") for text in (row.line, row.measured, row.verdict))
    return f"| {' | '.join(cells)} |"


def heading() -> str:
    """Say when, on what and of which commit the table was made."""
    now = datetime.now(UTC)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {platform.python_implementation()}"
    return f"{now:%Y-%m-%d %H:%M} UTC · {machine} {platform.python_version()} · commit {commit()}"


def commit() -> str:
    """Return the short hash of the checkout, with + when files differ from it."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--exclude=*", "--dirty=+"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()
