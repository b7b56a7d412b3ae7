"""
What is, or was, available: the images of some targets at a moment, each with the state of knowledge.

The answer says how well that moment was observed: a row whose state is unknown is given, never left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, Text, bindparam, select, type_coerce

from crawler.model import Attributes, ImageKey, require_aware
from crawler.records import ImageRow, Reason
from crawler.store.asof import Observation
from crawler.store.knowledge import known_at, reason_of
from crawler.store.retention import refuse_before
from crawler.store.selection import EVERYTHING, ChosenTarget, Filters, chosen_targets, version_ids
from crawler.store.statements import among, portions
from crawler.store.tables import ImageVersion, Interval
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
    known = known_at(conn, target_ids, moment)
    refuse_before(known.began, moment)
    if not include_retired:
        chosen = [choice for choice in chosen if choice.target_id not in known.absent]
    versions: dict[int, _Version] = {}
    for portion in portions(chosen, TARGETS_AT_ONCE):
        ids = [choice.target_id for choice in portion]
        valid = _valid_intervals(conn, ids, moment, narrowed, versions)
        for choice in portion:
            target_id = choice.target_id
            seen, held = known.seen.get(target_id), known.held.get(target_id, ())
            reason = reason_of(seen, known.absent.get(target_id), moment, stale_after)
            yield from _rows(choice, valid.get(target_id, []), filters, reason, held, seen)
        if len(versions) > VERSIONS_AT_ONCE:
            versions.clear()


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
