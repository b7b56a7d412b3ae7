"""
Rules judged by the history.

Every function takes a connection inside `read(engine)`, so that all statements of an answer see one moment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache, partial
from typing import Any

from sqlalchemy import Connection, Select, select

from crawler.db.filters import chosen_targets, known_words, of_kinds, targets_by_id, zones_by_kind
from crawler.db.schema import ImageVersion, Interval
from crawler.db.sql import among, portions
from crawler.db.targets import find_accounts, known_variants
from crawler.domain.filters import NOT, Filters, part_fits
from crawler.domain.kinds import KINDS
from crawler.domain.models import DEFAULT_KIND, Target, normalise_name
from crawler.domain.rows import StatusRow
from crawler.queries import changes
from crawler.queries import images as queries_images
from crawler.queries import status as queries_status
from crawler.queries.check import Check
from crawler.queries.check.rules import CheckRow, PinRule, Require
from crawler.queries.revoke import revoked_ids
from crawler.queries.stays import stays_of

#: Kinds whose things are called by their ids alone.
_WITHOUT_NAMES = frozenset(kind.name for kind in KINDS.values() if "image_name" not in kind.names)


def check(
    conn: Connection,
    rules: Sequence[Require | PinRule],
    filters: Filters,
    *,
    now: datetime,
    stale_after: timedelta,
    timezone: tzinfo = UTC,
) -> list[CheckRow]:
    """
    Judge *rules* at the targets that *filters* want, by what the history knows *now*; tell times in *timezone*.

    At those of UK8S images, unless *filters* or a rule name a kind.
    """
    named = {kind for rule in rules for kind in rule.scope.kind}
    if named and not filters.kind:
        rules = [replace(rule, scope=rule.scope.of_images()) for rule in rules]
        filters = replace(filters, kind=tuple(sorted({DEFAULT_KIND, *named})))
    filters = filters.of_images()
    status = queries_status.status(conn, filters, now=now)
    every = zones_by_kind(conn)
    chosen = [_by_project_id(conn, rule) for rule in _narrowed(rules, status, every, filters.kind)]
    images = queries_images.images(conn, None, filters, now=now, stale_after=stale_after, include_retired=True)
    variants = {
        (account, name): parameters
        for account, account_id in find_accounts(conn, None).items()
        for name, parameters in known_variants(conn, account_id).items()
    }
    gate = Check(
        chosen,
        status,
        images,
        now=now,
        stale_after=stale_after,
        zone=timezone,
        revoked=revoked_ids(conn),
        variants=variants,
        known_zones=set().union(*every.values()),
    )
    nameless = _nameless(conn, filters.kind) if any(isinstance(rule, Require) for rule in rules) else set()
    past = gate.past(known_words(conn, "name", filters.kind) | nameless)
    withdrawals = (
        change
        for ids in portions(sorted(past.image_ids))
        for change in changes.changes(conn, events=("withdrawn",), filters=replace(filters, image_id=tuple(ids)))
    )
    of_kind = partial(part_fits, "kind", globs=filters.kind)
    stays = (stay for stay in stays_of(conn, past.image_ids) if of_kind(stay.target.kind))
    listed = ((target, name) for target, name in targets_listing(conn, past.name_keys) if of_kind(target.kind))
    by_id = stays_of(conn, [image_id for image_id in nameless if normalise_name(image_id) in past.name_keys])
    called = ((stay.target, normalise_name(stay.image_id)) for stay in by_id if of_kind(stay.target.kind))
    gate.learn(stays, withdrawals, (*listed, *called))
    return list(gate.judge())


def _nameless(conn: Connection, kinds: Collection[str]) -> set[str]:
    """Return the ids of all that ever had no name, where any of *kinds*, which are globs, has things without."""
    if not any(part_fits("kind", kind, kinds) for kind in _WITHOUT_NAMES):
        return set()
    ids = select(ImageVersion.image_id).where(ImageVersion.name_key == "").distinct()
    return set(conn.scalars(of_kinds(conn, ids, kinds)))


def _narrowed(
    rules: Iterable[Require | PinRule],
    status: Iterable[StatusRow],
    every: Mapping[str, Collection[str]],
    kinds: tuple[str, ...],
) -> Iterator[Require | PinRule]:
    """
    Yield those of *rules* that are not about zones alone which the selection leaves out, without its words for such.

    Selected are the targets of *status*; *every* zone is known by kind. Each rule by its own kinds, else by *kinds*:
    what it says is no matter of the rules beside it.
    """
    selected: dict[str, set[str]] = {}
    for row in status:
        selected.setdefault(row.target.kind, set()).add(row.target.zone)
    by_kinds: dict[tuple[str, ...], tuple[set[str], set[str]]] = {}
    for rule in rules:
        own = rule.scope.kind or kinds
        if own not in by_kinds:
            zones = _of_kinds(selected, own)
            by_kinds[own] = zones, _of_kinds(every, own) - zones
        zones, left_out = by_kinds[own]
        if not _is_about(rule, left_out) or _is_about(rule, zones):
            yield _without(rule, left_out, zones)


def _of_kinds(zones: Mapping[str, Collection[str]], kinds: tuple[str, ...]) -> set[str]:
    return {zone for kind, own in zones.items() if part_fits("kind", kind, kinds) for zone in own}


def _is_about(rule: Require | PinRule, zones: Collection[str]) -> bool:
    """Return whether *rule* names any of *zones*."""
    globs = rule.zones if isinstance(rule, Require) else () if rule.zone is None else (rule.zone,)
    return any(part_fits("zone", zone, globs) for zone in zones)


def _without(rule: Require | PinRule, left_out: Collection[str], zones: Collection[str]) -> Require | PinRule:
    """Return *rule* without its words for zones that fit some *left_out* and none of *zones*."""
    if not left_out or isinstance(rule, PinRule):
        return rule
    words = tuple(
        word for word in rule.zones if word.startswith(NOT) or not _fits(word, left_out) or _fits(word, zones)
    )
    return replace(rule, zones=words) if any(not word.startswith(NOT) for word in words) else rule


def _fits(glob: str, zones: Collection[str]) -> bool:
    return any(part_fits("zone", zone, [glob]) for zone in zones)


def _by_project_id(conn: Connection, rule: Require | PinRule) -> Require | PinRule:
    """Return *rule* with the ids of its projects, which people also call by name."""
    globs = rule.scope.project
    if not globs:
        return rule
    ids = {choice.target.project for choice in chosen_targets(conn, Filters(project=globs))}
    return replace(rule, scope=replace(rule.scope, project=tuple(sorted(ids)) or globs))


def targets_listing(conn: Connection, name_keys: Collection[str]) -> Iterator[tuple[Target, str]]:
    """Return the targets that ever listed an image of one of these normalised names, each with the name."""
    targets: dict[int, Target] = {}
    for portion in portions(sorted(name_keys)):
        rows = conn.execute(_listing(), {"names": portion}).all()
        targets.update(targets_by_id(conn, sorted({row.target_id for row in rows} - targets.keys())))
        for row in rows:
            yield targets[row.target_id], row.name_key


@cache
def _listing() -> Select[*tuple[Any, ...]]:
    statement: Select[*tuple[Any, ...]] = select(Interval.target_id, ImageVersion.name_key)
    return (
        statement.join(ImageVersion, ImageVersion.id == Interval.version_id)
        .where(among(ImageVersion.name_key, "names"))
        .distinct()
    )
