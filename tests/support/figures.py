"""
A pytest plugin: the figures that are measured, each with its bar, and what `./dev bench` makes of them.

A measurement notes what it found through the fixture `figures` (`at_most`, `at_least`, `between`, `shown`) and goes on;
the test fails at its end when a bar was missed, so that one that is missed hides no other. Figures travel in the
reports' `user_properties`, also to the acceptance table. With `--figures` the session ends with their table and a file
under `.bench`; with `--publish` the table of `docs/figures.md` is made anew (`bench_report` renders both).
"""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pytest

Verdict = Literal["pass", "SHORT", "shown", "skip", "FAIL"]

#: The rows of the promise, in its order, and what else `./dev bench` measures.
ROWS = (
    "throttle",
    "throughput",
    "connections",
    "unchanged run",
    "changed run",
    "memory",
    "as-of",
    "start-up",
    "many accounts",
    "check",
    "other designs",
)
NOT_MEASURED = "not measured"
#: Cases by the names that the code has for them.
_CASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
_PROPERTY = "figure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure: *row* of the promise, *what* of it, in which *case*, and how it compares with its bar."""

    row: str
    what: str
    verdict: Verdict
    case: str = ""
    measured: float | None = None
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    detail: str = ""
    #: Told in full tables only, not in the page.
    minor: bool = False

    @property
    def bar(self) -> str:
        """Return the bar in words; nothing where there is none."""
        if self.at_least == self.at_most is not None:
            text = f"{self.at_most:,g}"
        elif self.at_least is not None and self.at_most is not None:
            text = f"{self.at_least:,g}–{self.at_most:,g}"
        elif self.at_least is not None:
            text = f"≥ {self.at_least:,g}"
        elif self.at_most is not None:
            text = f"≤ {self.at_most:,g}"
        else:
            return ""
        return with_unit(text, self.unit)

    @property
    def value(self) -> str:
        """Return what was measured in words."""
        return "" if self.measured is None else with_unit(number(self.measured), self.unit)

    @property
    def line(self) -> str:
        """Return the promise as one line of the acceptance table."""
        case = f" ({self.case})" if self.case else ""
        return f"{self.row}: {self.what}{case} {self.bar}".rstrip()


def number(value: float) -> str:
    """Return a number with as many digits as mean something."""
    if value == round(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def with_unit(text: str, unit: str) -> str:
    """Put the unit behind a number."""
    return f"{text}{unit}" if unit.startswith("/") else f"{text} {unit}".rstrip()


class Figures:
    """Notes the figures of one test."""

    def __init__(self, noted: list[tuple[str, object]]) -> None:
        self._noted = noted

    def at_most(self, row: str, what: str, measured: float, bar: float, unit: str = "", **more: Any) -> None:
        """Note a figure that must not be more than *bar*; *more*: `case`, `detail`, `minor`."""
        verdict: Verdict = "pass" if measured <= bar else "SHORT"
        self._note(row=row, what=what, measured=measured, at_most=bar, unit=unit, verdict=verdict, **more)

    def at_least(self, row: str, what: str, measured: float, bar: float, unit: str = "", **more: Any) -> None:
        """Note a figure that must not be less than *bar*."""
        verdict: Verdict = "pass" if measured >= bar else "SHORT"
        self._note(row=row, what=what, measured=measured, at_least=bar, unit=unit, verdict=verdict, **more)

    def between(
        self, row: str, what: str, measured: float, low: float, high: float, unit: str = "", **more: Any
    ) -> None:
        """Note a figure that must lie between two bars."""
        verdict: Verdict = "pass" if low <= measured <= high else "SHORT"
        self._note(
            row=row, what=what, measured=measured, at_least=low, at_most=high, unit=unit, verdict=verdict, **more
        )

    def exactly(self, row: str, what: str, measured: float, bar: float, unit: str = "", **more: Any) -> None:
        """Note a count that must be *bar*."""
        self.between(row, what, measured, bar, bar, unit, **more)

    def shown(self, row: str, what: str, measured: float, unit: str = "", **more: Any) -> None:
        """Note a figure without a bar: what somebody else's way costs, or what there is to compare with."""
        self._note(row=row, what=what, measured=measured, unit=unit, verdict="shown", **more)

    def skip(self, row: str, what: str, reason: str, **more: Any) -> None:
        """Note that a figure is missing because this machine lacks what it takes."""
        self._note(row=row, what=what, verdict="skip", detail=reason, **more)

    def _note(self, *, row: str, measured: float | None = None, case: str = "", **more: Any) -> None:
        assert row in ROWS, row
        # seven digits mean more than enough, and keep the file readable
        value = None if measured is None else float(f"{measured:.7g}")
        figure = Figure(row=row, measured=value, case=_CASES.get(case, case), **more)
        self._noted.append((_PROPERTY, asdict(figure)))


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Return what notes the figures of the test; a missed bar fails it at its end."""
    return Figures(request.node.user_properties)


def noted(properties: list[tuple[str, Any]]) -> list[Figure]:
    """Return the figures among the properties of a test or its report."""
    return [Figure(**value) for name, value in properties if name == _PROPERTY]


def figures_of(report: pytest.TestReport) -> list[Figure]:
    """Return the figures of a report; a test that ended before it measured all is one by its claim."""
    found = noted(report.user_properties)
    is_judged = any(figure.verdict == "SHORT" for figure in found)
    if report.outcome == "passed" or is_judged:
        return found
    claim = next((str(value) for name, value in report.user_properties if name == "claim"), report.nodeid)
    reason = _reason(report)
    verdict: Verdict = "skip" if report.outcome == "skipped" else "FAIL"
    row = found[0].row if found else NOT_MEASURED
    return [*found, Figure(row=row, what=claim, verdict=verdict, detail=reason.removeprefix("Skipped: "))]


def _reason(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2]
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr)[:300]


# --- the plugin ------------------------------------------------------------------------------------------------------


class _Session:
    """Collects the figures of the session and tells them at its end."""

    def __init__(self, config: pytest.Config) -> None:
        self._is_published = bool(config.getoption("publish"))
        self._begun = time.monotonic()
        # what else this machine was doing
        self._load = os.getloadavg()[0]
        self._found: list[Figure] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the figures of a test that was called, or could not be."""
        if report.when == "call" or (report.when == "setup" and report.outcome != "passed"):
            self._found += figures_of(report)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table, and write the files."""
        from tests.support import bench_report

        if not self._found:
            return
        document = bench_report.document_of(self._found, seconds=time.monotonic() - self._begun, load=self._load)
        terminalreporter.section("figures")
        for text in bench_report.table(document):
            terminalreporter.write_line(text)
        terminalreporter.write_line(f"written: {bench_report.save(document)}")
        if self._is_published:
            terminalreporter.write_line(bench_report.publish(document))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the two options that `./dev bench` gives."""
    group = parser.getgroup("figures")
    group.addoption("--figures", action="store_true", help="End with the table of figures, and write them to .bench.")
    group.addoption(
        "--publish", action="store_true", help="With --figures: make docs/bench.json and the table of docs/figures.md."
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect figures where they are asked for."""
    if config.getoption("figures"):
        config.pluginmanager.register(_Session(config), "figures-session")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a test at its end when a bar was missed."""
    yield
    short = [figure for figure in noted(item.user_properties) if figure.verdict == "SHORT"]
    if short:
        pytest.fail("; ".join(f"{figure.line}: {figure.value}" for figure in short), pytrace=False)


def claim_of(function: object, otherwise: str) -> str:
    """Return the first sentence of a test's docstring."""
    return " ".join((inspect.getdoc(function) or otherwise).split("\n\n")[0].split())
