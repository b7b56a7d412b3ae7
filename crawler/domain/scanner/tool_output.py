"""
Image ids in what tools write: Terraform states, plans and outputs, Packer manifests, answers of the API. Pure.

Only what is managed and in use counts: no data sources, no outputs of a state, nothing that was replaced, no other
clouds' resources, no artifacts of other builders or of Packer runs before the last; of a plan what will be there after
it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Set

from crawler.domain.scanner.tree import OURS, Hit, Node, Surroundings, TableNode, Text, Word, find, find_in_block
from crawler.domain.scanner.words import is_image_id

#: What the ids of images begin with that somebody made: those that a post-processor imports for another builder.
_OWN_IMAGE = "uimage-"
_NOTES: Mapping[str, str] = {
    "ucloud_uk8s_node": "Terraform never refreshes it: the node may run another image",
    "ucloud_uk8s_cluster": "Terraform never refreshes it: the cluster may run another image",
    "ucloud_instance": "the state shows the base image, not that of the system disk",
}
#: What every state says beside its version.
_OF_A_STATE = frozenset({"terraform_version", "serial", "lineage"})
#: What tells resources and modules of a state, and builds of a manifest, from what people list under such a name.
_OF_A_RESOURCE = frozenset({"mode", "instances", "provider"})
_OF_A_MODULE = frozenset({"outputs", "resources"})
_OF_A_BUILD = frozenset({"artifact_id", "builder_type"})
_OUTPUT = frozenset({"sensitive", "type", "value"})
_WORD_OR_NUMBER = re.compile(r"-?\d+")


def is_written_by_a_tool(document: Node) -> bool:
    """Return whether *document* is what a tool wrote, and would write again: none that people edit."""
    if isinstance(document, list):
        return any(isinstance(one, TableNode) and one.get("NodeGroupId") is not None for one in document)
    return isinstance(document, TableNode) and any(
        is_such(document) for is_such in (_is_manifest, _is_plan, _is_state, _is_stack, _is_output, is_answer)
    )


def is_answer(document: Node) -> bool:
    """Return whether *document* is an answer of the API, as people keep them."""
    return isinstance(document, TableNode) and bool(document.keys() & {"RetCode", "NodeGroupList", "AutoScalingGroup"})


def _is_manifest(document: TableNode) -> bool:
    """Return whether *document* is what Packer says of its builds, and no list of builds that somebody wrote."""
    builds = document.get("builds")
    is_known = isinstance(builds, list) and document.get("last_run_uuid") is not None
    return is_known or _is_list_with(builds, _OF_A_BUILD)


def _is_plan(document: TableNode) -> bool:
    return bool(document.keys() & {"planned_values", "resource_changes"})


def _is_state(document: TableNode) -> bool:
    """Return whether *document* is a state of Terraform, and no list of resources that somebody wrote."""
    if document.get("version") is None:
        return _has_modules(document)
    resources, modules = document.get("resources"), document.get("modules")
    if document.keys() & _OF_A_STATE:
        return isinstance(resources, list) or isinstance(modules, list)
    tables = (one for one in document.items("resources") if isinstance(one, TableNode))
    is_ours = any(one.text("type").startswith(OURS) for one in tables)
    return is_ours or _is_list_with(resources, _OF_A_RESOURCE) or _is_list_with(modules, _OF_A_MODULE)


def _is_list_with(node: Node | None, keys: Set[str]) -> bool:
    """Return whether *node* is a list with a table that has any of *keys*; one without elements may be."""
    return isinstance(node, list) and (
        not node or any(isinstance(one, TableNode) and not keys.isdisjoint(one.keys()) for one in node)
    )


def _is_stack(document: TableNode) -> bool:
    """Return whether *document* is what `pulumi stack export` says."""
    stack = document.get("deployment")
    return isinstance(stack, TableNode) and isinstance(stack.get("resources"), list)


def _is_output(document: TableNode) -> bool:
    """Return whether *document* is what `terraform output -json` says."""
    values = [value for _, value in document.members]
    return bool(values) and all(isinstance(one, TableNode) and one.keys() == _OUTPUT for one in values)


def _has_modules(document: TableNode) -> bool:
    values = document.get("values")
    return isinstance(values, TableNode) and "root_module" in values.keys()  # noqa: SIM118 - a table is no mapping


def find_in_json(document: Node, *, is_terraform: bool = False) -> Iterator[Hit]:
    """Return the ids in a JSON *document*; *is_terraform*: it is a configuration, as in `.tf.json`."""
    if isinstance(document, list):
        for element in document:
            if isinstance(element, Text) and is_image_id(element):
                yield Hit(image_id=str(element), at=element.at)
            else:
                yield from find_in_json(element) if isinstance(element, TableNode) else find(element, Surroundings())
    elif not isinstance(document, TableNode):
        yield from find(document, Surroundings())
    elif _is_manifest(document):
        yield from _in_manifest(document)
    elif _is_plan(document):
        yield from _in_plan(document)
    elif is_terraform:
        yield from _in_configuration(document)
    elif _is_state(document) or any(_is_resource(one) for one in document.items("resources")):
        yield from _in_state(document)
    elif _is_resource(document):
        yield from _in_resource(document)
    else:
        yield from find(document, Surroundings())


# --- states and plans ------------------------------------------------------------------------------------------------


def _is_resource(node: Node) -> bool:
    """Return whether *node* is a resource of a state or plan, and no object of another sort with such keys."""
    if not isinstance(node, TableNode) or not node.keys() & {"instances", "values", "primary"}:
        return False
    return node.text("mode") in ("managed", "data") or "address" in node.keys() or node.text("type").startswith(OURS)  # noqa: SIM118


def _in_plan(plan: TableNode) -> Iterator[Hit]:
    planned = plan.get("planned_values")
    if isinstance(planned, TableNode):
        yield from _in_module(planned.get("root_module"))
        return
    for change in plan.items("resource_changes"):
        if isinstance(change, TableNode) and isinstance(what := change.get("change"), TableNode):
            yield from _in_resource(TableNode([*change.members, ("values", what.get("after") or TableNode())]))


def _in_state(state: TableNode) -> Iterator[Hit]:
    values = state.get("values")
    if isinstance(values, TableNode):
        yield from _in_module(values.get("root_module"))
    for resource in state.items("resources"):
        yield from _in_resource(resource)
    for module in state.items("modules"):
        if isinstance(module, TableNode):
            yield from _in_old_module(module)


def _in_old_module(module: TableNode) -> Iterator[Hit]:
    """Return the ids in a module of a state of Terraform before 0.12."""
    path = [str(part) for part in module.items("path") if isinstance(part, Text)]
    prefix = "".join(f"module.{part}." for part in path[1:])
    resources = module.get("resources")
    for address, resource in resources.members if isinstance(resources, TableNode) else ():
        if not address.startswith("data.") and isinstance(resource, TableNode):
            yield from _in_resource(TableNode([*resource.members, ("address", Text(f"{prefix}{address}", 0))]))


def _in_module(module: Node | None) -> Iterator[Hit]:
    if isinstance(module, TableNode):
        for resource in module.items("resources"):
            yield from _in_resource(resource)
        for child in module.items("child_modules"):
            yield from _in_module(child)


def _in_resource(node: Node) -> Iterator[Hit]:
    if not isinstance(node, TableNode) or node.text("mode") == "data" or node.get("deposed_key") is not None:
        return
    kind = node.text("type")
    if not _is_ours(kind):
        return
    address = _unescaped(node.text("address"))
    if not address:
        parts = [_unescaped(node.text("module")), kind, node.text("name")]
        address = ".".join(part for part in parts if part)
    primary = node.get("primary")  # of a state of Terraform before 0.12
    values = primary.get("attributes") if isinstance(primary, TableNode) else node.get("values")
    if isinstance(values, TableNode):
        yield from find(values, _place(kind, address))
    for instance in node.items("instances"):
        if isinstance(instance, TableNode) and not isinstance(instance.get("deposed"), Text):
            attributes = instance.get("attributes") or instance.get("attributes_flat")
            index = _index(instance.get("index_key"))
            yield from find(attributes or TableNode(), _place(kind, address + index))


def _place(kind: str, address: str) -> Surroundings:
    return Surroundings(resource=kind, address=address, note=_NOTES.get(kind, ""))


def _index(key: Node | None) -> str:
    if isinstance(key, Word) and _WORD_OR_NUMBER.fullmatch(key.text):
        return f"[{key.text}]"
    return f'["{_unescaped(key)}"]' if isinstance(key, Text) else ""


def _unescaped(text: str) -> str:
    """Return what *text* says, which is as JSON writes it: `w["a"]` of `w[\\"a\\"]`."""
    try:
        return str(json.loads(f'"{text}"', strict=False)) if "\\" in text else text
    except ValueError:
        return text


def _is_ours(kind: str) -> bool:
    """Return whether a builder or a type of resource is UCloud's, or not stated."""
    return not kind or kind.startswith(OURS)


# --- configurations in JSON ------------------------------------------------------------------------------------------


def _in_configuration(document: TableNode) -> Iterator[Hit]:
    """Return the ids in a `.tf.json`, whose objects stand for blocks."""
    depths = {"resource": 2, "module": 1, "variable": 1, "output": 1, "provider": 1}
    for kind, value in document.members:
        if kind == "locals":
            yield from find(value, Surroundings(path="local"))
        else:
            for labels, body in _blocks(value, depths.get(kind, 0)):
                yield from find_in_block(TableNode(body.members, (kind, *labels)), Surroundings(path=kind))


def _blocks(value: Node, depth: int) -> Iterator[tuple[tuple[str, ...], TableNode]]:
    for table in value if isinstance(value, list) else [value]:
        if isinstance(table, TableNode) and not depth:
            yield (), table
        elif isinstance(table, TableNode):
            for label, inner in table.members:
                for labels, body in _blocks(inner, depth - 1):
                    yield (label, *labels), body


# --- Packer ----------------------------------------------------------------------------------------------------------


def _in_manifest(manifest: TableNode) -> Iterator[Hit]:
    """
    Return the ids of the last run; a manifest keeps the builds of earlier ones, whose images were replaced.

    An artifact is `region:id` pairs, separated by commas; of three parts the first is the project.
    """
    last_run = manifest.text("last_run_uuid")
    for number, build in enumerate(manifest.items("builds"), start=1):
        artifact = build.get("artifact_id") if isinstance(build, TableNode) else None
        if not isinstance(build, TableNode) or not isinstance(artifact, Text):
            continue
        if last_run and (build.text("packer_run_uuid") or last_run) != last_run:
            continue
        at = artifact.at
        for part in artifact.split(","):
            *places, image_id = part.strip().split(":")
            if is_image_id(image_id) and (_is_ours(build.text("builder_type")) or image_id.startswith(_OWN_IMAGE)):
                yield Hit(
                    image_id=image_id,
                    at=at + part.rindex(image_id),
                    address=build.text("name") or f"build {number}",
                    region=places[-1] if places else "",
                    project=places[-2] if len(places) > 1 else "",
                )
            at += len(part) + 1
