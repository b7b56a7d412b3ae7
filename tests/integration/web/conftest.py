"""What tests of the served page share: the server of a module's `diary`, and its clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest

from tests.support.diary import Diary
from tests.support.web import page_server


@pytest.fixture
def clock(diary: Diary) -> Callable[[], datetime]:
    return lambda: diary.now + timedelta(minutes=1)


@pytest.fixture
def server(database_url: str, clock: Callable[[], datetime]) -> Iterator[str]:
    with page_server(database_url, clock=clock) as url:
        yield url
