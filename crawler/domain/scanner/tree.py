"""
A file as nested tables, lists and texts that know where they stand, and the image ids in it. Pure.

HCL, JSON and YAML all become such a tree, so that there is one rule for which id counts and which zone it is for: that
which the same table names, or else the nearest one around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from crawler.domain.scanner.plain import find_in_text
from crawler.domain.scanner.words import (
    QUOTED_ID,
    Effect,
    image_key,
    is_image_id,
    is_key_of_zones,
    is_zone,
    is_zone_by_itself,
    key_of_patch,
    zone_key,
)

#: What the types of the provider's resources, and the names of its Packer builders, begin with.
OURS = ("ucloud_", "ucloud-")
#: What stands as the type of a Packer builder in JSON.
BUILDERS = "ucloud-"
_BUILDER = re.compile(r"builders\[\d+\]")
#: What resources of these carry may be anything, an id of ours as well.
_CARRIERS = ("kubernetes_", "kubectl_", "helm_", "null_", "local_", "terraform_", "template_", "cloudinit_")
_EFFECTS: Mapping[str, Effect] = {
    "ucloud_uk8s_node_group": "later-nodes",
    "ucloud_uk8s_node": "nothing",
    "ucloud_uk8s_cluster": "nothing",
    "ucloud_instance": "nothing",
    "ucloud_baremetal_instance": "reinstalls-machine",
}


class Text(str):
    """A text as it is written in the file, and where it begins there."""

    __slots__ = ("at",)
    at: int

    def __new__(cls, value: str, at: int) -> Text:
        """Return *value*, which begins at the character *at*."""
        text = super().__new__(cls, value)
        text.at = at
        return text


@dataclass(slots=True)
class Word:
    """What stands without quotes: a number, a name, null."""

    text: str


@dataclass(slots=True)
class Choice:
    """An expression: what it comes to is not known, what literals are in it is."""

    parts: list[Node]


@dataclass(slots=True, eq=False)
class TableNode:
    """An object, a mapping, or a block with its *header*: the type and the labels."""

    members: list[tuple[str, Node]] = field(default_factory=list)
    header: tuple[str, ...] = ()

    def get(self, key: str) -> Node | None:
        """Return the value of *key*, the last one where it stands several times; None where it is missing."""
        return next((value for name, value in reversed(self.members) if name == key), None)

    def text(self, key: str) -> str:
        """Return the text that is the value of *key*, else an empty one."""
        value = self.get(key)
        return str(value) if isinstance(value, Text) else ""

    def items(self, key: str) -> Sequence[Node]:
        """Return the elements of the list that is the value of *key*, none where there is no list."""
        value = self.get(key)
        return value if isinstance(value, list) else ()

    def keys(self) -> set[str]:
        """Return the names of the members."""
        return {key for key, _ in self.members}


Node = TableNode | list["Node"] | Text | Word | Choice
#: The zones that a table names, by the words before `zone` in the key.
Zones = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where in a tree one is."""

    #: Of the tables around, the innermost first.
    zones: tuple[Zones, ...] = ()
    #: The type of the Terraform resource or Packer builder around.
    resource: str = ""
    #: The names of the blocks and members on the way here, from the resource on where there is one.
    inner: tuple[str, ...] = ()
    #: What stands for the path, from the resource on.
    address: str = ""
    #: The way here, where no address tells it.
    path: str = ""
    #: What is said of an id that stands here.
    note: str = ""
    #: The key whose value is read.
    key: str = ""

    def zones_for(self, prefix: str) -> tuple[str, ...]:
        """Return the zones that an id is for whose key has the words *prefix* before `image_id`; none: not told."""
        for zones in self.zones:
            for own in (prefix, ""):
                if own in zones:
                    return zones[own]
        return ()

    def below(self, key: str) -> Surroundings:
        """Return the place of a member."""
        path = f"{self.path}.{key}" if self.path else key
        return replace(self, path=path, inner=(*self.inner, key), key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """An image id in a text: the character at which it begins, and what is known from around it."""

    image_id: str
    at: int
    zones: tuple[str, ...] = ()
    address: str = ""
    effect: Effect = "unknown"
    resource: str = ""
    note: str = ""
    #: Of a Packer artifact.
    region: str = ""
    project: str = ""


def find(node: Node, place: Surroundings) -> Iterator[Hit]:
    """Return the ids in *node* that count."""
    if isinstance(node, TableNode):
        yield from _in_table(node, place)
    elif isinstance(node, list):
        yield from _in_list(node, place)
    elif isinstance(node, Choice):
        for part in node.parts:
            yield from find(part, place)
    elif isinstance(node, Text) and ("mage" in node or "MAGE" in node):
        yield from _in_text(node, place)


def _in_text(text: Text, place: Surroundings) -> Iterator[Hit]:
    """Return the ids in a text, which may be a document of its own."""
    found = list(find_in_text(text))
    if found and ("\n" in text or "\\n" in text):
        from crawler.domain.scanner.inside import with_zones  # which reads trees

        pairs = with_zones(text, found)
    else:
        pairs = ((one, (one.zone,) if one.zone else ()) for one in found)
    for one, zones in pairs:
        yield _hit(one.image_id, text.at + one.at, place, zones or None, "unknown")


def _in_list(elements: Sequence[Node], place: Surroundings) -> Iterator[Hit]:
    """
    Return the ids in a list, also in that of a command's words, whose options stand behind their names or with them.

    `["--zone", "hk-02", "--image-id", "uimage-a"]` is the same as `["--zone=hk-02", "--image-id=uimage-a"]`.
    """
    options: list[tuple[str, Node]] = [
        (name, value) for name, value in pairwise(elements) if isinstance(name, Text) and name.startswith("--")
    ]
    joined = (word.partition("=") for word in elements if isinstance(word, Text) and word.startswith("--"))
    named: list[tuple[str, Node]] = [(name, Text(value, 0)) for name, is_joined, value in joined if is_joined]
    zones = zones_in(TableNode([*options, *named]))
    inside = replace(place, zones=(zones, *place.zones)) if zones else place
    for number, element in enumerate(elements):
        yield from find(element, replace(inside, path=f"{place.path}[{number}]"))
    for name, value in options:
        prefix = image_key(name)
        if prefix is not None:
            yield from _ids(value, inside, inside.zones_for(prefix), "unknown")


def _in_table(table: TableNode, place: Surroundings) -> Iterator[Hit]:
    kind = table.text("type")
    if _BUILDER.fullmatch(place.path) and kind and not kind.startswith((*OURS, "{{")):
        return  # another cloud's
    inside = replace(place, zones=(zones_in(table), *place.zones))
    if not place.resource and kind.startswith(BUILDERS):
        inside = replace(inside, resource=kind)
    is_output = {"value", "type"} <= table.keys() <= {"value", "type", "sensitive"}
    for key, value in table.members:
        if is_output and key == "type":
            continue  # of `terraform output`: it names the members of the value as well
        at = place if is_output else inside.below(key)
        name = at.key if is_output else _called(table) if key == "value" else key
        prefix = image_key(name)
        if prefix is not None:
            effect = effect_at(at, name, table)
            yield from _ids(value, at, at.zones_for(prefix), effect)
        elif isinstance(value, TableNode) and value.header:
            yield from find_in_block(value, at)
        elif not is_zone_by_itself(key):
            yield from find(value, at)
        elif isinstance(value, Text) and is_image_id(value):
            yield _hit(value, value.at, at, (key,), "unknown")
        else:
            # elsewhere it may be a pool, as `worker-1`
            yield from find(value, replace(at, zones=({"": (key,)}, *at.zones)) if is_key_of_zones(place.key) else at)


def _called(table: TableNode) -> str:
    """Return what the `value` in *table* is of: a variable of a container, or the key that a patch of JSON sets."""
    return table.text("name") or (key_of_patch(table.text("op"), table.text("path")) if table.text("op") else "")


def find_in_block(block: TableNode, place: Surroundings) -> Iterator[Hit]:
    """Return the ids in a block of HCL, or what stands for one in JSON."""
    kind, *labels = block.header
    if kind == "data" or (kind == "resource" and labels and not labels[0].startswith((*OURS, *_CARRIERS))):
        return
    if kind == "source" and labels:
        labels = _source_named(labels)
        if not labels[0].startswith(OURS):
            return  # another cloud's
    if kind == "resource" and len(labels) == 2:
        place = replace(place, resource=labels[0], address=".".join(labels), inner=())
    elif kind == "source" and len(labels) == 2:
        place = replace(place, resource=labels[0], address=f"source.{'.'.join(labels)}")
    elif kind in ("module", "output", "provider", "build") and not place.address:
        place = replace(place, address=".".join([kind, *labels]))
    elif kind == "variable" and labels:
        default = block.get("default")
        place = replace(place, address=f"var.{labels[0]}", zones=(zones_in(block), *place.zones), key=labels[0])
        if default is not None and image_key(labels[0]) is not None:
            yield from _ids(default, place, (), effect_at(place, labels[0], block))
        elif default is not None:
            yield from find(default, place)
        kind_of = block.get("type")  # optional(string, "uimage-a")
        if kind_of is not None:
            yield from find(kind_of, place)
        return
    elif kind == "dynamic" and labels:
        place = replace(place, inner=(*place.inner, labels[0]))
    yield from _in_table(block, place)


def _source_named(labels: list[str]) -> list[str]:
    """Return type and name of a Packer source by its *labels*; a build says `sources.ucloud-uhost.NAME` in one."""
    if len(labels) == 1 and labels[0].startswith(("source.", "sources.")):
        return labels[0].split(".", 2)[1:]
    return labels


def zones_in(table: TableNode) -> Zones:
    """Return the zones that *table* names; an empty tuple where it names one that is not written out."""
    zones: dict[str, tuple[str, ...]] = {}
    for key, value in table.members:
        prefix = zone_key(key)
        if prefix is not None:
            zones[prefix] = tuple(dict.fromkeys((*zones.get(prefix, ()), *_zone_words(value))))
    return zones


def _zone_words(value: Node) -> Iterator[str]:
    elements = value if isinstance(value, list) else [value]
    yield from (str(element) for element in elements if isinstance(element, Text) and is_zone(element))


def _ids(value: Node, place: Surroundings, zones: tuple[str, ...], effect: Effect) -> Iterator[Hit]:
    """Return every id in the value of a key that holds ids."""
    if isinstance(value, Text):
        if is_image_id(value):
            yield _hit(value, value.at, place, zones, effect)
        elif "${" in value or "{{" in value:
            for match in QUOTED_ID.finditer(value):
                yield _hit(match["id"], value.at + match.start("id"), place, zones, effect)
    elif isinstance(value, TableNode):
        for key, inner in value.members:
            named = (key,) if is_zone_by_itself(key) else zones
            yield from _ids(inner, place, named, effect)
    elif isinstance(value, list | Choice):
        for inner in value if isinstance(value, list) else value.parts:
            yield from _ids(inner, place, zones, effect)


def _hit(image_id: str, at: int, place: Surroundings, zones: tuple[str, ...] | None, effect: Effect) -> Hit:
    return Hit(
        image_id=str(image_id),
        at=at,
        zones=place.zones_for("") if zones is None else zones,
        address=place.address or place.path,
        effect=effect,
        resource=place.resource,
        note=place.note,
    )


def effect_at(place: Surroundings, key: str, table: TableNode) -> Effect:
    """Return what a change of the id under *key* does there."""
    if place.resource in _EFFECTS:
        words = {word.partition(".")[0] for word in place.inner}
        if place.resource == "ucloud_uk8s_cluster" and words & {"master", "worker"}:
            return "replaces-cluster"
        if place.resource == "ucloud_uk8s_cluster" and place.inner[:1] == ("for_each",):
            return "unknown"  # a worker may take it from there
        return _EFFECTS[place.resource]
    if image_key(key) == "source" and not key.startswith("-"):
        return "rebuilds-image"
    return "later-nodes" if table.get("NodeGroupId") is not None else "unknown"
