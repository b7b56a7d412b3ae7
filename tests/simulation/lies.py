"""
Answers that say RetCode 0 and not the truth: what each lists, and what a careful reader could see of it.

A lie is *odd* when it shows that it is no answer to the question, or was not understood; *partial* when it shows that a
part of it was not understood; *plain* when nothing about it tells it from a true answer.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tests.simulation.model import Key, Model, Record

Mark = Literal["true", "plain", "partial", "odd"]
#: Tells one lie about a zone; None where the zone has nothing to lie about in this way.
Way = Callable[[Model, str], "Lie | None"]


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What an answer about images says, whether it is true or not."""

    mark: Mark = "true"
    #: How it lies.
    way: str = ""
    listed: Mapping[Key, Record] = field(default_factory=dict)
    #: Records of its sets that cannot be read.
    unreadable: int = 0
    #: How many more images it counts than it has records; None where it counts none.
    excess: int | None = None
    #: It states another Action, Region, Zone or ProjectId than the question had, or another zone's number throughout.
    is_of_another: bool = False
    #: It has no set, and records somewhere else.
    is_shapeless: bool = False


@dataclass(frozen=True, kw_only=True)
class Lie:
    """What a lying answer holds instead of the truth."""

    mark: Mark = "plain"
    #: The name of the function that told it.
    way: str = ""
    #: What its readable records list.
    records: Mapping[Key, Record] = field(default_factory=dict)
    #: What the list of images holds beside them.
    unreadable: tuple[Any, ...] = ()
    #: A member that counts images, and how many.
    count: tuple[str, int] | None = None
    #: Members beside its sets or, where it has no sets, all it says.
    members: Mapping[str, Any] = field(default_factory=dict)
    has_sets: bool = True
    #: A set that is not even there.
    omitted: str = ""
    #: One member is a set of another type, which counts as so many records that cannot be read.
    retyped: int = 0
    is_of_another: bool = False
    is_shapeless: bool = False
    #: The zone whose number all records state.
    neighbour: str = ""
    #: It keeps the lasting manners of the model's true answers.
    is_mannered: bool = False

    def sets(self, model: Model) -> dict[str, Any]:
        """Return the members of the answer beside RetCode and Action."""
        sets: dict[str, Any] = {}
        if self.has_sets:
            sets = {"ImageSet": [], **model.sets(self.records)}
            sets["ImageSet"] = [*sets["ImageSet"], *self.unreadable]
        if self.is_mannered:
            sets = model.mannered(sets)
        if not sets.get(self.omitted):
            sets.pop(self.omitted, None)
        return {**sets, **dict((self.count,) if self.count else ()), **self.members}

    def heard(self, model: Model) -> Heard:
        """Return what the answer says when it is written now."""
        broken = (len(self.unreadable) + len(model.broken) * self.is_mannered) * model.times_listed
        written = len(self.records) * model.times_listed + broken
        count = self.count[1] if self.count else _counted(model, written) if self.is_mannered else None
        return Heard(
            mark=self.mark,
            way=self.way,
            listed=self.records,
            unreadable=broken + self.retyped,
            excess=_excess(count, written),
            is_of_another=self.is_of_another,
            is_shapeless=self.is_shapeless,
        )


def heard_of(model: Model, truth: Mapping[Key, Record]) -> Heard:
    """Return what a true answer says."""
    broken = len(model.broken) * model.times_listed
    written = len(truth) * model.times_listed + broken
    return Heard(listed=truth, unreadable=broken, excess=_excess(_counted(model, written), written))


def _counted(model: Model, written: int) -> int | None:
    return None if model.excess is None else written + model.excess


def _excess(count: int | None, written: int) -> int | None:
    """Return how many more there should be; None where no number is told, or of fewer, or that there is nothing."""
    return count - written if count and count >= written else None


def way_to_lie(rng: random.Random) -> Way:
    """Return one of the ways, ready to be used in as many runs as it lasts."""
    weights, ways = zip(*_WAYS, strict=True)
    name: Callable[[random.Random], Way] = rng.choices(ways, weights)[0]
    way = name(random.Random(rng.random()))

    def tell(model: Model, zone: str) -> Lie | None:
        lie = way(model, zone)
        return lie and replace(lie, way=_name(name))

    return tell


# --- what looks like a true answer -----------------------------------------------------------------------------------


def _empty(_rng: random.Random) -> Way:
    return lambda _model, _zone: Lie()


def _one_left(rng: random.Random) -> Way:
    def tell(model: Model, zone: str) -> Lie | None:
        truth = _truth(model, zone)
        return Lie(records={key: truth[key] for key in rng.sample(sorted(truth), 1)}) if len(truth) > 1 else None

    return tell


def _one_missing(rng: random.Random) -> Way:
    def tell(model: Model, zone: str) -> Lie | None:
        truth = dict(_truth(model, zone))
        if not truth:
            return None
        del truth[rng.choice(sorted(truth))]
        return Lie(records=truth, is_mannered=True)

    return tell


def _set_vanishes(rng: random.Random) -> Way:
    """Leave out one of the sets, or leave it empty."""
    name, is_null = rng.choice(("ImageSet", "ImageSet", "PHostImageSet", "CustomImageSet")), rng.random() < 0.3

    def tell(model: Model, zone: str) -> Lie | None:
        kept = {key: record for key, record in _truth(model, zone).items() if key.image_set != name}
        members = {name: None} if is_null and not model.broken else {}
        return Lie(records=kept, members=members, omitted=name, is_mannered=True)

    return tell


def _neighbours_ids(rng: random.Random) -> Way:
    """List what the neighbour has, without its number."""
    is_bare = rng.random() < 0.3

    def tell(model: Model, zone: str) -> Lie | None:
        neighbour = _neighbour(model, zone)
        if neighbour is None:
            return None
        records = {
            key: {"ImageId": key.image_id} | ({} if is_bare else {"ImageName": record["ImageName"]})
            for key, record in _truth(model, neighbour).items()
        }
        return Lie(records=records)

    return tell


def _own_names_under_new_ids(rng: random.Random) -> Way:
    """List as many images under the very same names, with ids that nobody here ever saw."""
    salt = rng.randrange(10_000)

    def tell(model: Model, zone: str) -> Lie | None:
        strangers = {
            Key(key.image_set, f"{key.image_id}-{salt}"): {**record, "ImageId": f"{key.image_id}-{salt}"}
            for key, record in _truth(model, zone).items()
        }
        return Lie(records=strangers)

    return tell


# --- what was understood in part -------------------------------------------------------------------------------------


def _some_unreadable(rng: random.Random) -> Way:
    """Let some records, the same as long as it lasts, lose their ids."""
    salt, garble = str(rng.random()), _garbling(rng)

    def tell(model: Model, zone: str) -> Lie | None:
        truth = _truth(model, zone)
        kept = {key: record for key, record in truth.items() if zlib.crc32(f"{salt}{key}".encode()) % 2}
        lost = [garble(record) for key, record in truth.items() if key not in kept]
        if not kept or not lost:
            return None
        return Lie(mark="partial", records=kept, unreadable=tuple(lost), is_mannered=True)

    return tell


# --- what nobody has to believe --------------------------------------------------------------------------------------


def _all_unreadable(rng: random.Random) -> Way:
    """Let all records lose their ids, once more than any true answer had such records."""
    garble = _garbling(rng)

    def tell(model: Model, zone: str) -> Lie | None:
        lost = [garble(record) for record in _truth(model, zone).values()]
        return Lie(mark="odd", unreadable=tuple(lost), is_mannered=True) if lost else None

    return tell


def _wrapped(rng: random.Random) -> Way:
    """Put the sets somewhere else, or give them another name."""
    wrap: Callable[[list[Any]], dict[str, Any]] = rng.choice(
        (
            lambda rows: {"Data": {"ImageSet": rows}},
            lambda rows: {"Result": {"Page": [{"Images": rows}]}},
            lambda rows: {"UImageList": rows},
            lambda rows: {"Images": rows, "Message": "Success"},
            lambda rows: {"Pages": [rows]},
        )
    )

    def tell(model: Model, zone: str) -> Lie | None:
        rows = _rows(model, zone)
        return Lie(mark="odd", members=wrap(rows), has_sets=False, is_shapeless=True) if rows else None

    return tell


def _retyped(rng: random.Random) -> Way:
    """Return the set another type."""
    retype: Callable[[list[Any]], Any] = rng.choice(
        (
            lambda rows: {f"uimage-{number}": row for number, row in enumerate(rows)},
            lambda rows: {"Items": rows, "Total": len(rows)},
            len,
            lambda _rows: True,
        )
    )

    def tell(model: Model, zone: str) -> Lie | None:
        rows = _rows(model, zone)
        if not rows:
            return None
        said = retype(rows)
        records = len(rows) if isinstance(said, dict) else 1
        return Lie(mark="odd", members={"ImageSet": said}, has_sets=False, retyped=records)

    return tell


def _other_action(rng: random.Random) -> Way:
    """Answer another question, with or without sets that look right."""
    action = rng.choice(("GetProjectListResponse", "GetRegionResponse", "DescribeImageResponse", "describeimage"))
    has_sets = rng.random() < 0.5

    def tell(model: Model, zone: str) -> Lie | None:
        truth = _truth(model, zone)
        rows = [{"ProjectId": project, "ProjectName": name} for project, name in model.projects.items()]
        members = {"Action": action, "ProjectSet": rows}
        kept = dict(list(truth.items())[: len(truth) // 2])
        return Lie(mark="odd", records=kept, members=members, has_sets=has_sets, is_of_another=True)

    return tell


def _other_echo(rng: random.Random) -> Way:
    """Echo another place than was asked about, and list less than there is."""
    name, value = rng.choice((("Zone", "zz-99"), ("Region", "zz"), ("ProjectId", "org-other"), ("zone", "zz-99")))

    def tell(model: Model, zone: str) -> Lie | None:
        truth = _truth(model, zone)
        kept = dict(list(truth.items())[: len(truth) // 2])
        return Lie(mark="odd", records=kept, members={name: value}, is_of_another=True)

    return tell


def _neighbours_numbers(_rng: random.Random) -> Way:
    """List what the neighbour has, with its number."""

    def tell(model: Model, zone: str) -> Lie | None:
        neighbour = _neighbour(model, zone)
        if neighbour is None or "no-zone-id" in model.quirks:
            return None
        records = {
            key: record
            for key, record in _truth(model, neighbour).items()
            if record.get("ZoneId") == model.zones[neighbour] and not key.image_set.startswith("Custom")
        }
        return Lie(mark="odd", records=records, is_of_another=True, neighbour=neighbour) if records else None

    return tell


def _page(rng: random.Random) -> Way:
    """List the first few of a longer list, and say how long it is."""
    part, name = rng.uniform(0.2, 0.9), rng.choice(("TotalCount", "TotalCount", "ImageSetCount", "totalcount"))

    def tell(model: Model, zone: str) -> Lie | None:
        truth = _truth(model, zone)
        kept = dict(list(truth.items())[: int(part * len(truth))])
        return Lie(mark="odd", records=kept, count=(name, 2 * len(truth) + 7)) if truth else None

    return tell


def _truth(model: Model, zone: str) -> dict[Key, Record]:
    """Return what anybody can see in a zone."""
    images = dict(model.images.get(zone, {}))
    for (_, place), custom in model.custom.items():
        images |= custom if place == zone else {}
    return images


def _rows(model: Model, zone: str) -> list[Any]:
    return [row for rows in model.sets(_truth(model, zone)).values() for row in rows]


def _neighbour(model: Model, zone: str) -> str | None:
    """Return an open zone that lists something."""
    return next((other for other in model.zones if other != zone and model.images.get(other)), None)


def _garbling(rng: random.Random) -> Callable[[Record], Any]:
    """Return a way to lose the id of a record."""
    way = rng.randrange(5)

    def garble(record: Record) -> Any:
        rest = {name: value for name, value in record.items() if name != "ImageId"}
        renamed = {"UImageId": record["ImageId"], **rest}
        return (renamed, {"ImageId": "", **rest}, {"ImageId": None, **rest}, [renamed], 7)[way]

    return garble


_WAYS: tuple[tuple[int, Callable[[random.Random], Way]], ...] = (
    (20, _empty),
    (10, _one_left),
    (3, _one_missing),
    (8, _set_vanishes),
    (6, _neighbours_ids),
    (8, _own_names_under_new_ids),
    (24, _some_unreadable),
    (10, _all_unreadable),
    (8, _wrapped),
    (8, _retyped),
    (8, _other_action),
    (6, _other_echo),
    (8, _neighbours_numbers),
    (10, _page),
)


def _name(way: Callable[[random.Random], Way]) -> str:
    return way.__name__.strip("_").replace("_", " ")


WAYS = {_name(way) for _, way in _WAYS}
