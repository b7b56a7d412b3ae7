"""
A digest as a mail: headers, both parts, the full list attached. Pure; sending is the channel's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage

from crawler.report.values import Digest


def compose(digest: Digest, *, sender: str, to: Sequence[str], at: datetime) -> EmailMessage:
    """Give the mail that tells *digest*, dated *at*; equal arguments give equal bytes."""
    raise NotImplementedError


def message_id(digest: Digest, *, sender: str) -> str:
    """Give the Message-ID of *digest*, angle brackets included: the same for the same subscription and range."""
    raise NotImplementedError
