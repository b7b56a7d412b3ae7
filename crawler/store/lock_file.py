"""
The lock beside a SQLite file: one writer per database, held by the operating system for as long as the holder lives.

`<database>.lock` is only a place to hold on to; what it says (who, since when) is for people, and what a dead holder
left in it harms nobody. The file is never deleted: a deleted one could be locked twice. File systems on which such a
lock would not keep anybody out are refused. Imports no database library: a run that is too early leaves in no time.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from crawler.errors import DatabaseUnavailable, FenceLost, LockTaken
from crawler.model import iso_utc

#: File systems that several machines share and whose locks may hold on one of them only.
NETWORK_FILE_SYSTEMS = frozenset(
    {
        *("nfs", "nfs3", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ncpfs", "afs", "davfs", "fuse.davfs"),
        *("fuse.sshfs", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse", "fuse.goofys", "fuse.curlftpfs", "fuse.mount-s3"),
    }
)
_POLL_SECONDS = 0.5
_TAKEN = (errno.EWOULDBLOCK, errno.EACCES)


class FileFence:
    """Proof that the lock file is still the one we hold: once deleted, another could be made and locked."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def check(self, _connection: object = None, /) -> None:
        """Raise FenceLost when the file under the lock's name is not ours any more."""
        try:
            mine, there = os.fstat(self._descriptor), self._path.stat()
        except OSError:
            raise FenceLost(f"The lock file {self._path} is gone; nothing more is written.") from None
        if (mine.st_dev, mine.st_ino) != (there.st_dev, there.st_ino):
            raise FenceLost(f"The lock file {self._path} was replaced; nothing more is written.")


@contextmanager
def take_file_lock(
    database: Path,
    *,
    clock: Callable[[], datetime],
    wait_seconds: float = 0,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> Iterator[FileFence]:
    """
    Hold the lock of the SQLite file *database* for a `with` block.

    Raises LockTaken when another process still holds it after *wait_seconds*, DatabaseUnavailable where it cannot be
    had at all.
    """
    database = _real(database)
    path = database.with_name(f"{database.name}.lock")
    descriptor = _open(path, database)
    try:
        deadline = monotonic() + wait_seconds
        while not _try(descriptor, path):
            left = deadline - monotonic()
            if left <= 0:
                holder, since = _holder(descriptor)
                raise LockTaken(f"Another run holds the lock of {database}{holder}.", since=since)
            sleep(min(_POLL_SECONDS, left))
        _prove(path, database)
        _note(descriptor, clock())
        try:
            fence = FileFence(path, descriptor)
            fence.check()
            yield fence
        finally:
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def first_to_tell(database: Path) -> bool:
    """Tell whether nobody complained of the present holder yet, and note in its file that somebody did now."""
    try:
        descriptor = os.open(_real(database).with_name(f"{_real(database).name}.lock"), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        note = json.loads(os.pread(descriptor, 4096, 0))
        if note.get("told"):
            return False
        os.pwrite(descriptor, json.dumps({**note, "told": True}).encode(), 0)
    except (OSError, ValueError, AttributeError):
        return True
    finally:
        os.close(descriptor)
    return True


def network_file_system(path: Path, mounts: str) -> str | None:
    """Give the type of the network file system that holds *path*, by the text of /proc/mounts; None when it is none."""
    best, kind = "", None
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[1])
        if len(point) >= len(best) and path.is_relative_to(point):
            best, kind = point, fields[2]
    return kind if kind in NETWORK_FILE_SYSTEMS else None


def _real(database: Path) -> Path:
    """Give the one path that all names of the file lead to."""
    return Path(os.path.realpath(database))


def _open(path: Path, database: Path) -> int:
    kind = network_file_system(path, _mounts())
    if kind is not None:
        raise DatabaseUnavailable(
            f"{database} lies on a network file system ({kind}), where file locks do not reliably keep a second "
            "run out. Put it on a local disk, or use PostgreSQL."
        )
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except FileNotFoundError:
        raise DatabaseUnavailable(f"The folder {path.parent} of the database does not exist.") from None
    except OSError as exc:
        raise DatabaseUnavailable(f"The lock file {path} cannot be opened: {exc.strerror}.") from exc


def _try(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        if exc.errno in _TAKEN:
            return False
        raise DatabaseUnavailable(_no_locks(path, exc.strerror or str(exc))) from exc
    return True


def _prove(path: Path, database: Path) -> None:
    """Try to take the lock a second time, which must fail; refuse a file system that lets it happen."""
    second = _open(path, database)
    try:
        if _try(second, path):
            raise DatabaseUnavailable(_no_locks(path, "it was given twice"))
    finally:
        os.close(second)


def _no_locks(path: Path, why: str) -> str:
    return (
        f"The file system of {path} has no working file locks ({why}), so nothing would keep a second run out. "
        "Put the database on a local disk, or use PostgreSQL."
    )


def _mounts() -> str:
    try:
        return Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""  # not Linux: what is left is the proof


def _note(descriptor: int, now: datetime) -> None:
    """Say who we are, where there is room; the lock holds without it, and what the disk lacks the database will say."""
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "started": iso_utc(now)})
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)


def _holder(descriptor: int) -> tuple[str, datetime | None]:
    """Say who holds the lock and since when, as far as the file tells."""
    try:
        note = json.loads(os.pread(descriptor, 4096, 0))
        text = f": process {int(note['pid'])} on {note['host']} since {note['started']}"
        return text, datetime.fromisoformat(note["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", None
