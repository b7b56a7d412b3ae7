"""How a run grows with the number of targets: the real command in a process of its own, on a database of its own."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.load_server import Offer, load_server
from tests.benchmarks.own_process import Ran, crawler_run

#: Nine projects everywhere, so that only the number of zones grows.
PROJECTS = 9
#: Images per target, and the numbers of targets; 45,000 with a hundred images each take no other code, only longer.
SIZES = {10: (45, 450, 4_500, 45_000), 100: (45, 450, 4_500)}
#: Runs of which the middle one is told, where a run is short.
REPEATS = 3


def measure(images: int, targets: int) -> dict[str, Any]:
    """Run first, again without changes, and again after one image in a hundred was replaced."""
    offer = Offer(projects=PROJECTS, zones=targets // PROJECTS, images=images)
    with tempfile.TemporaryDirectory() as name, load_server(offer) as server:
        folder = Path(name)
        database = folder / "crawler.db"
        first = crawler_run(folder, server.url, database)
        sizes = [database.stat().st_size]
        unchanged = [crawler_run(folder, server.url, database) for _ in range(REPEATS)]
        sizes.append(database.stat().st_size)
        replaced = max(1, targets * images // 100)
        server.churn(replaced)
        changed = crawler_run(folder, server.url, database)
        sizes.append(database.stat().st_size)
    assert first.summary["baseline"] == {"targets": targets, "images": targets * images}, first
    assert not any(sum(run.summary["changes"].values()) for run in unchanged)
    assert sum(changed.summary["changes"].values()) == 2 * replaced, changed.summary
    return {
        "images": images,
        "targets": targets,
        "replaced": replaced,
        "bytes": sizes,
        "first": _told([first], targets),
        "unchanged": _told(unchanged, targets),
        "changed": _told([changed], targets),
    }


def _told(runs: Sequence[Ran], targets: int) -> dict[str, float]:
    seconds = statistics.median(run.seconds for run in runs)
    return {
        "seconds": round(seconds, 3),
        "peak_mb": round(max(run.peak_mb for run in runs), 1),
        "ms_per_target": round(1000 * seconds / targets, 3),
    }
