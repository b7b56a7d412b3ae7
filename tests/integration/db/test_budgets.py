"""The row of a shared budget on a real PostgreSQL: slots are given out once, whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from sqlalchemy import Engine

from crawler.client.shared_throttle import SHARED_PACE
from crawler.client.throttle import REGAIN
from crawler.db.budgets import BudgetRow
from crawler.db.engine import begin, opened


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    with opened(postgres_url) as made:
        yield made


def row_of(engine: Engine, rate: float = 10, name: str = "key") -> BudgetRow:
    row = BudgetRow(engine, name=name, rate=rate, period=1.0, pace=SHARED_PACE, regain=REGAIN)
    row.open()
    return row


def test_each_slot_once(engine: Engine) -> None:
    """Takers at the same time get slots of their own, each as far from the next as the rate has it."""
    row = row_of(engine)
    with ThreadPoolExecutor(4) as threads:
        given = list(threads.map(row.take, [3] * 20))
    moments = sorted(one.first + number * one.distance for one in given for number in range(one.count))

    assert len(moments) == 60
    assert min(after - before for before, after in pairwise(moments)) == pytest.approx(0.1 / SHARED_PACE, rel=1e-3)
    assert all(one.first >= one.now - 0.5 for one in given[:1])


def test_halves_once_a_period_and_grows_back(engine: Engine) -> None:
    """Refusals of one period halve the rate once, for everybody; a clean period gives a step of it back."""
    row, other = row_of(engine), row_of(engine)

    assert row.halve() == 5
    assert other.halve() == 5
    assert other.take(1).rate == 5
    with begin(engine) as conn:
        conn.exec_driver_sql("UPDATE budgets SET clean_since = clean_since - 1.1, halved_at = halved_at - 1.1")
    assert row.take(1).rate == 5
    assert other.take(1).rate == 5.5
    assert row.halve() == 2.75


def test_the_configuration_counts(engine: Engine) -> None:
    """A rate that was changed in the configuration is the budget's; one that was not leaves a halved rate alone."""
    row_of(engine).halve()
    assert row_of(engine).take(1).rate == 5
    assert row_of(engine, rate=4).take(1).rate == 4
    assert row_of(engine, rate=0.5, name="slow").halve() == 0.5


def test_a_pause_moves_the_next_slot(engine: Engine) -> None:
    """Nobody's slot lies before the end of a pause."""
    row = row_of(engine)
    until = row.take(1).now + 7
    row.halve(until)

    assert row.take(2).first == pytest.approx(until)


def test_slots_with_a_lead(engine: Engine) -> None:
    """Slots lie as far ahead as was asked for, and where others wait already behind theirs, as always."""
    row = row_of(engine)
    given = row.take(2, 0.3)
    assert given.first == pytest.approx(given.now + 0.3, abs=0.01)
    assert row.take(1, 0.1).first == pytest.approx(given.first + 2 * given.distance)
