"""Copies of a SQLite file, made before its schema is upgraded: whole, beside the original, the last two kept."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from crawler.errors import DatabaseUnavailable
from crawler.store.foreign_errors import mapped_errors

COPIES_KEPT = 2
#: Free space asked for, in sizes of the database: one for the copy, one for what the upgrade builds anew.
_SIZES_NEEDED = 2


def free_bytes(folder: Path) -> int:
    """Give the free space at *folder*."""
    return shutil.disk_usage(folder).free


def back_up(path: Path, *, label: str, free: Callable[[Path], int] = free_bytes) -> Path:
    """
    Copy the SQLite file at *path* to `<path>.<label>.bak` and give that path; older copies beyond the last two go.

    A copy cut short never takes the name of a whole one. Raises DatabaseUnavailable without room or permission.
    """
    path = path.absolute()
    needed, available = path.stat().st_size * _SIZES_NEEDED, free(path.parent)
    if available < needed:
        raise DatabaseUnavailable(
            f"The upgrade of {path} needs {_megabytes(needed)} free for a copy and for itself; {path.parent} has "
            f"{_megabytes(available)}. Nothing was changed."
        )
    copy = path.with_name(f"{path.name}.{label}.bak")
    unfinished = copy.with_name(f"{copy.name}.part")
    try:
        unfinished.unlink(missing_ok=True)
        with mapped_errors(), closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(unfinished)) as target:
            source.backup(target)
        shutil.copymode(path, unfinished)
        _flush(unfinished)
        unfinished.replace(copy)
        for old in _copies(path)[COPIES_KEPT:]:
            old.unlink()
    except OSError as exc:
        raise DatabaseUnavailable(f"{path} could not be copied to {copy} before its upgrade: {exc.strerror}.") from exc
    finally:
        unfinished.unlink(missing_ok=True)
    return copy


def _copies(path: Path) -> list[Path]:
    """Give the copies of *path*, the newest first."""
    prefix = f"{path.name}."
    copies = [p for p in path.parent.iterdir() if p.name.startswith(prefix) and p.name.endswith(".bak")]
    return sorted(copies, key=lambda copy: copy.stat().st_mtime_ns, reverse=True)


def _flush(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _megabytes(size: int) -> str:
    return f"{max(size, 1) / 1_000_000:,.1f} MB"
