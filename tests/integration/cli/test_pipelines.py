"""The hooks of pre-commit, the GitHub Action and the GitLab template: as their schemas have them, and run for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.checkout import POOL
from tests.support.checkout import story as story
from tests.support.diary import Diary
from tests.support.house import ROOT, text_of

BIN = Path(sys.executable).parent


def run(*words: str | Path, code: int = 0, environ: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        list(map(str, words)),
        env={
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            **(environ or {}),
        },
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def repository(story: tuple[str, Diary]) -> dict[str, str]:
    """Make the present folder a git repository with a stale pin; return the environment that leads to the history."""
    # the history's clock stands in June: nothing of it is to be stale today
    Path("crawler.toml").write_text(f'database = "{story[0]}"\nstale_after = "900d"\n')
    Path("pool.tf").write_text(POOL % "uimage-a")
    for words in (("init", "-q"), ("add", "pool.tf")):
        run("git", *words)
    return {"CRAWLER_CONFIG": str(Path("crawler.toml").absolute()), "HOME": str(Path.cwd())}


@pytest.mark.parametrize(
    ("schema", "path"), [("github-actions", "action.yml"), ("gitlab-ci", "config/ci/gitlab-ci.yml")]
)
def test_schemas(schema: str, path: str) -> None:
    """The action and the template fit the published schemas, which come with the checker."""
    run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", ROOT / path)


def test_schema_of_the_hooks() -> None:
    """The hooks fit their schema, and pre-commit takes them."""
    schema = ROOT / "tests/support/schemas/pre-commit-hooks.json"
    run(sys.executable, "-m", "check_jsonschema", "--schemafile", schema, ROOT / ".pre-commit-hooks.yaml")
    run(sys.executable, "-m", "pre_commit", "validate-manifest", ROOT / ".pre-commit-hooks.yaml")


def test_postgresql_can_be_read() -> None:
    """Each way of checking in a pipeline installs what reads a history on PostgreSQL, as the package names it."""
    extras = tomllib.loads(text_of(Path("pyproject.toml")))["project"]["optional-dependencies"]
    (template,) = yaml.safe_load(text_of(Path("config/ci/gitlab-ci.yml"))).values()
    steps = yaml.safe_load(text_of(Path("action.yml")))["runs"]["steps"]
    (install,) = [step["run"] for step in steps if step.get("name") == "Install"]

    assert template["variables"]["CRAWLER_PACKAGE"].endswith("[postgresql]")
    assert install.endswith('"${ACTION}[postgresql]"')
    for hook in yaml.safe_load(text_of(Path(".pre-commit-hooks.yaml"))):
        assert hook["additional_dependencies"] == extras["postgresql"]


def test_hook(repository: dict[str, str]) -> None:
    """pre-commit runs the hooks on a real repository: one fails with the pin, one puts it right, then both pass."""
    hooks: list[dict[str, Any]] = yaml.safe_load(text_of(Path(".pre-commit-hooks.yaml")))
    # as pre-commit reads them from a repository, but run with what is installed here: nothing is built
    local = [{**hook, "language": "system", "additional_dependencies": []} for hook in hooks]
    Path(".pre-commit-config.yaml").write_text(yaml.safe_dump({"repos": [{"repo": "local", "hooks": local}]}))
    run("git", "add", ".pre-commit-config.yaml")
    words = (sys.executable, "-m", "pre_commit", "run", "--all-files")

    said = run(*words, "crawler-check", code=1, environ=repository)
    assert "re-issued" in said
    assert "uimage-b" in said
    run(*words, "crawler-fix", code=1, environ=repository)
    assert Path("pool.tf").read_text() == POOL % "uimage-b"
    run(*words, environ=repository)


def action(**inputs: str) -> dict[str, str]:
    """Return the environment of the action's check, as the runner makes it of *inputs* and the defaults."""
    document = yaml.safe_load(text_of(Path("action.yml")))
    given = {name: inputs.get(name, known.get("default", "")) for name, known in document["inputs"].items()}
    (step,) = [step for step in document["runs"]["steps"] if step.get("id") == "check"]
    return {
        name: given.get(value.removeprefix("${{ inputs.").removesuffix(" }}"), str(ROOT))
        for name, value in step["env"].items()
    }


def test_action(story: tuple[str, Diary], repository: dict[str, str]) -> None:
    """The action's own step annotates the pin, writes the summary and the log, and fails; mended, it passes."""
    document = yaml.safe_load(text_of(Path("action.yml")))
    (script,) = [step["run"] for step in document["runs"]["steps"] if step.get("id") == "check"]
    outside = {"GITHUB_STEP_SUMMARY": "summary.md", "GITHUB_OUTPUT": "output.txt"}
    environ = {**action(database=story[0], sarif="log.sarif", arguments="--strict\n--ignore\nuimage-zzz"), **outside}
    said = run("bash", "-c", script, code=8, environ=environ)  # the history is old, and says so

    assert "::warning file=pool.tf,line=4,col=24,title=uimage-a is stale::" in said
    assert "| stale | `uimage-a`" in Path("summary.md").read_text()
    assert Path("output.txt").read_text() == "exit-code=8\n"
    assert json.loads(Path("log.sarif").read_text())["runs"][0]["results"][0]["ruleId"] == "stale"
    # a variable that is not set gives the empty text, not the default
    said = run("bash", "-c", script, code=8, environ={**environ, "PATHS": "\n"})
    assert "file=pool.tf,line=4" in said
    for words in ("--strict\n--live", "--live\n--strict"):
        live = run("bash", "-c", script, code=8, environ={**environ, "PATHS": "", "ARGUMENTS": words})
        assert "pool.tf" not in live
    Path("pool.tf").write_text("# none\n")
    assert "holds no image id" in run("bash", "-c", script, environ=environ)


@pytest.mark.parametrize("paths", [".", ""])
def test_template_for_gitlab(repository: dict[str, str], paths: str) -> None:
    """The template's own script writes both reports, and fails with the pin, also where no path is given."""
    (job,) = (job for job in yaml.safe_load(text_of(Path("config/ci/gitlab-ci.yml"))).values())
    script = "\n".join(job["script"])
    said = run("bash", "-c", script, code=1, environ={**repository, "CRAWLER_PATHS": paths})

    assert "re-issued" in said
    (issue,) = json.loads(Path("gl-code-quality-report.json").read_text())
    assert issue["location"] == {"path": "pool.tf", "lines": {"begin": 4}}
    assert 'failures="1"' in Path("image-ids.xml").read_text()
