"""What the oracle remembers: plain lists of what was seen, doubted, not asked, changed and run."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from tests.simulation.cloud import Said
from tests.simulation.model import Key, Spot

Outcome = Literal["ok", "held", "denied", "failed", "skipped"]
#: Between which moments something lies: the start of the last good observation's run, and its answer.
Floor = tuple[datetime, datetime] | None


class Seen(NamedTuple):
    """One observation of a target: the end of its run, how it went, and the run's start."""

    ended_at: datetime
    outcome: Outcome
    started_at: datetime


@dataclass
class Span:
    """One version of an image at a target."""

    key: Key
    stated: dict[str, Any]
    valid_from: datetime
    #: Start of the unbroken presence.
    since: datetime
    is_baseline: bool
    valid_to: datetime | None = None


@dataclass
class Doubt:
    """A hold."""

    keys: frozenset[Key]
    held_at: datetime
    floor: Floor
    #: An answer with more unreadable records than this does not confirm it.
    readable_from: int = 0
    #: It waits for such an answer alone; an image of it that returns leaves the others.
    is_unread: bool = False
    confirmations: int = 0
    ended_at: datetime | None = None
    status: str = "open"


@dataclass
class Away:
    """A time in which a target was not asked."""

    reason: Literal["retired", "deselected"]
    start: datetime
    end: datetime | None = None


@dataclass
class Past:
    """Everything known of one target."""

    spans: list[Span] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    aways: list[Away] = field(default_factory=list)
    #: In the order of the runs.
    observations: list[Seen] = field(default_factory=list)
    #: Of the last good observation: start of its run, and the time of its answer.
    good: tuple[datetime, datetime] | None = None
    #: Every good answer that was listened to, oldest first.
    answers: list[Said] = field(default_factory=list)
    #: Those, and the ones that were asked for again.
    every_answer: list[Said] = field(default_factory=list)
    #: Of the last good answer that did not lack too much: its unreadable records, and how many more images it counted.
    unreadable: int = 0
    excess: int = 0
    missing: int = 0
    needed: int = 0

    @property
    def open_spans(self) -> dict[Key, Span]:
        """The images that count as there."""
        return {span.key: span for span in self.spans if span.valid_to is None}

    @property
    def open_doubts(self) -> list[Doubt]:
        """The holds that wait."""
        return [doubt for doubt in self.doubts if doubt.status == "open"]

    @property
    def away(self) -> Away | None:
        """Why the target is not asked now."""
        return self.aways[-1] if self.aways and self.aways[-1].end is None else None


@dataclass(frozen=True)
class Expected:
    """A change that has to be recorded."""

    spot: Spot
    event: str
    observed_at: datetime
    key: Key | None = None
    name: str | None = None
    fields: Mapping[str, list[Any]] = field(default_factory=dict)
    counterpart: str | None = None
    #: `not_before` lies between these: the start of the last good observation's run, and its answer.
    floor: Floor = None
    #: The run that wrote it, and when; known once it was judged.
    run: int = 0
    recorded_at: datetime | None = None


@dataclass
class Ran:
    """One run."""

    number: int
    started_at: datetime
    is_restricted: bool
    #: How many targets it was to ask, and how those went that it got to.
    planned: int
    outcomes: dict[Spot, Outcome]
    #: Of each target it observed well as the first, how many images that found.
    baselines: dict[Spot, int]
    #: None while nobody knows that it is over.
    finished_at: datetime | None = None
    #: When it had last written something, where it was killed.
    died_at: datetime | None = None
    #: What every call brought, where none was cut off.
    calls: tuple[str, ...] | None = None


def normalised(name: str) -> str:
    """Return a name without what does not count: NFKC, case, spaces, a trailing EOL marker."""
    plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    return re.sub(r"\s*「eol」$", "", plain)
