"""The plain text of a mail: broken where people would break it, in every language."""

from __future__ import annotations

import re

import pytest

from crawler.domain.text import (
    agreeing,
    cell,
    cell_of_sheet,
    counted,
    csv_line,
    fold,
    harmless_inside,
    json_text,
    may_break,
    one_line,
    padded,
    plain,
    quoted,
    visible,
    visible_lines,
    width,
)
from crawler.notifications.models import NotifiedState
from crawler.notifications.rendering.render import LONGEST_LINE, render
from tests.support.eventful import digest_of
from tests.support.reporting import Story


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("zones", [3, 8, 9, 10, 20, 60])
def test_ids_stay_whole(language: str, zones: int) -> None:
    """However many zones are listed, each id told stands whole on one line, and no line is too long for it."""
    story = Story(zones=zones)
    for number in range(zones):
        story.change(
            "appeared", f"uimage-{number:02}-abcdef", "统信服务器操作系统 UOS 20", where=f"zone-{number + 1:02}"
        )
    text = render(digest_of(story, 2, told=NotifiedState(introduced=True), pins=[], language=language)).text
    ids = re.findall(r"(?:zone|uimage)-[\w-]*", text)

    assert max(map(width, text.splitlines())) <= LONGEST_LINE
    assert [name for name in ids if not re.fullmatch(r"zone-\d\d|uimage-\d\d-abcdef", name)] == []
    assert len(ids) >= min(zones, 20)


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("zone-01, zone-02", ["zone-01, ", "zone-02"]),
        ("zone-01、zone-02、", ["zone-01、", "zone-02、"]),
        ("可用区（zone-01）", ["可", "用", "区", "（zone-01）"]),
        ("uimage-a1b2", ["uimage-a1b2"]),
        ("字\u0301e\u0301", ["字\u0301", "e\u0301"]),
        ("“镜像”：a", ["“镜", "像”：", "a"]),
        ("\u0301字", ["\u0301", "字"]),  # a mark that stands on nothing
    ],
)
def test_places_to_break(line: str, parts: list[str]) -> None:
    """A line may be broken behind blanks and beside wide characters; not in an id, nor before closing marks."""
    places = [at for at in range(1, len(line)) if may_break(line, at)]

    assert [line[start:end] for start, end in zip([0, *places], [*places, len(line)], strict=True)] == parts


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("19:00 至 20:00 之间", ["19:00 至 20:00", "之间"]),
        ("19:00 and 20:00 or x", ["19:00 and 20:00 or", "x"]),
        ("19:00 and 20:00 至x", ["19:00 and 20:00 至", "x"]),
        ("19:00 and 20:0 至x至", ["19:00 and 20:0 至", "x至"]),
    ],
)
def test_no_letter_alone(line: str, lines: list[str]) -> None:
    """A Chinese letter is not left alone on the last line."""
    assert fold(line, 18) == lines


@pytest.mark.parametrize(
    ("number", "zones", "entries", "are"),
    [(0, "0 zones", "0 entries", "are"), (1, "1 zone", "1 entry", "is"), (2, "2 zones", "2 entries", "are")],
)
def test_counted(number: int, zones: str, entries: str, are: str) -> None:
    """One is said in its own words, and none like many."""
    assert (counted(number, "zone"), counted(number, "entry", "entries")) == (zones, entries)
    assert agreeing(number, "is", "are") == are


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("abcd", 4, "abcd"),
        ("abcde", 4, "abc…"),
        ("ab cde", 4, "ab…"),
        ("  a \t b\n", 64, "a b"),
        (" a  b ", 64, "a b"),
        ("a b", 64, "a b"),
        ("a\x1b\x07b", 64, "a\ufffdb"),
        ("\u202ea\u202eb", 64, "\ufffda\ufffdb"),
        ("\ud800\ue000\U000e0fff", 64, "\ufffd"),
        ("a\u2028b\u2029c\u3000d", 64, "a b c d"),
        ("e" + "\u0301" * 5, 64, "e" + "\u0301" * 3),
        ("e" + "\u20dd" * 5, 64, "e" + "\u20dd" * 3),
        ("\u0301" * 4 + "e", 64, "\u0301" * 3 + "e"),
        ("e" + "\u0301" * 3 + "e" + "\u0301", 64, "e" + "\u0301" * 3 + "e\u0301"),
        ("a\u200db\u200cc", 64, "a\u200db\u200cc"),
        ("x" * 100, None, "x" * 100),
        ("字" * 100, None, "字" * 100),
        ("\x01" * 16 + "ab", 4, "\ufffd"),
        ("\x01" * 15 + "ab", 4, "\ufffda"),
    ],
)
def test_plain(text: str, limit: int | None, shown: str) -> None:
    """White space is one space, what cannot be shown one mark, and four times the limit is all that is looked at."""
    assert plain(text, limit) == shown


def test_limits() -> None:
    """A name has 64 characters and what is quoted 300, where nobody says otherwise."""
    assert (plain("x" * 64), plain("x" * 65)) == ("x" * 64, "x" * 63 + "…")
    assert (one_line("x" * 300), one_line("x" * 301)) == ("x" * 300, "x" * 299 + "…")


@pytest.mark.parametrize(
    ("text", "limit", "line"),
    [
        ("a\x1b\u202e\ud800b", 64, "a b"),
        (" a  b ", 64, "a b"),
        ("a b c", 5, "a b c"),
        ("a b cd", 5, "a b …"),
        ("\n" * 20 + "ab", 5, ""),
        ("\n" * 19 + "ab", 5, "a"),
    ],
)
def test_one_line(text: str, limit: int, line: str) -> None:
    """What another program said is one line, with a space for all that is not printed, and no longer than its limit."""
    assert one_line(text, limit) == line


@pytest.mark.parametrize(
    ("text", "columns"),
    [("", 0), ("abc", 3), ("é", 1), ("字", 2), ("Ａ", 2), ("e\u0301", 1), ("a\u20dd", 1), ("a\u200db", 2)],
)
def test_width(text: str, columns: int) -> None:
    """Wide characters take two columns, marks and what is invisible none; a text is filled up by its columns."""
    assert width(text) == columns
    assert padded(text, 5) == text + " " * (5 - columns)
    assert padded(text, 0) == text


@pytest.mark.parametrize(
    ("line", "room", "indent", "lines"),
    [
        ("abc", 3, "", ["abc"]),
        ("abcd", 3, "", ["abc", "d"]),
        ("ab cd", 4, "", ["ab", "cd"]),
        ("abc def", 3, "", ["abc", "def"]),
        ("abc  def", 3, "", ["abc", "def"]),
        ("ab cd ef", 5, "  ", ["ab cd", "  ef"]),
        ("- abcdef ghi", 6, "  ", ["- abcd", "  ef", "  ghi"]),
        ("字字字字", 5, "", ["字字", "字字"]),
        ("abc   ", 3, "", ["abc"]),
        ("", 3, "", [""]),
        ("abcd", 2, " ", ["ab", " c", " d"]),
        ("字字", 1, "", ["字", "字"]),
        ("- 字字", 1, "  ", ["- 字", "  字"]),
    ],
)
def test_folded(line: str, room: int, indent: str, lines: list[str]) -> None:
    """A line is broken at its last place that fits, else cut behind its room."""
    assert fold(line, room, indent) == lines


def test_escapes() -> None:
    """What a terminal would obey stands as its escape, by name, in two digits below 256, and in four above."""
    assert visible("a\n\r\t\x1b\x9f\u202e\u2028\ud800é") == "a\\n\\r\\t\\x1b\\x9f\\u202e\\u2028\\ud800é"
    assert visible_lines("a\x1b\n\tb\n") == "a\\x1b\n\\tb\n"
    assert json_text('"a\x7f\x9f\u061c\u200b\u2028\u2069\ufeff\ud800\xa0é"') == (
        '"a\\u007f\\u009f\\u061c\\u200b\\u2028\\u2069\\ufeff\\ud800\xa0é"'
    )
    assert quoted(["é", "\x7f"]) == '["é", "\\u007f"]'


def test_cells() -> None:
    """A cell is whole and no formula, in every text of a value too; separators and blank ends are quoted."""
    assert cell("=" + "x" * 100 + "\n;-1") == "'=" + "x" * 100 + " ;'-1"
    assert cell_of_sheet("=a\x1b\n+b") == "'=a\\x1b\n'+b"
    assert harmless_inside({"=a": ["+b", ("-c", 1, None, True)], 5: "x"}) == {
        "'=a": ["'+b", ["'-c", 1, None, True]], "5": "x",
    }  # fmt: skip
    assert csv_line(["a", 'b"c', "d;e", " f", "g ", "h i"]) == 'a,"b""c","d;e"," f","g ",h i\n'
    assert csv_line([], "\r\n") == '""\r\n'
    assert csv_line([""]) == '""\n'
    assert csv_line(["", ""]) == ",\n"
