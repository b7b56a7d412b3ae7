"""The preset for Renovate and the pipeline for updatecli, against what is published."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from crawler.web.openapi import openapi
from crawler.web.published_json import CURRENT
from crawler.web.slugs import slug
from tests.support.examples import blocks
from tests.support.house import ROOT, pages

ADDRESS = "https://images.example.com"


def test_renovate() -> None:
    """The preset finds an id below its comment, asks for a file that there is, and for the release that has the id."""
    preset = json.loads((ROOT / "config/renovate/ucloud-images.json").read_text())
    (manager,), (rule,) = preset["customManagers"], preset["packageRules"]
    pattern = re.compile(pattern_of(manager))
    found = pattern.search('# ucloud-image: hk-02/ubuntu-20.04\nimage_id = "uimage-rccvz4l9itr"\n')

    assert found is not None
    assert found.groupdict() == {"depName": "hk-02/ubuntu-20.04", "currentDigest": "uimage-rccvz4l9itr"}
    assert pattern.search('image_id = "uimage-rccvz4l9itr"') is None
    asked = preset["customDatasources"]["ucloud"]["defaultRegistryUrlTemplate"]
    asked = asked.replace("{{{replace '%' '%25' packageName}}}", "{zone}/{slug}")
    assert asked in [f"{ADDRESS}{path}" for path in paths()]
    assert manager["currentValueTemplate"] == CURRENT
    assert rule["digest"]["commitMessageExtra"] == "to {{{newDigest}}}"


@pytest.mark.parametrize(
    "text",
    [
        '  # ucloud-image: hk-02/ubuntu-22.04-%28gpu%29\n  image_id = "uimage-a"\n',
        "# ucloud-image: hk-02/ubuntu-22.04-%28gpu%29\n- imageId: 'uimage-a'\n",
        '"//": "ucloud-image: hk-02/ubuntu-22.04-%28gpu%29",\n"ImageId": "uimage-a"\n',
        "# ucloud-image: hk-02/ubuntu-22.04-%28gpu%29\nnode.image_id: uimage-a\n",
    ],
)
def test_where_ids_stand(text: str) -> None:
    """Terraform, YAML and JSON have the comment each in its way; a name is written as its file is called."""
    (manager,) = json.loads((ROOT / "config/renovate/ucloud-images.json").read_text())["customManagers"]
    found = re.search(pattern_of(manager), text)

    assert found is not None
    assert found.groupdict() == {"depName": "hk-02/ubuntu-22.04-%28gpu%29", "currentDigest": "uimage-a"}
    assert slug("Ubuntu 22.04 (GPU)") == "ubuntu-22.04-%28gpu%29"


def test_the_page() -> None:
    """The preset finds the id of each of the page's examples; the setting for internal addresses is whole."""
    page = "docs/pull-requests.md"
    (hcl,), (listed,) = blocks("hcl", "docs/pull-requests.md"), blocks("yaml", "docs/pull-requests.md")
    (document,) = blocks("json", "docs/pull-requests.md")
    found = [ids(text) for text in (hcl, listed, document)]

    assert found == [["uimage-rccvz4l9itr"]] * 3
    assert "image_id" in hcl
    assert yaml.safe_load(listed)["pools"] == [{"imageId": "uimage-rccvz4l9itr"}]
    assert json.loads(document)["ImageId"] == "uimage-rccvz4l9itr"
    (rules,) = re.findall(r'`("hostRules": .*)`', pages()[page])
    assert json.loads(f"{{{rules}}}")["hostRules"][0]["allowInternal"] is True


def ids(text: str) -> list[str]:
    (manager,) = json.loads((ROOT / "config/renovate/ucloud-images.json").read_text())["customManagers"]
    return [found["currentDigest"] for found in re.finditer(pattern_of(manager), text)]


def pattern_of(manager: dict[str, list[str]]) -> str:
    """Return the pattern as Python writes it."""
    return manager["matchStrings"][0].replace("(?<", "(?P<")


def test_updatecli() -> None:
    """The pipeline reads the id of a file that there is."""
    (source,) = yaml.safe_load((ROOT / "config/updatecli/ucloud-images.yaml").read_text())["sources"].values()

    asked = source["spec"]["file"].replace("hk-02", "{zone}").replace("ubuntu-20.04", "{slug}")
    assert asked in [f"{ADDRESS}{path}" for path in paths()]
    assert source["spec"]["key"] == ".image_id"


def paths() -> list[str]:
    return list(openapi(None, version="1")["paths"])
