"""A text from a cloud is no formula to a spreadsheet, whichever separator it believes in."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.domain.text import cell, cell_of_sheet, csv_line, harmless, harmless_inside
from crawler.notifications.rendering.render import render
from tests.support.eventful import digest_of, eventful

FORMULAS = [f"{start}SUM(1)" for start in "=+-@＝＋－＠﹦﹢﹣﹫"]
BEFORE = ["", " ", '"', '""', "“", "\u200b", "\ufeff", "\xa0", "\u3000", ' "\u2060 ']
SEPARATORS = [";", ",", "\t", "\n", "\r\n", "|", "; ", ";;", '";"']
#: What programs pass over at the beginning of a cell.
PASSED = "".join(sorted({*"".join(BEFORE), "\r", "\n", "\t"}))


def live(text: str) -> list[str]:
    """Return the cells of a CSV file that are formulas to a program that separates by any of the usual characters."""
    lines = text.replace("\r", "\n").splitlines(keepends=True)
    cells = [value for mark in ",;\t|" for row in csv.reader(lines, delimiter=mark) for value in row]
    for mark in ",;\t|":  # nor to one that knows no quotes
        cells += [value for line in text.splitlines() for value in line.split(mark)]
    return [value for value in cells if value.lstrip(PASSED).startswith(tuple("=+-@＝＋－＠﹦﹢﹣﹫"))]


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("before", BEFORE)
def test_beginning(before: str, formula: str) -> None:
    """A formula at the beginning is text, whatever a program passes over before it, on stdout and in mails."""
    for made in (harmless, cell_of_sheet, cell):
        assert live(csv_line(["x", made(before + formula), "y"])) == []


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("before", BEFORE)
def test_inside(separator: str, before: str) -> None:
    """Nor does one begin behind what some program takes for the end of a cell or a row."""
    for formula in FORMULAS:
        for made in (harmless, cell_of_sheet, cell):
            assert live(csv_line(["x", made(f"Ubuntu{separator}{before}{formula}"), "y"])) == []


@given(st.text(st.sampled_from("=+-@＝;,\t|\n\r \"'\u200bax")))
def test_any_mixture(text: str) -> None:
    """However they are mixed, nothing live is left, and nothing but apostrophes is added."""
    assert live(csv_line(["x", harmless(text), "y"])) == []
    assert harmless(text).replace("'", "") == text.replace("'", "")


@given(st.text())
def test_lines_read_back(text: str) -> None:
    """What is written is read back by a reader that takes the comma."""
    assert next(csv.reader(io.StringIO(csv_line([text, "y", ""]), newline=""))) == [text, "y", ""]


@pytest.mark.parametrize("name", ["Ubuntu 22.04", "CentOS 7.6 64位, GPU", "x-y_z@1.0; 2=3", "a;b", "C++ 17"])
def test_ordinary_names_stay(name: str) -> None:
    """A name in which no cell begins with an operator stays as it is; one with a separator is quoted."""
    assert harmless(name) == name
    assert csv_line([name]).startswith('"') == any(mark in name for mark in ";,")


def test_json_stays_json() -> None:
    """A list or table in a cell is still JSON, its texts are harmless, and its numbers are numbers."""
    assert harmless_inside({"a": ["=1", -1, None, True, {"b;=2": "c"}]}) == {
        "a": ["'=1", -1, None, True, {"b;'=2": "c"}]
    }


def test_attachment() -> None:
    """The list attached to a mail has no formula either, and its `fields` are JSON."""
    text = render(digest_of(eventful("Ubuntu;=HYPERLINK(1)"))).csv.decode("utf-8-sig")
    fields = [row["fields"] for row in csv.DictReader(io.StringIO(text)) if row["fields"]]

    assert live(text) == []
    assert "Ubuntu;'=HYPERLINK(1)" in text
    assert fields
    assert all(isinstance(json.loads(value), dict) for value in fields)
