"""A run publishes at its end, and goes on as it went when that fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crawler.emulator import EmulatorServer, run_in_thread
from tests.support.driving import Driver, account
from tests.support.published import check_whole, document, files_of
from tests.support.worlds import make_timeline

STEPS = [{"add": {"hk-02": {"uimage-b": "Ubuntu 20.04"}}}]


@pytest.fixture
def cloud() -> Iterator[EmulatorServer]:
    with run_in_thread(make_timeline(zones={"hk-02": {"uimage-a": "Ubuntu 20.04"}}, steps=STEPS)) as server:
        yield server


def test_every_run_publishes(cloud: EmulatorServer, database_url: str, tmp_path: Path) -> None:
    """Each run writes the folder of the configuration; one that is restricted to some targets does too."""
    driver = Driver(tmp_path, database_url)
    driver.configure(account(cloud.url), publish={"dir": "public", "url": "https://images.example.com"})
    root = tmp_path / "public"
    driver.run()
    assert document(root, "v1/resolve/hk-02/ubuntu-20.04.json")["image_id"] == "uimage-a"
    cloud.advance()
    driver.run("--zone", "hk-02")

    check_whole(files_of(root))
    assert document(root, "v1/resolve/hk-02/ubuntu-20.04.json")["image_id"] == "uimage-b"
    found = document(root, "v1/renovate/hk-02/ubuntu-20.04.json")
    assert found["homepage"] == "https://images.example.com/names/ubuntu-20.04.html"
    assert (root / "names/ubuntu-20.04.html").is_file()


def test_a_run_publishes_its_pins(cloud: EmulatorServer, sqlite_url: str, tmp_path: Path) -> None:
    """With private data a run writes the page of pins: those of its reports, and of the files that they name."""
    (tmp_path / "pool.yaml").write_text("imageId: uimage-a\nzone: hk-02\n")
    report = {"name": "ops", "to": ["ops@example.com"], "pins": ["hk-02 uimage-b"]}
    report["pins_from"] = ["pool.yaml", "lost.tf"]
    smtp = {"host": "127.0.0.1", "port": 9, "security": "none", "from": "crawler@example.com"}
    place = {"dir": "site", "with_private": True}
    Driver(tmp_path, sqlite_url).configure(account(cloud.url), publish=place, reports=[report], smtp=smtp).run()

    page = (tmp_path / "site/pins.html").read_text()
    assert "report ops" in page
    assert "pool.yaml" in page


def test_a_failure_is_a_notice(cloud: EmulatorServer, database_url: str, tmp_path: Path) -> None:
    """A folder that cannot be written is told once under cron, as is its end, and the run is as good as it was."""
    driver = Driver(tmp_path, database_url).configure(account(cloud.url), publish={"dir": "public"})
    (tmp_path / "public").write_text("a file")
    said = [driver.run().result.stderr for _ in range(2)]
    (tmp_path / "public").unlink()
    said.append(driver.run().result.stderr)

    assert "publish: " in said[0]
    assert "cannot be published into" in said[0]
    assert said[1] == ""
    assert "cannot be published into" in said[2]
    assert (tmp_path / "public/v1/freshness.json").is_file()
    (tmp_path / "public/assets/files.json").write_text("mine")
    assert "files.json is in the way" in driver.run().result.stderr
    assert (tmp_path / "public/assets/files.json").read_text() == "mine"
