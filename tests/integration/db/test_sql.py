"""Lists and pairs as one parameter, on both databases."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from sqlalchemy import Engine, insert, select

from crawler.db.engine import begin, read
from crawler.db.schema import Account, Setting
from crawler.db.sql import among, among_pairs, among_too

BIG = 2**62
TEXTS = ["plain", "with,comma", 'with"quote', "with{brace}", "back\\slash", "系统镜像", "%(name)s", "NULL", ""]


@pytest.fixture
def stored(engine: Engine) -> Engine:
    """Return accounts with awkward numbers, and settings with awkward names."""
    with begin(engine) as conn:
        accounts = [
            {"id": number, "fence": fence, "name": f"{number}/{fence}", "endpoint": "http://localhost/"}
            for number, fence in ((12, 2), (13, 3), (22, 2), (41, BIG))
        ]
        conn.execute(insert(Account), accounts)
        conn.execute(insert(Setting), [{"name": text, "value": ""} for text in TEXTS])
    return engine


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ([], set()),
        ([(12, 2)], {"12/2"}),
        # every part is there, the pair is not
        ([(12, 3), (13, 2)], set()),
        ([(12, 2), (22, 2), (12, 2), (99, 99)], {"12/2", "22/2"}),
        ([(41, BIG)], {f"41/{BIG}"}),
    ],
)
def test_pairs(stored: Engine, wanted: Collection[tuple[int, int]], found: set[str]) -> None:
    """Pairs are found together: not every combination of their parts; numbers of 64 bits whole."""
    statement = select(Account.name).where(among_pairs(Account.id, Account.fence, "pairs"))
    with read(stored) as conn:
        assert set(conn.scalars(statement, {"pairs": wanted})) == found


@pytest.mark.parametrize(
    ("numbers", "fences", "found"),
    [
        ([], [2], set()),
        ([12], [], set()),
        ([12, 22, 41], [2, 3], {"12/2", "22/2"}),
        (list(range(1_000)), [BIG, BIG], {f"41/{BIG}"}),
    ],
)
def test_two_lists(stored: Engine, numbers: list[int], fences: list[int], found: set[str]) -> None:
    """Of two lists in one statement every combination fits."""
    statement = select(Account.name).where(among(Account.id, "numbers"), among_too(Account.fence, "fences"))
    with read(stored) as conn:
        assert set(conn.scalars(statement, {"numbers": numbers, "fences": fences})) == found


@pytest.mark.parametrize("wanted", [[], ["plain"], TEXTS, [*TEXTS, "nothing", "plain'; --"]])
def test_texts(stored: Engine, wanted: list[str]) -> None:
    """A text is a value, whatever it contains."""
    with read(stored) as conn:
        for is_wanted in (among(Setting.name, "names"), among_too(Setting.name, "names")):
            found = conn.scalars(select(Setting.name).where(is_wanted), {"names": wanted})
            assert set(found) == {text for text in TEXTS if text in wanted}
