"""The public views tell outsiders the truth, in their own words, and agree with our own readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, insert, text

from crawler.db import schema
from crawler.db.engine import begin, is_sqlite, read
from crawler.db.schema import OPEN_RUN, Base
from crawler.domain.models import END_OF_TIME, iso_utc
from crawler.domain.rows import ImageRow
from crawler.queries.images import images

# The views ask the database's own clock, so the story is told backwards from now.
NOW = datetime.now(UTC).replace(microsecond=0)
STALE_AFTER = timedelta(hours=26)


def ago(hours: float) -> datetime:
    """Return the moment so many hours before the tests began."""
    return NOW - timedelta(hours=hours)


def add(connection: Connection, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows one by one, so that they may name different columns."""
    for row in rows:
        connection.execute(insert(table).values(**row))


#: Targets by what happened to them; the last finished run is an hour old.
TARGETS = {
    1: "hk-good",
    2: "hk-failed",
    3: "hk-held",
    4: "hk-retired",
    5: "hk-stale",
    6: "hk-new",
    7: "hk-recovered",
    8: "hk-deselected",
}


def version(number: int, name: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of an image version."""
    return {
        "id": number,
        "digest": str(number),
        "image_set": "ImageSet",
        "image_id": f"uimage-{number}",
        "image_name": name,
        "name_key": name.lower(),
        "gpu": attributes.get("gpu"),
        "attributes": {"image_name": name, **attributes},
    }


def interval(target: int, image: int, since: float, until: float | None = None, **more: Any) -> dict[str, Any]:
    """Return the row of an interval from *since* to *until* hours ago."""
    return {
        "target_id": target,
        "version_id": image,
        "valid_from": ago(since),
        "valid_to": END_OF_TIME if until is None else ago(until),
        "present_since": ago(since),
        "opened_run_id": 1,
        "closed_run_id": None if until is None else 3,
        **more,
    }


def trouble(target: int, first: int, end: int, outcome: str, **more: Any) -> dict[str, Any]:
    """Return the row of a span of runs that did not go well."""
    return {
        "target_id": target,
        "from_run_id": first,
        "to_run_id": end,
        "outcome": outcome,
        "since": ago(4),
        "message": outcome,
        **more,
    }


@pytest.fixture
def story(engine: Engine) -> Engine:
    """Return a database with one target per state of knowledge."""
    full = {
        "gpu": False,
        "os_type": "Linux",
        "os_name": "Ubuntu 20.04",
        "features": ["NetEnhanced", "HotPlug"],
        "gpu_types": [],
        "software": "docker",
        "size_gb": 40,
        "zone_id": 9001,
        "extra": {"Colour": "blau ü"},
    }
    with begin(engine) as c:
        add(c, schema.Setting, [{"name": "stale_after_seconds", "value": str(STALE_AFTER.total_seconds())}])
        add(c, schema.Account, [{"id": 1, "name": "prod", "endpoint": "x"}, {"id": 2, "name": "dev", "endpoint": "y"}])
        add(c, schema.Scope, [{"id": i, "digest": str(i), "size": s} for i, s in ((1, 7), (2, 1), (3, 5))])
        for number, scope, start, end, status in (
            (1, 1, 50, 49.5, "complete"),
            (2, 2, 40, 39.5, "complete"),
            (3, 3, 5, 4.5, "incomplete"),
            (4, 3, 1.5, 1, "incomplete"),
            (5, 1, 0.2, None, "running"),
        ):
            finished = None if end is None else ago(end)
            row = {"id": number, "scope_id": scope, "started_at": ago(start), "finished_at": finished, "accounts": [1]}
            add(c, schema.Run, [{**row, "status": status, "notices": ["ü"] if number == 3 else None}])
        for number, zone in TARGETS.items():
            place = {"project": "org-x", "project_name": "Team", "region": "hk", "zone": zone, "kind": "uk8s-image"}
            add(c, schema.TargetRow, [{"id": number, "account_id": 1, "variant": "default", **place}])
        members = {1: (1, 2, 3, 4, 5, 7, 8), 2: (5,), 3: (1, 2, 3, 7, 8)}
        add(
            c,
            schema.ScopeTarget,
            [{"scope_id": scope, "target_id": target} for scope, targets in members.items() for target in targets],
        )
        add(
            c,
            schema.ImageVersion,
            [version(1, "Ubuntu", full), version(2, "Ubuntu", {}), version(3, "Ubuntu", {}), version(4, "", {})],
        )
        add(c, schema.Interval, [interval(target, 1, 50, baseline=True) for target in (1, 2, 3, 4, 5, 6, 7, 8)])
        add(c, schema.Interval, [interval(1, 2, 5), interval(1, 3, 4), interval(1, 4, 50, 4.5)])
        add(
            c,
            schema.OutcomeSpan,
            [
                trouble(2, 3, OPEN_RUN, "failed", ret_code=150, failure_class="transient", last_good_at=ago(49.5)),
                trouble(3, 4, OPEN_RUN, "held"),
                trouble(7, 2, 4, "failed", last_good_at=ago(49.5)),
                trouble(7, 5, OPEN_RUN, "failed", last_good_at=ago(1)),
            ],
        )
        add(
            c,
            schema.Absence,
            [
                {"target_id": 4, "reason": "retired", "valid_from": ago(3), "valid_to": END_OF_TIME},
                {"target_id": 8, "reason": "deselected", "valid_from": ago(3), "valid_to": END_OF_TIME},
                {"target_id": 1, "reason": "retired", "valid_from": ago(30), "valid_to": ago(20)},
            ],
        )
        hold = {"id": 1, "target_id": 3, "run_id": 4, "held_at": ago(1.2), "status": "open", "resolved_at": END_OF_TIME}
        add(c, schema.Hold, [hold])
        add(c, schema.HoldImage, [{"hold_id": 1, "position": 0, "image_set": "ImageSet", "image_id": "uimage-1"}])
        seen = {"run_id": 3, "target_id": 1, "observed_at": ago(4.6), "recorded_at": ago(4.5), "not_before": ago(49.5)}
        shown = {"image_set": "ImageSet", "image_id": "uimage-4", "image_name": "Old", "counterpart": "uimage-2"}
        add(c, schema.ChangeLog, [{"event": "withdrawn", **seen, **shown}])
        add(c, schema.ChangeLog, [{"event": "target_added", **seen, "not_before": None}])
    return engine


def rows(engine: Engine, statement: str) -> list[dict[str, Any]]:
    """Return what an outsider gets for a statement."""
    with read(engine) as connection:
        return [dict(row) for row in connection.execute(text(statement)).mappings()]


def moment(engine: Engine, at: datetime | None) -> Any:
    """Return a moment as the views write it on this database."""
    if at is None or not is_sqlite(engine):
        return at
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def test_current_images_say_what_is_known(story: Engine) -> None:
    """Each target's images have the state, the reason and the last good observation that its story gives."""
    told = {
        row["zone"]: (row["state"], row["reason"], row["observed_at"])
        for row in rows(story, "SELECT * FROM current_images WHERE image_id = 'uimage-1'")
    }

    assert told == {
        "hk-good": ("present", None, moment(story, ago(1))),
        "hk-failed": ("unknown", "failed", moment(story, ago(49.5))),
        "hk-held": ("unknown", "held", moment(story, ago(1))),
        "hk-retired": ("unknown", "retired", moment(story, ago(49.5))),
        "hk-stale": ("unknown", "stale", moment(story, ago(39.5))),
        "hk-new": ("unknown", "never_observed", None),
        "hk-recovered": ("present", None, moment(story, ago(1))),
        "hk-deselected": ("unknown", "deselected", moment(story, ago(1))),
    }


def test_current_images_agree_with_our_reader(story: Engine) -> None:
    """The view and `crawler images --retired` are two ways to the same answer."""

    def ours(row: ImageRow) -> tuple[Any, ...]:
        known = (row.state, row.reason, moment(story, row.observed_at), row.superseded_by, row.baseline)
        return (row.target.zone, row.image_id, row.image_name or None, moment(story, row.valid_from), *known)

    with read(story) as connection:
        expected = {
            ours(row) for row in images(connection, None, now=NOW, stale_after=STALE_AFTER, include_retired=True)
        }
    columns = "zone, image_id, image_name, valid_from, state, reason, observed_at, superseded_by, baseline"

    assert {tuple(row.values()) for row in rows(story, f"SELECT {columns} FROM current_images")} == expected


def test_stale_after_is_the_last_runs_setting(story: Engine) -> None:
    """The age at which knowledge is stale is read from the database; 26 hours where no run has said."""
    query = "SELECT zone FROM current_images WHERE reason = 'stale'"
    with begin(story) as connection:
        connection.execute(text("UPDATE settings SET value = '1800'"))
    assert {row["zone"] for row in rows(story, query)} == {"hk-good", "hk-stale", "hk-recovered"}

    with begin(story) as connection:
        connection.execute(text("DELETE FROM settings"))
    assert {row["zone"] for row in rows(story, query)} == {"hk-stale"}


def test_superseded_images_name_the_newest(story: Engine) -> None:
    """Of three images of one name the newest supersedes both others; a target that lists only one has no such thing."""
    told = rows(story, "SELECT zone, image_id, superseded_by FROM current_images WHERE superseded_by IS NOT NULL")

    assert sorted(told, key=str) == [
        {"zone": "hk-good", "image_id": "uimage-1", "superseded_by": "uimage-3"},
        {"zone": "hk-good", "image_id": "uimage-2", "superseded_by": "uimage-3"},
    ]


def test_newest_that_came_together_supersede_nothing(story: Engine) -> None:
    """Where two of three images of a name came together after the first, neither is named; the reader says the same."""
    with begin(story) as connection:
        [since] = connection.scalars(
            text(
                "SELECT i.present_since FROM intervals AS i JOIN image_versions AS v ON v.id = i.version_id"
                " WHERE i.target_id = 1 AND v.image_id = 'uimage-3'"
            )
        )
        same = "SELECT id FROM image_versions WHERE image_id = 'uimage-2'"
        connection.execute(
            text(f"UPDATE intervals SET present_since = :since WHERE target_id = 1 AND version_id IN ({same})"),
            {"since": since},
        )
    told = rows(story, "SELECT image_id, superseded_by FROM current_images WHERE zone = 'hk-good'")

    assert {row["image_id"] for row in told} >= {"uimage-1", "uimage-2", "uimage-3"}
    assert {row["superseded_by"] for row in told} == {None}
    with read(story) as connection:
        ours = images(connection, None, now=NOW, stale_after=STALE_AFTER)
        assert {row.superseded_by for row in ours if row.target.zone == "hk-good"} == {None}


def test_attributes_are_columns(story: Engine) -> None:
    """Every known field is a column of its own; lists and objects are JSON text, and what is not stated is NULL."""
    columns = "image_name, gpu, os_type, os_name, features, gpu_types, software, size_gb, zone_id, extra"
    query = f"SELECT {columns} FROM image_history WHERE target_id = 1 ORDER BY interval_id"
    full, *_, bare = (list(row.values()) for row in rows(story, query))

    assert full == [
        *("Ubuntu", False, "Linux", "Ubuntu 20.04", '["NetEnhanced","HotPlug"]', "[]", "docker"),
        *(40, 9001, '{"Colour":"blau ü"}'),
    ]
    assert bare == [None] * 10


def test_open_ends_are_null(story: Engine) -> None:
    """An open interval ends at NULL, never at the sentinel; a closed one at its time, with seconds beside it."""
    query = (
        "SELECT is_open, valid_to, valid_to_epoch, valid_from, valid_from_epoch, state FROM image_history"
        " WHERE target_id = 1 AND image_id IN ('uimage-1', 'uimage-4') ORDER BY image_id"
    )
    is_open, closed = (list(row.values()) for row in rows(story, query))

    assert is_open == [True, None, None, moment(story, ago(50)), ago(50).timestamp(), "present"]
    end = ago(4.5)
    assert closed == [False, moment(story, end), end.timestamp(), moment(story, ago(50)), ago(50).timestamp(), None]


def test_sqlite_timestamps_are_in_order_as_text(sqlite_url: str, story: Engine) -> None:
    """Milliseconds are always written, cut and not rounded, so that text order is time order."""
    if not is_sqlite(story):
        pytest.skip("timestamptz has an order of its own")
    with begin(story) as connection:
        connection.execute(text("UPDATE runs SET finished_at = finished_at + 999999 WHERE id = 4"))

    (row,) = rows(story, "SELECT finished_at, finished_at_epoch FROM run_log WHERE run = 4")
    assert row["finished_at"] == (iso_utc(ago(1)) or "").replace("Z", ".999Z")
    assert row["finished_at_epoch"] == pytest.approx(ago(1).timestamp() + 0.999999, abs=1e-6)


def test_change_log_has_target_and_both_times(story: Engine) -> None:
    """A change tells its target, when it can have happened and when it was written."""
    withdrawn, added = rows(story, "SELECT * FROM change_log ORDER BY id")

    assert (withdrawn["account"], withdrawn["project"], withdrawn["zone"]) == ("prod", "org-x", "hk-good")
    assert (withdrawn["run"], withdrawn["event"], withdrawn["counterpart"]) == (3, "withdrawn", "uimage-2")
    assert withdrawn["not_before"] == moment(story, ago(49.5))
    assert withdrawn["recorded_at_epoch"] == ago(4.5).timestamp()
    assert (added["event"], added["image_id"], added["not_before"]) == ("target_added", None, None)


def test_coverage_has_a_row_per_target_and_finished_run(story: Engine) -> None:
    """A finished run covers the targets of its scope; a span of trouble covers the runs inside it, and no others."""
    told = rows(story, "SELECT zone, run, outcome, is_good FROM coverage ORDER BY target_id, run")
    outcomes: dict[str, list[tuple[int, str]]] = {}
    for row in told:
        outcomes.setdefault(row["zone"], []).append((row["run"], row["outcome"]))
        assert bool(row["is_good"]) == (row["outcome"] in ("ok", "held"))

    assert outcomes == {
        "hk-good": [(1, "ok"), (3, "ok"), (4, "ok")],
        "hk-failed": [(1, "ok"), (3, "failed"), (4, "failed")],
        "hk-held": [(1, "ok"), (3, "ok"), (4, "held")],
        "hk-retired": [(1, "ok")],
        "hk-stale": [(1, "ok"), (2, "ok")],
        "hk-recovered": [(1, "ok"), (3, "failed"), (4, "ok")],
        "hk-deselected": [(1, "ok"), (3, "ok"), (4, "ok")],
    }
    (failed,) = rows(story, "SELECT * FROM coverage WHERE zone = 'hk-failed' AND run = 4")
    assert (failed["ret_code"], failed["failure_class"], failed["message"]) == (150, "transient", "failed")
    assert failed["finished_at"] == moment(story, ago(1))


def test_unknown_spans_tell_absences_and_holds(story: Engine) -> None:
    """A target that was asked no more, and an image on hold, have a span each; one that lasts has no end."""
    columns = "zone, image_set, image_id, reason, unknown_from, unknown_to, is_open"
    told = {
        (row["zone"], row["image_set"], row["image_id"], row["reason"]): (
            row["unknown_from"],
            row["unknown_to"],
            bool(row["is_open"]),
        )
        for row in rows(story, f"SELECT {columns} FROM unknown_spans")
    }

    assert told == {
        ("hk-retired", None, None, "retired"): (moment(story, ago(3)), None, True),
        ("hk-deselected", None, None, "deselected"): (moment(story, ago(3)), None, True),
        ("hk-good", None, None, "retired"): (moment(story, ago(30)), moment(story, ago(20)), False),
        ("hk-held", "ImageSet", "uimage-1", "held"): (moment(story, ago(1.2)), None, True),
    }


def test_run_log_names_accounts_and_what_is_open(story: Engine) -> None:
    """A run tells the names of its accounts; one that still runs has no end."""
    told = rows(story, "SELECT run, status, is_open, finished_at, accounts, targets, notices FROM run_log ORDER BY run")

    assert [row["accounts"] for row in told] == ['["prod"]'] * 5
    assert [bool(row["is_open"]) for row in told] == [False] * 4 + [True]
    assert [row["targets"] for row in told] == [7, 1, 5, 5, 7]
    assert (told[4]["finished_at"], told[2]["notices"]) == (None, '["ü"]')


@pytest.mark.parametrize("view", ["current_images", "image_history", "coverage", "unknown_spans"])
def test_zone_reaches_the_indexes(story: Engine, view: str) -> None:
    """A condition on the zone reads the targets and then goes by index: no other table is read from end to end."""
    if not is_sqlite(story):
        pytest.skip("PostgreSQL plans by size, and this story is small")
    plan = [row["detail"] for row in rows(story, f"EXPLAIN QUERY PLAN SELECT * FROM {view} WHERE zone = 'hk-good'")]

    scans = {line.split()[1] for line in plan if line.startswith("SCAN")}
    assert scans <= {"t", "y", view} | {name for name in scans if name.startswith("(subquery")}, plan
