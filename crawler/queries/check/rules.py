"""What a policy asks: images that must be there, ids that must still be good; and how each turned out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from crawler.domain.models import Target, part_fits
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The targets a rule is about: globs; an empty tuple means all."""

    account: tuple[str, ...] = ()
    project: tuple[str, ...] = ()
    region: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    variant: tuple[str, ...] = ()

    def wants(self, target: Target) -> bool:
        """Tell whether *target* is one of them."""
        wanted = {
            "account": self.account,
            "project": self.project,
            "region": self.region,
            "kind": self.kind,
            "variant": self.variant,
        }
        return all(not globs or part_fits(part, getattr(target, part), globs) for part, globs in wanted.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Require:
    """An image name that must be listed in some zones."""

    name: str
    #: Globs.
    zones: tuple[str, ...] = ("*",)
    #: It must support GPU.
    gpu: bool = False
    scope: Scope = Scope(variant=("default",))
    #: Where the rule stands, for people.
    source: str = ""

    @property
    def label(self) -> str:
        """Give the text of the rule, as rows show it."""
        return f"require {self.name}{' (gpu)' if self.gpu else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """An image id that somebody uses."""

    image_id: str
    #: Where it is used; None: wherever it lives.
    zone: str | None = None
    #: True: it must support GPU; None: it must not have lost it; False: no matter.
    gpu: bool | None = None
    scope: Scope = Scope()
    source: str = ""

    @property
    def label(self) -> str:
        """Give the text of the rule, as rows show it."""
        return f"pinned {self.image_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRow:
    """How one rule turned out in one zone."""

    rule: str
    zone: str | None
    image_id: str | None
    outcome: CheckOutcome
    #: The id to change to.
    successor: str | None = None
    detail: str = ""
    source: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape of `check`."""
        return {
            "rule": self.rule,
            "zone": self.zone,
            "image_id": self.image_id,
            "outcome": self.outcome,
            "successor": self.successor,
            "detail": self.detail,
            "source": self.source,
        }


def exit_code(rows: Iterable[CheckRow]) -> ExitCode:
    """Give 0 when every row is good, 1 when one is bad, 8 when none is bad and one is not known."""
    bad = {row.outcome for row in rows} - _GOOD
    if not bad:
        return ExitCode.DONE
    return ExitCode.UNKNOWN if bad <= _NOT_KNOWN else ExitCode.NO
