"""Ctrl-C and SIGTERM end a real run cleanly: what was answered is recorded, the rest is skipped, within two seconds."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from crawler.db.engine import opened, read
from crawler.db.locks import take_locks
from crawler.emulator import EmulatorServer, run_in_thread
from tests.support.acceptance_table import Proven
from tests.support.command import NOW
from tests.support.processes import Ended, Gate, Process, until, write_config
from tests.support.worlds import make_timeline

OPEN_ZONES = ("hk-01", "hk-02", "th-01")
SHUT_ZONE = "us-01"
PROJECTS = ("org-a", "org-b", "org-c", "org-d")
TARGETS = (len(OPEN_ZONES) + 1) * len(PROJECTS)
#: Less than a run would wait for its answers, more than a slow machine takes; the table of proofs has the time.
LONGEST_SECONDS = 30.0
RANDOM_MOMENTS = 20
#: So that most of a run's time goes into asking.
SLOW_RATE = 12
SEED = 20261123


#: Where the kind of database makes no difference.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@dataclass
class Scene:
    """A cloud one zone of which answers only when the gate is open, and a configuration over a database."""

    cloud: EmulatorServer
    gate: Gate
    url: str
    folder: Path

    def start(self, **limits: float) -> Process:
        """Start a real run."""
        config = write_config(self.folder / "crawler.toml", database=self.url, endpoint=self.cloud.url, **limits)
        return Process(self.folder / "run", "--config", config, "run", "--json")

    def runs(self) -> list[dict[str, Any]]:
        """Return the ledger."""
        with opened(self.url, read_only=True) as engine, read(engine) as connection:
            rows = connection.execute(text("SELECT status, finished_at, ok, skipped FROM runs ORDER BY id"))
            return [dict(row) for row in rows.mappings()]


@pytest.fixture
def scene(database_url: str, tmp_path: Path) -> Iterator[Scene]:
    gate = Gate()
    zones = {zone: {f"uimage-{zone}": "CentOS 7.6"} for zone in (*OPEN_ZONES, SHUT_ZONE)}
    faults = [
        {"zone": SHUT_ZONE, "latency_ms": 1},
        {"action": "GetRegion", "steps": 2, "latency_ms": 1},
        {"action": "DescribeUK8SImage", "steps": 3, "latency_ms": 1},
    ]
    timeline = make_timeline(zones=zones, projects=PROJECTS, faults=faults, steps=[{}, {}, {}])
    with run_in_thread(timeline, sleep=gate) as cloud:
        yield Scene(cloud, gate, database_url, tmp_path)
        gate.open()


def interrupt(process: Process, number: signal.Signals) -> tuple[Ended, float]:
    """Send the signal; give how the run ended, and how long that took."""
    sent = time.monotonic()
    process.signal(number)
    ended = process.end()
    return ended, time.monotonic() - sent


def waits_for_the_lock(url: str) -> bool:
    """Return whether somebody beside us has come to the lock."""
    with opened(url, read_only=True) as engine, read(engine) as connection:
        if url.startswith("postgresql"):
            asking = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_advisory_unlock_all%'"
            asking += " AND datname = current_database() AND pid <> pg_backend_pid()"
            return bool(connection.execute(text(asking)).scalar())
    lock = Path(url.removeprefix("sqlite:///") + ".lock")
    holders = {link.parent.parent for link in Path("/proc").glob("[0-9]*/fd/*") if points_to(link, lock)}
    return len(holders) > 1


def points_to(link: Path, path: Path) -> bool:
    """Return whether an open file of some process is *path*."""
    try:
        return link.readlink() == path
    except OSError:
        return False


def images_asked(cloud: EmulatorServer) -> int:
    """Count the answered questions about images."""
    return sum(request.action == "DescribeUK8SImage" and request.status == 200 for request in list(cloud.log))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_answered_targets_are_recorded(scene: Scene, number: signal.Signals) -> None:
    """What answered before the signal is recorded, what did not is skipped, and the run exits 3."""
    scene.gate.close()
    process = scene.start()
    answered = TARGETS - len(PROJECTS)
    until(lambda: images_asked(scene.cloud) == answered and scene.gate.waiting)

    ended, seconds = interrupt(process, number)

    assert ended.code == 3, ended.stderr
    assert seconds < LONGEST_SECONDS
    assert f"{number.name}: finishing; what was answered is recorded." in ended.stderr
    summary = json.loads(ended.stdout)
    assert (summary["targets"]["ok"], summary["targets"]["skipped"]) == (answered, len(PROJECTS))
    assert {failure["target"]["zone"] for failure in summary["failures"]} == {SHUT_ZONE}
    assert {failure["class"] for failure in summary["failures"]} == {"interrupted"}
    (run,) = scene.runs()
    assert (run["status"], run["ok"], run["skipped"]) == ("incomplete", answered, len(PROJECTS))
    assert run["finished_at"] is not None


@on_sqlite
def test_targets_that_wait_for_their_turn_are_skipped(scene: Scene) -> None:
    """A run that sends slowly ends at once too: what has not been asked yet is skipped."""
    process = scene.start(rate=2)
    until(lambda: images_asked(scene.cloud) >= 2)

    ended, seconds = interrupt(process, signal.SIGTERM)

    assert ended.code == 3, ended.stderr
    assert seconds < LONGEST_SECONDS
    (run,) = scene.runs()
    assert run["ok"] >= 2
    assert run["ok"] + run["skipped"] == TARGETS
    assert run["skipped"] > 0


@on_sqlite
def test_nothing_observed(scene: Scene) -> None:
    """A run that is stopped before any target answered exits 4."""
    scene.cloud.step = 3
    scene.gate.close()
    process = scene.start()
    until(lambda: scene.gate.waiting)

    ended, seconds = interrupt(process, signal.SIGTERM)

    assert ended.code == 4, ended.stderr
    assert seconds < LONGEST_SECONDS


@on_sqlite
def test_stopped_during_discovery(scene: Scene) -> None:
    """A run that is stopped while it asks for the regions exits 4; with an earlier catalog its targets are skipped."""
    for known_targets in (0, TARGETS):
        scene.cloud.step = 2
        scene.gate.close()
        process = scene.start()
        until(lambda: scene.gate.waiting)

        ended, seconds = interrupt(process, signal.SIGTERM)

        assert ended.code == 4, ended.stderr
        assert seconds < LONGEST_SECONDS
        assert json.loads(ended.stdout)["targets"]["skipped"] == known_targets
        scene.gate.open()
        scene.cloud.step = 1
        assert scene.start().end().code == 0


def test_interrupted_while_waiting_for_the_lock(scene: Scene) -> None:
    """A run that waits for another one's lock leaves at once when it is told to."""
    config = write_config(scene.folder / "crawler.toml", database=scene.url, endpoint=scene.cloud.url)
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)):
        with take_locks(scene.url, ["prod"], clock=lambda: NOW):
            process = Process(scene.folder / "run", "--config", config, "run", "--wait", "60")
            until(lambda: waits_for_the_lock(scene.url))
            ended, seconds = interrupt(process, number)

            assert ended.code == code, ended.stderr
            assert seconds < LONGEST_SECONDS
            assert scene.cloud.log == []


@pytest.mark.prove
def test_interrupted_at_random_moments(scene: Scene, proven: Proven) -> None:
    """At whatever moment of a run SIGTERM comes, it ends within two seconds and leaves no run open."""
    rng = random.Random(SEED)
    whole = scene.start(rate=SLOW_RATE).end().seconds
    codes: Counter[int] = Counter()
    longest = 0.0
    for _ in range(RANDOM_MOMENTS):
        process = scene.start(rate=SLOW_RATE)
        time.sleep(rng.uniform(0, whole))
        ended, seconds = interrupt(process, signal.SIGTERM)
        codes[ended.code] += 1
        longest = max(longest, seconds)
        # by the signal itself: before the run began, or after it had been recorded
        assert ended.code in (0, 3, 4, -signal.SIGTERM), ended.stderr
        assert all(run["finished_at"] is not None for run in scene.runs())
    told = ", ".join(f"{count} × {code}" for code, count in sorted(codes.items()))
    proven(
        f"SIGTERM at random moments of a real run on {scene.url.partition(':')[0]}: ends cleanly within 2 s",
        f"{RANDOM_MOMENTS} moments, longest {longest:.2f} s, exit codes: {told}",
    )
    assert longest < 2
