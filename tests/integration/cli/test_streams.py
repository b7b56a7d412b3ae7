"""The program as others start it: streams closed, full or broken, locales without the characters, few descriptors."""

from __future__ import annotations

import json
import os
import pty
import select
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crawler.emulator import EmulatorServer, run_in_thread
from tests.acceptance.conftest import driver as driver
from tests.acceptance.conftest import light as light
from tests.support.command import ROOT
from tests.support.driving import Driver, account
from tests.support.worlds import make_timeline

NAME = "高可用 é"
PROGRAM = shlex.join([sys.executable, "-m", "crawler"])
FULL = Path("/dev/full")

pytestmark = pytest.mark.slow  # many processes, each started from nothing

needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


@pytest.fixture
def cloud() -> Iterator[EmulatorServer]:
    with run_in_thread(make_timeline(zones={"hk-02": {"uimage-a": NAME}}, steps=[{}])) as server:
        yield server


@pytest.fixture
def ready(light: Driver, cloud: EmulatorServer) -> Driver:
    return light.configure(account(cloud.url), timezone="UTC")


def shell(driver: Driver, words: str, redirections: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    """Let a shell call `crawler` with *words* and *redirections*."""
    return subprocess.run(
        ["/bin/sh", "-c", f"{PROGRAM} --config {shlex.quote(str(driver.config))} {words} {redirections}"],
        env={"PATH": os.environ["PATH"], "HOME": "/dev/null", "PYTHONPATH": str(ROOT), **environ},
        cwd=driver.folder,
        capture_output=True,
        timeout=60,
        check=False,
    )


def recorded(driver: Driver) -> list[str]:
    """Return the status of every run in the history."""
    return [row["status"] for row in driver.rows("runs")]


CLOSED = (">&-", "2>&-", ">&- 2>&- <&-", "1</dev/null", "2</dev/null")
BROKEN = (">/dev/full", "2>/dev/full", ">/dev/full 2>&1")


@pytest.mark.parametrize("words", ["run --json", "--log-format json -vv run"])
def test_run_without_listeners(ready: Driver, words: str) -> None:
    """A run is made, recorded and ends with its own code, whichever streams are closed, read-only or full."""
    redirections = [*CLOSED, *(BROKEN if FULL.exists() else ())]
    codes = {how: shell(ready, words, how).returncode for how in redirections}

    assert set(codes.values()) == {0}, codes
    assert recorded(ready) == ["complete"] * len(redirections)


def test_no_descriptor_of_a_stream_is_taken(ready: Driver) -> None:
    """With all streams closed, what is opened does not get their numbers: nothing is printed into the database."""
    assert shell(ready, "-vv run", ">&- 2>&- <&-").returncode == 0
    assert json.loads(shell(ready, "db check --json", "").stdout or b"[]") is not None
    assert shell(ready, "images", "").returncode == 0


@needs_full
@pytest.mark.parametrize("words", ["images", "images -o json", "config show", "--help"])
def test_full_output(ready: Driver, words: str) -> None:
    """A reader whose answer cannot be written says so and gives 70; never Python's own 120."""
    ready.run()
    done = shell(ready, words, ">/dev/full")

    assert (done.returncode, done.stderr) == (70, b"Error: the output cannot be written: No space left on device\n")


@needs_full
def test_full_output_of_a_run(ready: Driver) -> None:
    """A run whose summary cannot be written says so, and its exit code goes on saying how the run went."""
    done = shell(ready, "run --json", ">/dev/full")

    assert done.returncode == 0
    assert b"Warning: the output cannot be written: No space left on device\n" in done.stderr


@pytest.mark.parametrize("words", ["images --zone nowhere", "nonsense", "images --at never", "--database /x/y images"])
def test_errors_without_listeners(ready: Driver, words: str) -> None:
    """What is wrong has the same exit code when nobody can be told."""
    ready.run()
    code = shell(ready, words, "").returncode

    assert code in (2, 74)
    assert {shell(ready, words, how).returncode for how in ("2>&-", "2>/dev/null 1>&2", "2</dev/null")} == {code}


@pytest.mark.parametrize("words", ["images", "images -o jsonl", "-v run"])
def test_broken_pipes(ready: Driver, words: str) -> None:
    """A reader that went away, on either stream, changes no exit code and makes no noise."""
    ready.run()
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "crawler", "--config", str(ready.config), *words.split()],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdout=writing,
        stderr=writing,
        check=False,
    )
    os.close(writing)

    assert done.returncode == 0


# --- characters ------------------------------------------------------------------------------------------------------

LOCALES: tuple[dict[str, str], ...] = (
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "C"},
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "ascii:replace"},
    {"PYTHONIOENCODING": "gb18030"},
)


@pytest.mark.parametrize("locale", LOCALES, ids=str)
@pytest.mark.parametrize("words", ["images", "images -o json", "images -o csv", f"where '{NAME}'"])
def test_locales(ready: Driver, locale: dict[str, str], words: str) -> None:
    """What a locale cannot write is escaped or replaced: the same exit code, and the same JSON."""
    ready.run()
    done = shell(ready, words, "", **locale)

    # An argument is what its bytes are in that locale, so the name may be one that the history does not know.
    assert done.returncode in ((0, 2) if "where" in words else (0,)), done.stderr
    assert b"Traceback" not in done.stderr
    if words.endswith("json"):
        encoding = locale.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
        assert json.loads(done.stdout.decode(encoding))[0]["image_name"] == NAME


def on_terminal(driver: Driver, words: str, **environ: str) -> tuple[int, bytes]:
    """Call `crawler` with a terminal for all its streams; give its exit code and what the terminal got."""
    main, side = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "crawler", "--config", str(driver.config), *words.split()],
        env={"PATH": os.environ["PATH"], "HOME": "/dev/null", "PYTHONPATH": str(ROOT), "TERM": "xterm", **environ},
        stdin=side,
        stdout=side,
        stderr=side,
        cwd=driver.folder,
    )
    os.close(side)
    seen = b""
    try:
        while select.select([main], [], [], 60)[0]:
            seen += os.read(main, 65536)
    except OSError:
        pass  # the last one who had the terminal open is gone
    os.close(main)
    return child.wait(60), seen


@pytest.mark.parametrize("locale", LOCALES, ids=str)
def test_terminal(ready: Driver, locale: dict[str, str]) -> None:
    """Tables and the bar on a terminal of such a locale come to an end as well."""
    assert on_terminal(ready, "run", **locale)[0] == 0
    code, seen = on_terminal(ready, "images", PAGER="cat", **locale)

    assert (code, b"uimage-a" in seen, b"internal error" in seen) == (0, True, False)


@pytest.mark.parametrize("zone", ["[link=evil]x", "{task.description}"])
def test_zone_that_looks_like_markup(light: Driver, zone: str) -> None:
    """The bar shows a zone's name as it is: what looks like markup is none."""
    zones = {zone: {"uimage-a": "A"}, "hk-02": {"uimage-b": "B"}}
    slow = [{"faults": [{"zone": "hk-02", "latency_ms": 400}]}]  # meanwhile the bar shows the other one
    with run_in_thread(make_timeline(zones=zones, steps=slow)) as cloud:
        cloud.step = 2
        light.configure(account(cloud.url))
        code, seen = on_terminal(light, "run")

    assert (code, b"\x1b]8;" in seen, recorded(light)) == (0, False, ["complete"])
    assert zone.encode() in seen


# --- descriptors -----------------------------------------------------------------------------------------------------


def limited(driver: Driver, limit: str, words: str) -> subprocess.CompletedProcess[str]:
    """Call `crawler` with *words* behind `ulimit` *limit*."""
    config = shlex.quote(str(driver.config))
    return subprocess.run(
        ["/bin/sh", "-c", f"ulimit {limit}; exec {PROGRAM} --config {config} {words}"],
        env={"PATH": os.environ["PATH"], "HOME": "/dev/null", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("limit", [6, 9, 12, 20])
@pytest.mark.parametrize("words", ["run", "images"])
def test_few_descriptors(ready: Driver, limit: int, words: str) -> None:
    """A process that may open few files does its work or names the limit; it is never an internal error."""
    ready.run()
    done = limited(ready, f"-n {limit}", words)

    assert done.returncode in (0, 2, 74), done.stderr
    assert done.returncode == 0 or f"this process may have {limit} open at once; raise the limit" in done.stderr


@pytest.mark.parametrize("limit", [22, 30])
def test_connections_fit_in(light: Driver, limit: int) -> None:
    """A run opens no more connections than fit in beside its database: it is complete, with fewer at a time."""
    zones = {f"hk-{number:02}": {f"uimage-{number}": "A"} for number in range(1, 31)}
    with run_in_thread(make_timeline(zones=zones, steps=[{"faults": [{"latency_ms": 50}]}])) as cloud:
        cloud.step = 2
        light.configure(account(cloud.url))
        done = limited(light, f"-n {limit}", "run --json")

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["targets"]["ok"] == 30


def test_soft_limit_is_raised(ready: Driver) -> None:
    """A run raises its own limit as far as the system lets it: many connections fit in where few files are allowed."""
    done = limited(ready, "-S -n 16", "run --json")

    assert (done.returncode, json.loads(done.stdout)["targets"]["ok"]) == (0, 1)
