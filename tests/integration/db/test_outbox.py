"""The outbox in the database: every change has one run that reports it, and of two senders one notices the other."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, select

from crawler.db import digest_records, outbox, pruning, runs
from crawler.db.engine import begin, read
from crawler.db.outbox import DeliveryFailure, Subscribed
from crawler.db.schema import ChangeLog, Delivery, Recipient
from crawler.domain.models import Target
from crawler.queries import changes, holds
from tests.support.diary import PERIOD, Diary, target
from tests.support.tally import tallied

HOME = target()
ONE = {"uimage-a": "CentOS 7.6"}
TWO = {**ONE, "uimage-b": "Ubuntu 20.04"}
THREE = {**TWO, "uimage-c": "Anolis 8.6"}
NAMES = ("sre", "ops")


def finish(diary: Diary, run_id: int, names: tuple[str, ...] = NAMES) -> int:
    """Take up what *run_id* reports, as the transaction that finishes a run does; give how many changes that is."""
    with begin(diary.engine) as conn:
        return outbox.take_up(conn, run_id, [diary.account_id], names, diary.now)


def run(diary: Diary, answer: dict[str, str], where: Target = HOME) -> int:
    """Play a run that lists *answer*, and give how many changes it reports."""
    return finish(diary, diary.run({where: answer}))


def reported(conn: Connection) -> dict[str, int | None]:
    """Return the run that reports each image's change."""
    rows = conn.execute(select(ChangeLog.image_id, ChangeLog.reported_run_id))
    return {str(row.image_id): row.reported_run_id for row in rows}


def state(engine: Engine, name: str = "sre") -> Subscribed:
    """Return the state of a subscription."""
    with read(engine) as conn:
        found = outbox.subscribed(conn, name)
    assert found is not None
    return found


def add(conn: Connection, found: Subscribed, *to: str) -> int:
    """Compose what waits into a digest for *to*."""
    digest_id = outbox.add_digest(
        conn,
        found.subscription_id,
        kind="digest",
        channel="email",
        runs=(found.runs[0], found.runs[-1]),
        message_id="<1@example.com>",
        subject="news",
        content=b"the news " * 100,
        recipients=to,
        queued_at=found.queued_at or found_at(found),
        now=found_at(found),
    )
    outbox.settle(conn, found, digest_id=digest_id, now=found_at(found))
    return digest_id


def found_at(found: Subscribed) -> datetime:
    """Return a moment for what is written about *found*."""
    assert found.queued_at is not None
    return found.queued_at


def test_each_change_is_taken_up_once(engine: Engine) -> None:
    """A run with changes queues a delivery per subscription; one without queues nothing."""
    diary = Diary(engine)

    assert [run(diary, answer) for answer in (ONE, ONE, TWO, TWO, THREE)] == [0, 0, 1, 0, 1]
    assert state(engine).runs == state(engine, "ops").runs == (3, 5)
    with read(engine) as conn:
        assert reported(conn) == {"uimage-b": 3, "uimage-c": 5}
        assert [row.image_id for row in changes.changes(conn, reported_by=[5])] == ["uimage-c"]


def test_changes_of_a_dead_run(engine: Engine) -> None:
    """What an interrupted run had recorded is reported by the account's next run that finishes, once."""
    diary = Diary(engine)
    run(diary, ONE)
    diary.run({HOME: TWO}, finish=False)
    diary.now += PERIOD
    other = Diary(engine, account="other", now=diary.now)
    elsewhere = target(account="other")
    run(other, ONE, elsewhere)
    diary.now = other.now

    assert finish(other, other.run({elsewhere: ONE})) == 0
    diary.now = other.now
    assert run(diary, THREE) == 2
    with read(engine) as conn:
        assert reported(conn) == {"uimage-b": 5, "uimage-c": 5}


def test_changes_by_hand(engine: Engine) -> None:
    """Withdrawals that a person accepted carry the held run's number, and the next run reports them."""
    diary = Diary(engine)
    run(diary, TWO)
    assert run(diary, {}) == 0
    with begin(engine) as conn:
        (hold,) = holds.holds(conn)
        holds.accept(conn, [hold.id], who="me", now=diary.tick())

    assert run(diary, {}) == 2
    with read(engine) as conn:
        assert {(row.run, row.event) for row in changes.changes(conn, reported_by=[3])} == {(2, "withdrawn")}


def test_without_subscriptions(engine: Engine) -> None:
    """Changes from before a subscription are not news to it."""
    diary = Diary(engine)
    for answer in (ONE, TWO):
        finish(diary, diary.run({HOME: answer}), ())
    run(diary, THREE)

    assert state(engine).runs == (3,)
    with read(engine) as conn:
        assert reported(conn) == {"uimage-b": 2, "uimage-c": 3}


def test_a_quiet_run_writes_nothing(engine: Engine) -> None:
    """Taking up nothing costs two look-ups and no write."""
    diary = Diary(engine)
    run(diary, ONE)
    run_id = diary.run({HOME: ONE})
    with tallied(engine) as tally:
        finish(diary, run_id)

    assert (tally.count("SELECT"), tally.count("INSERT", "UPDATE", "DELETE")) == (2, 0)


def test_digest_until_everybody_has_it(engine: Engine) -> None:
    """A digest keeps its content until its last recipient has it or is given up; every try leaves its trace."""
    diary = Diary(engine)
    run(diary, ONE)
    run(diary, TWO)
    now = diary.tick()
    setback = DeliveryFailure(attempts=1, next_at=now + PERIOD, refused="recipient", trouble="550 no such user")
    with begin(engine) as conn:
        digest_id = add(conn, state(engine), "a@b.c", "d@e.f", "g@h.i")
        assert outbox.longest_waits(conn, NAMES) == {}, "nobody has tried to send it yet"
        outbox.record(conn, digest_id, sent=["a@b.c"], setbacks={"d@e.f": setback}, now=now)
    with read(engine) as conn:
        (record, queued) = digest_records.digests(conn)
        waiting = outbox.waiting(conn, state(engine).subscription_id)
        longest = outbox.longest_waits(conn, NAMES)
        assert outbox.content_of(conn, digest_id) == b"the news " * 100
    assert (record.state, queued.state, queued.report) == ("refused", "queued", "ops")
    assert [(row.address, row.attempts, row.refused) for row in waiting] == [
        ("d@e.f", 1, "recipient"), ("g@h.i", 0, None)
    ]  # fmt: skip
    assert longest == {"sre": record.queued_at}

    with begin(engine) as conn:
        outbox.record(conn, digest_id, sent=["g@h.i"], setbacks={}, now=now)
        assert not outbox.is_complete(conn, digest_id)
        outbox.skip(conn, digest_id, ["d@e.f"], now)
        assert outbox.is_complete(conn, digest_id)
        assert outbox.content_of(conn, digest_id) is None
        assert set(conn.execute(select(Recipient.state)).scalars()) == {"sent", "skipped"}
        assert outbox.longest_waits(conn, NAMES) == {}
    assert state(engine).runs == ()


def test_of_two_senders_one_notices(engine: Engine) -> None:
    """A claim holds only while nobody else has changed the subscription since it was read."""
    diary = Diary(engine)
    run(diary, ONE)
    run(diary, TWO)
    seen = state(engine)
    until = diary.now + timedelta(minutes=3)
    with begin(engine) as conn:
        assert outbox.claim(conn, seen, sender=[7, 3], until=until)
    with begin(engine) as conn:
        assert not outbox.claim(conn, seen, sender=[9], until=until)
    claimed = state(engine)
    with begin(engine) as conn:
        outbox.release(conn, seen.subscription_id)

    assert (claimed.sender, claimed.sender_until) == (frozenset({3, 7}), until)
    assert (state(engine).sender, state(engine).sender_until) == (frozenset(), None)
    assert state(engine).version == seen.version + 2


def test_giving_up_a_subscription(engine: Engine) -> None:
    """Everything that waits for a subscription can be given up at once, composed or not."""
    diary = Diary(engine)
    run(diary, ONE)
    run(diary, TWO)
    with begin(engine) as conn:
        add(conn, state(engine), "a@b.c")
    run(diary, THREE)
    with begin(engine) as conn:
        assert outbox.skip_all(conn, "sre", diary.now) == 2
        assert outbox.skip_all(conn, "unheard-of", diary.now) == 0
        left = conn.execute(select(Delivery.subscription_id).where(Delivery.settled_at.is_(None))).scalars().all()
    assert left == [state(engine, "ops").subscription_id] * 2


def test_forgetting(engine: Engine) -> None:
    """What was told before the kept window is forgotten with it; what somebody waits for stays."""
    diary = Diary(engine)
    for answer in (ONE, TWO):
        run(diary, answer)
    with begin(engine) as conn:
        done = add(conn, state(engine), "a@b.c")
        waits = add(conn, state(engine, "ops"), "a@b.c")
        outbox.record(conn, done, sent=["a@b.c"], setbacks={}, now=diary.now)
    diary.now += 10 * PERIOD
    pruning.prune(engine, None, before=diary.now - PERIOD, now=diary.now)

    with read(engine) as conn:
        assert [row.id for row in digest_records.digests(conn, include_ended=True)] == [waits]
        assert conn.execute(select(Delivery.run_id)).all() == []


@pytest.mark.parametrize("after", [None, 2])
def test_range_of_a_digest(engine: Engine, after: int | None) -> None:
    """The range of a digest by the clock is every run that finished whole since the last one; a dead run is none."""
    diary = Diary(engine)
    for finishes in (True, True, False, True, True):
        diary.run({HOME: ONE}, finish=finishes)
    with begin(engine) as conn:
        runs.recover(conn, [diary.account_id], diary.now + PERIOD)
        assert outbox.finished_runs(conn, after=after, among=[5]) == ([5] if after is None else [4, 5])
        assert outbox.last_finished_run(conn) == 5
        assert outbox.first_run_since(conn, diary.now) in (5, None)
