"""The web page in a real browser: wide and narrow, light and dark, in both languages, with and without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from crawler.db.engine import opened
from crawler.db.migrations import upgrade
from crawler.demo import play
from tests.support.acceptance_table import Proven
from tests.support.diary import Diary, target
from tests.support.kinds import uhost_image
from tests.support.pictures import CHROMIUM, DEMO_END
from tests.support.web import page_server

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Playwright's own pipes
]

PAGES = (
    "", "now", "now?at=7h", "names/ubuntu-20.04", "changes", "changes?event=withdrawn", "coverage", "evidence/3",
    "pins", "nowhere",
)  # fmt: skip
#: Of a history that has images of machines too.
KIND_PAGES = (
    "", "now", *(f"{page}?kind=uhost-image" for page in ("", "now", "names/rocky-9", "changes", "coverage", "nowhere")),
    "now?kind=phost-image", "names/rocky-9?kind=phost-image", "now?at=7h&kind=uhost-image",
)  # fmt: skip
WIDTHS = (375, 900, 1600)
SCHEMES = ("light", "dark")
LANGUAGES = ("", "zh/")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("page") / "demo.db"
    play(path, clock=lambda: DEMO_END)
    with page_server(f"sqlite:///{path}", clock=lambda: DEMO_END + timedelta(minutes=1)) as url:
        yield url


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a history of nodes, machines and bare metal, whose images come, go, break and are being made."""
    url = f"sqlite:///{tmp_path_factory.mktemp('kinds') / 'kinds.db'}"
    nodes = target("hk-02")
    rented, bare = (nodes._replace(kind=kind) for kind in ("uhost-image", "phost-image"))
    metal = [{"ImageId": "uimage-p1", "ImageName": "Rocky 9", "ImageType": "Base", "State": "Available"}]
    with opened(url) as engine:
        upgrade(engine)
        diary = Diary(engine)
        for states in (("Available", "Making"), ("Available", "Available"), ("Unavailable", "Copying")):
            rocky = [
                uhost_image(number, ImageName="Rocky 9", State=state)
                for number, state in zip((1, 2), states, strict=True)
            ]
            others = [uhost_image(number) for number in (4, 5, 6, 7)]
            diary.run(
                {
                    nodes: {"uimage-a": "Ubuntu 20.04"},
                    rented: {"RetCode": 0, "ImageSet": [*rocky, *others]},
                    bare: {"RetCode": 0, "ImageSet": metal},
                }
            )
    now = diary.now + timedelta(minutes=1)
    with page_server(url, clock=lambda: now) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visitor:
    """One way of looking at the pages; notes what the console said."""

    def __init__(self, browser: Any, **how: Any) -> None:
        self.context = browser.new_context(**how)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))

    def visit(self, url: str) -> None:
        self.page.goto(url)

    @property
    def complaints(self) -> list[str]:
        """Return what the console said but for pages that are meant to be missing."""
        return [text for text in self.said if "404 (Not Found)" not in text]


def every_page(server: str, machines: str) -> list[str]:
    """Return the addresses of all pages, in both languages."""
    pages = (*((server, page) for page in PAGES), *((machines, page) for page in KIND_PAGES))
    return [f"{address}{language}{page}" for language, (address, page) in product(LANGUAGES, pages)]


@pytest.mark.parametrize("width", WIDTHS)
def test_every_page(width: int, server: str, machines: str, browser: Any, proven: Proven) -> None:
    """No page is wider than its screen, says anything in the console, or has anything kept from it by its policy."""
    seen = 0
    for scheme, scripts in product(SCHEMES, (True, False)):
        size = {"width": width, "height": 800}
        visitor = Visitor(browser, viewport=size, color_scheme=scheme, java_script_enabled=scripts)
        for page in every_page(server, machines):
            visitor.visit(page)
            wide = visitor.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, page
            assert visitor.page.locator("h1").count() == 1
            seen += 1
        assert visitor.complaints == []
        visitor.context.close()
    proven("pages in a browser", f"{seen} at {width} px, light and dark, with and without scripts")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_anybody_can_read_it(scheme: str, server: str, machines: str, browser: Any, proven: Proven) -> None:
    """axe finds nothing that would keep anybody from reading a page: contrast, names, order, language."""
    visitor = Visitor(browser, viewport={"width": 900, "height": 800}, color_scheme=scheme)
    found: dict[str, Any] = {}
    pages = every_page(server, machines)
    for page in pages:
        visitor.visit(page)
        results = axe.Axe().run(visitor.page)
        if results.violations_count:
            found[page] = results.generate_report()
    visitor.context.close()
    assert found == {}
    proven("axe-core", f"0 violations on {len(pages)} pages, {scheme}")


def test_keyboard(server: str, browser: Any) -> None:
    """The first tab stop skips to the content, `/` goes to the search, and Enter asks."""
    visitor = Visitor(browser, viewport={"width": 900, "height": 800})
    page = visitor.page
    visitor.visit(f"{server}now")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "q"
    page.keyboard.type("cent")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=cent**")
    assert page.locator("thead th").all_inner_texts() == ["Zone", "CentOS 7.6"]
    stops = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        stops.add(page.evaluate("document.activeElement.tagName"))
    assert {"A", "INPUT", "SELECT", "BUTTON", "DIV"} <= stops
    visitor.context.close()


@pytest.mark.parametrize("scripts", [True, False])
def test_kind_tabs(machines: str, browser: Any, scripts: bool) -> None:
    """A tab leads to the same sort of page about another kind, and what is chosen there stays about it."""
    visitor = Visitor(browser, viewport={"width": 900, "height": 800}, java_script_enabled=scripts)
    page = visitor.page
    tabs = page.locator(".kinds a")
    chosen = page.locator(".kinds a[aria-current]")
    visitor.visit(f"{machines}zh/now")
    assert tabs.all_inner_texts() == ["UK8S 节点", "云主机 UHost", "裸金属 PHost"]
    page.get_by_role("link", name="English").click()
    page.wait_for_url("**/now")
    assert (chosen.all_inner_texts(), page.locator("table.matrix").inner_text().count("Rocky 9")) == (["UK8S nodes"], 0)

    page.get_by_role("link", name="Machines (UHost)").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**kind=uhost-image**")
    assert chosen.all_inner_texts() == ["Machines (UHost)"]
    assert page.locator("table.matrix .x").count() == 2
    page.locator("input[type=search]").fill("rocky")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=rocky**")
    assert "kind=uhost-image" in page.url
    page.locator("table.matrix tbody th", has_text="CentOS").first.wait_for(state="detached")
    assert page.locator("table.matrix tbody th").all_inner_texts() == ["Rocky 9"]
    page.get_by_role("link", name="Rocky 9").click()
    page.wait_for_url("**/names/rocky-9**")
    assert "kind=uhost-image" in page.url
    assert "listed, but not usable (Copying)" in page.locator("main").inner_text()
    page.get_by_role("link", name="Bare metal (PHost)").click()
    page.wait_for_url("**kind=phost-image**")
    assert chosen.all_inner_texts() == ["Bare metal (PHost)"]
    page.get_by_role("link", name="Rocky 9").click()
    assert "ucloud_baremetal_instance" in page.locator("main").inner_text()
    page.get_by_role("link", name="UK8S nodes").click()
    page.wait_for_url(lambda url: "kind=" not in url)
    assert chosen.all_inner_texts() == ["UK8S nodes"]
    assert visitor.complaints == []
    visitor.context.close()


def test_copies(server: str, browser: Any) -> None:
    """A click on a cell copies the whole id."""
    visitor = Visitor(browser, viewport={"width": 900, "height": 800})
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visitor.visit(f"{server}now?q=centos")
    visitor.page.locator("td[title]").first.click()
    visitor.page.wait_for_function("document.querySelector('td[title^=\"✓\"]') !== null")
    assert visitor.page.evaluate("navigator.clipboard.readText()").startswith("uimage-")
    visitor.context.close()


def test_prints(server: str, browser: Any, tmp_path: Path) -> None:
    """Printed, a page leaves out what one can only click on, and is black on white whatever the scheme."""
    visitor = Visitor(browser, viewport={"width": 900, "height": 800}, color_scheme="dark")
    visitor.page.emulate_media(media="print")
    visitor.visit(f"{server}now")
    assert not visitor.page.locator("nav").is_visible()
    assert visitor.page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert visitor.page.locator("table.matrix").is_visible()
    visitor.context.close()


def test_filters_without_a_new_page(server: str, browser: Any) -> None:
    """With scripts a choice is shown in the page that is there: what was focused stays so, and the address says it."""
    visitor = Visitor(browser, viewport={"width": 900, "height": 800})
    page = visitor.page
    visitor.visit(f"{server}now")
    page.evaluate("document.body.dataset.mark = 'kept'")
    page.locator("select[name=region]").focus()
    page.select_option("select[name=region]", "hk")
    page.wait_for_url("**region=hk**")
    page.wait_for_function("document.querySelectorAll('table.matrix tr').length < 6")

    assert page.evaluate("document.body.dataset.mark") == "kept"
    assert page.evaluate("document.activeElement.name") == "region"
    assert "region=hk" in str(page.locator(".language a").get_attribute("href"))
    page.locator("input[type=search]").fill("nothing is called so")
    page.keyboard.press("Enter")
    page.wait_for_selector("p.empty")
    page.locator("input[type=search]").fill("")
    page.keyboard.press("Enter")
    page.wait_for_selector("td[data-copy]")
    page.go_back()
    page.wait_for_selector("p.empty")
    assert visitor.complaints == []
    visitor.context.close()
