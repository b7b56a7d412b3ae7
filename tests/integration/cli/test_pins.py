"""`crawler pins`, and the pins of reports that stand in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import HK, POOL, SG
from tests.support.checkout import story as story
from tests.support.command import call, rows
from tests.support.diary import Diary

CONFIG = """
database = "{database}"
[[accounts]]
name = "prod"
public_key = "key"
private_key = "another"
[smtp]
host = "127.0.0.1"
port = 9
security = "none"
from = "crawler@example.com"
[[reports]]
name = "sre"
to = ["sre@example.com"]
pins = ["hk-02 uimage-k"]
pins_from = ["infra/", "more.yaml"]
"""


@pytest.fixture
def config(story: tuple[str, Diary]) -> str:
    Path("infra").mkdir()
    Path("infra/pool.tf").write_text(POOL % "uimage-a" + POOL % "uimage-r")
    Path("more.yaml").write_text("imageId: uimage-d\nzone: hk-02\n")
    Path("crawler.toml").write_text(CONFIG.format(database=story[0]))
    return "crawler.toml"


def outcomes(found: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [
        (row["outcome"], row["image_id"], Path(row["file"]).name if row["file"] else row["source"]) for row in found
    ]


def test_every_pin(story: tuple[str, Diary], config: str) -> None:
    """Pins of reports, of the files they name and of those on the command line are listed, the worst first."""
    Path("own.txt").write_text("hk-02 uimage-typo\n")

    assert outcomes(rows("--config", config, "pins", "own.txt", now=story[1].now)) == [
        ("re-issued", "uimage-a", "pool.tf"),
        ("missing", "uimage-d", "more.yaml"),
        ("never-seen", "uimage-typo", "own.txt"),
        ("superseded", "uimage-r", "pool.tf"),
        ("ok", "uimage-k", "report sre"),
    ]
    table = call("--config", config, "pins", now=story[1].now).stdout
    assert "only later nodes" not in table
    assert "later-nodes" in table


def test_machines(story: tuple[str, Diary]) -> None:
    """The images of machines are listed too, out of scope where nobody asks for their kind."""
    Path("m.tf").write_text('resource "ucloud_instance" "m" {\n  image_id = "uimage-own"\n}\n')
    (row,) = rows("--database", story[0], "pins", "m.tf", now=story[1].now)

    assert (row["image_id"], row["outcome"], row["effect"]) == ("uimage-own", "out-of-scope", "nothing")


def test_no_pins(story: tuple[str, Diary]) -> None:
    """Where nobody named a pin, that is said."""
    assert "No pin is known" in call("--database", story[0], "pins", now=story[1].now).stderr


def test_file_that_is_not_there(story: tuple[str, Diary], config: str) -> None:
    """What the configuration names and cannot be read is said, and the others are listed; a PATH has to be there."""
    Path("more.yaml").unlink()
    result = call("--config", config, "pins", now=story[1].now)
    refused = call("--config", config, "pins", "nowhere.tf", now=story[1].now, code=2)

    assert "Warning: " in result.stderr
    assert "more.yaml cannot be read: No such file or directory; its pins are left out." in result.stderr
    assert "uimage-a" in result.stdout
    assert refused.stderr == "Error: nowhere.tf cannot be read: No such file or directory.\n"


def test_report_on_pins_in_files(story: tuple[str, Diary], config: str) -> None:
    """A report tells of the pins in the files it names, as they stand there now; an id without a zone everywhere."""
    Path("infra/anywhere.tfvars").write_text('image_id = "uimage-a"\n')
    shown = call("--config", config, "report", "preview", now=story[1].now).stdout

    assert "uimage-a is gone. Use uimage-b" in shown
    assert "uimage-d is gone." in shown
    assert "uimage-r still works; uimage-r2 is newer" in shown
    story[1].run({HK: {"uimage-k": "Keep", "uimage-b": "Ubuntu 20.04"}, SG: {"uimage-c": "Ubuntu 20.04"}})
    Path("infra/pool.tf").write_text("")
    shown = call("--config", config, "report", "preview", now=story[1].now).stdout
    assert "sg-01" in shown
    assert "uimage-r still works" not in shown


def test_early_warning(story: tuple[str, Diary], config: str) -> None:
    """An image that was re-issued in another zone, and not yet in that of the pin, is warned of; so is a superseded."""
    Path("infra/pool.tf").write_text((POOL % "uimage-a").replace("hk-02", "sg-01"))
    shown = call("--config", config, "report", "preview", now=story[1].now).stdout

    assert "uimage-a still works; its name was re-issued in other zones, and may be here next" in shown
    assert "hk-02" in shown
    story[1].run({HK: {"uimage-b": "Ubuntu 20.04", "uimage-k": "Keep"},
                  SG: {"uimage-a": "Ubuntu 20.04", "uimage-n": "Ubuntu 20.04"}})  # fmt: skip
    shown = call("--config", config, "report", "preview", now=story[1].now).stdout
    assert "uimage-a still works; uimage-n is newer" in shown


def test_secrets_out_of_reach(story: tuple[str, Diary], config: str) -> None:
    """Who lists pins needs no secret of a report, as no reader does; what the pins themselves need is told."""
    hook = '[[reports]]\nname = "hook"\nchannel = "webhook"\nurl = "${HOOK_URL}"\nsecret = "${HOOK_SECRET}"\n'
    Path(config).write_text(f'{Path(config).read_text()}{hook}pins = ["hk-02 uimage-d"]\n')
    found = outcomes(rows("--config", config, "pins", now=story[1].now))

    assert ("missing", "uimage-d", "report hook") in found
    assert ("ok", "uimage-k", "report sre") in found
    Path(config).write_text(f'{Path(config).read_text()}pins_from = ["${{INFRA}}/"]\n')
    said = call("--config", config, "pins", now=story[1].now, code=2).stderr
    assert "reports[1].pins_from[0]: the environment variable INFRA is not set" in said
    assert "HOOK" not in said
