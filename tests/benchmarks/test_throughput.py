"""
A whole run without a limit, next to other ways to ask the same: ratios within a round, medians over the rounds.

Every client runs in this process, one after the other, against one server in a process of its own, whose answers have
the real size. The vendor's client is slow, so it asks fewer targets in each round, and its time is scaled.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from crawler.db.engine import opened
from tests.benchmarks.load_server import LoadServer, Offer, load_server
from tests.benchmarks.peers import bare, questions, sdk, wrk
from tests.benchmarks.runs import CONCURRENCY, Runs
from tests.support.figures import Figures
from tests.support.tls import make_tls

pytestmark = pytest.mark.prove

ROW = "throughput"
OFFER = Offer(projects=10, zones=200)
ROUNDS = 5
#: Targets that the vendor's client asks in each round.
SDK_TARGETS = 240


@pytest.fixture
def runs(sqlite_url: str) -> Iterator[Runs]:
    """Return an empty history to run over."""
    with opened(sqlite_url) as engine:
        yield Runs(engine, sqlite_url, OFFER.targets)


@contextmanager
def plain_and_tls(folder: Path | None) -> Iterator[tuple[LoadServer, LoadServer | None]]:
    """Serve the offer over HTTP, and over TLS where *folder* holds a certificate."""
    with ExitStack() as stack:
        plain = stack.enter_context(load_server(OFFER))
        tls = None
        if folder is not None:
            served = load_server(OFFER, certificate=folder / "server.pem", key=folder / "key.pem")
            tls = stack.enter_context(served)
        yield plain, tls


@pytest.fixture
def certificates(tmp_path: Path) -> Path | None:
    """Return a folder with a certificate and its key; None where there is no openssl to make them."""
    try:
        make_tls(tmp_path)
    except pytest.skip.Exception:
        return None
    return tmp_path


def test_throughput(runs: Runs, certificates: Path | None, tmp_path: Path, figures: Figures) -> None:
    """An unchanged run is ≥ 0.75 × as fast as a bare aiohttp loop, ≥ 3.5 × as fast as the SDK, over TLS ≥ 5 ×."""
    asked = questions(OFFER)
    some = asked[:SDK_TARGETS]
    scale = len(asked) / len(some)
    rounds: dict[str, list[float]] = defaultdict(list)
    connections: list[int] = []

    def seconds(server: LoadServer, ca_file: Path | None = None) -> float:
        took = runs.run(server, ca_file=ca_file)
        connections.append(took.connections)
        return took.seconds

    with plain_and_tls(certificates) as (server, tls):
        first = seconds(server)
        for _ in range(ROUNDS):
            ours = seconds(server)
            rounds["ours"].append(ours)
            rounds["bare"].append(bare(server.url, asked) / ours)
            rounds["body"].append(bare(server.url, asked, decode=False) / ours)
            for threads in (1, 8, 32):
                rounds[f"sdk {threads}"].append(sdk(server.url, some, threads=threads) * scale / ours)
            if tls is not None:
                ca_file = tmp_path / "certificate.pem"
                over_tls = seconds(tls, ca_file)
                rounds["bare tls"].append(bare(tls.url, asked, ca_file=ca_file) / over_tls)
                rounds["sdk tls"].append(sdk(tls.url, some, threads=32, ca_file=ca_file) * scale / over_tls)
            server.churn(OFFER.targets // 10)
            rounds["churned"].append(seconds(server))
            if tls is not None:
                tls.churn(OFFER.targets // 10)
        ceiling = wrk(server.url, asked, tmp_path, least_bytes=len(OFFER.body("org-0", "r0000-01")))

    middle = {name: statistics.median(values) for name, values in rounds.items()}
    per_second = {name: OFFER.targets / taken for name, taken in middle.items() if name in {"ours", "churned"}}
    detail = f"{OFFER.targets} targets × {OFFER.images} images, medians of {ROUNDS} rounds: "
    detail += "; ".join(f"{name} {min(v):.2f}–{max(v):.2f}" for name, v in rounds.items() if name not in per_second)
    figures.at_least(ROW, "speed against a bare aiohttp loop", middle["bare"], 0.75, "×", detail=detail)
    figures.shown(ROW, "speed against that loop without the JSON", middle["body"], "×")
    sdk_detail = f"its time for {SDK_TARGETS} targets scaled; `invoke`, one client per thread"
    what = "speed against the vendor's SDK in 32 threads"
    figures.at_least(ROW, what, middle["sdk 32"], 3.5, "×", case="HTTP", detail=sdk_detail)
    if tls is None:
        figures.skip(ROW, what, "openssl is not installed", case="TLS")
    else:
        figures.at_least(ROW, what, middle["sdk tls"], 5, "×", case="TLS", detail="both verify the certificate")
        figures.shown(ROW, "speed against a bare aiohttp loop over TLS", middle["bare tls"], "×", minor=True)
    for threads, case in ((1, "alone"), (8, "in 8 threads")):
        figures.shown(ROW, "speed against the SDK", middle[f"sdk {threads}"], "×", case=case, minor=True)
    figures.shown(ROW, "targets a second", OFFER.targets / first, case="first run", detail="once")
    figures.shown(ROW, "targets a second", per_second["ours"], case="unchanged")
    tenth = "one image replaced in every tenth target"
    figures.shown(ROW, "targets a second", per_second["churned"], case="a tenth changed", detail=tenth)
    if ceiling is None:
        figures.skip(ROW, "requests a second of wrk, the ceiling", "wrk is not installed", minor=True)
    else:
        ratio = per_second["ours"] / ceiling
        detail = f"a load generator in C, 2 threads, that decodes nothing; an unchanged run reaches {ratio:.2f} × of it"
        figures.shown(ROW, "requests a second of wrk, the ceiling", ceiling, detail=detail, minor=True)
    most = f"the most of {len(connections)} runs, as the server counted"
    figures.at_most("connections", "opened by a run to its endpoint", max(connections), CONCURRENCY, detail=most)
