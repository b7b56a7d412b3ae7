"""
Image ids in shell scripts, in texts inside other files, and in plain lists of ids. Pure.

In a text an id counts behind `image_id` in some spelling (`--image-id ID`, `IMAGE_ID=ID`, `imageId: ID`); its zone is
that of the same command, or the last one named before. A list has one id a line, with its zone beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from crawler.domain.scanner.words import (
    ASSIGNED_ID,
    ASSIGNED_LIST,
    ASSIGNED_ZONE,
    ELEMENT_ID,
    FURTHER_ID,
    image_key,
    is_image_id,
    is_zone_by_itself,
    zone_key,
)

_COMMENT = re.compile(r"(?:^|(?<=[\s;]))(?:#|//).*$", re.MULTILINE)
_CONTINUED = re.compile(r"(?:[^\n\\]|\\[\s\S])+")
_LONGEST_LIST = 20_000
_WORD = re.compile(r"[^\s,;\ufeff]+")


class InText(NamedTuple):
    """An id in a text, the character at which it begins there, and the zone it is for."""

    image_id: str
    at: int
    zone: str | None


def blanked(text: str) -> str:
    """Return *text* with its comments, from `#` to the end of the line, as blanks."""
    return _COMMENT.sub(lambda match: " " * len(match.group()), text)


def find_in_text(text: str) -> Iterator[InText]:
    """Return the ids in *text* that stand behind a key and not behind `#`."""
    lookable = blanked(text)
    named = {zone for _, zone in _zones(lookable)}
    last = named.pop() if len(named) == 1 else None
    read = 0
    for command in _CONTINUED.finditer(lookable):
        zones = dict(_zones(command.group()))
        last = zones.get("", next(iter(zones.values()), last))
        for match in ASSIGNED_ID.finditer(command.group()):
            prefix = image_key(match["key"])
            if prefix is None:
                continue
            zone = zones.get(prefix, zones.get("", last))
            yield InText(match["id"], command.start() + match.start("id"), zone)
            end = match.end()
            while match["key"][-1] in "sS" and (further := FURTHER_ID.match(command.group(), end)):
                yield InText(further["id"], command.start() + further.start("id"), zone)
                end = further.end()
        for begin in ASSIGNED_LIST.finditer(lookable, command.start(), command.end()):
            prefix = image_key(begin["key"])
            if prefix is None or begin.start() < read:
                continue
            # it may go on over the lines
            read = lookable.find(")" if begin["opening"] == "(" else "]", begin.end(), begin.end() + _LONGEST_LIST)
            for match in ELEMENT_ID.finditer(lookable, begin.end(), max(read, begin.end())):
                own = match["zone"] if is_zone_by_itself(match["zone"] or "") else None
                yield InText(match["id"], match.start("id"), own or zones.get(prefix, zones.get("", last)))


def _zones(command: str) -> Iterator[tuple[str, str]]:
    for match in ASSIGNED_ZONE.finditer(command):
        prefix = zone_key(match["key"])
        if prefix is not None and is_zone_by_itself(match["zone"]):
            yield prefix, match["zone"]


def find_in_list(text: str) -> Iterator[InText]:
    """Return the ids that stand in a line of their own, alone or with one other word, which may be the zone."""
    start = 0
    for line in text.split("\n"):
        words = list(_WORD.finditer(line.partition("#")[0]))
        if len(words) <= 2 and not any(_is_key(word.group()) for word in words):
            zone = next((word.group() for word in words if is_zone_by_itself(word.group())), None)
            for word in words:
                if is_image_id(word.group()):
                    yield InText(word.group(), start + word.start(), zone)
        start += len(line) + 1


def _is_key(word: str) -> bool:
    return word in ("-", "=", "*") or word.startswith("--") or word.endswith((":", "="))
