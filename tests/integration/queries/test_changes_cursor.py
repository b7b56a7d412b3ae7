"""The cursor of changes: whoever asks on from the last one misses nothing and sees nothing twice."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, Engine, select

from crawler import History
from crawler.cli.app import cli
from crawler.db import changelog
from crawler.db.copy import copy_history
from crawler.db.engine import begin, opened, read
from crawler.db.migrations import upgrade
from crawler.db.pruning import prune
from crawler.db.schema import ChangeLog
from crawler.errors import UnknownKnowledge, UsageError
from tests.support.acceptance_table import Proven
from tests.support.diary import START, Diary, target

WRITERS = 4


def born(engine: Engine) -> dict[str, Any]:
    """Make a run over one target, and give what a change of it has in every row."""
    diary = Diary(engine)
    run_id = diary.run({target(): {"uimage-a": "A"}})
    (target_id,) = diary.ids([target()]).values()
    return {"run_id": run_id, "target_id": target_id, "event": "modified", "observed_at": START, "recorded_at": START}


def append(conn: Connection, row: dict[str, Any], *names: str) -> None:
    told = {"reported_run_id": row["run_id"]}
    changelog.append(conn, [{**row, **told, "image_id": name} for name in names])


class Poller:
    """Asks for changes again and again, each time after the last cursor it was given."""

    def __init__(self, url: str) -> None:
        self.seen: list[int] = []
        self._history = History(url)

    def poll(self) -> list[str | None]:
        """Ask once, and give the images of the new changes."""
        rows = self._history.changes(after=self.seen[-1] if self.seen else 0)
        self.seen += [row.as_dict()["cursor"] for row in rows]
        return [row.image_id for row in rows]


@contextmanager
def held_open(engine: Engine, write: Callable[[Connection], None]) -> Iterator[None]:
    """Begin a transaction and *write* in it; it is committed at the end of the block."""
    with begin(engine) as conn:
        write(conn)
        yield


def test_what_a_held_transaction_may_precede_waits(postgres_url: str) -> None:
    """A change committed while an older transaction is open is given after it, and its writer waits for nobody."""
    with opened(postgres_url) as engine:
        row, poller = born(engine), Poller(postgres_url)
        with held_open(engine, lambda conn: append(conn, row, "slow")):
            with begin(engine) as conn:
                append(conn, row, "quick")
            assert poller.poll() == []
        with begin(engine) as conn:
            append(conn, row, "last")
        assert poller.poll() == ["slow", "quick", "last"]


def test_a_transaction_that_fails_holds_nobody_back(postgres_url: str) -> None:
    """What a transaction announced and never wrote is waited for only as long as it lasts."""
    with opened(postgres_url) as engine:
        row, poller = born(engine), Poller(postgres_url)
        with engine.connect() as failing:
            append(failing, row, "never")
            with begin(engine) as conn:
                append(conn, row, "quick")
            assert poller.poll() == []
            failing.rollback()
        assert poller.poll() == ["quick"]


def test_another_history_holds_nobody_back(postgres_url: str) -> None:
    """What is written to a second history in the database, in a schema of its own, hides no change of the first."""
    beside = f"{postgres_url}{'&' if '?' in postgres_url else '?'}options=-csearch_path%3Dsecond"
    with opened(postgres_url) as engine, opened(beside) as second:
        with begin(engine) as conn:
            conn.exec_driver_sql("CREATE SCHEMA second")
        upgrade(second)
        row, theirs, poller = born(engine), born(second), Poller(postgres_url)
        with begin(engine) as conn:
            append(conn, row, "one", "two")
        with held_open(second, lambda conn: append(conn, theirs, "elsewhere")):
            assert poller.poll() == ["one", "two"]
            assert Poller(beside).poll() == []
        assert Poller(beside).poll() == ["elsewhere"]


def write_together(url: str, row: dict[str, Any], commits: int) -> None:
    """Let several writers commit at once, with transactions that stay open for a while; some fail."""

    def write(number: int) -> None:
        rng = random.Random(number)
        with opened(url) as engine:
            for turn in range(commits // WRITERS):
                names = [f"{number}-{turn}-{n}" for n in range(rng.choice((1, 1, 3)))]
                try:
                    with begin(engine) as conn:
                        append(conn, row, *names)
                        time.sleep(rng.choice((0, 0, 0.0005, 0.003)))
                        if rng.random() < 0.05:
                            raise ZeroDivisionError
                except ZeroDivisionError:
                    continue

    with ThreadPoolExecutor(WRITERS) as pool:
        for future in [pool.submit(write, number) for number in range(WRITERS)]:
            future.result()


def poll_beside(url: str, commits: int) -> tuple[int, int]:
    """Poll while writers commit; give how many changes were missed and how many were seen twice."""
    with opened(url) as engine:
        row, poller = born(engine), Poller(url)
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write_together, url, row, commits)
            while not writing.done():
                poller.poll()
            writing.result()
        poller.poll()
        with read(engine) as conn:
            written = set(conn.scalars(select(ChangeLog.id)))
    assert poller.seen == sorted(poller.seen)
    assert set(poller.seen) <= written
    return len(written - set(poller.seen)), len(poller.seen) - len(set(poller.seen))


def test_a_poller_beside_writers_misses_nothing(database_url: str) -> None:
    """Beside four writers whose transactions stay open, a poller misses no change and sees none twice."""
    assert poll_beside(database_url, 400) == (0, 0)


@pytest.mark.prove
def test_a_poller_beside_twenty_thousand_commits(database_url: str, proven: Proven) -> None:
    """Beside 20,000 commits of four writers, a poller misses no change and sees none twice."""
    missed, twice = poll_beside(database_url, 20_000)
    assert (missed, twice) == (0, 0)
    proven("polling by cursor: 20,000 commits", f"{missed} missed, {twice} twice on {database_url.partition(':')[0]}")


def test_a_cursor_outlives_pruning_and_copying(database_url: str, tmp_path: Path) -> None:
    """After pruning all that was given and copying the rest, a cursor still tells what is new."""
    with opened(database_url) as engine:
        row, poller = born(engine), Poller(database_url)
        with begin(engine) as conn:
            append(conn, row, "a", "b")
        assert poller.poll() == ["a", "b"]
        prune(engine, None, before=START + timedelta(days=1), now=START + timedelta(days=2))
        copied = f"sqlite:///{tmp_path / 'copy.db'}"
        with opened(copied) as copy:
            copy_history(engine, copy)
        for url in (database_url, copied):
            with opened(url) as history, begin(history) as conn:
                append(conn, row, "c")
            rows = History(url).changes(after=poller.seen[-1])
            assert [row.image_id for row in rows] == ["c"]
            assert rows[0].cursor > poller.seen[-1]


def test_a_cursor_before_what_was_pruned_is_refused(database_url: str) -> None:
    """Where changes after a cursor were pruned, the poller is told; from the beginning it gets what is left."""
    with opened(database_url) as engine:
        row = born(engine)
        with begin(engine) as conn:
            append(conn, row, "a", "b", "c")
        first, _, third = (change.cursor for change in History(database_url).changes())
        prune(engine, None, before=START + timedelta(days=1), now=START + timedelta(days=2))
        with pytest.raises(UnknownKnowledge, match="were pruned"):
            History(database_url).changes(after=first)
        assert [change.cursor for change in History(database_url).changes(after=0)] == [third]
        with pytest.raises(UsageError, match=f"its last change has {third}"):
            History(database_url).changes(after=third + 1)


def test_the_command(database_url: str) -> None:
    """`changes --after` gives what follows a row; a wrong cursor is one sentence and exit code 2."""

    def call(*words: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(cli, ["--database", database_url, "changes", "-o", "jsonl", *words])
        return result.exit_code, result.stdout, result.stderr

    with opened(database_url) as engine:
        row = born(engine)
        assert call("--after", "1")[0] == 2
        with begin(engine) as conn:
            append(conn, row, "a", "b", "c")
    cursors = [json.loads(line)["cursor"] for line in call()[1].splitlines()]
    code, out, _ = call("--after", str(cursors[0]))
    assert (code, [json.loads(line)["image_id"] for line in out.splitlines()]) == (0, ["b", "c"])
    assert call("--after", str(cursors[-1]))[:2] == (0, "")
    for wrong in ("x", "-1", "9" * 5000, str(2**63), "1.5", str(cursors[-1] + 1)):
        code, out, err = call("--after", wrong)
        assert (code, out) == (2, ""), wrong
        assert "is no cursor" in err
        assert len(err) < 500
