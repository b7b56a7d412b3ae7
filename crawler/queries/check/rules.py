"""What a policy asks: images that must be there, ids that must still be good; and how each turned out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from crawler.domain.filters import EVERYTHING, Filters
from crawler.domain.rows import JsonRow
from crawler.errors import ExitCode

#: How a rule turned out in one zone.
CheckOutcome = Literal[
    "ok", "superseded", "re-issued", "ambiguous", "missing", "never-seen", "gpu-lost", "not-asked", "unknown",
    "stale",
]  # fmt: skip

OUTCOMES: tuple[CheckOutcome, ...] = (
    "ok", "superseded", "re-issued", "ambiguous", "missing", "never-seen", "gpu-lost", "not-asked", "unknown",
    "stale",
)  # fmt: skip
_GOOD = frozenset({"ok", "superseded"})
_NOT_KNOWN = frozenset({"not-asked", "unknown", "stale"})


#: What a required name is about where the rule says nothing.
AS_A_RULE = Filters(variant=("default",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Require:
    """An image name that must be listed in some zones."""

    name: str
    #: Globs.
    zones: tuple[str, ...] = ("*",)
    #: It must support GPU.
    gpu: bool = False
    #: The targets it is about, by all parts but the zone.
    scope: Filters = AS_A_RULE
    #: Where the rule stands, for people.
    source: str = ""

    @property
    def label(self) -> str:
        """Return the text of the rule, as rows show it."""
        return f"require {self.name}{' (gpu)' if self.gpu else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PinRule:
    """An image id that somebody uses."""

    image_id: str
    #: Where it is used; None: wherever it lives.
    zone: str | None = None
    #: True: it must support GPU; None: it must not have lost it; False: no matter.
    gpu: bool | None = None
    scope: Filters = EVERYTHING
    source: str = ""

    @property
    def label(self) -> str:
        """Return the text of the rule, as rows show it."""
        return f"pinned {self.image_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRow(JsonRow):
    """How one rule turned out in one zone."""

    rule: str
    zone: str | None
    image_id: str | None
    outcome: CheckOutcome
    #: The id to change to.
    successor: str | None = None
    detail: str = ""
    source: str = ""


def exit_code(rows: Iterable[CheckRow]) -> ExitCode:
    """Return 0 when every row is good, 1 when one is bad, 8 when none is bad and one is not known."""
    bad = {row.outcome for row in rows} - _GOOD
    if not bad:
        return ExitCode.DONE
    return ExitCode.UNKNOWN if bad <= _NOT_KNOWN else ExitCode.NO
