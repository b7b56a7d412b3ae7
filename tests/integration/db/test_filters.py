"""Targets chosen by filters: all at once and by the page they are the same, in the order of Python."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, insert

from crawler.db.engine import begin, read
from crawler.db.filters import chosen_targets, target_pages
from crawler.db.schema import Account, TargetRow
from crawler.domain.filters import EVERYTHING, Filters

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
