"""A fleet at rest, and an upgrade under it: nothing that waits is lost."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crawler.db.migrations import SCHEMA_HEAD, migrations_folder
from tests.support.acceptance_table import Proven
from tests.support.fleet import Fleet
from tests.support.house import ROOT

NEWER = "99990101_newer"
#: The next version of the program, whose migrations lie in the folder sys.argv[1].
NEXT_VERSION = f"""
import sys
from pathlib import Path
import crawler
crawler.__version__ = "99.0"
from crawler.db import migrations
folder = Path(sys.argv.pop(1))
migrations.migrations_folder = lambda: folder
migrations.REVISIONS += ("{NEWER}",)
migrations.SCHEMA_HEAD = "{NEWER}"
from crawler.cli import main
main()
"""
MIGRATION = f"""
import sqlalchemy as sa
from alembic import op

revision = "{NEWER}"
down_revision = "{SCHEMA_HEAD}"
branch_labels = None
depends_on = None

def upgrade() -> None:
    op.create_table("newer", sa.Column("id", sa.BigInteger(), primary_key=True))
"""
#: The accounts that wait to be crawled.
WAITING = "SELECT args->>'account' AS name FROM crawler_jobs.procrastinate_jobs WHERE task_name = 'crawl'"


def next_version(folder: Path) -> list[str]:
    """Make the migrations of the next version in *folder*, and return what starts its program."""
    shutil.copytree(migrations_folder(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / f"{NEWER}.py").write_text(MIGRATION)
    return [sys.executable, "-c", NEXT_VERSION, str(folder)]


def failed_jobs(fleet: Fleet) -> int:
    """Count the jobs that failed, and those whose worker has left them."""
    found: int = fleet.value("SELECT count(*) FROM crawler_jobs.procrastinate_jobs WHERE status <> 'todo'")
    return found


def test_rest_and_resume(fleet: Fleet) -> None:
    """A drained fleet ends what runs and begins nothing; `db upgrade --drain` has it rest and go on."""
    fleet.configure(12, every="8s", rate=20)
    fleet.start(2)
    fleet.busiest(1)
    drained = fleet.driver.call("fleet", "drain", "--wait", "60")
    runs = fleet.last_run()
    assert "The fleet is drained." in drained.stderr
    assert fleet.running() == set()
    time.sleep(2)
    assert fleet.last_run() == runs
    fleet.driver.call("fleet", "resume")
    fleet.wait(lambda: fleet.last_run() > runs, 60)
    upgraded = fleet.driver.call("db", "upgrade", "--drain")
    runs = fleet.last_run()
    fleet.wait(lambda: fleet.last_run() > runs, 60)

    assert "already" in upgraded.stdout
    assert fleet.end() == [0, 0], fleet.said()
    assert fleet.value("SELECT count(*) FROM runs WHERE status <> 'complete'") == 0
    assert failed_jobs(fleet) == 0


@pytest.mark.parametrize("every", ["10s", pytest.param("60s", marks=pytest.mark.prove)])
def test_upgrade_under_a_busy_fleet(fleet: Fleet, tmp_path: Path, every: str, proven: Proven) -> None:
    """The next version upgrades the schema under busy workers of this one: what waits is done by its own workers."""
    fleet.configure(12, every=every, rate=6, is_known=True)
    program = next_version(tmp_path / "migrations")
    fleet.start(2)
    fleet.busiest(2, 120)
    before, began = fleet.last_run(), time.monotonic()
    command = [*program, "--config", str(fleet.driver.config), "db", "upgrade", "--drain"]
    upgraded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    seconds = time.monotonic() - began
    fleet.wait(lambda: None not in [process.poll() for process in fleet.workers], 60)
    at_rest = fleet.last_run()
    left = failed_jobs(fleet)
    waiting = {row.name for row in fleet.rows(WAITING)}
    fleet.start(1, program=program)
    fleet.wait(lambda: waiting <= fleet.complete(since=at_rest), 150)
    fleet.wait(lambda: len(fleet.complete(since=before)) == 12, 150)
    codes = fleet.end()
    proven(
        "an upgrade under a busy fleet: nothing is lost, and it rests within the run deadline and 10 s",
        f"{seconds:.1f} s, {len(waiting)} jobs waited, {left} failed",
    )

    assert upgraded.returncode == 0, upgraded.stderr
    assert NEWER in upgraded.stdout
    assert codes == [74, 74, 0], fleet.said()
    assert "a newer crawler wrote it" in fleet.said()
    assert left == 0
    assert fleet.twice() == []
    assert fleet.overlaps() == []
    assert fleet.rows("SELECT id FROM runs WHERE status <> 'complete'") == []


def test_upgrade_between_two_ticks(fleet: Fleet, tmp_path: Path) -> None:
    """Workers that rest between two ticks and hear nothing of an upgrade crawl nothing after it: they leave with 74."""
    fleet.configure(4, every="8s")
    program = next_version(tmp_path / "migrations")
    fleet.start(2)
    fleet.wait(lambda: len(fleet.complete()) == 4, 60)
    command = [*program, "--config", str(fleet.driver.config), "db", "upgrade", "--wait", "60"]
    upgraded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    before = fleet.last_run()
    fleet.wait(lambda: None not in [process.poll() for process in fleet.workers], 90)

    assert NEWER in upgraded.stdout, upgraded.stderr
    assert fleet.end() == [74, 74], fleet.said()
    assert fleet.last_run() == before
    assert "a newer crawler wrote it" in fleet.said()
