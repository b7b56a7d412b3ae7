"""`crawler matrix`, and what `check` says where a variant that somebody needs is not crawled."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from crawler.emulator import run_in_thread
from crawler.web.answers import answer_schemas
from tests.support.driving import Driver, account
from tests.support.kinds import cluster
from tests.support.matrix import auto, images, matrix_timeline, sold, zones

HERE = zones(3)
ZONE = HERE[0]


@pytest.fixture
def user(tmp_path: Path) -> Driver:
    return Driver(tmp_path, str(tmp_path / "history.db"))


def groups(**machines: tuple[str, str]) -> dict[str, Any]:
    """Return clusters of one node group each in ZONE, by name with their GPU type and the image they boot."""
    made = []
    for name, (gpu_type, image) in machines.items():
        made.append(cluster(name, f"uimage-{ZONE}-{image}", AutoScalingGroup=[]))
        stated = {"MachineType": "G", "GpuType": gpu_type} if gpu_type else {"MachineType": "O"}
        made[-1]["NodeGroupList"] = [{**made[-1]["NodeGroupList"][0], "Zone": ZONE, **stated}]
    return {"node-group": {ZONE[:3]: made}}


def test_machines_and_versions(user: Driver) -> None:
    """The table has a row per machine and a column per version; the other formats a row per target, by the schema."""
    lost = {zone: images(zone, lost_by={"every": "V100"}) for zone in HERE[:1]}
    faults = [{"zone": HERE[2], "steps": 2, "action": "DescribeUK8SImage", "ret_code": 5000}]
    with run_in_thread(matrix_timeline(HERE, steps=[{"images": lost}], faults=faults)) as cloud:
        user.configure(auto(cloud.url)).run()
        cloud.advance()
        user.run(code=None)

    said = user.call("matrix", "--wide")
    assert said.stdout.splitlines()[0].split() == ["MACHINE", "1.26.7", "1.28.15", "1.30.14"]
    assert "3 to 4 in 2, unknown in 1" in " ".join(said.stdout.split())
    assert "Listed for machines alone, not by `default`: Image gpu." in said.stderr
    rows = user.rows("matrix")
    jsonschema.validate(rows, answer_schemas()["matrix"])
    assert Counter(row["machine_type"] for row in rows) == {"G": 27, "O": 9, "OM": 9}
    assert {row["gpu_type"] for row in rows if row["machine_type"] == "O"} == {None}
    assert {row["reason"] for row in rows if row["zone"] == HERE[2]} == {"failed"}
    (one,) = user.rows("matrix", "--zone", ZONE, "--variant", "g-v100-1.30")
    assert (one["k8s_version"], one["images"], one["hidden"], one["reason"]) == ("1.30.14", 2, 1, None)
    assert {row["images"] for row in user.rows("matrix", "--name", "Image old") if row["k8s_version"] != "1.26.7"} == {
        0
    }
    assert (
        user.call("matrix", "-o", "csv")
        .stdout.splitlines()[0]
        .endswith("variant,machine_type,gpu_type,k8s_version,images,hidden,reason,observed_at")
    )


def test_a_plain_question_that_is_not_answered(user: Driver) -> None:
    """Where nobody knows what `default` lists, nobody says what it hides."""
    refused = matrix_timeline(HERE[:1], faults=[{"action": "DescribeUK8SImage", "ret_code": 230}])
    with run_in_thread(matrix_timeline(HERE[:1])) as cloud:
        user.configure(auto(cloud.url)).run()
    with run_in_thread(refused) as cloud:
        user.configure(account(cloud.url)).run(code=None)

    said = user.call("matrix", "--retired")
    assert {row["hidden"] for row in user.rows("matrix", "--retired")} == {None}
    assert "Listed for machines alone" not in said.stderr


def test_what_a_subject_names(user: Driver) -> None:
    """The subject of a mail about what one GPU type lost names the type: to everybody else it is there."""
    report = {"name": "ops", "channel": "webhook", "url": "http://127.0.0.1:9/hook", "secret": "s" * 40}
    lost = {"images": {ZONE: images(ZONE, lost_by={"every": "V100"})}}
    with run_in_thread(matrix_timeline(HERE[:1], steps=[lost])) as cloud:
        user.configure(auto(cloud.url), reports=[report])
        user.run("--no-report")
        cloud.advance()
        user.run("--no-report")

    assert f"Subject: Image every withdrawn in {ZONE} (g-v100-*) [prod]" in (
        user.call("report", "preview", "--since", "90m").stdout
    )


def test_a_slow_clock(user: Driver) -> None:
    """A reader whose clock is behind counts what was recorded last, and is told."""
    with run_in_thread(matrix_timeline(HERE[:1], steps=[{"images": {ZONE: images(ZONE, without=["gpu"])}}])) as cloud:
        user.configure(auto(cloud.url)).run()
        cloud.advance()
        user.run()
    rows = user.rows("matrix")
    user.now -= timedelta(days=1)
    said = user.call("matrix", "-o", "json")

    assert json.loads(said.stdout) == rows
    assert {row["hidden"] for row in rows} == {0}
    assert "set the clock right" in said.stderr


def test_no_matrix(user: Driver) -> None:
    """Where no account asks about a matrix that is said, with what to do."""
    with run_in_thread(matrix_timeline(HERE)) as cloud:
        user.configure(account(cloud.url)).run()
    assert 'variants = "auto"' in user.call("matrix").stderr
    assert "about uk8s-image alone" in user.call("matrix", "--kind", "uhost-image", code=2).stderr
    assert user.call("matrix", "--at", "2026-01-01", code=8).exit_code == 8


def test_what_is_not_asked(user: Driver) -> None:
    """A rule about a variant that a zone is not asked with is `not-asked`, also when the matrix was turned off."""
    rules = user.folder / "rules.toml"
    rules.write_text(
        '[[require]]\nname = "Image gpu"\nvariant = "g-v100-1.30"\n'
        f'[[require]]\nname = "Image gpu"\nvariant = "g-v100-1.30"\nzones = ["{ZONE}"]\n'
        '[[require]]\nname = "Image gpu"\nvariant = "g-b200-1.30"\n'
    )

    def judged(code: int) -> list[str]:
        return [row["outcome"] for row in json.loads(user.call("check", rules, "-o", "json", code=code).stdout)]

    with run_in_thread(matrix_timeline(HERE)) as cloud:
        user.configure(auto(cloud.url)).run()
        on = judged(8)
        user.configure(account(cloud.url)).run()
        off = judged(8)

    assert on == ["ok"] * 4 + ["not-asked"] * 3
    assert off == ["not-asked"] * 7


def test_node_groups_with_gpus(user: Driver) -> None:
    """An image that only a machine lists is judged where that is asked about; where nobody asks it is `not-asked`."""
    inventory = sold(HERE) | groups(
        plain=("", "every"), v100=("V100", "gpu"), lost=("V100", "other"), b200=("B200", "gpu"), wrong=("", "gpu")
    )
    lost = {zone: images(zone, lost_by={"other": "V100"}) for zone in HERE}
    timeline = matrix_timeline(HERE, inventory=inventory, steps=[{"images": lost}])
    kinds = ["uk8s-image", "node-group"]

    def judged(code: int) -> dict[str, str]:
        rows = json.loads(user.call("check", "--live", "-o", "json", code=code).stdout)
        return {row["cluster_name"].lower(): row["outcome"] for row in rows}

    with run_in_thread(timeline) as cloud:
        user.configure(account(cloud.url, kinds=kinds)).run()
        without = judged(1)
        user.configure({**auto(cloud.url), "kinds": kinds}).run()
        cloud.advance()
        user.run()
        by_machine = judged(1)

    assert without == {"plain": "ok", "v100": "not-asked", "lost": "ok", "b200": "not-asked", "wrong": "never-seen"}
    assert by_machine == {"plain": "ok", "v100": "ok", "lost": "missing", "b200": "ok", "wrong": "ok"}


def test_a_pin_without_a_machine(user: Driver) -> None:
    """A pin whose machine nobody knows is judged by `default` where that lists it, and else by the machines that do."""
    lost = {zone: images(zone, lost_by={"every": "V100", "gpu": "V100"}) for zone in HERE}
    rules = user.folder / "rules.toml"
    rules.write_text(f'[[pinned]]\nids = ["uimage-{ZONE}-every", "uimage-{ZONE}-gpu"]\nzone = "{ZONE}"\n')
    with run_in_thread(matrix_timeline(HERE, steps=[{"images": lost}])) as cloud:
        user.configure(auto(cloud.url)).run()
        cloud.advance()
        for _ in range(3):  # so many withdrawals are not believed at once
            user.run(code=None)
    rows = json.loads(user.call("check", rules, "-o", "json", code=1).stdout)

    assert [(row["image_id"].rpartition("-")[2], row["outcome"]) for row in rows] == [
        ("every", "ok"), ("gpu", "ok"), ("gpu", "missing"),
    ]  # fmt: skip
    assert rows[2]["detail"].endswith("variant g-v100-*")
