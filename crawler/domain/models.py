"""
The nouns: targets, replies, snapshots, changes, verdicts. Values only: nothing here does I/O or knows a clock.

Times are aware UTC datetimes everywhere; a naive one is refused at the edges. Attributes of an image are a mapping
from the field names of the JSON shapes (`image_name`, `gpu`, `os_type`, …) to JSON values; a field that the cloud did
not state is absent, never None.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

import msgspec

Outcome = Literal["ok", "held", "denied", "failed", "skipped"]
#: Why a target is asked no more.
AbsenceReason = Literal["retired", "deselected"]
Event = Literal["appeared", "returned", "withdrawn", "modified", "target_added", "target_retired", "schema"]
#: Why an observation is not good. The first four come from the cloud's answer, the others from our own decisions.
FailureClass = Literal[
    "transient",
    "denied",
    "credential",
    "defect",
    "deadline",
    "circuit",
    "account_stopped",
    "configuration",
    "interrupted",
]
RunStatus = Literal["running", "complete", "incomplete", "failed", "interrupted"]

IMAGE_EVENTS: tuple[Event, ...] = ("appeared", "returned", "withdrawn", "modified")
#: What happened to a target as such.
TARGET_EVENTS: tuple[Event, ...] = ("target_added", "target_retired")
#: What the answers of an account look like, not what they say.
SCHEMA: Final = "schema"
EVENTS: tuple[Event, ...] = (*IMAGE_EVENTS, *TARGET_EVENTS, SCHEMA)
#: What people read where a withdrawn image has a counterpart, and may ask for; it is no event of its own.
RE_ISSUED: Final = "re-issued"
#: What may be asked for as an event.
EventWord = Literal[Event, "re-issued"]
EVENT_WORDS: tuple[EventWord, ...] = (*EVENTS, RE_ISSUED)
ABSENT: tuple[AbsenceReason, ...] = ("retired", "deselected")
OUTCOMES: tuple[Outcome, ...] = ("ok", "held", "denied", "failed", "skipped")

#: Open ends in the database; far enough, and still a datetime in every time zone.
END_OF_TIME = datetime(9000, 1, 1, tzinfo=UTC)
#: What runs, changes and holds are called by; a database holds none above.
LARGEST_ID = 2**63 - 1

#: The project name that stands for "send no ProjectId".
DEFAULT_PROJECT = "default"
DEFAULT_VARIANT = "default"
#: What is inventoried where nothing else is configured, and what questions about images are about.
DEFAULT_KIND = "uk8s-image"
#: The set of a record whose kind has it state its set, and that states none.
UNSTATED_SET = "unstated"

Attributes = Mapping[str, Any]


class Target(NamedTuple):
    """One place to ask: account × project × region × zone × kind × variant."""

    account: str
    project: str
    region: str
    zone: str
    kind: str
    variant: str = DEFAULT_VARIANT

    def __str__(self) -> str:
        """Read as `prod/org-x/hk/hk-02/uk8s-image/default`."""
        return "/".join((self.account, self.project, self.region, self.zone, self.kind, self.variant))

    @property
    def place(self) -> str:
        """Return the zone, or the region of one that is about a whole region: what people call it by."""
        return self.zone or self.region

    def as_dict(self) -> dict[str, str]:
        """Return the JSON shape `{"account", "project", "region", "zone", "kind", "variant"}`."""
        return self._asdict()


class ImageKey(NamedTuple):
    """What identifies an image inside one target."""

    image_set: str
    image_id: str


def stated_sets(images: Iterable[ImageKey]) -> Mapping[str, ImageKey]:
    """Return under which set each id stands that is also among *images* without one: where it is one set alone."""
    every = tuple(images)
    without = {key.image_id for key in every if key.image_set == UNSTATED_SET}
    found: dict[str, set[ImageKey]] = {}
    for key in every if without else ():
        if key.image_set != UNSTATED_SET and key.image_id in without:
            found.setdefault(key.image_id, set()).add(key)
    return {image_id: next(iter(keys)) for image_id, keys in found.items() if len(keys) == 1}


# --- the catalog -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class Project:
    """One row of GetProjectList; `project_id` is `default` where no ProjectId is sent."""

    project_id: str
    name: str = ""
    #: The one that is meant where no ProjectId is sent.
    is_default: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One row of GetRegion: a zone in its region, with the numeric id when the cloud states one."""

    region: str
    zone: str
    number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """The projects and places one account can see, sorted and without duplicates."""

    projects: tuple[Project, ...]
    places: tuple[Place, ...]
    #: Where the configuration names the places itself: exactly these pairs, instead of every project in every place.
    assigned: tuple[tuple[Project, Place], ...] = ()
    #: The projects are those of a list; False: the configuration named them, where the list is not open.
    is_listed: bool = True

    def digest(self) -> str:
        """Return a stable hash, to tell whether a catalog differs from the last."""
        return digest_of(self.as_lists())

    def as_lists(self) -> tuple[list[list[Any]], list[list[Any]]]:
        """
        Return the projects and the places as they are stored: rows of what each is made of.

        A listed project has a name, or a third part: whether it is the default one.
        """
        projects: list[list[Any]] = []
        for project in self.projects:
            has_third = project.is_default or (self.is_listed and not project.name)
            projects.append([project.project_id, project.name, *([project.is_default] if has_third else [])])
        return projects, [[place.region, place.zone, place.number] for place in self.places]


# --- from fetch: a reply, or why there is none -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A RetCode 0 answer of one target, before it is understood."""

    target: Target
    #: The raw body, a JSON object; kept as evidence when it differs.
    body: bytes
    body_hash: bytes
    #: The body equals the last good one of this target, by hash.
    unchanged: bool
    received_at: datetime
    request_uuid: str = ""
    #: The answer to a second question, asked because the first no longer listed images.
    is_reask: bool = False
    #: The answers that it was composed of.
    answers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a target has no good reply in this run."""

    target: Target
    #: `failed` or `skipped`; a `denied` class becomes the outcome `denied` where the target never was open.
    outcome: Literal["denied", "failed", "skipped"]
    failure_class: FailureClass
    message: str
    at: datetime
    ret_code: int | None = None
    request_uuid: str = ""
    is_reask: bool = False
    #: The answer that could not be read, to be kept as evidence.
    reply: Reply | None = None


# --- parse, diff, guard ----------------------------------------------------------------------------------------------

#: Top-level members by which an answer says what it is about.
STATED = ("Action", "Region", "Zone", "ProjectId")
#: What ends a hold: later answers that lack the images as well, or first one with no more unreadable records.
WaitsFor = Literal["confirmations", "readable"]
WAITING: Mapping[WaitsFor, str] = {
    "confirmations": "confirmation",
    "readable": "an answer that has no more unreadable records than before",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The complete set of images that one good reply lists."""

    images: Mapping[ImageKey, Attributes]
    #: Records known to belong to another zone: they open nothing and close nothing.
    foreign: frozenset[ImageKey] = frozenset()
    #: Every record states the number of another zone, confirmed and the catalog's still.
    is_elsewhere: bool = False
    #: Records listed, whether they can be read or not; null and `{}` are none.
    records: int = 0
    #: Of those, the ones without a readable id.
    unreadable: int = 0
    #: By how many records the largest count stated is larger than what is listed; None: none is, or that of nothing.
    excess: int | None = None
    #: A member that holds objects at some depth, where the answer has none of the kind's sets; empty: there is none.
    unknown_lists: str = ""
    #: A member by which the answer says that there is more than it lists; empty: it does not.
    rest: str = ""
    #: What the answer says it is about: names of `STATED` with what was stated, in the order of the answer.
    stated: tuple[tuple[str, str], ...] = ()
    #: What was not understood, one sentence each; goes to the run's notices.
    notices: tuple[str, ...] = ()
    #: The one numeric ZoneId all records agree on; None when they do not, or state none.
    zone_number: int | None = None
    #: Fields whose difference is no change.
    uncompared: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenHold:
    """Withdrawals at one target that wait for confirmation."""

    hold_id: int
    keys: frozenset[ImageKey]
    held_at: datetime
    not_before: datetime | None
    #: Later good observations that still listed none of `keys`.
    confirmations: int
    waits_for: WaitsFor = "confirmations"
    #: Unreadable records of the good answer before the hold: one with more confirms nothing. None: not kept.
    unreadable: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownState:
    """What the history holds for one target before an observation."""

    #: Open images with their last known attributes, those on hold included.
    images: Mapping[ImageKey, Attributes]
    #: Of the images that are not open, those seen before and withdrawn.
    withdrawn_before: frozenset[ImageKey] = frozenset()
    holds: tuple[OpenHold, ...] = ()
    #: When the target was last observed well (a lower bound); None before the baseline.
    last_good_at: datetime | None = None
    #: No good observation yet: this one is the baseline.
    is_new: bool = False
    #: Unreadable records of the last good answer that did not lack too much.
    unreadable: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """How a snapshot differs from what was known, before anything is believed."""

    new: tuple[ImageKey, ...]
    absent: tuple[ImageKey, ...]
    #: `{key: {field: [before, after]}}`, known → different known only.
    modified: Mapping[ImageKey, Mapping[str, list[Any]]]
    #: Images whose open interval learns a field it did not know.
    filled: tuple[ImageKey, ...]
    #: Last known attributes with those of the snapshot on top, for every listed image.
    merged: Mapping[ImageKey, Attributes]
    #: Of what is new or absent: the one other image of the same set and normalised name, where there is exactly one.
    counterparts: Mapping[ImageKey, ImageKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that happened at a target, in `(not_before, observed_at]`."""

    event: Event
    key: ImageKey | None
    image_name: str
    observed_at: datetime
    not_before: datetime | None
    fields: Mapping[str, list[Any]] = field(default_factory=dict)
    counterpart: str | None = None
    #: All attributes after the change, for the interval it opens; empty for a withdrawal.
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one good observation of a target means: what to write, and what not to believe yet."""

    outcome: Literal["ok", "held"]
    changes: tuple[Change, ...] = ()
    #: First good observation: images to open without a change.
    baseline: Mapping[ImageKey, Attributes] | None = None
    #: Open intervals that learn a field in place.
    filled: Mapping[ImageKey, Attributes] = field(default_factory=dict)
    #: Withdrawals to put on a new hold, and what that waits for.
    hold: frozenset[ImageKey] = frozenset()
    waits_for: WaitsFor = "confirmations"
    #: Unreadable records of the good answer that this one was measured by.
    measure: int = 0
    #: Holds this observation confirms once more, and that go on.
    confirmed: tuple[int, ...] = ()
    #: Holds whose withdrawals are among `changes`.
    completed: tuple[int, ...] = ()
    #: Holds that a listed image proved wrong.
    dissolved: tuple[int, ...] = ()
    #: Images that left their hold because they are listed again, by hold; the others stay on it.
    returned: Mapping[int, frozenset[ImageKey]] = field(default_factory=dict)
    #: Holds that waited for readable records, and wait for confirmations from now on.
    lifted: tuple[int, ...] = ()
    #: The guard wants the target asked again before this verdict stands.
    ask_again: bool = False

    @property
    def is_doubted(self) -> bool:
        """The answer as a whole is doubted: later ones have to confirm what it lacks."""
        return bool((self.hold and self.waits_for == "confirmations") or self.confirmed or self.lifted)

    @property
    def keys(self) -> frozenset[ImageKey]:
        """The images that something happened to."""
        return frozenset([*(change.key for change in self.changes if change.key is not None), *self.filled])


# --- shared pure helpers ---------------------------------------------------------------------------------------------


_CANONICAL = msgspec.json.Encoder(order="sorted")
_ENCODER = msgspec.json.Encoder()
#: Longer JSON is put in order before it is encoded: in a bad order each key is one more level of the encoder's own
#: sorting, and some 50,000 of them are more than the stack holds.
_SORTED_BYTES = 16 * 1024


def canonical_json(value: Any) -> str:
    """Write *value* as JSON with sorted keys and no spaces, so that equal values give equal text."""
    return _canonical(value).decode()


def digest_of(value: Any) -> str:
    """Return the SHA-256 hex digest of *value*'s canonical JSON."""
    return hashlib.sha256(_canonical(value)).hexdigest()


def _canonical(value: Any) -> bytes:
    is_long = len(_ENCODER.encode(value)) > _SORTED_BYTES
    return _CANONICAL.encode(_in_order(value) if is_long else value)


def _in_order(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _in_order(value[key]) for key in sorted(value)}
    return [_in_order(inner) for inner in value] if isinstance(value, list | tuple) else value


def fold_keys(value: Any) -> Any:
    """Return *value* with every key case folded, at any depth: two values that differ in key case alone fold to one."""
    if isinstance(value, Mapping):
        return {str(key).casefold(): fold_keys(inner) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        return sorted((fold_keys(inner) for inner in value), key=canonical_json)
    return value


K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Remembers what was asked for last: so many values at most, and several no longer than they weigh too much."""

    def __init__(self, *, at_once: int, weight: int) -> None:
        self._at_once = at_once
        self._most = weight
        self._weight = 0
        self._found: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Return what is remembered under *key*; None when nothing is."""
        found = self._found.get(key)
        if found is None:
            return None
        self._found.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V, weight: int) -> None:
        """Remember *value* under *key*, and forget what was not asked for the longest."""
        self._weight += weight - self._found.pop(key, (value, 0))[1]
        self._found[key] = (value, weight)
        while len(self._found) > 1 and (len(self._found) > self._at_once or self._weight > self._most):
            _, (_, lighter) = self._found.popitem(last=False)
            self._weight -= lighter


_EOL_MARKER = re.compile(r"(?:「\s*eol\s*」|【\s*eol\s*】|\[\s*eol\s*\]|\(\s*eol\s*\)|<\s*eol\s*>|(?<=[\s\-_])eol)\s*$")
_SPACES = re.compile(r"\s+")
#: A longer name is nobody's to type, and is the same as another only where both are equal.
LONGEST_NAME = 500


def normalise_name(name: str) -> str:
    """
    Return the form in which two image names are the same name.

    NFKC, case folded, spaces collapsed, a trailing EOL marker (`「EOL」`, as the vendor adds it to retired systems)
    removed, nothing else: "UBuntu 20.04" and "Ubuntu 20.04" are one name, "CentOS 7.6" and "CentOS 7.6 64位" are two.
    A name of more than LONGEST_NAME characters becomes its beginning and a digest.
    """
    if len(name) > LONGEST_NAME:
        return f"{name[:40]}… {hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()}"
    return _normalised(name)


@lru_cache(maxsize=4096)
def _normalised(name: str) -> str:
    folded = _SPACES.sub(" ", unicodedata.normalize("NFKC", name).casefold()).strip()
    marker = _EOL_MARKER.search(folded)
    return (folded[: marker.start()].rstrip(" -_") if marker else folded) or folded


def is_storable(text: str) -> bool:
    """Return whether a database can hold *text*: no NUL, which PostgreSQL refuses, and no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def require_aware(moment: datetime) -> datetime:
    """Return *moment* in UTC; raise ValueError when it has no time zone."""
    if moment.tzinfo is None:
        raise ValueError(f"time without a time zone: {moment.isoformat()}")
    return moment.astimezone(UTC)


def iso_utc(moment: datetime | None) -> str | None:
    """Write *moment* as ISO 8601 in UTC with `Z`, milliseconds only where there are any; None stays None."""
    if moment is None:
        return None
    text = require_aware(moment).isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")
