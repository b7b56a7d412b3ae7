"""Commands that are told, as the process was called."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from crawler.cli.calling import options, program


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a script called crawler that the path does not find."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    folder = tmp_path / "my bin"
    folder.mkdir()
    (folder / "crawler").touch(mode=0o755)
    return folder


def test_program(bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script is called by its path unless the PATH finds it, a module by its Python."""
    monkeypatch.setattr(sys, "argv", [str(bin_folder / "crawler")])
    assert program() == "'my bin/crawler'"
    monkeypatch.setenv("PATH", os.fspath(bin_folder))
    assert program() == "crawler"
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "argv", ["/x/crawler/__main__.py"])
    assert program() == f"{shlex.quote(sys.executable)} -m crawler"


def test_options() -> None:
    """What named the configuration and the history goes along, quoted and without a password."""
    assert options(None, None) == ""
    assert options(Path("w 1/c.toml"), "x.db") == " --config 'w 1/c.toml' --database x.db"
    assert "geheim" not in options(None, "postgresql://me:geheim@host/x")
