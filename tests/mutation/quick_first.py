"""
A pytest plugin that lets a mutant cost little: the quickest tests run first, and no failure is studied further.

Properties are tried with the same examples each time, so that a mutant that survives does so again.
"""

from __future__ import annotations

import json
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile(
    "mutants", phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate), derandomize=True, database=None
)
hypothesis.settings.load_profile("mutants")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests by what they took before, as far as mutmut has measured it in the present folder."""
    measured = Path("mutmut-stats.json")
    if measured.is_file():
        seconds = json.loads(measured.read_text())["duration_by_test"]
        items.sort(key=lambda item: seconds.get(item.nodeid, 0.0))
