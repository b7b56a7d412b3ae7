"""
A dead man's switch, as healthchecks.io and others have it: `<URL>/start` when a run begins, `<URL>` when it was done,
`<URL>/fail` when it was not, with the summary as the body.

It must never harm the run: the calls are short, made beside it, and a switch that does not answer is a line in the log.
"""

from __future__ import annotations

import http.client
import logging
import urllib.error
import urllib.request
from threading import Thread
from typing import Literal
from urllib.parse import urlsplit

from crawler import __version__

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10.0
#: healthchecks.io keeps 100 kB.
LARGEST_BODY = 100_000

Signal = Literal["start", "done", "fail"]


def address(url: str, signal: Signal) -> str:
    """Give the URL of *signal*; what stands behind a question mark stays behind it."""
    parts = urlsplit(url)
    suffix = "" if signal == "done" else f"/{signal}"
    return parts._replace(path=parts.path.rstrip("/") + suffix if suffix else parts.path).geturl()


class Switch:
    """One run's calls; without a URL they go nowhere."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._calls: list[Thread] = []

    def start(self) -> None:
        """Say that a run begins, without waiting for the answer."""
        self._call("start", b"")

    def end(self, *, is_done: bool, body: str) -> None:
        """Say how the run ended, and wait until that is said, or cannot be."""
        for call in self._calls:  # the start must not arrive after the end
            call.join()
        self._call("done" if is_done else "fail", body.encode()[:LARGEST_BODY])
        for call in self._calls:
            call.join()

    def _call(self, signal: Signal, body: bytes) -> None:
        if self._url is None:
            return
        call = Thread(target=_post, args=(address(self._url, signal), signal, body), daemon=True)
        call.start()
        self._calls.append(call)


def _post(url: str, signal: Signal, body: bytes) -> None:
    headers = {"User-Agent": f"crawler/{__version__}", "Content-Type": "application/json; charset=utf-8"}
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310 - the schema takes http(s) alone
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310 - see above
            return
    except (OSError, ValueError, http.client.HTTPException) as exc:
        # The URL is a secret, and some errors repeat it.
        reason = f"HTTP {exc.code}" if isinstance(exc, urllib.error.HTTPError) else type(exc).__name__
        logger.info("the ping %s was not taken: %s", signal, reason)
        if isinstance(exc, urllib.error.HTTPError):
            exc.close()
