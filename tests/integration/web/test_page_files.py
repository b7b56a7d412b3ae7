"""The pages as files: whole, linked among themselves, and the same bytes for the same knowledge."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urljoin
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from crawler.db.engine import opened
from crawler.db.migrations import upgrade
from crawler.domain.models import Target
from crawler.queries.check.rules import PinRule
from crawler.web.publication import publish
from tests.support.diary import Diary, Refusal, target
from tests.support.hostile import HOSTILE
from tests.support.kinds import uhost_image
from tests.support.published import files_of
from tests.support.web import STALE

ZONES = [target(f"hk-0{number}") for number in range(1, 4)]
BESIDE = {"uimage-x": "CentOS 7.6", "uimage-y": "Anolis 8.6"}


@pytest.fixture
def diary(engine: Engine) -> Diary:
    made = Diary(engine)
    for image in ("uimage-a", "uimage-b"):
        made.run({zone: {image: "Ubuntu 20.04", **BESIDE} for zone in ZONES})
    return made


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


def lost_links(files: dict[str, bytes]) -> list[str]:
    """Return the links of pages that lead to no file."""
    lost = []
    for path, body in files.items():
        if path.endswith(".html"):
            for link in re.findall(r'(?:href|src|data-freshness)="([^"]*)"', body.decode()):
                if link.startswith("#"):
                    continue
                found = unquote(urljoin(f"http://x/{path}", link.replace("&amp;", "&")).removeprefix("http://x/"))
                if found.partition("#")[0].partition("?")[0] not in files:
                    lost.append(f"{path}: {link}")
    return lost


def test_links(engine: Engine, diary: Diary, site: Path) -> None:
    """Every link of every page leads to a file of the folder, whatever images are called."""
    diary.run(
        {zone: {name: name for name in HOSTILE if name and "\0" not in name and name != "\ud800"} for zone in ZONES}
    )
    publish(engine, site, now=diary.now, stale_after=STALE)
    files = files_of(site)

    assert lost_links(files) == []
    assert {"index.html", "now.html", "changes.html", "coverage.html", "zh/index.html"} <= files.keys()
    assert sum(path.startswith("names/") for path in files) > 30


@pytest.mark.parametrize(
    ("zone", "told"), [("Asia/Singapore", "UTC+8"), ("Europe/London", "UTC+1"), ("Asia/Kolkata", "UTC+5:30")]
)
def test_offset_of_the_zone(engine: Engine, diary: Diary, site: Path, zone: str, told: str) -> None:
    """Files tell the offset that the zone had at the last change, which is in June, and not that of another year."""
    publish(engine, site, now=diary.now + timedelta(days=200), stale_after=STALE, zone=ZoneInfo(zone))

    assert f"{zone} ({told})" in files_of(site)["index.html"].decode()


def test_same_bytes(engine: Engine, diary: Diary, site: Path) -> None:
    """A run of the same day in which nothing changed leaves every page as it is; what is learned changes some."""
    publish(engine, site, now=diary.now, stale_after=STALE)
    before = files_of(site)
    diary.run({zone: {"uimage-b": "Ubuntu 20.04", **BESIDE} for zone in ZONES})
    done = publish(engine, site, now=diary.now + timedelta(minutes=3), stale_after=STALE)
    after = files_of(site)

    assert [path for path in after if after[path] != before.get(path)] == ["v1/freshness.json"]
    assert done.written == 1
    diary.run({zone: Refusal() for zone in ZONES})
    publish(engine, site, now=diary.now, stale_after=STALE)
    changed = {path for path, body in files_of(site).items() if body != after[path]}
    assert {"index.html", "now.html", "names/ubuntu-20.04.html"} <= changed
    assert b"unknown" in (site / "now.html").read_bytes()


def test_a_day_without_news(engine: Engine, diary: Diary, site: Path) -> None:
    """After a day without news the page of coverage alone has moved on: it is about finished days."""
    publish(engine, site, now=diary.now, stale_after=STALE)
    before = files_of(site)
    diary.run({zone: {"uimage-b": "Ubuntu 20.04", **BESIDE} for zone in ZONES}, at=diary.now + timedelta(days=1))
    publish(engine, site, now=diary.now, stale_after=STALE)

    changed = {path for path, body in files_of(site).items() if body != before.get(path)}
    assert changed == {"v1/freshness.json", "coverage.html", "zh/coverage.html"}


def sets_of(ubuntu: str, own: str) -> dict[str, object]:
    """Return an answer with an image of the provider's and a custom one, beside others."""
    provided = [("Ubuntu 20.04", ubuntu), *((name, image) for image, name in BESIDE.items())]
    images = {"ImageSet": provided, "CustomImageSet": [("Own", own)]}
    return {"RetCode": 0} | {
        name: [{"ImageId": image, "ImageName": called} for called, image in listed] for name, listed in images.items()
    }


def test_private_changes_move_nothing(engine: Engine, site: Path) -> None:
    """What changes of custom images changes no public page, and takes no change of the provider's from them."""
    diary = Diary(engine)
    diary.run({ZONES[0]: sets_of("uimage-a", "uimage-own1")})
    diary.run({ZONES[0]: sets_of("uimage-b", "uimage-own1")})
    publish(engine, site, now=diary.now, stale_after=STALE)
    before = files_of(site)
    diary.run({ZONES[0]: sets_of("uimage-b", "uimage-own2")}, at=diary.now + timedelta(days=100))
    publish(engine, site, now=diary.now, stale_after=STALE)
    after = files_of(site)

    moved = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert moved == {"v1/freshness.json", "coverage.html", "zh/coverage.html"}
    assert b"Re-issued under a new id" in after["index.html"]
    publish(engine, site, now=diary.now, stale_after=STALE, with_private=True)
    assert b"Re-issued under a new id" in files_of(site)["changes.html"]


def test_days_that_are_long_ago(engine: Engine, diary: Diary, site: Path) -> None:
    """Each day that the page of changes shows has its page, those before the strip of thirteen weeks too."""
    day = diary.now.date().isoformat()
    new = {zone: {"uimage-c": "Ubuntu 20.04", **BESIDE} for zone in ZONES}
    diary.run(new, at=diary.now + timedelta(days=100))
    publish(engine, site, now=diary.now, stale_after=STALE)
    files = files_of(site)

    assert lost_links(files) == []
    assert b"uimage-b" in files[f"changes/{day}.html"]


def test_bars_of_what_no_change_tells(engine: Engine, diary: Diary, site: Path) -> None:
    """What was there when a kind or a zone was asked first has a bar, though the last change was before."""
    machines = Target("prod", "org-x", "hk", "hk-02", "uhost-image", "default")
    seen = {zone: {"uimage-b": "Ubuntu 20.04", **BESIDE} for zone in [*ZONES, target("hk-09")]}
    diary.run({**seen, machines: {"RetCode": 0, "ImageSet": [uhost_image(1)]}}, at=diary.now + timedelta(days=3))
    publish(engine, site, now=diary.now, stale_after=STALE)
    pages = [body.decode() for path, body in files_of(site).items() if "names/" in path and path.endswith(".html")]

    assert len(pages) == 8
    for page in pages:
        bars = re.findall(r'<svg class="bar".*?</svg>', page)
        assert [bar for bar in bars if '<rect class="a"' not in bar and '<rect class="b"' not in bar] == []


def test_private_pages_go(sqlite_url: str, site: Path) -> None:
    """A public publication leaves no page that an earlier one had of private images, nor a word of them."""
    with opened(sqlite_url) as engine:
        upgrade(engine)
        diary = Diary(engine)
        own = {"ImageId": "uimage-own", "ImageName": "Secret golden image"}
        seen = {"RetCode": 0, "ImageSet": [{"ImageId": "uimage-a", "ImageName": "Debian 12"}], "CustomImageSet": [own]}
        diary.run({ZONES[0]: seen})
        publish(engine, site, now=diary.now, stale_after=STALE, with_private=True)
        assert (site / "names/secret-golden-image.html").exists()
        publish(engine, site, now=diary.now, stale_after=STALE)

    assert not (site / "names/secret-golden-image.html").exists()
    assert [path for path, body in files_of(site).items() if b"ecret golden" in body or b"ecret-golden" in body] == []


def test_private_pages(engine: Engine, diary: Diary, site: Path) -> None:
    """With private data pins and the evidence of changes are files too: all linked, the same until something is new."""
    rules = [
        PinRule(image_id="uimage-a", zone="hk-01", source="report ops"),
        PinRule(image_id="uimage-x", zone="hk-01"),
    ]

    def published(now: datetime, *, with_private: bool = True) -> dict[str, bytes]:
        publish(engine, site, now=now, stale_after=STALE, with_private=with_private, pins=lambda: rules)
        return files_of(site)

    before = published(diary.now)
    assert lost_links(before) == []
    evidence = sorted(path for path in before if "evidence/" in path)
    assert len(evidence) == 2
    assert all(b"uimage-a" in before[path] and b"uuid-1" in before[path] for path in evidence)
    assert before["pins.html"].index(b"uimage-a") < before["pins.html"].index(b"uimage-x")
    assert b"pins.html" in before["now.html"]

    diary.run({zone: {"uimage-b": "Ubuntu 20.04", **BESIDE} for zone in ZONES})
    after = published(diary.now + timedelta(minutes=3))
    assert [path for path in after if after[path] != before.get(path)] == ["v1/freshness.json"]

    public = {path: body for path, body in published(diary.now, with_private=False).items() if path.endswith("html")}
    assert [path for path, body in public.items() if "pins" in path or "evidence" in path or b"pins.html" in body] == []


def test_other_kinds(engine: Engine, diary: Diary, site: Path) -> None:
    """Pages about other kinds of images stand in a folder each, of the provider's alone."""
    publish(engine, site, now=diary.now, stale_after=STALE)
    before = files_of(site)
    machines = Target("prod", "org-x", "hk", "hk-02", "uhost-image", "default")
    listed = {"RetCode": 0, "ImageSet": [uhost_image(number) for number in (1, 2, 3)]}
    nodes = {"uimage-b": "Ubuntu 20.04", **BESIDE}
    for _ in range(2):
        diary.run(dict.fromkeys(ZONES, nodes) | {machines: listed})
    publish(engine, site, now=diary.now, stale_after=STALE)
    files = files_of(site)

    assert lost_links(files) == []
    assert {"uhost-image/now.html", "zh/uhost-image/changes.html", "uhost-image/index.html"} <= files.keys()
    assert b"CentOS 2" in files["uhost-image/now.html"]
    assert [path for path, body in files.items() if b"CentOS 3" in body] == []
    assert [
        path for path in files if path.endswith(".html") and b"CentOS 2" in files[path] and b"Anolis" in files[path]
    ] == []
    assert [path for path, body in files.items() if b"kind=" in body] == []
    assert {path for path in before if path.endswith(".html")} <= files.keys()
