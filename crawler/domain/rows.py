"""
What the readers of the history get: plain typed rows, and their JSON form.

`as_dict()` gives exactly the shapes that scripts depend on: the target flattened into the row, times in UTC with `Z`,
absent values as null. Fields may be added, never renamed. What comes by the thousand is a tuple, which is made in half
the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from crawler.domain.models import (
    ABSENT,
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
        """Give the image's name, empty when the cloud never stated one."""
        return str(self.attributes.get("image_name") or "")

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape of `images`."""
        get = self.attributes.get
        return {
            **self.target.as_dict(),
            "image_set": self.image_set,
            "image_id": self.image_id,
            "image_name": get("image_name"),
            "gpu": get("gpu"),
            "os_type": get("os_type"),
            "os_name": get("os_name"),
            "features": get("features"),
            "gpu_types": get("gpu_types"),
            "software": get("software"),
            "size_gb": get("size_gb"),
            "zone_id": get("zone_id"),
            "extra": get("extra", {}),
            "valid_from": iso_utc(self.valid_from),
            "present_since": iso_utc(self.present_since),
            "baseline": self.baseline,
            "superseded_by": self.superseded_by,
            "state": self.state,
            "reason": self.reason,
            "observed_at": iso_utc(self.observed_at),
        }


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
    def words(self) -> frozenset[EventWord]:
        """Return what it may be asked for by: its event, and `re-issued` where a withdrawn image was replaced."""
        return frozenset({self.event, RE_ISSUED} if self.is_reissue else {self.event})

    @property
    def is_reissue(self) -> bool:
        """Tell whether an image was withdrawn for another of its name."""
        return self.event == "withdrawn" and self.counterpart is not None

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape of `changes`."""
        return {
            **self.target.as_dict(),
            "id": self.id,
            "run": self.run,
            "event": self.event,
            "image_set": self.image_set,
            "image_id": self.image_id,
            "image_name": self.image_name,
            "fields": dict(self.fields),
            "counterpart": self.counterpart,
            "not_before": iso_utc(self.not_before),
            "observed_at": iso_utc(self.observed_at),
            "recorded_at": iso_utc(self.recorded_at),
            "cursor": self.cursor,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRow:
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
        """Tell whether the target is asked no more."""
        return self.outcome in ABSENT

    @property
    def is_live(self) -> bool:
        """Tell whether the target is asked, and was ever open to the key that asks."""
        return not self.is_absent and not (self.outcome == "denied" and self.last_ok_at is None)

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape of `status`."""
        return {
            **self.target.as_dict(),
            "outcome": self.outcome,
            "since": iso_utc(self.since),
            "last_ok_at": iso_utc(self.last_ok_at),
            "images": self.images,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRow:
    """One target that was failed, skipped, held or denied in a run, and why."""

    target: Target
    outcome: Outcome
    failure_class: str | None
    ret_code: int | None
    message: str
    request_uuid: str

    def as_dict(self) -> dict[str, Any]:
        """Give one element of `failures` in the summary of a run."""
        return {
            "target": self.target.as_dict(),
            "outcome": self.outcome,
            "class": self.failure_class,
            "ret_code": self.ret_code,
            "message": self.message,
            "request_uuid": self.request_uuid,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRow:
    """Withdrawals at one target that wait, or waited, for confirmation."""

    id: int
    #: The run of the first held answer.
    run: int
    target: Target
    #: open, confirmed, dissolved, accepted, rejected
    status: str
    #: `(image_set, image_id, image_name)` of every image it is about.
    images: tuple[tuple[str, str, str], ...]
    held_at: datetime
    not_before: datetime | None
    confirmations: int
    waits_for: WaitsFor
    resolved_at: datetime | None
    #: Who accepted or rejected it by hand.
    resolved_by: str | None

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape of `holds list`."""
        return {
            **self.target.as_dict(),
            "id": self.id,
            "run": self.run,
            "status": self.status,
            "images": [
                {"image_set": image_set, "image_id": image_id, "image_name": name}
                for image_set, image_id, name in self.images
            ],
            "held_at": iso_utc(self.held_at),
            "not_before": iso_utc(self.not_before),
            "confirmations": self.confirmations,
            "waits_for": self.waits_for,
            "resolved_at": iso_utc(self.resolved_at),
            "resolved_by": self.resolved_by,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that a run noticed of an account, worth a word to a person."""

    account: str
    sentence: str
    #: What makes two runs' notices the same; empty: the sentence, but for numbers and request ids.
    key: str = ""
    #: The targets whose answers said so; none where discovery did.
    targets: frozenset[Target] = frozenset()
    #: It happened, and that is all: it does not last, so its end is not worth a word.
    is_event: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliveries:
    """How one pass over the reports went, by the way they go; without a pass nothing is known."""

    #: Ways that did not work, with the sentence that tells it.
    dead: Mapping[str, str] = field(default_factory=dict)
    #: Ways over which something went, or was refused to one recipient alone.
    alive: frozenset[str] = frozenset()
    #: What was refused to whom: by report and recipient, the sentence that tells it.
    refused: Mapping[tuple[str, str], str] = field(default_factory=dict)
    #: Reports that could not be made, with the sentence that tells it.
    unmade: Mapping[str, str] = field(default_factory=dict)
    #: Reports that somebody has been waiting for too long.
    overdue: frozenset[str] = frozenset()


#: The `reports` of a run that had none.
NO_REPORTS: dict[str, int] = {"queued": 0, "sent": 0, "failed": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
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
    failures: tuple[FailureRow, ...] = ()
    notices: tuple[str, ...] = ()
    #: queued, sent, failed
    reports: Mapping[str, int] = field(default_factory=NO_REPORTS.copy)
    accounts: tuple[str, ...] = ()
    #: Restricted on the command line.
    restricted: bool = False
    #: How many of the withdrawn images were replaced by another of their name.
    re_issued: int = 0

    def told_changes(self) -> dict[str, int]:
        """Return how often each thing happened, in the words that people read: `withdrawn (2 re-issued)`."""
        told = f"withdrawn ({self.re_issued} {RE_ISSUED})" if self.re_issued else "withdrawn"
        return {told if event == "withdrawn" else event: count for event, count in self.changes.items()}

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape of `run --json` and `runs`."""
        return {
            "run": self.run,
            "status": self.status,
            "started_at": iso_utc(self.started_at),
            "finished_at": iso_utc(self.finished_at),
            "targets": dict(self.targets),
            "baseline": dict(self.baseline),
            "changes": dict(self.changes),
            "requests": dict(self.requests),
            "failures": [failure.as_dict() for failure in self.failures if failure.outcome in ("failed", "skipped")],
            "notices": list(self.notices),
            "reports": dict(self.reports),
            "accounts": list(self.accounts),
            "restricted": self.restricted,
        }


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A half-open span `[unknown_from, unknown_to)` in which nobody knew; None for an end that has not come."""

    unknown_from: datetime
    unknown_to: datetime | None
    reason: Reason

    def as_dict(self) -> dict[str, Any]:
        """Give one element of `gaps`."""
        return {
            "unknown_from": iso_utc(self.unknown_from),
            "unknown_to": iso_utc(self.unknown_to),
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
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
        """Give the image's name, empty when the cloud never stated one."""
        return str(self.attributes.get("image_name") or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientRecord:
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

    def as_dict(self) -> dict[str, Any]:
        """Give one element of `recipients`."""
        return {
            "address": self.address,
            "state": self.state,
            "attempts": self.attempts,
            "next_at": iso_utc(self.next_at),
            "refused": self.refused,
            "trouble": self.trouble,
            "ended_at": iso_utc(self.ended_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestRecord:
    """A digest on its way, or what waits to become one (`id` None)."""

    id: int | None
    report: str
    #: digest, urgent, again
    kind: str
    channel: str | None
    first_run: int
    last_run: int
    subject: str
    message_id: str | None
    #: Since when the oldest of its news waits.
    queued_at: datetime
    made_at: datetime | None
    recipients: tuple[RecipientRecord, ...] = ()

    @property
    def state(self) -> str:
        """Give how far it is: queued, waiting, refused, sent, skipped."""
        states = {recipient.state for recipient in self.recipients}
        if not self.recipients:
            return "queued"
        if "waiting" in states:
            return "refused" if any(one.refused for one in self.recipients if one.state == "waiting") else "waiting"
        return "sent" if "sent" in states else "skipped"

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape of `report list`."""
        return {
            "id": self.id,
            "report": self.report,
            "kind": self.kind,
            "state": self.state,
            "channel": self.channel,
            "first_run": self.first_run,
            "last_run": self.last_run,
            "subject": self.subject,
            "message_id": self.message_id,
            "queued_at": iso_utc(self.queued_at),
            "made_at": iso_utc(self.made_at),
            "recipients": [recipient.as_dict() for recipient in self.recipients],
        }
