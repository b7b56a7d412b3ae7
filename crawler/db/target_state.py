"""
What the history holds for some targets, as the comparison wants it: open images, open holds, what was here before.

Read for the targets whose answer differs, many at once: a handful of statements per call, whatever their number. A
version is one state of an image's attributes, stored once and found again by its digest; `Versions` remembers what a
run has met, so that what many targets share is hashed, looked up and decoded once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, Text, func, select, type_coerce

from crawler.db.runs import LastAnswer, PlannedTarget
from crawler.db.schema import Hold, HoldImage, ImageVersion, Interval, Run, ScopeTarget
from crawler.db.sql import among, among_too, insert_missing, portions
from crawler.db.types import read_json
from crawler.domain.models import (
    UNSTATED_SET,
    Attributes,
    ImageKey,
    KnownState,
    OpenHold,
    Recent,
    digest_of,
    normalise_name,
)
from crawler.domain.parsing import size_of


class _Met(NamedTuple):
    attributes: Attributes
    digest: str
    #: What it takes with its key, in bytes.
    size: int


class Versions:
    """The versions that one run has met: those its answers state, and those the history holds."""

    def __init__(self, *, at_once: int = 32_768, bytes_at_once: int = 20 * 2**20) -> None:
        """*at_once*: how many of each are remembered; *bytes_at_once*: what each may take."""
        self._at_once = at_once
        self._bytes_at_once = bytes_at_once
        self._stored_bytes = 0
        #: The last attributes met of each image; zones have ids of their own, and projects of a zone agree.
        self._met: Recent[ImageKey, _Met] = Recent(at_once=at_once, weight=bytes_at_once)
        self._stored: dict[int, tuple[ImageKey, Attributes]] = {}

    def digest(self, key: ImageKey, attributes: Attributes) -> str:
        """Return the digest by which a version is found again; *attributes* must not be changed after that."""
        return self.digests({key: attributes})[0]

    def digests(self, images: Mapping[ImageKey, Attributes]) -> list[str]:
        """Return the digests of *images* in their order."""
        found: list[str] = []
        for key, attributes in images.items():
            met = self._met.get(key)
            if met is None or met.attributes is not attributes:
                digest = digest_of([key.image_set, key.image_id, attributes])
                met = _Met(attributes, digest, size_of(key, attributes, digest))
                self._met.put(key, met, met.size)
            found.append(met.digest)
        return found

    def load(
        self, conn: Connection, version_ids: Collection[int], *, bounded: bool = False
    ) -> Mapping[int, tuple[ImageKey, Attributes]]:
        """
        Return the key and the attributes of stored versions, and perhaps those of others.

        Raises OverflowError where they are *bounded* and take more memory than may be remembered.
        """
        missing = sorted({version_id for version_id in version_ids if version_id not in self._stored})
        if not missing:
            return self._stored
        if len(self._stored) + len(missing) > self._at_once or self._stored_bytes > self._bytes_at_once:
            missing = sorted(set(version_ids))
            self._stored = {}
            self._stored_bytes = 0
        for portion in portions(missing):
            if bounded and self._stored_bytes > self._bytes_at_once:
                raise OverflowError("what is known of these targets is too much at once")
            rows = conn.execute(_stored_as(), {"versions": portion})
            for version_id, image_set, image_id, digest, attributes in rows:
                key = ImageKey(image_set, image_id)
                met = self._met.get(key)
                if met and met.digest == digest:
                    stored, size = (key, met.attributes), met.size
                else:
                    stored = (key, read_json(attributes))
                    size = size_of(stored)
                self._stored_bytes += size
                self._stored[version_id] = stored
        return self._stored


def store_versions(conn: Connection, versions: Mapping[str, tuple[ImageKey, Attributes]]) -> dict[str, int]:
    """Keep image versions `{digest: (key, attributes)}` and give their ids by digest."""
    ids = _ids(conn, versions)
    missing = sorted(versions.keys() - ids.keys())
    insert_missing(conn, ImageVersion, [_row(digest, *versions[digest]) for digest in missing])
    return ids | _ids(conn, missing)


def _ids(conn: Connection, digests: Iterable[str]) -> dict[str, int]:
    ids: dict[str, int] = {}
    for portion in portions(digests):
        rows = conn.execute(_ids_of(), {"digests": portion})
        ids.update((digest, version_id) for digest, version_id in rows)
    return ids


@cache
def _stored_as() -> Select[*tuple[Any, ...]]:
    columns = (ImageVersion.id, ImageVersion.image_set, ImageVersion.image_id, ImageVersion.digest)
    # as text: most are decoded already, in the answer that states them again
    attributes = type_coerce(ImageVersion.attributes, Text)
    return select(*columns, attributes).where(among(ImageVersion.id, "versions"))


@cache
def _ids_of() -> Select[*tuple[Any, ...]]:
    return select(ImageVersion.digest, ImageVersion.id).where(among(ImageVersion.digest, "digests"))


def _row(digest: str, key: ImageKey, attributes: Attributes) -> dict[str, Any]:
    name = str(attributes.get("image_name") or "")
    gpu = attributes.get("gpu")
    return {
        "digest": digest,
        "image_set": key.image_set,
        "image_id": key.image_id,
        "image_name": name,
        "name_key": normalise_name(name),
        "gpu": gpu if isinstance(gpu, bool) else None,
        "attributes": attributes,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldEvidence:
    """The two answers behind a hold: the last that listed the images, and the one that did not, with its run."""

    before_payload_id: int | None
    payload_id: int | None
    run_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """What is known of a target, and where that stands in the tables."""

    known: KnownState
    #: The version that the open interval of each image has.
    version_ids: Mapping[ImageKey, int]
    holds: Mapping[int, HoldEvidence]
    last: LastAnswer

    def narrowed_to(self, keys: Iterable[ImageKey]) -> TargetState:
        """Return what writing about these images takes: a judged target waits for its transaction without the rest."""
        # an image whose set was not stated before stands in the history under none
        places = ((key, key if key in self.version_ids else key._replace(image_set=UNSTATED_SET)) for key in keys)
        version_ids = {key: self.version_ids[place] for key, place in places if place in self.version_ids}
        last = self.last._replace(version_ids=())
        return replace(self, known=replace(self.known, images={}), version_ids=version_ids, last=last)


def load(
    conn: Connection,
    wanted: Sequence[PlannedTarget],
    listed: Mapping[int, Set[ImageKey]],
    last: Mapping[int, LastAnswer],
    versions: Versions,
) -> dict[int, TargetState]:
    """
    Return the state of the *wanted* targets by id; *listed* are the images in the answer of each, *last* the last.

    Raises OverflowError where what is known of several targets takes too much memory.
    """
    seen = [planned for planned in wanted if planned.ever_ok]
    open_versions = {planned.target_id: last[planned.target_id].version_ids for planned in seen}
    open_images = _open_images(conn, open_versions, versions)
    new = {
        planned.target_id: listed[planned.target_id] - open_images[planned.target_id].attributes.keys()
        for planned in seen
    }
    before = _seen_before(conn, new)
    holds = _open_holds(conn, [planned.target_id for planned in seen if planned.has_hold])
    good = _last_good(conn, seen, last)
    states: dict[int, TargetState] = {}
    for planned in wanted:
        images = open_images.get(planned.target_id) or _OpenImages({}, {})
        target_holds = holds.get(planned.target_id, [])
        states[planned.target_id] = TargetState(
            known=KnownState(
                images=images.attributes,
                withdrawn_before=frozenset(before.get(planned.target_id, ())) - images.attributes.keys(),
                holds=tuple(hold for hold, _ in target_holds),
                last_good_at=good.get(planned.target_id),
                is_new=not planned.ever_ok,
                unreadable=last[planned.target_id].unreadable,
            ),
            version_ids=images.version_ids,
            holds={hold.hold_id: evidence for hold, evidence in target_holds},
            last=last[planned.target_id],
        )
    return states


class _OpenImages(NamedTuple):
    """The open images of a target, with what was last known of them and the versions that say so."""

    attributes: dict[ImageKey, Attributes]
    version_ids: dict[ImageKey, int]


def _open_images(
    conn: Connection, open_versions: Mapping[int, Sequence[int]], versions: Versions
) -> dict[int, _OpenImages]:
    """Return the open images of each target `{target id: versions}`."""
    stored = versions.load(conn, set().union(*open_versions.values()), bounded=len(open_versions) > 1)
    images: dict[int, _OpenImages] = {}
    for target_id, version_ids in open_versions.items():
        listed_images = [stored[version_id] for version_id in version_ids]
        keys = (key for key, _ in listed_images)
        images[target_id] = _OpenImages(dict(listed_images), dict(zip(keys, version_ids, strict=True)))
    return images


def _seen_before(conn: Connection, keys: Mapping[int, Collection[ImageKey]]) -> dict[int, set[ImageKey]]:
    """Return which of each target's *keys*, none of them open, it has listed before, as their sets were called then."""
    target_ids = [target_id for target_id, wanted in keys.items() if wanted]
    versions: dict[int, ImageKey] = {}
    for image_ids in portions(sorted({key.image_id for wanted in keys.values() for key in wanted})):
        # An id that no target ever listed has no version, which is nearly always the end of it.
        rows = conn.execute(_versions_of_images(), {"images": image_ids})
        versions.update((version_id, ImageKey(image_set, image_id)) for version_id, image_set, image_id in rows)
    wanted = {target_id: _may_have_been(keys[target_id]) for target_id in target_ids} if versions else {}
    found: dict[int, set[ImageKey]] = {}
    for version_ids in portions(sorted(versions)):
        for portion in portions(target_ids):
            for target_id, version_id in conn.execute(_listings(), {"versions": version_ids, "targets": portion}):
                key = versions[version_id]
                if not wanted[target_id].isdisjoint((_folded(key), ImageKey(_ANY_SET, key.image_id))):
                    found.setdefault(target_id, set()).add(key)
    return found


#: Stands for the set of an image that states none: it may have been listed in any.
_ANY_SET = "*"


def _may_have_been(keys: Iterable[ImageKey]) -> set[ImageKey]:
    """Return what each image may have been listed as before: in its set, folded, or in none; or in any."""
    found: set[ImageKey] = set()
    for key in keys:
        found |= {_folded(key), ImageKey(UNSTATED_SET, key.image_id)}
        if key.image_set == UNSTATED_SET:
            found.add(ImageKey(_ANY_SET, key.image_id))
    return found


def _folded(key: ImageKey) -> ImageKey:
    return ImageKey(key.image_set.casefold(), key.image_id)


@cache
def _listings() -> Select[*tuple[Any, ...]]:
    return select(Interval.target_id, Interval.version_id).where(
        among(Interval.version_id, "versions"), among_too(Interval.target_id, "targets")
    )


@cache
def _versions_of_images() -> Select[*tuple[Any, ...]]:
    columns = select(ImageVersion.id, ImageVersion.image_set, ImageVersion.image_id)
    return columns.where(among(ImageVersion.image_id, "images"))


def _open_holds(conn: Connection, target_ids: Iterable[int]) -> dict[int, list[tuple[OpenHold, HoldEvidence]]]:
    """Return the open holds of each target, oldest first."""
    holds: dict[int, list[tuple[OpenHold, HoldEvidence]]] = {}
    for portion in portions(target_ids):
        rows = conn.execute(
            select(Hold).where(Hold.target_id.in_(portion), Hold.status == "open").order_by(Hold.id)
        ).all()
        keys: dict[int, set[ImageKey]] = {row.id: set() for row in rows}
        for ids in portions(keys):
            images = select(HoldImage.hold_id, HoldImage.image_set, HoldImage.image_id).where(
                HoldImage.hold_id.in_(ids)
            )
            for hold_id, image_set, image_id in conn.execute(images):
                keys[hold_id].add(ImageKey(image_set, image_id))
        for row in rows:
            hold = OpenHold(
                hold_id=row.id,
                keys=frozenset(keys[row.id]),
                held_at=row.held_at,
                not_before=row.not_before,
                confirmations=row.confirmations,
                waits_for=row.waits_for,
                unreadable=row.unreadable,
            )
            evidence = HoldEvidence(
                before_payload_id=row.before_payload_id, payload_id=row.payload_id, run_id=row.run_id
            )
            holds.setdefault(row.target_id, []).append((hold, evidence))
    return holds


def _last_good(
    conn: Connection, planned: Iterable[PlannedTarget], last: Mapping[int, LastAnswer]
) -> dict[int, datetime]:
    """
    Return a lower bound of each target's last good observation, from which a change is dated `not_before`.

    Unchanged answers leave no time of their own behind, so it is the start of the last run that observed the target
    well, or the last answer that wrote something, whichever is later.
    """
    good: dict[int, datetime] = {}
    unknown: dict[datetime, list[int]] = {}
    for target in planned:
        written_at = last[target.target_id].written_at
        moments = [moment for moment in (target.last_good_started_at, written_at) if moment is not None]
        if moments:
            good[target.target_id] = max(moments)
        if target.last_good_started_at is None and target.last_good_at is not None:
            unknown.setdefault(target.last_good_at, []).append(target.target_id)
    for finished_at, target_ids in unknown.items():
        for portion in portions(target_ids):
            rows = conn.execute(
                select(ScopeTarget.target_id, func.max(Run.started_at))
                .join(Run, Run.scope_id == ScopeTarget.scope_id)
                .where(ScopeTarget.target_id.in_(portion), Run.finished_at == finished_at)
                .group_by(ScopeTarget.target_id)
            )
            for target_id, started_at in rows:
                good[target_id] = max(started_at, good.get(target_id, started_at))
    return good
