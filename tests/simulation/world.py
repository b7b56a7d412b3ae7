"""
The seeded world: how the model cloud changes from run to run, and what goes wrong on the way.

Everything comes from one seed. A `Plan` says what one run meets: faults, lies, a restriction, a death.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from crawler.emulator import Fault
from tests.simulation.lies import Lie, Way, way_to_lie
from tests.simulation.model import Key, Model, Record, region_of
from tests.simulation.oracle import Wish

NAMES = ("CentOS 7.6", "Ubuntu 20.04", "UBuntu  20.04", "Anolis 8.6", "Rocky 9", "Ubuntu 20.04 「EOL」")
SETS = ("ImageSet", "ImageSet", "ImageSet", "PHostImageSet", "CustomImageSet")
SHAPES = (
    *("string-ret-code", "lower-case-keys", "upper-case-keys", "null-sets", "omit-empty-sets", "duplicate-records"),
    *("shuffled-records", "double-i-sets", "text-values", "unknown-field", "no-zone-id", "message-on-success"),
    "bare-custom-ids",
)
#: Members that say nothing.
MEMBERS: tuple[Mapping[str, Any], ...] = (
    {"Meta": {}},
    {"Action": ""},
    {"Action": None, "Zone": ""},
    {"CustomPHostImageSet": {}},
    {"Notes": []},
)
ZONES = ("hk-01", "hk-02", "cn-bj2-04", "cn-bj2-05", "cn-sh2-02", "th-bkk-01", "us-ca-01")
QUARTER = 900.0


@dataclass(kw_only=True)
class Plan:
    """What one run meets."""

    gap_seconds: float = QUARTER
    faults: tuple[Fault, ...] = ()
    #: By the identity of the fault that tells it.
    lies: Mapping[int, Lie] = field(default_factory=dict)
    wish: Wish = field(default_factory=dict)
    restriction: Wish | None = None
    deadline_seconds: float = 600.0
    #: The write transaction in which the process dies (1: the first), the moment it is cancelled, or stopped politely.
    dies_at: int | None = None
    cancelled_after: float | None = None
    stopped_after: float | None = None
    batch: int = 250
    #: What happens in the cloud while the run is under way, and how many seconds after its start.
    meanwhile: tuple[tuple[float, Callable[[], str]], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_troubled(self) -> bool:
        """Something may end the run before everything is asked."""
        return bool(self.stopped_after or self.cancelled_after or self.dies_at or self.deadline_seconds < 600)


class Weather:
    """Changes a model cloud, one seeded step at a time."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.model = Model()
        self.wish: dict[str, tuple[str, ...]] = {}
        #: What was there once, by zone; zones and projects that are closed now.
        self.gone: dict[str, list[tuple[Key, Record]]] = {}
        self.closed: dict[str, int] = {}
        self.left: dict[str, str] = {}
        self._serial = 0
        self._denied: list[Fault] = []
        #: How answers about a zone lie, and for how many runs still.
        self._lying: dict[str, tuple[Way, int]] = {}
        self._take_manners()
        many = self.rng.random() < 0.1
        for number in range(self.rng.randint(6, 10) if many else self.rng.randint(1, 2)):
            self.model.projects[f"org-{number}"] = f"project {number}"
        for zone in self.rng.sample(ZONES, 1 if many else self.rng.randint(2, 4)):
            self.open_zone(zone)
            for _ in range(self.rng.randint(1, 6)):
                self.appear(zone)

    def _take_manners(self) -> None:
        """Choose what all true answers have beside their images, from the first run to the last."""
        rng, model = self.rng, self.model
        if rng.random() < 0.2:
            model.excess = rng.choice((0, 1, 3))
        if rng.random() < 0.2:
            model.broken = rng.choice((({"UImageId": "uimage-x"},), ({"ImageId": ""}, 7), ([],), ({"ImageId": None},)))
        if rng.random() < 0.3:
            model.members = rng.choice(MEMBERS)

    # --- what may happen to images and places -------------------------------------------------------------------------

    def open_zone(self, zone: str) -> None:
        """Let *zone* exist; it lists what it listed before."""
        self.model.zones[zone] = self.closed.pop(zone, 3000 + len(self.model.zones) + len(self.closed))
        self.model.images.setdefault(zone, {})

    def appear(self, zone: str, name: str | None = None, image_set: str | None = None) -> str:
        """Let an image appear that was never seen before."""
        self._serial += 1
        rng, key = self.rng, Key(image_set or self.rng.choice(SETS), f"uimage-{self._serial:05d}")
        record: dict[str, Any] = {
            "ImageId": key.image_id,
            "ImageName": name or rng.choice(NAMES),
            "NotSupportGPU": rng.random() < 0.5,
            "ZoneId": self.model.zones.get(zone, self.closed.get(zone)),
        }
        if rng.random() < 0.5:
            record |= {"OsType": "Linux", "SupportedGPUTypes": rng.sample(["V100", "A100", "T4"], rng.randint(0, 3))}
        if rng.random() < 0.1 and len(self.model.projects) < 3:
            project = rng.choice(list(self.model.projects))
            self.model.custom.setdefault((project, zone), {})[key] = record
        else:
            self.model.images[zone][key] = record
        return f"+ {zone} {key.image_id} {record['ImageName']!r}"

    def vanish(self, zone: str) -> str:
        """Let an image vanish."""
        images = self.model.images[zone]
        if not images:
            return self.appear(zone)
        key = self.rng.choice(list(images))
        self.gone.setdefault(zone, []).append((key, images.pop(key)))
        return f"- {zone} {key.image_id}"

    def come_back(self, zone: str) -> str:
        """Let an image return that had vanished, as it was."""
        past = self.gone.get(zone)
        if not past:
            return self.appear(zone)
        key, record = past.pop(self.rng.randrange(len(past)))
        self.model.images[zone][key] = record
        return f"* {zone} {key.image_id}"

    def reissue(self, zone: str) -> str:
        """Let a new id come under an old name; the old one goes now, or later."""
        images = self.model.images[zone]
        if not images:
            return self.appear(zone)
        old = self.rng.choice(list(images))
        told = self.appear(zone, str(images[old]["ImageName"]), old.image_set)
        if self.rng.random() < 0.7:
            self.gone.setdefault(zone, []).append((old, images.pop(old)))
            told += f", - {old.image_id}"
        return told

    def modify(self, zone: str) -> str:
        """Let an image be renamed, gain or lose GPU support, or say more or less about itself."""
        images = self.model.images[zone]
        if not images:
            return self.appear(zone)
        key = self.rng.choice(list(images))
        record = dict(images[key])
        match self.rng.randrange(5):
            case 0:
                record["ImageName"] = self.rng.choice(NAMES)
            case 1:
                record["NotSupportGPU"] = not record.get("NotSupportGPU", False)
            case 2:
                record["SupportedGPUTypes"] = self.rng.sample(["V100", "A100", "T4"], self.rng.randint(0, 3))
            case 3:
                record.pop("NotSupportGPU", None)
            case 4:
                record["OsType"] = self.rng.choice(["Linux", "CentOS"])
        images[key] = record
        return f"~ {zone} {key.image_id}"

    def wipe(self, zone: str) -> str:
        """Let everything in a zone vanish, truly."""
        images = self.model.images[zone]
        self.gone.setdefault(zone, []).extend(images.items())
        images.clear()
        return f"wiped {zone}"

    def move_zone(self) -> str:
        """Let a zone close or open."""
        if self.closed and self.rng.random() < 0.6:
            zone = self.rng.choice(list(self.closed))
            self.open_zone(zone)
            return f"{zone} opens"
        if len(self.model.zones) > 1 and self.rng.random() < 0.6:
            zone = self.rng.choice(list(self.model.zones))
            self.closed[zone] = self.model.zones.pop(zone)
            return f"{zone} closes"
        zone = self.rng.choice(ZONES)
        if zone not in self.model.zones:
            self.open_zone(zone)
            self.appear(zone)
        return f"{zone} opens"

    def move_project(self) -> str:
        """Let a project go, come back, come new, or change its name."""
        rng, projects = self.rng, self.model.projects
        choice = rng.random()
        if self.left and choice < 0.4:
            project = rng.choice(list(self.left))
            projects[project] = self.left.pop(project)
            return f"{project} is back"
        if len(projects) > 1 and choice < 0.7:
            project = rng.choice(list(projects))
            self.left[project] = projects.pop(project)
            return f"{project} goes"
        project = rng.choice(list(projects))
        projects[project] = f"renamed {rng.randrange(100)}"
        return f"{project} is renamed"

    def happen(self) -> str:
        """Let one thing happen."""
        rng = self.rng
        zone = rng.choice(list(self.model.zones))
        events: tuple[tuple[int, Callable[[], str]], ...] = (
            (20, lambda: self.appear(zone)),
            (15, lambda: self.vanish(zone)),
            (12, lambda: self.come_back(zone)),
            (15, lambda: self.reissue(zone)),
            (20, lambda: self.modify(zone)),
            (2, lambda: self.wipe(zone)),
            (3, self.move_zone),
            (3, self.move_project),
            (4, self._change_manners),
        )
        return rng.choices([event for _, event in events], [weight for weight, _ in events])[0]()

    def _change_manners(self) -> str:
        """Let answers take another shape that says the same, or less."""
        if self.rng.random() < 0.3:
            self.model.is_terse = not self.model.is_terse
        shapes = self.rng.sample(SHAPES, self.rng.choice((0, 0, 1, 2)))
        self.model.quirks = frozenset(shapes)
        return f"shape: {', '.join(shapes) or 'plain'}{', terse' if self.model.is_terse else ''}"

    # --- what one run meets ------------------------------------------------------------------------------------------

    def next_plan(self) -> Plan:
        """Let things happen, and say what the next run meets."""
        rng, model = self.rng, self.model
        notes = [self.happen() for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 4)))]
        plan = Plan(gap_seconds=rng.choice((QUARTER, QUARTER, QUARTER, 3600.0, 90_000.0, 260_000.0)))
        faults = [*self._refusals(), *self._faults()]
        plan.lies = self._lies(faults)
        plan.batch = rng.choice((1, 3, 250, 250, 250))
        if rng.random() < 0.03:
            zones = sorted(model.zones)
            self.wish = {} if self.wish else {"zone": tuple(rng.sample(zones, max(1, len(zones) - 1)))}
            notes.append(f"configuration: {self.wish or 'everything'}")
        plan.wish = dict(self.wish)
        match rng.randrange(100):
            case n if n < 6:
                where = {"zone": (rng.choice(sorted(model.zones)),)}
                plan.restriction = where if rng.random() < 0.7 else {"project": (rng.choice(sorted(model.projects)),)}
            case n if n < 11:
                plan.dies_at = rng.randint(1, 6)
            case n if n < 14:
                plan.cancelled_after = rng.uniform(0.0, 2.0)
            case n if n < 17:
                plan.stopped_after = rng.uniform(0.0, 2.0)
            case n if n < 19:
                plan.deadline_seconds = rng.uniform(0.2, 3.0)
            case n if n < 23:
                plan.meanwhile = ((rng.uniform(0.0, 1.5), self.happen),)
        plan.faults = tuple(faults)
        plan.notes = tuple(notes)
        return plan

    def _refusals(self) -> list[Fault]:
        """Return the places that stay closed to this key for a while."""
        if self._denied and self.rng.random() < 0.3:
            self._denied.pop()
        if self.rng.random() < 0.03:
            code = self.rng.choice((230, 292, 293, 299))
            zone = self.rng.choice(list(self.model.zones))
            self._denied.append(Fault(action="DescribeUK8SImage", zone=zone, ret_code=code))
        return self._denied

    def _faults(self) -> list[Fault]:
        rng, faults = self.rng, []
        whom: dict[str, Any]
        for zone in self.model.zones:
            if rng.random() < 0.08:
                whom = {"zone": zone, "project": rng.choice(["*", *self.model.projects])}
                attempts = rng.choice((frozenset[int](), frozenset[int](), frozenset({1}), frozenset({1, 2})))
                faults.append(self._fault(attempts, **whom))
        if rng.random() < 0.03:
            faults.append(self._fault(frozenset(), region=region_of(rng.choice(list(self.model.zones)))))
        if rng.random() < 0.02:
            faults.append(self._fault(frozenset()))
        if rng.random() < 0.015:
            whom = {"action": "*"} if rng.random() < 0.5 else {"zone": rng.choice(list(self.model.zones))}
            code = rng.choice((170, 171, 172, 174, 294, 295))
            faults.append(Fault(ret_code=code, **{"action": "DescribeUK8SImage", **whom}))
        if rng.random() < 0.1:
            faults.append(self._catalog_fault())
        return faults

    def _fault(self, attempts: frozenset[int], **whom: str) -> Fault:
        rng = self.rng
        what: dict[str, Any] = rng.choice(
            [
                *({"ret_code": code} for code in (110, 130, 150, 8008, 160, 161, 299)),
                {"ret_code": 153, "attempts": frozenset({1, 2})},
                {"status": rng.choice((500, 502, 503))},
                {"status": 429, "retry_after": "2", "attempts": frozenset({1})},
                *({name: True} for name in ("drop", "cut", "hang", "empty", "html")),
                {"body": rng.choice(('{"RetCode": 0', "[]", '"no"', '{"Action": "x"}', "\x00"))},
                {"latency_ms": rng.uniform(100, 4000)},
            ]
        )
        return Fault(**{"action": "DescribeUK8SImage", "attempts": attempts, **whom, **what})

    def _catalog_fault(self) -> Fault:
        """Return a discovery that fails, comes back empty, or lists less than there is."""
        rng, action = self.rng, self.rng.choice(("GetRegion", "GetProjectList"))
        if rng.random() < 0.4:
            return self._fault(rng.choice((frozenset[int](), frozenset({1}))), action=action)
        model = self.model
        rows: list[Any] = (
            [{"Region": region_of(zone), "Zone": zone, "RegionId": number} for zone, number in model.zones.items()]
            if action == "GetRegion"
            else [{"ProjectId": project, "ProjectName": name} for project, name in model.projects.items()]
        )
        kept = rng.sample(rows, rng.randint(0, len(rows)))
        name = "Regions" if action == "GetRegion" else "ProjectSet"
        body = json.dumps({"RetCode": 0, "Action": f"{action}Response", name: kept})
        # Some last, so that three or nine such discoveries in a row happen.
        fault = Fault(action=action, body=body)
        if rng.random() < 0.3:
            self._denied.insert(0, fault)
        return fault

    def _lies(self, faults: list[Fault]) -> dict[int, Lie]:
        """Add answers that say RetCode 0 and not the truth; return what they say."""
        rng, lies = self.rng, {}
        for zone in self.model.zones:
            if zone not in self._lying and rng.random() < 0.06:
                self._lying[zone] = way_to_lie(rng), rng.choice((1, 1, 1, 2, 3, 5))
            if zone not in self._lying:
                continue
            way, runs = self._lying.pop(zone)
            if runs > 1:
                self._lying[zone] = way, runs - 1
            if (lie := way(self.model, zone)) is None:
                continue
            attempts = frozenset({1}) if rng.random() < 0.25 else frozenset[int]()
            fault = Fault(
                action="DescribeUK8SImage",
                zone=zone,
                images=lie.sets(self.model),
                attempts=attempts,
            )
            lies[id(fault)] = lie
            faults.insert(0, fault)
        return lies
