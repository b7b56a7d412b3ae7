"""A real page server on loopback for a history, and what its pages say, read back from the HTML."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from html.parser import HTMLParser
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from zoneinfo import ZoneInfo

from crawler.db.engine import open_engine
from crawler.ops.after import history_metrics
from crawler.web.page_server import PageServer, ServeOptions
from crawler.web.pages import Pages

STALE = timedelta(hours=26)
SHANGHAI = ZoneInfo("Asia/Shanghai")


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """Return the body as text."""
        return self.body.decode()


@contextmanager
def page_server(url: str, *, clock: Callable[[], datetime], **options: Any) -> Iterator[str]:
    """Serve the history at *url* in a thread of its own, on a free port; give the address."""
    engine = open_engine(url, read_only=True)
    pages = Pages(zone=SHANGHAI, stale_after=STALE, clock=clock, is_live=True)
    started, ended = threading.Event(), threading.Event()
    address: list[str] = []

    async def serve() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        metrics = lambda conn: history_metrics(conn, now=clock())  # noqa: E731 - shorter than a function of its own
        chosen = ServeOptions(**{"port": 0, **options})
        async with PageServer(engine, pages, chosen, clock=clock, metrics=metrics) as server:
            address.append(server.url)
            threading.Thread(target=lambda: (ended.wait(), loop.call_soon_threadsafe(stop.set))).start()
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    started.wait(10)
    try:
        yield address[0]
    finally:
        ended.set()
        thread.join(20)
        engine.dispose()


def get(url: str, *, method: str = "GET", **headers: str) -> Answer:
    """Ask a server; header names are written with `_` for `-`."""
    request = Request(url, method=method, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urlopen(request, timeout=30) as answer:
            return Answer(answer.status, dict(answer.headers), answer.read())
    except HTTPError as exc:
        return Answer(exc.code, dict(exc.headers), exc.read())


Cells = dict[tuple[str, str], dict[str, str]]
_STATES = {"": "present", "o": "present", "x": "present", "u": "unknown"}


@dataclass
class _Table(HTMLParser):
    """Reads the table of names and zones: the heads, and in each cell the ids with their class."""

    rows: list[list[list[tuple[str, str]]]] = field(default_factory=list)
    heads: list[list[str]] = field(default_factory=list)
    is_tall: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        self._in_head = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = {name: value or "" for name, value in attrs}
        if tag == "table":
            self.is_tall = "tall" in own.get("class", "")
        if tag == "tr":
            self.rows.append([])
            self.heads.append([])
        if tag == "th":
            self._in_head = True
            self.heads[-1].append("")
        if tag == "td":
            self.rows[-1].append([])
        mark = own.get("class", "")
        if tag in ("td", "i") and self.rows and mark in _STATES and own.get("title", "").startswith("uimage"):
            self.rows[-1][-1].append((own["title"].split(" ")[0], _STATES[mark]))

    def handle_endtag(self, tag: str) -> None:
        if tag == "th":
            self._in_head = False

    def handle_data(self, data: str) -> None:
        if self._in_head:
            self.heads[-1][-1] += data


def cells_of(html: str) -> Cells:
    """Return what the page of what is available shows: by zone and name the state of each image id."""
    table = _Table()
    table.feed(html)
    columns = [head.strip() for head in table.heads[0][1:]]
    found: Cells = {}
    for heads, row in zip(table.heads[1:], table.rows[1:], strict=True):
        for column, images in zip(columns, row, strict=True):
            own = heads[0].strip()
            zone, name = (own, column) if table.is_tall else (column, own)
            if images:
                found[zone, name] = dict(images)
    return found
