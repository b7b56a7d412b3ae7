"""Any answer whatever to one target: the others are observed, and no image is withdrawn that nobody saw go."""

from __future__ import annotations

import re
import resource
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.simulation.arena import DEADLINE_SECONDS, GRACE_SECONDS, arena, examples
from tests.simulation.seeds import forget_template
from tests.support.acceptance_table import Proven

#: Played by the ordinary suite, a fifth at a time; and by the long lane, a fortieth at a time: a minute each, so
#: that the limit of a test that hangs is far off on a busy machine too.
EXAMPLES = 500
PORTION = 100
MANY = 20_000
LONG_PORTION = 500
FIRST_OF_MANY = 1_000
MOST_MEGABYTES = 250

AS_EVER = settings(
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True, kw_only=True)
class Fuzzed:
    """How a portion went."""

    runs: int
    longest_seconds: float
    megabytes: float
    #: None: all as it should be.
    failures: tuple[str, ...] = ()


def fuzz(numbers: range, count: int) -> Fuzzed:
    """
    Play *count* examples for each of *numbers*, the same for the same number.

    In a process of its own, for its memory is measured.
    """
    failures = []
    _forget_hypothesis()
    with arena() as place:
        for number in numbers:

            @seed(number)
            @settings(AS_EVER, max_examples=count)
            @given(examples())
            def play(example):
                place.play(example)

            try:
                play()
            except Exception as exc:  # noqa: BLE001 - told in the process that asked
                failures.append("".join(traceback.format_exception(exc)))
        forget_template()
        return Fuzzed(
            runs=place.runs,
            longest_seconds=place.longest_seconds,
            megabytes=_peak_megabytes(),
            failures=tuple(failures),
        )


def _forget_hypothesis() -> None:
    """Let Hypothesis read our sources for constants, which takes 200 MB once in a checkout; count the peak anew."""

    @settings(AS_EVER, max_examples=20)
    @given(examples())
    def draw(example):
        pass

    draw()
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")


def _peak_megabytes() -> float:
    """
    Return the most memory that this process had at once since it began, or since it was counted anew.

    Linux hands the peak of `getrusage` down from the process that started this one; what `/proc` tells is its own.
    """
    if sys.platform == "linux":
        [peak] = re.findall(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
        return int(peak) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def fuzz_apart(numbers: range, count: int) -> Fuzzed:
    """Play *count* examples for each of *numbers* one after the other, in a process of their own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(fuzz, numbers, count).result()


@pytest.mark.parametrize(
    "number", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, EXAMPLES // PORTION))]
)
def test_any_answer(number: int) -> None:
    """
    One of six targets answers anything: the others are observed, the run ends in 0 or 3, nothing false is withdrawn.

    What is really gone is withdrawn within the confirmations once true answers come; memory stays below 250 MB.
    """
    fuzzed = fuzz_apart(range(number, number + 1), PORTION)
    assert not fuzzed.failures, fuzzed.failures[0]
    assert fuzzed.runs > 2 * PORTION
    assert fuzzed.megabytes <= MOST_MEGABYTES


@pytest.mark.prove
@pytest.mark.parametrize("first", range(FIRST_OF_MANY, FIRST_OF_MANY + 2 * MANY // LONG_PORTION, 2))
def test_any_answer_at_length(first: int, proven: Proven) -> None:
    """The same with twenty thousand examples, five hundred at a time."""
    fuzzed = fuzz_apart(range(first, first + 2), LONG_PORTION // 2)
    proven(
        f"{LONG_PORTION:,} examples of any answers to one of six targets (from {first}): the others are observed in "
        f"every run, exit 0 or 3, none withdrawn that is there, what is gone withdrawn within the confirmations; "
        f"at most {MOST_MEGABYTES} MB, a deadline of {DEADLINE_SECONDS:g} s kept within {GRACE_SECONDS:g} s",
        f"{fuzzed.runs} runs, the longest {fuzzed.longest_seconds:.1f} s; "
        f"{fuzzed.megabytes:.0f} MB; {len(fuzzed.failures)} failures",
    )
    assert not fuzzed.failures, "\n\n".join(fuzzed.failures)
    assert fuzzed.megabytes <= MOST_MEGABYTES
