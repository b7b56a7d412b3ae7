"""No piece of the program is written twice."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import combinations

from tests.support.house import text_of, tracked_files

#: So many equal lines in a row are one piece that stands twice.
EQUAL_LINES = 6
#: Pairs that stay, by their files, each with the reason.
ALLOWED = {
    ("crawler/queries/check/__init__.py", "crawler/queries/check/standing.py"): (
        "two constructors that take the same arguments, of which one hands them to the other"
    ),
}


def code_of(text: str) -> list[str]:
    """Return the lines of a module that say something: no blanks, comments, imports or lone punctuation."""
    imported = {
        number
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    return [
        line
        for number, line in lines
        if number not in imported and not line.startswith("#") and any(char.isalnum() for char in line)
    ]


def repeats(modules: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield two files and the first line, for each place at which both have `EQUAL_LINES` equal lines in a row."""
    places: dict[tuple[str, ...], list[str]] = {}
    for name, text in modules.items():
        lines = code_of(text)
        for start in range(len(lines) - EQUAL_LINES + 1):
            places.setdefault(tuple(lines[start : start + EQUAL_LINES]), []).append(name)
    for piece, names in places.items():
        for first, second in combinations(sorted(names), 2):
            yield first, second, piece[0]


def test_nothing_stands_twice() -> None:
    """Six equal lines in a row stand in one place only, but for the pairs that are listed with their reason."""
    modules = {
        str(path): text_of(path) for path in tracked_files() if path.parts[0] == "crawler" and path.suffix == ".py"
    }
    found = {(first, second): line for first, second, line in repeats(modules)}

    assert {pair: line for pair, line in found.items() if pair not in ALLOWED} == {}
    assert ALLOWED.keys() - found.keys() == set(), "what does not stand twice any more needs no reason"


def test_a_copy_is_found() -> None:
    """Indentation, comments and imports make no difference to a copy."""
    body = [f"value_{number} = work({number})" for number in range(EQUAL_LINES)]
    copy = "import os\nif True:\n" + "\n".join(f"    {line}\n    # why" for line in body)

    assert [pair[:2] for pair in repeats({"a.py": "\n".join(body), "b.py": copy})] == [("a.py", "b.py")]
