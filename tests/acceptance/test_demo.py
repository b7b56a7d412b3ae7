"""`crawler demo`: one screen of real history, and commands that work when they are typed."""

from __future__ import annotations

import os
import re
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crawler.db.engine import opened, read
from crawler.emulator.builtin import published_images
from crawler.queries.changes import changes
from tests.support.acceptance_table import Proven
from tests.support.command import ROOT, process, rows

PUBLISHED = {row[3] for snapshot in published_images()["snapshots"] for row in snapshot["rows"]}


Played = tuple[Path, subprocess.CompletedProcess[str], float]


def play(folder: Path) -> Played:
    """Play the demo as a process in an empty folder without any configuration."""
    begun = time.monotonic()
    done = process("demo", cwd=folder)
    return folder, done, time.monotonic() - begun


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return play(tmp_path_factory.mktemp("demo"))


def test_one_screen(played: Played, proven: Proven) -> None:
    """Exit 0, at most 25 lines of at most 120 columns, with real ids in them."""
    folder, done, seconds = played
    lines = done.stdout.splitlines()
    ids = set(re.findall(r"uimage-\w+", done.stdout))
    proven(
        "crawler demo: one screen of at most 25 lines with real ids, exit 0, in under 20 s",
        f"{len(lines)} lines, {len(ids & PUBLISHED)} published ids, exit {done.returncode}, {seconds:.1f} s",
    )

    assert done.returncode == 0
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 120
    assert "uimage-vareox" in ids
    assert ids & PUBLISHED
    assert "Traceback" not in done.stderr
    assert (folder / "crawler-demo.db").exists()
    assert "Look  crawler-demo-page/index.html" in lines
    assert "Is anything wrong?" in (folder / "crawler-demo-page" / "index.html").read_text(encoding="utf-8")


def test_screen_tells_the_history(played: Played) -> None:
    """Every id on the screen is in the history it made, and the screen's changes are those of the log."""
    folder, done, _ = played
    with opened(folder / "crawler-demo.db", read_only=True) as engine, read(engine) as conn:
        log = list(changes(conn))
    on_screen = set(re.findall(r"uimage-\w+", done.stdout))
    words = ("--database", folder / "crawler-demo.db", "images", "--at", "0s")
    everything = {row["image_id"] for row in rows(*words, now=datetime.now(UTC))}

    assert on_screen <= everything | {row.image_id for row in log}
    assert {row.image_id for row in log if row.event == "withdrawn"} <= on_screen


def typed(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Type *line* into a shell in *folder*."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["sh", "-c", line], cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def test_printed_commands(played: Played) -> None:
    """The commands it prints work, typed as they stand, and each of them shows something."""
    folder, done, _ = played
    printed = [
        line.split(maxsplit=1)[1] if line.startswith("Try") else line.strip() for line in done.stdout.splitlines()
    ]
    commands = [line for line in printed if "--database" in line]
    assert len(commands) >= 3

    for command in commands:
        answer = typed(command, folder)
        assert answer.returncode == 0, (command, answer.stderr)
        assert len(answer.stdout.splitlines()) >= 2, command


def test_printed_commands_of_an_odd_folder(tmp_path: Path) -> None:
    """So do those of a database whose name a shell would take apart."""
    done = process("-q", "demo", "--keep-in", "my demo's.db", cwd=tmp_path)
    commands = re.findall(r"^(?:Try)? +(.* --database .*)$", done.stdout, re.MULTILINE)

    assert len(commands) == 3
    assert [typed(command, tmp_path).returncode for command in commands] == [0, 0, 0]


def test_mail(played: Played) -> None:
    """The mail is shown as text before the screen, and written as a page beside the database; both tell the news."""
    folder, done, _ = played
    page = (folder / "crawler-demo.html").read_text(encoding="utf-8")
    subject = "Pinned image gone in hk-02, use uimage-x7zezb1gcv5; 3 withdrawn, 1 zone unseen [demo]"

    assert f"Subject: {subject}\n" in done.stderr
    for image_id in ("uimage-vareox", "uimage-rccvz4l9itr", "uimage-x7zezb1gcv5", "uimage-yjoh5a", "uimage-qdhhdc"):
        assert image_id in done.stderr
        assert image_id in page
    assert process("-q", "demo", "--keep-in", "quiet.db", cwd=folder).stderr == ""


def test_again(played: Played) -> None:
    """A second demo replaces its own database and tells the same; one that is named and there is left alone."""
    folder, done, _ = played
    again = process("demo", cwd=folder)
    assert again.returncode == 0
    assert re.findall(r"uimage-\w+", again.stdout) == re.findall(r"uimage-\w+", done.stdout)

    mine = folder / "mine.db"
    mine.write_bytes(b"precious")
    assert process("demo", "--keep-in", "mine.db", cwd=folder).returncode == 2
    assert mine.read_bytes() == b"precious"
    mine.unlink()
    page = folder / "mine.html"
    page.write_bytes(b"precious")
    assert f"{page} exists already" in process("demo", "--keep-in", "mine.db", cwd=folder).stderr
    assert page.read_bytes() == b"precious"
    page.unlink()


def test_database_of_its_own(tmp_path: Path) -> None:
    """`--database`, which the demo does not write to, is refused with the option that says where it writes."""
    done = process("--database", "mine.db", "demo", cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert "--keep-in FILE" in done.stderr
    assert list(tmp_path.iterdir()) == []
