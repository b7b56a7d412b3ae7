"""How a folder is written: whole at every moment, by one at a time."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from crawler.db.engine import opened
from crawler.errors import LockTaken, UsageError
from crawler.web.publication import publish
from crawler.web.site import Folder, folder
from tests.support.command import ROOT
from tests.support.diary import Diary, Images, target
from tests.support.published import check_whole, files_of

STALE = timedelta(hours=26)
ZONES = [target(f"hk-0{number}") for number in range(1, 5)]
OLD: Images = {f"uimage-{number}": f"System {number}" for number in range(5)}
NEW: Images = {f"uimage-n{number}": f"System {number}" for number in range(5)}

#: Publishes, and kills itself at the N-th file that it opens, writes, renames or removes below the folder.
KILLED = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from crawler.db.engine import opened
from crawler.web.publication import publish
url, root, now, stop = sys.argv[1], sys.argv[2], datetime.fromisoformat(sys.argv[3]), int(sys.argv[4])
from datetime import timedelta
seen = 0
def hook(event, args):
    global seen
    if event in ("open", "os.rename", "os.remove", "os.mkdir") and str(args[0]).startswith(root):
        seen += 1
        if seen == stop:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
with opened(url, read_only=True) as engine:
    publish(engine, Path(root), now=now, stale_after=timedelta(hours=26))
print(seen)
"""


def publish_killed(url: str, root: Path, now: str, stop: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", KILLED, url, str(root), now, str(stop)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_killed_at_30_moments(sqlite_url: str, tmp_path: Path) -> None:
    """Killed at 30 moments, the folder has of each file the old bytes or the new ones, and the next time all is new."""
    with opened(sqlite_url) as engine:
        _kill_often(engine, sqlite_url, tmp_path)


def _kill_often(engine: Engine, url: str, tmp_path: Path) -> None:
    diary = Diary(engine)
    diary.run(dict.fromkeys(ZONES, OLD))
    root, other = tmp_path / "site", tmp_path / "other"
    publish(engine, root, now=diary.now, stale_after=STALE)
    old = files_of(root)
    diary.run(dict.fromkeys(ZONES, NEW))
    publish(engine, other, now=diary.now, stale_after=STALE)
    new = files_of(other)
    now = diary.now.isoformat()
    count = int(publish_killed(url, tmp_path / "counted", now, -1).stdout)

    for stop in sorted(random.Random(7).sample(range(1, count), 30)):
        ended = publish_killed(url, root, now, stop)
        assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
        left = {path: body for path, body in files_of(root).items() if path != ".part"}
        check_whole(left)
        assert [path for path, body in left.items() if body not in (old.get(path), new.get(path))] == []
        for path, body in old.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(body)
    publish(engine, root, now=diary.now, stale_after=STALE)
    assert files_of(root) == new


def test_one_at_a_time(tmp_path: Path) -> None:
    """Who finds another publication at work waits, and gives up with a sentence."""
    waits: list[float] = []
    with (
        folder(tmp_path),
        pytest.raises(LockTaken, match="has not ended yet"),
        folder(tmp_path, patience_seconds=1, sleep=waits.append),
    ):
        pass

    assert sum(waits) == pytest.approx(1, abs=0.2)


def test_modes(tmp_path: Path) -> None:
    """A file is as readable as the umask has it, for web servers run as somebody else."""
    with folder(tmp_path / "site") as into:
        assert into.write("v1/a.json", b"{}")
        assert not into.write("v1/a.json", b"{}")

    assert (tmp_path / "site/v1/a.json").stat().st_mode & 0o444 == 0o444
    assert [path.name for path in tmp_path.rglob("*")] == ["site", "v1", "a.json"]


@pytest.mark.parametrize("path", ["../x", "/x", "a/../x", ".git/x", "a//b", "a\0b", ""])
def test_paths(tmp_path: Path, path: str) -> None:
    """What is no path of a published file is refused, whoever asks for it."""
    with pytest.raises(ValueError, match="no path of a published file"):
        Folder(tmp_path).write(path, b"")


def test_a_file_in_the_way(tmp_path: Path) -> None:
    """A folder that stands where a file belongs is named."""
    (tmp_path / "v1/a.json").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"a\.json cannot be published: Is a directory"), folder(tmp_path) as into:
        into.write("v1/a.json", b"{}")
