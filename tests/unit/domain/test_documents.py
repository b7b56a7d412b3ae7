"""The members of a JSON object: what `json.loads` says, with the nested ones decoded later, and none of two lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.domain.parsing import Unread, members, read
from crawler.errors import NotUnderstood

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


TWICE = "a member comes twice"


def decoded(body: bytes) -> dict[str, Any] | str | None:
    try:
        found = members(body)
        return None if found is None else {name: read(value) for name, value in found.items()}
    except NotUnderstood as exc:
        return TWICE if "twice" in str(exc) else str(exc)


def expected(body: bytes) -> dict[str, Any] | str | None:
    is_twice = False

    def note_twice(members: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal is_twice
        last = dict(members)
        is_twice = is_twice or any(value is not last[name] and value != last[name] for name, value in members)
        return last

    try:
        document = json.loads(body, object_pairs_hook=note_twice)
    except ValueError:
        return None
    return TWICE if is_twice else document if isinstance(document, dict) else None


def same(first: object, second: object) -> bool:
    """Equal, and of the same types at any depth; NaN is NaN."""
    return repr(first) == repr(second)


@given(VALUES, st.booleans())
def test_members_are_what_json_says(value: Any, is_ascii: bool) -> None:
    """Every JSON value in every writing gives what `json.loads` gives; what is no object gives None."""
    for document in (value, {"RetCode": 0, "ImageSet": value}):
        body = json.dumps(document, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
        assert same(decoded(body), expected(body))


@given(VALUES, st.data())
def test_damaged_bodies(value: Any, data: st.DataObject) -> None:
    """A body that was cut or changed anywhere is taken or refused as `json.loads` does, and where a member is lost."""
    body = bytearray(
        json.dumps({"RetCode": 0, "ImageSet": [value, "名"]}, ensure_ascii=False).encode("utf-8", "replace")
    )
    place = data.draw(st.integers(0, len(body) - 1))
    damaged = bytes(body[:place]) if data.draw(st.booleans()) else b""
    if not damaged:
        body[place] = data.draw(st.integers(0, 255))
        damaged = bytes(body)
    assert same(decoded(damaged), expected(damaged))


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"a": [1]}',  # a byte order mark
        '{"a": ["名"]}'.encode("utf-16"),
        b'{"a": [NaN, Infinity]}',
        b'{"a": ["\\ud800"]}',  # half a surrogate pair
        b'{"a": ["\xff"]}',  # not UTF-8, inside of what stays unread
        b'{"a": ["\xed\xa0\x80"]}',
        b'{"a": [123456789012345678901234567890, 1e999, -0.0]}',
        b'{"a": [1], "a": [2]}',  # of which one would be lost
        b'{"a": [1], "b": {"c": 1, "c": 1}, "a": [1]}',
        b' \n{"a" : {"b": [1]} } \n',
        b'{"a": [01]}',
        b'{"a": ["\t"]}',
        b'{"a": [1,]}',
        b'{"a": [1]} x',
        b"[1]",
        b'"text"',
        b"",
    ],
)
def test_oddities(body: bytes) -> None:
    """What `json` takes and others do not is taken; what it refuses is refused."""
    assert same(decoded(body), expected(body))


def test_only_lists_and_objects_are_put_off() -> None:
    """Everything else among the members is decoded at once; reading what is decoded gives it back."""
    found = members(b'{"RetCode": 0, "Message": "", "ImageSet": [{"ImageId": "a"}], "More": {}, "Nothing": null}')
    assert found is not None
    assert {name: isinstance(value, Unread) for name, value in found.items()} == {
        "RetCode": False, "Message": False, "ImageSet": True, "More": True, "Nothing": False,
    }  # fmt: skip
    assert read(found["ImageSet"]) == [{"ImageId": "a"}]
    assert read(read(found["ImageSet"])) == [{"ImageId": "a"}]


def test_depth() -> None:
    """An object nested deeper than can be decoded is no object; a part of one that is cannot be understood."""
    nested = b"[" * 100_000 + b"]" * 100_000
    assert members(b'{"a": ' + nested + b"}") is None
    with pytest.raises(NotUnderstood) as caught:
        read(Unread(nested))
    assert str(caught.value) == "the answer is nested too deeply to be read"


def test_a_number_of_thousands_of_digits() -> None:
    """A part that holds an integer of more digits than Python reads cannot be understood, and the error says why."""
    assert read(Unread(b"[" + b"9" * 4_000 + b"]")) == [10**4_000 - 1]
    with pytest.raises(NotUnderstood) as caught:
        read(Unread(b"[" + b"9" * 5_000 + b"]"))
    assert str(caught.value) == "the answer holds a number that is too long to be read"
