"""
Text from the API, the database or a file, made harmless where it goes out: terminal, JSON, CSV, plain mail. Pure.

`one_line` is for what a sentence of ours quotes; `plain` and `cell` give one line of bounded length for mails;
`visible`, `json_text` and `cell_of_sheet` keep the text and escape what a terminal or a spreadsheet would obey. What
they give is still text and not markup: templates escape it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

NAME_LIMIT = 64
MESSAGE_LIMIT = 200
QUOTED_LIMIT = 300
#: Stands where a character cannot be shown as itself.
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
_MARKS_IN_A_ROW = 3
#: What stands at no beginning of a line, and what at no end.
_CLOSING = "、，。；：！？）】」』》〉％,.;:!?)]}%…”’"
_OPENING = "（【「『《〈([{“‘"


def plain(text: str, limit: int | None = NAME_LIMIT) -> str:
    """
    Return *text* as one line of at most *limit* characters.

    White space of any kind becomes one space. Controls, bidi overrides, lone surrogates and unassigned characters are
    shown as a replacement character; piled-up combining marks are cut. Joiners stay: emoji need them.
    """
    if text.isascii() and text.isprintable() and len(text) <= (limit or len(text)) and " ".join(text.split()) == text:
        return text
    if limit is not None:
        text = text[: 4 * limit]  # enough to fill the line, whatever is dropped; the rest is not looked at
    shown: list[str] = []
    marks = 0
    for char in text:
        category = unicodedata.category(char)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks > _MARKS_IN_A_ROW:
            continue
        if char.isspace():
            shown.append(" ")
        elif char in _JOINERS or category not in ("Cc", "Cf", "Cs", "Co", "Cn"):
            shown.append(char)
        elif not shown or shown[-1] != REPLACEMENT:
            shown.append(REPLACEMENT)
    line = " ".join("".join(shown).split())
    if limit is not None and len(line) > limit:
        line = line[: limit - 1].rstrip() + "…"
    return line


def one_line(text: str, limit: int = QUOTED_LIMIT) -> str:
    """
    Return what another program said as a sentence of ours may quote it: one line of at most *limit* characters.

    White space of any kind, controls, bidi marks and lone surrogates become one space.
    """
    if len(text) <= limit and text.isprintable() and " " not in text:
        return text
    line = "".join(char if char.isprintable() else " " for char in text[: limit * 4])
    line = " ".join(line.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def cell(text: str) -> str:
    """Return *text* for a cell of a CSV file: whole, one line, and never a formula to a spreadsheet."""
    return harmless(plain(text, None))


def width(text: str) -> int:
    """Return how many columns *text* takes on a screen of equal columns."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.category(char) in ("Mn", "Me", "Cf")
        else 2
        if unicodedata.east_asian_width(char) in ("W", "F")
        else 1
        for char in text
    )


def may_break(line: str, at: int) -> bool:
    """
    Return whether *line* may go on in another one from its character *at* on.

    It may behind blanks, and beside wide characters, which have none between them; never inside a word or an id, before
    what closes, or behind what opens.
    """
    before, after = line[at - 1], line[at]
    if before.isspace() or after.isspace():
        return not after.isspace()
    if after in _CLOSING or before in _OPENING or width(after) == 0 or before in _JOINERS:
        return False
    base = next((char for char in reversed(line[:at]) if width(char)), before)  # below the marks that stand on it
    return 2 in (width(base), width(after))


def fold(line: str, room: int, indent: str = "") -> list[str]:
    """
    Break *line* where it is wider than *room*; what follows stands below, behind *indent*.

    Words and ids stay whole; only what is longer than a line is cut. No line has but one Chinese letter.
    """
    lines: list[str] = []
    while width(line := line.rstrip()) > room and len(line) > len(indent) + 1:
        fits = max(bisect_right(list(accumulate(map(width, line))), room), len(indent) + 1)
        # One wide letter is not left alone on the last line.
        last = len(line) - 2 if width(line[-1]) > 1 else len(line)
        ends = range(min(fits + line[fits].isspace(), last), len(indent), -1)
        at = next((end for end in ends if may_break(line, end) and line[:end].strip()), fits)
        lines.append(line[:at].rstrip())
        line = indent + line[at:].lstrip()
    return [*lines, line]


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return how many there are and what, as in `0 zones`, `1 zone`, `2 zones`; *many* where an s is not enough."""
    return f"{number} {agreeing(number, one, many)}"


def agreeing(number: float, one: str, many: str | None = None) -> str:
    """Return the words that go with *number*: *one* for 1, else *many*, which is *one* with an s where it is None."""
    return one if number == 1 else many if many is not None else f"{one}s"


def padded(text: str, columns: int) -> str:
    """Return *text* filled up with spaces to *columns*."""
    return text + " " * max(0, columns - width(text))


#: Controls, surrogates, line separators, and invisible marks such as those that turn the direction of text.
_HARMFUL = {"Cc", "Cf", "Cs", "Zl", "Zp"}
#: What JSON may hold raw but a terminal must not see: DEL, C1 controls, direction marks, surrogates.
_RAW_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def visible(text: str) -> str:
    """Replace what a terminal would obey or hide by its escape: `\\x1b`, `\\n`, `\\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(char) if unicodedata.category(char) in _HARMFUL else char for char in text)


def visible_lines(text: str) -> str:
    """Return *text* with each of its lines `visible`."""
    return "\n".join(map(visible, text.split("\n")))


def _escape(char: str) -> str:
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return named.get(char) or (f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}")


def cell_of_sheet(text: str) -> str:
    """Return *text* for a CSV cell: no formula to any spreadsheet; controls but line ends become visible."""
    return visible_lines(harmless(text))


def json_text(text: str) -> str:
    """Escape inside finished JSON what a terminal would obey; it stays the same JSON."""
    return _RAW_IN_JSON.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


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


def quoted(value: Any) -> str:
    """Return a text, number, flag or list of texts for YAML and TOML; a JSON string is one of each but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
