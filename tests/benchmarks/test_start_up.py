"""What the command loads before it can answer, and how long that takes next to a Python that does nothing."""

from __future__ import annotations

import statistics
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crawler.db.locks import take_locks
from tests.benchmarks.load_server import Offer, load_server
from tests.benchmarks.own_process import python
from tests.support.figures import Figures
from tests.support.modules import HEAVY, modules_of
from tests.support.processes import write_config

pytestmark = pytest.mark.prove

ROW = "start-up"
ROUNDS = 11


def test_start_up(sqlite_url: str, tmp_path: Path, figures: Figures) -> None:
    """`--help` loads no heavy library, a run not Alembic; both figures of time are shown beside `python -c pass`."""
    config = tmp_path / "crawler.toml"
    with load_server(Offer(projects=1, zones=1)) as server:
        write_config(config, database=sqlite_url, endpoint=server.url)
        loaded = modules_of("--config", config, "run")
    heavy = HEAVY & modules_of("--help")
    times: dict[str, list[float]] = defaultdict(list)
    with take_locks(sqlite_url, ["prod"], clock=lambda: datetime.now(UTC)):
        for _ in range(ROUNDS):
            for case, code, words in (
                ("python -c pass", 0, ("-c", "pass")),
                ("crawler --help", 0, ("-m", "crawler", "--help")),
                ("run that finds the lock taken", 75, ("-m", "crawler", "--config", config, "run")),
            ):
                ended = python(*words)
                assert ended.code == code, ended
                times[case].append(ended.seconds)

    names = ", ".join(sorted(heavy))
    of = ", ".join(sorted(HEAVY))
    figures.exactly(ROW, "heavy libraries that `crawler --help` loads", len(heavy), 0, detail=names or f"of {of}")
    is_loaded = len({"alembic"} & loaded)
    figures.exactly(ROW, "Alembic in a run on a current schema", is_loaded, 0, minor=True)
    for case, taken in times.items():
        figures.shown(ROW, "wall time", 1000 * statistics.median(taken), "ms", case=case, detail=f"median of {ROUNDS}")
