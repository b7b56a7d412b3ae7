"""The channel `email` against a real SMTP server: encryption, login, refusals by scope, and no secret in any error."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from crawler.config.models import Secret, SmtpSettings
from crawler.errors import ExitCode
from crawler.notifications.channels import email
from crawler.notifications.channels.base import DeliveryRefusal, TransportError
from crawler.notifications.channels.email import EmailChannel
from tests.support.smtp import HANG_UP, SILENCE, MailServer, mail_server
from tests.support.tls import make_tls

CONTENT = b"From: crawler@example.com\r\nSubject: hello\r\nMessage-ID: <1@example.com>\r\n\r\n.dots\r\n\r\nstay\r\n"
PASSWORD = "correct horse"


def options(server: MailServer, **more: Any) -> SmtpSettings:
    """Return options for *server*, without encryption unless told so."""
    defaults: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": server.port,
        "sender": "Image crawler <crawler@example.com>",
        "security": "none",
        "timeout_seconds": 5,
    }
    return SmtpSettings(**defaults | more)


def send(chosen: SmtpSettings, *to: str, content: bytes = CONTENT) -> Mapping[str, DeliveryRefusal]:
    """Send one letter over a session of its own."""

    async def go(recipients: Sequence[str]) -> Mapping[str, DeliveryRefusal]:
        async with EmailChannel(chosen).session() as session:
            return await session.send(content, recipients)

    return asyncio.run(go(to or ("sre@example.com",)))


def refusal(chosen: SmtpSettings, *to: str) -> DeliveryRefusal:
    """Return why nobody got a letter."""
    with pytest.raises(TransportError) as caught:
        send(chosen, *to)
    assert caught.value.exit_code == ExitCode.UNDELIVERED
    return caught.value.refusal


def says(stage: str, answer: str) -> Any:
    """Return the behaviour of a server that says *answer* at *stage*."""
    return lambda at, value: answer if at == stage else None


def test_a_letter_arrives_as_it_was_sent() -> None:
    """Envelope and bytes arrive unchanged, dots at the beginning of a line included, to several recipients at once."""
    with mail_server() as server:
        assert send(options(server), "sre@example.com", "ops@example.com") == {}

    (mail,) = server.mails
    assert (mail.sender, mail.recipients) == ("crawler@example.com", ("sre@example.com", "ops@example.com"))
    assert mail.content == CONTENT


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_encryption_is_verified(tmp_path: Path, security: str) -> None:
    """STARTTLS and TLS encrypt; a certificate that nobody vouches for is refused unless the check is switched off."""
    context, certificate = make_tls(tmp_path)
    how: dict[str, Any] = {security: context}
    with mail_server(**how) as server:
        chosen = {"security": security}
        assert send(options(server, **chosen, ca_file=certificate)) == {}
        assert send(options(server, **chosen, verify=False)) == {}
        unknown = refusal(options(server, **chosen))

    assert [mail.encrypted for mail in server.mails] == [True, True]
    assert (unknown.scope, unknown.permanent) == ("channel", True)
    assert "is not trusted: unable to get local issuer certificate" in unknown.message


def test_encryption_is_never_given_up(tmp_path: Path) -> None:
    """A server that offers no STARTTLS gets nothing, least of all the password."""
    with mail_server() as server:
        found = refusal(options(server, security="starttls", username="u", password=Secret(PASSWORD)))

    assert (found.scope, found.permanent, server.seen) == ("channel", True, [])
    assert "STARTTLS" in found.message


def test_login(tmp_path: Path) -> None:
    """A login is used over encryption; a wrong one is refused for good and its password is in no error."""
    context, certificate = make_tls(tmp_path)
    with mail_server(starttls=context, login=("crawler", PASSWORD)) as server:
        chosen = {"security": "starttls", "ca_file": certificate, "username": "crawler"}
        assert send(options(server, **chosen, password=Secret(PASSWORD))) == {}
        wrong = refusal(options(server, **chosen, password=Secret("wrong horse")))
        without = refusal(options(server, security="starttls", ca_file=certificate))

    assert server.mails[0].user == "crawler"
    assert (wrong.scope, wrong.permanent) == ("channel", True)
    assert "refused the login: 535" in wrong.message
    assert "wrong horse" not in wrong.message + repr(options(server, password=Secret("wrong horse")))
    assert (without.scope, without.permanent) == ("channel", True)


def test_a_server_that_repeats_the_password() -> None:
    """What a server repeats of the login is hidden in the error, in every form it was sent or may come back."""
    plain = base64.b64encode(f"\0u\0{PASSWORD}".encode()).decode()
    forms = (PASSWORD, plain, base64.b64encode(PASSWORD.encode()).decode(), quote(PASSWORD, safe=""), PASSWORD.upper())
    with mail_server() as server:
        server.behave = says("mail", f"535 no {' '.join(forms)} here")
        said = refusal(options(server)).message

    assert PASSWORD in said
    cleaned = email._clean(options(server, username="u", password=Secret(PASSWORD)), said)
    assert cleaned.endswith(f"535 no {' '.join(['[redacted]'] * len(forms))} here")


@pytest.mark.parametrize("password", [PASSWORD, "k3y!"])
@pytest.mark.parametrize("before", [290, 296, 10])
def test_a_server_that_repeats_the_password_at_length(password: str, before: int) -> None:
    """A password in which a long answer is cut is hidden as well, and so is a short one."""
    with mail_server() as server:
        chosen = options(server, username="u", password=Secret(password))
        server.behave = says("mail", f"451 {'-' * before}{password}")
        said = email._clean(chosen, refusal(options(server)).message)

    assert password[:3] not in said


@pytest.mark.parametrize(
    ("stage", "answer", "scope", "permanent"),
    [
        ("mail", "451 later", "channel", False),
        ("mail", "550 not you", "channel", True),
        ("mail", "552 too large", "message", True),
        ("data", "451 greylisted", "message", False),
        ("data", "554 looks like spam", "message", True),
        ("data", "421 closing", "channel", False),
        ("mail", HANG_UP, "channel", False),
        ("data", HANG_UP, "channel", False),
        ("data", f"250 {HANG_UP}", "channel", False),
    ],
)
def test_refusals_of_everybody(stage: str, answer: str, scope: str, permanent: bool) -> None:
    """An error tells whether it is about the way or the message, and whether it is worth another try."""
    with mail_server() as server:
        server.behave = says(stage, answer)
        found = refusal(options(server))

    assert (found.scope, found.permanent) == (scope, permanent), found.message
    assert "\n" not in found.message
    assert len(server.mails) == (answer == f"250 {HANG_UP}")


def test_refusals_of_some() -> None:
    """One recipient's refusal is that recipient's alone: the others have the mail."""
    answers = {"gone@example.com": "550 no such user", "full@example.com": "452 mailbox full"}
    with mail_server() as server:
        server.behave = lambda stage, value: answers.get(value) if stage == "rcpt" else None
        refused = send(options(server), "gone@example.com", "sre@example.com", "full@example.com")
        everybody = send(options(server), *answers)

    assert server.mails[0].recipients == ("sre@example.com",)
    assert len(server.mails) == 1
    assert refused == everybody
    assert {address: (one.scope, one.permanent) for address, one in refused.items()} == {
        "gone@example.com": ("recipient", True),
        "full@example.com": ("recipient", False),
    }


def test_a_server_that_is_silent_or_not_there() -> None:
    """Silence ends after the time-out; a closed port is told with host and port. Both are worth another try."""
    with mail_server() as server:
        server.behave = says("mail", SILENCE)
        silent = refusal(options(server, timeout_seconds=0.2))
    absent = refusal(options(server))

    assert (silent.scope, silent.permanent) == (absent.scope, absent.permanent) == ("channel", False)
    assert f"127.0.0.1:{server.port} did not answer in 0.2 s" in silent.message
    assert f"127.0.0.1:{server.port} cannot be reached" in absent.message


def test_addresses() -> None:
    """Recipients are told apart by their bare address, whatever name stands before it."""
    channel = EmailChannel(SmtpSettings(host="h", sender="a@b.c"))
    assert channel.addresses(("On call <a@b.c>", "d@e.f", "a@b.c")) == ("a@b.c", "d@e.f")
