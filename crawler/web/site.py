"""
The published documents: which file holds what. What is not certain now keeps the file it has; that an image is revoked
is no observation, and certain.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

from crawler import __version__
from crawler.config.key_types import configuration_schema
from crawler.domain.models import normalise_name
from crawler.domain.rows import ChangeRow
from crawler.domain.text import agreeing, counted, visible
from crawler.queries.publish import EPOCH, MOST_ENTRIES, PublishedKnowledge, RegionZone, ZoneName
from crawler.web.answers import answer_schemas
from crawler.web.atom import atom_feed
from crawler.web.openapi import document_schemas, openapi
from crawler.web.published_json import (
    IndexedName,
    changes_document,
    freshness_document,
    index_document,
    json_bytes,
    renovate_document,
    resolve_document,
)
from crawler.web.slugs import link, slug, zone_part

#: The only document that differs each time.
FRESHNESS = "v1/freshness.json"


@dataclass(slots=True, kw_only=True)
class Published:
    """What a publication did."""

    #: Files that say what is known now, and those of them that were written.
    files: int = 0
    written: int = 0
    #: Names in a zone that have files, and those whose files say what was last known.
    names: int = 0
    kept: int = 0
    #: What somebody should know, one sentence each.
    notices: list[str] = field(default_factory=list)

    def sentence(self, root: Path) -> str:
        """Return what was done, for people."""
        unknown = agreeing(self.kept, "is unknown now and says", "are unknown now and say")
        kept = f"; {self.kept} of them {unknown} what was last known" if self.kept else ""
        files = f"{counted(self.files, 'file')}, {self.written} of them new or changed"
        return f"{root} has {files}, of {counted(self.names, 'name')}{kept}."


class Shelf(Protocol):
    """What documents are put on, each at a path; all may raise OSError."""

    def holds(self, path: str) -> bool:
        """Return whether there is one at *path*."""

    def write(self, path: str, body: bytes) -> bool:
        """Make the one at *path* say *body*; return whether it did not before."""

    def remove(self, path: str) -> bool:
        """Take the one at *path* away; return whether there was one."""

    def keep_only(self, under: str, kept: Collection[str]) -> None:
        """Take away each below *under* whose path is not one of *kept*."""


def write_documents(
    into: Shelf, knowledge: PublishedKnowledge, *, url: str | None = None, is_live: bool = False
) -> Published:
    """
    Publish all that is known, but for pages and the copy of the database; raises OSError.

    Where *is_live* the pages at *url* are those of a server.
    """
    done = Published()

    def put(path: str, body: bytes) -> None:
        done.files += 1
        done.written += into.write(path, body)

    indexed = _write_names(into, knowledge.names, put, done, url, is_live=is_live)
    _write_feeds(into, knowledge, put, done, url)
    put("v1/changes.json", json_bytes(changes_document(knowledge).as_dict()))
    put("v1/index.json", json_bytes(index_document(indexed).as_dict()))
    for path, body in descriptions(url, is_private=knowledge.is_private):
        put(path, body)
    put(FRESHNESS, json_bytes(freshness_document(knowledge).as_dict()))
    return done


def descriptions(url: str | None, *, is_private: bool) -> Iterator[tuple[str, bytes]]:
    """Yield the documents that say what the others are, each with its path."""
    for name, schema in document_schemas(is_private=is_private).items():
        yield f"v1/schemas/{name}.json", json_bytes(schema)
    for words, schema in answer_schemas().items():
        yield f"v1/schemas/commands/{words.replace(' --', ' ').replace(' ', '-').lower()}.json", json_bytes(schema)
    yield "v1/schemas/configuration.json", json_bytes(configuration_schema())
    yield "v1/openapi.json", json_bytes(openapi(url, version=__version__, is_private=is_private))


def _write_names(
    into: Shelf,
    names: Sequence[ZoneName],
    put: Callable[[str, bytes], None],
    done: Published,
    url: str | None,
    *,
    is_live: bool,
) -> list[IndexedName]:
    by_path: dict[str, list[ZoneName]] = {}
    for name in names:
        if zone_part(name.place.zone):
            by_path.setdefault(f"{zone_part(name.place.zone)}/{slug(name.image_name)}", []).append(name)
    indexed: list[IndexedName] = []
    for path, members in by_path.items():
        resolved, text, proposed = f"v1/resolve/{path}.json", f"v1/resolve/{path}/image_id", f"v1/renovate/{path}.json"
        if len(members) > 1:
            told = " and ".join(sorted(repr(visible(one.image_name)) for one in members))
            done.notices.append(f"{path}: {told} have the same path, so neither is published.")
            for one_path in (resolved, text, proposed):
                into.remove(one_path)
            continue
        (name,) = members
        is_kept = name.is_there is None and not name.is_revoked and into.holds(resolved) and into.holds(proposed)
        done.kept += name.is_there is None
        if name.is_there is None and not is_kept and name.was_there is None:
            continue
        if not is_kept:
            put(resolved, json_bytes(resolve_document(name).as_dict()))
            put(proposed, json_bytes(renovate_document(name, url, is_live=is_live).as_dict()))
            if name.image_id is None:
                into.remove(text)
            else:
                put(text, f"{name.image_id}\n".encode())
        done.names += 1
        indexed.append(
            IndexedName(
                region=name.place.region,
                zone=name.place.zone,
                image_name=name.image_name,
                resolve=link(resolved),
                image_id=link(text),
                renovate=link(proposed),
            )
        )
    return indexed


def _write_feeds(
    into: Shelf, knowledge: PublishedKnowledge, put: Callable[[str, bytes], None], done: Published, url: str | None
) -> None:
    changes = knowledge.changes
    began: dict[RegionZone | str | None, datetime] = {}
    spelled = {
        key: next(name for row in rows for name in row.names if normalise_name(name) == key)
        for key, rows in changes.by_name.items()
    }
    for name in knowledge.names:
        spelled[name.name_key] = name.image_name
        for about in (None, name.place, name.name_key):
            began[about] = min(began.get(about, name.stays[0].since), name.stays[0].since)
    places = sorted({*changes.by_place, *(zone.place for zone in knowledge.freshness)})

    def feed(path: str, title: str, rows: Sequence[ChangeRow], about: RegionZone | str | None) -> None:
        since = began.get(about, EPOCH)
        body = atom_feed(
            rows,
            variants=changes.variants,
            title=title,
            path=link(path),
            began=since,
            url=url,
            is_private=knowledge.is_private,
        )
        put(path, body)

    feed("v1/atom/all.atom", "Node images", changes.newest[:MOST_ENTRIES], None)
    kept = {"v1/atom/all.atom"}
    zones = [(zone_part(place.zone), f"zone {place.zone!r}", place) for place in places]
    for part, place in _alone(zones, done):
        kept.add(path := f"v1/atom/zones/{part}.atom")
        feed(path, f"Node images in {place.zone}", changes.by_place.get(place, ()), place)
    names = [(slug(spelling), repr(visible(spelling)), key) for key, spelling in sorted(spelled.items())]
    for part, key in _alone(names, done):
        kept.add(path := f"v1/atom/names/{part}.atom")
        feed(path, f"Node images called {spelled[key]}", changes.by_name.get(key, ()), key)
    into.keep_only("v1/atom", kept)


T = TypeVar("T")


def _alone(found: Iterable[tuple[str, str, T]], done: Published) -> Iterator[tuple[str, T]]:
    """Yield what has a path of its own, with it; the others get a notice."""
    by_path: dict[str, list[tuple[str, T]]] = {}
    for path, told, about in found:
        if path:
            by_path.setdefault(path, []).append((told, about))
    for path, members in by_path.items():
        if len(members) == 1:
            yield path, members[0][1]
        else:
            told = " and ".join(told for told, _ in members)
            done.notices.append(f"{path}.atom: {told} have the same path, so neither has a feed.")
