"""
Reply and kind in, snapshot out: the tolerant reader.

It accepts every shape the API is known to have used, and shapes nobody has seen yet: unknown sets keep their own name,
unknown fields are kept under `extra`, and both are named in the notices. A field that is missing or null is unknown,
never false. What cannot be stored in every database (NUL, lone surrogates, NaN) is replaced here, so that no answer can
make the store fail.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from crawler.kinds import Field, Kind
from crawler.model import Attributes, ImageKey, Snapshot, canonical_json, fold_keys

_TRUE = {"true", "1", "yes"}
_FALSE = {"false", "0", "no"}
_LARGEST = 2**63


def parse(document: Mapping[str, Any], kind: Kind, zone: str, zone_of: Mapping[int, str]) -> Snapshot:
    """
    Read the images that *document*, a RetCode 0 answer of *zone*, lists.

    *zone_of* maps the numeric ZoneIds whose zone is known; a record that states another zone's number is foreign.
    """
    images: dict[ImageKey, Attributes] = {}
    foreign: set[ImageKey] = set()
    numbers: set[int | None] = set()
    notices: dict[str, None] = {}
    unreadable = 0
    by_key: dict[str, Field | None] = {spelling.casefold(): spec for spec in kind.fields for spelling in spec.keys}
    by_key |= {spelling.casefold(): None for spelling in kind.id_keys}

    for set_name, records in _sets(document, kind, notices):
        for record in records:
            read = _read_record(record, kind, by_key, notices)
            if read is None:
                unreadable += 1
                notices[f"{set_name}: a record without {kind.id_keys[0]}"] = None
                continue
            image_id, attributes = read
            key = ImageKey(set_name, image_id)
            number = attributes.get("zone_id")
            numbers.add(number)
            if number is not None and zone_of.get(number, zone) != zone:
                foreign.add(key)
                continue
            images[key] = _merge_duplicate(images[key], attributes) if key in images else attributes

    foreign -= images.keys()
    if foreign:
        notices[f"{zone}: {len(foreign)} records belong to another zone and were left out"] = None
    return Snapshot(
        images=images,
        foreign=frozenset(foreign),
        unreadable=unreadable,
        notices=tuple(notices),
        zone_number=numbers.pop() if len(numbers) == 1 else None,
    )


def _sets(document: Mapping[str, Any], kind: Kind, notices: dict[str, None]) -> Iterator[tuple[str, list[Any]]]:
    """Yield every image set of the answer under its canonical name."""
    canonical = {spelling.casefold(): name for name, others in kind.sets.items() for spelling in (name, *others)}
    envelope = {key.casefold() for key in kind.envelope}
    for raw_key, value in document.items():
        key = clean_text(str(raw_key))
        folded = key.casefold()
        if folded in envelope:
            continue
        known = canonical.get(folded)
        if known is None:
            if kind.set_marker not in folded and not _looks_like_records(value, kind):
                notices[f"unknown field {key} in the answer"] = None
                continue
            notices[f"unknown image set {key}"] = None
        yield known or key, _as_records(value)


def _as_records(value: Any) -> list[Any]:
    """Give the records of a set: none for null, one for a single object."""
    if value is None or value == {} or value == "":
        return []
    return value if isinstance(value, list) else [value]


def _looks_like_records(value: Any, kind: Kind) -> bool:
    return isinstance(value, list) and any(
        isinstance(element, Mapping) and _find(element, kind.id_keys) is not None for element in value
    )


def _find(record: Mapping[str, Any], spellings: tuple[str, ...]) -> Any:
    wanted = {spelling.casefold() for spelling in spellings}
    for key, value in record.items():
        if str(key).casefold() in wanted and value is not None:
            return value
    return None


def _read_record(
    record: Any, kind: Kind, by_key: Mapping[str, Field | None], notices: dict[str, None]
) -> tuple[str, Attributes] | None:
    """
    Give a record's id and attributes; a bare string is an id without attributes; None when there is no id.

    *by_key* gives the field of each folded spelling, None for the id's own.
    """
    if isinstance(record, str):
        return (clean_text(record), {}) if record.strip() else None
    if not isinstance(record, Mapping):
        return None
    image_id = _find(record, kind.id_keys)
    if not isinstance(image_id, str | int) or isinstance(image_id, bool) or not str(image_id).strip():
        return None

    attributes: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for raw_key in sorted(record, key=str):
        value, folded = record[raw_key], str(raw_key).casefold()
        if value is None:
            continue
        spec = by_key.get(folded)
        if spec is None:
            if folded in by_key:
                continue
            kept = clean(value)
            if kept is not None:
                extra[clean_text(str(raw_key))] = kept
                notices[f"unknown field {clean_text(str(raw_key))} of an image, kept in extra"] = None
            continue
        read = _read_field(value, spec)
        if read is None and value not in ("", {}):
            notices[f"{spec.keys[0]} was not understood in at least one record"] = None
        elif read is not None:
            attributes[spec.name] = read
    if extra:
        attributes["extra"] = extra
    return clean_text(str(image_id)), attributes


def _read_field(value: Any, spec: Field) -> Any:
    """Read one value as its type says; None when it is not stated or not understood."""
    match spec.type:
        case "text":
            return _read_text(value)
        case "flag":
            return _read_flag(value)
        case "flag_inverted":
            flag = _read_flag(value)
            return None if flag is None else not flag
        case "integer":
            return _read_integer(value)
        case "names":
            return _read_names(value)


def _read_text(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value) or None
    if isinstance(value, list):
        return _read_names(value)
    if isinstance(value, bool | int | float):
        return canonical_json(kept) if (kept := clean(value)) is not None else None
    return clean(value) or None


def _read_flag(value: Any) -> bool | None:
    text = str(value).strip().casefold()
    return True if text in _TRUE else False if text in _FALSE else None


def _read_integer(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if isinstance(value, float) and value != number:
        return None
    return number if -_LARGEST < number < _LARGEST else None


def _read_names(value: Any) -> list[str] | None:
    if isinstance(value, str):
        return [clean_text(value)] if value.strip() else None
    if not isinstance(value, list):
        return None
    return sorted({e if isinstance(e, str) else canonical_json(e) for e in map(clean, value) if e is not None})


def _merge_duplicate(first: Attributes, second: Attributes) -> Attributes:
    """Join two records of one id; where they disagree the smaller value wins, so that their order does not count."""
    merged = dict(first)
    spelling = {name.casefold(): name for name in first}
    for stated, value in second.items():
        name = spelling.get(stated.casefold(), stated)
        if name == "extra" and "extra" in merged:
            merged[name] = _merge_duplicate(merged[name], value)
        elif name not in merged or _rank(value) < _rank(merged[name]):
            merged[name] = value
    return merged


def _rank(value: Any) -> str:
    return canonical_json(fold_keys(value))


def clean_text(text: str) -> str:
    """Give *text* with the characters that not every database can store (NUL, lone surrogates) replaced by U+FFFD."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if not text.isascii() else text


def clean(value: Any) -> Any:
    """Give a JSON value in canonical order (lists as sorted sets), storable everywhere; NaN becomes None."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {clean_text(str(k)): kept for k, v in value.items() if (kept := clean(v)) is not None}
    if isinstance(value, list):
        kept = {canonical_json(e): e for e in map(clean, value) if e is not None}
        return [kept[text] for text in sorted(kept)]
    return value
