"""The evidence behind a change: the two answers as they came, and the runs that got and wrote them."""

from __future__ import annotations

import json
from datetime import timedelta

from sqlalchemy import Engine

from crawler.db.changelog import last_change
from crawler.db.engine import read
from crawler.db.pruning import prune
from crawler.domain.evidence import Explanation
from crawler.queries import changes
from crawler.queries.explain import explain
from tests.support.diary import START, Diary, Refusal, target

HOME, AWAY = target("hk-02"), target("hk-03")
IMAGES = {"uimage-a": "CentOS 7.6", "uimage-b": "Ubuntu 20.04", "uimage-d": "Debian 12"}


def behind(engine: Engine, image_id: str) -> Explanation:
    with read(engine) as conn:
        (change,) = [row for row in changes.changes(conn) if row.image_id == image_id and row.target == HOME]
        found = explain(conn, change.id)
    assert found is not None
    assert found.change == change
    return found


def test_reissue(engine: Engine) -> None:
    """Both answers are there as they came, with the records that differ, the change's own first."""
    diary = Diary(engine)
    diary.run({HOME: IMAGES, AWAY: IMAGES})
    seen = diary.run({HOME: IMAGES, AWAY: IMAGES})
    diary.run({HOME: Refusal(), AWAY: IMAGES})
    diary.run({AWAY: IMAGES})
    renewed = {"uimage-a": "CentOS 7.9", "uimage-c": "Ubuntu 20.04", "uimage-d": "Debian 12"}
    run = diary.run({HOME: renewed, AWAY: IMAGES})
    diary.run({HOME: renewed, AWAY: IMAGES})
    found = behind(engine, "uimage-b")

    assert found.before is not None
    assert found.after is not None
    assert [record["ImageId"] for record in found.before.document()["ImageSet"]] == list(IMAGES)
    assert [record["ImageId"] for record in found.after.document()["ImageSet"]] == list(renewed)
    assert found.after.request_uuid == "uuid-1"
    assert [(pair.image_id, pair.before is None, pair.after is None) for pair in found.records()] == [
        ("uimage-b", False, True),
        ("uimage-c", True, False),
        ("uimage-a", False, False),
    ]
    assert [r and r.run for r in (found.seen_run, found.observed_run, found.written_run)] == [seen, run, run]
    told = json.loads(json.dumps(found.as_dict()))
    assert told["runs"]["seen"]["run"] == seen
    assert told["before"]["request_uuid"] == "uuid-1"


def test_after_a_hold(engine: Engine) -> None:
    """A withdrawal that waited on a hold shows the answer that was not believed, and the run that confirmed it."""
    diary = Diary(engine)
    seen = diary.run({HOME: IMAGES})
    held = diary.run({HOME: {}})
    diary.run({HOME: {}})
    written = diary.run({HOME: {}})
    found = behind(engine, "uimage-d")

    assert [r and r.run for r in (found.seen_run, found.observed_run, found.written_run)] == [seen, held, written]
    assert {pair.image_id for pair in found.records()} == set(IMAGES)
    assert found.records()[0].image_id == "uimage-d"


def test_seen_before_a_hold(engine: Engine) -> None:
    """A withdrawal behind a held answer that was proved wrong shows the last answer that listed the image."""
    diary = Diary(engine)
    seen = diary.run({HOME: IMAGES})
    diary.run({HOME: {}})
    few = {"uimage-a": "CentOS 7.6"}
    doubted = diary.run({HOME: few})  # one of three is back, and the other two are held anew
    diary.run({HOME: few})
    written = diary.run({HOME: few})
    found = behind(engine, "uimage-d")

    assert [r and r.run for r in (found.seen_run, found.observed_run, found.written_run)] == [seen, doubted, written]
    assert [(pair.image_id, pair.before is None, pair.after is None) for pair in found.records()] == [
        ("uimage-d", False, True),
        ("uimage-b", False, True),
    ]


def test_a_run_that_has_not_ended(engine: Engine) -> None:
    """What a run under way, or a dead one, has written already was observed by it."""
    diary = Diary(engine)
    seen = diary.run({HOME: IMAGES})
    run = diary.run({HOME: {**IMAGES, "uimage-e": "SUSE"}}, finish=False)
    found = behind(engine, "uimage-e")

    assert [r and r.run for r in (found.seen_run, found.observed_run, found.written_run)] == [seen, run, run]
    assert found.observed_run is not None
    assert found.observed_run.finished_at is None


def test_after_pruning(engine: Engine) -> None:
    """What is told of a change in the kept window stays: the answers, and the runs however old they are."""
    diary = Diary(engine)
    diary.run({HOME: IMAGES})
    seen = diary.run({HOME: IMAGES})
    held = diary.run({HOME: {}})
    diary.run({HOME: {}})
    midnight = START + timedelta(days=1)
    written = diary.run({HOME: {}}, at=midnight + timedelta(hours=1))
    prune(engine, None, before=midnight, now=diary.now)
    found = behind(engine, "uimage-d")

    assert [r and r.run for r in (found.seen_run, found.observed_run, found.written_run)] == [seen, held, written]
    assert {pair.image_id for pair in found.records()} == set(IMAGES)


def test_no_such_change(engine: Engine) -> None:
    """A number that no change has gives nothing; the last one is known."""
    diary = Diary(engine)
    with read(engine) as conn:
        assert last_change(conn) == 0
    diary.run({HOME: IMAGES})
    diary.run({HOME: {**IMAGES, "uimage-e": "SUSE"}})
    with read(engine) as conn:
        assert last_change(conn) == 1
        assert explain(conn, 2) is None
