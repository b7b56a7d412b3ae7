"""
What reports need to know of the history beyond what readers ask, and what is on its way to whom.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set
from datetime import datetime
from sys import intern
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, exists, func, literal, select, union_all

from crawler.db.schema import (
    OPEN_RUN,
    Absence,
    Account,
    Delivery,
    DigestRow,
    ImageVersion,
    OutcomeSpan,
    Recipient,
    Run,
    SubscriptionRow,
    TargetRow,
)
from crawler.db.sql import PAGED, TARGET_COLUMNS, portions
from crawler.domain.filters import TARGET_PARTS, Filters
from crawler.domain.models import END_OF_TIME, Target, is_storable
from crawler.domain.rows import DigestRecord, RecipientRecord


def gpu_of(conn: Connection, images: Iterable[tuple[str, str]]) -> dict[tuple[str, str], bool | None]:
    """Return for each (image set, image id) whether it takes a GPU, as last known."""
    wanted = set(images)
    found: dict[tuple[str, str], bool | None] = {}
    for portion in portions(sorted({image_id for _, image_id in wanted})):
        rows = conn.execute(
            select(ImageVersion.image_set, ImageVersion.image_id, ImageVersion.gpu)
            .where(ImageVersion.image_id.in_(portion), ImageVersion.gpu.is_not(None))
            .order_by(ImageVersion.id)
        )
        found.update(
            {(row.image_set, row.image_id): row.gpu for row in rows if (row.image_set, row.image_id) in wanted}
        )
    return found


def project_names(conn: Connection) -> dict[tuple[str, str], str]:
    """Return the last known names of projects by (account, project id)."""
    rows = conn.execute(
        select(Account.name, TargetRow.project, TargetRow.project_name)
        .join(Account, Account.id == TargetRow.account_id)
        .where(TargetRow.project_name != "")
        .distinct()
    )
    return {(row.name, row.project): row.project_name for row in rows}


# --- which zones have to be looked at, and which others there are ----------------------------------------------------


#: A zone in its region, whoever sees it.
Place = tuple[str, str]


class ZoneKey(NamedTuple):
    """A zone as one account sees it, by the names of `Target`."""

    account: str
    region: str
    zone: str


def troubled_zones(conn: Connection, *, now: datetime) -> set[ZoneKey]:
    """Return the zones where any target is perhaps not asked, or was not observed well when it was last asked."""
    under_way = select(func.coalesce(func.min(Run.id), OPEN_RUN)).where(Run.finished_at.is_(None)).scalar_subquery()
    absent = select(Absence.target_id).where(Absence.valid_from <= now, Absence.valid_to > now)
    in_trouble = select(OutcomeSpan.target_id).where(OutcomeSpan.to_run_id >= under_way)
    unseen = select(TargetRow.id).where(func.coalesce(TargetRow.baseline_run_id, OPEN_RUN) >= under_way)
    return _zones(conn, TargetRow.id.in_(union_all(absent, in_trouble, unseen)))


def is_any_unobserved(conn: Connection) -> bool:
    """Return whether the last run that asked some target could not observe it; what is asked no more does not count."""
    absent = exists().where(Absence.target_id == OutcomeSpan.target_id, Absence.valid_to == END_OF_TIME)
    in_trouble = select(OutcomeSpan.id).where(
        OutcomeSpan.account_id.in_(select(Account.id)),
        OutcomeSpan.to_run_id == OPEN_RUN,
        OutcomeSpan.outcome.in_(("failed", "skipped")),
        ~absent,
    )
    return conn.execute(in_trouble.limit(1)).first() is not None


def zones_of_accounts(conn: Connection, accounts: Collection[str]) -> set[ZoneKey]:
    """Return all zones of the *accounts*, by name."""
    return _zones(conn, Account.name.in_(sorted(accounts))) if accounts else set()


def zones_called(conn: Connection, zones: Collection[str]) -> set[ZoneKey]:
    """Return the zones of every account that are called so, in whatever case."""
    if not zones:
        return set()
    wanted = {zone.casefold() for zone in zones}
    called = [zone for zone in conn.scalars(select(TargetRow.zone).distinct()) if zone.casefold() in wanted]
    return _zones(conn, TargetRow.zone.in_(called)) if called else set()


def _zones(conn: Connection, are_wanted: ColumnElement[bool]) -> set[ZoneKey]:
    names = select(Account.name, TargetRow.region, TargetRow.zone).join(Account, Account.id == TargetRow.account_id)
    return {ZoneKey(*row) for row in conn.execute(names.where(are_wanted).distinct())}


class OtherZones(NamedTuple):
    """Zones that a watch is about, whoever sees them, and who does."""

    zones: Set[Place] = frozenset()
    #: Those that are asked as a whole.
    regions: Set[str] = frozenset()
    accounts: Set[str] = frozenset()


def other_zones(conn: Connection, watch: Filters, *, but: Collection[ZoneKey]) -> OtherZones:
    """Return the zones that have a target which *watch* is about, without what the accounts in *but* see of them."""
    stated = watch.given(TARGET_PARTS)
    columns = [
        column if part in stated or part in ZoneKey._fields else literal("")
        for part, column in zip(Target._fields, TARGET_COLUMNS, strict=True)
    ]
    project_name = TargetRow.project_name if "project" in stated else literal("")
    statement = select(*columns, project_name).join(Account, Account.id == TargetRow.account_id).distinct()
    zones: set[Place] = set()
    regions: set[str] = set()
    accounts: set[str] = set()
    last: ZoneKey | None = None
    order = (Account.name, TargetRow.region, TargetRow.zone)
    with conn.execute(statement.order_by(*order), execution_options=PAGED) as rows:
        for *names, called in rows:
            target = Target(*names)
            zone = ZoneKey(target.account, target.region, target.zone)
            if zone != last and zone not in but and (not stated or watch.wants(target, called)):
                accounts.add(zone.account)
                if zone.zone:
                    zones.add((intern(zone.region), zone.zone))
                else:
                    regions.add(zone.region)
                last = zone
    return OtherZones(zones, regions, accounts)


def known_reports(conn: Connection) -> list[str]:
    """Return the names of the reports that a run has known, sorted."""
    return sorted(conn.scalars(select(SubscriptionRow.name)))


def digests(
    conn: Connection, *, include_ended: bool = False, names: Collection[str] = (), ids: Collection[int] | None = None
) -> list[DigestRecord]:
    """
    Return the digests that wait for somebody, oldest first, and what no digest tells yet.

    With *include_ended* all there were. *names* are the subscriptions wanted, *ids* the digests.
    """
    statement = (
        select(DigestRow, SubscriptionRow.name)
        .join(SubscriptionRow, SubscriptionRow.id == DigestRow.subscription_id)
        .order_by(DigestRow.id)
    )
    if ids is not None:
        statement = statement.where(DigestRow.id.in_(sorted(ids)))
    elif not include_ended:
        statement = statement.where(exists().where(Recipient.digest_id == DigestRow.id, Recipient.state == "waiting"))
    if names:
        statement = statement.where(SubscriptionRow.name.in_(sorted(filter(is_storable, names))))
    rows = conn.execute(statement).all()
    recipients = _recipients(conn, [row.id for row in rows])
    found = [
        DigestRecord(
            id=row.id,
            report=row.name,
            kind=row.kind,
            state=_state(recipients.get(row.id, ())),
            channel=row.channel,
            first_run=row.first_run_id,
            last_run=row.last_run_id,
            subject=row.subject,
            message_id=row.message_id,
            queued_at=row.queued_at,
            made_at=row.made_at,
            recipients=recipients.get(row.id, ()),
        )
        for row in rows
    ]
    return found if ids is not None else found + _not_composed(conn, names)


def _state(recipients: Collection[RecipientRecord]) -> str:
    states = {recipient.state for recipient in recipients}
    if not recipients:
        return "queued"
    if "waiting" in states:
        return "refused" if any(one.refused for one in recipients if one.state == "waiting") else "waiting"
    return "sent" if "sent" in states else "skipped"


def _recipients(conn: Connection, digest_ids: Collection[int]) -> Mapping[int, tuple[RecipientRecord, ...]]:
    found: dict[int, list[RecipientRecord]] = {}
    for portion in portions(digest_ids):
        for row in conn.execute(
            select(Recipient).where(Recipient.digest_id.in_(portion)).order_by(Recipient.digest_id, Recipient.address)
        ):
            record = RecipientRecord(
                address=row.address,
                state=row.state,
                attempts=row.attempts,
                next_at=row.next_at if row.state == "waiting" else None,
                refused=row.refused,
                trouble=row.trouble,
                ended_at=row.ended_at,
            )
            found.setdefault(row.digest_id, []).append(record)
    return {digest_id: tuple(records) for digest_id, records in found.items()}


def _not_composed(conn: Connection, names: Collection[str]) -> list[DigestRecord]:
    """Return one record for each subscription that has something waiting that is in no digest yet."""
    statement = (
        select(SubscriptionRow.name, Delivery.run_id, Delivery.queued_at)
        .join(SubscriptionRow, SubscriptionRow.id == Delivery.subscription_id)
        .where(Delivery.settled_at.is_(None))
        .order_by(SubscriptionRow.name, Delivery.run_id)
    )
    if names:
        statement = statement.where(SubscriptionRow.name.in_(sorted(filter(is_storable, names))))
    by_name: dict[str, list[tuple[int, datetime]]] = {}
    for row in conn.execute(statement):
        by_name.setdefault(row.name, []).append((row.run_id, row.queued_at))
    return [
        DigestRecord(
            id=None,
            report=name,
            kind="digest",
            state="queued",
            channel=None,
            first_run=runs[0][0],
            last_run=runs[-1][0],
            subject="",
            message_id=None,
            queued_at=min(queued_at for _, queued_at in runs),
            made_at=None,
        )
        for name, runs in by_name.items()
    ]
