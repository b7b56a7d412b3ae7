"""Measured figures: how they are judged, told and published; and that the page's table is the published document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import acceptance_table, bench_report
from tests.support.bench_report import BEGIN, END, PUBLISHED
from tests.support.figures import NOT_MEASURED, ROWS, Figure, Figures, figures_of, noted, number
from tests.support.house import ROOT, text_of

pytest_plugins = ["pytester"]

Properties = list[tuple[str, Any]]


@pytest.fixture
def properties() -> Properties:
    """Return what the report of a test would carry."""
    return []


@pytest.fixture
def figures_noted(properties: Properties) -> Figures:
    """Return what notes into that report."""
    return Figures(properties)


def report(properties: Properties, outcome: Any = "passed", longrepr: Any = None) -> pytest.TestReport:
    """Return the report of a test that noted *properties*."""
    return pytest.TestReport("tests/x.py::test_x", ("tests/x.py", 1, "x"), {}, outcome, longrepr, "call", (), 0.1, 0, 0,
                             properties)  # fmt: skip


def document(*figures: Figure) -> bench_report.Document:
    """Return a document of one figure per row, and *figures*."""
    rest = [Figure(row=row, what="size", verdict="shown", measured=1) for row in ROWS]
    return bench_report.document_of([*rest, *figures], seconds=61.4)


def test_page() -> None:
    """The page's table is what the published document says."""
    published = json.loads(text_of(PUBLISHED))
    page = text_of(Path(bench_report.PAGE))

    assert bench_report.in_place(page, bench_report.markdown(published)) == page


def test_published() -> None:
    """The published document has every row of the promise, and names no machine by name."""
    published = json.loads(text_of(PUBLISHED))

    assert {row["row"] for row in published["rows"]} >= set(ROWS)
    assert set(published["machine"]) == {"cpu", "cores", "os", "python"}
    assert bench_report.as_json(published) == text_of(PUBLISHED)


def test_judged(figures_noted: Figures, properties: Properties) -> None:
    """A figure passes on its bar, and is short beyond it."""
    figures_noted.at_most("memory", "peak", 150, 150, "MB")
    figures_noted.at_most("memory", "peak", 150.1, 150, "MB")
    figures_noted.at_least("throughput", "speed", 0.74, 0.75, "×")
    figures_noted.between("throttle", "used", 1.01, 0.97, 1.0)
    figures_noted.exactly("unchanged run", "rows", 1, 1)
    figures_noted.shown("memory", "libraries", 73.26, "MB")
    figures_noted.skip("throughput", "wrk", "wrk is not installed")
    found = noted(properties)

    assert [figure.verdict for figure in found] == ["pass", "SHORT", "SHORT", "SHORT", "pass", "shown", "skip"]
    assert [figure.bar for figure in found] == ["≤ 150 MB", "≤ 150 MB", "≥ 0.75 ×", "0.97–1", "1", "", ""]
    assert found[5].value == "73.3 MB"


def test_unknown_row(figures_noted: Figures) -> None:
    """A row that the promise has not is a mistake."""
    with pytest.raises(AssertionError):
        figures_noted.shown("velocity", "speed", 1)


def test_numbers() -> None:
    """Numbers have as many digits as mean something."""
    assert [number(value) for value in (0, 4, 0.0714, 0.754, 2.345, 73.26, 314.4, 12849.3)] == [
        "0", "4", "0.071", "0.75", "2.35", "73.3", "314", "12,849",
    ]  # fmt: skip


def test_lost(figures_noted: Figures, properties: Properties) -> None:
    """A test that ends before it measured all is told by its claim, with the reason, beside what it noted."""
    properties.append(("claim", "It is fast."))
    crashed = report(list(properties), "failed", "AssertionError: no answer")
    skipped = report(list(properties), "skipped", ("x.py", 1, "Skipped: PostgreSQL is not installed"))
    figures_noted.at_most("memory", "peak", 100, 150, "MB")
    half = report(list(properties), "failed", "AssertionError: no answer")
    figures_noted.at_most("memory", "peak", 200, 150, "MB")
    short = report(list(properties), "failed", "memory: peak")

    assert [(f.row, f.what, f.verdict, f.detail) for f in figures_of(crashed)] == [
        (NOT_MEASURED, "It is fast.", "FAIL", "AssertionError: no answer")
    ]
    assert [(f.verdict, f.detail) for f in figures_of(skipped)] == [("skip", "PostgreSQL is not installed")]
    assert [(f.row, f.verdict) for f in figures_of(half)] == [("memory", "pass"), ("memory", "FAIL")]
    assert [f.verdict for f in figures_of(short)] == ["pass", "SHORT"]


def test_missed_bar(pytester: pytest.Pytester) -> None:
    """A missed bar fails its test at the end, when everything is noted, and without a word about our own code."""
    pytester.makepyfile(
        """
        def test_both(figures):
            figures.at_most("memory", "peak", 200, 150, "MB")
            figures.at_most("memory", "libraries", 70, 150, "MB")
            print("went on")

        def test_good(figures):
            figures.at_most("memory", "peak", 100, 150, "MB")
        """
    )
    result = pytester.runpytest("-p", "tests.support.figures", "-p", "no:asyncio")

    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["memory: peak ≤ 150 MB: 200 MB", "went on"])
    result.stdout.no_fnmatch_line("*libraries*")


def test_acceptance_rows(figures_noted: Figures, properties: Properties) -> None:
    """Each figure is a row of the acceptance table with its own verdict; shown ones are not counted."""
    figures_noted.at_most("memory", "peak", 200, 150, "MB", case="first run", detail="as a process")
    figures_noted.at_most("memory", "peak", 100, 150, "MB", case="sqlite")
    figures_noted.shown("memory", "libraries", 70, "MB")
    rows = acceptance_table.rows_of(report(properties, "failed", "memory"))
    lines = acceptance_table.render(rows, width=120, heading="now")

    assert [(row.verdict, row.line, row.measured) for row in rows] == [
        ("FAIL", "memory: peak (first run) ≤ 150 MB", "200 MB — as a process"),
        ("pass", "memory: peak (SQLite) ≤ 150 MB", "100 MB"),
        ("show", "memory: libraries", "70 MB"),
    ]
    assert lines[-1] == "1 of 2 lines hold"


def test_table() -> None:
    """The table goes row by row in the order of the promise, with figure, bar, measured and verdict."""
    short = Figure(row="throttle", what="used", case="50/s", verdict="SHORT", measured=0.9, at_least=0.97, detail="why")
    lines = bench_report.table(document(short, Figure(row=NOT_MEASURED, what="It works.", verdict="FAIL")))

    assert lines[1:7] == [
        "",
        "throttle",
        "  size                         1",
        "  used (50/s)  ≥ 0.97          0.90          SHORT",
        "      why",
        "",
    ]
    assert lines[-4:-2] == ["not measured", f"  {'It works.':43}FAIL"]
    assert lines[-1] == "1 SHORT, 1 FAIL; in 1 min 1 s"


def test_markdown() -> None:
    """The page has a line per figure with its cases side by side, without the minor ones."""
    figures = [
        Figure(row="check", what="rules", case="SQLite", verdict="pass", measured=0.5, at_most=1, unit="s"),
        Figure(row="check", what="rules", case="PostgreSQL", verdict="SHORT", measured=1.5, at_most=1, unit="s"),
        Figure(row="check", what="wrk", verdict="skip"),
        Figure(row="check", what="size", case="small", verdict="shown", measured=3, minor=True),
    ]
    made = document(*figures)

    assert bench_report.markdown(made)[-4:] == [
        "| check: size |  | 1 |",
        "| check: rules | ≤ 1 s | SQLite 0.50 s, PostgreSQL 1.50 s **short** |",
        "| check: wrk |  | skip |",
        "| other designs: size |  | 1 |",
    ]


def test_not_alone() -> None:
    """Figures of a machine that had other work say so."""
    quiet, busy = (bench_report.document_of([], seconds=1, load=load) for load in (0.3, 6.1))

    assert "not alone" not in bench_report.heading(quiet)
    assert bench_report.heading(busy).endswith(" · not alone: load 6.1")


def test_publish(tmp_path: Path) -> None:
    """Publishing writes the document and the page's table; with a row missing or a failure it does nothing."""
    page = tmp_path / bench_report.PAGE
    (tmp_path / "docs").mkdir()
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    good = document()
    partial = {**good, "rows": good["rows"][1:]}
    failed = document(Figure(row="memory", what="It works.", verdict="FAIL"))

    assert bench_report.publish(partial, tmp_path) == "not published: throttle"
    assert bench_report.publish(failed, tmp_path) == "not published: a measurement failed"
    assert not (tmp_path / PUBLISHED).exists()
    assert bench_report.publish(good, tmp_path).startswith("published")
    assert json.loads((tmp_path / PUBLISHED).read_text(encoding="utf-8")) == good
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text


def test_facts_name_nobody() -> None:
    """The facts about the machine hold neither its name nor a path."""
    told = json.dumps(document())

    assert str(ROOT) not in told
    assert str(Path.home()) not in told
