"""
A dead man's switch, as healthchecks.io and others have it: `<URL>/start` when a run begins, `<URL>` when it was done,
`<URL>/fail` when it was not, with the summary as the body.

It must never harm the run: a call is made beside it and given up after `TIMEOUT_SECONDS`, however slowly the switch
answers, and a switch that did not take it is a line in the log. No redirect is followed: what stands behind one would
get a GET without the summary, or the summary at a host that nobody named.
"""

from __future__ import annotations

import http.client
import logging
import re
import ssl
import time
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path
from threading import Thread
from typing import Literal
from urllib.parse import unquote, urlsplit

from crawler import __version__
from crawler.domain.proxies import Proxy

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10.0
#: What the standard library says where a proxy opens no tunnel.
_TUNNEL = re.compile(r"Tunnel connection failed: (\d+) .*", re.DOTALL)
#: healthchecks.io keeps 100 kB.
LARGEST_BODY = 100_000

Signal = Literal["start", "done", "fail"]


def address(url: str, signal: Signal) -> str:
    """Return the URL of *signal*; what stands behind a question mark stays behind it."""
    parts = urlsplit(url)
    suffix = "" if signal == "done" else f"/{signal}"
    return parts._replace(path=parts.path.rstrip("/") + suffix if suffix else parts.path).geturl()


def _login(url: str) -> tuple[str, dict[str, str]]:
    """Return *url* without user and password, which Python takes for a part of the host, and the header for them."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    if not user:
        return url, {}
    words = ":".join(map(unquote, (parts.username or "", parts.password or "")))
    return parts._replace(netloc=host).geturl(), {"Authorization": f"Basic {b64encode(words.encode()).decode()}"}


class Switch:
    """One run's calls; without a URL they go nowhere."""

    def __init__(
        self,
        url: str | None,
        *,
        proxy: Proxy | None = None,
        ca_file: Path | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """*proxy* is what leads to *url*, *ca_file* names certificates to trust instead of the system's."""
        self._url = url
        self._proxy = proxy
        self._ca_file = ca_file
        self._timeout_seconds = timeout_seconds
        self._calls: list[_Call] = []

    def start(self) -> None:
        """Say that a run begins, without waiting for the answer."""
        self._call("start", b"")

    def end(self, *, is_done: bool, body: str) -> None:
        """Say how the run ended, and wait until that is said, or cannot be."""
        for call in self._calls:  # the start must not arrive after the end
            call.wait()
        self._call("done" if is_done else "fail", body.encode()[:LARGEST_BODY])
        for call in self._calls:
            call.wait()

    def _call(self, signal: Signal, body: bytes) -> None:
        if self._url is None:
            return
        url, login = _login(address(self._url, signal))
        headers = {"User-Agent": f"crawler/{__version__}", "Content-Type": "application/json; charset=utf-8", **login}
        # S310: the schema takes http(s) alone
        request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310
        if self._proxy is not None:
            request.set_proxy(urlsplit(self._proxy.url).netloc, "http")
            request.headers.update(self._proxy.authorization)
        self._calls.append(_Call(request, signal, self._proxy, self._ca_file, self._timeout_seconds))


class _Call:
    """One POST on a thread of its own, which nobody waits for any longer than the time-out, all in all."""

    def __init__(
        self,
        request: urllib.request.Request,
        signal: Signal,
        proxy: Proxy | None,
        ca_file: Path | None,
        timeout_seconds: float,
    ) -> None:
        self._signal = signal
        self._timeout_seconds = timeout_seconds
        self._deadline = time.monotonic() + timeout_seconds
        self._thread = Thread(target=_post, args=(request, signal, proxy, ca_file, timeout_seconds), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait for the end of the call, or of its time."""
        self._thread.join(max(0.0, self._deadline - time.monotonic()))
        if self._thread.is_alive():
            logger.info("the ping %s was not answered within %g s", self._signal, self._timeout_seconds)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Let the answer stand as the error that it is."""


def _post(
    request: urllib.request.Request, signal: Signal, proxy: Proxy | None, ca_file: Path | None, timeout_seconds: float
) -> None:
    try:
        trust = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file))
        # Without proxies of its own: the request has its proxy, and else the environment would be asked for one.
        opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}), trust)
        with opener.open(request, timeout=timeout_seconds):
            return
    except (OSError, ValueError, http.client.HTTPException) as exc:
        # The URL is a secret, and some errors repeat it.
        via = f" through the proxy {proxy}" if proxy is not None else ""
        reason = _status(exc.code) if isinstance(exc, urllib.error.HTTPError) else _reason(exc)
        logger.info("the ping %s was not taken%s: %s", signal, via, reason)
        if isinstance(exc, urllib.error.HTTPError):
            exc.close()


def connection_problem(url: str, proxy: Proxy | None, ca_file: Path | None, *, timeout_seconds: float) -> str:
    """
    Return what keeps a connection to *url* from coming about, over TLS where it is https; empty: nothing.

    Nothing is asked there. An http address behind a proxy is not reached itself, only the proxy.
    """
    parts = urlsplit(url)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    first = (host, port) if proxy is None else (proxy.host, proxy.port)
    connection: http.client.HTTPConnection = http.client.HTTPConnection(*first, timeout=timeout_seconds)
    via = f"the proxy {proxy}" if proxy is not None else host
    try:
        if is_tls:
            trust = ssl.create_default_context(cafile=ca_file)
            connection = http.client.HTTPSConnection(*first, timeout=timeout_seconds, context=trust)
            if proxy is not None:
                connection.set_tunnel(host, port, proxy.authorization)
        connection.connect()
    except ssl.SSLCertVerificationError as exc:
        return f"the certificate of {host} is not trusted: {exc.verify_message}"
    except TimeoutError:
        return f"{via} did not answer in {timeout_seconds:g} s"
    except (OSError, ValueError, http.client.HTTPException) as exc:
        refused = _TUNNEL.fullmatch(str(exc))
        if refused and proxy is not None:
            return proxy.refusal(int(refused[1]), "", host)
        reason = getattr(exc, "strerror", None) or type(exc).__name__
        return proxy.unreachable(reason) if proxy is not None else f"{host} cannot be reached: {reason}"
    finally:
        connection.close()
    return ""


def _reason(exc: Exception) -> str:
    """Name the error, and where a tunnel was refused the proxy's status, which is all that its text holds."""
    cause = exc.reason if isinstance(exc, urllib.error.URLError) else exc
    refused = _TUNNEL.fullmatch(str(cause))
    return f"no tunnel, HTTP {refused[1]}" if refused else type(cause).__name__


def _status(code: int) -> str:
    return f"HTTP {code}{', a redirect, and those are not followed' if 300 <= code < 400 else ''}"
