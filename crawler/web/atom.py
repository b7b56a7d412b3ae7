"""
Changes as Atom feeds (RFC 4287). Pure.

The id of an entry is made of the change alone, so that it stays the same wherever and however often it is published. A
feed without changes is as old as what it is about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from xml.sax.saxutils import escape, quoteattr

from crawler.domain.models import DEFAULT_VARIANT, digest_of, iso_utc
from crawler.domain.rows import ChangeRow, json_value
from crawler.domain.text import plain

#: The authority of all ids (RFC 4151); the name belongs to nobody, and stays when the address changes.
TAG = "tag:crawler.invalid,2026:"
_VERBS = {
    "appeared": "appeared",
    "returned": "is back",
    "withdrawn": "withdrawn",
    "modified": "modified",
    "target_added": "asked from now on",
    "target_retired": "asked no more",
}


def atom_feed(
    changes: Sequence[ChangeRow],
    *,
    variants: Mapping[int, Sequence[str]],
    title: str,
    path: str,
    began: datetime,
    url: str | None,
    is_private: bool,
) -> bytes:
    """
    Return the feed of *changes*, the newest first, that is published at *path* below *url*.

    *variants* are all those of the changes that are of several, by their numbers; an entry names them where `default`
    is none of them. *began* is its date while it has none; with *is_private* entries name accounts and projects.
    """
    updated = max((row.recorded_at for row in changes), default=began)
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="en">',
        f"<id>{TAG}feed/{escape(path)}</id>",
        f"<title>{_text(title)}</title>",
        f"<updated>{iso_utc(updated)}</updated>",
        "<author><name>crawler</name></author>",
    ]
    if url is not None:
        lines += [f'<link rel="self" type="application/atom+xml" href={quoteattr(f"{url}/{path}")}/>']
        lines += [f'<link rel="alternate" href={quoteattr(f"{url}/")}/>']
    for row in changes:
        lines += _entry(row, variants.get(row.id, (row.target.variant,)), is_private=is_private)
    return "\n".join([*lines, "</feed>", ""]).encode()


def entry_id(row: ChangeRow) -> str:
    """Return the permanent id of a change: its number, and what no other history says under that number."""
    target = row.target
    place = [target.region, target.zone, target.kind, target.variant]
    said = [row.id, *place, row.event, row.image_set, row.image_id, json_value(row.observed_at)]
    return f"{TAG}change/{row.id}/{digest_of(said)[:16]}"


def _entry(row: ChangeRow, variants: Sequence[str], *, is_private: bool) -> Iterator[str]:
    target = row.target
    # what the plain question says too is so for everybody
    alone = "" if DEFAULT_VARIANT in variants else ", ".join(variants)
    where = target.zone or target.region  # what is asked of a region as a whole has no zone
    title = f"{row.image_name or row.image_id or where} {_what(row)}, {where}"
    title += f" ({alone})" if alone else ""
    facts = [
        f"Region {target.region}"
        + (f", zone {target.zone}" if target.zone else "")
        + (f", asked with {alone}" if alone else ""),
        *([f"Account {target.account}, project {target.project}"] if is_private else []),
        *([f"{row.image_set}: {row.image_id} ({row.image_name or 'no name'})"] if row.image_id else []),
        *(f"{name}: {_value(before)} → {_value(after)}" for name, (before, after) in row.fields.items()),
        f"Observed at {iso_utc(row.observed_at)}"
        + (f", not before {iso_utc(row.not_before)}" if row.not_before else ""),
    ]
    yield "<entry>"
    yield f"<id>{entry_id(row)}</id>"
    yield f"<title>{_text(title)}</title>"
    yield f"<published>{iso_utc(row.observed_at)}</published>"
    yield f"<updated>{iso_utc(row.recorded_at)}</updated>"
    yield f'<category term="{row.event}"/>'
    yield f'<content type="text">{_text(". ".join(facts))}.</content>'
    yield "</entry>"


def _what(row: ChangeRow) -> str:
    if row.is_reissue:
        return f"re-issued: {row.image_id} → {row.counterpart}"
    return f"{_VERBS[row.event]}: {row.image_id}" if row.image_id else _VERBS[row.event]


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    return "–" if value is None else str(value)


def _text(text: str) -> str:
    """Return *text* for XML, which has no controls and no halves of surrogate pairs."""
    return escape(plain(text, None))
