"""How long the crawls of a fleet wait."""

from __future__ import annotations

import pytest

from crawler.fleet.tasks import seconds_after


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 3), (2, 6), (3, 12), (5, 48), (6, 60), (2000, 60)])
def test_waits_of_a_crawl_that_lost_the_database(attempt: int, seconds: float) -> None:
    """It waits twice as long each time, a minute at most, however often it was tried."""
    assert seconds_after(attempt) == seconds
