"""
Holds by hand: which withdrawals wait for confirmation, and a person's word for or against them.

The guard opens and resolves holds by itself (`batch`); what is here overrides it. Every function takes a connection;
those that write want one inside `begin(engine, fence)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Select, bindparam, select, update

from crawler.db import changelog
from crawler.db.filters import chosen_targets, targets_by_id, with_known_names
from crawler.db.last_observation import absences
from crawler.db.schema import Account, Hold, HoldImage, ImageVersion, Interval, TargetRow
from crawler.db.sql import portions
from crawler.db.target_state import Versions
from crawler.domain.diffing import counterparts
from crawler.domain.filters import EVERYTHING, TARGET_PARTS, Filters
from crawler.domain.models import END_OF_TIME, Attributes, ImageKey
from crawler.domain.rows import HeldImage, HoldRow
from crawler.errors import UsageError


def holds(conn: Connection, filters: Filters = EVERYTHING, *, include_resolved: bool = False) -> list[HoldRow]:
    """
    Return the open holds at the targets that *filters* want, oldest first; with *include_resolved* all there were.
    """
    filters = with_known_names(conn, filters)
    statement: Select[Any] = select(Hold).order_by(Hold.held_at, Hold.id)
    if not include_resolved:
        statement = statement.where(Hold.status == "open")
    every = conn.execute(statement).all()
    if filters.given(TARGET_PARTS):
        targets = {choice.target_id: choice.target for choice in chosen_targets(conn, filters)}
    else:
        targets = targets_by_id(conn, {row.target_id for row in every})
    rows = [row for row in every if row.target_id in targets]
    images = _images(conn, [row.id for row in rows])
    return [
        HoldRow(
            id=row.id,
            run=row.run_id,
            target=targets[row.target_id],
            status=row.status,
            images=images.get(row.id, ()),
            held_at=row.held_at,
            not_before=row.not_before,
            confirmations=row.confirmations,
            waits_for=row.waits_for,
            resolved_at=None if row.resolved_at == END_OF_TIME else row.resolved_at,
            resolved_by=row.resolved_by,
        )
        for row in rows
        if any(filters.wants_image(*image) for image in images.get(row.id, ()))
    ]


def holds_asked_about(conn: Connection, filters: Filters, at: datetime) -> list[HoldRow]:
    """Return the open holds where anybody still asks at *at*: elsewhere no answer comes to confirm or dissolve them."""
    rows = holds(conn, filters)
    held = {row.target for row in rows}
    ids = {choice.target: choice.target_id for choice in chosen_targets(conn, filters) if choice.target in held}
    absent = absences(conn, ids.values(), at)
    return [row for row in rows if ids.get(row.target) not in absent]


def accounts_of(conn: Connection, hold_ids: Sequence[int]) -> list[str]:
    """Return the names of the accounts that *hold_ids* are about; ids of no hold have none."""
    statement = select(Account.name).join(TargetRow, TargetRow.account_id == Account.id)
    statement = statement.join(Hold, Hold.target_id == TargetRow.id).where(Hold.id.in_(hold_ids))
    return sorted(set(conn.execute(statement).scalars()))


def accept(conn: Connection, hold_ids: Sequence[int], *, who: str, now: datetime) -> int:
    """
    Believe the withdrawals of *hold_ids* now and give how many were written, dated to the first held answer.

    Raises UsageError when one of them is not an open hold; then nothing is written.
    """
    written = 0
    for hold in _open_holds(conn, hold_ids):
        written += _withdraw(conn, hold, now)
    _resolve(conn, hold_ids, "accepted", who, now)
    return written


def reject(conn: Connection, hold_ids: Sequence[int], *, who: str, now: datetime) -> None:
    """
    Declare the held answers of *hold_ids* wrong: the images count as present, and a later answer is judged afresh.

    Raises UsageError when one of them is not an open hold; then nothing is written.
    """
    for hold in _open_holds(conn, hold_ids):
        if hold.waits_for == "readable":
            # The next answer is measured by the good one before the hold, or as many unreadable records would be usual.
            fewer = (TargetRow.id == hold.target_id) & (TargetRow.unreadable > hold.unreadable)
            conn.execute(update(TargetRow).where(fewer).values(unreadable=hold.unreadable))
    _resolve(conn, hold_ids, "rejected", who, now)


def _images(conn: Connection, hold_ids: Sequence[int]) -> dict[int, tuple[HeldImage, ...]]:
    """Return the images of each hold with the last name the target had for them."""
    named: dict[int, dict[tuple[str, str], str]] = {}
    for portion in portions(hold_ids):
        rows = conn.execute(
            select(HoldImage.hold_id, HoldImage.image_set, HoldImage.image_id, ImageVersion.image_name)
            .join(Hold, Hold.id == HoldImage.hold_id)
            .outerjoin(
                ImageVersion,
                (ImageVersion.image_id == HoldImage.image_id) & (ImageVersion.image_set == HoldImage.image_set),
            )
            .outerjoin(Interval, (Interval.version_id == ImageVersion.id) & (Interval.target_id == Hold.target_id))
            .where(HoldImage.hold_id.in_(portion))
            # the last name at this target last; one that only others had comes first, which databases do not agree on
            .order_by(HoldImage.hold_id, HoldImage.position, Interval.valid_from.nulls_first())
        )
        for hold_id, image_set, image_id, name in rows:
            named.setdefault(hold_id, {})[image_set, image_id] = name or ""
    return {hold_id: tuple(HeldImage(*key, name) for key, name in images.items()) for hold_id, images in named.items()}


def _open_holds(conn: Connection, hold_ids: Sequence[int]) -> list[Any]:
    rows = {row.id: row for row in conn.execute(select(Hold).where(Hold.id.in_(hold_ids)))}
    problems = [
        f"there is no hold {hold_id}" if hold_id not in rows else f"hold {hold_id} is {rows[hold_id].status} already"
        for hold_id in hold_ids
        if hold_id not in rows or rows[hold_id].status != "open"
    ]
    if problems:
        raise UsageError(f"Nothing was changed: {'; '.join(problems)}. `crawler holds list` shows the open ones.")
    return [rows[hold_id] for hold_id in hold_ids]


def _withdraw(conn: Connection, hold: Any, now: datetime) -> int:
    """Close the intervals of a hold's images that are still open, and log the changes."""
    keys = {
        ImageKey(image_set, image_id)
        for image_set, image_id in conn.execute(
            select(HoldImage.image_set, HoldImage.image_id).where(HoldImage.hold_id == hold.id)
        )
    }
    intervals, images = _open_images(conn, hold.target_id)
    account_id = conn.scalar(select(TargetRow.account_id).where(TargetRow.id == hold.target_id))
    others = counterparts(images, {key: images[key] for key in images.keys() - keys}, of=keys)
    rows = [
        {
            "run_id": hold.run_id,
            "target_id": hold.target_id,
            "account_id": account_id,
            "event": "withdrawn",
            "image_set": key.image_set,
            "image_id": key.image_id,
            "image_name": str(images[key].get("image_name") or ""),
            "counterpart": others[key].image_id if key in others else None,
            "not_before": hold.not_before,
            "observed_at": hold.held_at,
            "recorded_at": now,
            "before_payload_id": hold.before_payload_id,
            "after_payload_id": hold.payload_id,
        }
        for key in sorted(keys & images.keys())
    ]
    if rows:
        conn.execute(
            update(Interval)
            .where(Interval.id == bindparam("interval"))
            .values(valid_to=hold.held_at, closed_run_id=hold.run_id),
            [{"interval": intervals[key]} for key in sorted(keys & images.keys())],
        )
        changelog.append(conn, rows)
    return len(rows)


def _open_images(conn: Connection, target_id: int) -> tuple[dict[ImageKey, int], dict[ImageKey, Attributes]]:
    rows = conn.execute(
        select(Interval.id, Interval.version_id).where(
            Interval.target_id == target_id, Interval.valid_to == END_OF_TIME
        )
    ).all()
    versions = Versions().load(conn, {row.version_id for row in rows})
    intervals = {versions[row.version_id][0]: row.id for row in rows}
    return intervals, {versions[row.version_id][0]: versions[row.version_id][1] for row in rows}


def _resolve(
    conn: Connection, hold_ids: Sequence[int], status: Literal["accepted", "rejected"], who: str, now: datetime
) -> None:
    conn.execute(update(Hold).where(Hold.id.in_(hold_ids)).values(status=status, resolved_at=now, resolved_by=who))
