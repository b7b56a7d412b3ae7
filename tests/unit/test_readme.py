"""The README tells the truth: every command is in it, and everything in it exists."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from crawler.cli.app import cli
from crawler.db.views import VIEW_COLUMNS
from crawler.domain.models import Target
from crawler.domain.rows import ChangeRow, ImageRow
from crawler.errors import EXIT_CODE_HELP
from tests.support.house import ROOT, text_of, tracked_files

README = text_of(Path("README.md"))
#: Lines that would install somebody else's package, which has the name of our command.
FOREIGN_INSTALL = re.compile(
    r"(?:(?:pipx?3?|uv tool|uv pip|uv) (?:install|add|run --with)|uvx)(?: +-\S+)* +[\"']?crawler(?![\w./-])"
)


def commands(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Give the words of every command that does something, as `("runs", "show")`."""
    if not isinstance(command, click.Group):
        yield words
        return
    if command.invoke_without_command and words:
        yield words
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        if inner is not None and not inner.hidden:
            yield from commands(inner, (*words, name))


def shell_lines() -> Iterator[str]:
    """Give each command of the README's shell blocks, comments and chains taken apart, and what stands behind a `$`."""
    blocks = re.findall(r"^```(?:sh|cron)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    prompts = re.findall(r"^\$ (.*)$", README, re.MULTILINE)
    for block in [*blocks, *prompts]:
        for line in block.splitlines():
            words = re.sub(r"\s#\s.*", "", line)
            yield from (part.strip() for part in re.split(r"&&|;", words) if part.strip())


CRAWLER_LINES = [match[1] for line in shell_lines() if (match := re.search(r"(?:^|bin/)crawler (.*)", line))]


@pytest.mark.parametrize("words", sorted(commands(cli)), ids=" ".join)
def test_every_command_is_told(words: tuple[str, ...]) -> None:
    """Every command of `crawler --help` is in the README."""
    assert re.search(rf"crawler (?:-q )?{' '.join(words)}\b", README) or _is_listed(words)


def _is_listed(words: tuple[str, ...]) -> bool:
    """Tell whether sub-commands stand together, as `crawler config validate|show`."""
    listed = re.findall(rf"crawler {' '.join(words[:-1])} ?([\w-]+(?:\|[\w-]+)+)", README)
    return any(words[-1] in names.split("|") for names in listed)


@pytest.mark.parametrize("line", CRAWLER_LINES)
def test_every_example_is_real(line: str) -> None:
    """Every `crawler …` line of the README is understood: its command, its options and their values exist."""
    command: click.Command = cli
    arguments = shlex.split(line)
    context: click.Context | None = None
    while True:
        context = command.make_context(command.name, arguments, parent=context)
        arguments = [*context._protected_args, *context.args]
        if not isinstance(command, click.Group) or not arguments:
            break
        name, inner, arguments = command.resolve_command(context, arguments)
        assert inner is not None, name
        command = inner


def test_every_word_of_dev_is_real() -> None:
    """Every `./dev …` of the README is a word of the script, and every word of the script is in the README."""
    told = set(re.findall(r"\./dev ([a-z]+)", README))
    known = set(re.findall(r"^([a-z]+)\)$", text_of(Path("dev")), re.MULTILINE)) | {"lint"}

    assert told == known


def test_exit_codes() -> None:
    """The table of exit codes is the program's own."""
    rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", README, re.MULTILINE))

    assert rows == {str(int(code)): text for code, text in EXIT_CODE_HELP.items()}


@pytest.mark.parametrize("view", VIEW_COLUMNS)
def test_views(view: str) -> None:
    """Each public view is told with all of its columns."""
    (row,) = re.findall(rf"^\| `{view}` \|.*\|$", README, re.MULTILINE)
    groups = dict(re.findall(r"\*(\w+)\*:((?:\s*`\w+`,?)+)", README))
    told = set(re.findall(r"`(\w+)`", row)) - {view}
    for name in re.findall(r"\*(\w+)\*", row):
        told |= set(re.findall(r"`(\w+)`", groups[name]))

    assert told == {column for column in VIEW_COLUMNS[view] if not column.endswith("_epoch")}


def test_json_shapes() -> None:
    """The JSON rows of the README have exactly the fields of the program's own."""
    now = datetime(2026, 6, 1, tzinfo=UTC)
    target = Target(account="a", project="p", region="r", zone="z", kind="uk8s-image")
    image = ImageRow(
        target=target,
        image_set="ImageSet",
        image_id="uimage-a",
        attributes={},
        valid_from=now,
        present_since=now,
        baseline=True,
        superseded_by=None,
        state="present",
        reason=None,
        observed_at=now,
    )
    change = ChangeRow(
        id=1,
        run=1,
        target=target,
        event="withdrawn",
        image_set="ImageSet",
        image_id="uimage-a",
        image_name="",
        fields={},
        counterpart=None,
        not_before=None,
        observed_at=now,
        recorded_at=now,
    )
    rows = re.findall(r'^\{"account".*?["\d]\}(?=,?$)', README, re.MULTILINE | re.DOTALL)

    assert [list(json.loads(row)) for row in rows] == [list(image.as_dict()), list(change.as_dict())]


def test_links() -> None:
    """Every relative link leads to a file."""
    links = re.findall(r"\]\((?!https?://|#)([^)]+)\)", README)

    assert [link for link in links if not (ROOT / link).exists()] == []


def test_nobody_elses_package() -> None:
    """No line anywhere installs the package that has our command's name on the package index."""
    found = [f"{path}: {match}" for path in tracked_files() for match in FOREIGN_INSTALL.findall(text_of(path))]

    assert found == []
