"""Records of every kind beside UK8S images, and a cloud that lists them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from crawler.emulator import Timeline
from tests.support.worlds import make_timeline

#: What the records of node groups hold and nobody may keep.
PLANTED = (
    "cGxhbnRlZC1wYXNzd29yZA==",
    "#!/bin/sh echo planted-user-data",
    "planted-init",
    "-----BEGIN planted-cert",
    "planted-label",
)


def uhost_image(number: int, **more: Any) -> dict[str, Any]:
    """Return a record of DescribeImage."""
    return {
        "ImageId": f"uimage-u{number:05d}",
        "ImageName": f"CentOS {number} 64位",
        "ImageType": "Base" if number % 3 else "Custom",
        "State": "Available",
        "OsType": "Linux",
        "OsName": "CentOS 7.9 64位",
        "Features": ["NetEnhanced_Ultra", "HotPlug"],
        "FuncType": "uhost",
        "ImageSize": 40,
        "ImageDescription": "",
        "CreateTime": 1_700_000_000 + number,
        "MaintainEol": "2030/06/30",
        **more,
    }


def version(name: str) -> dict[str, Any]:
    """Return a record of GetUK8SVersions."""
    return {"K8sVersion": name, "ContainerdVersion": "1.7.27"}


def machine_type(name: str, status: str = "Normal", **more: Any) -> dict[str, Any]:
    """Return a record of GetUK8SAvailableInstanceTypes."""
    sizes = [{"Gpu": 1, "Collection": [{"Cpu": 8, "Memory": [32, 64], "MinimalCpuPlatform": ["Intel/Auto"]}]}]
    return {
        "Name": name,
        "InstanceType": "uhost",
        "Status": status,
        "MachineClass": "Normal",
        "MachineSizes": sizes,
        **more,
    }


def cluster(name: str, image_id: str = "uimage-vareox", **more: Any) -> dict[str, Any]:
    """Return a cluster with a node group and an autoscaler's, which hold what is PLANTED."""
    password, user_data, script, certificate, label = PLANTED
    group = {"NodeGroupId": f"ng-{name}", "NodeGroupName": "workers", "Zone": "hk-02", "ImageId": image_id}
    return {
        "ClusterId": f"uk8s-{name}",
        "ClusterName": name.title(),
        "K8sVersion": "1.30.14",
        "EtcdCert": certificate,
        "NodeGroupList": [
            {**group, "UserData": user_data, "initScript": script, "Labels": [{"Key": "db-password", "Value": label}]}
        ],
        "AutoScalingGroup": [
            {
                "Id": f"asg-{name}",
                "Name": "scaled",
                "NodeGroupId": f"ng-{name}",
                "ImageId": image_id,
                "Password": password,
            }
        ],
        **more,
    }


#: Of every kind something, in `hk` and its zone `hk-02`.
INVENTORY: dict[str, dict[str, list[Any]]] = {
    "uhost-image": {"hk-02": [uhost_image(number) for number in range(250)]},
    "phost-image": {
        "hk-02": [
            {
                "ImageId": "pimage-a",
                "ImageName": "Rocky 9",
                "ImageType": "Base",
                "State": "Available",
                "CreateTime": "0",
            }
        ]
    },
    "uk8s-version": {"hk": [version(name) for name in ("1.28.15", "1.30.14", "1.32.9")]},
    "instance-type": {
        "hk-02": [machine_type("O"), machine_type("V100", ParentType="G"), machine_type("V100", InstanceType="spot")]
    },
    "node-group": {"hk": [cluster("blue"), cluster("green")]},
}


def kinds_timeline(
    inventory: Mapping[str, Any] | None = None, *, steps: Iterable[Mapping[str, Any]] = (), **more: Any
) -> Timeline:
    """Return a cloud with one zone, one UK8S image, and *inventory* (None: something of every kind)."""
    kinds = INVENTORY if inventory is None else dict(inventory)
    return make_timeline(zones={"hk-02": {"uimage-vareox": "CentOS 7.6"}}, inventory=kinds, steps=steps, **more)
