"""Databases of the simulation: small, in memory where the system has a place for that, and gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from tests.simulation.seeds import forget_template, fresh_database


@pytest.fixture(scope="session", autouse=True)
def _forget_template() -> Iterator[None]:
    yield
    forget_template()


@pytest.fixture
def scratch() -> Iterator[Engine]:
    with fresh_database() as engine:
        yield engine
