"""
Rows for spreadsheets: a text from a cloud is never a formula there, whatever the program takes for the end of a cell.

Spreadsheets execute a cell that begins with `=`, `+`, `-` or `@`, full-width forms included. Which character separates
cells is the reader's choice (Excel takes `;` in most of Europe, LibreOffice takes commas, semicolons and tabs), and
where it is not the comma, quotes in the midst of a line protect nothing. So what stands behind any such character is
treated like the beginning of a cell. An apostrophe makes it plain text. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_FORMULA = "-=+@\t\r＝＋－＠﹦﹢﹣﹫⁼⁺⁻₌₊₋−"
#: What some program takes for the end of a cell or of a row.
_SEPARATORS = ";,|\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029"
#: What a program may pass over at the beginning of a cell: blanks, quotes, and what nobody sees.
_PASSED = (
    ' \xa0\u1680\u2000-\u200a\u202f\u205f\u3000"“”„‟«»＂'
    "\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
)
_LIVE = re.compile(f"(\\A|[{_SEPARATORS}])(?=[{_PASSED}]*[{_FORMULA}])")
_NEEDS_QUOTES = re.compile(f'["{_SEPARATORS}]|\\A\\s|\\s\\Z')


def harmless(text: str) -> str:
    """Return *text* with an apostrophe before whatever a spreadsheet could take for a formula."""
    return _LIVE.sub(r"\1'", text)


def harmless_inside(value: Any) -> Any:
    """Return a JSON value with every text in it, names included, `harmless`: so it stays JSON in its cell."""
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, Mapping):
        return {harmless(str(name)): harmless_inside(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [harmless_inside(inner) for inner in value]
    return value


def csv_line(cells: Iterable[str], end: str = "\n") -> str:
    """Return *cells* as a line of a CSV file; one with any separator in it, not only a comma, is quoted."""
    line = ",".join('"' + cell.replace('"', '""') + '"' if _NEEDS_QUOTES.search(cell) else cell for cell in cells)
    return (line or '""') + end  # a line of nothing would be no row
