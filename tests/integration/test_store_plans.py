"""No answer about a part of the history reads a table that grows from end to end, on either database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from crawler.store import reader, sightings
from crawler.store.engine import is_sqlite, read
from crawler.store.explain import explain
from crawler.store.selection import Filters
from tests.benchmarks.five_years import BEGIN, generate
from tests.support.plans import plan, scans, statements

AT = BEGIN + timedelta(days=20)
NOW = BEGIN + timedelta(days=30)
STALE = timedelta(hours=26)
ZONE = Filters(zone=("r001-02",))


def ask_images(conn: Connection, **filters: Any) -> int:
    return len(list(reader.images(conn, AT, Filters(**filters), now=NOW, stale_after=STALE)))


QUESTIONS: dict[str, Callable[[Connection], object]] = {
    "one target": lambda conn: ask_images(conn, project=("org-3",), zone=("r001-02",)),
    "a zone": lambda conn: ask_images(conn, zone=("r001-02",)),
    "a zone by glob": lambda conn: ask_images(conn, zone=("r001-0[12]",)),
    "an image": lambda conn: ask_images(conn, image_id=("uimage-5-7",)),
    "a name": lambda conn: ask_images(conn, name=("system 7 v0",)),
    "a day": lambda conn: list(reader.changes(conn, AT, AT + timedelta(days=1))),
    "a day of a zone": lambda conn: list(reader.changes(conn, AT, AT + timedelta(days=1), filters=ZONE)),
    "an image's changes": lambda conn: list(reader.changes(conn, filters=Filters(image_id=("uimage-5-7",)))),
    "status": lambda conn: reader.status(conn, ZONE, now=NOW),
    "a change": lambda conn: explain(conn, 1_000),
    "a run": lambda conn: reader.run(conn, 2_000),
    "stays": lambda conn: list(sightings.stays_of(conn, ["uimage-5-7", "uimage-5-8"])),
    "listings": lambda conn: list(sightings.targets_listing(conn, ["system 7 v0"])),
}


@pytest.fixture
def history(engine: Engine) -> Engine:
    """Give a month of eight zones, made as the five years of the benchmarks are."""
    generate(engine, years=1 / 12, zones=8, changed=4_000)
    return engine


def test_no_answer_scans(history: Engine) -> None:
    """No statement's plan scans; PostgreSQL, which would for so little, is asked what it could do instead."""
    scanned = {}
    for name, ask in QUESTIONS.items():
        with read(history) as conn:
            if not is_sqlite(conn):
                conn.execute(text("SET LOCAL enable_seqscan = off"))
                conn.execute(text("SET LOCAL enable_bitmapscan = off"))
            with statements(history) as asked:
                assert ask(conn)
            assert asked
            scanned.update({(name, sql): found for sql, params in asked if (found := scans(conn, (sql, params)))})
    assert scanned == {}


def test_a_moment_is_found_by_its_index(history: Engine) -> None:
    """The intervals of a target at a moment come from the index made for it, with all three of its columns."""
    with read(history) as conn, statements(history) as asked:
        assert QUESTIONS["one target"](conn)
    (statement,) = [(sql, params) for sql, params in asked if "FROM intervals" in sql]
    with read(history) as conn:
        lines = "\n".join(plan(conn, statement))

    assert "ix_intervals_target_id_valid_to_valid_from" in lines or "ix_intervals_target_id_valid_to" in lines
    if is_sqlite(history):
        assert "(target_id=? AND valid_to>?)" in lines


def test_lists_are_one_statement(history: Engine) -> None:
    """A list is one parameter, so that every length of it is the same statement, planned once."""
    with read(history) as conn, statements(history) as asked:
        for zones in (("r001-02",), ("r001-02", "r001-01"), ("r001-02", "r001-01", "r000-01")):
            ask_images(conn, zone=zones)

    assert len([sql for sql, _ in asked if "FROM intervals" in sql]) == 1
