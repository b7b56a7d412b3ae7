"""The wheel, installed in an empty environment elsewhere, is the whole product. Nothing here needs the network."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from crawler import __version__
from tests.support.examples import blocks
from tests.support.house import ROOT, text_of, tracked_files

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """An environment that holds the wheel, and an unrelated folder to work in."""

    bin: Path
    cwd: Path

    def run(self, *words: str, ok: Sequence[int] = (0,)) -> str:
        """Run a program of the environment as a stranger would and give its stdout; *ok* are the codes expected."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        done = subprocess.run(
            [str(self.bin / words[0]), *words[1:]],
            cwd=self.cwd,
            env={**kept, "HOME": str(self.cwd)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode in ok, f"{words} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source archive and from it the wheel, as a release does, with the tools that are installed."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    """Return the wheel of this checkout."""
    (wheel,) = built.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Install the wheel alone in an empty environment that finds its dependencies, but not the checkout."""
    place = tmp_path_factory.mktemp("elsewhere")
    environment = place / "env"
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    if importlib.util.find_spec("pip"):
        installer = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--quiet"]
    else:  # ./dev made .venv with uv
        installer = ["uv", "pip", "install", "--python", str(python), "--offline", "--quiet"]
    subprocess.run([*installer, "--no-deps", str(wheel)], check=True, capture_output=True, text=True)
    paths = {"base": str(environment), "platbase": str(environment)}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    # A folder named in a .pth file is searched, but its own .pth files (the editable checkout's) are not read.
    (packages / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n")
    cwd = place / "unrelated"
    cwd.mkdir()
    return Installed(bin=environment / "bin", cwd=cwd)


def test_contents(wheel: Path) -> None:
    """The wheel carries the package with its data, the migrations and the configuration, and nothing beside it."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = {str(path) for path in tracked_files() if path.parts[0] == "crawler"}
    places = {"migrations": "crawler/migrations", "config": "crawler/examples"}
    expected |= {
        f"{places[path.parts[0]]}/{path.relative_to(path.parts[0])}"
        for path in tracked_files()
        if path.parts[0] in places
    }

    assert expected - names == set()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"crawler"}
    assert not [name for name in names if "__pycache__" in name]


def test_an_index_would_take_it(built: Path) -> None:
    """The source archive and the wheel pass the checks that a package index makes of them, warnings included."""
    files = sorted(map(str, built.iterdir()))
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("PASSED") == len(files) == 2


def test_release_has_its_section() -> None:
    """The changelog names the version that the package carries, with its day, in at most ten lines."""
    sections = re.split(r"^## ", text_of(Path("CHANGELOG.md")), flags=re.MULTILINE)
    (section,) = [each for each in sections if re.match(rf"{re.escape(__version__)} - \d{{4}}-\d\d-\d\d\n", each)]

    assert 1 <= len(re.findall(r"^- ", section, re.MULTILINE)) <= 10


def test_names(wheel: Path) -> None:
    """The distribution is called ucloud-image-crawler, the command and the package crawler."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
        scripts = archive.read(metadata.replace("METADATA", "entry_points.txt")).decode()

    assert wheel.name.startswith("ucloud_image_crawler-")
    assert re.search(r"^Name: ucloud-image-crawler$", text, re.MULTILINE)
    assert "crawler = crawler.cli:main" in scripts


def test_is_the_wheels(installed: Installed) -> None:
    """The environment runs the wheel's package, not the checkout's."""
    where = installed.run("python", "-c", "import crawler; print(crawler.__file__)").strip()

    assert Path(where).is_relative_to(installed.bin.parent)


def test_version_and_help(installed: Installed) -> None:
    """`crawler` says its version and its help, also as `python -m crawler`."""
    version = installed.run("crawler", "--version")

    assert re.search(r"\d+\.\d+\.\d+", version)
    assert version == installed.run("python", "-m", "crawler", "--version")
    assert "demo" in installed.run("crawler", "--help")


def test_every_command(installed: Installed) -> None:
    """Every command and sub-command of the help can be loaded: its own help is printed."""
    script = """
import click
from crawler.cli.app import cli
def walk(command, words):
    yield words
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from walk(command.get_command(context, name), [*words, name])
for words in walk(cli, []):
    print(*words)
"""
    commands = installed.run("python", "-c", script).splitlines()

    assert len(commands) > 10
    for words in commands:
        assert "Usage: crawler" in installed.run("crawler", *words.split(), "--help")


def test_database(installed: Installed) -> None:
    """The migrations travel inside: a fresh database is made, and is then current."""
    installed.run("crawler", "--database", "sqlite:///fresh.db", "db", "upgrade")

    assert (installed.cwd / "fresh.db").is_file()
    assert "current" in installed.run("crawler", "--database", "sqlite:///fresh.db", "db", "status")


def test_init(installed: Installed) -> None:
    """The example configuration travels inside: `init` writes a configuration that `config validate` accepts."""
    installed.run("crawler", "init")

    assert (installed.cwd / "crawler.toml").is_file()
    installed.run("crawler", "config", "validate", ok=(0, 2))  # 2: there are no keys in this environment


def test_demo(installed: Installed) -> None:
    """The demo runs anywhere, leaves nothing there but its database, mail and page, and tells what the README shows."""
    before = set(installed.cwd.iterdir())

    told = installed.run("crawler", "demo")

    made = {path.name.removeprefix("crawler-demo") for path in set(installed.cwd.iterdir()) - before}
    assert made <= {".db", ".db.lock", ".html", "-page"}
    (shown,) = blocks("", "README.md")
    assert timeless(told) == timeless(shown)


def timeless(screen: str) -> list[str]:
    """Take from the demo's screen what differs from run to run: times, and the way to the program after `Try`."""
    story = screen.split("\nTry ")[0]
    spans = re.compile(r" +\d\d? [A-Z][a-z]{2} \d\d:\d\d and .*")
    return [re.sub(r"\d\d-\d\d \d\d:\d\d|\d\d:\d\d", "TIME", spans.sub(" SPAN", line)) for line in story.splitlines()]
