"""Plays seeds, one or a thousand: a fresh database for each, a trace and a command to replay for the one that fails."""

from __future__ import annotations

import functools
import os
import random
import shutil
import tempfile
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from sqlalchemy import Engine

from crawler.cli.run import rare_collections
from crawler.db.engine import opened
from crawler.db.migrations import upgrade
from tests.simulation.checks import Tally
from tests.simulation.readers import Readers
from tests.simulation.run import Simulation
from tests.simulation.world import Weather
from tests.support.scratch import scratch

#: Lines of the trace that a failure shows.
TOLD_LINES = 60


@dataclass(frozen=True, kw_only=True)
class Game:
    """How a seed is played."""

    runs: int = 50
    questions: int = 2
    #: Questions to all the readers in turn, at random moments of the game.
    readers: int = 0


@dataclass(frozen=True, kw_only=True)
class Played:
    """How it went."""

    seed: int
    tally: Tally
    trace: tuple[str, ...] = ()
    #: Empty: all as it should be.
    failure: str = ""


def play(engine: Engine, seed: int, game: Game) -> Played:
    """Play *seed* over an empty migrated database: runs, with questions between them and at the end."""
    weather = Weather(seed)
    simulation = Simulation(engine, weather.model, seed=seed)
    readers = Readers(simulation, random.Random(f"readers {seed}")) if game.readers else None
    rng = random.Random(f"questions {seed}")
    failure = ""
    try:
        for number in range(game.runs - 1):
            simulation.run(weather.next_plan())
            if number % 10 == 9:
                for _ in range(game.questions // 10):
                    simulation.ask_anything(rng)
            if readers and (rng.random() < 0.3 or readers.is_odd_moment):
                readers.ask_until(game.readers * number // game.runs)
        simulation.run()
        for _ in range(game.questions - simulation.tally.questions):
            simulation.ask_anything(rng)
        if readers:
            readers.ask_until(game.readers)
        simulation.check_holds()
    except Exception as exc:  # noqa: BLE001 - told with the trace
        failure = "".join(traceback.format_exception(exc)[-6:]) + (f"\n{readers.last}" if readers else "")
    finally:
        simulation.close()
        if readers:
            readers.close()
    return Played(seed=seed, tally=simulation.tally, trace=tuple(simulation.trace), failure=failure)


@functools.cache
def template() -> Path:
    """Return a migrated SQLite file of this process, in memory where the system has a place for that."""
    folder = tempfile.mkdtemp(prefix="crawler-simulation-", dir=scratch(room=2**28))
    path = Path(folder) / "template.db"
    with opened(path) as engine:
        upgrade(engine)
    return path


@functools.cache
def _kept() -> tuple[Engine, ExitStack]:
    """Return the engine of every fresh database in turn, with what closes it: what it compiled once is kept."""
    closing = ExitStack()
    return closing.enter_context(opened(template().with_name("seed.db"))), closing


def forget_template() -> None:
    """Remove what `template` made, where it did."""
    if _kept.cache_info().currsize:
        _kept()[1].close()
        _kept.cache_clear()
    if template.cache_info().currsize:
        shutil.rmtree(template().parent, ignore_errors=True)
        template.cache_clear()


@contextmanager
def fresh_database() -> Iterator[Engine]:
    """Return an empty migrated database for a `with` block; it takes the place of the one before."""
    engine, _ = _kept()
    engine.dispose()
    shutil.copyfile(template(), template().with_name("seed.db"))
    try:
        yield engine
    finally:
        engine.dispose()


def play_seed(seed: int, game: Game) -> Played:
    """Play one seed over a database of its own."""
    with fresh_database() as engine:
        return play(engine, seed, game)


def play_seeds(seeds: Iterable[int], game: Game) -> list[Played]:
    """Play seeds one after the other, and stop at the first that fails."""
    played: list[Played] = []
    try:
        with rare_collections():
            for seed in seeds:
                played.append(play_seed(seed, game))
                if played[-1].failure:
                    break
    finally:
        forget_template()
    return played


def play_on_all_cores(seeds: range, game: Game) -> list[Played]:
    """Play seeds on every core."""
    jobs = os.cpu_count() or 1
    portions = [seeds[start : start + 10] for start in range(0, len(seeds), 10)]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        return [one for many in pool.map(play_seeds, portions, [game] * len(portions)) for one in many]


def told(played: Iterable[Played], game: Game) -> str:
    """Tell every failure: how to play it again, what happened, what was wrong; empty when there is none."""
    return "\n\n".join(
        f"replay: python -m tests.simulation --seed {one.seed} --runs {game.runs} --questions {game.questions}"
        + (f" --readers {game.readers}" if game.readers else "")
        + "\n"
        + "\n".join(one.trace[-TOLD_LINES:])
        + f"\n{one.failure}"
        for one in played
        if one.failure
    )


def total(played: Iterable[Played]) -> Tally:
    """Add everything up."""
    tally = Tally()
    for one in played:
        tally.add(one.tally)
    return tally
