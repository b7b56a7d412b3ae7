"""What an HTTP answer says: a document, or a refusal with its class and a sentence."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from crawler.client.responses import Answer, Refusal, field_of, read_answer
from crawler.domain.values import integer

ACTION = "DescribeUK8SImage"


def answer(body: object, status: int = 200) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(
        status=status,
        body=raw,
        body_hash=b"",
        request_uuid="uuid-7",
        retry_after_seconds=None,
        received_at=datetime(2026, 6, 1, tzinfo=UTC),
    )


def refusal(body: object, status: int = 200) -> Refusal:
    result = read_answer(answer(body, status), ACTION)
    assert isinstance(result, Refusal)
    return result


@pytest.mark.parametrize(
    "body", [{"RetCode": 0}, {"RetCode": "0"}, {"retcode": 0}, {"RETCODE": " 0 "}, b'\xef\xbb\xbf{"RetCode":0}']
)
def test_good(body: object) -> None:
    """RetCode 0 is good as a number or as text, whatever the case of its key."""
    assert not isinstance(read_answer(answer(body), ACTION), Refusal)


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        ({"RetCode": 153, "Message": "slow down"}, 200, "transient"),
        ({"RetCode": "230"}, 200, "denied"),
        ({"RetCode": 174}, 200, "credential"),
        ({"RetCode": 161}, 200, "defect"),
        # an answer of the wrong shape may be a proxy's, or cut
        (b"", 200, "transient"),
        (b"<html>", 200, "transient"),
        (b'{"RetCode": 0, "Imag', 200, "transient"),
        ([1], 200, "transient"),
        ({}, 200, "transient"),
        ({"RetCode": True}, 200, "transient"),
        ({"RetCode": None}, 200, "transient"),
        (b"[" * 100_000, 200, "transient"),
        # the status speaks first
        ({"RetCode": 0}, 500, "transient"),
        ({"RetCode": 171}, 503, "transient"),
        (b"too many", 429, "transient"),
        (b"", 302, "defect"),
        (b"not here", 404, "defect"),
        ({"RetCode": 0}, 404, "defect"),
        ({"RetCode": 171}, 401, "credential"),
        (b"", 599, "transient"),
    ],
)
def test_classes(body: object, status: int, expected: str) -> None:
    """Status and RetCode together give the class."""
    assert refusal(body, status).failure_class == expected


@pytest.mark.parametrize(("body", "status"), [({"RetCode": 153}, 200), (b"", 429), ({"RetCode": 153}, 500)])
def test_throttled(body: object, status: int) -> None:
    """RetCode 153 and HTTP 429 are the refusals of one request too many."""
    assert refusal(body, status).is_throttled


def test_message() -> None:
    """The sentence carries the provider's message, the code and what it usually means; the request id stands beside."""
    found = refusal({"RetCode": 174, "Message": "Token not found"})

    assert found.message == (
        "Token not found (RetCode 174: the key is unknown here, or the endpoint wants a `channel-key` header and it is "
        "missing or wrong)"
    )
    assert (found.ret_code, found.request_uuid) == (174, "uuid-7")


def test_page() -> None:
    """Of a page that is no JSON the first line is shown, short and without control characters."""
    found = refusal(b"\n\n  <html>\x1b[31m<title>Bad\x00 gateway</title>" + b"x" * 500 + b"\nsecond", 502)

    assert found.message.startswith("HTTP 502 Bad Gateway: the answer is not a JSON object: <html> [31m<title>Bad gate")
    assert found.message.endswith("x…")
    assert len(found.message) < 200


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 200, "the answer is empty"),
        (b"", 599, "HTTP 599: the answer is empty"),
        ({}, 200, "the answer states no RetCode"),
        ({"Message": "hm"}, 200, "the answer states no RetCode: hm"),
        ({"RetCode": 199}, 200, "no message (RetCode 199)"),
    ],
)
def test_little_said(body: object, status: int, message: str) -> None:
    """An answer that says little is told apart."""
    assert refusal(body, status).message == message


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3),
        ("3", 3),
        (" -3 ", -3),
        (3.0, 3),
        (True, None),
        ("x", None),
        (None, None),
        ([], None),
        (float("inf"), None),
    ],
)
def test_integer(value: object, expected: int | None) -> None:
    """Integers are read from text too, and nothing else is taken for one."""
    assert integer(value) == expected


def test_field_of() -> None:
    """The exact key wins over one that differs in case."""
    assert field_of({"zone": 1, "Zone": 2}, "Zone") == 2
    assert field_of({"ZONE": 3}, "Zone") == 3
    assert field_of({}, "Zone") is None
