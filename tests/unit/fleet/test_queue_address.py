"""Where the queue of a fleet is: in the database of the history, however that is written."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from crawler.fleet.queue import _conninfo


@pytest.mark.parametrize(
    ("rest", "options"),
    [
        ("db.example.com:6432/history", {"host": "db.example.com", "port": "6432", "dbname": "history"}),
        ("db/history?sslmode=require", {"host": "db", "dbname": "history", "sslmode": "require"}),
        ("/history?host=/var/run/postgresql", {"host": "/var/run/postgresql", "dbname": "history"}),
        (
            "db/history?options=-c%20search_path%3Dinventory",
            {"host": "db", "dbname": "history", "options": "-c search_path=inventory"},
        ),
        (
            "/history?host=one:5432&host=two:5433&target_session_attrs=read-write",
            {"host": "one,two", "port": "5432,5433", "dbname": "history", "target_session_attrs": "read-write"},
        ),
    ],
    ids=["port", "option", "socket", "blank", "hosts"],
)
def test_queue_is_where_the_history_is(rest: str, options: dict[str, str]) -> None:
    """What SQLAlchemy understands of an address libpq is told in its own words, a password of any characters, too."""
    expected = {"user": "me", "password": "a b+c%d'\\", **options}

    assert conninfo_to_dict(_conninfo(f"postgresql://me:a%20b%2Bc%25d'%5C@{rest}")) == expected
