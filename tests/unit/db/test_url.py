"""Addresses of databases: paths and URLs in, one checked value out, never a password in a message."""

from __future__ import annotations

from pathlib import Path

import pytest

from crawler.db.url import Address, masked, parse_address, url_of
from crawler.errors import UsageError


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("crawler.db", "crawler.db"),
        ("/var/lib/crawler.db", "/var/lib/crawler.db"),
        ("sqlite:///crawler.db", "crawler.db"),  # three slashes: relative
        ("sqlite:////var/lib/crawler.db", "/var/lib/crawler.db"),  # four: absolute
        ("sqlite+pysqlite:////a.db", "/a.db"),
        ("SQLite:///a%3Fb%25.db", "a?b%.db"),  # escaped in URLs only
        ("a?b%25.db", "a?b%25.db"),
        ("~/x.db", str(Path.home() / "x.db")),
        ("./host=a dbname=b", "host=a dbname=b"),
        ("/data/user=me/history 2026.db", "/data/user=me/history 2026.db"),
        ("backup-12:30.db", "backup-12:30.db"),
        ("me@example.com.db", "me@example.com.db"),
    ],
)
def test_sqlite_addresses(text: str, path: str) -> None:
    """A path and a SQLite URL name the same file."""
    assert parse_address(text) == Address(Path(path))


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg", "PostgreSQL"])
def test_postgresql_addresses_get_their_driver(scheme: str) -> None:
    """Every way to write PostgreSQL leads to psycopg 3; the text form has no password and no driver."""
    address = parse_address(f"{scheme}://me:s%40cret@db.example:5433/history?sslmode=require&password=other")

    assert address.path is None
    assert address.url == "postgresql+psycopg://me:s%40cret@db.example:5433/history?sslmode=require&password=other"
    assert str(address) == "postgresql://me:***@db.example:5433/history?sslmode=require&password=***"
    assert "cret" not in repr(address)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mysql://me:secret@x/y", 'mysql://me:\\*\\*\\*@x/y: crawler has no use for "mysql"'),
        ("postgresql+asyncpg://x/y", "asyncpg"),
        ("", "no address"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        (":memory:", "in memory"),
        ("sqlite://crawler.db", "three slashes"),
        ("sqlite:///crawler.db?mode=ro", "no options"),
        ("a\0b", "NUL"),
        ("postgresql://me:very@secret@h/d", "postgresql://me:\\*\\*\\*@h/d: an @ in .* is written %40"),
        ("postgresql://me:very@secret/x@h/d?sslmode=require", "is written %40"),
        ("postgresql://corp/me:secret@h/d", "postgresql://corp/me:\\*\\*\\*@h/d: a / in .* is written %2F"),
        ("postgresql:/me:secret@h/d", "begins with postgresql: and lacks the two slashes"),
        ("sqlite:crawler.db", "begins with sqlite: and lacks"),
        ("host=db.example.com dbname=history user=me password=secret", r"of libpq \(host=…\): give postgresql://"),
        ("dbname = history password = 'very secret'", r"of libpq \(dbname=…\)"),
        ("password=secret host=/run/postgresql", r"of libpq \(password=…\)"),
        ("service=secret", r"of libpq \(service=…\)"),
        ("Driver={PostgreSQL};Server=h;Pwd=secret;", r"is a connection string \(Driver=…;\)"),
        ("jdbc:postgresql://h/d?password=secret", "begins with jdbc:, for which crawler has no use"),
        ("mysql:me:secret@h/d", "begins with mysql:"),
        ("file:secret.db?mode=ro", "begins with file:"),
        ("sslpassword=secret sslkey=k", r"of libpq \(sslpassword=…\)"),
        ("PGPASSWORD=secret psql -h h", r"of libpq \(PGPASSWORD=…\)"),
        ("requirepeer=me pwd = secret", r"of libpq \(requirepeer=…\)"),
        ("postgres//me:secret@h/d", "has a user and a password, but no scheme"),
        ("sqlite://me:secret@h/d", r"sqlite://me:\*\*\*@h/d: a SQLite URL has three slashes"),
        ("sqlite:///d?password=secret", r"sqlite:///d\?password=\*\*\*: a SQLite URL takes no options"),
        ("me:secret@db.example.com/history", "has a user and a password, but no scheme"),
        ("//me:very@secret@h/d", "has a user and a password, but no scheme"),
        ("db.example.com:5432/history", "has a host and a port, but no scheme"),
        ("PostgreSQL", "is PostgreSQL alone, which says not where"),
    ],
)
def test_other_addresses_are_refused(text: str, says: str) -> None:
    """What is neither of the two databases is refused with one sentence, without its password."""
    with pytest.raises(UsageError, match=says) as caught:
        parse_address(text)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p:w@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:p@w@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u@server:p@h/d", "postgresql://u@server:***@h/d"),
        ("postgresql://corp/u:p@h/d", "postgresql://corp/u:***@h/d"),
        ("postgresql://u#1?:p@h/d", "postgresql://u#1?:***@h/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://u@h:5432/d?sslmode=require", "postgresql://u@h:5432/d?sslmode=require"),
        ("postgresql://h/d?sslpassword=x&a=1", "postgresql://h/d?sslpassword=***&a=1"),
        ("postgresql://h/d?p%61s%53word=x&a=1", "postgresql://h/d?p%61s%53word=***&a=1"),
    ],
)
def test_passwords_are_masked(url: str, shown: str) -> None:
    """A password is masked wherever a URL may hold it, even where its writer forgot to escape it."""
    assert masked(url) == shown


@pytest.mark.parametrize("name", ["/data/50%25.db", "/data/which?.db", "/data/a b.db"])
def test_url_of_any_path(name: str) -> None:
    """The URL of a file leads to that file, whatever its name means in a URL; so does its path."""
    assert parse_address(url_of(Path(name))).path == Path(name)
    assert parse_address(Path(f"{name} ")).path == Path(f"{name} ")


def test_home_of_nobody() -> None:
    """A path in the home folder of a user that there is not is refused, with the user's name."""
    with pytest.raises(UsageError, match=r"begins with ~nobody-here, and there is no such home folder"):
        parse_address("~nobody-here/crawler.db")
