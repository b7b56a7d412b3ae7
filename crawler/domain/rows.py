"""
What the readers of the history get: plain typed rows, and their JSON form.

The JSON of a row has its target, flattened, and its other fields in their order: times in UTC with `Z`, absent values
as null. Scripts depend on these shapes: fields may be added, never renamed. What comes by the thousand is a tuple, made
in half the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeVar

from crawler.domain.kinds import BOOTABLE, KINDS, UK8S_IMAGE
from crawler.domain.models import (
    ABSENT,
    DEFAULT_KIND,
    RE_ISSUED,
    AbsenceReason,
    Event,
    EventWord,
    Outcome,
    RunStatus,
    Target,
    WaitsFor,
    iso_utc,
)

#: Why a row's state is `unknown`.
Reason = Literal["held", "denied", "failed", "skipped", "retired", "deselected", "stale", "never_observed"]


# --- the JSON of a row ------------------------------------------------------------------------------------------------

Writer = Callable[[Any], Any]

#: What an image may state, beside `extra`; each is a field of its row.
ATTRIBUTES = UK8S_IMAGE.names


def json_value(value: Any) -> Any:
    """Return *value* as JSON has it: times as text, durations in seconds, dataclasses as objects, tuples as lists."""
    if value is None or isinstance(value, (str, int, float)):  # not a union, which takes twice as long
        return value
    if isinstance(value, datetime):
        return iso_utc(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {str(key): json_value(one) for key, one in value.items()}
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if is_dataclass(value):
        return {one.name: json_value(getattr(value, one.name)) for one in fields(value)}
    return json_value(value._asdict()) if hasattr(value, "_asdict") else [json_value(one) for one in value]


def in_json(name: str = "", *, by: Writer = json_value, hint: Any = None) -> Mapping[str, Any]:
    """
    Return the metadata of a dataclass's field that JSON calls by another *name*, or has *by* a rule of its own.

    *hint* is the type of what that rule gives, where it is not the field's.
    """
    return {"json": (name, by, hint)}


#: The metadata of a field that JSON does not have.
NOT_IN_JSON: Mapping[str, Any] = MappingProxyType({"json": None})


def or_null(value: Any) -> Any:
    """Return *value*, and null for an empty one."""
    return value or None


def _attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: attributes.get(name) for name in ATTRIBUTES}, "extra": attributes.get("extra", {})}


#: Fields whose value is an object that is flattened into the row: its names, and how it is written.
_FLATTENED: Mapping[str, tuple[tuple[str, ...], Writer]] = {
    "target": (Target._fields, Target.as_dict),
    "attributes": ((*ATTRIBUTES, "extra"), _attributes),
}


class JsonField(NamedTuple):
    """How one field of a row stands in JSON."""

    field: str
    #: What JSON calls it; of a flattened one, the names of its parts.
    names: tuple[str, ...]
    is_flat: bool
    write: Writer
    #: The type of what is written; None: that of the field.
    hint: Any = None


@cache
def fields_in_json(kind: Any) -> tuple[JsonField, ...]:
    """Return how the fields of the rows of a class stand in JSON, in their order there."""
    if is_dataclass(kind):
        metadata: dict[str, Mapping[str, Any]] = {own.name: own.metadata for own in fields(kind)}
    else:
        metadata = {name: {} for name in kind._fields}
    names = sorted(metadata, key=lambda name: name != "target")  # which comes first, whatever its place in the row
    return tuple(_rule(name, metadata[name]) for name in names if metadata[name] != NOT_IN_JSON)


def _rule(name: str, metadata: Mapping[str, Any]) -> JsonField:
    if "json" not in metadata and name in _FLATTENED:
        names, write = _FLATTENED[name]
        return JsonField(name, names, True, write)
    called, write, hint = metadata.get("json", (name, json_value, None))
    return JsonField(name, (called or name,), False, write, hint)


def names_in_json(kind: type) -> tuple[str, ...]:
    """Return the names in the JSON of the rows of a class, in their order."""
    return tuple(name for rule in fields_in_json(kind) for name in rule.names)


def row_as_dict(row: Any) -> dict[str, Any]:
    """Return the JSON of a row, which is a dataclass or a named tuple, by the rules of its fields."""
    shape: dict[str, Any] = {}
    kind: Any = type(row)
    for name, names, is_flat, write, _ in fields_in_json(kind):
        value = write(getattr(row, name))
        if is_flat:
            shape |= value
        else:
            shape[names[0]] = value
    return shape


Row = TypeVar("Row", bound=tuple[Any, ...])


def maker_of(kind: type[Row]) -> Callable[[tuple[Any, ...]], Row]:
    """Return what makes a named tuple of its parts in C, for those that come by the hundred thousand."""
    return partial(tuple.__new__, kind)


class JsonRow:
    """A row with a JSON form."""

    __slots__ = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON of the row."""
        return row_as_dict(self)


# --- the rows ---------------------------------------------------------------------------------------------------------


def state_of(kind: str, attributes: Mapping[str, Any]) -> str | None:
    """Return the state of a thing of a *kind* as the cloud states it; None where it or the kind has none."""
    state = KINDS[kind].state if kind in KINDS else None
    said = attributes.get(state.field) if state else None
    return None if said is None else str(said)


def unusable_state(kind: str, attributes: Mapping[str, Any]) -> str:
    """Return the state of a thing of a *kind* where that says that it cannot be used; empty where it can."""
    return (state_of(kind, attributes) or "") if attributes.get(BOOTABLE) is False else ""


class ImageRow(NamedTuple):
    """One image at one target as of a moment, with the state of knowledge."""

    target: Target
    image_set: str
    image_id: str
    #: Last known attributes by JSON field name (`image_name`, `gpu`, …, `extra`).
    attributes: Mapping[str, Any]
    valid_from: datetime
    #: Since when it is there without a break, whatever its attributes; of several images of one name the latest counts.
    present_since: datetime
    baseline: bool
    superseded_by: str | None
    state: Literal["present", "unknown"]
    reason: Reason | None
    observed_at: datetime | None

    @property
    def image_name(self) -> str:
        """Return the image's name, empty when the cloud never stated one."""
        return str(self.attributes.get("image_name") or "")

    @property
    def unusable(self) -> str:
        """Return the state for which the image cannot be used though it is listed; empty where it can."""
        return unusable_state(self.target.kind, self.attributes)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON of the row, with the fields that its own kind declares."""
        kind = self.target.kind
        if kind == DEFAULT_KIND or kind not in KINDS:
            return row_as_dict(self)
        shape: dict[str, Any] = {}
        for name, value in row_as_dict(self).items():
            if name == "extra":
                shape |= {own: json_value(self.attributes.get(own)) for own in KINDS[kind].names}
            if name not in ATTRIBUTES:
                shape[name] = value
        return shape


def names_in_items(kinds: Iterable[str]) -> tuple[str, ...]:
    """Return the names in the JSON of the rows of *kinds*, in their order."""
    own = dict.fromkeys(name for kind in kinds if kind in KINDS for name in KINDS[kind].names)
    names = [name for name in names_in_json(ImageRow) if name not in ATTRIBUTES]
    place = names.index("extra")
    return (*names[:place], *own, *names[place:])


class ChangeRow(NamedTuple):
    """One recorded change."""

    id: int
    run: int
    target: Target
    event: Event
    image_set: str | None
    image_id: str | None
    image_name: str | None
    fields: Mapping[str, list[Any]]
    counterpart: str | None
    not_before: datetime | None
    observed_at: datetime
    recorded_at: datetime

    @property
    def cursor(self) -> int:
        """Return what to ask on from after this change: none that becomes visible later has a smaller one."""
        return self.id

    @property
    def names(self) -> tuple[str, ...]:
        """Return what the image is called, and where that is what changed what it was called before."""
        return tuple(dict.fromkeys(filter(None, (self.image_name, *self.fields.get("image_name", ())))))

    @property
    def words(self) -> frozenset[EventWord]:
        """Return what it may be asked for by: its event, and `re-issued` where a withdrawn image was replaced."""
        return frozenset({self.event, RE_ISSUED} if self.is_reissue else {self.event})

    @property
    def is_reissue(self) -> bool:
        """Return whether an image was withdrawn for another of its name."""
        return self.event == "withdrawn" and self.counterpart is not None

    @property
    def is_alone(self) -> bool:
        """Return whether an image was withdrawn and the change names none in its place."""
        return self.event == "withdrawn" and self.counterpart is None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON of the row, with its cursor."""
        return {**row_as_dict(self), "cursor": self.cursor}


class StatusRow(NamedTuple):
    """The freshness and outcome of one target."""

    target: Target
    #: The last outcome; `retired` or `deselected` where the target is asked no more; None when never asked.
    outcome: Outcome | AbsenceReason | None
    #: Since when the outcome is so (UTC).
    since: datetime | None
    last_ok_at: datetime | None
    images: int
    message: str

    @property
    def is_absent(self) -> bool:
        """Return whether the target is asked no more."""
        return self.outcome in ABSENT

    @property
    def is_live(self) -> bool:
        """Return whether the target is asked, and was ever open to the key that asks."""
        return not self.is_absent and not (self.outcome == "denied" and self.last_ok_at is None)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON of the row."""
        return row_as_dict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRow(JsonRow):
    """One target that was failed, skipped, held or denied in a run, and why."""

    target: Target = field(metadata=in_json(by=Target.as_dict))
    outcome: Outcome
    failure_class: str | None = field(metadata=in_json("class"))
    ret_code: int | None
    message: str
    request_uuid: str


class HeldImage(NamedTuple):
    """An image whose withdrawal waits."""

    image_set: str
    image_id: str
    image_name: str

    def as_dict(self) -> dict[str, str]:
        """Return its JSON."""
        return self._asdict()


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRow(JsonRow):
    """Withdrawals at one target that wait, or waited, for confirmation."""

    id: int
    #: The run of the first held answer.
    run: int
    target: Target
    #: open, confirmed, dissolved, accepted, rejected
    status: str
    images: tuple[HeldImage, ...]
    held_at: datetime
    not_before: datetime | None
    confirmations: int
    waits_for: WaitsFor
    resolved_at: datetime | None
    #: Who accepted or rejected it by hand.
    resolved_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that a run noticed of an account, worth a word to a person."""

    account: str
    sentence: str
    #: What makes two runs' notices the same; empty: the sentence, but for numbers and request ids.
    key: str = ""
    #: What it is about, to the letter: two of one key that are about different things are two.
    about: str = ""
    #: The targets whose answers said so; none where discovery did.
    targets: frozenset[Target] = frozenset()
    #: It happened, and that is all: it does not last, so its end is not worth a word.
    is_event: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliveries:
    """How one pass over the reports went, by the route they take; without a pass nothing is known."""

    #: Routes that did not work, with the sentence that says why.
    dead: Mapping[str, str] = field(default_factory=dict)
    #: Routes over which something went, or was refused to one recipient alone.
    alive: frozenset[str] = frozenset()
    #: What was refused to whom: by report and recipient, the sentence that says why.
    refused: Mapping[tuple[str, str], str] = field(default_factory=dict)
    #: Reports that could not be made, with the sentence that says why.
    unmade: Mapping[str, str] = field(default_factory=dict)
    #: Reports that somebody has been waiting for too long.
    overdue: frozenset[str] = frozenset()


def _not_observed(failures: tuple[FailureRow, ...]) -> list[dict[str, Any]]:
    return [failure.as_dict() for failure in failures if failure.outcome in ("failed", "skipped")]


#: The `reports` of a run that had none.
NO_REPORTS: dict[str, int] = {"queued": 0, "sent": 0, "failed": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary(JsonRow):
    """What one run did: the row of `runs`, and the summary that `run --json` prints."""

    run: int
    status: RunStatus
    started_at: datetime
    finished_at: datetime | None
    #: total, ok, held, denied, failed, skipped
    targets: Mapping[str, int]
    #: targets, images
    baseline: Mapping[str, int]
    #: by event
    changes: Mapping[str, int]
    #: sent, retried, throttled
    requests: Mapping[str, int]
    failures: tuple[FailureRow, ...] = field(default=(), metadata=in_json(by=_not_observed))
    notices: tuple[str, ...] = ()
    #: queued, sent, failed
    reports: Mapping[str, int] = field(default_factory=NO_REPORTS.copy)
    accounts: tuple[str, ...] = ()
    #: Restricted on the command line.
    restricted: bool = False
    #: How many of the withdrawn images were replaced by another of their name.
    re_issued: int = field(default=0, metadata=NOT_IN_JSON)

    def change_counts(self) -> dict[str, int]:
        """Return how often each thing happened, in the words that people read: `withdrawn (2 re-issued)`."""
        withdrawn = f"withdrawn ({self.re_issued} {RE_ISSUED})" if self.re_issued else "withdrawn"
        return {withdrawn if event == "withdrawn" else event: count for event, count in self.changes.items()}


# --- what the questions of `crawler.queries` are answered from -----------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """How well one target was known at a moment."""

    #: Why its images were unknown; None: they were known.
    reason: Reason | None
    #: Since when they were unknown.
    since: datetime | None
    #: The end of the last run that observed the target well, at or before the moment.
    observed_at: datetime | None


class Gap(NamedTuple):
    """A half-open span `[unknown_from, unknown_to)` in which nobody knew; None for an end that has not come."""

    unknown_from: datetime
    unknown_to: datetime | None
    reason: Reason

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON of the row."""
        return row_as_dict(self)


class Stay(NamedTuple):
    """One version of an image at one target, for as long as it was there unchanged."""

    target: Target
    image_set: str
    image_id: str
    attributes: Mapping[str, Any]
    valid_from: datetime
    #: None while it lasts.
    valid_to: datetime | None
    #: Start of the unbroken presence of the image that this version is part of.
    present_since: datetime
    #: It was there before anyone looked.
    baseline: bool

    @property
    def image_name(self) -> str:
        """Return the image's name, empty when the cloud never stated one."""
        return str(self.attributes.get("image_name") or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientRecord(JsonRow):
    """Whom a digest goes to, and how that went."""

    address: str
    #: waiting, sent, skipped
    state: str
    attempts: int
    #: Not tried before; None once it has ended.
    next_at: datetime | None
    #: What the last try said no to (channel, recipient, message); None: it may work the next time.
    refused: str | None
    trouble: str
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestRecord(JsonRow):
    """A digest on its way, or what waits to become one (`id` None)."""

    id: int | None
    report: str
    #: digest, urgent, again
    kind: str
    #: How far it is: queued, waiting, refused, sent, skipped.
    state: str
    channel: str | None
    first_run: int
    last_run: int
    subject: str
    message_id: str | None
    #: Since when the oldest of its news waits.
    queued_at: datetime
    made_at: datetime | None
    recipients: tuple[RecipientRecord, ...] = ()
