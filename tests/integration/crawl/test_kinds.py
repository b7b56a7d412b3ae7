"""Kinds beside UK8S images, crawled: pages, follow-ups, states, secrets, and a kind that somebody adds."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from crawler.db.engine import opened, read
from crawler.db.schema import Payload
from crawler.domain.kinds import KINDS, Field, Kind, Paging
from crawler.emulator import EmulatorServer, run_in_thread
from tests.support.driving import Driver, account
from tests.support.kinds import INVENTORY, PLANTED, cluster, kinds_timeline, machine_type, uhost_image, version

ALL = sorted(KINDS)


@pytest.fixture
def user(tmp_path: Path) -> Driver:
    return Driver(tmp_path, str(tmp_path / "history.db"))


def pages(server: EmulatorServer, action: str = "DescribeImage") -> list[str]:
    return [line.params.get("Offset", "") for line in server.log if line.action == action]


def changes(user: Driver, kind: str, *words: object) -> list[dict[str, Any]]:
    return user.rows("changes", "--kind", kind, *words)


def stored(user: Driver) -> bytes:
    """Return every byte that was written, with every answer that was kept as it was."""
    with opened(user.database, read_only=True) as engine, read(engine) as conn:
        kept = [zlib.decompress(body) for body in conn.scalars(select(Payload.body))]
    return b"".join([*kept, *(path.read_bytes() for path in user.folder.iterdir() if path.is_file())])


def test_every_kind(user: Driver) -> None:
    """Every kind is read whole, a page or a cluster after the other, and an equal answer writes nothing."""
    with run_in_thread(kinds_timeline()) as cloud:
        user.configure(account(cloud.url, kinds=ALL))
        first = user.run()
        asked = Counter(line.action for line in cloud.log)
        offsets = pages(cloud)
        before = user.row_counts()
        user.run()
        after = user.row_counts()

    assert first.targets == {"total": 6, "ok": 6}
    listed = sum(len(records) for kind in INVENTORY if kind != "node-group" for records in INVENTORY[kind].values())
    assert first.summary["baseline"] == {"targets": 6, "images": 1 + listed + 4}
    assert offsets == ["0", "100", "200"]
    assert asked == {
        "GetRegion": 1, "GetProjectList": 1, "DescribeUK8SImage": 1, "DescribeImage": 3, "DescribePHostImage": 1,
        "GetUK8SVersions": 1, "GetUK8SAvailableInstanceTypes": 1, "ListUK8SClusterV2": 1,
        "ListUK8SNodeGroup": 2, "DescribeUK8SAutoscalerGroup": 2,
    }  # fmt: skip
    assert {table for table in before if before[table] != after[table]} == {"runs"}


def test_small_pages(user: Driver) -> None:
    """A server that gives 50 records a page, whatever Limit says, is read whole."""
    with run_in_thread(kinds_timeline(quirks=["small-pages"])) as cloud:
        user.configure(account(cloud.url, kinds=["uhost-image"]))
        ran = user.run()
        offsets = pages(cloud)

    assert ran.summary["baseline"]["images"] == 250
    assert offsets == ["0", "50", "100", "150", "200"]


def test_pages_that_repeat_their_records(user: Driver) -> None:
    """A cloud that begins to list each record of a page twice withdraws nothing by it."""
    with run_in_thread(kinds_timeline(steps=[{"quirks": ["duplicate-records"]}])) as cloud:
        user.configure(account(cloud.url, kinds=["uhost-image"]))
        first = user.run()
        cloud.advance()
        doubled = user.run()

    assert first.summary["baseline"]["images"] == 250
    assert doubled.targets == {"total": 1, "ok": 1}
    assert changes(user, "uhost-image") == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"ret_code": 8010}, "RetCode 8010"),
        ({"status": 503}, "503"),
        ({"images": {"TotalCount": 250, "ImageSet": []}}, "the list ends after"),
        ({"images": {"ImageSet": [uhost_image(0)]}}, "is on two pages"),
    ],
)
def test_a_failed_page_ends_nothing(user: Driver, fault: dict[str, Any], said: str) -> None:
    """A page that fails, is short or comes again fails the observation, and the next good one finds no difference."""
    faults = [{"action": "DescribeImage", "offset": "100", "steps": 2, **fault}]
    with run_in_thread(kinds_timeline(steps=[{}, {}], faults=faults)) as cloud:
        user.configure(account(cloud.url, kinds=["uhost-image"]))
        user.run()
        cloud.advance()
        failed = user.run(code=None)
        cloud.advance()
        good = user.run()

    assert failed.targets == {"total": 1, "failed": 1}
    assert said in failed.failures["hk-02"]["message"]
    assert not failed.changes
    assert not good.changes


def test_a_failed_cluster_ends_nothing(user: Driver) -> None:
    """One cluster that does not answer fails the whole observation; its groups and those of the others stay."""
    faults = [{"action": "ListUK8SNodeGroup", "steps": 2, "cluster": "*-green", "ret_code": 94007}]
    with run_in_thread(kinds_timeline(steps=[{}, {}], faults=faults)) as cloud:
        user.configure(account(cloud.url, kinds=["node-group"]))
        user.run()
        cloud.advance()
        failed = user.run(code=None)
        cloud.advance()
        good = user.run()

    assert failed.targets == {"total": 1, "failed": 1}
    assert failed.failures[""]["ret_code"] == 94007
    assert not failed.changes
    assert not good.changes


@pytest.mark.parametrize("is_for_good", [False, True])
def test_a_cluster_that_seems_empty(user: Driver, is_for_good: bool) -> None:
    """Groups that the answer about their cluster lacks are gone where a second reading of all lacks them as well."""
    there = {"node-group": {"hk": [cluster("blue"), cluster("green"), cluster("red")]}}
    empty = {"action": "ListUK8SNodeGroup", "steps": 2, "cluster": "*-green", "body": '{"RetCode": 0}'}
    faults = [empty if is_for_good else {**empty, "attempts": [1]}]
    with run_in_thread(kinds_timeline(there, steps=[{}], faults=faults)) as cloud:
        user.configure(account(cloud.url, kinds=["node-group"]))
        user.run()
        cloud.advance()
        ran = user.run()

    assert ran.targets == {"total": 1, "ok": 1}
    assert ran.changes == ({"withdrawn": 1} if is_for_good else {})


def test_states(user: Driver) -> None:
    """A State other than Available modifies an image, which is bootable no more and not withdrawn."""
    making = [uhost_image(number, **({"State": "Unavailable"} if number == 7 else {})) for number in range(250)]
    with run_in_thread(kinds_timeline(steps=[{"inventory": {"uhost-image": {"hk-02": making}}}])) as cloud:
        user.configure(account(cloud.url, kinds=["uhost-image"]))
        user.run()
        cloud.advance()
        ran = user.run()

    assert ran.changes == {"modified": 1}
    (row,) = changes(user, "uhost-image")
    assert row["image_id"] == "uimage-u00007"
    assert row["fields"] == {"image_state": ["Available", "Unavailable"], "bootable": [True, False]}


def test_type_that_is_stated_later(user: Driver) -> None:
    """An image whose ImageType was not stated before has not gone when it is: it is in that set from then on."""
    stated = [uhost_image(number) for number in range(1, 4)]
    without = [{**record, "ImageType": None} if number == 0 else record for number, record in enumerate(stated)]
    renamed = [{**record, "ImageName": "Rocky"} if number == 0 else record for number, record in enumerate(stated)]
    steps = [{"inventory": {"uhost-image": {"hk-02": records}}} for records in (stated, renamed, renamed[1:])]
    with run_in_thread(kinds_timeline({"uhost-image": {"hk-02": without}}, steps=steps)) as cloud:
        user.configure(account(cloud.url, kinds=["uhost-image"]))
        told, sets = [], []
        for _ in range(4):
            told.append(user.run().changes)
            rows = user.rows("inventory", "--kind", "uhost-image", "--image-id", stated[0]["ImageId"])
            sets.append([row["image_set"] for row in rows])
            cloud.advance()

    assert told == [{}, {}, {"modified": 1}, {"withdrawn": 1}]
    assert sets == [["unstated"], ["Base"], ["Base"], []]


@pytest.mark.parametrize(("before", "after"), [("Base", None), (None, "Base"), (None, None)])
def test_comeback_with_another_word_about_its_type(user: Driver, before: str | None, after: str | None) -> None:
    """An image has returned where its ImageType is not stated any more, or was not then; what was stated is its set."""
    rest = [uhost_image(number) for number in range(2, 6)]
    lists = ([*rest, uhost_image(1) | {"ImageType": said}] for said in (before, after))
    was, back = ({"uhost-image": {"hk-02": records}} for records in lists)
    steps = [{"inventory": {"uhost-image": {"hk-02": rest}}}, {"inventory": back}]
    with run_in_thread(kinds_timeline(was, steps=steps)) as cloud:
        user.configure(account(cloud.url, kinds=["uhost-image"]))
        told = []
        for _ in range(3):
            told.append(user.run().changes)
            cloud.advance()

    assert told == [{}, {"withdrawn": 1}, {"returned": 1}]
    assert changes(user, "uhost-image")[-1]["image_set"] == (before or after or "unstated")


def test_what_is_not_compared(user: Driver) -> None:
    """How many nodes a group has is no change; with a change of the group it is what the same answer says."""

    def groups(image_id: str, nodes: int) -> dict[str, Any]:
        made = cluster("blue", image_id)
        made["AutoScalingGroup"][0]["CurrentNodeNum"] = nodes
        return {"node-group": {"hk": [made]}}

    steps = [{"inventory": groups("uimage-a", 9)}, {"inventory": groups("uimage-b", 10)}]
    with run_in_thread(kinds_timeline(groups("uimage-a", 3), steps=steps)) as cloud:
        user.configure(account(cloud.url, kinds=["node-group"]))
        told = [user.run().changes, *(user.run().changes for _ in range(2) if cloud.advance())]

    (row,) = user.rows("inventory", "--kind", "node-group", "--image-id", "asg-*")
    assert told == [{}, {}, {"modified": 2}]
    assert (row["node_image_id"], row["nodes_now"]) == ("uimage-b", 10)


def test_events_of_the_other_kinds(user: Driver) -> None:
    """Versions that go, types that sell out and groups whose image changed are changes, which `explain` finds."""
    after = {
        "uk8s-version": {"hk": [version(name) for name in ("1.30.14", "1.32.9", "1.34.1")]},
        "instance-type": {"hk-02": [machine_type("O"), machine_type("V100", "Soldout", ParentType="G")]},
        "node-group": {"hk": [cluster("blue", "uimage-new"), cluster("green")]},
    }
    with run_in_thread(kinds_timeline(steps=[{"inventory": after}])) as cloud:
        user.configure(account(cloud.url, kinds=list(after)))
        user.run()
        cloud.advance()
        user.run()

    told = {(row["kind"], row["event"], row["image_id"], json.dumps(row["fields"])) for row in user.rows("changes")}
    assert told == {
        ("uk8s-version", "withdrawn", "1.28.15", "{}"),
        ("uk8s-version", "appeared", "1.34.1", "{}"),
        ("instance-type", "withdrawn", "V100/spot", "{}"),
        ("instance-type", "modified", "V100", '{"status": ["Normal", "Soldout"]}'),
        ("node-group", "modified", "ng-blue", '{"node_image_id": ["uimage-vareox", "uimage-new"]}'),
        ("node-group", "modified", "asg-blue", '{"node_image_id": ["uimage-vareox", "uimage-new"]}'),
    }
    assert "withdrawn V100/spot" in user.call("explain", "V100/spot").stdout


def test_the_older_action(user: Driver) -> None:
    """Where GetUK8SAvailableInstanceTypes is not known, DescribeAvailableInstanceTypes is read; no version is."""
    with run_in_thread(kinds_timeline(schema="2020")) as cloud:
        user.configure(account(cloud.url, kinds=["instance-type", "uk8s-version"]))
        ran = user.run(code=None)

    assert ran.targets == {"total": 2, "ok": 1, "failed": 1}
    assert ran.failures[""]["ret_code"] == 161


def test_the_older_action_for_a_while(user: Driver) -> None:
    """
    An endpoint that forgets the newer action for a run has withdrawn nothing: the older one may list fewer types, so
    that its answer is believed once somebody says so, and not before.
    """
    fewer = json.dumps({"RetCode": 0, "AvailableInstanceTypes": [machine_type("O")]})
    faults = [
        {"action": "GetUK8SAvailableInstanceTypes", "steps": [2, 4], "ret_code": 161},
        {"action": "DescribeAvailableInstanceTypes", "body": fewer},
    ]
    with run_in_thread(kinds_timeline(steps=[{}, {}, {}], faults=faults)) as cloud:
        user.configure(account(cloud.url, kinds=["instance-type"]))
        outcomes = []
        for _ in range(3):
            outcomes.append(user.run(code=None).targets)
            cloud.advance()
        before = changes(user, "instance-type")
        listed = user.rows("inventory", "--kind", "instance-type")
        user.configure(account(cloud.url, kinds=["instance-type"], tolerate=["action"]))
        user.run(code=None)
        user.configure(account(cloud.url, kinds=["instance-type"]))
        for _ in range(5):  # so many are gone at once that the guard has it confirmed
            believed = user.run(code=None)

    assert [one.get("ok", 0) for one in outcomes] == [1, 0, 1]
    assert before == []
    assert len(listed) == 3
    assert believed.targets == {"total": 1, "ok": 1}
    assert {row["image_id"] for row in changes(user, "instance-type")} == {"V100", "V100/spot"}


def test_nothing_planted_is_kept(user: Driver) -> None:
    """Passwords, user data, scripts and certificates of clusters are in no byte that is written or said."""
    moved = {"node-group": {"hk": [cluster("blue", "uimage-new")]}}
    lie = {"action": "ListUK8SNodeGroup", "steps": 3, "body": f'{{"NodeGroupList": [{{"UserData": "{PLANTED[1]}'}
    with run_in_thread(kinds_timeline(steps=[{"inventory": moved}, {}], faults=[lie])) as cloud:
        user.configure(account(cloud.url, kinds=["node-group"]))
        said = []
        for _ in range(3):
            ran = user.run("-vv", code=None)
            said.append(ran.result.stdout + ran.result.stderr)
            cloud.advance()
    last = user.rows("changes")[-1]["id"]
    said.append(user.call("explain", last, code=None).output)
    everything = stored(user).decode("latin1") + "".join(said)

    assert "94007" not in everything
    assert "uimage-new" in everything
    assert [planted for planted in PLANTED if planted in everything] == []


# --- a kind that somebody adds ---------------------------------------------------------------------------------------


@pytest.fixture
def moon(monkeypatch: pytest.MonkeyPatch) -> Kind:
    """Add a paged kind; what stands between the marks is all that a kind takes."""
    # begin
    kind = Kind(
        name="phost-image",
        action="DescribePHostImage",
        paging=Paging(limit=10),
        sets={"ImageSet": ()},
        id_keys=("MoonId",),
        fields=(
            Field(name="image_name", keys=("MoonName",)),
            Field(name="craters", keys=("Craters",), type="integer"),
            Field(name="phase", keys=("Phase",), compared=False),
        ),
        sources=("the moon",),
    )
    # end
    monkeypatch.setitem(KINDS, kind.name, kind)
    return kind


def test_a_made_up_kind(user: Driver, moon: Kind) -> None:
    """A paged kind of fifteen lines is crawled, asked, compared, told and pruned, without a migration."""

    def moons(*numbers: int, craters: int = 5) -> dict[str, Any]:
        made = [{"MoonId": f"moon-{n}", "MoonName": f"Moon {n}", "Craters": craters, "Phase": n} for n in numbers]
        return {"phost-image": {"hk-02": made}}

    steps = [{"inventory": moons(*range(1, 25))}, {"inventory": moons(*range(1, 25), craters=6)}, {}]
    with run_in_thread(kinds_timeline(moons(*range(24)), steps=steps)) as cloud:
        user.configure(account(cloud.url, kinds=[moon.name]))
        begun = user.now
        runs = [user.run(), *(user.run() for _ in range(3) if cloud.advance())]
        offsets = pages(cloud, moon.action)[:3]

    assert offsets == ["0", "10", "20"]
    assert [ran.changes for ran in runs] == [{}, {"appeared": 1, "withdrawn": 1}, {"modified": 24}, {}]
    assert len(user.rows("inventory", "--kind", moon.name)) == 24
    assert {row["craters"] for row in user.rows("inventory", "--kind", moon.name)} == {6}
    assert len(user.rows("diff", begun.isoformat(), "now", "--kind", moon.name)) == 25
    user.call("db", "prune", "--keep", "1d", "--yes", code=None)
    assert len(user.rows("inventory", "--kind", moon.name, "--name", "Moon 7")) == 1


def test_doctor_tries_every_kind(user: Driver) -> None:
    """`doctor` calls the action of each kind with what it takes, and the older one where the newer is not known."""
    with run_in_thread(kinds_timeline(schema="2020")) as cloud:
        user.configure(account(cloud.url, kinds=ALL))
        said = user.call("doctor", code=None).output
        asked = Counter((line.action, line.ret_code) for line in cloud.log if line.action != "GetRegion")

    for action in ("DescribeImage", "DescribePHostImage", "DescribeAvailableInstanceTypes", "ListUK8SClusterV2"):
        assert asked[(action, 0)] == 1, (action, asked)
    assert "GetUK8SVersions is refused in hk of project org-example" in " ".join(said.split())
