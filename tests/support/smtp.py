"""
A real SMTP server on loopback that keeps what it is given and answers as a test says.

    with mail_server() as server:
        server.behave = lambda stage, value: "451 later" if stage == "rcpt" else None

Stages are `connect`, `mail`, `rcpt`, `data` (the value is the sender, the recipient, or the message); an answer is an
SMTP reply, None for what a server says when all is well, `HANG_UP` or `SILENCE`. What came to `data` is in `mails` when
it was accepted, and in `seen` in any case.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from crawler.emulator.server import stop_accepting

HANG_UP = "hang up"
#: Nothing more is said until the server ends.
SILENCE = "silence"

Behaviour = Callable[[str, Any], str | None]


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One message as it arrived."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    #: Who had logged in.
    user: str | None = None
    encrypted: bool = False

    @property
    def message(self) -> EmailMessage:
        """The message as the standard library reads it."""
        return message_from_bytes(self.content, policy=default)

    @property
    def message_id(self) -> str:
        """The Message-ID."""
        return str(self.message["Message-ID"])

    @property
    def text(self) -> str:
        """The text part."""
        part = self.message.get_body(("plain",))
        assert part is not None
        content: str = part.get_content()
        return content


@dataclass
class MailServer:
    """What the server has seen, and how it is to behave."""

    port: int = 0
    behave: Behaviour = lambda stage, value: None
    mails: list[Mail] = field(default_factory=list)
    seen: list[Mail] = field(default_factory=list)
    connections: int = 0
    login: tuple[str, str] | None = None

    def for_address(self, address: str) -> list[Mail]:
        """Return the accepted mails that went to *address*."""
        return [mail for mail in self.mails if address in mail.recipients]

    # --- what aiosmtpd calls -----------------------------------------------------------------------------------------

    async def _answer(self, server: SMTP, stage: str, value: Any, fine: str) -> str:
        said = self.behave(stage, value)
        if said == HANG_UP:
            _hang_up(server)
            return "421 gone"
        if said == SILENCE:
            await asyncio.sleep(3600)
        return said or fine

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self._answer(server, "mail", address, "250 OK")
        envelope.mail_from = address
        return answer

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self._answer(server, "rcpt", address, "250 OK")
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        assert isinstance(envelope.content, bytes)
        mail = Mail(
            sender=str(envelope.mail_from),
            recipients=tuple(envelope.rcpt_tos),
            content=envelope.content,
            user=_user(session.auth_data),
            encrypted=server.transport is not None and server.transport.get_extra_info("sslcontext") is not None,
        )
        self.seen.append(mail)
        said = self.behave("data", mail)
        if said is None or said.startswith("250"):
            self.mails.append(mail)
        # A server that accepts and then hangs up before it can say so has the mail.
        if said == f"250 {HANG_UP}":
            self.behave, before = (lambda stage, value: HANG_UP), self.behave
            try:
                return await self._answer(server, "data", mail, "")
            finally:
                self.behave = before
        return await self._answer(server, "data", mail, "250 accepted")

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        """Check a login."""
        assert isinstance(data, LoginPassword)
        is_known = (data.login.decode(), data.password.decode()) == self.login
        return AuthResult(success=is_known, handled=False, auth_data=data.login if is_known else None)


def _user(auth_data: Any) -> str | None:
    return auth_data.decode() if isinstance(auth_data, bytes) else None


def _hang_up(protocol: SMTP) -> None:
    if isinstance(protocol.transport, asyncio.WriteTransport):
        protocol.transport.abort()


@contextmanager
def mail_server(
    *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None, login: tuple[str, str] | None = None
) -> Iterator[MailServer]:
    """Serve on a free port of loopback; with *tls* from the first byte, with *starttls* on demand."""
    server = MailServer(login=login)
    loop = asyncio.new_event_loop()
    ready, over = threading.Event(), asyncio.Event()
    protocols: list[SMTP] = []

    def factory() -> SMTP:
        server.connections += 1
        protocols.append(
            SMTP(
                server,
                hostname="mail.example.com",
                loop=loop,
                tls_context=starttls,
                require_starttls=starttls is not None,
                auth_require_tls=starttls is not None,
                auth_required=login is not None,
                authenticator=server.authenticate if login else None,
            )
        )
        return protocols[-1]

    async def serve() -> None:
        async with await loop.create_server(factory, "127.0.0.1", 0, ssl=tls) as listening:
            server.port = listening.sockets[0].getsockname()[1]
            ready.set()
            await over.wait()
            await stop_accepting(*listening.sockets)
            listening.close()
            for protocol in protocols:
                _hang_up(protocol)
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.01)  # transports close in the loop's next round

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=work, name="smtp", daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
