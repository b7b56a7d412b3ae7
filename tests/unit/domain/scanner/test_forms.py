"""How a text is read: what its name says it is, else what it looks like; and what is read of HCL."""

from __future__ import annotations

import json

import pytest

from crawler.domain.scanner import Scanned, scan
from crawler.domain.scanner.plain import InText, find_in_text


def pinned(text: str, name: str = "") -> list[tuple[str, str | None, str]]:
    return [(pin.image_id, pin.zone, pin.address) for pin in scan(text, name).pins]


HCL = 'module "m" {\n  zone = "hk-02"\n  image_id = "uimage-a"\n}\n'
YAML = "m:\n  zone: hk-02\n  image_id: uimage-a\n"
JSON = '{"m": {"zone": "hk-02", "image_id": "uimage-a"}}'
SHELL = "ZONE=hk-02\nIMAGE_ID=uimage-a\n"


@pytest.mark.parametrize(
    ("text", "names", "address"),
    [
        (HCL, ["a.tf", "A.TF", "dir/a.tfvars", "a.hcl", "a.tofu", "a.pkr.hcl", "", "notes.txt"], "module.m"),
        (YAML, ["a.yaml", "a.YML", "", "notes.txt"], "m.image_id"),
        (JSON, ["a.json", "A.JSON", "a.tfstate", "a.tfstate.backup", "", "notes.txt", "a.yaml"], "m.image_id"),
        (SHELL, ["a.sh", "a.bash", ".env", ".envrc", "Jenkinsfile", "", "a.SH"], ""),
        ('m = {\n  zone = "hk-02"\n  image_id = "uimage-a"\n}\n', ["a.tf", "", "notes.txt"], "m.image_id"),
        ('module "m" {\n  zone="hk-02"\n  image_id="uimage-a"\n}\n', ["a.tf", "", "notes.txt"], "module.m"),
        # a list of lists is no section
        (
            'module "m" {\n  x = [\n    [a]\n  ]\n  zone = "hk-02"\n  image_id = "uimage-a"\n}\n',
            ["a.tf", "", "notes"],
            "module.m",
        ),
        # what looks like YAML is none in a script, and without a member no line divides documents
        (f"#!/usr/bin/boot\n{YAML}", ["boot", ""], ""),
        ("ZONE=hk-02\n---\nIMAGE_ID=uimage-a\n", ["boot", ""], ""),
    ],
)
def test_what_a_name_says(text: str, names: list[str], address: str) -> None:
    """A text is read as what its name says, in any case, and else as what it looks like."""
    for name in names:
        assert pinned(text, name) == [("uimage-a", "hk-02", address)], name


def test_place_of_an_id() -> None:
    """Lines and columns are counted from one, characters from none, also behind a mark of the order of bytes."""
    text = 'x = "é"\n  image_id = "uimage-a"\n'
    for begin in ("", "\ufeff"):
        (pin,) = scan(begin + text, "a.tf").pins
        assert (pin.line, pin.column, pin.at) == (2, 15, 22 + len(begin))


def test_order() -> None:
    """Pins come in the order of their places, and an id that is for several zones once for each."""
    text = 'pool = {\n  image_id = "uimage-b"\n  availability_zones = ["hk-03", "hk-02"]\n}\nimage_id = "uimage-a"\n'

    assert pinned(text, "a.tfvars") == [
        ("uimage-b", "hk-03", "pool.image_id"),
        ("uimage-b", "hk-02", "pool.image_id"),
        ("uimage-a", None, "image_id"),
    ]


def test_comment_about_an_id() -> None:
    """A comment tells the zone of every id on its line, and makes one of an id under no key; ignored ones are none."""
    text = (
        'image_id = "uimage-a" # ucloud-image: hk-02/a\n'
        "# ucloud-image: hk-03/b\n"
        'x = ["uimage-b", "uimage-c"]\n'
        'image_id = "uimage-d" # crawler: ignore\n'
        'y = "uimage-e"\n'
        "# ucloud-image: hk-04/f\n"
        'z = "uimage-f"'
    )
    pins = scan(text, "a.tfvars").pins

    assert [(pin.image_id, pin.zone, pin.named, pin.line) for pin in pins] == [
        ("uimage-a", "hk-02", "a", 1),
        ("uimage-b", "hk-03", "b", 3),
        ("uimage-c", "hk-03", "b", 3),
        ("uimage-f", "hk-04", "f", 7),
    ]
    assert pinned("x: uimage-a\n# ucloud-image: hk-02/a", "a.yaml") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("uimage-a hk-02\nuimage-b\n", [("uimage-a", "hk-02"), ("uimage-b", None)]),
        ("hk-02, uimage-a # ours\n", [("uimage-a", "hk-02")]),
        ("hk-02 uimage-a more\n", []),
        ("- uimage-a\n= uimage-b\n--x uimage-c\nx= uimage-d\nuimage-e *\n", []),
        ("= uimage-a\nuimage-b =\n: uimage-c\n* uimage-d\nx: uimage-e\n", []),
        ("uimage-a\nIMAGE_ID=uimage-b\n", [("uimage-a", None), ("uimage-b", None)]),
    ],
)
def test_plain_lists(text: str, expected: list[tuple[str, str | None]]) -> None:
    """In a plain list an id stands alone in its line, or with one other word, which may be its zone."""
    assert [(one, zone) for one, zone, _ in pinned(text, "ids")] == expected


def test_sections_in_a_text() -> None:
    """So it is in an ini file inside another file; hosts on lines of one section have zones of their own."""
    lines = (
        "[all:vars]", "zone = hk-04", "[a]", "image_id = uimage-a", "zone = hk-02", "[b]", "image_id = uimage-b",
        "[c]", "h1 image_id=uimage-c zone=hk-03", "h2 zone=hk-02 image_id=uimage-d",
    )  # fmt: skip
    for end in ("\n", "\r\n"):
        text = end.join(["# Ansible", *lines])
        indented = end.join(["data:", "  hosts: |", *(f"    {line}" for line in text.split(end))])
        for name, whole in (("hosts", text), ("a.yaml", indented), ("a.json", json.dumps({"hosts": text}))):
            assert [zone for _, zone, _ in pinned(whole, name)] == ["hk-02", "hk-04", "hk-03", "hk-02"], (name, whole)


@pytest.mark.parametrize(
    ("text", "zones"),
    [
        ("[a]\nimage_id=uimage-a\nzone=hk-02\n[b]\nimage_id=uimage-b\nzone=hk-03\n", ["hk-02", "hk-03"]),
        ("[a]\nimage_id=uimage-a\n[b]\nzone=hk-02\nimage_id=uimage-b\n", ["hk-02", "hk-02"]),
        ("; ours\n\n[a]\nzone=hk-02\n[b]\nimage_id=uimage-a\nzone=hk-03\n[c]\nimage_id=uimage-b\n", ["hk-03", None]),
        # what begins otherwise is none, and one section alone divides nothing
        ("echo\n[a]\nIMAGE_ID=uimage-a\nZONE=hk-02\n[b]\nIMAGE_ID=uimage-b\nZONE=hk-03\n", [None, "hk-02"]),
        ("[a]\nIMAGE_ID=uimage-a\nZONE=hk-02\nIMAGE_ID=uimage-b\nZONE=hk-03\n", [None, "hk-02"]),
    ],
)
def test_sections_inside(text: str, zones: list[str | None]) -> None:
    """Inside a document a text that begins with a section is an ini file, if several sections name several zones."""
    assert [zone for _, zone, _ in pinned(json.dumps({"x": text}), "a.json")] == zones
    indented = "".join(f"    {line}\n" for line in text.splitlines())
    assert [zone for _, zone, _ in pinned(f"x: |\n{indented}", "a.yaml")] == zones


CASE = 'ZONE=${1:-hk-02}\ncase "$ZONE" in\n  hk-02) IMAGE_ID=uimage-a ;;\n  "hk-03")\n    IMAGE_ID=uimage-b ;;\nesac\n'
MANIFESTS = "imageId: uimage-a\nzone: hk-02\n---\nimageId: uimage-b\nzone: hk-03\n"


@pytest.mark.parametrize(
    ("text", "zones"),
    [
        (CASE, ["hk-02", "hk-03"]),
        (CASE.replace("IMAGE_ID=", "create --zone $ZONE --image-id "), ["hk-02", "hk-03"]),
        (CASE.replace("IMAGE_ID=uimage-b", "create --zone hk-04 --image-id uimage-b"), ["hk-02", "hk-04"]),
        (CASE.replace("hk-02)", "(hk-01|hk-02)"), ["hk-01", "hk-02", "hk-03"]),
        (CASE.replace("hk-02)", "prod)").replace('"hk-03")', "*)"), ["hk-02", "hk-02"]),
        (f"{CASE}ZONE=hk-04\nIMAGE_ID=uimage-c\n", ["hk-02", "hk-03", "hk-04"]),
        (f"ZONE=hk-04\nkubectl apply -f - <<EOF\n{MANIFESTS}EOF\nIMAGE_ID=uimage-c\n", ["hk-02", "hk-03", "hk-04"]),
        ("ZONE=hk-04\ncat <<-'END' >x\n\timageId: uimage-a\n\tzone: hk-02\n\tEND\n", ["hk-02"]),
        ("ZONE=hk-04\ncat <<EOF\nimageId: uimage-a\nzone: $ZONE\nEOF\n", ["hk-04"]),
        ("ZONE=hk-04\ncat <<EOF\nimageId: uimage-a\nEOF\n", ["hk-04"]),
        (CASE.replace("hk-02)", "XX-02)"), ["XX-02", "hk-03"]),
        (CASE.replace("uimage-a ;;", "uimage-a ;&"), ["hk-02", "hk-03"]),
        (CASE.replace("uimage-a ;;", "uimage-a ;;&"), ["hk-02", "hk-03"]),
        # a word that is read in, and no document
        ("ZONE=hk-04\ncat <<<EOF\nimageId: uimage-a\nzone: hk-02\nEOF\n", ["hk-04"]),
        ('ZONE=hk-04\ncat <<"EOF"\nimageId: uimage-a\nzone: hk-02\nEOF\n', ["hk-02"]),
        ("ZONE=hk-04\ncat <<\\EOF\nimageId: uimage-a\nzone: hk-02\nEOF\n", ["hk-02"]),
        (
            f"cat <<A\n{MANIFESTS}A\nIMAGE_ID=uimage-c\nZONE=hk-04\ncat <<B\n{MANIFESTS}B\n",
            ["hk-02", "hk-03", "hk-04", "hk-02", "hk-03"],
        ),
    ],
)
def test_zones_of_parts_of_scripts(text: str, zones: list[str]) -> None:
    """What a script does in a case of a zone is for that, and a here-document that names zones is read by itself."""
    pins = scan(text, "a.sh").pins
    assert [pin.zone for pin in pins] == zones
    assert all(text.startswith(pin.image_id, pin.at) for pin in pins)
    indented = "".join(f"    {line}\n" for line in text.replace("\t", "").splitlines())
    assert [zone for _, zone, _ in pinned(f"script: |\n{indented}", "a.yaml")] == zones
    assert [zone for _, zone, _ in pinned(json.dumps({"script": text}), "a.json")] == zones


@pytest.mark.parametrize(
    ("text", "zones"),
    [
        ("[a]\nimage_id = uimage-a\nzone = hk-02\n[b]\nimage_id = uimage-b\nzone = hk-03\n", ["hk-02", "hk-03"]),
        (
            "[a]\nzone = 'hk-02'\nimage_id = 'uimage-a'\n[[b]]\nzone = 'hk-03'\nimage_id = 'uimage-b'\n",
            ["hk-02", "hk-03"],
        ),
        ("[a:vars]\r\nimage_id=uimage-a\r\n[b:vars]\r\nzone=hk-03\r\nimage_id=uimage-b\r\n", ["hk-03", "hk-03"]),
        ("[a]\nimage_id=uimage-a\n[b] ; ours\nzone=hk-03\nimage_id=uimage-b\n[c]\nzone=hk-04\n", [None, "hk-03"]),
        ("zone=hk-04\n[a]\nimage_id=uimage-a\n[b]\nzone=hk-03\nimage_id=uimage-b\n", ["hk-04", "hk-03"]),
        ("[b]\nzone=hk-03\nimage_id=uimage-b\n[c]\nimage_id=uimage-c\n[ALL:vars]\nzone=hk-04\n", ["hk-03", "hk-04"]),
        ("[DEFAULT]\nzone=hk-04\n[a]\nzone={{ x }}\nimage_id=uimage-a\n[b]\nzone=hk-03\n;image_id=uimage-b\n", [None]),
        ("[a]\nh1 zone=hk-02 image_id=uimage-a\nh2 image_id=uimage-b zone=hk-03\n", ["hk-02", "hk-03"]),
        # one that is not told is no other zone
        ("[a]\nimage_id=uimage-a\n[b]\nZ=asia\nzone=$Z\n[c]\nzone=hk-02\n", ["hk-02"]),
        # one for all is one
        ("[all:vars]\nzone=hk-04\n[defaults]\nzone=hk-03\n[a]\nimage_id=uimage-a\n", [None]),
        ("; image_id=uimage-z\n[a]\n ;zone=hk-04\nimage_id=uimage-a\nzone=hk-02\n[b]\nzone=hk-03\n", ["hk-02"]),
    ],
)
def test_sections(text: str, zones: list[str | None]) -> None:
    """A section of an ini file has its own zone, else that which the file says for all; `;` begins a comment."""
    scanned = scan(text, "hosts.ini")

    assert [pin.zone for pin in scanned.pins] == zones
    assert all(text.startswith(pin.image_id, pin.at) for pin in scanned.pins)
    assert scanned.is_source


def test_quotes_in_sections() -> None:
    """What a section sets as TOML does has its key for an address; what it sets as a shell does has none."""
    assert pinned('[a]\nzone = "hk-02"\nimage_id = "uimage-a"\n', "a.toml") == [("uimage-a", "hk-02", "image_id")]
    assert pinned('[a]\nzone="hk-02"\nimage_id="uimage-a"\n', "a.ini") == [("uimage-a", "hk-02", "")]


def test_lists_with_sections() -> None:
    """Beside ids in lines of their own a text is read by its sections if it has any, else as any other."""
    sections = "[nodes]\nuimage-a hk-02\n[b]\nimage_id=uimage-b\nzone=hk-03\n[c]\nimage_id=uimage-c\nzone=hk-04\n"

    assert [zone for _, zone, _ in pinned(sections, "ids")] == ["hk-02", "hk-03", "hk-04"]
    assert pinned('uimage-a\nimage_id = "uimage-b"\n', "ids") == [("uimage-a", None, ""), ("uimage-b", None, "")]


@pytest.mark.parametrize("name", ["boot", "", "boot.sh"])
def test_sections_in_a_script(name: str) -> None:
    """A script is none of sections though it writes a file of them; each of these has its own zone all the same."""
    hosts = "[a]\nimage_id=uimage-a\nzone=hk-02\n[b]\nimage_id=uimage-b\nzone=hk-03\n"
    text = f"#!/bin/sh\nZONE=hk-04\ncat >hosts <<EOF\n{hosts}EOF\nIMAGE_ID=uimage-c\n"

    assert [zone for _, zone, _ in pinned(text, name)] == ["hk-02", "hk-03", "hk-04"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("create --zone hk-02 --image-id uimage-a\ncreate --image-id uimage-b", ["hk-02", "hk-02"]),
        ("a --zone hk-02 --image-id uimage-a\nb --zone hk-03 --image-id uimage-b", ["hk-02", "hk-03"]),
        ("IMAGE_ID=uimage-a\nZONE=hk-02\n", ["hk-02"]),
        ("IMAGE_ID=uimage-a\nZONE=hk-02\nZONE=hk-03\n", [None]),
        ("a --image-id uimage-a \\\n  --zone hk-02\n", ["hk-02"]),
        ("ZONE=hk-02\nPOOL_ZONE=hk-03 POOL_IMAGE_ID=uimage-a", ["hk-03"]),
        ("ZONE=hk-02 POOL_IMAGE_ID=uimage-a", ["hk-02"]),
        ("# --image-id uimage-a\nx #--zone hk-03\nIMAGE_ID=uimage-b", [None]),
        # one that says nothing ends nothing: what follows on its line is read
        ("x_image_idle=uimage-x pre.image_id=uimage-a --image_id_x IMAGE_ID=uimage-b\nIMAGE_ID=uimage-c", [None] * 3),
        ("PREIMAGE_ID=uimage-x IMAGE_ID=uimage-a\nPREIMAGE_IDS=(uimage-y) IMAGE_IDS=(uimage-b)", [None] * 2),
        ("TIMEZONE=hk-04\nIMAGE_ID=uimage-a", [None]),
        ("TIMEZONE=hk-04 ZONE=asia ZONE=hk-02 IMAGE_ID=uimage-a", ["hk-02"]),
        # of a line that names several zones each command has its own
        ("a --zone hk-02 --image-id uimage-a && b --image-id uimage-b --zone hk-03; ID", ["hk-02", "hk-03"]),
        ("ZONE=hk-02; ZONE=hk-03 || IMAGE_ID=uimage-a", ["hk-03"]),
        ("a --zone hk-02 --image-id uimage-a --zone hk-03", [None]),
        ("A_ZONE=hk-02 B_ZONE=hk-03\nIMAGE_ID=uimage-a", ["hk-02"]),
        ("A_ZONE=hk-02 ZONE=hk-03\nIMAGE_ID=uimage-a", ["hk-03"]),
        ("ZONE=hk-03 POOL_ZONE=hk-02 POOL_IMAGE_ID=uimage-a IMAGE_ID=uimage-b", ["hk-02", "hk-03"]),
        ("ZONE=hk-02; ZONE=hk-03; IMAGE_ID=uimage-a\nb --zone hk-04 --image-id uimage-b", ["hk-03", "hk-04"]),
    ],
)
def test_zones_of_commands(text: str, expected: list[str | None]) -> None:
    """An id is for the zone of its own command, else for the last one named before, else for the only one."""
    assert [zone for _, zone, _ in pinned(text, "a.sh")] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'ZONE=hk-02\nZ=hk-03\na --zone "$ZONE" --image-id uimage-a\nb --zone=${Z} --image-id uimage-b',
            ["hk-02", "hk-03"],
        ),
        ('a --zone hk-02\nb --zone "$x" --image-id uimage-a', [None]),
        ('a --zone hk-02\nb --zone "$(zone_of pool)" --image-id uimage-a', [None]),
        ("a --zone hk-02\nb --zone {{ zone }} --image-id uimage-a", [None]),
        ("ZONE=hk-02\nboot() {\n  local zone=$1\n  a --zone $zone --image-id uimage-a\n}", [None]),
        ("ZONE=hk-02\nfor ZONE in hk-03 hk-04; do\n  a --zone $ZONE --image-id uimage-a\ndone", [None]),
        ("Z=hk-02\nfor Z in hk-03 hk-04; do\n  a --zone $Z --image-id uimage-a\ndone", [None]),
        ("Z=hk-03\na --zone $Z --image-id uimage-a\nZ=hk-02\nb --zone $Z --image-id uimage-b", ["hk-03", "hk-02"]),
        ("ZONE=hk-02\nZONE=asia\na --zone $ZONE --image-id uimage-a", [None]),
        ('D=hk-02\nZONE="${1:-$D}"\nZONE_2=hk-03\na --zone $ZONE --image-id uimage-a', ["hk-02"]),
        (': "${ZONE:=hk-02}"\nX_ZONE=hk-03\na --zone $ZONE --image-id uimage-a', ["hk-02"]),
        ("ZONE = 'hk-02'\nX_ZONE = 'hk-03'\nsh 'a --zone ${env.ZONE} --image-id uimage-a'", ["hk-02"]),
        ("boot() {\n  a --zone $ZONE --image-id uimage-a\n}\nX_ZONE=hk-03\nZONE=hk-02\nboot", ["hk-02"]),
        ("boot() {\n  a --zone $ZONE --image-id uimage-a\n}\nZONE=hk-03\nboot\nZONE=hk-02\nboot", [None]),
        (
            "ZONE=hk-03\na --zone $ZONE --image-id uimage-a\nZONE=hk-02\nb --zone $ZONE --image-id uimage-b",
            ["hk-03", "hk-02"],
        ),
    ],
)
def test_zones_by_variables(text: str, expected: list[str | None]) -> None:
    """A zone by a variable is what that was set to before, else the one that it is set to at all, else not told."""
    assert [zone for _, zone, _ in pinned(text, "a.sh")] == expected


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ('[ "$IMAGE_ID" = uimage-z ] && IMAGE_ID=uimage-a', ["uimage-a"]),
        ('[ "$IMAGE_ID" = "uimage-z" ] || [ "$IMAGE_ID" == uimage-y ]', []),
        ("[ $IMAGE_ID = uimage-z ] && test $IMAGE_ID = uimage-y", []),
        (r'sh -c "[ \"$IMAGE_ID\" = uimage-z ] || IMAGE_ID=uimage-a"', ["uimage-a"]),
        ("$ImageId = 'uimage-a'", ["uimage-a"]),
        ('{"$imageId": "uimage-a"}', ["uimage-a"]),
    ],
)
def test_tests_of_a_shell(text: str, ids: list[str]) -> None:
    """An id that a script only compares with is none that it uses."""
    assert [one for one, *_ in pinned(text, "a.sh")] == ids


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Z=hk-03\nif [ "$Z" = x ] && [ "$ZONE" = hk-02 ]; then\n ID\nelse\n ID\nfi\nID', ["hk-02", None, None]),
        ('if [ "$ZONE" = hk-02 ]; then ID; elif [ "$ZONE" = hk-03 ]; then\n ID\nelse ID; fi', ["hk-02", "hk-03", None]),
        ('ID\n[ "$ZONE" = hk-02 ] && ID || ID\nID', [None, "hk-02", None, None]),
        ('ZONE=hk-03\ntest "$ZONE" = hk-02 && ID\nID', ["hk-02", "hk-03"]),
        ('if [ $ZONE = hk-02 ]; then\n [ "$ZONE" = hk-03 ] && ID\n ID\nfi\nID', ["hk-03", "hk-02", None]),
        ('ZONE=hk-03\nif [ "$ZONE" = hk-02 ]; then exit; fi\na --zone "$ZONE" ID', ["hk-03"]),
        ('ZONE=hk-03\nif [ "$ZONE" = hk-02 ]; then\n exit\nfi\na --zone "$ZONE" ID', ["hk-03"]),
        ("$Zone = 'hk-02'\n$Other = 'hk-03'\na --zone $Zone ID", ["hk-02"]),
        # what a line sets counts after it, whatever is tested before or later
        ('[ "$ZONE" = hk-04 ] && ID\nZONE=hk-02\nID\nZONE=hk-03\nID', ["hk-04", "hk-02", "hk-03"]),
        ('ZONE=hk-02\nID\nZONE=hk-03\nID\n[ "$ZONE" = hk-04 ] && ID', ["hk-02", "hk-03", "hk-04"]),
        ('x\nif [ "$ZONE" = hk-02 ]; then ID; fi\n[ "$ZONE" = hk-03 ] && ID\nID', ["hk-02", "hk-03", None]),
    ],
)
def test_zones_that_a_shell_tests(text: str, expected: list[str | None]) -> None:
    """A zone that a script compares with is that of what it does where they are the same, and sets no variable."""
    assert [zone for _, zone, _ in pinned(text.replace("ID", "--image-id uimage-a"), "a.sh")] == expected


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ('a --name "node #1" --image-id uimage-a # --image-id uimage-z', ["uimage-a"]),
        ("a --name='node #1' --image-id uimage-a", ["uimage-a"]),
        ('a "{\\"name\\": \\"n #1\\", \\"ImageId\\": \\"uimage-a\\"}"', ["uimage-a"]),
        ("echo it's # IMAGE_ID=uimage-z, isn't", []),
        ('echo "a\nb" # IMAGE_ID=uimage-z "c"', []),
        ("# it's\nIMAGE_ID=uimage-a # 'IMAGE_ID=uimage-z'", ["uimage-a"]),
    ],
)
def test_comments_and_quotes(text: str, ids: list[str]) -> None:
    """A sign of a comment inside quotes begins none: what follows it on the line counts."""
    assert [one for one, *_ in pinned(text, "a.sh")] == ids


@pytest.mark.parametrize(("begin", "is_json"), [
    (" ", True), ("\t", True), ("\r\n", True), ("\n\n", True), (" \t\r\n", True),
    ("X", False), ("\f", False), ("\u00a0", False),
])  # fmt: skip
def test_what_stands_before_json(begin: str, is_json: bool) -> None:
    """Of a text without a telling name blanks before the first brace or bracket do not matter, all else does."""
    state = '{"version": 4, "resources": [{"type": "ucloud_instance", "image_id": "uimage-a"}]}'
    for text in (begin + state, f"{begin}[{state.replace('version', 'NodeGroupId')}]"):
        assert scan(text, "notes", is_strict=True).is_source is not is_json


@pytest.mark.parametrize(
    "text",
    [
        "[all:vars]\nzone=hk-02\nimage_id=uimage-a\n",
        "[pool]\nzone = 'hk-02'\nimage_id = 'uimage-a'\n",
        "[ -f x ] && create --zone hk-02 --image-id uimage-a\n",
        "[[ $x ]] || IMAGE_ID=uimage-a ZONE=hk-02\n",
        "ZONE := hk-02\nIMAGE_ID ?= uimage-a\n",
        "ZONE ?= hk-02\nIMAGE_ID ::= uimage-a\n",
    ],
)
def test_other_files(text: str) -> None:
    """A bracket does not make a file JSON, and the signs of make and of other languages set what they set."""
    for name in ("hosts", "Makefile", "pool.ini"):
        assert [(one, zone) for one, zone, _ in pinned(text, name)] == [("uimage-a", "hk-02")]
        assert len(scan(text, name, is_strict=True).pins) == 1


@pytest.mark.parametrize(
    "text",
    [
        '[ [{"image_id": "uimage-a"}]]',
        "[\n// a\n'uimage-a']",
        '[]{"image_id": "uimage-a"}',
        "[-1, true, {image_id: 'uimage-a'}]",
    ],
)
def test_lists_of_json(text: str) -> None:
    """What begins as a list of JSON does is one."""
    assert [one for one, *_ in pinned(text, "notes")] == ["uimage-a"]


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        ('var.new ? "uimage-a" : "uimage-b"', ["uimage-a", "uimage-b"]),
        ('var.new ?\n  "uimage-a" :\n  "uimage-b"', ["uimage-a", "uimage-b"]),
        ('var.x == "uimage-x" ? "uimage-a" : var.x', ["uimage-a"]),
        ('"${"uimage-x" != var.x ? var.x : "uimage-a"}"', ["uimage-a"]),
        ('coalesce(var.x, "uimage-a")', ["uimage-a"]),
        ('lookup(\n  { a = "uimage-a" },\n  "b",\n  "uimage-b"\n)', ["uimage-a", "uimage-b"]),
        ('["uimage-a", /* "uimage-x" */ "uimage-b"]', ["uimage-a", "uimage-b"]),
        ('"${"uimage-a"}"', ["uimage-a"]),
        ('"%{ if x }uimage-b%{ endif }"', []),
        ('"$${uimage-a}"', []),
        ("<<-EOT\nuimage-a\n  EOT", []),
        ('"uimage-a" # "uimage-b"', ["uimage-a"]),
        ("null", []),
        ("var.uimage-a", []),
    ],
)
def test_expressions(value: str, ids: list[str]) -> None:
    """Of an expression every id that is written out counts, and what stands after it is read as what it is."""
    text = f'image_id = {value}\nother = {{\n  image_id = "uimage-z"\n}}\n'

    assert [one for one, *_ in pinned(text, "a.tf")] == [*ids, "uimage-z"]


@pytest.mark.parametrize(
    ("block", "address"),
    [
        ('resource "ucloud_instance" "x"', "ucloud_instance.x"),
        ('resource "null_resource" "x"', "null_resource.x"),
        ("resource ucloud_instance x", "ucloud_instance.x"),
        ('source "ucloud-uhost" "x"', "source.ucloud-uhost.x"),
        ('module "x"', "module.x"),
        ("build", "build"),
        ('provider "x"', "provider.x"),
        ("locals", "local.image_id"),
        ("else", "else.image_id"),
        ('resource "aws_instance" "x"', None),
        ('data "ucloud_images" "x"', None),
        ('source "amazon-ebs" "x"', None),
    ],
)
def test_blocks(block: str, address: str | None) -> None:
    """An id in a block has the address of the block; data, and what is another cloud's, hold none."""
    text = f'{block} {{\n  image_id = "uimage-a"\n}}\n}}\nz = {{ image_id = "uimage-z" }}\n'
    own = [("uimage-a", None, address)] if address else []

    assert pinned(text, "a.tf") == [*own, ("uimage-z", None, "z.image_id")]


def test_mistake_in_json() -> None:
    """The sentence about a mistake tells its line and column."""
    with pytest.raises(ValueError, match=r"\Ais no JSON: what stands at line 2 column 3 is not understood\Z"):
        scan('{"image_id": "uimage-a"\n  "x"}', "a.tfstate", is_strict=True)
    with pytest.raises(ValueError, match=r"\Ais no JSON: what stands at a number is not understood\Z"):
        scan(f'{{"image_id": "uimage-a", "x": {"1" * 5_000}}}', "a.tfstate", is_strict=True)


@pytest.mark.parametrize("begin", ["{", "[", " {", "\t{", "\r\n{", "\n[", "\ufeff{"])
def test_mistake_in_json_without_ids(begin: str) -> None:
    """What may be half of a state is refused, blanks or a mark of the order of bytes before it or not."""
    for name in ("a.tfstate", ""):
        with pytest.raises(ValueError, match="is no JSON"):
            scan(f'{begin}"x"', name, is_strict=True)
        assert scan(f'{begin}"x"', name) == Scanned()
    assert scan(f'{begin}"x"', "notes", is_strict=True) == Scanned()


@pytest.mark.parametrize("begin", ["X{", "\f{", "\u00a0[", "x"])
def test_other_texts_without_ids(begin: str) -> None:
    """What does not begin as JSON does is no half of a state."""
    assert scan(f"{begin}  {{", "a.tfstate", is_strict=True) == Scanned()


def test_what_comes_from_a_tool() -> None:
    """Of a state by its name nothing is edited, whatever it holds."""
    assert [scan(JSON, name).is_source for name in ("a.json", "a.tfstate", "A.TFSTATE.backup")] == [True, False, False]


def test_zone_of_a_variable() -> None:
    """Inside the default of a variable a zone counts that stands beside it."""
    text = 'variable "pools" {\n  zone = "hk-02"\n  default = [{ image_id = "uimage-a" }]\n}\n'

    assert pinned(text, "a.tf") == [("uimage-a", "hk-02", "var.pools")]
    text = 'variable "image_id" {\n  zone = "hk-02"\n  default = "uimage-a"\n}\n'
    assert pinned(text, "a.tf") == [("uimage-a", None, "var.image_id")]


def test_zones_of_lists_in_a_shell() -> None:
    """An id in a list is for the zone of its own words, else for that of the list's command."""
    text = (
        "POOL_ZONE=hk-02 POOL_IMAGE_IDS=(uimage-a uimage-b)\nZONE=hk-03\nIMAGE_IDS=(uimage-c)\nX_IMAGE_IDS=(\nuimage-d)"
    )

    assert [zone for _, zone, _ in pinned(text, "a.sh")] == ["hk-02", "hk-02", "hk-03", "hk-03"]
    text = "ZONE=hk-03 POOL_ZONE=hk-02 POOL_IMAGE_IDS=(uimage-a) IMAGE_IDS=([web]=uimage-b [hk-04]=uimage-c)"
    assert [zone for _, zone, _ in pinned(text, "a.sh")] == ["hk-02", "hk-03", "hk-04"]


def test_ends_of_lists_in_a_shell() -> None:
    """A list without brackets ends with its command, one with brackets goes on for at most 20,000 characters."""
    assert [one for one, *_ in pinned("a --image-ids uimage-a,uimage-b\nuimage-c\n", "a.sh")] == [
        "uimage-a",
        "uimage-b",
    ]
    assert [one for one, *_ in pinned(f"IMAGE_IDS=(uimage-a{' ' * 19_991})", "a.sh")] == ["uimage-a"]
    assert pinned(f"IMAGE_IDS=(uimage-a{' ' * 19_992})", "a.sh") == []


def test_zones_of_patches() -> None:
    """What a script patches is for the only zone that it names, and for none where it names several."""
    patch = 'kubectl patch x -p \'[{"op": "replace", "path": "/spec/imageId", "value": "uimage-a"}]\'\n'

    assert [zone for _, zone, _ in pinned(f"ZONE=hk-02\n{patch}", "a.sh")] == ["hk-02"]
    assert [zone for _, zone, _ in pinned(f"ZONE=hk-02\nZONE=hk-03\n{patch}", "a.sh")] == [None]


def test_ids_in_a_text() -> None:
    """An id has the character at which it begins, and no zone where its command names two."""
    text = "a --zone hk-02 --image-id uimage-a --zone hk-03\nb --image-id uimage-b"

    assert list(find_in_text(text)) == [
        InText("uimage-a", text.index("uimage-a"), None),
        InText("uimage-b", text.index("uimage-b"), None),
    ]
