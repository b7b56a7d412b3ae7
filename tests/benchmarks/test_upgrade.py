"""How long it takes to bring the history of an earlier version to the present schema."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from crawler.db.engine import opened, read
from crawler.db.integrity import findings
from crawler.db.migrations import schema_state
from tests.benchmarks.five_years import generate
from tests.support.ageing import upgrade_killed_at, upgrade_to
from tests.support.figures import Figures
from tests.support.house import ROOT

pytestmark = pytest.mark.prove

#: The schema of version 0.1.0.
BEFORE = "20261129_conditions_and_reports"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_upgrade_of_version_0_1_0(request: pytest.FixtureRequest, kind: str, figures: Figures) -> None:
    """850,000 intervals of version 0.1.0 are upgraded in a minute, the copy included, after a try that was killed."""
    url: str = request.getfixturevalue(f"empty_{'sqlite' if kind == 'sqlite' else 'postgres'}_url")
    upgrade_to(url, BEFORE)
    with opened(url) as engine:
        made = generate(engine)
    assert made.intervals >= 850_000
    upgrade_killed_at(url, "UPDATE alembic_version")
    with opened(url) as engine:
        assert schema_state(engine).found == BEFORE
    command = [sys.executable, "-m", "crawler", "--database", url, "db", "upgrade"]
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=600)
    seconds = time.perf_counter() - began

    with opened(url) as engine, read(engine) as conn:
        assert [one for one in findings(conn) if "another account" in one] == []
    figures.at_most("many accounts", "upgrade of 0.1.0 with 850,000 intervals", seconds, 60, "s", case=kind)
