"""Texts for lines of mails, terminals, YAML and TOML."""

from __future__ import annotations

import json

import pytest

from crawler.domain.text import fold, json_text, padded, plain, quoted, visible, width


def test_json_on_a_terminal() -> None:
    """What a terminal would obey is escaped, and the JSON says the same."""
    value = {"a\x7f": "\x9b1m \u202e \ufeff ü 中"}
    text = json_text(json.dumps(value, ensure_ascii=False))

    assert json.loads(text) == value
    assert text == '{"a\\u007f": "\\u009b1m \\u202e \\ufeff ü 中"}'


@pytest.mark.parametrize(
    ("value", "text"),
    [("ü\x7f", '"ü\\u007f"'), (True, "true"), (7, "7"), (["a", "b"], '["a", "b"]'), ('"', '"\\""')],
)
def test_quoted(value: object, text: str) -> None:
    """A value stands in YAML and TOML as it stands in JSON, DEL escaped."""
    assert quoted(value) == text


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("Ubuntu 20.04", 64, "Ubuntu 20.04"),
        ("a" * 64, 64, "a" * 64),
        ("a" * 65, 64, "a" * 63 + "…"),
        ("a" * 65, None, "a" * 65),
        ("ü" * 64, 64, "ü" * 64),
        ("ü" * 65, 64, "ü" * 63 + "…"),
        ("  a \t\n b\u2028c\u3000d ", 64, "a b c d"),
        ("a\x07b", 64, "a\ufffdb"),
        ("a\x07\x1b\u202e\ud800\ue000b", 64, "a\ufffdb"),
        ("a\u0378b", 64, "a\ufffdb"),
        ("e\u0301\u0301\u0301\u0301\u0301", 64, "e\u0301\u0301\u0301"),
        ("e\u20dd\u20dd\u20dd\u20ddx\u0301", 64, "e\u20dd\u20dd\u20ddx\u0301"),
        ("\U0001f468\u200d\U0001f4bb", 64, "\U0001f468\u200d\U0001f4bb"),
        ("ab cdef", 4, "ab…"),
    ],
)
def test_plain(text: str, limit: int | None, shown: str) -> None:
    """A text is one line of bounded length, in which every character can be shown."""
    assert plain(text, limit) == shown


@pytest.mark.parametrize(
    ("text", "columns"),
    [("abc", 3), ("中文", 4), ("ü", 1), ("e\u0301", 1), ("a\u20dd", 1), ("a\u200db", 2), ("Ａ", 2), ("한", 2)],
)
def test_width(text: str, columns: int) -> None:
    """Wide characters take two columns, marks and what nobody sees none."""
    assert width(text) == columns
    assert padded(text, 5) == text + " " * (5 - columns)


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("one two three", ["one two", "  three"]),
        ("uimage-0123456789 x", ["uimage-012", "  3456789", "  x"]),
        ("short", ["short"]),
        ("中文中文中文中文", ["中文中文中", "  文中文"]),
    ],
)
def test_fold(line: str, lines: list[str]) -> None:
    """A line is broken at blanks and beside wide characters; a word that is longer than a line is cut."""
    assert fold(line, 10, "  ") == lines


def test_visible() -> None:
    """What a terminal would obey or hide is shown by its escape; everything else as it is."""
    assert visible("a\x1b[1m\n\r\t\x7f\u202e\ud800\u200b 中") == ("a\\x1b[1m\\n\\r\\t\\x7f\\u202e\\ud800\\u200b 中")
    assert visible("plain text") == "plain text"
