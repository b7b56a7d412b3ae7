"""
What the channels over HTTP share: one address that is a secret, one POST per message, and what its failure means.

Such a report has one recipient, known by a name that gives nothing away (`webhook:hooks.example.com`). No redirect is
followed, certificates are checked, and no sentence quotes the address.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

import aiohttp

from crawler import __version__
from crawler.client.redaction import Redaction
from crawler.domain.proxies import Proxy, is_passing
from crawler.domain.text import one_line
from crawler.notifications.channels.base import DeliveryRefusal, Message, Scope, TransportError
from crawler.notifications.i18n import WORDS
from crawler.notifications.models import Digest, message_id
from crawler.notifications.rendering.lines import LineLimits
from crawler.notifications.rendering.render import View, view

Clock = Callable[[], datetime]

TIMEOUT_SECONDS = 30.0
_LARGEST_ANSWER = 65_536
#: Worth another try although the status is a 4xx.
_PASSING = frozenset({408, 429})
#: The other side has no objection to us, but to this very message.
_ABOUT_THE_MESSAGE = frozenset({413, 422})
#: From plenty to little.
LIMITS = (
    LineLimits(),
    LineLimits(rows=80),
    LineLimits(rows=40, details=8, items=20),
    LineLimits(rows=15, details=4, items=10),
    LineLimits(rows=5, details=2, items=5),
    LineLimits(rows=2, details=1, items=2),
    LineLimits(rows=1, details=1, items=1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HookOptions:
    """Where messages go, and what signs them."""

    #: What is shown of the address: `webhook:hooks.example.com`.
    name: str
    url: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)
    #: The secret before, while it is being replaced.
    old_secret: str | None = field(default=None, repr=False)
    #: What a webhook's body is.
    format: Literal["json", "cloudevents"] = "json"
    timeout_seconds: float = TIMEOUT_SECONDS
    #: The forward proxy that leads there; None: it is reached directly.
    proxy: Proxy | None = None
    #: Certificates to trust instead of the system's.
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HookResponse:
    """What the other side said."""

    status: int
    body: bytes

    def document(self) -> Mapping[str, Any]:
        """Return the body as the JSON object it should be; empty when it is none."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


class HttpChannel(ABC):
    """What the channels over HTTP have in common; each makes messages and requests of its own."""

    def __init__(self, options: HookOptions, clock: Clock) -> None:
        """Take the address; *clock* dates the signatures."""
        self.options = options
        self.clock = clock

    @abstractmethod
    def compose(self, digest: Digest, to: Sequence[str], at: datetime, *, copy: str = "") -> Message:
        """Return the message that tells *digest*, as `Channel` has it."""

    @abstractmethod
    def request(self, content: bytes) -> tuple[bytes, Mapping[str, str]]:
        """Return the body and the headers that carry a message, signed now."""

    def check(self, answer: HookResponse, sent: bytes) -> None:
        """Raise TransportError unless *answer* says that the message, *sent* as this body, was taken."""
        refuse(answer, self.options)

    def addresses(self, to: Sequence[str]) -> tuple[str, ...]:
        """Return the one name of the address."""
        return (self.options.name,)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[HttpSession]:
        """Open an HTTP client."""
        async with client(self.options) as http:
            yield HttpSession(self, http)


class HttpSession:
    """An HTTP client that knows where to."""

    def __init__(self, channel: HttpChannel, http: aiohttp.ClientSession) -> None:
        """Take a client that is open."""
        self._channel = channel
        self._http = http

    async def send(self, content: bytes, to: Sequence[str]) -> Mapping[str, DeliveryRefusal]:
        """POST a message; raises TransportError when it was not taken."""
        body, headers = self._channel.request(content)
        self._channel.check(await post(self._http, self._channel.options, body, headers), body)
        return {}


def identity_of(digest: Digest, copy: str) -> str:
    """Return the Message-ID of *digest*, the same each time; a *copy* has one of its own."""
    identity = message_id(digest, sender="")
    return identity.replace("@", f".{copy}@", 1) if copy else identity


def message_of(document: Mapping[str, Any], *, ascii_only: bool = True) -> Message:
    """Return *document*, which has a `message_id` and a `subject`, as a message."""
    content = json.dumps(document, ensure_ascii=ascii_only, separators=(",", ":"))
    return Message(content=content.encode(), message_id=document["message_id"], subject=document["subject"])


def view_of(digest: Digest, limits: LineLimits) -> View:
    """Return *digest* in words, without the sentence about an attachment that there is none of."""
    seen = view(digest, limits)
    attached = WORDS[digest.subscription.language].attached
    return replace(seen, footer=tuple(line for line in seen.footer if line != attached))


@asynccontextmanager
async def client(options: HookOptions) -> AsyncIterator[aiohttp.ClientSession]:
    """
    Open an HTTP client that checks certificates; nothing is connected before the first message.

    Raises TransportError where `ca_file` was there when the settings were read, and is not any more.
    """
    try:
        trust = ssl.create_default_context(cafile=options.ca_file)
    except OSError as exc:
        said = f"the certificates of {options.name} in {options.ca_file} cannot be read: {exc.strerror or exc}"
        raise failure(said, permanent=True) from exc
    connector = aiohttp.TCPConnector(ssl=trust, limit=1)
    timeout = aiohttp.ClientTimeout(total=options.timeout_seconds)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        headers={"User-Agent": f"crawler/{__version__}"},
        proxy=options.proxy.url if options.proxy is not None else None,
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield session


async def post(
    session: aiohttp.ClientSession, options: HookOptions, body: bytes, headers: Mapping[str, str]
) -> HookResponse:
    """Send *body* and give the answer, whatever it is; raises TransportError when there is none."""
    proxy = options.proxy
    own = {"Content-Type": "application/json; charset=utf-8", **headers}
    try:
        async with session.post(
            options.url,
            data=body,
            headers={**own, **proxy.headers(options.url)} if proxy is not None else own,
            proxy_headers=proxy.tunnel_headers(options.url) if proxy is not None else None,
            allow_redirects=False,
        ) as response:
            if proxy is not None and response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
                raise failure(f"{options.name}: {proxy.refusal(response.status, '', '')}", permanent=True)
            return HookResponse(status=response.status, body=await _beginning(response))
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as exc:  # noqa: UP041 - one name per library
        raise _mapped(exc, options) from None  # the error may hold the address


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """Return what the body of *response* begins with; the status is an answer, also where no more comes than that."""
    said = bytearray()
    with suppress(aiohttp.ClientError, TimeoutError, OSError):
        async for chunk in response.content.iter_any():
            said += chunk
            if len(said) > _LARGEST_ANSWER:
                break
    return bytes(said[:_LARGEST_ANSWER])


def refuse(answer: HookResponse, options: HookOptions) -> None:
    """Raise TransportError unless the status of *answer* is a 2xx."""
    status = answer.status
    if 200 <= status < 300:
        return
    phrase = HTTPStatus(status).phrase if status in HTTPStatus.__members__.values() else ""
    said = f"{options.name} answered HTTP {status} {phrase}".rstrip()
    if 300 <= status < 400:
        raise failure(f"{said}; redirects are not followed", permanent=True)
    scope: Scope = "message" if status in _ABOUT_THE_MESSAGE else "recipient"
    raise failure(said, permanent=400 <= status < 500 and status not in _PASSING, scope=scope)


def failure(message: str, *, permanent: bool, scope: Scope = "recipient") -> TransportError:
    """Return the error of one address; no other report goes there, so it is about the recipient, not the channel."""
    return TransportError(message, permanent=permanent, scope=scope)


def _mapped(exc: BaseException, options: HookOptions) -> TransportError:
    proxy = options.proxy
    if isinstance(exc, aiohttp.ClientHttpProxyError) and proxy is not None:
        reason = one_line(Redaction(proxy.secrets).text(exc.message))
        said = proxy.refusal(exc.status, reason, exc.request_info.url.host or "")
        return failure(f"{options.name}: {said}", permanent=not is_passing(exc.status))
    if isinstance(exc, aiohttp.ClientProxyConnectionError | aiohttp.ClientConnectorDNSError) and proxy is not None:
        reason = one_line(exc.strerror or type(exc).__name__)
        return failure(f"{options.name}: {proxy.unreachable(reason)}", permanent=False)
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        cause = exc.certificate_error
        reason = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else type(cause).__name__
        return failure(f"the certificate of {options.name} is not trusted: {one_line(reason)}", permanent=True)
    if isinstance(exc, TimeoutError):
        via = f" through the proxy {proxy}" if proxy is not None else ""
        return failure(f"{options.name} did not answer in {options.timeout_seconds:g} s{via}", permanent=False)
    if isinstance(exc, aiohttp.InvalidURL) or not isinstance(exc, aiohttp.ClientError | OSError):
        return failure(f"{options.name} has a URL that cannot be used", permanent=True)
    reason = getattr(exc, "strerror", None) or type(exc).__name__
    return failure(f"{options.name} cannot be reached, or hung up: {one_line(str(reason))}", permanent=False)
