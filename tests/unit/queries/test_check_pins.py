"""Ids in use, from text, Terraform states and Packer manifests; rules from TOML with every problem at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crawler.cli.check_rules import read_rules
from crawler.domain.filters import Filters
from crawler.domain.scanner import scan
from crawler.errors import ConfigurationError
from crawler.queries.check.pins import pin_rules
from crawler.queries.check.rules import PinRule, Require


def read_pins(text: str, source: str) -> list[PinRule]:
    return list(pin_rules(scan(text, "" if source == "stdin" else source, is_strict=True), source))


def places(text: str, source: str) -> list[tuple[str | None, str, str]]:
    return [(pin.zone, pin.image_id, pin.source) for pin in read_pins(text, source)]


def pairs(text: str | dict[str, Any] | list[Any]) -> list[tuple[str | None, str]]:
    document = text if isinstance(text, str) else json.dumps(text)
    return [(pin.zone, pin.image_id) for pin in read_pins(document, "stdin")]


def test_lines() -> None:
    """One id a line, or a zone and an id; comments, empty lines, commas and the order do not matter."""
    text = "\ufeffuimage-a\n\n# ours\nhk-02 uimage-b  # web\nhk-02,uimage-c\r\n\tuimage-d\thk-03\nodd-id\n"

    assert pairs(text) == [(None, "uimage-a"), ("hk-02", "uimage-b"), ("hk-02", "uimage-c"), ("hk-03", "uimage-d")]
    assert [pin.source for pin in read_pins("uimage-a\nuimage-a\n", "ids.txt")] == [
        "ids.txt, line 1",
        "ids.txt, line 2",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "DB_PASSWORD=s3cret",
        "s3cret",
        "password s3cret",
        "hk-02 key=s3cret-x",
        '["s3cret"]',
        "https://s3cret-a/b-c",
        "s3cret-",
        "uimage-a b s3cret",
    ],
)
def test_what_is_no_id_is_passed_over(text: str) -> None:
    """A word that looks like no id may be anything, a password as well: it is no row, and nothing quotes it."""
    assert "s3cret" not in repr(read_pins(f"{text}\n", "ids.txt"))
    assert pairs(f"{text}\nhk-02 uimage-c" if not text.startswith("[") else '["s3cret", "uimage-c"]') == [
        (None if text.startswith("[") else "hk-02", "uimage-c")
    ]


@pytest.mark.parametrize(
    "text", ["", "\n# nothing\n", "{}", "[]", '{"builds": []}', '{"resources": [{"mode": "data"}]}']
)
def test_nothing_to_check(text: str) -> None:
    """A source without any id holds none, and that is no mistake."""
    assert read_pins(text, "stdin") == []


def test_broken_json() -> None:
    """What looks like JSON and is none is said with the place."""
    with pytest.raises(ValueError, match=r"is no JSON: .*line 1 column"):
        read_pins('{"resources": [', "terraform.tfstate")


STATE: dict[str, Any] = {
    "version": 4,
    "terraform_version": "1.9.0",
    "resources": [
        {
            "mode": "managed",
            "type": "ucloud_instance",
            "name": "web",
            "instances": [
                {"index_key": 0, "attributes": {"availability_zone": "hk-02", "image_id": "uimage-a", "tags": None}},
                {"index_key": 1, "attributes": {"availability_zone": "hk-02", "image_id": "uimage-a"}},
                {"index_key": 2, "attributes": {"zone": "hk-01", "image_id": "uimage-b"}},
            ],
        },
        {
            "module": "module.k8s",
            "mode": "managed",
            "type": "ucloud_uk8s_node",
            "name": "pool",
            "instances": [{"attributes": {"availability_zone": "cn-bj2-02", "nodes": [{"image_id": "uimage-c"}]}}],
        },
        {
            "mode": "data",
            "type": "ucloud_images",
            "name": "all",
            "instances": [{"attributes": {"images": [{"image_id": "uimage-x"}]}}],
        },
        {"mode": "managed", "type": "ucloud_disk", "name": "d", "instances": [{"attributes": {"image_id": ""}}]},
    ],
}


def test_terraform_state() -> None:
    """A Terraform state gives the ids of its resources with their zones, each instance by its address."""
    assert places(json.dumps(STATE), "terraform.tfstate") == [
        ("hk-02", "uimage-a", "terraform.tfstate, ucloud_instance.web[0]"),
        ("hk-02", "uimage-a", "terraform.tfstate, ucloud_instance.web[1]"),
        ("hk-01", "uimage-b", "terraform.tfstate, ucloud_instance.web[2]"),
        ("cn-bj2-02", "uimage-c", "terraform.tfstate, module.k8s.ucloud_uk8s_node.pool"),
    ]


def test_old_terraform_state() -> None:
    """A state of Terraform before 0.12 is read the same way; what it only looks up is not in use either."""
    web = {"type": "ucloud_instance", "primary": {"attributes": {"availability_zone": "hk-02", "image_id": "uimage-a"}}}
    found = {"type": "ucloud_images", "primary": {"attributes": {"image_id": "uimage-x"}}}
    module = {"path": ["root"], "resources": {"ucloud_instance.web.0": web, "data.ucloud_images.all": found}}

    assert places(json.dumps({"version": 3, "modules": [module]}), "old.tfstate") == [
        ("hk-02", "uimage-a", "old.tfstate, ucloud_instance.web.0")
    ]


def test_terraform_show() -> None:
    """`terraform show -json`, and what else nests resources, is read as well."""
    inner = {"address": "m.x.y", "mode": "managed", "values": {"zone": "hk-02", "image_id": "uimage-a"}}

    assert pairs({"values": {"root_module": {"child_modules": [{"resources": [inner]}]}}}) == [("hk-02", "uimage-a")]
    assert pairs([{"zone": "hk-02", "image_id": "uimage-a"}, {"image_id": "uimage-b"}]) == [
        ("hk-02", "uimage-a"),
        (None, "uimage-b"),
    ]
    assert pairs(["uimage-a"]) == [(None, "uimage-a")]


def test_packer_manifest() -> None:
    """A Packer manifest gives the ids of its builds with their regions."""
    builds = [
        {"name": "base", "builder_type": "ucloud-uhost", "artifact_id": "cn-bj2:uimage-a,hk:uimage-b"},
        {"artifact_id": "org-x:cn-sh2:uimage-c"},
        {"artifact_id": None},
    ]
    pins = read_pins(json.dumps({"builds": builds, "last_run_uuid": "u"}), "manifest.json")

    assert [(pin.image_id, pin.scope, pin.source) for pin in pins] == [
        ("uimage-a", Filters(region=("cn-bj2",)), "manifest.json, base"),
        ("uimage-b", Filters(region=("hk",)), "manifest.json, base"),
        ("uimage-c", Filters(region=("cn-sh2",), project=("org-x",)), "manifest.json, build 2"),
    ]


def test_managed_resources_alone() -> None:
    """Of a state count the resources that are managed in this cloud: no outputs, nor their types, nor other clouds'."""
    state = {
        **STATE,
        "outputs": {
            "node": {"value": {"image_id": "uimage-o"}, "type": ["object", {"image_id": "string"}]},
        },
        "resources": [
            *STATE["resources"],
            {
                "mode": "managed",
                "type": "aws_instance",
                "name": "a",
                "instances": [{"attributes": {"zone": "z", "image_id": "ami-1"}}],
            },
            {
                "mode": "managed",
                "type": "ucloud_instance",
                "name": "old",
                "instances": [{"deposed": "8f3a", "attributes": {"image_id": "uimage-d"}}],
            },
        ],
        "check_results": None,
    }
    state["resources"].append({**state["resources"][-2], "type": "ucloudstack_instance", "name": "another cloud"})
    assert pairs(state) == pairs(STATE)

    ami = {"type": "aws_ami_copy", "primary": {"attributes": {"image_id": "ami-1"}}}
    web = {"type": "ucloud_instance", "deposed": [{"attributes": {"image_id": "uimage-d"}}], "primary": {}}
    web["primary"] = {"attributes": {"image_id": "uimage-a"}}
    module = {"outputs": {"image_id": "uimage-o"}, "resources": {"aws_ami_copy.x": ami, "ucloud_instance.web": web}}
    assert pairs({"version": 3, "modules": [module]}) == [(None, "uimage-a")]


def test_managed_resources_of_show_and_plan() -> None:
    """`terraform show -json` of a state leaves the same out; of a plan it counts what will be there after it."""
    web = {"mode": "managed", "type": "ucloud_instance", "name": "w", "values": {"image_id": "uimage-new"}}
    ami = {"mode": "managed", "type": "aws_instance", "name": "a", "values": {"image_id": "ami-1"}}
    values = {"outputs": {"o": {"value": {"image_id": "uimage-o"}}}, "root_module": {"resources": [web, ami]}}
    change = {"type": "ucloud_instance", "change": {"before": {"image_id": "uimage-old"}}}

    assert pairs({"values": values}) == [(None, "uimage-new")]
    plan = {"planned_values": values, "prior_state": {"values": {}}, "resource_changes": [change]}
    assert pairs(plan) == [(None, "uimage-new")]
    assert pairs({"format_version": "1.2", "resource_changes": [change]}) == []
    after = {"type": "ucloud_instance", "change": {"before": None, "after": {"image_id": "uimage-next"}}}
    assert pairs({"format_version": "1.2", "resource_changes": [change, after]}) == [(None, "uimage-next")]


def test_terraform_output() -> None:
    """Of `terraform output -json` the values count, not the types."""
    output = {"sensitive": False, "type": ["object", {"image_id": "string"}], "value": {"image_id": "uimage-a"}}

    assert pairs({"node": output}) == [(None, "uimage-a")]


def test_packer_manifest_with_a_past() -> None:
    """Builds before the last run, and what other builders made, are not in use; what was imported is."""
    builds = [
        {"builder_type": "ucloud-uhost", "artifact_id": "hk:uimage-old", "packer_run_uuid": "1"},
        {"builder_type": "ucloud-uhost", "artifact_id": "hk:uimage-new", "packer_run_uuid": "2"},
        {"builder_type": "amazon-ebs", "artifact_id": "us-east-1:ami-1", "packer_run_uuid": "2"},
        {"builder_type": "googlecompute", "artifact_id": "image-1", "packer_run_uuid": "2"},
        {"builder_type": "qemu", "artifact_id": "cn-bj2:uimage-imported", "packer_run_uuid": "2"},
    ]

    assert pairs({"builds": builds, "last_run_uuid": "2"}) == [(None, "uimage-new"), (None, "uimage-imported")]
    assert len(pairs({"builds": builds})) == 3


KNOWN = {
    "zone": {"hk-02", "hk-01"},
    "kind": {"uk8s-image"},
    "account": {"prod"},
    "project": {"org-x"},
    "region": {"hk"},
}


def test_lists_of_ones_own() -> None:
    """Resources with a version, and builds, that somebody wrote down are no state and no manifest: their ids count."""
    pool = {"name": "pool", "zone": "hk-02", "image_id": "uimage-a"}
    for document in ({"version": "1.0", "resources": [pool]}, {"version": 2, "modules": [pool]}, {"builds": [pool]}):
        scanned = scan(json.dumps(document), "pools.json", is_strict=True)

        assert [(pin.zone, pin.image_id) for pin in scanned.pins] == [("hk-02", "uimage-a")]
        assert scanned.is_source


def test_rules() -> None:
    """Required names and pinned ids, a word or a list of words, in the scope that a rule gives itself."""
    text = """
        [[require]]
        name = "Ubuntu 20.04"
        zones = ["hk-*"]
        gpu = true
        kind = "uk8s-image"

        [[require]]
        name = "CentOS*"
        variant = ["g-*"]
        projects = "org-x"

        [[pinned]]
        zone = "hk-02"
        ids = ["uimage-a", "uimage-b"]

        [[pinned]]
        image_id = "uimage-c"
        gpu = true
    """

    assert read_rules(text, "r", KNOWN) == [
        Require(
            name="Ubuntu 20.04",
            zones=("hk-*",),
            gpu=True,
            scope=Filters(kind=("uk8s-image",), variant=("default",)),
            source="r, require[1]",
            file="r",
        ),
        Require(name="CentOS*", scope=Filters(variant=("g-*",), project=("org-x",)), source="r, require[2]", file="r"),
        PinRule(image_id="uimage-a", zone="hk-02", source="r, pinned[1]", file="r"),
        PinRule(image_id="uimage-b", zone="hk-02", source="r, pinned[1]", file="r"),
        PinRule(image_id="uimage-c", gpu=True, source="r, pinned[2]", file="r"),
    ]


def test_every_problem_of_the_rules() -> None:
    """Malformed rules are told all at once, each with its place and what is near."""
    text = """
        require_ = 1
        pinned = [{ id = "a", ids = ["b"], zones = ["hk-2"] }, { zone = "hk-*", ids = [] }, {}]
        [[require]]
        nam = "x"
        zones = ["hk-2", "cn-*"]
        gpu = "yes"
        [[require]]
        name = 3
        kind = "uhost"
        projects = [1]
        colour = "red"
        [[require]]
        name = "x"
        kind = "uhost-image"
    """
    with pytest.raises(ConfigurationError) as refusal:
        read_rules(text, "rules.toml", KNOWN)

    assert sorted(refusal.value.problems) == sorted(
        [
            "require_: is no table of rules; did you mean require?",
            "pinned[1].ids: says the same as ids; keep one",
            "pinned[1]: the history knows no zone 'hk-2'; did you mean hk-02?",
            'pinned[2].ids: must be a text or a list of texts, as in ["hk-02"]',
            "pinned[2].zones: 'hk-*' is a glob; a pin names one",
            "pinned[3].ids: is missing",
            "require[1].nam: is no key of a rule; did you mean name?",
            "require[1]: the history knows no zone 'hk-2'; did you mean hk-02?",
            "require[1]: the history knows no zone 'cn-*'",
            "require[1].gpu: must be true or false",
            "require[1].name: is missing",
            "require[2].name: must be a text in quotes",
            "require[2]: the history knows no kind 'uhost'",
            "require[3]: the history knows no kind 'uhost-image' yet; there is one: add it to `kinds` in the "
            "configuration, and the next run asks for it",
            'require[2].projects: must be a text or a list of texts, as in ["hk-02"]',
            "require[2].colour: is no key of a rule; "
            "known: name, zones, gpu, accounts, projects, regions, kind, variant",
        ]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no rule; write [[require]] or [[pinned]]"),
        ("[require]\nname = 'x'", "must be a list of tables, as in [[require]]"),
        ("[[require]\n", "is not TOML: "),
    ],
)
def test_no_rules(text: str, said: str) -> None:
    """A file that holds no rule says what it should hold."""
    with pytest.raises(ConfigurationError) as refusal:
        read_rules(text, "rules.toml", KNOWN)

    assert said in str(refusal.value)
