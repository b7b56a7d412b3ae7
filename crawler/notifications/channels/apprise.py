"""
The channel `apprise`: Slack, DingTalk, WeCom, Teams and the rest, by the package Apprise, which is an extra.

Apprise tells whether a service took a message and not why it did not, so a failure is tried again; what it logs may
hold the address and is not shown. Its calls block, so they are made in a thread.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime
from threading import Thread
from typing import Any

from crawler.domain.subscriptions import APPRISE_MISSING
from crawler.notifications.channels.base import DeliveryRefusal, Message
from crawler.notifications.channels.http import LIMITS, HookOptions, failure, identity_of, message_of, view_of
from crawler.notifications.i18n import WORDS
from crawler.notifications.models import Digest
from crawler.notifications.rendering.render import as_text

#: Longer texts are of no use in a chat.
_LARGEST_TEXT = 8_000
#: These would call people, or be markup, in one chat or another.
_DEFUSED = str.maketrans({char: f"{char}\N{ZERO WIDTH SPACE}" for char in "@<"})


class AppriseChannel:
    """Sends digests to one service."""

    def __init__(self, options: HookOptions) -> None:
        """Take the service's Apprise URL."""
        self._options = options

    def compose(self, digest: Digest, to: Sequence[str], at: datetime, *, copy: str = "") -> Message:
        """Return title and text that tell *digest*."""
        for limits in LIMITS:
            seen = view_of(digest, limits)
            text = as_text(seen)
            if len(text.encode()) <= _LARGEST_TEXT:
                break
        return message_of(
            {
                "message_id": identity_of(digest, copy),
                "subject": seen.subject,
                "text": text,
                "more": WORDS[digest.subscription.language].more,
            }
        )

    def addresses(self, to: Sequence[str]) -> tuple[str, ...]:
        """Return the one name of the service."""
        return (self._options.name,)

    def session(self) -> AbstractAsyncContextManager[AppriseSession]:
        """Load Apprise and read the URL; raises TransportError."""
        return _session(self._options)


class AppriseSession:
    """A service that Apprise knows."""

    def __init__(self, service: Any, options: HookOptions) -> None:
        """Take an `apprise.Apprise` with one service."""
        self._service = service
        self._options = options

    async def send(self, content: bytes, to: Sequence[str]) -> Mapping[str, DeliveryRefusal]:
        """Hand a message over; raises TransportError when the service did not take it."""
        message = json.loads(content)
        try:
            taken = await _patiently(lambda: self._notify(message), self._options.timeout_seconds)
        except TimeoutError:
            said = f"{self._options.name} did not take the message in {self._options.timeout_seconds:g} s"
            raise failure(said, permanent=False) from None
        except Exception as exc:  # noqa: BLE001 - whatever a plugin raises; its text may hold the address
            raise failure(f"{self._options.name} failed ({type(exc).__name__})", permanent=False) from None
        if not taken:
            raise failure(f"{self._options.name} did not take the message", permanent=False)
        return {}

    def _notify(self, message: Mapping[str, str]) -> bool:
        title = message["subject"].translate(_DEFUSED)
        room = min(service.body_maxlen for service in self._service) - len(title) - 2
        text = shortened(message["text"].translate(_DEFUSED), room, message["more"])
        return bool(self._service.notify(title=title, body=text, body_format="text"))


async def _patiently(work: Callable[[], bool], seconds: float) -> bool:
    """
    Do *work* on a thread that nothing waits for any longer than *seconds*; raises TimeoutError then.

    A thread of the event loop's own would keep a finished run until the slowest service has answered.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bool] = loop.create_future()

    def settle(taken: bool, error: Exception | None) -> None:
        if not done.done():
            done.set_exception(error) if error else done.set_result(taken)

    def go() -> None:
        taken, error = False, None
        try:
            taken = work()
        except Exception as exc:  # noqa: BLE001 - raised again where it is waited for
            error = exc
        with suppress(RuntimeError):  # the loop is gone
            loop.call_soon_threadsafe(settle, taken, error)

    Thread(target=go, daemon=True).start()
    async with asyncio.timeout(seconds):
        return await done


def shortened(text: str, room: int, more: str) -> str:
    """Return as many lines of *text* as *room* has characters for; *more* counts the others."""
    if len(text) <= room:
        return text
    lines = text.splitlines()
    for kept in range(len(lines) - 1, -1, -1):
        short = "\n".join([*lines[:kept], more.format(n=len(lines) - kept)])
        if len(short) <= room:
            return short
    return text[: max(1, room)]


@asynccontextmanager
async def _session(options: HookOptions) -> AsyncIterator[AppriseSession]:
    try:
        library = await asyncio.to_thread(importlib.import_module, "apprise")
    except ImportError:
        raise failure(APPRISE_MISSING, permanent=True) from None
    # Both tell their log addresses, tokens included.
    for name in ("apprise", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    asset = library.AppriseAsset(app_id="crawler", app_desc="image crawler", secure_logging=True, http_redirects=False)
    service = library.Apprise(asset=asset)
    if not service.add(options.url):
        raise failure(f"{options.name} is no service that Apprise knows, or its URL is not whole", permanent=True)
    yield AppriseSession(service, options)
