"""
`crawler serve`: the pages over HTTP, from a connection that can only read, beside whoever crawls.

The event loop answers from what it has; what it has not is read and rendered in a few threads, one connection each. A
page is rendered once for all who ask while the history is as it was: the newest run is looked up for each answer. What
is changed between runs shows after a minute at most: a page is kept for half a minute, and so is what was read for it.
No lock is taken and nothing is written.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import logging
import re
import time
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from sqlalchemy import Connection, Engine, text

from crawler.db.engine import follow_file, is_sqlite, read
from crawler.db.last_observation import present
from crawler.db.migrations import ensure_schema
from crawler.domain.models import iso_utc
from crawler.domain.subscriptions import Language
from crawler.errors import CrawlerError, DatabaseUnavailable, UsageError
from crawler.queries import runs as queries_runs
from crawler.queries.overview_lookup import newest_run
from crawler.web.documents import TOP, Documents
from crawler.web.error_page import error_page
from crawler.web.links import CHINESE_FOLDER
from crawler.web.pages import KEPT_SECONDS, NoSuchPage, PageRequest, Pages
from crawler.web.rendering import POLICY

logger = logging.getLogger(__name__)

THREADS = 4
#: Pages that may wait for a thread; more are refused at once.
MOST_WAITING = 200
#: How long one page may take.
PAGE_SECONDS = 15.0
#: How long a document may take for which all there is has to be read.
DOCUMENT_SECONDS = 120.0
#: For so long nobody looks whether there is a newer run.
_LOOK_SECONDS = 0.25
_MOST_PAGES = 128
_LONGEST_WORD = 200
_STOP_SECONDS = 10.0
_HTML, _JSON, _PLAIN, _ATOM = "text/html", "application/json", "text/plain", "application/atom+xml"
#: What may be asked of pages; the rest of a query is passed over.
ASKED = ("at", "q", "region", "project", "kind", "variant", "page", "days", "zone", "name", "event", "before")
_ASSETS = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "htmx.min.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}
_NO_WEIGHT = re.compile(r"q=0(\.0*)?")
#: What proxies say of a request that they pass on: it may come from anywhere.
_PASSED_ON = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Where to listen, and who may see what."""

    host: str = "127.0.0.1"
    port: int = 8485
    #: Under which addresses it is reached besides, as behind a proxy.
    base_urls: Sequence[str] = ()
    #: Whoever shows it sees private data.
    token: str | None = field(default=None, repr=False)
    #: Everybody sees them.
    with_private: bool = False

    @property
    def is_at_home(self) -> bool:
        """Return whether only this machine reaches the server."""
        names = [self.host, *(urlsplit(url).hostname or "" for url in self.base_urls)]
        return all(is_loopback(name) for name in names)


def is_loopback(host: str) -> bool:
    """Return whether a name or address means this machine alone."""
    if host.casefold() in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAnswer:
    """What goes out."""

    status: int
    kind: str
    body: bytes
    packed: bytes
    tag: str
    #: The newest run when it was made, and when that was (monotonic).
    run: int = 0
    made_at: float = 0.0
    #: The relative URL of the page that is to be asked for instead.
    location: str = ""


def _answer(
    status: int,
    kind: str,
    body: str | bytes,
    *,
    run: int = 0,
    made_at: float = 0.0,
    location: str = "",
    is_document: bool = False,
) -> PageAnswer:
    """Return what goes out; a document, which tells of no run, keeps its tag while its bytes are the same."""
    raw = body.encode("utf-8", "replace") if isinstance(body, str) else body
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    digest = hashlib.sha256(raw).hexdigest()[:16]
    return PageAnswer(
        status=status,
        kind=kind,
        body=raw,
        packed=packer.compress(raw) + packer.flush(),
        tag=f'W/"{digest}"' if is_document else f'W/"run{run}-{digest}"',
        run=run,
        made_at=made_at,
        location=location,
    )


class PageServer:
    """The pages on a socket: `async with PageServer(engine, pages, options) as server`, then `server.url`."""

    def __init__(
        self,
        engine: Engine,
        pages: Pages,
        options: ServeOptions,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        metrics: Callable[[Connection], str] | None = None,
    ) -> None:
        """Take an *engine* that can only read; *metrics* tells of the history in Prometheus's text format."""
        self.url = ""
        self._engine = engine
        self._pages = pages
        url = next(iter(options.base_urls), None)
        self._documents = Documents(stale_after=pages.stale_after, url=url)
        self._options = options
        self._clock = clock
        self._monotonic = monotonic
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="pages")
        #: Of what takes long, so that pages do not wait for it.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="documents")
        self._made: OrderedDict[Any, PageAnswer] = OrderedDict()
        self._making: dict[Any, asyncio.Task[PageAnswer]] = {}
        self._looked: tuple[float, int] = (float("-inf"), 0)
        self._counts: Counter[int] = Counter()
        self._file: tuple[int, int] | None = None
        self._runner: web.AppRunner | None = None
        root = files("crawler.web").joinpath("assets")
        self._assets = {name: _answer(200, kind, root.joinpath(name).read_bytes()) for name, kind in _ASSETS.items()}

    async def __aenter__(self) -> PageServer:
        """Listen, and know the URL; raise UsageError where that cannot be."""
        app = web.Application(client_max_size=1)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_SECONDS, handle_signals=False)
        await self._runner.setup()
        host, port = self._options.host, self._options.port
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as exc:
            await self._runner.cleanup()
            raise UsageError(f"Nothing can be served at {host} port {port}: {exc.strerror or exc}.") from exc
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._runner.addresses[0][1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Take no more requests, and wait until those under way are answered."""
        if self._runner is not None:
            await self._runner.cleanup()
        for threads in (self._threads, self._thread):
            await asyncio.to_thread(threads.shutdown, wait=True, cancel_futures=True)

    # --- one request -------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        language, page = _language_of(path)
        question = PageRequest(page=page, language=language, is_private=self._sees_private(request))
        try:
            answer = await self._answered(request, question)
        except NoSuchPage as exc:
            answer = self._failed(question, 404, str(exc))
        except DatabaseUnavailable as exc:
            answer = self._failed(question, 503, str(exc) if self._sees_private(request) else "")
        except CrawlerError as exc:
            answer = self._failed(question, 400, str(exc))
        except TimeoutError:
            answer = self._failed(question, 504, "")
        except Exception:
            logger.exception("no page %s", request.rel_url.path)
            answer = self._failed(question, 500, "")
        self._counts[answer.status] += 1
        return _response(request, answer)

    async def _answered(self, request: web.Request, question: PageRequest) -> PageAnswer:
        if request.method not in ("GET", "HEAD"):
            return self._failed(question, 405, "")
        if not self._is_own_name(request):
            return self._failed(question, 421, "")
        path = question.page
        folder, _, name = path.rpartition("/")
        if folder == "assets" or path == "favicon.ico":
            found = self._assets.get("icon.svg" if path == "favicon.ico" else name)
            return found or self._failed(question, 404, "")
        if path == "healthz":
            return await self._health()
        is_private = self._sees_private(request)
        if path == "metrics":
            return _answer(200, _PLAIN, await self._in_thread(self._measured))
        if path == "sign-in":
            if self._options.token is not None and not is_private:
                return self._failed(question, 401, "")
            return _answer(303, _PLAIN, "", location="./")
        asked = {word: request.query[word] for word in ASKED if request.query.get(word)}
        if path.startswith(TOP) and question.language == "en":
            return await self._document(path, is_private=is_private)
        if any(len(value) > _LONGEST_WORD for value in asked.values()):
            raise UsageError(f"A word of the question is longer than {_LONGEST_WORD} characters.")
        may_sign_in = self._options.token is not None and not is_private
        return await self._page(
            PageRequest(
                page=path,
                language=question.language,
                query=asked,
                is_private=is_private,
                may_sign_in=may_sign_in,
            )
        )

    def _is_own_name(self, request: web.Request) -> bool:
        """Return whether the request names this server: a page elsewhere could read it through a name of its own."""
        try:
            name = (urlsplit(f"//{request.headers.get('Host', '')}").hostname or "").casefold()
        except ValueError:
            return False
        own = {self._options.host.casefold(), *((urlsplit(url).hostname or "") for url in self._options.base_urls)}
        own |= _LOOPBACK_NAMES
        socket = request.transport.get_extra_info("sockname") if request.transport else None
        if socket:
            own.add(str(socket[0]).casefold())
        return bool(name) and name in own

    def _sees_private(self, request: web.Request) -> bool:
        if self._options.with_private:
            return True
        if self._options.token is None:
            return self._options.is_at_home and not any(name in request.headers for name in _PASSED_ON)
        shown = _token_in(request.headers.get("Authorization", ""))
        return hmac.compare_digest(shown.encode("utf-8", "surrogateescape"), self._options.token.encode())

    def _failed(self, question: PageRequest, status: int, said: str) -> PageAnswer:
        return _answer(status, _HTML, error_page(self._pages, question, status, said, self._clock()))

    # --- pages -------------------------------------------------------------------------------------------------------

    async def _page(self, question: PageRequest) -> PageAnswer:
        key = (question.page, question.language, tuple(question.query.items()), question.is_private)
        return await self._kept_or(key, question, lambda: self._in_thread(lambda: self._render(question)))

    async def _document(self, path: str, *, is_private: bool) -> PageAnswer:
        seconds, threads = (DOCUMENT_SECONDS, self._thread) if Documents.takes_long(path) else (PAGE_SECONDS, None)
        return await self._kept_or(
            (path, is_private),
            PageRequest(page=path),
            lambda: self._in_thread(lambda: self._written(path, seconds, is_private=is_private), seconds, threads),
        )

    async def _kept_or(
        self, key: Any, question: PageRequest, make: Callable[[], Coroutine[Any, Any, PageAnswer]]
    ) -> PageAnswer:
        """Return the answer that was made for *key* of the newest run a short time before, or *make* it."""
        run = await self._newest_run()
        kept = self._made.get(key)
        if kept is not None and kept.run == run and self._monotonic() - kept.made_at < KEPT_SECONDS:
            self._made.move_to_end(key)
            return kept
        making = self._making.get(key)
        if making is None:
            if len(self._making) >= MOST_WAITING:
                return self._failed(question, 503, "")
            making = asyncio.create_task(make())
            self._making[key] = making
            making.add_done_callback(lambda done: self._keep(key, done))
        # who leaves early does not take the page from the others
        return await asyncio.shield(making)

    def _keep(self, key: Any, made: asyncio.Task[PageAnswer]) -> None:
        self._making.pop(key, None)
        if not made.cancelled() and made.exception() is None:
            self._made[key] = made.result()
            while len(self._made) > _MOST_PAGES:
                self._made.popitem(last=False)

    async def _newest_run(self) -> int:
        """Return the newest run that has ended, looked up at most every `_LOOK_SECONDS`."""
        looked_at, run = self._looked
        if self._monotonic() - looked_at >= _LOOK_SECONDS:
            run = await self._in_thread(self._look)
            self._looked = (self._monotonic(), run)
        return run

    async def _in_thread(
        self, work: Callable[[], Any], seconds: float = PAGE_SECONDS, threads: ThreadPoolExecutor | None = None
    ) -> Any:
        loop = asyncio.get_running_loop()
        return await asyncio.wait_for(loop.run_in_executor(threads or self._threads, work), seconds)

    # in a thread:

    def _look(self) -> int:
        with self._reading() as conn:
            newest = newest_run(conn)
        return newest[0] if newest else 0

    def _render(self, question: PageRequest) -> PageAnswer:
        with self._reading() as conn:
            newest = newest_run(conn)
            html = self._pages.html(conn, question)
        return _answer(200, _HTML, html, run=newest[0] if newest else 0, made_at=self._monotonic())

    def _written(self, path: str, seconds: float, *, is_private: bool) -> PageAnswer:
        with self._reading() as conn:
            newest = newest_run(conn)
            now = present(conn, self._clock())
        run = newest[0] if newest else 0
        with self._reading(seconds) as conn:
            body = self._documents.body(conn, path, run, now, is_private=is_private)
        return _answer(200, _kind_of(path), body, run=run, made_at=self._monotonic(), is_document=True)

    @contextmanager
    def _reading(self, seconds: float = PAGE_SECONDS) -> Iterator[Connection]:
        """Open a reading that ends after some seconds, of the file that has the database's name now."""
        self._file = follow_file(self._engine, self._file)
        ensure_schema(self._engine, may_upgrade=False)
        with read(self._engine) as conn:
            if is_sqlite(conn):
                deadline = time.monotonic() + seconds
                raw: Any = conn.connection.driver_connection
                raw.set_progress_handler(lambda: time.monotonic() > deadline, 50_000)
                try:
                    yield conn
                finally:
                    raw.set_progress_handler(None, 0)
            else:
                conn.execute(text(f"SET LOCAL statement_timeout = {int(seconds * 1000)}"))
                yield conn

    def _measured(self) -> str:
        lines = ["# HELP crawler_page_requests_total Answers by status.", "# TYPE crawler_page_requests_total counter"]
        lines += [f'crawler_page_requests_total{{status="{code}"}} {n}' for code, n in sorted(self._counts.items())]
        own = "\n".join([*lines, ""])
        if self._metrics is None:
            return own
        with self._reading() as conn:
            return self._metrics(conn) + own

    # --- for whoever watches the server ------------------------------------------------------------------------------

    async def _health(self) -> PageAnswer:
        try:
            run = await self._in_thread(self._last_run)
        except (CrawlerError, TimeoutError) as exc:
            said = type(exc).__name__
            return _answer(503, _JSON, json.dumps({"status": "unavailable", "reason": said}) + "\n")
        return _answer(200, _JSON, json.dumps({"status": "ok", **run}) + "\n")

    def _last_run(self) -> Mapping[str, Any]:
        with self._reading() as conn:
            newest = newest_run(conn)
            found = queries_runs.run(conn, newest[0]) if newest else None
        if found is None:
            return {"run": None, "finished_at": None, "run_status": None}
        return {"run": found.run, "finished_at": iso_utc(found.finished_at), "run_status": found.status}


def _kind_of(path: str) -> str:
    return _JSON if path.endswith(".json") else _ATOM if path.endswith(".atom") else _PLAIN


def _language_of(path: str) -> tuple[Language, str]:
    if f"{path}/" == CHINESE_FOLDER:
        return "zh", ""
    if path.startswith(CHINESE_FOLDER):
        return "zh", path.removeprefix(CHINESE_FOLDER)
    return "en", path


def _token_in(authorization: str) -> str:
    """Return the token of a header: a bearer's, or the password that a browser asked for."""
    scheme, _, value = authorization.partition(" ")
    if scheme.casefold() == "bearer":
        return value.strip()
    if scheme.casefold() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).decode("utf-8", "replace").partition(":")[2]
        except binascii.Error:
            return ""
    return ""


#: What keeps a page from being anything but read; browsers obey them.
_HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding, Authorization",
}


def _knows(request: web.Request, tag: str) -> bool:
    """Return whether who asks has what has *tag*, by the weak comparison of RFC 9110; caches may leave `W/` out."""
    known = ",".join(request.headers.getall("If-None-Match", ())).split(",")
    return any(one.strip() in ("*", tag, tag.removeprefix("W/")) for one in known)


def _takes_gzip(request: web.Request) -> bool:
    """Return whether who asks names gzip, and not with a weight of nothing, by which it is refused."""
    for one in ",".join(request.headers.getall("Accept-Encoding", ())).casefold().split(","):
        coding, *weights = (part.strip() for part in one.split(";"))
        if coding == "gzip":
            return not any(_NO_WEIGHT.fullmatch(weight) for weight in weights)
    return False


def _response(request: web.Request, answer: PageAnswer) -> web.Response:
    headers = {**_HEADERS, "ETag": answer.tag, "Content-Type": f"{answer.kind}; charset=utf-8"}
    if answer.location:
        headers["Location"] = answer.location
    if answer.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="crawler", charset="UTF-8"'
    if answer.status == 405:
        headers["Allow"] = "GET, HEAD"
    if answer.status == 503:
        headers["Retry-After"] = "5"
    if answer.status == 200 and _knows(request, answer.tag):
        return web.Response(status=304, headers={name: headers[name] for name in ("ETag", "Cache-Control", "Vary")})
    body = answer.body
    if len(body) > 1_000 and _takes_gzip(request):
        headers["Content-Encoding"] = "gzip"
        body = answer.packed
    return web.Response(status=answer.status, headers=headers, body=body)
