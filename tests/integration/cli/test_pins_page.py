"""The page on pins: its files are read as it says, and what it gives to other programs fits their schemas."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

from crawler.domain.scanner import scan
from tests.support.examples import blocks


def test_comments() -> None:
    """The page's comments name the zone and the image of a pin, and take another out."""
    (block,) = blocks("hcl", "docs/pins.md")

    assert [(pin.image_id, pin.zone, pin.named) for pin in scan(block, "a.tf").pins] == [
        ("uimage-x7zezb1gcv5", "hk-02", "ubuntu-20.04")
    ]


def test_pipelines(tmp_path: Path) -> None:
    """The workflow fits its schema and gives the action what it takes; pre-commit takes its configuration."""
    workflow, hooks = blocks("yaml", "docs/pins.md")
    (tmp_path / "workflow.yml").write_text(workflow)
    (tmp_path / "hooks.yaml").write_text(hooks)
    for words in (
        ["check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(tmp_path / "workflow.yml")],
        ["pre_commit", "validate-config", str(tmp_path / "hooks.yaml")],
    ):
        done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    (step,) = [step for step in yaml.safe_load(workflow)["jobs"]["image-ids"]["steps"] if "with" in step]
    taken = yaml.safe_load(Path("action.yml").read_text())["inputs"]
    assert step["with"].keys() <= taken.keys()
    assert {name for name, known in taken.items() if known["required"]} <= step["with"].keys()
