"""
Who can be asked: accounts, variants, catalogs and targets, and what a discovery did to them.

Every function takes a connection inside `begin(engine, fence)`; nothing here begins or ends a transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from functools import cache
from sys import intern
from typing import Any

from sqlalchemy import Connection, Select, Text, bindparam, insert, select, type_coerce, update

from crawler.db import changelog
from crawler.db.schema import (
    Absence,
    Account,
    CatalogRow,
    ImageVersion,
    Interval,
    Run,
    TargetRow,
    Variant,
    ZoneNumber,
)
from crawler.db.sql import PAGED, TARGET_COLUMNS, among, insert_missing, portions, shared_target, written
from crawler.domain.models import END_OF_TIME, AbsenceReason, Catalog, Event, Place, Project, Target
from crawler.domain.targets import KnownTarget, Reconciliation
from crawler.errors import ConfigurationError, UsageError


def account_ids(conn: Connection, endpoints: Mapping[str, str]) -> dict[str, int]:
    """Return the id of every account `{name: endpoint}`; new ones are added, a moved endpoint is noted."""
    named = {"names": sorted(endpoints)}
    known = {name: (key, endpoint) for name, key, endpoint in conn.execute(_accounts_named(), named)}
    fresh = [{"name": name, "endpoint": endpoints[name], "fence": 0} for name in sorted(endpoints) if name not in known]
    if fresh:
        insert_missing(conn, Account, fresh)
        known = {name: (key, endpoint) for name, key, endpoint in conn.execute(_accounts_named(), named)}
    for name, (key, endpoint) in known.items():
        if endpoint != endpoints[name]:
            conn.execute(update(Account).where(Account.id == key).values(endpoint=endpoints[name]))
    return {name: key for name, (key, _) in known.items()}


@cache
def _accounts_named() -> Select[*tuple[Any, ...]]:
    return select(Account.name, Account.id, Account.endpoint).where(among(Account.name, "names"))


def find_accounts(conn: Connection, names: Iterable[str] | None) -> dict[str, int]:
    """Return the ids of those of the *names* (None: of all) that the history has heard of; writes nothing."""
    statement = select(Account.name, Account.id)
    if names is not None:
        statement = statement.where(Account.name.in_(sorted(names)))
    return {row.name: row.id for row in conn.execute(statement)}


def rename_account(conn: Connection, old: str, new: str) -> None:
    """Call the account *old* by the name *new*; raise UsageError when there is none, or the new name is taken."""
    names = set(conn.execute(select(Account.name)).scalars())
    if old not in names:
        raise UsageError(f"The history has no account {old!r}; it has {', '.join(sorted(names)) or 'none'}.")
    if new in names:
        raise UsageError(f"The history has an account {new!r} already; two histories do not become one.")
    conn.execute(update(Account).where(Account.name == old).values(name=new))


#: What to do about variants that mean another question than before.
NEW_NAME = "give the new parameters a new name"


def changed_variants(known: Mapping[str, Mapping[str, str]], variants: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say of each of *variants* `{name: parameters}` that it means another question than when it was *known*."""
    return [
        f"variant {name!r} was used with {dict(known[name]) or 'no parameters'} and now has "
        f"{dict(parameters) or 'none'}"
        for name, parameters in variants.items()
        if name in known and known[name] != dict(parameters)
    ]


def check_variants(
    conn: Connection, account_id: int, variants: Mapping[str, Mapping[str, Any]], *, source: str = "configuration"
) -> None:
    """
    Remember the parameters of every variant `{name: parameters}` of an account.

    Raises ConfigurationError when the parameters under a used name changed: its history would mix two questions.
    """
    known = known_variants(conn, account_id)
    if changed := changed_variants(known, variants):
        raise ConfigurationError(source, [f"{sentence}: {NEW_NAME}" for sentence in changed])
    add_variants(conn, account_id, {name: own for name, own in variants.items() if name not in known})


def add_variants(conn: Connection, account_id: int, variants: Mapping[str, Mapping[str, Any]]) -> None:
    """Remember the parameters of *variants* `{name: parameters}` of an account, of which none is known yet."""
    insert_missing(
        conn,
        Variant,
        [
            {"account_id": account_id, "name": name, "parameters": dict(parameters)}
            for name, parameters in sorted(variants.items())
        ],
    )


def known_variants(conn: Connection, account_id: int) -> dict[str, dict[str, str]]:
    """Return the parameters of every variant of an account that was ever used, by name."""
    return {row.name: row.parameters for row in conn.execute(_variants_of(), {"account": account_id})}


@cache
def _variants_of() -> Select[*tuple[Any, ...]]:
    return select(Variant.name, Variant.parameters).where(Variant.account_id == bindparam("account"))


def last_catalog(conn: Connection, account_id: int) -> Catalog | None:
    """Return the last good catalog of an account; None when there never was one."""
    row = conn.execute(_last_catalog_of(), {"account": account_id}).first()
    if row is None:
        return None
    return Catalog(
        projects=tuple(Project(*project) for project in row.projects),
        places=tuple(Place(*place) for place in row.places),
        is_listed=any(name or third for _, name, *third in row.projects),
    )


@cache
def _last_catalog_of() -> Select[*tuple[Any, ...]]:
    return (
        select(CatalogRow.projects, CatalogRow.places, CatalogRow.digest)
        .where(CatalogRow.account_id == bindparam("account"))
        .order_by(CatalogRow.id.desc())
        .limit(written(1))
    )


def save_catalog(conn: Connection, account_id: int, catalog: Catalog, now: datetime) -> bool:
    """Keep a good *catalog* when it differs from the last; tell whether it did."""
    digest = catalog.digest()
    last = conn.execute(_last_catalog_of(), {"account": account_id}).first()
    if last is not None and last.digest == digest:
        return False
    projects, places = catalog.as_lists()
    row = {"account_id": account_id, "recorded_at": now, "digest": digest, "projects": projects, "places": places}
    conn.execute(insert(CatalogRow).values(row))
    return True


def zone_numbers(conn: Connection, account_id: int) -> dict[int, str]:
    """Return the confirmed numeric ZoneIds of an account, as `{number: zone}`."""
    return {row.number: row.zone for row in conn.execute(_zone_numbers_of(), {"account": account_id})}


@cache
def _zone_numbers_of() -> Select[*tuple[Any, ...]]:
    return select(ZoneNumber.number, ZoneNumber.zone).where(ZoneNumber.account_id == bindparam("account"))


def known_targets(conn: Connection, account_id: int) -> list[KnownTarget]:
    """Return every target of an account that the history has heard of."""
    return list(_known_targets(conn, account_id))


def _known_targets(conn: Connection, account_id: int) -> Iterator[KnownTarget]:
    absences: dict[int, AbsenceReason] = {}
    for target_id, reason in conn.execute(_lasting_absences(), {"account": account_id}):
        absences[target_id] = reason
    rows = conn.execute(_targets_of_account(), {"account": account_id}, execution_options=PAGED)
    for *names, target_id, project_name, missing_count, missing_needed in rows:
        yield KnownTarget(
            target=shared_target(*names),
            target_id=target_id,
            project_name=intern(project_name),
            missing_count=missing_count,
            missing_needed=missing_needed,
            absence=absences.get(target_id),
        )


@cache
def _lasting_absences() -> Select[*tuple[Any, ...]]:
    return (
        select(Absence.target_id, Absence.reason)
        .join(TargetRow, TargetRow.id == Absence.target_id)
        .where(TargetRow.account_id == bindparam("account"), Absence.valid_to == END_OF_TIME)
    )


@cache
def _targets_of_account() -> Select[*tuple[Any, ...]]:
    columns: tuple[Any, ...] = (TargetRow.id, TargetRow.project_name, TargetRow.missing_count, TargetRow.missing_needed)
    return (
        select(*TARGET_COLUMNS, *columns)
        .join(Account, Account.id == TargetRow.account_id)
        .where(TargetRow.account_id == bindparam("account"))
    )


def forget_bodies(conn: Connection, account_id: int) -> None:
    """Let the next answer of each target of an account be read, even one that equals the last."""
    own = (TargetRow.account_id == account_id, TargetRow.body_hash.is_not(None))
    conn.execute(update(TargetRow).where(*own).values(body_hash=None))


def forget_bodies_of(conn: Connection, target_ids: Iterable[int]) -> None:
    """Do the same for some targets."""
    for portion in portions(sorted(target_ids)):
        conn.execute(update(TargetRow).where(TargetRow.id.in_(portion)).values(body_hash=None))


def listing_elsewhere(conn: Connection, account_id: int, number: int, zone: str) -> set[int]:
    """Return the targets of an account in other zones than *zone* that list images of its *number*."""
    # a longer number that begins so may be among them, which costs one reading
    states_it = type_coerce(ImageVersion.attributes, Text).contains(f'"zone_id":{number}', autoescape=True)
    found: set[int] = set()
    for versions in portions(conn.execute(select(ImageVersion.id).where(states_it)).scalars().all()):
        named = {"versions": versions, "account": account_id, "zone": zone}
        found.update(conn.execute(_listing_elsewhere(), named).scalars())
    return found


@cache
def _listing_elsewhere() -> Select[*tuple[Any, ...]]:
    """Select the targets of `:account` in other zones than `:zone` that list any of `:versions`."""
    own = (TargetRow.account_id == bindparam("account"), TargetRow.zone != bindparam("zone"))
    return (
        select(Interval.target_id)
        .join(TargetRow, TargetRow.id == Interval.target_id)
        .where(among(Interval.version_id, "versions"), Interval.valid_to == END_OF_TIME, *own)
        .distinct()
    )


def add_targets(conn: Connection, account_id: int, new: Mapping[Target, str]) -> dict[Target, int]:
    """Add *new* targets, each with its project's name, and give their ids; existing ones are left alone."""
    if not new:
        return {}
    insert_missing(
        conn,
        TargetRow,
        (
            {
                "account_id": account_id,
                "project": target.project,
                "project_name": new[target],
                "region": target.region,
                "zone": target.zone,
                "kind": target.kind,
                "variant": target.variant,
                "missing_count": 0,
                "missing_needed": 0,
            }
            for target in sorted(new)
        ),
    )
    return {known.target: known.target_id for known in _known_targets(conn, account_id) if known.target in new}


def apply_reconciliation(
    conn: Connection,
    account_id: int,
    rec: Reconciliation,
    run_id: int,
    now: datetime,
    *,
    recorded_at: datetime | None = None,
) -> None:
    """
    Write what a discovery means for the targets: missing counts, absences, `target_added` and `target_retired`.

    It counts from *now*, the start of the run; *recorded_at* is when it is written, by default the same, which is later
    when discovery took its time. New targets were added before the run began. An unchanged discovery writes nothing.
    """
    for project, name in rec.renamed.items():
        conn.execute(
            update(TargetRow)
            .where(TargetRow.account_id == account_id, TargetRow.project == project)
            .values(project_name=name)
        )
    concerned = {*rec.added, *rec.missing, *rec.found, *rec.retired, *rec.deselected, *rec.revived}
    if not concerned:
        return
    known = {entry.target: entry for entry in _known_targets(conn, account_id) if entry.target in concerned}
    ids = {target: entry.target_id for target, entry in known.items()}

    counts = dict.fromkeys((*rec.found, *rec.retired, *rec.deselected), (0, 0)) | dict(rec.missing)
    _count_missing(
        conn,
        {
            ids[target]: count
            for target, count in counts.items()
            if count != (known[target].missing_count, known[target].missing_needed)
        },
    )
    _end_absences(conn, [ids[t] for t in (*rec.revived, *rec.retired) if known[t].absence is not None], now)
    _begin_absences(conn, [ids[target] for target in rec.retired], "retired", now)
    _begin_absences(conn, [ids[target] for target in rec.deselected], "deselected", now)
    written = max(recorded_at or now, now)
    fields = {ids[target]: said for target, said in rec.fields.items()}
    retired = [ids[target] for target in rec.retired if target not in rec.silent]
    _log(conn, account_id, "target_added", [ids[target] for target in rec.added], fields, run_id, now, written)
    _log(conn, account_id, "target_retired", retired, fields, run_id, now, written)


def _count_missing(conn: Connection, counts: Mapping[int, tuple[int, int]]) -> None:
    if counts:
        conn.execute(
            update(TargetRow)
            .where(TargetRow.id == bindparam("target"))
            .values(missing_count=bindparam("count"), missing_needed=bindparam("needed")),
            [{"target": key, "count": count, "needed": needed} for key, (count, needed) in sorted(counts.items())],
        )


def _end_absences(conn: Connection, target_ids: Iterable[int], now: datetime) -> None:
    rows = [{"target": target_id} for target_id in target_ids]
    if rows:
        conn.execute(
            update(Absence)
            .where(Absence.target_id == bindparam("target"), Absence.valid_to == END_OF_TIME)
            .values(valid_to=now),
            rows,
        )


def _begin_absences(conn: Connection, target_ids: Iterable[int], reason: str, now: datetime) -> None:
    rows = [
        {"target_id": target_id, "reason": reason, "valid_from": now, "valid_to": END_OF_TIME}
        for target_id in target_ids
    ]
    if rows:
        conn.execute(insert(Absence), rows)


def _log(
    conn: Connection,
    account_id: int,
    event: Event,
    target_ids: Collection[int],
    fields: Mapping[int, Mapping[str, Any]],
    run_id: int,
    now: datetime,
    recorded_at: datetime,
) -> None:
    """Write one change of a target as such for each of *target_ids*, with its *fields*, and count them in the run."""
    if not target_ids:
        return
    changelog.append(
        conn,
        [
            {
                "run_id": run_id,
                "target_id": target_id,
                "account_id": account_id,
                "event": event,
                "fields": fields.get(target_id),
                "observed_at": now,
                "recorded_at": recorded_at,
                "reported_run_id": run_id,
            }
            for target_id in target_ids
        ],
    )
    counter = Run.__table__.c[event]
    conn.execute(update(Run).where(Run.id == run_id).values({event: counter + len(target_ids)}))
