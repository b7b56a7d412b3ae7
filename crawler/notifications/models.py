"""
What digests are made from and what they hold: facts, what was sent, lines, the zones that a subscription watches. Pure.

Texts that came from the API are kept as they came; `render` is where they become harmless.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from datetime import date, datetime
from email.utils import parseaddr
from typing import Any, Literal

from crawler.domain.filters import any_fits
from crawler.domain.matrix import told_variants
from crawler.domain.models import DEFAULT_KIND, SCHEMA, Target, digest_of, iso_utc
from crawler.domain.rows import ChangeRow, HoldRow, ImageRow, RunSummary, StatusRow, Stay
from crawler.domain.subscriptions import Pin, Subscription, Watch

#: What a domain may look like in a header.
_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifiedState:
    """Which conditions that last a subscription was notified of; kept for it between digests."""

    #: The first digest, which says what is watched, was made.
    introduced: bool = False
    #: Conditions of pins, one text each.
    pins: frozenset[str] = frozenset()
    #: Targets of which a digest said, by itself, that they are not observed; as texts.
    unobserved: frozenset[str] = frozenset()
    #: Changes that an urgent mail reported ahead of the digest they belong to; by id.
    early: frozenset[int] = frozenset()
    #: Notices that the maintenance of an image ends; one text each.
    endings: frozenset[str] = frozenset()
    #: When changes of stock were the only news of a digest for the last time.
    stock_at: datetime | None = None

    def as_json(self) -> str:
        """Write it as JSON, to be kept; equal values give equal text."""
        return json.dumps(
            {
                "introduced": self.introduced,
                "pins": sorted(self.pins),
                "unobserved": sorted(self.unobserved),
                "early": sorted(self.early),
                **({"endings": sorted(self.endings)} if self.endings else {}),
                **({"stock_at": iso_utc(self.stock_at)} if self.stock_at else {}),
            },
            ensure_ascii=False,
        )

    @classmethod
    def from_json(cls, text: str) -> NotifiedState:
        """Read what `as_json` wrote; keys that are missing have their defaults, keys of a newer program are ignored."""
        stored = json.loads(text)
        return cls(
            introduced=bool(stored.get("introduced")),
            pins=frozenset(stored.get("pins", ())),
            unobserved=frozenset(stored.get("unobserved", ())),
            early=frozenset(stored.get("early", ())),
            endings=frozenset(stored.get("endings", ())),
            stock_at=datetime.fromisoformat(stored["stock_at"]) if stored.get("stock_at") else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestFacts:
    """What the history says about a range of runs, unfiltered: the watch is applied here."""

    #: The present, for "how long already".
    now: datetime
    #: The finished runs not reported yet, oldest first, at least one; the last one with its failures (`reader.run`).
    runs: tuple[RunSummary, ...]
    #: The changes these runs recorded (and interrupted ones before them), oldest first.
    changes: tuple[ChangeRow, ...] = ()
    #: Every target, retired and deselected ones too (`reader.status`), but for those of the quiet zones.
    status: tuple[StatusRow, ...] = ()
    #: Which watched zones are quiet, each in its region: every target there was observed well, and nothing happened.
    quiet_zones: Set[tuple[str, str]] = frozenset()
    #: The same of regions that are asked as a whole.
    quiet_regions: Set[str] = frozenset()
    #: The accounts that see any of these.
    quiet_accounts: Set[str] = frozenset()
    #: Open holds (`holds.holds`).
    holds: tuple[HoldRow, ...] = ()
    #: What is open in the zones of the pins, retired targets included (`reader.images`); may be empty without pins.
    images: tuple[ImageRow, ...] = ()
    #: All `withdrawn` changes ever recorded in the zones of the pins, oldest first; may be empty without pins.
    withdrawals: tuple[ChangeRow, ...] = ()
    #: Every stay of the pinned ids, at every target.
    stays: tuple[Stay, ...] = ()
    #: What is open anywhere under the names of the pinned images, and the withdrawals under these names.
    namesakes: tuple[ImageRow, ...] = ()
    name_withdrawals: tuple[ChangeRow, ...] = ()
    #: Ids that somebody revoked, with the reason why.
    revoked: Mapping[str, str] = field(default_factory=dict)
    #: Images whose maintenance ends within the longest notice, at every target.
    ending: tuple[ImageRow, ...] = ()
    #: What there is in the place of what was withdrawn without a counterpart, by the number of the change.
    successors: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    #: Whether an image takes a GPU, by (image set, image id) as last known; needed only for a watch with `gpu`.
    gpu: Mapping[tuple[str, str], bool | None] = field(default_factory=dict)
    #: Names of projects by (account, project id), to match and to show.
    project_names: Mapping[tuple[str, str], str] = field(default_factory=dict)


#: What a line is about, most severe first.
Topic = Literal[
    "withdrawn", "reissued", "gpu_lost", "closed", "ended", "appeared", "returned", "modified", "opened", "offered",
    "flapped",
]  # fmt: skip

#: What is wrong with a pin, most severe first; `clear` says that what was reported before is over.
PinState = Literal[
    "withdrawn", "ambiguous", "reissued", "unusable", "revoked", "gpu_lost", "retired", "held", "unobserved",
    "deselected", "never_observed", "never_seen", "superseded", "reissued_elsewhere", "clear",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """When something happened: in `(after, by]`; `after` None when nobody had looked before."""

    after: datetime | None
    by: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePlace:
    """A zone in which a line's event happened."""

    account: str
    region: str
    zone: str
    #: The ids it happened to here; of a chain of re-issues old to new.
    image_ids: tuple[str, ...] = ()
    is_chain: bool = False
    #: The part of the zone's projects and variants concerned; empty when it is all of them.
    projects: tuple[str, ...] = ()
    project_count: int = 0
    variants: tuple[str, ...] = ()
    #: Of what was withdrawn here the image that there is in its place; several where these came together.
    successors: tuple[str, ...] = ()
    #: Nothing is listed in this zone any more.
    is_empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """A field that changed; `values` is None where it changed differently on several images."""

    field: str
    values: tuple[Any, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that happened, folded over the images and zones it happened to."""

    topic: Topic
    #: What kind of thing it is about.
    kind: str = DEFAULT_KIND
    #: Names of the images, sorted; empty where the line is about zones or projects. Things without a name have ids.
    names: tuple[str, ...]
    image_set: str
    places: tuple[LinePlace, ...]
    #: Zones the subscription watches, for "9 of 14 zones".
    zone_count: int
    between: Between
    fields: tuple[FieldChange, ...] = ()
    #: How many images it concerns (over zones; ids count once per zone, whichever accounts see it).
    image_count: int = 1
    #: Images that this one replaces while both are listed.
    supersedes: tuple[str, ...] = ()
    #: Of what was withdrawn others have the place, which `places` name.
    is_replaced: bool = False
    #: How many runs saw a withdrawal until it was believed; 1 when at once, 0 when later and nobody counted.
    confirmed_by: int = 1
    #: `flapped`: whether the image is listed at the end.
    is_present: bool = False
    #: A whole project or variant came or went, not a zone: its name.
    project: str | None = None
    variant: str | None = None
    #: What is offered no more, or again, in its zones: fields of the matrix with their values.
    offered: tuple[tuple[str, str], ...] = ()
    change_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PinLine:
    """What is wrong with a pinned image, or that it is well again."""

    pin: Pin
    state: PinState
    name: str
    account: str
    #: The id to use instead; None when there is none, or nothing tells which.
    successor: str | None = None
    #: Then, the ids that came together in its place.
    candidates: tuple[str, ...] = ()
    #: From the pinned id to the successor, with the instant by which each had gone; the last one's is None.
    chain: tuple[tuple[str, datetime | None], ...] = ()
    between: Between | None = None
    #: Why it is not observed, and when it was last; the state for which it cannot be used.
    message: str = ""
    since: datetime | None = None
    last_seen_at: datetime | None = None
    #: Where only some of the zone's projects are concerned.
    projects: tuple[str, ...] = ()
    project_count: int = 0
    #: The changes of the range that it tells.
    change_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnseenZone:
    """Zones that are not observed, for one reason, since one time; or that are again."""

    account: str
    zones: tuple[str, ...]
    since: datetime | None
    last_seen_at: datetime | None
    #: Images last listed there.
    images: int
    outcome: str
    message: str
    ret_code: int | None = None
    failure_class: str | None = None
    #: Where only some of a single zone's projects are concerned.
    projects: tuple[str, ...] = ()
    project_count: int = 0
    #: The region of each zone.
    regions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Images that an answer no longer listed, which is not believed yet."""

    account: str
    zone: str
    names: tuple[str, ...]
    image_count: int
    since: datetime
    confirmations: int
    #: Some of it waits until no more records are unreadable than before.
    is_unread: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """An image whose maintenance ends, in the zones that list it."""

    account: str
    zones: tuple[str, ...]
    image_id: str
    name: str
    ends_on: date
    #: How many days before the end this notice was due.
    notice_days: int
    is_pinned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaLine:
    """Names that the answers of an account about a kind state no more, state again, or did not have before."""

    account: str
    kind: str
    #: `missing`: no record states them any more; `again`; `new`.
    state: Literal["missing", "again", "new"]
    #: Fields as in `changes`, `extra.` and the cloud's own name of one that is not declared, `set ` and that of a set.
    names: tuple[str, ...]
    between: Between


@dataclass(frozen=True, slots=True, kw_only=True)
class ZonesObserved:
    """How well was observed at the end of the range."""

    observed: int
    total: int
    at: datetime
    #: Zones reported before that are still not observed.
    still: tuple[UnseenZone, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """What a subscription watches, for its first digest."""

    accounts: tuple[str, ...]
    zone_count: int
    #: None where the watch is about some images only.
    image_count: int | None
    watch: Watch
    pins: tuple[Pin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """Many changes condensed into one report, in no language yet; news first."""

    #: `urgent`: only what could not wait for the digest; `again`: what was told before, on request.
    kind: Literal["digest", "urgent", "again"]
    subscription: Subscription
    accounts: tuple[str, ...]
    first_run: int
    last_run: int
    #: Beginning of the first run and end of the last.
    since: datetime
    until: datetime
    pins: tuple[PinLine, ...]
    #: By severity.
    lines: tuple[Line, ...]
    gaps: tuple[UnseenZone, ...]
    recovered: tuple[UnseenZone, ...]
    held: tuple[Held, ...]
    coverage: ZonesObserved
    #: Those that end first come first.
    endings: tuple[Ending, ...] = field(default=(), kw_only=True)
    #: What is new about the form of answers: of interest to who looks after this program.
    schema: tuple[SchemaLine, ...] = field(default=(), kw_only=True)
    introduction: Introduction | None
    #: Every change the digest tells, oldest first: the full list.
    changes: tuple[ChangeRow, ...]
    #: What the subscription has been notified of once this digest exists.
    notified: NotifiedState


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A digest in words."""

    subject: str
    text: str
    html: str
    #: The full list of changes, as bytes of a CSV file.
    csv: bytes
    #: Not every line stands in text and HTML, so the list belongs with them.
    is_cut: bool


def target_key(target: Target) -> str:
    """Return the text under which `NotifiedState` remembers a target."""
    return str(target)


def target_of(key: str) -> Target | None:
    """Return the target that is remembered under *key*; None: that cannot be told, for a name of it has a slash."""
    names = key.split("/")
    return Target(*names) if len(names) == len(Target._fields) else None


def message_id(digest: Digest, *, sender: str) -> str:
    """
    Return the Message-ID of *digest*, angle brackets included: the same for the same news of the same range.

    One range may have several digests, of which each tells something else: when a pin was added, or a zone had failed
    for long enough, and no run came between.
    """
    about = [
        list(digest.accounts),
        digest.subscription.name,
        digest.kind,
        digest.first_run,
        digest.last_run,
        # Runs count from one again in a new database, so their numbers alone would meet a mail of the old one.
        digest.until.isoformat(),
        digest.introduction is not None,
        [change.id for change in digest.changes],
        digest.notified.as_json(),
    ]
    return f"<crawler.{digest.last_run}.{digest_of(about)[:24]}@{sender_domain(sender)}>"


def sender_domain(sender: str) -> str:
    """Return the domain of the address in *sender*; one that nobody has where it has none that a header may hold."""
    domain = parseaddr(sender)[1].rpartition("@")[2]
    return domain.lower() if _DOMAIN.fullmatch(domain) else "crawler.invalid"


# --- what a subscription watches -------------------------------------------------------------------------------------


ProjectNames = Mapping[tuple[str, str], str]


def wants_target(watch: Watch, target: Target, names: ProjectNames) -> bool:
    """Return whether *watch* is about *target*; a project is meant by its id or its name."""
    return watch.wants(target, names.get((target.account, target.project), ""))


def wants_change(watch: Watch, change: ChangeRow, facts: DigestFacts) -> bool:
    """Return whether *watch* is about *change*; what happened to a whole zone concerns every image in it."""
    if watch.event and not change.words & set(watch.event):
        return False
    if change.event == SCHEMA:
        # It is about all answers of the account, whatever zone has the change.
        target = change.target
        return all(
            any_fits(part, (getattr(target, part),), globs)
            for part, globs in (("account", watch.account), ("kind", watch.kind))
            if globs
        )
    # One change may tell of several zones.
    zones = next(filter(None, change.fields.get("zones", ())), ()) if change.image_id is None else ()
    places = [change.target, *(change.target._replace(zone=zone) for zone in zones)]
    if not any(wants_target(watch, place, facts.project_names) for place in places):
        return False
    if change.image_id is None:
        return True
    # who watches a name is told that an image has lost it
    return any(map(watch.wants_name, change.names or ("",))) and _fits_gpu(change, watch.gpu, facts)


def _fits_gpu(change: ChangeRow, wanted: bool | None, facts: DigestFacts) -> bool:
    if wanted is None:
        return True
    if "gpu" in change.fields:
        return wanted in change.fields["gpu"]
    known = facts.gpu.get((change.image_set or "", change.image_id or ""))
    return known is None or known is wanted


# --- the zones -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class WatchedZone:
    """A zone as one account sees it."""

    account: str
    region: str
    zone: str
    #: It is no zone: what is asked of the region as a whole.
    is_region: bool = False

    @property
    def place(self) -> tuple[str, str]:
        """Return the zone in its region, whoever sees it: what is counted where zones are."""
        return self.region, self.zone


def zone_of(target: Target) -> WatchedZone:
    """Return the zone a target lies in; the region stands for it where a target is a whole one."""
    return WatchedZone(target.account, target.region, target.zone or target.region, not target.zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The part of a zone that something concerns; empty where it is the whole zone."""

    projects: tuple[str, ...] = ()
    project_count: int = 0
    variants: tuple[str, ...] = ()


class WatchedZones:
    """The watched targets that are asked and open, by zone; of quiet zones nothing but their number."""

    def __init__(self, watch: Watch, facts: DigestFacts) -> None:
        """Take every target's status and keep what *watch* is about."""
        self._names = facts.project_names
        #: Watched targets, whatever their state.
        self.watched = {row.target: row for row in facts.status if wants_target(watch, row.target, self._names)}
        self.zones: dict[WatchedZone, list[StatusRow]] = {}
        for row in self.watched.values():
            if row.is_live:
                self.zones.setdefault(zone_of(row.target), []).append(row)
        #: The projects and variants of each zone.
        self._parts: dict[WatchedZone, tuple[set[str], set[str]]] = {}
        for row in facts.status:
            if row.is_live:
                projects, variants = self._parts.setdefault(zone_of(row.target), (set(), set()))
                projects.add(row.target.project)
                variants.add(row.target.variant)
        zones = {zone.place for zone in self.zones if not zone.is_region}
        regions = {zone.region for zone in self.zones}
        #: Nothing is watched but what is asked of regions as a whole: they stand for the zones.
        self.is_of_regions = not (zones or facts.quiet_zones)
        own, quiet = (regions, facts.quiet_regions) if self.is_of_regions else (zones, facts.quiet_zones)
        #: How many zones there are, the quiet ones too, each once, and whose.
        self.zone_count = len(own - quiet) + len(quiet)
        self.accounts = {zone.account for zone in self.zones} | facts.quiet_accounts

    def part(self, zone: WatchedZone, targets: Iterable[Target]) -> Part:
        """Return which part of *zone* the *targets* are."""
        concerned = set(targets)
        projects, variants = {target.project for target in concerned}, {target.variant for target in concerned}
        all_projects, all_variants = self._parts.get(zone, (set(), set()))
        all_projects, all_variants = all_projects | projects, all_variants | variants
        partial = projects < all_projects
        return Part(
            projects=tuple(sorted(self.project(zone.account, project) for project in projects)) if partial else (),
            project_count=len(all_projects) if partial else 0,
            variants=told_variants(variants, all_variants) if variants < all_variants else (),
        )

    def project(self, account: str, project: str) -> str:
        """Return a project's name, its id where it has none."""
        return self._names.get((account, project)) or project

    @property
    def image_count(self) -> int:
        """Return how many images were last listed in each zone, to whoever sees most of them, in all."""
        most: dict[tuple[str, str], int] = {}
        for zone, rows in self.zones.items():
            most[zone.place] = max(most.get(zone.place, 0), *(row.images for row in rows))
        return sum(most.values())

    def is_empty(self, zone: WatchedZone, kind: str) -> bool:
        """Return whether *zone* was observed well and lists nothing of a *kind* to anybody."""
        rows = [row for row in self.zones.get(zone, ()) if row.target.kind == kind]
        return bool(rows) and all(row.images == 0 and row.outcome == "ok" for row in rows)
