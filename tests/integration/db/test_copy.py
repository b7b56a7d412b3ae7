"""`crawler db copy`: the same history in the other kind of database, whole or not at all."""

from __future__ import annotations

import random
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, text

from crawler import History
from crawler.db import copy, numbering, workers
from crawler.db.copy import copy_history
from crawler.db.engine import begin, opened, read
from crawler.db.locks import take_locks
from crawler.db.runs import save_setting, saved_setting
from crawler.db.schema import Base, Payload, Run, WorkerRow
from crawler.db.views import VIEW_COLUMNS
from crawler.errors import CrawlerError, DatabaseUnavailable
from crawler.queries import changes as queries_changes
from crawler.queries import holds, images
from crawler.queries import runs as queries_runs
from crawler.queries.check.rules import PinRule, Require
from tests.support.command import NOW, call, rows
from tests.support.diary import START, Answer, Diary, Refusal, target
from tests.support.facts import NOON

TARGETS = [target(f"hk-{zone:02}", project=f"org-{project}") for zone in (1, 2) for project in (1, 2)]
STALE = timedelta(hours=3)


def live(engine: Engine, seed: int = 1, runs: int = 40) -> Diary:
    """Play a history with everything in it: changes, failures, holds, a killed run, an odd name."""
    rng = random.Random(seed)
    diary = Diary(engine)
    names = {f"uimage-{n}": rng.choice(["Ubuntu 20.04", "高内核CentOS 7.6 64位", "Ünïcode 🐧", ""]) for n in range(8)}
    for number in range(runs):
        diary.now += timedelta(minutes=rng.choice([15, 15, 200]))
        answers: dict[Any, Answer] = {}
        for where in rng.sample(TARGETS, rng.choice([2, 4, 4])):
            listed = {image_id: names[image_id] for image_id in rng.sample(sorted(names), rng.choice([0, 5, 7, 8]))}
            answers[where] = Refusal(message="don't 'quote' \\ this") if rng.random() < 0.2 else listed
        diary.run(answers, finish=number != runs - 1)
    return diary


def told(url: str, moments: list[datetime]) -> Any:
    """Return everything the readers say: what is asked of a moment at many, the rest of the whole history."""
    with History(url, stale_after=STALE, clock=lambda: NOON) as history:
        pinned = [PinRule(image_id=f"uimage-{number}") for number in range(9)]
        return [
            [history.images(at, retired=True) for at in moments],
            [history.where("*", at, retired=True) for at in moments[::10]],
            [history.compare("hk-01", "hk-02", at) for at in moments[::10]],
            [history.diff(*sorted(pair)) for pair in pairwise(moments[::10])],
            history.history("*"),
            history.changes(),
            [history.explain(change.id) for change in history.changes()[::5]],
            history.check([*pinned, Require(name="Ubuntu*", zones=("*",))]),
            [resolved(history, zone, project) for zone in ("hk-01", "hk-02") for project in ("org-1", "org-2")],
            history.status(retired=True),
            [history.run(summary.run) for summary in history.runs()],
            seen_by_sql(url),
        ]


def resolved(history: History, zone: str, project: str) -> Any:
    try:
        return history.resolve(zone, "Ubuntu 20.04", project=project, max_age=timedelta(days=400))
    except CrawlerError as exc:
        return type(exc)


def seen_by_sql(url: str) -> Any:
    """Return the holds, and the public views but for the columns that each database has in a type of its own."""
    with opened(url) as engine, read(engine) as conn:
        views = {
            view: [name for name in columns if name.endswith(("_epoch", "_id", "_set", "reason", "outcome", "run"))]
            for view, columns in VIEW_COLUMNS.items()
        }
        rows = {
            view: sorted(map(str, conn.execute(text(f"SELECT {', '.join(names)} FROM {view}"))))
            for view, names in views.items()
        }
        return rows, holds.holds(conn, include_resolved=True)


def moments_of(diary: Diary, count: int) -> list[datetime]:
    rng = random.Random(3)
    length = (diary.now - START).total_seconds()
    return [START + timedelta(seconds=rng.uniform(-60, length + 600)) for _ in range(count)]


def test_there_and_back(sqlite_url: str, postgres_url: str, tmp_path: Path) -> None:
    """From SQLite to PostgreSQL and back: every reader says the same at every moment, and every row is the same."""
    back = f"sqlite:///{tmp_path / 'back.db'}"
    with opened(sqlite_url) as engine:
        diary = live(engine)
    moments = moments_of(diary, 100)
    expected = told(sqlite_url, moments)
    first = rows("--database", sqlite_url, "db", "copy", "--to", postgres_url)
    second = rows("--database", postgres_url, "db", "copy", "--to", back)

    assert {row["table"] for row in first} == {table.name for table in Base.metadata.sorted_tables}
    for url in (postgres_url, back):
        assert told(url, moments) == expected
    assert all(expected)
    # the second copy raised the fence of PostgreSQL's accounts when it took the lock
    assert {row["table"] for row, other in zip(first, second, strict=True) if row != other} == {"accounts"}
    assert sum(row["rows"] for row in first) > 500


@pytest.mark.prove
def test_at_a_thousand_moments(sqlite_url: str, postgres_url: str, proven: Any) -> None:
    """A longer history answers alike at 1,000 random moments after the copy."""
    with opened(sqlite_url) as source, opened(postgres_url) as goal:
        diary = live(source, seed=2, runs=200)
        copy_history(source, goal)
    moments = moments_of(diary, 1_000)
    alike = told(sqlite_url, moments) == told(postgres_url, moments)
    proven("db copy: equal answers afterwards", "SQLite → PostgreSQL, 1,000 random moments, every reader")
    assert alike


def test_life_goes_on(sqlite_url: str, postgres_url: str) -> None:
    """After the copy the numbers of new rows continue where the source's would have, deleted ones included."""
    with opened(sqlite_url) as source, opened(postgres_url) as goal:
        live(source)
        with begin(source) as conn:
            conn.execute(insert(Run).values(id=5_000, status="failed", started_at=NOON, finished_at=NOON, accounts=[]))
            conn.execute(text("DELETE FROM runs WHERE id = 5000"))
        copy_history(source, goal)
        for engine in (source, goal):
            diary = Diary(engine, now=NOON)
            assert diary.run({TARGETS[0]: {"uimage-new": "New"}}) == 5_001
            with read(engine) as conn:
                assert "uimage-new" in {
                    row.image_id for row in images.images(conn, None, now=diary.now, stale_after=STALE)
                }


def test_numbers_before_a_backup_was_put_back(sqlite_url: str, postgres_url: str) -> None:
    """What was given before then is given by the copy no more than by the original."""
    with opened(sqlite_url) as source, opened(postgres_url) as goal:
        live(source, runs=5)
        with begin(source) as conn:
            save_setting(conn, numbering.GIVEN_TO["changes"], "1000")
        copy_history(source, goal)
        for engine in (source, goal):
            diary = Diary(engine)
            diary.now += timedelta(days=300)
            diary.run({TARGETS[0]: {"uimage-new": "New", "uimage-other": "Other"}})
            diary.run({TARGETS[0]: {"uimage-new": "New", "uimage-other": "Other", "uimage-third": "Third"}})
            with read(engine) as conn:
                new = [change.id for change in queries_changes.changes(conn) if change.image_id == "uimage-third"]
            assert new[0] > 1001


def test_numbers_of_postgresql(postgres_url: str, tmp_path: Path) -> None:
    """Numbers that PostgreSQL gave and took back are not given again by SQLite either, where it keeps count."""
    with opened(postgres_url) as source, opened(tmp_path / "goal.db") as goal:
        live(source, runs=3)
        with begin(source) as conn:
            conn.execute(text("SELECT setval(pg_get_serial_sequence('runs', 'id'), 900)"))
        copy_history(source, goal)
        assert Diary(goal, now=NOON).run({TARGETS[0]: {}}) == 901


def test_not_into_another_history(sqlite_url: str, postgres_url: str) -> None:
    """A database that holds anything is refused, and keeps what it holds."""
    with opened(sqlite_url) as source, opened(postgres_url) as goal:
        live(source, runs=3)
        live(goal, runs=4)
    stderr = call("--database", sqlite_url, "db", "copy", "--to", postgres_url, code=2).stderr

    assert "is not empty: it has rows in " in stderr
    with opened(postgres_url) as goal, read(goal) as conn:
        assert len(list(queries_runs.runs(conn))) == 4


def test_not_onto_itself(sqlite_url: str, postgres_url: str, tmp_path: Path) -> None:
    """The database itself is no target, by whatever path."""
    link = tmp_path / "link.db"
    link.symlink_to(sqlite_url.removeprefix("sqlite:///"))
    for url, to in ((sqlite_url, sqlite_url), (postgres_url, postgres_url), (sqlite_url, link)):
        assert "is the database itself" in call("--database", url, "db", "copy", "--to", to, code=2).stderr


def test_not_from_nothing(tmp_path: Path, postgres_url: str, empty_postgres_url: str) -> None:
    """A source that is not there, or has no schema, is said."""
    missing = tmp_path / "missing.db"

    assert "There is no database at" in call("--database", missing, "db", "copy", "--to", postgres_url, code=2).stderr
    call("--database", empty_postgres_url, "db", "copy", "--to", tmp_path / "b.db", code=74)


def test_into_an_empty_database(sqlite_url: str, empty_postgres_url: str) -> None:
    """A target without a schema gets one."""
    with opened(sqlite_url) as source:
        live(source, runs=2)
    call("--database", sqlite_url, "db", "copy", "--to", empty_postgres_url)

    assert len(rows("--database", empty_postgres_url, "runs")) == 2


def test_locks_both(sqlite_url: str, postgres_url: str, tmp_path: Path) -> None:
    """While a run works on either of them nothing is copied."""
    for busy in (sqlite_url, postgres_url):
        with take_locks(busy, None, clock=lambda: NOW):
            call("--database", sqlite_url, "db", "copy", "--to", postgres_url, code=75)
    call("--database", sqlite_url, "db", "copy", "--to", postgres_url)


@contextmanager
def failing_after(engine: Engine, table: str) -> Iterator[None]:
    """Let the database itself refuse rows of one table."""
    with begin(engine) as conn:
        if engine.dialect.name == "sqlite":
            refuse = "BEGIN SELECT RAISE(ABORT, 'refused'); END"
            conn.execute(text(f"CREATE TRIGGER refuse BEFORE INSERT ON {table} {refuse}"))
        else:
            conn.execute(text(f"ALTER TABLE {table} ADD CONSTRAINT refuse CHECK (false)"))
    yield
    with begin(engine) as conn:
        if engine.dialect.name == "sqlite":
            conn.execute(text("DROP TRIGGER refuse"))
        else:
            conn.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT refuse"))


def test_into_a_database_that_was_made_ready(sqlite_url: str, empty_postgres_url: str) -> None:
    """What an upgrade for a fleet writes is no history; it stays with the tables it is about, and goes nowhere else."""
    with opened(sqlite_url) as source, opened(empty_postgres_url) as goal:
        live(source, runs=3)
        with begin(source) as conn:
            save_setting(conn, workers.ENGINE, "of another database")
        call("--database", empty_postgres_url, "db", "upgrade")
        with begin(goal) as conn:
            was = saved_setting(conn, workers.ENGINE)
            save_setting(conn, "told of the database", "1")
        assert was

        call("--database", sqlite_url, "db", "copy", "--to", empty_postgres_url)

        with read(goal) as conn:
            assert saved_setting(conn, workers.ENGINE) == was
            assert saved_setting(conn, "told of the database") is None
        call("--database", sqlite_url, "db", "copy", "--to", empty_postgres_url, code=2)


def test_a_fleet_stays_where_it_is(postgres_url: str, empty_postgres_url: str) -> None:
    """Who works on a database, and that they rest, is not told of the one that its history is copied to."""
    with opened(postgres_url) as source, opened(empty_postgres_url) as goal:
        live(source, runs=3)
        call("--database", empty_postgres_url, "db", "upgrade")
        for engine, name in ((source, "there"), (goal, "here")):
            with begin(engine) as conn:
                workers.drain(conn, name)
        with begin(source) as conn:
            workers.count(conn, workers.EVICTIONS, 7)
            workers.suspected(conn, [1, 2])
            seen = {"session": 1, "session_began": NOON, "started_at": NOON, "seen_at": NOON}
            said = {"host": "a", "pid": 1, "version": "1", "config": "", "slots": 1, "in_flight": 0}
            conn.execute(insert(WorkerRow).values(id="w", **seen, **said))
        copied = rows("--database", postgres_url, "db", "copy", "--to", empty_postgres_url)

        with read(goal) as conn:
            assert workers.drained(conn) == "here"
            assert workers.counts(conn) == {workers.EVICTIONS: 0, workers.FENCES_LOST: 0}
            assert saved_setting(conn, workers.SUSPECTS) is None
            assert workers.workers(conn, silent_after=timedelta(seconds=10)) == []
    assert {row["table"]: row["rows"] for row in copied}["workers"] == 0


@pytest.mark.parametrize("to", ["sqlite", "postgresql"])
def test_cut_short(to: str, sqlite_url: str, postgres_url: str) -> None:
    """A copy that fails in the middle leaves nothing behind, and can be begun again."""
    source_url, goal_url = (postgres_url, sqlite_url) if to == "sqlite" else (sqlite_url, postgres_url)
    with opened(source_url) as source, opened(goal_url) as goal:
        live(source, runs=5)
        with failing_after(goal, "changes"), pytest.raises(Exception, match=r"refuse"):
            copy_history(source, goal)
        with read(goal) as conn:
            assert [table.name for table in Base.metadata.sorted_tables if conn.execute(select(table)).first()] == []
        assert sum(table.rows for table in copy_history(source, goal)) > 20


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_file_is_as_private_as_the_original(sqlite_url: str, tmp_path: Path, mode: int) -> None:
    """A copy into a new file has the mode of the original; one that is there already keeps its own."""
    original, goal, there = Path(sqlite_url.removeprefix("sqlite:///")), tmp_path / "goal.db", tmp_path / "there.db"
    original.chmod(mode)
    there.touch(0o666)
    there.chmod(0o622)
    for path in (goal, there):
        call("--database", original, "db", "copy", "--to", path)

    assert [stat.S_IMODE(path.stat().st_mode) for path in (goal, there)] == [mode, 0o622]


def test_file_after_a_killed_copy_has_the_mode_too(sqlite_url: str, tmp_path: Path) -> None:
    """What a killed copy left does not count as a file that is there already, whatever had arrived in it."""
    original, goal = Path(sqlite_url.removeprefix("sqlite:///")), tmp_path / "goal.db"
    original.chmod(0o644)
    killed = f"""
import os, sys
from crawler.cli import main
from crawler.db import copy, workers
copy.continue_numbering = lambda *_: os._exit(9)
sys.argv = ["crawler", "--database", {str(original)!r}, "db", "copy", "--to", {str(goal)!r}]
main()
"""
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == 9
    assert not goal.exists()

    call("--database", original, "db", "copy", "--to", goal)

    assert stat.S_IMODE(goal.stat().st_mode) == 0o644
    assert sorted(path.name for path in tmp_path.glob("goal.db*")) == ["goal.db", "goal.db.lock"]


def test_file_from_postgresql_is_private(postgres_url: str, tmp_path: Path) -> None:
    """A copy of what only the server guarded is nobody else's."""
    call("--database", postgres_url, "db", "copy", "--to", tmp_path / "goal.db")

    assert stat.S_IMODE((tmp_path / "goal.db").stat().st_mode) == 0o600


def test_failed_copy_leaves_no_file(tmp_path: Path) -> None:
    """Where nothing can be copied no file is left, private or not."""
    (tmp_path / "empty.db").touch()
    call("--database", tmp_path / "empty.db", "db", "copy", "--to", tmp_path / "goal.db", code=74)

    assert not (tmp_path / "goal.db").exists()


@pytest.mark.parametrize("to", ["sqlite", "postgresql"])
def test_what_arrives_is_compared(to: str, sqlite_url: str, postgres_url: str) -> None:
    """A row that did not arrive as it was sent ends the copy, and nothing is kept."""
    source_url, goal_url = (postgres_url, sqlite_url) if to == "sqlite" else (sqlite_url, postgres_url)
    with opened(source_url) as source, opened(goal_url) as goal:
        live(source, runs=5)
        with begin(goal) as conn:
            if to == "sqlite":
                meddle = "BEGIN UPDATE payloads SET size = size + 1 WHERE id = new.id; END"
                conn.execute(text(f"CREATE TRIGGER meddle AFTER INSERT ON payloads {meddle}"))
            else:
                conn.execute(
                    text(
                        "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS"
                        " 'BEGIN NEW.size = NEW.size + 1; RETURN NEW; END'"
                    )
                )
                conn.execute(
                    text("CREATE TRIGGER meddle BEFORE INSERT ON payloads FOR EACH ROW EXECUTE FUNCTION meddle()")
                )
        with pytest.raises(DatabaseUnavailable, match=r"rows of payloads, \d+ arrived .*, or some arrived changed"):
            copy_history(source, goal)
        with read(goal) as conn:
            assert conn.execute(select(Payload.id)).first() is None


def test_portions(sqlite_url: str, postgres_url: str) -> None:
    """A table goes over in portions, however long it is."""
    heard: list[tuple[str, int]] = []
    with opened(sqlite_url) as source, opened(postgres_url) as goal:
        count = copy.ROWS_AT_ONCE * 2 + 1
        with begin(source) as conn:
            row = {"body": b"\0x", "size": 1, "received_at": NOON}
            conn.execute(insert(Payload), [{**row, "digest": number.to_bytes(16)} for number in range(count)])
        copied = copy_history(source, goal, progress=lambda name, rows: heard.append((name, rows)))

    assert [rows for name, rows in heard if name == "payloads"] == [2_000, 4_000, 4_001]
    assert next(table.rows for table in copied if table.table == "payloads") == count
    assert issubclass(DatabaseUnavailable, CrawlerError)
