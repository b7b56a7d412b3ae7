"""Questions about the past, answered by the readers and by the oracle."""

from __future__ import annotations

import pytest

from tests.simulation.seeds import Game, play_on_all_cores, play_seeds, told, total
from tests.support.acceptance_table import Proven

#: Seeds of their own, with fewer runs and more questions.
FIRST = 100_000
GAME = Game(runs=30, questions=100)


@pytest.mark.parametrize("first", range(FIRST, FIRST + 10, 2))
def test_questions(first: int) -> None:
    """Random moments, in runs, between them, at their boundaries, before the first and after the last: all equal."""
    played = play_seeds(range(first, first + 2), GAME)
    assert not (failures := told(played, GAME)), failures
    assert total(played).questions == 2 * GAME.questions


@pytest.mark.prove
def test_all_questions(proven: Proven) -> None:
    """Ten thousand questions; every reason not to know something is among the answers."""
    played = play_on_all_cores(range(FIRST, FIRST + 100), GAME)
    tally = total(played)
    failed = [one for one in played if one.failure]
    proven(
        "10,000 random as-of questions against the oracle: all equal, `unknown` included",
        f"{tally.questions} questions, {tally.rows} rows equal, {len(failed)} seeds failed; {dict(tally.reasons)}",
    )
    assert not failed, told(failed, GAME)
    assert tally.questions == 10_000
    assert tally.reasons.keys() == {
        *("present", "held", "denied", "failed", "skipped", "retired", "deselected", "stale", "never_observed"),
    }
