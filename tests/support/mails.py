"""Reads mails as their receivers do: parsed by the standard library, nothing of ours."""

from __future__ import annotations

import re
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from html.parser import HTMLParser

#: What only arranges: columns, section marks, brackets around a note.
_ARRANGEMENT = re.compile(r"[\s【】（）()]+")
_VOID = {"meta", "br", "img", "hr", "link", "input"}
#: Every element a mail of ours is made of.
ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "table", "tbody", "tr", "td", "p", "div", "span", "strong", "bdi"
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "name", "content", "class", "style", "role", "width", "cellpadding", "cellspacing", "border",
    "align", "valign", "data-css-inline",
}  # fmt: skip


def parsed(raw: bytes) -> EmailMessage:
    """Parse a mail as it went over the wire."""
    message = BytesParser(policy=policy.default).parsebytes(raw)
    assert isinstance(message, EmailMessage)
    return message


def part(message: EmailMessage, subtype: str) -> str:
    """Return the text of the `plain` or `html` part."""
    found = message.get_body((subtype,))
    assert found is not None
    text: str = found.get_content()
    return text.replace("\r\n", "\n")


class Reader(HTMLParser):
    """Collects what a reader sees of an HTML document, and every element and attribute it is made of."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text: list[str] = []
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.unbalanced: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if "head" not in self.open:
            self.text.append(data)


def read_html(html: str) -> Reader:
    """Read a whole document."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


def content(text: str) -> str:
    """Return what *text* says, without what only arranges it."""
    return _ARRANGEMENT.sub("", text)
