"""How single values of an answer are read."""

from __future__ import annotations

from typing import Any

import pytest

from crawler.domain.values import (
    LARGEST_INTEGER,
    LONGEST_TEXT,
    MAX_DEPTH,
    READERS,
    clean,
    clean_text,
    integer,
    read_count,
)
from crawler.errors import NotUnderstood


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (1_700_000_000, "2023-11-14T22:13:20Z"),
        ("1700000000", "2023-11-14T22:13:20Z"),
        (0, None),
        ("0", None),
        (10**18, str(10**18)),
        (1, "1970-01-01T00:00:01Z"),
        (-1, "1969-12-31T23:59:59Z"),
        ("", None),
        ("a\x00", "a\ufffd"),
        ("2023/11/14", "2023/11/14"),
        (None, None),
        ([], None),
    ],
)
def test_moment(value: Any, read: str | None) -> None:
    """Seconds since 1970 are a moment, 0 is nothing, and what is no moment is kept as it is written."""
    assert READERS["moment"](value) == read


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (7, 7),
        ("7", 7),
        (7.0, 7),
        (7.5, None),
        (True, None),
        ("x", None),
        (None, None),
        (float("inf"), None),
        (LARGEST_INTEGER - 1, LARGEST_INTEGER - 1),
        (LARGEST_INTEGER, None),
        (-LARGEST_INTEGER, None),
        (1 - LARGEST_INTEGER, 1 - LARGEST_INTEGER),
    ],
)
def test_integer(value: Any, read: int | None) -> None:
    """A whole number that a database holds, also as a text; a flag is none."""
    assert integer(value) == read


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("1,204", 1204),
        (10.2, 11),
        (-3.5, -1),
        ("-7", -7),
        (10**30, LARGEST_INTEGER - 1),
        (-(10**30), -1),
        ("1e40", LARGEST_INTEGER - 1),
        (float("nan"), None),
        (True, None),
        ("many", None),
        ([], None),
        ("10,000,000", 10_000_000),
        (0, 0),
        (0.5, 1),
        (-0.5, 0),
        (-1.5, -1),
        (LARGEST_INTEGER, LARGEST_INTEGER - 1),
        (-LARGEST_INTEGER, -1),
        (float("inf"), LARGEST_INTEGER - 1),
        (float("-inf"), -1),
    ],
)
def test_count(value: Any, read: int | None) -> None:
    """A number of records may be as large, or as oddly written, as it likes: it is one that can be compared."""
    assert read_count(value) == read


@pytest.mark.parametrize(
    ("reader", "value", "read"),
    [
        ("date", "2026/11/30", "2026-11-30"),
        ("date", " 2026-11-30 12:00", "2026-11-30"),
        ("date", "2026-13-30", "2026-13-30"),
        ("date", "", None),
        ("flag", True, True),
        ("flag", " YES ", True),
        ("flag", "1", True),
        ("flag", 0, False),
        ("flag", "No", False),
        ("flag", "perhaps", None),
        ("flag", "true", True),
        ("flag", "yes", True),
        ("flag", 1, True),
        ("flag", "0", False),
        ("flag", "FALSE", False),
        ("flag", False, False),
        ("flag_inverted", False, True),
        ("integer", "7", 7),
        ("date", "2026/02/30 12:00", "2026/02/30 12:00"),
        ("date", "a\x00", "a\ufffd"),
        ("date", 20261130, "20261130"),
        ("text", float("nan"), None),
        ("text", False, "false"),
        ("text", {"b": None, "a": 1}, {"a": 1}),
        ("names", "a\x00", ["a\ufffd"]),
        ("names", ["a\x00", [2, 1], {}], ["[1,2]", "a\ufffd", "{}"]),
        ("names", [], []),
        ("nested", [], None),
        ("flag_inverted", "true", False),
        ("flag_inverted", "false", True),
        ("flag_inverted", "", None),
        ("names", "NetEnhanced", ["NetEnhanced"]),
        ("names", "  ", None),
        ("names", ["b", "a", "b", None, 7], ["7", "a", "b"]),
        ("names", 7, None),
        ("text", "", None),
        ("text", 7, "7"),
        ("text", True, "true"),
        ("text", 1.5, "1.5"),
        ("text", "a\ud800b", "a\ufffdb"),
        ("text", "\U0001f600", "\U0001f600"),
        ("text", "a\x00b", "a\ufffdb"),
        ("text", ["b", "a"], ["a", "b"]),
        ("text", {}, None),
        ("nested", {}, None),
        ("nested", {"a": [1]}, {"a": [1]}),
    ],
)
def test_readers(reader: Any, value: Any, read: Any) -> None:
    """Each type of field is read from whatever form a brand gives it."""
    assert READERS[reader](value) == read


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (float("inf"), None),
        (1.5, 1.5),
        (True, True),
        (LARGEST_INTEGER - 1, LARGEST_INTEGER - 1),
        (LARGEST_INTEGER, str(LARGEST_INTEGER)),
        (1 - LARGEST_INTEGER, 1 - LARGEST_INTEGER),
        (-LARGEST_INTEGER, str(-LARGEST_INTEGER)),
        ({"a\x00": None, "b\x00": 1}, {"b\ufffd": 1}),
        ([3, 1, None, 3, {"z": 1}], [1, 3, {"z": 1}]),
        (None, None),
    ],
)
def test_what_is_kept_of_a_value(value: Any, kept: Any) -> None:
    """A value is kept as every database stores it: lists as sorted sets, nulls left out, large integers as text."""
    assert clean(value) == kept
    assert type(clean(value)) is type(kept)


def test_the_longest_text_that_is_kept() -> None:
    """A text of the most characters is kept, and one of a character more is refused."""
    assert clean_text("a" * LONGEST_TEXT) == "a" * LONGEST_TEXT
    with pytest.raises(NotUnderstood) as caught:
        clean_text("a" * (LONGEST_TEXT + 1))
    assert str(caught.value) == "a text of the answer is longer than 100,000 characters"


@pytest.mark.parametrize("is_list", [True, False])
def test_the_deepest_field_that_is_kept(is_list: bool) -> None:
    """A field that is nested as deep as may be is kept, and one that is a level deeper is refused."""
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = [value] if is_list else {"a": value}
    assert clean(value) == value
    with pytest.raises(NotUnderstood) as caught:
        clean([value])
    assert str(caught.value) == "a field of the answer is nested more than 64 levels deep"
