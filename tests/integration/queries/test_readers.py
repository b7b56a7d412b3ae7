"""What the readers tell about moments in the past, against a small memory of what really was answered."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, text, update

from crawler.db.engine import begin, opened, read
from crawler.db.schema import Absence, TargetRow
from crawler.domain.filters import Filters
from crawler.domain.guard import GuardPolicy
from crawler.domain.models import END_OF_TIME, Target
from crawler.queries import changes, status
from crawler.queries import images as queries_images
from crawler.queries import runs as queries_runs
from crawler.queries.freshness import FEW
from tests.support.diary import PERIOD, START, Answer, Diary, Refusal, target
from tests.support.plans import scans, statements

STALE = timedelta(hours=3)
TARGETS = [target(f"hk-{zone:02}", project=f"org-{project}") for zone in (1, 2) for project in (1, 2, 3)]
NAMES = {"uimage-a": "CentOS 7.6", "uimage-b": "Ubuntu 20.04", "uimage-c": "UBuntu 20.04", "uimage-d": "Debian 12"}
REFUSALS = (
    Refusal(),
    Refusal(ret_code=150),
    Refusal(outcome="skipped", failure_class="deadline", ret_code=None),
    Refusal(failure_class="denied", ret_code=230),
)


@dataclass
class Memory:
    """What every target answered, and which runs looked at it; everything is believed at once."""

    answers: dict[Target, list[tuple[datetime, frozenset[str]]]] = field(default_factory=dict)
    runs: list[tuple[datetime, dict[Target, str]]] = field(default_factory=list)

    def add(self, end: datetime, times: dict[Target, datetime], answers: dict[Target, Answer]) -> None:
        outcomes = {}
        for where, answer in answers.items():
            if isinstance(answer, Refusal):
                never_ok = not self.answers.get(where)
                denied = answer.failure_class == "denied"
                outcomes[where] = ("denied" if never_ok else "failed") if denied else answer.outcome
            else:
                self.answers.setdefault(where, []).append((times[where], frozenset(answer)))
                outcomes[where] = "ok"
        self.runs.append((end, outcomes))

    def expect(self, moment: datetime) -> dict[tuple[Target, str], tuple[str | None, datetime | None]]:
        expected = {}
        for where, answers in self.answers.items():
            past = [images for at, images in answers if at <= moment]
            looked = [(end, outcomes[where]) for end, outcomes in self.runs if end <= moment and where in outcomes]
            good = [end for end, outcome in looked if outcome == "ok"]
            observed_at = good[-1] if good else None
            reason: str | None = None
            if looked and looked[-1][1] != "ok":
                reason = looked[-1][1]
            elif observed_at is None:
                reason = "never_observed"
            elif moment - observed_at > STALE:
                reason = "stale"
            for image_id in past[-1] if past else ():
                expected[where, image_id] = (reason, observed_at)
        return expected


def told(engine: Engine, moment: datetime, filters: Filters | None = None) -> dict[tuple[Target, str], Any]:
    with read(engine) as conn:
        rows = list(queries_images.images(conn, moment, filters or Filters(), now=moment, stale_after=STALE))
    assert [(r.target, r.image_set, r.image_name, r.image_id) for r in rows] == sorted(
        (r.target, r.image_set, r.image_name, r.image_id) for r in rows
    )
    assert all((row.state == "present") is (row.reason is None) for row in rows)
    return {(row.target, row.image_id): (row.reason, row.observed_at) for row in rows}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_moment(engine: Engine, seed: int) -> None:
    """At any moment the answer is what the last answers before it said, with what the last runs before it knew."""
    rng = random.Random(seed)
    diary, memory = Diary(engine, policy=GuardPolicy(confirmations=0)), Memory()
    for number in range(30):
        scope = rng.sample(TARGETS, rng.choice([1, 4, 6, 6, 6]))
        answers: dict[Target, Answer] = {
            where: rng.choice(REFUSALS)
            if rng.random() < 0.3
            else {image_id: NAMES[image_id] for image_id in rng.sample(list(NAMES), rng.choice([3, 4, 4]))}
            for where in scope
        }
        diary.now += timedelta(minutes=rng.choice([15, 15, 60, 300]))
        dies = rng.random() < 0.2 and number < 29
        reached = scope[: rng.randrange(len(scope))] if dies else scope
        run_id, recorder = diary.start(scope)
        times = {}
        for portion in (reached[:2], reached[2:]):
            items = [diary.item(where, answers[where]) for where in portion]
            times.update({item.target: item.received_at for item in items if hasattr(item, "received_at")})
            recorder.judge(items)
            recorder.commit()
        end = diary.now if dies else diary.finish(run_id, recorder)
        if reached:
            memory.add(end, times, {where: answers[where] for where in reached})

    moments = [start + timedelta(seconds=rng.uniform(-5, 5)) for start, _ in memory.runs]
    moments += [START + timedelta(seconds=rng.uniform(0, (diary.now - START).total_seconds())) for _ in range(60)]
    moments += [end for end, _ in memory.runs] + [START, diary.now + timedelta(days=2)]
    for moment in moments:
        assert told(engine, moment) == memory.expect(moment), moment


def test_filters(engine: Engine) -> None:
    """Globs and exact words select the same rows that picking them by hand does."""
    diary = Diary(engine)
    diary.run(dict.fromkeys(TARGETS, NAMES))
    with begin(engine) as conn:
        conn.execute(update(TargetRow).where(TargetRow.project == "org-2").values(project_name="Team Two"))
    every = told(engine, diary.now)
    assert len(every) == 24

    def kept(**filters: Any) -> set[tuple[str, str, str]]:
        return {(t.project, t.zone, image_id) for t, image_id in told(engine, diary.now, Filters(**filters))}

    whole = {(t.project, t.zone, image_id) for t, image_id in every}
    assert kept(zone=("hk-02",)) == {row for row in whole if row[1] == "hk-02"}
    assert kept(zone=("hk-*2", "nowhere")) == {row for row in whole if row[1] == "hk-02"}
    assert kept(project=("org-1",), zone=("hk-01",)) == {row for row in whole if row[:2] == ("org-1", "hk-01")}
    assert kept(project=("Team Two",)) == {row for row in whole if row[0] == "org-2"}
    assert kept(project=("Team*",)) == {row for row in whole if row[0] == "org-2"}
    assert kept(account=("other",)) == set()
    assert kept(region=("hk",), kind=("uk8s-*",), variant=("default",)) == whole
    assert kept(image_id=("uimage-a",)) == {row for row in whole if row[2] == "uimage-a"}
    assert kept(image_id=("uimage-[ad]",)) == {row for row in whole if row[2] in ("uimage-a", "uimage-d")}
    ubuntu = {row for row in whole if row[2] in ("uimage-b", "uimage-c")}
    assert kept(name=("ubuntu  20.04",)) == ubuntu
    assert kept(name=("Ubuntu 20.04 「EOL」",)) == ubuntu
    assert kept(name=("ubuntu*",)) == ubuntu
    assert kept(name=("ubuntu*",), image_id=("uimage-c",)) == {row for row in ubuntu if row[2] == "uimage-c"}
    assert kept(name=("ubuntu",)) == set()
    assert kept(image_set=("ImageSet",)) == kept(image_set=("Image*",)) == whole
    assert kept(image_set=("PHost*",)) == set()
    assert kept(image_set=("ImageSet",), name=("*20.04",)) == ubuntu


@pytest.mark.parametrize("variants", [1, FEW - 1, FEW])
def test_one_project_in_one_zone(engine: Engine, variants: int) -> None:
    """Told by one statement while its targets are few, else by several: what was known is the same either way."""
    diary = Diary(engine)
    here = [TARGETS[0]._replace(variant=f"v{number:02}") for number in range(variants)]
    diary.run(dict.fromkeys([*here, TARGETS[1]], NAMES))
    moments = [diary.now]
    diary.run({here[0]: Refusal(), here[-1]: {"uimage-a": "CentOS 7.6"}, TARGETS[1]: NAMES})
    moments += [diary.now, diary.now + 2 * STALE]
    retired_id = diary.ids(here)[here[0]]
    with begin(engine) as conn:
        conn.execute(
            insert(Absence).values(
                target_id=retired_id, reason="retired", valid_from=diary.tick(), valid_to=END_OF_TIME
            )
        )
    moments.append(diary.tick())

    stated = {"project": (here[0].project,), "zone": (here[0].zone,)}
    with read(engine) as conn:
        for moment in [START, *moments]:
            for retired in (False, True):
                rows = [
                    list(
                        queries_images.images(
                            conn, moment, Filters(**filters), now=moment, stale_after=STALE, include_retired=retired
                        )
                    )
                    for filters in (stated, {**stated, "zone": ("hk-0[1]",)})
                ]
                assert rows[0] == rows[1]
                assert bool(rows[0]) == (moment > START and (variants > 1 or retired or moment < moments[-1]))
    reasons = {row.reason for row in rows[0]}
    assert {"retired"} <= reasons <= {"retired", "held", None}
    assert ("held" in reasons) == (variants > 1)


def test_superseded(engine: Engine) -> None:
    """Of several open images of one name the latest supersedes the others, whatever the filter; a tie names none."""
    diary = Diary(engine)
    home = TARGETS[0]
    diary.run({home: {"uimage-a": "CentOS 7.6", "uimage-x": "Debian 12"}})

    def successors(**filters: Any) -> dict[str, str | None]:
        with read(engine) as conn:
            rows = queries_images.images(conn, None, Filters(**filters), now=diary.now, stale_after=STALE)
            return {row.image_id: row.superseded_by for row in rows}

    assert successors() == {"uimage-a": None, "uimage-x": None}
    diary.run({home: {"uimage-a": "CentOS 7.6", "uimage-x": "Debian 12", "uimage-b": "centos 7.6"}})
    assert successors() == {"uimage-a": "uimage-b", "uimage-b": None, "uimage-x": None}
    assert successors(image_id=("uimage-a",)) == {"uimage-a": "uimage-b"}
    assert successors(name=("CENTOS 7.6",)) == {"uimage-a": "uimage-b", "uimage-b": None}
    both = {"uimage-c": "CentOS 7.6", "uimage-d": "CentOS 7.6"}
    diary.run({home: {"uimage-a": "CentOS 7.6", "uimage-x": "Debian 12", "uimage-b": "centos 7.6", **both}})
    assert set(successors().values()) == {None}


def test_changes(engine: Engine) -> None:
    """Changes are told oldest first, from `since` on and before `until`, by the moment they were written."""
    diary = Diary(engine)
    diary.run(dict.fromkeys(TARGETS, NAMES))
    for number in range(3):
        diary.run({where: {**NAMES, f"uimage-{number}": f"New {number}"} for where in TARGETS})
    with read(engine) as conn:
        every = list(changes.changes(conn))
        moments = sorted({change.recorded_at for change in every})
        middle = list(changes.changes(conn, since=moments[1], until=moments[2]))
        some = list(changes.changes(conn, events=("withdrawn",), filters=Filters(zone=("hk-01",), name=("new 0",))))
        by_id = list(changes.changes(conn, filters=Filters(image_id=("uimage-2",))))
    assert len(every) == 6 * (1 + 2 + 2)
    assert [change.id for change in every] == sorted(change.id for change in every)
    assert {change.recorded_at for change in middle} == {moments[1]}
    assert {(change.event, change.target.zone, change.image_id) for change in some} == {
        ("withdrawn", "hk-01", "uimage-0")
    }
    assert len(some) == 3
    assert {change.event for change in by_id} == {"appeared"}


def test_images_are_looked_up_for_a_long_time(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which images a name fits is looked up where much was recorded in the time asked for, whatever came later."""
    monkeypatch.setattr("crawler.queries.changes.MANY", 3)
    diary = Diary(engine)
    for number in range(6):
        diary.run({TARGETS[0]: {"uimage-x": "Debian 12", f"uimage-{number}": f"New {number}"}})
    with read(engine) as conn:
        moments = sorted({change.recorded_at for change in changes.changes(conn)})

    def asked(since: datetime | None, until: datetime | None) -> tuple[list[str], bool]:
        with read(engine) as conn, statements(engine) as every:
            found = [str(row.event) for row in changes.changes(conn, since, until, filters=Filters(name=("New 1",)))]
        return found, any("SELECT DISTINCT image_versions.image_id" in sql for sql, _ in every)

    assert asked(None, None) == asked(moments[0], None) == (["appeared", "withdrawn"], True)
    assert asked(moments[0], moments[1]) == asked(None, moments[1]) == (["appeared"], False)
    assert asked(moments[-1], END_OF_TIME) == ([], False)


@pytest.mark.parametrize("many", [0, 20_000])
def test_changes_of_a_name(engine: Engine, monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    """That an image has a new name is told under the old one as well, as `diff` and reports do; all else is not."""
    monkeypatch.setattr("crawler.queries.changes.MANY", many)
    home, diary = TARGETS[0], Diary(engine)
    diary.run({home: {"uimage-x": "Debian 12", "uimage-a": {"ImageName": "CentOS 7.6", "OsType": "Linux"}}})
    diary.run({home: {"uimage-x": "Debian 12", "uimage-a": {"ImageName": "CentOS 7.9", "OsType": "Linux"}}})
    diary.run({home: {"uimage-x": "Debian 12", "uimage-a": {"ImageName": "CentOS 7.9", "OsType": "Windows"}}})

    def told(**filters: Any) -> list[tuple[str | None, list[str]]]:
        with read(engine) as conn:
            return [(row.image_name, sorted(row.fields)) for row in changes.changes(conn, filters=Filters(**filters))]

    renamed, changed = ("CentOS 7.9", ["image_name"]), ("CentOS 7.9", ["os_type"])
    assert told() == told(name=("CentOS 7.9",)) == told(name=("centos*",)) == [renamed, changed]
    assert told(name=("centos 7.6",)) == told(name=("*7.6",), image_id=("uimage-a",)) == [renamed]
    assert told(name=("centos 7.6",), image_id=("uimage-x",)) == told(name=("Debian 12",)) == []
    assert told(name=("*7.6",), image_set=("CustomImageSet",)) == []


def test_changes_of_targets_fit_no_image(engine: Engine) -> None:
    """A change of a target as such is left out as soon as images are asked for."""
    assert not Filters(name=("*",)).wants_image(None, None, None)
    assert not Filters(image_id=("*",)).wants_image(None, None, None)
    assert Filters().wants_image(None, None, None)


def test_status(engine: Engine) -> None:
    """The status tells since when each outcome lasts and how long ago all was well."""
    diary = Diary(engine)
    home, away, third, fourth = TARGETS[:4]
    diary.run({home: NAMES, away: NAMES, third: Refusal()})
    baseline = diary.now
    diary.run({home: NAMES, away: Refusal(message="down"), third: NAMES})
    healed = diary.now
    diary.run({home: NAMES, away: Refusal(message="still down"), third: NAMES})
    diary.ids([fourth])
    with read(engine) as conn:
        rows = {row.target: row for row in status.status(conn, now=diary.now)}
        one = status.status(conn, Filters(project=(away.project,), zone=(away.zone,)), now=diary.now)

    assert (rows[home].outcome, rows[home].since, rows[home].last_ok_at) == ("ok", baseline, diary.now)
    assert (rows[third].outcome, rows[third].since) == ("ok", healed)
    assert (rows[fourth].outcome, rows[fourth].since, rows[fourth].images) == (None, None, 0)
    assert (rows[away].outcome, rows[away].message, rows[away].last_ok_at) == ("failed", "down", baseline)
    since = rows[away].since
    assert since is not None
    assert baseline < since < healed
    assert rows[away].images == 4
    assert one == [rows[away]]


def test_plans(sqlite_url: str) -> None:
    """No answer about some targets scans a table that grows."""
    with opened(sqlite_url) as engine:
        diary = Diary(engine)
        for number in range(3):
            diary.run({where: {**NAMES, f"uimage-{number}": "New"} for where in TARGETS})
        filters = Filters(zone=("hk-01",))
        with read(engine) as conn, statements(engine) as asked:
            list(queries_images.images(conn, START + PERIOD, filters, now=diary.now, stale_after=STALE))
            list(queries_images.images(conn, None, Filters(name=("New",)), now=diary.now, stale_after=STALE))
            list(queries_images.images(conn, None, Filters(image_id=("uimage-a",)), now=diary.now, stale_after=STALE))
            list(changes.changes(conn, since=START, until=diary.now))
            list(changes.changes(conn, since=START, filters=filters))
            status.status(conn, filters, now=diary.now)
            list(queries_runs.runs(conn, limit=5))
            queries_runs.run(conn, 1)
        with read(engine) as conn:
            scanned = {statement[0]: tables for statement in asked if (tables := scans(conn, statement))}
    # the newest few runs, from the end
    allowed = {sql for sql in scanned if "ORDER BY runs.id DESC" in sql and "LIMIT" in sql}
    assert {sql: tables for sql, tables in scanned.items() if sql not in allowed} == {}
    assert len(asked) > 10


def test_read_only_database(engine: Engine) -> None:
    """Reading writes nothing, not even a lock that would need permission."""
    diary = Diary(engine)
    diary.run(dict.fromkeys(TARGETS, NAMES))
    url = engine.url.render_as_string(hide_password=False)
    with (
        opened(engine.url.database or "" if "sqlite" in url else url, read_only=True) as readers,
        read(readers) as conn,
    ):
        assert len(list(queries_images.images(conn, None, now=diary.now, stale_after=STALE))) == 24
        assert conn.execute(select(text("1"))).scalar() == 1
