"""`crawler serve` over real HTTP: whom it answers, what it keeps, and that it stands in nobody's way."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path

import pytest
from sqlalchemy import Engine

from crawler.db.engine import begin, opened
from crawler.web.page_server import MOST_WAITING, PAGE_SECONDS, THREADS, ServeOptions
from tests.support.command import ROOT, call
from tests.support.diary import Diary, target
from tests.support.web import get, page_server

PAGES = ("", "now", "changes", "coverage", "names/ubuntu-20.04", "zh/", "zh/now", "now?at=1d", "changes/2026-06-01")
#: As npm has htmx.org 4.0.1, `dist/htmx.min.js`.
HTMX = "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"
TOKEN = 2 * "correct-horse-"
BEYOND = "https://images.example.com/"


@pytest.fixture
def diary(engine: Engine) -> Diary:
    made = Diary(engine)
    for image in ("uimage-a", "uimage-b"):
        made.run({target(f"hk-0{n}"): {image: "Ubuntu 20.04", "uimage-x": "CentOS 7.6"} for n in range(1, 4)})
    return made


def test_every_page_answers(server: str) -> None:
    """Every page is HTML with a policy that lets nothing in, and a small one."""
    for page in PAGES:
        answer = get(server + page)
        assert answer.status == 200, page
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'; ")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert len(answer.body) < 100_000
    for asset in ("page.css", "page.js", "icon.svg"):
        assert get(f"{server}assets/{asset}").status == 200
    assert len(get(f"{server}assets/page.js").body) < 4_000


def test_htmx_is_what_it_says(server: str) -> None:
    """The one script that others wrote is version 4.0.1, byte for byte, with its licence beside it."""
    script = get(f"{server}assets/htmx.min.js")
    assert script.headers["Content-Type"].startswith("text/javascript")
    assert hashlib.sha256(script.body).hexdigest() == HTMX
    assert "Zero-Clause BSD" in files("crawler.web").joinpath("assets/htmx.LICENSE").read_text()
    assert 'src="assets/htmx.min.js"' in get(server).text


def test_links_lead_somewhere(server: str) -> None:
    """Every link of every page leads to a page that is there."""
    from urllib.parse import urljoin

    left, seen = [server], set()
    while left:
        url = left.pop().partition("#")[0]
        if url in seen:
            continue
        seen.add(url)
        answer = get(url)
        assert answer.status == 200, url
        if answer.headers["Content-Type"].startswith("text/html") and url.startswith(server):
            left += [urljoin(url, link.replace("&amp;", "&")) for link in re.findall(r'href="([^"]*)"', answer.text)]
    assert len(seen) > 20


def test_tag_of_the_last_run(server: str, diary: Diary) -> None:
    """A page that is the same as before is not sent again; after a run it is another."""
    first = get(f"{server}now")
    assert first.headers["ETag"].startswith('W/"run2-')
    tag = first.headers["ETag"]
    for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        assert get(f"{server}now", If_None_Match=known).status == 304
    assert get(f"{server}now", If_None_Match='"other"').status == 200

    diary.run({target(f"hk-0{n}"): {"uimage-c": "Ubuntu 20.04", "uimage-x": "CentOS 7.6"} for n in range(1, 4)})
    import time

    time.sleep(0.3)
    second = get(f"{server}now", If_None_Match=first.headers["ETag"])
    assert second.status == 200
    assert "mage-c" in second.text


def test_compressed(server: str) -> None:
    """Whoever takes gzip gets it, with the same content."""
    packed = get(f"{server}now", Accept_Encoding="gzip")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == get(f"{server}now").body


@pytest.mark.parametrize(
    ("taken", "is_packed"),
    [("br, GZIP;q=0.5", True), ("gzip;q=0", False), ("br, gzip; q=0.000, *;q=0.1", False), ("x-gzipped", False)],
)
def test_who_refuses_gzip(server: str, taken: str, is_packed: bool) -> None:
    """Whoever refuses gzip by a weight of nothing, or names something else, gets the page as it is."""
    assert (get(f"{server}now", Accept_Encoding=taken).headers.get("Content-Encoding") == "gzip") is is_packed


def test_unknown_host(server: str) -> None:
    """A request under another name is refused: a page elsewhere cannot read the history through a name of its own."""
    port = server.rstrip("/").rpartition(":")[2]
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "", "[", "localhost@evil.example"):
        answer = get(server, Host=host)
        assert answer.status in (400, 421), host
        assert "Ubuntu" not in answer.text
    for host in (f"127.0.0.1:{port}", "localhost", f"[::1]:{port}"):
        assert get(server, Host=host).status == 200, host


def test_own_name(database_url: str, clock: Callable[[], datetime]) -> None:
    """--base-url names the server besides; beyond this machine nobody sees private data then."""
    with page_server(database_url, clock=clock, base_urls=[BEYOND]) as url:
        assert get(url, Host="images.example.com").status == 200
        assert get(url, Host="other.example.com").status == 421
        assert get(f"{url}evidence/1").status == 404
        assert "Public data only" in get(url).text


def test_private_data_at_home_alone(server: str) -> None:
    """On loopback the evidence is shown: whoever can ask can read the database as well."""
    assert get(f"{server}evidence/1").status == 200
    assert "With private data" in get(server).text
    assert ServeOptions(host="0.0.0.0").is_at_home is False
    assert ServeOptions(host="::1").is_at_home
    assert ServeOptions(host="localhost", base_urls=["http://127.0.0.2:80/"]).is_at_home


@pytest.mark.parametrize("header", ["Forwarded", "Via", "X_Forwarded_For", "X_Forwarded_Host", "X_Real_IP"])
def test_no_private_data_through_a_proxy(server: str, header: str) -> None:
    """What a proxy on this machine passes on under loopback's name may come from anywhere: it gets public data."""
    assert get(f"{server}evidence/1", **{header: "1.1 front"}).status == 404
    assert "Public data only" in get(server, **{header: "1.1 front"}).text


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), (b"\xff\xfe\xff", "The token"), (b"short", "is none: write at least"), (b"", "is none")],
)
def test_bad_token_file(sqlite_url: str, tmp_path: Path, content: bytes | None, said: str) -> None:
    """A token that cannot be read, or that anybody could guess, is told in a sentence, and nothing is served."""
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    assert said in call("--database", sqlite_url, "serve", "--port", "0", "--token-file", file, code=2).stderr


def test_token(database_url: str, clock: Callable[[], datetime]) -> None:
    """With a token private data is for whoever has it, as a password or as a bearer's token; others see public data."""
    import base64

    basic = "Basic " + base64.b64encode(f"me:{TOKEN}".encode()).decode()
    with page_server(database_url, clock=clock, base_urls=[BEYOND], token=TOKEN) as url:
        assert get(f"{url}evidence/1").status == 404
        for header in (f"Bearer {TOKEN}", basic):
            assert get(f"{url}evidence/1", Authorization=header).status == 200
        wrong = "Basic " + base64.b64encode(b"me:wrong").decode()
        for header in ("Bearer wrong", "Bearer \xff", "Basic !!!", wrong, "Digest x"):
            assert get(f"{url}evidence/1", Authorization=header).status == 404
        refused = get(f"{url}sign-in")
        assert refused.status == 401
        assert refused.headers["WWW-Authenticate"].startswith("Basic ")
        assert 'href="sign-in"' in get(url).text
        for page in ("sign-in", "zh/sign-in"):  # and back to the start, of the same language
            assert get(url + page, Authorization=basic).text == get(url + page[:-7], Authorization=basic).text


def test_errors_look_like_the_rest(server: str) -> None:
    """What cannot be answered is said in a sentence, in the look of the other pages, in both languages."""
    for page, status, said in (
        ("nowhere", 404, "There is no such page"),
        ("names/nobody", 404, "No image is called so."),
        ("zh/names/nobody", 404, "没有这个名称的镜像。"),
        ("changes/2026-13-40", 404, "There is no day"),
        ("changes/0001-01-01", 404, "Nothing was recorded"),
        ("changes/9999-12-31", 404, "Nothing was recorded"),
        ("evidence/99", 404, "There is no change 99."),
        ("now?at=yesterdaze", 400, "is no time"),
        ("now?at=9999-01-01", 400, "too far away"),
        ("now?q=" + "x" * 300, 400, "longer than 200 characters"),
        ("..%2f..%2fetc%2fpasswd", 404, "There is no such page"),
        ("assets/../page_server.py", 404, "There is no such page"),
    ):
        answer = get(server + page)
        assert answer.status == status, page
        assert said in answer.text.replace("&#39;", "'"), (page, answer.text)
        assert "<nav" in answer.text
        for shown in ("含私有数据。", ">在用镜像<") if page.startswith("zh/") else ("With private data.", ">Pins<"):
            assert shown in answer.text, page
    assert get(server, method="POST").status == 405
    assert get(f"{server}now", method="HEAD").body == b""


def test_odd_questions(server: str) -> None:
    """Words that no database can hold, numbers out of range and filters that fit nothing are answered, not failed."""
    for page in (
        "now?q=%00", "now?region=%00", "now?page=0", "now?page=99999", "now?page=x", "now?variant=none",
        "now?project=%5B*", "changes?zone=%00", "changes?name=*&event=none", "changes?before=2026-06-02",
        "names/ubuntu-20.04?days=none", "names/ubuntu-20.04?variant=none", "now?at=1900-01-01",
        "names/%00", "names/a%00b", "v1/resolve/%00/a.json", "v1/resolve/hk-02/%00.json", "evidence/%00",
    ):  # fmt: skip
        assert get(server + page).status in (200, 404), page


def test_for_whoever_watches(server: str) -> None:
    """/healthz tells the last run, /metrics what the metrics file would, and how many pages were answered."""
    health = json.loads(get(f"{server}healthz").text)
    assert health["status"] == "ok"
    assert (health["run"], health["run_status"]) == (2, "complete")
    get(f"{server}nowhere")
    metrics = get(f"{server}metrics")
    assert metrics.headers["Content-Type"].startswith("text/plain")
    assert 'crawler_last_run_targets{outcome="ok"} 3' in metrics.text
    assert 'crawler_page_requests_total{status="404"} 1' in metrics.text
    assert "exit_code" not in metrics.text


def test_without_a_database(tmp_path: Path, clock: Callable[[], datetime]) -> None:
    """Before there is a database the pages say so, /healthz is 503, and both are well once it is there."""
    path = tmp_path / "later.db"
    with page_server(f"sqlite:///{path}", clock=clock) as url:
        answer = get(url)
        assert answer.status == 503
        assert "There is no database" in answer.text
        assert get(f"{url}healthz").status == 503
        with opened(path) as engine:
            from crawler.db.migrations import upgrade

            upgrade(engine)
            Diary(engine).run({target("hk-02"): {"uimage-a": "Ubuntu 20.04"}})
        assert get(url).status == 200
        assert get(f"{url}healthz").status == 200


def test_a_backup_takes_the_place(sqlite_url: str, tmp_path: Path) -> None:
    """A file that replaces the database is read from then on."""
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with opened(path) as engine:
        diary = Diary(engine)
        diary.run({target("hk-02"): {"uimage-a": "Ubuntu 20.04"}})
    other = tmp_path / "other.db"
    shutil.copyfile(path, other)
    with opened(other) as engine:
        Diary(engine, now=diary.now).run({target("hk-02"): {"uimage-a": "Ubuntu 20.04", "uimage-b": "Debian 12"}})
    with page_server(sqlite_url, clock=lambda: diary.now + timedelta(hours=1)) as url:
        assert "Debian" not in get(f"{url}now").text
        other.replace(path)
        import time

        time.sleep(0.3)
        assert "Debian" in get(f"{url}now").text


def test_many_at_once(server: str, engine: Engine) -> None:
    """Fifty connections that ask at once are all answered, while somebody holds a write transaction for a while."""
    with ThreadPoolExecutor(50) as threads:
        with begin(engine):
            answers = list(threads.map(lambda n: get(f"{server}{PAGES[n % len(PAGES)]}").status, range(100)))
        answers += list(threads.map(lambda n: get(f"{server}{PAGES[n % len(PAGES)]}").status, range(100)))
    assert set(answers) == {200}
    assert THREADS < 50 < MOST_WAITING
    assert PAGE_SECONDS < 30


def test_nothing_is_written(sqlite_url: str) -> None:
    """Serving leaves the file and its folder as they were: no lock, no journal, no byte."""
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with opened(path) as engine:
        diary = Diary(engine)
        diary.run({target("hk-02"): {"uimage-a": "Ubuntu 20.04"}})
    before, names = path.read_bytes(), sorted(path.parent.iterdir())
    with page_server(sqlite_url, clock=lambda: diary.now) as url:
        for page in PAGES[:4]:
            assert get(url + page).status == 200
    assert path.read_bytes() == before
    assert sorted(path.parent.iterdir()) == names


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_command(sqlite_url: str, tmp_path: Path, mode: int) -> None:
    """`crawler serve` says where it is first, warns of an open token file, and ends with 0 when somebody stops it."""
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(mode)
    with opened(sqlite_url) as engine:
        Diary(engine).run({target("hk-02"): {"uimage-a": "Ubuntu 20.04"}})
    words = ["--database", sqlite_url, "serve", "--port", "0", "--token-file", str(tmp_path / "token")]
    environ = {"PATH": os.environ["PATH"], "HOME": "/dev/null", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "crawler", *words], env=environ, cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/", line)
        status = get(found[0]).status if found else 0
        process.send_signal(signal.SIGTERM)
        warning = f"Warning: {token} holds a secret and is readable by everyone; chmod 600 it"
        assert (warning in process.stderr.read()) == (mode == 0o644)
        assert process.wait(20) == 0
    assert status == 200, line


def test_wrong_usage(sqlite_url: str, tmp_path: Path) -> None:
    """A port that is taken, a token that is none and an address that is none are told in one sentence, exit code 2."""
    (tmp_path / "short").write_text("abc")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        cases = (
            (["--port", port], f"port {port}"),
            (["--token-file", tmp_path / "short"], "at least 16"),
            (["--base-url", "images.example.com"], "is no address"),
            (["--base-url", "https://images.example.com/?a=b"], "is no address"),
            (["--host", "192.0.2.1"], "Nothing can be served at 192.0.2.1"),
        )
        for words, said in cases:
            result = call("--database", sqlite_url, "serve", *words, code=2)
            assert said in result.stderr, words
            assert result.stderr.count("Error") == 1
