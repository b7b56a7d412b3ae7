"""Unpacking piece by piece gives what was packed, never more at once than a piece, and says when the end is missing."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.client.responses import PIECE_BYTES, Damaged, UnknownPacking, Unpacker

WINDOWS = {"gzip": 31, "x-gzip": 31, "GZIP ": 31, "deflate": 15, "deflate of some servers": -15}


def packed(body: bytes, window: int) -> bytes:
    packer = zlib.compressobj(wbits=window)
    return packer.compress(body) + packer.flush()


def unpacked(encoding: str, *chunks: bytes) -> bytes:
    unpacker = Unpacker(encoding)
    pieces = [piece for chunk in chunks for piece in unpacker.feed(chunk)]
    unpacker.end()
    assert all(len(piece) <= PIECE_BYTES for piece in pieces) or not encoding
    return b"".join(pieces)


@given(st.binary(max_size=2_000), st.sampled_from(sorted(WINDOWS)), st.integers(1, 200), st.integers(1, 300))
def test_it_gives_what_was_packed(text: bytes, name: str, times: int, cut: int) -> None:
    """Whatever the packing, the size of the parts it comes in, and how far it was pressed together."""
    body = text * times
    whole = packed(body, WINDOWS[name])
    chunks = [whole[start : start + cut] for start in range(0, len(whole), cut)]
    assert unpacked(name.split(" of ")[0], *chunks) == body


@pytest.mark.parametrize("encoding", ["", "identity"])
def test_what_is_not_packed_passes(encoding: str) -> None:
    """A body without packing is the body."""
    assert unpacked(encoding, b"a", b"b") == b"ab"


def test_members_of_gzip() -> None:
    """gzip may consist of several members, and an empty body of none."""
    assert unpacked("gzip", packed(b"a", 31) + packed(b"b", 31)) == b"ab"
    assert unpacked("gzip") == b""


@pytest.mark.parametrize("whole", [packed(b"abc" * 99, 31)[:-1], b"hello", packed(b"abc", 31) + b"!"])
def test_damage_is_told(whole: bytes) -> None:
    """A packing without its end, or that is none, is damaged."""
    with pytest.raises(Damaged):
        unpacked("gzip", whole)


def test_other_packings_are_refused() -> None:
    """Only what was asked for is unpacked."""
    with pytest.raises(UnknownPacking):
        Unpacker("br")


@pytest.mark.parametrize("name", sorted(WINDOWS))
def test_the_end_lies_behind_a_full_piece(name: str) -> None:
    """What does not fit into a piece may be all that is left: the last byte held the end too, and nothing is cut."""
    for more in range(300):
        body = b"a" * (PIECE_BYTES + more)
        assert unpacked(name.split(" of ")[0], packed(body, WINDOWS[name])) == body
