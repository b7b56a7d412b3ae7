"""
Rows as a table of text: the same on a terminal and in a pipe, at most as wide as the room there is.

What every row says the same is told once, below. What does not fit is told shorter: texts folded, the year once,
without the columns that can be spared; and then a row goes on in further lines, indented. Ids and times stay whole.
Widths are those of a screen, on which Chinese characters take two columns. Pure but for the encoding of stdout.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from itertools import chain, zip_longest
from typing import Any, Literal

from crawler.cli.language import tr
from crawler.cli.streams import encodable
from crawler.domain.text import fold, visible, width
from crawler.domain.timefmt import NO_TIME, show_moment, titled, zone_name
from crawler.errors import UsageError

Row = Mapping[str, Any]

_GAP = "  "
#: What the further lines of a row are indented by.
_INDENT = "    "
#: A folded column is not made narrower than this, unless all else was tried: the longest ids fit.
_NARROW = 20
#: Nor is one of Chinese words than this.
_WIDE_WORD = 16
#: The blank within a time, and what stands for it while lines are broken: no text of a table has one.
_TIME, _JOINT = re.compile(r"(?<=\d-\d\d) (?=\d\d:\d\d)"), "\0"
#: How much of a time is the year.
_YEAR = len("2026-")
_STYLES = {
    "present": "32", "ok": "32", "complete": "32", "appeared": "32", "returned": "32", "same": "32",
    "unknown": "33", "held": "33", "skipped": "33", "incomplete": "33", "modified": "33", "interrupted": "33",
    "differs": "33", "only_first": "33", "only_second": "33", "re-issued": "33", "gap": "33",
    "failed": "31", "withdrawn": "31", "denied": "2", "retired": "2", "deselected": "2", "never": "2",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: which value of the row, under which heading, shown how."""

    #: A key of the row; dots lead inward (`targets.ok`).
    key: str
    title: str
    #: words: ours, so that they are told in the reader's language.
    kind: Literal["text", "words", "time", "count"] = "text"
    #: Told once below the table when every row says the same.
    optional: bool = False
    #: Left out when no row says anything.
    sparse: bool = False
    #: Only in a wide table, or where it is asked for.
    detail: bool = False
    #: Folded where the table would be too wide.
    folds: bool = False
    #: Between words alone, where a line has room for the longest.
    keeps_words: bool = False
    #: Left out where the table would be too wide.
    spare: bool = False
    #: Computes the cell from the whole row instead.
    cell: Callable[[Row], object] | None = None


def state_cell(row: Row) -> str:
    """Return the state of an image with why it is not known, or with its own, as the cloud has it, if it is no use."""
    more = row["reason"] or (row.get("image_state") if row.get("bootable") is False else None)
    return f"{row['state']} ({more})" if more else str(row["state"])


def _zone(row: Row) -> object:
    """Return the zone of a target, and of one that is a whole region the region."""
    return row["zone"] or row.get("region")


def variant_cell(row: Row) -> str:
    """Return the variants of a row: `all` and `all but …` in the reader's language, names as they are."""
    told = str(row["variant"])
    return tr(told) if told == "all" or told.startswith("all but ") else told


#: Which target a row is about, and which image.
TARGET_COLUMNS = (
    Column("account", "ACCOUNT", optional=True),
    Column("project", "PROJECT", optional=True),
    Column("region", "REGION", detail=True),
    Column("zone", "ZONE", cell=_zone),
    Column("kind", "KIND", optional=True),
    Column("variant", "VARIANT", optional=True, cell=variant_cell),
)
IMAGE_COLUMNS = (
    Column("image_set", "SET", optional=True),
    Column("image_name", "NAME", folds=True),
    Column("image_id", "IMAGE ID"),
)


def value_at(row: Row, path: str) -> Any:
    """Return the value of *row* at *path*, whose dots lead inward; None where there is none."""
    value: Any = row
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def chosen(columns: Sequence[Column], names: Sequence[str], fields: Sequence[str] = ()) -> tuple[Column, ...]:
    """
    Return the columns that *names* mean, in their order: by heading, or by field, in any case and spacing.

    Raises UsageError for a name that means none of *columns* nor of the further *fields*.
    """
    known = {_bare(one.key): one for one in columns}
    known |= {_bare(name): one for one in columns for name in (tr(one.title), one.title)}
    known |= {_bare(field): Column(field, field) for field in fields}
    unknown = [name for name in names if not _bare(name) or _bare(name) not in known]
    if unknown:
        there = ", ".join(dict.fromkeys([*(one.title for one in columns if one.title), *fields]))
        raise UsageError(f"There is no column {visible(unknown[0])!r}; the columns are {there}.")
    return tuple(replace(known[_bare(name)], optional=False, sparse=False, detail=False, spare=False) for name in names)


def folded(text: str, room: int, indent: str = "") -> list[str]:
    """Return *text* in lines of at most *room* columns, ids and times whole; what follows stands behind *indent*."""
    return [line.replace(_JOINT, " ") for line in fold(_joined(text), room, indent)]


def _joined(text: str) -> str:
    return _TIME.sub(_JOINT, text)


def _bare(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


# --- the lines -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A column and what is shown in it."""

    column: Column
    #: One line, or two.
    heading: Sequence[str]
    texts: Sequence[str]

    @property
    def width(self) -> int:
        return max(map(width, {*self.heading, *self.texts}))

    @property
    def longest_word(self) -> int:
        words = {word for text in (*self.heading, *self.texts) for word in _joined(text).split()}
        # beside wide characters a word may be broken
        return max((len(word) if word.isascii() else min(width(word), _WIDE_WORD) for word in words), default=0)

    @property
    def narrowest(self) -> int:
        if not self.column.keeps_words:
            return _NARROW
        return max(_NARROW, *(width(word) for text in {*self.heading, *self.texts} for word in text.split()))

    @property
    def is_left_out(self) -> bool:
        said, nothing = set(self.texts), {"0" if self.column.kind == "count" else NO_TIME}
        return (self.column.optional and len(said) == 1) or (self.column.sparse and said == nothing)


def table_lines(
    rows: Iterable[Row], columns: Sequence[Column], zone: tzinfo, room: int | None, *, is_styled: bool = False
) -> Iterator[str]:
    """
    Yield the lines of the table of *rows*, none wider than *room*; without rows none. Times are in *zone*.

    Without *room* it is as wide as it must be: every column, each row on one line, times to the second.
    """
    columns = [column for column in columns if room is None or not column.detail]
    cells = [_cell_of(column, zone, seconds=room is None) for column in columns]
    texts: list[list[str]] = [[] for _ in columns]
    for row in rows:
        for column_texts, cell in zip(texts, cells, strict=True):
            column_texts.append(cell(row))
    if not any(texts):
        return
    every = [
        _Shown(column=column, heading=_heading(column, zone, on_one_line=room is None), texts=column_texts)
        for column, column_texts in zip(columns, texts, strict=True)
    ]
    if room is None:
        yield from _laid_out([(every, [one.width for one in every])], is_styled=is_styled)
        return
    common = [
        f"{told if (told := tr(one.column.title)) != one.column.title else told.lower()} {one.texts[0]}"
        for one in every
        if one.column.optional and len(set(one.texts)) == 1 and one.texts[0] != NO_TIME
    ]
    lines, year = _fitting([one for one in every if not one.is_left_out], room)
    if year:
        common.append(tr(f"times of {year} in {zone_name(zone)}"))
    yield from _laid_out(lines, is_styled=is_styled)
    if common:
        for line in folded(tr("Everywhere: ") + tr(", ").join(common), room, _GAP):
            yield _styled(line, "2" if is_styled else "")


def _cell_of(column: Column, zone: tzinfo, *, seconds: bool) -> Callable[[Row], str]:
    """Return what computes a cell of *column*: harmless, times in *zone*; what many rows say is computed once."""
    known: dict[Any, str] = {}

    def text_of(value: Any) -> str:
        if column.kind == "time":
            moment = datetime.fromisoformat(value) if isinstance(value, str) else value
            return show_moment(moment if isinstance(moment, datetime) else None, zone, seconds=seconds)
        if value is None:
            return NO_TIME
        if isinstance(value, bool):
            return tr("yes" if value else "no")
        text = visible(", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))
        # Escaped before the columns are measured, not by the stream behind them.
        return encodable(tr(text) if column.kind == "words" else text, sys.stdout.encoding) or NO_TIME

    def cell(row: Row) -> str:
        value = column.cell(row) if column.cell else value_at(row, column.key)
        if not isinstance(value, str):
            return text_of(value)
        if value not in known:
            known[value] = text_of(value)
        return known[value]

    return cell


def _heading(column: Column, zone: tzinfo, *, on_one_line: bool) -> list[str]:
    title = encodable(tr(column.title), sys.stdout.encoding)
    if column.kind != "time":
        return [title]
    return [titled(title, zone)] if on_one_line else [title, zone_name(zone)]


def _laid_out(lines: Sequence[tuple[Sequence[_Shown], Sequence[int]]], *, is_styled: bool) -> Iterator[str]:
    """Yield the headings and the rows; each of *lines* is a part of every row, with the widths of its columns."""
    parts = [_Part(columns, widths, _INDENT * bool(number)) for number, (columns, widths) in enumerate(lines)]
    for part in parts:
        height = max(len(one.heading) for one in part.columns)
        stack = [[""] * (height - len(one.heading)) + list(one.heading) for one in part.columns]
        yield from part.side_by_side(stack, ["1" if is_styled else ""] * len(stack))
    for row in range(len(lines[0][0][0].texts)):
        for part in parts:
            texts = [one.texts[row] for one in part.columns]
            if part.indent and set(texts) == {NO_TIME}:
                continue
            styles = [_STYLES.get(text.partition(" ")[0], "") for text in texts] if is_styled else part.plain
            yield from part.side_by_side(part.folded(texts), styles)


class _Part:
    """Columns that stand in one line of a row."""

    def __init__(self, columns: Sequence[_Shown], widths: Sequence[int], indent: str) -> None:
        self.columns = columns
        self.indent = indent
        self.plain = [""] * len(columns)
        self._widths = widths
        self._layout = [(room, one.column.kind == "count") for one, room in zip(columns, widths, strict=True)]
        self._is_folded = any(one.width > room for one, room in zip(columns, widths, strict=True))

    def folded(self, texts: Sequence[str]) -> Sequence[Sequence[str]]:
        """Return the lines of each of *texts*."""
        if not self._is_folded:
            return [(text,) for text in texts]
        return [folded(text, room) for text, room in zip(texts, self._widths, strict=True)]

    def side_by_side(self, stacks: Iterable[Sequence[str]], styles: Sequence[str]) -> Iterator[str]:
        """Yield the lines of cells of several lines each, without blanks at the end."""
        for texts in zip_longest(*stacks, fillvalue=""):
            cells = []
            for text, style, (room, is_right) in zip(texts, styles, self._layout, strict=True):
                blank = " " * (room - width(text))
                shown = _styled(text, style)
                cells.append(blank + shown if is_right else shown + blank)
            yield (self.indent + _GAP.join(cells)).rstrip()


def _styled(text: str, style: str) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if style and text else text


# --- how it fits -----------------------------------------------------------------------------------------------------


def _fitting(columns: Sequence[_Shown], room: int) -> tuple[list[tuple[Sequence[_Shown], list[int]]], str]:
    """Return the lines of a row, with the widths of their columns, and the year where it is told once."""
    short, year = _without_year(columns)
    spared = [one for one in short if not one.column.spare]
    for shown, told in ((columns, ""), (short, year), (spared, year)):
        widths = _widths(shown, room)
        if _total(widths) <= room:
            return [(shown, widths)], told
    widths = _widths(spared, room, is_tight=True)
    if _total(widths) <= room:
        return [(spared, widths)], year
    lines: list[list[_Shown]] = [[]]
    for one in spared:
        if lines[-1] and _total(_least([*lines[-1], one], room)) > room - len(_INDENT):
            lines.append([])
        lines[-1].append(one)
    return [(line, _grown(line, room - len(_INDENT) * bool(number))) for number, line in enumerate(lines)], year


def _without_year(columns: Sequence[_Shown]) -> tuple[Sequence[_Shown], str]:
    """Return the columns with times without their year, and the year, when it is the same in all of them."""
    times = set(chain.from_iterable(one.texts for one in columns if one.column.kind == "time")) - {NO_TIME}
    if len({text[:_YEAR] for text in times}) != 1:
        return columns, ""
    short = [
        replace(one, heading=one.heading[:1], texts=[text if text == NO_TIME else text[_YEAR:] for text in one.texts])
        if one.column.kind == "time"
        else one
        for one in columns
    ]
    return short, times.pop()[: _YEAR - 1]


def _widths(columns: Sequence[_Shown], room: int, *, is_tight: bool = False) -> list[int]:
    """Return the width of each column; only those that fold give way, *is_tight*: down to their longest word."""
    widths = [one.width for one in columns]
    excess = _total(widths) - room
    for index in sorted(range(len(widths)), key=lambda index: -widths[index]):
        one = columns[index]
        narrow = min(one.narrowest, one.longest_word) if is_tight else one.narrowest
        if excess > 0 and one.column.folds and widths[index] > narrow:
            narrower = max(narrow, widths[index] - excess)
            excess -= widths[index] - narrower
            widths[index] = narrower
    return widths


def _least(columns: Sequence[_Shown], room: int) -> list[int]:
    most = room - len(_INDENT)
    return [min(one.width, one.narrowest if one.column.folds else most, most) for one in columns]


def _grown(columns: Sequence[_Shown], room: int) -> list[int]:
    """Return the least widths of *columns*, those that fold grown into what is left of *room*."""
    widths = _least(columns, room)
    for index, one in enumerate(columns):
        widths[index] += max(0, min(one.width - widths[index], room - _total(widths)))
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)
