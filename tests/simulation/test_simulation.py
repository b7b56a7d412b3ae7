"""Seeds of the model world: what the pipeline records is what a perfect observer could have known, and no more."""

from __future__ import annotations

from typing import get_args

import pytest
from sqlalchemy import Engine

from crawler.emulator import QUIRKS, run_in_thread
from crawler.emulator.scenario import FaultEffect
from tests.simulation.lies import WAYS
from tests.simulation.seeds import Game, Played, play, play_on_all_cores, play_seeds, told, total
from tests.simulation.sockets import SocketSimulation, empty_timeline, over_sockets
from tests.simulation.world import Weather
from tests.support.acceptance_table import Proven

#: Every tenth of these is played by the ordinary suite.
SEEDS = 1_000
PORTION = 100
FIRST_OF_POSTGRESQL = 500_000
FIRST_OF_SOCKETS = 600_000
SLOW = pytest.mark.slow


@pytest.mark.parametrize("first", [0, *(pytest.param(first, marks=SLOW) for first in range(10, SEEDS // 10, 10))])
def test_seeds(first: int) -> None:
    """No image that is there is withdrawn, and every true change is recorded in its run, or after its confirmations."""
    played = play_seeds(range(first, first + 10), Game())
    assert not (failures := told(played, Game())), failures
    tally = total(played)
    assert tally.runs == 10 * Game().runs
    assert min(tally.outcomes.values()) > 0, "every outcome is met"


@pytest.mark.prove
@pytest.mark.parametrize("first", range(0, SEEDS, PORTION))
def test_all_seeds(first: int, proven: Proven) -> None:
    """A thousand seeds of fifty runs, a tenth at a time."""
    seeds = range(first, first + PORTION)
    played = play_on_all_cores(seeds, Game())
    tally = total(played)
    failed = [one for one in played if one.failure]
    proven(
        f"{PORTION} seeds x 50 runs (from seed {first}): 0 withdrawals of an image that is still offered but on the "
        "word of answers that nothing tells from true ones, 100 % of true changes recorded in their run, or after "
        "their confirmations with the right date",
        f"{len(played) - len(failed)} seeds hold; {tally.runs} runs, {tally.true_changes} changes, "
        f"{tally.waited_for_confirmation} of them after a hold; {tally.deaths} runs killed; "
        f"{tally.lies.total()} lies ({len(tally.lies)} ways), {tally.deceived} withdrawals had to be believed; "
        f"outcomes {dict(tally.outcomes)}; holds {dict(tally.holds)}",
    )
    assert not failed, told(failed, Game())


@pytest.mark.parametrize("seed", range(FIRST_OF_POSTGRESQL, FIRST_OF_POSTGRESQL + 4))
def test_seeds_on_both_databases(engine: Engine, seed: int) -> None:
    """SQLite on a disk and PostgreSQL give the same answers."""
    game = Game(runs=15, questions=20)
    one = play(engine, seed, game)
    assert not (failure := told([one], game)), failure


@pytest.mark.parametrize("seed", range(FIRST_OF_SOCKETS, FIRST_OF_SOCKETS + 6))
def test_seeds_over_sockets(scratch: Engine, seed: int) -> None:
    """The same holds through the emulator's server, with real connections and threads."""
    weather = Weather(seed)
    with run_in_thread(empty_timeline()) as server:
        simulation = SocketSimulation(scratch, server, weather.model, seed=seed)
        for _ in range(25):
            simulation.run(over_sockets(weather.next_plan()))
        for moment in simulation.moments[::20]:
            simulation.ask(moment)
        simulation.close()
    assert simulation.tally.outcomes["ok"] > 0


def test_weather_is_bad_enough() -> None:
    """The world meets every fault, every shape an answer can take without other content, and every way to lie."""
    effects: set[str] = set()
    shapes: set[str] = set()
    ways: set[str] = set()
    for seed in range(40):
        weather = Weather(seed)
        for _ in range(50):
            plan = weather.next_plan()
            effects.update(fault.effect for fault in plan.faults)
            shapes |= weather.model.quirks
            ways.update(lie.way for lie in plan.lies.values())
    assert ways == WAYS
    assert effects == set(get_args(FaultEffect))
    assert QUIRKS.keys() - shapes == {"set-new", "unknown-set", "small-pages", "no-total"}


def test_failure_tells_how_to_replay_it() -> None:
    """A seed that fails prints the command that plays just it, and the last runs."""
    one = Played(seed=17, tally=total([]), trace=("01-01 00:00 + hk-02 uimage-1",), failure="AssertionError: no")
    text = told([one], Game())
    assert text.startswith("replay: python -m tests.simulation --seed 17 --runs 50 --questions 2")
    assert "uimage-1" in text
    assert text.endswith("AssertionError: no")
