"""
Keys and signatures taken out of what the other side says, however it writes them. Pure.

A gateway may repeat the request it got: as it came (url-encoded), decoded, inside JSON or HTML, escaped once more by
whatever stands in between, as base64, or cut. So a text is read in layers, each with the escapes of the one before
undone, and what is found in any of them is taken out of the text itself. JSON stays JSON.
"""

from __future__ import annotations

import html
import re
from array import array
from base64 import b64encode
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence

from crawler.errors import NotUnderstood

MARK = b"[redacted]"
#: A shorter secret would blot out ordinary words.
SHORTEST = 8
#: So much of a secret's beginning is taken for the secret: the other side may have cut it.
BEGINNING = 12

#: Escapes of one text that are undone; a whole zone written in escapes has some ten thousand.
MAX_ESCAPES = 100_000

_LAYERS = 5
#: A character as URLs, JSON, Python's repr and HTML write it; the last is what JSON and shells put a backslash before.
_ESCAPE = re.compile(
    rb"""%[0-9a-f]{2} | [%\\]u00[0-9a-f]{2} | \\x[0-9a-f]{2}
    | &\#(?:[0-9]{1,7}|x[0-9a-f]{1,6});? | &[a-z]{2,8}; | \\[\\/"'&%@=]""",
    re.IGNORECASE | re.VERBOSE,
)
#: What stands for a signature beside its name, whoever signed; in lower case. No escape of JSON is torn apart, and no
#: text can be read in two ways, or a long one would be read in all of them.
_SIGNED = re.compile(rb"signature(?:\\u[0-9a-f]{4}|\\(?!u[0-9a-f]{4})|[^\\]){0,40}?([0-9a-f]{40,64})", re.DOTALL)
_WORD = re.compile(rb"[a-z0-9]+", re.IGNORECASE)
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{8,}=*")


class Redaction:
    """Takes the secrets of one account, or of one way to people, out of texts."""

    def __init__(self, secrets: Iterable[str], *, shortest: int = SHORTEST) -> None:
        """*secrets*: those shorter than *shortest* characters are left alone but in base64, beside their name."""
        kept = list(dict.fromkeys(secret.encode() for secret in secrets if len(secret) >= shortest))
        self._secrets = [secret.lower() for secret in kept]
        self._traces = [_trace(secret) for secret in self._secrets]
        self._cores = [core for text in (b"Signature", b"PublicKey", *kept) for core in _cores(text)]

    def text(self, said: str, signature: str = "") -> str:
        """Return *said* without the secrets and without *signature*."""
        return self.body(said.encode("utf-8", "surrogatepass"), signature.encode()).decode("utf-8", "surrogatepass")

    def body(self, said: bytes, signature: bytes = b"") -> bytes:
        """
        Return *said*, in UTF-8 or ASCII, without the secrets and without *signature*; mostly *said* itself.

        Raises NotUnderstood where it holds more than MAX_ESCAPES escapes, behind any of which a secret may be.
        """
        cores = [*self._cores, *_cores(signature)] if signature else self._cores
        secrets = [*self._secrets, signature.lower()] if signature else self._secrets
        if not self._is_suspect(said, signature, cores):
            return said
        pieces, end = [], 0
        for start, stop in sorted(_spans(said, secrets, cores, _LAYERS)):
            if start >= end:
                pieces += [said[end:start], MARK]
            end = max(end, stop)
        return b"".join([*pieces, said[end:]])

    def _is_suspect(self, said: bytes, signature: bytes, cores: Sequence[bytes]) -> bool:
        """Tell in little time whether *said* has to be looked at: nearly no answer has."""
        lowered = said.lower()
        traces = [*self._traces, b"signature", *([_trace(signature.lower())] if signature else [])]
        return (
            # where letters and digits may be written as escapes; one character is found much faster than two
            b"%" in said
            or (b"\\" in said and (b"\\u00" in lowered or b"\\x" in lowered))
            or (b"&" in said and b"&#" in said)
            or any(trace in lowered for trace in traces)
            or any(core in said for core in cores)
        )


def _trace(secret: bytes) -> bytes:
    """Return what of the beginning of *secret* every common escaping leaves as it is."""
    beginning = secret[:BEGINNING]
    return max(_WORD.findall(beginning), key=len, default=beginning)


def _cores(text: bytes) -> list[bytes]:
    """Return how base64 writes the longest word of *text* at each of the three places that a word may begin at."""
    word = max(_WORD.findall(text), key=len, default=b"")
    word = word if len(word) >= SHORTEST else text
    shifted = [word[skipped : len(word) - (len(word) - skipped) % 3] for skipped in range(3)]
    return [b64encode(part) for part in shifted if len(part) >= SHORTEST - 2]


def _spans(text: bytes, secrets: Sequence[bytes], cores: Sequence[bytes], layers: int) -> Iterator[tuple[int, int]]:
    """Yield where *text*, or what its escapes mean, holds a secret: begin and end in *text*."""
    lowered = text.lower()
    for secret in secrets:
        yield from _found(lowered, secret)
    yield from (match.span(1) for match in _SIGNED.finditer(lowered))
    if any(core in text for core in cores):
        yield from _encoded(text, cores)
    plain, origin = _unescaped(text)
    if layers and plain != text:
        yield from ((origin(start), origin(end)) for start, end in _spans(plain, secrets, cores, layers - 1))


def _found(text: bytes, secret: bytes) -> Iterator[tuple[int, int]]:
    """Yield where *text* holds *secret*, or its beginning."""
    start = text.find(secret[:BEGINNING])
    while start >= 0:
        there = text[start : start + len(secret)]
        end = start + next(
            (i for i, pair in enumerate(zip(there, secret, strict=False)) if pair[0] != pair[1]), len(there)
        )
        yield start, end
        start = text.find(secret[:BEGINNING], end)


def _encoded(text: bytes, cores: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Yield where *text* holds base64 with one of *cores* in it, whole."""
    for match in _BASE64.finditer(text):
        if any(core in match.group() for core in cores):
            start = match.start()
            if text[start - 1 : start] == b"\\":  # it begins with the rest of an escape such as \n or \u003d
                start += 5 if text[start : start + 1] == b"u" else 1
            yield start, match.end()


def _unescaped(text: bytes) -> tuple[bytes, Callable[[int], int]]:
    """Return *text* with one layer of escapes undone, and what gives the place in *text* of a place in that."""
    pieces: list[bytes] = []
    places, origins = array("q", [0]), array("q", [0])
    length = end = 0
    for count, match in enumerate(_ESCAPE.finditer(text)):
        if count == MAX_ESCAPES:
            raise NotUnderstood(f"the answer holds more than {MAX_ESCAPES:,} escapes, which is more than are undone")
        meant = _meaning(match.group())
        length += match.start() - end
        places.extend((length, length + len(meant)))
        origins.extend((match.start(), match.end()))
        pieces += [text[end : match.start()], meant]
        length += len(meant)
        end = match.end()

    def origin(place: int) -> int:
        index = bisect_right(places, place) - 1
        return origins[index] + place - places[index]

    return b"".join([*pieces, text[end:]]), origin


def _meaning(escape: bytes) -> bytes:
    if escape[:1] == b"&":
        return html.unescape(escape.decode("ascii")).encode("utf-8", "replace")
    if len(escape) == 2:
        return escape[1:]
    return bytes([int(escape[-2:], 16)])
