"""A cloud whose UK8S images depend on the machine, the GPU and the version, and accounts that ask about all of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from crawler.emulator import Timeline
from tests.support.driving import account
from tests.support.kinds import machine_type, version
from tests.support.worlds import make_record, make_timeline, region_of

VERSIONS = ("1.26.7", "1.28.15", "1.30.14")
#: Sold everywhere: two machine types without a GPU, three GPU types.
MACHINES = ("O", "OM", "V100", "A100", "H20")
WITHOUT_GPU = ("O", "OM")


def zones(count: int) -> list[str]:
    """Return the names of *count* zones, three in each region."""
    return [f"r{number // 3:02d}-{number % 3 + 1:02d}" for number in range(count)]


def machine(name: str, **more: Any) -> dict[str, Any]:
    """Return a record of what is sold."""
    gpu = {} if name in WITHOUT_GPU else {"ParentType": "G", "MachineClass": "GPU"}
    return machine_type(name, **{**gpu, **more})


def sold(
    where: Collection[str], machines: Iterable[str] = MACHINES, versions: Iterable[str] = VERSIONS
) -> dict[str, dict[str, list[Any]]]:
    """Return what is offered in the zones of *where*, as the `inventory` of a timeline."""
    listed, offered = [machine(name) for name in machines], [version(name) for name in versions]
    return {
        "instance-type": dict.fromkeys(where, listed),
        "uk8s-version": {region_of(zone): offered for zone in where},
    }


def images(zone: str, *, without: Collection[str] = (), lost_by: Mapping[str, str] | None = None) -> list[Any]:
    """
    Return what a zone lists: one image for every machine, one for GPUs alone, one for the oldest version alone.

    *without*: those left out. *lost_by*: the GPU type that does not list an image any more.
    """
    when: dict[str, dict[str, Any]] = {
        "every": {}, "gpu": {"MachineType": "G"}, "old": {"K8sVersion": "1.26*"}, "other": {},
    }  # fmt: skip
    for name, gpu_type in (lost_by or {}).items():
        when[name] = {**when[name], "GPUType": [other for other in MACHINES if other not in (*WITHOUT_GPU, gpu_type)]}
    return [
        {**make_record(f"uimage-{zone}-{name}", f"Image {name}", zone), **({"_when": conditions} if conditions else {})}
        for name, conditions in when.items()
        if name not in without
    ]


def matrix_timeline(where: Collection[str], *, steps: Iterable[Mapping[str, Any]] = (), **more: Any) -> Timeline:
    """Return a cloud that sells everything in the zones of *where*."""
    listed = {zone: images(zone) for zone in where}
    return make_timeline(zones=listed, **{"inventory": sold(where), "steps": steps, **more})


def auto(url: str, *, versions: Any = "all", name: str = "prod", **more: Any) -> dict[str, Any]:
    """Return an account that asks about the matrix; *more* are keys of `[accounts.matrix]`."""
    return account(url, name, variants="auto", matrix={"versions": versions, **more})
