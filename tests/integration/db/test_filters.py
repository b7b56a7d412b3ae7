"""Targets chosen by filters: all at once and by the page they are the same, in the order of Python."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, insert

from crawler.db.engine import begin, read
from crawler.db.filters import chosen_targets, target_pages
from crawler.db.schema import Account, TargetRow
from crawler.domain.filters import EVERYTHING, Filters
from crawler.queries.changes import changes
from crawler.queries.freshness import chosen_at

#: In the order of no language: capitals before small letters, both before what is beyond ASCII.
NAMES = ("Zeta", "alpha", "alpha-2", "alpha2", "Émile", "阿里", "𠀀")


@pytest.fixture
def many(engine: Engine) -> Engine:
    """Return a database with accounts, projects and zones of odd names."""
    with begin(engine) as conn:
        for number, name in enumerate(NAMES, start=1):
            conn.execute(insert(Account), {"id": number, "name": name, "endpoint": ""})
            conn.execute(insert(TargetRow), [target_row(number, one) for one in NAMES])
    return engine


def target_row(account_id: int, name: str) -> dict[str, object]:
    return {
        "account_id": account_id,
        "project": name,
        "region": "hk",
        "zone": f"hk-{name}",
        "kind": "uk8s-image",
        "variant": "default",
    }


@pytest.mark.parametrize(
    "filters",
    [
        EVERYTHING,
        Filters(account=("alpha", "Émile")),
        Filters(account=("al*",)),
        Filters(account=("alpha",), project=("Zeta",)),
        Filters(zone=("HK-ZETA",)),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_pages_are_what_is_chosen(many: Engine, filters: Filters, size: int) -> None:
    """A page has no more targets than it may, and all pages together are the targets in their order."""
    with read(many) as conn:
        pages = list(target_pages(conn, filters, size))
        chosen = chosen_targets(conn, filters)

    assert [choice for page in pages for choice in page] == chosen
    assert chosen == sorted(chosen, key=lambda choice: choice.target)
    assert chosen
    assert {len(page) for page in pages[:-1]} <= {size}
    assert len(pages[-1]) <= size


@pytest.mark.parametrize("zones", [(), ("hk-02",), ("HK-02",)], ids=" ".join)
@pytest.mark.parametrize("word", ["prod", "Prod", "PROD"])
def test_project_in_every_case(engine: Engine, word: str, zones: tuple[str, ...]) -> None:
    """A project is the same in any case: that one account calls it just as it is written leaves out no other's."""
    rows = [("prod", ""), ("org-x", "Prod"), ("org-y", "prod"), ("org-z", "production")]
    with begin(engine) as conn:
        conn.execute(insert(Account), {"id": 1, "name": "one", "endpoint": ""})
        row = target_row(1, "02")
        conn.execute(insert(TargetRow), [row | {"project": project, "project_name": name} for project, name in rows])
    with read(engine) as conn:
        filters = Filters(project=(word,), zone=zones)
        listed = chosen_targets(conn, filters)
        few, _ = chosen_at(conn, filters, datetime(2026, 6, 1, tzinfo=UTC))

    assert [choice.target.project for choice in listed] == ["org-x", "org-y", "prod"]
    assert few == listed


@pytest.mark.parametrize("projects", [(), ("org-x",)], ids=" ".join)
@pytest.mark.parametrize(
    ("part", "word"), [("zone", "hk-02"), ("zone", "HK-02"), ("zone", "Hk-02"), ("region", "hk"), ("region", "HK")]
)
def test_place_in_every_case(engine: Engine, part: str, word: str, projects: tuple[str, ...]) -> None:
    """So are a region and a zone: that one is written just so leaves out none that is written in another case."""
    places = [("hk", "hk-02"), ("HK", "HK-02"), ("sg", "sg-01")]
    with begin(engine) as conn:
        conn.execute(insert(Account), {"id": 1, "name": "one", "endpoint": ""})
        row = target_row(1, "org-x")
        conn.execute(insert(TargetRow), [row | {"region": region, "zone": zone} for region, zone in places])
    with read(engine) as conn:
        filters = replace(Filters(project=projects), **{part: (word,)})
        listed = chosen_targets(conn, filters)
        few, _ = chosen_at(conn, filters, datetime(2026, 6, 1, tzinfo=UTC))

    assert [choice.target.zone for choice in listed] == ["HK-02", "hk-02"]
    assert few == listed


@pytest.mark.parametrize("word", ["\0", "a\udcff"])
@pytest.mark.parametrize("part", ["account", "project", "region", "zone", "kind", "variant"])
def test_what_no_text_can_be(many: Engine, part: str, word: str) -> None:
    """Nothing is called by a NUL or half a character, whichever part of a target it is to be."""
    with read(many) as conn:
        listed = chosen_targets(conn, Filters(**{part: (word,)}))
        few, _ = chosen_at(conn, Filters(project=(word,), zone=("hk-Zeta",)), datetime(2026, 6, 1, tzinfo=UTC))

    assert listed == few == []


@pytest.mark.parametrize("word", ["\0", "a\udcff"])
def test_changes_of_what_no_text_can_be(engine: Engine, word: str) -> None:
    """So is no image, of which the change log is asked before anything knows it."""
    with read(engine) as conn:
        assert list(changes(conn, filters=Filters(image_id=(word,)))) == []
