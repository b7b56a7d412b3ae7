"""CONTRIBUTING is true to the letter: every file, folder, command and name that it sends a reader to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.house import text_of, tracked_files

TEXT = text_of(Path("CONTRIBUTING.md"))
RECIPES = dict(re.findall(r"^## (Add [^\n]+)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
FILES = {str(path) for path in tracked_files()}
#: What stands for a name that the reader chooses.
PLACEHOLDERS = {"crawler/cli/COMMAND.py", "crawler/queries/COMMAND.py"}


def quoted(text: str) -> list[str]:
    """Return what stands between backticks in *text*, code blocks left out."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def paths_of(text: str) -> list[str]:
    """Return the files and folders that *text* names: from the root or beside a path that was named before."""
    found: list[str] = []
    for word in quoted(text):
        if not re.fullmatch(r"\w[\w./-]*", word) or not ("/" in word or word.endswith((".py", ".md", ".toml"))):
            continue
        folders = [folder for path in reversed(found) for folder in (Path(path), *Path(path).parents)]
        places = [(folder / word).as_posix() for folder in (Path(), *folders)]
        found.append(next(filter(is_there, places), word.rstrip("/")))
    return found


def is_there(path: str) -> bool:
    """Return whether *path* is a tracked file, a folder of some, or a placeholder of such a file."""
    return path in PLACEHOLDERS or path in FILES or any(each.startswith(f"{path.rstrip('/')}/") for each in FILES)


def test_recipes() -> None:
    """There is one for a field, a column of either table, a kind, a channel, a command, a setting and a migration."""
    assert [name.rsplit(" ", 1)[-1] for name in sorted(RECIPES)] == [
        "channel",
        "`changes`",
        "`images`",
        "command",
        "kind",
        "kind",
        "migration",
        "setting",
    ]


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_files_of_a_recipe(recipe: str) -> None:
    """Every file that a recipe sends the reader to is there, and it names some."""
    named = paths_of(RECIPES[recipe])

    assert named
    assert [path for path in named if not is_there(path)] == []


def test_files_of_the_table() -> None:
    """So is every file of the table of what to change where."""
    table = "\n".join(line for line in TEXT.splitlines() if line.startswith("|") and "crawler/" in line)
    lost = [path for line in table.splitlines() for path in paths_of(line.split("|")[2]) if not is_there(path)]

    assert table.count("\n") > 10
    assert lost == []


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ("Terraform attribute", "crawler/domain/scanner/tree.py"),
        ("a webhook's JSON", "crawler/domain/webhooks.py"),
        ("NO_PROXY", "crawler/domain/proxies.py"),
        ("did you mean", "crawler/domain/suggest.py"),
        ("which of a folder are ours", "crawler/web/published_folder.py"),
        ("unknown at a moment", "crawler/domain/staleness.py"),
        ("hosts share", "crawler/db/budgets.py"),
        ("the faults in", "crawler/emulator/server.py"),
        ("a metric", "crawler/ops/after.py"),
        ("made harmless", "crawler/domain/text.py"),
        ("may crawl its account", "crawler/fleet/tasks.py"),
        ("`[[reports]]` is about", "crawler/notifications/models.py"),
        ("refused as too many", "crawler/client/retry.py"),
    ],
)
def test_rows_of_the_table(wanted: str, path: str) -> None:
    """What is not where its name would have it looked for has a row, which sends there."""
    (row,) = (line for line in TEXT.splitlines() if line.startswith("|") and wanted in line)

    assert path in paths_of(row)


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_names_of_a_recipe(recipe: str) -> None:
    """A class or list that a recipe names is defined in one of the files it names."""
    text = RECIPES[recipe]
    sources = "\n".join(text_of(Path(path)) for path in paths_of(text) if path in FILES)
    names = [word for word in quoted(text) if re.fullmatch(r"[A-Z][A-Za-z_]{3,}", word)]

    assert [name for name in names if not re.search(rf"^(class {name}\b|{name}\b *[:=])", sources, re.MULTILINE)] == []
