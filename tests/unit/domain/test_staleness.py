"""Why a target's images are unknown: the first reason that holds, to the second."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from crawler.config.key_types import read_settings
from crawler.db import views
from crawler.domain.staleness import STALE_AFTER, is_stale, reason_of
from tests.support.facts import NOON

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("outcome", "age", "expected"),
    [
        ("ok", STALE_AFTER, None),
        ("held", STALE_AFTER, None),
        ("ok", STALE_AFTER + SECOND, "stale"),
        ("ok", None, "never_observed"),
        (None, None, "never_observed"),
        ("failed", SECOND, "failed"),
        ("skipped", STALE_AFTER + SECOND, "skipped"),
        ("denied", None, "denied"),
        ("retired", STALE_AFTER + SECOND, "retired"),
        ("deselected", None, "deselected"),
    ],
)
def test_reason(outcome: Any, age: timedelta | None, expected: str | None) -> None:
    """Being asked no more outweighs a bad answer, that the age; exactly at its age knowledge is not stale yet."""
    observed_at = None if age is None else NOON - age

    assert reason_of(outcome, observed_at, NOON, STALE_AFTER) == expected
    assert age is None or is_stale(NOON - age, NOON, STALE_AFTER) == (age > STALE_AFTER)


def test_one_default() -> None:
    """The configuration and the views take the same age where nobody states one."""
    assert read_settings({}).stale_after == STALE_AFTER
    assert f", {int(STALE_AFTER.total_seconds())})" in "".join(views.create_views("sqlite"))
