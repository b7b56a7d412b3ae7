"""No answer about a part of the history reads a table that grows from end to end, on either database."""

from __future__ import annotations

from datetime import UTC, timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from crawler.db.engine import is_sqlite, read
from crawler.db.filters import version_ids
from crawler.domain.filters import Filters
from crawler.domain.models import END_OF_TIME
from crawler.queries import changes, images
from crawler.queries.overview_lookup import changes_by_day, images_of, listed_names, name_past, zones_known
from tests.benchmarks.five_years import BEGIN, generate
from tests.support.plans import plan, scans, statements
from tests.support.questions import STALE, questions

AT = BEGIN + timedelta(days=20)
NOW = BEGIN + timedelta(days=30)


def _page_of_names(conn: Connection) -> object:
    found = listed_names(conn, zones_known(conn, Filters(zone=("r001-02",)), AT, stale_after=STALE))
    return images_of(conn, found, {found.names[0][:2]}).listed


QUESTIONS = questions(AT, NOW) | {
    "a page of names": _page_of_names,
    "a page of one name": lambda conn: name_past(conn, "system 7 v0", {"ImageSet"}).intervals,
    "changes by day": lambda conn: changes_by_day(conn, AT, NOW, UTC),
}


@pytest.fixture
def history(engine: Engine) -> Engine:
    """Return a month of eight zones, made as the five years of the benchmarks are."""
    generate(engine, years=1 / 12, zones=8, changed=4_000)
    return engine


def test_no_answer_scans(history: Engine) -> None:
    """No statement's plan scans; PostgreSQL, which would for so little, is asked what it could do instead."""
    scanned = {}
    for name, ask in QUESTIONS.items():
        with read(history) as conn:
            if not is_sqlite(conn):
                for dear in ("seqscan", "hashjoin", "mergejoin"):
                    conn.execute(text(f"SET LOCAL enable_{dear} = off"))
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


def test_all_since_a_moment_is_a_span(history: Engine) -> None:
    """What is asked for since a moment has an end too: else PostgreSQL's one plan for it would read all changes."""
    with read(history) as conn, statements(history) as asked:
        assert list(changes.changes(conn, AT)) == list(changes.changes(conn, AT, END_OF_TIME))

    assert all(" changes.recorded_at < " in sql for sql, _ in asked if "FROM changes" in sql)


def test_lists_are_one_statement(history: Engine) -> None:
    """A list is one parameter, so that every length of it is the same statement, planned once."""
    with read(history) as conn, statements(history) as asked:
        for zones in (("r001-02",), ("r001-02", "r001-01"), ("r001-02", "r001-01", "r000-01")):
            list(images.images(conn, AT, Filters(zone=zones), now=NOW, stale_after=STALE))

    assert len([sql for sql, _ in asked if "FROM intervals" in sql]) == 1


def test_long_lists_of_names_are_joined(history: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and ids that a glob fits, which may be thousands, are no arrays to go through for each row."""
    monkeypatch.setattr("crawler.db.filters.FEW", 10)
    with read(history) as conn, statements(history) as asked:
        assert version_ids(conn, Filters(name=("system 7*",)), cheaply=False)
    with read(history) as conn:
        lines = plan(conn, asked[-1])

    assert [line for line in lines if " = ANY (" in line] == []


def test_one_target_takes_two_statements(history: Engine) -> None:
    """Of one project in one zone a statement tells what was known, and another what was there."""
    with read(history) as conn, statements(history) as asked:
        assert QUESTIONS["one target"](conn)

    assert len(asked) == 2
