"""The example dashboard's questions are answered by the views."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text

from crawler.db.engine import opened, read
from tests.support.house import ROOT

DOCUMENT = json.loads((ROOT / "config" / "grafana" / "crawler.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("panel", DOCUMENT["panels"], ids=lambda panel: panel["title"])
def test_questions(panel: dict[str, Any], postgres_url: str) -> None:
    """Each panel's SQL runs on PostgreSQL once Grafana's macros are filled in, and asks the public views alone."""
    sql = panel["targets"][0]["rawSql"].replace("$account", "'prod'")
    for column in ("finished_at", "recorded_at"):
        sql = sql.replace(f"$__timeFilter({column})", f"{column} BETWEEN now() - interval '7 days' AND now()")
    with opened(postgres_url, read_only=True) as engine, read(engine) as conn:
        conn.execute(text(sql)).all()


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
