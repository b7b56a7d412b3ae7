"""
What runs cost the history: whole runs against a real server, with the rows, transactions and bytes that came of them.

The counts are of the database, not of our code: what each statement says it wrote, what the file grew by.
"""

from __future__ import annotations

import shutil
import sqlite3
import statistics
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import Engine

from crawler.db.engine import opened
from tests.benchmarks.conftest import PROMISED, Large
from tests.benchmarks.load_server import LoadServer, Offer, load_server
from tests.benchmarks.runs import Runs
from tests.support.figures import Figures
from tests.support.tally import Tally, tallied

pytestmark = pytest.mark.prove

UNCHANGED, CHANGED = "unchanged run", "changed run"
ROUNDS = 5
#: For both databases, so smaller.
SMALL = Offer(projects=10, zones=45)


def test_unchanged_run(large: Large, tmp_path: Path, figures: Figures) -> None:
    """Over 4,500 targets × 100 images: one row, ≤ 45 updates, ≤ 48 transactions, ≤ 0.1 ms per target in the store."""
    targets = PROMISED.targets
    # the clock of the runs here is ahead of the machine's
    path = Path(shutil.copyfile(large.database, tmp_path / "crawler.db"))
    with opened(path) as engine:
        runs = Runs(engine, f"sqlite:///{path}", targets)
        runs.run(large.server)  # whatever a measurement before this one changed
        payload = payload_bytes(path)
        beside: list[float] = []
        alone: list[float] = []
        tallies = []
        for _ in range(ROUNDS):
            for one_by_one, seconds in ((False, beside), (True, alone)):
                with tallied(engine) as tally:
                    took = runs.run(large.server, one_by_one=one_by_one)
                assert took.changes == 0
                seconds.append(took.store_seconds)
                tallies.append(tally)
    grown = (payload_bytes(path) - payload) / (2 * ROUNDS)

    note_counts(figures, tallies, targets, "sqlite")
    busy, waiting = (1000 * statistics.median(seconds) / targets for seconds in (alone, beside))
    detail = f"while nothing is asked, disk included; beside the asking {waiting:.2f} ms"
    figures.at_most(UNCHANGED, "time in the store per target", busy, 0.1, "ms", detail=detail)
    figures.at_most(
        UNCHANGED,
        "bytes of rows and index entries",
        grown,
        300,
        "B",
        detail=f"{targets:,} targets, mean of {2 * ROUNDS} runs, by SQLite's dbstat, without free space",
    )


def test_growth(sqlite_url: str, figures: Figures) -> None:
    """A SQLite file grows by ≤ 300 bytes per unchanged run."""
    offer = Offer(projects=4, zones=5, images=20)
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with load_server(offer) as server, opened(sqlite_url) as engine:
        runs = Runs(engine, sqlite_url, offer.targets)
        runs.run(server)
        sizes = [used_bytes(path)]
        for _ in range(100):
            runs.run(server)
            sizes.append(used_bytes(path))

    steps = [after - before for before, after in pairwise(sizes)]
    detail = (
        f"mean of {len(steps)} runs over {offer.targets} targets; a file grows by whole pages: {max(steps):,} bytes "
    )
    detail += f"in {sum(step > 0 for step in steps)} of them"
    figures.at_most(UNCHANGED, "growth of the file", statistics.mean(steps), 300, "B", detail=detail, minor=True)


def test_changed_run(both: Engine, both_urls: str, figures: Figures) -> None:
    """One image replaced in every target: ≤ 1 ms per change, and as many rows as there are changes."""
    name = both.dialect.name
    unchanged: list[Tally] = []
    changed: list[Tally] = []
    tenth: list[Tally] = []
    costs: list[float] = []
    with load_server(SMALL) as server:
        runs = Runs(both, both_urls, SMALL.targets)
        runs.run(server)
        for _ in range(ROUNDS):
            before = counted_run(runs, server, unchanged, changes=0)
            server.churn(SMALL.targets)
            after = counted_run(runs, server, changed, changes=2 * SMALL.targets)
            costs.append(1000 * (after - before) / (2 * SMALL.targets))
        server.churn(SMALL.targets // 10)
        counted_run(runs, server, tenth, changes=SMALL.targets // 5)
    if name != "sqlite":
        note_counts(figures, unchanged, SMALL.targets, name)
    detail = f"beyond an unchanged run; {SMALL.targets} targets × {SMALL.images} images, one replaced in each, so "
    detail += f"{2 * SMALL.targets} changes; median of {ROUNDS} rounds, {min(costs):.2f}–{max(costs):.2f}"
    figures.at_most(CHANGED, "time per change", statistics.median(costs), 1.0, "ms", case=name, detail=detail)
    for table, rows in (("changes", 2 * SMALL.targets), ("intervals", SMALL.targets)):
        found = max(tally.rows("INSERT", f"INTO {table}") for tally in changed)
        figures.exactly(CHANGED, f"rows inserted into {table}", found, rows, case=name, minor=True)
    all_rows = rows_beyond_the_run(changed[-1])
    part = rows_beyond_the_run(tenth[0]) / all_rows
    figures.exactly(CHANGED, "rows written when a tenth has changed, of all", part, 0.1, case=name, minor=True)
    per_change = all_rows / (2 * SMALL.targets)
    figures.shown(CHANGED, "rows written per change", per_change, case=name, detail=by_table(changed[-1]), minor=True)


def rows_beyond_the_run(tally: Tally) -> int:
    """Count the rows written, but for those that every run writes."""
    return (
        tally.rows_of("INSERT", "UPDATE", "DELETE")
        - tally.rows("INSERT", "INTO runs")
        - tally.rows("UPDATE", "runs")
        - tally.rows("UPDATE", "marks")
    )


def counted_run(runs: Runs, server: LoadServer, tallies: list[Tally], *, changes: int) -> float:
    """Run once and give its seconds; what it wrote joins *tallies*."""
    with tallied(runs.engine) as tally:
        took = runs.run(server)
    assert took.changes == changes
    tallies.append(tally)
    return took.seconds


def note_counts(figures: Figures, tallies: list[Tally], targets: int, case: str) -> None:
    """Note what unchanged runs wrote; of each count the most."""
    inserted = max(tally.rows_of("INSERT", "DELETE") for tally in tallies)
    updated = max(tally.rows_of("UPDATE") for tally in tallies)
    begun = max(tally.transactions for tally in tallies)
    detail = by_table(tallies[-1])
    figures.exactly(UNCHANGED, "rows inserted", inserted, 1, detail=f"{targets:,} targets; {detail}", case=case)
    figures.at_most(UNCHANGED, "rows updated", updated, targets / 100, detail="N/100", case=case, minor=True)
    figures.at_most(UNCHANGED, "transactions", begun, targets / 100 + 3, detail="N/100 + 3", case=case, minor=True)


def by_table(tally: Tally) -> str:
    """Tell the rows written, by verb and table."""
    found: dict[str, int] = {}
    for sql, rows in tally.statements:
        words = sql.replace("INSERT INTO", "INSERT").replace("DELETE FROM", "DELETE").split(maxsplit=2)
        if words[0] in {"INSERT", "UPDATE", "DELETE"}:
            name = f"{words[0]} {words[1]}"
            found[name] = found.get(name, 0) + rows
    return ", ".join(f"{name} {rows:,}" for name, rows in found.items())


def payload_bytes(path: Path) -> int:
    """Return the bytes of all rows and index entries of a SQLite file."""
    with closing(sqlite3.connect(path)) as conn:
        (found,) = conn.execute("SELECT sum(payload) FROM dbstat").fetchone()
    return int(found)


def used_bytes(path: Path) -> int:
    """Return the bytes of the pages in use."""
    with closing(sqlite3.connect(path)) as conn:
        numbers = [
            conn.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        ]
    return int((numbers[0] - numbers[1]) * numbers[2])
