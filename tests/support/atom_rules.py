"""What RFC 4287 demands of a feed document; each rule names its section."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from xml.etree.ElementTree import Element, fromstring

ATOM = "{http://www.w3.org/2005/Atom}"
XML = "{http://www.w3.org/XML/1998/namespace}"
XHTML_DIV = "{http://www.w3.org/1999/xhtml}div"
#: How often an element may stand in another: least, most.
ONE, MAY, MANY = (1, 1), (0, 1), (0, 10**9)
METADATA = {
    "author": MANY,
    "category": MANY,
    "contributor": MANY,
    "id": ONE,
    "link": MANY,
    "rights": MAY,
    "title": ONE,
    "updated": ONE,
}
CHILDREN = {
    "feed": {**METADATA, "generator": MAY, "icon": MAY, "logo": MAY, "subtitle": MAY, "entry": MANY},  # 4.1.1
    "entry": {**METADATA, "content": MAY, "published": MAY, "source": MAY, "summary": MAY},  # 4.1.2
    "author": {"name": ONE, "uri": MAY, "email": MAY},  # 3.2
    "contributor": {"name": ONE, "uri": MAY, "email": MAY},
}
#: Attributes that an element may have beside xml:base and xml:lang; True: has to.
ATTRIBUTES = {
    "category": {"term": True, "scheme": False, "label": False},  # 4.2.2
    "link": {"href": True, "rel": False, "type": False, "hreflang": False, "title": False, "length": False},  # 4.2.7
    "content": {"type": False, "src": False},  # 4.1.3
    "generator": {"uri": False, "version": False},  # 4.2.4
    **{name: {"type": False} for name in ("title", "subtitle", "summary", "rights")},  # 3.1
}
TEXTS, DATES, IRIS = {"title", "subtitle", "summary", "rights"}, {"updated", "published"}, {"uri", "icon", "logo"}
#: RFC 3339 with capital T and Z, as 3.3 wants it.
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
IRI = re.compile(r"(?:[^\s<>\"{}|\\^`%]|%[0-9A-Fa-f]{2})+")
ABSOLUTE = re.compile(rf"[A-Za-z][A-Za-z0-9+.-]*:{IRI.pattern}")
LANGUAGE = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*")
MEDIA = re.compile(r"[^\s/]+/[^\s/]+")


def faults(body: bytes) -> list[str]:
    """Return what is wrong with a feed document, one sentence each; a document that is no XML raises ParseError."""
    root = fromstring(body)
    if root.tag != f"{ATOM}feed":
        return [f"the root is {root.tag}"]
    return [*_element(root), *_feed(root)]


def _feed(root: Element) -> Iterator[str]:
    entries = _all(root, "entry")
    if not _all(root, "author") and not all(_all(entry, "author") for entry in entries):
        yield "4.1.1: neither the feed nor every entry has an author"
    names = [child.tag for child in root]
    if entries and f"{ATOM}entry" in names and names[names.index(f"{ATOM}entry") :] != [f"{ATOM}entry"] * len(entries):
        yield "appendix B: something stands after the first entry"
    for one, count in Counter((_text(entry, "id"), _text(entry, "updated")) for entry in entries).items():
        if count > 1:
            yield f"4.1.1: {count} entries have the id and the date {one}"
    if f"{XML}lang" not in root.attrib:
        yield "2: the language of the texts is not said"
    for entry in entries:
        yield from _entry(entry)


def _entry(entry: Element) -> Iterator[str]:
    content = entry.find(f"{ATOM}content")
    alternates = [link for link in _all(entry, "link") if link.get("rel", "alternate") == "alternate"]
    if content is None and not alternates:
        yield "4.1.1.1: an entry has neither content nor an alternate"
    if content is not None and content.get("src") is not None and not _all(entry, "summary"):
        yield "4.1.2: content from elsewhere has no summary"


def _element(element: Element) -> Iterator[str]:
    name = element.tag.removeprefix(ATOM)
    yield from _attributes(name, element)
    if (allowed := CHILDREN.get(name)) is not None:
        yield from _children(name, element, allowed)
        return
    text = element.text or ""
    if name == "content" and element.get("src") is not None:
        if len(element) or text:
            yield "4.1.3.2: content from elsewhere is not empty"
    elif name in TEXTS or name == "content":
        yield from _construct(name, element)
    elif len(element) and name != "link":
        yield f"{name} has elements in it"
    elif name in DATES and not _is_date(text):
        yield f"3.3: {name} is {text!r}"
    elif name == "id" and not ABSOLUTE.fullmatch(text):
        yield f"4.2.6: id is {text!r}"
    elif name in IRIS and not IRI.fullmatch(text):
        yield f"{name} is {text!r}"
    elif name == "email" and not re.fullmatch(r".+@.+", text):
        yield f"3.2.3: email is {text!r}"


def _children(name: str, element: Element, allowed: dict[str, tuple[int, int]]) -> Iterator[str]:
    found = Counter(child.tag.removeprefix(ATOM) for child in element if child.tag.startswith(ATOM))
    for child in sorted({*found, *allowed}):
        least, most = allowed.get(child, (0, 0))
        if not least <= found[child] <= most:
            yield f"{name} has {found[child]} of {child}"
    alternates = Counter(
        (link.get("type"), link.get("hreflang"))
        for link in _all(element, "link")
        if link.get("rel", "alternate") == "alternate"
    )
    if any(count > 1 for count in alternates.values()):
        yield f"4.1.1: {name} has two alternates of one type and language"
    if (element.text or "").strip() or any((child.tail or "").strip() for child in element):
        yield f"{name} has text between its elements"
    for one in element:
        if one.tag.startswith(ATOM):
            yield from _element(one)


def _attributes(name: str, element: Element) -> Iterator[str]:
    allowed = ATTRIBUTES.get(name, {})
    own = {key: value for key, value in element.attrib.items() if not key.startswith("{")}
    yield from (f"{name} has an attribute {key}" for key in own if key not in allowed)
    yield from (f"{name} has no {key}" for key, must in allowed.items() if must and not own.get(key))
    for key in ("href", "src", "scheme", "uri"):
        if key in own and not IRI.fullmatch(own[key]):
            yield f"{name}: {key} is {own[key]!r}"
    for language in (own.get("hreflang"), element.get(f"{XML}lang")):
        if language is not None and not LANGUAGE.fullmatch(language):
            yield f"{name}: {language!r} is no language"
    if name == "link" and "type" in own and not MEDIA.fullmatch(own["type"]):
        yield f"4.2.7.3: link has the type {own['type']!r}"
    if own.get("rel") == "":
        yield "4.2.7.2: rel is empty"


def _construct(name: str, element: Element) -> Iterator[str]:
    kind = element.get("type", "text")
    if kind in ("text", "html"):
        if len(element):
            yield f"3.1.1: {name} of {kind} has elements in it"
    elif kind == "xhtml":
        if [child.tag for child in element] != [XHTML_DIV]:
            yield f"3.1.1.3: {name} is not one div"
    elif name != "content" or not MEDIA.fullmatch(kind):
        yield f"3.1.1: {name} has the type {kind!r}"


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return DATE.fullmatch(text) is not None


def _all(element: Element, name: str) -> list[Element]:
    return element.findall(f"{ATOM}{name}")


def _text(element: Element, name: str) -> str | None:
    return element.findtext(f"{ATOM}{name}")
