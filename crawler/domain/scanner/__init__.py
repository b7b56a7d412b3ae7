"""
Image ids in the files that people and tools write: a text in, the ids that somebody depends on out. Pure.

What a text is, its name tells; where it tells nothing (standard input, a list of ids), the text does. Nothing but ids,
zones and addresses leaves this package: whatever else stands in a file is nobody's business.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import PurePath

from crawler.domain.scanner.hcl import TooDeep, read_hcl, read_json
from crawler.domain.scanner.plain import OF_ALL, SECTION, InText, find_in_list, find_in_text, zones_named
from crawler.domain.scanner.tool_output import find_in_json, is_answer, is_written_by_a_tool
from crawler.domain.scanner.tree import BUILDERS, Hit, Node, Surroundings, TableNode, find
from crawler.domain.scanner.words import ID_IN_BYTES, ID_IN_TEXT, Comments, Effect, read_comments, uncommented
from crawler.domain.scanner.yaml_tree import NoYaml, read_yaml

#: What the names of the files end with that are looked into in a folder.
SOURCES = (".tf", ".tofu", ".tf.json", ".tfvars", ".hcl", ".pkr.hcl", ".json", ".yaml", ".yml", ".sh")
_HCL = (".tf", ".tfvars", ".hcl", ".tofu")
#: What Packer reads besides, which nothing but builds takes its sources from.
_HCL_OF_PACKER = (".pkr.hcl", ".pkrvars.hcl")
_JSON_OF_TERRAFORM = (".tf.json", ".tofu.json", ".tfvars.json")
_JSON = (".json", ".tfstate", ".tfstate.backup")
#: JSON with comments, and more that it has no place for.
_LOOSE_JSON = (".json5", ".jsonc")
_YAML = (".yaml", ".yml")
_SHELL = (".sh", ".bash", ".env", ".envrc")
#: How JSON begins, and no section of an ini file or test of a shell.
_IS_JSON = re.compile(r"""[ \t\r\n]*(?:\{|\[[\[\s]*(?:[\]{"'/#\d]|-\d|true\b|false\b|null\b))""")
_BLOCK = re.compile(r'^[^\S\n]*[a-z_]+(?:\s+"[^"\n]*")*\s*\{\s*(?:#.*|//.*)?$', re.MULTILINE)
#: What people put into JSON, which has no place for it: templates and comments.
_NEARLY_JSON = re.compile(r"\{\{|\{%|^[^\S\n]*(?://|/\*|#)|,\s*[}\]]", re.MULTILINE)
#: What ends a line for some editors.
_LONE_RETURN = re.compile(r"\r(?!\n)")
_VALUE = re.compile(r"[^ \t\r\n]")
_MEMBER = re.compile(r"^[^\S\n]*(?:- )?[\w\"'./-]+:(?:\s|$)", re.MULTILINE)
#: From what harms least; one change of an id does all that its uses make of it.
_BY_HARM: tuple[Effect, ...] = (
    "nothing", "later-nodes", "rebuilds-image", "unknown", "replaces-cluster", "reinstalls-machine",
)  # fmt: skip
#: A comment in an ini file.
_SEMICOLON = re.compile(r"^[ \t]*;.*$", re.MULTILINE)
_ASSIGNMENT = re.compile(r'^[^\S\n]*[\w-]+\s+=\s*["\[{<]|^[^\S\n]*[\w-]+\s*=\s+["\[{<]', re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPin:
    """An image id that somebody depends on, and where it stands."""

    image_id: str
    #: None: the text does not tell.
    zone: str | None
    #: Counted from 1, in characters.
    line: int
    column: int
    #: The character of the text at which the id begins.
    at: int
    #: The Terraform address, or the way through the document; may be empty.
    address: str = ""
    effect: Effect = "unknown"
    #: The type of the resource that it belongs to.
    resource: str = ""
    #: The normalised name that a comment gives the image, with `-` for spaces.
    named: str = ""
    region: str = ""
    project: str = ""
    #: What is to be known of an id there.
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """What a text holds."""

    pins: tuple[FoundPin, ...] = ()
    #: People edit it: it is no state, plan, manifest or export.
    is_source: bool = True


def may_hold_ids(body: bytes) -> bool:
    """Return whether anything in *body* looks like an image id; what is UTF-16 or UTF-32 may."""
    return ID_IN_BYTES.search(body) is not None or body[:2] in (b"\xff\xfe", b"\xfe\xff") or body[:2] == b"\0\0"


def scan(text: str, name: str, *, is_strict: bool = False) -> Scanned:
    """
    Return the pins in *text*, in the order of their places; *name* is the file's, empty for standard input.

    A text that is not what its name says is searched line by line; with *is_strict* a state, or what holds ids and is
    JSON but for a mistake in it, raises ValueError saying so. Raises ValueError also for what is nested too deeply.
    """
    if text.startswith("\ufeff"):
        scanned = scan(text[1:], name, is_strict=is_strict)
        return replace(scanned, pins=tuple(replace(pin, at=pin.at + 1) for pin in scanned.pins))
    if "\r" in text:
        text = _LONE_RETURN.sub("\n", text)
    if not ID_IN_TEXT.search(text):
        if is_strict and text.lstrip(" \t\r\n").startswith(("{", "[")) and _comes_from_a_tool(name):
            _require_json(text)
        return Scanned()
    hits, is_source = _hits(text, name, is_strict)
    return Scanned(pins=tuple(_placed(text, hits)), is_source=is_source)


def _hits(text: str, name: str, is_strict: bool) -> tuple[list[Hit], bool]:
    suffix = PurePath(name).name.casefold()
    if _is_hcl(suffix):
        hits = _in_hcl(text)
        return hits if suffix.endswith(_HCL_OF_PACKER) else _of_no_build(hits), True
    if suffix.endswith(_JSON) or (_IS_JSON.match(text) and not suffix.endswith((*_YAML, *_SHELL))):
        return _in_json(text, suffix, is_strict)
    if suffix.endswith(_YAML):
        return _in_yaml(text)
    if suffix.endswith(_SHELL):
        return _in_plain(text), True
    has_sections = SECTION.search(text) is not None and not _BLOCK.search(text) and not text.startswith("#!")
    if listed := _plain_hits(find_in_list(text)):
        others = _in_sections(text) if has_sections else _in_plain(text)
        return list({hit.at: hit for hit in [*listed, *others]}.values()), True
    if has_sections:
        return _in_sections(text), True
    if _BLOCK.search(text) or _ASSIGNMENT.search(text):
        return _of_no_build(_in_hcl(text)) or _in_plain(text), True
    return _in_yaml(text) if _MEMBER.search(text) and not text.startswith("#!") else (_in_plain(text), True)


def _comes_from_a_tool(name: str) -> bool:
    """Return whether a tool writes what is called so, or what has no name: the half of it says nothing."""
    return not name or ".tfstate" in name.casefold()


def _is_hcl(name: str) -> bool:
    return name.casefold().endswith(_HCL)


def _in_hcl(text: str) -> list[Hit]:
    table = read_hcl(text)
    members: list[tuple[str, Node]] = []
    for key, value in table.members:
        if isinstance(value, TableNode) and value.header == ("locals",):
            members.append(("local", TableNode(value.members)))
        else:
            members.append((key, value))
    return list(find(TableNode(members), Surroundings()))


def _of_no_build(hits: Iterable[Hit]) -> list[Hit]:
    """Return *hits* of what may be Terraform's: there a source is one of a build in a builder alone."""
    return [
        hit if hit.effect != "rebuilds-image" or hit.resource.startswith(BUILDERS) else replace(hit, effect="unknown")
        for hit in hits
    ]


def _in_json(text: str, name: str, is_strict: bool) -> tuple[list[Hit], bool]:
    if is_strict and (_comes_from_a_tool(name) or not (name.endswith(_LOOSE_JSON) or _NEARLY_JSON.search(text))):
        _require_json(text)
    documents = read_json(text)
    is_terraform = name.endswith((".tf.json", ".tofu.json"))
    hits = [hit for document in documents for hit in find_in_json(document, is_terraform=is_terraform)]
    if name.endswith(_JSON_OF_TERRAFORM):
        hits = _of_no_build(hits)
    return hits, ".tfstate" not in name and not any(map(is_written_by_a_tool, documents))


def _require_json(text: str) -> None:
    """Raise ValueError where *text* is anything but values of JSON, one after the other."""
    decoder = json.JSONDecoder()
    begin = _VALUE.search(text)
    try:
        while begin:
            begin = _VALUE.search(text, decoder.raw_decode(text, begin.start())[1])
    except ValueError as exc:
        place = f"line {exc.lineno} column {exc.colno}" if isinstance(exc, json.JSONDecodeError) else "a number"
        raise ValueError(f"is no JSON: what stands at {place} is not understood") from None
    except RecursionError:
        raise TooDeep from None


def _in_yaml(text: str) -> tuple[list[Hit], bool]:
    try:
        documents = read_yaml(text)
    except NoYaml:
        return _in_plain(text), True
    hits = _once([hit for document in documents for hit in find(document, Surroundings())])
    return hits, not any(map(is_answer, documents))


def _once(hits: Iterable[Hit]) -> list[Hit]:
    """
    Fold what an anchor gives several times; where it is used with a zone, its own place without one is none.

    All uses have the effect of that which a change harms most.
    """
    by_place: dict[int, list[Hit]] = {}
    for hit in hits:
        by_place.setdefault(hit.at, []).append(hit)
    folded: list[Hit] = []
    for same in by_place.values():
        by_zones: dict[tuple[str, ...], Hit] = {}
        for hit in [hit for hit in same if hit.zones] or same:
            by_zones.setdefault(hit.zones, hit)
        uses = same[1:] if any(hit.zones for hit in same) and not same[0].zones else same
        effect = max((hit.effect for hit in uses), key=_BY_HARM.index)
        folded += [hit if hit.effect == effect else replace(hit, effect=effect) for hit in by_zones.values()]
    return folded


def _in_sections(text: str) -> list[Hit]:
    """Return the ids in an ini file: each section has its own zone, else that of all of them."""
    text = _SEMICOLON.sub(lambda match: " " * len(match.group()), text)
    begins = [(0, ""), *((match.start(), match["name"].strip().casefold()) for match in SECTION.finditer(text))]
    parts = [(begin, name, text[begin:end]) for (begin, name), (end, _) in pairwise([*begins, (len(text), "")])]
    of_all = zones_named(text) - {None}
    if len(of_all) > 1:
        of_all = set().union(*(zones_named(part) for _, name, part in parts if name in OF_ALL)) - {None}
    zones = tuple(zone for zone in of_all if zone) if len(of_all) == 1 else ()
    found: list[Hit] = []
    for begin, _, part in parts:
        own = _of_no_build(_in_hcl(part)) if _ASSIGNMENT.search(part) else []
        others = () if zones_named(part) else zones
        found += [replace(hit, at=begin + hit.at, zones=hit.zones or others) for hit in own or _in_plain(part)]
    return found


def _in_plain(text: str) -> list[Hit]:
    found = list(find_in_text(text))
    if not found or not ("<<" in text or "esac" in text):
        return _plain_hits(found)
    from crawler.domain.scanner.inside import with_zones  # few scripts need it

    return [Hit(image_id=one.image_id, at=one.at, zones=zones) for one, zones in with_zones(text, found)]


def _plain_hits(found: Iterable[InText]) -> list[Hit]:
    return [Hit(image_id=one.image_id, at=one.at, zones=(one.zone,) if one.zone else ()) for one in found]


# --- places ----------------------------------------------------------------------------------------------------------


def _placed(text: str, hits: Sequence[Hit]) -> Iterator[FoundPin]:
    """Return a pin for each zone of each hit, with its line, as the comments have it."""
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    comments = read_comments(text)
    found: dict[int, list[Hit]] = {}
    for hit in [*hits, *_named_only(text, hits, starts, comments)]:
        found.setdefault(hit.at, []).append(hit)
    for at in sorted(found):
        line = bisect_right(starts, at)
        if line in comments.ignored:
            continue
        said = comments.named.get(line)
        seen: set[str | None] = set()
        for hit in found[at]:
            for zone in (said.zone,) if said else hit.zones or (None,):
                if zone not in seen:
                    seen.add(zone)
                    yield FoundPin(
                        image_id=hit.image_id, zone=zone, line=line, column=at - starts[line - 1] + 1, at=at,
                        address=hit.address, effect=hit.effect, resource=hit.resource, named=said.name if said else "",
                        region=hit.region, project=hit.project, note=hit.note,
                    )  # fmt: skip


def _named_only(text: str, hits: Sequence[Hit], starts: list[int], comments: Comments) -> Iterator[Hit]:
    """Return the ids that count only because a comment names their image."""
    known = {hit.at for hit in hits}
    for line in comments.named:
        if line <= len(starts):
            end = starts[line] if line < len(starts) else len(text)
            for match in ID_IN_TEXT.finditer(uncommented(text[starts[line - 1] : end])):
                at = starts[line - 1] + match.start("id")
                if at not in known:
                    yield Hit(image_id=match["id"], at=at)
