"""The example dashboard's questions are answered by the views."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import insert, text

from crawler.db.engine import begin, opened, read
from crawler.db.schema import Absence
from crawler.domain.models import END_OF_TIME
from tests.support.diary import Diary, target
from tests.support.house import ROOT

FOLDER = ROOT / "config" / "grafana"
DOCUMENT = json.loads((FOLDER / "crawler.json").read_text(encoding="utf-8"))
OF_SQLITE = json.loads((FOLDER / "crawler-sqlite.json").read_text(encoding="utf-8"))


def titled(panel: dict[str, Any]) -> str:
    return str(panel["title"])


@pytest.mark.parametrize("panel", DOCUMENT["panels"], ids=titled)
def test_questions(panel: dict[str, Any], postgres_url: str) -> None:
    """Each panel's SQL runs on PostgreSQL once Grafana's macros are filled in, and asks the public views alone."""
    sql = panel["targets"][0]["rawSql"].replace("$account", "'prod'")
    for column in ("finished_at", "recorded_at"):
        sql = sql.replace(f"$__timeFilter({column})", f"{column} BETWEEN now() - interval '7 days' AND now()")
    with opened(postgres_url, read_only=True) as engine, read(engine) as conn:
        conn.execute(text(sql)).all()


@pytest.mark.parametrize("panel", OF_SQLITE["panels"], ids=titled)
def test_questions_to_sqlite(panel: dict[str, Any], sqlite_url: str) -> None:
    """Each panel's SQL runs on SQLite; its times are seconds, or texts that the plugin reads."""
    (asked,) = panel["targets"]
    sql = asked["rawQueryText"].replace("${account:sqlstring}", "'prod'")
    with opened(sqlite_url) as engine:
        diary = Diary(engine)
        for image_id in ("uimage-a", "uimage-b"):
            diary.run({target(): {image_id: "Ubuntu"}})
        until = int(diary.now.timestamp() * 1000)  # in milliseconds, as Grafana fills them in
        sql = sql.replace("$__from", str(until - 604_800_000)).replace("$__to", str(until))
        with read(engine) as conn:
            result = conn.execute(text(sql))
            columns, rows = set(result.keys()), result.mappings().all()

    assert asked["queryText"] == asked["rawQueryText"]
    assert "$" not in sql
    assert set(asked["timeColumns"]) == columns & {"time", "finished_at", "observed_at", "not_before"}
    assert rows or panel["title"] == "Not observed in the last run"
    for row in rows:
        for column in asked["timeColumns"]:
            value = row[column]
            assert value is None or isinstance(value, int) or datetime.fromisoformat(value).tzinfo


@pytest.mark.parametrize("reason", ["retired", "deselected"])
@pytest.mark.parametrize("title", ["Images now, by state", "Zones: images present and unknown"])
def test_what_is_asked_no_more(title: str, reason: str, sqlite_url: str) -> None:
    """What a zone listed that is asked no more is not among the unknown images: `crawler images` leaves it out, too."""
    (panel,) = (panel for panel in OF_SQLITE["panels"] if panel["title"] == title)
    (asked,) = panel["targets"]
    gone = target("hk-03")
    with opened(sqlite_url) as engine:
        diary = Diary(engine)
        diary.run({target(): {"uimage-a": "Ubuntu"}, gone: {"uimage-b": "Ubuntu"}})
        absence = {"target_id": diary.ids([gone])[gone], "reason": reason, "valid_from": diary.now}
        with begin(engine) as conn:
            conn.execute(insert(Absence), [{**absence, "valid_to": END_OF_TIME}])
        with read(engine) as conn:
            sql = asked["rawQueryText"].replace("${account:sqlstring}", "'prod'")
            (row,) = conn.execute(text(sql)).mappings()

    assert row["present"] + row["unknown"] == 1
    assert row.get("zone", "hk-02") == "hk-02"


def test_the_same_for_both() -> None:
    """The dashboard of SQLite has the panels of that of PostgreSQL, in their places; each says which it is for."""

    def seen(document: dict[str, Any]) -> list[Any]:
        return [(panel["id"], panel["title"], panel["type"], panel["gridPos"]) for panel in document["panels"]]

    assert seen(DOCUMENT) == seen(OF_SQLITE)
    assert DOCUMENT["uid"] != OF_SQLITE["uid"]
    for document, database in ((DOCUMENT, "PostgreSQL"), (OF_SQLITE, "SQLite")):
        assert database in document["title"]
        sources = {one["query"] for one in document["templating"]["list"] if one["type"] == "datasource"}
        assert {panel["datasource"]["type"] for panel in document["panels"]} == sources


def test_places() -> None:
    """Panels have numbers of their own and do not lie on one another."""
    cells = [
        (x, y)
        for panel in DOCUMENT["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in DOCUMENT["panels"]}) == len(DOCUMENT["panels"])
