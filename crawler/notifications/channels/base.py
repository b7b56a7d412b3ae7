"""
What a channel to people is: it makes a message of a digest, delivers it, and returns for each recipient how that went.

A channel is one module: `email` is the example. It maps the errors of its library to `TransportError` and `Refusal`, so
that the outbox knows what to try again: everything, sooner or later, but what was refused for good is said aloud.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from crawler.errors import CrawlerError, ExitCode
from crawler.notifications.models import Digest

#: What did not work: the way to the other side, one recipient, or this very message.
Scope = Literal["channel", "recipient", "message"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A digest as a channel delivers it; a retry delivers exactly these bytes."""

    content: bytes
    #: The same for the same digest, so that a second copy is recognized.
    message_id: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRefusal:
    """Why a recipient did not get a message."""

    scope: Scope
    #: The other side said no, and will say so again while nothing else changes.
    permanent: bool
    #: What it said, on one line, without secrets.
    message: str


class TransportError(CrawlerError):
    """Nobody got the message."""

    exit_code = ExitCode.UNDELIVERED

    def __init__(self, message: str, *, permanent: bool = False, scope: Scope = "channel") -> None:
        """Take what happened; *permanent*: it will happen again while nothing else changes."""
        super().__init__(message)
        self.refusal = DeliveryRefusal(scope=scope, permanent=permanent, message=message)


class Session(Protocol):
    """A way to the other side that is open now."""

    async def send(self, content: bytes, to: Sequence[str]) -> Mapping[str, DeliveryRefusal]:
        """
        Hand a message over and give those of *to* that did not get it; raise TransportError when nobody did.

        It returns as soon as the other side has accepted: whatever politeness asks for after that belongs to the end
        of the session, because what is accepted and not yet recorded is sent twice should the process die.
        """


class Channel(Protocol):
    """One way to reach people."""

    def compose(self, digest: Digest, to: Sequence[str], at: datetime, *, copy: str = "") -> Message:
        """
        Return the message that tells *digest* to the recipients as they are configured.

        *copy*: it is sent again on purpose, and must not be taken for a duplicate; differs from copy to copy.
        """

    def addresses(self, to: Sequence[str]) -> tuple[str, ...]:
        """Return what tells the configured recipients apart, each once; `send` takes these."""

    def session(self) -> AbstractAsyncContextManager[Session]:
        """Open a way to the other side; raises TransportError."""
