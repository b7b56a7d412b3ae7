"""
What a run begins with: what the database knows, and the targets that follow from it and from the surveys.

One transaction looks back before anything is asked, one begins the run when discovery has spoken.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection, Engine

from crawler import __version__
from crawler.config.models import AccountSettings, Settings
from crawler.crawl.catalog import Survey
from crawler.crawl.offers import SoldBy
from crawler.db import last_observation, runs
from crawler.db import targets as db_targets
from crawler.db.engine import Fence, begin
from crawler.domain.matrix import KIND as MATRIX_KIND
from crawler.domain.matrix import OfferedMatrix, Rotation, in_turn, rotation
from crawler.domain.models import Catalog, FailureClass, Target
from crawler.domain.rows import Notice
from crawler.domain.targets import (
    KnownTarget,
    Reconciliation,
    Selection,
    Spot,
    expand,
    reconcile,
    spots,
    zones_of_numbers,
)
from crawler.domain.text import visible
from crawler.domain.unmatched import WORDS, Unmatched, unmatched
from crawler.errors import ConfigurationError, EmptySelection


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPast:
    """What the database knows of one account before the run."""

    account_id: int
    catalog: Catalog | None
    zone_numbers: Mapping[int, str]
    #: The parameters of every variant that was ever used, by name.
    variants: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    #: Which action told what is sold, where there is a matrix.
    sold_by: SoldBy = field(default_factory=dict)
    #: The places of the last catalog that the configuration made.
    assigned: frozenset[Spot] = frozenset()


NO_PAST = AccountPast(account_id=0, catalog=None, zone_numbers={})


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAsked:
    """Why nothing is asked of an account."""

    failure_class: FailureClass
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run that has begun."""

    run_id: int
    targets: Mapping[Target, runs.PlannedTarget]
    unlisted: frozenset[Target]
    notices: tuple[Notice, ...]
    #: Request parameters by account and variant, those of the matrix too.
    variants: Mapping[str, Mapping[str, Mapping[str, str]]]
    #: Accounts of which nothing is asked, for the matrix of each is new and larger than its turns allow.
    left_out: Mapping[str, NotAsked]


def look_back(settings: Settings, engine: Engine, fence: Fence, now: datetime) -> dict[str, AccountPast]:
    """Return what the database knows of each account; runs that died are marked, and settings that changed kept."""
    with begin(engine, fence) as conn:
        ids = db_targets.account_ids(conn, {account.name: account.endpoint for account in settings.accounts})
        runs.recover(conn, ids.values(), now)
        runs.save_setting(conn, "stale_after_seconds", str(int(settings.stale_after.total_seconds())))
        known = {name: db_targets.known_variants(conn, account_id) for name, account_id in ids.items()}
        require_unchanged_variants(settings, known)
        for account in settings.accounts:
            new = {name: own for name, own in account.named_variants.items() if name not in known[account.name]}
            db_targets.add_variants(conn, ids[account.name], new)
            _read_anew(conn, ids[account.name], account)
        with_matrix = {account.name for account in settings.accounts if account.is_auto}
        with_places = {account.name for account in settings.accounts if account.places}
        return {
            name: AccountPast(
                account_id=account_id,
                catalog=db_targets.last_catalog(conn, account_id),
                zone_numbers=db_targets.zone_numbers(conn, account_id),
                variants=db_targets.known_variants(conn, account_id),
                sold_by=load_sold_by(conn, account_id) if name in with_matrix else {},
                assigned=load_assigned(conn, account_id) if name in with_places else frozenset(),
            )
            for name, account_id in ids.items()
        }


def require_unchanged_variants(settings: Settings, known: Mapping[str, Mapping[str, Mapping[str, str]]]) -> None:
    """Raise ConfigurationError where variants mean another question than those *known* by account and name."""
    problems = [
        f"{account.name}: {sentence}: {db_targets.NEW_NAME}"
        for account in settings.accounts
        for sentence in db_targets.changed_variants(known[account.name], account.named_variants)
    ]
    if problems:
        raise ConfigurationError(str(settings.source or "configuration"), problems)


def _read_anew(conn: Connection, account_id: int, account: AccountSettings) -> None:
    """
    Have the answers of an account read, equal to the last ones or not, where they are judged otherwise by now.

    Another version of the program may read them otherwise, or not believe them at all.
    """
    said = {"tolerate": sorted(account.tolerate), "ignore": sorted(account.ignore.fields), "version": __version__}
    judged = json.dumps({name: words for name, words in said.items() if words})
    name = f"judged_{account_id}"
    if judged != runs.saved_setting(conn, name):
        db_targets.forget_bodies(conn, account_id)
        runs.save_setting(conn, name, judged)


def load_sold_by(conn: Connection, account_id: int) -> SoldBy:
    """Return which action told the last time what is sold in each zone of an account."""
    found: dict[str, str] = json.loads(runs.saved_setting(conn, _sold_by(account_id)) or "{}")
    return found


def _sold_by(account_id: int) -> str:
    return f"sold_by_{account_id}"


def load_assigned(conn: Connection, account_id: int) -> frozenset[Spot]:
    """Return the places of an account that the last run asked because the configuration names them."""
    found: list[list[str]] = json.loads(runs.saved_setting(conn, _assigned(account_id)) or "[]")
    return frozenset((project, region, zone) for project, region, zone in found)


def _assigned(account_id: int) -> str:
    return f"assigned_{account_id}"


def matrices(
    settings: Settings, past: Mapping[str, AccountPast], surveys: Mapping[str, Survey]
) -> dict[str, OfferedMatrix | None]:
    """Return the matrix of each account that has one, of what its survey found."""
    return {
        account.name: OfferedMatrix.of(account.matrix.choice, surveys[account.name].offers, past[account.name].variants)
        if account.is_auto
        else None
        for account in settings.accounts
    }


def reconcile_all(
    settings: Settings,
    past: Mapping[str, AccountPast],
    targets: Mapping[str, Iterable[KnownTarget]],
    surveys: Mapping[str, Survey],
    restriction: Selection | None,
    found_matrices: Mapping[str, OfferedMatrix | None],
) -> dict[str, Reconciliation]:
    """Return what each account's catalog means; raise EmptySelection when there are catalogs and none has a target."""
    found = {}
    for account in settings.accounts:
        survey = surveys[account.name]
        found[account.name] = reconcile(
            survey.catalog or Catalog(projects=(), places=()),
            replace(account.selection(), matrix=found_matrices[account.name]),
            targets[account.name],
            previous=past[account.name].catalog,
            is_good=survey.is_good,
            is_whole=survey.is_whole,
            restricted_to=restriction,
            assigned_before=past[account.name].assigned,
        )
    if not any(rec.asked for rec in found.values()) and all(survey.catalog for survey in surveys.values()):
        if restriction is None:
            empty = (
                "The selection of the configuration matches none of the targets in the catalog; widen projects, "
                "regions, zones or kinds: `crawler config show` tells what counts."
            )
        else:
            empty = (
                "The selection on the command line matches none of the targets in the catalog; "
                "`crawler run --dry-run` without restrictions lists them."
            )
        lost = dict.fromkeys(one.sentence for _, one in _lost(settings, surveys, restriction, {}))
        raise EmptySelection("\n".join(map(visible, (empty, *lost))))
    return found


def selection_notices(
    settings: Settings,
    surveys: Mapping[str, Survey],
    known: Mapping[str, Collection[KnownTarget]],
    restriction: Selection | None,
) -> list[Notice]:
    """
    Return what a run notices of words of the selections that match nothing listed, and nothing *known* before.

    Of a *restriction* those are told that match nothing in any account.
    """
    lost = [(False, *one) for one in _lost(settings, surveys, None, known)]
    lost += [(True, *one) for one in _lost(settings, surveys, restriction, known)] if restriction is not None else []
    return [
        Notice(
            account=name,
            sentence=f"{name}: {one.sentence}",
            key=f"{WORDS} {one.setting}",
            about=one.word,
            is_event=is_event,
        )
        for is_event, name, one in lost
    ]


def _lost(
    settings: Settings,
    surveys: Mapping[str, Survey],
    restriction: Selection | None,
    known: Mapping[str, Collection[KnownTarget]],
) -> list[tuple[str, Unmatched]]:
    """
    Return which words of the accounts' selections match nothing, each with its account.

    Of a *restriction* these are the words that match nothing in any account, with the first of them; what is asked no
    more is nothing to it.
    """
    found = {}
    for account in settings.accounts:
        catalog, before = surveys[account.name].whole_catalog, known.get(account.name, ())
        selection, setting = account.selection(), "accounts.{}s"
        if restriction is not None:
            selection, setting = restriction, "--{}"
            before = [entry for entry in before if entry.absence is None]
        lost = unmatched(selection, catalog, setting, before) if catalog is not None else []
        found[account.name] = {(one.setting, one.word): one for one in lost}
    if restriction is None:
        return [(name, one) for name, own in found.items() for one in own.values()]
    everywhere = set.intersection(*(set(own) for own in found.values()))
    same = dict.fromkeys(one for own in found.values() for word, one in own.items() if word in everywhere)
    return [(settings.accounts[0].name, one) for one in same]


def take_turns(
    conn: Connection | None,
    settings: Settings,
    account: AccountSettings,
    account_id: int,
    matrix: OfferedMatrix | None,
    asked: Collection[Target],
    ids: Mapping[Target, int],
) -> tuple[Collection[Target], Rotation, str | None]:
    """
    Return which of the targets to ask are asked in this run, how those of the matrix take turns, and what is wrong.

    What is not in turn is outside of the run. *ids* are those of the targets that the history knows; without *conn* it
    knows none.
    """
    if matrix is None:
        return asked, Rotation(0, 0), None
    taking = [target for target in asked if matrix.question(target) is not None]
    others = sum(target.kind == MATRIX_KIND for target in asked) - len(taking)
    turns = rotation(matrix.choice, len(taking), others)
    if turns.at_once >= len(taking):
        return asked, turns, None
    every = runs.usual_interval(conn, account_id) if conn is not None else None
    problem = turns.problem(every or settings.fleet.every, settings.stale_after, matrix.choice, others)
    # what the history does not know yet has no id: it stands before all others, in its own order
    numbered = {target: ids.get(target, number - len(taking)) for number, target in enumerate(sorted(taking))}
    known = [number for number in numbered.values() if number >= 0]
    last = last_observation.last_runs(conn, known, accounts=[account_id]) if conn is not None else {}
    runs_of = {number: last[number].run_id if number in last else 0 for number in numbered.values()}
    chosen = set(in_turn(runs_of, turns))
    resting = {target for target, number in numbered.items() if number not in chosen}
    return [target for target in asked if target not in resting], turns, problem


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
    """
    Begin a run over the targets that the surveys and the restriction leave to ask, and give it with their past.

    An account whose matrix is new and larger than its turns allow is left as it is, and not asked. Raises
    ConfigurationError where every account is one.
    """
    with begin(engine, fence) as conn:
        found_matrices = matrices(settings, past, surveys)
        found, target_ids, notices, problems = _choose(conn, settings, past, surveys, restriction, found_matrices)
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
            is_kept = survey.is_good and (restriction is None or last is None) and name not in problems
            if is_kept and survey.catalog is not None and survey.catalog != last:
                db_targets.save_catalog(conn, past[name].account_id, survey.catalog, now)
            is_whole = restriction is None and name not in problems
            if is_whole and survey.catalog is not None and (assigned := spots(survey.catalog)):
                runs.save_setting(conn, _assigned(past[name].account_id), json.dumps(sorted(assigned)))
            if survey.sold_by:
                told = {**past[name].sold_by, **survey.sold_by}
                runs.save_setting(conn, _sold_by(past[name].account_id), json.dumps(told, sort_keys=True))
        unlisted = frozenset[Target]().union(*(rec.unlisted for rec in found.values()))
        notices += [
            Notice(account=name, sentence=sentence, is_event=True)
            for name, rec in found.items()
            for sentence in rec.notices
        ]
        # Large, and done with: what is known of the targets takes its place.
        found.clear()
        accounts = [entry.account_id for entry in past.values()]
        planned = {entry.target: entry for entry in runs.plan(conn, target_ids, accounts)}
    variants = {
        account.name: {**account.named_variants, **(matrix.parameters if matrix is not None else {})}
        for account in settings.accounts
        for matrix in (found_matrices[account.name],)
    }
    return Plan(
        run_id=run_id,
        targets=planned,
        unlisted=unlisted,
        notices=tuple(notices),
        variants=variants,
        left_out={name: NotAsked(failure_class="configuration", reason=said) for name, said in problems.items()},
    )


def _choose(
    conn: Connection,
    settings: Settings,
    past: Mapping[str, AccountPast],
    surveys: Mapping[str, Survey],
    restriction: Selection | None,
    found_matrices: Mapping[str, OfferedMatrix | None],
) -> tuple[dict[str, Reconciliation], set[int], list[Notice], dict[str, str]]:
    """
    Return what the catalogs mean for the targets, the ids of those to ask, what there is to say, and which matrices are
    too large to be begun.

    The new targets are added, with their variants. Raises ConfigurationError where no account is left.
    """
    targets = {name: db_targets.known_targets(conn, entry.account_id) for name, entry in past.items()}
    found = reconcile_all(settings, past, targets, surveys, restriction, found_matrices)
    chosen: set[int] = set()
    notices = selection_notices(settings, surveys, targets, restriction)
    too_large: dict[str, str] = {}
    for account in settings.accounts:
        name, rec, matrix = account.name, found[account.name], found_matrices[account.name]
        account_id, known = past[name].account_id, targets.pop(name)
        ids = {entry.target: entry.target_id for entry in known}
        asked, _, problem = take_turns(conn, settings, account, account_id, matrix, rec.asked, ids)
        if problem is not None and restriction is None:
            is_on = has_begun(matrix, known)
            notices.append(matrix_notice(name, problem, is_on=is_on))
            if not is_on:
                too_large[name] = problem
                rec = found[name] = as_known(known)
                asked = rec.asked
        if matrix is not None and name not in too_large:
            db_targets.check_variants(conn, account_id, matrix.parameters)
        if rec.added and (catalog := past[name].catalog) is not None and not runs.was_whole(conn, account_id):
            # what the catalog of a narrowed run listed is new to the targets alone
            there = {target for target, _ in expand(catalog, replace(account.selection(), matrix=matrix))}
            rec = found[name] = rec.without_added(there)
        ids |= db_targets.add_targets(conn, account_id, rec.new)
        chosen.update(ids[target] for target in asked)
    require_any(settings, too_large)
    return found, chosen, notices, too_large


def has_begun(matrix: OfferedMatrix | None, known: Iterable[KnownTarget]) -> bool:
    """Return whether some of the matrix is asked already: then it goes on in turns, however large it became."""
    return matrix is not None and any(entry.absence is None and matrix.question(entry.target) for entry in known)


def as_known(known: Iterable[KnownTarget]) -> Reconciliation:
    """Return what leaves the *known* targets of an account as they are."""
    return Reconciliation(asked=tuple(sorted(entry.target for entry in known if entry.absence is None)))


def matrix_notice(account: str, problem: str, *, is_on: bool) -> Notice:
    """Return what a run notices of a matrix that is too large, and is asked on or not begun."""
    left_out = "" if is_on else "nothing is asked of it: "
    return Notice(account=account, sentence=f"{account}: {left_out}{problem}", key="matrix")


def require_any(settings: Settings, too_large: Mapping[str, str]) -> None:
    """Raise ConfigurationError, with what is wrong of each, where the matrix of every account is *too_large*."""
    if len(too_large) == len(settings.accounts):
        problems = [f"accounts[{number}].matrix: {problem}" for number, problem in enumerate(too_large.values())]
        raise ConfigurationError(str(settings.source or "configuration"), problems)


def catalog_numbers(past: Mapping[str, AccountPast], surveys: Mapping[str, Survey]) -> dict[int, dict[int, str | None]]:
    """Return the zone of each numeric ZoneId in the catalog of each account, as `{account id: {…}}`; None: several."""
    return {
        past[name].account_id: zones_of_numbers(survey.catalog)
        for name, survey in surveys.items()
        if survey.catalog is not None
    }
