"""
The channel `feishu`: a card of a Feishu (Lark) custom robot, signed with the robot's secret.

A robot says what it thinks of a message in the body, as `code`; the HTTP status is 200 for refusals as well. It takes
20 kB and knows no Message-ID, so a second copy looks like a second message there.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from crawler.client.redaction import Redaction
from crawler.domain.text import one_line
from crawler.notifications.channels.base import Message, Scope
from crawler.notifications.channels.http import (
    LIMITS,
    HookOptions,
    HookResponse,
    HttpChannel,
    failure,
    identity_of,
    message_of,
    refuse,
    view_of,
)
from crawler.notifications.i18n import WORDS
from crawler.notifications.i18n.phrases import Spans
from crawler.notifications.models import Digest
from crawler.notifications.rendering.lines import LineRow
from crawler.notifications.rendering.render import Section, Tone, View

#: The robot refuses more; signature and envelope included.
LARGEST_BODY = 20_000
#: What timestamp and signature add, at most.
_ENVELOPE = 200
#: Too many messages, or the robot's own trouble: worth another try.
_PASSING = frozenset({11232, 99991400})
#: The robot has no objection to us, but to this very card.
_ABOUT_THE_CARD = frozenset({9499, 11246, 230099})
_COLORS: dict[Tone, str] = {"alarm": "red", "bad": "red", "warn": "orange", "good": "green", "plain": "blue"}
#: What means something in the card's markdown, as the entity that shows it; a colon would begin an emoji or a link.
_SPECIAL = re.compile(r"[&<>*_~\[\]()#`\\!$|]|:(?![\s\d]|$)")


class FeishuChannel(HttpChannel):
    """Sends digests to one robot."""

    def compose(self, digest: Digest, to: Sequence[str], at: datetime, *, copy: str = "") -> Message:
        """Return the card that tells *digest*, cut to what the robot takes."""
        more = WORDS[digest.subscription.language].more
        for limits in LIMITS:
            seen = view_of(digest, limits)
            message = _message(digest, copy, seen, _elements(seen))
            if len(message.content) <= LARGEST_BODY - _ENVELOPE:
                return message
        blocks = _elements(seen)
        for kept in range(len(seen.sections) - 1, -1, -1):
            rest = _markdown(escaped(more.format(n=len(seen.sections) - kept)))
            message = _message(digest, copy, seen, [*blocks[:kept], rest])
            if len(message.content) <= LARGEST_BODY - _ENVELOPE:
                break
        return message

    def request(self, content: bytes) -> tuple[bytes, Mapping[str, str]]:
        """Return a card with its signature beside it."""
        message: dict[str, Any] = {"msg_type": "interactive", "card": json.loads(content)["card"]}
        if self.options.secret is not None:
            timestamp = str(int(self.clock().timestamp()))
            message = {"timestamp": timestamp, "sign": signature(timestamp, self.options.secret), **message}
        return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode(), {}

    def check(self, answer: HookResponse, sent: bytes) -> None:
        """Raise TransportError unless the robot says `code` 0."""
        _judge(answer, self.options, json.loads(sent).get("sign", ""))


def signature(timestamp: str, secret: str) -> str:
    """Return a robot's signature: an empty message, keyed with the timestamp, a line feed and the secret."""
    return base64.b64encode(hmac.new(f"{timestamp}\n{secret}".encode(), b"", hashlib.sha256).digest()).decode()


def escaped(text: str) -> str:
    """Return *text* so that the card's markdown shows it as it is."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found.group())};", text)


def _judge(answer: HookResponse, options: HookOptions, sign: str) -> None:
    document = answer.document()
    code = document.get("code")
    if not isinstance(code, int) or isinstance(code, bool):
        refuse(answer, options)
        raise failure(f"{options.name} did not say whether it took the card", permanent=False)
    if code == 0:
        return refuse(answer, options)
    said = _clean(str(document.get("msg") or ""), options, sign)
    scope: Scope = "message" if code in _ABOUT_THE_CARD else "recipient"
    is_passing = code in _PASSING or answer.status in (408, 429) or answer.status >= 500
    raise failure(
        f"{options.name} refused the card: code {code} {said}".rstrip(), permanent=not is_passing, scope=scope
    )


def _clean(text: str, options: HookOptions, sign: str) -> str:
    """Return what the robot said without what is secret, should it repeat that, nor the *sign* it was sent."""
    inside = re.split(r"[/?&=#]", options.url.partition("://")[2])[1:]
    return one_line(Redaction([*inside, options.secret or ""]).text(text, sign))


# --- the card --------------------------------------------------------------------------------------------------------


def _message(digest: Digest, copy: str, seen: View, elements: list[dict[str, Any]]) -> Message:
    tones = [section.tone for section in seen.sections]
    color = next((_COLORS[tone] for tone in _COLORS if tone in tones), "blue")
    card = {
        "config": {"wide_screen_mode": True},
        "header": {"template": color, "title": {"tag": "plain_text", "content": seen.subject}},
        "elements": elements,
    }
    document = {"message_id": identity_of(digest, copy), "subject": seen.subject, "card": card}
    return message_of(document, ascii_only=False)


def _elements(seen: View) -> list[dict[str, Any]]:
    """Return one block per section, and the footer as a note."""
    note = {"tag": "note", "elements": [{"tag": "plain_text", "content": line} for line in seen.footer]}
    return [*(_markdown(_section(section, seen)) for section in seen.sections), note]


def _markdown(text: str) -> dict[str, Any]:
    return {"tag": "markdown", "content": text}


def _section(section: Section, seen: View) -> str:
    left, right = seen.brackets
    title = f"**{escaped(section.title)}**"
    lines = [f"{title}{escaped(f'{left}{section.note}{right}')}" if section.note else title]
    for row in section.rows:
        lines += [f"• {_row(row)}", *(f"　{_words(more)}" for more in row.more)]
    return "\n".join([*lines, *([escaped(section.rest)] if section.rest else [])])


def _row(row: LineRow) -> str:
    where = f"**{escaped(row.where)}**" if row.where.strip() else ""
    return "  ".join(part for part in (where, escaped(row.name), _words(row.what), escaped(row.tail)) if part)


def _words(pieces: Spans) -> str:
    return "".join(
        f"**{escaped(piece.text)}**" if piece.kind == "strong" and piece.text.strip() else escaped(piece.text)
        for piece in pieces
    )
