"""
Stale ids in source files, put right: `crawler check --fix`, and `--diff` that only shows it.

An id is changed to its successor where that is certain: every project of the zone agrees, and the last good observation
of each listed it. Nothing but the id changes: a file is written anew beside itself and put in its place, or not at all.
What tools write (states, plans, manifests, answers of the API) and what is reached through a link stays as it is.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from crawler.cli.check_files import PinFile, Sources, from_here, rescanned
from crawler.cli.context import CliContext
from crawler.cli.output import write_out
from crawler.domain.scanner.words import ID_IN_TEXT, IMAGE_ID, Effect, image_key
from crawler.errors import CrawlerError
from crawler.queries.check.rules import CheckOutcome, CheckRow, PinRule

#: Changes that harm nothing that runs.
HARMLESS: frozenset[Effect] = frozenset({"later-nodes", "rebuilds-image"})
#: Outcomes of an id that another has to take the place of.
_STALE: frozenset[CheckOutcome] = frozenset({"superseded", "re-issued", "missing", "never-seen", "revoked"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """An id in a file, and what to change it to."""

    #: The character of the text at which it begins.
    at: int
    before: str
    after: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixes:
    """What can be put right, and what cannot."""

    #: By the name of the file, in the order of their places.
    by_file: Mapping[str, Sequence[Fix]]
    #: What is stale and stays so, a sentence for each place.
    refusals: tuple[str, ...]

    def count(self, files: Collection[str]) -> int:
        """Return how many ids there are to change in *files*."""
        return sum(len(self.by_file[name]) for name in files)


def put_right(
    context: CliContext, sources: Sources, rows: Iterable[CheckRow], allowed: Collection[Effect], *, is_written: bool
) -> Sources | None:
    """
    Change what is stale, or print the change where it is not to be written; say what stays as it is.

    Returns what the files hold then; None where none was written. Raises CrawlerError where a file cannot be written;
    how many were until then is said as well.
    """
    pins = [rule for rule in sources.rules if isinstance(rule, PinRule)]
    fixes = fixes_for(rows, sources.files, pins, allowed)
    for refusal in fixes.refusals:
        context.say(refusal, level="warning")
    if not is_written:
        for name, own in fixes.by_file.items():
            write_out(diff_of(sources.files[name], own))
        context.say(f"Ids to fix: {fixes.count(fixes.by_file)}, files: {len(fixes.by_file)}.")
        return None
    written: dict[str, PinFile] = {}
    try:
        for name, own in fixes.by_file.items():
            file = sources.files[name]
            body = fixed_body(file, own)
            write_fixed(file, body)
            written[name] = replace(file, body=body)
    finally:
        context.say(f"Ids fixed: {fixes.count(written)}, files: {len(written)}.")
    return rescanned(sources, written) if written else None


def fixes_for(
    rows: Iterable[CheckRow], files: Mapping[str, PinFile], pins: Iterable[PinRule], allowed: Collection[Effect]
) -> Fixes:
    """
    Return what to change by the judged *rows*, where a change has an effect that is harmless or *allowed*.

    *pins* are all that the files hold: what is for a zone that the selection leaves out as well stays as it is.
    """
    zones: dict[tuple[str, int], set[str]] = {}
    for pin in pins:
        if pin.place is not None and pin.zone is not None:
            zones.setdefault((pin.file, pin.place.at), set()).add(pin.zone)
    places: dict[tuple[str, int], list[CheckRow]] = {}
    for row in rows:
        if row.place is not None and row.file is not None:
            places.setdefault((row.file, row.place.at), []).append(row)
    by_file: dict[str, list[Fix]] = {}
    refusals: list[str] = []
    for (name, at), judged in sorted(places.items()):
        if not any(row.outcome in _STALE and row.successor for row in judged) and not _is_torn(judged):
            continue
        known = {row.zone.casefold() for row in judged if row.zone}
        meant = zones.get((name, at), set()).union(*(row.zones_left_out for row in judged))
        left_out = sorted(zone for zone in meant if zone.casefold() not in known)
        why = _why_not(judged, files[name], HARMLESS | set(allowed))
        if left_out:
            why = f"it is for {', '.join(left_out)} as well, which the selection leaves out"
        first = judged[0]
        if why is not None:
            refusals.append(f"{name}, line {first.line}: {first.image_id} is not fixed: {why}.")
        elif first.image_id and first.line and (successor := judged[0].successor):
            by_file.setdefault(name, []).append(Fix(at=at, before=first.image_id, after=successor, line=first.line))
    return Fixes(by_file=by_file, refusals=tuple(refusals))


def _is_torn(judged: Sequence[CheckRow]) -> bool:
    return any(row.outcome == "ambiguous" for row in judged)


def _why_not(judged: Sequence[CheckRow], file: PinFile, allowed: Collection[Effect]) -> str | None:
    """Say why an id is not to be changed; None: it is."""
    zones = {row.zone for row in judged}
    successors = {row.successor for row in judged}
    if len(successors) > 1 or _is_torn(judged):
        if any(row.outcome == "ambiguous" for row in judged):
            return "nothing tells which came after it"
        if len(zones) > 1:
            return "the zones do not agree on what came after it"
        return "the projects do not agree on what came after it"
    if not all(row.outcome in _STALE and row.is_certain for row in judged):
        return "what came after it is not known for certain"
    effect = judged[0].effect or "unknown"
    if effect not in allowed:
        return f"the effect of that is {effect}; --effect {effect} allows it"
    if file.path is None:
        return "it stands in standard input"
    if not file.is_source:
        return "a tool wrote the file"
    if not _is_utf8(file.body):
        return "the file is not UTF-8"
    if is_behind_a_link(file.path):
        return "the file is reached through a link"
    if not file.path.is_file():
        return "it came through a pipe"
    return None


def is_behind_a_link(path: Path) -> bool:
    """Return whether *path* or a folder on its way is a link; those in the root are the system's (`/tmp` of a Mac)."""
    of_the_system = Path(path.anchor) if path.is_absolute() else None
    folders = (parent for parent in path.parents if parent.name != ".." and parent.parent != of_the_system)
    return path.is_symlink() or any(folder.is_symlink() for folder in folders)


def fixed_body(file: PinFile, fixes: Iterable[Fix]) -> bytes:
    """Return the bytes of *file*, which is UTF-8, with its ids changed and all others as they are."""
    body = file.body
    mark = len(codecs.BOM_UTF8) if body.startswith(codecs.BOM_UTF8) else 0
    text = body[mark:].decode("utf-8")
    pieces: list[str] = []
    done = 0
    for fix in fixes:
        assert text.startswith(fix.before, fix.at)  # noqa: S101 - the text is the one that was scanned
        pieces += (text[done : fix.at], fix.after)
        done = fix.at + len(fix.before)
    return body[:mark] + "".join([*pieces, text[done:]]).encode("utf-8")


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def write_fixed(file: PinFile, body: bytes) -> None:
    """
    Put *body* in the place of *file*, at once and with its mode; raises CrawlerError where that fails.

    A file that somebody changed since it was read is left alone.
    """
    path = file.path
    assert path is not None  # noqa: S101 - standard input has no fixes
    temporary: str | None = None
    try:
        folder, mode = path.parent, path.lstat()
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=folder)
        with open(descriptor, "wb") as stream:  # noqa: PTH123 - a descriptor
            stream.write(body)
            stream.flush()
            os.fchmod(stream.fileno(), stat.S_IMODE(mode.st_mode))
            with suppress(PermissionError):
                os.fchown(stream.fileno(), mode.st_uid, mode.st_gid)
                os.fchmod(stream.fileno(), stat.S_IMODE(mode.st_mode))  # which a change of the owner may cut
            os.fsync(stream.fileno())
        if is_behind_a_link(path) or path.read_bytes() != file.body:
            raise CrawlerError(
                f"{file.name} was changed by somebody else meanwhile and left so: run the command again."
            )
        os.replace(temporary, path)  # noqa: PTH105 - both are names
        temporary = None
    except OSError as exc:
        raise CrawlerError(f"{file.name} cannot be written: {exc.strerror or exc}.") from exc
    finally:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108 - a name


# --- the change, shown ------------------------------------------------------------------------------------------------

_ID = IMAGE_ID.pattern
#: A line of nothing but an id, its key, and a comment that names it.
_BARE_LINE = re.compile(
    rf"""[\s\-{{\[(,]*(?:["']?(?P<key>[\w.:\-]+)["']?\s*[:=]\s*)?["']?{_ID}["']?[\s,}})\]]*"""
    r"""(?:(?:\#|//)\s*ucloud-image:\s*[\w./%-]+\s*)?"""
)
_KEY_BEFORE = re.compile(r"""["']?(?P<key>[\w.\-]+)["']?\s*[:=]?\s*["']?\Z""")


def diff_of(file: PinFile, fixes: Sequence[Fix]) -> Iterator[str]:
    """
    Return the change as `diff -U0` writes it, whose lines end with a line feed alone.

    Of a line that holds anything beside an id and its key only these are shown: the rest may be a secret.
    """
    text = file.body.decode("utf-8-sig")
    lines, after = text.split("\n"), fixed_body(file, fixes).decode("utf-8-sig").split("\n")
    name = from_here(file.name)
    yield f"--- {_named(f'a/{name}')}\n+++ {_named(f'b/{name}')}\n"
    for number in dict.fromkeys(text.count("\n", 0, fix.at) for fix in fixes):
        end = "\n" if number + 1 < len(lines) else "\n\\ No newline at end of file\n"
        mark = "\ufeff" if not number and file.body.startswith(codecs.BOM_UTF8) else ""
        yield f"@@ -{number + 1} +{number + 1} @@\n"
        yield f"-{mark}{_shown(lines[number])}{end}+{mark}{_shown(after[number])}{end}"


def _named(path: str) -> str:
    """
    Return *path* as git writes it in a diff: in quotes, its bytes as octal numbers, where it is no plain text.

    Behind one with a blank stands a tab, by which `patch` tells its end from that of a word.
    """
    if path.isprintable() and not {'"', "\\"} & set(path):
        return f"{path}\t" if " " in path else path
    plain = (
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\' else f"\\{byte:03o}" for byte in os.fsencode(path)
    )
    return f'"{"".join(plain)}"'


def _shown(line: str) -> str:
    """Return *line* as far as it is no secret; with its carriage return, without which no tool finds it."""
    bare = _BARE_LINE.fullmatch(line)
    if bare and (bare["key"] is None or image_key(bare["key"]) is not None):
        return line
    pieces = [""]
    done = 0
    for match in ID_IN_TEXT.finditer(line):
        key = _KEY_BEFORE.search(line, done, match.start())
        is_known = key is not None and image_key(key["key"]) is not None
        pieces.append(line[key.start() if key and is_known else match.start() : match.end()])
        done = match.end()
    return "…".join([*pieces, ""])
