"""
What a run begins with: what the database knows, and the targets that follow from it and from the surveys.

One transaction looks back before anything is asked, one begins the run when discovery has spoken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from crawler.config.models import Settings
from crawler.crawl.catalog import Survey
from crawler.db import runs
from crawler.db import targets as db_targets
from crawler.db.engine import Fence, begin
from crawler.domain.models import Catalog, Target
from crawler.domain.rows import Notice
from crawler.domain.targets import KnownTarget, Reconciliation, Selection, reconcile, unique_numbers
from crawler.errors import EmptySelection


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPast:
    """What the database knows of one account before the run."""

    account_id: int
    catalog: Catalog | None
    zone_numbers: Mapping[int, str]


NO_PAST = AccountPast(account_id=0, catalog=None, zone_numbers={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run that has begun."""

    run_id: int
    targets: Mapping[Target, runs.PlannedTarget]
    unlisted: frozenset[Target]
    notices: tuple[Notice, ...]


def look_back(settings: Settings, engine: Engine, fence: Fence, now: datetime) -> dict[str, AccountPast]:
    """Return what the database knows of each account; runs that died are marked, and settings that changed kept."""
    with begin(engine, fence) as conn:
        ids = db_targets.account_ids(conn, {account.name: account.endpoint for account in settings.accounts})
        runs.recover(conn, ids.values(), now)
        runs.save_setting(conn, "stale_after_seconds", str(int(settings.stale_after.total_seconds())))
        for account in settings.accounts:
            source = str(settings.source or "configuration")
            db_targets.check_variants(conn, ids[account.name], account.variants, source=source)
        return {
            name: AccountPast(
                account_id=account_id,
                catalog=db_targets.last_catalog(conn, account_id),
                zone_numbers=db_targets.zone_numbers(conn, account_id),
            )
            for name, account_id in ids.items()
        }


def reconcile_all(
    settings: Settings,
    past: Mapping[str, AccountPast],
    targets: Mapping[str, Iterable[KnownTarget]],
    surveys: Mapping[str, Survey],
    restriction: Selection | None,
) -> dict[str, Reconciliation]:
    """Return what each account's catalog means; raise EmptySelection when there are catalogs and none has a target."""
    found = {}
    for account in settings.accounts:
        survey = surveys[account.name]
        found[account.name] = reconcile(
            survey.catalog or Catalog(projects=(), places=()),
            account.selection(),
            targets[account.name],
            previous=past[account.name].catalog,
            is_good=survey.is_good,
            restricted_to=restriction,
        )
    if not any(rec.asked for rec in found.values()) and all(survey.catalog for survey in surveys.values()):
        narrowed = "on the command line " if restriction else "of the configuration "
        raise EmptySelection(
            f"The selection {narrowed}matches none of the targets in the catalog; "
            "`crawler run --dry-run` without restrictions lists them."
        )
    return found


def begin_run(
    settings: Settings,
    engine: Engine,
    fence: Fence,
    past: Mapping[str, AccountPast],
    surveys: Mapping[str, Survey],
    restriction: Selection | None,
    now: datetime,
    clock: Callable[[], datetime],
    tick: datetime | None = None,
) -> Plan:
    """Begin a run over the targets that the surveys and the restriction leave to ask, and give it with their past."""
    with begin(engine, fence) as conn:
        found, target_ids = _choose(conn, settings, past, surveys, restriction)
        run_id = runs.begin_run(
            conn,
            started_at=now,
            account_ids=[entry.account_id for entry in past.values()],
            target_ids=target_ids,
            restricted=restriction is not None,
            tick=tick,
        )
        for name, rec in found.items():
            db_targets.apply_reconciliation(conn, past[name].account_id, rec, run_id, now, recorded_at=clock())
            survey, last = surveys[name], past[name].catalog
            # A restricted run leaves the catalog alone: a list that shrank would look normal to the next run.
            is_kept = survey.is_good and (restriction is None or last is None)
            if is_kept and survey.catalog is not None and survey.catalog != last:
                db_targets.save_catalog(conn, past[name].account_id, survey.catalog, now)
        unlisted = frozenset[Target]().union(*(rec.unlisted for rec in found.values()))
        notices = tuple(
            Notice(account=name, sentence=sentence, is_event=True)
            for name, rec in found.items()
            for sentence in rec.notices
        )
        # Large, and done with: what is known of the targets takes its place.
        found.clear()
        accounts = [entry.account_id for entry in past.values()]
        planned = {entry.target: entry for entry in runs.plan(conn, target_ids, accounts)}
    return Plan(run_id=run_id, targets=planned, unlisted=unlisted, notices=notices)


def _choose(
    conn: Connection,
    settings: Settings,
    past: Mapping[str, AccountPast],
    surveys: Mapping[str, Survey],
    restriction: Selection | None,
) -> tuple[dict[str, Reconciliation], set[int]]:
    """Return what the catalogs mean for the targets, and the ids of those to ask; the new ones among them are added."""
    targets = {name: db_targets.known_targets(conn, entry.account_id) for name, entry in past.items()}
    found = reconcile_all(settings, past, targets, surveys, restriction)
    chosen: set[int] = set()
    for name, rec in found.items():
        ids = {entry.target: entry.target_id for entry in targets.pop(name)}
        ids |= db_targets.add_targets(conn, past[name].account_id, rec.new)
        chosen.update(ids[target] for target in rec.asked)
    return found, chosen


def catalog_numbers(past: Mapping[str, AccountPast], surveys: Mapping[str, Survey]) -> dict[int, dict[int, str]]:
    """Return the numeric ZoneIds that the catalog of each account gives to one zone alone, as `{account id: {…}}`."""
    return {
        past[name].account_id: {number: zone for zone, number in unique_numbers(survey.catalog).items()}
        for name, survey in surveys.items()
        if survey.catalog is not None
    }
