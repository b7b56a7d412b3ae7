"""What the pages say where more changed than they show or look at."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from crawler.db.engine import read
from crawler.domain.guard import GuardPolicy
from crawler.web.pages import PageRequest, Pages
from tests.support.diary import START, Diary, target
from tests.support.plans import executed
from tests.support.web import SHANGHAI, STALE

HERE = target("hk-02")


def page_of(diary: Diary, page: str, *, is_private: bool = False) -> str:
    pages = Pages(zone=SHANGHAI, stale_after=STALE, clock=lambda: diary.now, is_live=True)
    with read(diary.engine) as conn:
        return pages.html(conn, PageRequest(page=page, is_private=is_private))


def test_how_many_of_a_day_are_shown(engine: Engine) -> None:
    """Of a day for which the page of changes has less room than a day may take it says how many lines are shown."""
    diary = Diary(engine)
    listed = {"uimage-x": "CentOS 7.6"}
    diary.run({HERE: listed})
    for day, count in ((1, 50), (2, 60)):
        listed |= {f"uimage-{day}-{number}": f"Image {day} {number}" for number in range(count)}
        diary.run({HERE: listed}, at=START + timedelta(days=day))
    html = page_of(diary, "changes")

    assert len(re.findall(r'<li id="c\d', html)) == 80
    assert re.findall("Only the first .*shown", html) == ["Only the first 20 changes of this day are shown"]


def test_a_lost_gpu_among_many_changes(engine: Engine) -> None:
    """The first page tells of GPU support that is lost also in a week in which more was re-issued than a page shows."""
    diary = Diary(engine)

    def listed(generation: str, *, has_gpu: bool) -> dict[str, Any]:
        images = {f"uimage-{number}{generation}": f"Image {number}" for number in range(90)}
        return {**images, "uimage-gpu": {"ImageName": "CUDA", "NotSupportGPU": not has_gpu}}

    diary.run({HERE: listed("a", has_gpu=True)})
    diary.run({HERE: listed("b", has_gpu=False)})

    assert "One thing lost its GPU support this week" in page_of(diary, "")


@pytest.mark.parametrize("is_private", [False, True])
def test_a_flood(engine: Engine, is_private: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pages do not look at all that changed they say so; what the projects of a zone meet is public once."""
    diary = Diary(engine)
    projects = [target("hk-02", f"org-{letter}") for letter in "ab"]
    listed = {"uimage-a": "CentOS 7.6", "uimage-b": "Rocky 9"}
    before = {**listed, "uimage-m": "Mint"}
    after = {**listed, **{f"uimage-{number}": f"Image {number}" for number in range(4)}}
    for images in (before, listed, after):
        diary.run(dict.fromkeys(projects, images))

    def told(page: str, most: int) -> list[str]:
        monkeypatch.setattr("crawler.web.changes_page.MOST_CHANGES", most)
        html = page_of(diary, page, is_private=is_private)
        return re.findall("Mint|Too much changed|Only the newest .* of this day were looked at", html)

    whole = 10 if is_private else 5
    assert set(told("", whole)) == set(told("changes", whole)) == {"Mint"}
    assert told("", 4) == ["Too much changed"]
    assert told("changes", 4) == ["Only the newest 4 changes of this day were looked at"]


def test_a_name_that_changes_rarely(engine: Engine) -> None:
    """The page of changes finds the days of a name among many others without reading each of these by itself."""
    diary = Diary(engine, policy=GuardPolicy(confirmations=0))
    listed = {"uimage-x": "CentOS 7.6"}
    for day in range(90):
        rare = {f"uimage-m{day}": "Mint"} if day in (3, 30, 31, 89) else {}
        diary.run({HERE: {**listed, f"uimage-{day}": f"Image {day}", **rare}}, at=START + timedelta(days=day))

    def told(**query: str) -> tuple[list[str], int]:
        pages = Pages(zone=SHANGHAI, stale_after=STALE, clock=lambda: diary.now, is_live=True)
        with read(diary.engine) as conn, executed(diary.engine) as asked:
            html = pages.html(conn, PageRequest(page="changes", query=query))
        return re.findall(r"<h2><a [^>]*>([\d-]+)<", html), len(asked)

    def days(*numbers: int) -> list[str]:
        return [(START + timedelta(days=number)).date().isoformat() for number in numbers]

    assert told()[0] == days(*range(89, 58, -1))
    found, count = told(name="Mint")
    assert found == days(89, 32, 31, 30, 4, 3)
    assert count < 450
    assert told(name="Mint", before=days(31)[0])[0] == days(30, 4, 3)
