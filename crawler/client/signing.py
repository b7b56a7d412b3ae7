"""
The SHA-1 signature of the UCloud API, and the form body that carries it. Pure.

Documented in UCloudDoc-Team/api `summary/signature.md`: every parameter but `Signature`, sorted by name in byte order,
as name and value without separators and without URL-escaping, then the private key. There is no nonce and no time in
it, so a signed body can be made once and sent again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from urllib.parse import quote_plus

#: Never signed itself.
SIGNATURE = "Signature"

#: Quotes a name or a value; the same few come again with every request.
_quoted = lru_cache(maxsize=1024)(quote_plus)


def signature(params: Mapping[str, object], private_key: str) -> str:
    """
    Return the signature of *params* in lower-case hex; raise TypeError or ValueError for a value no form can carry.
    """
    return _sign(flatten(params), private_key)


def signed_form(params: Mapping[str, object], public_key: str, private_key: str) -> bytes:
    """Return the urlencoded body of a request: *params* flattened, with the public key and the signature."""
    flat = flatten({**params, "PublicKey": public_key})
    signed = _sign(flat, private_key)
    fields = [f"{_quoted(name)}={_quoted(text)}" for name, text in flat.items()]
    return "&".join([*fields, f"{SIGNATURE}={signed}"]).encode("ascii")


def signature_of(form: bytes) -> str:
    """Return the signature that a `signed_form` carries; empty when *form* is none."""
    before, _, signed = form.rpartition(f"&{SIGNATURE}=".encode())
    return signed.decode("ascii") if before else ""


def flatten(params: Mapping[str, object]) -> dict[str, str]:
    """
    Return *params* as the flat text pairs of a form: `Name.0`, `Name.Field`, `Name.0.Field`.

    Nothing is left of a None, nor of a `Signature` that is already there.
    """
    flat: dict[str, str] = {}
    for name, value in params.items():
        if name == SIGNATURE:
            continue
        if isinstance(value, str):  # nearly all of them
            flat[name] = value
        else:
            flat.update(_pairs(name, value))
    return flat


def _sign(flat: Mapping[str, str], private_key: str) -> str:
    text = "".join([f"{name}{flat[name]}" for name in sorted(flat)])
    return hashlib.sha1(f"{text}{private_key}".encode(), usedforsecurity=False).hexdigest()


def _pairs(name: str, value: object) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _pairs(f"{name}.{key}", inner)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for index, inner in enumerate(item for item in value if item is not None):
            yield from _pairs(f"{name}.{index}", inner)
    else:
        yield name, _text(value)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | Decimal):
        return _number_text(value)
    if isinstance(value, str | int):
        return str(value)
    raise TypeError(f"no form parameter can carry a {type(value).__name__}")


def _number_text(value: float | Decimal) -> str:
    # The documentation forbids scientific notation and wants 42.0 as 42; `str(0.00001)` would give 1e-05.
    exact = Decimal(repr(value)) if isinstance(value, float) else value
    if not exact.is_finite():
        raise ValueError(f"no form parameter can carry {value}")
    if value == int(value):
        return str(int(value))
    return format(exact, "f")
