"""How long the crawls of a fleet wait."""

from __future__ import annotations

import pytest

from crawler.fleet.tasks import seconds_before


@pytest.mark.parametrize(("attempt", "seconds"), [(2, 3), (3, 6), (4, 12), (6, 48), (7, 60), (2000, 60)])
def test_waits_of_a_crawl_that_lost_the_database(attempt: int, seconds: float) -> None:
    """It waits twice as long each time, a minute at most, however often it was tried."""
    assert seconds_before(attempt) == seconds
