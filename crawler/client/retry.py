"""
What a refusal means and what to do about it: classes of RetCodes, their explanation, and when to try again. Pure.

The classes go by meaning and not as the official SDKs do it, which retry every product code and none of the gateway's.
Codes: UCloudDoc-Team/api `summary/public.md`; 230 from ucloud-cli, which skips such a region.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

#: The classes that an answer of the cloud can have; the others of `models.FailureClass` are our own decisions.
AnswerClass = Literal["transient", "denied", "credential", "defect"]

#: "Request throttled".
THROTTLED = 153
TRANSIENT = frozenset({110, 130, 150, THROTTLED})
DENIED = frozenset({230, 292, 293, 299})
CREDENTIAL = frozenset({170, 171, 172, 174, 294, 295})
#: From here on a product speaks, not the gateway.
PRODUCT_CODES = 2000

#: A server that asks for more patience than this is not waited for.
LONGEST_RETRY_AFTER_SECONDS = 3600.0
#: Throttled answers slow the whole account down, so the one target need not back off far; and they are cheap, so many
#: are allowed.
THROTTLED_CAP_SECONDS = 2.0
THROTTLED_ATTEMPTS = 60

_MEANINGS: dict[int, str] = {
    110: "the gateway gave up waiting for the service behind it",
    130: "a fault of the API gateway or of its authentication service",
    150: "the service is unavailable and being restored",
    THROTTLED: "too many requests",
    160: "the request names no action",
    170: "the signature is missing, or was made over other parameters than were sent",
    171: "the signature is wrong: usually the private key does not belong to the public key",
    172: "no user has this public key",
    174: "the key is unknown here, or the endpoint wants a `channel-key` header and it is missing or wrong",
    230: "a place or project that is not open to this key",
    292: "the project does not exist for this key",
    293: "the zone is not open to this key",
    294: "the address this request came from is not on the account's IP white-list",
    295: "the account's security lock refused the key",
    299: "the key has no permission (IAM) for this action or project",
}


def classify_ret_code(code: int) -> AnswerClass:
    """Return the class of a RetCode other than 0."""
    if code in TRANSIENT or code >= PRODUCT_CODES:
        return "transient"
    if code in DENIED:
        return "denied"
    if code in CREDENTIAL:
        return "credential"
    return "defect"


def explain(code: int, action: str = "DescribeUK8SImage") -> str:
    """Say what a RetCode usually means, above all where its own message misleads; empty when nobody knows."""
    if code == 161:
        if action == "DescribeUK8SImage":
            return "this brand does not offer UK8S images here: its API does not know the action"
        return f"this endpoint does not know the action {action}"
    if code >= PRODUCT_CODES:
        return "an error of the product behind the gateway"
    return _MEANINGS.get(code, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often one request is tried, and how long is waited between."""

    #: All tries of a request, the first included.
    attempts: int
    base_seconds: float = 0.5
    cap_seconds: float = 20.0


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """Wait so long and try again, or give up (None)."""

    wait_seconds: float | None


GIVE_UP = RetryDecision(None)


def decide(
    policy: RetryPolicy,
    failure_class: AnswerClass,
    *,
    attempts_made: int,
    throttled_before: int = 0,
    is_throttled: bool = False,
    retry_after_seconds: float | None = None,
    uniform: Callable[[float, float], float],
) -> RetryDecision:
    """
    Decide what follows a refusal: full jitter `uniform(0, min(cap, base · 2**n))`, which a server's hint overrides.

    *attempts_made* counts the attempts that were not throttled, this one included; *throttled_before* the others.
    """
    if failure_class != "transient":
        return GIVE_UP
    if is_throttled:
        if throttled_before + 1 >= THROTTLED_ATTEMPTS:
            return GIVE_UP
        doublings, cap = throttled_before, min(policy.cap_seconds, THROTTLED_CAP_SECONDS)
    else:
        if attempts_made >= policy.attempts:
            return GIVE_UP
        doublings, cap = attempts_made - 1, policy.cap_seconds
    if retry_after_seconds is not None:
        return RetryDecision(retry_after_seconds) if retry_after_seconds <= LONGEST_RETRY_AFTER_SECONDS else GIVE_UP
    # 2**60 is far past every cap and still a float.
    return RetryDecision(uniform(0.0, min(cap, policy.base_seconds * 2.0 ** min(doublings, 60))))


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Read a `Retry-After` header, seconds or an HTTP date; None when there is none or it makes no sense."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        moment = http_date(value)
        if moment is None:
            return None
        seconds = (moment - now).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def http_date(value: str) -> datetime | None:
    """
    Return the date of a header in the zone that it names, UTC where it names none; None when it makes no sense.

    It is not turned into UTC: the last hours of the year 9999 lie in no calendar there.
    """
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
