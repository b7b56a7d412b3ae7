"""Before a SQLite file is upgraded it is copied: whole, or the upgrade does not begin."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from crawler.db.backup import back_up, copy_to
from crawler.db.engine import begin, opened
from crawler.db.migrations import upgrade
from crawler.errors import DatabaseUnavailable


@pytest.fixture
def history(sqlite_url: str) -> Path:
    """Return the path of a database that holds one setting."""
    with opened(sqlite_url) as engine, begin(engine) as connection:
        connection.execute(text("INSERT INTO settings (name, value) VALUES ('kept', 'yes')"))
    return Path(sqlite_url.removeprefix("sqlite:///"))


def kept(path: Path) -> list[str]:
    """Return the settings at *path*."""
    with closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM settings")]


def beside(path: Path) -> list[str]:
    """Return the names beside the database, without its own."""
    return sorted(entry.name for entry in path.parent.iterdir() if entry != path)


def test_copy_is_whole_and_as_private_as_the_original(history: Path) -> None:
    """The copy holds all rows, has the original's permissions and leaves nothing unfinished behind."""
    history.chmod(0o600)

    copy = back_up(history, label="rev")

    assert copy == history.with_name("crawler.db.rev.bak")
    assert (kept(copy), stat.S_IMODE(copy.stat().st_mode)) == (["kept"], 0o600)
    assert beside(history) == ["crawler.db.rev.bak"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o444])
def test_copy_is_never_wider_than_the_original(history: Path, mode: int) -> None:
    """While it is written, with its journal, nobody else may read a copy; then it has the mode of the original."""
    history.chmod(mode)
    seen: list[int] = []

    def look(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event in ("os.rename", "os.remove", "os.chmod", "sqlite3.connect", "os.chown"):
            seen.extend(stat.S_IMODE(path.stat().st_mode) for path in history.parent.glob("*.part*"))

    watching = True
    sys.addaudithook(look)
    try:
        copies = [back_up(history, label="rev"), copy_to(history, history.with_name("mine.db"))]
    finally:
        watching = False  # an audit hook stays for good

    assert [stat.S_IMODE(copy.stat().st_mode) for copy in copies] == [mode, mode]
    assert set(seen) <= {0o600, mode}
    assert seen[0] == 0o600


def test_copy_in_another_group_is_closed_to_it(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the original's group cannot be given to the copy, the copy's own group may not read it."""
    if os.geteuid() != 0:
        pytest.skip("needs a file of another group, which root alone can make")
    os.chown(history, -1, 4321)
    history.chmod(0o640)
    given = copy_to(history, history.with_name("given.db"))
    monkeypatch.setattr(os, "chown", refuse)
    closed = copy_to(history, history.with_name("closed.db"))

    assert (given.stat().st_gid, stat.S_IMODE(given.stat().st_mode)) == (4321, 0o640)
    assert (closed.stat().st_gid, stat.S_IMODE(closed.stat().st_mode)) == (os.getegid(), 0o600)


def refuse(*_: object) -> None:
    """Refuse as the system does whoever is not root."""
    raise PermissionError(1, "Operation not permitted")


def test_unfinished_copy_of_another_is_no_way_out(history: Path, tmp_path: Path) -> None:
    """A link that lies where the copy begins is not followed."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    history.with_name("crawler.db.rev.bak.part").symlink_to(elsewhere)
    copy = back_up(history, label="rev")

    assert (elsewhere.read_text(), copy.is_symlink(), kept(copy)) == ("mine", False, ["kept"])


def test_last_two_copies_are_kept(history: Path) -> None:
    """A third copy lets the oldest go, and what people copied themselves alone."""
    mine = ["crawler.db.20261123T120000Z.bak", "crawler.db.before-the-move.bak", "crawler.db.notes"]
    for name in mine:
        history.with_name(name).touch()
    for age, label in enumerate(("20260103_c", "20260102_b", "20260101_a")):
        copy = back_up(history, label=label)
        os.utime(copy, ns=(age, age))

    back_up(history, label="20260104_d")

    assert beside(history) == sorted([*mine, "crawler.db.20260101_a.bak", "crawler.db.20260104_d.bak"])


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
