"""
Pinned ids as people write them: a zone and an image id, one pair per line. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from crawler.report.values import Pin

_PAIR = re.compile(r"(?P<zone>[^\s*?\[\]]+)\s+(?P<image_id>[^\s*?\[\]]+)")


def parse_pin(text: str) -> Pin:
    """Read `hk-02 uimage-vareox`; raise ValueError saying what is wrong."""
    match = _PAIR.fullmatch(text.strip())
    if not match:
        raise ValueError('must be a zone and an image id, as in "hk-02 uimage-vareox"')
    return Pin(zone=match["zone"], image_id=match["image_id"])


def pin_lines(text: str) -> Iterator[tuple[int, str]]:
    """Give the lines of a file of pins that hold one, with their numbers; `#` begins a comment."""
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.partition("#")[0].strip()
        if stripped:
            yield number, stripped
