"""`variants = "auto"`, crawled: what is sold is asked about, and what comes, goes or cannot be told makes no noise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from crawler.emulator import EmulatorServer, run_in_thread
from tests.support.driving import ASKED, Driver, Ran, account
from tests.support.matrix import MACHINES, VERSIONS, auto, images, machine, matrix_timeline, sold, zones

HERE = zones(4)
ZONE = HERE[0]
#: What the variants of the machines begin with.
NAMES = ("o", "om", "g-v100", "g-a100", "g-h20")


@pytest.fixture
def user(tmp_path: Path) -> Driver:
    return Driver(tmp_path, str(tmp_path / "history.db"))


def questions(cloud: EmulatorServer, since: int = 0) -> list[tuple[str, str, str, str]]:
    """Return what was asked about UK8S images: zone, machine type, GPU type and version."""
    names = ("Zone", "MachineType", "GPUType", "K8sVersion")
    lines = [line for line in cloud.log[since:] if line.action == ASKED]
    return [tuple(line.params.get(name, "") for name in names) for line in lines]  # type: ignore[misc] # four of them


def told(user: Driver, *words: object) -> list[tuple[str, str | None, Mapping[str, Any]]]:
    """Return event, image and fields of each change."""
    return [(row["event"], row["image_id"], row["fields"]) for row in user.rows("changes", *words)]


def variants(user: Driver, *words: object) -> Counter[str]:
    return Counter(row["variant"] for row in user.rows("status", *words))


def test_what_is_asked(user: Driver) -> None:
    """Each machine and GPU type of a zone is asked about with each version of its region, beside `default`."""
    inventory = sold(HERE)
    inventory["instance-type"][ZONE] = [
        machine("O"),
        machine("V100", Status="Soldout"),
        machine("V100", InstanceType="spot"),
    ]
    with run_in_thread(matrix_timeline(HERE, inventory=inventory)) as cloud:
        ran = user.configure(auto(cloud.url)).run()
        first = questions(cloud)
        second = user.run()

    assert ran.targets == {"total": 3 * 16 + 7, "ok": 3 * 16 + 7}
    assert {one[1:] for one in first if one[0] == ZONE} == {("", "", "")} | {
        (*machine_type, version) for machine_type in (("O", ""), ("G", "V100")) for version in VERSIONS
    }
    assert len({one[1:] for one in first if one[0] == HERE[1]}) == 16
    assert len(first) == len(set(first))
    assert variants(user, "--zone", ZONE).keys() == {
        "default", *(f"{name}-{version}" for name in ("o", "g-v100") for version in ("1.26", "1.28", "1.30"))
    }  # fmt: skip
    assert second.targets == ran.targets
    assert not second.changes


def on_off_on(user: Driver, url: str) -> list[Ran]:
    """Run without the matrix, with it, without, and with it again, twice each."""
    with_matrix, without = auto(url), account(url)
    return [
        ran
        for configured in (without, with_matrix, without, with_matrix)
        for _ in range(2)
        for ran in [user.configure(configured).run()]
    ]


def test_on_off_on(user: Driver) -> None:
    """Turning the matrix on, off and on again gives no change of any image or target; the history goes on as it was."""
    with run_in_thread(matrix_timeline(HERE)) as cloud:
        ran = on_off_on(user, cloud.url)

    assert [one.targets["total"] for one in ran] == [4, 4, 64, 64, 4, 4, 64, 64]
    assert [one.summary["baseline"]["targets"] for one in ran] == [4, 0, 60, 0, 0, 0, 0, 0]
    assert not any(one.changes for one in ran)
    assert all(one.code == 0 for one in ran)


@pytest.mark.prove
def test_on_off_on_of_24_zones(user: Driver) -> None:
    """The same for 24 zones × 5 machines × 3 versions."""
    with run_in_thread(matrix_timeline(zones(24))) as cloud:
        ran = on_off_on(user, cloud.url)

    assert [one.targets["total"] for one in ran] == [24, 24, 384, 384, 24, 24, 384, 384]
    assert not any(one.changes for one in ran)


def test_a_version_that_ends(user: Driver) -> None:
    """A version that is offered no more is asked no more, ends no image, and is one change after three runs."""
    after = {
        "inventory": sold(HERE, versions=VERSIONS[1:]),
        "images": {zone: images(zone, without=["old"]) for zone in HERE},
    }
    with run_in_thread(matrix_timeline(HERE, steps=[after])) as cloud:
        user.configure(auto(cloud.url))
        user.run()
        cloud.advance()
        ran = [user.run() for _ in range(4)]

    assert {one.targets["total"] for one in ran} == {44}
    # the plain question stated the old image as well, and does no more: that was observed
    assert [one.changes for one in ran] == [{"withdrawn": 4}, {}, {"target_retired": 1}, {}]
    (row,) = user.rows("changes", "--event", "target_retired")
    assert row["fields"] == {"k8s_version": ["1.26.7", None], "zones": [HERE, None]}
    assert variants(user)["o-1.26"] == 0
    assert variants(user, "--retired")["o-1.26"] == 4


@pytest.mark.prove
def test_events_of_24_zones(user: Driver) -> None:
    """Of 24 zones × 5 machines × 3 versions what one GPU type loses in a zone is one event, and a version's end one."""
    where = zones(24)
    lost = {"images": {where[5]: images(where[5], lost_by={"every": "V100"})}}
    ended = {"inventory": sold(where, versions=VERSIONS[1:])}
    with run_in_thread(matrix_timeline(where, steps=[lost, ended])) as cloud:
        user.configure(auto(cloud.url))
        user.run()
        cloud.advance()
        user.run()
        cloud.advance()
        ran = [user.run() for _ in range(4)]
    rows = user.rows("changes")

    assert [(row["event"], row["zone"], row["image_id"]) for row in rows] == [
        ("withdrawn", where[5], f"uimage-{where[5]}-every"), ("target_retired", where[0], None),
    ]  # fmt: skip
    assert rows[0]["variants"] == ["g-v100-1.26", "g-v100-1.28", "g-v100-1.30"]
    assert rows[1]["fields"] == {"k8s_version": ["1.26.7", None], "zones": [where, None]}
    assert [one.targets["total"] for one in ran] == [264] * 4


def test_a_version_that_ended_while_nobody_can_tell(user: Driver) -> None:
    """What had ended is not asked where nobody can tell what is offered before it retires, and ends no image."""
    ended = {"inventory": sold(HERE, versions=VERSIONS[1:])}
    lost = {"images": {zone: images(zone, without=["old"]) for zone in HERE}}
    faults = [{"steps": 3, "action": "GetUK8SVersions", "ret_code": 150, "region": "r*"}]
    with run_in_thread(matrix_timeline(HERE, steps=[ended, lost, {}], faults=faults)) as cloud:
        user.configure(auto(cloud.url))
        ran = [user.run()]
        for _ in range(3):
            cloud.advance()
            ran.append(user.run())
        last = user.run()

    assert [one.targets["total"] for one in ran] == [64, 44, 44, 44]
    assert [one.changes for one in (*ran, last)] == [{}, {}, {"withdrawn": 4}, {}, {"target_retired": 1}]
    assert {row["variant"] for row in user.rows("changes", "--event", "withdrawn")} == {"default"}


def test_a_version_that_ends_and_returns(user: Driver) -> None:
    """A version that is offered again before the third discovery without it was never gone; later it is one change."""
    fewer = {"inventory": sold(HERE, versions=VERSIONS[1:])}
    with run_in_thread(
        matrix_timeline(HERE, steps=[fewer, {"inventory": sold(HERE)}, fewer, {"inventory": sold(HERE)}])
    ) as cloud:
        user.configure(auto(cloud.url))
        user.run()
        cloud.advance()
        gone = [user.run(), user.run()]
        cloud.advance()
        back = user.run()
        cloud.advance()
        later = [user.run() for _ in range(3)]
        cloud.advance()
        again = user.run()

    assert not any(one.changes for one in (*gone, back, *later[:2]))
    assert [later[2].changes, again.changes] == [{"target_retired": 1}, {"target_added": 1}]
    assert again.targets["total"] == 64
    assert told(user, "--event", "target_added")[0][2] == {"k8s_version": [None, "1.26.7"], "zones": [None, HERE]}


def test_a_machine_that_is_sold_no_more(user: Driver) -> None:
    """A GPU type that two zones stop to sell is one change that names it; its images there are unknown from then on."""
    fewer = sold(HERE)
    for zone in HERE[:2]:
        fewer["instance-type"][zone] = [machine(name) for name in MACHINES if name != "V100"]
    with run_in_thread(matrix_timeline(HERE, steps=[{"inventory": fewer}])) as cloud:
        user.configure(auto(cloud.url))
        user.run()
        cloud.advance()
        ran = [user.run() for _ in range(3)]

    assert [one.changes for one in ran] == [{}, {}, {"target_retired": 1}]
    assert told(user) == [
        ("target_retired", None, {"machine_type": ["G", None], "gpu_type": ["V100", None], "zones": [HERE[:2], None]})
    ]
    assert {row["state"] for row in user.rows("images", "--zone", ZONE, "--variant", "g-v100-*", "--retired")} == {
        "unknown"
    }


def test_a_zone_that_closes(user: Driver) -> None:
    """A zone that goes with all its variants is one change."""
    left = [{"region": zone[:3], "zone": zone} for zone in HERE[1:]]
    with run_in_thread(matrix_timeline(HERE, steps=[{"zones": left}])) as cloud:
        user.configure(auto(cloud.url))
        user.run()
        cloud.advance()
        ran = [user.run(code=None) for _ in range(3)]

    assert [one.changes for one in ran] == [{}, {}, {"target_retired": 1}]
    assert [(row["zone"], row["variant"]) for row in user.rows("changes")] == [(ZONE, "default")]


def test_a_zone_that_is_not_listed_for_a_while(user: Driver) -> None:
    """What the configuration gave up is not taken up again where a zone is not listed: nobody can tell its offers."""
    newer = sold(HERE, versions=[*VERSIONS[1:], "1.32.1"])
    everywhere = [{"region": zone[:3], "zone": zone} for zone in HERE]
    lost = {ZONE: images(ZONE, without=["other"])}
    with run_in_thread(
        matrix_timeline(
            HERE, steps=[{"inventory": newer}, {"zones": everywhere[1:], "images": lost}, {"zones": everywhere}]
        )
    ) as cloud:
        user.configure(auto(cloud.url, versions="latest-1"))
        ran = [user.run()]
        for _ in range(3):
            cloud.advance()
            ran.append(user.run())

    assert [one.targets["total"] for one in ran] == [24, 24, 24, 24]
    assert variants(user, "--zone", ZONE).keys() == {"default", *(f"{name}-1.30" for name in NAMES)}
    assert {row["variant"] for row in user.rows("changes")} <= {"default", *(f"{name}-1.30" for name in NAMES)}


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "GetUK8SVersions", "ret_code": 150},
        {"action": "GetUK8SAvailableInstanceTypes", "status": 503},
        {"action": "GetUK8SVersions", "images": {"Data": []}},
        {"action": "GetUK8SAvailableInstanceTypes", "images": {"AvailableInstanceTypes": []}},
        {"action": "GetUK8SVersions", "images": {"Data": [{"Name": "1.30"}]}},
        {"action": "Get*", "ret_code": 299},
    ],
)
def test_a_discovery_that_fails(user: Driver, fault: dict[str, Any]) -> None:
    """Where nobody can tell what is offered, all that is known is asked on, nothing is retired, and the run says so."""
    faults = [{"steps": 2, **fault, "region": "r*"}]
    with run_in_thread(matrix_timeline(HERE, steps=[{}], faults=faults)) as cloud:
        user.configure(auto(cloud.url))
        user.run()
        cloud.advance()
        ran = [user.run() for _ in range(4)]

    assert {one.targets["total"] for one in ran} == {64}
    assert not any(one.changes for one in ran)
    assert all("what was asked there before is asked on" in " ".join(one.summary["notices"]) for one in ran)


def test_the_older_action(user: Driver) -> None:
    """Where the newer action is not known the older one tells what is sold."""
    faults = [{"action": "GetUK8SAvailableInstanceTypes", "ret_code": 161}]
    with run_in_thread(matrix_timeline(HERE, faults=faults)) as cloud:
        ran = user.configure(auto(cloud.url)).run()

    assert ran.targets == {"total": 64, "ok": 64}
    assert not ran.summary["notices"]


def test_a_project_that_may_not_ask(user: Driver) -> None:
    """Where the key may not ask in one project what is sold, another one tells it, for all of them."""
    refused = [{"action": "GetUK8S*", "project": "org-a", "ret_code": 299}]
    with run_in_thread(matrix_timeline(HERE, projects=["org-a", "org-b"], faults=refused)) as cloud:
        ran = user.configure(auto(cloud.url)).run()

    assert ran.targets == {"total": 128, "ok": 128}
    assert not ran.summary["notices"]


def test_another_action_that_answers_later(user: Driver) -> None:
    """Where the older action answers instead of the one that did, nothing has ended: it may list other things."""
    fewer = {"images": {"AvailableInstanceTypes": [machine("O")]}}
    faults = [
        {"steps": 2, "action": "GetUK8SAvailableInstanceTypes", "ret_code": 161},
        {"steps": 2, "action": "DescribeAvailableInstanceTypes", **fewer},
    ]
    with run_in_thread(matrix_timeline(HERE, steps=[{}], faults=faults)) as cloud:
        user.configure(auto(cloud.url)).run()
        cloud.advance()
        ran = [user.run() for _ in range(3)]
        user.configure(auto(cloud.url) | {"tolerate": ["action"]})
        tolerated = [user.run(), user.configure(auto(cloud.url)).run(), user.run()]

    assert {one.targets["total"] for one in ran} == {64}
    assert not any(one.changes for one in (*ran, *tolerated[:2]))
    assert "the last good answer was one to GetUK8SAvailableInstanceTypes" in " ".join(ran[0].summary["notices"])
    assert [one.targets["total"] for one in tolerated] == [16, 16, 16]


def test_what_the_configuration_stops_to_want(user: Driver) -> None:
    """Fewer versions or GPU types deselect targets, without a change; more take them up again."""
    with run_in_thread(matrix_timeline(HERE)) as cloud:
        ran = [
            user.configure(auto(cloud.url, **choice)).run()
            for choice in (
                {}, {"versions": "latest-1"}, {"versions": ["1.30", "1.28.15"], "gpu_types": ["!a100"]}, {},
            )
        ]  # fmt: skip

    assert [one.targets["total"] for one in ran] == [64, 24, 36, 64]
    assert not any(one.changes for one in ran)


def test_turns(user: Driver) -> None:
    """Over the cap no run asks more, each target comes once in a round, and what is not in turn is in no outcome."""
    with run_in_thread(matrix_timeline(HERE)) as cloud:
        textfile = user.folder / "crawler.prom"
        user.configure(auto(cloud.url, max_targets=14), metrics={"textfile": str(textfile)})
        metrics: list[str] = []
        asked: list[list[tuple[str, str, str, str]]] = []
        for _ in range(18):
            before = len(cloud.log)
            ran = user.run()
            assert ran.targets == {"total": 14, "ok": 14}
            assert not ran.changes
            asked.append(questions(cloud, before))
            metrics.append(textfile.read_text())
        statuses = user.rows("status")
        rows = user.row_counts()

    rounds = [Counter(one for run in asked[begin : begin + 6] for one in run) for begin in (0, 6, 12)]
    for one in rounds:
        assert len(one) == 64
        assert {count for question, count in one.items() if question[1]} == {1}
        assert {count for question, count in one.items() if not question[1]} == {6}
    assert Counter(row["outcome"] for row in statuses) == {"ok": 64}
    assert rows["absences"] == 0
    assert "crawler_never_observed_targets 0" in metrics[0]
    assert "crawler_never_observed_targets 0" in metrics[-1]
    assert rows["scopes"] == 6


@pytest.mark.prove
def test_turns_of_24_zones(user: Driver) -> None:
    """Of 24 zones × 5 machines × 3 versions each is asked within stale_after, and no run asks more than the cap."""
    where, every, stale_after = zones(24), timedelta(minutes=15), timedelta(hours=6)
    with run_in_thread(matrix_timeline(where)) as cloud:
        user.configure(auto(cloud.url, max_targets=40), stale_after="6h")
        last: dict[tuple[str, str, str, str], Any] = {}
        for number in range(60):
            before, now = len(cloud.log), user.now
            ran = user.run()
            user.now = now + every
            asked = questions(cloud, before)
            assert ran.targets["total"] == len(asked) <= 40
            last |= dict.fromkeys(asked, now)
            if number >= 24:
                assert len(last) == 384
                assert now - min(last.values()) <= stale_after


def test_a_round_that_takes_too_long(user: Driver) -> None:
    """A matrix whose round is longer than stale_after is refused before anything is asked, also by a dry run."""
    with run_in_thread(matrix_timeline(HERE)) as cloud:
        user.configure(auto(cloud.url, max_targets=5), stale_after="6h")
        said = [user.call("run", *words, code=2).stderr for words in ((), ("--dry-run",))]
        assert not questions(cloud)

    for text in said:
        words = " ".join(text.split())
        assert "accounts[0].matrix: 60 targets of the matrix, 1 in a run, take 60 runs, which is 15h" in words
        assert "set max_targets to 7 or more, or narrow `versions` or `gpu_types`" in words


def test_one_account_with_a_round_that_takes_too_long(tmp_path: Path, database_url: str) -> None:
    """The other accounts are run as usual, incomplete (3) for it: the one is left as it is, skipped, until mended."""
    user = Driver(tmp_path, database_url)
    large = "prod: nothing is asked of it: 60 targets of the matrix, 1 in a run, take 60 runs"
    with run_in_thread(matrix_timeline(HERE)) as cloud:
        other = account(cloud.url, "other")
        user.configure(auto(cloud.url, max_targets=5), other, stale_after="6h")
        dry = user.call("run", "--dry-run")
        first = user.run(code=3)
        statuses = user.rows("status")
        user.configure(account(cloud.url), other, stale_after="6h")
        mended = user.run()
        user.configure(auto(cloud.url, max_targets=5), other, stale_after="6h")
        again = user.run(code=3)
        skipped = user.rows("status", "--account", "prod")
        begun = questions(cloud)
        user.configure(auto(cloud.url), other, stale_after="6h")
        last = user.run()

    assert large in " ".join(dry.stderr.split())
    assert {line.partition("/")[0] for line in dry.stdout.splitlines()} == {"other"}
    assert (first.targets, {row["account"] for row in statuses}) == ({"total": 4, "ok": 4}, {"other"})
    assert [large in notice for notice in first.summary["notices"]] == [True]
    assert (mended.targets, mended.changes) == ({"total": 8, "ok": 8}, {})
    assert (again.targets, again.changes) == ({"total": 8, "ok": 4, "skipped": 4}, {})
    assert {failure["class"] for failure in again.summary["failures"]} == {"configuration"}
    assert {row["outcome"] for row in skipped} == {"skipped"}
    assert skipped[0]["message"].startswith("not asked: 60 targets of the matrix, 1 in a run")
    assert not any(question[1] for question in begun)
    assert last.targets == {"total": 68, "ok": 68}


def test_a_matrix_that_outgrows_its_turns(user: Driver) -> None:
    """A matrix that was good, and that the cloud makes too large, goes on in turns; the run says what to do."""
    few = sold(HERE, versions=VERSIONS[:1])
    with run_in_thread(matrix_timeline(HERE, inventory=few, steps=[{"inventory": sold(HERE)}])) as cloud:
        user.configure(auto(cloud.url, max_targets=9), stale_after="5h")
        for _ in range(4):
            user.run()
        cloud.advance()
        ran = user.run()

    assert ran.targets == {"total": 9, "ok": 9}
    assert not ran.changes
    (notice,) = ran.summary["notices"]
    assert "prod: 60 targets of the matrix, 5 in a run, take 12 runs" in notice


def test_on_both_databases(tmp_path: Path, database_url: str) -> None:
    """What is told of variants, turns and folded changes is the same on every database."""
    user = Driver(tmp_path, database_url)
    lost = {"images": {zone: images(zone, lost_by={"every": "V100"}) for zone in HERE[:1]}}
    with run_in_thread(
        matrix_timeline(HERE[:2], steps=[lost, {"inventory": sold(HERE[:2], versions=VERSIONS[1:])}])
    ) as cloud:
        user.configure(auto(cloud.url, max_targets=17), stale_after="6h")
        ran = [user.run(), user.run()]
        cloud.advance()
        ran += [user.run(), user.run()]
        cloud.advance()
        ran += [user.run() for _ in range(3)]
    rows = user.rows("changes")

    assert {one.targets["total"] for one in ran[:4]} == {17}
    assert [(row["event"], row["variants"]) for row in rows] == [
        ("withdrawn", ["g-v100-1.26", "g-v100-1.28", "g-v100-1.30"]), ("target_retired", ["g-a100-1.26"]),
    ]  # fmt: skip
    assert len(user.rows("images", "--name", "Image other")) == 2
    assert {row["k8s_version"] for row in user.rows("matrix")} == set(VERSIONS[1:])


def test_a_restricted_run(user: Driver) -> None:
    """A run of one zone or variant asks its part of the matrix, and neither retires nor deselects anything."""
    fewer = {"inventory": sold(HERE, versions=VERSIONS[1:])}
    with run_in_thread(matrix_timeline(HERE, steps=[fewer])) as cloud:
        user.configure(auto(cloud.url))
        user.run()
        cloud.advance()
        ran = [user.run("--zone", ZONE), user.run("--variant", "g-v100-*")]
        whole = [user.run() for _ in range(3)]

    assert [one.targets["total"] for one in ran] == [11, 8]
    assert [one.changes for one in (*ran, *whole)] == [{}, {}, {}, {}, {"target_retired": 1}]


def test_the_cost_of_a_run(user: Driver) -> None:
    """A dry run tells how many requests there are, how long they take, and how the matrix takes turns; offline too."""
    with run_in_thread(matrix_timeline(HERE)) as cloud:
        user.configure(auto(cloud.url), limits={"rate": 16})
        assert "prod: 64 requests after discovery, 4 s at 16 per second; 60 of them of the matrix" in (
            user.call("run", "--dry-run").stderr
        )
        user.run()
        user.configure(auto(cloud.url, max_targets=14))
        listed = user.call("run", "--dry-run", "--offline", "--json")

    assert listed.stdout.count('"variant"') == 14
    assert "10 of them of the matrix, whose 60 targets take turns in 6 runs" in listed.stderr
