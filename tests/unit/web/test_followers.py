"""The preset for Renovate and the pipeline for updatecli, against what is published."""

from __future__ import annotations

import json
import re

import yaml

from crawler.web.feeds import CURRENT
from crawler.web.openapi import openapi
from tests.support.house import ROOT

ADDRESS = "https://images.example.com"


def test_renovate() -> None:
    """The preset finds an id below its comment, asks for a file that there is, and for the release that has the id."""
    preset = json.loads((ROOT / "config/renovate/ucloud-images.json").read_text())
    (manager,), (rule,) = preset["customManagers"], preset["packageRules"]
    pattern = re.compile(manager["matchStrings"][0].replace("(?<", "(?P<"))
    found = pattern.search('# ucloud-image: hk-02/ubuntu-20.04\nimage_id = "uimage-rccvz4l9itr"\n')

    assert found is not None
    assert found.groupdict() == {"depName": "hk-02/ubuntu-20.04", "currentDigest": "uimage-rccvz4l9itr"}
    assert pattern.search('image_id = "uimage-rccvz4l9itr"') is None
    url = preset["customDatasources"]["ucloud"]["defaultRegistryUrlTemplate"]
    assert url.replace("{{packageName}}", "{zone}/{slug}") in [f"{ADDRESS}{path}" for path in paths()]
    assert manager["currentValueTemplate"] == CURRENT
    assert rule["digest"]["commitMessageExtra"] == "to {{{newDigest}}}"


def test_updatecli() -> None:
    """The pipeline reads the id of a file that there is."""
    (source,) = yaml.safe_load((ROOT / "config/updatecli/ucloud-images.yaml").read_text())["sources"].values()

    asked = source["spec"]["file"].replace("hk-02", "{zone}").replace("ubuntu-20.04", "{slug}")
    assert asked in [f"{ADDRESS}{path}" for path in paths()]
    assert source["spec"]["key"] == ".image_id"


def paths() -> list[str]:
    return list(openapi(None, version="1")["paths"])
