"""`crawler db`: the state of the database, and its upgrade under the lock."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from crawler.db.engine import begin, opened
from crawler.db.locks import take_locks
from crawler.db.migrations import SCHEMA_HEAD
from tests.support.command import call


def test_upgrade_makes_the_schema_once(empty_database_url: str) -> None:
    """An empty database gets its schema; a second call says that there is nothing to do."""
    made = call("--database", empty_database_url, "db", "upgrade").stdout
    again = call("--database", empty_database_url, "db", "upgrade").stdout

    assert made.endswith(f" made with the schema {SCHEMA_HEAD}\n")
    assert again.endswith(f" has the schema {SCHEMA_HEAD} already\n")


@pytest.mark.parametrize("address", ["host=localhost dbname=history password=sekret", "me:sekret@localhost/history"])
def test_no_file_of_a_connection_string(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """What names no file is refused in the configuration, on the command line and as a copy's goal; no file is made."""
    monkeypatch.chdir(tmp_path)
    call("--database", "history.db", "db", "upgrade")
    Path("crawler.toml").write_text(f'database = "{address}"\n')
    before = sorted(tmp_path.iterdir())
    results = [
        call("--config", "crawler.toml", "images", code=2),
        call("--database", address, "db", "upgrade", code=2),
        call("--database", "history.db", "db", "copy", "--to", address, code=2),
    ]

    assert all("give postgresql://user@host:5432/name or the path" in result.stderr for result in results)
    assert not any("sekret" in result.output for result in results)
    assert sorted(tmp_path.iterdir()) == before


def test_status_counts(database_url: str) -> None:
    """A current database is described in one row, exit code 0."""
    (row,) = json.loads(call("--database", database_url, "db", "status", "-o", "json").stdout)

    assert {key: row[key] for key in ("state", "schema", "runs", "targets", "intervals", "changes")} == {
        "state": "current",
        "schema": SCHEMA_HEAD,
        "runs": 0,
        "targets": 0,
        "intervals": 0,
        "changes": 0,
    }
    assert row["size_bytes"] > 0


def test_status_of_another_schema(database_url: str) -> None:
    """A database of a newer program is shown, and exit code 74 with a sentence says that it cannot be used."""
    with opened(database_url) as engine, begin(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '20991231_later'"))

    shown = call("--database", database_url, "db", "status", "-o", "json", code=74)

    (row,) = json.loads(shown.stdout)
    assert (row["state"], row["schema"], row["runs"]) == ("ahead", "20991231_later", None)
    assert "a newer crawler wrote it. Upgrade this program." in shown.stderr
    assert "a newer crawler wrote it" in call("--database", database_url, "db", "upgrade", code=74).stderr


@pytest.mark.parametrize(
    "words",
    ["db status", "db prune --keep 30d", "account rename prod live", "report skip 1", "holds accept 1"],
)
def test_missing_database(tmp_path: Path, words: str) -> None:
    """Looking at a database that is not there makes none, and changing it neither, nor a lock beside it."""
    assert "There is no database at" in call("--database", tmp_path / "none.db", *words.split(), code=74).stderr
    assert list(tmp_path.iterdir()) == []


def test_upgrade_waits_for_no_run_unless_told(database_url: str) -> None:
    """While a run holds the lock the upgrade leaves with 75 and says who holds it."""
    with take_locks(database_url, ["prod"], clock=lambda: datetime(2026, 11, 23, tzinfo=UTC)):
        refused = call("--database", database_url, "db", "upgrade", "--wait", "0.1", code=75)

    assert "Another run holds the lock" in refused.stderr
    assert "since 2026-11-23T00:00:00Z" in refused.stderr
