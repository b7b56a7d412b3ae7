"""
Reply and kind in, snapshot out: the tolerant reader. Pure.

It accepts every shape the API is known to have used, and shapes nobody has seen yet: unknown sets keep their own
name, unknown fields are kept under `extra`, and both are named in the notices. A field that is missing or null is
unknown, never false. What cannot be stored in every database (NUL, lone surrogates, NaN) is replaced here, so that no
answer can make the store fail. Of a JSON object only the outermost layer is decoded first: most of what an answer
lists was read before. What is accepted, and what it means, is what `json.loads` says; but an object that states a
member twice, and not alike, is refused: one of the two would be lost, and with it perhaps images that are there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from sys import getsizeof
from typing import Any, NamedTuple

import msgspec

from crawler.domain.kinds import BOOTABLE, KINDS, Field, Kind
from crawler.domain.models import (
    STATED,
    UNSTATED_SET,
    Attributes,
    ImageKey,
    Recent,
    Snapshot,
    canonical_json,
    fold_keys,
    stated_sets,
)
from crawler.domain.text import counted
from crawler.domain.values import READERS, clean, clean_text, integer, plain_name, read_count, says_more
from crawler.errors import NotUnderstood

#: A list or an object as text, checked and not decoded yet; its buffer is part of the body.
Unread = msgspec.Raw

_in_json = msgspec.json.encode
_MEMBERS = msgspec.json.Decoder(dict[str, Unread])
_ELEMENTS = msgspec.json.Decoder(list[Unread])
_NESTED = b"[{"
#: One such character makes Python hold a text in four bytes each.
_BEYOND_16_BITS = re.compile(rb"[\xf0-\xf4]")

#: Values of one answer that are decoded; each takes up to some 250 bytes of memory, whatever it takes on the wire.
MAX_VALUES = 150_000
#: The same of an answer that was composed of several, whose records are decoded one after the other.
MAX_COMPOSED_VALUES = 2_000_000
#: A longer list is decoded record by record.
LONG_LIST = 512 * 1024
#: What a value, a list and an object take beside their text, by the sign that each has before it.
_TAKES = {b",": 60, b"[": 90, b"{": 250}
#: What the name of a member takes besides, with its place in the object.
_NAME_TAKES = 110
#: The texts that all records share.
_FIELD_NAMES = frozenset(id(spec.name) for kind in KINDS.values() for spec in kind.fields)
#: What an image takes besides that was read: its key, and its places among the others.
_IMAGE_TAKES = 400


def members(body: bytes, most: int = MAX_VALUES) -> dict[str, Any] | None:
    """
    Return the members of the JSON object *body*, lists and objects `Unread`; None when it is no JSON object.

    Raises NotUnderstood where it holds more than *most* values: decoding them would take the memory of the run. So it
    does where a member comes twice, and not alike.
    """
    if len(body) > most and _values(body) > most:
        raise NotUnderstood(f"the answer holds more than {most:,} values, which is more than is read")
    try:
        if not body.isascii():
            body.decode()  # which the decoder does not look at inside of what it leaves unread
        found = _MEMBERS.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        # no object, or one of the oddities that only `json` takes: NaN, half a surrogate pair, a byte order mark
        return _decoded(body)
    if any(body.count(_in_json(name)) > 1 for name in found):
        _decoded(body)  # a value may be called so, or a member farther inside; of two members only the last is found
    return {name: value if memoryview(value)[:1].tobytes() in _NESTED else read(value) for name, value in found.items()}


def weight_of(text: bytes, images: int = 0) -> int:
    """Return about how many bytes *text*, which is JSON, takes when it is decoded, and as so many *images* read."""
    bytes_of_a_character = 1 if text.isascii() else 4 if _BEYOND_16_BITS.search(text) else 2
    values = sum(size * text.count(sign) for sign, size in _TAKES.items())
    return len(text) * bytes_of_a_character + values + _NAME_TAKES * text.count(b":") + _IMAGE_TAKES * images


def size_of(*values: Any) -> int:
    """Return how many bytes of memory *values* take with all that they hold, each of it once, names of fields not."""
    seen = set(_FIELD_NAMES)
    size = 0
    found = list(values)
    for value in found:  # which grows meanwhile
        if (own := id(value)) in seen:
            continue
        seen.add(own)
        size += getsizeof(value)
        if isinstance(value, str):
            continue  # nearly always
        if isinstance(value, dict):
            found += value
            found += value.values()
        elif isinstance(value, (list, tuple)):
            found += value
    return size


def _values(text: bytes) -> int:
    # Every value but the first of its list or object has a comma before it, and every one that is nested a bracket.
    return sum(map(text.count, _TAKES))


def read(value: Any) -> Any:
    """Decode what is `Unread`, and give anything else as it is; raise NotUnderstood where that cannot be done."""
    if not isinstance(value, Unread):
        return value
    try:
        return _DOCUMENTS.decode(bytes(value).decode())
    except RecursionError:
        raise NotUnderstood("the answer is nested too deeply to be read") from None
    except ValueError:  # it is JSON, so it is an integer of thousands of digits
        raise NotUnderstood("the answer holds a number that is too long to be read") from None


def _decoded(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of its *members*; raise NotUnderstood where one of them comes twice, and not alike."""
    found = dict(members)
    if len(found) < len(members):
        for name, value in members:
            if value is not found[name] and value != found[name]:
                raise NotUnderstood(f"the answer states {_shown(name)} twice in one object, and not alike")
    return found


_DOCUMENTS = json.JSONDecoder(object_pairs_hook=_object)


#: A bare text that may be an id; a list or an object written as a text is none.
_BARE_ID = re.compile(r"""[^\s\[\]{}()<>"',;]+""")
_STATED = {name.casefold(): name for name in STATED}
#: What every answer has beside its sets; of anything nested under these names a word is said.
_COMMON_ENVELOPE = {"retcode", "action", "message"}
#: Records of a set; a smaller one is a project's own as a rule, and read as quickly as looked up.
WORTH_REMEMBERING = 5
#: Records of one answer that are read; a zone of the largest brand lists some hundreds.
MAX_RECORDS = 10_000
#: Bytes that the sets which are remembered may take.
BYTES_AT_ONCE = 12 * 2**20
#: Different notices of one answer that are kept.
MAX_NOTICES = 50
#: How much of a name that the cloud made up is shown in a notice.
SHOWN_CHARACTERS = 80


class Record(NamedTuple):
    """What one record says. Its attributes may be shared with other snapshots, so nobody changes them."""

    key: ImageKey
    attributes: Attributes
    notices: tuple[str, ...] = ()


class SetReading(NamedTuple):
    """What the records of one image set say, in their order; None where there is no id."""

    records: tuple[Record | None, ...]
    #: All of them, duplicates joined.
    images: Mapping[ImageKey, Attributes]
    #: The numeric ZoneIds that they state, None among them where one states none.
    numbers: frozenset[int | None]
    #: The same of those without an id.
    unreadable_numbers: frozenset[int | None]
    notices: tuple[str, ...]


ReadBefore = Recent[tuple[str, frozenset[str], str, bytes], SetReading]
"""Sets that were read, by the kind, the fields that were ignored, the name, and the digest of what stood there."""


def sets_read_before(at_once: int = 128) -> ReadBefore:
    """Remember *at_once* sets at most; regions are asked in turn, so a set comes again after so many."""
    return Recent(at_once=at_once, weight=BYTES_AT_ONCE)


class SetReader:
    """Reads the image sets of one kind; one that was read before is not read again: projects of a zone share most."""

    def __init__(self, kind: Kind, *, ignored: Collection[str] = (), read_before: ReadBefore | None = None) -> None:
        """
        Read records without the fields *ignored*, named as the API or as the JSON output does.

        *read_before*: what other readers have read, and this one will; None: this one remembers for itself.
        """
        self.kind = kind
        self._ignored = frozenset(map(plain_name, ignored))
        self._read_before = sets_read_before() if read_before is None else read_before
        #: The field of each spelling, as documented and case folded; None for the id's own.
        self._fields: dict[str, Field | None] = {}
        identifying = (*kind.id_keys, *chain.from_iterable(kind.own_id_keys.values()), *filter(None, [kind.set_key]))
        for spellings, spec in [(identifying, None)] + [(spec.keys, spec) for spec in kind.fields]:
            self._fields |= dict.fromkeys([*spellings, *(spelling.casefold() for spelling in spellings)], spec)

    def read(self, image_set: str, value: Any) -> SetReading:
        """Read the records of *image_set*, decoded or `Unread`; a bare string is an id without attributes."""
        if not isinstance(value, Unread):
            return self._read_all(image_set, value)
        likeness = (self.kind.name, self._ignored, image_set, hashlib.sha256(value).digest())
        found = self._read_before.get(likeness)
        if found is None:
            found = self._read_all(image_set, _elements(value))
            if len(found.records) >= WORTH_REMEMBERING:
                self._read_before.put(likeness, found, size_of(found))
        return found

    def _read_all(self, image_set: str, value: Any) -> SetReading:
        stated = _as_records(value)
        _refuse_too_many(len(stated))
        records: list[Record | None] = []
        unreadable: list[Any] = []
        for encoded in stated:
            entry = read(encoded)
            if entry is None or entry == {}:
                continue  # what a long list holds is known only here
            record = self._read(image_set, entry)
            if record is None:
                unreadable.append(entry)
            is_one = record is not None or (isinstance(value, list) and isinstance(entry, Mapping))
            records += [record] if is_one else [None] * max(1, _count_objects(entry, self._fields))
        readable = [record for record in records if record is not None]
        notices = dict.fromkeys(notice for record in readable for notice in record.notices)
        if unreadable:
            notices[f"{_shown(image_set)}: a record without {self.kind.id_keys[0]}"] = None
        return SetReading(
            records=tuple(records),
            images=_joined({}, readable),
            numbers=frozenset(record.attributes.get("zone_id") for record in readable),
            unreadable_numbers=frozenset(map(self._number, unreadable)),
            notices=_few(notices),
        )

    def _number(self, record: Any) -> int | None:
        """Return the ZoneId that a record without an id states."""
        spec = self._fields.get("zoneid")
        return integer(find(record, spec.keys)) if spec is not None and isinstance(record, Mapping) else None

    def _read(self, image_set: str, record: Any) -> Record | None:
        key = key_of(self.kind, image_set, record)
        if key is None or not isinstance(record, Mapping):
            return None if key is None else Record(key, {})

        attributes: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        notices: list[str] = []
        for member in sorted(record):
            value = record[member]
            if value is None:
                continue
            spelling = member if member in self._fields else member.casefold()
            spec = self._fields.get(spelling)
            if self._ignored and self._ignored.intersection(map(plain_name, (member, spec.name if spec else member))):
                continue
            if spec is not None:
                read = READERS[spec.type](value)
                if read is not None:
                    attributes[spec.name] = read
                elif value not in ("", {}):
                    notices.append(f"{spec.keys[0]} was not understood in at least one record")
            elif spelling not in self._fields and (kept := clean(value)) is not None:
                extra[clean_text(member)] = kept
                notices.append(f"unknown field {_shown(member)} of an image, kept in extra")
        state = self.kind.state
        if state is not None and (said := attributes.get(state.field)) is not None:
            attributes[BOOTABLE] = str(said).casefold() in {value.casefold() for value in state.bootable}
        if extra:
            attributes["extra"] = extra
        return Record(key, attributes, tuple(notices))


def key_of(kind: Kind, image_set: str, record: Any) -> ImageKey | None:
    """Return what identifies a *record* that stands in *image_set*, which may be a bare id; None where nothing does."""
    if isinstance(record, str):
        bare = record.strip()
        return ImageKey(image_set, clean_text(bare)) if _BARE_ID.fullmatch(bare) else None
    if not isinstance(record, Mapping):
        return None
    stated = find(record, kind.own_id_keys.get(image_set, kind.id_keys))
    if not isinstance(stated, str | int) or isinstance(stated, bool) or not str(stated).strip():
        return None
    identity = clean_text(str(stated).strip())
    if kind.qualifier is not None:
        qualifier = find(record, (kind.qualifier.key,))
        if isinstance(qualifier, str) and qualifier.strip().casefold() not in ("", kind.qualifier.silent):
            identity = f"{identity}/{clean_text(qualifier.strip().casefold())}"
    if kind.set_key:
        own = find(record, (kind.set_key,))
        image_set = clean_text(own.strip()) if isinstance(own, str) and own.strip() else UNSTATED_SET
    return ImageKey(image_set, identity)


#: Fields, in plain letters, by which an image is known.
NEVER_IGNORED = frozenset({"imageid", "imagename", "zoneid"})


def parse(
    document: Mapping[str, Any],
    kind: Kind,
    zone: str,
    zone_of: Mapping[int, str],
    reader: SetReader | None = None,
    *,
    catalog: Mapping[int, str | None] | None = None,
) -> Snapshot:
    """
    Read the images that *document*, the members of a RetCode 0 answer of *zone*, lists.

    *zone_of* maps the numeric ZoneIds whose zone is known; a record that states another zone's number is foreign.
    *catalog* maps those of the present catalog, to None where it gives one to several zones (None: the same map).
    *reader* is a reader of this *kind* that has read before; what its sets say is shared.
    """
    reader = reader or SetReader(kind)
    images: dict[ImageKey, Attributes] = {}
    foreign: set[ImageKey] = set()
    numbers: set[int | None] = set()
    every_number: set[int | None] = set()
    notices: dict[str, None] = {}
    records = unreadable = 0
    members = read_members(document, kind, kind.sets)
    sets = members.sets
    if kind.bare_set and not any(reader.read(set_name, value).records for set_name, value in sets):
        bare = {name: read(value) for name, value in document.items() if name.casefold() in _keys(kind)}
        sets = [(kind.bare_set, bare)]

    def is_foreign(number: int | None) -> bool:
        return number is not None and zone_of.get(number, zone) != zone

    listed_by: Mapping[int, str | None] = zone_of if catalog is None else catalog

    def is_elsewhere(number: int | None) -> bool:
        return number is not None and is_foreign(number) and listed_by.get(number, zone) != zone

    def names_another(attributes: Attributes) -> bool:
        named = attributes.get(kind.zone_field) if zone and kind.zone_field else None
        return named is not None and str(named).casefold() != zone.casefold()

    named_elsewhere = 0
    for set_name, value in sets:
        said = reader.read(set_name, value)
        records += len(said.records)
        _refuse_too_many(records)
        notices |= dict.fromkeys(said.notices)
        numbers |= said.numbers
        every_number |= said.numbers | said.unreadable_numbers
        unreadable += said.records.count(None)
        if (
            images.keys().isdisjoint(said.images)
            and not any(map(is_foreign, said.numbers))
            and not (kind.zone_field and any(map(names_another, said.images.values())))
        ):
            images |= said.images  # nearly always
            continue
        readable = [record for record in said.records if record is not None]
        others = [r for r in readable if is_foreign(r.attributes.get("zone_id")) or names_another(r.attributes)]
        named_elsewhere += sum(names_another(record.attributes) for record in others)
        foreign |= {record.key for record in others}
        own = set(map(id, others))
        images = _joined(images, (record for record in readable if id(record) not in own))

    names = {key.image_set for key in (*images, *foreign)}
    if spelled := _one_spelling(names):
        images = _joined({}, (Record(_spelled_as(key, spelled), stated) for key, stated in images.items()))
        foreign = {_spelled_as(key, spelled) for key in foreign}
    if UNSTATED_SET in names and len(names) > 1:
        stated_in = stated_sets(images)
        images = _joined({}, (Record(stated_in.get(key.image_id, key), stated) for key, stated in images.items()))
    foreign -= images.keys()
    if foreign:
        notices[f"{zone}: records that belong to another zone and were left out: {len(foreign)}"] = None
    excess, surplus = _excess(members.counts, records)
    return Snapshot(
        images=images,
        foreign=frozenset(foreign),
        is_elsewhere=(bool(every_number) and all(map(is_elsewhere, every_number))) or 0 < records == named_elsewhere,
        records=records,
        unreadable=unreadable,
        excess=excess,
        unknown_lists=members.unknown_lists,
        rest=members.rest,
        stated=members.stated,
        notices=_few((*members.notices, *notices, *surplus)),
        zone_number=numbers.pop() if len(numbers) == 1 else None,
        uncompared=kind.uncompared,
    )


def _one_spelling(names: Collection[str]) -> Mapping[str, str]:
    """Return what each of the set *names* is called that an answer spells in several cases: the smallest of them."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        found.setdefault(name.casefold(), []).append(name)
    return {name: alike[0] for alike in found.values() if len(alike) > 1 for name in alike}


def _spelled_as(key: ImageKey, spelled: Mapping[str, str]) -> ImageKey:
    return ImageKey(spelled.get(key.image_set, key.image_set), key.image_id)


class Members(NamedTuple):
    """The top-level members of an answer, each taken for what it is."""

    #: Every image set under its canonical name, perhaps `Unread`.
    sets: list[tuple[str, Any]]
    #: Every number of records that is stated, by the member that states it.
    counts: list[tuple[str, int]]
    stated: tuple[tuple[str, str], ...]
    unknown_lists: str
    #: The member by which the answer says that there is more than it lists; empty: it does not.
    rest: str
    notices: list[str]


def read_members(document: Mapping[str, Any], kind: Kind, named: Mapping[str, tuple[str, ...]]) -> Members:
    """Tell what each member of an answer is that is to hold the sets *named*, each with its other spellings."""
    canonical = {spelling.casefold(): name for name, others in named.items() for spelling in (name, *others)}
    envelope = {key.casefold() for key in (*kind.envelope, *STATED)}
    own_envelope = {key.casefold() for key in kind.envelope} - _COMMON_ENVELOPE
    own_envelope |= _keys(kind) if kind.bare_set else set()
    envelope |= own_envelope
    members = [(key, key.casefold(), value) for key, value in ((clean_text(str(k)), v) for k, v in document.items())]
    counts = [
        (key, number)
        for key, folded, value in members
        if _counts_records(folded, kind, canonical) and (number := read_count(value)) is not None
    ]
    counted = {key for key, _ in counts}
    sets: list[tuple[str, Any]] = []
    stated: list[tuple[str, str]] = []
    unknown: list[tuple[str, Any]] = []
    notices: list[str] = []
    for key, folded, value in members:
        if (known := canonical.get(folded)) is not None:
            sets.append((known, value))
        elif folded in _STATED and (text := _read_stated(value, is_name=folded == "action")):
            stated.append((_STATED[folded], text))
        elif folded in envelope and (not _is_nested(value) or folded in own_envelope):
            continue
        elif key not in counted and not (folded in envelope and not read(value)):
            unknown.append((key, value))
    has_known_set = bool(sets)
    rest = ""
    for key, value in unknown:
        if _is_unknown_set(key.casefold(), value, kind) or _looks_like_records(read(value), kind):
            notices.append(f"unknown image set {_shown(key)}")
            sets.append((key, value))
        else:
            notices.append(f"unknown field {_shown(key)} in the answer")
            rest = rest or rest_in({key: value})
    # of what an answer says about itself an object describes that
    names = {*canonical, *(key.casefold() for key in kind.id_keys)}
    holding = (
        key
        for key, value in unknown
        if not has_known_set and _holds_objects(read(value), () if key.casefold() in envelope else names)
    )
    return Members(sets, counts, tuple(stated), next(holding, ""), rest, notices)


def rest_in(document: Mapping[str, Any]) -> str:
    """Return the member, at any depth, by which *document* says that there is more to list; empty: it does not."""
    found = _nested({key: read(value) for key, value in document.items()})
    members = (member for inner in found if isinstance(inner, Mapping) for member in inner.items())
    return next((_shown(name) for name, value in members if says_more(str(name), value)), "")


def _read_stated(value: Any, *, is_name: bool) -> str:
    """
    Read what an answer states about itself, alone or in a list of one; empty where that is nothing.

    Where it *is_name* of the answer, whatever is stated is one; elsewhere an object describes something, and names
    nothing.
    """
    said = read(value)
    if isinstance(said, list) and len(said) == 1:
        (said,) = said
    if said is None or said in ([], {}) or (isinstance(said, list | Mapping) and not is_name):
        return ""
    return clean_text(str(said)).strip()


def _is_unknown_set(folded: str, value: Any, kind: Kind) -> bool:
    """Return whether a member is a set by its folded name; one that is called so to the end may hold a bare id."""
    if not kind.set_marker or kind.set_marker not in folded:
        return False
    return _is_nested(value) or (isinstance(value, str) and folded.endswith(kind.set_marker))


def _is_nested(value: Any) -> bool:
    return isinstance(value, Unread | list | Mapping)


def _counts_records(folded: str, kind: Kind, canonical: Mapping[str, str]) -> bool:
    """Return whether a member, by its folded name, says how many records there are: in all, or in one set."""
    if folded in {name.casefold() for name in kind.counts}:
        return True
    counted = folded.removesuffix("count")
    is_marked = bool(kind.set_marker) and kind.set_marker in counted
    is_of_set = counted in canonical or f"{counted}set" in canonical or is_marked
    return counted != folded and is_of_set


def _excess(counts: Sequence[tuple[str, int]], records: int) -> tuple[int | None, list[str]]:
    """
    Return by how much the largest of the *counts* exceeds the *records* listed, and a sentence for each that does.

    None where none says anything about that: a count of nothing, or of less than is listed.
    """
    larger = [(key, number) for key, number in counts if number > records]
    listed = counted(records, "record is", "records are")
    sentences = [f"{_shown(key)} is {number}, and {listed} listed" for key, number in larger]
    nothing_said = 0 if records and any(number == records for _, number in counts) else None
    return max((number - records for _, number in larger), default=nothing_said), sentences


def _holds_objects(value: Any, names: Collection[str]) -> bool:
    """Return whether a decoded member holds, at any depth, a list of objects, or anything under one of *names*."""
    return any(
        any(isinstance(element, Mapping) and element for element in map(_undone, inner))
        if isinstance(inner, list)
        else isinstance(inner, Mapping)
        and any(str(name).casefold() in names and held not in (None, "", [], {}) for name, held in inner.items())
        for inner in _nested(value)
    )


def _count_objects(wrapper: Any, fields: Container[str]) -> int:
    """
    Count the objects that something holds which is no record itself: each of them may be one.

    One that states any of the *fields* of records is a single one, whatever it holds: how many could not be read is
    compared with the next answer, whose records may stand elsewhere.
    """

    def is_record(inner: Mapping[str, Any]) -> bool:
        return any(key in fields or key.casefold() in fields for key in inner)

    found = _nested(wrapper, is_whole=is_record)
    return sum(isinstance(inner, Mapping) and bool(inner) for inner in found if inner is not wrapper)


def _nested(value: Any, *, is_whole: Callable[[Mapping[str, Any]], bool] = lambda _: False) -> Iterator[Any]:
    """Yield *value* and what it holds at any depth, in a text that is JSON too, but for what *is_whole* holds."""
    waiting = [_undone(value)]
    while waiting:
        inner = waiting.pop()
        yield inner
        if isinstance(inner, Mapping):
            waiting.extend(() if is_whole(inner) else map(_undone, inner.values()))
        elif isinstance(inner, list):
            waiting.extend(map(_undone, inner))


def _undone(value: Any) -> Any:
    """Return what a text means that is a list or an object as JSON, and anything else as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except RecursionError:
        raise NotUnderstood("the answer is nested too deeply to be read") from None
    except ValueError:
        return value


def _few(notices: Collection[str]) -> tuple[str, ...]:
    """Return the *notices*, and of a great many the same few whatever their order."""
    if len(notices) <= MAX_NOTICES:
        return tuple(notices)
    return (*sorted(notices)[: MAX_NOTICES - 1], f"and {len(notices) - MAX_NOTICES + 1} more kinds of notices")


def _refuse_too_many(records: int) -> None:
    if records > MAX_RECORDS:
        raise NotUnderstood(f"the answer lists more than {MAX_RECORDS:,} records, which is more than are read")


def _as_records(value: Any) -> list[Any]:
    """Return the records of a set: one for a single record or id; null and `{}` are none."""
    if value == "":
        return []
    return [record for record in (value if isinstance(value, list) else [value]) if record is not None and record != {}]


def _elements(value: Unread) -> Any:
    """Return a list decoded, and a long one as its elements, each `Unread`."""
    is_long_list = len(memoryview(value)) > LONG_LIST and memoryview(value)[:1].tobytes() == b"["
    return _ELEMENTS.decode(value) if is_long_list else read(value)


def _keys(kind: Kind) -> set[str]:
    """Return the members of a record, case folded."""
    return {key.casefold() for keys in (kind.id_keys, *(spec.keys for spec in kind.fields)) for key in keys}


def _looks_like_records(value: Any, kind: Kind) -> bool:
    return isinstance(value, list) and any(
        isinstance(element, Mapping) and find(element, kind.id_keys) is not None for element in value
    )


def find(record: Mapping[str, Any], spellings: tuple[str, ...]) -> Any:
    """Return the value of the first spelling that states one, as documented or in another case."""
    for spelling in spellings:
        if (value := record.get(spelling)) is not None:
            return value
    wanted = {spelling.casefold() for spelling in spellings}
    for key in sorted(record):
        if key.casefold() in wanted and record[key] is not None:
            return record[key]
    return None


# --- duplicates ------------------------------------------------------------------------------------------------------


def _joined(images: Mapping[ImageKey, Attributes], records: Iterable[Record]) -> dict[ImageKey, Attributes]:
    """Return *images* with those of *records*; an id that comes more than once is one image."""
    joined = dict(images)
    duplicates: dict[ImageKey, list[Attributes]] = {}
    for key, attributes, _ in records:
        if key in joined:
            duplicates.setdefault(key, [joined[key]]).append(attributes)
        else:
            joined[key] = attributes
    return joined | {key: _merge_duplicates(stated) for key, stated in duplicates.items()}


def _merge_duplicates(stated: Sequence[Attributes]) -> Attributes:
    """Join the records of one id; where they disagree the smallest value wins, so that their order does not count."""
    merged = _merge_fields(stated)
    extras = [record["extra"] for record in stated if "extra" in record]
    return {**merged, "extra": _merge_fields(extras)} if extras else merged


def _merge_fields(stated: Iterable[Attributes]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    spelling: dict[str, str] = {}
    ranks: dict[str, str] = {}
    for name, value in (field for fields in stated for field in fields.items()):
        kept = spelling.setdefault(name.casefold(), name)
        if kept not in merged:
            merged[kept] = value
        elif value != merged[kept]:
            rank = _rank(value)
            if kept not in ranks:
                ranks[kept] = _rank(merged[kept])
            if rank < ranks[kept]:
                merged[kept], ranks[kept] = value, rank
    return merged


def _rank(value: Any) -> str:
    return canonical_json(fold_keys(value))


def _shown(name: str) -> str:
    """Return a name that the cloud made up as a notice shows it."""
    text = clean_text(name)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"
