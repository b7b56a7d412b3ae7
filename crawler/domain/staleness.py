"""
What is not known of a target at a moment, and why: it is not asked, its last answer was bad, or it is too old. Pure.

The views say the same in SQL, and `queries.gaps` finds the spans of time for which it holds; tests compare them.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from crawler.domain.models import AbsenceReason, Outcome
from crawler.domain.rows import Reason

#: From when on knowledge is stale, where no configuration says otherwise.
STALE_AFTER = timedelta(hours=26)


def is_stale(observed_at: datetime, now: datetime, stale_after: timedelta) -> bool:
    """Return whether what was observed at *observed_at* is too old at *now*."""
    return now - observed_at > stale_after


def reason_of(
    outcome: Outcome | AbsenceReason | None, observed_at: datetime | None, now: datetime, stale_after: timedelta
) -> Reason | None:
    """
    Return why a target's images are unknown at *now*; None: they are known. Holds come in per image.

    *outcome* is that of the last run that had the target in its scope, or why it is asked no more; *observed_at* is
    the end of the last run that observed it well.
    """
    if outcome is not None and outcome != "ok" and outcome != "held":
        return outcome
    if observed_at is None:
        return "never_observed"
    return "stale" if is_stale(observed_at, now, stale_after) else None
