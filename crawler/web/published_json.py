"""
The documents of `publish` but for the Atom feeds: what they say of the knowledge, and their bytes. Pure.

The same knowledge gives the same bytes: no document but `freshness.json` holds a time of looking, a run or an age.
Fields may be added; one that goes is kept for a year beside its successor.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final, Literal

import msgspec

from crawler.domain.models import Event, iso_utc
from crawler.domain.rows import ChangeRow, JsonRow, Reason, row_as_dict
from crawler.queries.publish import PublishedKnowledge, ZoneName, ZoneStay
from crawler.web.links import Links

SCHEMA_VERSION: Final = 1
#: The version of a release that stands for the image to use now.
CURRENT = "current"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveDocument(JsonRow):
    """The image to use of one name in one zone."""

    schema_version: Literal[1]
    region: str
    zone: str
    #: None once there is none to use.
    image_id: str | None
    image_name: str
    #: `revoked`: the cloud lists it, and somebody said that it is not to be used.
    state: Literal["present", "withdrawn", "revoked"]
    #: Since when the image is listed without a break.
    present_since: datetime | None
    #: The other ids of the name, the first first.
    previous_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A stay of an image, as a release that Renovate reads; what there is none of is left out."""

    MAY_LACK: ClassVar[tuple[str, ...]] = ("releaseTimestamp", "isDeprecated")

    version: str
    #: The image id.
    digest: str
    releaseTimestamp: str | None = None  # noqa: N815 - Renovate's word
    isDeprecated: bool | None = None  # noqa: N815 - as above

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON of the release."""
        return {name: value for name, value in row_as_dict(self).items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class RenovateDocument:
    """The ids of one name in one zone, for Renovate's datasource `custom`."""

    MAY_LACK: ClassVar[tuple[str, ...]] = ("homepage",)

    releases: tuple[Release, ...]
    homepage: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON of the document."""
        return {name: value for name, value in row_as_dict(self).items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicChange(JsonRow):
    """A change of an image of the provider in a zone, as the first project met it."""

    id: int
    region: str
    zone: str
    kind: str
    variant: str
    #: All variants that say so in one run, where a matrix has several.
    variants: tuple[str, ...]
    event: Event
    image_set: str | None
    image_id: str | None
    image_name: str | None
    fields: Mapping[str, Any]
    counterpart: str | None
    not_before: datetime | None
    observed_at: datetime
    recorded_at: datetime
    cursor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateChange(PublicChange):
    """A change at one target."""

    account: str
    project: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesDocument(JsonRow):
    """The newest changes, the newest first."""

    schema_version: Literal[1]
    changes: tuple[PublicChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneDocument(JsonRow):
    """How well one zone is known."""

    region: str
    zone: str
    #: End of the last run that observed it well.
    observed_at: datetime | None
    state: Literal["known", "unknown"]
    reason: Reason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessDocument(JsonRow):
    """How old the knowledge behind the other documents is; the only one that differs each time."""

    schema_version: Literal[1]
    published_at: datetime
    #: From which age on a zone counts as unknown.
    stale_after_seconds: float
    zones: tuple[ZoneDocument, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedName(JsonRow):
    """A name that has documents in a zone, and the paths of these below the folder."""

    region: str
    zone: str
    image_name: str
    resolve: str
    image_id: str
    renovate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexDocument(JsonRow):
    """What there is to read."""

    schema_version: Literal[1]
    names: tuple[IndexedName, ...]


def resolve_document(name: ZoneName) -> ResolveDocument:
    """Return the image to use of a name in a zone, as last known."""
    stay = _stay_of(name)
    ids = list(dict.fromkeys(stay.image_id for stay in name.stays if stay.image_id != name.image_id))
    return ResolveDocument(
        schema_version=SCHEMA_VERSION,
        region=name.place.region,
        zone=name.place.zone,
        image_id=name.image_id,
        image_name=name.image_name,
        state="present" if name.image_id is not None else "revoked" if name.is_revoked else "withdrawn",
        present_since=stay.since if stay else None,
        previous_ids=tuple(ids),
    )


def renovate_document(name: ZoneName, url: str | None = None, *, is_live: bool = False) -> RenovateDocument:
    """
    Return the stays of a name's images in a zone as releases, and the image to use as last known as `current`.

    Deprecated are those that are over or revoked, and all of a name that has none to use. Its homepage is the page of
    the name, where the folder is served at *url*, or a server answers there (*is_live*).
    """
    current = _stay_of(name)
    stays = {calendar_version(stay.since): stay for stay in name.stays if stay is not current}
    if current is not None:
        stays[calendar_version(current.since)] = current

    def is_over(stay: ZoneStay) -> bool:
        is_gone = name.image_id is None or stay.image_id in name.revoked
        return is_gone or (stay.until is not None and stay is not current)

    releases = [
        Release(
            version=version,
            digest=stay.image_id,
            releaseTimestamp=iso_utc(stay.since),
            isDeprecated=True if is_over(stay) else None,
        )
        for version, stay in sorted(stays.items())
    ]
    now = [Release(version=CURRENT, digest=name.image_id)] if name.image_id is not None else []
    page = Links(here="", language="en", is_live=is_live).name(name.image_name)
    return RenovateDocument(releases=(*releases, *now), homepage=f"{url}/{page}" if url and page else url)


def calendar_version(moment: datetime) -> str:
    """Return `YYYY.MM.DD.HHMM.SS` of *moment*, which is in UTC."""
    return moment.strftime("%Y.%m.%d.%H%M.%S")


def _stay_of(name: ZoneName) -> ZoneStay | None:
    """Return the last stay of the image to use."""
    return next((stay for stay in reversed(name.stays) if stay.image_id == name.image_id), None)


def changes_document(knowledge: PublishedKnowledge) -> ChangesDocument:
    """Return the newest changes; with accounts and projects where these are to be told."""
    return ChangesDocument(
        schema_version=SCHEMA_VERSION,
        changes=tuple(
            _change(row, knowledge.changes.variants.get(row.id), is_private=knowledge.is_private)
            for row in knowledge.changes.newest
        ),
    )


def _change(row: ChangeRow, variants: tuple[str, ...] | None, *, is_private: bool) -> PublicChange:
    target = row.target._replace(variant=variants[0]) if variants else row.target
    told: dict[str, Any] = {
        "variants": variants or (target.variant,),
        **{name: getattr(row, name) for name in ("id", "event", "image_set", "image_id", "image_name", "fields")},
        **{name: getattr(row, name) for name in ("counterpart", "not_before", "observed_at", "recorded_at", "cursor")},
        **{name: getattr(target, name) for name in ("region", "zone", "kind", "variant")},
    }
    if is_private:
        return PrivateChange(**told, account=target.account, project=target.project)
    return PublicChange(**told)


def freshness_document(knowledge: PublishedKnowledge) -> FreshnessDocument:
    """Return how old the knowledge is."""
    zones = (
        ZoneDocument(
            region=zone.place.region,
            zone=zone.place.zone,
            observed_at=zone.observed_at,
            state="unknown" if zone.reason else "known",
            reason=zone.reason,
        )
        for zone in knowledge.freshness
    )
    return FreshnessDocument(
        schema_version=SCHEMA_VERSION,
        published_at=knowledge.now,
        stale_after_seconds=knowledge.stale_after.total_seconds(),
        zones=tuple(zones),
    )


def index_document(names: Sequence[IndexedName]) -> IndexDocument:
    """Return the list of what there is to read."""
    return IndexDocument(schema_version=SCHEMA_VERSION, names=tuple(names))


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """Return a document as it is written: ASCII alone, so that nothing in it can be taken for anything else."""
    # by a line each, so that two versions can be compared; json alone would take five times as long for it
    return msgspec.json.format(json.dumps(document).encode(), indent=1) + b"\n"
