"""Before a SQLite file is upgraded it is copied: whole, or the upgrade does not begin."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from crawler.errors import DatabaseUnavailable
from crawler.store.backup import back_up
from crawler.store.engine import begin, opened
from crawler.store.migrate import upgrade


@pytest.fixture
def history(sqlite_url: str) -> Path:
    """Give the path of a database that holds one setting."""
    with opened(sqlite_url) as engine, begin(engine) as connection:
        connection.execute(text("INSERT INTO settings (name, value) VALUES ('kept', 'yes')"))
    return Path(sqlite_url.removeprefix("sqlite:///"))


def kept(path: Path) -> list[str]:
    """Give the settings at *path*."""
    with closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM settings")]


def beside(path: Path) -> list[str]:
    """Give the names beside the database, without its own."""
    return sorted(entry.name for entry in path.parent.iterdir() if entry != path)


def test_copy_is_whole_and_as_private_as_the_original(history: Path) -> None:
    """The copy holds all rows, has the original's permissions and leaves nothing unfinished behind."""
    history.chmod(0o600)

    copy = back_up(history, label="rev")

    assert copy == history.with_name("crawler.db.rev.bak")
    assert (kept(copy), stat.S_IMODE(copy.stat().st_mode)) == (["kept"], 0o600)
    assert beside(history) == ["crawler.db.rev.bak"]


def test_last_two_copies_are_kept(history: Path) -> None:
    """A third copy lets the oldest go, and other files alone."""
    history.with_name("crawler.db.notes").touch()
    for age, label in enumerate(("c", "b", "a")):
        copy = back_up(history, label=label)
        os.utime(copy, ns=(age, age))

    back_up(history, label="d")

    assert beside(history) == ["crawler.db.a.bak", "crawler.db.d.bak", "crawler.db.notes"]


def test_upgrade_without_room_does_not_begin(history: Path) -> None:
    """Without free space for the copy and the upgrade nothing is touched, and the sentence has both figures."""
    needed = history.stat().st_size * 2

    with pytest.raises(DatabaseUnavailable, match=r"needs 0\.\d MB free .* has 0\.\d MB\. Nothing was changed"):
        back_up(history, label="rev", free=lambda folder: needed - 1)
    assert beside(history) == []
    back_up(history, label="rev", free=lambda folder: needed)


def test_copy_that_cannot_be_written_stops_the_upgrade(history: Path) -> None:
    """Where the copy cannot have its name the sentence says so, and no half of it stays."""
    history.with_name("crawler.db.rev.bak").mkdir()

    with pytest.raises(DatabaseUnavailable, match="could not be copied"):
        back_up(history, label="rev")

    assert beside(history) == ["crawler.db.rev.bak"]


def test_empty_file_is_not_copied(tmp_path: Path) -> None:
    """There is nothing to keep of a database that holds nothing."""
    with opened(tmp_path / "crawler.db") as engine:
        assert upgrade(engine) is None

    assert beside(tmp_path / "crawler.db") == []
