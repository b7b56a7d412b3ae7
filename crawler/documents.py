"""
JSON objects of which only the outermost layer is decoded: most of what an answer lists was read before.

What is accepted, and what it means, is exactly what `json.loads` says; only the work is put off.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from crawler.errors import NotUnderstood

#: A list or an object as text, checked and not decoded yet; its buffer is part of the body.
Unread = msgspec.Raw

_MEMBERS = msgspec.json.Decoder(dict[str, Unread])
_NESTED = b"[{"
#: One such character makes Python hold a text in four bytes each.
_BEYOND_16_BITS = re.compile(rb"[\xf0-\xf4]")

#: Values of one answer that are decoded; each takes up to some 250 bytes of memory, whatever it takes on the wire.
MAX_VALUES = 150_000
#: What a value, a list and an object take beside their text, by the sign that each has before it.
_TAKES = {b",": 60, b"[": 90, b"{": 250}
#: Integers of this size and more are held by no database.
LARGEST_INTEGER = 2**63


def members(body: bytes) -> dict[str, Any] | None:
    """
    Give the members of the JSON object *body*, lists and objects `Unread`; None when it is no JSON object.

    Raises NotUnderstood where it holds more than MAX_VALUES values: decoding them would take the memory of the run.
    """
    if len(body) > MAX_VALUES and _values(body) > MAX_VALUES:
        raise NotUnderstood(f"the answer holds more than {MAX_VALUES:,} values, which is more than is read")
    try:
        if not body.isascii():
            body.decode()  # which the decoder does not look at inside of what it leaves unread
        found = _MEMBERS.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        # no object, or one of the oddities that only `json` takes: NaN, half a surrogate pair, a byte order mark
        return _decoded(body)
    return {name: value if memoryview(value)[:1].tobytes() in _NESTED else read(value) for name, value in found.items()}


def weight_of(text: bytes) -> int:
    """Return about how many bytes *text*, which is JSON, takes when it is decoded."""
    bytes_of_a_character = 1 if text.isascii() else 4 if _BEYOND_16_BITS.search(text) else 2
    return len(text) * bytes_of_a_character + sum(size * text.count(sign) for sign, size in _TAKES.items())


def _values(text: bytes) -> int:
    # Every value but the first of its list or object has a comma before it, and every one that is nested a bracket.
    return sum(map(text.count, _TAKES))


def read(value: Any) -> Any:
    """Decode what is `Unread`, and give anything else as it is; raise NotUnderstood where that cannot be done."""
    if not isinstance(value, Unread):
        return value
    try:
        return json.loads(bytes(value))
    except RecursionError:
        raise NotUnderstood("the answer is nested too deeply to be read") from None
    except ValueError:  # it is JSON, so it is an integer of thousands of digits
        raise NotUnderstood("the answer holds a number that is too long to be read") from None


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


def _decoded(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
