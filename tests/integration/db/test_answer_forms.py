"""What was noticed of the form of answers, in the database, where very many targets show it."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import Connection, Engine, select

from crawler.db import answer_forms
from crawler.db.answer_forms import FormNews
from crawler.db.engine import begin, is_sqlite
from crawler.db.schema import AnswerForms, ChangeLog
from tests.support.diary import Diary, target

#: More than any database takes parameters of a statement.
TARGETS = 66_000


def news(target_ids: list[int], account_id: int, **names: set[str]) -> list[FormNews]:
    """Return what each of the targets shows."""
    none: dict[str, frozenset[str]] = dict.fromkeys(("missing", "back", "new"), frozenset())
    shown = none | {state: frozenset(own) for state, own in names.items()}
    return [FormNews(target_id=one, account_id=account_id, **shown) for one in target_ids]


def test_of_very_many_targets(engine: Engine) -> None:
    """What goes from more answers than a statement takes parameters, and comes back, is told like all else."""
    diary = Diary(engine)
    places = [target(f"hk-{number:05}") for number in range(TARGETS)]
    ids = sorted(diary.ids(places).values())
    run_id = diary.run({places[0]: {"uimage-a": "CentOS 7.6"}})
    with begin(engine) as conn:
        for shown in ({"missing": {"os_name"}}, {"back": {"os_name"}}):
            answer_forms.write(conn, news(ids, diary.account_id, **shown))
            _with_few_parameters(conn)
            answer_forms.tell(conn, run_id, [diary.account_id], diary.now)
        told = list(conn.scalars(select(ChangeLog.fields).where(ChangeLog.event == "schema")))
        left = conn.execute(select(AnswerForms.target_id)).all()

    assert (told, left) == ([{"os_name": ["stated", "gone"]}, {"os_name": ["gone", "stated"]}], [])


def _with_few_parameters(conn: Connection) -> None:
    """Let SQLite take no more parameters than where it is built as its authors do."""
    if is_sqlite(conn):
        driver: Any = conn.connection.driver_connection
        driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 32_766)
