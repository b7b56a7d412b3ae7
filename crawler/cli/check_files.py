"""
What `crawler check` is given: policies, files with ids in use, folders of them, and standard input.

A policy is known by its name or by what it says; everything else is searched for ids.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from crawler.config.pin_files import LARGEST, bodies_in, checkouts_in, is_git_silent, is_tracked, untracked_in
from crawler.config.textfiles import decoded, read_bytes, read_stream
from crawler.domain.scanner import Scanned, may_hold_ids, scan
from crawler.domain.text import agreeing, counted
from crawler.errors import ConfigurationError, CrawlerError, UsageError
from crawler.queries.check.pins import pin_rules
from crawler.queries.check.rules import PinRule, Require

if TYPE_CHECKING:
    from crawler.domain.scanner import FoundPin

#: What tells a policy from ids in use, under whatever name it comes.
_RULES = re.compile(r"^[^\S\n]*\[\[\s*(require|pinned)\s*\]\]", re.MULTILINE)
#: What a tool may take to write a state into a pipe, as in `crawler check <(…)`.
_ZIP = b"PK\x03\x04"
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PinFile:
    """A file that holds ids."""

    name: str
    #: None: standard input.
    path: Path | None
    body: bytes
    #: People edit it.
    is_source: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy, which is read once the words of the history are known."""

    name: str
    text: str


@dataclass(slots=True, kw_only=True)
class Sources:
    """What the files hold together."""

    #: In the order of the files.
    rules: list[PinRule | Policy] = field(default_factory=list)
    files: dict[str, PinFile] = field(default_factory=dict)
    wants: Callable[[FoundPin], bool]
    #: Whether those that live in the cloud are asked for as well.
    is_live: bool = False
    #: Paths that were read: a file that is named twice counts once.
    read: set[str] = field(default_factory=set)
    #: By folder the files that git does not track, and the checkouts inside it.
    untracked: dict[str, list[Path]] = field(default_factory=dict)
    inside: dict[str, list[Path]] = field(default_factory=dict)
    #: What is worth a word to a person.
    notes: list[str] = field(default_factory=list)

    def is_new(self, path: Path) -> bool:
        """Return whether *path* was not read before, and note that it is now; a pipe is always new."""
        key = os.path.abspath(path)  # noqa: PTH100 - as it is named, no link followed
        is_known = key in self.read and path.is_file()
        self.read.add(key)
        return not is_known


def read_sources(names: Sequence[str], wants: Callable[[FoundPin], bool]) -> Sources:
    """
    Read all that *names* name, and keep the pins that *wants* wants.

    Raises UsageError for a file that cannot be read, and ConfigurationError with the problems of several.
    """
    sources = Sources(wants=wants)
    problems: list[CrawlerError] = []
    for name in names:
        try:
            if name != "-" and os.path.isdir(name):  # noqa: PTH112 - no error for a name too long
                _read_folder(sources, name)
            else:
                _read_file(sources, name)
        except UsageError as exc:
            problems.append(exc)
    raise_all(problems)
    named = {os.path.abspath(name) for name in names}  # noqa: PTH100 - see above
    sources.notes += [*untracked_notes(sources.untracked, sources.read), *inside_notes(sources.inside, named)]
    sources.notes += silence_notes(sources.untracked)
    return sources


def untracked_notes(untracked: Mapping[str, Collection[Path]], read: Collection[str]) -> list[str]:
    """Return a sentence for each folder with *untracked* files, leaving out those whose absolute paths were *read*."""
    return [
        f"Warning: {name}: {counted(count, 'file')} that git does not track {agreeing(count, 'was', 'were')} not read; "
        "`git add` or name what is to be checked."
        for name, count in _counted_but(untracked, read)
    ]


def inside_notes(inside: Mapping[str, Collection[Path]], named: Collection[str]) -> list[str]:
    """Return a sentence for each folder with checkouts *inside* that are not among the absolute paths *named*."""
    return [
        f"Warning: {name}: {counted(count, 'checkout')} inside it {agreeing(count, 'was', 'were')} not read; "
        "name what is to be checked."
        for name, count in _counted_but(inside, named)
    ]


def silence_notes(folders: Collection[str]) -> list[str]:
    """Return a sentence for each of *folders* that is in a checkout of which git tells nothing."""
    return [
        f"Warning: {name}: git does not tell which files it tracks (is it installed, and is the checkout this "
        "user's?); hidden ones and those over 1 MiB were not read."
        for name in folders
        if is_git_silent(Path(name))
    ]


def _counted_but(folders: Mapping[str, Collection[Path]], others: Collection[str]) -> Iterator[tuple[str, int]]:
    """Yield each of *folders* with how many of its paths are not among the absolute paths *others*, where any is."""
    for name, paths in folders.items():
        count = sum(os.path.abspath(path) not in others for path in paths)  # noqa: PTH100 - see above
        if count:
            yield name, count


def raise_all(problems: Sequence[CrawlerError]) -> None:
    """Raise the *problems* together, where any is."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ConfigurationError("rules", [str(problem) for problem in problems])


def wanted_pins(types: Collection[str], ignored: Collection[str]) -> Callable[[FoundPin], bool]:
    """Return what tells the pins in resources of these *types* (globs; none: all) whose ids are not *ignored*."""
    return lambda pin: (
        pin.image_id not in ignored and (not types or any(fnmatchcase(pin.resource, glob) for glob in types))
    )


def _read_file(sources: Sources, name: str) -> None:
    told = "stdin" if name == "-" else name
    if name != "-" and not sources.is_new(Path(name)):
        return
    body = _bytes(name)
    if body.startswith(_ZIP):
        raise UsageError(f"{name} is a binary plan, or another archive: give what `terraform show -json` says of it.")
    try:
        text = decoded(body)
    except ValueError as exc:
        text = body.decode("latin-1")
        if name == "-" or may_hold_ids(body) or _is_policy(name, text):
            raise UsageError(f"{name} {exc}.") from None
    if _is_policy(name, text):
        sources.rules.append(Policy(name=told, text=text))
        return
    try:
        scanned = scan(text, "" if name == "-" else name, is_strict=True)
    except ValueError as exc:
        raise ConfigurationError(told, [str(exc)]) from None
    is_any_kept = _add(sources, told, None if name == "-" else Path(name), body, scanned)
    if not scanned.pins:
        sources.notes.append(f"{told} holds no image id.")
    elif not is_any_kept:
        sources.notes.append(_all_left_out(told))


def _is_policy(name: str, text: str) -> bool:
    return name.lower().endswith(".toml") or _RULES.search(text) is not None


def _all_left_out(name: str) -> str:
    return f"{name} holds no image id but those that --type and --ignore leave out."


def _add(sources: Sources, name: str, path: Path | None, body: bytes, scanned: Scanned) -> bool:
    """Add what is wanted of a file; return whether anything is."""
    kept = Scanned(pins=tuple(pin for pin in scanned.pins if sources.wants(pin)), is_source=scanned.is_source)
    if kept.pins:
        sources.rules += pin_rules(kept, name)
        sources.files[name] = PinFile(name=name, path=path, body=body, is_source=scanned.is_source)
    return bool(kept.pins)


def from_here(name: str) -> str:
    """Return the path *name* as a checkout has it: from the present folder on where it lies below, with slashes."""
    path = Path(name)
    here = Path(os.path.abspath("."))  # noqa: PTH100 - no link followed
    if path.is_absolute() and path.is_relative_to(here):
        path = path.relative_to(here)
    return os.path.normpath(path).replace(os.sep, "/")


def rescanned(sources: Sources, changed: Mapping[str, PinFile]) -> Sources:
    """Return what *sources* hold now that some files have *changed*."""
    fresh = Sources(wants=sources.wants, is_live=sources.is_live)
    for entry in sources.rules:
        file = changed.get(entry.file) if isinstance(entry, PinRule) else None
        if file is None:
            fresh.rules.append(entry)
        elif file.name not in fresh.files:
            scanned = scan(decoded(file.body), file.path.name if file.path else "")
            _add(fresh, file.name, file.path, file.body, scanned)
    return fresh


def _bytes(name: str) -> bytes:
    if name == "-" and sys.stdin is None:
        raise UsageError("Standard input is closed.")
    try:
        if name == "-":
            return read_stream(sys.stdin.buffer, LARGEST)
        return read_bytes(Path(name), LARGEST, patience_seconds=_PATIENCE_SECONDS)
    except ValueError as exc:
        raise UsageError(f"{name} {exc}.") from None


# --- folders ---------------------------------------------------------------------------------------------------------


def _read_folder(sources: Sources, name: str) -> None:
    count = kept = 0
    try:
        bodies = list(bodies_in(Path(name)))
    except ValueError as exc:
        raise UsageError(f"{exc}.") from None
    for path, body in bodies:
        if not sources.is_new(path):
            continue
        try:
            scanned = scan(decoded(body), path.name)
        except ValueError as exc:
            sources.notes.append(f"Warning: {path} {exc}; it is left out.")
            continue
        count += bool(scanned.pins)
        kept += _add(sources, str(path), path, body, scanned)
    untracked = sources.untracked[name] = untracked_in(Path(name))
    sources.inside[name] = checkouts_in(Path(name))
    if not count:
        tracked = f"{name} holds no image id in a file that git tracks."
        is_all = not (untracked or is_tracked(Path(name)))
        sources.notes.append(f"{name} holds no image id." if is_all else tracked)
    elif not kept:
        sources.notes.append(_all_left_out(name))


def all_rules(sources: Sources, known: Callable[[], Mapping[str, Collection[str]]]) -> list[Require | PinRule]:
    """
    Return the rules and pins of all *sources*.

    *known* gives the words of the history by part of a target, which policies are written in. Raises the problems of
    all policies together.
    """
    rules: list[Require | PinRule] = []
    problems: list[CrawlerError] = []
    words: Mapping[str, Collection[str]] | None = None
    for entry in sources.rules:
        if isinstance(entry, PinRule):
            rules.append(entry)
            continue
        from crawler.cli.check_rules import read_rules

        words = known() if words is None else words
        try:
            rules += read_rules(entry.text, entry.name, words)
        except UsageError as exc:
            problems.append(exc)
    raise_all(problems)
    return rules
