"""
A grammar of answers to DescribeUK8SImage: what a gateway may send, and what a careful reader can take from it.

Every word of it is marked. `true`: it lists what is there, whatever else it says. `partial`: the same, with records
that lost their ids. `nothing`: it is no answer, or one to another question, or one that cannot be understood.
`unclear`: it may be read as the true list or not at all. `empty`: it may be read as an answer that lacks everything.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import strategies as st

Mark = Literal["true", "partial", "nothing", "unclear", "empty"]
Document = dict[str, Any]


@dataclass(frozen=True)
class Truth:
    """What is true of a zone when it is asked."""

    region: str
    zone: str
    number: int
    project: str
    #: Ids by image set.
    ids: Mapping[str, tuple[str, ...]]
    #: Another zone: its region, name and number, and what it has.
    neighbour: tuple[str, str, int]
    neighbour_ids: tuple[str, ...]


@dataclass(frozen=True)
class Shot:
    """One answer, as bytes on the wire once somebody knows what is true."""

    mark: Mark
    name: str
    #: Gives status, headers and body; the connection is closed where there is no status.
    answer: Callable[[Truth, Manner], Wire] = field(repr=False)
    detail: Any = None


@dataclass(frozen=True)
class Wire:
    """What goes over the wire; a status of 0 is none at all, `cut` bytes of the body are missing."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    cut: int = 0


# --- true answers, and the lasting manners that brands have ----------------------------------------------------------


@dataclass(frozen=True)
class Manner:
    """What all true answers of a brand are like."""

    name: str
    change: Callable[[Document], Document] = field(repr=False)


def document_of(truth: Truth, manner: Manner) -> Document:
    """Return the true answer."""
    document: Document = {"RetCode": 0, "Action": "DescribeUK8SImageResponse"}
    document |= {name: [record_of(truth, image_id) for image_id in ids] for name, ids in truth.ids.items()}
    return manner.change(document)


def record_of(truth: Truth, image_id: str) -> Document:
    """Return one record."""
    return {"ImageId": image_id, "ImageName": f"Linux {image_id[-1]}", "NotSupportGPU": False, "ZoneId": truth.number}


def encoded(value: Any) -> bytes:
    """Return *value* as JSON; lone surrogates as they come."""
    return json.dumps(value).encode()


def _with(**members: Any) -> Callable[[Document], Document]:
    return lambda document: {**document, **members}


def _without(*names: str) -> Callable[[Document], Document]:
    return lambda document: {name: value for name, value in document.items() if name not in names}


def _each_record(change: Callable[[Any], Any]) -> Callable[[Document], Document]:
    return lambda document: {
        name: [change(record) for record in value] if isinstance(value, list) else value
        for name, value in document.items()
    }


def _lower(document: Any) -> Any:
    if isinstance(document, dict):
        return {name.lower(): _lower(value) for name, value in document.items()}
    return [_lower(value) for value in document] if isinstance(document, list) else document


def _counted(document: Document) -> Document:
    return {**document, "TotalCount": 3 + sum(len(v) for v in document.values() if isinstance(v, list))}


def _single(document: Document) -> Document:
    return {name: v[0] if isinstance(v, list) and len(v) == 1 else v for name, v in document.items()}


MANNERS = (
    Manner("plain", lambda document: document),
    Manner("one record unreadable all along", lambda d: {**d, "ImageSet": [*d["ImageSet"], {"UImageId": "uimage-x"}]}),
    Manner("a constant excess of TotalCount", _counted),
    Manner("Meta {}", _with(Meta={}, Notes=[])),
    Manner("null sets", _with(CustomPHostImageSet=None, PHostCustomImageSet={})),
    Manner("null records", lambda d: {**d, "ImageSet": [None, *d["ImageSet"], {}]}),
    Manner("lower-case keys", _lower),
    Manner("no Action", _without("Action")),
    Manner("an empty Action", _with(Action="", Zone=None, ProjectId="")),
    Manner("no ZoneId", _each_record(lambda record: {k: v for k, v in record.items() if k != "ZoneId"})),
    Manner("custom sets as strings", lambda d: {**d, "CustomImageSet": [r["ImageId"] for r in d["CustomImageSet"]]}),
    Manner("single records as objects", _single),
    Manner("a field called extra", _each_record(lambda record: {**record, "extra": {"a": 1}, "Extra": "b"})),
    Manner("an alien set", _with(EdgeImageSet=[{"ImageId": "uimage-edge", "ImageName": "Edge"}])),
)

# --- shots -----------------------------------------------------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_RET_CODES = st.sampled_from(
    [
        *(110, 130, 150, 153, 160, 161, 220, 230, 292, 293, 299, 8008, 2**31, 2**63, 2**70, -1, 10**40, 1.5e300),
        *("130", "x", "", None, [], {}, True, [0], {"a": 0}),
    ]
)
_RETRY_AFTER = st.sampled_from(
    [
        *("0", "1", "-5", "1e309", "nan", "soon", "", "99999999999999999999", "３"),
        *("Mon, 01 Jan 99999 00:00:00 GMT", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"),
        *("Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 -9999"),
    ]
)
_TEXT = st.text(max_size=30) | st.sampled_from(["\ud800", "\x00", "a" * 3000, "\u202e", "=1+1", "é" * 2000, "‮\udfff"])
_HEADERS = st.sampled_from(
    [
        ("Date", "yesterday"),
        ("Date", "Mon, 01 Jan 99999 00:00:00 GMT"),
        ("Date", "Mon, 01 Jan 0001 00:00:00 +2359"),
        ("X-UCLOUD-REQUEST-UUID", "x" * 5000),
        ("X-UCLOUD-REQUEST-UUID", "\x1b[31m"),
        ("Content-Type", "text/html; charset=no-such"),
        ("Set-Cookie", "a=b; expires=Mon, 01 Jan 99999 00:00:00 GMT"),
        ("Location", "//\\"),
        ("Content-Encoding", "x-unknown"),
        ("Transfer-Encoding", "banana"),
    ]
) | st.tuples(st.just("Retry-After"), _RETRY_AFTER)


def _shot(mark: Mark, name: str, change: Callable[[Document, Truth], Any], detail: Any = None, **wire: Any) -> Shot:
    """A shot whose body is the true answer, changed."""

    def answer(truth: Truth, manner: Manner) -> Wire:
        changed = change(document_of(truth, manner), truth)
        return Wire(changed if isinstance(changed, bytes) else encoded(changed), **wire)

    return Shot(mark, name, answer, detail)


def _is_full(record: Any) -> bool:
    return isinstance(record, dict) and bool(record)


def _rows(document: Document) -> list[Any]:
    """Return the records of every set."""
    return [row for value in document.values() if isinstance(value, list) for row in value if row]


def _sets_replaced(document: Document, sets: Mapping[str, Any]) -> Document:
    kept = {name: value for name, value in document.items() if name.lower() in ("retcode", "action")}
    return {**kept, **sets}


@st.composite
def _nothing_on_the_wire(draw: st.DrawFn) -> Shot:
    kind = draw(st.sampled_from(["closed", "cut", "no JSON", "status", "broken encoding", "truncated"]))
    if kind == "closed":
        return Shot("nothing", kind, lambda _truth, _manner: Wire(status=0))
    if kind == "no JSON":
        body = draw(st.binary(max_size=60) | _JSON.filter(lambda v: not isinstance(v, dict)).map(encoded))
        return Shot("nothing", kind, lambda _truth, _manner: Wire(body), body)
    if kind == "status":
        status = draw(st.sampled_from([201, 204, 206, 301, 302, 304, 400, 401, 403, 404, 418, 429, 500, 502, 599, 999]))
        header = draw(_HEADERS)
        return _shot("nothing", kind, lambda d, _: d, (status, header), status=status, headers=(header,))
    if kind == "broken encoding":
        return _shot("nothing", kind, lambda d, _: encoded(d), headers=(("Content-Encoding", "gzip"),))
    size = draw(st.integers(1, 60))
    if kind == "cut":
        return _shot("nothing", kind, lambda d, _: d, size, cut=size)
    return _shot("nothing", kind, lambda d, _: encoded(d)[:-size], size)


@st.composite
def _refusals(draw: st.DrawFn) -> Shot:
    code, message = draw(_RET_CODES), draw(_TEXT | st.none())
    header = draw(_HEADERS.filter(lambda h: h[0] == "Retry-After") | st.none())
    keeps = draw(st.booleans())

    def change(document: Document, _truth: Truth) -> Document:
        sets = {name: value for name, value in document.items() if keeps and name.lower() != "retcode"}
        return {**sets, "RetCode": code, "Message": message}

    return _shot("nothing", "refusal", change, (code, message), headers=(header,) if header else ())


@st.composite
def _digits(draw: st.DrawFn) -> Shot:
    """Numbers that few programs can read: as RetCode, as a field, as a count, as a member."""
    where = draw(st.sampled_from(["RetCode", "TotalCount", "Member", "ZoneId", "ImageSize", "Extra"]))
    nines = b"9" * 5000
    number = draw(st.sampled_from([nines, b"-" + nines, b"1e400", b"0." + nines, b"NaN", b"-Infinity"]))

    def change(document: Document, _truth: Truth) -> bytes:
        mark = "@@"
        if where in ("RetCode", "TotalCount", "Member"):
            document = {**document, where: mark}
        else:
            document = _each_record(lambda r: {**r, where: mark} if _is_full(r) else r)(document)
        return encoded(document).replace(b'"@@"', number)

    return _shot("nothing" if where == "RetCode" else "unclear", "digits", change, (where, number[:8]))


@st.composite
def _of_another(draw: st.DrawFn) -> Shot:
    kind = draw(st.sampled_from(["action", "action alone", "Zone", "Region", "ProjectId", "zone", "numbers"]))
    some = draw(st.integers(0, 2))

    def change(document: Document, truth: Truth) -> Document:
        less = {name: value[:some] if isinstance(value, list) else value for name, value in document.items()}
        less = {name: value for name, value in less.items() if name.lower() not in ("totalcount", "action")}
        region, zone, number = truth.neighbour
        match kind:
            case "action":
                return {**less, "Action": "DescribeImageResponse"}
            case "action alone":
                return {"RetCode": 0, "Action": "GetProjectListResponse", "ProjectSet": [{"ProjectId": "org-1"}]}
            case "Zone" | "zone":
                return {**less, kind: zone}
            case "Region":
                return {**less, "Region": f"{region}-other"}
            case "ProjectId":
                return {**less, "ProjectId": "org-other/a"}
        rows = [{"ImageId": i, "ImageName": f"Linux {i[-1]}", "ZoneId": number} for i in truth.neighbour_ids]
        return {"RetCode": 0, "Action": "DescribeUK8SImageResponse", "ImageSet": rows}

    return _shot("nothing", f"of another: {kind}", change, some)


@st.composite
def _not_understood(draw: st.DrawFn) -> Shot:
    garble, garbled = draw(st.sampled_from(_GARBLED)), draw(st.integers(0, 10))
    wraps: tuple[Callable[[list[Any]], Document], ...] = (
        lambda rows: {"ImageSet": [*map(garble, rows), *map(garble, rows)]},
        lambda rows: {"Data": {"ImageSet": rows}},
        lambda rows: {"Data": [[[rows]]]},
        lambda rows: {"UImages": rows, "Meta": {}},
        lambda rows: {"Result": {"a": {"b": rows}}, "Message": ""},
        lambda rows: {"ImageSet": [[rows], [rows], 5]},
        lambda rows: {"ImageSet": [1, 2, True, 4.5], "PHostImageSet": 7},
    )
    place = draw(st.integers(0, len(wraps) - 1))

    def change(document: Document, _truth: Truth) -> Document:
        return _sets_replaced(document, wraps[place]([r for r in _rows(document) if isinstance(r, dict)] or [{"a": 1}]))

    return _shot("nothing", "not understood", change, (place, _GARBLED.index(garble), garbled))


def _renamed(record: Any) -> Any:
    return {"UImageId" if name.lower() == "imageid" else name: value for name, value in record.items()}


_GARBLED: tuple[Callable[[Any], Any], ...] = (
    _renamed,
    lambda record: {**_renamed(record), "ImageId": None},
    lambda record: {**_renamed(record), "ImageId": ""},
    lambda record: {**_renamed(record), "ImageId": ["uimage"]},
    lambda record: {**_renamed(record), "ImageId": True},
    lambda record: [record],
    lambda _record: 3.5,
)


@st.composite
def _partial(draw: st.DrawFn) -> Shot:
    garble, keep = draw(st.sampled_from(_GARBLED)), draw(st.integers(1, 4))

    def change(document: Document, _truth: Truth) -> Document:
        kept = iter(range(1000))
        return _each_record(lambda r: garble(r) if _is_full(r) and next(kept) >= keep else r)(document)

    return _shot("partial", "some unreadable", change, (_GARBLED.index(garble), keep))


@st.composite
def _pages(draw: st.DrawFn) -> Shot:
    name = draw(st.sampled_from(["TotalCount", "totalCount", "ImageSetCount", "NextToken", "HasMore"]))
    beyond, some, as_text = draw(st.sampled_from([5, 50, 2**40])), draw(st.integers(0, 2)), draw(st.booleans())

    def change(document: Document, _truth: Truth) -> Document:
        less = {key: value[:some] if isinstance(value, list) else value for key, value in document.items()}
        less = {key: value for key, value in less.items() if key.lower() != "totalcount"}
        if name == "HasMore":
            return {**less, name: "true" if as_text else True}
        count = beyond + len(_rows(document))
        return {**less, name: str(count) if as_text else count}

    return _shot("nothing", "a page", change, (name, beyond, some))


@st.composite
def _stated_twice(draw: st.DrawFn) -> Shot:
    """Answers of which a member comes twice, and the second time lists less, or another code."""
    name = draw(st.sampled_from(["ImageSet", "RetCode"]))
    is_first = draw(st.booleans())

    def change(document: Document, _truth: Truth) -> bytes:
        named = next((key for key, value in document.items() if isinstance(value, list)), name)
        other = {named: [{"ImageId": "uimage-twice"}]} if name == "ImageSet" else {name: 230}
        whole = {named: [], **document} if name == "ImageSet" else document
        parts = (other, whole) if is_first else (whole, other)
        return b"{" + b",".join(encoded(part)[1:-1] for part in parts) + b"}"

    return _shot("nothing", "stated twice", change, (name, is_first))


@st.composite
def _with_oddities(draw: st.DrawFn) -> Shot:
    """The true answer with something beside it that has to be borne, or refused, and harms nobody."""
    kind = draw(st.sampled_from(["member", "field", "deep", "text", "large", "header", "gzip", "bomb", "twice"]))
    junk, text, header = draw(_JSON), draw(_TEXT), draw(_HEADERS)
    depth = draw(st.sampled_from([50, 600, 20_000]))

    def change(document: Document, _truth: Truth) -> Any:
        match kind:
            case "member":
                return {**document, "Beside": junk, text or "x": [junk]} if text not in document else document
            case "field":
                return _each_record(lambda r: {**r, "Beside": junk} if _is_full(r) else r)(document)
            case "deep":
                return encoded({**document, "Deep": "@@"}).replace(b'"@@"', b"[" * depth + b"]" * depth)
            case "text":
                return _each_record(lambda r: {**r, "ImageName": text} if _is_full(r) else r)(document)
            case "large":
                return encoded(document) + b" " * 2_000_000
            case "gzip":
                return gzip.compress(encoded(document))
            case "bomb":
                return _bomb(encoded({**document, "Beside": "@@"}), megabytes=40)
            case "twice":
                return encoded(document)[:-1] + b"," + encoded(document)[1:]
        return document

    headers = {"header": (header,), "gzip": (("Content-Encoding", "gzip"),), "bomb": (("Content-Encoding", "gzip"),)}
    mark: Mark = "true" if kind == "gzip" else "unclear"
    return _shot(mark, kind, change, (junk, text[:9], header, depth), headers=headers.get(kind, ()))


def _bomb(document: bytes, *, megabytes: int) -> bytes:
    """Compress a document that is large where `@@` stands, without ever holding it."""
    before, _, after = document.partition(b"@@")
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    parts = (before, *(b"a" * 2**20 for _ in range(megabytes)), after)
    return b"".join(map(packer.compress, parts)) + packer.flush()


@st.composite
def _looks_empty(draw: st.DrawFn) -> Shot:
    """Answers that may be read as lists without anything that is there."""
    kind = draw(st.sampled_from(["empty", "no sets", "neighbour", "junk", "counted", "one of many", "strangers"]))
    junk = draw(st.dictionaries(st.sampled_from(["ImageSet", "PHostImageSet", "Data", "RetCode2"]), _JSON, max_size=3))

    def change(document: Document, truth: Truth) -> Document:
        match kind:
            case "empty":
                return _sets_replaced(document, {"ImageSet": [], "PHostImageSet": None})
            case "counted":
                return _sets_replaced(document, {"ImageSet": [], "TotalCount": 0})
            case "neighbour":
                return _sets_replaced(document, {"ImageSet": list(truth.neighbour_ids)})
            case "strangers":
                rows = [{**record_of(truth, f"new-{i}"), "ImageName": f"Linux {i}"} for i in range(6)]
                return _sets_replaced(document, {"ImageSet": rows})
            case "junk":
                return _sets_replaced(document, junk)
            case "one of many":
                rows = [row for row in _rows(document) if isinstance(row, dict)]
                return _sets_replaced(document, {"CustomPHostImageSet": rows[:1]})
        return _sets_replaced(document, {})

    return _shot("empty", f"looks empty: {kind}", change, junk)


@st.composite
def _other_json(draw: st.DrawFn) -> Shot:
    """Any JSON object at all, with or without a RetCode of 0."""
    junk = draw(st.dictionaries(st.text(max_size=8), _JSON, max_size=4))
    is_good = draw(st.booleans())
    return _shot("empty", "any JSON", lambda _d, _t: {**junk, **({"RetCode": 0} if is_good else {})}, junk)


SHOTS: st.SearchStrategy[Shot] = st.one_of(
    _nothing_on_the_wire(),
    _refusals(),
    _digits(),
    _of_another(),
    _not_understood(),
    _partial(),
    _pages(),
    _stated_twice(),
    _with_oddities(),
    _looks_empty(),
    _other_json(),
)
TRUE = Shot("true", "true", lambda truth, manner: Wire(encoded(document_of(truth, manner))))
