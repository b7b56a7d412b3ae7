"""The demo's mail: what it says, and how it looks in a real browser, narrow and wide, light and dark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crawler.notifications.rendering.render import render
from tests.support.acceptance_table import Proven
from tests.support.eventful import digest_of, eventful
from tests.support.house import ROOT, pages
from tests.support.mails import content, read_html
from tests.support.pictures import CHROMIUM, PAGE_PICTURES, PICTURES, demo_digest, overflows, take
from tests.unit.notifications.test_hostile_text import HOSTILE

needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)"
)

ENGLISH = """\
Subject: Pinned image gone in hk-02, use uimage-x7zezb1gcv5; 3 withdrawn, 1 zone unseen [demo]

PINNED, ACT NOW
hk-02  Ubuntu 20.04  uimage-vareox is gone. Use uimage-x7zezb1gcv5  between 23 Nov 01:00 and 07:00
       uimage-vareox (gone by 07:00) → uimage-rccvz4l9itr (gone by 19:00) → uimage-x7zezb1gcv5

WITHDRAWN, NO SUCCESSOR
hk-02      Anolis 8.6    uimage-yjoh5a  between 23 Nov 13:00 and 19:00
th-bkk-01  CentOS 7.6    uimage-s2w523  between 22 Nov 19:00 and 23 Nov 01:00; zone empty now; confirmed by 3 runs
th-bkk-01  Ubuntu 20.04  uimage-qdhhdc  same

NOT OBSERVED (nothing above or below speaks for these)
kr-seoul-01  since 13:00  RetCode 150 "service unavailable"  3 images unknown

Observed 23 of 24 zones at 19:00. 22 Nov 19:00 to 23 Nov 19:00, Asia/Shanghai (UTC+8).
Report sre of crawler.
"""
CHINESE = """\
Subject: hk-02 在用镜像已下架，请改用 uimage-x7zezb1gcv5；另有下架 3 个，1 个可用区未观测到 [demo]

【在用镜像，请处理】
hk-02  Ubuntu 20.04  uimage-vareox 已下架，请改用 uimage-x7zezb1gcv5  11-23 01:00 至 07:00 之间
       uimage-vareox（07:00 前下架） → uimage-rccvz4l9itr（19:00 前下架） → uimage-x7zezb1gcv5

【已下架，无替代镜像】
hk-02      Anolis 8.6    uimage-yjoh5a  11-23 13:00 至 19:00 之间
th-bkk-01  CentOS 7.6    uimage-s2w523  11-22 19:00 至 11-23 01:00 之间；该可用区已无镜像；经 3 次巡检确认
th-bkk-01  Ubuntu 20.04  uimage-qdhhdc  同上

【未观测到】（本报告对以下可用区不作任何判断）
kr-seoul-01  自 13:00 起  RetCode 150“service unavailable”（服务暂不可用，正在恢复）  3 个镜像状态未知

19:00 观测到 23/24 个可用区。统计区间 11-22 19:00 至 11-23 19:00，Asia/Shanghai（UTC+8）。
crawler 报告：sre。
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.mark.parametrize(("language", "expected"), [("en", ENGLISH), ("zh", CHINESE)])
def test_demo_mail(language: str, expected: str, folder: Path, proven: Proven) -> None:
    """The demo's five real runs give one mail that is read in ten seconds, the same in both parts."""
    rendered = render(demo_digest(folder, language))

    assert f"Subject: {rendered.subject}\n\n{rendered.text}" == expected
    assert content("".join(read_html(rendered.html).text)) == content(rendered.text)
    proven("the demo's mail", f"{len(rendered.text.splitlines())} lines ({language})")


@needs_browser
def test_looks(folder: Path, tmp_path: Path) -> None:
    """At 375 and 900 pixels, light and dark, there is a picture, and dark is not light."""
    html = render(demo_digest(folder)).html
    for width in (375, 900):
        for is_dark in (False, True):
            path = tmp_path / f"{width}-{is_dark}.png"
            take(html, path, width=width, height=700, is_dark=is_dark)
            assert path.read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / f"{width}-True.png").read_bytes() != (tmp_path / f"{width}-False.png").read_bytes()


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [375, 900])
def test_layout_holds(width: int, proven: Proven) -> None:
    """No hostile name makes a mail wider than the screen it is read on, a phone's or a desk's."""
    pages = {ascii(name): render(digest_of(eventful(name, image_id=name))).html for name in HOSTILE}

    assert overflows(pages, width) == {}
    proven("hostile names keep the layout", f"{len(pages)} at {width} px")


def test_pictures_of_the_readme() -> None:
    """README and docs show the pictures that `tests.support.pictures` makes."""
    shown = set(re.findall(r'src="(?:docs/)?([\w.-]+\.png)"', "".join(pages().values())))

    assert shown == {*PICTURES, *PAGE_PICTURES} == {path.name for path in (ROOT / "docs").glob("*.png")}
