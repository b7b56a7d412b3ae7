"""
The channel `email`: SMTP by aiosmtplib, encrypted and checked by default, one connection per message.

The Message-ID is a hash of what the digest is about, and parts are divided by it too: a mail composed again is the same
mail, byte for byte, so a server that got it twice can tell. All mails of a subscription refer to one that was never
sent, the root of their thread.
"""

from __future__ import annotations

import asyncio
import base64
import io
import os
import re
import socket
import ssl
import zipfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UniqueUnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import format_datetime, getaddresses, parseaddr
from typing import Any, NoReturn

import aiosmtplib

from crawler.client.redaction import Redaction
from crawler.config.models import SmtpSettings
from crawler.domain.models import digest_of
from crawler.domain.text import one_line, plain
from crawler.notifications.channels.base import DeliveryRefusal, Message, Scope, TransportError
from crawler.notifications.models import Digest, message_id, sender_domain
from crawler.notifications.rendering.render import LARGEST_HTML, render


class _Identity(BaseHeader):
    """A header that holds an id: one word, which the library would encode if it is long, and nobody know again."""

    max_count = 1

    @classmethod
    def parse(cls, value: str, kwds: dict[str, Any]) -> None:
        """Take *value* as the text that it is."""
        UniqueUnstructuredHeader.parse(value, kwds)

    def fold(self, *, policy: Policy) -> str:
        """Return the header as it goes over the wire."""
        return f"{self.name}: {self}{policy.linesep}"


_HEADERS = HeaderRegistry()
for _name in ("in-reply-to", "references", "list-id"):
    _HEADERS.map_to_type(_name, _Identity)

#: Lines of seven bits that no server has to touch; the same bytes each time.
_POLICY = SMTP.clone(cte_type="7bit", header_factory=_HEADERS)
#: How long a server may take to say goodbye.
_QUIT_SECONDS = 2.0
_SERVICE_CLOSING = 421
_TOO_LARGE = 552
#: What is shorter is no secret, and replacing it would garble every sentence.
_SECRET_LENGTH = 4
#: Of a report's name in its List-Id: the lists of a server have 255 characters.
_LONGEST_LABEL = 100


class EmailChannel:
    """Sends digests by mail."""

    def __init__(self, options: SmtpSettings) -> None:
        """Take the server; nothing is connected before the first session."""
        self._options = options

    def compose(self, digest: Digest, to: Sequence[str], at: datetime, *, copy: str = "") -> Message:
        """Return the mail that tells *digest*; a *copy* has a Message-ID of its own."""
        message = compose(digest, sender=self._options.sender, to=to, at=at)
        if copy:
            identity = str(message["Message-ID"]).replace("@", f".{copy}@", 1)
            message.replace_header("Message-ID", identity)
        return Message(
            content=as_bytes(message), message_id=str(message["Message-ID"]), subject=str(message["Subject"])
        )

    def addresses(self, to: Sequence[str]) -> tuple[str, ...]:
        """Return the bare addresses."""
        return tuple(dict.fromkeys(parseaddr(text)[1] for text in to))

    def session(self) -> AbstractAsyncContextManager[SmtpSession]:
        """Connect, encrypt, log in; raises TransportError."""
        return _session(self._options)


def as_bytes(message: EmailMessage) -> bytes:
    """Return *message* as it goes over the wire."""
    return message.as_bytes(policy=_POLICY)


class SmtpSession:
    """A connection over which messages can go."""

    def __init__(self, client: aiosmtplib.SMTP, options: SmtpSettings) -> None:
        """Take a client that is connected."""
        self._client = client
        self._options = options

    async def send(self, content: bytes, to: Sequence[str]) -> Mapping[str, DeliveryRefusal]:
        """Hand a message over and give those of *to* that were refused; raises TransportError."""
        sender = parseaddr(self._options.sender)[1]
        try:
            refused, _ = await self._client.sendmail(sender, list(to), content)
        except aiosmtplib.SMTPRecipientsRefused as exc:
            return {one.recipient: self._refusal(one.code, one.message) for one in exc.recipients}
        except (aiosmtplib.SMTPException, OSError, ValueError) as exc:
            self._fail(exc)
        return {address: self._refusal(answer.code, answer.message) for address, answer in refused.items()}

    def _refusal(self, code: int, message: str) -> DeliveryRefusal:
        scope: Scope = "channel" if code == _SERVICE_CLOSING else "recipient"
        return DeliveryRefusal(scope=scope, permanent=code >= 500, message=_said(self._options, code, message))

    def _fail(self, exc: Exception) -> NoReturn:
        raise _mapped(exc, self._options) from exc


@asynccontextmanager
async def _session(options: SmtpSettings) -> AsyncIterator[SmtpSession]:
    client: aiosmtplib.SMTP | None = None
    transport: asyncio.BaseTransport | None = None
    try:
        try:
            client = aiosmtplib.SMTP(
                hostname=options.host,
                port=options.port,
                timeout=options.timeout_seconds,
                use_tls=options.security == "tls",
                start_tls=options.security == "starttls",
                local_hostname=_own_name(),
                tls_context=_tls(options),
            )
            await client.connect()
            # From here on the connection is ours to end, also when the login is refused.
            transport = client.transport
            if options.username is not None:
                await client.login(options.username, _password(options))
        except (aiosmtplib.SMTPException, OSError, ValueError) as exc:
            raise _mapped(exc, options) from exc
        yield SmtpSession(client, options)
        with suppress(aiosmtplib.SMTPException, OSError):
            await client.quit(timeout=min(_QUIT_SECONDS, options.timeout_seconds))
    finally:
        if client is not None:
            client.close()
        # All is said: an encrypted connection would wait for the other side to close it, longer than we live.
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()


def _own_name() -> str:
    """Return what this machine calls itself without asking a name server, which would cost a minute when it is down."""
    name = socket.gethostname()
    return name if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", name) else "localhost"


def _tls(options: SmtpSettings) -> ssl.SSLContext | None:
    if options.security == "none":
        return None
    context = ssl.create_default_context(cafile=options.ca_file)
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


# --- errors ----------------------------------------------------------------------------------------------------------


def _reason(exc: OSError) -> str:
    """Return the system's word for why there is no connection, without the address; empty where it has none."""
    cause = exc.__cause__ if isinstance(exc.__cause__, OSError) else exc
    if cause.errno is None or isinstance(cause, ssl.SSLError):
        return ""
    return os.strerror(cause.errno) if cause.errno > 0 else cause.strerror or ""


def _mapped(exc: Exception, options: SmtpSettings) -> TransportError:
    """Turn an error of the library into ours: whether it may work the next time, and what it is about."""
    where = f"{options.host}:{options.port}"
    if isinstance(exc, aiosmtplib.SMTPResponseException):
        said = _said(options, exc.code, exc.message)
        permanent = exc.code >= 500
        if isinstance(exc, aiosmtplib.SMTPAuthenticationError):
            return TransportError(f"{where} refused the login: {said}", permanent=permanent)
        if isinstance(exc, aiosmtplib.SMTPSenderRefused) and exc.code != _TOO_LARGE:
            return TransportError(f"{where} refused the sender {exc.sender}: {said}", permanent=permanent)
        about_message = isinstance(exc, aiosmtplib.SMTPDataError | aiosmtplib.SMTPSenderRefused)
        if about_message and exc.code != _SERVICE_CLOSING:
            return TransportError(f"{where} refused the message: {said}", permanent=permanent, scope="message")
        return TransportError(f"{where} answered {said}", permanent=permanent)
    if (reason := _bad_certificate(exc)) is not None:
        return TransportError(f"the certificate of {where} is not trusted: {reason}", permanent=True)
    said = _clean(options, str(exc) or type(exc).__name__)
    if isinstance(exc, TimeoutError):
        return TransportError(f"{where} did not answer in {options.timeout_seconds:g} s: {said}")
    if isinstance(exc, OSError):
        return TransportError(f"{where} cannot be reached, or hung up: {_reason(exc) or said}")
    # What is left is something the server does not offer (encryption, login) or an address it cannot be given.
    return TransportError(f"{where}: {said}", permanent=True)


def _bad_certificate(exc: BaseException) -> str | None:
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return one_line(cause.verify_message or str(cause))
        cause = cause.__cause__ or cause.__context__
    return None


def _said(options: SmtpSettings, code: int, message: str) -> str:
    return f"{code} {_clean(options, message)}"


def _password(options: SmtpSettings) -> str:
    return options.password.reveal() if options.password is not None else ""


def _clean(options: SmtpSettings, text: str) -> str:
    """Return what the server said without the password, should it repeat that."""
    password = _password(options)
    if len(password) >= _SECRET_LENGTH:
        sent = (password, f"\0{options.username or ''}\0{password}")
        forms = [password, *(base64.b64encode(form.encode()).decode() for form in sent)]
        text = Redaction(forms, shortest=_SECRET_LENGTH).text(text)
    return one_line(text)  # last, for it may cut a secret


# --- a digest as a mail ----------------------------------------------------------------------------------------------


ATTACHMENT = "changes.csv"
#: A longer list is attached zipped: servers refuse mails of some ten million bytes.
LARGEST_CSV = 1_000_000


def compose(
    digest: Digest, *, sender: str, to: Sequence[str], at: datetime, largest: int = LARGEST_HTML
) -> EmailMessage:
    """
    Return the mail that tells *digest* from *sender* (`Crawler <crawler@example.com>`) to all of *to*, dated *at*.

    Equal arguments give equal bytes. An HTML part that gets *largest* bytes is cut, and the full list attached.
    """
    rendered = render(digest, largest=largest)
    identity = message_id(digest, sender=sender)
    root = _thread_root(digest, sender)
    message = EmailMessage(policy=_POLICY)
    # what looks like an encoded word is decoded here and by whoever reads it: line ends in it would begin other headers
    message["Subject"] = rendered.subject.replace("=?", "= ?")
    message["From"] = _address(sender)
    message["To"] = [_address(address) for address in to]
    message["Date"] = format_datetime(at)
    message["Message-ID"] = identity
    message["In-Reply-To"] = root
    message["References"] = root
    message["List-Id"] = f"<{_label(digest.subscription.name)}.crawler.{sender_domain(sender)}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(rendered.text)
    message.add_alternative(rendered.html, subtype="html")
    if rendered.is_cut and len(rendered.csv) <= LARGEST_CSV:
        message.add_attachment(rendered.csv, maintype="text", subtype="csv", filename=ATTACHMENT)
    elif rendered.is_cut:
        message.add_attachment(
            _zipped(rendered.csv), maintype="application", subtype="zip", filename=f"{ATTACHMENT}.zip"
        )
    # Last, because a message that becomes a multipart passes what is called content-… on to its part.
    message["Content-Language"] = "zh-CN" if digest.subscription.language == "zh" else "en"
    for number, part in enumerate(part for part in message.walk() if part.is_multipart()):
        part.set_boundary(f"=_{identity[1:].partition('@')[0]}.{number}")
    return message


def _zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        # The date is the format's first, so that equal lists give equal bytes.
        entry = zipfile.ZipInfo(ATTACHMENT)
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, content)
    return file.getvalue()


def _thread_root(digest: Digest, sender: str) -> str:
    """Return the Message-ID that all mails of a subscription answer to."""
    return f"<crawler.{digest_of([digest.subscription.name])[:24]}@{sender_domain(sender)}>"


def _label(name: str) -> str:
    """Return a subscription's name as one label of a List-Id; names that have none get a number that stays."""
    label = re.sub(r"[^a-z0-9]+", "-", name.lower())[:_LONGEST_LABEL].strip("-")
    is_same = label == name.lower()
    return label if label and is_same else f"{label or 'report'}-{digest_of(name)[:8]}"


def _address(text: str) -> Address:
    """Read one address; its name loses what a header must not hold."""
    name, spec = getaddresses([text])[0]
    return Address(display_name=plain(name), addr_spec=spec)
