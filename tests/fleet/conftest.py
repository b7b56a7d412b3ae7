"""The fleets of this lane: a PostgreSQL of their own, an emulated cloud, and worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fleet import Fleet, made_fleet


@pytest.fixture
def fleet(tmp_path: Path, postgres_url: str) -> Iterator[Fleet]:
    """Give a fleet of twelve accounts of 24 zones without workers; they are ended after the test."""
    with made_fleet(tmp_path, postgres_url, zones=24, projects=12) as made:
        yield made
