"""The real Renovate reads a published folder over HTTP, with our preset, and proposes the ids that are in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from crawler.db.engine import opened
from crawler.web.publication import publish
from tests.support.diary import Diary, Images, Refusal, target
from tests.support.house import ROOT

#: The oldest Node that Renovate runs on; an older one fails in its first import.
OLDEST_NODE = 24
HERE = target("hk-02")
ODD = "Ubuntu 22.04 (GPU)"
FILES = {
    "pool.tf": '# ucloud-image: hk-02/ubuntu-20.04\nimage_id = "{ubuntu}"\n\nimage_id = "uimage-nobody"\n',
    "pool.yaml": "pools:\n  # ucloud-image: hk-02/ubuntu-20.04\n  - imageId: '{ubuntu}'\n",
    "pool.json": '{{\n  "//": "ucloud-image: hk-02/ubuntu-22.04-%28gpu%29",\n  "ImageId": "{odd}"\n}}\n',
}
#: A trace has the title of each pull request, which a look-up alone does not report.
ENVIRON = {
    "LOG_LEVEL": "trace",
    "LOG_FORMAT": "json",
    "RENOVATE_REPORT_TYPE": "file",
    "RENOVATE_HOST_RULES": json.dumps([{"matchHost": "127.0.0.1", "allowInternal": True}]),
}


@pytest.fixture
def renovate() -> str:
    """Return the program; skip where it cannot be run."""
    program = shutil.which("renovate") or pytest.skip("renovate (package renovate of npm) is not installed")
    node = shutil.which("node") or pytest.skip("node is not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version[1:].split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"renovate needs Node {OLDEST_NODE}, and this is {version}")
    return program


@contextmanager
def served(root: Path) -> Iterator[str]:
    """Serve the folder *root*; yield its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the word of the base class
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Team:
    """Somebody whose files name ids, with our preset and the address of a published folder."""

    def __init__(self, program: str, folder: Path, address: str) -> None:
        self.program, self.folder, self.repository = program, folder, folder / "repository"
        self.repository.mkdir()
        preset = (ROOT / "config/renovate/ucloud-images.json").read_text()
        (self.repository / "renovate.json").write_text(preset.replace("https://images.example.com", address))

    def writes(self, ids: dict[str, str]) -> None:
        """Put *ids* into the files, as a merged pull request does."""
        for name, text in FILES.items():
            (self.repository / name).write_text(text.format(**ids))

    def proposals(self) -> tuple[set[tuple[str, str]], set[str]]:
        """Return what Renovate would write, as (file, id), and the titles of its pull requests."""
        report = self.folder / "report.json"
        done = subprocess.run(
            [self.program, "--platform=local", "--dry-run=lookup"],
            cwd=self.repository,
            env={
                **ENVIRON,
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "RENOVATE_BASE_DIR": str(self.folder / "base"),
                "RENOVATE_REPORT_PATH": str(report),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout[-2_000:]
        said = json.loads(report.read_text())["repositories"]["local"]
        assert said["problems"] == []
        proposed = {
            (file["packageFile"], update["newDigest"])
            for file in said["packageFiles"].get("regex", [])
            for found in file["deps"]
            for update in found["updates"]
        }
        return proposed, set(re.findall(r'"prTitle":"([^"]*)"', done.stdout))


@pytest.mark.prove
def test_two_reissues(renovate: str, sqlite_url: str, tmp_path: Path) -> None:
    """
    Renovate proposes the id of each of two re-issues under a title of its own.

    It proposes nothing before the first, nothing once a proposal is merged, nothing for an old id of a name that is
    gone or while the zone is unknown, and nothing for an id without the comment.
    """
    root = tmp_path / "site"
    with opened(sqlite_url) as engine, served(tmp_path / "site") as address:
        diary, team = Diary(engine), Team(renovate, tmp_path, address)

        def answers(images: Images | None) -> None:
            diary.run({HERE: Refusal() if images is None else {**images, "uimage-c": "CentOS 7.6"}})
            publish(engine, root, now=diary.now, stale_after=timedelta(hours=26), url=address)

        titles = _follow(answers, team)

    assert len(titles[0]) == len(titles[1]) == 2
    assert not titles[0] & titles[1]


def _follow(answers: Callable[[Images | None], None], team: Team) -> list[set[str]]:
    ids = {"ubuntu": "uimage-a1", "odd": "uimage-b1"}
    titles: list[set[str]] = []
    team.writes(ids)
    for ubuntu, odd in (("uimage-a2", "uimage-b2"), ("uimage-a3", "uimage-b3")):
        answers({ids["ubuntu"]: "Ubuntu 20.04", ids["odd"]: ODD})
        assert team.proposals() == (set(), set())
        ids = {"ubuntu": ubuntu, "odd": odd}
        answers({ubuntu: "Ubuntu 20.04", odd: ODD})
        proposed, told = team.proposals()
        assert proposed == {("pool.tf", ubuntu), ("pool.yaml", ubuntu), ("pool.json", odd)}
        titles.append(told)
        team.writes(ids)
    answers({ids["ubuntu"]: "Ubuntu 20.04"})
    answers(None)
    team.writes({**ids, "odd": "uimage-b1"})
    assert team.proposals() == (set(), set())
    return titles
