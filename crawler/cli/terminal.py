"""
A table on a terminal: styled, only as wide as its news, paged when it is long.

What every row says the same is told once, below. Ids and times are never folded: a table that is too wide for the
terminal is written as wide as it is.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from datetime import tzinfo

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crawler.cli.output import Column, Row, cell_text
from crawler.moments import NO_TIME, zone_name

_GAP = 2
#: A folded column is not made narrower than this: the longest ids fit.
_NARROW = 20
_STYLES = {
    "present": "green", "ok": "green", "complete": "green", "appeared": "green", "returned": "green",
    "unknown": "yellow", "held": "yellow", "skipped": "yellow", "incomplete": "yellow", "modified": "yellow",
    "interrupted": "yellow", "failed": "red", "withdrawn": "red", "same": "green", "differs": "yellow",
    "only_first": "yellow", "only_second": "yellow", "re-issued": "yellow", "gap": "yellow",
    "denied": "dim", "retired": "dim", "deselected": "dim", "never": "dim",
}  # fmt: skip


def show_table(rows: Sequence[Row], columns: Sequence[Column], zone: tzinfo) -> None:
    """Show *rows* on the terminal, through a pager when they are more than fit."""
    if not rows:
        return
    columns = [column for column in columns if not column.detail]
    cells = [[cell_text(row, column, zone, seconds=False) for column in columns] for row in rows]
    said = [{line[index] for line in cells} for index in range(len(columns))]
    shown = [index for index, column in enumerate(columns) if not _is_left_out(column, said[index])]
    common = [
        f"{column.title.lower()} {next(iter(said[index]))}"
        for index, column in enumerate(columns)
        if column.optional and len(said[index]) == 1 and said[index] != {NO_TIME}
    ]
    width, widths = _widths(columns, cells, shown, zone)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, _GAP, 0, 0))
    for index in shown:
        column = columns[index]
        table.add_column(
            Text(_heading(column, zone)),
            justify="right" if column.kind == "count" else "left",
            vertical="top",
            overflow="fold",
            width=widths[index],
        )
    for line in cells:
        table.add_row(*(Text(line[index], style=_style(line[index])) for index in shown))
    console = Console(file=sys.stdout, highlight=False, width=width)
    with console.capture() as capture:
        console.print(table)
        if common:
            console.print(Text("Everywhere: " + ", ".join(common), style="dim"), soft_wrap=True)
    text = capture.get()
    if text.count("\n") < shutil.get_terminal_size().lines:
        click.echo(text, nl=False, color=True)
    else:
        click.echo_via_pager(text.rstrip("\n"))  # click gives colour to a pager that is known to show it


def _is_left_out(column: Column, said: set[str]) -> bool:
    nothing = {"0"} if column.kind == "count" else {NO_TIME}
    return (column.optional and len(said) == 1) or (column.sparse and said == nothing)


def _heading(column: Column, zone: tzinfo) -> str:
    return f"{column.title}\n{zone_name(zone)}" if column.kind == "time" else column.title


def _widths(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], shown: Sequence[int], zone: tzinfo
) -> tuple[int, dict[int, int]]:
    """Give the width of the whole and of each column; only columns that fold give way."""
    widths = {
        index: max(
            *(cell_len(part) for part in _heading(columns[index], zone).split("\n")),
            *(cell_len(line[index]) for line in cells),
        )
        for index in shown
    }
    room = shutil.get_terminal_size().columns
    excess = sum(widths.values()) + _GAP * len(shown) - room
    for index in sorted(shown, key=lambda index: -widths[index]):
        if excess > 0 and columns[index].folds and widths[index] > _NARROW:
            narrower = max(_NARROW, widths[index] - excess)
            excess -= widths[index] - narrower
            widths[index] = narrower
    return max(room, room + excess), widths


def _style(text: str) -> str:
    return _STYLES.get(text.partition(" ")[0], "") if len(text) < 30 else ""
