"""How a webhook is signed by the Standard Webhooks specification, and which secrets it takes. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

#: How a secret of the specification begins; base64 of 24 to 64 bytes follows.
PREFIX = "whsec_"
_FEWEST, _MOST = 24, 64


def signing_key(secret: str) -> bytes:
    """
    Return what signs with *secret*: the bytes after `whsec_`, or any other text itself.

    Raises ValueError for a `whsec_` that is not followed by base64 of 24 to 64 bytes.
    """
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not _FEWEST <= len(key) <= _MOST:
        raise ValueError(f"must have base64 of {_FEWEST} to {_MOST} bytes after {PREFIX}")
    return key


def hook_headers(identity: str, timestamp: int, body: bytes, secrets: Iterable[str]) -> dict[str, str]:
    """Return the headers of the specification: the same id for each copy of a message, and a signature per secret."""
    signed = f"{identity}.{timestamp}.".encode() + body
    signatures = (hmac.new(signing_key(secret), signed, hashlib.sha256).digest() for secret in secrets)
    return {
        "webhook-id": identity,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(one).decode()}" for one in signatures),
    }
