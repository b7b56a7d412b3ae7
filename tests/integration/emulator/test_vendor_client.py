"""The vendor's own client as a second opinion: what it accepts and refuses of the emulated API."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ucloud.client import Client
from ucloud.core import exc

from crawler.emulator import EXAMPLE_PRIVATE_KEY, EXAMPLE_PUBLIC_KEY, EmulatorServer, demo, run_in_thread
from tests.support.worlds import make_timeline


@pytest.fixture
def server() -> Iterator[EmulatorServer]:
    with run_in_thread(demo()) as running:
        yield running


@pytest.fixture(autouse=True)
def _quiet_client() -> Iterator[None]:
    logger = logging.getLogger("ucloud")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


def client_of(server: EmulatorServer, **config: Any) -> Any:
    keys = {"public_key": EXAMPLE_PUBLIC_KEY, "private_key": EXAMPLE_PRIVATE_KEY}
    return Client({**keys, "base_url": server.url, "region": "hk", "timeout": 5, **config})


def test_it_reads_the_catalog(server: EmulatorServer) -> None:
    """The client validates and returns the regions and the projects."""
    client = client_of(server)

    regions = client.uaccount().get_region()
    projects = client.uaccount().get_project_list()

    assert len(regions["Regions"]) == 24
    assert {"Region": "hk", "Zone": "hk-02", "RegionId": 3002}.items() <= next(
        row for row in regions["Regions"] if row["Zone"] == "hk-02"
    ).items()
    assert [row["IsDefault"] for row in regions["Regions"]].count(True) == 1
    assert projects["ProjectCount"] == 1
    assert projects["ProjectSet"][0]["ProjectId"] == "org-example"


def test_it_reads_images_at_every_step(server: EmulatorServer) -> None:
    """The client sees the re-issues of hk-02 as the steps go on."""
    client = client_of(server, project_id="org-example")
    names = []
    for step in (1, 3, 5):
        server.step = step
        answer = client.uk8s().describe_uk8s_image({"Zone": "hk-02"})
        assert answer["PHostImageSet"] == []
        names.append({record["ImageName"]: record["ImageId"] for record in answer["ImageSet"]})

    assert [step["Ubuntu 20.04"] for step in names] == ["uimage-vareox", "uimage-rccvz4l9itr", "uimage-x7zezb1gcv5"]
    assert ["Anolis 8.6" in step for step in names] == [True, True, False]


def test_it_raises_the_codes_it_gets(server: EmulatorServer) -> None:
    """A wrong private key is 171, an unknown public key 172, a closed project 292, an outage 150, each with its id."""
    server.step = 5
    wrong_key = client_of(server, private_key="wrong")
    unknown = client_of(server, public_key="unknown")
    stranger = client_of(server, project_id="org-other")
    cases: list[tuple[int, Callable[[], Any]]] = [
        (171, lambda: wrong_key.uaccount().get_region()),
        (172, lambda: unknown.uaccount().get_region()),
        (292, lambda: stranger.uk8s().describe_uk8s_image({"Zone": "hk-02"})),
        (230, lambda: client_of(server).uk8s().describe_uk8s_image({"Zone": "hk-09"})),
        (161, lambda: client_of(server).invoke("DescribeMoon")),
        (150, lambda: client_of(server, region="kr-seoul").uk8s().describe_uk8s_image({"Zone": "kr-seoul-01"})),
    ]
    for code, call in cases:
        with pytest.raises(exc.RetCodeException) as caught:
            call()
        assert code == caught.value.code
        assert caught.value.message
        assert caught.value.request_uuid == server.log[-1].request_uuid


def test_it_signs_arrays_and_odd_values_as_the_gateway_does(server: EmulatorServer) -> None:
    """Lists, booleans, floats and text beyond ASCII pass both independent signatures."""
    odd = {"Tags": [f"t{n}" for n in range(12)], "Dry": True, "Ratio": 35.0, "Share": 65.722, "Name": "镜像 +&=%20"}

    answer = client_of(server).invoke("GetRegion", odd)

    assert answer["RetCode"] == 0
    assert server.log[-1].params["Name"] == "镜像 +&=%20"
    assert server.log[-1].params["Tags.11"] == "t11"


def test_it_meets_the_scripted_faults() -> None:
    """HTTP errors and pages that are no JSON reach the client as the errors it has for them."""
    world = make_timeline(
        zones={"hk-02": {}, "hk-03": {}},
        faults=[{"zone": "hk-02", "status": 503}, {"zone": "hk-03", "html": True}],
    )
    with run_in_thread(world) as server:
        client = client_of(server)
        with pytest.raises(exc.HTTPStatusException) as status:
            client.uk8s().describe_uk8s_image({"Zone": "hk-02"})
        with pytest.raises(exc.InvalidResponseException):
            client.uk8s().describe_uk8s_image({"Zone": "hk-03"})

    assert status.value.status_code == 503


@pytest.mark.parametrize("schema", ["2020", "2026"])
def test_it_reads_both_generations(schema: str) -> None:
    """Either schema passes the client's own reading of the answer."""
    record = {"ImageId": "uimage-a", "ImageName": "Ubuntu", "NotSupportGPU": True, "ZoneId": 1, "Features": ["x"]}
    world = make_timeline(zones={"hk-02": {"ImageSet": [record], "CustomImageSet": [record]}}, schema=schema)
    with run_in_thread(world) as server:
        answer = client_of(server).uk8s().describe_uk8s_image({"Zone": "hk-02"})

    assert answer["ImageSet"][0]["NotSupportGPU"] is True
    assert answer["ImageSet"][0].get("Features", []) == (["x"] if schema == "2026" else [])
