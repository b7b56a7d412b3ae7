"""
Fixtures every room shares: real databases, and no network beyond this machine.

`database_url` gives a migrated database of the test's own, once on SQLite and once on PostgreSQL; `engine` opens it.
`sqlite_url` and `postgres_url` give one of them; the `empty_…` fixtures give one without a schema.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from crawler.cli.language import speaking
from crawler.cli.run import rare_collections
from crawler.db.engine import opened
from crawler.db.migrations import upgrade
from tests.support.databases import PostgresServer, open_files, postgres_server
from tests.support.network_guard import no_network

BOTH = ("sqlite", "postgresql")


@pytest.fixture(autouse=True)
def _in_english() -> Iterator[None]:
    """Begin every test in the language of a process that nobody told another."""
    with speaking("en"):
        yield


@pytest.fixture(autouse=True)
def _provokes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that is marked with findings of `crawler doctor` and does not make the program find them."""
    mark = request.node.get_closest_marker("provokes")
    if mark is None:
        yield
        return
    from tests.support.provoked import site_of, watched

    with watched() as seen:
        yield
    assert [words for words in mark.args if site_of(words) not in seen] == [], "not found by the doctor here"


@pytest.fixture(scope="session", autouse=True)
def _offline() -> Iterator[None]:
    with no_network():
        yield


@pytest.fixture(scope="session", autouse=True)
def _rare_collections() -> Iterator[None]:
    # as `crawler run` does, which the measurements count on too
    with rare_collections():
        yield


@pytest.fixture(scope="session")
def _postgres_server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    # what is measured is measured on a disk
    with postgres_server(on_disk=request.config.getoption("--figures")) as server:
        yield server


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "crawler.db"
    with opened(path) as engine:
        upgrade(engine)
    return path


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "database" / "crawler.db"
    path.parent.mkdir()
    yield f"sqlite:///{path}"
    assert open_files(path) == [], "connections leaked"


@pytest.fixture
def sqlite_url(empty_sqlite_url: str, _sqlite_template: Path) -> str:
    shutil.copyfile(_sqlite_template, empty_sqlite_url.removeprefix("sqlite:///"))
    return empty_sqlite_url


@pytest.fixture
def empty_postgres_url(_postgres_server: PostgresServer) -> Iterator[str]:
    with _postgres_server.database(empty=True) as url:
        yield url


@pytest.fixture
def postgres_url(_postgres_server: PostgresServer) -> Iterator[str]:
    with _postgres_server.database() as url:
        yield url


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture(params=BOTH)
def empty_database_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("empty_sqlite_url" if request.param == "sqlite" else "empty_postgres_url")
    return url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as opened_engine:
        yield opened_engine
