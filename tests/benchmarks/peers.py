"""
Other ways to ask the same cloud the same questions: bare loops, the vendor's SDK, and the load generator wrk.

Each proves that every answer was one: RetCode 0 and images in it, or it fails. All give the seconds they took.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp

from crawler.client.signing import signature
from crawler.emulator import EXAMPLE_PRIVATE_KEY, EXAMPLE_PUBLIC_KEY
from tests.benchmarks.load_server import Offer

ACTION = "DescribeUK8SImage"
#: How a body with images begins.
_GOOD = b'{"RetCode":0,"Action":"DescribeUK8SImageResponse"'

Question = dict[str, str]


def questions(offer: Offer) -> list[Question]:
    """Return the parameters of every target."""
    return [
        {"Region": region, "Zone": zone, "ProjectId": project}
        for region, zone in offer.places()
        for project in offer.project_ids()
    ]


def _form(question: Question) -> Question:
    params = {**question, "Action": ACTION, "PublicKey": EXAMPLE_PUBLIC_KEY}
    return {**params, "Signature": signature(params, EXAMPLE_PRIVATE_KEY)}


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long a piece of work takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


# --- aiohttp ---------------------------------------------------------------------------------------------------------


def bare(
    url: str, asked: Sequence[Question], *, decode: bool = True, ca_file: Path | None = None, concurrency: int = 16
) -> float:
    """Ask with nothing but aiohttp: signed, sent, read, and with *decode* the JSON decoded."""
    return seconds_of(lambda: asyncio.run(_bare(url, asked, decode, ca_file, concurrency)))


async def _bare(url: str, asked: Sequence[Question], decode: bool, ca_file: Path | None, concurrency: int) -> None:
    waiting = iter(asked)
    good = 0

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal good
        for question in waiting:
            async with session.post(url, data=_form(question)) as response:
                if decode:
                    document = await response.json()
                    good += document["RetCode"] == 0 and len(document["ImageSet"]) > 0
                else:
                    good += (await response.read()).startswith(_GOOD)

    trust = ssl.create_default_context(cafile=ca_file) if ca_file else True
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency, ssl=trust)) as session:
        await asyncio.gather(*(work(session) for _ in range(concurrency)))
    assert good == len(asked)


# --- the vendor's SDK ------------------------------------------------------------------------------------------------


def sdk(url: str, asked: Sequence[Question], *, threads: int, ca_file: Path | None = None) -> float:
    """Ask with the vendor's client, one per thread, by its cheapest call; over TLS it checks the certificate."""
    from ucloud.client import Client

    own = threading.local()
    settings: dict[str, Any] = {
        "public_key": EXAMPLE_PUBLIC_KEY,
        "private_key": EXAMPLE_PRIVATE_KEY,
        "base_url": url,
        "region": "r0000",
        "timeout": 30,
        "ssl_verify": True,
    }
    if ca_file is not None:
        settings["ssl_cacert"] = str(ca_file)

    def ask(question: Question) -> bool:
        if not hasattr(own, "client"):
            own.client = Client(settings)
        answer = own.client.invoke(ACTION, dict(question))
        return answer["RetCode"] == 0 and len(answer["ImageSet"]) > 0

    def ask_all() -> None:
        with ThreadPoolExecutor(threads) as pool:
            assert all(pool.map(ask, asked))

    with _quiet("ucloud"):
        return seconds_of(ask_all)


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


# --- wrk -------------------------------------------------------------------------------------------------------------

_LUA = """
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
local at = 0
request = function()
  at = at %% #bodies + 1
  return wrk.format(nil, nil, nil, bodies[at])
end
"""


def wrk(url: str, asked: Sequence[Question], folder: Path, *, least_bytes: int, seconds: int = 2) -> float | None:
    """
    Return the requests per second of a load generator in C that only counts bytes; None where it is not installed.

    *least_bytes* are those of the smallest whole answer.
    """
    program = shutil.which("wrk")
    if program is None:
        return None
    bodies, script = folder / "bodies.txt", folder / "bodies.lua"
    bodies.write_text("\n".join(urlencode(_form(question)) for question in asked) + "\n", encoding="utf-8")
    script.write_text(_LUA % bodies, encoding="utf-8")
    command = [program, "-t2", "-c16", f"-d{seconds}s", "-s", str(script), url]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", told)
    assert found, told
    assert "Non-2xx" not in told, told
    assert "Socket errors" not in told, told
    size = re.search(r"(\d+) requests in [\d.]+s, ([\d.]+)([KMG]B) read", told)
    assert size, told
    # whole answers, not the beginnings of them
    answered = float(size[2]) * 1024 ** (1 + "KMG".index(size[3][0])) / int(size[1])
    assert answered > 0.95 * least_bytes, (answered, least_bytes)
    return float(found[1])
