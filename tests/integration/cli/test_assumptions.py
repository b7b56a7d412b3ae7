"""`crawler doctor --assumptions` asks what no documentation says, and tells nobody's secrets."""

from __future__ import annotations

import json

import jsonschema

from crawler.emulator import EXAMPLE_PRIVATE_KEY, EXAMPLE_PUBLIC_KEY, run_in_thread
from crawler.ops.assumptions import impersonal
from crawler.web.answers import answer_schemas
from tests.acceptance.conftest import light as light
from tests.support.driving import Driver, account
from tests.support.worlds import make_timeline

PAGE = {"RetCode": 0, "TotalCount": 30, "ImageSet": [{"ImageId": f"image-{number}"} for number in range(25)]}
TYPES = {"RetCode": 0, "AvailableInstanceTypes": [{"Name": "A100", "ParentType": "G"}, {"Name": "O"}]}
QUESTIONS = (
    "which actions are known",
    "does the default machine type hide images of GPU machines",
    "what is the largest Limit of DescribeImage",
    "does a question without Zone list what the zones of its region list",
)


def test_answers(light: Driver) -> None:
    """Each question has its answer from what the cloud said; where it says nothing that is told."""
    gpu = {"ImageId": "uimage-gpu", "ImageName": "GPU", "_when": {"MachineType": "G", "GPUType": "A100"}}
    timeline = make_timeline(
        zones={"hk-01": {"uimage-a": "A"}, "hk-02": {"uimage-b": "B"}, "sg-01": {}},
        steps=[{"add": {"hk-01": {"ImageSet": [gpu]}}}],
        faults=[
            {"action": "DescribeImage", "body": json.dumps(PAGE)},
            {"action": "GetUK8SAvailableInstanceTypes", "body": json.dumps(TYPES)},
            {"action": "DescribePHostImage", "ret_code": 299, "message": "org-secret may not do that"},
        ],
    )
    with run_in_thread(timeline) as cloud:
        cloud.step = 2
        light.configure(account(cloud.url, name="our-account"))
        shown = light.call("doctor", "--assumptions").stdout
        document = json.loads(light.call("doctor", "--assumptions", "--json").stdout)
        port = cloud.url.rstrip("/").rpartition(":")[2]
    jsonschema.validate(document, answer_schemas()["doctor --assumptions"])
    found = {one["question"]: one for one in document["assumptions"]}
    assert tuple(found) == QUESTIONS
    actions, machine_types, limit, region = found.values()
    assert actions["details"]["DescribeUK8SImage"] == actions["details"]["DescribeImage"] == "answers"
    assert "may not do that" in actions["details"]["DescribePHostImage"]
    assert machine_types["answer"] == "yes: 1 image is listed for GPU machines alone"
    assert machine_types["details"]["MachineType G, GPUType A100"].startswith("2, of which 1 are only here")
    assert (limit["answer"], limit["details"]["Limit 100"]) == ("25 of 30 came at most", "25 of 30")
    assert region["answer"] == "yes"
    assert {(one["account"], one["endpoint"]) for one in found.values()} == {(1, "another")}
    for secret in ("our-account", EXAMPLE_PUBLIC_KEY, EXAMPLE_PRIVATE_KEY, "org-", "image-", port):
        assert secret not in shown + json.dumps(document), secret


def test_addresses(light: Driver) -> None:
    """No address is told that the cloud or the network says, of a machine, a page or a person."""
    refused = "source 203.0.113.7 (2001:db8::7) of me@example.com is not listed: see https://console.example.com/ip"
    with run_in_thread(make_timeline(zones={"hk-01": {}}, faults=[{"ret_code": 294, "message": refused}])) as cloud:
        light.configure(account(cloud.url))
        shown = light.call("doctor", "--assumptions").stdout
    assert "cannot be told: source … (…) of … is not listed: see …" in shown

    error = "Cannot connect to host api.intern:443 ssl:default [Connect call failed ('10.0.0.1', 9)]"
    assert impersonal(error) == "Cannot connect to host … ssl:default [Connect call failed ('…', 9)]"
    assert impersonal("the proxy http://me@10.0.0.1:3128 cannot be reached") == "the proxy … cannot be reached"
    assert impersonal("RetCode 130: backend error at 12 of uimage-vareox") == "RetCode 130: backend error at 12 of …"


def test_nothing_is_known(light: Driver) -> None:
    """Refused keys, or a cloud that is not there, are an answer too, and no error."""
    with run_in_thread(make_timeline(zones={"hk-01": {}}, faults=[{"ret_code": 171}])) as cloud:
        light.configure(account(cloud.url), account("http://127.0.0.1:9/", name="gone"))
        document = json.loads(light.call("doctor", "--assumptions", "--json").stdout)
    assert [one["account"] for one in document["assumptions"]] == [1, 2]
    assert all(one["answer"].startswith("cannot be told: ") for one in document["assumptions"])
