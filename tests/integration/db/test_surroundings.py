"""Databases of PostgreSQL as others set them up: encodings, search paths, options of the URL."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from crawler.db.engine import begin, open_engine, opened, read
from crawler.db.migrations import ensure_schema, schema_state
from crawler.errors import CrawlerError, DatabaseUnavailable, UsageError
from tests.support.command import call
from tests.support.distant_postgres import distant_postgres


def name_of(url: str) -> str:
    """Return the name of the database at *url*."""
    return url.partition("?")[0].rpartition("/")[2]


def execute(url: str, *statements: str) -> None:
    """Execute *statements* outside of any transaction."""
    engine = create_engine(
        url.replace("postgresql", "postgresql+psycopg", 1), poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))


@contextmanager
def other_database(url: str, options: str) -> Iterator[str]:
    """Make a database beside the one at *url* with *options*, for a `with` block."""
    name = name_of(url)
    other = f"{name}_other"
    execute(url, f"CREATE DATABASE {other} TEMPLATE template0 {options}")
    try:
        yield url.replace(f"/{name}", f"/{other}", 1)
    finally:
        execute(url, f"DROP DATABASE {other} WITH (FORCE)")


@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_CN", "SQL_ASCII"])
def test_encoding_of_the_database(empty_postgres_url: str, encoding: str) -> None:
    """A database that cannot hold every name is refused in a sentence that says how to make another one."""
    with other_database(empty_postgres_url, f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'") as url:
        for is_reader in (True, False):
            refused = pytest.raises(DatabaseUnavailable, match=encoding)
            with opened(url, read_only=is_reader) as engine, refused, read(engine):
                pass
        stderr = call("--database", url, "db", "upgrade", code=74).stderr
        assert f"is encoded in {encoding}, which cannot hold every name: make one with CREATE DATABASE" in stderr
        assert len(stderr.splitlines()) == 1


@pytest.mark.parametrize("where", ["environment", "database", "url"])
def test_encoding_of_the_client(postgres_url: str, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Texts are sent and read as UTF-8, whatever the environment, the database or the URL says."""
    url = postgres_url
    if where == "environment":
        monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    elif where == "database":
        execute(url, f"ALTER DATABASE {name_of(url)} SET client_encoding = 'LATIN1'")
    else:
        url += f"{'&' if '?' in url else '?'}client_encoding=SQL_ASCII"
    with opened(url) as engine, begin(engine) as connection:
        assert connection.execute(text("SELECT CAST(:name AS text)"), {"name": "高可用 é"}).scalar() == "高可用 é"
        assert connection.execute(text("SHOW client_encoding")).scalar() == "UTF8"


@pytest.mark.parametrize("path", ["''", "nowhere", '"$user"'])
def test_search_path_to_nothing(empty_postgres_url: str, path: str) -> None:
    """Where the search_path leads to no schema, nothing can be kept: refused in a sentence, by readers and writers."""
    name = name_of(empty_postgres_url)
    execute(empty_postgres_url, f"ALTER DATABASE {name} SET search_path = {path}")

    for words in (("db", "upgrade"), ("images",), ("db", "status")):
        stderr = call("--database", empty_postgres_url, *words, code=74).stderr
        assert "names no schema that is there and open to it: set it, as in ALTER ROLE" in stderr


def test_search_path_to_another_schema(empty_postgres_url: str) -> None:
    """Tables and views go to the schema that the search_path leads to, and are found there; `public` stays empty."""
    name = name_of(empty_postgres_url)
    execute(empty_postgres_url, "CREATE SCHEMA inventory", f"ALTER DATABASE {name} SET search_path = inventory")

    call("--database", empty_postgres_url, "db", "upgrade")
    with opened(empty_postgres_url, read_only=True) as engine:
        ensure_schema(engine, may_upgrade=False)
        assert schema_state(engine).name == "current"
        with read(engine) as connection:
            names = text("SELECT DISTINCT table_schema FROM information_schema.tables WHERE table_name = 'run_log'")
            assert connection.execute(names).scalars().all() == ["inventory"]


@pytest.mark.parametrize("option", ["colour=red", "autocommit=true", "ssl_mode=require", "row_factory=x"])
def test_unknown_option(postgres_url: str, option: str) -> None:
    """An option that the library does not know is wrong usage, said with its name, before anything is connected."""
    url = f"{postgres_url}{'&' if '?' in postgres_url else '?'}{option}"

    with pytest.raises(UsageError, match=option.partition("=")[0]):
        open_engine(url)
    assert option.partition("=")[0] in call("--database", url, "images", code=2).stderr
    assert option.partition("=")[0] in call("--database", url, "db", "upgrade", code=2).stderr


@pytest.mark.parametrize("option", ["sslmode=bogus", "options=-cnothing%3D1"])
def test_option_of_no_use(postgres_url: str, option: str) -> None:
    """A known option with a value of no use is a sentence, never an internal error."""
    url = f"{postgres_url}{'&' if '?' in postgres_url else '?'}{option}"

    with pytest.raises(CrawlerError) as refusal, opened(url) as engine, read(engine):
        pass
    assert refusal.value.exit_code in (2, 74)


def test_host_of_the_server_that_vanishes() -> None:
    """What is sent to a host that has lost its power is given up within a minute, long before the system does."""
    with distant_postgres() as url, opened(url) as engine, engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        with socket.socket(fileno=os.dup(driver.fileno())) as held:
            milliseconds = held.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)

    assert milliseconds == 50_000
