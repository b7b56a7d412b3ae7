"""Classes of RetCodes, and when a target is tried again."""

from __future__ import annotations

from dataclasses import MISSING, fields
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.client.api_options import FetchOptions
from crawler.client.retry import (
    THROTTLED_ATTEMPTS,
    AnswerClass,
    RetryPolicy,
    classify_ret_code,
    decide,
    explain,
    retry_after_seconds,
)
from crawler.config.models import Limits

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def highest(low: float, high: float) -> float:
    """Jitter at its most."""
    assert low == 0.0
    return high


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ((110, 130, 150, 153), "transient"),
        # product codes, from 2000 on
        ((2000, 2001, 8010, 94007, 214001), "transient"),
        ((230, 292, 293, 299), "denied"),
        ((170, 171, 172, 174, 294, 295), "credential"),
        # a bug of ours, a brand without the action, and what nobody has seen yet
        ((160, 161, 1, -1, 199, 1999), "defect"),
    ],
)
def test_classes(codes: tuple[int, ...], expected: AnswerClass) -> None:
    """Every RetCode has the class of its meaning."""
    assert {classify_ret_code(code) for code in codes} == {expected}


@pytest.mark.parametrize(
    ("code", "words"),
    [(174, "`channel-key` header"), (294, "white-list"), (161, "does not offer UK8S images here"), (8010, "product")],
)
def test_misleading_codes(code: int, words: str) -> None:
    """A code whose message misleads is explained."""
    assert words in explain(code)


def test_explained_elsewhere() -> None:
    """Another action is explained by its own name; a code nobody knows is not explained."""
    assert "GetRegion" in explain(161, "GetRegion")
    assert explain(161, "GetRegion").count("UK8S") == 0
    assert explain(199) == ""


def test_full_jitter() -> None:
    """The wait is uniform between 0 and a bound that doubles up to the cap."""
    policy = RetryPolicy(attempts=9, base_seconds=0.5, cap_seconds=6.0)

    waits = [decide(policy, "transient", attempts_made=n, uniform=highest).wait_seconds for n in range(1, 10)]

    assert waits == [0.5, 1.0, 2.0, 4.0, 6.0, 6.0, 6.0, 6.0, None]


@given(made=st.integers(1, 10**6), throttled=st.integers(0, 10**6), is_throttled=st.booleans())
def test_bounded(made: int, throttled: int, is_throttled: bool) -> None:
    """No count of attempts makes a wait longer than the cap, or goes on for ever."""
    decision = decide(
        RetryPolicy(attempts=10**7),
        "transient",
        attempts_made=made,
        throttled_before=throttled,
        is_throttled=is_throttled,
        uniform=highest,
    )

    wait = decision.wait_seconds
    assert wait is None or wait <= 20.0
    assert (wait is None) == (is_throttled and throttled + 1 >= THROTTLED_ATTEMPTS)


@pytest.mark.parametrize("failure_class", ["denied", "credential", "defect"])
def test_no_retry(failure_class: AnswerClass) -> None:
    """Only transient failures are tried again."""
    assert decide(RetryPolicy(attempts=4), failure_class, attempts_made=1, uniform=highest).wait_seconds is None


def test_throttled_costs_no_attempt() -> None:
    """A throttled answer is tried again when the attempts are used up, after a short wait."""
    policy = RetryPolicy(attempts=1, base_seconds=0.5)

    again = decide(policy, "transient", attempts_made=1, throttled_before=9, is_throttled=True, uniform=highest)

    assert again.wait_seconds == 2.0


@pytest.mark.parametrize(("throttled", "is_over"), [(58, False), (59, True)])
def test_sixty_throttled_answers(throttled: int, is_over: bool) -> None:
    """The sixtieth throttled answer to one question is the last."""
    again = decide(
        RetryPolicy(attempts=4),
        "transient",
        attempts_made=1,
        throttled_before=throttled,
        is_throttled=True,
        uniform=highest,
    )

    assert (again.wait_seconds is None) == is_over


def test_hint_overrides() -> None:
    """Retry-After replaces the jitter; one of more than an hour is not waited for."""
    policy = RetryPolicy(attempts=4)
    waits = [
        decide(policy, "transient", attempts_made=1, retry_after_seconds=hint, uniform=highest).wait_seconds
        for hint in (0.0, 7.0, 3600.0, 3601.0)
    ]

    assert waits == [0.0, 7.0, 3600.0, None]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("3", 3.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("Mon, 01 Jun 2026 12:00:30 GMT", 30.0),
        ("Mon, 01 Jun 2026 11:00:00 GMT", 0.0),
        # no zone is written as -0000: UTC
        ("Mon, 01 Jun 2026 12:00:30 -0000", 30.0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Mon, 99 Jun 2026 12:00:30 GMT", None),
        # in no calendar
        ("Mon, 01 Jan 99999 00:00:00 GMT", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +9999", None),
        ("1e999", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    """The header is read as seconds or as a date; nonsense counts as none."""
    assert retry_after_seconds(header, NOW) == seconds


def test_defaults_stand_in_one_place() -> None:
    """The client has no default of its own for what `[limits]` says: one that differed would hold for nobody."""
    stated = {one.name for one in fields(Limits)}
    named = [one for options in (FetchOptions, RetryPolicy) for one in fields(options) if one.name in stated]

    assert len(named) == 6
    assert [one.name for one in named if one.default is not MISSING] == []
