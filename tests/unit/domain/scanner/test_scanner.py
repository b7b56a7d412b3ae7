"""What is an id and what is none, whatever file it stands in."""

from __future__ import annotations

import json
import textwrap

import pytest

from crawler.domain.scanner import may_hold_ids, scan


def found(text: str, name: str = "") -> list[tuple[str, str | None]]:
    return [(pin.image_id, pin.zone) for pin in scan(text, name).pins]


@pytest.mark.parametrize(
    "key",
    [
        "image_id", "source_image_id", "imageId", "ImageId", "MasterImageId", "Nodes.3.ImageId", "ImageIds.0",
        "UCLOUD_IMAGE_ID", "pool_image_id", "nodeImageId", "image-id", "node_image_ids",
    ],
)  # fmt: skip
def test_keys(key: str) -> None:
    """A key counts whose last word is an image id, in JSON, YAML and HCL alike."""
    assert found(json.dumps({key: "uimage-a", "Zone": "hk-02"})) == [("uimage-a", "hk-02")]
    assert found(f"{key}: uimage-a\nzone: hk-02\n", "a.yaml") == [("uimage-a", "hk-02")]
    assert found(f'{{"{key}" = "uimage-a", zone = "hk-02"}}', "a.hcl") == [("uimage-a", "hk-02")]


@pytest.mark.parametrize("key", ["image", "image_name", "preimage_id", "image_ident", "imageIdle", "selector", "name"])
def test_other_keys(key: str) -> None:
    """Other keys hold no ids, whatever their values look like."""
    assert found(json.dumps({key: "uimage-a"})) == []


@pytest.mark.parametrize("value", ["uimage-", "uimage-a b", "my-uimage-a", "uimage-a-b", "uimage_a", "ami-12", "x"])
def test_values_that_are_no_ids(value: str) -> None:
    """What is not wholly an id is none."""
    assert found(json.dumps({"image_id": value})) == []
    assert found(f"image_id: {value}\n", "a.yaml") == []


def test_zone_that_is_not_written_out() -> None:
    """A zone by reference is not told, and that of the object around does not stand for it."""
    text = 'zone = "hk-02"\npool = {\n  availability_zone = var.zone\n  image_id = "uimage-a"\n}\n'

    assert found(text, "a.tfvars") == [("uimage-a", None)]


@pytest.mark.parametrize("name", ["a.json", "a.tf", "a.yaml", ""])
def test_nested_too_deeply(name: str) -> None:
    """A file nested deeper than any that people write is refused in words."""
    text = '{"image_id": "uimage-a", "x": ' + "[" * 100_000
    with pytest.raises(ValueError, match=r"\Ais nested too deeply\Z"):
        scan(text, name)


@pytest.mark.parametrize(
    ("uses", "effects"),
    [
        ("a: {source_image_id: &i uimage-a}\nb: {image_id: *i}\n", ["unknown"]),
        ("a: {zone: hk-02, source_image_id: &i uimage-a}\nb: {zone: hk-02, image_id: *i}\n", ["unknown"]),
        ("a: {zone: hk-02, source_image_id: &i uimage-a}\nb: {image_id: *i}\n", ["unknown"]),
        ("a: {zone: hk-02, source_image_id: &i uimage-a}\nb: {zone: hk-01, image_id: *i}\n", ["unknown", "unknown"]),
        ("a: {source_image_id: &i uimage-a}\nb: {source_image_id: *i}\n", ["rebuilds-image"]),
        ("a: &d {image_id: uimage-a}\nb: {<<: *d, zone: hk-02, NodeGroupId: n}\n", ["later-nodes"]),
    ],
)
def test_effect_of_an_anchor(uses: str, effects: list[str]) -> None:
    """An id that several places use has the effect that harms most: one change is a change of all of them."""
    assert [pin.effect for pin in scan(uses, "a.yaml").pins] == effects


@pytest.mark.parametrize("value", ["uimage-a", "'uimage-a'", "!!str\n  # more\n  uimage-a"])
def test_comment_behind_an_anchor(value: str) -> None:
    """A comment between an anchor or a tag and the id that it is of hides no id."""
    text = f"image_id: &i # uimage-z\n  # told\n  {value}\n"
    (pin,) = scan(text, "a.yaml").pins

    assert (pin.image_id, pin.at) == ("uimage-a", text.index("uimage-a"))


def test_comment_about_an_anchor() -> None:
    """An id that a comment gives its zone is one pin, for whatever zones it is used, and else has no name."""
    uses = "a: {zone: hk-02, image_id: &i uimage-a} # ucloud-image: hk-04/x\nb: {zone: hk-03, image_id: *i}\n"

    assert [(pin.zone, pin.named) for pin in scan(uses, "a.yaml").pins] == [("hk-04", "x")]
    uses = uses.partition(" #")[0] + "\nb: {zone: hk-03, image_id: *i}\n"
    assert [(pin.zone, pin.named) for pin in scan(uses, "a.yaml").pins] == [("hk-02", ""), ("hk-03", "")]


def test_several_tables_merged() -> None:
    """Of several merged tables the first one's zone counts, and none of them where the table has its own."""
    tables = "x: &x {zone: sg-01}\ny: &y {zone: hk-02}\npool:\n  <<: [*x, *y]\n  image_id: uimage-a\n"

    assert found(tables, "a.yaml") == [("uimage-a", "sg-01")]
    assert found(f"{tables}  zone: cn-bj2-02\n", "a.yaml") == [("uimage-a", "cn-bj2-02")]


def test_anchors_that_multiply() -> None:
    """Anchors that name anchors are read within bounds."""
    lines = ["a0: &a0 {image_id: uimage-a}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ValueError, match="is nested too deeply"):
        scan("\n".join(lines), "a.yaml")


def test_broken_json() -> None:
    """JSON that is named and is none is said with its place, and nothing of it is quoted."""
    text = '{"image_id": "uimage-a", "password": hunter2'
    with pytest.raises(ValueError, match=r"is no JSON: .*line 1 column") as refusal:
        scan(text, "a.json", is_strict=True)

    assert "hunter2" not in str(refusal.value)
    assert found(text, "a.json") == [("uimage-a", None)]


def test_lines_of_json() -> None:
    """Of several documents in a file each counts; a state among them is still what a tool wrote."""
    one, two = '{"image_id": "uimage-a", "zone": "hk-02"}', '{\n  "ImageId": "uimage-b"\n}'
    state = '{"version": 4, "resources": []}'

    assert found(f"{one}\n{two}\n", "a.json") == [("uimage-a", "hk-02"), ("uimage-b", None)]
    for name in ("a.json", "a.jsonl", ""):
        assert len(scan(f" {one}\n{two}\n\n", name, is_strict=True).pins) == 2
        assert scan(f"{one}\n{state}", name, is_strict=True).is_source is False
        with pytest.raises(ValueError, match=r"is no JSON: .*line 2 column 1"):
            scan(f"{one}\n]{two}", name, is_strict=True)


def test_nearly_json() -> None:
    """JSON with comments, templates or commas at the end is read all the same; without ids no JSON is a mistake."""
    text = '// ours\n{\n  /* b */ "image_id": "uimage-a", // {{ x }}\n  "zone": "hk-02",\n}\n'

    assert [(pin.image_id, pin.zone) for pin in scan(text, "a.json", is_strict=True).pins] == [("uimage-a", "hk-02")]
    assert scan("{ no json", "tsconfig.json", is_strict=True).pins == ()
    with pytest.raises(ValueError, match="is no JSON"):
        scan('{"resources": [', "terraform.tfstate", is_strict=True)


@pytest.mark.parametrize("name", ["a.json5", "a.jsonc", "a.json", ""])
def test_single_quotes(name: str) -> None:
    """In JSON5, whatever it is called, an id counts in either quotes, with its own zone."""
    text = "{pools: [\n  {image_id: 'uimage-a', zone: 'hk-02'},\n  {'imageId': \"uimage-b\", 'zone': \"hk-03\"}\n]}\n"

    assert found(text, name) == [("uimage-a", "hk-02"), ("uimage-b", "hk-03")]
    if name.endswith(("5", "c")):
        assert len(scan(text, name, is_strict=True).pins) == 2
    else:
        with pytest.raises(ValueError, match="is no JSON"):
            scan(text, name, is_strict=True)


@pytest.mark.parametrize(
    "document",
    [
        {"version": "1.0", "resources": {"limits": {"cpu": 1}}, "imageId": "uimage-a"},
        {"modules": [{"x": 1}], "imageId": "uimage-a"},
        {"type": "chart", "values": {"imageId": "uimage-a"}},
    ],
)
def test_what_only_looks_like_a_state(document: dict[str, object]) -> None:
    """A document with members as states have them is read as what it is."""
    scanned = scan(json.dumps(document), "values.json")

    assert [pin.image_id for pin in scanned.pins] == ["uimage-a"]
    assert scanned.is_source


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("groups.yaml", "RetCode: 0\nNodeGroupList:\n- {NodeGroupId: n, Zone: hk-02, ImageId: uimage-a}\n"),
        ("groups.json", '[{"NodeGroupId": "n", "Zone": "hk-02", "ImageId": "uimage-a"}]'),
    ],
)
def test_exports(name: str, text: str) -> None:
    """What the API said is read, and is nothing that people edit."""
    scanned = scan(text, name)

    assert [(pin.zone, pin.effect) for pin in scanned.pins] == [("hk-02", "later-nodes")]
    assert not scanned.is_source


def test_builders() -> None:
    """A builder in Packer's JSON is one as in its HCL: the ids of its sources are a machine's."""
    builder = {"type": "ucloud-uhost", "availability_zone": "hk-02", "source_image_id": "uimage-a"}
    (pin,) = scan(json.dumps({"builders": [builder]}), "packer.json").pins

    assert (pin.resource, pin.effect, pin.zone) == ("ucloud-uhost", "rebuilds-image", "hk-02")


def test_large_state() -> None:
    """Of a state of 2 MB each instance is found in its line."""
    groups = [
        {"mode": "managed", "type": "ucloud_uk8s_node_group", "name": f"n{n}", "instances": [
            {"index_key": key, "attributes": {"availability_zone": "hk-02", "image_id": f"uimage-{n}", "x": "x" * 900}}
            for key in (0, "a")
        ]}
        for n in range(1_000)
    ]  # fmt: skip
    text = json.dumps({"version": 4, "resources": groups}, indent=1)
    pins = scan(text, "terraform.tfstate", is_strict=True).pins
    lines = text.split("\n")

    assert len(text) > 2_000_000
    assert len(pins) == 2_000
    assert all(pin.image_id in lines[pin.line - 1] for pin in pins)
    assert [pin.address for pin in pins[:2]] == ["ucloud_uk8s_node_group.n0[0]", 'ucloud_uk8s_node_group.n0["a"]']


def test_text_inside_a_document() -> None:
    """A text that holds another document gives the ids in it, with the one zone that it names."""
    text = "data:\n  values.yaml: |\n    imageId: uimage-a\n    zone: hk-02\n"

    assert found(text, "a.yaml") == [("uimage-a", "hk-02")]


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_escaped_ends_of_lines(name: str) -> None:
    """In a text whose lines end as JSON writes it a comment ends with its line, and a key may begin the next one."""
    inside = "# defaults\nzone: hk-02\nimageId: uimage-a # uimage-z\nimage_id: uimage-b\r\n\timage_ids: [uimage-c]\n"
    expected = [(f"uimage-{one}", "hk-02") for one in "abc"]

    assert found(json.dumps({"values": inside}), name) == expected
    assert found(json.dumps({"values": json.dumps({"again": inside})}), name) == expected
    script = "a --zone hk-03\nb --image-id uimage-a \\\n  --zone hk-02\n"
    for text in (script, json.dumps({"again": script})):
        assert found(json.dumps({"run": text}), name) == expected[:1]


POOLS = """\
# pools
pools:
- imageId: uimage-a
  zone: hk-02
- {imageId: uimage-b, zone: hk-03}
- imageId: uimage-c # {zone: hk-04}
"""


@pytest.mark.parametrize("zone", ["", "zone: sg-01\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_zones_inside_a_document(zone: str, end: str) -> None:
    """Of a document inside a document each id has the zone of its own table there, else the one around the document."""
    inside = POOLS.replace("\n", "\n    ")
    chart = f"{zone}spec:\n  values: |\n    {inside}\n"
    found_ones = [("uimage-a", "hk-02"), ("uimage-b", "hk-03"), ("uimage-c", "sg-01" if zone else None)]

    assert found(chart.replace("\n", end), "a.yaml") == found_ones
    assert found(json.dumps({"zone": zone[6:-1] or None, "data": POOLS.replace("\n", end)}), "a.json") == found_ones
    assert found(f"{zone}values: |\n  x: |\n    {inside}\n".replace("\n", end), "a.yaml") == found_ones


@pytest.mark.parametrize(("begin", "indentation"), [("<<EOT", ""), ("<<-EOT", "    ")])
def test_zones_inside_a_here_document(begin: str, indentation: str) -> None:
    """So it is in a here-document, whose effect and address are those of a text in that place."""
    inside = textwrap.indent(POOLS, indentation)
    text = f'resource "helm_release" "x" {{\n  values = [{begin}\n{inside}\n  EOT\n  ]\n}}\n'
    pins = scan(text, "a.tf").pins

    assert [(pin.image_id, pin.zone) for pin in pins] == [
        ("uimage-a", "hk-02"),
        ("uimage-b", "hk-03"),
        ("uimage-c", None),
    ]
    assert {(pin.address, pin.effect) for pin in pins} == {("helm_release.x", "unknown")}


TWO = "imageId: uimage-a\nzone: hk-02\npool:\n  imageId: uimage-b\n  zone: hk-03\n"


@pytest.mark.parametrize(
    ("text", "zones"),
    [
        (TWO, ["hk-02", "hk-03"]),
        ("- imageId: uimage-a\n  zone: hk-02\n- imageId: uimage-b\n  zone: hk-03\n", ["hk-02", "hk-03"]),
        ("- imageId: uimage-a\n- imageId: uimage-b\n  zone: hk-02\n", ["hk-02", "hk-02"]),
        ("a: &i {imageId: uimage-a}\nb: {<<: *i, zone: hk-02}\nc: {<<: *i, zone: hk-03}\n", ["hk-02", "hk-03"]),
        ("a: {imageId: &i uimage-a, zone: hk-02}\nb: {imageId: *i, zone: hk-03}\n", ["hk-02", "hk-03"]),
        ("- {imageId: &i uimage-a}\n- {imageId: &j 'uimage-b', zone: &z hk-02}\n", ["hk-02", "hk-02"]),
        ("[\n{imageId: uimage-a, zone: hk-02}, {imageId: uimage-b, zone: hk-03}]\n", ["hk-02", "hk-03"]),
        # what only begins as a document does: a script behind a template
        ("{{ x }} a --zone hk-02 --image-id uimage-a\nb --zone hk-03 --image-id uimage-b\n", ["hk-02", "hk-03"]),
        ("a\nb --image-id uimage-a\n", ["sg-01"]),
    ],
)
def test_zones_of_a_text(text: str, zones: list[str]) -> None:
    """A text that names several zones is read by its tables; one that names a single zone is for that, or for none."""
    block = textwrap.indent(text, "    ")

    assert [zone for _, zone in found(json.dumps({"zone": "sg-01", "x": text}), "a.json")] == zones
    assert [zone for _, zone in found(f"zone: sg-01\nx:\n  y: |\n{block}", "a.yaml")] == zones


@pytest.mark.parametrize("indentation", ["", " ", "  ", "    "])
def test_indented_document_inside(indentation: str) -> None:
    """However deep a here-document stands, with blanks before its first line, its tables are those of its lines."""
    text = f"x = <<EOT\n{textwrap.indent(TWO, indentation)}EOT\n"
    pins = scan(text, "a.tfvars").pins

    assert [(pin.image_id, pin.zone) for pin in pins] == [("uimage-a", "hk-02"), ("uimage-b", "hk-03")]
    assert all(text.startswith(pin.image_id, pin.at) for pin in pins)


def test_document_in_one_line() -> None:
    """A document of one line is one, if the line has an end."""
    text = "[{imageId: uimage-a, zone: hk-02}, {imageId: uimage-b, zone: hk-03}]\n"

    assert found(json.dumps({"x": text}), "a.json") == [("uimage-a", "hk-02"), ("uimage-b", "hk-03")]


@pytest.mark.parametrize(
    "script",
    [
        "a --zone hk-02 --image-id uimage-a\n  b --zone hk-03\n  b --image-id uimage-b\n",
        "- a --zone hk-02 --image-id uimage-a\n  - 'b --zone hk-03\n",
        "a: [\n  a --zone hk-02 --image-id uimage-a\n  b --zone hk-03\n",
    ],
)
def test_no_document_inside(script: str) -> None:
    """A script inside a document stays one, as does what only begins as a document does."""
    assert found(f"run: |\n  {script}", "a.yaml")[0] == ("uimage-a", "hk-02")
    assert found(f"run: |\n  {script}", "a.yaml")[1:] in ([], [("uimage-b", "hk-03")])


def test_long_words() -> None:
    """A long text without blanks costs no more than its length."""
    text = "image_id=uimage-a " + "imageimage-zone" * 20_000

    assert found(text, "a.sh") == [("uimage-a", None)]


@pytest.mark.parametrize(
    ("body", "may"),
    [
        (b"image_id = 'uimage-a'", True),
        (b"region:bsi-1", True),
        (b"image: nginx\nkind: x-uimage-a", False),
        (b"", False),
        ("uimage-a".encode("utf-16"), True),
        (b"\xfe\xff" + "uimage-a".encode("utf-16-be"), True),
        (b"\0\0\xfe\xff" + "uimage-a".encode("utf-32-be"), True),
        (b"\0x", False),
    ],
)
def test_files_that_need_no_reading(body: bytes, may: bool) -> None:
    """A file without anything like an id is told by its bytes."""
    assert may_hold_ids(body) is may


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.sh", 'ZONE="${ZONE:-hk-02}"\nIMAGE_ID="${IMAGE_ID:-uimage-a}"\n'),
        ("a.sh", 'ZONE=hk-02\n: "${UCLOUD_IMAGE_ID:=uimage-a}"\n'),
        ("a.sh", 'ucloud uhost create --image-id "${IMAGE:-uimage-a}" --zone "${ZONE:-hk-02}"\n'),
        ("compose.yaml", "environment:\n  ZONE: hk-02\n  IMAGE_ID: ${IMAGE_ID:-uimage-a}\n"),
    ],
)
def test_defaults_of_a_shell(name: str, text: str) -> None:
    """An id that a variable falls back to is one that somebody depends on, as is such a zone."""
    assert may_hold_ids(text.encode())
    assert found(text, name) == [("uimage-a", "hk-02")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('ZONE=hk-02\nIMAGE_IDS="uimage-a uimage-b"\n', [("uimage-a", "hk-02"), ("uimage-b", "hk-02")]),
        ("ucloud x --image-ids uimage-a,uimage-b --zone hk-02", [("uimage-a", "hk-02"), ("uimage-b", "hk-02")]),
        ("IMAGE_IDS=(\n  uimage-a # uimage-old\n  'uimage-b' \"$C\"\n)\n", [("uimage-a", None), ("uimage-b", None)]),
        (
            "declare -A image_ids=([hk-02]=uimage-a [\"hk-03\"]='uimage-b')",
            [("uimage-a", "hk-02"), ("uimage-b", "hk-03")],
        ),
        ('curl -d \'{"Zone": "hk-02", "ImageIds": ["uimage-a"]}\'', [("uimage-a", "hk-02")]),
        ("IMAGE_ID=uimage-a uimage-b\nNAMES=(uimage-c)\nIMAGE_IDS=(uimage-d\n", [("uimage-a", None)]),
    ],
)
def test_lists_in_a_shell(text: str, expected: list[tuple[str, str | None]]) -> None:
    """Of a list of ids each counts, for the zone under which an array has it."""
    assert found(text, "a.sh") == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# ucloud-image: hk-02/rocky (was uimage-old)\nname: uimage-a\n", 2),
        ("name: uimage-a # ucloud-image: hk-02/rocky was uimage-old\n", 1),
    ],
)
def test_comments_that_tell_of_ids(text: str, line: int) -> None:
    """An id in a comment is no pin, and does not make the comment one about its own line."""
    (pin,) = scan(text, "a.yaml").pins
    assert (pin.image_id, pin.line, pin.zone, pin.named) == ("uimage-a", line, "hk-02", "rocky")

    assert found("rm /tmp/*; boot uimage-a # ucloud-image: hk-02/rocky\n", "a.sh") == [("uimage-a", "hk-02")]
    block = 'image_id = "uimage-a" /* ucloud-image: hk-02/rocky was uimage-old */\n'
    assert found(block, "a.tf") == [("uimage-a", "hk-02")]


@pytest.mark.parametrize(
    "block",
    [
        'resource "helm_release" "x" {\n  set {\n    name  = "pool.imageId"\n    value = "uimage-a"\n  }\n}\n',
        'resource "kubernetes_pod" "x" {\n  env {\n    name = "IMAGE_ID"\n    value = "uimage-a"\n  }\n}\n',
    ],
)
def test_values_with_a_name_beside(block: str) -> None:
    """What a block sets by a name beside it counts as a member of that name does."""
    assert found(block, "a.tf") == [("uimage-a", None)]


def test_default_of_a_member() -> None:
    """An id that a variable of a module has for a member that nobody gives is one that somebody depends on."""
    text = 'variable "pool" {\n  type = object({ image_id = optional(string, "uimage-a") })\n}\n'
    (pin,) = scan(text, "a.tf").pins

    assert (pin.image_id, pin.address) == ("uimage-a", "var.pool")


def test_builders_of_other_clouds() -> None:
    """Other clouds have ids that look like ours; what their builders start from is no pin, in HCL and in JSON."""
    text = 'source "volcengine-ecs" "x" {\n  source_image_id = "image-a"\n}\n'
    builders = [{"type": "volcengine-ecs", "source_image_id": "image-a"}, {"source_image_id": "uimage-b"}]

    assert found(text, "a.pkr.hcl") == []
    assert found(json.dumps({"builders": builders}), "a.json") == [("uimage-b", None)]


@pytest.mark.parametrize("word", ["source", "sources"])
def test_sources_in_builds(word: str) -> None:
    """What a build sets of a source, which it calls by its whole address, is the source's; but of another cloud."""
    text = 'build {\n source "%s.%s.w" {\n  source_image_id = "uimage-a"\n }\n}\n'
    (pin,) = scan(text % (word, "ucloud-uhost"), "a.pkr.hcl").pins

    assert (pin.address, pin.resource, pin.effect) == ("source.ucloud-uhost.w", "ucloud-uhost", "rebuilds-image")
    assert found(text % (word, "volcengine-ecs"), "a.pkr.hcl") == []


def test_addresses_of_instances() -> None:
    """An address is as Terraform writes it on its screen, whatever signs JSON escapes in it."""
    values = {"availability_zone": "hk-02", "image_id": "uimage-a"}
    pool = {"mode": "managed", "type": "ucloud_uk8s_node_group", "name": "w"}
    address = 'module.m["<a>"].ucloud_uk8s_node_group.w["ü b"]'
    plan = {"planned_values": {"root_module": {"resources": [{**pool, "address": address, "values": values}]}}}
    instances = [{"index_key": "ü b", "attributes": values}]
    state = {"version": 4, "resources": [{**pool, "module": 'module.m["<a>"]', "instances": instances}]}
    for document in (plan, state):
        text = json.dumps(document).replace("<", "\\u003c")
        assert [pin.address for pin in scan(text, "a.json").pins] == [address]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines(end: str) -> None:
    """Whatever ends the lines, an id has its line and its place."""
    text = end.join(["# a comment", 'zone = "hk-02"', 'image_id = "uimage-a"', ""])
    (pin,) = scan(text, "a.tfvars").pins

    assert (pin.zone, pin.line, text[pin.at : pin.at + 8]) == ("hk-02", 3, "uimage-a")


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ('args: ["--zone", "hk-02", "--image-id", "uimage-a"]\n', "hk-02"),
        ("args: [create, --image-id=uimage-a, --zone=hk-02]\n", "hk-02"),
        ('args: ["--zone", "hk-02", "--image-id=uimage-a"]\n', "hk-02"),
        ("args: [--zone=hk-02, --image-id, uimage-a]\n", "hk-02"),
        ("args:\n- --zone\n- hk-02\n- --source-image-id\n- uimage-a\n", "hk-02"),
        ("zone: hk-02\nenv:\n- name: UCLOUD_IMAGE_ID\n  value: uimage-a\n", "hk-02"),
        ("env:\n- {name: IMAGE_ID, value: uimage-a}\n- {name: OTHER, value: uimage-b}\n", None),
    ],
)
def test_what_containers_are_given(text: str, zone: str | None) -> None:
    """An id counts among the words of a command, and as a variable of the environment, of a container."""
    assert found(text, "a.yaml") == [("uimage-a", zone)]


def test_plan_without_planned_values() -> None:
    """Of a plan that holds its changes alone the ids after them count, and none before; odd rows are passed over."""
    change = {"before": {"image_id": "uimage-old"}, "after": {"image_id": "uimage-new", "zone": "hk-02"}}
    resource = {"address": "ucloud_instance.a", "mode": "managed", "type": "ucloud_instance", "change": change}
    plan = {"terraform_version": "1.5", "resource_changes": ["odd", {"change": "odd"}, resource]}

    assert found(json.dumps(plan), "plan.json") == [("uimage-new", "hk-02")]


def test_manifest_with_odd_builds() -> None:
    """A build of a manifest that says nothing, or is of an earlier run, ends nothing: those after it are read."""
    builds = [
        "odd",
        {"artifact_id": None, "builder_type": "ucloud-uhost"},
        {"artifact_id": "cn-bj2:uimage-old", "builder_type": "ucloud-uhost", "packer_run_uuid": "one"},
        {"artifact_id": "org-x:hk:uimage-a,sg:uimage-b", "builder_type": "ucloud-uhost", "packer_run_uuid": "two"},
    ]
    pins = scan(json.dumps({"builds": builds, "last_run_uuid": "two"}), "manifest.json").pins

    assert [(pin.image_id, pin.address, pin.region, pin.project) for pin in pins] == [
        ("uimage-a", "build 4", "hk", "org-x"),
        ("uimage-b", "build 4", "sg", ""),
    ]


@pytest.mark.parametrize("key", ["availability_zones", "AVAILABILITY_ZONES", "availabilityZones"])
def test_lists_of_availability_zones(key: str) -> None:
    """Under the plural of an availability zone stand zones; other plurals of a zone name none."""
    assert found(json.dumps({"image_id": "uimage-a", key: ["hk-02"]})) == [("uimage-a", "hk-02")]
    assert found(json.dumps({"image_id": "uimage-a", "zones": ["hk-02"]})) == [("uimage-a", None)]


def test_single_instance() -> None:
    """The only instance of a resource has no index in its address, and a state of a machine says what it shows."""
    values = {"zone": "hk-02", "image_id": "uimage-a"}
    machine = {"mode": "managed", "type": "ucloud_instance", "name": "a", "instances": [{"attributes": values}]}
    (pin,) = scan(json.dumps({"version": 4, "resources": [machine]}), "a.tfstate").pins

    assert pin.address == "ucloud_instance.a"
    assert pin.note == "the state shows the base image, not that of the system disk"


def test_template_of_several_lines() -> None:
    """A choice within a template may go on in the next line; what follows the text is read as what it is."""
    text = 'image_id = "${var.is_new\n  ? "uimage-a"\n  : "uimage-b"}"\npool_image_id = "uimage-c"\n'

    assert found(text, "a.tf") == [("uimage-a", None), ("uimage-b", None), ("uimage-c", None)]


@pytest.mark.parametrize("sign", ["=", ":", "=>"])
def test_computed_keys(sign: str) -> None:
    """What stands under a key that is computed is a value of the table."""
    assert found(f'image_id = {{ (local.zone) {sign} "uimage-a" }}\n', "a.tf") == [("uimage-a", None)]


def test_output() -> None:
    """An id that an output states has its address."""
    (pin,) = scan('output "image" {\n  value = { image_id = "uimage-a" }\n}\n', "a.tf").pins

    assert pin.address == "output.image"


def test_answer_of_another_action() -> None:
    """An answer of the API is nothing that people edit, whatever it lists."""
    scanned = scan(json.dumps({"RetCode": 0, "ImageSet": [{"ImageId": "uimage-a"}]}), "images.json")

    assert [pin.image_id for pin in scanned.pins] == ["uimage-a"]
    assert not scanned.is_source


@pytest.mark.parametrize("template", ["{% if new %}\n", "{{ when }}\n"])
def test_lines_of_templates(template: str) -> None:
    """YAML around the statements of a template is read, whichever of both signs they have."""
    (pin,) = scan(f"{template}pool:\n  image_id: uimage-a\n  zone: hk-02\n", "a.yaml").pins

    assert (pin.zone, pin.address) == ("hk-02", "pool.image_id")


@pytest.mark.parametrize(
    ("key", "effect"),
    [("source_image_id", "rebuilds-image"), ("--source-image-id", "unknown"), ("image_id", "unknown")],
)
def test_sources_of_builds(key: str, effect: str) -> None:
    """A key of a source is one of a build; an option of a command may be anything's."""
    assert [pin.effect for pin in scan(json.dumps({key: "uimage-a"}), "a.json").pins] == [effect]


@pytest.mark.parametrize(
    ("name", "text", "effect"),
    [
        ("a.tf", 'module "cluster" {\n source_image_id = "uimage-a"\n}', "unknown"),
        ("a.tf", 'resource "null_resource" "x" {\n triggers = { source_image_id = "uimage-a" }\n}', "unknown"),
        ("a.tofu", 'variable "source_image_id" {\n default = "uimage-a"\n}', "unknown"),
        ("a.tf", 'locals {\n source_image_id = "uimage-a"\n}', "unknown"),
        ("a.tfvars", 'source_image_id = "uimage-a"\n', "unknown"),
        ("terragrunt.hcl", 'inputs = {\n source_image_id = "uimage-a"\n}\n', "unknown"),
        ("", 'module "cluster" {\n source_image_id = "uimage-a"\n}', "unknown"),
        ("a.tf.json", '{"module": {"cluster": {"source_image_id": "uimage-a"}}}', "unknown"),
        ("a.tfvars.json", '{"source_image_id": "uimage-a"}', "unknown"),
        ("a.pkr.hcl", 'variable "source_image_id" {\n default = "uimage-a"\n}', "rebuilds-image"),
        ("prod.auto.pkrvars.hcl", 'source_image_id = "uimage-a"\n', "rebuilds-image"),
        ("build.hcl", 'source "ucloud-uhost" "w" {\n source_image_id = "uimage-a"\n}', "rebuilds-image"),
    ],
)
def test_sources_of_what_is_no_build(name: str, text: str, effect: str) -> None:
    """In Terraform a source may go into whatever a module makes of it, as a cluster; only Packer builds from it."""
    assert [pin.effect for pin in scan(text, name).pins] == [effect]


PATCH = "- op: replace\n  path: /spec/template/spec/imageId\n  value: uimage-a\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", PATCH),
        ("a.yaml", PATCH.replace("imageId", "imageIds/0").replace("replace", "add")),
        ("kustomization.yaml", f"patches:\n- patch: |-\n    {PATCH.replace(chr(10), chr(10) + '    ')}"),
        ("a.json", '[{"op": "add", "path": "/spec/imageId", "value": "uimage-a"}]'),
        ("a.json", '{"patch": "[{\\"op\\": \\"add\\", \\"path\\": \\"/imageIds/-\\", \\"value\\": \\"uimage-a\\"}]"}'),
        ("a.sh", """kubectl patch m x --type=json -p '[{"op":"add","path":"/spec/imageId","value":"uimage-a"}]'\n"""),
    ],
)
def test_patches(name: str, text: str) -> None:
    """What a patch sets at the path of an id is one, as in Kustomize's; what it tests, or sets elsewhere, is not."""
    assert [pin.image_id for pin in scan(text, name).pins] == ["uimage-a"]
    for other in (("replace", "test"), ("add", "test"), ("/imageId", "/image"), ("imageId", "name")):
        changed = text.replace(*other)
        assert changed == text or not scan(changed, name).pins


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "zones: {cn-bj2-02: {imageId: uimage-a}}\n"),
        ("a.yaml", "pools_by_zone:\n  cn-bj2-02:\n  - gpu: {imageId: uimage-a}\n"),
        ("a.json", '{"AvailabilityZones": [{"cn-bj2-02": {"ImageId": "uimage-a"}}]}'),
        ("a.tfvars", 'zones = {\n  "cn-bj2-02" = { image_id = "uimage-a" }\n}\n'),
        ("a.tf", 'variable "zones" {\n  default = merge(var.x, { cn-bj2-02 = { image_id = "uimage-a" } })\n}\n'),
    ],
)
def test_tables_by_zone(name: str, text: str) -> None:
    """Under a key of zones a table that is called as one is for that zone, however deep in it the id stands."""
    assert found(text, name) == [("uimage-a", "cn-bj2-02")]


def test_tables_that_are_called_as_zones_are() -> None:
    """Elsewhere such a name may be a pool's; and the zone that stands beside an id goes before the name of a table."""
    assert found("pools: {worker-1: {imageId: uimage-a}}\n", "a.yaml") == [("uimage-a", None)]
    assert found("zones: {main: {imageId: uimage-a}}\n", "a.yaml") == [("uimage-a", None)]
    assert found("zones: {az-1: {zone: hk-02, imageId: uimage-a}}\n", "a.yaml") == [("uimage-a", "hk-02")]
    assert found("zones: {az-1: {zone: '{{ z }}', imageId: uimage-a}}\n", "a.yaml") == [("uimage-a", None)]


@pytest.mark.parametrize(
    ("resource", "body", "effect"),
    [
        ("ucloud_uk8s_cluster", 'image_id = "uimage-a"', "nothing"),
        ("ucloud_uk8s_cluster", 'dynamic "worker" {\n for_each = [{ image_id = "uimage-a" }]\n}', "replaces-cluster"),
        ("ucloud_uk8s_cluster", 'for_each = { a = { image_id = "uimage-a" } }', "unknown"),
        ("ucloud_uk8s_node_group", 'for_each = { a = { image_id = "uimage-a" } }', "later-nodes"),
    ],
)
def test_effect_of_what_a_block_repeats(resource: str, body: str, effect: str) -> None:
    """What a cluster is made for each of may go to its workers as well: nobody knows what a change of it does."""
    (pin,) = scan(f'resource "{resource}" "x" {{\n  {body}\n}}\n', "a.tf").pins

    assert pin.effect == effect


def test_id_of_a_machine_image_behind_a_key_in_capitals() -> None:
    """In a text of any sort a key counts in capitals too, and ids that begin otherwise than with `image`."""
    assert found("script: IMAGE_ID=bsi-a\n", "a.yaml") == [("bsi-a", None)]


def test_output_with_lists_by_zone() -> None:
    """What stands under `value` of an output belongs to the name of the output, by zone where it says so."""
    output = {"image_ids": {"value": {"hk-02": ["uimage-a"]}, "type": ["map", "string"], "sensitive": False}}

    assert found(json.dumps(output)) == [("uimage-a", "hk-02")]


def test_variable_with_a_table_by_zone() -> None:
    """The name of a variable tells that its members are zones."""
    text = 'variable "image_of_zone" {\n  default = { "hk-02" = { imageId = "uimage-a" } }\n}\n'

    assert found(text, "a.tf") == [("uimage-a", "hk-02")]


@pytest.mark.parametrize(
    ("text", "name", "resource", "address", "effect"),
    [
        ('source "ucloud-uhost" "w" {\n source_image_id = "uimage-a"\n}', "a.pkr.hcl", "ucloud-uhost",
         "source.ucloud-uhost.w", "rebuilds-image"),
        ('thing "ucloud_x" "w" {\n image_id = "uimage-a"\n}', "a.hcl", "", "thing.image_id", "unknown"),
        ('resource "ucloud_uk8s_cluster" "c" {\n dynamic "worker" {\n  image_id = "uimage-a"\n }\n}', "a.tf",
         "ucloud_uk8s_cluster", "ucloud_uk8s_cluster.c", "replaces-cluster"),
        ('resource "ucloud_uk8s_cluster" "c" {\n provisioner "worker" {\n  image_id = "uimage-a"\n }\n}', "a.tf",
         "ucloud_uk8s_cluster", "ucloud_uk8s_cluster.c", "nothing"),
        ('{"type": "other", "image_id": "uimage-a"}', "a.json", "", "image_id", "unknown"),
        ('{"builders": [{"type": "{{user `t`}}", "source_image_id": "uimage-a"}]}', "a.json", "",
         "builders[0].source_image_id", "rebuilds-image"),
    ],
)  # fmt: skip
def test_what_an_id_belongs_to(text: str, name: str, resource: str, address: str, effect: str) -> None:
    """The resource around an id, its address and what a change does are those of the block that says so."""
    (pin,) = scan(text, name).pins

    assert (pin.resource, pin.address, pin.effect) == (resource, address, effect)
