"""Any answer whatever to one target: the others are observed, and no image is withdrawn that nobody saw go."""

from __future__ import annotations

import resource
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.simulation.arena import DEADLINE_SECONDS, GRACE_SECONDS, arena, examples
from tests.support.acceptance_table import Proven

EXAMPLES = 500
MANY = 20_000
#: Processes of the long lane, each with examples of its own.
PORTIONS = 20
MOST_MEGABYTES = 250


@dataclass(frozen=True, kw_only=True)
class Fuzzed:
    """How a portion went."""

    runs: int
    longest_seconds: float
    megabytes: float
    #: Empty: all as it should be.
    failure: str = ""


def fuzz(number: int, count: int) -> Fuzzed:
    """Play *count* examples, the same for the same *number*; in a process of its own, for its memory is measured."""
    failure = ""
    with arena() as place:

        @seed(number)
        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(examples())
        def play(example):
            place.play(example)

        try:
            play()
        except Exception as exc:  # noqa: BLE001 - told in the process that asked
            failure = "".join(traceback.format_exception(exc))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        megabytes = peak / (2**20 if sys.platform == "darwin" else 2**10)
        return Fuzzed(runs=place.runs, longest_seconds=place.longest_seconds, megabytes=megabytes, failure=failure)


def fuzz_apart(numbers: range, count: int, jobs: int) -> list[Fuzzed]:
    """Play portions in processes of their own."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        return list(pool.map(fuzz, numbers, [count] * len(numbers)))


def test_any_answer() -> None:
    """
    One of six targets answers anything: the others are observed, the run ends in 0 or 3, nothing false is withdrawn.

    What is really gone is withdrawn within the confirmations once true answers come; memory stays below 250 MB.
    """
    [fuzzed] = fuzz_apart(range(1), EXAMPLES, jobs=1)
    assert not fuzzed.failure, fuzzed.failure
    assert fuzzed.runs > 2 * EXAMPLES
    assert fuzzed.megabytes <= MOST_MEGABYTES


@pytest.mark.prove
def test_any_answer_at_length(proven: Proven) -> None:
    """The same with twenty thousand examples."""
    played = fuzz_apart(range(1, 1 + PORTIONS), MANY // PORTIONS, jobs=2)
    failures = [one.failure for one in played if one.failure]
    proven(
        f"{MANY:,} examples of any answers to one of six targets: the others are observed in every run, exit 0 or 3, "
        f"no image withdrawn that is there, what is gone is withdrawn within the confirmations; memory at most "
        f"{MOST_MEGABYTES} MB, a deadline of {DEADLINE_SECONDS:g} s kept within {GRACE_SECONDS:g} s",
        f"{len(failures)} portions of {PORTIONS} failed; {sum(one.runs for one in played)} runs, the longest "
        f"{max(one.longest_seconds for one in played):.1f} s; {max(one.megabytes for one in played):.0f} MB",
    )
    assert not failures, "\n\n".join(failures)
    assert max(one.megabytes for one in played) <= MOST_MEGABYTES
