"""
The folder that is published into: which of its files publications made, and how they are changed.

Its list of files says which are publications'. What it does not name is somebody else's: never replaced, never removed,
and nothing is written while such a file is in the way. A file is replaced in one step, and only when what it says
differs. The list names a file before it is there and until it is gone, so one killed at any moment is no exception.
It tells what the documents said, too: where they say anything else, a version that wrote no list has published since.
Folders are real: nothing is written or removed through a link.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

from crawler.db.backup import COMPANIONS
from crawler.domain.kinds import KINDS
from crawler.domain.models import is_storable
from crawler.domain.text import agreeing, counted
from crawler.errors import LockTaken, UsageError
from crawler.web.published_json import json_bytes
from crawler.web.site import FRESHNESS

#: The list of the files that publications made, itself left out.
LIST = "assets/files.json"
#: What says something else after each publication that has other files.
_TOLD_BY = ("v1/changes.json", "v1/index.json", "v1/openapi.json")
#: How long another publication into the same folder is waited for.
PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.1
#: How much of what is to be written is kept in memory; more stands in a file without a name.
_IN_MEMORY_BYTES = 8 * 2**20
#: Where a file is while it is written.
_PART = ".part"
#: A path: nothing that leads elsewhere, and no file of ours that is not finished.
_PATH = re.compile(r"(?:[^./\0][^/\0]*/)*[^./\0][^/\0]*")

_KIND = "|".join(map(re.escape, KINDS))
#: Where publications had documents before there was a list, and where pages; these and feeds are told by what is in
#: them too.
_DOCUMENT = re.compile(
    r"v1/(?:(?:changes|index|freshness|openapi)\.json|schemas/.+\.json|resolve/[^/]+/[^/]+/image_id"
    r"|(?:resolve|renovate)/[^/]+/[^/]+\.json|atom/(?:all|(?:zones|names)/[^/]+)\.atom)"
    r"|assets/(?:page\.css|page\.js|icon\.svg)"
)
_PAGE = re.compile(
    rf"(?:zh/)?(?:(?:{_KIND})/)?(?:index|now|changes|coverage|pins|(?:names|changes|evidence)/[^/]+)\.html"
)
_PAGE_MARKS = (b"assets/page.css", b"data-freshness=")
_FEED_MARKS = (b"<author><name>crawler</name></author>",)
_HEAD_BYTES = 16_384
#: Beside a file that is written: what a copy of a database has while it is made.
_BESIDE_A_COPY = tuple(f"{part}{end}" for part in ("", _PART) for end in ("", *COMPANIONS))


class Folder:
    """A folder of which a publication says which files it is to have; `commit` makes them so, one at a time."""

    def __init__(self, root: Path) -> None:
        """Take the folder, which is there. Raises OSError."""
        self.root = root
        self.part = root / _PART
        # as texts, for there may be a hundred thousand files
        self._root, self._part = f"{root}/", str(self.part)
        listed, said = _listed(root / LIST)
        #: What earlier publications made, and what this one is to have.
        self._made = listed or set()
        if listed is None or said != _digest(root):
            self._made |= _made_without_a_list(root)
        self._wanted: set[str] = set()
        #: What is to change: where the bytes of a file are in `_bodies`, and how many; None to take it away.
        self._changes: dict[str, tuple[int, int] | None] = {}
        self._bodies = SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=str(root))  # noqa: SIM115 - `close` closes it
        #: What stands where a file belongs, and is no file of a publication.
        self._in_the_way: dict[str, None] = {}
        #: Whether there are folders, by their paths.
        self._folders: dict[str, bool] = {"": True}
        if listed is None and os.path.lexists(root / LIST):
            self._in_the_way[LIST] = None
        if not (self._made or _is_begun_list(self.part)):
            self._in_the_way[_PART] = None

    def adopt(self, path: str) -> None:
        """Take the file at *path*, which is there, for a publication's."""
        self._made.add(path)

    def holds(self, path: str) -> bool:
        """Return whether there is a file of a publication at *path*, or is to be."""
        if path in self._changes:
            return self._changes[path] is not None
        return path in self._made and self._has_folder(path) and os.path.isfile(self._at(path))  # noqa: PTH113 - see above

    def write(self, path: str, body: bytes) -> bool:
        """Have the file at *path* say *body*; return whether it does not yet. Raises OSError."""
        now = self._changed(path) if path in self._changes else self._beginning(path, len(body) + 1)
        if now == body:
            self._wanted.add(path)
            return False
        self.claim(path)
        self._changes[path] = (self._bodies.seek(0, os.SEEK_END), len(body))
        self._bodies.write(body)
        return True

    def claim(self, path: str) -> None:
        """Note that there is to be a file at *path*, which the caller may write once all others are."""
        file = self._at(path)
        if self._has_folder(path) and (os.path.isdir(file) or (path not in self._made and os.path.lexists(file))):  # noqa: PTH112 - see above
            self._in_the_way[path] = None
        self._wanted.add(path)

    def remove(self, path: str) -> bool:
        """Have no file of a publication at *path*; return whether there is one."""
        self._wanted.discard(path)
        if not self.holds(path):
            return False
        self._changes[path] = None
        return True

    def keep_only(self, under: str, kept: Collection[str]) -> None:
        """Have no file of a publication below *under* but those whose path is one of *kept*."""
        for path in sorted(self._made | self._wanted):
            if path.startswith(f"{under}/") and path not in kept:
                self.remove(path)

    def commit(self) -> None:
        """
        Make the files what they are to be.

        Raises UsageError, before anything is changed, where what no publication made is in the way; and OSError.
        """
        self._has_folder(LIST)
        if self._in_the_way:
            first, *others = sorted(self._in_the_way)
            named = f"{self.root / first}" + (f" and {counted(len(others), 'other')}" if others else "")
            raise UsageError(
                f"{named} {agreeing(len(others) + 1, 'is', 'are')} in the way and no work of a publication; "
                "nothing was written. Give another folder, or move away what stands there."
            )
        self.tidy()
        self._list(self._made | self._wanted)
        for path in self._changes:
            body = self._changed(path)
            if body is not None:
                self._replace(path, body)
            else:
                with suppress(FileNotFoundError, NotADirectoryError):
                    os.unlink(self._at(path))  # noqa: PTH108 - see above
        self._made = self._wanted | {path for path in self._made - self._wanted if self.holds(path)}
        self._list(self._made)

    def tidy(self) -> None:
        """Take away what a publication that was killed had not finished."""
        if _PART in self._in_the_way:
            return
        self.part.unlink(missing_ok=True)
        if self._made:  # else no copy was begun
            for end in _BESIDE_A_COPY:
                self.part.with_name(f"{_PART}{end}").unlink(missing_ok=True)

    def close(self) -> None:
        """Forget what was to change, and take away what is not finished. Raises OSError."""
        try:
            self._bodies.close()
        finally:
            self.tidy()

    def _changed(self, path: str) -> bytes | None:
        place = self._changes[path]
        if place is None:
            return None
        self._bodies.seek(place[0])
        return self._bodies.read(place[1])

    def _list(self, paths: Collection[str]) -> None:
        body = _list_bytes(paths, _digest(self.root))
        if self._beginning(LIST, len(body) + 1) != body:
            self._replace(LIST, body)

    def _replace(self, path: str, body: bytes) -> None:
        self._make_folder(path.rpartition("/")[0])
        # not by mkstemp, whose files nobody else may read, whatever the umask
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._part, flags, 0o666)
        try:
            left = memoryview(body)
            while left:
                left = left[os.write(descriptor, left) :]
        finally:
            os.close(descriptor)
        os.replace(self._part, self._at(path))  # noqa: PTH105 - see above

    def _has_folder(self, path: str) -> bool:
        """Return whether the folder that *path* is in is there, and note what is there in its place, as a link is."""
        parent = path.rpartition("/")[0]
        if parent not in self._folders:
            place = self._root + parent
            is_there = self._has_folder(parent) and os.path.lexists(place)
            self._folders[parent] = is_there and stat.S_ISDIR(os.lstat(place).st_mode)
            if is_there and not self._folders[parent]:
                self._in_the_way[parent] = None
        return self._folders[parent]

    def _make_folder(self, path: str) -> None:
        """Make the folder at *path* and those above it."""
        if not self._folders.get(path):
            self._make_folder(path.rpartition("/")[0])
            with suppress(FileExistsError):
                os.mkdir(self._root + path)  # noqa: PTH102 - see above
            self._folders[path] = True

    def _beginning(self, path: str, most: int) -> bytes | None:
        """Return the first *most* bytes of the file at *path*; None where there is no file. Raises OSError."""
        file = self._at(path)
        if self._has_folder(path):
            with suppress(FileNotFoundError, IsADirectoryError), open(file, "rb", buffering=0) as stream:  # noqa: PTH123 - see above
                return stream.read(most)
        return None

    def _at(self, path: str) -> str:
        if not _PATH.fullmatch(path):
            raise ValueError(f"{path!r} is no path of a published file")
        return self._root + path


def _list_bytes(paths: Collection[str], said: str) -> bytes:
    return json_bytes({"schema_version": 1, "files": sorted(paths), "digest": said})


def _listed(file: Path) -> tuple[set[str] | None, object]:
    """Return the paths in a list of files, None where there is none, and its digest. Raises OSError."""
    found = _read(file)
    if not (isinstance(found, dict) and isinstance(paths := found.get("files"), list)):
        return None, None
    are_paths = (path for path in paths if isinstance(path, str) and is_storable(path) and _PATH.fullmatch(path))
    return set(are_paths), found.get("digest")


def _digest(root: Path) -> str:
    """Return a digest of what the documents say that tell what files there are. Raises OSError."""
    told = hashlib.sha256()
    for path in _TOLD_BY:
        with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            told.update((root / path).read_bytes())
    return told.hexdigest()[:32]


def _read(file: Path) -> Any:
    """Return what a JSON document says; None where there is none. Raises OSError."""
    try:
        return json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, RecursionError):
        return None


def _made_without_a_list(root: Path) -> set[str]:
    """Return the paths of what publications made before there was a list; none where there was no publication."""
    found = _read(root / FRESHNESS)
    if not (isinstance(found, dict) and {"schema_version", "published_at", "zones"} <= found.keys()):
        return set()
    paths = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return {name for path in paths if _was_published(name := path.relative_to(root).as_posix(), path)}


def _was_published(name: str, file: Path) -> bool:
    if not (_PAGE.fullmatch(name) or _DOCUMENT.fullmatch(name)):
        return False
    marks = _PAGE_MARKS if file.suffix == ".html" else _FEED_MARKS if file.suffix == ".atom" else ()
    with file.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    return all(mark in head for mark in marks)


def _is_begun_list(file: Path) -> bool:
    """Return whether *file* is missing, or a first list of files that was not finished. Raises OSError."""
    begun = _list_bytes((), "").partition(b"]")[0]
    try:
        with file.open("rb") as stream:
            return begun.startswith(stream.read(len(begun)))
    except FileNotFoundError:
        return not file.is_symlink()
    except IsADirectoryError:
        return False


@contextmanager
def folder(
    root: Path, *, patience_seconds: float = PATIENCE_SECONDS, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Folder]:
    """
    Open the folder *root*, made where it is missing, for one publication at a time.

    Raises UsageError where it cannot be used, LockTaken when another publication does not end in time.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise UsageError(f"{root} cannot be published into: {exc.strerror}.") from exc
    try:
        _lock(descriptor, root, patience_seconds, sleep)
        opened = None
        try:
            opened = Folder(root)
            yield opened
        except OSError as exc:
            # what cannot be written for want of space has no name
            raise UsageError(f"{exc.filename or root} cannot be published: {exc.strerror}.") from exc
        finally:
            if opened is not None:
                with suppress(OSError):
                    opened.close()
    finally:
        os.close(descriptor)


def _lock(descriptor: int, root: Path, patience_seconds: float, sleep: Callable[[float], None]) -> None:
    waited = 0.0
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waited >= patience_seconds:
                raise LockTaken(f"Another publication into {root} has not ended yet.") from None
            sleep(_POLL_SECONDS)
            waited += _POLL_SECONDS
        else:
            return
