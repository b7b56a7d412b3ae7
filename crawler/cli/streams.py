"""
The standard streams, made such that a command can do its work however it finds them.

They may be closed (`>&-`), full, a pipe that nobody reads any more, or of an encoding that lacks most characters. Talk
on stderr that cannot be written is dropped, for the work matters more. Data on stdout that cannot be written is an
error, raised once.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from crawler.errors import OutputLost

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: Handlers that end the program at a character the encoding lacks; the C locale has the second.
_RAISING = ("strict", "surrogateescape")


def settle() -> None:
    """Replace `sys.stdout` and `sys.stderr` of this process, which may be missing; call it once, before all else."""
    _occupy()
    sys.stdout = _wrapped(sys.stdout, _Data)
    sys.stderr = _wrapped(sys.stderr, _Talk)


def encodable(text: str, encoding: str | None) -> str:
    """Return *text* with the characters that *encoding* lacks as escapes: `\\u9ad8`."""
    if text.isascii() or is_unicode(encoding):
        return text
    return text.encode(encoding or "ascii", "backslashreplace").decode(encoding or "ascii")


def is_unicode(encoding: str | None) -> bool:
    """Return whether *encoding* (None: UTF-8) has every character."""
    try:
        return codecs.lookup(encoding or "utf-8").name.startswith("utf-")
    except LookupError:
        return False


class _Data(io.FileIO):
    """Stdout: what cannot be written is told once, by an exception; what comes after it is dropped."""

    _is_lost = False

    def write(self, data: ReadableBuffer, /) -> int:
        if self._is_lost:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except BrokenPipeError:
            self._is_lost = True
            raise
        except OSError as exc:
            self._is_lost = True
            raise OutputLost(f"the output cannot be written: {exc.strerror or exc}") from exc


class _Talk(io.FileIO):
    """Stderr: what cannot be written is dropped."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            written: int | None = super().write(data)
        except OSError:
            written = None
        return memoryview(data).nbytes if written is None else written


def _occupy() -> None:
    """Open the null device where a standard descriptor is closed, so that no database or socket gets its number."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != descriptor:
                os.dup2(nothing, descriptor)
                os.close(nothing)
            os.set_inheritable(descriptor, True)


def _wrapped(stream: TextIO | None, kind: type[io.FileIO]) -> TextIO:
    """Return the stream that takes the place of *stream*; None: of one that is closed."""
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return stream  # no file of the system: another program's own
    return io.TextIOWrapper(
        io.BufferedWriter(kind(descriptor, "w", closefd=False)),
        encoding=stream.encoding,
        errors="backslashreplace" if stream.errors in _RAISING else stream.errors,
        line_buffering=getattr(stream, "line_buffering", False),
        write_through=getattr(stream, "write_through", False),
    )
