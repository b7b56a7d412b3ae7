"""The page about webhooks: its snippet verifies what the channel signs."""

from __future__ import annotations

import time
from typing import Any

import pytest

from crawler.notifications.channels.webhook import signature
from tests.support.examples import blocks

BODY = b'{"message_id": "<1@crawler>"}'


@pytest.fixture
def is_ours() -> Any:
    (block,) = set(blocks("python", "docs/reports.md") + blocks("python", "docs/zh/reports.md"))
    names: dict[str, Any] = {}
    exec(compile(block, "docs/reports.md", "exec"), names)
    return names["is_ours"]


def test_snippet_verifies(is_ours: Any) -> None:
    """The snippet accepts a body with the signature that the channel gives it."""
    now = str(int(time.time()))
    headers = {"X-Crawler-Timestamp": now, "X-Crawler-Signature": signature(now, BODY, "hook-secret")}

    assert is_ours(headers, BODY, "hook-secret")


@pytest.mark.parametrize(
    ("secret", "body", "age"), [("other", BODY, 0), ("hook-secret", b"{}", 0), ("hook-secret", BODY, 900)]
)
def test_snippet_refuses(is_ours: Any, secret: str, body: bytes, age: int) -> None:
    """The snippet refuses another secret, another body, and an old copy."""
    then = str(int(time.time()) - age)
    headers = {"X-Crawler-Timestamp": then, "X-Crawler-Signature": signature(then, BODY, "hook-secret")}

    assert not is_ours(headers, body, secret)
