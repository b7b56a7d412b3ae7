"""`crawler publish`: a folder that says what is known, and keeps what it said where nobody can tell."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import Engine

from crawler.db.engine import begin
from crawler.db.targets import check_variants
from crawler.domain.matrix import Combination
from crawler.domain.models import Target
from crawler.emulator import run_in_thread
from tests.support.command import call, rows
from tests.support.diary import Diary, Images, Refusal, target
from tests.support.driving import Driver
from tests.support.hostile import HOSTILE
from tests.support.matrix import auto, images, matrix_timeline, zones
from tests.support.published import check_whole, document, files_of
from tests.support.worlds import make_record

HERE, THERE = target("hk-02"), target("hk-02", project="org-y")
BOTH: Images = {"uimage-a": "Ubuntu 20.04", "uimage-c": "CentOS 7.6"}
NEXT: Images = {"uimage-b": "Ubuntu 20.04", "uimage-c": "CentOS 7.6"}
UBUNTU = "v1/resolve/hk-02/ubuntu-20.04.json"


class Publisher:
    """Somebody who publishes a history into a folder, an hour after its last run unless told otherwise."""

    def __init__(self, engine: Engine, url: str, folder: Path) -> None:
        self.diary, self.url, self.root = Diary(engine), url, folder

    def publish(self, *words: object, now: datetime | None = None, code: int = 0) -> Result:
        now = now or self.diary.now + timedelta(hours=1)
        return call("--database", self.url, "publish", self.root, *words, now=now, code=code)

    def files(self, *words: object, **more: Any) -> dict[str, bytes]:
        """Publish, and return the documents that are there but for what is fresh, which differs each time."""
        self.publish(*words, **more)
        files = files_of(self.root)
        check_whole(files, is_private="--with-private" in words)
        return {path: body for path, body in files.items() if path.startswith("v1/") and path != "v1/freshness.json"}


@pytest.fixture
def site(engine: Engine, database_url: str, tmp_path: Path) -> Publisher:
    return Publisher(engine, database_url, tmp_path / "site")


def test_what_is_there(site: Publisher) -> None:
    """A re-issue is found by zone and name in each form; the id alone is what `resolve` says."""
    site.diary.run({HERE: BOTH})
    site.diary.run({HERE: NEXT})
    site.files()

    found = document(site.root, UBUNTU)
    assert (found["image_id"], found["state"], found["previous_ids"]) == ("uimage-b", "present", ["uimage-a"])
    assert (site.root / "v1/resolve/hk-02/ubuntu-20.04/image_id").read_text() == "uimage-b\n"
    last = document(site.root, "v1/renovate/hk-02/ubuntu-20.04.json")["releases"][-1]
    assert last == {"version": "current", "digest": "uimage-b"}
    told = document(site.root, "v1/changes.json")["changes"]
    assert [(one["event"], one["image_id"]) for one in told] == [("appeared", "uimage-b"), ("withdrawn", "uimage-a")]
    (zone,) = document(site.root, "v1/freshness.json")["zones"]
    assert (zone["zone"], zone["state"]) == ("hk-02", "known")
    named = document(site.root, "v1/index.json")["names"]
    assert [one["image_name"] for one in named] == ["CentOS 7.6", "Ubuntu 20.04"]


def test_same_knowledge_same_bytes(site: Publisher) -> None:
    """Runs in which nothing changes, other folders and other times give the same bytes; nothing is written again."""
    site.diary.run({HERE: BOTH, THERE: BOTH})
    site.diary.run({HERE: NEXT, THERE: NEXT})
    first = site.files()
    times = {path: (site.root / path).stat().st_mtime_ns for path in first}
    site.diary.run({HERE: NEXT, THERE: NEXT})

    assert site.files(now=site.diary.now + timedelta(hours=5)) == first
    assert {path: (site.root / path).stat().st_mtime_ns for path in first} == times
    site.root = site.root.with_name("another")
    assert site.files() == first


@pytest.mark.parametrize("case", ["failed", "held", "stale"])
def test_the_last_good_feed(site: Publisher, case: str) -> None:
    """What is unknown, on hold or stale keeps every byte, and a new folder gets the same; freshness says so."""
    site.diary.run({HERE: BOTH})
    first = site.files()
    later = site.diary.now + timedelta(hours=1)
    if case == "stale":
        later += timedelta(days=30)
    else:
        site.diary.run({HERE: Refusal() if case == "failed" else {}})

    assert site.files(now=later) == first
    (zone,) = document(site.root, "v1/freshness.json")["zones"]
    assert (zone["state"], zone["reason"]) == (
        ("known", None) if case == "held" else ("unknown", "failed" if case == "failed" else "stale")
    )
    site.root = site.root.with_name("another")
    assert site.files(now=later) == first


@pytest.mark.parametrize("case", ["held", "stale"])
def test_revoked_while_nobody_can_tell(site: Publisher, case: str) -> None:
    """An image that is revoked while it is unknown is offered no more, in a folder that named it as in a new one."""
    site.diary.run({HERE: BOTH})
    first = site.files()
    later = site.diary.now + timedelta(hours=1 if case == "held" else 200)
    if case == "held":
        site.diary.run({HERE: {}})
    call("--database", site.url, "revoke", "uimage-a", "--reason", "it hangs", now=later)
    found = site.files(now=later)

    shown = document(site.root, UBUNTU)
    assert (shown["image_id"], shown["state"]) == (None, "revoked")
    (release,) = document(site.root, "v1/renovate/hk-02/ubuntu-20.04.json")["releases"]
    assert release["isDeprecated"]
    assert {path for path in first if first[path] != found.get(path)} == {
        UBUNTU, "v1/resolve/hk-02/ubuntu-20.04/image_id", "v1/renovate/hk-02/ubuntu-20.04.json"
    }  # fmt: skip
    site.root = site.root.with_name("another")
    assert site.files(now=later) == found


def test_projects_that_disagree(site: Publisher) -> None:
    """Where two projects of a zone list other ids of a name, it keeps what it said before; alone it says nothing."""
    site.diary.run({HERE: BOTH, THERE: BOTH})
    first = site.files()
    site.diary.run({HERE: NEXT, THERE: BOTH})
    said = site.publish().stderr

    assert "1 of them is unknown now" in said
    assert files_of(site.root)[UBUNTU] == first[UBUNTU]
    site.root = site.root.with_name("another")
    assert UBUNTU not in site.files()


def test_gone_and_back(site: Publisher) -> None:
    """A name that is gone has no id to use, and no file of it; when it comes back it has."""
    text = "v1/resolve/hk-02/ubuntu-20.04/image_id"
    site.diary.run({HERE: {**BOTH, "uimage-d": "Debian 12"}})
    assert text in site.files()
    site.diary.run({HERE: {"uimage-c": "CentOS 7.6", "uimage-d": "Debian 12"}})

    assert text not in site.files()
    gone = document(site.root, UBUNTU)
    assert (gone["image_id"], gone["state"], gone["previous_ids"]) == (None, "withdrawn", ["uimage-a"])
    (release,) = document(site.root, "v1/renovate/hk-02/ubuntu-20.04.json")["releases"]
    assert release["isDeprecated"]
    site.diary.run({HERE: {**BOTH, "uimage-d": "Debian 12"}})
    assert text in site.files()
    releases = document(site.root, "v1/renovate/hk-02/ubuntu-20.04.json")["releases"]
    assert [one["digest"] for one in releases] == ["uimage-a"] * 3


def test_a_change_is_told_once(site: Publisher) -> None:
    """What two projects of a zone meet in different runs is one change, by the number of the first."""
    site.diary.run({HERE: BOTH, THERE: BOTH})
    site.diary.run({HERE: NEXT, THERE: Refusal()})
    first = site.files()
    site.diary.run({HERE: NEXT, THERE: NEXT})

    assert site.files()["v1/changes.json"] == first["v1/changes.json"]
    assert site.files()["v1/atom/all.atom"] == first["v1/atom/all.atom"]


def test_a_name_that_is_lost(site: Publisher) -> None:
    """The feeds of both names of an image that got another tell of it, under their own names."""
    for name in ("ubuntu  20.04", "Ubuntu 20.04", "Old Ubuntu"):
        site.diary.run({HERE: {"uimage-a": name, "uimage-b": "Debian 12"}})
    files = site.files()

    names, told = ("ubuntu-20.04", "old-ubuntu", "debian-12"), "Old Ubuntu modified: uimage-a"
    feeds = {name: files[f"v1/atom/names/{name}.atom"].decode() for name in names}
    assert [re.findall(r"<title>(?:Node images called )?([^<,]*)", feed) for feed in feeds.values()] == [
        ["Ubuntu 20.04", told, "Ubuntu 20.04 modified: uimage-a"], ["Old Ubuntu", told], ["Debian 12"],
    ]  # fmt: skip
    assert feeds["ubuntu-20.04"].count("image_name: Ubuntu 20.04 → Old Ubuntu") == 1


def test_two_names_with_one_slug(site: Publisher) -> None:
    """Two names with one path get no feed, also where one had one, and a notice names them."""
    site.diary.run({HERE: BOTH})
    assert UBUNTU in site.files()
    site.diary.run({HERE: {**BOTH, "uimage-z": "Ubuntu-20.04"}})
    said = site.publish().stderr

    assert "'Ubuntu 20.04' and 'Ubuntu-20.04' have the same path" in said
    assert not [path for path in site.files() if "ubuntu" in path]
    assert "v1/resolve/hk-02/centos-7.6.json" in site.files()


PRIVATE = ("org-x", "prod", "secret-image", "CustomImageSet", "uimage-mine", "CloudOfSomebody")


def customised(*extra: str) -> Images:
    """Return an answer with custom images, and ones in a set that nobody knows."""
    mine = [{"ImageId": one, "ImageName": f"secret-image {one}"} for one in ("uimage-mine", *extra)]
    own = [{"ImageId": one, "ImageName": name} for one, name in BOTH.items()]
    answer = {"RetCode": 0, "Action": "DescribeUK8SImageResponse"}
    return {**answer, "ImageSet": own, "CustomImageSet": mine, "CloudOfSomebodyImageSet": mine}


def test_nothing_private(site: Publisher) -> None:
    """No byte tells of an account, a project or a custom image, not even after they were published."""
    site.diary.run({HERE: customised()})
    site.diary.run({HERE: customised("uimage-mine-too")})
    everything = site.files("--with-private", "--database")
    assert all(word in everything["v1/changes.json"].decode() for word in ("org-x", "prod", "secret-image"))
    assert [path for path in everything if "secret" in path]

    for path, body in site.files().items():
        assert not [word for word in PRIVATE if word.casefold() in (path + body.decode()).casefold()], path


def test_the_database(site: Publisher) -> None:
    """--database adds a copy of the history that answers like it, for those who publish what is private."""
    site.diary.run({HERE: BOTH})
    assert "--with-private too" in site.publish("--database", code=2).stderr
    assert not site.root.exists()
    site.files("--with-private", "--database")
    copy = site.root / "v1/history.db"

    with closing(sqlite3.connect(copy)) as opened:
        assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    now = site.diary.now + timedelta(hours=1)
    assert rows("--database", copy, "images", now=now) == rows("--database", site.url, "images", now=now)
    assert "v1/history.db" not in site.files("--with-private")


def test_database_before_and_after(site: Publisher) -> None:
    """The global option --database, with a value, may stand behind the command as well."""
    site.diary.run({HERE: BOTH})
    now = site.diary.now + timedelta(hours=1)
    call("publish", site.root, "--database", site.url, now=now)

    assert "v1/history.db" not in files_of(site.root)
    assert UBUNTU in files_of(site.root)


def storable(name: str) -> bool:
    return "\0" not in name and "\ud800" not in name


def test_hostile_names(site: Publisher, tmp_path: Path) -> None:
    """Fifty names of images and zones that want out, or to break documents: nothing outside, all documents whole."""
    names = {f"uimage-{number}": name for number, name in enumerate(filter(storable, HOSTILE))}
    zones = [name[:40] for name in HOSTILE if storable(name) and name.strip()]
    answers: dict[Target, Images] = {Target("prod", "org-x", "hk", zone, "uk8s-image"): names for zone in zones}
    site.diary.run({**answers, HERE: {}})
    site.diary.run({**answers, HERE: names})
    before = {path for path in tmp_path.rglob("*") if site.root not in path.parents}
    files = site.files("--url", "https://images.example.com")

    outside = {path for path in tmp_path.rglob("*") if site.root not in path.parents} - before
    assert outside - {site.root} == set()
    assert all(path.startswith("v1/") and ".." not in path.split("/") for path in files)
    feeds = [path for path in files if path.startswith("v1/resolve/hk-02/") and path.endswith(".json")]
    assert len(feeds) > 40


@pytest.mark.parametrize("place", ["file", "folder/in/a/file"])
def test_no_folder(site: Publisher, place: str, tmp_path: Path) -> None:
    """A place that cannot be a folder is an error with one sentence."""
    site.diary.run({HERE: BOTH})
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").write_text("")
    site.root = tmp_path / place

    result = site.publish(code=2)
    assert "Traceback" not in result.stderr
    assert str(tmp_path) in result.stderr


@pytest.mark.parametrize(
    "url",
    ["images.example.com", "ftp://images.example.com", "https://me:word@images.example.com", "https://x.example/?a=b"],
)
def test_an_address_that_is_none(site: Publisher, url: str) -> None:
    """What `[publish]` refuses as its url is refused on the command line, before anything is written, and not shown."""
    site.diary.run({HERE: BOTH})
    result = site.publish("--url", url, code=2)

    assert "Error: --url must be the http or https URL of a folder" in result.stderr
    assert "word" not in result.stderr
    assert not site.root.exists()


def test_a_file_in_the_way(site: Publisher) -> None:
    """A file of somebody else's in the place of one to write is an error with one sentence, and nothing is written."""
    site.diary.run({HERE: BOTH})
    site.root.mkdir()
    (site.root / "index.html").write_text("mine")

    assert f"Error: {site.root}/index.html is in the way" in site.publish(code=2).stderr
    assert files_of(site.root) == {"index.html": b"mine"}


def test_an_empty_history(site: Publisher) -> None:
    """Before the first run there are no names, but all that describes the folder."""
    files = site.files()

    assert document(site.root, "v1/index.json")["names"] == []
    assert "v1/openapi.json" in files
    assert "v1/atom/all.atom" in files


def test_variants_of_a_matrix(tmp_path: Path) -> None:
    """What several variants say in one run is one change with all of them; a feed says so where `default` does not."""
    zone = zones(1)[0]
    new = {"images": {zone: [*images(zone), make_record("uimage-new", "New", zone)]}}
    lost = {"images": {zone: [*images(zone, lost_by={"every": "V100"}), make_record("uimage-new", "New", zone)]}}
    user = Driver(tmp_path, str(tmp_path / "history.db"))
    with run_in_thread(matrix_timeline([zone], steps=[new, lost])) as cloud:
        user.configure(auto(cloud.url))
        for _ in range(3):
            user.run()
            cloud.advance()
    for words in ((), ("--with-private",)):
        user.call("publish", tmp_path / "site", *words)
        changes = document(tmp_path / "site", "v1/changes.json")["changes"]
        told = [(row["event"], row["image_id"], row["variant"], row["variants"]) for row in changes]
        feed = (tmp_path / "site/v1/atom/all.atom").read_text()

        assert sorted(told) == [
            ("appeared", "uimage-new", "default", ["default", *sorted(variants_of(user) - {"default"})]),
            ("withdrawn", f"uimage-{zone}-every", "g-v100-1.26", ["g-v100-1.26", "g-v100-1.28", "g-v100-1.30"]),
        ]
        assert feed.count("<entry>") == 2
        assert f"uimage-{zone}-every, {zone} (g-v100-1.26, g-v100-1.28, g-v100-1.30)</title>" in feed
        assert f"New appeared: uimage-new, {zone}</title>" in feed


def test_variants_while_a_run_goes_on(site: Publisher) -> None:
    """What a run records of more variants joins the entry that is there: its id stays, and so does the change's."""
    diary, gpu = site.diary, HERE._replace(variant="g-v100-1.26")
    with begin(diary.engine) as conn:
        check_variants(conn, diary.account_id, {gpu.variant: Combination("G", "V100", "1.26.7").parameters})
    diary.run({HERE: BOTH, gpu: BOTH})
    run_id, recorder = diary.start([gpu, HERE])
    told = []
    for where in (gpu, HERE):
        recorder.judge([diary.item(where, NEXT)])
        recorder.commit()
        feed = site.files()["v1/atom/all.atom"].decode()
        changes = document(site.root, "v1/changes.json")["changes"]
        assert [row["variant"] for row in changes] == [where.variant] * 2
        told.append((re.findall("<id>.*change.*</id>", feed), [row["id"] for row in changes]))
    diary.finish(run_id, recorder)

    assert told[0] == told[1]
    assert [row["variants"] for row in changes] == [["default", gpu.variant]] * 2


def variants_of(user: Driver) -> set[str]:
    """Return the variants that are asked."""
    return {row["variant"] for row in user.rows("status")}
