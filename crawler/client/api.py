"""
One API call: a signed form goes out, an answer or a NetworkFailure comes back. The only file that knows aiohttp.

Every attempt pays one slot of the account's throttle; retries are none of this file's business. Connections are kept
alive and bounded by the concurrency, certificates are verified, cookies and redirects are ignored, and an answer has a
greatest size. Whatever comes in loses our keys and signatures here, so nothing behind this file can tell or keep them.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from http import HTTPStatus
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from crawler.client.api_options import Endpoint, FetchCounts, FetchOptions, Timing
from crawler.client.cancellation import CancelScope
from crawler.client.redaction import Redaction
from crawler.client.responses import ACCEPTED, Answer, Damaged, Refusal, UnknownPacking, Unpacker
from crawler.client.retry import LONGEST_RETRY_AFTER_SECONDS, AnswerClass, http_date, retry_after_seconds
from crawler.client.signing import signature_of, signed_form
from crawler.client.throttle import PacedThrottler, Throttle
from crawler.domain.proxies import Proxy, is_passing
from crawler.domain.secrets import without_secrets
from crawler.domain.text import one_line
from crawler.errors import CrawlerError, NotUnderstood, exhausted, is_exhaustion

#: The longest answer that is read, unpacked; room for 10,000 images of 400 bytes.
MAX_BODY_BYTES = 4 * 1024 * 1024
#: A longer answer is a large one, of which an account holds two at a time: one of them may never end.
LARGE_BODY_BYTES = 256 * 1024
LARGE_AT_ONCE = 2
#: Shorter than the idle times-out of common gateways, so that they rarely close a connection under a request.
KEEPALIVE_SECONDS = 15.0

#: Every class that aiohttp, the socket and TLS below it may raise while a call is made.
FOREIGN_ERRORS = (aiohttp.ClientError, HttpProcessingError, OSError, EOFError, UnicodeError, Damaged, UnknownPacking)


class NetworkFailure(CrawlerError):
    """No complete answer came back."""

    failure_class: AnswerClass = "transient"

    def refusal(self) -> Refusal:
        """Return the failure as the refusal that the rest of the package speaks of."""
        return Refusal(failure_class=self.failure_class, message=str(self), is_network=True)


class Defect(NetworkFailure):
    """Something is wrong with the endpoint or the answer that another try does not mend; no network is to blame."""

    failure_class: AnswerClass = "defect"

    def refusal(self) -> Refusal:
        """Return the failure as a refusal; no network was involved."""
        return Refusal(failure_class=self.failure_class, message=str(self))


class ProxyRefusal(NetworkFailure):
    """The proxy said no, and will again while nothing else changes: another try might lock its user out."""

    failure_class: AnswerClass = "defect"


class Room:
    """
    What one call may hold in memory: a small answer, or one of the large ones that its account may hold at a time.

    A context manager: the room is given back at its end, when the answer was handed on.
    """

    def __init__(self, large: asyncio.Semaphore) -> None:
        self._large = large
        self._is_large = False

    def __enter__(self) -> Self:
        """Begin without a large answer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let another call have a large answer."""
        if self._is_large:
            self._large.release()

    async def take_large(self) -> None:
        """Wait until this call may hold a large answer."""
        if not self._is_large:
            await self._large.acquire()
            self._is_large = True


class ApiClient:
    """Calls one endpoint for one account; an async context manager that owns the connections."""

    def __init__(
        self,
        endpoint: Endpoint,
        options: FetchOptions,
        *,
        timing: Timing,
        throttle: Throttle | None = None,
    ) -> None:
        self.options = options
        self.timing = timing
        self.throttle: Throttle = throttle or PacedThrottler(
            options.rate, options.period_seconds, monotonic=timing.monotonic, sleep=timing.sleep
        )
        self._endpoint = endpoint
        self._redaction = Redaction(endpoint.secrets)
        # Not the session's own headers: those go out with a CONNECT as well, where a proxy could read them.
        self._headers = {name: value for name, value in endpoint.headers.items() if value} | {
            "Accept-Encoding": ACCEPTED,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        self._tunnel_headers: dict[str, str] = {}
        if endpoint.proxy is not None:
            self._headers |= endpoint.proxy.headers(endpoint.url)
            self._tunnel_headers = endpoint.proxy.tunnel_headers(endpoint.url)
        self._session: aiohttp.ClientSession | None = None
        self._sent = 0
        self._retried = 0
        self._throttled = 0
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def __aenter__(self) -> Self:
        """Open the session; connections are made when they are needed."""
        trust = ssl.create_default_context(cafile=self._endpoint.ca_file) if self._endpoint.ca_file else True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self.options.concurrency, keepalive_timeout=KEEPALIVE_SECONDS, ssl=trust, ttl_dns_cache=60
            ),
            headers={"User-Agent": self._endpoint.user_agent},
            proxy=self._endpoint.proxy.url if self._endpoint.proxy is not None else None,
            cookie_jar=aiohttp.DummyCookieJar(),
            # It would unpack all that has come, however much that is.
            auto_decompress=False,
            # The cancel_scope times each call; a second clock would only disagree with it.
            timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def counts(self) -> FetchCounts:
        """Return what this client has sent so far, discovery included."""
        return FetchCounts(sent=self._sent, retried=self._retried, throttled=self._throttled)

    def form(self, action: str, params: Mapping[str, object] | None = None) -> bytes:
        """Return the signed body of *action* with *params*; it may be sent any number of times."""
        named = {**(params or {}), "Action": action}
        return signed_form(named, self._endpoint.public_key, self._endpoint.private_key)

    def room(self) -> Room:
        """Return the room for the answer of one call, to be held until the answer was handed on."""
        return Room(self._large)

    async def attempt(
        self,
        form: bytes,
        cancel_scope: CancelScope,
        *,
        is_retry: bool = False,
        room: Room | None = None,
        known_hash: bytes | None = None,
        secrets: Collection[str] | None = None,
    ) -> Answer:
        """
        Send *form* once, when the throttle lets it; raise NetworkFailure, or CallCut when the run ends meanwhile.

        The answer is held in *room*; without one, its room is free again at once. *known_hash*: of a body that was
        answered before, which is not searched for secrets again. *secrets*: members that are dropped from the answer,
        as are those whose name says what they are; None: none is looked for.
        """
        timeout_seconds = self.options.timeout_seconds

        async def post() -> Answer:
            self._sent += 1
            self._retried += is_retry
            with self.room() if room is None else nullcontext(room) as held:
                return await self._post(form, held, known_hash, secrets)

        try:
            return await cancel_scope.call(
                lambda: self.throttle.acquire_by(cancel_scope.deadline), post, timeout_seconds
            )
        except TimeoutError as exc:
            via = f" through the proxy {self._endpoint.proxy}" if self._endpoint.proxy is not None else ""
            raise NetworkFailure(f"no complete answer within {timeout_seconds:g} s{via}") from exc

    def heeded(self, refusal: Refusal) -> Refusal:
        """Slow the account down when *refusal* says so; give it back."""
        if refusal.is_throttled:
            self._throttled += 1
            self.throttle.throttled()
            if refusal.retry_after_seconds and refusal.retry_after_seconds <= LONGEST_RETRY_AFTER_SECONDS:
                self.throttle.pause(refusal.retry_after_seconds)
        return refusal

    async def _post(self, form: bytes, room: Room, known_hash: bytes | None, secrets: Collection[str] | None) -> Answer:
        if self._session is None:
            raise RuntimeError("the client is used outside its context")
        timestamp = str(int(self.timing.clock().timestamp() * 1000))
        signed = signature_of(form)

        def redacted(text: str) -> str:
            return self._redaction.text(text, signed)

        try:
            async with self._session.post(
                self._endpoint.url,
                data=form,
                headers={**self._headers, "U-Timestamp-Ms": timestamp},
                proxy_headers=self._tunnel_headers,
                allow_redirects=False,
            ) as response:
                if self._endpoint.proxy is not None and response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
                    raise ProxyRefusal(self._endpoint.proxy.refusal(response.status, "", ""))
                body = await _read(response, room)
                headers = response.headers
                received_at = self.timing.clock()
        except FOREIGN_ERRORS as exc:
            # the error itself may hold what the other side repeated
            raise network_failure(exc, redacted, self._endpoint.proxy) from None
        body_hash = hash_of(body)
        if body_hash != known_hash:
            try:
                body = self._redaction.body(body, signed.encode())
                body = body if secrets is None else without_secrets(body, secrets)
            except NotUnderstood as exc:  # it is not kept either: what was not looked through may repeat a secret
                raise Defect(str(exc)) from None
            body_hash = hash_of(body)
        retry_after = headers.get("Retry-After")
        # a moment is one by the server's clock
        now = (http_date(headers.get("Date", "")) if retry_after else None) or received_at
        return Answer(
            status=response.status,
            body=body,
            body_hash=body_hash,
            request_uuid=one_line(redacted(headers.get("X-UCLOUD-REQUEST-UUID", "")), 100),
            retry_after_seconds=retry_after_seconds(retry_after, now),
            received_at=received_at,
            date=redacted(headers.get("Date", "")),
            proxy=str(self._endpoint.proxy or ""),
        )


def hash_of(body: bytes) -> bytes:
    """Return the hash by which a body is known again; SHA-256, for which processors have instructions."""
    return hashlib.sha256(body).digest()[:16]


async def _read(response: aiohttp.ClientResponse, room: Room) -> bytes:
    """Read and unpack the body; raise Defect when it is too long."""
    unpacker = Unpacker(response.headers.get("Content-Encoding", ""))
    body = bytearray()
    while packed := await response.content.readany():
        for piece in unpacker.feed(packed):
            body += piece
            if len(body) > MAX_BODY_BYTES:
                response.close()
                raise Defect(f"the answer is longer than {MAX_BODY_BYTES // 2**20} MB")
            if len(body) > LARGE_BODY_BYTES:
                await room.take_large()
    unpacker.end()
    return bytes(body)


def network_failure(exc: Exception, redacted: Callable[[str], str] = str, proxy: Proxy | None = None) -> NetworkFailure:
    """
    Say what one of `FOREIGN_ERRORS` means; the one place that does.

    *redacted* takes secrets out of a text; *proxy* is what the call went through.
    """
    text = one_line(redacted(str(exc)), 200)
    match exc:
        case aiohttp.ClientHttpProxyError() if proxy is not None:
            host = exc.request_info.url.host or ""
            said = proxy.refusal(exc.status, one_line(redacted(exc.message), 100), host)
            return NetworkFailure(said) if is_passing(exc.status) else ProxyRefusal(said)
        case aiohttp.ClientConnectorDNSError() if proxy is not None:
            return NetworkFailure(f"the name of the proxy {proxy} cannot be resolved")
        case aiohttp.ClientProxyConnectionError() if proxy is not None and not is_exhaustion(exc):
            return NetworkFailure(proxy.unreachable(exc.strerror or type(exc.os_error).__name__))
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return Defect(f"the endpoint is no web address: {text}")
        case UnicodeError():
            return Defect("the endpoint is no web address: its host is no name that can be looked up")
        case UnknownPacking():
            return Defect(f"the answer is packed in a way that was not asked for: {text}")
        case aiohttp.ClientConnectorDNSError():
            return NetworkFailure(f"the name of {exc.host} cannot be resolved")
        case aiohttp.ClientConnectorCertificateError():
            return NetworkFailure(
                f"the certificate of {exc.host} is not trusted: {redacted(str(exc.certificate_error))}{_opened(proxy)}"
            )
        case aiohttp.ServerDisconnectedError():
            via = f", perhaps by the proxy {proxy}" if proxy is not None else ""
            return NetworkFailure(f"the connection was closed before the answer{via}")
        case aiohttp.ClientPayloadError() | Damaged():
            return NetworkFailure("the answer was cut")
    if is_exhaustion(exc):
        return NetworkFailure(exhausted())
    return NetworkFailure(f"{type(exc).__name__}{': ' + text if text else ''}")


def _opened(proxy: Proxy | None) -> str:
    if proxy is None:
        return ""
    return f" (if the proxy {proxy} opens encrypted connections, `ca_file` has to name its certificates)"
