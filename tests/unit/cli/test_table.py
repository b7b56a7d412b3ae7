"""Tables: aligned by what a screen shows, never wider than the room, nothing lost."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.cli.table import Column, chosen, table_lines
from crawler.domain.text import width
from crawler.errors import UsageError

COLUMNS = (
    Column("id", "ID", kind="count"),
    Column("account", "ACCOUNT", optional=True),
    Column("name", "NAME", folds=True),
    Column("image_id", "IMAGE ID"),
    Column("at", "AT", kind="time"),
    Column("seen", "SEEN", kind="time", spare=True),
    Column("note", "NOTE", sparse=True, folds=True),
    Column("run", "RUN", detail=True),
)
ROW: dict[str, Any] = {
    "id": 1, "account": "prod", "name": "Ubuntu 20.04", "image_id": "uimage-x7zezb1gcv5", "at": "2026-11-23T11:00:00Z",
    "seen": "2026-11-23T12:00:00Z", "note": None, "run": 7,
}  # fmt: skip
ROWS = [ROW, {**ROW, "id": 12, "name": "高内核 CentOS 7.6", "note": "replaced by uimage-rccvz4l9itr", "at": None}]


def lines(room: int | None, rows: list[dict[str, Any]] = ROWS) -> list[str]:
    return list(table_lines(rows, COLUMNS, UTC, room))


def test_narrower_and_narrower() -> None:
    """Texts fold first, then the year goes, then what can be spared, then a row goes on in a further line."""
    assert lines(120) == [
        "                                           AT                SEEN",
        "ID  NAME               IMAGE ID            UTC               UTC               NOTE",
        " 1  Ubuntu 20.04       uimage-x7zezb1gcv5  2026-11-23 11:00  2026-11-23 12:00  -",
        "12  高内核 CentOS 7.6  uimage-x7zezb1gcv5  -                 2026-11-23 12:00  replaced by uimage-rccvz4l9itr",
        "Everywhere: account prod",
    ]
    assert lines(100)[3:5] == [
        "12  高内核 CentOS 7.6  uimage-x7zezb1gcv5  -                 2026-11-23 12:00  replaced by",
        f"{'':79}uimage-rccvz4l9itr",
    ]
    assert lines(98)[0] == "ID  NAME               IMAGE ID            AT           SEEN         NOTE"
    assert lines(80)[0] == "ID  NAME               IMAGE ID            AT           NOTE"
    assert lines(60) == [
        "ID  NAME               IMAGE ID            AT",
        "    NOTE",
        " 1  Ubuntu 20.04       uimage-x7zezb1gcv5  11-23 11:00",
        "12  高内核 CentOS 7.6  uimage-x7zezb1gcv5  -",
        "    replaced by uimage-rccvz4l9itr",
        "Everywhere: account prod, times of 2026 in UTC",
    ]


def test_wide() -> None:
    """A wide table has every column, times to the second with their zone, and each row on one line."""
    assert lines(None) == [
        "ID  ACCOUNT  NAME               IMAGE ID            AT (UTC)             SEEN (UTC)           "
        "NOTE                            RUN",
        " 1  prod     Ubuntu 20.04       uimage-x7zezb1gcv5  2026-11-23 11:00:00  2026-11-23 12:00:00  "
        "-                               7",
        "12  prod     高内核 CentOS 7.6  uimage-x7zezb1gcv5  -                    2026-11-23 12:00:00  "
        "replaced by uimage-rccvz4l9itr  7",
    ]


def test_long_table() -> None:
    """Every row of a very long table is there."""
    found = lines(80, [{**ROW, "name": f"row {number}"} for number in range(5_000)])

    assert len(found) == 5_003
    assert found[-2].split()[:3] == ["1", "row", "4999"]


TEXTS = st.text(st.sampled_from("ab -高内，（）.e\u0301"), max_size=60)


@given(
    st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=5),
    st.integers(20, 100),
)
def test_any_texts_fit(texts: list[tuple[str, str, str]], room: int) -> None:
    """Whatever the texts and the room, no line is wider, none ends in a blank, and no character is lost."""
    rows = [dict(zip(("name", "image_id", "note"), row, strict=True)) for row in texts]
    found = list(table_lines(rows, COLUMNS, UTC, room))

    assert [line for line in found if width(line) > room or line != line.rstrip()] == []
    for char in "高内":
        assert "".join(found).count(char) == str(texts).count(char)


@pytest.mark.parametrize("names", [["name", "ID"], ["NAME", "id"], ["Name ", "i-d"]])
def test_chosen(names: list[str]) -> None:
    """Columns are chosen by heading or field in any case, and come in the order that was asked for."""
    assert [one.title for one in chosen(COLUMNS, names)] == ["NAME", "ID"]


def test_chosen_by_heading_first() -> None:
    """A name that is one column's heading and another's field means the first, but a field where there is data."""
    columns = (Column("targets.total", "TARGETS"), Column("targets", "OUTCOMES"))

    assert [one.key for one in chosen(columns, ["targets", "outcomes"])] == ["targets.total", "targets"]
    assert [one.key for one in chosen(columns, ["targets"], ["targets"])] == ["targets"]


def test_chosen_column_is_shown() -> None:
    """What is asked for is shown, also where every row says the same or nothing."""
    found = list(table_lines([ROW], chosen(COLUMNS, ["account", "note", "run"]), UTC, 80))

    assert found == ["ACCOUNT  NOTE  RUN", "prod     -     7"]


@pytest.mark.parametrize("name", ["foo", ""])
def test_no_such_column(name: str) -> None:
    """A column that there is not is one sentence that names those that there are."""
    with pytest.raises(UsageError) as caught:
        chosen(COLUMNS, ["id", name])

    assert str(caught.value) == (
        f"There is no column {name!r}; the columns are ID, ACCOUNT, NAME, IMAGE ID, AT, SEEN, NOTE, RUN."
    )
