"""What the operator's room wants to know from the database: the conditions of a run, and gauges for the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, exists, func, select

from crawler.model import END_OF_TIME
from crawler.ops.conditions import NOTHING_KNOWN, Known, Trouble
from crawler.ops.metrics import Gauges
from crawler.records import RunSummary
from crawler.settings import Settings
from crawler.store import reader
from crawler.store.selection import targets_by_id
from crawler.store.tables import Absence, Delivery, DigestRow, Hold, Recipient, Run, RunException, SubscriptionRow


def known_of(conn: Connection, summary: RunSummary) -> Known:
    """Give what is recorded of a run."""
    return Known(troubles=_troubles(conn, summary.run, summary.accounts), notices=summary.notices)


def known_before(conn: Connection, summary: RunSummary) -> Known:
    """Give what is recorded of the last whole run of the same accounts before it; nothing, when it was the first."""
    accounts = conn.execute(select(Run.accounts).where(Run.id == summary.run)).scalar_one()
    statement = (
        select(Run.id, Run.notices, Run.accounts)
        .where(Run.id < summary.run, Run.finished_at.is_not(None), Run.status != "interrupted", ~Run.restricted)
        .order_by(Run.id.desc())
        .limit(50)
    )
    for row in conn.execute(statement):
        if row.accounts == accounts:
            return Known(troubles=_troubles(conn, row.id, summary.accounts), notices=tuple(row.notices or ()))
    return NOTHING_KNOWN


def _troubles(conn: Connection, run_id: int, accounts: tuple[str, ...]) -> tuple[Trouble, ...]:
    is_absent = exists().where(Absence.target_id == RunException.target_id, Absence.valid_to == END_OF_TIME)
    rows = conn.execute(
        select(RunException).where(
            RunException.from_run_id <= run_id,
            RunException.to_run_id > run_id,
            RunException.outcome != "denied",
            ~is_absent,
        )
    ).all()
    targets = targets_by_id(conn, {row.target_id for row in rows})
    return tuple(
        Trouble(
            target=targets[row.target_id],
            outcome=row.outcome,
            failure_class=row.failure_class,
            ret_code=row.ret_code,
            message=row.message,
            request_uuid=row.request_uuid,
            since=row.since,
        )
        for row in rows
        if targets[row.target_id].account in accounts
    )


def gauges(conn: Connection, *, now: datetime, rates: Mapping[str, float]) -> Gauges:
    """Give what the database knows beyond the last run."""
    asked = [row for row in reader.status(conn, now=now, include_retired=False) if row.outcome != "denied"]
    seen = [row.last_ok_at for row in asked if row.last_ok_at is not None]
    complete = select(func.max(Run.finished_at)).where(Run.status == "complete", ~Run.restricted)
    waiting = [
        select(func.count()).select_from(Delivery).where(Delivery.settled_at.is_(None)),
        select(func.count()).select_from(Recipient).where(Recipient.state == "waiting"),
    ]
    return Gauges(
        last_success_at=conn.execute(complete).scalar_one(),
        holds=conn.execute(select(func.count()).select_from(Hold).where(Hold.status == "open")).scalar_one(),
        oldest_observed_at=min(seen, default=None),
        never_observed=len(asked) - len(seen),
        outbox=sum(conn.execute(statement).scalar_one() for statement in waiting),
        rates=rates,
    )


def report_trouble_is_news(conn: Connection, settings: Settings, summary: RunSummary, *, now: datetime) -> bool:
    """Tell whether a letter failed for the first time, or became overdue since the last run: then it is told once."""
    first = select(func.count()).select_from(Recipient).where(Recipient.state == "waiting", Recipient.attempts <= 1)
    if conn.execute(first).scalar_one():
        return True
    previous = conn.execute(select(func.max(Run.finished_at)).where(Run.id < summary.run)).scalar_one()
    if previous is None:
        return True
    patience = {report.name: report.alert_after for report in settings.reports}
    rows = conn.execute(
        select(SubscriptionRow.name, func.min(DigestRow.queued_at).label("queued_at"))
        .join(DigestRow, DigestRow.subscription_id == SubscriptionRow.id)
        .join(Recipient, Recipient.digest_id == DigestRow.id)
        .where(Recipient.state == "waiting")
        .group_by(SubscriptionRow.name)
    )
    return any(previous < row.queued_at + patience[row.name] <= now for row in rows if row.name in patience)
