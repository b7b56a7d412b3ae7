"""The bars of the page of a name: when nobody knew whether an image was there."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine

from crawler.db.engine import read
from crawler.web.pages import PageRequest, Pages
from tests.support.diary import START, Diary, Refusal, target
from tests.support.web import SHANGHAI, STALE, cells_of


def html_of(diary: Diary, page: str, **query: str) -> str:
    pages = Pages(zone=SHANGHAI, stale_after=STALE, clock=lambda: diary.now, is_live=True)
    with read(diary.engine) as conn:
        return pages.html(conn, PageRequest(page=page, query=query))


def test_bar_of_what_one_project_lists(engine: Engine) -> None:
    """What one project of a zone alone ever listed is known as well as that project, as the page of a moment has it."""
    diary = Diary(engine)
    here, there = target("hk-02", "org-a"), target("hk-02", "org-b")
    both = {"uimage-x": "CentOS 7.6", "uimage-y": "Anolis 8.6"}
    own: list[Any] = [{"uimage-a": "Ubuntu 20.04", **both}] * 6
    own[2] = Refusal()
    for number, answer in enumerate(own):
        diary.run({here: answer, there: both}, at=START + timedelta(hours=6 * number))

    def hatched(name: str) -> list[tuple[int, int]]:
        found = re.findall(r'class="u" x="([^"]*)%" width="([^"]*)%"', html_of(diary, f"names/{name}"))
        return [(round(float(begin)), round(float(width))) for begin, width in found]

    assert hatched("ubuntu-20.04") == [(40, 20)]
    assert hatched("centos-7.6") == []
    for hours, state in ((8, "present"), (14, "unknown"), (20, "present")):
        shown = cells_of(html_of(diary, "now", at=(START + timedelta(hours=hours)).isoformat()))
        assert shown["hk-02", "Ubuntu 20.04"] == {"uimage-a": state}
