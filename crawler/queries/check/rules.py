"""What a policy asks: images that must be there, ids that must still be good; and how each turned out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from crawler.domain.filters import EVERYTHING, Filters
from crawler.domain.matrix import Machine
from crawler.domain.rows import NOT_IN_JSON, JsonRow
from crawler.domain.scanner import FoundPin
from crawler.domain.scanner.words import Effect
from crawler.errors import ExitCode

#: How a rule turned out in one zone.
CheckOutcome = Literal[
    "ok", "superseded", "ending", "out-of-scope", "re-issued", "ambiguous", "missing", "never-seen", "gpu-lost",
    "revoked", "not-asked", "unknown", "stale",
]  # fmt: skip

OUTCOMES: tuple[CheckOutcome, ...] = (
    "ok", "superseded", "ending", "out-of-scope", "re-issued", "ambiguous", "missing", "never-seen", "gpu-lost",
    "revoked", "not-asked", "unknown", "stale",
)  # fmt: skip
_GOOD = frozenset({"ok", "superseded", "ending"})
#: Nobody was asked about it, and nobody should have been; good unless everything has to be known.
OUT_OF_SCOPE: CheckOutcome = "out-of-scope"
NOT_KNOWN = frozenset({"not-asked", "unknown", "stale"})
#: What makes a policy fail.
BAD = frozenset(OUTCOMES) - _GOOD - NOT_KNOWN - {OUT_OF_SCOPE}
#: What is worst first: as a person wants to see it.
WORST_FIRST: tuple[CheckOutcome, ...] = (
    "re-issued", "missing", "revoked", "ambiguous", "gpu-lost", "never-seen", "unknown", "stale", "not-asked",
    "ending", "superseded", "out-of-scope", "ok",
)  # fmt: skip


#: What a pin is about, where nothing tells otherwise.
DEFAULT_KIND = "uk8s-image"
#: What the images of a resource are, where they are no nodes'; the Packer builder takes nodes' as well.
MACHINES: Mapping[str, str] = {
    "ucloud_instance": "uhost-image", "ucloud-uhost": "uhost-image", "ucloud_baremetal_instance": "phost-image",
}  # fmt: skip
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
    #: The file that it stands in.
    file: str = ""

    @property
    def label(self) -> str:
        """Return the text of the rule, as rows show it."""
        return f"require {self.name}{' (gpu)' if self.gpu else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The node group that boots an image."""

    cluster_id: str
    cluster_name: str
    node_group_id: str
    #: What its nodes are; empty where nobody states it.
    machine: Machine = field(default_factory=lambda: Machine(""))
    k8s_version: str = ""

    @property
    def is_special(self) -> bool:
        """Return whether its machines are others than those that a question without a machine type is about."""
        return bool(self.machine.gpu_type) or self.machine.machine_type.casefold() not in ("", "o")


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
    #: The file that it stands in, and where and how; None for one of a policy.
    file: str = ""
    place: FoundPin | None = None
    #: Of one that lives in the cloud.
    group: Group | None = None

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
    #: Where the id stands, as far as it stands in a file.
    file: str | None = None
    line: int | None = None
    address: str | None = None
    image_name: str | None = None
    #: Of the targets that the row is about; None where they differ.
    account: str | None = None
    project: str | None = None
    #: When the one of them that was observed well longest ago was (UTC).
    observed_at: datetime | None = None
    #: What a change of the id at its place does.
    effect: Effect | None = None
    #: The node group that boots the image, where the pin lives in the cloud.
    cluster_id: str | None = None
    cluster_name: str | None = None
    node_group_id: str | None = None
    place: FoundPin | None = field(default=None, metadata=NOT_IN_JSON)
    #: The successor was listed by the last good observation of every target that the row is about.
    is_certain: bool = field(default=False, metadata=NOT_IN_JSON)
    #: Where else an id without a zone lives, which the selection leaves out.
    zones_left_out: frozenset[str] = field(default=frozenset(), metadata=NOT_IN_JSON)


def exit_code(rows: Iterable[CheckRow], *, is_strict: bool = False) -> ExitCode:
    """
    Return 0 when every row is good, 1 when one is bad, 8 when none is bad and one is not known.

    With *is_strict* what is out of scope is not known.
    """
    outcomes = {row.outcome for row in rows}
    if outcomes & BAD:
        return ExitCode.NO
    is_doubted = bool(outcomes & NOT_KNOWN) or (is_strict and OUT_OF_SCOPE in outcomes)
    return ExitCode.UNKNOWN if is_doubted else ExitCode.DONE
