"""Short stories whose end the product owner knows: doubtful answers, and catalogs that lose what they listed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from sqlalchemy import Engine

from crawler.db.engine import read
from crawler.domain.rows import ChangeRow, RunSummary
from crawler.emulator import Fault
from crawler.emulator.builtin import published_regions
from crawler.queries import changes
from tests.simulation.lies import Lie
from tests.simulation.model import Key, Model, Record, region_of
from tests.simulation.run import Simulation
from tests.simulation.world import Plan

HOME = "cn-bj2-04"


def images(*numbers: int) -> dict[Key, Record]:
    return {
        Key("ImageSet", f"uimage-{number}"): {"ImageId": f"uimage-{number}", "ImageName": f"Linux {number}"}
        for number in numbers
    }


def make_model(*numbers: int, projects: int = 1) -> Model:
    return Model(
        projects={f"org-{number}": f"project {number}" for number in range(projects)},
        zones={HOME: 3001, "hk-02": 3002},
        images={HOME: images(*numbers), "hk-02": images(1, 2)},
    )


def empty_answer() -> Plan:
    """Let one zone say RetCode 0 and nothing else, for one run."""
    lie = Lie()
    fault = Fault(action="DescribeUK8SImage", zone=HOME, images=lie.sets(Model()))
    return Plan(faults=(fault,), lies={id(fault): lie})


def catalog_says(action: str, rows: Iterable[dict[str, Any]]) -> Plan:
    """Let discovery list *rows*, whatever the cloud has and answers."""
    name = "Regions" if action == "GetRegion" else "ProjectSet"
    body = json.dumps({"RetCode": 0, "Action": f"{action}Response", name: list(rows)})
    return Plan(faults=(Fault(action=action, body=body),))


def projects_are(*numbers: int) -> Plan:
    rows = [{"ProjectId": f"org-{number}", "ProjectName": f"project {number}"} for number in numbers]
    return catalog_says("GetProjectList", rows)


def ran(simulation: Simulation, plan: Plan | None = None) -> RunSummary:
    summary = simulation.run(plan)
    assert summary is not None
    return summary


def recorded(simulation: Simulation, event: str) -> list[ChangeRow]:
    with read(simulation.engine) as conn:
        return list(changes.changes(conn, events=[event]))


@pytest.mark.parametrize("where", range(1, 20))
def test_one_empty_answer(scratch: Engine, where: int) -> None:
    """One empty RetCode 0 answer in 20 runs: no withdrawal, one hold, dissolved by the next answer."""
    simulation = Simulation(scratch, make_model(1, 2, 3, 4, 5))
    for number in range(20):
        summary = ran(simulation, empty_answer() if number == where else None)
        assert summary.targets["held"] == (number == where)
    simulation.check_holds()
    simulation.close()
    assert recorded(simulation, "withdrawn") == []
    assert simulation.tally.holds == ({"dissolved": 1} if where < 19 else {"open": 1})


def test_life_goes_on_during_a_hold(scratch: Engine) -> None:
    """While a hold lasts, what the answers do list appears and changes as usual, at its own time."""
    model = make_model(1, 2, 3, 4, 5)
    simulation = Simulation(scratch, model)
    ran(simulation)
    model.images[HOME] = images(1)
    assert ran(simulation).targets["held"] == 1
    model.images[HOME] = images(1, 6)
    summary = ran(simulation)
    assert (summary.targets["held"], summary.changes["appeared"]) == (1, 1)
    simulation.close()
    [row] = recorded(simulation, "appeared")
    assert summary.finished_at is not None
    assert summary.started_at < row.observed_at <= summary.finished_at


def test_changes_keep_no_hold_alive(scratch: Engine) -> None:
    """A true wipe is reported after two confirmations, dated to its first sight, whatever else changes meanwhile."""
    model = make_model(1, 2, 3, 4, 5)
    simulation = Simulation(scratch, model)
    ran(simulation)
    model.images[HOME] = images(6)
    first = ran(simulation)
    assert (first.targets["held"], first.changes["withdrawn"]) == (1, 0)
    model.images[HOME] |= images(7)
    assert ran(simulation).changes["withdrawn"] == 0
    model.images[HOME] |= images(8)
    assert ran(simulation).changes["withdrawn"] == 5
    simulation.close()
    assert first.finished_at is not None
    for row in recorded(simulation, "withdrawn"):
        assert first.started_at < row.observed_at < first.finished_at
        assert row.recorded_at > first.finished_at


def test_failures_neither_confirm_nor_dissolve(scratch: Engine) -> None:
    """Runs in which the zone does not answer leave a hold as it is, however many they are."""
    model = make_model(1, 2, 3)
    simulation = Simulation(scratch, model)
    ran(simulation)
    model.images[HOME] = {}
    ran(simulation)
    for _ in range(5):
        ran(simulation, Plan(faults=(Fault(zone=HOME, drop=True),)))
    assert (ran(simulation).changes["withdrawn"], ran(simulation).changes["withdrawn"]) == (0, 3)
    simulation.close()


def test_published_regions(scratch: Engine) -> None:
    """
    The vendor's own region list, as it was published: the blank one retires nothing, however long it stays.

    A zone that is gone for three discoveries is retired, once; one that comes back, after years, is added.
    """
    model = make_model()
    simulation = Simulation(scratch, model)
    expected: Counter[str] = Counter()
    listed: set[str] = set()
    retired: set[str] = set()
    returned: set[str] = set()
    for snapshot in published_regions()["snapshots"]:
        zones = {zone for zone, _ in snapshot["zones"]}
        if snapshot["blank"]:
            for _ in range(10):
                summary = ran(simulation, catalog_says("GetRegion", []))
                assert summary.targets["total"] == len(listed)
                assert any("GetRegion: the list Regions is empty" in notice for notice in summary.notices)
            continue
        model.zones = {zone: 4000 + number for number, zone in enumerate(sorted(zones))}
        model.images = {zone: model.images.get(zone) or images(1) for zone in zones}
        if listed:
            expected["target_retired"] += len(listed - zones)
            expected["target_added"] += len(zones - listed)
            returned |= retired & (zones - listed)
            assert len(zones) * 2 > len(listed), "the published lists never shrank by half"
        retired |= listed - zones
        for number in range(4):
            summary = ran(simulation, Plan(gap_seconds=86_400))
            assert bool(summary.changes["target_retired"]) == (number == 2 and bool(listed - zones))
        listed = zones
    simulation.ask(simulation.clock())
    simulation.close()
    assert expected == {event: len(recorded(simulation, event)) for event in expected}
    assert {"cn-hz-01", "cn-bj1-01"} <= returned, "these were gone, and came back"


@pytest.mark.parametrize(("left", "needed"), [((0, 1), 9), ((0, 1, 2, 3, 4), 9), ((0, 1, 2, 3, 4, 5), 3)])
def test_key_that_sees_fewer_projects(scratch: Engine, left: tuple[int, ...], needed: int) -> None:
    """Seeing 2 (or 5) of 10 projects is told at once and retires at the ninth discovery; seeing 6 at the third."""
    simulation = Simulation(scratch, make_model(1, 2, projects=10))
    ran(simulation)
    for number in range(1, needed + 3):
        summary = ran(simulation, projects_are(*left))
        assert any(f"{len(left)} of 10 projects" in n for n in summary.notices) == (number == 1 and needed == 9)
        assert summary.changes["target_retired"] == (2 * (10 - len(left)) if number == needed else 0)
        assert summary.targets["total"] == (20 if number < needed else 2 * len(left))
    simulation.close()


def test_restricted_run_hides_no_shrunken_list(scratch: Engine) -> None:
    """A restricted run between does not make a list that shrank look normal: nine full discoveries are needed still."""
    simulation = Simulation(scratch, make_model(1, 2, projects=10))
    ran(simulation)
    for number in range(1, 10):
        ran(simulation, Plan(faults=projects_are(0, 1).faults, restriction={"zone": (HOME,)}))
        summary = ran(simulation, projects_are(0, 1))
        assert summary.changes["target_retired"] == (16 if number == 9 else 0)
    simulation.close()


@pytest.mark.parametrize("action", ["GetRegion", "GetProjectList"])
def test_empty_catalog_retires_nothing(scratch: Engine, action: str) -> None:
    """An empty list is no discovery: after twenty of them everything is asked, and observed well."""
    simulation = Simulation(scratch, make_model(1, 2, projects=3))
    ran(simulation)
    for _ in range(20):
        summary = ran(simulation, catalog_says(action, []))
        assert (summary.targets["ok"], summary.changes["target_retired"]) == (6, 0)
    simulation.close()


def test_project_that_vanishes_and_returns(scratch: Engine) -> None:
    """A project that is gone is retired, with its images left unknown; back, it is compared with what it had."""
    model = make_model(1, 2, 3, projects=3)
    simulation = Simulation(scratch, model)
    ran(simulation)
    name = model.projects.pop("org-2")
    for _ in range(5):
        ran(simulation)
    gone = simulation.clock()
    model.projects["org-2"] = name
    model.images[HOME].pop(Key("ImageSet", "uimage-3"))
    back = ran(simulation)
    simulation.ask(gone)
    simulation.ask(simulation.clock())
    simulation.close()
    assert (back.changes["target_added"], back.changes["appeared"], back.changes["withdrawn"]) == (2, 0, 3)
    assert {row.target.zone for row in recorded(simulation, "target_retired")} == {HOME, "hk-02"}
    assert region_of(HOME) == "cn-bj2"


@pytest.mark.parametrize("oddity", ["excess", "broken"])
@pytest.mark.parametrize("empty_answers", [1, 3])
def test_oddity_all_along_outlives_false_answers(scratch: Engine, oddity: str, empty_answers: int) -> None:
    """A constant excess of TotalCount, or a record unreadable all along, is no oddity after an empty answer either."""
    model = make_model(1, 2, 3, 4, 5)
    model.excess, model.broken = (3, ()) if oddity == "excess" else (None, ({"UImageId": "uimage-x"},))
    simulation = Simulation(scratch, model)
    ran(simulation)
    for _ in range(empty_answers):
        ran(simulation, empty_answer())
    model.images[HOME] = images(1, 2, 3, 4)
    assert ran(simulation).targets["failed"] == 0
    simulation.check_holds()
    simulation.close()
    gone = {row.image_id for row in recorded(simulation, "withdrawn")}
    assert gone == ({f"uimage-{number}" for number in range(1, 6)} if empty_answers == 3 else {"uimage-5"})
