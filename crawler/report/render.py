"""
A digest in words: subject, text, HTML, CSV. Pure.
"""

from __future__ import annotations

from crawler.report.values import Digest, Rendered


def render(digest: Digest) -> Rendered:
    """Give *digest* in its subscription's language."""
    raise NotImplementedError
