"""
Names of zones and images as parts of a path: nothing a cloud calls them can leave the folder, or clash with a file.

A slug is the normalised name with `-` for spaces; anything but `[a-z0-9._-]` is percent-encoded, and so are a dot at
the beginning and that of a `.json` at the end, where the file of another name would stand. A link to a file encodes the
percent signs once more (`link`).
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from urllib.parse import quote

from crawler.domain.models import normalise_name

#: Longer ones end with a digest: file systems take 255 bytes, and the ending of a file's name has to fit in.
LONGEST = 160
_LOWER = re.compile(r"[a-z0-9._-]")
_ANY_CASE = re.compile(r"[A-Za-z0-9._-]")


@lru_cache(maxsize=65_536)
def slug(image_name: str) -> str:
    """Return the part of a path that stands for an image's name; empty for a name of nothing."""
    return _encoded(normalise_name(image_name).replace(" ", "-"), _LOWER)


@lru_cache(maxsize=65_536)
def zone_part(zone: str) -> str:
    """Return the part of a path that stands for a zone, in the case in which the cloud writes it."""
    return _encoded(zone, _ANY_CASE)


def link(path: str) -> str:
    """Return the relative URL of the file at *path*."""
    return quote(path, safe="/")


def _encoded(text: str, kept: re.Pattern[str]) -> str:
    parts = [char if kept.match(char) else _percent(char) for char in text]
    if parts and parts[0] == ".":
        parts[0] = _percent(".")
    if text.endswith(".json"):
        parts[-5] = _percent(".")
    whole = "".join(parts)
    if len(whole) <= LONGEST:
        return whole
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
    short = ""
    for part in parts:
        if len(short) + len(part) > LONGEST - len(digest) - 1:
            break
        short += part
    return f"{short}-{digest}"


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode(errors="surrogatepass"))
