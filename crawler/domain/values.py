"""
The values of an answer: what each means by its type, and how it is stored. Pure.

A value is None when nothing is stated, or it is not understood. What cannot be stored in every database (NUL, lone
surrogates, NaN) is replaced here, so that no answer can make the store fail.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from sys import intern
from typing import Any

from crawler.domain.kinds import FieldType
from crawler.domain.models import canonical_json, iso_utc
from crawler.errors import NotUnderstood

#: Integers of this size and more are held by no database.
LARGEST_INTEGER = 2**63
#: Characters of the longest text of an answer that is kept: an id, a name, a value.
LONGEST_TEXT = 100_000
#: How deep a field may be nested that is kept as it is.
MAX_DEPTH = 64
_TRUE = {"true", "1", "yes"}
_FALSE = {"false", "0", "no"}
#: Names, in plain letters, of what says that an answer lists a part alone: flags, and where the rest begins.
_MORE = {"hasmore", "hasnext", "hasnextpage", "istruncated", "truncated"}
_REST = {"nexttoken", "nextpagetoken", "nextmarker", "nextcursor", "continuationtoken", "nextcontinuationtoken"}
#: What stands where no rest begins.
_NO_REST = {"", "none", "null", "[]", "{}", *_FALSE}


def integer(value: object) -> int | None:
    """Read an integer that may arrive as text; None when it is none, or one that no database holds."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return None
    if isinstance(value, float) and value != number:
        return None
    return number if -LARGEST_INTEGER < number < LARGEST_INTEGER else None


def _read_text(value: Any) -> Any:
    if isinstance(value, str):
        return intern(clean_text(value)) or None  # thousands of images have the same few names and systems
    if isinstance(value, list):
        return _read_names(value)
    if isinstance(value, bool | int | float):
        return canonical_json(kept) if (kept := clean(value)) is not None else None
    return clean(value) or None


def read_day(text: str) -> date | None:
    """Return a day as the cloud writes it, `2026/11/30` or with hyphens; None where *text* is none."""
    try:
        return datetime.strptime(text.strip()[:10].replace("/", "-"), "%Y-%m-%d").date()  # noqa: DTZ007 - a day
    except ValueError:
        return None


def _read_date(value: Any) -> str | None:
    """Read a day; what is none is kept as it is written."""
    text = str(value).strip()
    day = read_day(text)
    return (clean_text(text) or None) if day is None else day.isoformat()


def _read_moment(value: Any) -> str | None:
    """Read seconds since 1970, as a number or a text; what is none is kept as it is written, and 0 is nothing."""
    seconds = integer(value)
    if seconds is None:
        return _read_text(value) if isinstance(value, str) else None
    try:
        return iso_utc(datetime.fromtimestamp(seconds, UTC)) if seconds else None
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def _read_flag(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    text = str(value).strip().casefold()
    return True if text in _TRUE else False if text in _FALSE else None


def read_count(value: Any) -> int | None:
    """Read a number of records as large, or as oddly written, as it may be; None where there is none."""
    number = integer(value)
    if number is not None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return number
    if isinstance(value, int):
        return min(max(value, -1), LARGEST_INTEGER - 1)
    try:
        stated = float(value.replace(",", "") if isinstance(value, str) else value)
    except ValueError:
        return None
    if math.isnan(stated):
        return None
    return min(math.ceil(max(-1.0, min(stated, float(LARGEST_INTEGER)))), LARGEST_INTEGER - 1)


def plain_name(name: str) -> str:
    """Return a member's name without regard to case and `_`, in which the API's and ours differ."""
    return clean_text(name).casefold().replace("_", "")


def says_more(name: str, value: Any) -> bool:
    """Return whether a member says that its answer is part of a longer list, by a flag or by where the rest begins."""
    plain = plain_name(name)
    has_rest = plain in _REST and str(value).strip().casefold() not in _NO_REST
    return has_rest or (plain in _MORE and _read_flag(value) is True)


def _read_names(value: Any) -> list[str] | None:
    if isinstance(value, str):
        return [clean_text(value)] if value.strip() else None
    if not isinstance(value, list):
        return None
    kept = (element for element in map(clean, value) if element is not None)
    return sorted({intern(e if isinstance(e, str) else canonical_json(e)) for e in kept})


def _read_inverted(value: Any) -> bool | None:
    flag = _read_flag(value)
    return None if flag is None else not flag


READERS: dict[FieldType, Callable[[Any], Any]] = {
    "text": _read_text,
    "flag": _read_flag,
    "flag_inverted": _read_inverted,
    "integer": integer,
    "names": _read_names,
    "date": _read_date,
    "moment": _read_moment,
    "nested": lambda value: clean(value) or None,
}


def clean_text(text: str) -> str:
    """
    Return *text* with the characters that not every database can store (NUL, lone surrogates) replaced by U+FFFD.

    Raises NotUnderstood where it is longer than LONGEST_TEXT.
    """
    if len(text) > LONGEST_TEXT:
        raise NotUnderstood(f"a text of the answer is longer than {LONGEST_TEXT:,} characters")
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if not text.isascii() else text


def clean(value: Any, depth: int = 0) -> Any:
    """
    Return a JSON value in canonical order (lists as sorted sets), storable everywhere.

    NaN becomes None, an integer of more than 64 bits becomes text. Raises NotUnderstood below MAX_DEPTH.
    """
    if depth > MAX_DEPTH:
        raise NotUnderstood(f"a field of the answer is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return value if -LARGEST_INTEGER < value < LARGEST_INTEGER else str(value)
    if isinstance(value, Mapping):
        return {clean_text(str(k)): kept for k, v in value.items() if (kept := clean(v, depth + 1)) is not None}
    if isinstance(value, list):
        kept = {canonical_json(e): e for e in (clean(v, depth + 1) for v in value) if e is not None}
        return [kept[text] for text in sorted(kept)]
    return value
