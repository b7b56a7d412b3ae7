"""
A digest rendered: subject, text, HTML, and the full list as CSV. Pure, and the same every time.

Text and HTML are laid out from one view, so they say the same. The HTML carries its style in the elements, where
Outlook and Gmail look for it; what only newer programs know (dark mode, narrow screens) stays in one style element.
Nothing in it is fetched from anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

import css_inline
import jinja2

from crawler.domain.text import cell, csv_line, fold, harmless_inside, padded, plain, width
from crawler.notifications.i18n.phrases import flat
from crawler.notifications.models import Digest, Rendered
from crawler.notifications.rendering.lines import LineLimits, LineRow
from crawler.notifications.rendering.view import Section, View, view

#: Mail programs cut what is longer: Gmail does at 102 kB.
LARGEST_HTML = 90_000
#: From plenty to little; the first that fits is taken.
_LIMITS = (
    LineLimits(),
    LineLimits(rows=80),
    LineLimits(rows=40, details=8, items=20),
    LineLimits(rows=15, details=4, items=10),
    LineLimits(rows=5, details=2, items=5),
)
#: A column of the text part gives way to the next line when it gets wider than this.
_WIDEST = 34
_INDENT = "  "
#: Longer lines of the text part are broken, where they can be; in columns of a screen.
LONGEST_LINE = 118


def render(digest: Digest, *, largest: int = LARGEST_HTML) -> Rendered:
    """Return *digest* in its subscription's language, cut to what mail programs show when its HTML gets *largest*."""
    seen, html = view(digest, _LIMITS[0]), ""
    for limits in _LIMITS:
        seen = view(digest, limits)
        html = as_html(seen)
        if len(html.encode()) <= largest:
            break
    return Rendered(subject=seen.subject, text=as_text(seen), html=html, csv=as_csv(digest), is_cut=seen.is_cut)


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("crawler.notifications.rendering"),
        autoescape=jinja2.select_autoescape(("html.j2",), ("txt.j2",), default=True),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


# --- HTML ------------------------------------------------------------------------------------------------------------


@cache
def _inliner() -> Callable[[str], str]:
    return css_inline.CSSInliner(load_remote_stylesheets=False).inline


def as_html(seen: View) -> str:
    """Return *seen* as a whole HTML document."""
    return _inliner()(_environment().get_template("mail.html.j2").render(view=seen))


# --- text ------------------------------------------------------------------------------------------------------------


def as_text(seen: View) -> str:
    """Return *seen* as plain text, in columns."""
    sections = [(section, _laid_out(section)) for section in seen.sections]
    return _environment().get_template("mail.txt.j2").render(view=seen, sections=sections)


def _laid_out(section: Section) -> list[str]:
    """Return the lines of a section: where, name and what in columns, then when; details below."""
    cells = [(row.where, row.name, flat(row.what)) for row in section.rows]
    widths = [min(_WIDEST, max(width(row[column]) for row in cells)) for column in range(3)]
    lines: list[str] = []
    for row, texts in zip(section.rows, cells, strict=True):
        indent = " " * widths[0] + _INDENT if widths[0] else ""
        lines += fold(_row_line(row, texts, widths), LONGEST_LINE, indent)
        lines += [line for more in row.more for line in fold(indent + flat(more), LONGEST_LINE, indent)]
    return lines


def _row_line(row: LineRow, texts: tuple[str, str, str], widths: list[int]) -> str:
    columns = [padded(text, wide) for text, wide in zip(texts, widths, strict=True) if wide]
    return _INDENT.join([*columns, row.tail]).rstrip()


# --- CSV -------------------------------------------------------------------------------------------------------------

COLUMNS = (
    "id", "run", "account", "project", "region", "zone", "kind", "variant", "event", "image_set", "image_id",
    "image_name", "counterpart", "fields", "not_before", "observed_at", "recorded_at",
)  # fmt: skip


def as_csv(digest: Digest) -> bytes:
    """Return every change of *digest* as a CSV file that spreadsheets open as it is; times are UTC."""
    lines = [csv_line(COLUMNS, "\r\n")]
    lines += [csv_line(map(_sheet_value, map(change.as_dict().get, COLUMNS)), "\r\n") for change in digest.changes]
    # The mark tells spreadsheets that it is UTF-8; what is no text at all became a replacement character already.
    return "".join(lines).encode("utf-8-sig")


def _sheet_value(value: object) -> str:
    if isinstance(value, dict):
        return plain(json.dumps(harmless_inside(value), ensure_ascii=False), None) if value else ""
    return "" if value is None else cell(str(value))
