"""Texts that came from a cloud, made harmless for a terminal and for a spreadsheet."""

from __future__ import annotations

import re
import unicodedata

from crawler.sheets import harmless

#: Controls, surrogates, line separators, and invisible marks such as those that turn the direction of text.
_HARMFUL = {"Cc", "Cf", "Cs", "Zl", "Zp"}
#: What JSON may hold raw but a terminal must not see: DEL, C1 controls, direction marks, surrogates.
_RAW_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def visible(text: str) -> str:
    """Replace what a terminal would obey or hide by its escape: `\\x1b`, `\\n`, `\\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(char) if unicodedata.category(char) in _HARMFUL else char for char in text)


def _escape(char: str) -> str:
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return named.get(char) or (f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}")


def cell_of_sheet(text: str) -> str:
    """Return *text* for a CSV cell: no formula to any spreadsheet; controls but line ends become visible."""
    return "\n".join(visible(line) for line in harmless(text).split("\n"))


def json_text(text: str) -> str:
    """Escape inside finished JSON what a terminal would obey; it stays the same JSON."""
    return _RAW_IN_JSON.sub(lambda match: f"\\u{ord(match.group()):04x}", text)
