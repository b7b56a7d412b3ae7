"""How a folder is written: whole at every moment, by one at a time, and nothing in it that is somebody else's."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from crawler.db.engine import opened
from crawler.errors import LockTaken, UsageError
from crawler.web.publication import publish
from crawler.web.published_folder import LIST, folder
from tests.support.command import ROOT
from tests.support.diary import Diary, Images, target
from tests.support.published import check_whole, document, files_of

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
    """Killed at 30 moments, each file has the old bytes or the new ones and is listed; the next time all is new."""
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
        left = {path: body for path, body in files_of(root).items() if path not in (".part", LIST)}
        check_whole(left)
        assert [path for path, body in left.items() if body not in (old.get(path), new.get(path))] == []
        assert left.keys() <= set(document(root, LIST)["files"])
        for path in new.keys() - old.keys():
            (root / path).unlink(missing_ok=True)
        for path, body in old.items():
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
        into.commit()

    assert (tmp_path / "site/v1/a.json").stat().st_mode & 0o444 == 0o444
    assert sorted(files_of(tmp_path)) == ["site/assets/files.json", "site/v1/a.json"]


def test_much_to_write(tmp_path: Path) -> None:
    """What is too much to be kept in memory until all is known is written all the same, and leaves nothing else."""
    bodies = {f"v1/{number}.json": bytes([number]) * 2**20 for number in range(12)}
    with folder(tmp_path) as into:
        for path, body in bodies.items():
            assert into.write(path, b"another")
            assert into.write(path, body)
            assert not into.write(path, body)
        assert into.remove("v1/0.json")
        into.commit()
    del bodies["v1/0.json"]

    found = files_of(tmp_path)
    assert sorted(json.loads(found.pop(LIST))["files"]) == sorted(bodies)
    assert found == bodies


@pytest.mark.parametrize("path", ["../x", "/x", "a/../x", ".git/x", "a//b", "a\0b", ""])
def test_paths(tmp_path: Path, path: str) -> None:
    """What is no path of a published file is refused, whoever asks for it."""
    with pytest.raises(ValueError, match="no path of a published file"), folder(tmp_path) as into:
        into.write(path, b"")


@pytest.mark.slow
def test_killed_when_it_is_new(sqlite_url: str, tmp_path: Path) -> None:
    """A first publication that was killed at any moment is no obstacle to the next."""
    with opened(sqlite_url) as engine:
        diary = Diary(engine)
        diary.run({ZONES[0]: {"uimage-1": "System 1"}})
        now = diary.now.isoformat()
        publish(engine, tmp_path / "whole", now=diary.now, stale_after=STALE)
        whole = files_of(tmp_path / "whole")
        for stop in (4, 5, 6, 7, 9, 40):
            publish_killed(sqlite_url, tmp_path / f"{stop}", now, stop)
            publish(engine, tmp_path / f"{stop}", now=diary.now, stale_after=STALE)
            assert files_of(tmp_path / f"{stop}") == whole


# --- what is somebody else's -----------------------------------------------------------------------------------------

#: Files beside those of a publication, in its folders and under names that it might give to one.
OWN = {
    "changes/a.html": b"a",
    "names/n.html": b"n",
    "uhost-image/i.html": b"i",
    "zh/names/n.html": b"zh",
    "evidence/1.html": b"1",
    "pins.html": b"pins",
    "v1/atom/own.atom": b"<feed/>",
    "v1/history.db": b"SQLite",
    ".nojekyll": b"",
    "robots.txt": b"User-agent: *",
}


def put(root: Path, files: Mapping[str, bytes]) -> None:
    """Write what somebody has in a folder."""
    for path, body in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(body)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


@pytest.fixture
def diary(engine: Engine) -> Diary:
    made = Diary(engine)
    made.run(dict.fromkeys(ZONES, OLD))
    made.run(dict.fromkeys(ZONES, NEW))
    return made


@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
def test_what_is_left_alone(engine: Engine, diary: Diary, site: Path, *, is_first: bool) -> None:
    """Whatever no publication made stays, wherever it lies and whenever it came."""
    if not is_first:
        publish(engine, site, now=diary.now, stale_after=STALE)
    put(site, OWN)
    for _ in range(2):
        publish(engine, site, now=diary.now, stale_after=STALE)
        assert {path: body for path, body in files_of(site).items() if path in OWN} == OWN

    assert (site / "names/system-1.html").is_file()
    assert OWN.keys().isdisjoint(document(site, LIST)["files"])


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("index.html", "index.html"),
        ("index.html/x", "index.html"),
        ("zh/names/system-1.html", "zh/names/system-1.html"),
        ("v1", "v1"),
        (LIST, LIST),
        (".part", ".part"),
    ],
)
def test_in_the_way(engine: Engine, diary: Diary, site: Path, path: str, told: str) -> None:
    """Where what no publication made is in the way of a file, nothing is written, and a sentence says what to do."""
    before = {path: b"mine"} | ({} if path.startswith("v1") else OWN)
    put(site, before)
    with pytest.raises(UsageError, match=re.escape(told)) as raised:
        publish(engine, site, now=diary.now, stale_after=STALE)

    assert str(raised.value) == (
        f"{site}/{told} is in the way and no work of a publication; nothing was written. "
        "Give another folder, or move away what stands there."
    )
    assert files_of(site) == before


def test_several_in_the_way(engine: Engine, diary: Diary, site: Path) -> None:
    """The first of several is named; a link, and the file that a publication with private data would need, count."""
    publish(engine, site, now=diary.now, stale_after=STALE)
    put(site, {"pins.html": b"mine"})
    (site / "zh/pins.html").symlink_to("nowhere")
    before = files_of(site)
    with pytest.raises(UsageError, match=r"/pins\.html and 1 other are in the way"):
        publish(engine, site, now=diary.now, stale_after=STALE, with_private=True)
    assert files_of(site) == before
    publish(engine, site, now=diary.now, stale_after=STALE)
    assert (site / "zh/pins.html").is_symlink()


def test_a_folder_of_before(engine: Engine, diary: Diary, site: Path) -> None:
    """What publications made before they wrote a list is told by its place, and pages by what is in them too."""
    publish(engine, site, now=diary.now, stale_after=STALE, with_private=True)
    (site / LIST).unlink()
    page = (site / "names/system-1.html").read_bytes()
    put(site, {"names/gone.html": page, "names/n.html": b"<!DOCTYPE html>", "v1/own.txt": b"mine"})
    assert (site / "evidence").is_dir()
    publish(engine, site, now=diary.now, stale_after=STALE)
    publish(engine, other := site.with_name("other"), now=diary.now, stale_after=STALE)

    own = {"names/n.html": b"<!DOCTYPE html>", "v1/own.txt": b"mine"}
    assert files_of(site) == files_of(other) | own


def test_paths_of_a_list(tmp_path: Path) -> None:
    """A list leads nowhere else, and may name what is not there."""
    put(tmp_path, {"outside.txt": b"x"})
    put(tmp_path / "site", {LIST: json.dumps({"files": ["../outside.txt", "names/gone.html", 5]}).encode()})
    with folder(tmp_path / "site") as into:
        for under in ("names", "..", "."):
            into.keep_only(under, ())
        into.commit()

    assert (tmp_path / "outside.txt").is_file()
    assert document(tmp_path / "site", LIST)["files"] == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"files": null}',
        b'{"files": 5}',
        b'{"files": "names"}',
        b"[" * 100_000,
        b'{"files": ["index.html"',
        b"<<<<<<< HEAD",
        b"",
        b"\0",
    ],
)
def test_a_list_that_is_none(engine: Engine, diary: Diary, site: Path, body: bytes) -> None:
    """A list that is damaged is told as what is in the way; once it is moved away, all is as it was."""
    publish(engine, site, now=diary.now, stale_after=STALE)
    whole = files_of(site)
    (site / LIST).write_bytes(body)
    with pytest.raises(UsageError, match=re.escape(f"{site}/{LIST} is in the way")):
        publish(engine, site, now=diary.now, stale_after=STALE)
    (site / LIST).unlink()
    publish(engine, site, now=diary.now, stale_after=STALE)

    assert files_of(site) == whole


def test_a_list_that_names_no_file(tmp_path: Path) -> None:
    """What no file can be called is passed over in a list."""
    named = ["names/\ud800.html", f"names/{'x' * 5000}.html", "names/a.html"]
    put(tmp_path, {"names/a.html": b"a", LIST: json.dumps({"files": named}).encode()})
    with folder(tmp_path) as into:
        into.keep_only("names", ())
        into.commit()

    assert sorted(files_of(tmp_path)) == [LIST]


@pytest.mark.parametrize("linked", ["names", "v1", "zh", "v1/atom", "evidence"])
def test_links_to_elsewhere(engine: Engine, diary: Diary, site: Path, linked: str) -> None:
    """Through a folder that is a link nothing is written or removed, whatever the list says."""
    publish(engine, site, now=diary.now, stale_after=STALE, with_private=True)
    elsewhere = site.with_name("elsewhere")
    (site / linked).rename(elsewhere)
    (site / linked).symlink_to(elsewhere)
    before = files_of(elsewhere)
    diary.run(dict.fromkeys(ZONES, OLD))
    with pytest.raises(UsageError, match=re.escape(f"{site}/{linked} is in the way")):
        publish(engine, site, now=diary.now, stale_after=STALE)

    assert files_of(elsewhere) == before


def test_published_without_a_list_since(engine: Engine, diary: Diary, site: Path) -> None:
    """What a version that writes no list has published since is taken away too where it is private."""
    publish(engine, site, now=diary.now, stale_after=STALE)
    own = {"names/n.html": b"<!DOCTYPE html>", "evidence/1.txt": b"mine", "v1/atom/own.atom": b"<feed/>"}
    listed = (site / LIST).read_bytes()
    publish(engine, site, now=diary.now, stale_after=STALE, with_private=True, with_copy=True)
    (site / LIST).write_bytes(listed)
    put(site, own)
    assert (site / "v1/history.db").is_file()
    assert (site / "pins.html").is_file()
    publish(engine, site, now=diary.now, stale_after=STALE)
    publish(engine, other := site.with_name("other"), now=diary.now, stale_after=STALE)

    assert files_of(site) == files_of(other) | own


def test_like_a_page(engine: Engine, diary: Diary, site: Path) -> None:
    """A page that somebody made of a published one stays."""
    publish(engine, site, now=diary.now, stale_after=STALE)
    put(site, own := {"names/own.html": (site / "names/system-1.html").read_bytes()})
    for _ in range(2):
        diary.run(dict.fromkeys(ZONES, OLD))
        publish(engine, site, now=diary.now, stale_after=STALE)

    assert files_of(site).items() >= own.items()


def test_a_copy_that_was_begun(engine: Engine, diary: Diary, site: Path) -> None:
    """Nothing of a copy of the database is left by a publication that was killed while it was made."""
    publish(engine, site, now=diary.now, stale_after=STALE, with_private=True)
    begun = (".part", ".part.part", ".part.part-journal", ".part-journal", ".part-wal", ".part-shm")
    put(site, dict.fromkeys(begun, b"SQLite format 3"))
    publish(engine, site, now=diary.now, stale_after=STALE)

    assert files_of(site).keys().isdisjoint(begun)


def test_no_space(sqlite_url: str, tmp_path: Path) -> None:
    """A file that cannot be written whole is told in a sentence; the others are whole, and the next time all are."""
    with opened(sqlite_url) as engine:
        diary = Diary(engine)
        diary.run(dict.fromkeys(ZONES, OLD))
        limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000)){KILLED}"
        ended = subprocess.run(
            [sys.executable, "-c", limited, sqlite_url, str(tmp_path / "site"), diary.now.isoformat(), "-1"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"UsageError: {tmp_path / 'site'} cannot be published: File too large." in ended.stderr
        left = files_of(tmp_path / "site")
        check_whole({path: body for path, body in left.items() if path != LIST})
        assert ".part" not in left
        publish(engine, tmp_path / "site", now=diary.now, stale_after=STALE)
        publish(engine, tmp_path / "other", now=diary.now, stale_after=STALE)
        assert files_of(tmp_path / "site") == files_of(tmp_path / "other")
