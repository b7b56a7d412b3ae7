"""Every table of every command: on a terminal of 80 columns and in a pipe, in English and in Chinese."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import termios
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crawler.db.engine import opened
from crawler.demo import play
from crawler.domain.text import width
from crawler.emulator import run_in_thread
from tests.support.command import ROOT, call, rows
from tests.support.diary import Diary, target
from tests.support.driving import Driver, account
from tests.support.terminals import read_terminal
from tests.support.worlds import make_timeline

TABLES = (
    "images", "changes", "history 'Ubuntu*'", "history uimage-vareox", "where 'Ubuntu*'", "diff 20h now --unknown",
    "compare hk-02 th-bkk-01", "status", "runs", "check ids.txt", "holds list --all", "explain 1", "db status",
    "db stats", "db copy --to copy.db",
)  # fmt: skip
#: An id, and the letters that may stand before what merely looks like one.
IMAGE_ID = re.compile(r"(?<!\w)uimage-\w*")


@pytest.fixture
def light(tmp_path: Path, sqlite_url: str) -> Driver:
    return Driver(tmp_path, sqlite_url)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the demo's history in `crawler.db`, and a file of ids in use."""
    folder = tmp_path_factory.mktemp("tables")
    play(folder / "crawler.db", clock=lambda: datetime.now(UTC))
    lines = ("hk-02 uimage-vareox", "hk-02 uimage-x7zezb1gcv5", "uimage-ji1vyq", "th-bkk-01 uimage-qdhhdc")
    (folder / "ids.txt").write_text("\n".join(lines))
    return folder


def shown(folder: Path, line: str, *, is_terminal: bool = True, **environ: str) -> str:
    """Return what `crawler` shows of *line* on a terminal of 80 columns or in a pipe, colours apart."""
    (folder / "copy.db").unlink(missing_ok=True)
    command = [sys.executable, "-m", "crawler", *shlex.split(line)]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "PAGER": "cat", **environ}
    if not is_terminal:
        return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False).stdout
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 500, 80, 0, 0))
    with subprocess.Popen(
        command, cwd=folder, env=environ, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL
    ) as running:
        os.close(theirs)
        seen = read_terminal(ours)
    assert running.returncode in (0, 1), seen
    return re.sub(r"\x1b\[[0-9;]*m", "", seen).replace("\r\n", "\n")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("words", TABLES)
def test_80_columns(played: Path, words: str, language: str) -> None:
    """No line is wider than 80 columns or ends in a blank, every id stays whole, and a pipe gets the same table."""
    line = f"--database crawler.db --language {language} {words}"
    text = shown(played, line)
    rows = shown(played, f"{line} -o json", is_terminal=False)

    assert text.count("\n") >= 2
    assert [line for line in text.splitlines() if width(line) > 80 or line != line.rstrip()] == []
    if not words.startswith("explain"):
        assert set(IMAGE_ID.findall(text)) <= set(IMAGE_ID.findall(rows))
        assert shown(played, line, is_terminal=False) == text
    assert (re.search(r"[一-鿿]", text) is not None) is (language == "zh")


def test_chinese_is_aligned(played: Path) -> None:
    """What stands below a heading begins in its column, however wide the characters before it are."""
    text = shown(played, "--database crawler.db status --zone 'hk*' --zone 'kr*'", LANG="zh_CN.UTF-8")
    heading, *lines = text.partition("各行相同")[0].splitlines()
    begin = width(heading[: heading.index("起始")])

    starts = [found.start() for line in lines if (found := re.search(r"\d\d-\d\d \d\d:\d\d", line))]
    assert {width(line[:start]) for line, start in zip(lines, starts, strict=False)} == {begin}
    assert re.search(r"正常 .*\n.*失败 ", text)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_in_tmux(played: Path) -> None:
    """A real terminal of 80 columns breaks no line of a table: what it shows is what was written."""
    line = "--database crawler.db changes"
    program = f"PYTHONPATH={ROOT} PAGER=cat {sys.executable} -m crawler {line}; sleep 60"
    socket = ["tmux", "-L", f"crawler-{os.getpid()}", "-f", os.devnull]
    subprocess.run([*socket, "new-session", "-d", "-x", "80", "-y", "50", program], cwd=played, check=True)
    try:
        screen, deadline = "", time.monotonic() + 60
        while "Everywhere" not in screen and time.monotonic() < deadline:
            time.sleep(0.1)
            screen = subprocess.run([*socket, "capture-pane", "-p"], capture_output=True, text=True, check=True).stdout
    finally:
        subprocess.run([*socket, "kill-server"], check=False)

    wanted = shown(played, line).splitlines()
    assert [row.rstrip() for row in screen.splitlines()][: len(wanted)] == wanted


def test_wide(played: Path) -> None:
    """--wide has every column, and each row on one line."""
    lines = shown(played, "--database crawler.db changes --wide", is_terminal=False).splitlines()

    assert re.match(r" *ID  ACCOUNT +PROJECT +REGION +ZONE .* RECORDED \(Asia/Shanghai\) +RUN +WHAT$", lines[0])
    assert len(lines) == 1 + len(json.loads(shown(played, "--database crawler.db changes -o json", is_terminal=False)))
    assert max(map(len, lines)) > 80


def test_columns(played: Path) -> None:
    """--columns takes headings in either language and fields, in any format, in the order that was asked for."""
    database = ("--database", played / "crawler.db")
    words = (*database, "images", "--zone", "hk-02", "--columns")
    table = call(*words, "zone,IMAGE-ID,State", now=datetime.now(UTC)).stdout
    chinese = call("--language", "zh", *words, "可用区,镜像 ID,state", now=datetime.now(UTC)).stdout
    written = list(
        csv.reader(io.StringIO(call(*words, "NAME,image_id,extra", "-o", "csv", now=datetime.now(UTC)).stdout))
    )

    assert next(line.split() for line in table.splitlines()) == ["ZONE", "IMAGE", "ID", "STATE"]
    assert re.fullmatch(r"(hk-02  uimage-\w+ +present\n){2}", table.partition("\n")[2])
    assert [line.split()[0] for line in chinese.splitlines()] == ["可用区", "hk-02", "hk-02"]
    assert written[0] == ["image_name", "image_id", "extra"]
    assert json.loads(call(*words, "image_id", "-o", "json", now=datetime.now(UTC)).stdout)[0].keys() == {"image_id"}


def test_columns_of_sides(played: Path) -> None:
    """A side of a comparison that lacks the image is nothing in the data, and no dash."""
    words = ("--database", played / "crawler.db", "compare", "hk-02", "sg-01", "--columns", "NAME,hk-02")
    written = list(csv.reader(io.StringIO(call(*words, "-o", "csv", now=datetime.now(UTC)).stdout)))
    rows = json.loads(call(*words, "-o", "json", now=datetime.now(UTC)).stdout)

    assert ["Anolis 8.6", ""] in written
    assert {"image_name": "Anolis 8.6", "first.image_id": None} in rows


def test_columns_of_where(sqlite_url: str) -> None:
    """What the table of `where` works out is in the data too, where that is asked for: lag, project, other ids."""
    here, there, old = target("hk-02"), target("sg-01"), {"uimage-old": "Debian 12"}
    with opened(sqlite_url) as engine:
        diary = Diary(engine)
        diary.run({here: old, there: old})
        diary.run({here: {**old, "uimage-a": "Ubuntu 20.04"}, there: old})
        both = {**old, "uimage-a": "Ubuntu 20.04", "uimage-b": "Ubuntu 20.04"}
        diary.run({here: both, there: {**old, "uimage-c": "Ubuntu 20.04"}})
    words = ("--database", sqlite_url, "where", "Ubuntu 20.04")
    lags = {row["zone"]: row["lag_seconds"] for row in rows(*words, now=diary.now)}
    shown = ("--columns", "zone,projects,lag,ids")
    written = list(csv.reader(io.StringIO(call(*words, *shown, "-o", "csv", now=diary.now).stdout)))

    assert lags["sg-01"] > lags["hk-02"] == 0
    assert rows(*words, *shown, now=diary.now) == [
        {"zone": "hk-02", "projects": "org-x", "lag_seconds": 0, "note": "older uimage-a still there"},
        {"zone": "sg-01", "projects": "org-x", "lag_seconds": lags["sg-01"], "note": ""},
    ]
    assert [line[1:] for line in written[1:]] == [
        ["org-x", "0.0", "older uimage-a still there"], ["org-x", str(lags["sg-01"]), ""],
    ]  # fmt: skip
    assert "ZONE   LAG" in call(*words, *shown[:1], "zone,lag", now=diary.now).stdout


@pytest.mark.parametrize("words", [words for words in TABLES if not words.startswith("db copy")])
def test_no_such_column(played: Path, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command with a table says in one sentence which columns it has, and exits with 2."""
    monkeypatch.chdir(played)
    done = call(
        "--database", "crawler.db", *shlex.split(words), "--columns", "zone,colour", now=datetime.now(UTC), code=2
    )

    assert re.fullmatch(r"Error: There is no column '(colour|zone)'; the columns are [A-Z][^;]*\.\n", done.stderr)


def test_waiting_reports_fit(light: Driver) -> None:
    """So does the table of what waits to be told, with its subjects and troubles."""
    smtp = {"host": "127.0.0.1", "port": 9, "security": "none", "from": "crawler@example.com"}
    reports = [{"name": "everybody-in-operations", "to": ["somebody-with-a-long-name@operations.example.com"]}]
    zones = {"hk-02": {"uimage-a": "CentOS 7.6"}}
    with run_in_thread(make_timeline(zones=zones, steps=[{"add": {"hk-02": {"uimage-b": "Ubuntu 24.04"}}}])) as cloud:
        light.configure(account(cloud.url), smtp=smtp, reports=reports)
        light.run()
        cloud.step = 2
        light.run(code=None)
    text = shown(light.folder, f"--config {shlex.quote(str(light.config))} report list")

    assert "everybody-in-operations" in text
    assert [line for line in text.splitlines() if width(line) > 80 or line != line.rstrip()] == []
