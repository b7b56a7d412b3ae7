"""A folder with pins to check, and a history in which they went every way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crawler.db.engine import opened
from tests.support.diary import Diary, target

HK, SG = target("hk-02"), target("sg-01")
#: A node group; the id goes in.
POOL = """
resource "ucloud_uk8s_node_group" "workers" {
  availability_zone = "hk-02"
  image_id          = "%s"
}
"""


@pytest.fixture
def story(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Diary]]:
    """
    Return a history in which, of the images of hk-02, Ubuntu was re-issued and Debian withdrawn; Rocky is superseded.

    The present folder is an empty one.
    """
    folder = tmp_path / "checkout"
    folder.mkdir()
    monkeypatch.chdir(folder)
    ends: dict[str, Any] = {"ImageName": "Ends", "MaintainEol": "2026/06/30"}
    before = {
        "uimage-a": "Ubuntu 20.04",
        "uimage-d": "Debian",
        "uimage-r": "Rocky",
        "uimage-k": "Keep",
        "uimage-e": ends,
    }
    after = {
        "uimage-b": "Ubuntu 20.04",
        "uimage-r": "Rocky",
        "uimage-r2": "Rocky",
        "uimage-k": "Keep",
        "uimage-e": ends,
    }
    with opened(sqlite_url) as engine:
        diary = Diary(engine)
        diary.run({HK: before, SG: {"uimage-a": "Ubuntu 20.04"}})
        diary.run({HK: after, SG: {"uimage-a": "Ubuntu 20.04"}})
        yield sqlite_url, diary
