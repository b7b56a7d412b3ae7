"""README and docs tell the truth: every command is there, and everything there exists."""

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
from tests.support.house import ROOT, pages, text_of, tracked_files

PAGES = pages()
TEXT = "\n".join(PAGES.values())
#: Lines that would install somebody else's package, which has the name of our command.
FOREIGN_INSTALL = re.compile(
    r"(?:(?:pipx?3?|uv tool|uv pip|uv) (?:install|add|run --with)|uvx)(?: +-\S+)* +[\"']?crawler(?![\w./-])"
)


def commands(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Return the words of every command that does something, as `("runs", "show")`."""
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
    """Return each command of the pages' shell blocks, comments and chains taken apart, and what stands behind a `$`."""
    blocks = re.findall(r"^```(?:sh|cron)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    prompts = re.findall(r"^\$ (.*)$", TEXT, re.MULTILINE)
    for block in [*blocks, *prompts]:
        for line in block.splitlines():
            words = re.sub(r"\s#\s.*", "", line)
            yield from (part.strip() for part in re.split(r"&&|;", words) if part.strip())


CRAWLER_LINES = [match[1] for line in shell_lines() if (match := re.search(r"(?:^|bin/)crawler (.*)", line))]


@pytest.mark.parametrize("words", sorted(commands(cli)), ids=" ".join)
def test_every_command_is_told(words: tuple[str, ...]) -> None:
    """Every command of `crawler --help` is in a page."""
    assert re.search(rf"crawler (?:-q )?{' '.join(words)}\b", TEXT) or _is_listed(words)


def _is_listed(words: tuple[str, ...]) -> bool:
    """Return whether sub-commands stand together, as `crawler config validate|show`."""
    listed = re.findall(rf"crawler {' '.join(words[:-1])} ?([\w-]+(?:\|[\w-]+)+)", TEXT)
    return any(words[-1] in names.split("|") for names in listed)


@pytest.mark.parametrize("line", CRAWLER_LINES)
def test_every_example_is_real(line: str) -> None:
    """Every `crawler …` line of the pages is understood: its command, its options and their values exist."""
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
    """Every `./dev …` of the README is a word of the script, and every word of the script is in a page."""
    told = set(re.findall(r"\./dev ([a-z]+)", TEXT))
    known = set(re.findall(r"^([a-z]+)\)$", text_of(Path("dev")), re.MULTILINE)) | {"lint"}

    assert told == known


def test_exit_codes() -> None:
    """The table of exit codes is the program's own."""
    rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", TEXT, re.MULTILINE))

    assert rows == {str(int(code)): text for code, text in EXIT_CODE_HELP.items()}


@pytest.mark.parametrize("view", VIEW_COLUMNS)
def test_views(view: str) -> None:
    """Each public view is told with all of its columns."""
    (row,) = re.findall(rf"^\| `{view}` \|.*\|$", TEXT, re.MULTILINE)
    groups = dict(re.findall(r"\*(\w+)\*:((?:\s*`\w+`,?)+)", TEXT))
    told = set(re.findall(r"`(\w+)`", row)) - {view}
    for name in re.findall(r"\*(\w+)\*", row):
        told |= set(re.findall(r"`(\w+)`", groups[name]))

    assert told == {column for column in VIEW_COLUMNS[view] if not column.endswith("_epoch")}


def test_json_shapes() -> None:
    """The JSON rows of the pages have exactly the fields of the program's own."""
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
    rows = re.findall(r'^\{"account".*?["\d]\}(?=,?$)', TEXT, re.MULTILINE | re.DOTALL)

    assert [list(json.loads(row)) for row in rows] == [list(image.as_dict()), list(change.as_dict())]


@pytest.mark.parametrize("page", PAGES)
def test_links(page: str) -> None:
    """Every relative link of a page leads to a file, and to a heading of it where one is named."""
    broken = []
    for link in re.findall(r"\]\((?!https?://)([^)\s]+)\)", PAGES[page]):
        place, _, anchor = link.partition("#")
        target = (ROOT / page).parent / place if place else ROOT / page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)

    assert broken == []


def anchors(text: str) -> set[str]:
    """Return the anchors that the headings of a page have."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_nobody_elses_package() -> None:
    """No line anywhere installs the package that has our command's name on the package index."""
    found = [f"{path}: {match}" for path in tracked_files() for match in FOREIGN_INSTALL.findall(text_of(path))]

    assert found == []
