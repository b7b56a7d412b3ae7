"""
The mutants that no test kills, and why: `survivors.toml` beside this file.

A mutant is known by its function and what it changes there, not by its number, which moves with every edit.
"""

from __future__ import annotations

import tomllib
from contextlib import chdir
from pathlib import Path

from mutmut.configuration import reset_config
from mutmut.mutation.diff_apply import get_diff_for_mutant

from tests.mutation.lanes import Lane

LISTED = Path(__file__).with_name("survivors.toml")


def reasons() -> dict[str, str]:
    """Return why each mutant that is listed is not killed."""
    groups = tomllib.loads(LISTED.read_text(encoding="utf-8"))["group"]
    return {mutant: group["why"] for group in groups for mutant in group["mutants"]}


def described(lane: Lane, path: Path, name: str) -> str:
    """Return a mutant as it is listed: its module and function, and the changed lines before and after."""
    with chdir(lane.folder):
        reset_config()
        diff = get_diff_for_mutant(name, path=path).splitlines()[2:]
    sides = [" ".join(line[1:].strip() for line in diff if line.startswith(sign)) for sign in "-+"]
    function = (
        name.rpartition(".")[2].rpartition("__mutmut_")[0].removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
    )
    module = ".".join(path.with_suffix("").parts[1:]).removesuffix(".__init__")
    return f"{module}.{function}: {sides[0]} → {sides[1]}"
