"""What the metrics want to know from the database beyond the last run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, func, select

from crawler.db.schema import Delivery, Hold, Recipient, Run
from crawler.ops.metrics import Gauges
from crawler.queries import status


def gauges(conn: Connection, *, now: datetime, rates: Mapping[str, float]) -> Gauges:
    """Give what the database knows beyond the last run."""
    asked = [row for row in status.status(conn, now=now, include_retired=False) if row.outcome != "denied"]
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
