"""Node groups as pins: `check --live`, `crawler pins`, and `pins_from = ["live"]`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, text

from crawler.db.schema import Absence
from crawler.domain.models import END_OF_TIME
from crawler.emulator import run_in_thread
from tests.support.command import call, rows
from tests.support.diary import Diary, Refusal, target
from tests.support.driving import Driver, account
from tests.support.kinds import cluster, kinds_timeline

HK = target("hk-02")
#: Stands for the target of node groups, and is made one once its records are there.
GROUPS = target("groups-00")
NODE_GROUPS = {
    "ng-1": ("NodeGroupList", {"node_image_id": "uimage-a", "group_name": "workers"}),
    "ng-2": ("NodeGroupList", {"node_image_id": "uimage-k", "group_name": "gpu"}),
    "asg-1": ("AutoScalingGroup", {"node_image_id": "uimage-a", "node_group_id": "ng-1"}),
    "asg-2": ("AutoScalingGroup", {"node_image_id": "uimage-k", "node_group_id": ""}),
    "ng-3": ("NodeGroupList", {"group_name": "without an image"}),
}


@pytest.fixture
def diary(engine: Engine) -> Diary:
    """Return a history with the node groups of a cluster, one of which boots an image that was re-issued."""
    diary = Diary(engine)
    diary.run(
        {HK: {"uimage-a": "Ubuntu", "uimage-k": "Keep", "uimage-l": "More"}, GROUPS: dict.fromkeys(NODE_GROUPS, "x")}
    )
    diary.run(
        {HK: {"uimage-b": "Ubuntu", "uimage-k": "Keep", "uimage-l": "More"}, GROUPS: dict.fromkeys(NODE_GROUPS, "x")}
    )
    return diary


def make_groups(engine: Engine) -> None:
    with engine.begin() as conn:
        conn.execute(text("UPDATE targets SET kind = 'node-group', region = 'hk', zone = '' WHERE zone = 'groups-00'"))
        for group_id, (image_set, attributes) in NODE_GROUPS.items():
            own = {"cluster_id": "uk8s-1", "cluster_name": "prod", "zone_name": "hk-02", **attributes}
            conn.execute(
                text("UPDATE image_versions SET image_set = :s, attributes = :a WHERE image_id = :i"),
                {"s": image_set, "a": json.dumps(own), "i": group_id},
            )


def test_node_groups(engine: Engine, database_url: str, diary: Diary) -> None:
    """Each node group is a pin with its cluster; a scaling group that belongs to one is no second row."""
    make_groups(engine)
    found = rows("--database", database_url, "check", "--live", now=diary.now, code=1)

    assert [(r["node_group_id"], r["image_id"], r["zone"], r["outcome"], r["successor"]) for r in found] == [
        (None, "uimage-k", "hk-02", "ok", None),
        ("ng-1", "uimage-a", "hk-02", "re-issued", "uimage-b"),
        ("ng-2", "uimage-k", "hk-02", "ok", None),
    ]
    assert {(r["cluster_id"], r["cluster_name"], r["effect"]) for r in found} == {("uk8s-1", "prod", "later-nodes")}
    assert [r["address"] for r in found] == ["prod/asg-2", "prod/workers", "prod/gpu"]
    listed = rows("--database", database_url, "pins", now=diary.now)
    assert [row["outcome"] for row in listed] == ["re-issued", "ok", "ok"]


def test_groups_in_doubt(engine: Engine, database_url: str, diary: Diary) -> None:
    """While a region's groups are not known, the pins are as last known, and a row says that there may be others."""
    diary.run({HK: {"uimage-b": "Ubuntu", "uimage-k": "Keep", "uimage-l": "More"}, GROUPS: Refusal(message="down")})
    make_groups(engine)
    found = rows("--database", database_url, "check", "--live", now=diary.now, code=1)

    assert len(found) == 4
    assert (found[-1]["rule"], found[-1]["outcome"]) == ("live pins of hk", "unknown")
    assert "its node groups are not known now (failed): down; there may be others" in found[-1]["detail"]
    assert "the group is as last known: failed" in found[1]["detail"]


def test_groups_in_doubt_elsewhere(engine: Engine, database_url: str, diary: Diary) -> None:
    """Where zones are selected, node groups of other regions than theirs are no matter: no node of theirs is there."""
    images = {"uimage-b": "Ubuntu", "uimage-k": "Keep", "uimage-l": "More"}
    diary.run({HK: images, target("sg-01"): {"uimage-s": "Ubuntu"}, target("groups-sg"): Refusal(message="down")})
    with engine.begin() as conn:
        conn.execute(text("UPDATE targets SET kind = 'node-group', region = 'sg', zone = '' WHERE zone = 'groups-sg'"))

    for words, doubts in (((), 1), (("--zone", "hk-02"), 0), (("--zone", "SG-*"), 1), (("--zone", "!sg-01"), 0)):
        code = 8 if doubts else 0
        found = rows("--database", database_url, "check", "--live", *words, now=diary.now, code=code)
        assert [row["rule"] for row in found] == ["live pins of sg"] * doubts, words


@pytest.mark.parametrize("reason", ["retired", "deselected"])
def test_groups_that_are_asked_for_no_more(engine: Engine, database_url: str, diary: Diary, reason: str) -> None:
    """A region that went, or that the configuration selects no more, is not in doubt; where all went, that is said."""
    other = target("groups-sg")
    images = {"uimage-b": "Ubuntu", "uimage-k": "Keep", "uimage-l": "More"}
    diary.run({HK: images, GROUPS: dict.fromkeys(NODE_GROUPS, "x"), other: Refusal(message="gone")})
    make_groups(engine)
    with engine.begin() as conn:
        conn.execute(text("UPDATE targets SET kind = 'node-group', region = 'sg', zone = '' WHERE zone = 'groups-sg'"))
    absent = {"reason": reason, "valid_from": diary.now, "valid_to": END_OF_TIME}
    ids = {where.region: target_id for where, target_id in diary.ids([]).items() if where.kind == "node-group"}
    with engine.begin() as conn:
        conn.execute(insert(Absence).values(target_id=ids["sg"], **absent))
    found = rows("--database", database_url, "check", "--live", now=diary.now, code=1)
    assert [row["rule"] for row in found] == ["pinned uimage-k", "pinned uimage-a", "pinned uimage-k"]

    with engine.begin() as conn:
        conn.execute(insert(Absence).values(target_id=ids["hk"], **absent))
    (row,) = rows("--database", database_url, "check", "--live", now=diary.now, code=8)
    assert row["outcome"] == "not-asked"


def test_nobody_asks(database_url: str, diary: Diary) -> None:
    """Where the kind is not configured, that is said, and does not pass."""
    (row,) = rows("--database", database_url, "check", "--live", now=diary.now, code=8)

    assert (row["outcome"], row["detail"]) == (
        "not-asked",
        "node groups are not asked for: add node-group to `kinds` of an account",
    )


def test_report(engine: Engine, database_url: str, diary: Diary, tmp_path: Path) -> None:
    """A report with the live pins tells of the images of node groups."""
    make_groups(engine)
    config = tmp_path / "crawler.toml"
    config.write_text(
        f'database = "{database_url}"\n[[accounts]]\nname = "prod"\npublic_key = "key"\nprivate_key = "another"\n'
        '[smtp]\nhost = "127.0.0.1"\nsecurity = "none"\nfrom = "crawler@example.com"\n'
        '[[reports]]\nname = "sre"\nto = ["sre@example.com"]\npins_from = ["live"]\n'
    )

    assert "uimage-a is gone. Use uimage-b" in call("--config", config, "report", "preview", now=diary.now).stdout


def test_node_groups_of_a_cloud(tmp_path: Path) -> None:
    """What a run records of node groups is judged with the images of the same run, as are those of machines."""
    user = Driver(tmp_path, str(tmp_path / "history.db"))
    with run_in_thread(kinds_timeline()) as cloud:
        user.configure(account(cloud.url, kinds=["node-group", "uk8s-image", "uhost-image"]))
        user.run()
    found = json.loads(user.call("check", "--live", "-o", "json").stdout)

    assert [(row["cluster_name"], row["node_group_id"], row["image_id"], row["outcome"]) for row in found] == [
        ("Blue", "ng-blue", "uimage-vareox", "ok"),
        ("Green", "ng-green", "uimage-vareox", "ok"),
    ]
    machine = 'resource "ucloud_instance" "m" {\n  availability_zone = "hk-02"\n  image_id = "uimage-u00007"\n}\n'
    (tmp_path / "machine.tf").write_text(machine)
    (row,) = json.loads(user.call("check", tmp_path / "machine.tf", "-o", "json").stdout)
    assert row["outcome"] == "ok"


def test_a_cluster_that_fails(tmp_path: Path) -> None:
    """Pins take the pages of clusters and two requests each; where one fails no pin goes, and that is said."""
    user = Driver(tmp_path, str(tmp_path / "history.db"))
    groups = {"node-group": {"hk": [cluster(f"c{number:03}") for number in range(120)]}}
    faults = [{"action": "DescribeUK8SAutoscalerGroup", "cluster": "uk8s-c077", "ret_code": 94007}]
    with run_in_thread(kinds_timeline(groups, steps=[{"faults": faults}, {"faults": []}])) as cloud:
        user.configure(account(cloud.url, kinds=["node-group", "uk8s-image"]))
        cloud.step = 2
        user.run(code=None)
        at_first = judged(user, 8)
        cloud.step, begun = 1, len(cloud.log)
        user.run()
        requests = Counter(line.action for line in cloud.log[begun:])
        good = judged(user, 0)
        cloud.step = 2
        user.run(code=None)
        failed = judged(user, 8)

    assert at_first == {"unknown": 1}
    assert good == {"ok": 120}
    assert failed == {"ok": 120, "unknown": 1}
    assert {action: count for action, count in requests.items() if "UK8SImage" not in action} == {
        "GetRegion": 1, "GetProjectList": 1, "ListUK8SClusterV2": 2,
        "ListUK8SNodeGroup": 120, "DescribeUK8SAutoscalerGroup": 120,
    }  # fmt: skip


def judged(user: Driver, code: int) -> Counter[str]:
    found = json.loads(user.call("check", "--live", "-o", "json", code=code).stdout)
    return Counter(row["outcome"] for row in found)
