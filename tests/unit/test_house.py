"""What holds for every file of the repository, whatever it says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from crawler.cli.app import COMMANDS
from tests.support.house import ROOT, text_of, tracked_files

MAX_LINES = 700
TOP_LEVEL = {
    ".ci",
    ".editorconfig",
    ".gitattributes",
    ".gitignore",
    ".pre-commit-hooks.yaml",
    ".github",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "README.zh.md",
    "SECURITY.md",
    "action.yml",
    "mkdocs.yml",
    "config",
    "crawler",
    "dev",
    "docs",
    "migrations",
    "pyproject.toml",
    "tests",
}

#: Words that say the same of whatever package they are in.
ORDINARY = {"api", "base", "chinese", "errors", "filters", "models", "responses", "targets"}

# Each hit names somebody's machine, or where packages come from; both differ elsewhere.
MACHINE = re.compile(
    r"(?<![\w.])/(?:root|work|home/\w+|Users/\w+|opt/pypi|opt/wheels|tmp/\w+)/"
    r"|\.\./shared"
    r"|(?:pypi|pythonhosted|npmjs|debian|ubuntu)\.(?:org|com)\b"
    r"|(?:extra-)?index[-]url"
)
# A long value under a secret's name; documented examples are allowed by their value.
SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|(?i:private_?key|password|secret|token)[\"']?\s*[:=]\s*[\"']([A-Za-z0-9+/=_-]{24,})[\"']"
)
#: The private key of the API documentation's own signature example.
PUBLISHED = "46f09bb9fab4f12dfc160dae12273d5332b5debe"


def hits(pattern: re.Pattern[str], files: Sequence[Path]) -> Iterator[str]:
    """Find *pattern* in *files*, as `path:line: text`."""
    for path in files:
        for number, line in enumerate(text_of(path).splitlines(), start=1):
            found = pattern.search(line)
            if found and PUBLISHED not in found.group():
                yield f"{path}:{number}: {found.group()}"


def test_top_level() -> None:
    """The top level holds the expected entries and no others."""
    assert {path.parts[0] for path in tracked_files()} - TOP_LEVEL == set()


def test_no_machine() -> None:
    """No file names a path of somebody's machine or the host of a package index."""
    assert list(hits(MACHINE, tracked_files())) == []


def test_no_secret() -> None:
    """No file holds a secret."""
    assert list(hits(SECRET, tracked_files())) == []


def test_no_lock_file() -> None:
    """Lock files that record addresses are not committed, nor are databases."""
    kinds = {"uv.lock", "pylock.toml", "poetry.lock", "Pipfile.lock", "crawler.toml"}

    assert [str(path) for path in tracked_files() if path.name in kinds or path.suffix in {".db", ".whl"}] == []


def test_file_length() -> None:
    """No text a person reads is longer than 700 lines, and the README no larger than 9 KB."""
    read = [path for path in tracked_files() if path.suffix in {".py", ".md", ".toml", ".sql", ""}]
    lengths = {str(path): text_of(path).count("\n") for path in read}

    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}
    assert len(text_of(Path("README.md")).encode()) <= 9 * 1024


def test_executables() -> None:
    """The two scripts a person or a machine starts are executable and say their interpreter."""
    for name, interpreter in {"dev": "#!/bin/sh", ".ci/run": "#!/usr/bin/env bash"}.items():
        assert (ROOT / name).stat().st_mode & 0o111
        assert text_of(Path(name)).splitlines()[0] == interpreter


def test_claims() -> None:
    """Every test says its claim in a docstring."""
    silent = [
        f"{path}:{node.lineno} {node.name}"
        for path in tracked_files()
        if path.parts[0] == "tests" and path.name.startswith("test_")
        for node in ast.walk(ast.parse(text_of(path)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]

    assert silent == []


def test_module_names() -> None:
    """A module's name occurs in one package, unless it is a command's or an ordinary word."""
    places: dict[str, list[str]] = {}
    for path in tracked_files():
        if path.parts[0] == "crawler" and path.suffix == ".py" and not path.stem.startswith("__"):
            places.setdefault(path.stem, []).append(str(path.parent))

    assert {name for name, where in places.items() if len(where) > 1} - COMMANDS.keys() == ORDINARY


def test_class_names() -> None:
    """A class's name means one thing in the whole package."""
    places: dict[str, list[str]] = {}
    for path in tracked_files():
        if path.parts[0] == "crawler" and path.suffix == ".py":
            for node in ast.walk(ast.parse(text_of(path))):
                if isinstance(node, ast.ClassDef):
                    places.setdefault(node.name, []).append(f"{path}:{node.lineno}")

    assert {name: where for name, where in places.items() if len(where) > 1} == {}
