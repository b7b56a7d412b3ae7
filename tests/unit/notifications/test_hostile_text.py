"""Nothing that came from the API is ever more than text in a mail."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.domain.text import cell, plain, width
from crawler.notifications.models import NotifiedState
from crawler.notifications.rendering.render import render
from tests.support.eventful import digest_of, eventful, mail
from tests.support.mails import ATTRIBUTES, ELEMENTS, content, parsed, part, read_html
from tests.support.reporting import Story

HOSTILE = [
    "<script>alert(1)</script>", "</td></tr></table><h1>", "<img src=x onerror=alert(1)>", '"><b>', "'><b>",
    "&lt;b&gt;", "&amp;&#60;b&#62;", "<!-- x", "--><b>", "<![endif]--><b>", "<!--[if mso]><b>", "]]>",
    "<style>*{display:none}</style>", "</style><b>", "</title><b>", "{{ 7*7 }}", "{% raw %}", "{zone}", "{0}",
    "%s%n", "${jndi:ldap://x}", "javascript:alert(1)", "http://evil.example/", "a\r\nBcc: victim@example.com",
    "a\r\n\r\nbody", "a\nb", "a\rb", "a\tb", "a\x0bb\x0cc\x85d", "a\u2028b\u2029c", "=cmd|' /C calc'!A0", "+1",
    "-1", "@SUM(1)", "\x00NUL\x00", "\x1b[31mred\x1b[0m", "\u202eevil\u202c", "\u2066x\u2069\u200f",
    "\u200b\ufeff\u2060", "\U000e0041\U000e0042", "Z" + "\u0300" * 500, "x" * 10_000, "字" * 10_000,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e8\U0001f1f3 \u2764\ufe0f", "\ud800lone\udfff",
    "\ufffe\uffff", "שלום עולם", "مرحبا", " ", "\ue000private", "=?utf-8?b?aGk=?=", "a" * 70 + "\u202e" * 20,
    "；【】，、", ".", "\\", "\x7f",
]  # fmt: skip


def test_there_are_fifty() -> None:
    """There are at least fifty of them, and each is another."""
    assert len(set(HOSTILE)) == len(HOSTILE) >= 50


HEADERS = [
    "Subject", "From", "To", "Date", "Message-ID", "In-Reply-To", "References", "List-Id", "Auto-Submitted",
    "X-Auto-Response-Suppress", "MIME-Version", "Content-Type", "Content-Language",
]  # fmt: skip


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:24])
def test_hostile_names(name: str, language: str) -> None:
    """A hostile name, id, project or message is text: no element, no header, no broken line, no live formula."""
    digest = digest_of(eventful(name, image_id=name or "x"), language=language)
    message = parsed(mail(digest))
    html, text = part(message, "html"), part(message, "plain")
    reader = read_html(html)

    assert (reader.elements - ELEMENTS, reader.attributes - ATTRIBUTES) == (set(), set())
    assert (reader.unbalanced, reader.open) == ([], [])
    assert content("".join(reader.text)) == content(text)
    assert message.keys() == HEADERS
    assert message.defects == []
    assert [inner.get_content_type() for inner in message.walk()][:3] == [
        "multipart/alternative", "text/plain", "text/html"
    ]  # fmt: skip
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]", text + "".join(reader.text))
    assert max(map(width, text.splitlines())) < 200
    assert len(message["Subject"]) < 200
    assert all(len(line) <= 998 for line in mail(digest).splitlines())
    for row in csv.reader(io.StringIO(render(digest).csv.decode("utf-8-sig"))):
        assert not any(value.startswith(("=", "+", "-", "@")) or "\n" in value for value in row)


@pytest.mark.parametrize(
    "name",
    [
        "=?utf-8?q?a=0D=0ABcc:_victim@example.com?=", "=?utf-8?b?YQ0KQmNjOiB4QGV4YW1wbGUuY29tDQoNCmJvZHk=?=",
        "=?utf-8?q?a=00=E2=80=AEb?=", "==??==?utf-8?q?=0A?=", "数据 =?utf-8?q?=0A_x?=",
    ],
)  # fmt: skip
def test_encoded_words_in_a_name(name: str) -> None:
    """A name that looks like an encoded word of a header is none in the subject, and ends no header."""
    story = Story()
    story.change("withdrawn", "uimage-a", name)
    digest = digest_of(story, 2, told=NotifiedState(introduced=True), pins=[])
    message = parsed(mail(digest))

    assert message.keys() == HEADERS
    assert message.defects == []
    assert message["Subject"].strip() == render(digest).subject.replace("=?", "= ?")


@settings(max_examples=200)
@given(st.text(st.characters(), max_size=300), st.integers(1, 100))
def test_plain(text: str, limit: int) -> None:
    """Whatever text comes, one short line without controls goes; what is plain already stays as it is."""
    line = plain(text, limit)

    assert len(line) <= limit
    assert line == line.strip()
    assert "\n" not in line
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in line)
    assert plain(line, limit) == line
    line.encode()
    assert not cell(text).startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))


@pytest.mark.parametrize(
    "name", ["Ubuntu 22.04", "CentOS 7.6 64位", "Windows Server 2022 数据中心版", "\U0001f468\u200d\U0001f469"]
)
def test_plain_names_stay(name: str) -> None:
    """Names as they are given in real life are shown as they are."""
    assert plain(name) == name
