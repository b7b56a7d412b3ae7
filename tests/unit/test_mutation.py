"""What `./dev mutate` changes, and that every survivor which is excused has a reason."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.mutation.lanes import LANES, names_of, pattern_of, prepare
from tests.mutation.survivors import LISTED, reasons
from tests.support.house import ROOT


def test_what_is_mutated() -> None:
    """Every module of the domain, the outbox and pruning are mutated, each in one lane, by tests that are there."""
    files = [str(file) for lane in LANES for file in lane.files()]
    domain = [str(path.relative_to(ROOT)) for path in (ROOT / "crawler/domain").rglob("*.py")]

    assert sorted(files) == sorted(
        [*domain, "crawler/db/pruned_intervals.py", "crawler/db/outbox.py", "crawler/db/pruning.py"]
    )
    assert [test for lane in LANES for test in lane.tests if not (ROOT / test).exists()] == []


def test_reasons() -> None:
    """Each survivor that is listed is so once, under a reason in words."""
    groups = tomllib.loads(LISTED.read_text(encoding="utf-8"))["group"]
    listed = [mutant for group in groups for mutant in group["mutants"]]

    assert len(listed) == len(set(listed)) == len(reasons())
    assert [group["why"] for group in groups if len(group["why"].split()) < 4] == []
    modules = {
        ".".join(file.with_suffix("").parts[1:]).removesuffix(".__init__") for lane in LANES for file in lane.files()
    }
    assert [mutant for mutant in listed if not any(mutant.startswith(f"{module}.") for module in modules)] == []


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pattern of a file holds for the mutants of it."""
    from fnmatch import fnmatch

    monkeypatch.setattr("tests.mutation.lanes.WORK", tmp_path)
    lane = LANES[0]
    prepare(lane)
    path = Path("crawler/domain/staleness.py")

    names = names_of(lane, [path])
    assert len(names) > 10
    assert {fnmatch(name, pattern_of(path)) for name in names} == {True}
    assert not fnmatch(names[0], pattern_of(Path("crawler/domain/guard.py")))
