"""Secrets of webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from crawler.domain.webhooks import hook_headers, signing_key


@pytest.mark.parametrize("size", [24, 64])
def test_key(size: int) -> None:
    """A secret of the specification signs with its bytes, any other with its own text."""
    key = bytes(range(size))

    assert signing_key("whsec_" + base64.b64encode(key).decode()) == key
    assert signing_key("correct-horse") == b"correct-horse"


@pytest.mark.parametrize(
    "rest", ["", "!", "c2VjcmV0", "c" * 31, "c2VjcmV0" * 11, "c2VjcmV0é", "c" * 32 + "!", "é" * 32]
)
def test_no_key(rest: str) -> None:
    """What follows `whsec_` has to be base64 of 24 to 64 bytes."""
    with pytest.raises(ValueError, match=r"^must have base64 of 24 to 64 bytes after whsec_$"):
        signing_key("whsec_" + rest)


def test_headers() -> None:
    """The id, the time and the body are signed with each secret in turn, as the specification writes it."""
    signatures = [
        base64.b64encode(hmac.new(key, b"msg-1.1700000000.{}", hashlib.sha256).digest()).decode()
        for key in (b"one", b"two")
    ]

    assert hook_headers("msg-1", 1700000000, b"{}", ["one", "two"]) == {
        "webhook-id": "msg-1",
        "webhook-timestamp": "1700000000",
        "webhook-signature": f"v1,{signatures[0]} v1,{signatures[1]}",
    }
