"""The values that configure this package: where to ask and as whom, how fast, and what time it is."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from crawler import __version__
from crawler.client.retry import RetryPolicy
from crawler.domain.proxies import Proxy

USER_AGENT = f"crawler/{__version__} (image inventory)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where one account is asked, and with which keys; nothing secret shows in its repr."""

    url: str
    public_key: str = field(repr=False)
    private_key: str = field(repr=False)
    #: Sent with every request, such as `channel-key`; those with an empty value are not sent.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    user_agent: str = USER_AGENT
    #: Certificates to trust instead of the system's.
    ca_file: str | None = None
    #: The forward proxy that leads there; None: it is asked directly.
    proxy: Proxy | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return what no text of the other side may show: keys, extra headers' values, and the proxy's password."""
        of_proxy = self.proxy.secrets if self.proxy is not None else ()
        return (self.private_key, self.public_key, *self.headers.values(), *of_proxy)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOptions:
    """How one account is asked; what holds where nobody says so stands in `Limits` of the configuration."""

    #: Requests per period.
    rate: float
    period_seconds: float
    #: Calls in flight, and connections.
    concurrency: int
    #: Tries of a request, the first included.
    attempts: int
    #: The longest wait for one answer; the gateway itself gives up after 60 s.
    timeout_seconds: float

    @property
    def retry_policy(self) -> RetryPolicy:
        """Return the policy that these options mean."""
        return RetryPolicy(attempts=self.attempts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Time and chance, as arguments: the wall clock (aware UTC), the monotonic one, sleeping, and jitter."""

    clock: Callable[[], datetime]
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchCounts:
    """Requests of one account: all attempts, those after the first of their question, and those refused as too many."""

    sent: int = 0
    retried: int = 0
    throttled: int = 0

    def __add__(self, other: FetchCounts) -> FetchCounts:
        """Add two counts."""
        return FetchCounts(
            sent=self.sent + other.sent,
            retried=self.retried + other.retried,
            throttled=self.throttled + other.throttled,
        )

    def __sub__(self, other: FetchCounts) -> FetchCounts:
        """Return what was counted since *other*."""
        return FetchCounts(
            sent=self.sent - other.sent,
            retried=self.retried - other.retried,
            throttled=self.throttled - other.throttled,
        )
