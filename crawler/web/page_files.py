"""
The pages as files: the same as `serve` shows, without what a file cannot answer, which is any other moment and filters.

The same knowledge gives the same bytes: no page holds the time at which it was made, and the year stands in every date.
How old they are is said by the browser, from `v1/freshness.json`. The page of coverage moves by a day each day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from importlib.resources import files
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from crawler.db.engine import read
from crawler.domain.kinds import KINDS
from crawler.domain.subscriptions import Language
from crawler.queries.check.rules import PinRule
from crawler.web.links import CHINESE_FOLDER, Links
from crawler.web.pages import PageRequest, Pages
from crawler.web.published_folder import Folder
from crawler.web.site import Published

LANGUAGES: tuple[Language, ...] = ("en", "zh")
ASSETS = ("page.css", "page.js", "icon.svg")
#: What may hold pages that are there no more.
_FOLDERS = ("names", "changes", "evidence")


def write_pages(
    into: Folder,
    engine: Engine,
    done: Published,
    *,
    zone: ZoneInfo,
    now: datetime,
    stale_after: timedelta,
    with_private: bool,
    pins: Callable[[], Sequence[PinRule]] = tuple,
) -> None:
    """
    Write every page of what *engine* knows, and what they load; note it in *done*. Raises OSError.

    *pins* finds those that are known besides; they and evidence are private.

    Each page is a reading of its own: while somebody reads a SQLite file, no run can write.
    """
    kept = set()
    pages = Pages(zone=zone, stale_after=stale_after, clock=lambda: now, is_live=False, pins=pins)

    def write(page: str, kind: str) -> None:
        for language in LANGUAGES:
            question = PageRequest(page=page, language=language, query={"kind": kind}, is_private=with_private)
            with read(engine) as conn:
                html = pages.html(conn, question)
            path = Links(here=page, language=language, is_live=False, kind=kind).path
            kept.add(path)
            done.files += 1
            done.written += into.write(path, html.encode("utf-8", "replace"))

    with read(engine) as conn:
        kinds = pages.kinds(conn)
    for kind in kinds:
        with read(engine) as conn:
            parts = pages.parts(conn, kind, is_private=with_private)
        for page in ["", "now", "coverage", "changes", *parts]:
            write(page, kind)
    for kind, number in sorted(pages.evidence):  # those that pages link to
        write(f"evidence/{number}", kind)
    for language in ("", CHINESE_FOLDER):
        for folder in (*_FOLDERS, *KINDS):
            into.keep_only(language + folder, kept)
        if f"{language}pins.html" not in kept:
            into.remove(f"{language}pins.html")
    for path, body in _assets():
        done.files += 1
        done.written += into.write(path, body)


def _assets() -> Iterator[tuple[str, bytes]]:
    root = files("crawler.web").joinpath("assets")
    for name in ASSETS:
        yield f"assets/{name}", root.joinpath(name).read_bytes()
