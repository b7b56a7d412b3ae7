"""One run per account at a time, with real processes: of two only one gets in, and who lost its lock writes nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from crawler.db.engine import opened, read
from crawler.emulator import EmulatorServer, run_in_thread
from tests.support.acceptance_table import Proven
from tests.support.databases import PostgresServer
from tests.support.processes import (
    NETWORK,
    Ended,
    Gate,
    Nursery,
    Order,
    Process,
    nursery,
    until,
    write_config,
)
from tests.support.worlds import make_timeline

ZONES = ("hk-01", "hk-02")
#: Requests of one whole run: regions, projects, and each zone.
ASKED = 2 + len(ZONES)


on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@dataclass(frozen=True)
class Course:
    """A cloud behind a gate, a database, and a configuration that joins them."""

    cloud: EmulatorServer
    gate: Gate
    url: str
    config: Path
    folder: Path

    def order(self, name: str) -> Order:
        return Order(words=["--config", str(self.config), "run", "--json"], folder=str(self.folder / name))

    def process(self, name: str, *more: str) -> Process:
        return Process(self.folder / name, "--config", self.config, "run", "--json", *more)

    def runs(self) -> list[dict[str, Any]]:
        with opened(self.url, read_only=True) as engine, read(engine) as connection:
            rows = connection.execute(text("SELECT id, status, ok, finished_at, scope_id FROM runs ORDER BY id"))
            return [dict(row) for row in rows.mappings()]

    def written(self) -> list[int]:
        """Return the ids of the runs that wrote intervals."""
        with opened(self.url, read_only=True) as engine, read(engine) as connection:
            return list(connection.execute(text("SELECT DISTINCT opened_run_id FROM intervals ORDER BY 1")).scalars())


@pytest.fixture
def course(database_url: str, tmp_path: Path) -> Iterator[Course]:
    gate = Gate()
    timeline = make_timeline(
        zones={zone: {f"uimage-{zone}": "CentOS 7.6"} for zone in ZONES}, faults=[{"latency_ms": 1}]
    )
    with run_in_thread(timeline, sleep=gate) as cloud:
        config = write_config(tmp_path / "crawler.toml", database=database_url, endpoint=cloud.url)
        yield Course(cloud, gate, database_url, config, tmp_path)
        gate.open()


@pytest.fixture(scope="module")
def light() -> Iterator[Nursery]:
    with nursery("light") as started:
        yield started


@pytest.fixture(scope="module")
def racers(light: Nursery) -> Iterator[dict[str, Nursery]]:
    """Return what races are forked from; on PostgreSQL the lock itself needs the database library."""
    with nursery("lock") as started:
        yield {"sqlite": light, "postgresql": started}


def forked_race(racer: Nursery, course: Course) -> tuple[Ended, Ended]:
    """Let two forked runs go at the same moment; the winner waits for the cloud until the loser has left."""
    racer.start(course.order("one"), course.order("two"))
    loser = racer.next_end()
    course.gate.open()
    return loser, racer.next_end()


def process_race(course: Course) -> tuple[Ended, Ended]:
    """Start two real processes; the winner waits for the cloud until the loser has left."""
    processes = [course.process("one"), course.process("two")]
    until(lambda: any(process.popen.poll() is not None for process in processes))
    first = 0 if processes[0].popen.poll() is not None else 1
    loser = processes[first].end()
    course.gate.open()
    return loser, processes[1 - first].end()


def judge(course: Course, loser: Ended, winner: Ended, number: int) -> None:
    """Check that one of the two wrote, and that the other left before it loaded what it needs for that."""
    assert (loser.code, winner.code) == (75, 0), (loser, winner)
    assert (loser.stdout, loser.stderr) == ("", "")
    assert loser.loaded(["crawler.db.locks.file"]), "nothing was told of the modules"
    assert loser.loaded(NETWORK) == []
    if course.url.startswith("sqlite"):
        assert loser.loaded(["sqlalchemy", "asyncio", "ssl"]) == []
    assert set(winner.loaded(NETWORK)) == set(NETWORK)
    assert len(course.cloud.log) == number * ASKED
    runs = course.runs()
    assert [run["status"] for run in runs] == ["complete"] * number
    assert runs[-1]["ok"] == len(ZONES)


def race(racers: dict[str, Nursery], course: Course, *, forked: int, real: int) -> int:
    """Race so often; give how often the one that was started first won."""
    first = 0
    racer = racers[course.url.partition(":")[0]]
    for number in range(1, forked + real + 1):
        course.gate.close()
        loser, winner = forked_race(racer, course) if number <= forked else process_race(course)
        judge(course, loser, winner, number)
        first += number <= forked and winner.index == 0
    return first


def test_one_of_two_gets_in(racers: dict[str, Nursery], course: Course) -> None:
    """Of two runs at the same moment one writes; the other exits 75 and has not loaded the network stack."""
    race(racers, course, forked=18, real=2)


@pytest.mark.prove
def test_one_of_two_gets_in_200_times(racers: dict[str, Nursery], course: Course, proven: Proven) -> None:
    """In 200 races of two runs exactly one writes each time; 20 of them are processes started from nothing."""
    first = race(racers, course, forked=180, real=20)
    kind = "SQLite" if course.url.startswith("sqlite") else "PostgreSQL"
    proven(
        f"Two simultaneous runs on {kind}: exactly one writes, the other exits 75 without the network stack",
        f"200 of 200 races; 180 forked at a common barrier ({first} won by the first), 20 real processes",
    )


def test_racers_have_not_loaded_the_network_stack(racers: dict[str, Nursery]) -> None:
    """What the forked racers start with is the command line, on PostgreSQL with the database library."""
    for kind, absent in (("sqlite", (*NETWORK, "sqlalchemy", "asyncio", "ssl")), ("postgresql", NETWORK)):
        forked = Ended(code=0, stdout="", stderr="", seconds=0, modules=racers[kind].loaded)
        assert forked.loaded(absent) == []


def test_waiting_run_gets_in_after_the_other(course: Course) -> None:
    """With --wait the second run begins when the first is over, and both write."""
    course.gate.close()
    first = course.process("one")
    until(lambda: course.gate.waiting)
    second = course.process("two", "--wait", "30")
    course.gate.open()

    assert (first.end().code, second.end().code) == (0, 0)
    assert [run["status"] for run in course.runs()] == ["complete", "complete"]


# --- fencing ---------------------------------------------------------------------------------------------------------

TERMINATE = text(
    "SELECT count(pg_terminate_backend(pid, 10000)) FROM (SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory'"
    " AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS holders"
)


@pytest.fixture
def shared(postgres_url: str, tmp_path: Path) -> tuple[str, Path]:
    return postgres_url, tmp_path


def take_over(url: str, folder: Path, stage: str, *, overtake: bool) -> tuple[Ended, list[dict[str, Any]], list[int]]:
    """
    Hold a run at *stage*, terminate the session with its lock, let another run through, and let the first one go on.

    Give how the first one ended, the runs, and those that wrote intervals.
    """
    gate = Gate()
    faults = [{"action": stage, "latency_ms": 1}]
    timeline = make_timeline(zones={zone: {f"uimage-{zone}": "CentOS 7.6"} for zone in ZONES}, faults=faults)
    with run_in_thread(timeline, sleep=gate) as cloud:
        config = write_config(folder / "crawler.toml", database=url, endpoint=cloud.url)
        course = Course(cloud, gate, url, config, folder)
        gate.close()
        holder = course.process("holder")
        until(lambda: gate.waiting)
        with opened(url) as engine, engine.begin() as connection:
            assert connection.execute(TERMINATE).scalar() == 1
        gate.let_newcomers_pass()
        if overtake:
            successor = course.process("successor", "--wait", "10").end()
            assert successor.code == 0, successor.stderr
        gate.open()
        return holder.end(), course.runs(), course.written()


@pytest.mark.parametrize("stage", ["GetRegion", "GetProjectList", "DescribeUK8SImage"])
def test_who_was_taken_over_cannot_commit(shared: tuple[str, Path], stage: str) -> None:
    """A holder whose session was terminated and whose lock was taken over exits 74 and has written nothing since."""
    url, folder = shared
    ended, runs, written = take_over(url, folder, stage, overtake=True)

    assert ended.code == 74
    assert "Another run took the lock after this one lost it; nothing more is written." in ended.stderr
    assert written == [runs[-1]["id"]]
    expected = ["interrupted", "complete"] if stage == "DescribeUK8SImage" else ["complete"]
    assert [run["status"] for run in runs] == expected
    assert [run["scope_id"] is None for run in runs] == [status == "interrupted" for status in expected]


def test_who_lost_its_session_cannot_commit(shared: tuple[str, Path]) -> None:
    """A holder whose session was terminated writes nothing more even when nobody took its lock over."""
    url, folder = shared
    ended, runs, written = take_over(url, folder, "DescribeUK8SImage", overtake=False)

    assert ended.code == 74
    assert "The database session that held this run's lock is gone; nothing more is written." in ended.stderr
    assert [run["status"] for run in runs] == ["running"]
    assert written == []


@pytest.mark.prove
def test_take_overs(request: pytest.FixtureRequest, tmp_path: Path, proven: Proven) -> None:
    """Of 15 holders that were taken over at three stages of a run none commits when it continues."""
    server: PostgresServer = request.getfixturevalue("_postgres_server")
    for number in range(15):
        stage = ("GetRegion", "GetProjectList", "DescribeUK8SImage")[number % 3]
        with server.database() as url:
            ended, runs, written = take_over(url, tmp_path, stage, overtake=True)
        assert (ended.code, written) == (74, [runs[-1]["id"]]), ended.stderr
    proven(
        "PostgreSQL: a holder whose session was terminated and whose lock was taken over cannot commit",
        "15 of 15 holders (5 each during regions, projects, images) exit 74, nothing of theirs is written",
    )


# --- file systems without locks --------------------------------------------------------------------------------------


def refused_under(course: Course, name: str, hook: str = "", under: tuple[str, ...] = ()) -> str:
    """Run with *hook* executed at the start; the run must leave with 74 and ask nothing. Give what it says."""
    folder = course.folder / name
    process = Process(folder, "--config", course.config, "run", under=under, hook=hook)
    ended = process.end()
    assert ended.code == 74, ended
    assert ended.loaded(NETWORK) == []
    assert course.cloud.log == []
    assert course.runs() == []
    return ended.stderr


def check_locks_that_do_not_work(course: Course) -> None:
    none = "import errno, fcntl\ndef flock(*_): raise OSError(errno.ENOLCK, 'No locks available')\nfcntl.flock = flock"
    twice = "import fcntl\nfcntl.flock = lambda *_: None"

    assert "has no working file locks (No locks available)" in refused_under(course, "none", none)
    assert "has no working file locks (it was given twice)" in refused_under(course, "twice", twice)


def check_network_file_system(course: Course) -> None:
    mounts = course.folder / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/share {course.folder} nfs4 rw 0 0\n")
    shell = f'mount --bind {mounts} /proc/$$/mounts && exec "$0" "$@"'
    under = ("unshare", "-m", "sh", "-c", shell)
    probe = [*under, "grep", "-q", "nfs4", "/proc/self/mounts"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("the list of mounts cannot be replaced here")

    said = refused_under(course, "nfs", under=under)

    assert "lies on a network file system (nfs4)" in said
    assert os.fspath(course.folder) in said


@on_sqlite
def test_locks_that_do_not_work_are_refused(course: Course) -> None:
    """Where the operating system gives no file locks, or gives one twice, a run refuses to start (proxy: a hook)."""
    check_locks_that_do_not_work(course)


@on_sqlite
def test_network_file_system_is_refused(course: Course) -> None:
    """On what the system calls a network file system a real run refuses to start (proxy: a made-up list of mounts)."""
    check_network_file_system(course)


@pytest.mark.prove
@on_sqlite
def test_missing_locks_are_refused(course: Course, proven: Proven) -> None:
    """Missing locks are detected and refused; one machine has no network file system, so these are stand-ins."""
    line = "A network file system's missing locks are refused, not ignored (proxy)"
    proven(line, "a lock call that fails (ENOLCK), a lock given twice, mounts that say nfs4: exit 74, nothing asked")
    check_locks_that_do_not_work(course)
    check_network_file_system(course)
