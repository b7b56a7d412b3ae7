"""
JSON objects of which only the outermost layer is decoded: most of what an answer lists was read before.

What is accepted, and what it means, is exactly what `json.loads` says; only the work is put off.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

#: A list or an object as text, checked and not decoded yet; its buffer is part of the body.
Unread = msgspec.Raw

_MEMBERS = msgspec.json.Decoder(dict[str, Unread])
_NESTED = b"[{"


def members(body: bytes) -> dict[str, Any] | None:
    """Give the members of the JSON object *body*, lists and objects `Unread`; None when it is no JSON object."""
    try:
        if not body.isascii():
            body.decode()  # which the decoder does not look at inside of what it leaves unread
        found = _MEMBERS.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        # no object, or one of the oddities that only `json` takes: NaN, half a surrogate pair, a byte order mark
        return _decoded(body)
    return {name: value if memoryview(value)[:1].tobytes() in _NESTED else read(value) for name, value in found.items()}


def read(value: Any) -> Any:
    """Decode what is `Unread`, and give anything else as it is; what is nested too deeply stays bytes."""
    if not isinstance(value, Unread):
        return value
    text = bytes(value)
    try:
        return json.loads(text)
    except RecursionError:
        return text


def _decoded(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
