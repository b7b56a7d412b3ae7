"""
Lets a real browser look at mails: Chromium, headless, without a network.

`python -m tests.support.pictures` makes the pictures of the README anew, from the demo's five runs.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from html import escape, unescape
from pathlib import Path
from typing import Any

from crawler.db.engine import opened, read
from crawler.demo import play
from crawler.notifications.digest import build_digest
from crawler.notifications.models import Digest, NotifiedState
from crawler.notifications.rendering.render import render
from tests.support.house import ROOT
from tests.support.reporting import facts_of, subscribe

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: As root, without a screen, and never asking anyone anything.
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip
#: When the demo's last run ends in pictures and tests: 19:00 in Shanghai.
DEMO_END = datetime(2026, 11, 23, 11, tzinfo=UTC)
PICTURES = {"mail.png": ("en", 900, 600, False), "mail-phone.png": ("zh", 375, 750, True)}
#: Of the web page: the page, the width and height of the screen, and whether it is dark.
PAGE_PICTURES = {
    "page-now.png": ("now", 900, 620, False),
    "page-name.png": ("names/ubuntu-20.04", 900, 620, True),
    "page-phone.png": ("zh/", 375, 750, False),
}


def demo_digest(folder: Path, language: str = "en") -> Digest:
    """Return what the demo's five runs tell somebody who pinned the image that was re-issued twice."""
    database = folder / "demo.db"
    if not database.exists():
        play(database, clock=lambda: DEMO_END)
    with opened(f"sqlite:///{database}", read_only=True) as engine, read(engine) as conn:
        facts = facts_of(conn, now=DEMO_END + timedelta(minutes=1))
    subscription = subscribe(pins=["hk-02 uimage-vareox"], language=language)
    digest = build_digest(subscription, facts, NotifiedState(introduced=True))
    assert digest is not None
    return digest


def take(html: str, path: Path, *, width: int, height: int, is_dark: bool) -> None:
    """Take the picture of a page as it looks on a screen *width* pixels wide."""
    # The window of a headless browser is never narrower than 500 pixels; a frame in it is.
    frame = f'<iframe srcdoc="{escape(html)}" style="border:0;width:{width}px;height:{height}px"></iframe>'
    page = f'<!DOCTYPE html><meta name="color-scheme" content="light dark"><body style="margin:0">{frame}'
    scheme = f"--blink-settings=preferredColorScheme={0 if is_dark else 1}"
    _run(page, f"--window-size={width},{height}", scheme, f"--screenshot={path}")


def overflows(pages: Mapping[str, str], width: int) -> dict[str, int]:
    """Return which *pages* are wider than a screen of *width* pixels, and how wide they are."""
    frames = "".join(
        f'<iframe id="{number}" srcdoc="{escape(html)}" style="border:0;width:{width}px;height:400px"></iframe>'
        for number, html in enumerate(pages.values())
    )
    measure = """
        addEventListener("load", () => {
            const widths = [...document.querySelectorAll("iframe")].map(
                (frame) => frame.contentDocument.documentElement.scrollWidth);
            document.body.innerHTML = "<pre>" + JSON.stringify(widths) + "</pre>";
        });
    """
    page = f'<!DOCTYPE html><meta charset="utf-8"><body>{frames}<script>{measure}</script>'
    found = re.search(r"<pre>(.*?)</pre>", _run(page, "--dump-dom"), re.DOTALL)
    assert found is not None
    widths = json.loads(unescape(found[1]))
    return {name: wide for name, wide in zip(pages, widths, strict=True) if wide > width}


def _run(page: str, *flags: str) -> str:
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "page.html"
        file.write_text(page, encoding="utf-8")
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder}/profile", *flags, file.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def take_pages(folder: Path, names: Mapping[str, tuple[str, int, int, bool]] = PAGE_PICTURES) -> None:
    """Take the pictures of the demo's web page into *folder*."""
    from playwright.sync_api import sync_playwright  # not installed everywhere

    from tests.support.web import page_server

    database = folder / "page.db"
    play(database, clock=lambda: DEMO_END)
    with (
        page_server(f"sqlite:///{database}", clock=lambda: DEMO_END + timedelta(minutes=1)) as url,
        sync_playwright() as started,
    ):
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, (page, width, height, is_dark) in names.items():
            size: Any = {"width": width, "height": height}
            opened_page = browser.new_page(viewport=size, color_scheme="dark" if is_dark else "light")
            opened_page.goto(url + page)
            opened_page.screenshot(path=folder / name)
        browser.close()
    database.unlink()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        for name, (language, width, height, is_dark) in PICTURES.items():
            html = render(demo_digest(Path(place), language)).html
            take(html, ROOT / "docs" / name, width=width, height=height, is_dark=is_dark)
        take_pages(Path(place))
        for name in PAGE_PICTURES:
            shutil.move(Path(place) / name, ROOT / "docs" / name)
