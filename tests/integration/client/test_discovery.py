"""Discovery against a real server: what is read, what is tolerated, and what is told apart."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from crawler.client.api import ApiClient
from crawler.client.api_options import Endpoint
from crawler.client.discovery import Discovery, discover
from crawler.client.throttle import RetryBudget
from crawler.domain.models import Place, Project
from crawler.domain.objections import Tolerable
from tests.support.api_server import ApiServer, Arrival, answer_json
from tests.support.fake_time import FakeTime
from tests.support.fetch_bench import fetch_options

pytestmark = pytest.mark.asyncio(loop_scope="function")

REGIONS = {
    "RetCode": 0,
    "Regions": [
        {"Region": "hk", "Zone": "hk-02", "RegionId": 3002, "IsDefault": False},
        {"Region": "cn-bj2", "Zone": "cn-bj2-04", "RegionId": 9001, "IsDefault": True},
    ],
}
PROJECTS = {"RetCode": 0, "ProjectSet": [{"ProjectId": "org-1", "ProjectName": "Default", "IsDefault": True}]}


async def discovered(
    regions: Any = REGIONS,
    projects: Any = PROJECTS,
    *,
    time: FakeTime | None = None,
    deadline: float | None = None,
    budget: RetryBudget | None = None,
    tolerated: Collection[Tolerable] = (),
) -> tuple[Discovery, list[str]]:
    """Discover against a server that answers so; give the discovery and the actions that arrived."""
    time = time or FakeTime()

    def respond(arrival: Arrival) -> Any:
        answer = regions if arrival.action == "GetRegion" else projects
        return answer(arrival) if callable(answer) else answer

    async with ApiServer(respond) as server:
        endpoint = Endpoint(url=server.url, public_key="public", private_key="private")
        async with ApiClient(endpoint, fetch_options(), timing=time.timing()) as client:
            found = await discover(client, deadline=deadline, budget=budget, tolerated=tolerated)
    return found, [arrival.action for arrival in server.log]


async def test_good() -> None:
    """Regions first, then projects; sorted, with the zone's number."""
    found, actions = await discovered()

    assert actions == ["GetRegion", "GetProjectList"]
    assert found == Discovery(
        projects=(Project("org-1", "Default", is_default=True),),
        places=(Place("cn-bj2", "cn-bj2-04", 9001), Place("hk", "hk-02", 3002)),
    )
    assert found.is_good


async def test_tolerant() -> None:
    """Key case, text for numbers, missing fields and repeated rows do not matter; useless ones are counted."""
    regions = {
        "retcode": "0",
        "regions": [
            {"region": "hk", "zone": "hk-02", "regionid": "3002"},
            {"Region": "hk", "Zone": "hk-02", "RegionId": 3002},
            {"Region": "hk", "Zone": "hk-03"},
            {"Region": "sg", "Zone": "sg-01", "RegionId": 1},
            {"Region": "sg", "Zone": "sg-01", "RegionId": 2},
            {"Region": "us-ca"},
            {"Zone": "us-ws-01"},
            {"Region": None, "Zone": 7},
            "kr-seoul",
        ],
    }
    projects = {
        "RetCode": "0",
        "ProjectSet": [{"ProjectId": "org-2"}, {"projectid": "org-1", "ProjectName": "a"}, {}, 5],
    }

    found, _ = await discovered(regions, projects)

    assert found.places == (Place("hk", "hk-02", 3002), Place("hk", "hk-03"), Place("sg", "sg-01"))
    assert found.projects == (Project("org-1", "a"), Project("org-2"))
    assert found.problems == ()
    assert found.incomplete == (
        "GetRegion: 4 of 9 rows cannot be read (a row names its Region and Zone in 1 to 100 characters), so the list "
        "is incomplete: what it lacks does not count as missing",
        "GetProjectList: 2 of 4 rows cannot be read (a row names its ProjectId in 1 to 100 characters), so the list "
        "is incomplete: what it lacks does not count as missing",
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"RetCode": 0, "Regions": []}, "the list Regions is empty"),
        ({"RetCode": 0}, "no list Regions"),
        ({"RetCode": 0, "Regions": {}}, "no list Regions"),
        ({"RetCode": 0, "Regions": ["hk"]}, "no row of Regions is an object"),
        ({"RetCode": 0, "Regions": [{"Region": "hk"}]}, "no row names both"),
    ],
)
async def test_empty(answer: Mapping[str, Any], words: str) -> None:
    """A list that is empty or useless is a problem, and no catalog."""
    found, _ = await discovered(answer)

    assert found.places is None
    assert found.projects is not None
    assert not found.is_good
    assert [words in problem for problem in found.problems] == [True]


@pytest.mark.parametrize(
    ("said", "is_default"), [("true", True), ("True", True), (1, True), ("false", False), (None, False)]
)
async def test_default_project(said: Any, is_default: bool) -> None:
    """The default project is known by whatever a brand writes for true."""
    found, _ = await discovered(projects={"RetCode": 0, "ProjectSet": [{"ProjectId": "org-1", "IsDefault": said}]})

    assert found.projects == (Project("org-1", is_default=is_default),)


async def test_no_projects() -> None:
    """An empty project list is a problem, not a refusal."""
    found, _ = await discovered(projects={"RetCode": 0, "ProjectSet": []})

    assert found.projects is None
    assert not found.projects_refused
    assert found.problems == ("GetProjectList: the list ProjectSet is empty",)


@pytest.mark.parametrize("code", [230, 292, 299])
async def test_refused_projects(code: int) -> None:
    """A sub-account's refused project list is told apart and is asked for once."""
    found, actions = await discovered(projects={"RetCode": code, "Message": "no permission"})

    assert actions.count("GetProjectList") == 1
    assert found.projects_refused
    assert found.projects is None
    assert "no permission" in found.refusal
    assert found.places is not None
    assert found.problems == ()


@pytest.mark.parametrize("code", [170, 171, 172, 174, 294, 295])
async def test_credential(code: int) -> None:
    """Refused credentials end the discovery after exactly one request, with the code explained."""
    found, actions = await discovered({"RetCode": code, "Message": "no"})

    assert actions == ["GetRegion"]
    assert found.credential is not None
    assert found.credential.ret_code == code
    assert f"RetCode {code}: " in found.problems[0]


async def test_credential_later() -> None:
    """Credentials refused by the second question stop the account too."""
    found, _ = await discovered(projects={"RetCode": 172})

    assert found.credential is not None
    assert found.places is not None


async def test_transient() -> None:
    """What passes is tried again, with waits that double and within the run's budget."""
    time = FakeTime()
    answers = iter([answer_json({}, status=502), {"RetCode": 110}, {"RetCode": 153}, {"RetCode": 150}, REGIONS])
    budget = RetryBudget(0)

    found, actions = await discovered(lambda _: next(answers), time=time, budget=budget)

    assert found.is_good
    assert actions == ["GetRegion"] * 5 + ["GetProjectList"]
    assert [wait for wait in time.slept if wait in (0.5, 1.0, 2.0)] == [0.5, 1.0, 0.5, 2.0]
    assert budget.remaining == 97


async def test_gives_up() -> None:
    """After its attempts a question is given up with the last answer's words; the next is still asked."""
    found, actions = await discovered({"RetCode": 150, "Message": "restoring"})

    assert actions == ["GetRegion"] * 4 + ["GetProjectList"]
    assert found.places is None
    assert "restoring (RetCode 150" in found.problems[0]


async def test_budget_spent() -> None:
    """Without retries left in the run there is one attempt."""
    budget = RetryBudget(0)
    budget.remaining = 0

    _, actions = await discovered({"RetCode": 150}, budget=budget)

    assert actions == ["GetRegion", "GetProjectList"]


async def test_nobody_there() -> None:
    """Without any answer the second question is not asked."""
    endpoint = Endpoint(url="http://nowhere.invalid/", public_key="public", private_key="private")
    async with ApiClient(endpoint, fetch_options(), timing=FakeTime().timing()) as client:
        found = await discover(client)

    assert client.counts.sent == 4
    assert client.counts.retried == 3
    assert [problem.startswith("GetRegion: the name of nowhere.invalid") for problem in found.problems] == [True]


async def test_deadline() -> None:
    """No wait crosses the deadline, and nothing is asked after it."""
    time = FakeTime()

    found, actions = await discovered({"RetCode": 150}, time=time, deadline=1.2)
    late, none = await discovered(time=time, deadline=0.1)

    assert actions == ["GetRegion", "GetRegion", "GetProjectList"]
    assert not found.is_good
    assert time.now < 1.2
    assert none == []
    assert late.problems == ("GetRegion: not asked: the run's deadline came first",)


async def test_stop() -> None:
    """A stop ends a wait between attempts at once."""
    stop, waiting = asyncio.Event(), asyncio.Event()
    time = FakeTime()

    async def sleep(_: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    def respond(_: Arrival) -> Mapping[str, Any]:
        client.timing = timing  # from now on sleeping never ends
        return {"RetCode": 150, "Message": "restoring"}

    timing = time.timing()
    timing = type(timing)(clock=timing.clock, monotonic=timing.monotonic, sleep=sleep, uniform=timing.uniform)
    async with ApiServer(respond) as server:
        endpoint = Endpoint(url=server.url, public_key="public", private_key="private")
        async with ApiClient(endpoint, fetch_options(), timing=time.timing()) as client:
            task = asyncio.create_task(discover(client, stop=stop))
            await waiting.wait()
            stop.set()
            found = await task

    assert len(server.log) == 1
    assert "restoring" in found.problems[0]


async def test_names_that_are_none() -> None:
    """A row with a name longer than any cannot be read; a number that no database holds is no number."""
    long = "x" * 101
    regions = {
        "RetCode": 0,
        "Regions": [
            {"Region": "hk", "Zone": "hk-02", "RegionId": 10**30},
            {"Region": "hk", "Zone": long, "RegionId": 1},
            {"Region": long, "Zone": "hk-03", "RegionId": 2},
        ],
    }
    projects = {"RetCode": 0, "ProjectSet": [{"ProjectId": long}, {"ProjectId": "org-1", "ProjectName": long}]}
    found, _ = await discovered(regions, projects)

    assert found.places == (Place("hk", "hk-02", None),)
    assert found.projects == (Project("org-1", long),)
    assert [sentence.partition(" cannot")[0] for sentence in found.incomplete] == [
        "GetRegion: 2 of 3 rows",
        "GetProjectList: 1 of 2 rows",
    ]


@pytest.mark.parametrize(
    ("stated", "why"),
    [
        ({"TotalCount": 3}, ["TotalCount is 3, and 2 rows are listed"]),
        ({"totalcount": "3"}, ["TotalCount is 3, and 2 rows are listed"]),
        ({"RegionCount": 4}, ["RegionCount is 4, and 2 rows are listed"]),
        ({"RegionsCount": 4, "TotalCount": 2}, ["RegionsCount is 4, and 2 rows are listed"]),
        ({"TotalCount": 2, "RegionCount": 1, "ProjectCount": 9}, []),
        ({"TotalCount": "2.5"}, ["TotalCount is 3, and 2 rows are listed"]),
        ({"TotalCount": None, "RegionCount": "many"}, []),
        ({"NextToken": "x"}, ["NextToken says that there is more than it lists"]),
        (
            {"TotalCount": 3, "Page": {"HasMore": "true"}},
            ["TotalCount is 3, and 2 rows are listed and HasMore says that there is more than it lists"],
        ),
        ({"NextToken": "", "HasMore": False}, []),
    ],
)
async def test_count_of_a_list(stated: Mapping[str, Any], why: list[str]) -> None:
    """A list that states more rows than it has is incomplete, unless that is tolerated; fewer say nothing."""
    tolerated: tuple[Tolerable, ...] = ("count",)
    found, _ = await discovered({**REGIONS, **stated})
    tolerant, _ = await discovered({**REGIONS, **stated}, tolerated=tolerated)

    assert [sentence.removeprefix("GetRegion: ").partition(", so ")[0] for sentence in found.incomplete] == why
    assert found.is_good
    assert tolerant.incomplete == ()


async def test_project_count() -> None:
    """Of the projects too; what could not be read and what is not listed are one sentence."""
    found, _ = await discovered(projects={**PROJECTS, "ProjectCount": 2})
    both, _ = await discovered(projects={"RetCode": 0, "ProjectCount": 3, "ProjectSet": [{"ProjectId": "org-1"}, 7]})

    assert found.incomplete == (
        "GetProjectList: ProjectCount is 2, and 1 row is listed, so the list is incomplete: what it lacks does not "
        "count as missing",
    )
    (sentence,) = both.incomplete
    assert "1 of 2 rows cannot be read" in sentence
    assert " and ProjectCount is 3, and 2 rows are listed, so " in sentence
