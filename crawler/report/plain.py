"""
Texts from the API made harmless: one line, no controls, no directions, no more than a reader reads. Pure.

What this gives is still text and not markup: the templates escape it. An image called `<script>` is shown so.
"""

from __future__ import annotations

import unicodedata

from crawler.sheets import harmless

NAME_LIMIT = 64
MESSAGE_LIMIT = 200
#: Stands where a character cannot be shown as itself.
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
_MARKS_IN_A_ROW = 3
#: What stands at no beginning of a line, and what at no end.
_CLOSING = "、，。；：！？）】」』》〉％,.;:!?)]}%…”’"
_OPENING = "（【「『《〈([{“‘"


def plain(text: str, limit: int | None = NAME_LIMIT) -> str:
    """
    Give *text* as one line of at most *limit* characters.

    White space of any kind becomes one space. Controls, bidi overrides, lone surrogates and unassigned characters are
    shown as a replacement character; piled-up combining marks are cut. Joiners stay: emoji need them.
    """
    if limit is not None:
        text = text[: 4 * limit]  # enough to fill the line, whatever is dropped; the rest is not looked at
    shown: list[str] = []
    marks = 0
    for char in text:
        category = unicodedata.category(char)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks > _MARKS_IN_A_ROW:
            continue
        if char.isspace() or category in ("Zl", "Zp", "Zs"):
            shown.append(" ")
        elif char in _JOINERS or category not in ("Cc", "Cf", "Cs", "Co", "Cn"):
            shown.append(char)
        elif not shown or shown[-1] != REPLACEMENT:
            shown.append(REPLACEMENT)
    line = " ".join("".join(shown).split())
    if limit is not None and len(line) > limit:
        line = line[: limit - 1].rstrip() + "…"
    return line


def cell(text: str) -> str:
    """Return *text* for a cell of a CSV file: whole, one line, and never a formula to a spreadsheet."""
    return harmless(plain(text, None))


def width(text: str) -> int:
    """Give how many columns *text* takes on a screen of equal columns."""
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
    Tell whether *line* may go on in another one from its character *at* on.

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


def padded(text: str, columns: int) -> str:
    """Give *text* filled up with spaces to *columns*."""
    return text + " " * max(0, columns - width(text))
