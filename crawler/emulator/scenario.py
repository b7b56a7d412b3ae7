"""
A timeline: what the emulated cloud shows, step by step. This text documents the format.

A timeline is one JSON object. The top level is the world before the first step; each step starts from the one before,
changes what it names, and what it changed stays. Only `zones` is required, here or in the first step.

    {
      "about": "free text", "sources": ["free text"],
      "schema": "2026",              which generation answers: "2020" (four fields, no filters) or "2026"
      "zones": [                     GetRegion, one row per zone; an empty list is an empty answer
        {"region": "hk", "zone": "hk-02",              all that follows may be left out
         "zone_id": 3002, "region_name": "香港", "default": true, "bit_maps": "0111",
         "region_id": 3002}],                          the zone_id when it is left out
      "projects": [                  GetProjectList; left out: one made-up default project
        {"project_id": "org-a", "name": "Default", "default": true}],
      "accounts": [                  who may ask; left out: the key pair of the vendor's own documentation
        {"name": "prod", "public_key": "…", "private_key": "…",
         "projects": ["org-*"], "zones": ["hk-*"],     globs: what is open to it; others answer 292 and 293
         "sub_account": true,                          must send a ProjectId: 299 without
         "may_list_projects": false,                   GetProjectList answers 299
         "channel_key": "…"}],                         must be in the header `channel-key`; 174 without, and 174
                                                       for an account without one that sends the header
      "images": {                    by zone; sets and records are sent as they are written, whatever they hold
        "hk-02": {"ImageSet": [
          {"ImageId": "uimage-a", "ImageName": "CentOS 7.6", "NotSupportGPU": false, "ZoneId": 3002}]},
        "org-a/hk-02": {…}},         PROJECT/ZONE: what this project sees instead
      "inventory": {                 what the other kinds list, by kind, then by zone, or by region where a kind is
        "uhost-image": {             asked per region (uk8s-version, node-group); PROJECT/… as above; records are
          "hk-02": [{"ImageId": "uimage-u", "ImageType": "Base", "State": "Available"}]},      sent as they are
        "uk8s-version": {"hk": [{"K8sVersion": "1.30.14"}]},
        "instance-type": {"hk-02": [{"Name": "V100", "ParentType": "G", "Status": "Normal"}]},
        "node-group": {"hk": [                         clusters, each with what is asked about it
          {"ClusterId": "uk8s-a", "NodeGroupList": [{…}], "AutoScalingGroup": [{…}]}]}},
      "quirks": ["string-ret-code"], traps for readers: QUIRKS below
      "faults": [{…}],               see below; these hold for every step, or for those in their "steps"
      "steps": [
        {"title": "baseline"},
        {"title": "a re-issue",
         "images": {"th-bkk-01": {}},                  replaces what these zones list
         "remove": {"hk-02": ["uimage-a"]},            then takes records out, by ImageId; under PROJECT/ZONE: of what
                                                       the project sees, which is a list of its own from here on
         "add": {"hk-02": {"ImageSet": [{…}]}},        then appends records, likewise
         "inventory": {"uhost-image": {"hk-02": [{…}]}},        replaces what the kind lists there
         "schema": "2020", "zones": […], "projects": […], "quirks": […],      each replaces
         "faults": [{…}]}]                             these hold for this step alone
    }

A record may carry `"_when": {"MachineType": "G", "GPUType": ["V100", "A*"]}`: it is listed only to requests whose
parameters each fit one of the globs. MachineType is "O" when it is not sent; the others (ProductType, GPUType,
K8sVersion) are judged only when sent. `_when` itself is never sent, and the 2020 schema ignores it. The records of
`inventory` carry none.

A fault names whom it hits and what happens. Whom: the globs `account`, `action`, `project`, `region`, `zone`, `offset`
(of a page), `cluster` (default "*"), and `steps` and `attempts`, each a number, a list or "2-4". Attempts are counted
per target (action, account, place and parameters) since the step began, from 1; requests refused by the gateway or the
rate do not count. What: exactly one of these, or `latency_ms` alone.

    "ret_code": 150, "message": "…"  a refusal, with HTTP 200 unless "status" says otherwise
    "status": 503                    an HTTP error page; "retry_after": 2 adds the header (to "ret_code" too)
    "drop": true                     the connection is closed without an answer
    "cut": true                      the connection is closed in the middle of the body
    "hang": true                     no answer until the client gives up
    "empty": true                    HTTP 200 and no body
    "html": true                     HTTP 200 and a proxy's error page
    "body": "any text"               HTTP 200 and this text
    "images": {"ImageSet": []}       RetCode 0 and these sets instead of the real ones: an answer that lies
    "latency_ms": 250                this much later; alone it only delays

The first fault that fits is used, a step's own before those of the top level. Steps count from 1.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, Strict, model_validator

from crawler.domain.suggest import did_you_mean

T = TypeVar("T")
Schema = Literal["2020", "2026"]
Sets = Mapping[str, Any]

#: The ways in which an answer may differ from the documentation's table; most were seen in its examples or clients.
QUIRKS: dict[str, str] = {
    "string-ret-code": 'RetCode is a text: "0"',
    "lower-case-keys": "every key is in lower case",
    "upper-case-keys": "every key is in upper case",
    "null-sets": "an empty set is null",
    "omit-empty-sets": "an empty set is left out",
    "duplicate-records": "every record is sent twice",
    "shuffled-records": "records come in another order each time",
    "bare-custom-ids": "custom sets hold ids instead of records",
    "double-i-sets": "custom sets are spelled as in the documentation's example (CustomIImageSet)",
    "set-new": "the records of ImageSet come as ImageSetnew",
    "text-values": 'booleans and numbers inside records are texts: "true", "3002"',
    "unknown-set": "there is a set nobody has heard of (EdgeImageSet)",
    "unknown-field": "every record has a field nobody has heard of (BootMode)",
    "no-zone-id": "records state no ZoneId",
    "message-on-success": "there is a Message although RetCode is 0",
    "small-pages": "a page of a list holds 50 records at most, whatever Limit says",
    "no-total": "lists in pages state no TotalCount",
}

#: The key pair that the vendor's documentation signs its examples with; it opens nothing but this emulator.
EXAMPLE_PUBLIC_KEY = "ucloudsomeone@example.com1296235120854146120"
EXAMPLE_PRIVATE_KEY = "46f09bb9fab4f12dfc160dae12273d5332b5debe"


FaultEffect = Literal["delay", "ret_code", "status", "drop", "cut", "hang", "empty", "html", "body", "images"]
_EFFECTS: tuple[FaultEffect, ...] = tuple(effect for effect in get_args(FaultEffect) if effect != "delay")


_SECONDS = re.compile(r"[0-9]+")
#: As many digits as leave a number that nobody has to wait for.
_RANGE = re.compile(r"\s*(\d{1,9})\s*-\s*(\d{1,9})\s*")


def _numbers(value: Any) -> Collection[int]:
    if isinstance(value, frozenset):
        return value
    if isinstance(value, str) and (found := _RANGE.fullmatch(value)) is not None:
        first, last = map(int, found.groups())
        if 1 <= first <= last:
            return range(first, last + 1)  # not the numbers of it, of which there may be a thousand million
    numbers = value if isinstance(value, list) else [value]
    if not numbers or not all(type(number) is int and number >= 1 for number in numbers):
        raise ValueError('must be a number from 1 up, a list of them or a range such as "2-4"')
    return frozenset(numbers)


def _on(value: bool | None) -> bool | None:
    if value is False:
        raise ValueError("must be true, or left out")
    return value


def _retry_after(value: Any) -> str:
    text = str(value) if type(value) in (int, str) else ""
    try:
        if not _SECONDS.fullmatch(text):
            parsedate_to_datetime(text if text.isprintable() else "")
    except (ValueError, OverflowError):
        raise ValueError("must be a number of seconds or a date as HTTP writes it") from None
    return text


def _quirk(name: str) -> str:
    if name not in QUIRKS:
        raise ValueError(f"is no quirk{did_you_mean(name, QUIRKS) or '; known: ' + ', '.join(QUIRKS)}")
    return name


Text = Annotated[str, Field(min_length=1)]
Rows = Annotated[tuple[T, ...], Strict(False)]
Quirks = Annotated[frozenset[Annotated[str, AfterValidator(_quirk)]], Strict(False)]
#: Empty: every one.
Numbers = Annotated[Collection[int], PlainValidator(_numbers)]
Switch = Annotated[bool | None, AfterValidator(_on)]


#: The member of a record that says which requests it is listed to.
WHEN = "_when"
#: What it may ask of them.
CONDITIONS = ("ProductType", "MachineType", "GPUType", "K8sVersion")


class ScenarioTable(BaseModel):
    """One object of a file: strict, and nothing extra."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class EmulatedZone(ScenarioTable):
    """One row of GetRegion."""

    region: Text
    zone: Text
    zone_id: int | None = None
    region_name: str = ""
    region_id: int | None = None
    default: bool = False
    bit_maps: str = ""


class ProjectRow(ScenarioTable):
    """One row of GetProjectList."""

    project_id: Text
    name: str = ""
    default: bool = False


#: Who owns the images when a timeline names no project.
EXAMPLE_PROJECT = ProjectRow(project_id="org-example", name="Default", default=True)


class EmulatedAccount(ScenarioTable):
    """Who may ask, and what is open to them."""

    name: Text = "default"
    public_key: Text = EXAMPLE_PUBLIC_KEY
    private_key: Text = Field(default=EXAMPLE_PRIVATE_KEY, repr=False)
    projects: Rows[str] = ("*",)
    zones: Rows[str] = ("*",)
    sub_account: bool = False
    may_list_projects: bool = True
    channel_key: Text | None = Field(default=None, repr=False)


class Fault(ScenarioTable):
    """Whom a scripted fault hits, and what happens to them."""

    account: Text = "*"
    action: Text = "*"
    project: Text = "*"
    region: Text = "*"
    zone: Text = "*"
    offset: Text = "*"
    cluster: Text = "*"
    steps: Numbers = frozenset()
    attempts: Numbers = frozenset()

    ret_code: int | None = None
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    drop: Switch = None
    cut: Switch = None
    hang: Switch = None
    empty: Switch = None
    html: Switch = None
    body: str | None = None
    images: dict[str, Any] | None = None
    message: Text | None = None
    retry_after: Annotated[str | None, PlainValidator(_retry_after)] = None
    latency_ms: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_effect(self) -> Self:
        named = self._named()
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)} exclude each other; keep one")
        if not named and self.latency_ms is None:
            raise ValueError(f"says nothing that happens; add one of {', '.join(_EFFECTS)}, latency_ms")
        if self.message is not None and self.ret_code is None:
            raise ValueError("message is that of a ret_code, which is missing")
        if self.retry_after is not None and self.ret_code is None and self.status is None:
            raise ValueError("retry_after goes with a status or a ret_code, and there is neither")
        return self

    def _named(self) -> list[FaultEffect]:
        named = [effect for effect in _EFFECTS if getattr(self, effect) is not None]
        # A refusal may come with an HTTP status of its own.
        return ["ret_code"] if named == ["ret_code", "status"] else named

    @property
    def effect(self) -> FaultEffect:
        """What happens."""
        return next(iter(self._named()), "delay")

    def hits(self, *, account: str, action: str, project: str, params: Mapping[str, str]) -> bool:
        """Return whether the fault's globs fit a request, whatever its attempt number."""
        return (
            fnmatchcase(params.get("Zone", ""), self.zone)
            and fnmatchcase(params.get("Offset", ""), self.offset)
            and fnmatchcase(params.get("ClusterId", ""), self.cluster)
            and fnmatchcase(params.get("Region", ""), self.region)
            and fnmatchcase(action, self.action)
            and fnmatchcase(project, self.project)
            and fnmatchcase(account, self.account)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What the cloud shows during one step."""

    title: str = ""
    schema: Schema = "2026"
    zones: tuple[EmulatedZone, ...] = ()
    projects: tuple[ProjectRow, ...] = (EXAMPLE_PROJECT,)
    #: Keys are ZONE or PROJECT/ZONE.
    images: Mapping[str, Sets] = field(default_factory=dict)
    #: Records of the other kinds, by kind; keys there are ZONE or REGION, or PROJECT/ZONE or PROJECT/REGION.
    inventory: Mapping[str, Mapping[str, list[Any]]] = field(default_factory=dict)
    quirks: frozenset[str] = frozenset()
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The worlds in their order, and who may look at them."""

    worlds: tuple[World, ...]
    accounts: tuple[EmulatedAccount, ...] = (EmulatedAccount(),)
    about: str = ""

    def world(self, step: int) -> World:
        """Return the world of *step*, counted from 1; raise ValueError when there is no such step."""
        if not 1 <= step <= len(self.worlds):
            raise ValueError(f"step {step} does not exist: the timeline has steps 1 to {len(self.worlds)}")
        return self.worlds[step - 1]
