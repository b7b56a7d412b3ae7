"""
Texts inside other files that are documents of YAML or JSON: values of a chart, a ConfigMap, a here-document. Pure.

Which ids count there is told as in any text (`plain.py`); which zones these are for, by the tables that they stand in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from crawler.domain.scanner.hcl import TooDeep
from crawler.domain.scanner.plain import in_lines
from crawler.domain.scanner.tree import Surroundings, TableNode, find
from crawler.domain.scanner.words import ASSIGNED_ZONE
from crawler.domain.scanner.yaml_tree import NoYaml, read_yaml

#: How a document begins, after comments.
_BEGINNING = re.compile(r"(?:\s*#[^\n]*\n|\s*---[^\n]*\n)*\s*(?:[\[{]|- |[\w\"'./-]+:(?:\s|$))")
_INDENTATION = re.compile(r"\n( *)[^ \r\n]")


def zones_inside(text: str) -> Mapping[int, tuple[str, ...]]:
    """
    Return the zones of the ids in *text* by the characters at which these begin; nothing where it is no document.

    Of one that names a single zone nothing is to be told.
    """
    text = in_lines(text)
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
