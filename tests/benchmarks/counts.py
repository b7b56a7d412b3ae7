"""
The bench's exact counts, over a small cloud and in seconds: `./dev bench --counts`, which `.ci/run` runs.

Rows, transactions, connections and libraries are the same on every machine, however busy; no time is looked at.
`./dev bench` has the same figures over the promised sizes.
"""

from __future__ import annotations

from sqlalchemy import Engine

from tests.benchmarks.load_server import Offer, load_server
from tests.benchmarks.runs import CONCURRENCY, Runs
from tests.benchmarks.test_writes import CHANGED, counted_run, note_counts, rows_beyond_the_run
from tests.support.figures import Figures
from tests.support.modules import HEAVY, modules_of
from tests.support.tally import Tally

OFFER = Offer(projects=5, zones=40, images=20)


def test_runs(both: Engine, both_urls: str, figures: Figures) -> None:
    """A first run, unchanged ones, one in which all has changed and one in which a tenth has: what each wrote."""
    name = both.dialect.name
    unchanged: list[Tally] = []
    changed: list[Tally] = []
    with load_server(OFFER) as server:
        runs = Runs(both, both_urls, OFFER.targets)
        opened = [runs.run(server).connections]
        for _ in range(3):
            counted_run(runs, server, unchanged, changes=0)
        for share in (1, 10):
            server.churn(OFFER.targets // share)
            counted_run(runs, server, changed, changes=2 * OFFER.targets // share)
        opened.append(runs.run(server).connections)
    note_counts(figures, unchanged, OFFER.targets, name)
    for table, rows in (("changes", 2 * OFFER.targets), ("intervals", OFFER.targets)):
        found = changed[0].rows("INSERT", f"INTO {table}")
        figures.exactly(CHANGED, f"rows inserted into {table}", found, rows, case=name)
    part = rows_beyond_the_run(changed[1]) / rows_beyond_the_run(changed[0])
    figures.exactly(CHANGED, "rows written when a tenth has changed, of all", part, 0.1, case=name)
    figures.at_most("connections", "opened by a run to its endpoint", max(opened), CONCURRENCY, case=name)


def test_libraries(figures: Figures) -> None:
    """`crawler --help` loads no heavy library."""
    heavy = HEAVY & modules_of("--help")
    figures.exactly("start-up", "heavy libraries that `crawler --help` loads", len(heavy), 0, detail=str(sorted(heavy)))
