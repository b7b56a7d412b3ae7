"""
Takes the packing off an answer piece by piece.

A thousand bytes on the wire can be a million unpacked, so no more is unpacked at once than the caller wants to hold.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

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
