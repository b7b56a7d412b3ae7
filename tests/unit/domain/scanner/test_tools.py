"""What tools write: states, plans, outputs and manifests, and the configurations that are JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crawler.domain.scanner import scan
from crawler.domain.scanner.tool_output import find_in_json
from crawler.domain.scanner.tree import TableNode, Text

VALUES = {"availability_zone": "hk-02", "image_id": "uimage-a"}
POOL = {"mode": "managed", "type": "ucloud_uk8s_node_group", "name": "w"}


def pinned(document: Any, name: str = "a.json") -> list[tuple[str, str | None, str, str]]:
    pins = scan(json.dumps(document), name).pins
    return [(pin.image_id, pin.zone, pin.effect, pin.address) for pin in pins]


@pytest.mark.parametrize(
    "document",
    [
        {"version": 4, "resources": [{**POOL, "instances": [{"attributes": VALUES}]}]},
        {"resources": [{**POOL, "instances": [{"attributes": VALUES}]}]},
        {"version": 4, "resources": [{**POOL, "instances": [{"attributes_flat": VALUES}]}]},
        {"values": {"root_module": {"resources": [{**POOL, "values": VALUES}]}}},
        {"values": {"root_module": {"child_modules": [{"resources": [{**POOL, "values": VALUES}]}]}}},
        {"planned_values": {"root_module": {"resources": [{**POOL, "values": VALUES}]}}},
        {"resource_changes": [{**POOL, "change": {"after": VALUES}}]},
        {**POOL, "instances": [{"attributes": VALUES}]},
        {**POOL, "values": VALUES},
        {"address": "ucloud_uk8s_node_group.w", "type": "ucloud_uk8s_node_group", "values": VALUES},
        {"address": "ucloud_uk8s_node_group.w", "type": "ucloud_uk8s_node_group", "primary": {"attributes": VALUES}},
        [{**POOL, "values": VALUES}],
        {"version": 3, "modules": [{"path": ["root"], "resources": {
            "ucloud_uk8s_node_group.w": {"type": "ucloud_uk8s_node_group", "primary": {"attributes": VALUES}}
        }}]},
    ],
)  # fmt: skip
def test_forms_of_a_resource(document: Any) -> None:
    """A resource is the same one in each form of a state or plan, whole or cut out of it."""
    assert pinned(document) == [("uimage-a", "hk-02", "later-nodes", "ucloud_uk8s_node_group.w")]


@pytest.mark.parametrize(
    "resource",
    [
        {**POOL, "mode": "data", "instances": [{"attributes": VALUES}]},
        {**POOL, "mode": "data", "values": VALUES},
        {**POOL, "type": "volcengine_instance", "instances": [{"attributes": VALUES}]},
        {**POOL, "deposed_key": "00aa", "values": VALUES},
        {**POOL, "instances": [{"deposed": "00aa", "attributes": VALUES}]},
        {**POOL, "instances": ["odd", {"attributes": None}, {}]},
        "odd",
    ],
)
def test_what_of_a_state_is_no_pin(resource: Any) -> None:
    """What is read only, replaced, or another cloud's is no pin; what stands after it is one."""
    other = {**POOL, "name": "x", "instances": [{"attributes": {"image_id": "uimage-b"}}]}

    assert pinned({"version": 4, "resources": [resource, other]}) == [
        ("uimage-b", None, "later-nodes", "ucloud_uk8s_node_group.x")
    ]


@pytest.mark.parametrize(
    ("index", "told"),
    [(0, "[0]"), (12, "[12]"), (-1, "[-1]"), ("a", '["a"]'), ("0", '["0"]'), (None, ""), (True, ""), (1.5, "")],
)
def test_index_of_an_instance(index: Any, told: str) -> None:
    """An instance has its number or its key behind the address of the resource; any other index is none."""
    pool = {**POOL, "module": "module.m", "instances": [{"index_key": index, "attributes": VALUES}]}
    address = f"module.m.ucloud_uk8s_node_group.w{told}"

    assert pinned({"version": 4, "resources": [pool]}) == [("uimage-a", "hk-02", "later-nodes", address)]


@pytest.mark.parametrize(
    ("stated", "address"),
    [
        ({"address": "a.b"}, "a.b"),
        ({"mode": "managed", "name": "x"}, "x"),
        ({"type": "ucloud_else"}, "ucloud_else"),
        ({"mode": "data"}, None),
        ({"else": "a.b"}, "values.image_id"),
        ({"type": "else"}, "values.image_id"),
    ],
)
def test_what_makes_a_resource(stated: dict[str, str], address: str | None) -> None:
    """What has values is a resource by its address, its mode, or a type of the provider; each alone is enough."""
    found = [("uimage-a", "hk-02", "unknown", address)] if address else []

    assert pinned({**stated, "values": VALUES}) == found
    assert pinned({**stated, "instances": [{"attributes": VALUES}]})[:1] == (
        found
        if address != "values.image_id"
        else [("uimage-a", "hk-02", "unknown", "instances[0].attributes.image_id")]
    )


def test_object_with_some_keys_of_a_resource() -> None:
    """What has an address, but nothing that a resource of a state has, is read as any other object."""
    assert pinned({"address": "10.0.0.1", "image_id": "uimage-a"}) == [("uimage-a", None, "unknown", "image_id")]


def test_address_that_holds_a_tab() -> None:
    """An address is read as JSON writes it, even where a character in it should have been escaped."""
    resource = TableNode([
        ("address", Text('w[\\"a\tb\\"]', 0)),
        ("type", Text("ucloud_instance", 0)),
        ("values", TableNode([("image_id", Text("uimage-a", 9))])),
    ])  # fmt: skip

    assert [hit.address for hit in find_in_json(resource)] == ['w["a\tb"]']


def test_modules_of_an_old_state() -> None:
    """In a state of before Terraform 0.12 the path of a module is part of each address; what is only read is no pin."""
    machine = {"type": "ucloud_instance", "primary": {"attributes": {"image_id": "uimage-a", "zone": "hk-02"}}}
    other = {"type": "volcengine_instance", "primary": {"attributes": {"image_id": "image-b"}}}
    resources = {"data.ucloud_instance.x": machine, "odd": "odd", "volcengine_instance.y": other,
                 "ucloud_instance.gone": {"type": "ucloud_instance", "primary": None},
                 "ucloud_instance.z": machine}  # fmt: skip
    modules = ["odd", {"path": ["root", "m", "n"], "resources": resources}, {"path": ["root"], "resources": None}]

    assert pinned({"version": 3, "modules": modules}) == [
        ("uimage-a", "hk-02", "nothing", "module.m.module.n.ucloud_instance.z")
    ]


@pytest.mark.parametrize(
    ("kind", "values", "effect", "note"),
    [
        ("ucloud_uk8s_node", {}, "nothing", "Terraform never refreshes it: the node may run another image"),
        ("ucloud_uk8s_cluster", {}, "nothing", "Terraform never refreshes it: the cluster may run another image"),
        ("ucloud_instance", {}, "nothing", "the state shows the base image, not that of the system disk"),
        ("ucloud_uk8s_node_group", {}, "later-nodes", ""),
        ("ucloud_baremetal_instance", {}, "reinstalls-machine", ""),
        ("ucloud_else", {}, "unknown", ""),
        ("ucloud_else", {"NodeGroupId": "n"}, "later-nodes", ""),
        ("ucloud_else", {"NodeGroupId": None}, "later-nodes", ""),
    ],
)
def test_effects_in_a_state(kind: str, values: dict[str, Any], effect: str, note: str) -> None:
    """What a change of an id does goes by the type of its resource, as does what is to be known of it."""
    resource = {**POOL, "type": kind, "values": {**values, "image_id": "uimage-a"}}
    (pin,) = scan(json.dumps({"values": {"root_module": {"resources": [resource]}}}), "a.json").pins

    assert (pin.effect, pin.note, pin.resource, pin.address) == (effect, note, kind, f"{kind}.w")


@pytest.mark.parametrize(
    ("member", "effect"), [("master", "replaces-cluster"), ("worker", "replaces-cluster"), ("nodes", "nothing")]
)
def test_parts_of_a_cluster(member: str, effect: str) -> None:
    """The image of a cluster's masters and workers replaces it, in a state and in each way to write a block."""
    state = {**POOL, "type": "ucloud_uk8s_cluster", "values": {member: [{"image_id": "uimage-a"}]}}
    assert pinned(state) == [("uimage-a", None, effect, "ucloud_uk8s_cluster.w")]
    for inner in (
        f'{member} {{\n image_id = "uimage-a"\n }}',
        f'dynamic "{member}" {{\n content {{\n image_id = "uimage-a"\n }}\n }}',
    ):
        (pin,) = scan(f'resource "ucloud_uk8s_cluster" "c" {{\n {inner}\n}}\n', "a.tf").pins
        assert (pin.effect, pin.address) == (effect, "ucloud_uk8s_cluster.c")


@pytest.mark.parametrize(
    ("document", "is_source"),
    [
        ({"planned_values": {}}, False),
        ({"resource_changes": []}, False),
        ({"builds": []}, False),
        ({"builds": {}}, True),
        ({"version": 4, "resources": []}, False),
        ({"version": 3, "modules": []}, False),
        ({"version": 4, "resources": {}}, True),
        ({"version": 4, "values": {"root_module": {}}}, True),
        ({"resources": []}, True),
        ({"values": {"root_module": {}}}, False),
        ({"values": {}}, True),
        ({"values": "root_module"}, True),
        ({"RetCode": 0}, False),
        ({"NodeGroupList": []}, False),
        ({"AutoScalingGroup": {}}, False),
        ([{"x": 1}, {"NodeGroupId": "n"}], False),
        ([{"x": 1}, "NodeGroupId"], True),
        ([], True),
        ("text", True),
    ],
)
def test_what_people_edit(document: Any, is_source: bool) -> None:
    """States, plans, manifests and answers are nothing that people edit; what has some of their members is."""
    text = f'{json.dumps(document)}\n{{"image_id": "uimage-a"}}'

    assert scan(text, "a.json").is_source is is_source


def test_list_of_anything() -> None:
    """In a list an id counts by itself, and what else stands in it is read as it would be alone."""
    listed = ["uimage-a", "no id", 1, ["uimage-b", {"image_id": "uimage-c"}], {"image_id": "uimage-d", "zone": "hk-02"}]

    assert [(one, zone) for one, zone, *_ in pinned(listed)] == [
        ("uimage-a", None), ("uimage-c", None), ("uimage-d", "hk-02"),
    ]  # fmt: skip
    assert pinned("IMAGE_ID=uimage-a") == [("uimage-a", None, "unknown", "")]


def test_outputs_of_terraform() -> None:
    """What `terraform output` tells counts under the name of the output; the types that it states are no members."""
    outputs = {
        "image_id": {"value": "uimage-a", "type": "string", "sensitive": False},
        "pool": {"value": {"image_id": "uimage-b", "zone": "hk-02"}, "type": ["object", {"image_id": "uimage-c"}]},
        "else": {"value": {"image_id": "uimage-d"}, "type": {"image_id": "uimage-e"}, "more": 1},
    }

    assert pinned(outputs) == [
        ("uimage-a", None, "unknown", "image_id"),
        ("uimage-b", "hk-02", "unknown", "pool.image_id"),
        ("uimage-d", None, "unknown", "else.value.image_id"),
        ("uimage-e", None, "unknown", "else.type.image_id"),
    ]


@pytest.mark.parametrize("name", ["main.tf.json", "MAIN.TF.JSON", "main.tofu.json"])
def test_configuration_in_json(name: str) -> None:
    """The objects of a `.tf.json` stand for blocks, one or a list of them, and have the addresses of these."""
    body = {"image_id": "uimage-a"}
    document = {
        "resource": {"ucloud_uk8s_node_group": {"w": [body, "odd"]}, "ucloud_instance": [{"i": body}]},
        "data": {"ucloud_images": {"d": body}},
        "module": {"m": body},
        "variable": {"image_id": {"default": "uimage-a"}},
        "output": {"o": {"value": {"image_id": "uimage-a"}}},
        "provider": {"ucloud": body},
        "locals": {"image_id": "uimage-a"},
        "terraform": body,
    }

    assert [(effect, address) for _, _, effect, address in pinned(document, name)] == [
        ("later-nodes", "ucloud_uk8s_node_group.w"),
        ("nothing", "ucloud_instance.i"),
        ("unknown", "module.m"),
        ("unknown", "var.image_id"),
        ("unknown", "output.o"),
        ("unknown", "provider.ucloud"),
        ("unknown", "local.image_id"),
        ("unknown", "terraform.image_id"),
    ]


def test_artifacts_of_a_manifest() -> None:
    """Of each artifact every id is found at its place; of other builders only images that somebody made."""
    builds = [
        {"artifact_id": "my-uimage-a:hk:uimage-a, sg:image-b ,uimage-c", "builder_type": "ucloud-uhost", "name": "n"},
        {"artifact_id": "hk:uimage-d,hk:image-e,hk:x", "builder_type": "qemu"},
        {"artifact_id": "a:b:hk:bsi-1"},
    ]
    text = json.dumps({"builds": builds})
    pins = scan(text, "manifest.json").pins

    assert [(pin.image_id, pin.address, pin.region, pin.project) for pin in pins] == [
        ("uimage-a", "n", "hk", "my-uimage-a"),
        ("image-b", "n", "sg", ""),
        ("uimage-c", "n", "", ""),
        ("uimage-d", "build 2", "hk", ""),
        ("bsi-1", "build 3", "hk", "b"),
    ]
    assert [text[pin.at - 1 : pin.at + len(pin.image_id)] for pin in pins] == [
        ":uimage-a", ":image-b", ",uimage-c", ":uimage-d", ":bsi-1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("document", "zones"),
    [
        ({"zone": "hk-02", "pool": {"image_id": "uimage-a"}}, ["hk-02"]),
        ({"zone": "hk-02", "pool": {"zone": "hk-03", "image_id": "uimage-a"}}, ["hk-03"]),
        ({"zone": "hk-02", "pool_zone": "hk-03", "pool_image_id": "uimage-a"}, ["hk-03"]),
        ({"zone": "hk-02", "else_zone": "hk-03", "pool_image_id": "uimage-a"}, ["hk-02"]),
        ({"else_zone": "hk-03", "pool_image_id": "uimage-a"}, [None]),
        ({"availability_zones": ["hk-03", "hk-02", "hk-03", 1], "image_id": "uimage-a"}, ["hk-03", "hk-02"]),
        ({"zone": "hk-02", "Zone": "hk-03", "image_id": "uimage-a"}, ["hk-02", "hk-03"]),
        ({"zone": "hk-09", "image_id": {"hk-02": "uimage-a"}}, ["hk-02"]),
        ({"zone": "hk-09", "image_id": {"main": "uimage-a"}}, ["hk-09"]),
        ({"zone": "hk-09", "images": {"hk-02": "uimage-a"}}, ["hk-02"]),
        ({"zone": "hk-09", "images": {"main": "uimage-a"}}, []),
        ({"zone": "hk-09", "pool_zone": "hk-02", "pool_image_id": "{{ x or 'uimage-a' }}"}, ["hk-02"]),
        ({"zone": "hk-09", "pool_zone": "hk-02", "pool_image_ids": ["uimage-a"]}, ["hk-02"]),
        ({"args": ["--zone", "hk-09", "--pool-zone", "hk-02", "--pool-image-id", "uimage-a"]}, ["hk-02"]),
        ({"args": ["--zone=hk-09", "--pool-zone=hk-02", "--pool-image-id", "uimage-a"]}, ["hk-02"]),
        ({"zone": "hk-09", "text": "IMAGE_ID=uimage-a"}, ["hk-09"]),
        ({"else_zone": "hk-09", "text": "IMAGE_ID=uimage-a"}, [None]),
    ],
)
def test_zones_around(document: Any, zones: list[str | None]) -> None:
    """An id is for the zones that its own table names by its own word, else by none, else for those around it."""
    assert [zone for _, zone, *_ in pinned(document)] == zones
