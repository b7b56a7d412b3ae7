"""
Rows to stdout: a table for eyes, one JSON array, JSON lines, or CSV. Streaming, so no number of rows is too large.

On a terminal a table is rich's, paged when it is long; in a pipe it is aligned text, whole. Texts from the cloud are
made harmless in tables and CSV; JSON carries them exactly. An answer from the history is made whole before any of it is
shown (`held_back`): a person takes time, and the database is not kept waiting for it.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Literal

from crawler.cli.streams import encodable, is_unicode
from crawler.domain.text import cell_of_sheet, csv_line, harmless_inside, json_text, visible
from crawler.domain.timefmt import NO_TIME, show_moment, titled
from crawler.errors import CrawlerError

if TYPE_CHECKING:
    from tempfile import SpooledTemporaryFile

Format = Literal["table", "json", "jsonl", "csv"]
FORMATS: tuple[Format, ...] = ("table", "json", "jsonl", "csv")
Row = Mapping[str, Any]

#: Rows looked at before a piped table's widths are set; later rows only widen their own line.
_SAMPLE = 2_000
#: Bytes of an answer that are held back in memory; what is longer goes to a file.
_IN_MEMORY = 8 << 20
#: Characters of a held answer that are written together.
_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: which value of the row, under which heading, shown how."""

    #: A key of the row; dots lead inward (`targets.ok`).
    key: str
    title: str
    kind: Literal["text", "time", "count"] = "text"
    #: On a terminal, told once below the table when every row says the same.
    optional: bool = False
    #: On a terminal, left out when no row says anything.
    sparse: bool = False
    #: Not for a terminal.
    detail: bool = False
    #: On a terminal, folded where the table would be too wide.
    folds: bool = False
    #: On a terminal, left out where the table would be too wide.
    spare: bool = False
    #: Computes the cell from the whole row instead.
    cell: Callable[[Row], object] | None = None


def state_cell(row: Row) -> str:
    """Return the state of an image with why it is not known."""
    return f"{row['state']} ({row['reason']})" if row["reason"] else str(row["state"])


#: Which target a row is about, and which image.
TARGET_COLUMNS = (
    Column("account", "ACCOUNT", optional=True),
    Column("project", "PROJECT", optional=True),
    Column("zone", "ZONE"),
    Column("kind", "KIND", optional=True),
    Column("variant", "VARIANT", optional=True),
)
IMAGE_COLUMNS = (
    Column("image_set", "SET", optional=True),
    Column("image_name", "NAME", folds=True),
    Column("image_id", "IMAGE ID"),
)


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
    rows. Times in tables are in *zone*, which the headings name.
    """
    counted = _Counted(rows)
    if fmt == "json":
        write_out(_json_array(counted))
    elif fmt == "jsonl":
        write_out(json_line(row) + "\n" for row in counted)
    elif fmt == "csv":
        write_out(_csv(counted, fields))
    elif sys.stdout.isatty():
        from crawler.cli.terminal import show_table

        soon(partial(show_table, list(counted), columns, zone))
    else:
        write_out(_aligned(counted, columns, zone))
    return counted.count


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
        yield csv_line(_sheet_value(_value(row, name)) for name in names)


def _sheet_value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return cell_of_sheet(value) if isinstance(value, str) else json_line(harmless_inside(value))


def _value(row: Row, path: str) -> Any:
    value: Any = row
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def cell_text(row: Row, column: Column, zone: tzinfo, *, seconds: bool = True) -> str:
    """Return what a table shows of *row* in *column*: harmless, times in *zone*."""
    value = column.cell(row) if column.cell else _value(row, column.key)
    if column.kind == "time":
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return show_moment(moment if isinstance(moment, datetime) else None, zone, seconds=seconds)
    if value is None:
        return NO_TIME
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = visible(", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))
    # Escaped before the columns are measured, not by the stream behind them.
    return encodable(text, sys.stdout.encoding) or NO_TIME


def _headings(columns: Sequence[Column], zone: tzinfo) -> list[str]:
    return [titled(column.title, zone) if column.kind == "time" else column.title for column in columns]


def _aligned(rows: Iterable[Row], columns: Sequence[Column], zone: tzinfo) -> Iterator[str]:
    from rich.cells import cell_len

    cells = ([cell_text(row, column, zone) for column in columns] for row in rows)
    sample = list(islice(cells, _SAMPLE))
    if not sample:
        return
    headings = _headings(columns, zone)
    widths = [max(map(cell_len, values)) for values in zip(headings, *sample, strict=True)]
    right = [column.kind == "count" for column in columns]
    for line in chain([headings], sample, cells):
        padded = [
            (" " * (width - cell_len(text)) + text) if is_right else (text + " " * (width - cell_len(text)))
            for text, width, is_right in zip(line, widths, right, strict=True)
        ]
        yield "  ".join(padded).rstrip() + "\n"


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
