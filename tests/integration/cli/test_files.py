"""Names that lead to no file, or to one that this user may not reach: sentences and exit codes, never a wait."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from crawler.cli.app import cli
from crawler.cli.context import CliContext
from tests.support.command import call, keys
from tests.support.other_user import as_nobody

COMMANDS = (
    "run",
    "run --dry-run",
    "images",
    "status",
    "db check",
    "db upgrade",
    "db stats",
    "db backup never.db",
    "holds list",
    "report list",
)
ACCOUNT = '[[accounts]]\nname = "a"\nendpoint = "http://127.0.0.1:9/"\npublic_key = "p"\nprivate_key = "k"\n'


@pytest.mark.parametrize("words", COMMANDS)
def test_database_that_is_no_file(tmp_path: Path, words: str) -> None:
    """A folder, a pipe or a device in place of the database is said by every command, with 74, however it is named."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, kind in (("folder", "a folder"), ("pipe", "a named pipe")):
        (tmp_path / "crawler.toml").write_text(f'database = "sqlite:///{name}"\n{ACCOUNT}')
        (tmp_path / "crawler.toml").chmod(0o600)
        stderr = call("--config", tmp_path / "crawler.toml", *words.split(), code=74).stderr

        assert stderr == f"Error: The database {tmp_path / name} is {kind}.\n"


@pytest.mark.parametrize("words", ["run", "images", "doctor", "config validate"])
def test_configuration_that_is_no_file(tmp_path: Path, words: str) -> None:
    """A pipe that nobody writes to, a folder or an endless device as configuration is 2, or the doctor's finding."""
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "/dev/zero", "x" * 300, "nothing"):
        done = call("--config", tmp_path / name, *words.split(), code=1 if words == "doctor" else 2)

        assert "internal error" not in done.output


def test_null_device_as_configuration(tmp_path: Path) -> None:
    """/dev/null is an empty configuration: the environment counts alone."""
    call(
        "--config",
        "/dev/null",
        "--database",
        tmp_path / "c.db",
        "config",
        "validate",
        environ=keys("http://127.0.0.1:9/"),
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("--config {}/crawler.toml images", 2),
        ("--config {}/crawler.toml run", 2),
        ("--database {}/crawler.db images", 74),
        ("--database {}/crawler.db db stats", 74),
        ("--database {}/crawler.db run", 74),
        ("--database {}/crawler.db db backup /tmp/never.db", 74),
        ("check {}/ids", 2),
        ("init --file {}/crawler.toml", 2),
        ("emulate --timeline {}/world.json", 2),
        ("demo --keep-in {}/demo.db", 2),
    ],
)
def test_folder_without_rights(words: str, code: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A folder that does not let this user in is a sentence of the right kind for every command."""
    folder = tmp_path_factory.mktemp("closed")
    folder.chmod(0o700)
    for name in ("crawler.demo", "concurrent.futures.thread"):
        import_module(name)  # the other user may not read Python's own files everywhere

    def ask() -> str:
        os.chdir("/")
        context = CliContext(environ={"HOME": str(folder), **keys("http://127.0.0.1:9/")})
        result = CliRunner().invoke(cli, words.format(folder).split(), obj=context)
        return f"{result.exit_code} {result.stderr}"

    said = as_nobody(ask)

    assert said.startswith(f"{code} "), said
    assert "internal error" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("words", ["images", "run", "doctor", "schedule cron"])
def test_present_folder_that_is_gone(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the present folder was removed is said, and is no error of the program."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    said = call(*words.split(), code=2).stderr

    assert said == "Error: the present folder is not there any more; change into another\n"
