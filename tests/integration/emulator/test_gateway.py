"""The emulated gateway: encodings, signatures, accounts, RetCodes, the enforced rate, the log."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from crawler.emulator import EmulatedAccount, EmulatorOptions, EmulatorServer
from tests.support.by_hand import ask, images, post
from tests.support.worlds import make_timeline, sign

pytestmark = pytest.mark.asyncio

HK = {"Action": "DescribeUK8SImage", "Region": "hk", "Zone": "hk-02"}
WORLD = make_timeline(
    zones={"hk-02": {"uimage-a": "CentOS 7.6"}, "hk-03": {}, "sg-01": {"uimage-b": "Ubuntu 20.04"}},
    projects=["org-a", "org-b"],
)


async def test_form_json_and_query_get_the_same_answer() -> None:
    """The three documented encodings of one signed request are answered alike."""
    signed = sign(HK)
    async with EmulatorServer(WORLD) as server, aiohttp.ClientSession() as session:
        requests = [
            session.post(server.url, data=signed),
            session.post(server.url, json=signed),
            session.get(server.url, params=signed),
        ]
        bodies = []
        for request in requests:
            async with request as response:
                assert response.status == 200
                assert response.headers["X-UCLOUD-REQUEST-UUID"]
                bodies.append(await response.read())

    assert len(set(bodies)) == 1
    assert b'"RetCode":0,"Action":"DescribeUK8SImageResponse"' in bodies[0]
    assert [line.ret_code for line in server.log] == [0, 0, 0]


async def test_nested_json_is_verified_in_both_forms() -> None:
    """Arrays and objects of a JSON body are accepted signed under flat names and signed as bare nested values."""
    nested = {**HK, "Tags": ["x", "y"], "Ratio": 35.0, "Tiny": 0.00001, "Dry": True, "Nothing": None}
    flat_text = sign({**HK, "Tags.0": "x", "Tags.1": "y", "Ratio": "35", "Tiny": "0.00001", "Dry": "true"})
    bare_text = sign({**HK, "Tags": "xy", "Ratio": "35", "Tiny": "0.00001", "Dry": "true"})
    async with EmulatorServer(WORLD) as server, aiohttp.ClientSession() as session:
        for signed in (flat_text, bare_text):
            body = {**nested, "PublicKey": signed["PublicKey"], "Signature": signed["Signature"]}
            async with session.post(server.url, json=body) as response:
                assert (await response.json())["RetCode"] == 0


@pytest.mark.parametrize(
    ("ret_code", "params"),
    [
        (160, sign({"Region": "hk"})),
        (161, sign({"Action": "DescribeMoon"})),
        (170, {"Action": "GetRegion", "PublicKey": "anybody"}),
        (171, {**sign(HK), "Signature": "0" * 40}),
        (171, {**sign(HK), "Zone": "hk-03"}),
        (171, {**sign(HK), "Signature": "ä"}),
        (172, sign({**HK, "PublicKey": "nobody"})),
        (172, {**HK, "Signature": "0" * 40}),
        (220, sign({"Action": "DescribeUK8SImage"})),
        (220, sign({**HK, "MachineType": "G"})),
        (230, sign({**HK, "Region": "mars"})),
        (230, sign({**HK, "Zone": "sg-01"})),
        (230, sign({**HK, "ProductType": "laptop"})),
        (292, sign({**HK, "ProjectId": "org-nobody"})),
        (292, sign({**HK, "ProjectId": "org-a/Default"})),
    ],
)
async def test_refusals_are_ret_codes_in_http_200(ret_code: int, params: dict[str, str]) -> None:
    """A refused request is answered with HTTP 200, its documented RetCode, a Message and a request id."""
    async with EmulatorServer(WORLD) as server:
        answer = await post(server, params)

    assert answer.status == 200
    assert ret_code == answer.document["RetCode"]
    assert answer.document["Message"]
    assert answer.headers["X-UCLOUD-REQUEST-UUID"]
    assert "ImageSet" not in answer.document


async def test_an_unreadable_body_has_no_action() -> None:
    """A body that is not JSON although it says so is a request without an Action."""
    async with EmulatorServer(WORLD) as server, aiohttp.ClientSession() as session:
        for body in (b"{", b"[1]"):
            async with session.post(server.url, data=body, headers={"Content-Type": "application/json"}) as response:
                assert (await response.json())["RetCode"] == 160


async def test_channel_key_must_be_the_accounts() -> None:
    """A missing, wrong or superfluous channel-key header gives 174, even when it is empty."""
    channel = EmulatorOptions(accounts=(EmulatedAccount(channel_key="dedicated"),))
    async with EmulatorServer(WORLD, channel) as server:
        codes = [
            (await post(server, sign(HK), headers)).document["RetCode"]
            for headers in ({}, {"channel-key": "other"}, {"channel-key": "dedicated"})
        ]
    async with EmulatorServer(WORLD) as server:
        superfluous = (await post(server, sign(HK), {"channel-key": ""})).document["RetCode"]

    assert codes == [174, 174, 0]
    assert superfluous == 174


async def test_bearer_tokens_are_refused() -> None:
    """A token beside a signature gives 171, a token alone 174."""
    token = {"Authorization": "Bearer abc"}
    async with EmulatorServer(WORLD) as server:
        both = await post(server, sign(HK), token)
        alone = await post(server, HK, token)

    assert (both.document["RetCode"], alone.document["RetCode"]) == (171, 174)


async def test_sub_account_sees_what_is_open_to_it() -> None:
    """A sub-account must send a ProjectId, gets 292 and 293 for what is closed, and may be refused the project list."""
    account = EmulatedAccount(projects=("org-a",), zones=("hk-*",), sub_account=True, may_list_projects=False)
    async with EmulatorServer(WORLD, EmulatorOptions(accounts=(account,))) as server:
        without = await images(server)
        with_project = await images(server, ProjectId="org-a")
        other_project = await images(server, ProjectId="org-b")
        closed_zone = await images(server, "sg-01", ProjectId="org-a")
        projects = await ask(server, "GetProjectList")
        regions = await ask(server, "GetRegion")

    answers = (without, with_project, other_project, closed_zone, projects)
    assert [answer["RetCode"] for answer in answers] == [299, 0, 292, 293, 299]
    assert [row["Zone"] for row in regions["Regions"]] == ["hk-02", "hk-03"]


async def test_several_accounts_are_told_apart() -> None:
    """Every account of the timeline opens the cloud with its own pair of keys, and only with it."""
    accounts = [
        {"name": name, "public_key": f"public-{name}", "private_key": f"private-{name}", "projects": [f"org-{name}"]}
        for name in ("a", "b")
    ]
    world = make_timeline(projects=["org-a", "org-b"], accounts=accounts)
    asked = {"Action": "GetProjectList", "PublicKey": "public-b"}
    async with EmulatorServer(world) as server:
        right = (await post(server, sign(asked, "private-b"))).document
        wrong = (await post(server, sign(asked, "private-a"))).document

    assert [row["ProjectId"] for row in right["ProjectSet"]] == ["org-b"]
    assert wrong["RetCode"] == 171
    assert [line.account for line in server.log] == ["b", "b"]


async def test_rate_counts_accepted_requests_in_a_sliding_window() -> None:
    """Beyond the rate the answer is 153; a refused request does not lengthen the wait, an old one leaves the window."""
    now = 100.0
    async with EmulatorServer(WORLD, EmulatorOptions(rate=2), monotonic=lambda: now) as server:

        async def code_at(moment: float) -> int:
            nonlocal now
            now = moment
            return int((await images(server))["RetCode"])

        codes = [await code_at(moment) for moment in (100.0, 100.6, 100.7, 100.9, 101.0, 101.1, 101.6)]

    assert codes == [0, 0, 153, 153, 0, 153, 0]


async def test_each_account_has_its_own_rate_and_bad_signatures_cost_none() -> None:
    """One account's requests, and those that fail the signature, leave another's allowance alone."""
    accounts = (EmulatedAccount(), EmulatedAccount(name="other", public_key="other", private_key="secret"))
    options = EmulatorOptions(rate=0.5, accounts=accounts)
    async with EmulatorServer(WORLD, options, monotonic=lambda: 7.0) as server:
        forged = await post(server, {**sign(HK), "Signature": "0" * 40})
        first = await images(server)
        second = await images(server)
        other = await post(server, sign({**HK, "PublicKey": "other"}, "secret"))

    assert forged.document["RetCode"] == 171
    assert [first["RetCode"], second["RetCode"], other.document["RetCode"]] == [0, 153, 0]


async def test_log_has_times_and_targets_and_no_secrets() -> None:
    """The log tells when which target was asked and what came of it; keys and signatures are not in it."""
    moments = iter([1.0, 2.5])
    async with EmulatorServer(WORLD, monotonic=lambda: next(moments)) as server:
        await post(server, sign({**HK, "ProjectId": "org-b", "MachineType": "O"}), {"User-Agent": "tester/1"})
        await images(server, "mars-01")

    first, second = server.log
    assert (first.at, first.account, first.action) == (1.0, "default", "DescribeUK8SImage")
    assert (first.project, first.region, first.zone) == ("org-b", "hk", "hk-02")
    assert (first.ret_code, first.status, first.attempt, first.user_agent) == (0, 200, 1, "tester/1")
    assert first.params["MachineType"] == "O"
    assert (second.at, second.ret_code) == (2.5, 230)
    signature, public_key = sign(HK)["Signature"], sign(HK)["PublicKey"]
    assert signature not in str(server.log)
    assert public_key not in str(server.log)
    assert server.accounts[0].private_key not in repr(server.accounts)


async def test_log_can_be_left_out() -> None:
    """Without `keep_log` nothing is kept."""
    async with EmulatorServer(WORLD, EmulatorOptions(keep_log=False)) as server:
        assert (await images(server))["RetCode"] == 0

    assert server.log == []


async def test_connections_are_counted_and_kept_alive() -> None:
    """A client with a pool of three sends twelve requests over three connections."""
    async with EmulatorServer(WORLD) as server:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=3)) as session:

            async def one() -> None:
                async with session.post(server.url, data=sign(HK)) as response:
                    await response.read()

            await asyncio.gather(*(one() for _ in range(12)))

        assert server.connections_opened == 3
    assert len(server.log) == 12


async def test_latency_delays_every_answer() -> None:
    """The latency is waited for once per request."""
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    async with EmulatorServer(WORLD, EmulatorOptions(latency_ms=250), sleep=note) as server:
        await images(server)
        await post(server, {})

    assert waits == [0.25, 0.25]
