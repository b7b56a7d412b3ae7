"""
What is mutated, by which tests it is judged, and the folder in which mutmut does it.

A mutant runs those tests of its lane that reach its function, the quickest first, so that most cost half a second.
Databases are SQLite files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import chdir
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from mutmut.configuration import reset_config
from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.stats import status_by_exit_code
from mutmut.utils.format_utils import get_mutant_name

from tests.support.house import ROOT

#: Where mutmut works; nothing of it is kept in the tree.
WORK = ROOT / ".mutants"
#: What the tests need of the checkout, beside pyproject.toml.
_LINKED = ("crawler", "tests", "migrations", "config", "docs", "README.md")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Some modules and their quick tests."""

    name: str
    #: Patterns of files; `*` goes into subfolders.
    mutated: tuple[str, ...]
    tests: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Return the folder in which mutmut works."""
        return WORK / self.name

    def files(self) -> list[Path]:
        """Return the files that are mutated, relative to the checkout."""
        found = sorted(path.relative_to(ROOT) for path in (ROOT / "crawler").rglob("*.py"))
        return [path for path in found if any(fnmatch(str(path), pattern) for pattern in self.mutated)]


LANES = (
    Lane(
        name="domain",
        mutated=("crawler/domain/*.py",),
        tests=("tests/unit/domain", "tests/unit/notifications/test_digest.py", "tests/unit/notifications/test_pins.py"),
    ),
    Lane(
        name="outbox",
        mutated=("crawler/db/outbox.py",),
        tests=("tests/integration/db/test_outbox.py",),
    ),
    Lane(
        name="pruning",
        mutated=("crawler/db/pruning.py", "crawler/db/pruned_intervals.py"),
        tests=(
            "tests/unit/db/test_pruned_intervals.py",
            "tests/unit/db/test_pruning.py",
            "tests/integration/db/test_pruning.py",
            "tests/integration/db/test_pruned_past.py",
        ),
    ),
)


def prepare(lane: Lane) -> None:
    """Make the lane's folder: links into the checkout, and a pyproject.toml with mutmut's settings."""
    lane.folder.mkdir(parents=True, exist_ok=True)
    for name in _LINKED:
        link = lane.folder / name
        if not link.is_symlink():
            link.symlink_to(ROOT / name)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (lane.folder / "pyproject.toml").write_text(project + _settings(lane), encoding="utf-8")


def _settings(lane: Lane) -> str:
    values: dict[str, object] = {
        "source_paths": ["crawler"],
        "only_mutate": lane.mutated,
        "also_copy": ["migrations", "config", "docs", "README.md"],
        "pytest_add_cli_args_test_selection": lane.tests,
        "pytest_add_cli_args": [
            *("-m", "not slow and not prove", "-k", "not postgresql"),
            *("-p", "tests.mutation.quick_first", "-p", "no:cacheprovider", "--hypothesis-seed=0"),
        ],
        # A minute and six times what the tests took, of CPU twice that: a busy machine is no kill.
        "timeout_multiplier": 6.0,
        "timeout_constant": 10.0,
        "on_dependency_change": "ignore",
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(["\n[tool.mutmut]", *lines, "track_dependencies = false", "use_git_change_detection = false", ""])


def names_of(lane: Lane, files: Iterable[Path]) -> list[str]:
    """Return the names of the mutants of these files, in order."""
    names: list[str] = []
    with chdir(lane.folder):
        reset_config()
        for path in files:
            made = mutate_file_contents(str(path), (ROOT / path).read_text(encoding="utf-8"), None, None)
            names += [get_mutant_name(path, name) for name in made.mutant_names]
    return names


def pattern_of(path: Path) -> str:
    """Return the pattern of the names of the mutants of a file, and of no module below it."""
    return get_mutant_name(path, "x*")


def verdicts(lane: Lane, files: Iterable[Path]) -> Iterator[tuple[Path, str, str]]:
    """Yield file, name and verdict of each mutant that was tried: killed, survived, no tests, timeout or the like."""
    for path in files:
        meta = lane.folder / "mutants" / f"{path}.meta"
        if meta.is_file():
            for name, exit_code in json.loads(meta.read_text())["exit_code_by_key"].items():
                if exit_code is not None:
                    yield path, name, status_by_exit_code[exit_code]
