"""
The web page at its promised size: 100 zones, 90 days, 850,000 intervals in ten projects; and under many readers.

A page's time is from its address to its HTML, of a server that has just been started: the best of a few.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import Engine

from crawler.db.engine import opened, read
from crawler.web.pages import PageRequest, Pages
from tests.benchmarks.five_years import generate
from tests.benchmarks.load_server import Offer, load_server
from tests.benchmarks.own_process import crawler_run
from tests.support.acceptance_table import Proven
from tests.support.figures import Figures
from tests.support.house import ROOT
from tests.support.web import SHANGHAI, STALE

pytestmark = [pytest.mark.prove, pytest.mark.filterwarnings("ignore::ResourceWarning")]

PAGES = ("", "now", "names/system-3-v0", "changes", "coverage")
MILLISECONDS, LARGEST, TIMES = 150, 100_000, 5
READERS, SECONDS = 50, 60
OFFER = Offer(projects=5, zones=100, images=20)


def test_pages(both: Engine, figures: Figures) -> None:
    """Every page of 100 zones and 90 days takes at most 150 ms, and has at most 100 kB."""
    made = generate(both, zones=100, changed=750_000)
    assert made.intervals >= 850_000
    now = made.end + timedelta(minutes=3)
    times: dict[str, float] = {}
    sizes: dict[str, int] = {}
    with opened(both.url.render_as_string(hide_password=False), read_only=True) as engine:
        for page in PAGES:
            times[page] = float("inf")
            for _ in range(TIMES):
                pages = Pages(zone=SHANGHAI, stale_after=STALE, clock=lambda: now, is_live=True)
                started = time.perf_counter()
                with read(engine) as conn:
                    html = pages.html(conn, PageRequest(page=page))
                times[page] = min(times[page], (time.perf_counter() - started) * 1000)
            sizes[page] = len(html.encode())
    told = ", ".join(f"/{page} {ms:.0f} ms {sizes[page] / 1000:.0f} kB" for page, ms in times.items())
    case, detail = both.dialect.name, f"{made.intervals:,} intervals; {told}"
    slowest, largest = max(times.values()), max(sizes.values()) / 1000
    figures.at_most("as-of", "a page, 100 zones, 90 days", slowest, MILLISECONDS, "ms", case=case, detail=detail)
    figures.at_most("as-of", "size of a page", largest, LARGEST / 1000, "kB", case=case)


@contextmanager
def serving(database: Path) -> Iterator[str]:
    """Run `crawler serve` in a process of its own."""
    words = [sys.executable, "-m", "crawler", "--database", str(database), "serve", "--port", "0"]
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield process.stderr.readline().split()[4].rstrip(";")
            process.terminate()
            assert process.wait(30) == 0
        finally:
            process.kill()


async def read_along(url: str, seconds: float) -> Counter[str]:
    """Let many readers ask for a page a second each; count the answers by status, or what went wrong."""
    answers: Counter[str] = Counter()
    ends = time.monotonic() + seconds

    async def reader(number: int) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
            asked = number
            while time.monotonic() < ends:
                begun = time.monotonic()
                try:
                    async with session.get(url + ("", "now", "changes", "coverage")[asked % 4]) as answer:
                        await answer.read()
                        answers[str(answer.status)] += 1
                except (aiohttp.ClientError, TimeoutError) as exc:
                    answers[type(exc).__name__] += 1
                asked += 1
                await asyncio.sleep(max(0.0, begun + 1 - time.monotonic()))

    await asyncio.gather(*(reader(number) for number in range(READERS)))
    return answers


def test_readers_beside_a_run(tmp_path: Path, figures: Figures, proven: Proven) -> None:
    """Fifty readers, a request a second each for a minute, get no error; a run beside them takes 1.5 × its time."""
    database, beside = tmp_path / "crawler.db", []
    with load_server(OFFER) as server:

        def run() -> float:
            return crawler_run(tmp_path, server.url, database).seconds

        async def together(url: str) -> Counter[str]:
            reading = asyncio.create_task(read_along(url, SECONDS))
            while not reading.done():
                beside.append(await asyncio.to_thread(run))
            return await reading

        run()
        alone = min(run() for _ in range(3))
        with serving(database) as url:
            answers = asyncio.run(together(url))
    assert set(answers) == {"200"}, answers
    assert answers["200"] >= READERS * SECONDS * 0.8
    figures.at_most("as-of", "a run beside 50 readers ÷ alone", min(beside) / alone, 1.5, "×", case="sqlite")
    proven(
        "50 readers of the page for 60 s while runs write: no error",
        f"{answers['200']:,} answers, {len(beside)} runs, {min(beside):.2f} s each, {alone:.2f} s alone",
    )
