"""README and docs tell the truth: every command is there, and everything there exists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import click
import pytest

from crawler.cli.app import cli
from crawler.db.views import VIEW_COLUMNS
from crawler.domain.models import Target
from crawler.domain.rows import ChangeRow, ImageRow, Reason
from crawler.errors import EXIT_CODE_HELP
from crawler.queries.check.rules import OUTCOMES, CheckRow, exit_code
from tests.support.examples import commands as commands_of
from tests.support.examples import crawler_words, from_nothing, single_commands
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


CRAWLER_CALLS = [
    words
    for command in [*single_commands(), *(each for script in from_nothing() for each in commands_of(script))]
    if (words := crawler_words(command)) is not None
]


@pytest.mark.parametrize("words", sorted(commands(cli)), ids=" ".join)
def test_every_command_is_told(words: tuple[str, ...]) -> None:
    """Every command of `crawler --help` is in a page."""
    assert re.search(rf"crawler (?:-q )?{' '.join(words)}\b", TEXT) or _is_listed(words)


def _is_listed(words: tuple[str, ...]) -> bool:
    """Return whether sub-commands stand together, as `crawler config validate|show`."""
    listed = re.findall(rf"crawler {' '.join(words[:-1])} ?([\w-]+(?:\|[\w-]+)+)", TEXT)
    return any(words[-1] in names.split("|") for names in listed)


@pytest.mark.parametrize("arguments", CRAWLER_CALLS, ids=" ".join)
def test_every_example_is_real(arguments: list[str]) -> None:
    """Every `crawler …` command of the pages is understood: its words, its options and their values exist."""
    command: click.Command = cli
    context: click.Context | None = None
    while True:
        context = command.make_context(command.name, arguments, parent=context)
        arguments = [*context._protected_args, *context.args]
        if not isinstance(command, click.Group) or not arguments:
            break
        name, inner, arguments = command.resolve_command(context, arguments)
        assert inner is not None, name
        command = inner


@pytest.mark.parametrize("page", PAGES)
def test_every_mention_is_real(page: str) -> None:
    """So are the commands that a page's sentences mention, and their options; capital words stand for anything."""
    prose = re.sub(r"^ *```.*?^ *```", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    for mention in re.findall(r"`crawler ([^`]+)`", prose):
        alternatives = [words.split("|") for words in re.sub(r"['\"].*?['\"]", "X", mention).split()]
        for chosen in {tuple(each[min(n, len(each) - 1)] for each in alternatives) for n in range(4)}:
            assert_exists(chosen)


def assert_exists(words: tuple[str, ...]) -> None:
    command: click.Command = cli
    known = {option for parameter in command.params for option in parameter.opts}
    for word in words:
        if isinstance(command, click.Group) and not word.startswith("-") and "/" not in word:
            found = command.get_command(click.Context(command), word)
            assert found is not None, words
            command = found
            known |= {option for parameter in command.params for option in parameter.opts}
        elif word.startswith("-"):
            assert word in known | {"--help"}, words


def test_every_word_of_dev_is_real() -> None:
    """Every `./dev …` of the README is a word of the script, and every word of the script is in a page."""
    told = set(re.findall(r"\./dev ([a-z]+)", TEXT))
    known = set(re.findall(r"^([a-z]+)\)$", text_of(Path("dev")), re.MULTILINE)) | {"lint"}

    assert told == known


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_front_page_has_exit_codes_and_views(page: str) -> None:
    """Scripts and dashboards are told of on the front page: each exit code in its order, and each public view."""
    told = re.search(r"\]\(docs/commands\.md#exit-codes\)[^`]*", PAGES[page])
    assert told is not None
    codes = re.findall(r"(?<![\d.])(\d{1,2})(?= \w)", told.group())
    assert codes == [str(int(code)) for code in EXIT_CODE_HELP]
    assert all(view in PAGES[page] for view in VIEW_COLUMNS)


def test_exit_codes() -> None:
    """The table of exit codes is the program's own."""
    rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", TEXT, re.MULTILINE))

    assert rows == {str(int(code)): text for code, text in EXIT_CODE_HELP.items()}


def test_outcomes_of_check() -> None:
    """The table of `check` has every outcome with the exit code that it alone gives."""
    rows = re.findall(r"^\| (`[^|]+`) \| [^|]+ \| (\d) \|$", PAGES["docs/commands.md"], re.MULTILINE)
    told = {outcome: int(code) for names, code in rows for outcome in re.findall(r"`([^`]+)`", names)}
    row: dict[str, Any] = {"rule": "", "zone": None, "image_id": None, "detail": "", "source": ""}

    assert told == {outcome: exit_code([CheckRow(**row, outcome=outcome)]) for outcome in OUTCOMES}


def test_reasons() -> None:
    """The table of why an image is unknown has every reason there is."""
    (section,) = re.findall(r"^## Why is it unknown\n(.*?)^## ", PAGES["docs/commands.md"], re.MULTILINE | re.DOTALL)

    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(get_args(Reason))


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


#: What a newcomer looks for, as the links of the two front pages name it, and the heading that it leads to.
TOPICS = {
    ("prox", "代理"): "Proxies",
    ("permissions", "权限"): "Permissions",
    ("container", "容器"): "Container",
    ("webhook", "webhook"): "Webhook",
    ("upgrade", "升级"): "Upgrades and rollback",
    ("kubernetes", "kubernetes"): "Kubernetes",
    ("terraform", "terraform"): "For scripts and pipelines",
    ("why an image is unknown", "为什么是 unknown"): "Why is it unknown",
}


@pytest.mark.parametrize(("words", "heading"), TOPICS.items(), ids=TOPICS.values())
@pytest.mark.parametrize(("page", "language"), [("README.md", 0), ("README.zh.md", 1)])
def test_within_two_clicks(page: str, language: int, words: tuple[str, str], heading: str) -> None:
    """Each topic is one link away from the front page, and the link's text names it."""
    links = re.findall(r"\[([^]]+)\]\(((?!https?://)[^)\s]+)\)", PAGES[page])
    (target,) = {link for text, link in links if words[language] in text.lower()}
    place, _, anchor = target.partition("#")
    text = PAGES[place]
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)

    assert heading == next(each for each in headings if not anchor or anchors(f"# {each}\n") == {anchor})
