"""Words people may use: places in any case, names without spaces, ages in every unit, events as they are read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from crawler import History
from crawler.db.engine import read
from crawler.ops.cron_notice import as_text
from crawler.queries import runs
from tests.support.command import call, rows
from tests.support.diary import Diary, target

HERE, THERE = target("hk-02", project="org-X"), target("sg-01", project="org-X")
NAMED = {"a": "Ubuntu 20.04", "b": "CentOS 7.6", "c": "CentOS7.6 64"}


@pytest.fixture
def diary(engine: Engine) -> Diary:
    """Two zones; in the second run b of the first one is re-issued, and c goes."""
    diary = Diary(engine)
    diary.run({HERE: NAMED, THERE: NAMED})
    diary.run({HERE: {"a": "Ubuntu 20.04", "d": "CentOS 7.6"}, THERE: NAMED})
    return diary


def ids(found: Iterable[Any]) -> set[Any]:
    return {row["image_id"] for row in found}


# --- zones, regions and projects -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "word"),
    [
        ("zone", "HK-02"),
        ("zone", "Hk-*"),
        ("region", "HK"),
        ("region", "H?"),
        ("project", "ORG-x"),
        ("project", "Org*"),
    ],
)
def test_places_in_any_case(diary: Diary, database_url: str, option: str, word: str) -> None:
    """A zone, a region or a project is found in any case, as a word or as a glob, by every reader."""
    ask = ("--database", database_url)
    select = (f"--{option}", word)
    expected = {"a", "d"} | ({"b", "c"} if option == "project" else set())
    assert ids(rows(*ask, "images", *select, now=diary.now)) == expected
    assert ids(rows(*ask, "changes", *select, now=diary.now)) == {"b", "c", "d"}
    zones = {"hk-02"} | ({"sg-01"} if option == "project" else set())
    for question in (("status",), ("history", "a"), ("where", "Ubuntu 20.04")):
        assert {row["zone"] for row in rows(*ask, *question, *select, now=diary.now)} == zones
    assert {row["zone"] for row in rows(*ask, "diff", "5m", "now", *select, now=diary.now)} <= zones
    assert {row.target.zone for row in History(database_url).status(**{option: word})} == zones  # type: ignore[arg-type]


def test_places_in_any_case_elsewhere(diary: Diary, database_url: str, tmp_path: Path) -> None:
    """So it is for `resolve`, `compare` and the rules of `check`, where a pin names its zone in any case."""
    ask = ("--database", database_url)
    found = call(*ask, "resolve", "--zone", "HK-02", "--name", "centos 7.6", "-o", "id", now=diary.now)
    assert found.stdout == "d\n"
    assert rows(*ask, "compare", "HK-02", "Sg-01", now=diary.now)
    rules = tmp_path / "rules.toml"
    rules.write_text(
        '[[require]]\nname = "Ubuntu 20.04"\nzones = ["HK-02", "SG-*"]\nprojects = ["ORG-X"]\n'
        '[[pinned]]\nids = ["b"]\nzones = ["HK-02"]\n'
    )
    judged = rows(*ask, "check", rules, now=diary.now, code=1)
    assert [(row["zone"], row["outcome"]) for row in judged] == [
        *(("hk-02", "ok"), ("sg-01", "ok"), ("hk-02", "re-issued")),
    ]


def test_accounts_keep_their_case(diary: Diary, database_url: str) -> None:
    """An account is called as the configuration has it."""
    call("--database", database_url, "images", "--account", "PROD", now=diary.now, code=2)


# --- names without their spaces --------------------------------------------------------------------------------------


def test_names_without_spaces(diary: Diary, database_url: str, tmp_path: Path) -> None:
    """A name is found without its spaces by every filter, question and rule."""
    ask = ("--database", database_url)
    for word in ("ubuntu20.04", "UBUNTU20.04", "u buntu20.04"):
        assert ids(rows(*ask, "images", "--name", word, now=diary.now)) == {"a"}
    assert ids(rows(*ask, "changes", "--name", "centos7.6", now=diary.now)) == {"b", "d"}
    assert ids(rows(*ask, "history", "centos7.6", now=diary.now)) == {"b", "d"}
    assert {row["state"] for row in rows(*ask, "where", "ubuntu20.04", now=diary.now)} == {"present"}
    narrowed = rows(*ask, "where", "Ubuntu*", "--name", "ubuntu20.04", now=diary.now)
    assert {row["state"] for row in narrowed} == {"present"}
    assert ids(rows(*ask, "diff", "5m", "now", "--name", "centos7.6 64", now=diary.now)) == {"c"}
    found = call(*ask, "resolve", "--zone", "hk-02", "--name", "ubuntu20.04", "-o", "id", now=diary.now)
    assert found.stdout == "a\n"
    rules = tmp_path / "rules.toml"
    rules.write_text('[[require]]\nname = "ubuntu20.04"\n')
    assert {row["outcome"] for row in rows(*ask, "check", rules, now=diary.now)} == {"ok"}
    assert ids(row.as_dict() for row in History(database_url).images(name="ubuntu20.04")) == {"a"}


def test_names_that_are_left_out_are_not_asked_about(diary: Diary, database_url: str) -> None:
    """`where` says of no name that it was never offered, which it only was not asked about."""

    def told(*words: str, name: str = "*") -> set[tuple[str, str, str]]:
        found = rows("--database", database_url, "where", name, *words, now=diary.now)
        return {(row["image_name"], row["zone"], row["state"]) for row in found}

    centos = {("CentOS 7.6", "hk-02", "present"), ("CentOS 7.6", "sg-01", "present")}
    longer = {("CentOS7.6 64", "hk-02", "withdrawn"), ("CentOS7.6 64", "sg-01", "present")}
    ubuntu = {("Ubuntu 20.04", "hk-02", "present"), ("Ubuntu 20.04", "sg-01", "present")}
    assert told() == centos | longer | ubuntu
    assert told("--name", "!ubuntu*") == told(name="CentOS*") == centos | longer
    assert told("--name", "!*64", name="CentOS*") == told("--name", "CentOS 7.6") == centos
    assert told("--image-id", "c") == longer
    said = call("--database", database_url, "where", "CentOS*", "--name", "ubuntu*", now=diary.now).stderr
    assert "No targets fit --name ubuntu*" in said


def test_names_that_several_fit(engine: Engine, database_url: str) -> None:
    """Where two names differ in their spaces alone, each is found as it is written, and neither without its spaces."""
    diary = Diary(engine)
    diary.run({HERE: {"a": "Rocky 9", "b": "Roc ky 9", "c": "Anolis8", "d": "Anolis 8"}})
    ask = ("--database", database_url, "images", "--name")
    assert ids(rows(*ask, "rocky 9", now=diary.now)) == {"a"}
    call(*ask, "rocky9", now=diary.now, code=2)
    assert ids(rows(*ask, "anolis8", now=diary.now)) == {"c"}
    assert ids(rows(*ask, "anolis 8", now=diary.now)) == {"d"}


# --- re-issues -------------------------------------------------------------------------------------------------------


def test_re_issued(diary: Diary, database_url: str) -> None:
    """`re-issued` asks for what was withdrawn and replaced; tables say so, JSON keeps the event."""
    ask = ("--database", database_url, "changes", "--event")
    (row,) = rows(*ask, "re-issued", now=diary.now)
    assert (row["event"], row["image_id"], row["counterpart"]) == ("withdrawn", "b", "d")
    assert ids(rows(*ask, "RE-Issued", now=diary.now)) == {"b"}, "mails write it in capitals"
    assert ids(rows(*ask, "withdrawn", now=diary.now)) == {"b", "c"}
    assert ids(rows(*ask, "re-issued", "--event", "appeared", now=diary.now)) == {"b", "d"}
    assert [change.image_id for change in History(database_url).changes(events="re-issued")] == ["b"]
    shown = {line.split()[0]: line for line in call(*ask, "withdrawn", now=diary.now).stdout.splitlines()}
    assert sorted(word for line in shown.values() for word in ("re-issued", "withdrawn") if word in line) == [
        "re-issued",
        "withdrawn",
    ]
    assert "re-issued" in call("--database", database_url, "history", "b", now=diary.now).stdout


def test_a_run_tells_its_re_issues(diary: Diary, engine: Engine) -> None:
    """What a run says of its withdrawals names the re-issues among them; its counters stay."""
    with read(engine) as conn:
        summary = runs.run(conn, 2)
    assert summary is not None
    assert "1 appeared, 2 withdrawn (1 re-issued)." in as_text(summary)
    assert summary.as_dict()["changes"]["withdrawn"] == 2


# --- ages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "days"), [("1mo", 30), ("1y", 365), ("4w", 28), ("1mo12h", 30.5)])
def test_ages(diary: Diary, database_url: str, age: str, days: float) -> None:
    """Months and years are ages like the others: for times, and for what is kept."""
    ask = ("--database", database_url)
    sure = ("--clock-is-right",) if days > 180 else ()
    later = diary.now + timedelta(days=days)
    assert len(rows(*ask, "changes", "--since", age, now=later)) == 0
    assert len(rows(*ask, "changes", "--since", age, now=later - timedelta(hours=1))) == 3
    call(*ask, "resolve", "--zone", "hk-02", "--name", "Ubuntu 20.04", "--max-age", age, now=later - timedelta(hours=1))
    call(*ask, "db", "prune", "--keep", age, *sure, now=later - timedelta(hours=1))
    assert len(rows(*ask, "changes", now=later)) == 3
    call(*ask, "db", "prune", "--keep", age, *sure, now=later + timedelta(hours=1))
