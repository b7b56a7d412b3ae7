"""Keys and signatures are found in every form in which a gateway repeats them."""

from __future__ import annotations

import html
import json
from base64 import b64encode, encodebytes
from collections.abc import Callable
from urllib.parse import parse_qsl, quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.client.redaction import MAX_ESCAPES, Redaction
from crawler.client.signing import signature_of, signed_form
from crawler.errors import NotUnderstood
from tests.support.echoes import FORMS

PUBLIC = "ucloudsomeone@example.com1296235+20854/146120=="
PRIVATE = "46f09bb9fab4f12dfc160dae12273d5332b5debe"
FORM = signed_form({"Action": "DescribeUK8SImage", "Region": "cn-bj2", "Zone": "cn-bj2-04"}, PUBLIC, PRIVATE)
SIGNATURE = signature_of(FORM)
REDACTION = Redaction((PRIVATE, PUBLIC, "channel-secret-1", "short"))


def bare(text: str) -> str:
    """Undo what the forms do, as somebody would who looks for keys."""
    for _ in range(6):
        text = html.unescape(text.replace("\\\\", "\\").replace("\\/", "/"))
        text = dict(parse_qsl(f"x={quote(text, safe='%')}", keep_blank_values=True))["x"]
        text = text.encode().decode("unicode_escape") if "\\" in text and text.isascii() else text
    return text


@pytest.mark.parametrize("secret", [PUBLIC, PRIVATE, SIGNATURE, "channel-secret-1"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_forms(form: Callable[[str], str], secret: str) -> None:
    """Whatever the form, alone or in the midst of words: the secret goes and the words stay."""
    said = REDACTION.text(f"you sent {form(secret)} here", SIGNATURE)

    assert said.startswith("you sent ")
    assert said.endswith(" here")
    assert "[redacted]" in said
    assert len(said) < 35


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_whole_request(form: Callable[[str], str]) -> None:
    """A request that is repeated whole, in any form, keeps neither key nor signature, and JSON stays JSON."""
    if form is str.upper:
        form = str  # an upper-case escape of another escape is none
    body = json.dumps({"RetCode": 2000, "Message": form(FORM.decode()), "n": 1}).encode()
    said = REDACTION.body(body, SIGNATURE.encode())
    message = json.loads(said)["Message"]

    for text in (message, bare(message)):
        assert not any(secret in text for secret in (PUBLIC, PRIVATE, SIGNATURE, quote_plus(PUBLIC), "146120"))
    assert "[redacted]" in message
    assert json.loads(said)["n"] == 1


@pytest.mark.parametrize(
    "echo",
    [
        f"Signature={'ab' * 20}",
        f'"Signature": "{"AB" * 20}"',
        f"Signature%3D{'ab' * 20}",
        f"Signature\\u003d{'ab' * 20}",
        f"<Signature>{'ab' * 20}</Signature>",
        f'{{"Key": "Signature", "Value": "{"ab" * 20}"}}',
    ],
)
def test_signature_of_another_request(echo: str) -> None:
    """A signature beside its name goes, whichever request it was made for, and no escape is torn apart."""
    said = REDACTION.text(echo)

    assert "abab" not in said.lower()
    assert "[redacted]" in said
    assert "\\u[" not in said


def test_an_escape_is_read_in_one_way() -> None:
    """Hexadecimal digits of an escape are no part of a signature: what is JSON stays JSON."""
    said = REDACTION.body(b'{"Message": "Signature\\uabab%s"}' % (b"ab" * 20))

    assert json.loads(said) == {"Message": "Signature\uabab[redacted]"}


@pytest.mark.parametrize("escape", ["%41", "&#65;", "\\u0041", "%2541"])
def test_more_escapes_than_are_undone(escape: str) -> None:
    """A text of so many escapes is refused and not given on: a secret may be behind any of them."""
    assert REDACTION.text(escape * MAX_ESCAPES) == escape * MAX_ESCAPES
    with pytest.raises(NotUnderstood, match="more than 100,000 escapes"):
        REDACTION.text(escape * (MAX_ESCAPES + 1))


def test_request_in_base64_of_another_account() -> None:
    """Base64 in which a signature has its name goes as a whole, also where lines are broken."""
    other = signed_form({"Action": "GetRegion"}, "somebody-else", "another-key")
    said = REDACTION.body(json.dumps({"Message": encodebytes(other).decode()}).encode())

    assert b64encode(signature_of(other).encode())[4:20] not in said
    assert json.loads(said)["Message"].count("[redacted]") >= 1


def test_cut_secrets() -> None:
    """A secret that was cut is still one, from its beginning on."""
    assert REDACTION.text(f"Invalid header: {PUBLIC[:20]}…") == "Invalid header: [redacted]…"
    assert REDACTION.text(f"{quote_plus(PUBLIC)[:24]}...") == "[redacted]..."
    assert REDACTION.text(f"no {SIGNATURE[:16]}", SIGNATURE) == "no [redacted]"


@pytest.mark.parametrize(
    "text",
    [
        "Signature VerifyAC Error",
        "Missing params [PublicKey]",
        "short",
        "100% of \\u4e2d\\u00e9 &amp; \\x41 &#64;",
        "ucloud",
        "deadbeef" * 5,
        '{"ImageName": "CentOS 7.6 64\\/\\u4f4d", "Signature": null}',
    ],
)
def test_ordinary_texts_stay(text: str) -> None:
    """What holds no secret stays as it is, escapes included."""
    assert REDACTION.text(text, SIGNATURE) == text


@given(st.text(), st.sampled_from(sorted(FORMS)), st.text())
def test_anything_around(before: str, name: str, after: str) -> None:
    """Whatever stands around it, the secret goes, and twice is once."""
    said = REDACTION.text(f"{before} {FORMS[name](PRIVATE)} {after}")

    assert PRIVATE not in said.lower()
    assert REDACTION.text(said) == said
