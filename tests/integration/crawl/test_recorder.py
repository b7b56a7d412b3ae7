"""The whole life of a target, as the Recorder writes it and the readers tell it."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from crawler.db.engine import read
from crawler.db.schema import (
    OPEN_RUN,
    ChangeLog,
    Hold,
    HoldImage,
    ImageVersion,
    Interval,
    OutcomeSpan,
    Payload,
    Run,
    TargetRow,
    ZoneNumber,
)
from crawler.domain.filters import Filters
from crawler.domain.guard import GuardPolicy
from crawler.domain.models import END_OF_TIME, Target
from crawler.domain.rows import ChangeRow, ImageRow, StatusRow
from crawler.queries import changes as queries_changes
from crawler.queries import images as queries_images
from crawler.queries import status as queries_status
from tests.support.diary import Diary, Refusal, reply, target

HOME = target()
AWAY = target("cn-bj2-04")
STALE = timedelta(hours=26)
FOUR = {"uimage-a": "CentOS 7.6", "uimage-b": "Ubuntu 20.04", "uimage-c": "Anolis 8.6", "uimage-d": "Debian 12"}


def rows_of(engine: Engine, table: Any) -> list[Any]:
    with read(engine) as conn:
        return list(conn.execute(select(table).order_by(table.id)).all())


def log(engine: Engine) -> list[ChangeRow]:
    with read(engine) as conn:
        return list(queries_changes.changes(conn))


def told(engine: Engine) -> list[tuple[str, str | None]]:
    return [(change.event, change.image_id) for change in log(engine)]


def images(engine: Engine, at: datetime, **more: Any) -> list[ImageRow]:
    with read(engine) as conn:
        return list(queries_images.images(conn, at, now=at, stale_after=STALE, **more))


def listed(engine: Engine, at: datetime, **more: Any) -> dict[str, str]:
    return {row.image_id: row.reason or row.state for row in images(engine, at, **more)}


def status(engine: Engine, now: datetime, where: Target = HOME) -> StatusRow:
    with read(engine) as conn:
        return next(row for row in queries_status.status(conn, now=now) if row.target == where)


def test_baseline(engine: Engine) -> None:
    """The first good observation opens intervals flagged `baseline` and writes no change."""
    diary = Diary(engine)
    run_id = diary.run({HOME: FOUR})

    assert log(engine) == []
    intervals = rows_of(engine, Interval)
    assert [(i.baseline, i.valid_to, i.opened_run_id) for i in intervals] == [(True, END_OF_TIME, run_id)] * 4
    assert diary.recorder.counters["baseline_images"] == 4
    assert rows_of(engine, TargetRow)[0].baseline_run_id == run_id
    assert listed(engine, diary.now) == dict.fromkeys(FOUR, "present")
    assert status(engine, diary.now).since == diary.now


def test_empty_baseline(engine: Engine) -> None:
    """A target that lists nothing at first has had its baseline: what it lists later has appeared."""
    diary = Diary(engine)
    diary.run({HOME: {}})
    diary.run({HOME: {"uimage-a": "CentOS 7.6"}})

    assert told(engine) == [("appeared", "uimage-a")]


def test_appear_withdraw_return(engine: Engine) -> None:
    """An image appears, is withdrawn and returns; each change is dated between two good observations."""
    diary = Diary(engine)
    diary.run({HOME: FOUR})
    diary.run({HOME: {**FOUR, "uimage-e": "New"}})
    diary.run({HOME: FOUR})
    third = diary.now
    diary.run({HOME: {**FOUR, "uimage-e": "New"}})

    assert told(engine) == [("appeared", "uimage-e"), ("withdrawn", "uimage-e"), ("returned", "uimage-e")]
    appeared, withdrawn, returned = log(engine)
    # the answers before wrote something, so the bound is their own time
    assert withdrawn.not_before == appeared.observed_at
    assert returned.not_before == withdrawn.observed_at
    assert returned.recorded_at >= returned.observed_at
    assert "uimage-e" not in listed(engine, third)
    assert listed(engine, diary.now)["uimage-e"] == "present"


def test_not_before_after_quiet_runs(engine: Engine) -> None:
    """Unchanged answers leave no time behind, so a change is dated after the start of the last good run."""
    diary = Diary(engine)
    diary.run({HOME: FOUR})
    diary.run({HOME: FOUR})
    run_id = diary.run({HOME: FOUR})
    diary.run({HOME: Refusal()})
    diary.run({HOME: Refusal()})
    diary.run({HOME: {**FOUR, "uimage-e": "New"}})

    started = {run.id: run.started_at for run in rows_of(engine, Run)}
    assert log(engine)[0].not_before == started[run_id]


def test_modified(engine: Engine) -> None:
    """A known field with another known value closes one interval and opens the next of the same presence."""
    diary = Diary(engine)
    diary.run({HOME: {"uimage-a": {"ImageName": "CentOS 7.6", "OsType": "Linux"}}})
    diary.run({HOME: {"uimage-a": {"ImageName": "CentOS 7.9", "OsType": "Linux"}}})

    change = log(engine)[0]
    assert (change.event, change.fields) == ("modified", {"image_name": ["CentOS 7.6", "CentOS 7.9"]})
    before, after = rows_of(engine, Interval)
    assert before.valid_to == after.valid_from == change.observed_at
    assert after.present_since == before.present_since == before.valid_from
    assert (before.baseline, after.baseline) == (True, False)
    assert images(engine, diary.now)[0].image_name == "CentOS 7.9"
    assert images(engine, before.valid_from)[0].image_name == "CentOS 7.6"


def test_filled(engine: Engine) -> None:
    """A field learned later fills the open interval in place, and a field that goes missing keeps its value."""
    diary = Diary(engine)
    diary.run({HOME: {"uimage-a": {"ImageName": "CentOS 7.6"}}})
    diary.run({HOME: {"uimage-a": {"ImageName": "CentOS 7.6", "NotSupportGPU": False}}})
    diary.run({HOME: {"uimage-a": {"ImageName": "CentOS 7.6"}}})

    assert log(engine) == []
    assert len(rows_of(engine, Interval)) == 1
    assert images(engine, diary.now)[0].attributes["gpu"] is True


def test_shuffled_answer(engine: Engine) -> None:
    """The same images in another order write nothing but the run, and no evidence."""
    diary = Diary(engine)
    diary.run({HOME: FOUR})
    diary.run({HOME: dict(reversed(FOUR.items()))})

    assert diary.judge.read_count == 2
    assert len(rows_of(engine, Payload)) == 1
    assert diary.recorder.counters["ok"] == 1


def test_unchanged_body(engine: Engine) -> None:
    """An equal body is not even decoded."""
    diary = Diary(engine)
    for _ in range(3):
        diary.run({HOME: FOUR})

    assert diary.judge.read_count == 1
    assert [run.ok for run in rows_of(engine, Run)] == [1, 1, 1]


def test_hold_confirmed(engine: Engine) -> None:
    """Withdrawals of most images wait for two more answers, and are then dated to the first held one."""
    diary = Diary(engine)
    diary.run({HOME: FOUR})
    rest = {"uimage-a": "CentOS 7.6"}
    diary.run({HOME: rest})
    held_at = diary.now
    assert log(engine) == []
    assert listed(engine, held_at) == {
        "uimage-a": "present",
        **dict.fromkeys(("uimage-b", "uimage-c", "uimage-d"), "held"),
    }
    assert status(engine, diary.now).outcome == "held"
    assert status(engine, diary.now).last_ok_at == held_at
    assert rows_of(engine, TargetRow)[0].body_hash is None

    diary.run({HOME: {**rest, "uimage-n": "New"}})
    assert told(engine) == [("appeared", "uimage-n")]
    diary.run({HOME: {**rest, "uimage-n": "New"}})

    hold = rows_of(engine, Hold)[0]
    assert (hold.status, hold.confirmations) == ("confirmed", 2)
    withdrawn = [change for change in log(engine) if change.event == "withdrawn"]
    assert {change.observed_at for change in withdrawn} == {hold.held_at}
    assert {change.image_id for change in withdrawn} == {"uimage-b", "uimage-c", "uimage-d"}
    assert listed(engine, diary.now) == {"uimage-a": "present", "uimage-n": "present"}
    assert rows_of(engine, TargetRow)[0].body_hash is not None
    exceptions = rows_of(engine, OutcomeSpan)
    assert [(e.outcome, e.from_run_id, e.to_run_id) for e in exceptions] == [("held", 2, 4)]


def test_hold_evidence(engine: Engine) -> None:
    """A withdrawal that waited shows the last answer with the image and the first without it."""
    diary = Diary(engine)
    diary.run({HOME: FOUR})
    for extra in ("uimage-n", "uimage-m", "uimage-o"):
        diary.run({HOME: {"uimage-a": "CentOS 7.6", extra: extra}})

    bodies = {payload.id: zlib.decompress(payload.body).decode() for payload in rows_of(engine, Payload)}
    changes = [row for row in rows_of(engine, ChangeLog) if row.event == "withdrawn" and row.image_id == "uimage-b"]
    assert len(changes) == 1
    assert "uimage-d" in bodies[changes[0].before_payload_id]
    assert "uimage-n" in bodies[changes[0].after_payload_id]


def test_hold_dissolved(engine: Engine) -> None:
    """A held image that is listed again proves the held answer wrong: nothing was withdrawn."""
    diary = Diary(engine)
    diary.run({HOME: FOUR})
    diary.run({HOME: {}})
    during = diary.now
    diary.run({HOME: Refusal()})
    assert status(engine, diary.now).last_ok_at == during
    diary.run({HOME: FOUR})

    assert log(engine) == []
    hold = rows_of(engine, Hold)[0]
    assert (hold.status, hold.confirmations) == ("dissolved", 0)
    with read(engine) as conn:
        assert conn.execute(select(func.count()).select_from(HoldImage)).scalar() == 4
    assert listed(engine, during) == dict.fromkeys(FOUR, "held")
    assert listed(engine, diary.now) == dict.fromkeys(FOUR, "present")


def test_held_body_is_decoded_again(engine: Engine) -> None:
    """A held answer that comes again unchanged still confirms its hold."""
    diary = Diary(engine, policy=GuardPolicy(confirmations=1))
    diary.run({HOME: FOUR})
    diary.run({HOME: {}})
    diary.run({HOME: {}})

    assert len(told(engine)) == 4
    diary.run({HOME: {}})
    assert status(engine, diary.now).outcome == "ok"


def test_reask_heals(engine: Engine) -> None:
    """A second answer that is whole again makes the first a hiccup that leaves no trace."""
    diary = Diary(engine)
    diary.run({HOME: FOUR})
    diary.run({HOME: {}}, again={HOME: FOUR})

    assert rows_of(engine, Hold) == []
    assert diary.recorder.counters["ok"] == 1
    assert len(rows_of(engine, Payload)) == 1


def test_reask_fails(engine: Engine) -> None:
    """When the second question fails, the first answer is judged as it is."""
    diary = Diary(engine)
    diary.run({HOME: FOUR})
    diary.run({HOME: {}}, again={HOME: Refusal()})

    assert status(engine, diary.now).outcome == "held"


def test_reask_never_comes(engine: Engine) -> None:
    """A first answer whose second never came can be settled."""
    diary = Diary(engine)
    diary.run({HOME: FOUR})
    diary.now += timedelta(minutes=15)
    run_id, recorder = diary.start([HOME])
    assert recorder.judge([diary.item(HOME, {})]) == [HOME]
    assert recorder.pending == 0
    assert set(recorder.waiting) == {HOME}
    recorder.settle()
    assert recorder.pending == 1
    recorder.commit()
    diary.finish(run_id, recorder)

    assert status(engine, diary.now).outcome == "held"


def test_ended_targets_are_told_before_they_are_written(engine: Engine) -> None:
    """Every target is told once, when it ended and before that is written; one whose second answer never came too."""
    diary = Diary(engine)
    diary.run({HOME: FOUR, AWAY: FOUR})
    heard: list[tuple[Target, int, int, int]] = []

    def hear(where: Target, done: int, total: int, /) -> None:
        heard.append((where, done, total, recorder.counters["ok"] + recorder.counters["held"]))

    diary.now += timedelta(minutes=15)
    _, recorder = diary.start([HOME, AWAY], progress=hear, batch=1)
    recorder.judge([diary.item(HOME, {}), diary.item(AWAY, {**FOUR, "uimage-e": "New"})])
    recorder.settle()
    assert heard == [(AWAY, 1, 2, 0), (HOME, 2, 2, 1)]
    assert (recorder.counters["ok"], recorder.counters["held"]) == (1, 1)


@pytest.mark.parametrize("answer", [{}, {"uimage-z": "Other"}])
def test_much_is_written_while_judging(engine: Engine, monkeypatch: pytest.MonkeyPatch, answer: dict[str, str]) -> None:
    """Answers are looked up a few at a time, and what they open or put on hold is written in between."""
    monkeypatch.setattr("crawler.crawl.recorder.IMAGES_AT_ONCE", 4)
    monkeypatch.setattr("crawler.crawl.recorder.PENDING_IMAGES", 4)
    diary = Diary(engine)
    zones = [target(f"cn-bj2-{number:02}") for number in range(5)]
    diary.run(dict.fromkeys(zones, FOUR))
    assert [run.baseline_images for run in rows_of(engine, Run)] == [20]
    diary.now += timedelta(minutes=15)
    _, recorder = diary.start(zones)
    recorder.judge([diary.item(where, answer) for where in zones])
    recorder.settle()
    assert recorder.pending == 0
    assert recorder.counters["held"] == 5


def test_lasting_failure_is_one_row(engine: Engine) -> None:
    """A failure that lasts is one row from its first run to the first good one; another RetCode is another row."""
    diary = Diary(engine)
    diary.run({HOME: FOUR})
    good = diary.now
    for code in (130, 130, 130, 150, 150):
        diary.run({HOME: Refusal(ret_code=code, message=f"error {code}")})
    row = status(engine, diary.now)
    assert (row.outcome, row.message, row.last_ok_at, row.images) == ("failed", "error 150", good, 4)
    diary.run({HOME: FOUR})

    spans = [(e.ret_code, e.from_run_id, e.to_run_id, e.last_good_at) for e in rows_of(engine, OutcomeSpan)]
    assert spans == [(130, 2, 5, good), (150, 5, 7, good)]
    healed = status(engine, diary.now)
    assert (healed.outcome, healed.since, healed.message) == ("ok", diary.now, "")


def test_an_outcome_lasts_whatever_the_code(engine: Engine) -> None:
    """A target that fails in changing ways has failed since the first of them; another outcome begins anew."""
    diary = Diary(engine)
    diary.run({HOME: FOUR})
    diary.run({HOME: Refusal(ret_code=130)})
    began = status(engine, diary.now).since
    for code in (150, 130):
        diary.run({HOME: Refusal(ret_code=code)})
        assert status(engine, diary.now).since == began
    diary.run({HOME: Refusal(outcome="skipped")})
    skipped = status(engine, diary.now)

    assert began is not None
    assert skipped.since is not None
    assert (skipped.outcome, skipped.since > began) == ("skipped", True)


def test_failure_ends_nothing(engine: Engine) -> None:
    """A failed target keeps its images, their state unknown; before and after the gap it is present."""
    diary = Diary(engine)
    diary.run({HOME: FOUR})
    before = diary.now
    diary.run({HOME: Refusal()})
    during = diary.now
    diary.run({HOME: FOUR})

    assert log(engine) == []
    assert set(listed(engine, before).values()) == {"present"}
    assert set(listed(engine, during).values()) == {"failed"}
    assert {row.observed_at for row in images(engine, during)} == {before}
    assert set(listed(engine, diary.now).values()) == {"present"}


def test_denied(engine: Engine) -> None:
    """A target that never was open, or that discovery lists no more, is `denied`; one that was open is `failed`."""
    denied = Refusal(failure_class="denied", ret_code=230, message="zone not open")
    diary = Diary(engine)
    diary.run({HOME: denied, AWAY: FOUR})
    assert diary.recorder.counters["denied"] == 1
    diary.run({HOME: denied, AWAY: denied})
    away = status(engine, diary.now, AWAY)
    assert away.outcome == "failed"
    assert away.message == "zone not open (this target was open to this key before)"
    diary.run({HOME: denied, AWAY: denied}, unlisted={AWAY})

    assert status(engine, diary.now, AWAY).outcome == "denied"
    assert status(engine, diary.now, HOME).last_ok_at is None
    assert set(listed(engine, diary.now).values()) == {"denied"}
    assert [row.to_run_id for row in rows_of(engine, OutcomeSpan)] == [OPEN_RUN, 3, OPEN_RUN]


def test_shared_rows(engine: Engine) -> None:
    """Targets that list the same images share their versions, and their evidence where the bodies are equal."""
    diary = Diary(engine)
    diary.run({target(project=f"org-{n}"): FOUR for n in range(5)})

    assert len(rows_of(engine, Interval)) == 20
    assert len(rows_of(engine, ImageVersion)) == 4
    assert len(rows_of(engine, Payload)) == 1
    assert {version.name_key for version in rows_of(engine, ImageVersion)} == {
        name.casefold() for name in FOUR.values()
    }


def test_not_understood_once(engine: Engine) -> None:
    """What was not understood is named in the notices and kept as evidence once, however the answer is shuffled."""
    diary = Diary(engine)
    strange = {"RetCode": 0, "ImageSet": [{"ImageId": "uimage-a"}, {"Name": "no id"}], "Surprise": 1}
    diary.run({HOME: strange, AWAY: strange})
    assert "prod/org-x/hk/hk-02/uk8s-image/default: unknown field Surprise in the answer (and 1 more target)" in (
        diary.recorder.notices
    )
    diary.run({HOME: dict(reversed(strange.items()))})
    assert len(rows_of(engine, Payload)) == 1
    diary.run({HOME: {**strange, "Another": 1}})

    assert len(rows_of(engine, Payload)) == 2
    assert log(engine) == []
    assert rows_of(engine, Run)[2].notices == diary.recorder.notices


def test_zone_numbers(engine: Engine) -> None:
    """A ZoneId is confirmed by an answer that agrees with the catalog; records of it in other zones are foreign."""
    diary = Diary(engine, zone_numbers={3002: "hk-02", 8100: "cn-bj2-04"})
    mine = {"uimage-a": {"ImageName": "A", "ZoneId": 3002}, "uimage-b": {"ImageName": "B", "ZoneId": 3002}}
    diary.run({HOME: mine})
    diary.run({HOME: mine})
    with read(engine) as conn:
        assert [tuple(row) for row in conn.execute(select(ZoneNumber.number, ZoneNumber.zone))] == [(3002, "hk-02")]
    theirs = {"uimage-b": {"ImageName": "B", "ZoneId": 3002}, "uimage-x": {"ImageName": "X", "ZoneId": 8100}}
    diary.run({AWAY: theirs})

    assert set(listed(engine, diary.now, filters=Filters(zone=("cn-bj2-04",)))) == {"uimage-x"}
    assert any("another zone" in notice for notice in diary.recorder.notices)


@pytest.mark.parametrize("order", [(HOME, AWAY), (AWAY, HOME)])
@pytest.mark.parametrize("together", [True, False])
def test_zone_number_that_is_confirmed_later(engine: Engine, order: tuple[Target, Target], *, together: bool) -> None:
    """An answer with another zone's records, believed before their ZoneId was confirmed, is not believed again."""
    diary = Diary(engine, zone_numbers={3002: "hk-02", 8100: "cn-bj2-04"})
    theirs = {"uimage-a": {"ImageName": "A", "ZoneId": 8100}, "uimage-b": {"ImageName": "B", "ZoneId": 8100}}
    for some in [order] if together else [order[:1], order[1:]]:
        diary.run(dict.fromkeys(some, theirs))
    diary.run(dict.fromkeys(order, theirs))
    was_believed = order[0] == HOME

    assert diary.recorder.counters["failed"] == was_believed
    there = images(engine, diary.now, filters=Filters(zone=("hk-02",)))
    assert {row.state for row in there} == ({"unknown"} if was_believed else set())
    assert log(engine) == []
    diary.run(dict.fromkeys(order, theirs))
    reads = diary.judge.read_count
    diary.run({AWAY: theirs})
    assert diary.judge.read_count == reads


def test_moved_zone_number(engine: Engine) -> None:
    """A ZoneId that the catalog gives to another zone is confirmed anew, not believed."""
    diary = Diary(engine, zone_numbers={3002: "hk-02"})
    diary.run({HOME: {"uimage-a": {"ImageName": "A", "ZoneId": 3002}}})
    diary.zone_numbers = {3002: "cn-bj2-04"}
    diary.run({AWAY: {"uimage-b": {"ImageName": "B", "ZoneId": 3002}}})

    assert set(listed(engine, diary.now)) == {"uimage-a", "uimage-b"}
    with read(engine) as conn:
        assert [tuple(row) for row in conn.execute(select(ZoneNumber.number, ZoneNumber.zone))] == [(3002, "cn-bj2-04")]


def test_zone_number_that_became_shared(engine: Engine) -> None:
    """A ZoneId that the catalog now gives to a second zone as well makes no record there foreign."""
    diary = Diary(engine, zone_numbers={3002: "hk-02"})
    diary.run({HOME: {"uimage-a": {"ImageName": "A", "ZoneId": 3002}}})
    diary.zone_numbers = {3002: None}
    both = {
        HOME: {"uimage-a": {"ImageName": "AA", "ZoneId": 3002}},
        AWAY: {"uimage-b": {"ImageName": "B", "ZoneId": 3002}},
    }
    diary.run(both)

    assert set(listed(engine, diary.now)) == {"uimage-a", "uimage-b"}


def test_comeback_in_a_set_in_another_case(engine: Engine) -> None:
    """An image that comes back under a set in another case has returned, and its history goes on."""
    diary = Diary(engine)
    rest = {"RetCode": 0, "ImageSet": [{"ImageId": "uimage-b"}, {"ImageId": "uimage-c"}]}
    for name in ("FooImageSet", "Nothing", "fooImageSet"):
        diary.run({HOME: {**rest, **({name: [{"ImageId": "uimage-a"}]} if name != "Nothing" else {})}})

    assert told(engine) == [("withdrawn", "uimage-a"), ("returned", "uimage-a")]
    assert {row.image_set for row in log(engine)} == {"FooImageSet"}


def test_naive_times_are_refused(engine: Engine) -> None:
    """A time without a time zone is refused, on the way in and on the way out."""
    diary = Diary(engine)
    _, recorder = diary.start([HOME])
    with pytest.raises(ValueError, match="time zone"):
        recorder.judge([replace(reply(HOME, FOUR, diary.now), received_at=datetime(2026, 1, 1))])  # noqa: DTZ001
    with pytest.raises(ValueError, match="time zone"):
        images(engine, datetime(2026, 1, 1))  # noqa: DTZ001
    with read(engine) as conn, pytest.raises(ValueError, match="time zone"):
        list(queries_changes.changes(conn, since=datetime(2026, 1, 1)))  # noqa: DTZ001


def test_clock_set_back_within_a_run(engine: Engine) -> None:
    """An answer with an earlier time than the target's last is dated to that: no interval ends before it begins."""
    diary = Diary(engine)
    diary.run({HOME: FOUR})
    written = rows_of(engine, TargetRow)[0].written_at
    diary.now += timedelta(minutes=15)
    run_id, recorder = diary.start([HOME])
    recorder.judge([reply(HOME, {**FOUR, "uimage-e": "New"}, written - timedelta(hours=1))])
    recorder.commit()
    diary.finish(run_id, recorder)

    change = log(engine)[0]
    assert change.not_before is not None
    assert change.not_before <= change.observed_at <= change.recorded_at


def test_answered_twice(engine: Engine) -> None:
    """One observation per target and run: of a second answer that nobody asked for a notice tells."""
    diary = Diary(engine)
    run_id, recorder = diary.start([HOME])
    recorder.judge([diary.item(HOME, FOUR), diary.item(HOME, {"uimage-z": "Other"})])
    recorder.commit()
    diary.finish(run_id, recorder)

    assert listed(engine, diary.now).keys() == FOUR.keys()
    assert recorder.counters["ok"] == 1
    assert recorder.notices == [f"{HOME}: was answered twice in this run; the first answer counts"]
