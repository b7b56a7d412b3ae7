"""What stands behind a change: the two answers that were kept, and the runs that got and wrote them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select

from crawler.db import last_observation
from crawler.db.filters import chosen_targets, targets_by_id
from crawler.db.payloads import load_answer
from crawler.db.schema import ChangeLog, Hold, HoldImage, OutcomeSpan
from crawler.db.sql import written
from crawler.domain.evidence import DoubtedAnswer, Explanation, KeptAnswer, kind_of
from crawler.domain.filters import Filters, is_glob
from crawler.domain.models import Target
from crawler.domain.rows import ChangeRow, RunSummary
from crawler.queries import runs
from crawler.queries.history_lookup import change_row


def explain(conn: Connection, change_id: int) -> Explanation | None:
    """Return the evidence for one change; None when there is no such change."""
    row = conn.execute(select(*ChangeLog.__table__.c).where(ChangeLog.id == change_id)).first()
    if row is None:
        return None
    change = change_row(row, targets_by_id(conn, [row.target_id])[row.target_id])
    before, seen_at = _last_seen(conn, row, change)
    written = runs.run(conn, row.run_id)
    # What did not wait on a hold was written by the run that got the answer, which may not have ended yet.
    waited = written is None or row.observed_at < written.started_at
    observed = _run_of(conn, row.target_id, row.observed_at) if waited else written
    return Explanation(
        change=change,
        before=before,
        after=load_answer(conn, row.after_payload_id),
        seen_run=_run_of(conn, row.target_id, seen_at),
        observed_run=observed if row.after_payload_id else None,
        written_run=written,
    )


def last_change_of(conn: Connection, image_id: str) -> int | None:
    """Return the number of the last change of an image, wherever it was; None where there is none."""
    return conn.scalar(select(func.max(ChangeLog.id)).where(ChangeLog.image_id == image_id))


def doubted(conn: Connection, name: str) -> DoubtedAnswer | None:
    """
    Return the last answer of the target called *name* that was not believed at all; None where none was kept.

    *name* is as the target is shown, its project by id or name, and places in any case.
    """
    parts = name.split("/")
    if len(parts) != len(Target._fields) or is_glob(name):
        return None
    chosen = chosen_targets(conn, Filters(**dict(zip(Target._fields, ((part,) for part in parts), strict=True))))
    target = next((found for found in chosen if str(found.target) == name), chosen[0] if len(chosen) == 1 else None)
    if target is None:
        return None
    row = conn.execute(
        select(OutcomeSpan.message, OutcomeSpan.since, OutcomeSpan.payload_id)
        .where(OutcomeSpan.target_id == target.target_id, OutcomeSpan.payload_id.is_not(None))
        .order_by(OutcomeSpan.from_run_id.desc())
        .limit(1)
    ).first()
    answer = load_answer(conn, row.payload_id) if row else None
    if row is None or answer is None:
        return None
    return DoubtedAnswer(target=target.target, message=row.message, since=row.since, answer=answer)


def _last_seen(conn: Connection, row: Any, change: ChangeRow) -> tuple[KeptAnswer | None, datetime | None]:
    """
    Return the answer before a change, and when it was last so.

    The one before a withdrawal may have left the image out already: it was held, and another image of the hold came
    back. What shows the withdrawal then is the answer before that hold.
    """
    before, seen_at, moment = load_answer(conn, row.before_payload_id), row.not_before, row.observed_at
    while (
        before and change.event == "withdrawn" and not before.lists(row.image_set, row.image_id, kind_of(change.target))
    ):
        hold = conn.execute(_hold_before(row, moment)).first()
        if hold is None:
            break
        before, seen_at, moment = load_answer(conn, hold.before_payload_id), hold.not_before, hold.held_at
    return before, seen_at


def _hold_before(row: Any, moment: datetime) -> Select[*tuple[Any, ...]]:
    """Select the last hold of the image before *moment*."""
    return (
        select(Hold.before_payload_id, Hold.not_before, Hold.held_at)
        .join(HoldImage, HoldImage.hold_id == Hold.id)
        .where(
            Hold.target_id == row.target_id,
            Hold.held_at < moment,
            HoldImage.image_set == row.image_set,
            HoldImage.image_id == row.image_id,
        )
        .order_by(Hold.held_at.desc())
        .limit(written(1))
    )


def _run_of(conn: Connection, target_id: int, moment: datetime | None) -> RunSummary | None:
    """Return the run that looked at the target at *moment*; None where it is known no more."""
    if moment is None:
        return None
    run_id = conn.scalar(last_observation.run_under_way(), {"target": target_id, "moment": moment})
    return runs.run(conn, run_id) if run_id else None
