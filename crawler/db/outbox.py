"""
The outbox: what was not sent to which subscription yet, and the digests on their way.

`take_up` belongs to the transaction that finishes a run: from then on it is certain that its changes are sent. What is
waiting is composed by the caller and kept with `add_digest` before it is first sent; `record` says how a try went. Two
senders of one subscription (PostgreSQL, one worker per account) are kept apart by `claim`. Functions that write want a
connection inside `begin(engine, fence)`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Exists, Select, delete, exists, func, insert, select, update

from crawler.db.schema import ChangeLog, Delivery, DigestRow, Recipient, Run, SubscriptionRow
from crawler.db.sql import insert_missing, portions
from crawler.domain.models import is_storable

#: Stands among the accounts of a sender for the lock of one that sends without a run.
NO_RUN = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """What the outbox knows of one subscription."""

    subscription_id: int
    name: str
    #: The conditions that last of which it was notified, as `NotifiedState` writes them.
    told: str
    #: The last run that its last whole digest covers.
    told_run_id: int | None
    #: When a whole digest was last found due.
    due_at: datetime | None
    version: int
    #: The accounts whose locks the present sender holds, or `NO_RUN`; empty when nobody sends.
    sender: frozenset[int]
    sender_until: datetime | None
    #: Runs it has to be notified of, oldest first.
    runs: tuple[int, ...]
    #: Since when the oldest of them waits.
    queued_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A recipient that a digest has not reached yet."""

    digest_id: int
    address: str
    channel: str
    attempts: int
    next_at: datetime
    #: What the last try said no to; None when it may work the next time.
    refused: str | None
    trouble: str
    #: Since when the oldest news of the digest waits.
    queued_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFailure:
    """How a try failed for one recipient, and when the next one is."""

    attempts: int
    next_at: datetime
    refused: str | None
    trouble: str


# --- queueing --------------------------------------------------------------------------------------------------------


def take_up(
    conn: Connection, run_id: int, account_ids: Collection[int], subscriptions: Collection[str], now: datetime
) -> int:
    """
    Let *run_id* report every change of its accounts that no run reports yet, and give how many these are.

    Those are its own, which were written so, the ones of interrupted runs before it, and what was written by hand
    since. When there are any, each of *subscriptions* (by name) has a delivery for this run.
    """
    _subscribe(conn, subscriptions)
    unreported = ChangeLog.reported_run_id.is_(None) & ChangeLog.account_id.in_(sorted(account_ids))
    counts = select(func.count(), func.count(ChangeLog.reported_run_id))
    count, own = conn.execute(counts.where((ChangeLog.reported_run_id == run_id) | unreported)).one()
    if not count:
        return 0
    if count > own:
        conn.execute(update(ChangeLog).where(unreported).values(reported_run_id=run_id))
    ids = conn.execute(select(SubscriptionRow.id).where(SubscriptionRow.name.in_(sorted(subscriptions)))).scalars()
    rows = [{"subscription_id": key, "run_id": run_id, "queued_at": now} for key in sorted(ids)]
    if rows:
        conn.execute(insert(Delivery), rows)
    return count


def _subscribe(conn: Connection, names: Collection[str]) -> None:
    if not names:
        return
    known = set(
        conn.execute(select(SubscriptionRow.name).where(SubscriptionRow.name.in_(sorted(names)))).scalars().all()
    )
    insert_missing(conn, SubscriptionRow, [{"name": name} for name in sorted(set(names) - known)])


def subscribe(conn: Connection, name: str) -> int:
    """Return the id of a subscription, which is made where no run has known it yet."""
    _subscribe(conn, [name])
    found: int = conn.execute(select(SubscriptionRow.id).where(SubscriptionRow.name == name)).scalar_one()
    return found


# --- what is due to a subscription -----------------------------------------------------------------------------------


def subscribed(conn: Connection, name: str) -> Subscribed | None:
    """Return the state of a subscription; None where no run has known it yet."""
    named = select(SubscriptionRow).where(SubscriptionRow.name == name)
    row = conn.execute(named).first() if is_storable(name) else None
    if row is None:
        return None
    waiting = conn.execute(
        select(Delivery.run_id, Delivery.queued_at)
        .where(Delivery.subscription_id == row.id, Delivery.settled_at.is_(None))
        .order_by(Delivery.run_id)
    ).all()
    return Subscribed(
        subscription_id=row.id,
        name=row.name,
        told=row.told,
        told_run_id=row.told_run_id,
        due_at=row.due_at,
        version=row.version,
        sender=frozenset(row.sender or ()),
        sender_until=row.sender_until,
        runs=tuple(delivery.run_id for delivery in waiting),
        queued_at=min((delivery.queued_at for delivery in waiting), default=None),
    )


def new_subscription(name: str) -> Subscribed:
    """Return the state of a subscription that no run has known yet."""
    return Subscribed(
        subscription_id=0,
        name=name,
        told="{}",
        told_run_id=None,
        due_at=None,
        version=0,
        sender=frozenset(),
        sender_until=None,
        runs=(),
        queued_at=None,
    )


def finished_runs(conn: Connection, *, after: int | None, among: Collection[int]) -> list[int]:
    """Return the ids of the runs *among*, and of all that finished whole since the run *after* (None: no others)."""
    found = set(among)
    if after is not None:
        found.update(
            conn.execute(
                select(Run.id).where(Run.id > after, Run.finished_at.is_not(None), Run.status != "interrupted")
            ).scalars()
        )
    return sorted(found)


def last_finished_run(conn: Connection) -> int | None:
    """Return the newest run that finished whole."""
    statement = select(Run.id).where(Run.finished_at.is_not(None), Run.status != "interrupted")
    return conn.execute(statement.order_by(Run.id.desc()).limit(1)).scalar()


def first_run_since(conn: Connection, moment: datetime) -> int | None:
    """Return the oldest run that finished whole at or after *moment*."""
    statement = select(func.min(Run.id)).where(Run.finished_at >= moment, Run.status != "interrupted")
    return conn.execute(statement).scalar()


# --- who sends -------------------------------------------------------------------------------------------------------


def claim(conn: Connection, state: Subscribed, *, sender: Collection[int], until: datetime) -> bool:
    """Become the one who sends for a subscription; False when it has changed since *state* was read."""
    found = conn.execute(
        update(SubscriptionRow)
        .where(SubscriptionRow.id == state.subscription_id, SubscriptionRow.version == state.version)
        .values(version=state.version + 1, sender=sorted(sender), sender_until=until)
    )
    return found.rowcount == 1


def release(conn: Connection, state: Subscribed) -> None:
    """Let others send for a subscription that was claimed at *state*; who claimed it since goes on."""
    conn.execute(
        update(SubscriptionRow)
        .where(SubscriptionRow.id == state.subscription_id, SubscriptionRow.version == state.version + 1)
        .values(version=state.version + 2, sender=None, sender_until=None)
    )


# --- digests ---------------------------------------------------------------------------------------------------------


def add_digest(
    conn: Connection,
    subscription_id: int,
    *,
    kind: str,
    channel: str,
    runs: tuple[int, int],
    message_id: str,
    subject: str,
    content: bytes,
    recipients: Iterable[str],
    queued_at: datetime,
    now: datetime,
) -> int:
    """Keep a composed digest that covers *runs* (first and last) for its recipients, and give its id."""
    values = {
        "subscription_id": subscription_id,
        "kind": kind,
        "channel": channel,
        "first_run_id": runs[0],
        "last_run_id": runs[1],
        "queued_at": queued_at,
        "made_at": now,
        "message_id": message_id,
        "subject": subject,
        "content": zlib.compress(content),
    }
    digest_id: int = conn.execute(insert(DigestRow).values(values).returning(DigestRow.id)).scalar_one()
    conn.execute(insert(Recipient), _waiting_from(now, digest_id, recipients))
    return digest_id


def _waiting_from(now: datetime, digest_id: int, addresses: Iterable[str]) -> list[dict[str, Any]]:
    return [{"digest_id": digest_id, "address": one, "state": "waiting", "next_at": now} for one in addresses]


def settle(
    conn: Connection,
    state: Subscribed,
    *,
    digest_id: int | None,
    now: datetime,
    covering: int | None = None,
    is_due: bool = False,
) -> None:
    """
    Note that everything *state* has waiting is in a digest, or that there was nothing to send.

    *covering* is the last run of the range: should the subscription go by the clock from now on, that begins after it,
    whether what was told is remembered or not. *is_due*: it goes by the clock, and this was its time.
    """
    for portion in portions(state.runs):
        conn.execute(
            update(Delivery)
            .where(Delivery.subscription_id == state.subscription_id, Delivery.run_id.in_(portion))
            .values(settled_at=now, digest_id=digest_id)
        )
    if covering is not None:
        conn.execute(
            update(SubscriptionRow)
            .where(SubscriptionRow.id == state.subscription_id)
            .values(told_run_id=max(covering, state.told_run_id or 0), **({"due_at": now} if is_due else {}))
        )


def settled_runs(conn: Connection, state: Subscribed, runs: Collection[int]) -> set[int]:
    """
    Return those of *runs* whose changes a subscription had in a digest already, or did not want.

    Of those before the last that it covers nothing else need be remembered.
    """
    found = {run_id for run_id in runs if run_id <= (state.told_run_id or 0)}.difference(state.runs)
    for portion in portions(sorted(set(runs) - found)):
        found.update(
            conn.execute(
                select(Delivery.run_id).where(
                    Delivery.subscription_id == state.subscription_id,
                    Delivery.run_id.in_(portion),
                    Delivery.settled_at.is_not(None),
                )
            ).scalars()
        )
    return found


def remember(conn: Connection, subscription_id: int, told: str) -> None:
    """Keep which conditions that last a subscription was notified of."""
    conn.execute(update(SubscriptionRow).where(SubscriptionRow.id == subscription_id).values(told=told))


def rename_account(conn: Connection, old: str, new: str) -> None:
    """Let what subscriptions were told of the targets of an account stand under its *new* name."""

    def renamed(told: Any) -> Any:
        is_its = isinstance(told, str) and told.startswith(f"{old}/")
        return f"{new}/{told.removeprefix(f'{old}/')}" if is_its else told

    for row in conn.execute(select(SubscriptionRow.id, SubscriptionRow.told)).all():
        told = json.loads(row.told)
        lists = {name: [*map(renamed, value)] for name, value in told.items() if isinstance(value, list)}
        remember(conn, row.id, json.dumps(told | lists, ensure_ascii=False))


def waiting(conn: Connection, subscription_id: int) -> list[Waiting]:
    """Return the recipients that digests of a subscription have not reached, the oldest digest first."""
    rows = conn.execute(
        select(
            Recipient.digest_id,
            Recipient.address,
            DigestRow.channel,
            Recipient.attempts,
            Recipient.next_at,
            Recipient.refused,
            Recipient.trouble,
            DigestRow.queued_at,
        )
        .join(DigestRow, DigestRow.id == Recipient.digest_id)
        .where(DigestRow.subscription_id == subscription_id, Recipient.state == "waiting")
        .order_by(Recipient.digest_id, Recipient.address)
    )
    return [Waiting(**dict(row._mapping)) for row in rows]  # noqa: SLF001 - the public name of a row's columns


def content_of(conn: Connection, digest_id: int) -> bytes | None:
    """Return a digest as it was composed; None once nobody waits for it any more."""
    stored = conn.execute(select(DigestRow.content).where(DigestRow.id == digest_id)).scalar()
    return None if stored is None else zlib.decompress(stored)


def record(
    conn: Connection, digest_id: int, *, sent: Collection[str], setbacks: Mapping[str, DeliveryFailure], now: datetime
) -> None:
    """Note how a try to send a digest went, for each recipient it was sent to."""
    if sent:
        _end(conn, digest_id, sent, "sent", now)
    for address, setback in setbacks.items():
        conn.execute(
            update(Recipient)
            .where(Recipient.digest_id == digest_id, Recipient.address == address)
            .values(
                attempts=setback.attempts,
                next_at=setback.next_at,
                refused=setback.refused,
                trouble=setback.trouble,
            )
        )


def is_complete(conn: Connection, digest_id: int) -> bool:
    """Return whether nobody waits for a digest any more."""
    return conn.execute(
        select(~exists().where(Recipient.digest_id == digest_id, Recipient.state == "waiting"))
    ).scalar_one()


def skip(conn: Connection, digest_id: int, addresses: Collection[str], now: datetime) -> None:
    """Give up on recipients of a digest."""
    _end(conn, digest_id, addresses, "skipped", now)


def readdress(conn: Connection, digest_id: int, addresses: Collection[str], now: datetime) -> None:
    """Have *addresses* wait for a digest from now on, unless somebody has got it."""
    if conn.execute(select(_has_reader(digest_id))).scalar_one():
        return
    gone = delete(Recipient).where(Recipient.digest_id == digest_id, Recipient.address.in_(sorted(addresses)))
    conn.execute(gone)
    conn.execute(insert(Recipient), _waiting_from(now, digest_id, addresses))


def _has_reader(digest_id: int) -> Exists:
    """Return whether anybody has got a digest."""
    return exists().where(Recipient.digest_id == digest_id, Recipient.state == "sent")


def take_back(conn: Connection, digest_id: int) -> bool:
    """
    Have what a digest tells wait to be told by another; False, and nothing, where somebody has got it.

    What had its time by a schedule has it still.
    """
    digest = select(DigestRow.kind, DigestRow.subscription_id).where(DigestRow.id == digest_id, ~_has_reader(digest_id))
    row = conn.execute(digest).first()
    if row is None or row.kind not in ("digest", "urgent"):
        return False
    conn.execute(update(Delivery).where(Delivery.digest_id == digest_id).values(settled_at=None, digest_id=None))
    if row.kind == "digest":
        conn.execute(update(SubscriptionRow).where(SubscriptionRow.id == row.subscription_id).values(due_at=None))
    return True


def skip_all(conn: Connection, name: str, now: datetime) -> int:
    """Give up on everything that waits for a subscription, composed or not, and give how many digests that was."""
    state = subscribed(conn, name)
    if state is None:
        return 0
    given_up: dict[int, list[str]] = {}
    for row in waiting(conn, state.subscription_id):
        given_up.setdefault(row.digest_id, []).append(row.address)
    for digest_id, addresses in given_up.items():
        skip(conn, digest_id, addresses, now)
    settle(conn, state, digest_id=None, now=now, covering=max(state.runs, default=None))
    return len(given_up) + bool(state.runs)


def untold_runs() -> Select[int]:
    """Select the runs that some subscription is not surely told of yet: no digest does, or somebody waits for it."""
    return select(Delivery.run_id).where(Delivery.settled_at.is_(None) | _is_waited_for())


def _is_waited_for() -> Exists:
    """Return whether somebody waits for the digest of a delivery; by another channel it may be told by another."""
    return exists().where(Recipient.digest_id == Delivery.digest_id, Recipient.state == "waiting")


def forget(conn: Connection, before: datetime) -> None:
    """Forget what was sent before a moment; what waits stays, however old, with what it tells."""
    conn.execute(delete(Delivery).where(Delivery.settled_at < before, ~_is_waited_for()))
    waits = exists().where(Recipient.digest_id == DigestRow.id, Recipient.state == "waiting")
    is_told_here = exists().where(Delivery.digest_id == DigestRow.id)
    ended = conn.execute(select(DigestRow.id).where(DigestRow.made_at < before, ~waits, ~is_told_here)).scalars().all()
    for portion in portions(ended):
        conn.execute(delete(Recipient).where(Recipient.digest_id.in_(portion)))
        conn.execute(delete(DigestRow).where(DigestRow.id.in_(portion)))


def _end(conn: Connection, digest_id: int, addresses: Collection[str], state: str, now: datetime) -> None:
    conn.execute(
        update(Recipient)
        .where(
            Recipient.digest_id == digest_id,
            Recipient.address.in_(sorted(addresses)),
            Recipient.state == "waiting",
        )
        .values(state=state, ended_at=now)
    )
    open_still = exists().where(Recipient.digest_id == DigestRow.id, Recipient.state == "waiting")
    conn.execute(update(DigestRow).where(DigestRow.id == digest_id, ~open_still).values(content=None))


def longest_waits(conn: Connection, names: Collection[str], *, unmade: Collection[str] = ()) -> dict[str, datetime]:
    """
    Return when the oldest digest of each of these subscriptions was made that was sent in vain and has not arrived.

    Of those that are *unmade*, for no digest of theirs could be made, it is since when their oldest news waits.
    """
    rows = conn.execute(
        select(SubscriptionRow.name, func.min(DigestRow.made_at))
        .join(DigestRow, DigestRow.subscription_id == SubscriptionRow.id)
        .join(Recipient, Recipient.digest_id == DigestRow.id)
        .where(SubscriptionRow.name.in_(sorted(names)), Recipient.state == "waiting", Recipient.attempts > 0)
        .group_by(SubscriptionRow.name)
    )
    waits: dict[str, datetime] = {row[0]: row[1] for row in rows}
    for name in unmade:
        state = subscribed(conn, name)
        if state is not None and state.queued_at is not None:
            waits[name] = min(state.queued_at, waits.get(name, state.queued_at))
    return waits


def backlog(conn: Connection) -> tuple[int, int]:
    """Return how many reports wait to be told, and how many recipients wait to whom one was sent in vain."""
    to_make = select(func.count()).select_from(Delivery).where(Delivery.settled_at.is_(None))
    to_send = select(func.count(), func.count().filter(Recipient.attempts > 0)).select_from(Recipient)
    sends, in_vain = conn.execute(to_send.where(Recipient.state == "waiting")).one()
    return conn.execute(to_make).scalar_one() + sends, in_vain
