"""
The lock beside a SQLite file: one writer per database, held by the operating system for as long as the holder lives.

`<database>.lock` is only a place to hold on to; what it says (who, since when) is for people, and what a dead holder
left in it harms nobody. The file is never deleted: a deleted one could be locked twice. Nobody else may open it (0600),
since whoever may read a file may lock it as well; and it is no link, which may lead to any file. File systems on which
such a lock would not keep anybody out are refused. Imports no database library: a run that is too early leaves in no
time.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import socket
import stat
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from crawler.domain.models import iso_utc
from crawler.errors import DatabaseUnavailable, FenceLost, LockTaken

#: File systems that several machines share and whose locks may hold on one of them only.
NETWORK_FILE_SYSTEMS = frozenset(
    {
        *("nfs", "nfs3", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ncpfs", "afs", "davfs", "fuse.davfs"),
        *("fuse.sshfs", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse", "fuse.goofys", "fuse.curlftpfs", "fuse.mount-s3"),
    }
)
_POLL_SECONDS = 0.5
#: A holder writes who it is right after it took the lock, and removes it right before it lets go.
_GLANCE_SECONDS = 0.05
_GLANCES = 5
_TAKEN = (errno.EWOULDBLOCK, errno.EACCES)


class FileFence:
    """Proof that the lock file is still the one we hold: once deleted, another could be made and locked."""

    #: A file has no clock.
    ahead = timedelta(0)

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def check(self, _connection: object = None, /) -> None:
        """Raise FenceLost when the file under the lock's name is not ours any more."""
        try:
            mine, there = os.fstat(self._descriptor), self._path.lstat()
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
    path = _beside(database)
    descriptor = _open(path, database)
    try:
        deadline = monotonic() + wait_seconds
        glances = _GLANCES
        while not _try(descriptor, path):
            left = deadline - monotonic()
            if left > 0:
                sleep(min(_POLL_SECONDS, left))
                continue
            holder = _holder(descriptor)
            if holder is not None:
                who, since = holder
                raise LockTaken(f"Another run holds the lock of {database}: {who}.", since=since)
            if not glances:
                raise LockTaken(
                    f"A process that does not say who it is holds the lock of {database}; `fuser -v {path}` names it."
                )
            glances -= 1
            sleep(_GLANCE_SECONDS)
        _prove(path, database)
        _note(descriptor, clock())
        try:
            fence = FileFence(path, descriptor)
            fence.check()
            yield fence
        finally:
            _write_note(descriptor, {})
    finally:
        os.close(descriptor)


def first_to_tell(database: Path) -> bool:
    """Return whether nobody complained of the present holder yet, and note in its file that somebody did now."""
    database = _real(database)
    try:
        descriptor = _open(_beside(database), database)
    except DatabaseUnavailable:
        return True
    try:
        note = _read_note(descriptor)
        if note.get("told"):
            return False
        _write_note(descriptor, {**note, "told": True})
    finally:
        os.close(descriptor)
    return True


def network_file_system(path: Path, mounts: str) -> str | None:
    """
    Return the type of the network file system that holds *path*, by the text of /proc/mounts; None when it is none.
    """
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
    """Return the one path that all names of the file lead to."""
    return Path(os.path.realpath(database))


def _beside(database: Path) -> Path:
    return database.with_name(f"{database.name}.lock")


def _open(path: Path, database: Path) -> int:
    kind = network_file_system(path, _mounts())
    if kind is not None:
        raise DatabaseUnavailable(
            f"{database} lies on a network file system ({kind}), where file locks do not reliably keep a second "
            "run out. Put it on a local disk, or use PostgreSQL."
        )
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        raise DatabaseUnavailable(
            f"The folder {path.parent} of the database does not exist: make it, or name another database."
        ) from None
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise DatabaseUnavailable(
                f"The lock file {path} is a symbolic link, which is not followed: remove the link."
            ) from None
        raise DatabaseUnavailable(f"The lock file {path} cannot be opened: {exc.strerror}.") from exc
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise DatabaseUnavailable(f"The lock file {path} is no ordinary file: remove it.")
    if stat.S_IMODE(mode) & 0o077:
        with suppress(OSError):  # somebody else's, and theirs to keep
            os.fchmod(descriptor, 0o600)
    return descriptor


def _try(descriptor: int, path: Path) -> bool:
    """
    Take the lock and return whether that worked.

    A run keeps everybody out. Who shares the lock may only read the file, and keeps no run out: then runs share it too,
    and exclude each other by a lock for which the file must be open for writing.
    """
    if _flock(descriptor, fcntl.LOCK_EX, path):
        return True
    if not _flock(descriptor, fcntl.LOCK_SH, path):
        return False
    if _lock_for_writing(descriptor):
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _flock(descriptor: int, kind: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as exc:
        if exc.errno in _TAKEN:
            return False
        raise DatabaseUnavailable(_no_locks(path, exc.strerror or str(exc))) from exc
    return True


def _lock_for_writing(descriptor: int) -> bool:
    """Take Linux's write lock of an open file, from its first byte to its end; other systems have none."""
    if not hasattr(fcntl, "F_OFD_SETLK"):
        return False
    whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, whole)
    except OSError:
        return False
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
    """Say who we are."""
    _write_note(descriptor, {"pid": os.getpid(), "host": socket.gethostname(), "started": iso_utc(now)})


def _write_note(descriptor: int, note: Mapping[str, Any]) -> None:
    """
    Replace what the file says, where there is room: the lock holds without it, and what the disk lacks others say.

    A file that has another name besides (a hard link) may be anybody's, and what it holds is left alone.
    """
    with suppress(OSError):
        if os.fstat(descriptor).st_nlink > 1:
            return
        os.ftruncate(descriptor, 0)
        if note:
            os.pwrite(descriptor, json.dumps(note).encode(), 0)


def _read_note(descriptor: int) -> dict[str, Any]:
    """Return what the file says; nothing where that is no note."""
    try:
        note = json.loads(os.pread(descriptor, 4096, 0))
    except (OSError, ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def _holder(descriptor: int) -> tuple[str, datetime | None] | None:
    """Return who holds the lock and since when; None where the file does not tell, or still tells of a dead holder."""
    note = _read_note(descriptor)
    try:
        pid, host, since = int(note["pid"]), note["host"], datetime.fromisoformat(note["started"])
    except (ValueError, KeyError, TypeError):
        return None
    if host == socket.gethostname() and not _is_alive(pid):
        return None
    return f"process {pid} on {host} since {note['started']}", since


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
