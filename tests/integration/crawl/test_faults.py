"""A fault stays where it arose: what one target's reading, decision or writing raises makes that target alone fail."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select

from crawler.db.copy import copy_history
from crawler.db.engine import read
from crawler.db.pruning import prune
from crawler.db.schema import ImageVersion, OutcomeSpan, Payload
from crawler.domain.filters import Filters
from crawler.domain.models import ImageKey, KnownState, Reply, Snapshot, Target, Verdict
from crawler.domain.objections import LastGood
from crawler.errors import ClockWentBackwards, CrawlerError, DatabaseUnavailable, FenceLost, NotUnderstood
from crawler.queries import changes, holds, images, status
from crawler.queries.stays import stays_of
from tests.support.diary import Answer, CountingJudge, Diary, document, reply, target
from tests.support.tally import tallied

ZONES = [target(f"hk-{number:02}") for number in range(1, 8)]
ODD = ZONES[3]
TWO = {"uimage-a": "CentOS 7.6", "uimage-b": "Ubuntu 20.04"}
STALE = timedelta(hours=26)
#: No text repeats itself, so that no database can make it shorter.
LONG = "".join(random.Random(1).choices([chr(code) for code in range(0x4E00, 0x9FA5)], k=2_800))


def as_it_is(value: Any) -> Any:
    return value


class OddJudge(CountingJudge):
    """A judge to whom one target is odd; what it does with that one is the test's choice."""

    def __init__(
        self,
        *,
        reading: Callable[[Snapshot], Snapshot] = as_it_is,
        deciding: Callable[[Verdict], Verdict] = as_it_is,
        odd: Target = ODD,
    ) -> None:
        super().__init__()
        self.reading = reading
        self.deciding = deciding
        self.odd = odd

    def read(self, reply: Reply, zone_numbers: Mapping[int, str], catalog: Mapping[int, str | None], /) -> Snapshot:
        snapshot = super().read(reply, zone_numbers, catalog)
        return self.reading(snapshot) if reply.target == self.odd else snapshot

    def decide(self, known: KnownState, snapshot: Snapshot, /, *, observed_at: datetime, reasked: bool) -> Verdict:
        verdict = super().decide(known, snapshot, observed_at=observed_at, reasked=reasked)
        return self.deciding(verdict) if ImageKey("ImageSet", "uimage-odd") in snapshot.images else verdict


def raising(error: Exception) -> Callable[[Any], Any]:
    def fault(_: Any) -> Any:
        raise error

    return fault


def unwritable(value: Any) -> Callable[[Verdict], Verdict]:
    """Return a decision about images that no database takes."""

    def spoilt(verdict: Verdict) -> Verdict:
        return replace(verdict, baseline={key: {"image_name": value} for key in verdict.baseline or {}})

    return spoilt


def with_id(image_id: str) -> Callable[[Snapshot], Snapshot]:
    """Return a reading that found an image of this id."""
    return lambda snapshot: replace(snapshot, images={ImageKey("ImageSet", image_id): {}})


def answers(**odd: str) -> dict[Target, Answer]:
    return {where: {**TWO, "uimage-odd": "Odd", **odd} if where == ODD else TWO for where in ZONES}


def outcomes(engine: Engine, now: datetime) -> dict[str, str | None]:
    with read(engine) as conn:
        return {row.target.zone: row.outcome for row in status.status(conn, now=now)}


def failures(engine: Engine) -> list[Any]:
    with read(engine) as conn:
        return list(conn.execute(select(OutcomeSpan).order_by(OutcomeSpan.id)).all())


def kept(engine: Engine, payload_id: int) -> bytes:
    with read(engine) as conn:
        return zlib.decompress(conn.execute(select(Payload.body).where(Payload.id == payload_id)).scalar_one())


FAULTS: dict[str, dict[str, Any]] = {
    "reading": {"reading": raising(KeyError("secret"))},
    "recursion": {"reading": raising(RecursionError("secret"))},
    "memory": {"reading": raising(MemoryError())},
    "not understood": {"reading": raising(NotUnderstood("the answer holds a riddle"))},
    "looking up": {"reading": with_id("\ud800")},
    "deciding": {"deciding": raising(ZeroDivisionError("secret"))},
    "writing an object": {"deciding": unwritable(object())},
    "writing half a character": {"deciding": unwritable("secret \udfff")},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_only_that_target_fails(engine: Engine, fault: str) -> None:
    """The odd target has failed with a sentence that quotes nothing, its answer is kept; the others are recorded."""
    diary = Diary(engine)
    diary.judge = OddJudge(**FAULTS[fault])
    diary.run(answers())

    assert outcomes(engine, diary.now) == {where.zone: "failed" if where == ODD else "ok" for where in ZONES}
    (failure,) = failures(engine)
    assert (failure.failure_class, failure.request_uuid) == ("defect", "uuid-1")
    assert "secret" not in failure.message
    assert len(failure.message) < 300
    assert b"uimage-odd" in kept(engine, failure.payload_id)
    assert diary.recorder.counters["baseline_targets"] == len(ZONES) - 1
    assert (diary.recorder.counters["failed"], diary.recorder.counters["ok"]) == (1, len(ZONES) - 1)


@pytest.mark.parametrize("fault", FAULTS)
def test_it_lasts_and_ends(engine: Engine, fault: str) -> None:
    """A fault that lasts keeps its first answer only; a good answer ends it, and the image history begins then."""
    diary = Diary(engine)
    healthy, diary.judge = diary.judge, OddJudge(**FAULTS[fault])
    diary.run(answers())
    before = failures(engine)
    diary.run(answers(more="one"))
    assert failures(engine) == before

    diary.judge = healthy
    diary.run(answers())
    assert outcomes(engine, diary.now) == dict.fromkeys((where.zone for where in ZONES), "ok")
    assert diary.recorder.counters["baseline_images"] == 3


def test_a_known_image_survives_the_fault(engine: Engine) -> None:
    """Nothing is opened, changed or closed from an answer that could not be read: what was known is unknown now."""
    diary = Diary(engine)
    diary.run(dict.fromkeys(ZONES, TWO))
    diary.judge = OddJudge(reading=raising(ValueError()))
    diary.run({where: {"uimage-a": "CentOS 7.6"} for where in ZONES})

    with read(engine) as conn:
        rows = images.images(conn, diary.now, now=diary.now, stale_after=STALE)
        seen = {(row.target.zone, row.image_id): row.reason for row in rows}
        assert [change.target for change in changes.changes(conn)] == [where for where in ZONES if where != ODD]
    assert {image: reason for (zone, image), reason in seen.items() if zone == ODD.zone} == dict.fromkeys(TWO, "failed")


@pytest.mark.parametrize("error", [DatabaseUnavailable("gone"), FenceLost(), ClockWentBackwards()])
def test_what_ends_a_run_ends_it(engine: Engine, error: CrawlerError) -> None:
    """A lost database, a lost lock and a clock that went back are nobody's answer: they pass."""
    diary = Diary(engine)
    diary.judge = OddJudge(reading=raising(error))
    with pytest.raises(type(error)):
        diary.run(answers())


def test_a_fault_costs_few_transactions(engine: Engine) -> None:
    """What cannot be written is found by halving: of 256 targets the others cost some twenty transactions, not 255."""
    diary = Diary(engine)
    many = [target(f"hk-{number:03}") for number in range(256)]
    diary.judge = OddJudge(deciding=unwritable(object()), odd=many[100])
    _, recorder = diary.start(many)
    recorder.judge([diary.item(where, {**TWO, "uimage-odd": "x"} if where == many[100] else TWO) for where in many])
    with tallied(engine) as tally:
        recorder.commit()

    assert recorder.counters["ok"] == 255
    assert tally.transactions <= 2 + 2 * 8 + 1


class ForgetfulJudge(CountingJudge):
    """A judge who from a moment on cannot read an empty list, nor say what is against the answers of `ODD`."""

    forgets = False

    def read(self, reply: Reply, zone_numbers: Mapping[int, str], catalog: Mapping[int, str | None], /) -> Snapshot:
        snapshot = super().read(reply, zone_numbers, catalog)
        if self.forgets and not snapshot.images:
            raise ValueError
        return snapshot

    def objection(self, target: Target, snapshot: Snapshot, last: LastGood, /) -> str | None:
        if self.forgets and target == ODD:
            raise ValueError
        return super().objection(target, snapshot, last)


@pytest.mark.parametrize("answers", [1, 2])
def test_failed_once(engine: Engine, monkeypatch: pytest.MonkeyPatch, answers: int) -> None:
    """A target whose earlier answer has to do and cannot be read any more fails once, and answered once."""
    monkeypatch.setattr("crawler.crawl.reply_reader.ANSWERS_AT_ONCE", 1)
    diary = Diary(engine)
    diary.judge = judge = ForgetfulJudge()
    other, nothing = ZONES[0], document({})
    asked_else = {**nothing, "Action": "GetRegionResponse", "ImageSet": [{"ImageId": "uimage-a"}]}
    diary.run(dict.fromkeys((other, ODD), TWO))
    _, recorder = diary.start([other, ODD])
    assert recorder.judge([reply(other, nothing, diary.tick(), answers=answers)]) == [other]
    if answers == 1:
        assert recorder.judge([reply(other, asked_else, diary.tick(), is_reask=True)]) == [other]
        judge.forgets = True
        second = [reply(other, asked_else, diary.tick(), is_reask=True), reply(ODD, {"uimage-a": "A"}, diary.tick())]
    else:
        second = [reply(other, {"uimage-a": "CentOS 7.6"}, diary.tick(), is_reask=True, answers=answers)]
        judge.forgets = True
    recorder.judge(second)

    assert recorder.notices == []
    assert recorder.pending == len(second)
    recorder.commit()
    assert recorder.counters["failed"] == len(second)


def test_each_failure_names_its_own_request(engine: Engine) -> None:
    """Of targets that got the same answer each tells the request by which the provider finds its own."""
    diary = Diary(engine)
    answer = {**document(TWO), "Action": "GetRegionResponse"}
    _, recorder = diary.start(ZONES)
    for attempt in ("first", "second"):
        replies = [
            reply(where, answer, diary.tick(), is_reask=attempt == "second", request_uuid=f"{attempt} {where.zone}")
            for where in ZONES
        ]
        recorder.judge(replies)
    recorder.commit()

    assert [failure.request_uuid for failure in failures(engine)] == [f"second {where.zone}" for where in ZONES]
    assert len({failure.payload_id for failure in failures(engine)}) == 1


# --- texts that no index was made for ---------------------------------------------------------------------------------


def long_history(engine: Engine) -> Diary:
    """Play an image with a very long id, name and set: it is there, held, withdrawn, and comes back."""
    diary = Diary(engine)
    record = {"ImageId": LONG, "ImageName": LONG[::-1], LONG: LONG}
    odd: dict[str, Any] = {"RetCode": 0, "ImageSet": [], "ImageSet" + LONG: [record]}
    for listed in (odd, TWO, TWO, TWO, odd):
        diary.run({**dict.fromkeys(ZONES, TWO), ODD: listed})
    return diary


def told(engine: Engine, diary: Diary) -> Any:
    """Return what the readers say of the long one."""
    long_name = LONG[::-1]
    with read(engine) as conn:
        at = diary.now
        by_id = list(images.images(conn, at, Filters(image_id=(LONG,)), now=at, stale_after=STALE))
        by_name = list(images.images(conn, at, Filters(name=(long_name,)), now=at, stale_after=STALE))
        stays = [(stay.valid_from, stay.valid_to) for stay in stays_of(conn, [LONG])]
        log = [(change.event, change.image_id, change.image_name) for change in changes.changes(conn)]
        return [row.image_id for row in by_id], [row.image_id for row in by_name], stays, log


def test_long_texts(engine: Engine) -> None:
    """2,800 random characters as id, name, set and field have a history as any other, and stop nothing beside them."""
    diary = long_history(engine)

    assert set(outcomes(engine, diary.now).values()) <= {"ok", "held"}
    by_id, by_name, stays, log = told(engine, diary)
    assert (by_id, by_name) == ([LONG], [LONG])
    assert len(stays) == 2
    assert [event for event, image_id, _ in log if image_id == LONG] == ["withdrawn", "returned"]
    with read(engine) as conn:
        assert max(len(key) for key in conn.execute(select(ImageVersion.name_key)).scalars()) < 200
        assert next(iter(holds.holds(conn, Filters(), include_resolved=True))).images[0][1] == LONG


@pytest.mark.parametrize("way", ["sqlite to postgresql", "postgresql to sqlite"])
def test_long_texts_are_copied(empty_sqlite_url: str, empty_postgres_url: str, way: str) -> None:
    """`db copy` takes them along in both directions, and the readers say the same."""
    from crawler.db.engine import opened
    from crawler.db.migrations import upgrade

    urls = [empty_sqlite_url, empty_postgres_url]
    first, second = urls if way.startswith("sqlite") else urls[::-1]
    with opened(first) as source, opened(second) as copy:
        upgrade(source)
        diary = long_history(source)
        copy_history(source, copy)
        assert told(copy, diary) == told(source, diary)


def test_prune_keeps_the_evidence_of_what_lasts(engine: Engine) -> None:
    """The answer behind a failure stays as long as the failure is told of."""
    diary = Diary(engine)
    diary.judge = OddJudge(reading=raising(ValueError()))
    diary.run(answers())
    diary.run(answers())
    prune(engine, None, before=diary.now, now=diary.now + timedelta(days=1))

    (failure,) = failures(engine)
    assert b"uimage-odd" in kept(engine, failure.payload_id)
