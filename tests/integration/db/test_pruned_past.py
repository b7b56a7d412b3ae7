"""What pruning keeps of the time before the window: as much as readers and later runs still look at, and no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, func, insert, select

from crawler import History
from crawler.db.engine import begin, read
from crawler.db.integrity import findings
from crawler.db.pruning import prune
from crawler.db.schema import (
    Absence,
    AnswerForms,
    CatalogRow,
    ChangeLog,
    ImageVersion,
    Interval,
    Run,
    Scope,
    ScopeTarget,
    TargetRow,
)
from crawler.domain.models import END_OF_TIME
from crawler.emulator import run_in_thread
from crawler.queries.check.rules import PinRule, Require
from tests.support.command import call
from tests.support.crawling import account_at, crawl_once, settings_for
from tests.support.diary import PERIOD, START, Diary, Refusal, target
from tests.support.worlds import make_timeline

HERE = target("hk-02")


def count(engine: Engine, table: Any) -> int:
    with read(engine) as conn:
        return conn.execute(select(func.count()).select_from(table)).scalar_one()


def test_what_was_withdrawn_before_the_window(engine: Engine, database_url: str) -> None:
    """It stays withdrawn to `where`, missing to `check`, re-issued with its successor, and a comeback is a return."""
    diary = Diary(engine)
    for images in ({"a": "A", "b": "B", "o": "Old"}, {"b": "B", "o": "Old"}, {"b": "B", "n": "Old"}):
        diary.run({HERE: images})
    diary.run({HERE: {"b": "B", "n": "Old"}})
    rules: list[Require | PinRule] = [
        Require(name="A"),
        PinRule(image_id="a", zone="hk-02"),
        PinRule(image_id="o"),
        PinRule(image_id="x"),
    ]

    def ask(at: datetime) -> list[Any]:
        history = History(database_url, clock=lambda: at)
        return [history.where("A"), history.where("Old"), history.check(rules)]

    now = diary.now + PERIOD
    expected = ask(now)
    prune(engine, None, before=diary.now, now=now)
    assert ask(now) == expected
    assert [row.outcome for row in expected[2]] == ["missing", "missing", "re-issued", "never-seen"]
    assert [rows[0].state for rows in expected[:2]] == ["withdrawn", "present"]
    diary.run({HERE: {"a": "A", "b": "B", "n": "Old"}})
    last = History(database_url).changes()[-1]
    assert (last.event, last.image_id) == ("returned", "a")


def test_the_next_change_is_dated_as_without_pruning(engine: Engine, database_url: str) -> None:
    """After a long trouble that began before the window a change is dated from the last good observation before it."""
    diary = Diary(engine)
    images = {"a": "A", "b": "B", "c": "C"}
    for _ in range(3):
        diary.run({HERE: images})
    with read(engine) as conn:
        last_good = conn.execute(select(func.max(Run.started_at))).scalar_one()
    for _ in range(3):
        diary.run({HERE: Refusal()})
    now = diary.now + timedelta(days=20)
    prune(engine, None, before=now - timedelta(days=10), now=now)

    diary.run({HERE: {"a": "A", "b": "B"}}, at=now)

    (change,) = History(database_url).changes()
    assert (change.event, change.not_before) == ("withdrawn", last_good)


def test_changes_at_the_very_beginning_of_the_window(engine: Engine, database_url: str) -> None:
    """A window that begins with a change, a microsecond before or after it: every reader says what it said."""
    diary = Diary(engine)
    for images in ({"a": "A", "b": "B", "c": "C"}, {"b": "B", "c": "C"}, {"a": "A", "b": "B", "c": "C", "n": "New"}):
        diary.run({HERE: images})
    diary.run({HERE: {"a": {"ImageName": "A", "OsName": "X"}, "b": "B", "c": "C", "n": "New"}})
    diary.run({HERE: {"a": {"ImageName": "A", "OsName": "Y"}, "b": "B", "c": "C", "n": "New"}})
    now = diary.now + PERIOD
    history = History(database_url, clock=lambda: now)
    changes = history.changes()
    assert [change.event for change in changes] == ["withdrawn", "returned", "appeared", "modified"]

    def ask(before: datetime) -> list[Any]:
        recent = history.changes(since=before)
        stays = [stay for image_id in "abcn" for stay in history.history(image_id)]
        return [
            [history.images(at) for at in (before, now)],
            [history.where(name, at) for name in ("A", "B", "New") for at in (before, now)],
            history.diff(before, now),
            recent,
            [history.explain(change.id) for change in recent],
            [stay for stay in stays if stay.valid_to is None or stay.valid_to > before],
            history.status(),
        ]

    edges = [changes[0].observed_at, changes[1].recorded_at]
    for edge in edges:
        for microseconds in (-1, 0, 1):
            before = edge + timedelta(microseconds=microseconds)
            expected = ask(before)
            prune(engine, None, before=before, now=now)
            assert ask(before) == expected, f"{microseconds} µs from {edge}"
            with read(engine) as conn:
                assert findings(conn) == []


def test_presences_and_versions_in_between_go(engine: Engine, database_url: str) -> None:
    """Of an image that came and went and changed a hundred times, a few stays are left: the first and the last."""
    diary = Diary(engine)
    for turn in range(100):
        listed = {} if turn % 4 == 0 else {"a": {"ImageName": "A", "OsName": f"System {turn}"}}
        diary.run({HERE: {"b": "B", "c": "C", **listed}})
    diary.run({HERE: {"b": "B", "c": "C"}})
    now = diary.now + PERIOD
    history = History(database_url, clock=lambda: now)
    first_seen = history.where("A")[0].first_seen_at
    assert count(engine, Interval) == 2 + 75
    prune(engine, None, before=diary.now, now=now)
    (row,) = history.where("A")
    assert (row.state, row.first_seen_at) == ("withdrawn", first_seen)
    # a presence is what came before its last stay, and that
    assert [(stay.present_since, stay.ended_by) for stay in history.history("a")] == [
        (first, ended) for first in (first_seen, row_since(history)) for ended in ("modified", "withdrawn")
    ]
    with read(engine) as conn:
        assert findings(conn) == []


def row_since(history: History) -> datetime:
    """Return since when the last presence of the image was unbroken."""
    return history.history("a")[-1].present_since


def test_folded_stays_say_no_more_than_the_name(engine: Engine, database_url: str) -> None:
    """An image that only changed is left with one stay before the one that reaches into the window."""
    diary = Diary(engine)
    for turn in range(20):
        diary.run({HERE: {"b": "B", "a": {"ImageName": "A", "OsName": f"System {turn}"}}})
    since = History(database_url, clock=lambda: diary.now).where("A")[0]
    pruned_at = diary.now
    prune(engine, None, before=pruned_at, now=diary.now + PERIOD)
    with read(engine) as conn:
        rows = conn.execute(
            select(Interval.valid_from, Interval.valid_to, ImageVersion.attributes)
            .join(ImageVersion, ImageVersion.id == Interval.version_id)
            .where(ImageVersion.image_id == "a")
            .order_by(Interval.valid_from)
        ).all()
        assert findings(conn) == []
    assert [row.attributes for row in rows] == [{"image_name": "A"}, {"image_name": "A", "os_name": "System 19"}]
    assert rows[0].valid_to == rows[1].valid_from
    assert History(database_url, clock=lambda: pruned_at).where("A")[0] == since


def test_what_is_left_of_the_changes_shows_no_answers(engine: Engine, database_url: str) -> None:
    """Of the changes before the window only those that say how a kept stay ended or began are left, without answers."""
    diary = Diary(engine)
    for listed in ({}, {"a": "A"}, {}, {"a": "A"}, {}, {"a": "A"}):
        diary.run({HERE: {"b": "B", "c": "C", **listed}})
    diary.run({HERE: {"b": "B", "c": "C"}})
    now = diary.now + PERIOD
    prune(engine, None, before=diary.now + timedelta(seconds=1), now=now)
    history = History(database_url, clock=lambda: now)
    left = history.changes()
    assert [change.event for change in left] == ["withdrawn", "withdrawn"]
    explained = history.explain(left[0].id)
    assert explained is not None
    assert (explained.before, explained.after) == (None, None)
    assert count(engine, ChangeLog) == 2
    ask = ("--database", database_url, "explain")
    assert "It lies before the kept history" in call(*ask, left[0].id).stdout
    assert "and this one was pruned" in call(*ask, left[0].id - 1, code=2).stderr


def test_the_last_catalog_survives(engine: Engine, database_url: str) -> None:
    """After pruning all but the present, a run whose discovery fails still asks what the last catalog lists."""
    fault = {"ret_code": 150, "action": "GetRegion"}
    more = {"zones": ["hk-02", "sg-01"], "images": {"sg-01": {"b": "B"}}}
    with run_in_thread(make_timeline(zones={"hk-02": {"a": "A"}}, steps=[more, {"faults": [fault]}])) as cloud:
        settings = settings_for(database_url, account_at(cloud.url))
        for step in (1, 2):
            cloud.step = step
            crawl_once(engine, settings, START + timedelta(hours=step))
        assert count(engine, CatalogRow) == 2
        prune(engine, None, before=START + timedelta(days=1), now=START + timedelta(days=2))
        assert count(engine, CatalogRow) == 1
        cloud.step = 3
        result = crawl_once(engine, settings, START + timedelta(days=2))
    assert (result.summary.targets["total"], result.summary.targets["ok"]) == (2, 2)
    assert sum(result.summary.changes.values()) == 0
    assert any("GetRegion" in notice for notice in result.summary.notices)


def test_scopes_of_no_run_go(engine: Engine) -> None:
    """A set of targets that no run asked any more is forgotten, with its targets, and counted; the others stay."""
    diary = Diary(engine)
    for where in ({HERE: {"a": "A"}}, {HERE: {"a": "A"}, target("sg-01"): {"b": "B"}}):
        diary.run(where)
    with begin(engine) as conn:
        kept = conn.execute(select(ScopeTarget.scope_id, ScopeTarget.target_id)).all()
        unused = conn.execute(insert(Scope).values(digest="unused", size=1).returning(Scope.id)).scalar_one()
        conn.execute(insert(ScopeTarget).values(scope_id=unused, target_id=kept[0].target_id))
    pruned = prune(engine, None, before=diary.now, now=diary.now + PERIOD)
    with read(engine) as conn:
        assert conn.execute(select(ScopeTarget.scope_id, ScopeTarget.target_id)).all() == kept
        assert unused not in set(conn.execute(select(Scope.id)).scalars())
        assert len({row.scope_id for row in kept}) == count(engine, Scope) == 2
    assert pruned.scopes == 1


def test_forms_of_who_is_asked_no_more(engine: Engine) -> None:
    """What was told of targets that left before the window goes; of those asked since, or told to nobody, it stays."""
    diary = Diary(engine)
    zones = ("gone", "left", "back", "here")
    diary.run({target(f"hk-{zone}"): {"a": "A"} for zone in zones})
    edge = diary.now + PERIOD
    absent = {"gone": (edge, END_OF_TIME), "left": (edge + PERIOD, END_OF_TIME), "back": (edge - PERIOD, edge + PERIOD)}
    noticed = (("os_name", "missing", True), ("extra.Level", "new", True), ("gpu", "back", False), ("x", "new", False))
    with begin(engine) as conn:
        ids = {row.zone: row.id for row in conn.execute(select(TargetRow.zone, TargetRow.id))}
        for zone in zones:
            for name, state, is_told in noticed:
                row = {"target_id": ids[f"hk-{zone}"], "account_id": diary.account_id, "name": name}
                conn.execute(insert(AnswerForms).values(**row, state=state, is_told=is_told))
        for zone, (since, until) in absent.items():
            values = {"reason": "retired", "valid_from": since, "valid_to": until}
            conn.execute(insert(Absence).values(target_id=ids[f"hk-{zone}"], **values))
    pruned = [prune(engine, None, before=edge, now=edge + 2 * PERIOD).forms for _ in range(2)]
    with read(engine) as conn:
        left = {
            zone: set(conn.scalars(select(AnswerForms.name).where(AnswerForms.target_id == ids[f"hk-{zone}"])))
            for zone in zones
        }

    assert pruned == [3, 0]
    assert left == {"gone": {"x"}, **{zone: {name for name, *_ in noticed} for zone in zones[1:]}}


def test_absences_and_catalogs_that_ended_go(engine: Engine) -> None:
    """A span without questions that ended by the window, and each account's catalogs before its last one, go."""
    diaries = [Diary(engine, account=account) for account in ("one", "two")]
    for diary in diaries:
        diary.run({target(account=diary.account): {"a": "A"}})
    edge = max(diary.now for diary in diaries) + PERIOD
    moments = [edge + timedelta(microseconds=offset) for offset in (-2, -1, 0, 1)]
    with begin(engine) as conn:
        (first, *_) = conn.execute(select(TargetRow.id)).scalars()
        for at in moments:
            conn.execute(
                insert(Absence).values(target_id=first, reason="retired", valid_from=moments[0] - PERIOD, valid_to=at)
            )
        for diary in diaries:
            for at in moments[:2] if diary.account == "one" else moments[1:]:
                values = {"account_id": diary.account_id, "digest": f"{at}", "projects": [], "places": []}
                conn.execute(insert(CatalogRow).values(recorded_at=at, **values))
    prune(engine, None, before=edge, now=edge + PERIOD)
    with read(engine) as conn:
        assert conn.execute(select(Absence.valid_to)).scalars().all() == moments[3:]
        left = conn.execute(select(CatalogRow.account_id, CatalogRow.recorded_at).order_by(CatalogRow.id)).all()
    one, two = (diary.account_id for diary in diaries)
    assert [tuple(row) for row in left] == [(one, moments[1]), (two, moments[2]), (two, moments[3])]


def test_commands_about_a_pruned_time(engine: Engine, database_url: str) -> None:
    """A question about a moment before the kept window is refused by every command; `changes` tells what is missing."""
    diary = Diary(engine)
    for number in range(10):
        listed = {"a": "A", **({"b": "B"} if number % 2 else {})}
        diary.run({HERE: listed}, at=START + timedelta(days=number))
    now = diary.now + PERIOD
    prune(engine, None, before=START + timedelta(days=4, hours=1), now=now)
    old, older = (START + timedelta(days=3)).isoformat(), (START - timedelta(days=1)).isoformat()
    zone = HERE.zone
    for at in (old, older):
        for words in (
            ("images", "--at", at),
            ("where", "A", "--at", at),
            ("diff", at, "now"),
            ("inventory", "--at", at),
        ):
            said = call("--database", database_url, *words, now=now, code=8)
            assert "was pruned" in said.stderr, words
    said = call("--database", database_url, "changes", "--zone", zone, "--until", older, now=now, code=8)
    assert "was pruned" in said.stderr
    missing = "was pruned: of that time not every change is left"
    for more, is_told in (((), True), (("--after", "0"), True), (("--since", old), True), (("--since", "4d"), False)):
        said = call("--database", database_url, "changes", *more, now=now)
        assert (missing in said.stderr) == is_told, more


def test_nothing_to_prune(engine: Engine, database_url: str) -> None:
    """Where nothing lies before the window nothing is called pruned."""
    diary = Diary(engine)
    for number in range(3):
        diary.run({HERE: {"a": "A", **({"b": "B"} if number else {})}})
    ask, now = ("--database", database_url), diary.now
    for _ in range(2):
        assert call(*ask, "db", "prune", "--keep", "2y", now=now).stdout == "Forgotten: nothing\n"
        assert "was pruned" not in call(*ask, "changes", now=now).stderr
        said = call(*ask, "images", "--at", (START - timedelta(days=9)).isoformat(), now=now, code=8)
        assert "Nothing was recorded by" in said.stderr
    prune(engine, None, before=now, now=now + PERIOD)
    call(*ask, "db", "prune", "--keep", "2y", now=now + PERIOD)
    assert "was pruned" in call(*ask, "changes", now=now + PERIOD).stderr, "what was stays so"


def test_lists_of_a_pruned_time(engine: Engine, database_url: str) -> None:
    """A list that reaches before the kept window says that not all is left, also where none is: that is not nothing."""
    away, ask = target("hk-03"), ("--database", database_url)
    old, new = {"c": "C", "d": "D"}, {"m": "M", "o": "O"}
    diary = Diary(engine)
    # what was there goes, doubted at first, and of what comes then one goes soon
    story: Sequence[tuple[int, Mapping[str, str]]] = (
        (1, old),
        (2, old),
        (3, old),
        (24, {}),
        (30, {}),
        (36, {}),
        (48, {**new, "n": "N"}),
        (72, new),
    )
    for hours, listed in story:
        diary.run({HERE: {"a": "A"}, away: listed}, at=START + timedelta(hours=hours))
    diary.run({HERE: {}, away: new}, at=START + timedelta(days=6))
    now = diary.now + PERIOD
    words: Sequence[str | int]
    appeared = ("changes", "--zone", away.zone, "--name", "N", "--event", "appeared")
    resolved = ("holds", "list", "--all", "--zone", away.zone)
    for words in (appeared, resolved, ("runs",), ("runs", "show", 2)):
        said = call(*ask, *words, now=now)
        assert said.stdout, words
        assert "pruned" not in said.stderr, words
    assert "Nothing was ever told." in call(*ask, "report", "list", "--all", now=now).stderr

    prune(engine, None, before=START + timedelta(days=4), now=now)

    begins = "2026-06-05 08:00:00 (Asia/Shanghai)"
    for words, first, what in (
        (appeared, f"No appeared changes fit --zone {away.zone}", "change"),
        (resolved, f"Nothing was on hold here since {begins}.", "hold"),
        (("holds", "list", "--all"), "", "hold"),
        (("report", "list", "--all"), f"Nothing was told since {begins}.", "report"),
        (("runs",), "", "run"),
    ):
        said = call(*ask, *words, now=now)
        assert bool(said.stdout) == (not first), words
        assert said.stderr.startswith(first), words
        assert f"What came before {begins} was pruned: of that time not every {what} is left." in said.stderr, words
    for words in (("runs", "--limit", "1"), ("holds", "list"), ("changes", "--since", "1d"), ("report", "list")):
        assert "pruned" not in call(*ask, *words, now=now).stderr, words
    said = call(*ask, "runs", "show", 2, now=now, code=2)
    assert f"they go to 9, and of those before {begins} not every one is left" in said.stderr
    assert "not every one" not in call(*ask, "runs", "show", 10, now=now, code=2).stderr
