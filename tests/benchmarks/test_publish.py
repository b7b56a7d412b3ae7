"""`publish` at its promised size: 4,500 targets with 10 images each, in ten projects, in at most ten seconds."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from crawler.web.publication import publish
from tests.support.diary import Diary, target
from tests.support.figures import Figures

pytestmark = pytest.mark.prove

SECONDS = 10
ZONES, PROJECTS, IMAGES = 450, 10, 10


def test_publish(both: Engine, tmp_path: Path, figures: Figures) -> None:
    """A first publication of 4,500 targets with 10 images each takes at most 10 s, and so does one without news."""
    targets = [target(f"hk-{zone:03}", project=f"org-{n}") for zone in range(ZONES) for n in range(PROJECTS)]
    diary = Diary(both)
    diary.run({where: {f"uimage-{where.zone}-{n}": f"System {n}" for n in range(IMAGES)} for where in targets})
    with both.begin() as conn:
        conn.exec_driver_sql("ANALYZE")  # as the server does by itself within a minute of so many rows
    for what in ("first", "unchanged"):
        started = time.perf_counter()
        done = publish(both, tmp_path / "site", now=diary.now, stale_after=timedelta(hours=26))
        seconds = time.perf_counter() - started
        case = f"{what}, {both.dialect.name}"
        detail = f"{done.files} files, {done.written} written"
        figures.at_most(
            "as-of", "publishing 4,500 targets × 10 images", seconds, SECONDS, "s", case=case, detail=detail
        )
