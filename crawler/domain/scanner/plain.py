"""
Image ids in shell scripts, in texts inside other files, and in plain lists of ids. Pure.

In a text an id counts behind `image_id` in some spelling (`--image-id ID`, `IMAGE_ID=ID`, `imageId: ID`); its zone is
that of the same command, or the last one named before, whether written out or by a variable; where nothing sets that,
it is not told. What a variable is only compared with is the zone where the two are the same, and no longer. A list has
one id a line, with its zone beside it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from operator import itemgetter
from typing import NamedTuple

from crawler.domain.scanner.words import (
    ASSIGNED_ID,
    ASSIGNED_LIST,
    ASSIGNED_VARIABLE,
    ASSIGNED_ZONE,
    ELEMENT_ID,
    FURTHER_ID,
    PATCHED_ID,
    TESTED,
    image_key,
    is_image_id,
    is_zone_by_itself,
    key_of_patch,
    zone_key,
)

#: A text in quotes, in which nothing begins a comment; or a comment.
_QUOTED_OR_COMMENT = re.compile(
    r"""(?<![\w\\])(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*')|(?P<comment>(?:^|(?<=[\s;]))(?:\#|//).*$)""", re.MULTILINE
)
_ESCAPED_BLANK = re.compile(r"\\{1,8}([nrt])")
#: So many stand before the `n` where a command goes on in the next line, in a text and in one inside a text.
_CONTINUING = (3, 6)
_CONTINUED = re.compile(r"(?:[^\n\\]|\\[\s\S])+")
#: What stands between the commands of a line.
_BETWEEN = re.compile(r"&&|\|\||;|\Z")
#: Whether a text compares variables, as far as a quick look tells.
_MAY_TEST = re.compile(r"""\$\w+\\?["']?\s*=""")
#: Where what a command has tested decides over more than its line, and where that is so no more.
_BRANCHING = re.compile(r"\s*(?:if|elif|while|until)\b")
_LEAVING = re.compile(r"(?<=\|\|)|\s*(?:else|elif|fi|done)\b")
_LONGEST_LIST = 20_000
#: A section of an ini file, with its name.
SECTION = re.compile(r"^[ \t]*\[{1,2}(?P<name>\w[^\[\]\n\"'=,]*)\]{1,2}[ \t\r]*(?:[#;].*)?$", re.MULTILINE)
#: Sections whose values are for the others too, as what stands before the first is.
OF_ALL = ("", "all", "all:vars", "default", "defaults", "global")
_WORD = re.compile(r"[^\s,;\ufeff]+")


class InText(NamedTuple):
    """An id in a text, the character at which it begins there, and the zone it is for."""

    image_id: str
    at: int
    zone: str | None


def in_lines(text: str) -> str:
    """Return *text* with ends of lines where they are written as JSON writes them, `\\n`; every place stays."""
    return _ESCAPED_BLANK.sub(_unescaped, text) if "\\" in text else text


def _unescaped(match: re.Match[str]) -> str:
    slashes = len(match.group()) - 1
    is_end = match[1] == "n" and slashes not in _CONTINUING
    return " " * slashes + ("\n" if is_end else " ")


def blanked(text: str) -> str:
    """Return *text* with its comments, from `#` to the end of the line, as blanks."""
    return _QUOTED_OR_COMMENT.sub(
        lambda match: " " * len(match.group()) if match["comment"] is not None else match.group(), text
    )


def find_in_text(text: str) -> Iterator[InText]:
    """Return the ids in *text* that stand behind a key and not behind `#`."""
    zones_in = _Zones(blanked(in_lines(text)))
    lookable = zones_in.text
    named = {zone for _, zone in zones_in.between(0, len(lookable), with_tests=False) if zone}
    last = named.pop() if len(named) == 1 else None
    for match in PATCHED_ID.finditer(lookable) if "path" in lookable and "value" in lookable else ():
        if image_key(key_of_patch(match["op"], match["path"])) is not None:
            yield InText(match["id"], match.start("id"), last)
    yield from _in_commands(zones_in, last)


def _in_commands(zones_in: _Zones, last: str | None) -> Iterator[InText]:
    """Return the ids behind a key; *last* is the zone that all of the text is about."""
    lookable = zones_in.text
    read = 0
    for begin, end, pairs in zones_in.commands():
        last = zones_in.last_for(begin, end, last)
        zones = dict(pairs)
        for prefix, zone in pairs:
            if zones[prefix] != zone:
                zones[prefix] = None
        last = zones.get("", next(iter(zones.values()), last))
        for match in ASSIGNED_ID.finditer(lookable, begin, end):
            key = image_key(match["key"])
            if key is None:
                continue
            zone = zones.get(key, last)
            yield InText(match["id"], match.start("id"), zone)
            at = match.end()
            while match["key"].endswith(("s", "S")) and (further := FURTHER_ID.match(lookable, at, end)):
                yield InText(further["id"], further.start("id"), zone)
                at = further.end()
        for opened in ASSIGNED_LIST.finditer(lookable, begin, end):
            key = image_key(opened["key"])
            if key is None or opened.start() < read:
                continue
            # it may go on over the lines
            read = lookable.find(")" if opened["opening"] == "(" else "]", opened.end(), opened.end() + _LONGEST_LIST)
            for match in ELEMENT_ID.finditer(lookable, opened.end(), max(read, opened.end())):
                own = match["zone"] if match["zone"] and is_zone_by_itself(match["zone"]) else None
                yield InText(match["id"], match.start("id"), own or zones.get(key, last))


def zones_named(text: str) -> set[str | None]:
    """Return the zones that *text* names, whatever for; None among them for one that is not written out."""
    blank = blanked(in_lines(text))
    return {zone for _, zone in _Zones(blank).between(0, len(blank))}


class _Zones:
    """The zones that a *text* without comments names."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._may_test = _MAY_TEST.search(text) is not None
        #: To where the zones of tests count, each with the one that was named last before.
        self._tested: list[tuple[int, str | None]] = []
        #: By variable the places where it is set, each with the zone, or None for what is none or not told.
        self._variables: dict[str | None, list[tuple[int, str | None]]] | None = None

    def commands(self) -> Iterator[tuple[int, int, list[tuple[str, str | None]]]]:
        """
        Return where commands begin and end, and the zones that each names.

        Commands are lines, and of a line that names two zones or tests one what is between `&&`, `||` or `;`.
        """
        for line in _CONTINUED.finditer(self.text):
            begin, end = line.span()
            pairs = list(dict.fromkeys(self.between(begin, end)))
            if len(pairs) == len({prefix for prefix, _ in pairs}) and not self._test_counts_to(begin, end):
                yield begin, end, pairs
                continue
            for stop in _BETWEEN.finditer(self.text, begin, end):
                yield begin, stop.start(), list(dict.fromkeys(self.between(begin, stop.start())))
                begin = stop.end()

    def between(self, begin: int, end: int, *, with_tests: bool = True) -> Iterator[tuple[str, str | None]]:
        """Return the zones that the characters from *begin* to *end* name, each with the words before `zone`."""
        for match in ASSIGNED_ZONE.finditer(self.text, begin, end):
            prefix = zone_key(match["key"])
            if prefix is None or (self._is_test(match) and not with_tests):
                continue
            if match["zone"] is None:
                yield prefix, self._value(match["name"], match.start())
            elif is_zone_by_itself(match["zone"]):
                yield prefix, match["zone"]

    def last_for(self, begin: int, end: int, last: str | None) -> str | None:
        """
        Return the zone named *last* as it counts for the command from *begin* to *end*, each command in its turn.

        One that was only tested is the last one no longer than the test holds.
        """
        while self._tested and begin >= self._tested[-1][0]:
            last = self._tested.pop()[1]
        if self._tested and _LEAVING.match(self.text, begin):
            self._tested, last = [], None
        if counts_to := self._test_counts_to(begin, end):
            self._tested.append((counts_to, last))
        return last

    def _test_counts_to(self, begin: int, end: int) -> int:
        """Return to where a zone counts that the characters from *begin* to *end* test; 0 where they test none."""
        if not (self._may_test and any(map(self._is_test, ASSIGNED_ZONE.finditer(self.text, begin, end)))):
            return 0
        ends = self.text.find("\n", begin)
        is_branching = _BRANCHING.match(self.text, self.text.rfind("\n", 0, begin) + 1)
        return len(self.text) if is_branching or ends < 0 else ends

    def _is_test(self, match: re.Match[str]) -> bool:
        return self._may_test and TESTED.match(self.text, match.start()) is not None

    def _value(self, name: str | None, at: int) -> str | None:
        """Return the zone that the variable *name* has *at* a character; None where the text does not tell."""
        if self._variables is None:
            self._variables = {}
            zones = (match for match in ASSIGNED_ZONE.finditer(self.text) if not self._is_test(match))
            places = [*ASSIGNED_VARIABLE.finditer(self.text), *zones]
            for match in sorted(places, key=lambda match: match.start()):
                told = match.groupdict()
                own, other, zone = told.get("loop") or told["key"], told["name"], told["zone"]
                if zone is None:
                    zone = self._value(other, match.start())
                elif not is_zone_by_itself(zone):
                    zone = None
                self._variables.setdefault(own, []).append((match.start(), zone))
        values = self._variables.get(name, ())
        before = bisect_left(values, at, key=itemgetter(0))
        if before:
            return values[before - 1][1]
        later = {zone for _, zone in values}
        return later.pop() if len(later) == 1 else None


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
    return word in ("-", "*") or word.startswith("--") or word.endswith((":", "="))
