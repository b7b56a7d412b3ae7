"""
Files that people write, read whole: bounded in size and time, decoded by the mark they begin with.

What is named need not be a file. A pipe nobody writes to, a terminal or a device never holds the program up: reading
ends after `PATIENCE_SECONDS`, so that `--config <(sops -d crawler.toml)` works and an idle FIFO is an error.
"""

from __future__ import annotations

import codecs
import os
import select
import stat
import time
from pathlib import Path
from typing import BinaryIO

#: More than any configuration, key or list of ids.
LARGEST_FILE = 16 * 2**20
PATIENCE_SECONDS = 5.0
_CHUNK = 2**16
#: UTF-32 first: the mark of its little-endian form begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path, largest: int = LARGEST_FILE) -> str:
    """Return the text of the file at *path*; raise ValueError saying what is wrong with it, in words after its name."""
    return decoded(read_bytes(path, largest))


def read_bytes(path: Path, largest: int = LARGEST_FILE, *, patience_seconds: float = PATIENCE_SECONDS) -> bytes:
    """Return what is in the file at *path*, at most *largest* bytes; raises ValueError as `read_text` does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as exc:
        raise ValueError(f"cannot be read: {_reason(exc)}") from None
    try:
        body = _read(descriptor, largest, patience_seconds)
        is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except OSError as exc:
        raise ValueError(f"cannot be read: {_reason(exc)}") from None
    finally:
        os.close(descriptor)
    if is_pipe and not body:
        raise ValueError("is a pipe from which nothing came")
    return body


def read_stream(stream: BinaryIO, largest: int) -> bytes:
    """Return what comes from *stream* until it ends, at most *largest* bytes; raises ValueError as `read_text` does."""
    try:
        body = stream.read(largest + 1)
    except OSError as exc:
        raise ValueError(f"cannot be read: {_reason(exc)}") from None
    if len(body) > largest:
        raise ValueError(_too_large(largest))
    return body


def decoded(body: bytes) -> str:
    """Return the text that *body* is: UTF-8, or what its byte order mark says; raise ValueError where it is none."""
    encoding = next((name for mark, name in _MARKS if body.startswith(mark)), "utf-8")
    try:
        return body.decode(encoding)
    except UnicodeDecodeError as exc:
        if b"\0" in body and encoding == "utf-8":
            raise ValueError("is no text file") from None
        hint = "; save it as UTF-8" if encoding == "utf-8" else ""
        name = encoding.removesuffix("-sig").upper()
        raise ValueError(f"is not {name} text (at byte {exc.start}){hint}") from None


def _read(descriptor: int, largest: int, patience_seconds: float) -> bytes:
    deadline = time.monotonic() + patience_seconds
    body = bytearray()
    while True:
        try:
            chunk = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise ValueError(f"is no file, and did not end within {patience_seconds:g} s") from None
            continue
        body += chunk
        if not chunk:
            return bytes(body)
        if len(body) > largest:
            raise ValueError(_too_large(largest))


def _too_large(largest: int) -> str:
    return f"is larger than {_size(largest)}"


def _size(size: int) -> str:
    return f"{size // 2**20} MB" if size >= 2**20 else f"{size // 2**10} kB"


def _reason(exc: OSError | ValueError) -> str:
    return (exc.strerror or str(exc)) if isinstance(exc, OSError) else "not a usable path"
