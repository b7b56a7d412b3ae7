"""The memory of `crawler run` in a process of its own, at the promised size and at ten times as many targets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.conftest import PROMISED, Large
from tests.benchmarks.load_server import Offer, load_server
from tests.benchmarks.own_process import Ran, crawler_run, python
from tests.support.figures import Figures

pytestmark = pytest.mark.prove

ROW = "memory"
BAR_MB = 150
#: Ten times the targets, but with few images each: the runs would take too long.
WIDE = Offer(projects=10, zones=4_500, images=3)


def test_memory(large: Large, figures: Figures) -> None:
    """The first run over 4,500 targets × 100 images, an unchanged one, and one with changes everywhere: ≤ 150 MB."""
    unchanged = large.run()
    large.server.churn(PROMISED.targets)
    changed = large.run()
    assert changed.summary["changes"]["appeared"] == PROMISED.targets
    libraries = python("-c", "import aiohttp, sqlalchemy, pydantic, crawler.crawl.run")

    for case, ran in (("first run", large.first), ("unchanged run", unchanged), ("all changed", changed)):
        detail = f"{ran.seconds:.1f} s as a process, {PROMISED.targets:,} targets × {PROMISED.images} images"
        what = "peak over 4,500 targets × 100 images"
        figures.at_most(ROW, what, ran.peak_mb, BAR_MB, "MB", case=case, detail=detail)
    cost = 1000 * (changed.seconds - unchanged.seconds) / (2 * PROMISED.targets)
    detail = "one image replaced in each, beyond an unchanged run; once, as a process"
    figures.at_most("changed run", "time per change over 4,500 targets", cost, 1.0, "ms", case="SQLite", detail=detail)
    figures.shown(ROW, "of that, the libraries alone", libraries.peak_mb, "MB", minor=True)


@pytest.mark.counts
def test_memory_is_flat(tmp_path: Path, figures: Figures) -> None:
    """Ten times as many targets take no more."""
    with load_server(WIDE) as server:
        runs: dict[str, Ran] = {}
        for case in ("first run", "unchanged run"):
            runs[case] = crawler_run(tmp_path, server.url, tmp_path / "crawler.db")
            assert runs[case].summary["targets"]["ok"] == WIDE.targets

    for case, ran in runs.items():
        detail = f"{ran.seconds:.1f} s as a process, {WIDE.images} images each; the bar is the promised one"
        figures.at_most(ROW, "peak over 45,000 targets", ran.peak_mb, BAR_MB, "MB", case=case, detail=detail)
