"""A run that nobody watches says an error of its configuration or database once, and that it is over."""

from __future__ import annotations

from pathlib import Path

import pytest

from crawler.emulator import run_in_thread
from tests.acceptance.conftest import light as light
from tests.support.driving import Driver, account
from tests.support.worlds import make_timeline

UNSET = "the environment variable MY_KEY is not set"


def said(driver: Driver, code: int, *words: str, **environ: str) -> str:
    return driver.call("run", *words, code=code, **environ).stderr


@pytest.mark.parametrize("has_home", [True, False], ids=["home", "no home"])
def test_unset_variable(light: Driver, has_home: bool) -> None:
    """A variable that cron lacks is told once, each time with exit code 2; a good run tells that it is over."""
    home = {"HOME": str(light.folder)} if has_home else {}
    with run_in_thread(make_timeline()) as cloud:
        light.configure(account(cloud.url, private_key="${MY_KEY}"))
        first, *later = [said(light, 2, **home) for _ in range(3)]
        key = account(cloud.url)["private_key"]
        over, quiet = (said(light, 0, MY_KEY=key, **home) for _ in range(2))
    again = said(light, 2, **home)

    assert UNSET in first
    assert UNSET in again
    assert later == ["", ""]
    assert over.startswith("No longer: ")
    assert UNSET in over
    assert quiet == ""
    assert (light.folder / ".local" / "state" / "crawler").is_dir() == has_home


def test_who_watches_is_told_each_time(light: Driver) -> None:
    """With -v, as for a person, it is said each time; other commands always say it."""
    light.configure(account("http://127.0.0.1:9/", private_key="${MY_KEY}"))

    for _ in range(2):
        assert UNSET in said(light, 2, "-v")
        assert UNSET in light.call("config", "validate", code=2).stderr


def test_unreadable_configuration(light: Driver) -> None:
    """A file that is no TOML is told once; another fault of it is told anew."""
    light.folder.joinpath(".local").mkdir()
    home = str(light.folder)
    light.config.write_text("database = ")
    broken = [said(light, 2, HOME=home) for _ in range(2)]
    light.config.unlink()
    missing = [said(light, 2, HOME=home) for _ in range(2)]

    assert ["is not TOML" in text for text in broken] == [True, False]
    assert ["there is no such file" in text for text in missing] == [True, False]


def test_database_unavailable(light: Driver, tmp_path: Path) -> None:
    """A database that cannot be opened is told once, with exit code 74 each time; the note holds no secret."""
    light.database = "postgresql://crawler:hunter2@127.0.0.1:9/history"
    light.configure(account("http://127.0.0.1:9/"))
    first, second = (said(light, 74, HOME=str(tmp_path)) for _ in range(2))
    (note,) = (tmp_path / ".local" / "state" / "crawler").iterdir()

    assert first.startswith("Error: ")
    assert second == ""
    assert "hunter2" not in note.read_text()
    assert note.stat().st_mode & 0o777 == 0o600


def test_account_that_is_not_there(light: Driver) -> None:
    """That no account fits the line of a crontab is told once, too."""
    light.configure(account("http://127.0.0.1:9/"))
    first, second = (said(light, 2, "--account", "prd") for _ in range(2))

    assert "No account matches prd; the configuration has prod." in first
    assert second == ""


def test_end_is_told_once(light: Driver) -> None:
    """What the database keeps of an error is kept there alone, and its end is told once."""
    with run_in_thread(make_timeline()) as cloud:

        def run(gpu_type: str, code: int | None = None) -> str:
            variant = {"name": "g", "MachineType": "G", "GPUType": gpu_type}
            light.configure(account(cloud.url, variants=[variant]))
            return light.call("run", code=code).stderr

        run("V100")
        first, second = run("T4", 2), run("T4", 2)
        over = run("V100")

    assert "variant" in first
    assert second == ""
    assert over.count("No longer: ") == 1


def test_error_of_another_account(light: Driver) -> None:
    """What keeps the run of one account from its work is not over because that of another, of its own, is well."""
    with run_in_thread(make_timeline()) as cloud:

        def run(name: str, gpu_type: str, code: int | None = None) -> str:
            variant = {"name": "g", "MachineType": "G", "GPUType": gpu_type}
            light.configure(account(cloud.url, "one", variants=[variant]), account(cloud.url, "two"))
            return light.call("run", "--account", name, code=code).stderr

        run("one", "V100")
        first, *others = run("one", "T4", 2), run("two", "T4"), run("one", "T4", 2), run("two", "T4")
        over = run("one", "V100")

    assert "variant" in first
    assert others == ["", "", ""]
    assert over.count("No longer: ") == 1
