"""
HTTP: signing, retries, the throttle, discovery and the fetcher. Async lives here.

The names are loaded when they are first used, so that importing the room loads no network stack: a run that finds the
lock taken ends before that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crawler.fetch.answers import Answer, Refusal
    from crawler.fetch.api import ApiClient, NetworkFailure
    from crawler.fetch.brake import Brake, CallCut
    from crawler.fetch.circuit import Circuit
    from crawler.fetch.discovery import Discovery, discover
    from crawler.fetch.fetcher import Fetcher
    from crawler.fetch.lanes import Ask
    from crawler.fetch.limits import PacedThrottler, RetryBudget
    from crawler.fetch.options import Endpoint, FetchCounts, FetchOptions, Timing
    from crawler.fetch.retry import classify_ret_code, explain
    from crawler.fetch.signing import signature, signed_form

__all__ = [
    "Answer",
    "ApiClient",
    "Ask",
    "Brake",
    "CallCut",
    "Circuit",
    "Discovery",
    "Endpoint",
    "FetchCounts",
    "FetchOptions",
    "Fetcher",
    "NetworkFailure",
    "PacedThrottler",
    "Refusal",
    "RetryBudget",
    "Timing",
    "classify_ret_code",
    "discover",
    "explain",
    "signature",
    "signed_form",
]

_HOMES = {
    "answers": ("Answer", "Refusal"),
    "api": ("ApiClient", "NetworkFailure"),
    "brake": ("Brake", "CallCut"),
    "circuit": ("Circuit",),
    "discovery": ("Discovery", "discover"),
    "fetcher": ("Fetcher",),
    "lanes": ("Ask",),
    "limits": ("PacedThrottler", "RetryBudget"),
    "options": ("Endpoint", "FetchCounts", "FetchOptions", "Timing"),
    "retry": ("classify_ret_code", "explain"),
    "signing": ("signature", "signed_form"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load *name* from the file it lives in."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
