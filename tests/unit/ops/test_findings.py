"""Each finding of `crawler doctor` is provoked by a test that says so."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.support.house import ROOT
from tests.support.provoked import site_of, sites


def claimed() -> Iterator[tuple[Path, str]]:
    """Yield the words of every `pytest.mark.provokes(…)` in the tests, with the file."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.provokes(" not in text:
            continue
        for call in ast.walk(ast.parse(text)):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.provokes":
                yield from ((path, str(ast.literal_eval(word))) for word in call.args)


def test_each_finding_is_provoked() -> None:
    """Each place that makes a finding is claimed by a test, which fails when it does not provoke it."""
    provoked = {site_of(words) for _, words in claimed()}

    assert len(sites()) > 50
    assert [site.text for site in sites() if site not in provoked] == []


def test_each_state_is_told_by_several() -> None:
    """The places are found whatever state they have, and those of two states count for both."""
    states = Counter(site.state for site in sites())
    both = [site for site in sites() if site.text.startswith(("warn: 'disk'", "fail: 'disk', text"))]

    assert min(states[state] for state in ("ok", "warn", "fail")) > 10
    assert len({(site.path, site.first) for site in both}) == 1
