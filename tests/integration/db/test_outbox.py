"""The outbox in the database: every change has one run that reports it, and of two senders one notices the other."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, select

from crawler.db import digest_records, outbox, pruning, runs
from crawler.db.engine import begin, read
from crawler.db.outbox import DeliveryFailure, Subscribed, Waiting
from crawler.db.schema import ChangeLog, Delivery, DigestRow, Recipient, Run
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


def add(conn: Connection, found: Subscribed, *to: str, later: timedelta = timedelta()) -> int:
    """Compose what waits into a digest for *to*, so much *later* than it began to wait."""
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
        now=found_at(found) + later,
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
        # as many as a fleet has of them in a week
        assert len(list(changes.changes(conn, reported_by=range(300_000)))) == 2


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
    assert longest == {"sre": record.made_at}

    with begin(engine) as conn:
        outbox.record(conn, digest_id, sent=["g@h.i"], setbacks={}, now=now)
        assert not outbox.is_complete(conn, digest_id)
        outbox.skip(conn, digest_id, ["d@e.f"], now)
        assert outbox.is_complete(conn, digest_id)
        assert outbox.content_of(conn, digest_id) is None
        assert set(conn.execute(select(Recipient.state)).scalars()) == {"sent", "skipped"}
        assert outbox.longest_waits(conn, NAMES) == {}
    assert state(engine).runs == ()


def test_what_is_known_of_a_subscription(engine: Engine) -> None:
    """A subscription is what was written of it: nothing at first, then what waits, was told, and who sends."""
    diary = Diary(engine)
    with read(engine) as conn:
        assert outbox.subscribed(conn, "sre") is None
    run(diary, ONE)
    first = replace(outbox.new_subscription("sre"), subscription_id=1)
    run(diary, TWO)
    queued_at = diary.now
    run(diary, THREE)
    waits = state(engine)
    assert outbox.new_subscription("sre") == Subscribed(
        subscription_id=0, name="sre", told="{}", told_run_id=None, due_at=None, version=0, sender=frozenset(),
        sender_until=None, runs=(), queued_at=None,
    )  # fmt: skip
    assert waits == replace(first, subscription_id=waits.subscription_id, runs=(2, 3), queued_at=queued_at)

    with begin(engine) as conn:
        outbox.remember(conn, waits.subscription_id, '{"pins": []}')
        outbox.settle(conn, replace(waits, runs=(2,)), digest_id=None, now=diary.now, covering=3, is_due=True)
    later = state(engine)
    assert later == replace(
        waits, told='{"pins": []}', told_run_id=3, due_at=diary.now, runs=(3,), queued_at=later.queued_at
    )
    assert state(engine, "ops") == replace(waits, subscription_id=state(engine, "ops").subscription_id, name="ops")

    # a run of another account that ended later takes nothing back, and one that goes by every run is due at no time
    with begin(engine) as conn:
        outbox.settle(conn, later, digest_id=None, now=diary.tick(), covering=2)
    assert state(engine) == replace(later, runs=(), queued_at=None)
    with read(engine) as conn:
        assert outbox.settled_runs(conn, later, [1, 2, 3, 4]) == {1, 2, 3}
        assert outbox.settled_runs(conn, replace(later, told_run_id=None), [1, 2, 4]) == {2}
        assert outbox.settled_runs(conn, replace(later, runs=(1,)), [1, 2]) == {2}


def test_a_digest_is_what_was_composed(engine: Engine) -> None:
    """Every field of a digest and of its recipients is kept, and those who wait are read with it, the oldest first."""
    diary = Diary(engine)
    run(diary, ONE)
    run(diary, TWO)
    found = state(engine)
    now = diary.tick()
    with begin(engine) as conn:
        ids = [
            outbox.add_digest(
                conn, found.subscription_id, kind=kind, channel="webhook", runs=(1, 2), message_id=f"<{kind}@x>",
                subject=f"{kind} subject", content=kind.encode(), recipients=to, queued_at=found_at(found), now=now,
            )
            for kind, to in (("digest", ["b@x", "a@x"]), ("urgent", ["a@x"]))
        ]  # fmt: skip
        trouble = DeliveryFailure(attempts=3, next_at=now + PERIOD, refused="message", trouble="552 too large")
        outbox.record(conn, ids[0], sent=[], setbacks={"a@x": trouble}, now=now)
        other = state_in(conn, "ops")
        assert outbox.waiting(conn, other.subscription_id) == []
        rows = conn.execute(select(DigestRow).order_by(DigestRow.id)).all()
        waiting = outbox.waiting(conn, found.subscription_id)
    kept: list[Any] = [tuple(row)[1:-1] for row in rows]
    assert kept == [
        (found.subscription_id, kind, "webhook", 1, 2, found.queued_at, now, f"<{kind}@x>", f"{kind} subject")
        for kind in ("digest", "urgent")
    ]
    untried: dict[str, Any] = {"channel": "webhook", "attempts": 0, "next_at": now, "refused": None, "trouble": ""}
    untried["queued_at"] = found_at(found)
    assert waiting == [
        Waiting(digest_id=ids[0], address="a@x", **{**untried, **asdict(trouble)}),
        Waiting(digest_id=ids[0], address="b@x", **untried),
        Waiting(digest_id=ids[1], address="a@x", **untried),
    ]


def state_in(conn: Connection, name: str) -> Subscribed:
    """Return the state of a subscription, inside a transaction."""
    found = outbox.subscribed(conn, name)
    assert found is not None
    return found


def test_who_has_it_is_never_given_up(engine: Engine) -> None:
    """What was sent stays sent, with its time, and one digest's end is nothing to another's."""
    diary = Diary(engine)
    run(diary, ONE)
    run(diary, TWO)
    now = diary.tick()
    with begin(engine) as conn:
        one = add(conn, state_in(conn, "sre"), "a@x", "b@x")
        other = add(conn, state_in(conn, "ops"), "a@x", "b@x")
        outbox.record(conn, one, sent=["a@x"], setbacks={}, now=now)
        outbox.skip(conn, one, ["a@x", "b@x"], now + PERIOD)
        rows = conn.execute(
            select(Recipient.digest_id, Recipient.address, Recipient.state, Recipient.ended_at).order_by(
                Recipient.digest_id, Recipient.address
            )
        ).all()
        assert [tuple(row) for row in rows] == [
            (one, "a@x", "sent", now),
            (one, "b@x", "skipped", now + PERIOD),
            (other, "a@x", "waiting", None),
            (other, "b@x", "waiting", None),
        ]
        assert (outbox.is_complete(conn, one), outbox.is_complete(conn, other)) == (True, False)
        assert (outbox.content_of(conn, one), outbox.content_of(conn, other)) == (None, b"the news " * 100)


def test_since_when_somebody_waits(engine: Engine) -> None:
    """The oldest digest counts that was tried to be sent and has not arrived, of the subscriptions asked about."""
    diary = Diary(engine)
    run(diary, ONE)
    setback = DeliveryFailure(attempts=1, next_at=diary.now, refused=None, trouble="451 later")
    oldest: dict[str, datetime] = {}
    for answer in (TWO, THREE):
        run(diary, answer)
        for name in NAMES:
            with begin(engine) as conn:
                found = state_in(conn, name)
                oldest.setdefault(name, found_at(found) + PERIOD)
                digest_id = add(conn, found, "a@x", "b@x", later=PERIOD)
                outbox.record(conn, digest_id, sent=["b@x"], setbacks={"a@x": setback}, now=diary.now)
    with read(engine) as conn:
        assert outbox.longest_waits(conn, NAMES) == oldest
        assert outbox.longest_waits(conn, ["ops", "unheard-of"]) == {"ops": oldest["ops"]}
        assert outbox.longest_waits(conn, []) == {}


def test_what_was_told_at_the_edge_of_the_window(engine: Engine) -> None:
    """What was settled, or made, exactly when the window begins is in it; a moment before that it is not."""
    diary = Diary(engine)
    run(diary, ONE)
    run(diary, TWO)
    now = diary.now
    with begin(engine) as conn:
        digest_id = add(conn, state_in(conn, "sre"), "a@x")
        outbox.settle(conn, state_in(conn, "ops"), digest_id=None, now=now)
        outbox.record(conn, digest_id, sent=["a@x"], setbacks={}, now=now)
    for later, left in ((timedelta(0), (2, 1, 1)), (timedelta(microseconds=1), (0, 0, 0))):
        with begin(engine) as conn:
            outbox.forget(conn, now + later)
            found = [len(conn.execute(select(table)).all()) for table in (Delivery, DigestRow, Recipient)]
        assert tuple(found) == left


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
        outbox.release(conn, seen)

    assert (claimed.sender, claimed.sender_until) == (frozenset({3, 7}), until)
    assert (state(engine).sender, state(engine).sender_until) == (frozenset(), None)
    assert state(engine).version == seen.version + 2


def test_a_late_sender_leaves_the_claim_of_another(engine: Engine) -> None:
    """Who sent for longer than it claimed to lets nobody in beside the one that claimed the subscription since."""
    diary = Diary(engine)
    run(diary, ONE)
    until = diary.now + timedelta(minutes=3)
    first = state(engine)
    with begin(engine) as conn:
        assert outbox.claim(conn, first, sender=[7], until=diary.now)
    second = state(engine)
    with begin(engine) as conn:
        assert outbox.claim(conn, second, sender=[9], until=until)
        outbox.release(conn, first)
    assert state(engine).sender == {9}

    with begin(engine) as conn:
        outbox.release(conn, second)
    assert state(engine).sender == frozenset()


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
        assert outbox.waiting(conn, state_in(conn, "sre").subscription_id) == []
        assert set(conn.execute(select(Recipient.state)).scalars()) == {"skipped"}
    assert left == [state(engine, "ops").subscription_id] * 2


def test_forgetting(engine: Engine) -> None:
    """What was told before the kept window is forgotten with it; what somebody waits for stays, and what it tells."""
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
        assert [tuple(row) for row in conn.execute(select(Delivery.run_id, Delivery.digest_id))] == [(2, waits)]
    with begin(engine) as conn:
        outbox.record(conn, waits, sent=["a@b.c"], setbacks={}, now=diary.now)
    pruning.prune(engine, None, before=diary.now - PERIOD, now=diary.now)
    with read(engine) as conn:
        assert [conn.execute(select(table)).all() for table in (Delivery, DigestRow, Recipient)] == [[], [], []]


def test_runs_that_are_not_told_yet(engine: Engine) -> None:
    """A run is not told while a subscription has no digest of it, or somebody waits for one; others do not count."""
    diary = Diary(engine)
    for answer in (ONE, TWO, THREE):
        run(diary, answer)

    def untold() -> list[int]:
        with read(engine) as conn:
            return sorted(conn.scalars(outbox.untold_runs()))

    found = [untold()]
    with begin(engine) as conn:
        outbox.settle(conn, state_in(conn, "ops"), digest_id=None, now=diary.now)
    found.append(untold())
    with begin(engine) as conn:
        first = add(conn, replace(state_in(conn, "sre"), runs=(2,)), "a@x", "b@x")
        last = add(conn, state_in(conn, "sre"), "a@x")
        outbox.record(conn, first, sent=["b@x"], setbacks={}, now=diary.now)
    found.append(untold())
    for digest_id in (first, last):
        with begin(engine) as conn:
            outbox.record(conn, digest_id, sent=["a@x"], setbacks={}, now=diary.now)
        found.append(untold())

    assert found == [[2, 2, 3, 3], [2, 3], [2, 3], [3], []]


def test_a_digest_stays_while_what_it_told_does(engine: Engine) -> None:
    """A digest that was made before the kept window and settled in it is kept, with its recipients."""
    diary = Diary(engine)
    run(diary, ONE)
    run(diary, TWO)
    with begin(engine) as conn:
        found = state_in(conn, "sre")
        digest_id = add(conn, replace(found, runs=(2,)), "a@x")
        outbox.record(conn, digest_id, sent=["a@x"], setbacks={}, now=diary.now)
        outbox.settle(conn, found, digest_id=digest_id, now=diary.now + PERIOD)
        told = conn.execute(select(Delivery.digest_id, Delivery.settled_at).where(Delivery.digest_id.is_not(None)))
        assert [tuple(row) for row in told] == [(digest_id, diary.now + PERIOD)]
        outbox.forget(conn, diary.now + PERIOD)
        assert len(conn.execute(select(DigestRow)).all()) == len(conn.execute(select(Recipient)).all()) == 1
        outbox.forget(conn, diary.now + 2 * PERIOD)
        assert conn.execute(select(DigestRow)).all() == []
        assert conn.execute(select(Recipient)).all() == []


@pytest.mark.parametrize("after", [None, 2])
def test_range_of_a_digest(engine: Engine, after: int | None) -> None:
    """The range of a digest by the clock is every run that finished whole since the last one; a dead run is none."""
    diary = Diary(engine)
    for finishes in (True, True, False, True, True):
        diary.run({HOME: ONE}, finish=finishes)
    with begin(engine) as conn:
        runs.recover(conn, [diary.account_id], diary.now + PERIOD)
    diary.run({HOME: ONE}, finish=False)
    with read(engine) as conn:
        assert outbox.finished_runs(conn, after=after, among=[5]) == ([5] if after is None else [4, 5])
        assert outbox.finished_runs(conn, after=after, among=[1, 3]) == ([1, 3] if after is None else [1, 3, 4, 5])
        assert outbox.last_finished_run(conn) == 5
        ends: dict[int, Any] = {row.id: row.finished_at for row in conn.execute(select(Run.id, Run.finished_at))}
        assert [outbox.first_run_since(conn, ends[number]) for number in (1, 2, 3, 4, 5)] == [1, 2, 4, 4, 5]
        assert outbox.first_run_since(conn, ends[2] + timedelta(microseconds=1)) == 4
        assert outbox.first_run_since(conn, ends[5] + timedelta(microseconds=1)) is None


def test_before_any_run_has_finished(engine: Engine) -> None:
    """A run that is still at work, or died, is no finished one."""
    diary = Diary(engine)
    diary.run({HOME: ONE}, finish=False)
    with begin(engine) as conn:
        assert (outbox.last_finished_run(conn), outbox.first_run_since(conn, diary.now - PERIOD)) == (None, None)
        runs.recover(conn, [diary.account_id], diary.now)
        assert (outbox.last_finished_run(conn), outbox.first_run_since(conn, diary.now - PERIOD)) == (None, None)
