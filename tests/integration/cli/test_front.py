"""The front door: help, lazy imports, global options, errors as sentences, exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import util
from pathlib import Path

import click
import pytest

from crawler import __version__
from crawler.cli.app import COMMANDS, cli, guarded
from crawler.cli.context import CliContext
from crawler.cli.options import Duration, Moment
from crawler.db.engine import opened
from crawler.errors import EXIT_CODE_HELP, Ambiguous, CrawlerError, CredentialsRefused, DatabaseUnavailable, LockTaken
from tests.support.command import ROOT, call, keys, process
from tests.support.diary import Diary, target
from tests.support.modules import HEAVY, modules_of
from tests.support.processes import write_config

WRITTEN = [name for name, entry in COMMANDS.items() if util.find_spec(entry.module) is not None]


def every_command() -> list[tuple[str, ...]]:
    """Return the words of every command and subcommand."""
    found: list[tuple[str, ...]] = []
    for name in WRITTEN:
        command = cli.get_command(click.Context(cli), name)
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, child) for child in command.commands]
    return found


def command_of(words: tuple[str, ...]) -> click.Command:
    """Return the command that *words* call."""
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    return command


#: Those that want one of their commands; `runs` and `completion` are commands themselves.
GROUPS = [name for name in sorted({words[0] for words in every_command() if len(words) == 2}) if name != "runs"]


#: The help of `emulate` names the stories that the emulator has.
LIGHT = [(name, "--help") for name in WRITTEN if name != "emulate"]


@pytest.mark.parametrize("words", [("--help",), ("--version",), *LIGHT, ("completion", "bash"), ()], ids=" ".join)
def test_light(words: tuple[str, ...]) -> None:
    """Help and completion import no network, database, template or validation library."""
    assert HEAVY & modules_of(*words, code=0 if words else 2) == set()


def test_help() -> None:
    """The help names every command in a line, and every exit code."""
    text = call("--help").stdout

    assert [name for name, entry in COMMANDS.items() if f"  {name} " not in text or entry.help not in text] == []
    assert [code for code, told in EXIT_CODE_HELP.items() if f"{int(code)}  {told}" not in text] == []


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_has_help(words: tuple[str, ...]) -> None:
    """Every command says what it does, and every option of it too."""
    assert len(call(*words, "--help").stdout.splitlines()) > 3

    command = command_of(words)
    assert command.help
    options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    assert [option.name for option in options if not option.help and not isinstance(option.type, click.Choice)] == []


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_help_of_times(words: tuple[str, ...]) -> None:
    """Of the times that an option takes the help says the time zone, and of ages how they are written."""
    options = [option for option in command_of(words).params if isinstance(option, click.Option) and not option.hidden]
    moments = [str(option.help) for option in options if isinstance(option.type, Moment)]
    ages = [str(option.help) for option in options if isinstance(option.type, Duration)]

    assert not moments or "time zone" in " ".join(moments)
    assert [told for told in ages if not re.search(r"\b\d+(?:m|h|d|w|mo|y)\b", told)] == []


@pytest.mark.parametrize("name", WRITTEN)
def test_help_in_the_table(name: str) -> None:
    """The table's line and the command agree that there is one."""
    assert COMMANDS[name].help.endswith(".")


@pytest.mark.parametrize("name", sorted({words[0] for words in every_command() if len(words) == 2}))
def test_commands_of_a_group(name: str) -> None:
    """A group lists its commands with a whole sentence each, none cut to the line."""
    listed = call(name, "--help").stdout.partition("Commands:")[2]
    assert listed.rstrip().endswith(".")
    assert "..." not in listed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("imgaes",), "No such command 'imgaes'; did you mean images?"),
        (("conifg", "show"), "did you mean config?"),
        (("xyzzy",), "No such command 'xyzzy'\n"),
        (("images", "--zoen", "x"), "--zone"),
        (("--confg", "x"), "--config"),
        (("images", "-o", "xml"), "'xml' is not one of"),
        (("runs", "show", "one"), "'one' is not a valid integer."),
        (("run", "--wait", "long"), "'long' is not a valid number."),
        (("run", "--wait", "nan"), "'nan' is not a valid number."),
        (("emulate", "--rate", "nan"), "'nan' is not a valid number."),
        (("emulate", "--latency-ms", "inf"), "'inf' is not a valid number."),
        (("publish", ""), "'DIR': it is empty; name a folder."),
        (("changes", "--event", "gone"), "'gone' is not one of"),
        (("changes", "--event", "reissued"), "; did you mean re-issued?"),
        (("images", "-o", "jsn"), "'jsonl', 'csv'; did you mean json?"),
        (("--zone", "hk-02", "images"), "--zone belongs behind the command: `crawler images --zone …`."),
        (("-q", "--limit=2", "runs"), "--limit belongs behind the command: `crawler runs --limit …`."),
        (("--zone", "hk-02", "init"), "No such option '--zone'"),
    ],
)
def test_mistyped(words: tuple[str, ...], said: str) -> None:
    """A mistyped word exits 2 and names what may be meant."""
    assert said in call(*words, code=2).stderr


@pytest.mark.parametrize("words", [(), *((name,) for name in GROUPS)], ids=" ".join)
def test_group_alone(words: tuple[str, ...]) -> None:
    """A group without a command shows its help, once and as no error, and exits with 2."""
    said = call(*words, code=2).stderr

    assert said == call(*words, "--help").stdout
    assert said.count("Usage:") == 1


def test_version() -> None:
    """--version names the program and its version, also as a module."""
    assert process("--version").stdout == f"crawler {__version__}\n"


@pytest.mark.parametrize("after", [False, True])
def test_global_options_anywhere(tmp_path: Path, after: bool) -> None:
    """The global options stand before or after the command."""
    path = tmp_path / "mine.toml"
    path.write_text('timezone = "UTC"\n')
    options = ("--config", path, "--database", tmp_path / "x.db")
    command = ("config", "validate")
    words = (*command, *options) if after else (*options, *command)

    assert call(*words, environ=keys()).stdout == f"{path} is fine: 1 account (default), database {tmp_path}/x.db\n"


def none_at(path: Path) -> str:
    """Return what is said where there is no database at *path*: what makes it, and how another is named."""
    return (
        f"Error: There is no database at {path} yet: `crawler run` makes it. A history that is "
        "elsewhere is named by --database FILE, or by --config FILE and what that says.\n"
    )


def test_database_is_missing(tmp_path: Path) -> None:
    """A database that is not there yet is exit 74 and a way forward."""
    text = call("--database", tmp_path / "none.db", "images", code=74).stderr

    assert text == none_at(tmp_path / "none.db")


@pytest.mark.parametrize(
    "words",
    [
        ("holds", "accept", "1"),
        ("revoke", "uimage-a", "--reason", "hangs"),
        ("unrevoke", "uimage-a"),
        ("db", "prune", "--keep", "1y"),
        ("account", "rename", "a", "b"),
    ],
    ids=" ".join,
)
def test_database_is_missing_for_a_writer(tmp_path: Path, words: tuple[str, ...]) -> None:
    """A command that changes what is known leaves no empty database where there is none."""
    path = tmp_path / "none.db"
    text = call("--database", path, *words, code=74).stderr

    assert text == none_at(path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CredentialsRefused("no"), 5),
        (Ambiguous("no"), 7),
        (DatabaseUnavailable("no"), 74),
        (LockTaken("no"), 75),
        (CrawlerError("no"), 70),
        (click.UsageError("no"), 2),
        (click.ClickException("no"), 2),
        (click.exceptions.Exit(3), 3),
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(), 0),
        (ZeroDivisionError("secret\nsecond line"), 70),
        (OSError(28, "No space left on device"), 70),
    ],
)
def test_exit_codes(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Every error has its exit code, and no traceback is shown unasked."""

    def fail() -> None:
        raise error

    assert guarded(fail, CliContext()) == code
    assert "Traceback" not in capsys.readouterr().err


def test_traceback_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    """An unexpected error is one sentence; -vv shows where it was."""

    def fail() -> None:
        raise ZeroDivisionError("why")

    guarded(fail, CliContext())
    assert capsys.readouterr().err == "Error: internal error (ZeroDivisionError: why); -vv shows where\n"

    guarded(fail, CliContext(verbosity=2))
    assert "Traceback" in capsys.readouterr().err


def test_log_format(tmp_path: Path) -> None:
    """With --log-format json errors are JSON lines too."""
    text = call("--log-format", "json", "--database", tmp_path / "none.db", "images", code=74).stderr
    event = json.loads(text)

    assert (event["level"], event["at"]) == ("error", "2026-11-23T11:00:00Z")
    assert "There is no database" in event["message"]


def test_quiet(tmp_path: Path) -> None:
    """-q silences talk, -qq warnings as well; errors are always told."""
    path = tmp_path / "crawler.toml"
    path.write_text('[[accounts]]\nname = "a"\npublic_key = "p"\nprivate_key = "k"\nendpoint = "http://x.example/"\n')
    path.chmod(0o600)

    assert "Warning: accounts[0].endpoint" in call("--config", path, "config", "validate").stderr
    assert "Warning" in call("--config", path, "-q", "config", "validate").stderr
    assert call("--config", path, "-qq", "config", "validate").stderr == ""
    assert "Error" in call("-qqq", "--database", tmp_path / "none.db", "images", code=74).stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str) -> None:
    """Each shell gets its script."""
    assert "_CRAWLER_COMPLETE" in call("completion", shell).stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("crawler im", {"images"}),
        ("crawler config ", {"validate", "show"}),
        ("crawler images --im", {"--image-set", "--image-id"}),
        ("crawler images -o ", {"table", "json", "jsonl", "csv"}),
    ],
)
def test_completes(words: str, expected: set[str]) -> None:
    """Commands, subcommands, options and values are completed."""
    environ = {
        "_CRAWLER_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    done = process(environ=environ)

    assert {line.split(",")[1] for line in done.stdout.splitlines()} == expected


def test_broken_pipe(tmp_path: Path) -> None:
    """A reader that goes away ends the output quietly."""
    (tmp_path / "crawler.toml").write_text('[[accounts]]\nname = "a"\npublic_key = "p"\nprivate_key = "k"\n')
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "crawler", "config", "show"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)

    assert (done.returncode, "Broken" in done.stderr, "Traceback" in done.stderr) == (0, False, False)


def test_full_disk(tmp_path: Path) -> None:
    """Output that cannot be written is an error, not a silent success."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with full.open("w") as sink:
        done = subprocess.run(
            [sys.executable, "-m", "crawler", "completion", "bash"],
            cwd=ROOT,
            stdout=sink,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert done.returncode == 70
    assert done.stderr == "Error: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    "words",
    [
        ("resolve", "--zone", "hk-02", "--name", "CentOS 7.6"),
        ("resolve", "-"),
        ("images",),
        ("status",),
        ("history", "CentOS 7.6"),
        ("changes",),
        ("check", "rules.toml"),
    ],
    ids=lambda words: words[0],
)
def test_a_question_loads_only_what_answers_it(words: tuple[str, ...], sqlite_url: str, tmp_path: Path) -> None:
    """Readers load SQLAlchemy's core and their database's driver: no ORM, no pydantic, nothing of the crawl."""
    with opened(sqlite_url) as engine:
        Diary(engine).run({target("hk-02"): {"uimage-c": "CentOS 7.6"}})
    config, rules = tmp_path / "crawler.toml", tmp_path / "rules.toml"
    write_config(config, database=sqlite_url, endpoint="http://127.0.0.1:1/")
    config.write_text('stale_after = "20y"\n' + config.read_text())
    rules.write_text('[[require]]\nname = "CentOS 7.6"\nzones = ["hk-*"]\n')
    loaded = modules_of("--config", config, *(rules if word == "rules.toml" else word for word in words))

    useless = {"sqlalchemy.orm", "sqlalchemy.dialects.postgresql", "crawler.config.key_types", "crawler.crawl"}
    assert (HEAVY - {"sqlalchemy"} | {"css_inline", "aiosmtplib", "psycopg"} | useless) & loaded == set()
    assert "sqlalchemy" in loaded
