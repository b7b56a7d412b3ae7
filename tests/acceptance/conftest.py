"""A `driver`: one user with a configuration file, over SQLite and over PostgreSQL; `light` is SQLite alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.driving import Driver


@pytest.fixture
def driver(tmp_path: Path, database_url: str) -> Driver:
    return Driver(tmp_path, database_url)


@pytest.fixture
def light(tmp_path: Path, sqlite_url: str) -> Driver:
    return Driver(tmp_path, sqlite_url)
