"""
A table on a terminal: styled, only as wide as its news, paged when it is long.

What every row says the same is told once, below. A table that is too wide folds its texts, then tells the year once,
then leaves out what can be spared. Ids and times are never folded: what is too wide even so stays as wide as it is.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crawler.cli.output import Column, Row, cell_text
from crawler.domain.timefmt import NO_TIME, zone_name

_GAP = 2
#: A folded column is not made narrower than this, unless all else was tried: the longest ids fit.
_NARROW = 20
#: How much of a time is the year.
_YEAR = len("2026-")
_STYLES = {
    "present": "green", "ok": "green", "complete": "green", "appeared": "green", "returned": "green",
    "unknown": "yellow", "held": "yellow", "skipped": "yellow", "incomplete": "yellow", "modified": "yellow",
    "interrupted": "yellow", "failed": "red", "withdrawn": "red", "same": "green", "differs": "yellow",
    "only_first": "yellow", "only_second": "yellow", "re-issued": "yellow", "gap": "yellow",
    "denied": "dim", "retired": "dim", "deselected": "dim", "never": "dim",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A column and what is shown in it."""

    column: Column
    heading: str
    texts: Sequence[str]

    @property
    def width(self) -> int:
        return max(map(cell_len, (*self.heading.split("\n"), *self.texts)))

    @property
    def longest_word(self) -> int:
        return max((cell_len(word) for text in (self.heading, *self.texts) for word in text.split()), default=0)


def show_table(rows: Sequence[Row], columns: Sequence[Column], zone: tzinfo) -> None:
    """Show *rows* on the terminal, through a pager when they are more than fit."""
    if not rows:
        return
    every = [
        _Shown(
            column=column,
            heading=f"{column.title}\n{zone_name(zone)}" if column.kind == "time" else column.title,
            texts=[cell_text(row, column, zone, seconds=False) for row in rows],
        )
        for column in columns
        if not column.detail
    ]
    common = [
        f"{one.column.title.lower()} {one.texts[0]}"
        for one in every
        if one.column.optional and len(set(one.texts)) == 1 and one.texts[0] != NO_TIME
    ]
    room = shutil.get_terminal_size().columns
    shown, widths, year = _fitting([one for one in every if not _is_left_out(one)], room)
    if year:
        common.append(f"times of {year} in {zone_name(zone)}")
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, _GAP, 0, 0))
    for one, width in zip(shown, widths, strict=True):
        table.add_column(
            Text(one.heading),
            justify="right" if one.column.kind == "count" else "left",
            vertical="top",
            overflow="fold",
            width=width,
        )
    for line in zip(*(one.texts for one in shown), strict=True):
        table.add_row(*(Text(text, style=_style(text)) for text in line))
    console = Console(file=sys.stdout, highlight=False, width=max(room, _total(widths)))
    with console.capture() as capture:
        console.print(table)
        if common:
            console.print(Text("Everywhere: " + ", ".join(common), style="dim"), soft_wrap=True)
    text = capture.get()
    if text.count("\n") < shutil.get_terminal_size().lines:
        click.echo(text, file=sys.stdout, nl=False, color=True)
    else:
        click.echo_via_pager(text.rstrip("\n"))  # click gives colour to a pager that is known to show it


def _is_left_out(one: _Shown) -> bool:
    nothing = {"0"} if one.column.kind == "count" else {NO_TIME}
    said = set(one.texts)
    return (one.column.optional and len(said) == 1) or (one.column.sparse and said == nothing)


# --- how it fits -----------------------------------------------------------------------------------------------------


def _fitting(columns: Sequence[_Shown], room: int) -> tuple[Sequence[_Shown], list[int], str]:
    """Return the columns, their widths, and the year where it is told once: by the first way that fits, or the last."""
    short, year = _without_year(columns)
    spared = [one for one in short if not one.column.spare]
    for shown, told in ((columns, ""), (short, year), (spared, year)):
        widths = _widths(shown, room)
        if _total(widths) <= room:
            return shown, widths, told
    return spared, _widths(spared, room, is_tight=True), year


def _without_year(columns: Sequence[_Shown]) -> tuple[Sequence[_Shown], str]:
    """Return the columns with times without their year, and the year, when it is the same in all of them."""
    times = {text for one in columns if one.column.kind == "time" for text in one.texts} - {NO_TIME}
    if len({text[:_YEAR] for text in times}) != 1:
        return columns, ""
    short = [
        replace(
            one,
            heading=one.column.title,
            texts=[text if text == NO_TIME else text[_YEAR:] for text in one.texts],
        )
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
        narrow = min(_NARROW, one.longest_word) if is_tight else _NARROW
        if excess > 0 and one.column.folds and widths[index] > narrow:
            narrower = max(narrow, widths[index] - excess)
            excess -= widths[index] - narrower
            widths[index] = narrower
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * len(widths)


def _style(text: str) -> str:
    return _STYLES.get(text.partition(" ")[0], "") if len(text) < 30 else ""
