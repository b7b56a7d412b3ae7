"""
What runs reported of conditions that last, kept between them.

Every function takes a connection; those that write, one inside `begin(engine, fence)`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, or_, select, text, update

from crawler.db.engine import is_sqlite
from crawler.db.schema import (
    Absence,
    ConditionRow,
    DigestRow,
    OutcomeSpan,
    Recipient,
    Run,
    ScopeTarget,
    SubscriptionRow,
)
from crawler.db.sql import portions
from crawler.domain.models import END_OF_TIME

#: Any fixed number, so that those who look what of all accounts was told wait for each other.
_TELLING_LOCK = 7305463285920914


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCondition:
    """A condition as it is kept."""

    #: None: of no account.
    account_id: int | None
    key: tuple[str, ...]
    since: datetime
    size: int
    told: str
    target_ids: tuple[int, ...] = ()


def wait_for_others(conn: Connection) -> None:
    """
    Let nobody else who waits so change the conditions of no account until this transaction ends.

    They are no account's, whose lock keeps other runs out. SQLite has one writer at a time.
    """
    if not is_sqlite(conn):
        conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _TELLING_LOCK})


def standing(conn: Connection, account_ids: Collection[int]) -> dict[int, StoredCondition]:
    """Return the conditions of these accounts, and those of no account, by the ids of their rows."""
    statement = select(ConditionRow).where(
        or_(ConditionRow.account_id.is_(None), ConditionRow.account_id.in_(sorted(account_ids)))
    )
    return {
        row.id: StoredCondition(
            account_id=row.account_id,
            key=tuple(row.key),
            since=row.since,
            size=row.size,
            told=row.told,
            target_ids=tuple(row.target_ids or ()),
        )
        for row in conn.execute(statement.order_by(ConditionRow.id))
    }


def write(
    conn: Connection,
    *,
    ended: Collection[int],
    changed: dict[int, StoredCondition],
    begun: Sequence[StoredCondition],
) -> None:
    """Let go of the rows *ended*, rewrite those *changed*, and add what has *begun*."""
    if ended:
        conn.execute(delete(ConditionRow).where(ConditionRow.id.in_(sorted(ended))))
    for row_id, condition in changed.items():
        conn.execute(update(ConditionRow).where(ConditionRow.id == row_id).values(_values(condition)))
    if begun:
        conn.execute(insert(ConditionRow), [_values(condition) for condition in begun])


def first_to_tell(conn: Connection, key: Sequence[str], told: str, now: datetime) -> bool:
    """Return whether a condition of no account was not reported yet, and note that it is now."""
    wait_for_others(conn)
    stored = ConditionRow.account_id.is_(None), ConditionRow.key == list(key)
    if conn.execute(select(ConditionRow.id).where(*stored)).first() is not None:
        return False
    write(
        conn,
        ended=(),
        changed={},
        begun=[StoredCondition(account_id=None, key=tuple(key), since=now, size=1, told=told)],
    )
    return True


def _values(condition: StoredCondition) -> dict[str, object]:
    return {**asdict(condition), "target_ids": list(condition.target_ids) or None}


def troubles(conn: Connection, run_id: int, account_ids: Collection[int]) -> Sequence[Row[Any]]:
    """
    Return the spans of trouble that cover a run at the targets of its scope, but for what is denied.

    *account_ids*: the accounts that it is a run of.
    """
    statement = (
        select(OutcomeSpan.__table__)
        .join(Run, Run.id == run_id)
        .join(
            ScopeTarget,
            (ScopeTarget.scope_id == Run.scope_id) & (ScopeTarget.target_id == OutcomeSpan.target_id),
        )
        .where(
            OutcomeSpan.account_id.in_(sorted(account_ids)),
            OutcomeSpan.from_run_id <= run_id,
            OutcomeSpan.to_run_id > run_id,
            OutcomeSpan.outcome != "denied",
        )
    )
    return conn.execute(statement).all()


def observed(conn: Connection, run_id: int, target_ids: Collection[int]) -> set[int]:
    """Return those of *target_ids* that are in the scope of a run."""
    scope = select(Run.scope_id).where(Run.id == run_id).scalar_subquery()
    return {
        target_id
        for portion in portions(sorted(target_ids))
        for target_id in conn.execute(
            select(ScopeTarget.target_id).where(ScopeTarget.scope_id == scope, ScopeTarget.target_id.in_(portion))
        ).scalars()
    }


def absent(conn: Connection, target_ids: Collection[int]) -> set[int]:
    """Return those of *target_ids* that are retired or deselected now."""
    return {
        target_id
        for portion in portions(sorted(target_ids))
        for target_id in conn.execute(
            select(Absence.target_id).where(Absence.target_id.in_(portion), Absence.valid_to == END_OF_TIME)
        ).scalars()
    }


def waiting_in_vain(conn: Connection, names: Collection[str]) -> set[tuple[str, str]]:
    """Return (subscription, address) of those whom a digest was tried to be sent to, and who wait for it still."""
    rows = conn.execute(
        select(SubscriptionRow.name, Recipient.address)
        .join(DigestRow, DigestRow.subscription_id == SubscriptionRow.id)
        .join(Recipient, Recipient.digest_id == DigestRow.id)
        .where(SubscriptionRow.name.in_(sorted(names)), Recipient.state == "waiting", Recipient.attempts > 0)
        .distinct()
    )
    return {(row.name, row.address) for row in rows}
