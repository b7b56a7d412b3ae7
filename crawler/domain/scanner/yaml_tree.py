"""
YAML read into a tree that keeps the place of every text, templates in it included. Pure.

What stands in `{{ }}` or `{% %}` is covered before the parser sees it, with as many characters, so that every place
stays; a line of nothing else is left empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from crawler.domain.scanner.hcl import TooDeep
from crawler.domain.scanner.tree import Choice, Node, TableNode, Text

_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_ALONE = re.compile(r"^[ \t]*(?:(?:\{\{(?:[^{}]|\{[^{}]*\})*\}\}|\{%.*?%\})[ \t]*)+\r?$", re.MULTILINE)
#: The anchor and the tag before a value, and comments on the lines between.
_PROPERTIES = re.compile(r"\A(?:[&!]\S*\s+|#[^\n]*\n\s*)+")
_BRACKET = re.compile(r"[\[{}\]]")
_DEEPEST = 150
#: As many nodes as are read of a text of fewer characters. None has more nodes than characters, but that anchors which
#: name anchors make more of a few lines.
_LARGEST = 200_000


class NoYaml(ValueError):
    """What is read is no YAML."""


def read_yaml(text: str) -> list[Node]:
    """Return the documents in *text*; raises NoYaml, and TooDeep."""
    covered = _TEMPLATE.sub(_cover, _ALONE.sub(_emptied, text)) if "{{" in text or "{%" in text else text
    _refuse_depth(covered)
    import yaml  # takes 20 ms, and few files need it

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        documents = list(yaml.compose_all(covered, Loader=loader))
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise NoYaml("is no YAML") from exc
    reader = _Reading(text)
    return [reader.node(document, 0) for document in documents if document is not None]


def _cover(match: re.Match[str]) -> str:
    """Return a word as long as the template, on as many lines."""
    return "".join(char if char in "\r\n" else "t" for char in match.group())


def _emptied(match: re.Match[str]) -> str:
    return " " * len(match.group())


def _refuse_depth(text: str) -> None:
    depth = 0
    for match in _BRACKET.finditer(text):
        depth += 1 if match.group() in "[{" else -1
        if depth > _DEEPEST:
            raise TooDeep


class _Reading:
    def __init__(self, text: str) -> None:
        self.text = text
        self.most = max(_LARGEST, len(text))
        self.count = 0
        self.open: set[int] = set()

    def node(self, node: Any, depth: int) -> Node:
        """Return what the parser's *node* is as a tree; an alias is what it names, each time."""
        self.count += 1
        if self.count > self.most or depth > _DEEPEST or id(node) in self.open:
            raise TooDeep
        self.open.add(id(node))
        try:
            if node.id == "mapping":
                return TableNode(list(self._members(node, depth)))
            if node.id == "sequence":
                return [self.node(element, depth + 1) for element in node.value]
            return self._scalar(node)
        finally:
            self.open.discard(id(node))

    def _members(self, mapping: Any, depth: int) -> Iterator[tuple[str, Node]]:
        own: list[tuple[str, Node]] = []
        merged: dict[str, Node] = {}  # of several tables the first one's member counts
        for key, value in mapping.value:
            read = self.node(value, depth + 1)
            if key.value == "<<":
                tables = read if isinstance(read, list) else [read]
                for name, inner in (pair for table in tables if isinstance(table, TableNode) for pair in table.members):
                    merged.setdefault(name, inner)
            else:
                own.append((key.value if key.id == "scalar" else "", read))
        names = {name for name, _ in own}
        yield from own
        yield from (member for member in merged.items() if member[0] not in names)

    def _scalar(self, node: Any) -> Node:
        start, end = node.start_mark.index, node.end_mark.index
        raw = self.text[start:end]
        start += len(raw) - len(raw := _PROPERTIES.sub("", raw))
        if node.style in ("'", '"'):
            return Text(raw[1:-1], start + 1)
        if node.style in ("|", ">"):
            header = len(raw) - len(raw.partition("\n")[2].lstrip())
            return Text(raw[header:].rstrip(), start + header)
        text = Text(raw, start)
        return Choice([text]) if "{{" in raw else text
