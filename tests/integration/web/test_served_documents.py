"""What `publish` writes below `v1/` a server answers too: the same bytes, to whom they are meant for."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from crawler.web.documents import Documents
from crawler.web.publication import publish
from crawler.web.slugs import link
from tests.support.diary import Diary, Refusal, target
from tests.support.published import files_of
from tests.support.web import STALE, get, page_server

BEYOND = "https://images.example.com/"
KINDS = {".json": "application/json", ".atom": "application/atom+xml", "": "text/plain"}


@pytest.fixture
def diary(engine: Engine) -> Diary:
    made = Diary(engine)
    for image in ("uimage-a", "uimage-b"):
        there = {image: "Ubuntu 20.04", "uimage-x": "CentOS 7.6", "uimage-y": "系统 .json", "uimage-z": "Ubuntu-20.04 "}
        own = {"ImageSet": [{"ImageId": key, "ImageName": name} for key, name in there.items()]}
        custom = [{"ImageId": "uimage-own", "ImageName": "Secret golden image"}] if image == "uimage-b" else []
        made.run(
            {target(f"hk-0{n}"): there for n in range(1, 3)}
            | {target("[a]-01"): {"RetCode": 0, **own, "CustomImageSet": custom}, target("th-01"): Refusal()}
        )
    return made


def test_the_same_bytes(engine: Engine, database_url: str, clock: Callable[[], datetime], tmp_path: Path) -> None:
    """Every document of a folder is answered with the same bytes, of its type; private ones to who may see them."""
    for with_private in (True, False):
        publish(engine, tmp_path / "site", now=clock(), stale_after=STALE, with_private=with_private)
        files = {path: body for path, body in files_of(tmp_path / "site").items() if path.startswith("v1/")}
        options = {"with_private": True} if with_private else {"base_urls": [BEYOND.replace("https", "http")]}
        found: dict[str, bytes] = {}
        with page_server(database_url, clock=clock, **options) as url:
            for path in files:
                answer = get(url + link(path))
                assert answer.status == 200, path
                assert answer.headers["Content-Type"] == f"{KINDS[Path(path).suffix]}; charset=utf-8"
                found[path] = answer.body.replace(BEYOND.replace("https", "http").rstrip("/").encode(), b"-")
        assert any("renovate" in path for path in files)
        if with_private:
            assert found == files
        else:
            assert [path for path, body in found.items() if b"golden" in body or b"org-x" in body] == []
            assert found["v1/changes.json"] == files["v1/changes.json"]


def test_what_a_poller_sees(server: str, diary: Diary) -> None:
    """What has not changed is not sent again, also after a run; what is new is, and what is not there is 404."""
    path = f"{server}v1/resolve/hk-01/centos-7.6"
    first = get(f"{path}/image_id")
    assert first.text == "uimage-x\n"
    assert get(f"{path}/image_id", If_None_Match=first.headers["ETag"]).status == 304
    assert json.loads(get(f"{path}.json").text)["state"] == "present"
    for missing in ("v1/resolve/hk-01/none.json", "v1/resolve/none/centos-7.6.json", "v1/atom/x.atom", "v1/x", "v1/"):
        assert get(server + missing).status == 404, missing
    assert get(f"{server}zh/v1/changes.json").status == 404

    import time

    feed = f"{server}v1/atom/names/centos-7.6.atom"
    known = get(feed).headers["ETag"]
    there = {
        "uimage-b": "Ubuntu 20.04",
        "uimage-x": "CentOS 7.6",
        "uimage-y": "系统 .json",
        "uimage-z": "Ubuntu-20.04 ",
    }
    diary.run({target(f"hk-0{n}"): there for n in range(1, 3)})
    time.sleep(0.3)
    assert get(f"{path}/image_id", If_None_Match=first.headers["ETag"]).status == 304
    assert get(feed, If_None_Match=known).status == 304

    diary.run({target(f"hk-0{n}"): {"uimage-new": "CentOS 7.6"} for n in range(1, 3)})
    diary.run({target(f"hk-0{n}"): {"uimage-new": "CentOS 7.6"} for n in range(1, 3)})
    time.sleep(0.3)
    assert get(f"{path}/image_id", If_None_Match=first.headers["ETag"]).text == "uimage-new\n"


def test_links_of_a_server(database_url: str, clock: Callable[[], datetime]) -> None:
    """Feeds link to the address that people reach, and a name to its page there."""
    with page_server(database_url, clock=clock, base_urls=[BEYOND], with_private=True) as url:
        renovate = json.loads(get(f"{url}v1/renovate/hk-01/centos-7.6.json").text)
        feed = get(f"{url}v1/atom/all.atom").text
        assert renovate["homepage"] == f"{BEYOND}names/centos-7.6"
        assert f'href="{BEYOND}v1/atom/all.atom"' in feed
        assert get(f"{url}names/centos-7.6").status == 200
        assert 'href="v1/atom/all.atom"' in get(f"{url}changes").text


def test_what_takes_long() -> None:
    """What is asked in every pipeline is read of its zone alone; the feeds of all are read with all."""
    assert not Documents.takes_long("v1/resolve/hk-02/ubuntu-20.04/image_id")
    assert not Documents.takes_long("v1/freshness.json")
    assert Documents.takes_long("v1/atom/all.atom")
