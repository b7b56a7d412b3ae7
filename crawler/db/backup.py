"""
Copies of a SQLite file: those made before its schema is upgraded, those people ask for, and one put back in its place.

A copy is always whole, and never open to anybody to whom the original is not.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from crawler.db.engine import is_file
from crawler.db.errors import mapped_errors
from crawler.db.numbering import GIVEN_TO
from crawler.errors import DatabaseUnavailable, UsageError

COPIES_KEPT = 2
#: Free space asked for, in sizes of the database: one for the copy, one for what the upgrade builds anew.
_SIZES_NEEDED = 2
#: What the copies made before an upgrade are called, by the schema they have: those that people made are theirs.
_MADE_BEFORE_UPGRADE = r"\.\d{8}_\w+\.bak"
#: What SQLite keeps beside a database that is open, or was when its process died.
COMPANIONS = ("-journal", "-wal", "-shm")


def free_bytes(folder: Path) -> int:
    """Return the free space at *folder*."""
    return shutil.disk_usage(folder).free


def back_up(path: Path, *, label: str, free: Callable[[Path], int] = free_bytes) -> Path:
    """
    Copy the SQLite file at *path* to `<path>.<label>.bak` and give that path; older copies beyond the last two go.

    Raises DatabaseUnavailable without room or permission.
    """
    path = path.absolute()
    needed, available = path.stat().st_size * _SIZES_NEEDED, free(path.parent)
    if available < needed:
        raise DatabaseUnavailable(
            f"The upgrade of {path} needs {_megabytes(needed)} free for a copy and for itself; {path.parent} has "
            f"{_megabytes(available)}. Nothing was changed."
        )
    copy = path.with_name(f"{path.name}.{label}.bak")
    try:
        _copy_whole(path, copy)
        for old in _copies(path)[COPIES_KEPT:]:
            old.unlink()
    except OSError as exc:
        raise DatabaseUnavailable(f"{path} could not be copied to {copy} before its upgrade: {exc.strerror}.") from exc
    return copy


def copy_to(path: Path, copy: Path) -> Path:
    """
    Copy the SQLite file at *path*, whole as of one moment, to *copy*, which must not exist; give that path.

    Runs may go on meanwhile. Raises DatabaseUnavailable where it cannot be written; then nothing is left behind.
    """
    copy = copy.absolute()
    if copy.exists():
        raise UsageError(f"{copy} exists already; name a file that does not.")
    if not copy.parent.is_dir():
        raise UsageError(f"{copy.parent} is no folder.")
    if not is_file(path):
        raise DatabaseUnavailable(f"There is no database at {path} to copy.")
    try:
        _copy_whole(path, copy)
    except OSError as exc:
        raise DatabaseUnavailable(f"{path} could not be copied to {copy}: {exc.strerror}.") from exc
    return copy


def restore(path: Path, copy: Path, *, label: str) -> Path | None:
    """
    Put a copy of the SQLite file *copy* in the place of the database at *path*, whose whole lock the caller holds.

    The database of before, damaged or not, is kept as `<path>.<label>.replaced`, which is returned; None where there
    was none. Of one that is sound no number of a change, hold, run or digest is given again. Killed at any moment,
    *path* is one or the other. Raises DatabaseUnavailable where that cannot be written.
    """
    path = path.resolve()
    try:
        with _whole_copy(copy, path, like=path if path.exists() else copy) as unfinished:
            kept = _set_aside(path, path.with_name(f"{path.name}.{label}.replaced"))
            if kept is not None:
                _go_on_numbering(unfinished, after=kept)
            unfinished.replace(path)
    except OSError as exc:
        raise DatabaseUnavailable(f"{copy} could not be put in the place of {path}: {exc.strerror}.") from exc
    return kept


def _set_aside(path: Path, kept: Path) -> Path | None:
    """Have the database at *path* as *kept* too, and whatever would be taken for a part of the one that comes there."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as conn:
        # what a killed process left beside the file belongs into it
        conn.execute("PRAGMA journal_mode = DELETE")
        conn.execute("BEGIN IMMEDIATE")
    was_there = path.exists()
    if was_there:
        try:
            os.link(path, kept)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            _make_private(kept)
            shutil.copyfile(path, kept)
            _open_like(kept, path)
    for companion in COMPANIONS:
        with suppress(FileNotFoundError):
            Path(f"{path}{companion}").replace(f"{kept}{companion}")
    return kept if was_there else None


def _go_on_numbering(path: Path, *, after: Path) -> None:
    """Let the SQLite file *path* give no number that the one *after* gave, where that can be read."""
    given: dict[str, int] = {}
    last_given: dict[str, int] = {}
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{after.as_uri()}?mode=ro", uri=True)) as conn:
        if conn.execute("PRAGMA quick_check(1)").fetchone() == ("ok",):
            given = dict(conn.execute("SELECT name, seq FROM sqlite_sequence"))
            last_given = {table: _last_number(conn, table) for table in GIVEN_TO}
    with mapped_errors(), closing(sqlite3.connect(path)) as conn, conn:
        numbered = dict(conn.execute("SELECT name, seq FROM sqlite_sequence"))
        for name, last in given.items():
            if last > numbered.get(name, 0):
                conn.execute("DELETE FROM sqlite_sequence WHERE name = ?", [name])
                conn.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", [name, last])
        for table, last in last_given.items():
            if last > _last_number(conn, table):
                setting = [GIVEN_TO[table], str(last)]
                conn.execute("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", setting)
    _flush(path)


def _last_number(conn: sqlite3.Connection, table: str) -> int:
    """Return the last number that a history ever gave to a row of a *table* of which settings remember it."""
    (last,) = conn.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()  # noqa: S608 - a constant
    found = conn.execute("SELECT value FROM settings WHERE name = ?", [GIVEN_TO[table]]).fetchone()
    return max(int(last), int(found[0]) if found else 0)


def _make_private(path: Path) -> None:
    """Make *path* an empty file that nobody else may read or write; raises OSError, also where there is one already."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _open_like(path: Path, original: Path) -> None:
    """
    Return *path*, a copy that is whole now, the owner, group and mode of *original*, as far as we may.

    A group that cannot be given gets no rights: the members of ours may not read what another group's may.
    """
    wanted = original.stat()
    for owner, group in ((wanted.st_uid, -1), (-1, wanted.st_gid)):
        with suppress(OSError):
            os.chown(path, owner, group)
    mode = stat.S_IMODE(wanted.st_mode)
    path.chmod(mode if path.stat().st_gid == wanted.st_gid else mode & ~stat.S_IRWXG)


@contextmanager
def new_copy(path: Path | None, original: Path | None) -> Iterator[Path | None]:
    """
    Yield where the block is to write a database that becomes the SQLite file *path* then, open like *original*.

    It is private until then, and without an original file for good, and is taken away when the block fails; a block
    that is killed leaves nothing under that name. A file that exists already is yielded as it is, None for PostgreSQL.
    """
    if path is None or os.path.lexists(path):
        yield path
        return
    unfinished = path.with_name(f"{path.name}.part")
    try:
        _remove(unfinished)
        _make_private(unfinished)
    except OSError:  # whoever opens the database says what is wrong with its place
        yield path
        return
    try:
        yield unfinished
        if original is not None:
            _open_like(unfinished, original)
        unfinished.replace(path)
    finally:
        _remove(unfinished)


def _remove(path: Path) -> None:
    """Take away the SQLite file *path*, where there is one, with all that is beside it."""
    for end in ("", *COMPANIONS):
        Path(f"{path}{end}").unlink(missing_ok=True)


def _copy_whole(path: Path, copy: Path) -> None:
    """Copy by SQLite's own means; a copy cut short never takes the name of a whole one."""
    with _whole_copy(path, copy, like=path) as unfinished:
        unfinished.replace(copy)


@contextmanager
def _whole_copy(path: Path, copy: Path, *, like: Path) -> Iterator[Path]:
    """Yield a whole copy of *path* beside *copy*, open to whom *like* is, which the block may give that name."""
    unfinished = copy.with_name(f"{copy.name}.part")
    try:
        _remove(unfinished)
        _make_private(unfinished)
        with mapped_errors(), closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(unfinished)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # another tool may have put the original into WAL mode
        _flush(unfinished)
        _open_like(unfinished, like)
        yield unfinished
    finally:
        _remove(unfinished)


def _copies(path: Path) -> list[Path]:
    """Return the copies of *path* made before upgrades, the newest first."""
    made = re.compile(re.escape(path.name) + _MADE_BEFORE_UPGRADE)
    copies = [p for p in path.parent.iterdir() if made.fullmatch(p.name)]
    return sorted(copies, key=lambda copy: copy.stat().st_mtime_ns, reverse=True)


def _flush(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _megabytes(size: int) -> str:
    return f"{max(size, 1) / 1_000_000:,.1f} MB"
