"""The workflows of the public forge are well formed and say what the project says elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.house import ROOT, text_of

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(name: str) -> dict[str, Any]:
    """Return the workflow *name* as it is parsed."""
    document: dict[str, Any] = yaml.safe_load(text_of(Path(".github/workflows") / name))
    return document


def test_schema() -> None:
    """Every workflow fits the published schema, which comes with the checker."""
    assert WORKFLOWS
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    checked = subprocess.run([*checker, *map(str, WORKFLOWS)], capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_python_is_tried() -> None:
    """The quick tests run on every Python that the package names, on Linux and macOS."""
    project = tomllib.loads(text_of(Path("pyproject.toml")))["project"]
    named = [m[1] for line in project["classifiers"] if (m := re.search(r"Python :: (3\.\d+)$", line))]
    matrix = read("ci.yml")["jobs"]["fast"]["strategy"]["matrix"]

    assert matrix["python"] == named
    assert {re.sub(r"-.*", "", system) for system in matrix["system"]} == {"ubuntu", "macos"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_least_rights(path: Path) -> None:
    """A workflow may read by default; nothing of it holds a secret."""
    assert read(path.name)["permissions"] == {"contents": "read"}
    assert "secrets." not in path.read_text(encoding="utf-8")
