"""One HTTP answer and what it says: a document, or a refusal with its class and a sentence for people. No I/O."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

from crawler.client.retry import THROTTLED, AnswerClass, classify_ret_code, explain, http_date
from crawler.domain.parsing import members
from crawler.domain.text import one_line
from crawler.domain.values import integer

#: How much of a page that is no JSON is shown.
EXCERPT_CHARACTERS = 120
MESSAGE_CHARACTERS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back for one attempt, whatever it says."""

    status: int
    body: bytes
    body_hash: bytes
    request_uuid: str
    retry_after_seconds: float | None
    received_at: datetime
    #: The Date header.
    date: str = ""
    #: What the answer came through; empty: nothing that may have made it up.
    proxy: str = ""

    @property
    def served_at(self) -> datetime | None:
        """Return the server's own time; None when it states none that makes sense."""
        return http_date(self.date)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why an attempt gave no document."""

    failure_class: AnswerClass
    message: str
    ret_code: int | None = None
    request_uuid: str = ""
    #: RetCode 153 or HTTP 429: one request too many.
    is_throttled: bool = False
    #: Nothing was answered at all: refused, reset, cut, timed out.
    is_network: bool = False
    retry_after_seconds: float | None = None


def read_answer(answer: Answer, action: str) -> Mapping[str, Any] | Refusal:
    """
    Return the members of a good *answer* to *action* (HTTP 200, RetCode 0), or the refusal that it is.

    Lists and objects among the members are `Unread`.
    """
    document = members(answer.body)
    ret_code = _ret_code(document)
    if answer.status == HTTPStatus.OK and document is not None and ret_code == 0:
        return document
    is_throttled = answer.status == HTTPStatus.TOO_MANY_REQUESTS or ret_code == THROTTLED
    return Refusal(
        failure_class=_class(answer.status, ret_code, is_throttled),
        message=_message(answer, document, ret_code, action),
        ret_code=ret_code,
        request_uuid=answer.request_uuid,
        is_throttled=is_throttled,
        retry_after_seconds=answer.retry_after_seconds,
    )


def field_of(row: Mapping[str, Any], name: str) -> Any:
    """Return the value of *name* in a JSON object, whose keys may differ in case; None when it is missing."""
    if name in row:
        return row[name]
    folded = name.casefold()
    return next((value for key, value in row.items() if key.casefold() == folded), None)


def _ret_code(document: dict[str, Any] | None) -> int | None:
    return None if document is None else integer(field_of(document, "RetCode"))


def _class(status: int, ret_code: int | None, is_throttled: bool) -> AnswerClass:
    if is_throttled or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "transient"
    if ret_code is not None and ret_code != 0:
        return classify_ret_code(ret_code)
    return "transient" if status == HTTPStatus.OK else "defect"


def _message(answer: Answer, document: dict[str, Any] | None, ret_code: int | None, action: str) -> str:
    prefix = "" if answer.status == HTTPStatus.OK else f"HTTP {answer.status}{_phrase(answer.status)}: "
    if document is None:
        excerpt = _first_line(answer.body)
        via = f" (it came through the proxy {answer.proxy})" if answer.proxy else ""
        said = f"the answer is not a JSON object: {excerpt}" if excerpt else "the answer is empty"
        return f"{prefix}{said}{via}"
    stated = field_of(document, "Message")
    text = one_line(stated, MESSAGE_CHARACTERS) if isinstance(stated, str) else ""
    if ret_code is None:
        is_stated = field_of(document, "RetCode") is not None
        fault = "the RetCode of the answer is no number" if is_stated else "the answer states no RetCode"
        return f"{prefix}{fault}{': ' + text if text else ''}"
    meaning = explain(ret_code, action)
    return f"{prefix}{text or 'no message'} (RetCode {ret_code}{': ' + meaning if meaning else ''})"


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def _first_line(body: bytes) -> str:
    lines = body[:4096].decode("utf-8", "replace").splitlines()
    return next((line for line in (one_line(line, EXCERPT_CHARACTERS) for line in lines) if line), "")


# --- the packing of a body -------------------------------------------------------------------------------------------


#: What is asked for, and understood.
ACCEPTED = "gzip, deflate"
#: The most that one piece holds.
PIECE_BYTES = 64 * 1024

_WITH_GZIP_HEADER = 16 + zlib.MAX_WBITS


class UnknownPacking(ValueError):
    """The answer is packed in a way that nobody asked for."""


class Damaged(ValueError):
    """The packing is damaged, or its end is missing."""


class Unpacker:
    """Unpacks the body of one answer, whose `Content-Encoding` is *encoding*."""

    def __init__(self, encoding: str) -> None:
        """Raise UnknownPacking for an encoding other than those of ACCEPTED, and none."""
        self._encoding = encoding.strip().lower()
        if self._encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise UnknownPacking(self._encoding)
        self._is_packed = self._encoding not in ("", "identity")
        self._stream: zlib._Decompress | None = None

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """Yield what *packed*, the next bytes of the body, holds, in pieces; raise Damaged."""
        if not self._is_packed:
            yield packed
            return
        while packed:
            if self._stream is None:
                self._stream = zlib.decompressobj(self._window(packed))
            try:
                piece = self._stream.decompress(packed, PIECE_BYTES)
            except zlib.error as exc:
                raise Damaged(str(exc)) from exc
            yield piece
            packed = self._stream.unconsumed_tail
            if self._stream.eof:
                # gzip may go on with another member
                packed = self._stream.unused_data
                self._stream = None
            elif not packed and len(piece) == PIECE_BYTES:
                yield from self._held_back(self._stream)
                if self._stream.eof:  # the end was in the last byte, behind what did not fit
                    self._stream = None

    def end(self) -> None:
        """Raise Damaged when the end of the packing is missing."""
        if self._stream is not None:
            raise Damaged("the end is missing")

    def _window(self, packed: bytes) -> int:
        if self._encoding != "deflate":
            return _WITH_GZIP_HEADER
        # Some servers send deflate without the header of zlib that the standard wants.
        return zlib.MAX_WBITS if packed[0] & 0x0F == zlib.DEFLATED else -zlib.MAX_WBITS

    @staticmethod
    def _held_back(stream: zlib._Decompress) -> Iterator[bytes]:
        """Yield what was unpacked already and did not fit into the last piece."""
        while piece := stream.decompress(b"", PIECE_BYTES):
            yield piece
