"""
The world step by step, chosen by hypothesis, which shrinks a failure to the few steps that make it.

Every run is checked whole by the simulation (outcomes, changes, holds' effects); the questions are asked in between.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from crawler.emulator import Fault
from tests.simulation.lies import Lie
from tests.simulation.model import Key, Model, Record
from tests.simulation.oracle import Wish
from tests.simulation.run import Simulation
from tests.simulation.seeds import fresh_database
from tests.simulation.world import NAMES, Plan
from tests.support.acceptance_table import Proven

ZONES = ("hk-01", "hk-02", "cn-bj2-04")
PROJECTS = ("org-a", "org-b")
FAULTS: tuple[dict[str, Any], ...] = (
    {"drop": True},
    {"html": True},
    {"ret_code": 130},
    {"ret_code": 293},
    {"ret_code": 161},
    {"ret_code": 171},
)

zones = st.sampled_from(ZONES)
numbers = st.integers(min_value=1, max_value=6)
gaps = st.sampled_from([900.0, 900.0, 100_000.0])


class Machine(RuleBasedStateMachine):
    """A small cloud in somebody's hands."""

    def __init__(self) -> None:
        super().__init__()
        self._exit = ExitStack()
        engine = self._exit.enter_context(fresh_database())
        model = Model(projects={"org-a": "A"}, zones={"hk-01": 1}, images={zone: {} for zone in ZONES})
        self.simulation = Simulation(engine, model)
        self.model = model
        self._exit.callback(self.simulation.close)

    def teardown(self) -> None:
        """Compare the holds, and leave."""
        with self._exit:
            self.simulation.check_holds()

    # --- the cloud ---------------------------------------------------------------------------------------------------

    @rule(zone=zones, number=numbers, name=st.sampled_from(NAMES), gpu=st.booleans() | st.none())
    def put(self, zone: str, number: int, name: str, gpu: bool | None) -> None:
        """Let an image be there, or be otherwise."""
        record: dict[str, Any] = {"ImageId": f"uimage-{number}", "ImageName": name}
        if gpu is not None:
            record["NotSupportGPU"] = not gpu
        self.model.images[zone][self._key(number)] = record

    @rule(zone=zones, number=numbers)
    def take(self, zone: str, number: int) -> None:
        """Let an image vanish."""
        self.model.images[zone].pop(self._key(number), None)

    @rule(zone=zones)
    def wipe(self, zone: str) -> None:
        """Let everything vanish."""
        self.model.images[zone].clear()

    @rule(zone=zones)
    def turn_zone(self, zone: str) -> None:
        """Let a zone close, or open."""
        if self.model.zones.pop(zone, None) is None:
            self.model.zones[zone] = 1 + ZONES.index(zone)

    @rule(project=st.sampled_from(PROJECTS))
    def turn_project(self, project: str) -> None:
        """Let a project go, or come."""
        if self.model.projects.pop(project, None) is None:
            self.model.projects[project] = project.upper()

    # --- the crawler -------------------------------------------------------------------------------------------------

    @rule(gap=gaps)
    def run(self, gap: float) -> None:
        """Run, and all is well."""
        self.simulation.run(Plan(gap_seconds=gap, notes=("run",)))

    @rule(times=st.integers(min_value=2, max_value=4))
    def run_often(self, times: int) -> None:
        """Run until what waits for confirmation or patience has it."""
        for _ in range(times):
            self.simulation.run(Plan(notes=("run",)))

    @rule(zone=zones, fault=st.sampled_from(FAULTS))
    def run_with_fault(self, zone: str, fault: dict[str, Any]) -> None:
        """Run while one zone fails."""
        self.simulation.run(Plan(faults=(Fault(action="DescribeUK8SImage", zone=zone, **fault),)))

    @rule(action=st.sampled_from(["GetRegion", "GetProjectList"]), fault=st.sampled_from(FAULTS))
    def run_without_catalog(self, action: str, fault: dict[str, Any]) -> None:
        """Run while discovery fails."""
        self.simulation.run(Plan(faults=(Fault(action=action, **fault),)))

    @rule(zone=zones, kept=st.sets(numbers, max_size=2))
    def run_with_lie(self, zone: str, kept: set[int]) -> None:
        """Run while one zone says too little."""
        truth: dict[Key, Record] = self.model.images[zone]
        lie = Lie(records={key: truth[key] for number in sorted(kept) if (key := self._key(number)) in truth})
        images = lie.sets(self.model)
        fault = Fault(action="DescribeUK8SImage", zone=zone, images=images)
        self.simulation.run(Plan(faults=(fault,), lies={id(fault): lie}))

    @rule(zone=zones)
    def run_restricted(self, zone: str) -> None:
        """Run over one zone only."""
        wish: Wish = {"zone": (zone,)}
        self.simulation.run(Plan(restriction=wish))

    @rule(zone=zones)
    def run_deselected(self, zone: str) -> None:
        """Run with a configuration that wants one zone only."""
        wish: Wish = {"zone": (zone,)}
        self.simulation.run(Plan(wish=wish))

    @rule(transaction=st.integers(min_value=1, max_value=5), batch=st.sampled_from([1, 2]))
    def die(self, transaction: int, batch: int) -> None:
        """Run, and be killed on the way."""
        self.simulation.run(Plan(dies_at=transaction, batch=batch))

    @rule(seconds=st.sampled_from([0.05, 0.3, 0.6]))
    def be_stopped(self, seconds: float) -> None:
        """Run, and be asked to stop on the way."""
        self.simulation.run(Plan(stopped_after=seconds, batch=1))

    # --- the questions -----------------------------------------------------------------------------------------------

    @rule(place=st.integers(min_value=0, max_value=10_000), retired=st.booleans())
    def ask(self, place: int, retired: bool) -> None:
        """Ask about a moment at which something happened."""
        moments = self.simulation.moments
        self.simulation.ask(moments[place % len(moments)], include_retired=retired)

    @invariant()
    def present_is_known(self) -> None:
        """What is available now is what the oracle knows of it."""
        self.simulation.ask(self.simulation.clock())

    @staticmethod
    def _key(number: int) -> Key:
        return Key("ImageSet", f"uimage-{number}")


_CALM = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def test_machine() -> None:
    """Whatever the steps, the history says what could be known."""
    run_state_machine_as_test(Machine, settings=settings(_CALM, max_examples=30, stateful_step_count=20))


@pytest.mark.prove
def test_machine_at_length(proven: Proven) -> None:
    """The same with more and longer chains of steps."""
    proven("any chain of steps in a small cloud (hypothesis): the history says what could be known", "300 chains of 40")
    run_state_machine_as_test(Machine, settings=settings(_CALM, max_examples=300, stateful_step_count=40))
