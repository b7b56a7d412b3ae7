"""The ledger of runs and the roster of targets."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from sqlalchemy import Connection, Engine, select, text

from crawler.db import last_observation, runs
from crawler.db import targets as db_targets
from crawler.db.engine import begin, read
from crawler.db.schema import Absence, CatalogRow, Mark, Run, Scope, Setting, TargetRow, Variant
from crawler.db.sql import PORTION
from crawler.domain.filters import Filters
from crawler.domain.models import END_OF_TIME, Catalog, Place, Project, RunStatus
from crawler.domain.rows import RunSummary
from crawler.domain.targets import Reconciliation, Selection, reconcile
from crawler.errors import ClockWentBackwards, ConfigurationError
from crawler.queries import changes as queries_changes
from crawler.queries import images, status
from crawler.queries import runs as queries_runs
from tests.support.diary import PERIOD, START, Diary, Refusal, target

HOME = target()
AWAY = target("cn-bj2-04")
STALE = timedelta(hours=26)
CATALOG = Catalog(
    projects=(Project("org-x", "X"),),
    places=(Place("cn-bj2", "cn-bj2-04", 8100), Place("hk", "hk-02", 3002)),
)
ONE_PLACE = Catalog(projects=CATALOG.projects, places=CATALOG.places[:1])
ONE = {"uimage-a": "CentOS 7.6"}


def count(engine: Engine, table: Any) -> int:
    with read(engine) as conn:
        return len(conn.execute(select(table)).all())


def shown(engine: Engine, run_id: int) -> RunSummary:
    with read(engine) as conn:
        summary = queries_runs.run(conn, run_id)
    assert summary is not None
    return summary


def zones(diary: Diary, at: datetime, **more: Any) -> dict[str, str]:
    with read(diary.engine) as conn:
        rows = images.images(conn, at, now=at, stale_after=STALE, **more)
        return {row.target.zone: row.reason or row.state for row in rows}


def discover(
    diary: Diary, catalog: Catalog, previous: Catalog | None, *, discovery: timedelta = timedelta(), **more: Any
) -> Reconciliation:
    """Play what a run does with one discovery, from targets to the end of the run."""
    diary.now += PERIOD
    with begin(diary.engine) as conn:
        rec = reconcile(
            catalog,
            Selection(account="prod", **more),
            db_targets.known_targets(conn, diary.account_id),
            previous=previous,
            is_good=True,
        )
        db_targets.save_catalog(conn, diary.account_id, catalog, diary.now)
        db_targets.add_targets(conn, diary.account_id, rec.new)
        ids = {known.target: known.target_id for known in db_targets.known_targets(conn, diary.account_id)}
        run_id = runs.begin_run(
            conn,
            started_at=diary.now,
            account_ids=[diary.account_id],
            target_ids=[ids[where] for where in rec.asked],
        )
        written = diary.now + discovery
        db_targets.apply_reconciliation(conn, diary.account_id, rec, run_id, diary.now, recorded_at=written)
        runs.finish_run(conn, run_id, "failed", diary.tick())
    return rec


def test_accounts(engine: Engine) -> None:
    """An account is its name: a moved endpoint keeps the id."""
    with begin(engine) as conn:
        first = db_targets.account_ids(conn, {"prod": "http://a/", "test": "http://b/"})
        again = db_targets.account_ids(conn, {"prod": "http://c/"})

    assert again == {"prod": first["prod"]}
    assert first["prod"] != first["test"]


def test_variants(engine: Engine) -> None:
    """A variant keeps its parameters; other ones under a used name are a configuration error that names it."""
    with begin(engine) as conn:
        account_id = db_targets.account_ids(conn, {"prod": "http://a/"})["prod"]
        db_targets.check_variants(conn, account_id, {"default": {}, "gpu": {"MachineType": "G"}})
        db_targets.check_variants(conn, account_id, {"gpu": {"MachineType": "G"}, "cpu": {"MachineType": "N"}})
        with pytest.raises(ConfigurationError, match="variant 'gpu'"):
            db_targets.check_variants(conn, account_id, {"gpu": {"MachineType": "O"}})
    assert count(engine, Variant) == 3


def test_catalog(engine: Engine) -> None:
    """A catalog comes back as it was kept, and is kept only when it differs."""
    diary = Diary(engine)
    with begin(engine) as conn:
        assert db_targets.last_catalog(conn, diary.account_id) is None
        assert db_targets.save_catalog(conn, diary.account_id, CATALOG, START)
        assert not db_targets.save_catalog(conn, diary.account_id, CATALOG, START)
        assert db_targets.last_catalog(conn, diary.account_id) == CATALOG
    assert count(engine, CatalogRow) == 1


@pytest.mark.parametrize("is_default", [False, True])
@pytest.mark.parametrize("name", ["", "X"])
def test_whether_projects_were_listed(engine: Engine, name: str, is_default: bool) -> None:
    """A list is known as one, whatever it states of its projects; so are ids that the configuration named."""
    diary = Diary(engine)
    listed = replace(CATALOG, projects=(Project("org-x", name, is_default),))
    configured = replace(CATALOG, projects=(Project("org-x"),), is_listed=False)
    with begin(engine) as conn:
        for catalog in (listed, configured, listed):
            assert db_targets.save_catalog(conn, diary.account_id, catalog, START)
            assert db_targets.last_catalog(conn, diary.account_id) == catalog


def test_scopes_are_shared(engine: Engine) -> None:
    """Runs over the same targets share one scope."""
    diary = Diary(engine)
    for answers in ({HOME: ONE, AWAY: ONE}, {AWAY: ONE, HOME: ONE}, {HOME: ONE}):
        diary.run(answers)

    assert count(engine, Scope) == 2


def test_plan_order(engine: Engine) -> None:
    """Targets are planned oldest good observation first; one never observed well leads."""
    diary = Diary(engine)
    third = target("hk-01")
    diary.run({HOME: ONE, AWAY: ONE})
    diary.run({HOME: ONE, AWAY: Refusal()})
    ids = diary.ids([HOME, AWAY, third])
    with read(engine) as conn:
        planned = runs.plan(conn, list(ids.values()), [diary.account_id])

    assert [entry.target for entry in planned] == [third, AWAY, HOME]
    assert [entry.ever_ok for entry in planned] == [False, True, True]
    assert [bool(entry.body_hash) for entry in planned] == [False, True, True]


def test_plan_keeps_zones_together(engine: Engine) -> None:
    """Of targets observed equally long ago, the projects of a zone are asked next to each other."""
    diary = Diary(engine)
    targets = [target(zone, project=project) for project in ("org-a", "org-b") for zone in ("hk-01", "hk-02")]
    diary.run(dict.fromkeys(targets, ONE))
    ids = diary.ids(targets)
    with read(engine) as conn:
        planned = runs.plan(conn, list(ids.values()), [diary.account_id])

    assert [(entry.target.zone, entry.target.project) for entry in planned] == [
        ("hk-01", "org-a"),
        ("hk-01", "org-b"),
        ("hk-02", "org-a"),
        ("hk-02", "org-b"),
    ]


def test_killed_run(engine: Engine) -> None:
    """A killed run counts for exactly the targets it had recorded, and the others keep their last observation."""
    diary = Diary(engine)
    targets = [target(f"hk-{n:02}") for n in range(20)]
    diary.run(dict.fromkeys(targets, ONE))
    first_end = diary.now
    diary.now += PERIOD
    run_id, recorder = diary.start(targets)
    reached = targets[3:9]
    recorder.judge([diary.item(where, ONE) for where in reached[:4]])
    recorder.commit()
    recorder.judge([diary.item(where, Refusal()) for where in reached[4:]])
    recorder.commit()
    died = diary.now
    diary.now += PERIOD

    with begin(engine) as conn:
        assert runs.recover(conn, [diary.account_id + 1], diary.now) == []
        assert runs.recover(conn, [diary.account_id], diary.now) == [run_id]
        assert runs.recover(conn, [diary.account_id], diary.now) == []
    with read(engine) as conn:
        seen = last_observation.last_runs(conn, list(diary.ids(targets).values()))
    ids = diary.ids(targets)
    assert {where for where in targets if seen[ids[where]].run_id == run_id} == set(reached)
    assert {run.finished_at for run in seen.values()} == {first_end, died}
    summary = shown(engine, run_id)
    assert (summary.status, summary.targets["total"], summary.targets["ok"]) == ("interrupted", 6, 4)
    assert [failure.target for failure in summary.failures] == reached[4:]


def test_killed_run_whose_clock_was_set_back(engine: Engine) -> None:
    """It ends no sooner than it began, so that what it found is what is known of its targets last."""
    diary = Diary(engine)
    diary.run({HOME: ONE})
    diary.now += PERIOD
    began = diary.now
    run_id, recorder = diary.start([HOME])
    diary.now -= 2 * PERIOD
    recorder.judge([diary.item(HOME, Refusal())])
    recorder.commit()
    diary.now = began + PERIOD

    with begin(engine) as conn:
        assert runs.recover(conn, [diary.account_id], diary.now) == [run_id]
    assert shown(engine, run_id).finished_at == began
    with read(engine) as conn:
        assert [row.outcome for row in status.status(conn, now=diary.now)] == ["failed"]
    diary.run({HOME: ONE})
    with read(engine) as conn:
        assert [row.outcome for row in status.status(conn, now=diary.now)] == ["ok"]


def test_run_that_died_at_once(engine: Engine) -> None:
    """A run that recorded nothing observed nothing."""
    diary = Diary(engine)
    run_id, _ = diary.start([HOME])
    diary.now += PERIOD
    diary.run({HOME: ONE})

    dead = shown(engine, run_id)
    assert (dead.status, dead.finished_at, dead.targets["total"]) == ("interrupted", dead.started_at, 0)


def test_run_that_died_before_its_first_mark(engine: Engine) -> None:
    """The mark that an earlier run left is not taken for that of a run that died without one."""
    diary = Diary(engine)
    targets = [target(f"hk-{n:02}") for n in range(20)]
    diary.run(dict.fromkeys(targets, ONE))
    with read(engine) as conn:
        (mark,) = conn.execute(select(Mark.run_id, Mark.reached, Mark.reached_at))
    assert (mark.run_id, mark.reached, mark.reached_at > START) == (1, b"\xff\xff\x0f", True)
    diary.now += PERIOD
    began = diary.now
    run_id, recorder = diary.start(targets)
    recorder.judge([diary.item(where, ONE) for where in targets])
    assert shown(engine, run_id).targets["ok"] == 0
    diary.now += PERIOD
    with begin(engine) as conn:
        assert runs.last_instant(conn, [diary.account_id]) == began
        assert runs.recover(conn, [diary.account_id], diary.now) == [run_id]

    dead = shown(engine, run_id)
    assert (dead.status, dead.finished_at, dead.targets["total"], dead.targets["ok"]) == ("interrupted", began, 0, 0)
    with read(engine) as conn:
        assert {run.run_id for run in last_observation.last_runs(conn, list(diary.ids(targets).values())).values()} == {
            1
        }


def test_run_that_goes_on(engine: Engine) -> None:
    """A run that goes on tells what it has recorded so far, to readers of the view as well."""
    diary = Diary(engine)
    diary.run({HOME: ONE, AWAY: Refusal()})
    run_id, recorder = diary.start([HOME, AWAY])
    recorder.judge([diary.item(AWAY, Refusal())])
    recorder.commit()

    summary = shown(engine, run_id)
    assert (summary.targets["ok"], summary.targets["failed"]) == (0, 1)
    assert [failure.target for failure in summary.failures] == [AWAY]
    with read(engine) as conn:
        told = conn.execute(text("SELECT run, ok, failed, appeared, sent FROM run_log ORDER BY run"))
        assert [tuple(row) for row in told] == [(1, 1, 1, 0, 0), (run_id, 0, 1, 0, 0)]


def test_runs_of_two_accounts_at_a_time(engine: Engine) -> None:
    """Runs of different accounts go on at the same time, each with its own mark."""
    first, second = Diary(engine), Diary(engine, account="other")
    there = target(account="other")
    run_id, recorder = first.start([HOME, AWAY])
    other_id, other = second.start([there])
    recorder.judge([first.item(HOME, ONE)])
    other.judge([second.item(there, ONE)])
    recorder.commit()
    other.commit()
    with begin(engine) as conn:
        assert runs.recover(conn, [first.account_id], first.now + PERIOD) == [run_id]
    second.finish(other_id, other)

    assert [shown(engine, run).targets["total"] for run in (run_id, other_id)] == [1, 1]
    assert [shown(engine, run).status for run in (run_id, other_id)] == ["interrupted", "complete"]


def test_unfinished_business(engine: Engine) -> None:
    """A run that ends before it got to all its targets counts for those it got to."""
    diary = Diary(engine)
    run_id, recorder = diary.start([HOME, AWAY])
    recorder.judge([diary.item(HOME, ONE)])
    recorder.commit()
    diary.finish(run_id, recorder, "incomplete")

    assert shown(engine, run_id).targets["total"] == 1
    with read(engine) as conn:
        rows = {row.target: row.outcome for row in status.status(conn, now=diary.now)}
    assert rows == {HOME: "ok", AWAY: None}


def test_clock_that_went_backwards(engine: Engine) -> None:
    """A clock before the last recorded moment of the account stops the run; other accounts do not matter."""
    diary = Diary(engine)
    diary.run({HOME: ONE})
    with begin(engine) as conn:
        other = db_targets.account_ids(conn, {"other": "http://b/"})["other"]
        with pytest.raises(ClockWentBackwards, match="2026-06-01"):
            runs.recover(conn, [diary.account_id, other], START)
        runs.recover(conn, [other], START)
        runs.recover(conn, [diary.account_id], diary.now)


def test_last_moment_of_an_account_that_rests(engine: Engine) -> None:
    """The last moment of an account is found however many runs others did since."""
    diary = Diary(engine)
    diary.run({HOME: ONE})
    end = diary.now
    other = Diary(engine, account="other", now=diary.now)
    for _ in range(25):
        other.run({target(account="other"): ONE})
    with read(engine) as conn:
        assert runs.last_instant(conn, [diary.account_id]) == end
        assert runs.last_instant(conn, [diary.account_id, other.account_id]) == other.now


@pytest.mark.parametrize("seed", range(6))
def test_newest_run_of_an_account(engine: Engine, seed: int) -> None:
    """Whatever the runs asked for and however they ended, each account's last one is found, and its last whole one."""
    rng = random.Random(seed)
    diaries = {name: Diary(engine, account=name) for name in ("one", "other")}
    places = {name: [target(f"hk-0{number}", account=name) for number in range(3)] for name in diaries}
    now = START
    for _ in range(30):
        name = rng.choice(sorted(diaries))
        diary, asked = diaries[name], rng.sample(places[name], rng.randint(1, 3))
        diary.now = now = now + PERIOD
        run_id, recorder = diary.start(asked)
        end = rng.choice(("complete", "complete", "incomplete", "dies", "dies at once"))
        if end != "dies at once":
            recorder.judge([diary.item(where, ONE) for where in asked[: rng.randint(1, 3)]])
            recorder.commit()
        if not end.startswith("dies"):
            diary.finish(run_id, recorder, cast("RunStatus", end))
        now = max(now, diary.now)
        with read(engine) as conn:
            _compare_newest(conn, {name: diary.account_id for name, diary in diaries.items()}, now)


def _compare_newest(conn: Connection, accounts: Mapping[str, int], now: datetime) -> None:
    every = conn.execute(select(*Run.__table__.c).order_by(Run.id)).all()
    for name, account_id in accounts.items():
        own = [run for run in every if run.account_id == account_id]
        whole = [run for run in own if run.status == "complete"]
        ended = [run for run in own if run.finished_at and run.status != "interrupted"]
        assert runs.last_success(conn, [name]) == (whole[-1].finished_at if whole else None)
        found = runs._newest_runs(conn, [account_id])
        assert [run.id for run in found.values()] == [run.id for run in own[-1:]]
        for moment in (START, now - PERIOD, now):
            assert runs.is_made_since(conn, name, moment) == any(run.started_at >= moment for run in ended)


def test_runs_of_others_are_not_looked_at(engine: Engine) -> None:
    """Of many targets of one account the last runs are looked for in its own runs, and in those of several accounts."""
    diary = Diary(engine)
    many = [target(f"hk-{number:03}") for number in range(PORTION + 1)]
    diary.run(dict.fromkeys(many, ONE))
    end = diary.now
    other = Diary(engine, account="other", now=diary.now)
    for number in range(3):
        other.run({target(f"hk-{number}", account="other"): ONE})
    accounts = [diary.account_id]
    with read(engine) as conn:
        found = last_observation.last_runs(conn, list(diary.ids(many).values()), accounts=accounts)
        newest = last_observation.newest_run_per_scope(of_targets=False, of_accounts=True)
        looked_at = conn.execute(newest, {"at": END_OF_TIME, "accounts": accounts}).all()

    assert len(looked_at) == 1
    assert {run.finished_at for run in found.values()} == {end}
    assert len(found) == len(many)


def test_settings(engine: Engine) -> None:
    """A setting for the views is written when it differs."""
    for value in ("1", "1", "2"):
        with begin(engine) as conn:
            runs.save_setting(conn, "stale_after_seconds", value)
    with read(engine) as conn:
        assert [tuple(row) for row in conn.execute(select(Setting.name, Setting.value))] == [
            ("stale_after_seconds", "2")
        ]


def test_retirement(engine: Engine) -> None:
    """Three good discoveries without a target retire it with one change; its images stay, their state unknown."""
    diary = Diary(engine)
    discover(diary, CATALOG, None)
    diary.run({HOME: ONE, AWAY: ONE})
    present = diary.now
    # Both places are half of two: the list shrank by half, so it takes nine.
    for _ in range(8):
        discover(diary, ONE_PLACE, CATALOG)
    assert zones(diary, diary.now) == {"hk-02": "present", "cn-bj2-04": "present"}
    discover(diary, ONE_PLACE, ONE_PLACE)
    retired = diary.now

    with read(engine) as conn:
        changes = list(queries_changes.changes(conn))
        rows = {row.target: (row.outcome, row.since) for row in status.status(conn, now=retired)}
    assert [(change.event, change.target, change.image_id) for change in changes] == [("target_retired", HOME, None)]
    assert rows[HOME] == ("retired", changes[0].recorded_at)
    assert zones(diary, retired) == {"cn-bj2-04": "present"}
    assert zones(diary, retired, include_retired=True)["hk-02"] == "retired"
    assert zones(diary, present)["hk-02"] == "present"

    discover(diary, CATALOG, ONE_PLACE)
    with read(engine) as conn:
        assert [change.event for change in queries_changes.changes(conn)] == ["target_retired", "target_added"]
    assert zones(diary, diary.now)["hk-02"] == "present"
    assert count(engine, Absence) == 1


def test_deselection(engine: Engine) -> None:
    """A target that the configuration selects no more is deselected without a change, and comes back the same way."""
    diary = Diary(engine)
    discover(diary, CATALOG, None)
    diary.run({HOME: ONE, AWAY: ONE})
    discover(diary, CATALOG, CATALOG, zones=("cn-*",))
    assert zones(diary, diary.now, include_retired=True) == {"cn-bj2-04": "present", "hk-02": "deselected"}
    assert zones(diary, diary.now) == {"cn-bj2-04": "present"}
    discover(diary, CATALOG, CATALOG)

    assert zones(diary, diary.now) == {"cn-bj2-04": "present", "hk-02": "present"}
    with read(engine) as conn:
        assert list(queries_changes.changes(conn)) == []


def test_added_and_renamed(engine: Engine) -> None:
    """Targets new to an account with a catalog give `target_added`; a project's new name is kept."""
    diary = Diary(engine)
    discover(diary, ONE_PLACE, None)
    renamed = Catalog(projects=(Project("org-x", "New name"),), places=CATALOG.places)
    discover(diary, renamed, ONE_PLACE)

    with read(engine) as conn:
        assert [(change.event, change.target) for change in queries_changes.changes(conn)] == [("target_added", HOME)]
        assert set(conn.execute(select(TargetRow.project_name)).scalars()) == {"New name"}
        assert [run.changes["target_added"] for run in queries_runs.runs(conn)] == [0, 1]


def test_changes_of_targets_are_recorded_when_written(engine: Engine) -> None:
    """A discovery that takes its time dates what it means to the start of the run; it is recorded when written."""
    diary = Diary(engine)
    discover(diary, ONE_PLACE, None)
    discover(diary, CATALOG, ONE_PLACE, discovery=timedelta(minutes=2))

    with read(engine) as conn:
        (change,) = queries_changes.changes(conn)
        assert change.recorded_at - change.observed_at == timedelta(minutes=2)
        assert list(queries_changes.changes(conn, since=change.observed_at + timedelta(minutes=1))) == [change]


def test_quiet_discovery_writes_nothing(engine: Engine) -> None:
    """A discovery that says what is known changes no row."""
    diary = Diary(engine)
    discover(diary, CATALOG, None)
    rec = discover(diary, CATALOG, CATALOG)

    assert rec == Reconciliation(asked=(AWAY, HOME))


def test_runs(engine: Engine) -> None:
    """Runs are told oldest first, the newest few when limited, all of them when not."""
    diary = Diary(engine)
    ids = [diary.run({HOME: ONE}) for _ in range(5)]
    with read(engine) as conn:
        assert [summary.run for summary in queries_runs.runs(conn)] == ids
        assert [summary.run for summary in queries_runs.runs(conn, limit=2)] == ids[-2:]
        assert queries_runs.run(conn, 99) is None
        last = list(queries_runs.runs(conn))[-1]
    assert last.accounts == ("prod",)
    assert last.targets == {"total": 1, "ok": 1, "held": 0, "denied": 0, "failed": 0, "skipped": 0}


def test_runs_of_some_targets(engine: Engine) -> None:
    """
    Filters select the runs of accounts, and those that asked any of the targets, oldest first, the newest few of them.

    A run of an account that asked nothing is one of its runs.
    """
    diary = Diary(engine)
    both, home, away = diary.run({HOME: ONE, AWAY: ONE}), diary.run({HOME: ONE}), diary.run({AWAY: ONE})
    nothing = diary.run({})

    def found(limit: int | None = None, **globs: tuple[str, ...]) -> list[int]:
        with read(engine) as conn:
            return [summary.run for summary in queries_runs.runs(conn, limit, filters=Filters(**globs))]

    assert found(account=("pr*",)) == [both, home, away, nothing]
    assert found(2, account=("prod",)) == [away, nothing]
    assert found(account=("!prod",)) == []
    assert found(zone=(HOME.zone.upper(),)) == [both, home]
    assert found(1, zone=(HOME.zone,)) == [home]
    assert found(account=("prod",), zone=(f"!{HOME.zone}",)) == [both, away]
    assert found(kind=("node-group",)) == []


def test_naive_times_are_refused(engine: Engine) -> None:
    """No time without a time zone gets into the ledger."""
    with begin(engine) as conn, pytest.raises(Exception, match="time zone"):
        runs.begin_run(conn, started_at=datetime(2026, 1, 1), account_ids=[], target_ids=[])  # noqa: DTZ001


def test_finish_is_never_before_what_was_recorded(engine: Engine) -> None:
    """A run ends after everything it recorded, whatever the clock says by then."""
    diary = Diary(engine)
    run_id, recorder = diary.start([HOME])
    recorder.judge([diary.item(HOME, ONE)])
    recorder.commit()
    with begin(engine) as conn:
        end = runs.finish_run(conn, run_id, "complete", datetime(2026, 1, 1, tzinfo=UTC), {"sent": 3}, ["a notice"])
    with read(engine) as conn:
        row = conn.execute(select(Run.finished_at, Run.sent, Run.notices, Run.status)).one()

    assert tuple(row) == (end, 3, ["a notice"], "complete")
    assert end > START
