"""
Texts inside other files that are documents of YAML or JSON: values of a chart, a ConfigMap, a here-document. Pure.

Which ids count there is told as in any text (`plain.py`); which zones these are for, by the tables that they stand in.
In a script a here-document is a text of its own, and what stands below a zone in a `case` is for that zone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from crawler.domain.scanner.hcl import TooDeep
from crawler.domain.scanner.plain import OF_ALL, SECTION, InText, blanked, find_in_text, in_lines, zones_named
from crawler.domain.scanner.tree import Surroundings, TableNode, find
from crawler.domain.scanner.words import ASSIGNED_ZONE, ID_IN_TEXT, is_zone_by_itself
from crawler.domain.scanner.yaml_tree import NoYaml, read_yaml

#: How a document begins, after comments.
_BEGINNING = re.compile(r"(?:\s*#[^\n]*\n|\s*---[^\n]*\n)*\s*(?:[\[{]|- |[\w\"'./-]+:(?:\s|$))")
_INDENTATION = re.compile(r"\n( *)[^ \r\n]")
_HERE_DOCUMENT = re.compile(
    r"(?<!<)<<-?[ \t]*\\*(?P<quote>[\"']?)(?P<end>[A-Za-z_]\w*)\\*(?P=quote)[^\n]*\n"
    r"(?P<body>.*?)^[ \t]*(?P=end)[ \t\r]*$",
    re.DOTALL | re.MULTILINE,
)
#: An ini file, whose first line beside comments is a section.
_INI = re.compile(rf"(?:[ \t]*(?:[#;][^\n]*)?\r?\n)*{SECTION.pattern}", re.MULTILINE)
_BETWEEN_DOCUMENTS = re.compile(r"^[ \t]*---[ \t\r]*$", re.MULTILINE)
_NO_END = re.compile(r"[^\n]")
#: The pattern of a `case`, and what is done then.
_ARM = re.compile(
    r"(?:\bin\b|;;|;&|;;&)[\s(]*(?P<labels>[\w\"'\\][\w\"'\\|\- \t]{0,200})\)(?P<body>.*?)(?=;;|;&|\besac\b|\Z)",
    re.DOTALL,
)
Zones = Mapping[int, tuple[str, ...]]


def with_zones(text: str, found: Iterable[InText]) -> Iterator[tuple[InText, tuple[str, ...]]]:
    """Return the ids *found* in *text* with their zones, as others tell these than the lines that they stand on."""
    lines = in_lines(text)  # an end of a line that is written as JSON does may be cut in two
    spans = list(_here_documents(lines)) if "<<" in lines else []
    spans = spans or list(_sections(lines))
    outer = lines
    for begin, end in spans:
        outer = outer[:begin] + _NO_END.sub(" ", outer[begin:end]) + outer[end:]
    zones = _zones_inside(outer)
    for one in find_in_text(outer) if spans else found:
        yield one, zones.get(one.at, (one.zone,) if one.zone else ())
    for begin, end in spans:
        part = lines[begin:end]
        for one, own in with_zones(part, find_in_text(part)):
            yield one._replace(at=begin + one.at), own


def _here_documents(text: str) -> Iterator[tuple[int, int]]:
    """Yield where documents in here-documents begin and end that name their zones; variables are the script's."""
    for match in _HERE_DOCUMENT.finditer(text):
        begin, end = match.span("body")
        named = zones_named(text[begin:end])
        if named and None not in named:
            for stop in _BETWEEN_DOCUMENTS.finditer(text, begin, end):
                yield begin, stop.start()
                begin = stop.end()
            yield begin, end


def _sections(text: str) -> Iterator[tuple[int, int]]:
    """Yield where sections of an ini file begin and end that name zones of their own, where there are several."""
    if not _INI.match(text) or len(zones_named(text) - {None}) < 2:
        return
    found = list(SECTION.finditer(text))
    if len(found) < 2:
        return  # it is one itself
    for match, end in zip(found, [*(one.start() for one in found[1:]), len(text)], strict=True):
        named = zones_named(text[match.start() : end])
        if named and None not in named and match["name"].strip().casefold() not in OF_ALL:
            yield match.start(), end


def _zones_inside(text: str) -> Zones:
    """Return the zones of the ids in *text* by the characters at which these begin, as far as tables or cases tell."""
    zones = _of_document(text)
    return {**zones, **_of_cases(blanked(text))} if "esac" in text else zones


def _of_document(text: str) -> Zones:
    """Return the zones in a document; nothing where *text* is none, or names a single zone."""
    if len({match["zone"] for match in ASSIGNED_ZONE.finditer(text)}) < 2 or not _BEGINNING.match(text):
        return {}
    # the first line of a block stands behind the blanks that those after it begin with
    further = [len(match[1]) for match in _INDENTATION.finditer(text)]
    cut = min(further, default=0) if text[:1].strip() else 0
    zones: dict[int, tuple[str, ...]] = {}
    try:
        for document in read_yaml(" " * cut + text):
            for hit in find(document, Surroundings()) if isinstance(document, TableNode | list) else ():
                zones[hit.at - cut] = tuple(dict.fromkeys((*zones.get(hit.at - cut, ()), *hit.zones)))
    except (NoYaml, TooDeep):
        return {}
    return zones


def _of_cases(text: str) -> Zones:
    """Return the zones of the ids below patterns that are zones, but where one is written out there."""
    zones: dict[int, tuple[str, ...]] = {}
    for arm in _ARM.finditer(text):
        labels = tuple(label.strip(" \t\"'\\") for label in arm["labels"].split("|"))
        if all(map(is_zone_by_itself, labels)) and not zones_named(arm["body"]) - {None}:
            zones |= {match.start("id"): labels for match in ID_IN_TEXT.finditer(text, *arm.span("body"))}
    return zones
