"""How single values of an answer are read."""

from __future__ import annotations

from typing import Any

import pytest

from crawler.domain.values import LARGEST_INTEGER, READERS, integer, read_count


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (1_700_000_000, "2023-11-14T22:13:20Z"),
        ("1700000000", "2023-11-14T22:13:20Z"),
        (0, None),
        ("0", None),
        (10**18, str(10**18)),
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
