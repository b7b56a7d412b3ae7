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
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from crawler.fetch import ApiClient, Endpoint, FetchOptions, Timing
from crawler.settings import AccountSettings, Limits, Settings
from crawler.store.engine import opened
from tests.benchmarks.load_server import LoadServer, Offer, load_server
from tests.benchmarks.peers import bare, questions, sdk, seconds_of, wrk
from tests.support.crawling import account_at, crawl_once, settings_for
from tests.support.figures import Figures
from tests.support.tls import make_tls

pytestmark = pytest.mark.prove

ROW = "throughput"
OFFER = Offer(projects=10, zones=200)
ROUNDS = 5
#: Targets that the vendor's client asks in each round.
SDK_TARGETS = 240
CONCURRENCY = 16
UNLIMITED = Limits(rate=1e9, attempts=2, timeout_seconds=30, concurrency=CONCURRENCY)


@dataclass
class Racing:
    """Runs the product over the same history, each run a quarter of an hour after the one before."""

    engine: Engine
    url: str
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    #: Connections of each run, as its server counted.
    connections: list[int] = field(default_factory=list)

    def run(self, server: LoadServer, ca_file: Path | None = None) -> float:
        """Give the seconds of a whole run that got every answer."""
        self.at += timedelta(minutes=15)

        def connect(account: AccountSettings, timing: Timing) -> ApiClient:
            limits = account.limits
            return ApiClient(
                Endpoint(
                    url=account.endpoint,
                    public_key=account.public_key,
                    private_key=account.private_key.reveal(),
                    ca_file=str(ca_file) if ca_file else None,
                ),
                FetchOptions(rate=limits.rate, concurrency=limits.concurrency, attempts=limits.attempts),
                timing=timing,
            )

        settings = self._settings(server)

        def work() -> None:
            summary = crawl_once(self.engine, settings, self.at, connect=connect).summary
            assert summary.targets["ok"] == OFFER.targets

        server.tally()
        seconds = seconds_of(work)
        self.connections.append(server.tally().connections)
        return seconds

    def _settings(self, server: LoadServer) -> Settings:
        return settings_for(self.url, account_at(server.url, limits=UNLIMITED))


@pytest.fixture
def racing(sqlite_url: str) -> Iterator[Racing]:
    """Give an empty history to run over."""
    with opened(sqlite_url) as engine:
        yield Racing(engine, sqlite_url)


@contextmanager
def plain_and_tls(folder: Path | None) -> Iterator[tuple[LoadServer, LoadServer | None]]:
    """Serve the offer over HTTP, and over TLS where *folder* holds a certificate."""
    with ExitStack() as stack:
        plain = stack.enter_context(load_server(OFFER))
        tls = None
        if folder is not None:
            served = load_server(OFFER, certificate=folder / "certificate.pem", key=folder / "key.pem")
            tls = stack.enter_context(served)
        yield plain, tls


@pytest.fixture
def certificates(tmp_path: Path) -> Path | None:
    """Give a folder with a certificate and its key; None where there is no openssl to make them."""
    try:
        make_tls(tmp_path)
    except pytest.skip.Exception:
        return None
    return tmp_path


def test_throughput(racing: Racing, certificates: Path | None, tmp_path: Path, figures: Figures) -> None:
    """An unchanged run is ≥ 0.75 × as fast as a bare aiohttp loop, ≥ 3.5 × as fast as the SDK, over TLS ≥ 5 ×."""
    asked = questions(OFFER)
    some = asked[:SDK_TARGETS]
    scale = len(asked) / len(some)
    rounds: dict[str, list[float]] = defaultdict(list)
    with plain_and_tls(certificates) as (server, tls):
        first = racing.run(server)
        for _ in range(ROUNDS):
            ours = racing.run(server)
            rounds["ours"].append(ours)
            rounds["bare"].append(bare(server.url, asked) / ours)
            rounds["body"].append(bare(server.url, asked, decode=False) / ours)
            for threads in (1, 8, 32):
                rounds[f"sdk {threads}"].append(sdk(server.url, some, threads=threads) * scale / ours)
            if tls is not None:
                ca_file = tmp_path / "certificate.pem"
                over_tls = racing.run(tls, ca_file)
                rounds["bare tls"].append(bare(tls.url, asked, ca_file=ca_file) / over_tls)
                rounds["sdk tls"].append(sdk(tls.url, some, threads=32, ca_file=ca_file) * scale / over_tls)
            server.churn(OFFER.targets // 10)
            rounds["churned"].append(racing.run(server))
        ceiling = wrk(server.url, asked, tmp_path, least_bytes=len(OFFER.body("org-0", "r0000-01")))

    middle = {name: statistics.median(values) for name, values in rounds.items()}
    per_second = {name: OFFER.targets / seconds for name, seconds in middle.items() if name in {"ours", "churned"}}
    detail = f"{OFFER.targets} targets × {OFFER.images} images, medians of {ROUNDS} rounds: "
    detail += "; ".join(f"{name} {min(v):.2f}–{max(v):.2f}" for name, v in rounds.items() if name not in per_second)
    figures.at_least(ROW, "of the speed of a bare aiohttp loop", middle["bare"], 0.75, "×", detail=detail)
    body = "the same loop without the JSON"
    figures.shown(ROW, "of the speed of a loop that only reads", middle["body"], "×", detail=body)
    sdk_detail = f"its time for {SDK_TARGETS} targets scaled; `invoke`, one client per thread"
    what = "as fast as the vendor's SDK in 32 threads"
    figures.at_least(ROW, what, middle["sdk 32"], 3.5, "×", case="HTTP", detail=sdk_detail)
    if tls is None:
        figures.skip(ROW, what, "openssl is not installed", case="TLS")
    else:
        figures.at_least(ROW, what, middle["sdk tls"], 5, "×", case="TLS", detail="both verify the certificate")
        figures.shown(ROW, "of the speed of a bare aiohttp loop over TLS", middle["bare tls"], "×", minor=True)
    for threads, case in ((1, "alone"), (8, "in 8 threads")):
        figures.shown(ROW, "as fast as the SDK", middle[f"sdk {threads}"], "×", case=case)
    figures.shown(ROW, "targets a second", OFFER.targets / first, case="first run", detail="once")
    figures.shown(ROW, "targets a second", per_second["ours"], case="unchanged")
    tenth = "one image replaced in every tenth target"
    figures.shown(ROW, "targets a second", per_second["churned"], case="a tenth changed", detail=tenth)
    if ceiling is None:
        figures.skip(ROW, "requests a second of wrk, the ceiling", "wrk is not installed")
    else:
        ratio = per_second["ours"] / ceiling
        detail = f"a load generator in C, 2 threads, that decodes nothing; an unchanged run reaches {ratio:.2f} × of it"
        figures.shown(ROW, "requests a second of wrk, the ceiling", ceiling, detail=detail)
    most = f"the most of {len(racing.connections)} runs, as the server counted"
    figures.at_most("connections", "opened by a run to its endpoint", max(racing.connections), CONCURRENCY, detail=most)
