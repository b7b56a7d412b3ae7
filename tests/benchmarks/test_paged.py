"""10,000 UHost images of one zone, in 100 pages: requests, memory, and what an unchanged run adds."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from crawler.emulator import EmulatorServer, run_in_thread
from tests.benchmarks.own_process import Ended, python
from tests.support.figures import Figures
from tests.support.kinds import kinds_timeline, uhost_image
from tests.support.processes import write_config

pytestmark = pytest.mark.prove

IMAGES, PAGES = 10_000, 100
#: Unchanged runs over which the growth of the file is divided: it grows by whole pages.
RUNS = 40


def size_of(database: Path) -> int:
    """Return the size of the database once nothing in it is empty."""
    with sqlite3.connect(database) as raw:
        raw.execute("VACUUM")
    raw.close()
    return database.stat().st_size


def run(config: Path, server: EmulatorServer) -> tuple[Ended, int]:
    """Run once in a process of its own; give what it took, and how many pages it asked for."""
    server.log.clear()
    ran = python("-m", "crawler", "--config", config, "run", "--json")
    assert ran.code == 0, ran
    return ran, sum(line.action == "DescribeImage" for line in server.log)


@pytest.mark.counts
def test_paged(tmp_path: Path, figures: Figures) -> None:
    """A zone of 10,000 images costs a request a page and one more at most, 150 MB, and unchanged a row of 300 bytes."""
    images = [uhost_image(number) for number in range(IMAGES)]
    changed = [*images[1:], uhost_image(IMAGES)]
    story = [{"inventory": {"uhost-image": {"hk-02": changed}}}]
    config, database = tmp_path / "crawler.toml", tmp_path / "crawler.db"
    with run_in_thread(kinds_timeline({"uhost-image": {"hk-02": images}}, steps=story)) as server:
        write_config(config, database=str(database), endpoint=server.url, rate=1e6, run_deadline_seconds=300)
        config.write_text(config.read_text().replace("[[accounts]]", '[[accounts]]\nkinds = ["uhost-image"]', 1))
        first, pages = run(config, server)
        unchanged, again = run(config, server)
        before = size_of(database)
        for _ in range(RUNS):
            run(config, server)
        grown = (size_of(database) - before) / RUNS
        server.advance()
        last, _ = run(config, server)

    assert json.loads(first.stdout)["baseline"] == {"targets": 1, "images": IMAGES}
    assert json.loads(last.stdout)["changes"]["withdrawn"] == 1
    for what, asked in (("first run", pages), ("unchanged run", again)):
        figures.at_most("connections", "requests for 100 pages", asked, PAGES + 1, case=what)
    for what, ran in (("first run", first), ("unchanged run", unchanged), ("changed run", last)):
        detail = f"{ran.seconds:.1f} s as a process, one zone in {PAGES} pages"
        figures.at_most("memory", "peak over 10,000 UHost images", ran.peak_mb, 150, "MB", case=what, detail=detail)
    figures.at_most("unchanged run", "growth per run, 10,000 UHost images", grown, 300, "B", case="SQLite")
