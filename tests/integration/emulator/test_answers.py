"""The emulated actions: the catalog, both schema generations, filters, quirks, steps."""

from __future__ import annotations

from typing import Any

import pytest

from crawler.emulator import QUIRKS, EmulatorServer, demo, image_history, region_history
from tests.support.by_hand import ask, images, post
from tests.support.worlds import make_record, make_timeline, make_zone, sign, zone_number

pytestmark = pytest.mark.asyncio

FULL: dict[str, Any] = {
    **make_record("uimage-a", "Ubuntu 24.04", "hk-02"),
    "OsType": "Linux",
    "OsName": "Ubuntu 24.04 64位",
    "Features": ["NetEnhanced"],
    "ImageSize": 40,
    "IntegratedSoftware": "CUDA 12.8",
    "SupportedGPUTypes": ["V100"],
}
CUSTOM = {"ImageId": "uimage-mine", "ImageName": "mine", "Features": None}
PHYSICAL = make_record("pimage-a", "CentOS 7.6", "hk-02")
SETS = {"ImageSet": [FULL], "CustomImageSet": [CUSTOM], "PHostImageSet": [PHYSICAL], "CustomPHostImageSet": []}


def ids(answer: dict[str, Any], name: str = "ImageSet") -> list[str]:
    return [record["ImageId"] for record in answer[name]]


async def test_catalog_rows() -> None:
    """GetRegion lists a row per zone with one default, GetProjectList a row per project with one default."""
    world = make_timeline(zones=["hk-02", "hk-03"], projects=["org-a", {"project_id": "org-b", "default": True}])
    async with EmulatorServer(world) as server:
        regions = await ask(server, "GetRegion")
        projects = await ask(server, "GetProjectList")

    assert regions["Action"] == "GetRegionResponse"
    assert [(row["Region"], row["Zone"], row["IsDefault"]) for row in regions["Regions"]] == [
        ("hk", "hk-02", True),
        ("hk", "hk-03", False),
    ]
    assert regions["Regions"][0]["RegionId"] == zone_number("hk-02")
    assert projects["ProjectCount"] == 2
    assert [(row["ProjectId"], row["IsDefault"]) for row in projects["ProjectSet"]] == [
        ("org-a", False),
        ("org-b", True),
    ]


async def test_2026_schema_sends_everything() -> None:
    """The generation of 2026 has four sets and every field of a record."""
    async with EmulatorServer(make_timeline(zones={"hk-02": SETS})) as server:
        answer = await images(server)

    assert answer == {"RetCode": 0, "Action": "DescribeUK8SImageResponse", **SETS}


async def test_2020_schema_sends_four_fields_and_ignores_filters() -> None:
    """The generation of 2020 knows neither the custom sets nor the newer fields nor any filter."""
    async with EmulatorServer(make_timeline(zones={"hk-02": SETS}, schema="2020")) as server:
        answer = await images(server, MachineType="G", ProductType="uphost")

    assert set(answer) == {"RetCode", "Action", "ImageSet", "PHostImageSet"}
    assert set(answer["ImageSet"][0]) == {"ImageId", "ImageName", "NotSupportGPU", "ZoneId"}
    assert ids(answer, "PHostImageSet") == ["pimage-a"]


async def test_filters_of_2026() -> None:
    """Product, machine type (O by default), GPU type and Kubernetes version decide which records are listed."""

    def image(image_id: str, **when: Any) -> dict[str, Any]:
        return {**make_record(image_id, image_id, "hk-02"), "_when": when}

    sets = {
        "ImageSet": [
            image("any"),
            image("plain", MachineType=["O", "OPRO"]),
            image("gpu", MachineType="G", GPUType=["V100", "A*"]),
            image("old", K8sVersion="1.2[0-9].*"),
        ],
        "PHostImageSet": [image("metal")],
    }
    async with EmulatorServer(make_timeline(zones={"hk-02": sets})) as server:
        default = await images(server)
        v100 = await images(server, MachineType="G", GPUType="V100")
        t4 = await images(server, MachineType="G", GPUType="T4")
        new = await images(server, K8sVersion="1.30.1")
        metal = await images(server, ProductType="uphost")
        virtual = await images(server, ProductType="uhost")

    assert ids(default) == ["any", "plain", "old"]
    assert ids(v100) == ["any", "gpu", "old"]
    assert ids(t4) == ["any", "old"]
    assert ids(new) == ["any", "plain"]
    assert (ids(metal), ids(metal, "PHostImageSet")) == ([], ["metal"])
    assert (ids(virtual), ids(virtual, "PHostImageSet")) == (["any", "plain", "old"], [])
    assert "_when" not in str(default)


async def test_region_without_zone_mixes_its_zones() -> None:
    """Without a Zone the answer holds the records of every zone of the region, each with its ZoneId."""
    world = make_timeline(zones={"hk-02": {"a": "CentOS 7.6"}, "hk-03": {"b": "CentOS 7.6"}, "sg-01": {"c": "x"}})
    async with EmulatorServer(world) as server:
        answer = await ask(server, Region="hk")

    assert [(record["ImageId"], record["ZoneId"]) for record in answer["ImageSet"]] == [
        ("a", zone_number("hk-02")),
        ("b", zone_number("hk-03")),
    ]


async def test_projects_may_see_different_images() -> None:
    """PROJECT/ZONE replaces what the zone lists for that project alone, the default project included."""
    world = make_timeline(
        zones={"hk-02": {"a": "CentOS 7.6"}}, images={"org-b/hk-02": {"b": "mine"}}, projects=["org-b", "org-a"]
    )
    async with EmulatorServer(world) as server:
        answers = [await images(server, **params) for params in ({}, {"ProjectId": "org-b"}, {"ProjectId": "org-a"})]

    assert [ids(answer) for answer in answers] == [["b"], ["b"], ["a"]]


async def test_default_project_of_an_account() -> None:
    """Who is not let into the default project has another: its list says so, and no ProjectId means that one."""
    own = {"name": "guest", "public_key": "guest", "private_key": "secret", "projects": ["org-b", "org-c"]}
    world = make_timeline(
        zones={"hk-02": {"a": "CentOS 7.6"}},
        images={"org-b/hk-02": {"b": "mine"}},
        projects=["org-a", "org-b", "org-c"],
        accounts=[own],
        faults=[{"project": "org-a", "ret_code": 150}],
    )
    async with EmulatorServer(world) as server:
        asked = {"Action": "DescribeUK8SImage", "Region": "hk", "Zone": "hk-02", "PublicKey": "guest"}
        answer = await post(server, sign(asked, "secret"))
        projects = await post(server, sign({"Action": "GetProjectList", "PublicKey": "guest"}, "secret"))

    assert ids(answer.document) == ["b"]
    defaults = {row["ProjectId"]: row["IsDefault"] for row in projects.document["ProjectSet"]}
    assert defaults == {"org-b": True, "org-c": False}


async def test_records_are_sent_as_written() -> None:
    """Bare ids, nulls, misspelled sets and odd keys of a timeline reach the reader untouched."""
    odd = {
        "ImageSet": None,
        "CustomIImageSet": ["uimage-x"],
        "ImageSetnew": [{"imageid": "uimage-y", "NotSupportGPU": "true", "ZoneId": "3002"}],
        "QuantumImageSet": [{"ImageId": "uimage-z", "Spin": 0.5}],
    }
    async with EmulatorServer(make_timeline(zones={"hk-02": odd})) as server:
        answer = await images(server)

    assert {name: answer[name] for name in odd} == odd


async def test_every_quirk_shows() -> None:
    """Each quirk changes the answer in its own way, and none but the one about RetCode changes its meaning."""
    shapes: dict[str, dict[str, Any]] = {}
    for quirk in QUIRKS:
        async with EmulatorServer(make_timeline(zones={"hk-02": SETS}, quirks=[quirk])) as server:
            await images(server)
            shapes[quirk] = await images(server)

    assert shapes["string-ret-code"]["RetCode"] == "0"
    assert shapes["lower-case-keys"]["imageset"][0]["imageid"] == "uimage-a"
    assert shapes["upper-case-keys"]["RETCODE"] == 0
    assert shapes["null-sets"]["CustomPHostImageSet"] is None
    assert "CustomPHostImageSet" not in shapes["omit-empty-sets"]
    assert shapes["duplicate-records"]["ImageSet"] == [FULL, FULL]
    assert shapes["bare-custom-ids"]["CustomImageSet"] == ["uimage-mine"]
    assert shapes["double-i-sets"]["CustomIImageSet"] == [CUSTOM]
    assert shapes["double-i-sets"]["PHostCustomIImageSet"] == []
    assert shapes["set-new"]["ImageSetnew"] == [FULL]
    assert shapes["text-values"]["ImageSet"][0]["NotSupportGPU"] == "false"
    assert shapes["text-values"]["ImageSet"][0]["ImageSize"] == "40"
    assert shapes["unknown-set"]["EdgeImageSet"]
    assert shapes["unknown-field"]["ImageSet"][0]["BootMode"] == "UEFI"
    assert "ZoneId" not in shapes["no-zone-id"]["ImageSet"][0]
    assert shapes["message-on-success"]["Message"]


async def test_shuffled_records_change_their_order_only() -> None:
    """Shuffled answers differ in bytes and hold the same records."""
    three = {"a": "A", "b": "B", "c": "C"}
    inventory = {"uhost-image": {"hk-02": [{"ImageId": image_id} for image_id in three]}}
    world = make_timeline(zones={"hk-02": three}, inventory=inventory, quirks=["shuffled-records"])
    async with EmulatorServer(world) as server:
        orders = [ids(await images(server)) for _ in range(3)]
        listed = [ids(await ask(server, "DescribeImage", Region="hk", Zone="hk-02")) for _ in range(3)]

    for answers in (orders, listed):
        assert len({tuple(order) for order in answers}) == 3
        assert all(sorted(order) == ["a", "b", "c"] for order in answers)


async def test_steps_build_on_each_other() -> None:
    """A step changes what it names, the change stays, and the server goes where it is told."""
    world = make_timeline(
        zones={"hk-02": {"a": "CentOS 7.6", "b": "Ubuntu 20.04"}},
        steps=[
            {"remove": {"hk-02": ["b"]}, "add": {"hk-02": {"c": "Ubuntu 20.04"}}},
            {"zones": ["hk-02", "sg-01"], "images": {"sg-01": {"d": "CentOS 7.6"}}},
            {"images": {"hk-02": {}}, "schema": "2020"},
            {"zones": []},
        ],
    )
    async with EmulatorServer(world) as server:
        seen = [ids(await images(server))]
        assert server.advance() == 2
        seen.append(ids(await images(server)))
        server.advance()
        seen.append(ids(await images(server, "sg-01")) + ids(await images(server)))
        server.advance()
        emptied = await images(server)
        server.advance()
        regions = await ask(server, "GetRegion")
        assert (server.advance(), server.step) == (5, 5)
        with pytest.raises(ValueError, match="steps 1 to 5"):
            server.step = 6
        server.step = 1
        seen.append(ids(await images(server)))

    assert seen == [["a", "b"], ["a", "c"], ["d", "a", "c"], ["a", "b"]]
    assert emptied == {"RetCode": 0, "Action": "DescribeUK8SImageResponse", "ImageSet": [], "PHostImageSet": []}
    assert regions == {"RetCode": 0, "Action": "GetRegionResponse", "Regions": []}


async def test_another_timeline_can_follow() -> None:
    """`play` shows another timeline under the same address."""
    async with EmulatorServer(make_timeline(zones={"hk-02": {"a": "A"}})) as server:
        before = ids(await images(server))
        server.play(make_timeline(zones={"hk-02": {"b": "B"}}))
        after = ids(await images(server))

    assert (before, after) == (["a"], ["b"])


async def test_demo_tells_its_story() -> None:
    """The demo shows 71 images in 24 zones, and then the published events, an empty zone and an outage."""
    async with EmulatorServer(demo()) as server:
        rows = (await ask(server, "GetRegion"))["Regions"]
        projects = (await ask(server, "GetProjectList"))["ProjectSet"]
        listed = {row["Zone"]: await images(server, row["Zone"]) for row in rows}
        hk, bangkok, seoul = [], [], []
        for step in range(1, 6):
            server.step = step
            hk.append({record["ImageName"]: record["ImageId"] for record in (await images(server))["ImageSet"]})
            bangkok.append(len((await images(server, "th-bkk-01"))["ImageSet"]))
            seoul.append((await images(server, "kr-seoul-01"))["RetCode"])
        outage = await images(server, "kr-seoul-01")

    assert (len(rows), len({row["Region"] for row in rows})) == (24, 18)
    assert [(row["ProjectId"], row["ProjectName"]) for row in projects] == [("org-example", "Default")]
    assert sum(len(answer["ImageSet"]) for answer in listed.values()) == 71
    assert "UBuntu 20.04" in str(listed["bra-saopaulo-01"])
    assert [record["NotSupportGPU"] for record in listed["hk-02"]["ImageSet"]] == [False, False, True]
    assert {row["RegionId"] for row in rows if row["Zone"] == "hk-02"} == {3002}
    assert [step["Ubuntu 20.04"] for step in hk] == [
        "uimage-vareox",
        "uimage-vareox",
        "uimage-rccvz4l9itr",
        "uimage-rccvz4l9itr",
        "uimage-x7zezb1gcv5",
    ]
    assert ["Anolis 8.6" in step for step in hk] == [True, True, True, True, False]
    assert {step["CentOS 7.6"] for step in hk} == {"uimage-puxm0l"}
    assert bangkok == [2, 0, 0, 0, 0]
    assert seoul == [0, 0, 0, 0, 150]
    assert outage["Message"] == "service unavailable"


async def test_published_history_replays() -> None:
    """The published history can be walked: Bangkok's images go, and the region list is empty once by accident."""
    async with EmulatorServer(image_history()) as server:
        before = len((await images(server, "th-bkk-01"))["ImageSet"])
        server.advance()
        after = len((await images(server, "th-bkk-01"))["ImageSet"])
    async with EmulatorServer(region_history()) as server:
        counts = []
        for step in range(1, len(server.timeline.worlds) + 1):
            server.step = step
            counts.append(len((await ask(server, "GetRegion"))["Regions"]))

    assert (before, after) == (2, 0)
    assert counts == [32, 41, 34, 37, 37, 36, 38, 38, 30, 31, 0, 31]


async def test_one_zone_may_have_no_images_at_all() -> None:
    """A zone of the catalog for which the timeline holds nothing answers well and lists nothing."""
    world = make_timeline(zones=[], steps=[{"zones": [make_zone("hk-02", default=True)]}])
    async with EmulatorServer(world) as server:
        server.advance()
        answer = await images(server)

    assert (answer["RetCode"], answer["ImageSet"]) == (0, [])
