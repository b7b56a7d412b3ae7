"""
What is, or was, available: the images of some targets at a moment, each with the state of knowledge.

The answer says how well that moment was observed: a row whose state is unknown is given, never left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Literal

from sqlalchemy import CompoundSelect, Connection, Select, Text, bindparam, null, select, type_coerce, union_all

from crawler.model import Attributes, ImageKey, Target, require_aware
from crawler.records import ImageRow, Knowledge, Reason
from crawler.store import asof
from crawler.store.asof import Observation
from crawler.store.retention import BEGINS_AT, read_beginning, refuse_before
from crawler.store.selection import EVERYTHING, ChosenTarget, Filters, chosen_targets, version_ids
from crawler.store.statements import among, portions
from crawler.store.tables import Absence, Hold, HoldImage, ImageVersion, Interval, Setting
from crawler.store.types import read_json

#: Targets whose images are read together; bounds the memory of an answer over everything.
TARGETS_AT_ONCE = 200
#: Versions remembered between portions of targets; projects of a zone list the same images.
VERSIONS_AT_ONCE = 20_000


# Made by the hundred for one answer; a frozen dataclass would take three times as long to make.
@dataclass(slots=True)
class _Version:
    key: ImageKey
    name: str
    name_key: str
    attributes: Attributes


@dataclass(slots=True)
class _Valid:
    """An interval that is valid at the moment."""

    version: _Version
    valid_from: datetime
    present_since: datetime
    baseline: bool


def images(
    conn: Connection,
    at: datetime | None,
    filters: Filters = EVERYTHING,
    *,
    now: datetime,
    stale_after: timedelta,
    include_retired: bool = False,
) -> Iterator[ImageRow]:
    """
    Give the images available at *at* (None: *now*), with the state of knowledge at that moment.

    Rows come by target, then set, name and id. Targets that were retired or deselected then are left out unless
    *include_retired*. Raises ValueError for a time without a time zone.
    """
    moment = require_aware(now if at is None else at)
    chosen = chosen_targets(conn, filters)
    narrowed = version_ids(conn, filters, cheaply=len(chosen) <= TARGETS_AT_ONCE)
    target_ids = [choice.target_id for choice in chosen]
    began, absent, held = _doubts(conn, target_ids, moment)
    refuse_before(began, moment)
    if not include_retired:
        chosen = [choice for choice in chosen if choice.target_id not in absent]
    seen = asof.observations(conn, [choice.target_id for choice in chosen], moment)
    versions: dict[int, _Version] = {}
    for portion in portions(chosen, TARGETS_AT_ONCE):
        ids = [choice.target_id for choice in portion]
        valid = _valid_intervals(conn, ids, moment, narrowed, versions)
        for choice in portion:
            target_id = choice.target_id
            reason = _reason(seen.get(target_id), absent.get(target_id), moment, stale_after)
            intervals = valid.get(target_id, [])
            yield from _rows(choice, intervals, filters, reason, held.get(target_id, frozenset()), seen.get(target_id))
        if len(versions) > VERSIONS_AT_ONCE:
            versions.clear()


def knowledge(
    conn: Connection,
    chosen: Collection[ChosenTarget],
    moment: datetime,
    stale_after: timedelta,
    *,
    include_retired: bool = False,
) -> dict[Target, Knowledge]:
    """Give how well each target was known at *moment*; absent ones are left out unless *include_retired*."""
    target_ids = [choice.target_id for choice in chosen]
    absent = asof.absences(conn, target_ids, moment)
    seen = asof.observations(conn, target_ids, moment)
    known: dict[Target, Knowledge] = {}
    for choice in chosen:
        observation, absence = seen.get(choice.target_id), absent.get(choice.target_id)
        if absence is not None and not include_retired:
            continue
        reason = _reason(observation, absence[0] if absence else None, moment, stale_after)
        observed_at = observation.observed_at if observation else None
        trouble = observation.current_trouble if observation else None
        since = absence[1] if absence else trouble.since if trouble else None
        if reason == "stale" and observed_at is not None:
            since = observed_at + stale_after
        known[choice.target] = Knowledge(reason=reason, since=since if reason else None, observed_at=observed_at)
    return known


def _reason(
    observation: Observation | None,
    absence: Literal["retired", "deselected"] | None,
    moment: datetime,
    stale_after: timedelta,
) -> Reason | None:
    """Tell why a target's images are unknown at *moment*; None: they are known. Holds come in per image."""
    if absence is not None:
        return absence
    if observation is None:
        return "never_observed"
    outcome = observation.outcome
    if outcome in ("denied", "failed", "skipped"):
        return outcome
    observed_at = observation.observed_at
    if observed_at is None:
        return "never_observed"
    return "stale" if moment - observed_at > stale_after else None


def _rows(
    choice: ChosenTarget,
    intervals: Sequence[_Valid],
    filters: Filters,
    reason: Reason | None,
    held: Collection[ImageKey],
    observation: Observation | None,
) -> Iterator[ImageRow]:
    newer = _newest_by_name(intervals)
    wants_all = filters.is_all_images
    observed_at = observation.observed_at if observation else None
    is_absent = reason in ("retired", "deselected")
    for valid in sorted(intervals, key=_order):
        version = valid.version
        key = version.key
        if not wants_all and not filters.wants_image(key.image_set, key.image_id, version.name):
            continue
        # Being asked no more outweighs a hold; a hold says more than the outcome of the whole target.
        why = "held" if key in held and not is_absent else reason
        successor = newer.get((key.image_set, version.name_key))
        yield ImageRow(
            target=choice.target,
            image_set=key.image_set,
            image_id=key.image_id,
            attributes=version.attributes,
            valid_from=valid.valid_from,
            present_since=valid.present_since,
            baseline=valid.baseline,
            superseded_by=successor[1] if successor and successor[0] > valid.present_since else None,
            state="unknown" if why else "present",
            reason=why,
            observed_at=observed_at,
        )


def _order(valid: _Valid) -> tuple[str, str, str]:
    version = valid.version
    return (version.key.image_set, version.name, version.key.image_id)


def _newest_by_name(intervals: Iterable[_Valid]) -> dict[tuple[str, str], tuple[datetime, str | None]]:
    """Give the image of each set and name that came last, and when; None for its id when several came together."""
    newest: dict[tuple[str, str], tuple[datetime, str | None]] = {}
    for valid in intervals:
        version = valid.version
        if not version.name_key:
            continue
        name = (version.key.image_set, version.name_key)
        last = newest.get(name)
        if last is None or valid.present_since > last[0]:
            newest[name] = (valid.present_since, version.key.image_id)
        elif valid.present_since == last[0]:
            newest[name] = (last[0], None)
    return newest


@cache
def valid_at(*, narrowed: bool) -> Select[*tuple[Any, ...]]:
    """Select the intervals of `:targets` that are valid `:at` a moment; only of `:versions`, when *narrowed*."""
    statement = (
        select(
            Interval.target_id,
            Interval.version_id,
            Interval.valid_from,
            Interval.present_since,
            Interval.baseline,
            ImageVersion.image_set,
            ImageVersion.image_id,
            ImageVersion.image_name,
            ImageVersion.name_key,
            # decoded once for all targets that list the version
            type_coerce(ImageVersion.attributes, Text),
        )
        .join(ImageVersion, ImageVersion.id == Interval.version_id)
        .where(
            among(Interval.target_id, "targets"),
            Interval.valid_to > bindparam("at"),
            Interval.valid_from <= bindparam("at"),
        )
    )
    return statement.where(among(Interval.version_id, "versions")) if narrowed else statement


@cache
def _doubts_at() -> CompoundSelect[*tuple[Any, ...]]:
    """
    Select, of `:targets` `:at` a moment, what was not asked, with the reason, and what was on hold, with set and id.

    One more row, of no target, says when the kept history begins, if it does: one statement is quicker than three.
    """
    absent = select(Absence.target_id, Absence.reason, null()).where(
        among(Absence.target_id, "targets"),
        Absence.valid_to > bindparam("at"),
        Absence.valid_from <= bindparam("at"),
    )
    held = (
        select(Hold.target_id, HoldImage.image_set, HoldImage.image_id)
        .join(HoldImage, HoldImage.hold_id == Hold.id)
        .where(
            among(Hold.target_id, "targets"),
            Hold.held_at <= bindparam("at"),
            Hold.resolved_at > bindparam("at"),
        )
    )
    began = select(null(), Setting.value, null()).where(Setting.name == BEGINS_AT)
    return union_all(absent, held, began)


def _valid_intervals(
    conn: Connection,
    target_ids: Sequence[int],
    moment: datetime,
    narrowed: Sequence[int] | None,
    versions: dict[int, _Version],
) -> dict[int, list[_Valid]]:
    parameters: dict[str, Any] = {"targets": target_ids, "at": moment}
    if narrowed is not None:
        parameters["versions"] = narrowed
    valid: dict[int, list[_Valid]] = {}
    rows = conn.execute(valid_at(narrowed=narrowed is not None), parameters).all()
    for (
        target_id, version_id, valid_from, present_since, baseline, image_set, image_id, name, name_key, attributes,
    ) in rows:  # fmt: skip
        version = versions.get(version_id)
        if version is None:
            key = ImageKey(image_set, image_id)
            version = versions[version_id] = _Version(key, name, name_key, read_json(attributes))
        valid.setdefault(target_id, []).append(_Valid(version, valid_from, present_since, baseline))
    return valid


def _doubts(
    conn: Connection, target_ids: Sequence[int], moment: datetime
) -> tuple[datetime | None, dict[int, Literal["retired", "deselected"]], dict[int, set[ImageKey]]]:
    """Give when the kept history begins, why targets were not asked at *moment*, and the images of each on hold."""
    began: datetime | None = None
    absent: dict[int, Literal["retired", "deselected"]] = {}
    held: dict[int, set[ImageKey]] = {}
    for portion in list(portions(target_ids)) or [[]]:
        for target_id, first, image_id in conn.execute(_doubts_at(), {"targets": portion, "at": moment}):
            if target_id is None:
                began = read_beginning(first)
            elif image_id is None:
                absent[target_id] = first
            else:
                held.setdefault(target_id, set()).add(ImageKey(first, image_id))
    return began, absent, held
