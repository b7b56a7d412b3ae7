"""Datasette shows a history file: the public views and their queries, and none of the tables below them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from crawler.db.engine import opened
from crawler.db.schema import Base
from crawler.db.views import VIEWS
from tests.support.diary import Diary, target
from tests.support.examples import blocks
from tests.support.house import ROOT, text_of

pytestmark = pytest.mark.filterwarnings("ignore")  # Datasette's own libraries are not ours to mend

CONFIG = Path("config/datasette.yaml")
PLUGINS = Path("config/datasette")
NAMES = ("now", "as-of", "withdrawn", "coverage-by-zone", "roll-out")


@pytest.fixture
def datasette(sqlite_url: str, tmp_path: Path) -> Any:
    """Return Datasette over a history, as its own command would start it."""
    from datasette.app import Datasette

    # a copy: Datasette keeps its connections until the process ends
    path = tmp_path / "history-of-2026.db"
    shutil.copyfile(sqlite_url.removeprefix("sqlite:///"), path)
    with opened(path) as engine:
        diary = Diary(engine)
        diary.run({target(): {"uimage-a": "Ubuntu", "uimage-b": "Debian"}})
        diary.run({target(): {"uimage-c": "Ubuntu", "uimage-b": "Debian"}})
    path.chmod(0o444)
    return Datasette([str(path)], plugins_dir=str(ROOT / PLUGINS))


async def rows(datasette: Any, address: str) -> Any:
    response = await datasette.client.get(address)
    assert response.status_code == 200, (address, response.text)
    return response.json()


def test_the_readmes_queries() -> None:
    """The canned queries are those of the docs, and take times as texts too."""
    queries = yaml.safe_load(text_of(CONFIG))["databases"]["crawler"]["queries"]

    assert tuple(queries) == NAMES
    assert [query["sql"].strip() for query in queries.values()] == [
        re.sub(
            r"CAST\(:(t|since) ",
            r"CAST(CASE WHEN :\1 LIKE '____-%' THEN strftime('%s', :\1) ELSE :\1 END ",
            block.strip(),
        )
        for block in blocks("sql", "docs/sql.md")
    ]


def test_the_readmes_command(datasette: Any, tmp_path: Path) -> None:
    """The command of the docs opens the file with the queries."""
    (words,) = re.findall(r"`datasette (crawler\.db --plugins.*?)`", text_of(Path("docs/sql.md")))
    (tmp_path / "config").symlink_to(ROOT / "config")
    (tmp_path / "history-of-2026.db").rename(tmp_path / "crawler.db")
    page = ["--get", "/crawler/as-of.json?zone=hk-02&t=1780273200&_shape=array"]
    command = [sys.executable, "-m", "datasette", *words.split(), *page]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)

    assert [row["image_id"] for row in json.loads(done.stdout)] == ["uimage-b", "uimage-a"]


@pytest.mark.asyncio
async def test_views(datasette: Any) -> None:
    """Every view has a page with rows and what it means; the tables are not shown."""
    database = await rows(datasette, "/history-of-2026.json")

    assert {view["name"] for view in database["views"]} == set(VIEWS)
    shown = {table["name"] for table in database["tables"] if not table["hidden"]}
    assert shown & set(Base.metadata.tables) == set()
    assert [table for table in shown if not table.startswith("sqlite_")] == []
    for view in VIEWS:
        response = await datasette.client.get(f"/history-of-2026/{view}")
        assert response.status_code == 200
        assert yaml.safe_load(text_of(CONFIG))["databases"]["crawler"]["tables"][view]["description"] in (
            response.text.replace("&#39;", "'")
        )
        found = await rows(datasette, f"/history-of-2026/{view}.json?_shape=array")
        assert found or view == "unknown_spans"


@pytest.mark.asyncio
async def test_filters(datasette: Any) -> None:
    """A view can be filtered by its columns, as Datasette's pages do."""
    found = await rows(datasette, "/history-of-2026/change_log.json?_shape=array&event=withdrawn")

    assert [(row["image_id"], row["counterpart"]) for row in found] == [("uimage-a", "uimage-c")]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("as-of.json?zone=hk-02&t=1780273200", [("uimage-b", "present"), ("uimage-a", "present")]),
        ("as-of.json?zone=hk-02&t=1780272001", []),
        ("as-of.json?zone=hk-02&t=2026-06-01T08:20:00%2B08:00", [("uimage-b", "present"), ("uimage-a", "present")]),
        ("as-of.json?zone=hk-02&t=2026-06-01T00:00:01Z", []),
        ("withdrawn.json?since=0", [("uimage-a", None)]),
        ("withdrawn.json?since=9000000000", []),
        ("withdrawn.json?since=2026-05-31", [("uimage-a", None)]),
        ("withdrawn.json?since=2026-06-02", []),
        ("roll-out.json?name=Ubuntu", [(None, None)]),
        ("coverage-by-zone.json?since=0", [(None, None)]),
        ("now.json?zone=hk-02", []),
    ],
)
async def test_queries(datasette: Any, query: str, expected: list[Any]) -> None:
    """Every canned query answers, with its parameters from the form (texts, all of them)."""
    found = await rows(datasette, f"/history-of-2026/{query}&_shape=array")

    assert [(row.get("image_id"), row.get("state")) for row in found] == expected
