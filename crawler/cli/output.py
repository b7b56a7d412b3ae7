"""
Rows to stdout: a table for eyes, one JSON array, JSON lines, or CSV. All but tables stream, however many the rows.

A table is the same on a terminal, where it is coloured and paged when it is long, and in a pipe. Texts from the cloud
are made harmless in tables and CSV; JSON carries them exactly. An answer from the history is made whole before any of
it is shown (`held_back`): a person takes time, and the database is not kept waiting for it.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import click

from crawler.cli.language import tr
from crawler.cli.streams import is_unicode
from crawler.cli.table import Column, Row, chosen, folded, table_lines, value_at
from crawler.domain.text import cell_of_sheet, csv_line, harmless_inside, json_text, padded
from crawler.errors import CrawlerError

if TYPE_CHECKING:
    from tempfile import SpooledTemporaryFile

Format = Literal["table", "json", "jsonl", "csv"]
FORMATS: tuple[Format, ...] = ("table", "json", "jsonl", "csv")
#: Where a command's context keeps which columns were asked for, and whether the table may be wide.
ASKED_COLUMNS, IS_WIDE = "crawler.columns", "crawler.wide"
#: Columns of a label, with the blank behind it.
_LABEL = 10
#: No table is made narrower.
_NARROWEST = 20
#: Bytes of an answer that are held back in memory; what is longer goes to a file.
_IN_MEMORY = 8 << 20
#: Characters of a held answer that are written together.
_PIECE = 1 << 16


def emit(
    rows: Iterable[Row],
    columns: Sequence[Column],
    fmt: str,
    *,
    zone: tzinfo = UTC,
    fields: Sequence[str] | None = None,
) -> int:
    """
    Write *rows* to stdout as *fmt* and give their number; a reader that went away ends it quietly.

    *columns* are the table's; *fields* (default: the first row's keys) are the CSV's, written even when there are no
    rows; --columns takes some of them. Times in tables are in *zone*, which the headings name.
    """
    call = click.get_current_context(silent=True)
    names, is_wide = (call.meta.get(ASKED_COLUMNS), call.meta.get(IS_WIDE)) if call else (None, False)
    if names:
        columns = chosen(columns, names, () if fmt == "table" else fields or ())
        if fmt != "table":
            rows, fields = _picked(rows, columns, fields or ()), [column.key for column in columns]
    counted = _Counted(rows)
    if fmt == "json":
        write_out(_json_array(counted))
    elif fmt == "jsonl":
        write_out(json_line(row) + "\n" for row in counted)
    elif fmt == "csv":
        write_out(_csv(counted, fields))
    else:
        _show(table_lines(counted, columns, zone, None if is_wide else room(), is_styled=_is_coloured()))
    return counted.count


def room() -> int:
    """Return how wide a table may be: the terminal, or $COLUMNS; 80 where there is neither."""
    return max(_NARROWEST, shutil.get_terminal_size().columns)


def write_notes(lines: Iterable[str]) -> None:
    """Write *lines*, most of them a label of ten columns and a text; folded on a terminal, whole elsewhere."""
    columns = room() if sys.stdout.isatty() else sys.maxsize
    write_out(f"{piece}\n" for line in lines for piece in folded(_note(line), columns, " " * _LABEL))


def _note(line: str) -> str:
    if line[_LABEL - 1 : _LABEL] != " ":
        return tr(line)
    return padded(tr(line[:_LABEL].rstrip()), _LABEL) + tr(line[_LABEL:])


def _is_coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _show(lines: Iterator[str]) -> None:
    """Write the *lines* of a table, on a terminal through a pager when they are more than fit."""
    if not sys.stdout.isatty():
        write_out(f"{line}\n" for line in lines)
        return
    shown = list(lines)
    if len(shown) < shutil.get_terminal_size().lines:
        write_out(f"{line}\n" for line in shown)
    else:  # click gives colour to a pager that is known to show it
        soon(partial(click.echo_via_pager, "\n".join(shown)))


def _picked(rows: Iterable[Row], columns: Sequence[Column], fields: Sequence[str]) -> Iterator[Row]:
    for row in rows:
        yield {
            one.key: one.cell(row) if one.cell and one.key not in fields else value_at(row, one.key) for one in columns
        }


class _Counted:
    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self.rows:
            self.count += 1
            yield row


# --- the formats -----------------------------------------------------------------------------------------------------


def json_line(value: Any) -> str:
    """Write *value* as JSON on one line, in the order of its keys, harmless to a terminal."""
    ensure_ascii = not is_unicode(sys.stdout.encoding)
    return json_text(json.dumps(value, ensure_ascii=ensure_ascii, separators=(", ", ": ")))


def _json_array(rows: Iterable[Row]) -> Iterator[str]:
    separator = "[\n"
    for row in rows:
        yield f"{separator}{json_line(row)}"
        separator = ",\n"
    yield "[]\n" if separator == "[\n" else "\n]\n"


def _csv(rows: Iterable[Row], fields: Sequence[str] | None) -> Iterator[str]:
    iterator = iter(rows)
    first = next(iterator, None)
    names = list(fields or first or ())
    if names:
        yield csv_line(names)
    for row in chain([] if first is None else [first], iterator):
        yield csv_line(_sheet_value(row[name] if name in row else value_at(row, name)) for name in names)


def _sheet_value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return cell_of_sheet(value) if isinstance(value, str) else json_line(harmless_inside(value))


# --- held back -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Held:
    """What a block wants to show, in order, and the files that keep it; talk is shown even if the block fails."""

    files: ExitStack
    actions: list[tuple[Callable[[], object], bool]] = field(default_factory=list)


_held: ContextVar[_Held | None] = ContextVar("held", default=None)


@contextmanager
def held_back() -> Iterator[None]:
    """
    Keep what the block shows and says until its end, so that it waits for nobody: no pager, slow pipe or full terminal.

    An answer that fails half-way is not shown. One that does not fit into memory is kept in a nameless file that only
    this user can read; raises CrawlerError where there is no room for it.
    """
    with ExitStack() as files:
        held = _Held(files)
        token = _held.set(held)
        is_whole = False
        try:
            yield
            is_whole = True
        finally:
            _held.reset(token)
            for action, is_talk in held.actions:
                if is_whole or is_talk:
                    action()


def soon(action: Callable[[], object], *, is_talk: bool = False) -> None:
    """Do *action*, which may wait for a person, at once or at the end of the block that holds it back."""
    held = _held.get()
    if held is None:
        action()
    else:
        held.actions.append((action, is_talk))


@contextmanager
def _spooled(chunks: Iterable[str]) -> Iterator[Iterator[str]]:
    """Take all *chunks* now and give them again, in pieces."""
    with _kept(chunks) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogatepass", newline="")
        yield iter(partial(text.read, _PIECE), "")


def _kept(chunks: Iterable[str]) -> SpooledTemporaryFile[bytes]:
    """Return a file that holds *chunks*; raises CrawlerError where there is no room for it."""
    from tempfile import SpooledTemporaryFile

    file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - what is given back stays open
    try:
        for chunk in chunks:
            file.write(chunk.encode("utf-8", "surrogatepass"))
        file.seek(0)  # what is still in a buffer goes to the disk only now
    except BaseException as exc:
        with suppress(OSError):  # closing it tries once more
            file.close()
        if not isinstance(exc, OSError):
            raise
        raise CrawlerError(
            f"There is no room for a temporary file with the answer: {exc.strerror or exc}. "
            "Set TMPDIR to a folder with more."
        ) from exc
    return file


# --- stdout ----------------------------------------------------------------------------------------------------------


def write_out(chunks: Iterable[str]) -> None:
    """
    Write to stdout; when its reader went away (`| head`) the rest is dropped and the command goes on.

    Raises OutputLost when it cannot be written for another reason.
    """
    held = _held.get()
    if held is not None:
        soon(partial(write_out, held.files.enter_context(_spooled(chunks))))
        return
    try:
        for chunk in chunks:
            sys.stdout.write(chunk)
        sys.stdout.flush()
    except BrokenPipeError:
        return  # the stream drops what comes after the first of these
