"""Pruning: what lies before the kept window goes, and every answer about the window stays the same."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, Engine, event, func, insert, inspect, select, update

from crawler.cli.app import cli
from crawler.config.models import Settings
from crawler.db import outbox
from crawler.db.engine import begin, open_engine, opened, read
from crawler.db.integrity import findings
from crawler.db.migrations import upgrade
from crawler.db.pruning import prune, references_indexed
from crawler.db.schema import Base, ChangeLog, Delivery, Hold, Interval, OutcomeSpan, Payload, Recipient, Run, Scope
from crawler.domain.filters import Filters
from crawler.emulator import Timeline, run_in_thread
from crawler.errors import DatabaseUnavailable, UnknownKnowledge, UsageError
from crawler.queries import images as queries_images
from crawler.queries import runs
from crawler.queries import status as queries_status
from tests.support.acceptance_table import Proven
from tests.support.answers import NOON
from tests.support.command import call
from tests.support.crawling import account_at, crawl_once, settings_for
from tests.support.diary import Diary, target
from tests.support.worlds import make_timeline

ZONES = ("hk-02", "sg-01", "sg-02")
RUNS = 24
EVERY = timedelta(hours=5)


def eventful(seed: int) -> Timeline:
    """Make a cloud in which images come and go at random, and zones fail, empty out and recover."""
    rng = random.Random(seed)
    images: dict[str, dict[str, str]] = {zone: {f"{zone}-{n}": f"Ubuntu {n}" for n in range(6)} for zone in ZONES}
    steps, faults = [], []
    for step in range(2, RUNS + 1):
        changed: dict[str, Any] = {}
        for zone in ZONES:
            if rng.random() < 0.2:
                name = rng.randrange(8)
                images[zone].pop(rng.choice([*images[zone], "none"]), None)
                images[zone][f"{zone}-{rng.randrange(12)}"] = f"Ubuntu {name}"
                changed[zone] = dict(images[zone])
            if rng.random() < 0.15:
                faults.append({"zone": zone, "steps": step, "ret_code": rng.choice([150, 230])})
            elif rng.random() < 0.1:
                faults.append({"zone": zone, "steps": step, "images": {"ImageSet": []}})
        steps.append({"images": {zone: _sets(zone, now) for zone, now in changed.items()}})
    return make_timeline(zones=images, steps=steps, faults=faults)


def _sets(zone: str, images: dict[str, str]) -> dict[str, Any]:
    return {"ImageSet": [{"ImageId": key, "ImageName": name, "ZoneId": 1} for key, name in sorted(images.items())]}


def live(engine: Engine, database_url: str) -> Settings:
    """Run for five days over the eventful cloud, which is gone afterwards."""
    with run_in_thread(eventful(7)) as cloud:
        settings = settings_for(database_url, account_at(cloud.url))
        for step in range(1, RUNS + 1):
            cloud.step = step
            crawl_once(engine, settings, NOON + EVERY * step)
    return settings


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The history on SQLite, lived once."""
    path = tmp_path_factory.mktemp("lived") / "crawler.db"
    with opened(path) as engine:
        upgrade(engine)
        live(engine, f"sqlite:///{path}")
    return path


@pytest.fixture
def history(lived: Path, sqlite_url: str) -> Settings:
    """A copy of the history, for this test alone."""
    shutil.copyfile(lived, sqlite_url.removeprefix("sqlite:///"))
    return settings_for(sqlite_url, account_at("http://127.0.0.1:9/"))


@pytest.fixture
def file(history: Settings) -> Iterator[Engine]:
    """The copy, opened."""
    with opened(history.database) as engine:
        yield engine


def answers(engine: Engine, settings: Settings, moments: list[datetime]) -> list[list[dict[str, Any]]]:
    with read(engine) as conn:
        return [
            [row.as_dict() for row in queries_images.images(conn, at, now=at, stale_after=settings.stale_after)]
            for at in moments
        ]


def moments_in(begin: datetime, end: datetime, count: int) -> list[datetime]:
    rng = random.Random(11)
    seconds = (end - begin).total_seconds()
    return [begin, *(begin + timedelta(seconds=rng.uniform(0, seconds)) for _ in range(count - 1))]


def counts(engine: Engine, *tables: type[Base]) -> list[int]:
    with read(engine) as conn:
        return [conn.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]


def prune_and_compare(engine: Engine, settings: Settings, count: int) -> int:
    """Prune the older two thirds, a piece at a time, and count the answers that stayed equal."""
    end = NOON + EVERY * RUNS + timedelta(hours=1)
    equal = 0
    for part in (0.2, 0.45, 0.66):
        before = NOON + EVERY * RUNS * part
        moments = moments_in(before, end, count // 3 + 1)
        expected = answers(engine, settings, moments)
        with read(engine) as conn:
            status = queries_status.status(conn, now=end)
        prune(engine, None, before=before, now=end)
        assert answers(engine, settings, moments) == expected
        with read(engine) as conn:
            assert queries_status.status(conn, now=end) == status
            assert findings(conn) == []
        equal += len(moments)
    return equal


def test_answers_about_the_window_stay_the_same(engine: Engine, database_url: str) -> None:
    """Whatever is pruned, every as-of answer inside the kept window, and the status, are what they were."""
    settings = live(engine, database_url)
    before = counts(engine, ChangeLog, Hold, Payload)
    prune_and_compare(engine, settings, 300)
    assert all(after < count for after, count in zip(counts(engine, ChangeLog, Hold, Payload), before, strict=True))


@pytest.mark.prove
def test_ten_thousand_answers_stay_the_same(engine: Engine, database_url: str, proven: Proven) -> None:
    """10,000 as-of answers inside the kept window are equal before and after pruning."""
    equal = prune_and_compare(engine, live(engine, database_url), 10_000)
    proven("prune: 10,000 as-of answers equal", f"{equal:,} equal on {engine.dialect.name}")


def test_a_run_that_failed_never_looks_like_one_that_went_well(file: Engine, history: Settings) -> None:
    """The runs that stay keep their outcomes: what is forgotten is a run with all it said, never its trouble alone."""
    with read(file) as conn:
        before = {row.run: runs.run(conn, row.run) for row in runs.runs(conn)}
    prune(file, None, before=NOON + EVERY * 20, now=NOON + EVERY * RUNS)
    with read(file) as conn:
        kept = list(runs.runs(conn))
        assert len(kept) < len(before)
        for row in kept:
            assert runs.run(conn, row.run) == before[row.run]


def test_what_went_is_counted(file: Engine, history: Settings) -> None:
    """The numbers that are told are those of the rows that went, and nothing that is left refers to one of them."""
    tables = (Interval, ChangeLog, Hold, OutcomeSpan, Run, Payload, Scope)
    before = counts(file, *tables)
    pruned = prune(file, None, before=NOON + EVERY * 20, now=NOON + EVERY * RUNS)
    gone = [had - has for had, has in zip(before, counts(file, *tables), strict=True)]
    told = [pruned.intervals, pruned.changes, pruned.holds, pruned.exceptions, pruned.runs, pruned.payloads]

    assert gone == [*told, pruned.scopes]
    assert min(told[1:]) > 0
    with read(file) as conn:
        assert conn.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        assert findings(conn) == []


def test_the_time_before_the_window_is_not_answered(file: Engine, history: Settings) -> None:
    """What was pruned cannot be told any more, and is not made up: the question is refused."""
    begin = NOON + EVERY * 20
    prune(file, None, before=begin, now=NOON + EVERY * RUNS)
    with pytest.raises(UnknownKnowledge, match="was pruned"):
        answers(file, history, [begin - timedelta(seconds=1)])
    prune(file, None, before=begin - timedelta(days=1), now=NOON + EVERY * RUNS)
    with pytest.raises(UnknownKnowledge, match="was pruned"):
        answers(file, history, [begin - timedelta(seconds=1)])


@pytest.mark.parametrize("place", [{}, {"zone": ("nowhere",)}, {"project": ("nobody",), "zone": ("nowhere",)}])
def test_nobody_is_answered_about_the_time_before(file: Engine, place: dict[str, tuple[str, ...]]) -> None:
    """The refusal is of the moment, whichever targets are asked about, be it none."""
    begin = NOON + EVERY * 20
    prune(file, None, before=begin, now=NOON + EVERY * RUNS)
    at = begin - timedelta(seconds=1)
    with read(file) as conn, pytest.raises(UnknownKnowledge, match="was pruned"):
        list(queries_images.images(conn, at, Filters(**place), now=at, stale_after=EVERY))


def test_the_next_run_goes_on_as_before(file: Engine, history: Settings) -> None:
    """After pruning everything but the present, a run over unchanged answers finds no change."""
    now = NOON + EVERY * RUNS + timedelta(minutes=5)
    prune(file, None, before=now - timedelta(minutes=1), now=now)
    with run_in_thread(eventful(7)) as cloud:
        cloud.step = RUNS
        result = crawl_once(file, replace(history, accounts=(account_at(cloud.url),)), now)
    assert sum(result.summary.changes.values()) == 0
    assert result.summary.baseline["targets"] == 0


def test_references_are_indexed_while_rows_go(engine: Engine) -> None:
    """Each column that refers to what is deleted by thousands is indexed meanwhile, and no index stays behind."""

    def indexed(conn: Connection) -> set[tuple[str, str | None]]:
        found = inspect(conn)
        return {
            (table, index["column_names"][0]) for table in Base.metadata.tables for index in found.get_indexes(table)
        }

    referring = {
        (table.name, column.name)
        for table in Base.metadata.sorted_tables
        for column in table.columns
        for key in column.foreign_keys
        if key.column.table.name in {"runs", "payloads", "image_versions"}
    }
    with begin(engine) as conn:
        before = indexed(conn)
        with references_indexed(conn):
            assert referring <= indexed(conn)
        assert indexed(conn) == before
    assert not referring <= before


def test_the_future_is_not_pruned(file: Engine, history: Settings) -> None:
    """A window that begins in the future, or just now, is refused, and nothing goes."""
    before = counts(file, Run, Interval, ChangeLog)
    for moment in (NOON + EVERY * 99, NOON + EVERY * RUNS):
        with pytest.raises(UsageError, match="not in the past"):
            prune(file, None, before=moment, now=NOON + EVERY * RUNS)
    assert counts(file, Run, Interval, ChangeLog) == before


def test_clock_that_is_ahead(file: Engine, history: Settings) -> None:
    """Where the last run is over half a year ago, pruning is refused until the caller insists, and nothing goes."""

    def prunes(now: datetime, *more: str, code: int) -> str:
        said = call("--database", history.database, "db", "prune", "--keep", "2d", *more, now=now, code=code)
        return said.output

    before = counts(file, Run, Interval, ChangeLog)
    ended = NOON + EVERY * RUNS + timedelta(minutes=1)
    refusal = prunes(ended + timedelta(days=365), code=2)
    assert "the last run ended 365 days ago, at 20" in refusal
    assert "--clock-is-right" in refusal
    chinese = call(
        *("--language", "zh", "--database", history.database, "db", "prune", "--keep", "2d"),
        now=ended + timedelta(days=365), code=2,
    )  # fmt: skip
    assert "365 天前" in chinese.output
    assert counts(file, Run, Interval, ChangeLog) == before
    prunes(ended + timedelta(days=179), code=0)
    rest = counts(file, Run, Interval, ChangeLog)
    prunes(ended + timedelta(days=365), code=2)
    assert counts(file, Run, Interval, ChangeLog) == rest
    prunes(ended + timedelta(days=365), "--clock-is-right", code=0)


@pytest.mark.parametrize("waits_as", ["news", "digest", "nobody's"])
def test_changes_that_wait_to_be_told(file: Engine, history: Settings, waits_as: str) -> None:
    """
    What a report tells on Monday only is not forgotten before, nor what somebody has not got yet, nor what the next run
    has to report; then it is.
    """
    before, now = NOON + EVERY * 20, NOON + EVERY * RUNS
    old = select(func.count()).select_from(ChangeLog).where(ChangeLog.recorded_at < before)
    with begin(file) as conn:
        count = conn.execute(old).scalar_one()
        weekly = outbox.subscribe(conn, "weekly")
        runs_of = list(conn.scalars(select(ChangeLog.run_id).where(ChangeLog.recorded_at < before).distinct()))
        queued = [{"subscription_id": weekly, "run_id": run_id, "queued_at": now} for run_id in runs_of]
        if waits_as == "nobody's":
            conn.execute(update(ChangeLog).values(reported_run_id=None))
        else:
            conn.execute(insert(Delivery), queued)
        if waits_as == "digest":
            digest_id = outbox.add_digest(
                conn, weekly, kind="digest", channel="email", runs=(min(runs_of), max(runs_of)), message_id="<1@x>",
                subject="news", content=b"news", recipients=["a@x"], queued_at=now, now=now,
            )  # fmt: skip
            conn.execute(update(Delivery).values(settled_at=before - EVERY, digest_id=digest_id))
    prune(file, None, before=before, now=now)
    with begin(file) as conn:
        assert conn.execute(old).scalar_one() == count
        conn.execute(update(Delivery).values(settled_at=now))
        conn.execute(update(Recipient).values(state="sent"))
        conn.execute(update(ChangeLog).values(reported_run_id=ChangeLog.run_id))
    prune(file, None, before=before, now=now)
    with begin(file) as conn:
        assert conn.execute(old).scalar_one() < count


def test_room_that_cannot_be_given_back(file: Engine, history: Settings) -> None:
    """What was forgotten is told where a reader, or a full disk, keeps the file as large as it is."""
    path = history.database.removeprefix("sqlite:///")
    found: list[DatabaseUnavailable] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:

        def read_on(*_: object) -> None:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM runs").fetchone()

        busy = open_engine(history.database, busy_seconds=0.1)
        event.listen(busy, "checkin", read_on, once=True)
        pruned = prune(busy, None, before=NOON + EVERY * 20, now=NOON + EVERY * RUNS, complain=found.append)
        busy.dispose()

    assert pruned.runs
    assert "is locked by another process" in str(found)


def test_pruning_may_take_any_time(postgres_url: str) -> None:
    """Neither what it deletes nor PostgreSQL's housekeeping is a statement that is ended after two minutes."""
    limits: list[Any] = []
    waits: list[Any] = []
    with opened(postgres_url) as engine:
        Diary(engine, now=NOON - EVERY).run({target("hk-02"): {"uimage-a": "A"}})

        def look(conn: Any, cursor: Any, statement: str, *_: object) -> None:
            if statement.startswith(("CREATE INDEX", "DELETE FROM payloads", "VACUUM")):
                limits.append(cursor.connection.execute("SHOW statement_timeout").fetchone()[0])
                waits.append(cursor.connection.execute("SHOW lock_timeout").fetchone()[0])

        event.listen(engine, "before_cursor_execute", look)
        prune(engine, None, before=NOON, now=NOON + EVERY)
        with read(engine) as conn:
            limits.append(conn.exec_driver_sql("SHOW statement_timeout").scalar())

    assert set(limits[:-1]) == {"0"}
    assert set(waits[:-1]) == {"2min"}, "it waits for others no longer than any statement may take"
    assert len(limits) > 3
    assert limits[-1] == "2min"


def test_commands(file: Engine, history: Settings) -> None:
    """`db prune`, `db check`, `db stats` and `account rename`, as a person calls them."""

    def call(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli, ["--database", history.database, *words])
        return result.exit_code, result.output

    assert call("db", "check") == (0, "Nothing is wrong.\n")
    assert call("db", "prune", "--keep", "soon")[0] == 2
    code, output = call("db", "prune", "--keep", "100y")
    assert code == 2, output
    code, output = call("db", "prune", "--keep", "99y")
    assert (code, output) == (0, "Forgotten: nothing\n")
    assert '"table": "runs", "rows": 24' in call("db", "stats", "-o", "json")[1]
    assert call("account", "rename", "nobody", "x")[0] == 2
    for refused in ("a/b", "", " b", "b "):  # names that the configuration refuses
        assert call("account", "rename", "prod", refused)[0] == 2
    assert call("account", "rename", "prod", "main")[0] == 0
    assert '"account": "main"' in call("status", "-o", "json")[1]
