"""What the pages keep of their readings: one for many at once, and nothing of a reading that failed."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from zoneinfo import ZoneInfo

import pytest

from crawler.errors import UnknownKnowledge
from crawler.web.pages import KEPT_SECONDS, Pages

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
READERS = 4


@pytest.fixture
def pages() -> Pages:
    return Pages(zone=ZoneInfo("UTC"), stale_after=timedelta(hours=48), clock=lambda: NOW, is_live=True)


def unknown() -> str:
    raise UnknownKnowledge("The history knows nothing of that moment.")


def test_readings_that_fail_leave_nothing(pages: Pages) -> None:
    """Ten thousand moments of which nothing is known, each asked for once, take no memory afterwards."""

    def ask(first: int, count: int) -> None:
        for number in range(first, first + count):
            with pytest.raises(UnknownKnowledge):
                pages.once(1, NOW, ("at", number), unknown)

    ask(0, 100)
    tracemalloc.start()
    try:
        ask(100, 10_000)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < 100_000


def test_one_reading_for_many_at_once(pages: Pages) -> None:
    """Those who ask the same while it is read wait for it; the next run, or a time later, has it read again."""
    begun = Barrier(READERS)
    read: list[None] = []

    def reading() -> int:
        read.append(None)
        return len(read)

    def ask() -> int:
        begun.wait(10)
        return pages.once(1, NOW, ("now",), reading)

    with ThreadPoolExecutor(READERS) as readers:
        assert [asked.result() for asked in [readers.submit(ask) for _ in range(READERS)]] == [1] * READERS
    assert pages.once(1, NOW + timedelta(seconds=KEPT_SECONDS - 1), ("now",), reading) == 1
    assert pages.once(1, NOW + timedelta(seconds=KEPT_SECONDS), ("now",), reading) == 2
    assert pages.once(2, NOW + timedelta(seconds=KEPT_SECONDS), ("now",), reading) == 3
