"""
The files that hold image ids: named, or those of a folder that may.

They are those that git tracks there, or without git, and where git ignores the whole folder, all but hidden ones and
those over 1 MiB, as far as their names tell that people write ids into them. No link is followed, and what holds
nothing like an id is not parsed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from crawler.config.textfiles import decoded, read_bytes
from crawler.domain.scanner import SOURCES, FoundPin, may_hold_ids, scan

#: More than any state or plan.
LARGEST = 256 * 2**20
#: Of a file that nobody named, in a folder that git does not know.
_LARGEST_FOUND = 2**20
_GIT_SECONDS = 30.0
#: What git writes before the name of one in its index.
_SUBMODULE = "160000 "
#: By which git tells its hooks where they run: with them it takes any folder for the top of that checkout.
_OF_ONE_CHECKOUT = ("GIT_DIR", "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE")

logger = logging.getLogger(__name__)


def leave_out(file: Path, problem: ValueError) -> None:
    """Say in the log that a file is not understood."""
    logger.warning("%s %s; it is left out", file, problem)


def pins_in(
    name: str, complain: Callable[[Path, ValueError], None] = leave_out, *, is_strict: bool = False
) -> Iterator[tuple[str, FoundPin]]:
    """
    Return the pins in the file or folder *name*, each with its file; raises ValueError for one out of reach.

    A file that is not understood goes to *complain*, and is left out; with *is_strict* one that is named has to be
    what `scan` wants then.
    """
    path = Path(name)
    is_folder = os.path.isdir(path)  # noqa: PTH112 - no error for a name too long, or a folder that lets nobody in
    if is_folder:
        files = bodies_in(path)
    else:
        try:
            files = iter([(path, read_bytes(path, LARGEST))])
        except ValueError as exc:
            raise ValueError(f"{path} {exc}") from None
    for file, body in files:
        try:
            pins = scan(decoded(body), file.name, is_strict=is_strict and not is_folder).pins
        except ValueError as exc:
            complain(file, exc)
            continue
        yield from ((str(file), pin) for pin in pins)


def bodies_in(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Return the files in *folder* that may hold ids, each with its bytes; raises ValueError for one out of reach."""
    for path in _files_in(folder):
        if not path.name.casefold().endswith(SOURCES):
            continue
        try:
            if path.is_symlink() or not path.is_file():
                continue
            body = read_bytes(path, LARGEST)
        except ValueError as exc:
            raise ValueError(f"{path} {exc}") from None
        except OSError as exc:
            _refuse(exc)
        if may_hold_ids(body):
            yield path, body


def is_tracked(folder: Path) -> bool:
    """Return whether git tracks any file in *folder*: others are not read then, though they may hold ids."""
    return bool(_of_git(folder, "--cached"))


def is_git_silent(folder: Path) -> bool:
    """Return whether *folder* lies in a checkout of which git tells nothing: it is missing, or refuses."""
    place = Path(os.path.realpath(folder))
    is_checkout = any(os.path.lexists(above / ".git") for above in (place, *place.parents))
    return is_checkout and not _said_by_git(folder, "rev-parse", "--git-dir")


def untracked_in(folder: Path) -> list[Path]:
    """Return the files in *folder* that would be read if git tracked them, without those that it ignores."""
    names = _of_git(folder, "--others", "--exclude-standard") or ()
    paths = [folder / name for name in names if name.casefold().endswith(SOURCES)]
    return [path for path in paths if os.path.isfile(path) and not os.path.islink(path)]  # noqa: PTH113, PTH114 - no error


def checkouts_in(folder: Path) -> list[Path]:
    """Return the checkouts inside that of *folder*, such as submodules, whose files are not among those it tracks."""
    staged = _of_git(folder, "--stage") or ()
    names = [entry.partition("\t")[2] for entry in staged if entry.startswith(_SUBMODULE)]
    names += [name for name in _of_git(folder, "--others", "--exclude-standard") or () if name.endswith("/")]
    return [folder / name for name in names if os.path.lexists(folder / name / ".git")]


def _files_in(folder: Path) -> Iterator[Path]:
    tracked = _of_git(folder, "--cached")
    if tracked or (tracked is not None and not _is_ignored(folder)):
        yield from (folder / name for name in tracked)
        return
    for root, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if not name.startswith(".") and _size(path) <= _LARGEST_FOUND:
                yield path


def _refuse(exc: OSError) -> NoReturn:
    """Raise ValueError: what stands in a folder that cannot be read would pass unseen."""
    raise ValueError(f"{exc.filename} cannot be read: {exc.strerror or exc}") from exc


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # it went away
        return _LARGEST_FOUND + 1


def _of_git(folder: Path, *which: str) -> list[str] | None:
    """Return *which* files git lists in *folder*; None where it is no checkout, or git is missing or refuses."""
    said = _said_by_git(folder, "ls-files", "-z", *which)
    return None if said is None else sorted(dict.fromkeys(os.fsdecode(name) for name in said.split(b"\0") if name))


def _is_ignored(folder: Path) -> bool:
    """Return whether git ignores *folder* as a whole, as one that a step before fills."""
    return _said_by_git(folder, "check-ignore", "--quiet", ".") is not None


def _said_by_git(folder: Path, *words: str) -> bytes | None:
    """Return what git says to *words* in *folder*; None where it says no, is missing or refuses."""
    import subprocess

    try:
        done = subprocess.run(  # noqa: S603 - no word of it comes from elsewhere
            # a hook of the checkout must not run: it may be anybody's
            ["git", "-c", "core.fsmonitor=false", *words],  # noqa: S607 - the git of the person
            cwd=folder,
            env={name: value for name, value in os.environ.items() if name not in _OF_ONE_CHECKOUT},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout
