"""`images`, `changes`, `status` and `runs` over the history that five real runs made of the demo's cloud."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crawler.emulator import demo, run_in_thread
from tests.support.command import NOW, ROOT, call, keys, process, rows
from tests.support.terminals import read_terminal

TARGET = ["account", "project", "region", "zone", "kind", "variant"]
IMAGE = [
    *TARGET, "image_set", "image_id", "image_name", "gpu", "os_type", "os_name", "features", "gpu_types", "software",
    "size_gb", "zone_id", "extra", "valid_from", "present_since", "baseline", "superseded_by", "state", "reason",
    "observed_at",
]  # fmt: skip
CHANGE = [
    *TARGET, "id", "run", "event", "image_set", "image_id", "image_name", "fields", "counterpart", "not_before",
    "observed_at", "recorded_at", "cursor",
]  # fmt: skip
STATUS = [*TARGET, "outcome", "since", "last_ok_at", "images", "message"]
#: Five runs, six hours apart; the last at NOW.
FIRST = NOW - timedelta(hours=24)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database with the demo's five runs in it."""
    path = tmp_path_factory.mktemp("recorded") / "crawler.db"
    fast = path.with_name("fast.toml")
    fast.write_text("[limits]\nrate = 1000\n")
    with run_in_thread(demo()) as server:
        for step in range(5):
            server.step = step + 1
            now = FIRST + step * timedelta(hours=6)
            call("--config", fast, "--database", path, "-qq", "run", environ=keys(server.url), now=now, code=None)
    return path


@pytest.fixture
def database(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """Return the option that names the recorded history; no other configuration is near."""
    monkeypatch.chdir(recorded.parent)
    before = recorded.read_bytes()
    yield ("--database", str(recorded))
    assert recorded.read_bytes() == before, "a reader wrote"


Database = tuple[str, str]


@pytest.mark.parametrize(
    ("command", "fields"),
    [("images", IMAGE), ("changes", CHANGE), ("status", STATUS)],
    ids=["images", "changes", "status"],
)
def test_shapes(database: Database, command: str, fields: list[str]) -> None:
    """The rows of each reader have exactly the promised fields, in json, jsonl and csv."""
    array = rows(*database, command)
    lines = [json.loads(line) for line in call(*database, command, "-o", "jsonl").stdout.splitlines()]
    table = list(csv.reader(io.StringIO(call(*database, command, "-o", "csv").stdout)))

    assert [list(row) for row in array] == [fields] * len(array)
    assert array == lines
    assert table[0] == fields
    assert len(table) == len(array) + 1 > 1


def test_images(database: Database) -> None:
    """The present: what was listed last, with the re-issued id, in UTC."""
    present = {row["image_name"]: row for row in rows(*database, "images", "--zone", "hk-02")}

    assert present.keys() == {"CentOS 7.6", "Ubuntu 20.04"}
    ubuntu = present["Ubuntu 20.04"]
    assert (ubuntu["image_id"], ubuntu["state"], ubuntu["reason"]) == ("uimage-x7zezb1gcv5", "present", None)
    assert (ubuntu["valid_from"], ubuntu["observed_at"]) == ("2026-11-23T11:00:00Z", "2026-11-23T11:00:00Z")
    assert (present["CentOS 7.6"]["baseline"], ubuntu["baseline"]) == (True, False)


def test_images_unknown(database: Database) -> None:
    """What was not observed well is shown as unknown, with the reason."""
    unknown = rows(*database, "images", "--zone", "kr-seoul-01")

    assert {(row["state"], row["reason"], row["observed_at"]) for row in unknown} == {
        ("unknown", "failed", "2026-11-23T05:00:00Z")
    }
    assert "unknown (failed)" in call(*database, "images", "--zone", "kr-seoul-01").stdout


def test_images_stale(database: Database) -> None:
    """What was observed too long ago is unknown; the configured age decides."""
    later = NOW + timedelta(hours=27)

    assert {row["reason"] for row in rows(*database, "images", "--zone", "hk-02", now=later)} == {"stale"}


@pytest.mark.parametrize(
    "at", ["2026-11-22T20:00", "2026-11-22 20:00+08:00", "2026-11-22T12:00Z", "23h", "1380m", "2026-11-23"]
)
def test_images_at(database: Database, at: str) -> None:
    """The past, asked for in any of the ways to write a time; naive ones are in the configured zone."""
    (ubuntu,) = rows(*database, "images", "--at", at, "--zone", "hk-02", "--name", "ubuntu  20.04")

    assert ubuntu["image_id"] == "uimage-vareox"


def test_configured_zone(database: Database, tmp_path: Path) -> None:
    """The zone of the configuration gives naive times their meaning, and the table its times."""
    path = tmp_path / "crawler.toml"
    path.write_text('timezone = "America/New_York"\n')
    words = (*database, "--config", path, "images", "--zone", "hk-02", "--name", "ubuntu 20.04", "--wide")

    lines = call(*words, "--at", "2026-11-22T07:00").stdout.splitlines()
    assert "SINCE (America/New_York)" in lines[0]
    assert "uimage-vareox" in lines[1]
    assert "2026-11-22 06:00:00" in lines[1]


@pytest.mark.parametrize(
    ("options", "zones"),
    [
        (("--zone", "hk-*"), {"hk-02"}),
        (("--zone", "hk-02", "--zone", "sg-0?"), {"hk-02", "sg-01", "sg-02"}),
        (("--region", "cn-bj2"), {"cn-bj2-02", "cn-bj2-03", "cn-bj2-04", "cn-bj2-05"}),
        (("--region", "cn-bj2", "--zone", "*-02"), {"cn-bj2-02"}),
        (("--image-id", "uimage-x7zezb1gcv5"), {"hk-02"}),
        (("--project", "Default", "--account", "default", "--kind", "uk8s-*", "--zone", "hk-02"), {"hk-02"}),
        (("--name", "CENTOS*", "--variant", "default", "--image-set", "ImageSet", "--zone", "sg-01"), {"sg-01"}),
    ],
)
def test_selection(database: Database, options: tuple[str, ...], zones: set[str]) -> None:
    """Options select by globs, are repeatable, and all count together."""
    assert {row["zone"] for row in rows(*database, "images", *options)} == zones


@pytest.mark.parametrize("command", ["images", "changes", "status"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--zone", "hk-2"), "The history knows no zone 'hk-2'; the nearest: hk-02"),
        (("--region", "mars"), "knows no region 'mars'"),
        (("--account", "prod"), "knows no account 'prod'; known: default"),
        (("--kind", "uhost"), "knows no kind 'uhost'; known: uk8s-image"),
        (
            ("--kind", "uhost-image"),
            "The history knows no kind 'uhost-image' yet; there is one: add it to `kinds` in the configuration, "
            "and the next run asks for it.",
        ),
        (("--image-id", "uimage-vareo"), "the nearest: uimage-vareox"),
        (("--image-id", "uimage-nope"), "The history knows no image id 'uimage-nope'; `crawler images` lists what"),
        (("--name", "Ubuntu 20.4"), "the nearest: Ubuntu 20.04"),
        (("--zone", "hk-02", "--zone", "zz-*", "--region", "zz"), "knows no zone 'zz-*'"),
    ],
)
def test_unheard_of(database: Database, command: str, options: tuple[str, ...], said: str) -> None:
    """A selection of something the history never heard of exits 2 and names what is near, whatever the command."""
    result = call(*database, command, *options, code=2)

    assert result.stdout == ""
    assert said in result.stderr


def test_all_unheard_of(database: Database) -> None:
    """Every unknown word of a selection is told at once."""
    text = call(*database, "images", "--zone", "hk-2", "--region", "mars", "--zone", "hk-02", code=2).stderr

    assert len(text.splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("images", "--image-id", "uimage-vareox"), "No images fit --image-id uimage-vareox"),
        (("images", "--zone", "sg-01", "--image-id", "uimage-puxm0l"), "No images fit --zone sg-01 and --image-id"),
        (("changes", "--event", "returned"), "There are no returned changes; not known: kr-seoul-01 (failed)."),
        (
            ("changes", "--since", "2026-11-23T19:00:01"),
            "There are no changes in that time; not known: kr-seoul-01 (failed).",
        ),
    ],
)
def test_why_empty(database: Database, words: tuple[str, ...], said: str) -> None:
    """An empty answer is exit 0, an empty array, and the reason on stderr."""
    result = call(*database, *words, "-o", "json")

    assert result.stdout == "[]\n"
    assert said in result.stderr


def test_before_anybody_looked(database: Database) -> None:
    """A moment before the first run is not answered with "nothing": exit 8, an empty array, and the reason."""
    result = call(*database, "images", "--at", "9d", "-o", "json", code=8)

    assert result.stdout == "[]\n"
    assert "Nothing was recorded by 2026-11-14 19:00:00: the first run ended at 2026-11-22 19" in result.stderr


@pytest.mark.parametrize(("command", "code"), [("images", 8), ("changes", 8), ("status", 0), ("runs", 0)])
def test_nothing_recorded(
    sqlite_url: str, command: str, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A history without a run says so, also when a selection is made; of images nobody knows (8)."""
    monkeypatch.chdir(tmp_path)
    result = call("--database", sqlite_url, command, "--zone", "hk-02", code=code)

    assert result.stdout == ""
    assert result.stderr.startswith("Nothing is recorded yet: `crawler run` ")


def test_changes(database: Database) -> None:
    """The log: oldest first, a re-issue with both ids, a held withdrawal dated to the first held answer."""
    log = rows(*database, "changes")

    assert [row["id"] for row in log] == sorted(row["id"] for row in log)
    pair = {row["event"]: row for row in log if row["run"] == 3}
    assert (pair["withdrawn"]["image_id"], pair["withdrawn"]["counterpart"]) == ("uimage-vareox", "uimage-rccvz4l9itr")
    assert (pair["appeared"]["image_id"], pair["appeared"]["counterpart"]) == ("uimage-rccvz4l9itr", "uimage-vareox")
    (bangkok,) = rows(*database, "changes", "--zone", "th-bkk-01", "--name", "centos 7.6")
    assert (bangkok["not_before"], bangkok["observed_at"], bangkok["recorded_at"]) == (
        "2026-11-22T11:00:00Z",
        "2026-11-22T17:00:00Z",
        "2026-11-23T05:00:00Z",
    )


def test_changes_between(database: Database) -> None:
    """--since and --until go by the time of recording, the end excluded; --event is repeatable."""
    during = rows(*database, "changes", "--since", "2026-11-23T05:00Z", "--until", "2026-11-23T11:00Z")
    assert {row["zone"] for row in during} == {"th-bkk-01"}

    events = rows(*database, "changes", "--event", "appeared", "--event", "modified")
    assert {row["event"] for row in events} == {"appeared"}


def test_changes_read_well(database: Database) -> None:
    """The table says what replaced what."""
    text = call(*database, "changes", "--zone", "hk-02").stdout

    assert "replaced by uimage-rccvz4l9itr" in text
    assert "replaces uimage-vareox" in text


def test_backwards(database: Database) -> None:
    """A span of time that ends before it begins is wrong usage."""
    assert (
        "--since is later than --until" in call(*database, "changes", "--since", "1d", "--until", "2d", code=2).stderr
    )


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_impossible_time(database: Database, option: str) -> None:
    """An impossible time is told in one sentence that names the option."""
    assert call(*database, "changes", option, "2026-02-30", code=2).stderr.splitlines()[-1] == (
        f"Error: Invalid value for '{option}': '2026-02-30' is no time: day is out of range for month"
    )


def test_status(database: Database) -> None:
    """Every target has its outcome, since when, and how many images are open."""
    by_zone = {row["zone"]: row for row in rows(*database, "status")}

    assert len(by_zone) == 24
    assert {zone for zone, row in by_zone.items() if row["outcome"] != "ok"} == {"kr-seoul-01"}
    seoul = by_zone["kr-seoul-01"]
    assert (seoul["since"], seoul["last_ok_at"], seoul["images"]) == ("2026-11-23T11:00:00Z", "2026-11-23T05:00:00Z", 3)
    assert "RetCode 150" in seoul["message"]
    assert by_zone["th-bkk-01"]["images"] == 0
    assert rows(*database, "status", "--limit", "2") == list(by_zone.values())[:2]
    assert call(*database, "status", "--limit", "2").stderr == ""


def test_status_of_images(database: Database) -> None:
    """Options about images select the targets where such images are open."""
    assert {row["zone"] for row in rows(*database, "status", "--image-id", "uimage-x7zezb1gcv5")} == {"hk-02"}


def test_runs(database: Database) -> None:
    """The ledger is in order; --limit keeps the newest; failures are not claimed to be absent."""
    ledger = rows(*database, "runs")

    assert [(row["run"], row["status"]) for row in ledger] == [
        (1, "complete"),
        (2, "incomplete"),
        (3, "incomplete"),
        (4, "complete"),
        (5, "incomplete"),
    ]
    assert ledger[0]["baseline"] == {"targets": 24, "images": 71}
    assert "failures" not in ledger[4]
    assert [row["run"] for row in rows(*database, "runs", "--limit", "2")] == [4, 5]
    lines = call(*database, "runs", "-o", "csv").stdout.splitlines()
    assert lines[0].startswith("run,status,started_at,finished_at,targets.total,targets.ok,")
    assert lines[5].startswith("5,incomplete,2026-11-23T11:00:00Z,2026-11-23T11:00:00Z,24,23,")


def test_runs_show(database: Database) -> None:
    """One run in full is the summary that `run --json` prints, or lines for a person."""
    document: dict[str, Any] = json.loads(call(*database, "runs", "show", "5", "-o", "json").stdout)

    assert list(document)[:12] == [
        "run", "status", "started_at", "finished_at", "targets", "baseline", "changes", "requests", "failures",
        "notices", "reports", "accounts",
    ]  # fmt: skip
    (failure,) = document["failures"]
    assert list(failure) == ["target", "outcome", "class", "ret_code", "message", "request_uuid"]
    assert list(failure["target"]) == TARGET
    assert (failure["outcome"], failure["class"], failure["ret_code"]) == ("failed", "transient", 150)

    text = call(*database, "runs", "show", "5").stdout
    assert "failed    default/org-example/kr-seoul/kr-seoul-01/uk8s-image/default: RetCode 150" in text
    assert text.count("RetCode") == 1  # the message has it too
    assert "2026-11-23 19:00:00 to 2026-11-23 19:00:00 (Asia/Shanghai)" in text
    said = call(*database, "runs", "show", "6", code=2).stderr
    assert said == "Error: There is no run 6: they go to 5; `crawler runs` lists them.\n"
    before, after = (call(*database, *words) for words in (("runs", "-o", "json", "show", "5"), ("runs", "show", "5")))
    assert (json.loads(before.stdout), after.stdout) == (document, text), "the format may stand before `show`"


def test_format_from_the_environment(recorded: Path) -> None:
    """$CRAWLER_FORMAT sets the format, -o overrides it."""
    environ = {"CRAWLER_FORMAT": "jsonl"}

    assert len(process("--database", recorded, "runs", environ=environ).stdout.splitlines()) == 5
    assert process("--database", recorded, "runs", "-o", "json", environ=environ).stdout.startswith("[\n")


def test_broken_configuration_elsewhere(database: Database, tmp_path: Path) -> None:
    """A reader needs no keys: an account whose secrets are out of reach keeps nobody from the history."""
    path = tmp_path / "crawler.toml"
    path.write_text('[[accounts]]\nname = "a"\npublic_key = "${NOT_SET}"\nprivate_key_file = "gone"\n')

    assert rows(*database, "--config", path, "images")


def on_terminal(
    recorded: Path, *words: str, rows: int = 50, columns: int = 100, pager: str = "cat", is_gate: bool = False
) -> str:
    """Run a reader with a terminal as its stdout and give what it shows."""
    ours, theirs = pty.openpty()
    environ = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "PAGER": pager,
        "COLUMNS": str(columns), "LINES": str(rows),
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-m", "crawler", "--database", str(recorded), *words],
        stdin=theirs,
        stdout=theirs,
        env=environ,
    ) as running:
        os.close(theirs)
        shown = read_terminal(ours)
    assert is_gate or running.returncode == 0
    return shown


@pytest.fixture
def less(tmp_path: Path) -> str:
    """Return a pager of the name that shows colours when its options say so."""
    path = tmp_path / "less"
    path.write_text('#!/bin/sh\necho "paged with $LESS"\ncat\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("height", [50, 3], ids=["short", "paged"])
def test_terminal(recorded: Path, height: int, less: str) -> None:
    """On a terminal the table is styled, tells once what is the same everywhere, and is paged when it is long."""
    text = on_terminal(recorded, "images", "--zone", "hk-02", rows=height, pager=less)

    assert "\x1b[" in text
    assert text.count("org-example") == 1
    assert "Everywhere: account default, project org-example" in text
    assert "uimage-x7zezb1gcv5" in text
    assert "Asia/Shanghai" in text
    assert ("paged with -R" in text) is (height == 3)


def test_pager_without_colour(recorded: Path) -> None:
    """A pager that may not show colours gets plain text instead of escape sequences."""
    assert "\x1b" not in on_terminal(recorded, "images", "--zone", "hk-02", rows=3, pager="cat")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_narrow_terminal(recorded: Path, columns: int) -> None:
    """However narrow the terminal is, no id is cut or folded."""
    text = on_terminal(recorded, "changes", columns=columns)

    ids = ("uimage-vareox", "uimage-rccvz4l9itr", "uimage-x7zezb1gcv5", "uimage-yjoh5a")
    assert [image_id for image_id in ids if image_id not in text] == []


def test_clock_of_the_tests() -> None:
    """The fixtures' clock is the one the expectations are written for."""
    assert datetime(2026, 11, 23, 11, tzinfo=UTC) == NOW
