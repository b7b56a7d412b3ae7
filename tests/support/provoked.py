"""
Which findings of `crawler doctor` a test provokes: the places in the code that make one, and those that a test reaches.

A test that is marked `provokes(words, …)` has to reach, for each of these, the one place whose code holds the words;
`tests/unit/ops/test_findings.py` fails for a place that no test is marked with.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

from crawler.ops import doctor, doctor_cloud, findings
from tests.support.house import ROOT

SOURCES = ("crawler/ops/doctor.py", "crawler/ops/doctor_cloud.py", "crawler/cli/doctor.py")
#: Where they get the makers of findings from when they make one; the command takes them from the last.
MAKERS = (doctor, doctor_cloud, findings)
STATES = ("ok", "warn", "fail")


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the code that makes a finding of one state."""

    path: str
    first: int
    last: int
    state: str
    #: `state: arguments`, as the code has them.
    text: str


def sites() -> list[Site]:
    """Return every place that makes a finding; one that makes two states of it counts twice."""
    return [
        Site(
            path,
            call.lineno,
            call.end_lineno or call.lineno,
            state,
            f"{state}: {', '.join(map(ast.unparse, call.args))}",
        )
        for path in SOURCES
        for call in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        for state in _states(call.func)
    ]


def _states(function: ast.expr) -> list[str]:
    return [node.id for node in ast.walk(function) if isinstance(node, ast.Name) and node.id in STATES]


def site_of(words: str) -> Site:
    """Return the one place whose code holds *words*."""
    found = [site for site in sites() if words in site.text]
    assert len(found) == 1, f"{len(found)} findings of the doctor are made by code that holds {words!r}"
    return found[0]


@contextmanager
def watched() -> Iterator[set[Site]]:
    """Note the places that make findings in this process; the findings are what they are."""
    every, seen = sites(), set[Site]()
    with ExitStack() as stack:
        for module, state in product(MAKERS, STATES):
            stack.enter_context(patch.object(module, state, _noting(state, every, seen)))
        yield seen


def _noting(state: str, every: list[Site], seen: set[Site]) -> Any:
    make = getattr(findings, state)

    def noted(*args: Any, **kwargs: Any) -> Any:
        caller = sys._getframe(1)
        path = Path(caller.f_code.co_filename)
        seen.update(
            site
            for site in every
            if path == ROOT / site.path and site.state == state and site.first <= caller.f_lineno <= site.last
        )
        return make(*args, **kwargs)

    return noted
