"""`db check` finds what must never be, and `db backup` copies what is."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text

from crawler.cli.app import cli
from crawler.db.engine import begin, opened, read
from crawler.db.integrity import findings, tables
from crawler.emulator import run_in_thread
from tests.support.answers import NOON
from tests.support.crawling import account_at, crawl_once, settings_for
from tests.support.worlds import make_timeline


@pytest.fixture
def history(engine: Engine, database_url: str) -> Engine:
    """Two runs: b goes, c loses its name, d and e are held."""
    images = {name: name.upper() for name in "abcdefgh"}
    later = {"a": "A", "c": "C2", "d": "D", "e": "E", "f": "F", "g": "G", "h": "H"}
    with run_in_thread(
        make_timeline(
            zones={"hk-02": images, "sg-01": {"d": "D", "e": "E"}},
            steps=[
                {
                    "images": {
                        "hk-02": {"ImageSet": [{"ImageId": key, "ImageName": name} for key, name in later.items()]},
                        "sg-01": {"ImageSet": []},
                    }
                }
            ],
        )
    ) as cloud:
        settings = settings_for(database_url, account_at(cloud.url))
        crawl_once(engine, settings, NOON)
        cloud.step = 2
        crawl_once(engine, settings, NOON.replace(hour=18))
    with read(engine) as conn:
        assert findings(conn) == []
    return engine


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("UPDATE intervals SET valid_from = valid_to WHERE closed_run_id IS NOT NULL", "ends before it begins"),
        ("DELETE FROM changes WHERE event = 'withdrawn'", "ended without a change"),
        (
            "INSERT INTO exceptions (target_id, from_run_id, to_run_id, outcome, message, request_uuid, since)"
            " SELECT target_id, run_id, run_id + 1, 'failed', '', '', observed_at FROM changes"
            " WHERE event = 'withdrawn'",
            "did not observe the target well",
        ),
        ("UPDATE intervals SET valid_to = valid_from + 1 WHERE baseline = :yes", "a hold is open for an image"),
        ("UPDATE runs SET finished_at = started_at - 1 WHERE id = 2", "a run ended before it began: 2"),
        (
            "INSERT INTO intervals"
            " (target_id, version_id, valid_from, valid_to, present_since, baseline, opened_run_id)"
            " SELECT target_id, version_id, valid_from + 1, valid_to, present_since, baseline, opened_run_id"
            " FROM intervals WHERE id = 1",
            "listed twice at the same time",
        ),
        ("UPDATE intervals SET account_id = account_id + 1", "an interval is of another account than its target"),
        ("UPDATE changes SET account_id = NULL", "a change is of another account than its target"),
        (
            "INSERT INTO exceptions (target_id, from_run_id, to_run_id, outcome, message, request_uuid, since)"
            " SELECT target_id, 1, 2, 'failed', '', '', observed_at FROM changes",
            "a span of trouble is of another account than its target",
        ),
    ],
)
def test_each_thing_that_must_never_be_is_found(history: Engine, damage: str, found: str) -> None:
    """Every invariant, broken by hand, is one finding that names where."""
    with begin(history) as conn:
        conn.execute(text(damage), {"yes": True} if ":yes" in damage else {})
    with read(history) as conn:
        told = findings(conn)
    assert any(found in sentence for sentence in told), told


def test_a_damaged_file_is_found(history: Engine, database_url: str) -> None:
    """A reference to a row that is not there is a finding, and the command leaves with 1."""
    if not database_url.startswith("sqlite"):
        pytest.skip("PostgreSQL lets nobody break a reference")
    path = database_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("DELETE FROM runs WHERE id = 2")
        raw.commit()
    result = CliRunner().invoke(cli, ["--database", path, "db", "check"])
    assert result.exit_code == 1
    assert "refers to a row of runs that is not there" in result.output


def test_backup_is_whole_and_never_overwrites(history: Engine, database_url: str, tmp_path: Path) -> None:
    """The copy answers like the original; a file that exists is refused; PostgreSQL has its own tools."""
    copy = tmp_path / "copy.db"

    def call(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli, list(words))
        return result.exit_code, result.output

    code, output = call("--database", database_url, "db", "backup", str(copy))
    if not database_url.startswith("sqlite"):
        assert (code, "pg_dump" in output) == (2, True)
        return
    assert (code, output.strip()) == (0, str(copy))
    shown = call("--database", str(copy), "images", "--at", "2026-11-23T19:00Z", "-o", "json")
    assert shown == call("--database", database_url, "images", "--at", "2026-11-23T19:00Z", "-o", "json")
    code, output = call("--database", database_url, "db", "backup", str(copy))
    assert (code, "exists already" in output) == (2, True)


def test_sizes_of_tables_of_the_same_name(postgres_url: str) -> None:
    """Another schema of the same PostgreSQL database, with tables of the same names, is not what is measured."""
    with opened(postgres_url) as engine:
        with begin(engine) as conn:
            before = tables(conn)
            conn.exec_driver_sql("CREATE SCHEMA other")
            for row in before:
                conn.exec_driver_sql(f"CREATE TABLE other.{row['table']} AS SELECT n FROM generate_series(1, 999) AS n")
        with read(engine) as conn:
            assert tables(conn) == before
