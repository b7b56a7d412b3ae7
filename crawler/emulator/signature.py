"""
The gateway's side of the signature: a second, independent reading of the documented rules, so that a slip in the
client shows.

Documented: SHA-1 over every parameter's name and value, sorted by name, then the private key (UCloudDoc-Team/api
summary/signature.md). For nested JSON two forms are in use by the vendor's own clients, names with indexes and bare
nested values; the gateway takes both.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any


def is_signed_by(params: Mapping[str, Any], private_key: str) -> bool:
    """Return whether the `Signature` among *params* was made with *private_key*."""
    given = str(params.get("Signature", ""))
    unsigned = {name: value for name, value in params.items() if name != "Signature" and value is not None}
    candidates = [_digest(flatten(unsigned), private_key)]
    if any(isinstance(value, (Mapping, list, tuple)) for value in unsigned.values()):
        candidates.append(hashlib.sha1((_nested(unsigned) + private_key).encode()).hexdigest())  # noqa: S324
    return any(hmac.compare_digest(given.encode(), candidate.encode()) for candidate in candidates)


def flatten(params: Mapping[str, Any]) -> dict[str, str]:
    """
    Return the parameters under their flat names (`Name.0`, `Name.0.Field`, `Name.Field`), as texts, nulls left out.
    """
    return dict(_flat_pairs("", params))


def _flat_pairs(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield prefix, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat_pairs(f"{prefix}.{name}" if prefix else str(name), inner)
    elif isinstance(value, Sequence):
        for index, inner in enumerate(value):
            yield from _flat_pairs(f"{prefix}.{index}" if prefix else str(index), inner)
    elif value is not None:
        yield prefix, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        plain = format(Decimal(repr(value)), "f")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    return str(value)


def _digest(flat: Mapping[str, str], private_key: str) -> str:
    text = "".join(name + flat[name] for name in sorted(flat))
    # The scheme is the vendor's: SHA-1, unkeyed.
    return hashlib.sha1((text + private_key).encode("utf-8", "surrogatepass")).hexdigest()  # noqa: S324


def _nested(value: Any) -> str:
    if isinstance(value, Mapping):
        return "".join(f"{name}{_nested(value[name])}" for name in sorted(value) if value[name] is not None)
    if isinstance(value, (list, tuple)):
        return "".join(_nested(inner) for inner in value)
    return _text(value)
