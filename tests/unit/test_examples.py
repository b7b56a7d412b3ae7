"""No example of the pages is left out: each block and each command is run by a test, or the reason stands here."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.support.examples import blocks, commands, crawler_words, fenced, from_nothing, single_commands
from tests.support.house import pages, text_of, tracked_files

#: Commands that no test runs as they stand, by how they begin: what runs them otherwise, or why nothing can.
ELSEWHERE = {
    "./dev test": "runs this",
    "./dev mutate": "takes hours; tests/unit/test_mutation.py looks at what it changes",
    "./dev lint": "`.ci/run` and the workflow do; as a test it would lint twice",
    "./dev demo": "is `crawler demo`, whose screen tests/acceptance/test_packaging.py compares, behind a set-up",
    ".venv/bin/alembic": "tests/migration/test_recipe.py, in a copy of the checkout",
    ".venv/bin/python -m build": "tests/acceptance/test_packaging.py",
    ".venv/bin/twine check": "tests/acceptance/test_packaging.py",
    "export CRAWLER_IMAGE=": "tests/integration/cli/test_schedule.py has an image's name in the environment",
    "python3 -m pip wheel": "tests/acceptance/test_container.py",
    "buildah build": "tests/acceptance/test_container.py, where buildah and mmdebstrap are",
    "podman secret": "needs podman; the container of that test has the keys in its environment",
    "podman run": "needs podman; tests/acceptance/test_container.py runs the same words in buildah's container",
    "kubectl apply": "needs a cluster; tests/unit/ops/test_deploy.py holds the manifests against the published schemas",
    "aws s3": "tests/integration/web/test_uploads.py, where aws and rclone are",
    "updatecli diff": "needs updatecli; tests/unit/web/test_followers.py reads the pipeline",
    "git ": "of a pull request, behind `crawler check --fix`, which is run",
    "gh pr create": "needs GitHub",
    "curl -fsS http://127.0.0.1:8485/": "tests/integration/web/test_served_documents.py asks a server for it",
    "terraform state pull": "needs a backend with a state; a file stands for what it prints",
}
#: Set-ups that are played by tests of their own to what comes at their end, by what only they have.
PLAYED = {
    "aiosmtpd": "tests/acceptance/test_first_mail.py",
    "HTTPS_PROXY": "tests/acceptance/test_behind_a_proxy.py",
}
#: Chinese pages and the English ones that they say the same as.
TRANSLATED = {path: path.replace("zh/", "").replace(".zh", "") for path in pages() if "zh" in re.split(r"\W", path)}


def test_every_block_is_run() -> None:
    """A test asks for the blocks of each language on each page; shells' and consoles' are taken apart below."""
    sources = "".join(text_of(path) for path in tracked_files() if path.parts[0] == "tests" and path.suffix == ".py")
    asked = set(re.findall(r'\bblocks\("(\w*)"(?:, "([\w./-]+)")?\)', sources))
    there = {(language, page) for page, text in pages().items() for language, _ in fenced(text)}

    assert {(language, page) for language, page in there if not {(language, page), (language, "")} & asked} == set()


def test_every_command_is_run() -> None:
    """A command of a shell block calls `crawler`, or it is listed above; what is listed is in a page."""
    others = [" ".join(command) for command in single_commands() if crawler_words(command) is None]
    listed = [" ".join(command) for command in single_commands()]

    assert [command for command in others if not command.startswith(tuple(ELSEWHERE))] == []
    assert [start for start in ELSEWHERE if not any(command.startswith(start) for command in listed)] == []


def test_listed_tests_are_there() -> None:
    """The tests that are said to run something exist and speak of it."""
    for why in [*ELSEWHERE.values(), *PLAYED.values()]:
        for path in re.findall(r"tests/\S+\.py", why):
            assert Path(path) in tracked_files(), path
    for mark, path in PLAYED.items():
        assert mark in text_of(Path(path))


def test_the_first_mail_is_one_recipe() -> None:
    """What leads from nothing to a mail is the same on each page that has it, but for the language."""
    recipes = [script for script in from_nothing() if "aiosmtpd" in script]

    assert len(recipes) >= 2
    assert len({str(list(commands(script))).replace(', language = "zh"', "") for script in recipes}) == 1


@pytest.mark.parametrize("chinese", sorted(TRANSLATED))
def test_chinese_examples(chinese: str) -> None:
    """A Chinese page has the examples of its English page, in their order, but for the language of the mails."""
    assert examples_of(chinese) == examples_of(TRANSLATED[chinese])


def examples_of(page: str) -> list[object]:
    """Return the blocks of a page without comments, but for screens, which are in the page's language."""
    found: list[object] = []
    for language, block in fenced(pages()[page]):
        if language == "sh":
            found.append(str(list(commands(block))).replace(', language = "zh"', ""))
        elif language == "toml":
            found.append(re.sub(r"'language': '\w+'", "", str(tomllib.loads(block))))
        elif language:
            found.append(block)
    return found


def test_chinese_demo() -> None:
    """The demo's screen ends with the same calls on both front pages; its Chinese is played in the acceptance tests."""
    screens = (*blocks("", "README.zh.md"), *blocks("", "README.md"))
    calls = [re.findall(r"^(?:\S+)? +((?:crawler|export).*)$", screen, re.MULTILINE) for screen in screens]

    assert calls[0] == calls[1]
    assert len(calls[0]) == 5
