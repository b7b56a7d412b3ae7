"""The recipe for a migration in CONTRIBUTING does what it says, in a copy of the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.command import ROOT
from tests.support.examples import blocks, commands


def test_recipe(tmp_path: Path) -> None:
    """The upgrade makes a database, and Alembic writes what the models have beyond it: nothing here."""
    for name in ("crawler", "migrations"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    (script,) = (block for block in blocks("sh", "CONTRIBUTING.md") if "alembic" in block)
    upgrade, revision, tests = commands(script)

    for words in ([sys.executable, "-m", "crawler", *upgrade[2:]], [sys.executable, "-m", "alembic", *revision[1:]]):
        done = subprocess.run(
            words,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done
    (new,) = (tmp_path / "migrations" / "versions").glob("*what_it_does*")
    assert re.findall(r"op\.(?!execute)\w+|batch_op\.\w+", new.read_text()) == []
    assert tests == ["./dev", "test", "tests/migration"]
