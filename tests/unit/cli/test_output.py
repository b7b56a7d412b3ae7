"""Rows to stdout: each format, and texts from a cloud that would rather do something else."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.cli.output import emit, held_back, json_line, soon
from crawler.cli.table import Column
from crawler.domain.text import cell_of_sheet, visible
from crawler.errors import CrawlerError

SHANGHAI = ZoneInfo("Asia/Shanghai")
COLUMNS = (
    Column("name", "NAME"),
    Column("count", "N", kind="count"),
    Column("at", "AT", kind="time"),
    Column("inner.flag", "FLAG"),
)
ROWS: list[dict[str, Any]] = [
    {"name": "CentOS 7.6", "count": 3, "at": "2026-11-23T11:00:00Z", "inner": {"flag": True}},
    {"name": "高内核CentOS", "count": 12, "at": None, "inner": {"flag": None}},
]
EVIL = "\x1b]0;title\x07=1+1\u202e\n\x9b31m"


def written(
    capsys: pytest.CaptureFixture[str], rows: Sequence[dict[str, Any]], fmt: str, fields: Sequence[str] | None = None
) -> str:
    """Emit *rows* and give what was written."""
    assert emit(iter(rows), COLUMNS, fmt, zone=SHANGHAI, fields=fields) == len(rows)
    return capsys.readouterr().out


def open_in(folder: Path) -> list[Path]:
    """Return the descriptors of this process whose files lie, or lay, in *folder*."""
    return [entry for entry in Path("/proc/self/fd").iterdir() if os.path.realpath(entry).startswith(f"{folder}/")]


def test_table_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """A piped table is aligned by display width, in the configured zone, which its heading names."""
    assert written(capsys, ROWS, "table").splitlines() == [
        "                  AT",
        "NAME           N  Asia/Shanghai     FLAG",
        "CentOS 7.6     3  2026-11-23 19:00  yes",
        "高内核CentOS  12  -                 -",
    ]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """json is one array with the rows as they are."""
    assert json.loads(written(capsys, ROWS, "json")) == ROWS


def test_jsonl(capsys: pytest.CaptureFixture[str]) -> None:
    """jsonl is one object a line."""
    assert [json.loads(line) for line in written(capsys, ROWS, "jsonl").splitlines()] == ROWS


def test_csv(capsys: pytest.CaptureFixture[str]) -> None:
    """csv has a header, empty cells for null, JSON for lists and tables."""
    text = written(capsys, [{**ROWS[0], "list": ["a", "b"]}, ROWS[1]], "csv", ["name", "count", "inner.flag", "list"])

    assert list(csv.reader(io.StringIO(text))) == [
        ["name", "count", "inner.flag", "list"],
        ["CentOS 7.6", "3", "true", '["a", "b"]'],
        ["高内核CentOS", "12", "", ""],
    ]


@pytest.mark.parametrize(("fmt", "expected"), [("table", ""), ("json", "[]\n"), ("jsonl", ""), ("csv", "name,at\n")])
def test_nothing(capsys: pytest.CaptureFixture[str], fmt: str, expected: str) -> None:
    """No rows are an empty array, no lines, or a header alone."""
    assert written(capsys, [], fmt, ["name", "at"]) == expected


@pytest.mark.parametrize("fmt", ["table", "json", "jsonl", "csv"])
def test_control_characters(capsys: pytest.CaptureFixture[str], fmt: str) -> None:
    """No format lets a terminal see an escape sequence or a direction mark; JSON still carries the text exactly."""
    text = written(capsys, [{**ROWS[0], "name": EVIL}], fmt)

    assert [char for char in text if char in "\x1b\x07\x9b\u202e"] == []
    if fmt in ("json", "jsonl"):
        document = json.loads(text)
        assert (document[0] if fmt == "json" else document)["name"] == EVIL
    if fmt == "table":
        assert len(text.splitlines()) == 3


def test_answer_waits_for_its_whole_block(capsys: pytest.CaptureFixture[str]) -> None:
    """Inside a block that holds back everything is counted and nothing shown; after it all is, in its order."""
    with held_back():
        assert emit(iter(ROWS), COLUMNS, "jsonl") == len(ROWS)
        soon(partial(sys.stdout.write, "said\n"), is_talk=True)
        assert emit(iter(ROWS), COLUMNS, "json") == len(ROWS)
        assert capsys.readouterr().out == ""
    lines, array = capsys.readouterr().out.split("said\n")

    assert [json.loads(line) for line in lines.splitlines()] == json.loads(array) == ROWS


def test_answer_of_a_block_that_fails_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Half an answer is none; what was said to the person is still said."""

    def fail() -> None:
        with held_back():
            emit(iter(ROWS), COLUMNS, "jsonl")
            soon(partial(sys.stdout.write, "said\n"), is_talk=True)
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert capsys.readouterr().out == "said\n"


def test_large_answer_goes_through_a_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer beyond the bytes held in memory waits in a file of its user's alone, of which nothing is left."""
    monkeypatch.setattr("crawler.cli.output._IN_MEMORY", 10_000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rows = [{**ROWS[1], "name": f"高 {number} \ud800"} for number in range(2_000)]
    with held_back():
        emit(rows, COLUMNS, "jsonl")
        modes = [entry.stat().st_mode & 0o777 for entry in open_in(tmp_path)]
    assert modes == [0o600]
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == rows
    assert open_in(tmp_path) == list(tmp_path.iterdir()) == []


def test_answer_without_room_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no temporary file can be had the answer fails with a sentence that names the way out."""
    monkeypatch.setattr("crawler.cli.output._IN_MEMORY", 10)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))

    with pytest.raises(CrawlerError, match=r"no room for a temporary file .* Set TMPDIR"), held_back():
        emit(ROWS, COLUMNS, "jsonl")


@pytest.mark.parametrize("count", [150, 200, 5_000])
def test_answer_that_fills_the_disk(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it does wherever the room ends: at a row in the middle, or at what was in a buffer to the last."""
    monkeypatch.setattr("crawler.cli.output._IN_MEMORY", 10_000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_500, before[1]))
    try:
        with pytest.raises(CrawlerError, match=r"no room for a temporary file .*: File too large\. Set"), held_back():
            emit([{"name": "x" * 60}] * count, COLUMNS, "jsonl")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "＝", "\t", "\r"])
def test_formulas(start: str) -> None:
    """A spreadsheet is given no formula."""
    assert cell_of_sheet(f"{start}cmd|' /C calc'!A0").startswith("'")


def test_formulas_in_lists(capsys: pytest.CaptureFixture[str]) -> None:
    """Lists and tables stay JSON in their cells, and hold no formula either."""
    text = written(capsys, [{"list": ["a", "=1+1", -5, {"@x": "b;=1"}]}], "csv")

    assert json.loads(list(csv.reader(io.StringIO(text)))[1][0]) == ["a", "'=1+1", -5, {"'@x": "b;'=1"}]


def test_numbers_are_no_formulas(capsys: pytest.CaptureFixture[str]) -> None:
    """A negative number stays a number."""
    assert written(capsys, [{"name": "x", "count": -5}], "csv").splitlines()[1] == "x,-5"


def test_surrogates() -> None:
    """A lone surrogate, which no encoding can write, is shown by its escape."""
    assert visible("a\ud800b") == "a\\ud800b"
    assert json.loads(json_line({"a": "\ud800"})) == {"a": "\ud800"}


@given(st.text())
def test_visible(text: str) -> None:
    """What is shown is printable and one line; printable text without hidden marks is shown as it is."""
    shown = visible(text)

    assert len(shown.splitlines()) <= 1
    assert all(ord(char) >= 32 and not 127 <= ord(char) < 160 for char in shown)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=8))
def test_json_round_trip(value: Any) -> None:
    """JSON that is safe for a terminal is the same JSON."""
    line = json_line({"value": value})

    assert json.loads(line) == {"value": value}
    assert len(line.splitlines()) == 1


def test_terminal_without_the_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal that is not UTF-8, JSON is ASCII and a table shows escapes; nothing fails."""
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="latin-1"))
    emit(ROWS, COLUMNS, "jsonl", zone=SHANGHAI)
    emit(ROWS, COLUMNS, "table", zone=SHANGHAI)
    lines = raw.getvalue().decode("latin-1").splitlines()

    assert [json.loads(line) for line in lines[:2]] == ROWS
    assert "\\u9ad8\\u5185\\u6838CentOS" in lines[-1]
