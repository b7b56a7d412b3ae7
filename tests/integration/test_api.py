"""`from crawler import History`: the same answers as the commands', as plain records."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

import crawler
from crawler import History
from crawler.db.backup import copy_to, restore
from crawler.db.engine import begin, opened
from crawler.db.migrations import upgrade
from crawler.db.pruning import prune
from crawler.errors import Ambiguous, DatabaseUnavailable, NoAnswer, SchemaMismatch
from crawler.queries.check.rules import PinRule
from tests.support.command import ROOT, call, rows
from tests.support.diary import START, Diary, Refusal, target
from tests.support.examples import blocks

HERE, THERE = target("hk-02"), target("sg-01", project="org-y")
NOW = START + timedelta(hours=2)
STALE = timedelta(hours=26)


@pytest.fixture
def url(engine: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a history with a re-issue and a failure in it."""
    monkeypatch.chdir(tmp_path)
    diary = Diary(engine)
    diary.run({HERE: {"uimage-a": "Ubuntu", "uimage-c": "CentOS"}, THERE: {"uimage-c": "CentOS"}})
    diary.run({HERE: {"uimage-b": "Ubuntu", "uimage-c": "CentOS"}, THERE: Refusal(message="down")})
    return database_url


Ask = Callable[[History], Any]
PAST = START + timedelta(minutes=20)
PAIRS: list[tuple[str, Ask, tuple[str, ...]]] = [
    ("images", lambda h: h.images(), ("images",)),
    ("images at", lambda h: h.images(at=PAST, zone="hk-*"), ("images", "--at", PAST.isoformat(), "--zone", "hk-*")),
    ("images of", lambda h: h.images(name=["ubuntu", "x*"]), ("images", "--name", "ubuntu")),
    ("changes", lambda h: h.changes(since=PAST, events=["withdrawn"]), ("changes", "--event", "withdrawn")),
    ("changes of one event", lambda h: h.changes(events="appeared"), ("changes", "--event", "appeared")),
    ("history", lambda h: h.history("uimage-a"), ("history", "uimage-a")),
    ("where", lambda h: h.where("CENTOS", zone="*"), ("where", "centos")),
    ("diff", lambda h: h.diff(PAST, NOW, zone="hk-02"), ("diff", PAST.isoformat(), "now", "--zone", "hk-02")),
    ("compare", lambda h: h.compare("hk-02", "sg-01", PAST), ("compare", "hk-02", "sg-01", "--at", PAST.isoformat())),
    ("status", lambda h: h.status(), ("status",)),
]


@pytest.mark.parametrize(("ask", "words"), [pair[1:] for pair in PAIRS], ids=[pair[0] for pair in PAIRS])
def test_the_same_as_the_commands(url: str, ask: Ask, words: tuple[str, ...]) -> None:
    """Each method gives, as dictionaries, the JSON rows of the command of its name."""
    found = [row.as_dict() for row in ask(History(url, clock=lambda: NOW))]

    assert found
    assert found == rows("--database", url, *words, now=NOW)


def test_runs(url: str) -> None:
    """The ledger: newest last, one in full with its failures, None for a number that is none."""
    history = History(url)

    assert [run.run for run in history.runs()] == [1, 2]
    assert [run.run for run in history.runs(limit=1)] == [2]
    second = history.run(2)
    assert second is not None
    assert [failure.target for failure in second.failures] == [THERE]
    assert history.run(3) is None


def test_explain(url: str) -> None:
    """The evidence behind a change, as `explain` tells it; None for a number that is none."""
    history = History(url)
    found = history.explain(1)

    assert found is not None
    assert found.as_dict() == json.loads(call("--database", url, "explain", 1, "-o", "json").stdout)
    assert [pair.image_id for pair in found.records()] == ["uimage-a", "uimage-b"]
    assert history.explain(99) is None


def test_for_scripts(url: str) -> None:
    """What `resolve` and `check` tell, with errors instead of exit codes."""
    history = History(url, clock=lambda: NOW)

    assert history.resolve("hk-02", "UBUNTU", account="prod").image_id == "uimage-b"
    assert history.resolve(zone="sg-01", name="CentOS", max_age=timedelta(days=1)).target == THERE
    with pytest.raises(NoAnswer):
        history.resolve("hk-02", "Debian")
    (row,) = history.check([PinRule(image_id="uimage-a", zone="hk-02")], project="org-x")
    assert (row.outcome, row.successor) == ("re-issued", "uimage-b")


def test_with_and_without_a_block(url: str) -> None:
    """In a block one connection serves all calls; without it, and after it, every call opens its own."""
    with History(url, clock=lambda: NOW) as history:
        first = history.images()
        assert history.images() == first
    assert history.images() == first
    assert History(url, clock=lambda: NOW).images() == first
    history.close()


def test_a_path(sqlite_url: str) -> None:
    """A SQLite file may be named by its path."""
    path = sqlite_url.removeprefix("sqlite:///")

    assert History(path).runs() == History(Path(path)).runs() == []


def test_naive_times_are_refused(url: str) -> None:
    """A time without a time zone is refused in words; any time zone will do."""
    history = History(url, clock=lambda: NOW)
    naive = datetime(2026, 6, 1, 12)  # noqa: DTZ001 - the mistake itself

    asks: list[Callable[[], Any]] = [
        lambda: history.images(at=naive),
        lambda: history.changes(since=naive),
        lambda: history.changes(until=naive),
        lambda: history.where("x", naive),
        lambda: history.diff(naive, NOW),
        lambda: history.compare("a", "b", at=naive),
    ]
    for ask in asks:
        with pytest.raises(ValueError, match=r"has no time zone: 2026-06-01T12:00:00; say which, as in datetime\("):
            ask()
    with pytest.raises(TypeError, match="at must be a datetime, not str"):
        history.images(at="2026-06-01")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="second is too far away to be a time: 9999-12-31"):
        history.diff(PAST, datetime(9999, 12, 31, tzinfo=UTC))
    shanghai = timezone(timedelta(hours=8))
    assert history.images(at=PAST.astimezone(shanghai)) == history.images(at=PAST)


def test_unknown_words_are_mistakes(url: str) -> None:
    """A part that is none is a mistake at once; a word the history does not know selects nothing."""
    with pytest.raises(TypeError, match=r"nothing is selected by 'zones'; did you mean zone\?"):
        History(url).images(zones="hk-02")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="nothing is selected by 'name'; there are account, kind, project, region, var"):
        History(url).status(name="Ubuntu")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match=r"'withdrawm' is no event; did you mean withdrawn\?; there are appeared, "):
        History(url).changes(events="withdrawm")  # type: ignore[arg-type]
    assert History(url).images(zone="mars") == []
    assert History(url).history("uimage-nowhere") == []
    assert History(url).where("Nothing") == []


@pytest.mark.parametrize("text", ["hk\0", "hk\udcff"])
def test_text_that_no_database_holds(url: str, text: str) -> None:
    """Half a character or a NUL is one clear sentence, on both databases, wherever it comes in."""
    with History(url) as history:
        calls: list[Callable[[], object]] = [
            lambda: history.images(zone=text),
            lambda: history.changes(image_id=["fine", text]),
            lambda: history.status(project=text),
            lambda: history.resolve(text, "Ubuntu 20.04"),
            lambda: history.resolve("hk-01", text),
            lambda: history.compare("hk-01", text),
        ]
        for call in calls:
            with pytest.raises(ValueError, match="nothing that a history can hold"):
                call()
        assert [*history.where(text), *history.history(text)] == []
        with pytest.raises(TypeError, match="zone must be a text or several, not int"):
            history.images(zone=[1])  # type: ignore[list-item]  # the mistake that is told


def test_numbers_that_nothing_has(url: str) -> None:
    """A number below or beyond those of a database is nobody's; less than no runs is a mistake."""
    with History(url) as history:
        for number in (-1, 0, 10**6, 2**63, 2**80):
            assert (history.run(number), history.explain(number)) == (None, None)
        assert history.runs(2**80) == history.runs()
        assert history.runs(0) == []
        with pytest.raises(ValueError, match="limit must not be negative: -1"):
            history.runs(-1)
        with pytest.raises(TypeError, match="first must be a datetime, not NoneType"):
            history.diff(None, datetime.now(UTC))  # type: ignore[arg-type]  # the mistake that is told


def test_one_zone_is_compared_with_one(url: str) -> None:
    """A glob may fit the zone of a side; where it fits several, nothing is compared in silence with one of them."""
    history = History(url, clock=lambda: NOW)

    assert history.compare("h*", "sg-01") == history.compare("hk-02", "sg-01")
    with pytest.raises(Ambiguous, match="Several zones fit: hk-02, sg-01"):
        history.compare("*", "sg-01")


def test_stale_after(engine: Engine, url: str) -> None:
    """From when on knowledge is stale is what the last run was configured with, unless said otherwise."""

    def reasons(stale_after: timedelta | None) -> set[str | None]:
        later = History(url, clock=lambda: NOW + timedelta(hours=4), stale_after=stale_after)
        return {row.reason for row in later.images(zone="hk-02")}

    assert reasons(None) == {None}
    assert reasons(timedelta(hours=3)) == {"stale"}
    with engine.begin() as conn:
        conn.exec_driver_sql("INSERT INTO settings (name, value) VALUES ('stale_after_seconds', '10800')")
    assert reasons(None) == {"stale"}


def test_from_when_on_the_history_is_whole(engine: Engine, url: str) -> None:
    """Whoever asks for changes can ask how far back nothing of them was pruned, in UTC; nothing pruned is None."""
    history = History(url, clock=lambda: NOW)
    assert history.begins_at() is None
    kept_from = NOW - timedelta(minutes=1)
    prune(engine, None, before=kept_from, now=NOW)
    assert history.begins_at() == kept_from


def test_nothing_to_read(tmp_path: Path, empty_postgres_url: str) -> None:
    """A database that is not there, or has no schema, is said; none is made."""
    with pytest.raises(DatabaseUnavailable, match="There is no database at"):
        History(tmp_path / "none.db").images()
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(SchemaMismatch):
        History(empty_postgres_url).images()


def test_a_backup_that_takes_the_place_while_it_is_read(tmp_path: Path, sqlite_url: str) -> None:
    """A history that is kept open is that of the file that stands there now, when a backup was put back."""
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with opened(sqlite_url) as engine:
        upgrade(engine)
        diary = Diary(engine)
        diary.run({HERE: {"uimage-a": "Ubuntu"}})
        copy_to(path, tmp_path / "copy.db")
        diary.run({HERE: {"uimage-b": "Ubuntu"}})
    with History(sqlite_url, clock=lambda: NOW) as history:
        after = [row.image_id for row in history.images()]
        restore(path, tmp_path / "copy.db", label="x")
        before = [row.image_id for row in history.images()]

    assert (after, before) == (["uimage-a", "uimage-b"], ["uimage-a"])


def test_a_history_that_goes_while_it_is_read(engine: Engine, url: str) -> None:
    """A database whose tables went after a first answer is told as one without a history, again and again."""
    with History(url, clock=lambda: NOW) as history:
        assert history.images()
        with begin(engine) as conn:
            conn.execute(text("ALTER TABLE alembic_version RENAME TO gone"))
        for _ in range(2):
            with pytest.raises((DatabaseUnavailable, SchemaMismatch), match=r"another program|has no schema"):
                history.images()
        with begin(engine) as conn:
            conn.execute(text("ALTER TABLE gone RENAME TO alembic_version"))
        assert history.images()


def test_rows_make_a_table(url: str) -> None:
    """All rows of an answer have the same keys, so they make a data frame as they are."""
    keys = {tuple(row.as_dict()) for row in History(url).images(retired=True)}

    assert len(keys) == 1


def test_loaded_on_demand() -> None:
    """Importing the package loads no database library; asking for `History` does."""
    script = (
        "import sys, crawler; assert 'sqlalchemy' not in sys.modules; assert 'History' in crawler.__all__;"
        "from crawler import History; assert 'sqlalchemy' in sys.modules; print(History.__name__)"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    assert result.stdout == "History\n"
    with pytest.raises(AttributeError, match="has no attribute 'Hist'"):
        _ = crawler.Hist


def test_readme(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The Python of the docs runs as it stands."""
    (block,) = blocks("python", "docs/python.md")
    assert '"sqlite:///crawler.db"' in block
    runnable = "\n".join(line for line in block.splitlines() if "pandas" not in line)
    exec(compile(runnable.replace("sqlite:///crawler.db", url), "docs/python.md", "exec"), {})

    assert "hk-02 Ubuntu uimage-b present" in capsys.readouterr().out
