"""`kill -9` at any moment: the database opens, holds whole targets, needs no repair, and the history loses nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from crawler.db.engine import opened
from crawler.emulator import run_in_thread
from tests.support.acceptance_table import Proven
from tests.support.life import WAYS, Life, Way, live
from tests.support.lives import changing_world, complaints, histories, unfinished
from tests.support.processes import Nursery, Order, Process, nursery, write_config

SEED = 20261123
STEPS = 240


@pytest.fixture(scope="module")
def heavy() -> Iterator[Nursery]:
    with nursery("heavy") as started:
        yield started


@pytest.fixture
def life(heavy: Nursery, database_url: str, tmp_path: Path, _sqlite_template: Path) -> Iterator[Life]:
    with live(heavy, tmp_path, database_url, _sqlite_template, steps=STEPS, seed=SEED) as lived:
        yield lived


def kill_at_random(life: Life, kills: int) -> None:
    """Kill so many runs at random moments of the time they take; one in ten is a process started from nothing."""
    rng = random.Random(SEED)
    seconds = {way: life.undisturbed(way, config=life.slow_config).seconds for way in WAYS}
    number = 0
    while life.kills < kills:
        number += 1
        way: Way = "process" if number % 10 == 0 else "command" if number % 5 == 0 else "batches"
        ended = life.killed(way, kill_after=rng.uniform(0, seconds[way]), config=life.slow_config)
        if not ended.was_killed:  # it was over: no kill, but the time a run takes now
            seconds[way] = ended.seconds
    life.finish()


def test_killed_at_random_moments(life: Life) -> None:
    """A run that is killed at a random moment leaves whole targets, and the next one completes the history."""
    kill_at_random(life, 10)


@pytest.mark.prove
def test_killed_at_100_random_moments(life: Life, proven: Proven) -> None:
    """After 100 kills at random moments the history says what that of an undisturbed life says."""
    kill_at_random(life, 100)
    kind = "SQLite" if life.url.startswith("sqlite") else "PostgreSQL"
    places = ", ".join(f"{count} {stage}" for stage, count in sorted(life.stages.items()))
    proven(
        f"kill -9 at random moments of a run with changes, {kind}: clean, completed by the next run, same history",
        f"{life.kills} of {life.kills} kills in {life.last_run()} runs; the killed had: {places}",
    )


def kill_at_statements(life: Life, numbers: range) -> None:
    """Kill a run right before each of these statements, as far as a run has so many."""
    for number in numbers:
        if not life.killed("batches", kill_at=number).was_killed:
            break
    life.finish()


def test_killed_after_each_commit(life: Life) -> None:
    """A run that is killed after any of its transactions leaves whole targets: none needs the transaction after it."""
    commits = 0
    while life.killed("batches", kill_after_commits=commits + 1).was_killed:
        commits += 1
    life.finish()

    assert commits >= 8
    assert life.stages["some recorded"] >= 4


@pytest.mark.prove
def test_killed_before_every_third_statement(life: Life, proven: Proven) -> None:
    """A run may be killed before every third statement it sends to the database, one after the other."""
    kill_at_statements(life, range(1, 400, 3))
    kind = "SQLite" if life.url.startswith("sqlite") else "PostgreSQL"
    places = ", ".join(f"{count} {stage}" for stage, count in sorted(life.stages.items()))
    proven(
        f"kill -9 before every third statement of a run, {kind}: whole targets, same history",
        f"{life.kills} of {life.kills} kills; the killed had: {places}",
    )


def test_first_run_killed(heavy: Nursery, tmp_path: Path) -> None:
    """A first run that is killed while it makes the schema leaves nothing that the next one could not use."""
    with run_in_thread(changing_world(4, SEED)) as cloud:
        for number in (1, 20, 50, 70):
            database = tmp_path / f"{number}.db"
            config = write_config(tmp_path / "crawler.toml", database=f"sqlite:///{database}", endpoint=cloud.url)
            order = Order(words=["--config", str(config), "run"], folder=str(tmp_path / "run"), kill_at=number)

            assert heavy.run(order).was_killed
            following = Process(tmp_path / "run", *order.words).end()

            assert following.code == 0, following.stderr
            with opened(database, read_only=True) as engine:
                assert complaints(engine) == []
                assert unfinished(engine) == []
                assert len(histories(engine)) == 7 * 4
