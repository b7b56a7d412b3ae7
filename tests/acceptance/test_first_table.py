"""From exported keys to the first table of images in three commands, as a person types them, at every kind of brand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crawler.emulator import EXAMPLE_PRIVATE_KEY, EXAMPLE_PUBLIC_KEY, Timeline, run_in_thread
from tests.support.acceptance_table import Proven
from tests.support.command import keys, process
from tests.support.worlds import make_timeline

ZONES = {
    "hk-02": {"uimage-hk-a": "Ubuntu 20.04", "uimage-hk-b": "CentOS 7.6"},
    "sg-01": {"uimage-sg-a": "Ubuntu 20.04"},
}
CUSTOM = {
    "ImageSet": [{"ImageId": "uimage-base", "ImageName": "Ubuntu 22.04", "NotSupportGPU": False, "ZoneId": 3002}],
    "CustomImageSet": [{"ImageId": "uimage-custom", "ImageName": "Ours", "OsType": "Linux", "Features": ["CloudInit"]}],
}


def dedicated() -> Timeline:
    """Make a brand with the schema of 2020, a refused list of projects and a channel of its own."""
    only = {
        "name": "channel",
        "public_key": EXAMPLE_PUBLIC_KEY,
        "private_key": EXAMPLE_PRIVATE_KEY,
        "may_list_projects": False,
        "channel_key": "channel-0042",
    }
    return make_timeline(zones=ZONES, schema="2020", accounts=[only])


def current(projects: int) -> Timeline:
    """Make the vendor's own cloud: the schema of 2026, several projects, one of them with an image of its own."""
    names = [f"org-{letter}" for letter in "abcdef"[:projects]]
    return make_timeline(zones=ZONES, images={"org-b/hk-02": CUSTOM} if projects > 1 else {}, projects=names)


def three_commands(folder: Path, environ: dict[str, str], *init: str) -> list[dict[str, Any]]:
    """Type the three commands in *folder*, in processes of their own; give the table as JSON, typed once more."""
    for words in (("init", *init), ("run",)):
        done = process(*words, environ=environ, cwd=folder)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    table = process("images", environ=environ, cwd=folder)
    assert table.returncode == 0, table.stderr
    rows: list[dict[str, Any]] = json.loads(process("images", "-o", "json", environ=environ, cwd=folder).stdout)
    assert table.stdout.count("uimage-") == len(rows)
    assert all(row["image_id"] in table.stdout for row in rows)
    return rows


def test_dedicated_brand(tmp_path: Path, proven: Proven) -> None:
    """Schema of 2020, refused GetProjectList, required channel-key: three commands, and no secret in the file."""
    with run_in_thread(dedicated()) as cloud:
        environ = {**keys(cloud.url), "UCLOUD_CHANNEL": "channel-0042"}
        rows = three_commands(tmp_path, environ, "--header", "channel-key=${UCLOUD_CHANNEL}")

    proven(
        "from exported keys to the first image table in three commands (2020 schema, no project list, channel-key)",
        f"{len(rows)} images in {len({row['zone'] for row in rows})} zones",
    )
    assert {(row["project"], row["zone"], row["image_id"]) for row in rows} == {
        ("default", zone, image_id) for zone, images in ZONES.items() for image_id in images
    }
    written = (tmp_path / "crawler.toml").read_text()
    assert "channel-0042" not in written
    assert EXAMPLE_PRIVATE_KEY not in written


def test_current_brand(tmp_path: Path, proven: Proven) -> None:
    """Schema of 2026 with several projects: three commands; each project's own images are told apart."""
    with run_in_thread(current(3)) as cloud:
        rows = three_commands(tmp_path, keys(cloud.url))

    proven(
        "from exported keys to the first image table in three commands (2026 schema, three projects)",
        f"{len(rows)} images at {len({(row['project'], row['zone']) for row in rows})} targets",
    )
    assert {(row["project"], row["zone"]) for row in rows} == {
        (project, zone) for project in ("org-a", "org-b", "org-c") for zone in ZONES
    }
    own = {row["image_id"]: row for row in rows if (row["project"], row["zone"]) == ("org-b", "hk-02")}
    assert own.keys() == {"uimage-base", "uimage-custom"}
    assert own["uimage-custom"]["image_set"] == "CustomImageSet"
    assert own["uimage-custom"]["features"] == ["CloudInit"]
    assert own["uimage-base"]["gpu"] is True


def test_sub_account(tmp_path: Path) -> None:
    """A sub-account that may not list projects names its project in the environment: three commands."""
    sub = {
        "name": "sub",
        "public_key": EXAMPLE_PUBLIC_KEY,
        "private_key": EXAMPLE_PRIVATE_KEY,
        "may_list_projects": False,
        "sub_account": True,
    }
    with run_in_thread(make_timeline(zones=ZONES, projects=["org-a", "org-b"], accounts=[sub])) as cloud:
        rows = three_commands(tmp_path, {**keys(cloud.url), "UCLOUD_PROJECT_ID": "org-b"})

    assert {row["project"] for row in rows} == {"org-b"}


def test_without_file(tmp_path: Path) -> None:
    """With exported keys alone, `crawler run` and `crawler images` need no file at all."""
    with run_in_thread(current(1)) as cloud:
        environ = keys(cloud.url)
        assert process("run", environ=environ, cwd=tmp_path).returncode == 0
        rows = json.loads(process("images", "-o", "json", environ=environ, cwd=tmp_path).stdout)

    assert {row["image_id"] for row in rows} == {"uimage-hk-a", "uimage-hk-b", "uimage-sg-a"}
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".toml"] == []


@pytest.mark.parametrize("header", [(), ("--header", "channel-key=wrong")])
def test_channel_key_missing(tmp_path: Path, header: tuple[str, ...]) -> None:
    """Without the right channel-key `init` ends with 5, writes nothing and names the header."""
    with run_in_thread(dedicated()) as cloud:
        done = process("init", *header, environ=keys(cloud.url), cwd=tmp_path)
        assert len(cloud.log) == 1

    assert done.returncode == 5
    assert "channel-key" in done.stderr
    assert list(tmp_path.iterdir()) == []
