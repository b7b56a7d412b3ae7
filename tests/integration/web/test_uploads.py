"""A published folder comes whole to where it is served, by the scripts of `config/` and the commands of the page."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.examples import blocks, commands
from tests.support.house import ROOT
from tests.support.published import files_of

SCRIPTS = ROOT / "config/publish"
HOURS = 3_600
#: Git without the settings of this machine.
ALONE = {"GIT_CONFIG_NOSYSTEM": "1"}
ID, PAGE, FRESH = "v1/resolve/hk-02/ubuntu-%28x%29/image_id", "index.html", "v1/freshness.json"
needs_rclone = pytest.mark.skipif(shutil.which("rclone") is None, reason="rclone is not installed")
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def run(*words: str | Path, environ: Mapping[str, str] | None = None, code: int = 0) -> str:
    """Run a program as somebody without settings of their own."""
    done = subprocess.run(
        [str(word) for word in words],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C", **(environ or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.fixture
def site(tmp_path: Path) -> Path:
    root = tmp_path / "srv/images"
    publish(root, "uimage-a", "12:00")
    (root / "v1/gone.json").write_text("{}")
    (root / ".part").write_text("{")
    return root


def publish(root: Path, image_id: str, now: str) -> None:
    """Leave what a publication leaves: an id and when it was known, of the same sizes each time."""
    for path, text in {ID: image_id, PAGE: image_id, FRESH: now}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def published(root: Path) -> dict[str, bytes]:
    return {path: body for path, body in files_of(root).items() if path != ".part"}


# --- object storage --------------------------------------------------------------------------------------------------


@needs_rclone
def test_rclone(site: Path, tmp_path: Path) -> None:
    """The store has what the folder has: what is new, no longer what is gone, and nothing that is not finished."""
    store = tmp_path / "store"
    for image_id in ("uimage-a", "uimage-b"):
        publish(site, image_id, "13:00")
        run(SCRIPTS / "object-storage.sh", site, store)
        assert files_of(store) == published(site)
        (site / "v1/gone.json").unlink(missing_ok=True)


@contextmanager
def bucket(root: Path) -> Iterator[str]:
    """Serve the folders in *root* as buckets of S3; yield the address."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{asked.getsockname()[1]}"
    words = ["rclone", "serve", "s3", str(root), "--addr", where, "--auth-key", "key,secret"]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        for line in server.stderr:
            if "Starting s3 server" in line:
                break
        yield f"http://{where}"
    finally:
        server.terminate()
        server.communicate()


@pytest.mark.slow
@needs_rclone
@pytest.mark.skipif(shutil.which("aws") is None, reason="aws is not installed")
def test_aws(site: Path, tmp_path: Path) -> None:
    """The page's two commands do the same; an id of the same length as the one before is uploaded."""
    store = tmp_path / "store/images.example.com"
    store.mkdir(parents=True)
    listed = [words for block in blocks("sh", "docs/pull-requests.md") for words in commands(block)]
    listed = [words for words in listed if words[0] == "aws"]
    assert len(listed) == 2
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    with bucket(store.parent) as address:
        for image_id in ("uimage-a", "uimage-b"):
            time.sleep(1.1)  # the client compares times to the second
            publish(site, image_id, "13:00")
            for words in listed:
                run(
                    *(word.replace("/srv/images", str(site)) for word in words), "--endpoint-url", address, environ=keys
                )
            assert files_of(store) == published(site)
            (site / "v1/gone.json").unlink(missing_ok=True)


# --- a repository of pages -------------------------------------------------------------------------------------------


class Pages:
    """A repository of pages, a clone of it, and somebody who publishes into the clone."""

    def __init__(self, folder: Path) -> None:
        self.origin, self.clone = folder / "origin", folder / "clone"
        self.git("init", "--quiet", "--bare", "--initial-branch", "main", self.origin)
        self.git("clone", "--quiet", self.origin, self.clone)

    def git(self, *words: str | Path) -> str:
        return run("git", *words, environ=ALONE)

    def publish(self, image_id: str, now: str, *, age: int = 0, code: int = 0) -> None:
        """Publish and call the script, whose commit is *age* seconds old."""
        publish(self.clone, image_id, now)
        moment = f"{int(time.time()) - age} +0000"
        names = {f"GIT_{who}_{what}": "crawler" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        dates = {"GIT_AUTHOR_DATE": moment, "GIT_COMMITTER_DATE": moment}
        run(SCRIPTS / "pages.sh", self.clone, environ={**ALONE, **names, **dates}, code=code)

    def pushed(self) -> list[list[str]]:
        """Return the files of each commit that arrived, the first first."""
        text = self.git("-C", self.origin, "log", "--reverse", "--name-only", "--format=tformat:commit", "main")
        return [sorted(part.split()) for part in text.split("commit\n")[1:]]


ALL = [PAGE, FRESH, ID]


@needs_git
def test_commits(tmp_path: Path) -> None:
    """A commit has what changed; without news the file that says how old all is goes once in six hours."""
    pages = Pages(tmp_path)
    (pages.clone / ".part").write_text("{")
    pages.publish("uimage-a", "12:00", age=7 * HOURS)
    assert pages.pushed() == [ALL]
    pages.publish("uimage-a", "13:00", age=5 * HOURS)
    assert pages.pushed() == [ALL, [FRESH]]
    pages.publish("uimage-a", "14:00")
    assert pages.pushed() == [ALL, [FRESH]]
    pages.publish("uimage-b", "15:00")
    assert pages.pushed() == [ALL, [FRESH], ALL]
    pages.publish("uimage-b", "15:00")
    assert len(pages.pushed()) == 3


@needs_git
def test_a_push_that_failed(tmp_path: Path) -> None:
    """What could not be pushed goes with the next call, news or not; the script fails meanwhile."""
    pages = Pages(tmp_path)
    pages.publish("uimage-a", "12:00")
    away = pages.origin.with_name("away")
    pages.origin.rename(away)
    pages.publish("uimage-b", "13:00", code=128)
    away.rename(pages.origin)
    pages.publish("uimage-b", "13:00")

    assert pages.pushed() == [ALL, ALL]


def test_crontabs() -> None:
    """The page's crontabs call the crawler, whatever its exit code, and then a script that is there."""
    for line in blocks("crontab", "docs/pull-requests.md"):
        found = re.fullmatch(
            r"\*/15 \* \* \* \* /\S+/crawler --config \S+ run; /etc/crawler/(\S+\.sh) /srv/\w+.*\n", line
        )
        assert found is not None, line
        assert os.access(SCRIPTS / found[1], os.X_OK)
