"""The vendor's own client as a second opinion on the kinds beside UK8S images: what it reads is what we recorded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ucloud.client import Client

from crawler import History
from crawler.domain.kinds import KINDS
from crawler.emulator import EXAMPLE_PRIVATE_KEY, EXAMPLE_PUBLIC_KEY, run_in_thread
from tests.support.driving import Driver, account
from tests.support.kinds import kinds_timeline

Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def _quiet_client() -> Iterator[None]:
    logger = logging.getLogger("ucloud")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


def everything(call: Call, member: str, **params: Any) -> list[dict[str, Any]]:
    """Page through a list as the vendor's Terraform provider does: by 100, to the TotalCount."""
    found: list[dict[str, Any]] = []
    while True:
        answer = call({**params, "Offset": len(found), "Limit": 100})
        found += answer[member]
        if len(found) >= answer["TotalCount"]:
            return found


def test_it_reads_what_we_recorded(tmp_path: Path) -> None:
    """Ids, names, states, images and versions of every kind are those that the vendor's client gives for them."""
    user = Driver(tmp_path, str(tmp_path / "history.db"))
    with run_in_thread(kinds_timeline()) as server:
        user.configure(account(server.url, kinds=sorted(KINDS)))
        user.run()
        keys = {"public_key": EXAMPLE_PUBLIC_KEY, "private_key": EXAMPLE_PRIVATE_KEY}
        client: Any = Client(
            {**keys, "base_url": server.url, "region": "hk", "project_id": "org-example", "timeout": 5}
        )
        zone = {"Zone": "hk-02"}
        theirs = {
            "uhost-image": everything(client.uhost().describe_image, "ImageSet", **zone),
            "phost-image": everything(client.uphost().describe_phost_image, "ImageSet", **zone),
            "uk8s-version": client.uk8s().get_uk8s_versions({"Kind": "Dedicated"})["Data"],
            "instance-type": client.uk8s().get_uk8s_available_instance_types(zone)["AvailableInstanceTypes"],
        }
        clusters = everything(client.uk8s().list_uk8s_cluster_v2, "ClusterSet")
        asked = [({"ClusterId": cluster["ClusterId"]}, cluster) for cluster in clusters]
        groups = [
            (group, cluster)
            for wanted, cluster in asked
            for group in client.uk8s().list_uk8s_node_group(wanted)["NodeGroupList"]
        ]
        scaled = [
            (group, cluster)
            for wanted, cluster in asked
            for group in client.uk8s().describe_uk8s_autoscaler_group(wanted)["AutoScalingGroup"]
        ]

    with History(user.database) as history:
        ours = {kind: history.inventory(kind) for kind in KINDS}
    images = {row.image_id: row for row in ours["uhost-image"]}
    assert len(theirs["uhost-image"]) == len(images) == 250
    for image in theirs["uhost-image"]:
        row = images[image["ImageId"]]
        assert (row.image_set, row.image_name) == (image["ImageType"], image["ImageName"])
        assert row.attributes["image_state"] == image["State"]
        assert row.attributes["maintain_eol"] == image["MaintainEol"].replace("/", "-")
        assert row.attributes["created_at"] == datetime.fromtimestamp(image["CreateTime"], UTC).strftime(
            "%Y-%m-%dT%H:%M:%SZ"
        )
        assert row.attributes["features"] == sorted(image["Features"])
    assert [row.image_id for row in ours["phost-image"]] == [image["ImageId"] for image in theirs["phost-image"]]
    versions = {row.image_id: row.attributes["containerd_version"] for row in ours["uk8s-version"]}
    assert versions == {version["K8sVersion"]: version["ContainerdVersion"] for version in theirs["uk8s-version"]}
    types = {(row.image_id.split("/")[0], row.attributes["instance_type"]): row for row in ours["instance-type"]}
    assert {key: row.attributes["status"] for key, row in types.items()} == {
        (kind["Name"], kind["InstanceType"]): kind["Status"] for kind in theirs["instance-type"]
    }
    recorded = {row.image_id: row.attributes for row in ours["node-group"]}
    assert {key: (a["node_image_id"], a["cluster_id"], a["k8s_version"]) for key, a in recorded.items()} == {
        group[name]: (group["ImageId"], cluster["ClusterId"], cluster["K8sVersion"])
        for name, found in (("NodeGroupId", groups), ("Id", scaled))
        for group, cluster in found
    }
    assert {a["node_group_id"] for key, a in recorded.items() if key.startswith("asg-")} == {
        group["NodeGroupId"] for group, _ in scaled
    }
