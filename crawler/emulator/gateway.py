"""
The gateway in front of the actions: decodes a request in any of the three encodings, knows the accounts, enforces
their rate.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from crawler.emulator.responses import RefusedRequest
from crawler.emulator.scenario import EmulatedAccount
from crawler.emulator.signature import flatten, is_signed_by


class SlidingWindow:
    """At most `rate` accepted requests in any trailing period; refused ones do not count."""

    def __init__(self, rate: float, period_seconds: float) -> None:
        # Less than one per period is one in a longer period.
        self._limit = max(1, int(rate))
        self._span = period_seconds if rate >= 1 else period_seconds / rate
        self._accepted: deque[float] = deque()

    def admits(self, now: float) -> bool:
        """Return whether a request arriving *now* is accepted, and count it if so."""
        while self._accepted and now - self._accepted[0] >= self._span:
            self._accepted.popleft()
        if len(self._accepted) >= self._limit:
            return False
        self._accepted.append(now)
        return True


def decode(query: str, body: bytes, content_type: str) -> dict[str, Any]:
    """Return the parameters of a request: a JSON object, a form, or the query of a GET; {} when nothing can be read."""
    if body:
        if "json" in content_type:
            try:
                document = json.loads(body)
            except ValueError:
                return {}
            return document if isinstance(document, dict) else {}
        query = body.decode("utf-8", "replace")
    return dict(parse_qsl(query, keep_blank_values=True))


class Gateway:
    """Lets a request through as an account's, or refuses it."""

    def __init__(self, accounts: Iterable[EmulatedAccount], *, rate: float | None, period_seconds: float) -> None:
        self.accounts = tuple(accounts)
        self._by_key = {account.public_key: account for account in self.accounts}
        self._windows = {key: SlidingWindow(rate, period_seconds) for key in self._by_key} if rate else {}

    def account_of(self, params: Mapping[str, Any]) -> EmulatedAccount | None:
        """Return the account whose public key the request carries."""
        return self._by_key.get(str(params.get("PublicKey", "")))

    def admit(
        self, params: Mapping[str, Any], *, channel_key: str | None, authorization: str | None, now: float
    ) -> tuple[EmulatedAccount, dict[str, str]]:
        """Return the account and the flat parameters of a request; raise Refusal."""
        if not params.get("Action"):
            raise RefusedRequest(160)
        if authorization:
            # OAuth is not emulated: a token alone is unknown, a token beside a signature is wrong.
            raise RefusedRequest(171 if "Signature" in params else 174)
        if not params.get("Signature"):
            raise RefusedRequest(170)
        account = self.account_of(params)
        if account is None:
            # A channel's domain is shared: the key is looked up in the channel that the header names.
            raise RefusedRequest(172 if channel_key is None else 174)
        if channel_key != account.channel_key:
            raise RefusedRequest(174)
        if not is_signed_by(params, account.private_key):
            raise RefusedRequest(171)
        window = self._windows.get(account.public_key)
        if window is not None and not window.admits(now):
            raise RefusedRequest(153)
        return account, flatten(params)
