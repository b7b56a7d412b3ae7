"""`crawler emulate` from the outside: what it says, what it serves, how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from crawler.cli.emulate import emulate
from crawler.emulator import EXAMPLE_PRIVATE_KEY, EXAMPLE_PUBLIC_KEY, demo_path
from crawler.errors import ConfigurationError, UsageError
from tests.support.house import ROOT
from tests.support.worlds import sign

COMMAND = [sys.executable, "-c", "from crawler.cli.emulate import emulate; emulate()"]


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Start the command; give the process and what it said until it was ready."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("UCLOUD_")}
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean, **environment},
        cwd=ROOT,
    )
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line.rstrip())
            if "Ctrl-C" in line:
                break
        yield process, said
    finally:
        process.kill()
        process.communicate()


def ask(said: list[str], params: dict[str, str]) -> dict[str, Any]:
    """Ask the server that introduced itself."""
    url = re.findall(r"http://\S+", said[0])[0]

    async def once() -> dict[str, Any]:
        async with aiohttp.ClientSession() as session, session.post(url, data=params) as response:
            document: dict[str, Any] = await response.json()
            return document

    return asyncio.run(once())


def test_it_serves_the_demo_and_says_how_to_reach_it() -> None:
    """The lines to paste name the address and the keys that open it; SIGTERM ends it well; stdout stays empty."""
    with running() as (process, said):
        text = "\n".join(said)
        assert "step 1 of 5, 24 zones, 1 project: baseline" in text
        assert f"export UCLOUD_PUBLIC_KEY={EXAMPLE_PUBLIC_KEY}" in text
        assert f"export UCLOUD_PRIVATE_KEY={EXAMPLE_PRIVATE_KEY}" in text
        assert re.search(r"export UCLOUD_BASE_URL=http://127\.0\.0\.1:\d+/", text)
        answer = ask(said, sign({"Action": "GetRegion"}))
        process.send_signal(signal.SIGTERM)
        output, rest = process.communicate(timeout=20)

    assert len(answer["Regions"]) == 24
    assert (process.returncode, output, rest) == (0, "", "The emulated cloud is gone.\n")


def test_keys_of_the_environment_open_it_and_are_not_repeated() -> None:
    """The keys of the environment replace the timeline's, and the private one is not printed; Ctrl-C ends it."""
    with running(UCLOUD_PUBLIC_KEY="mine", UCLOUD_PRIVATE_KEY="very-secret") as (process, said):
        mine = ask(said, sign({"Action": "GetRegion", "PublicKey": "mine"}, "very-secret"))
        theirs = ask(said, sign({"Action": "GetRegion"}))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)

    assert process.returncode == 0
    assert (mine["RetCode"], theirs["RetCode"]) == (0, 172)
    assert "very-secret" not in "\n".join(said)


def test_steps_go_on_by_themselves(tmp_path: Path) -> None:
    """With --step-every the cloud moves on and says so; a refused rate answers 153."""
    file = tmp_path / "mine.json"
    zone = {"region": "hk", "zone": "hk-02"}
    file.write_text(json.dumps({"zones": [zone], "steps": [{"title": "one"}, {"title": "two"}]}), encoding="utf-8")
    with running("--timeline", str(file), "--step-every", "0.05", "--rate", "0.01") as (process, said):
        codes = [ask(said, sign({"Action": "GetRegion"}))["RetCode"] for _ in range(2)]
        assert process.stderr is not None
        following = process.stderr.readline()

    assert "step 1 of 2, 1 zone, 1 project: one" in "\n".join(said)
    assert following == "step 2 of 2, 1 zone, 1 project: two\n"
    assert codes == [0, 153]


def test_story_begins_with_the_first_request(tmp_path: Path) -> None:
    """The clock of --step-every stands still until a request is accepted: one with a wrong key begins nothing."""
    file = tmp_path / "mine.json"
    zone = {"region": "hk", "zone": "hk-02"}
    file.write_text(json.dumps({"zones": [zone], "steps": [{"title": "one"}, {"title": "two"}]}), encoding="utf-8")
    with running("--timeline", str(file), "--step-every", "0.05") as (process, said):
        assert process.stderr is not None
        assert ask(said, {"Action": "GetRegion", "PublicKey": "nobody", "Signature": "x"})["RetCode"] != 0
        assert select.select([process.stderr], [], [], 0.5)[0] == []
        assert ask(said, sign({"Action": "GetRegion"}))["RetCode"] == 0
        assert process.stderr.readline() == "step 2 of 2, 1 zone, 1 project: two\n"


def test_example_can_be_written_once(tmp_path: Path) -> None:
    """--write-example writes the demo's timeline, never over a file, and serves nothing."""
    file = tmp_path / "example.json"

    first = CliRunner().invoke(emulate, ["--write-example", str(file)])
    second = CliRunner().invoke(emulate, ["--write-example", str(file)])
    third = CliRunner().invoke(emulate, ["--write-example", str(tmp_path / "no" / "where.json")])

    assert (first.exit_code, first.stdout) == (0, "")
    assert f"crawler emulate --timeline {file}" in first.stderr
    assert file.read_text(encoding="utf-8") == demo_path().read_text(encoding="utf-8")
    assert isinstance(second.exception, UsageError)
    assert "exists already" in str(second.exception)
    assert "cannot be written" in str(third.exception)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["--timeline", "demmo"], UsageError, "the built-in ones are demo, published-images, published-regions"),
        (["--step", "6"], UsageError, "the timeline has 5 steps"),
        (["--timeline", "pyproject.toml"], ConfigurationError, "not JSON"),
    ],
)
def test_wrong_words_are_explained(
    arguments: list[str], error: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong timeline or step is refused with what there is instead."""
    monkeypatch.chdir(ROOT)

    result = CliRunner().invoke(emulate, [*arguments, "--port", "0"])

    assert isinstance(result.exception, error)
    assert words in str(result.exception)


@pytest.mark.parametrize("words", [[], ["--timeline", "demo"]])
def test_other_things_called_so(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's cloud is served also where a folder or a file is called `demo`; with a path the file is meant."""
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(emulate, [*words, "--step", "6"])
    named = CliRunner().invoke(emulate, ["--timeline", "./demo"])

    assert "the timeline has 5 steps" in str(result.exception)
    assert "cannot be read" in str(named.exception)


def test_taken_port_is_explained() -> None:
    """A port in use is refused with the way out."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = CliRunner().invoke(emulate, ["--port", str(taken.getsockname()[1])])

    assert isinstance(result.exception, UsageError)
    assert "--port 0 takes a free port" in str(result.exception)


@pytest.mark.parametrize(
    ("half", "other"), [("UCLOUD_PUBLIC_KEY", "--private-key"), ("UCLOUD_PRIVATE_KEY", "--public-key")]
)
def test_half_a_key_pair(half: str, other: str) -> None:
    """One half of a key pair, as a shell may have it, is refused: no client that has that pair could sign."""
    result = CliRunner(env={"UCLOUD_PUBLIC_KEY": None, "UCLOUD_PRIVATE_KEY": None, half: "mine"}).invoke(emulate, [])

    assert isinstance(result.exception, UsageError)
    assert f"give {other} or UCLOUD_" in str(result.exception)
