"""Configurations as other programs, other machines and slips of the hand make them."""

from __future__ import annotations

import codecs
import os
import sys
import zoneinfo
from collections.abc import Iterator
from pathlib import Path

import pytest

from crawler.config.loader import load, load_pins
from crawler.config.texts import zone_of
from crawler.config.toml import parse_toml
from crawler.errors import ConfigurationError, UsageError

ACCOUNT = '[[accounts]]\nname = "a"\npublic_key = "p"\nprivate_key = "k"\n'
DEEP = 10_000


def problems(tmp_path: Path, text: str) -> tuple[str, ...]:
    """Return what is wrong with the configuration *text*."""
    (tmp_path / "crawler.toml").write_text(text)
    with pytest.raises(ConfigurationError) as refusal:
        load(tmp_path / "crawler.toml", None, {"HOME": "/"})
    return refusal.value.problems


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"[limits]\nattempts = {'9' * 5000}", "is not TOML: a number has thousands of digits"),
        (f"[limits]\nattempts = 0x{'f' * 5000}", "limits.attempts: is a number beyond the 64 bits that TOML has"),
        ("[limits]\nattempts = 9223372036854775808", "limits.attempts: is a number beyond the 64 bits that TOML has"),
        ("x = [{ y = [-9223372036854775809] }]", "x[0].y[0]: is a number beyond the 64 bits that TOML has"),
        (
            "[guard]\nmin_images = 9223372036854775807",
            "guard.min_images: 9223372036854775807 must be at most 1000000000",
        ),
        ("[limits]\nrate = 1e400", "limits.rate: inf must be a finite number"),
        ("[limits]\nrate = 1e308", "limits.rate: 1e+308 must be at most 1,000,000,000"),
        ("[limits]\nperiod_seconds = 1e-320", "limits.period_seconds: 1e-320 is too small"),
        ("[limits]\ntimeout_seconds = nan", "limits.timeout_seconds: nan must be a finite number"),
        ("report_deadline_seconds = inf", "report_deadline_seconds: inf must be a finite number"),
        ("stale_after = inf", "stale_after: inf must be a text in quotes"),
        ("stale_after = 1e400", "stale_after: inf must be a text in quotes"),
        (f'stale_after = "{"9" * 400}h"', "stale_after: is longer than any history"),
        ('stale_after = "99999999d"', "stale_after: '99999999d' is longer than any history"),
        ('stale_after = "nanh"', "stale_after: 'nanh' is no duration"),
        (f"x = {'[' * DEEP}{']' * DEEP}", "is nested too deeply"),
        (f"x = {'{y=' * DEEP}1{'}' * DEEP}", "is nested too deeply"),
        (f"{'.'.join('x' * DEEP)} = 1", "is nested too deeply"),
        (f"[{'.'.join('x' * DEEP)}]", "is nested too deeply"),
        (f"x = {'[' * 40}{']' * 40}", "is nested too deeply"),
        ("x = 2026-02-30", "is not TOML: Invalid date or datetime"),
    ],
)
def test_numbers_and_depths(tmp_path: Path, text: str, said: str) -> None:
    """No number is too large and nothing nested too deeply for one sentence, with the key where there is one."""
    found = problems(tmp_path, f"{text}\n{ACCOUNT}")

    assert [problem for problem in found if said in problem] == [found[0]]
    assert len(found[0]) < 200


@pytest.mark.parametrize("value", ["inf", "nan"])
def test_parameter_that_is_no_number(tmp_path: Path, value: str) -> None:
    """No variant sends `inf` or `nan`."""
    text = f'{ACCOUNT}[[accounts.variants]]\nname = "v"\nMachineType = {value}\n'

    assert problems(tmp_path, text) == ("accounts[0].variants[0].MachineType: must be one value that is not empty",)


@pytest.mark.parametrize(("mark", "encoding"), [(codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")])
def test_powershell(tmp_path: Path, mark: bytes, encoding: str) -> None:
    """Configuration, key, pins and the CLI's files are read in the encodings that PowerShell writes, line ends too."""
    files = {
        "crawler.toml": '[[accounts]]\nname = "a"\nprofile = "w"\n[[accounts]]\nname = "b"\npublic_key = "p"\n'
        'private_key_file = "key"\n[smtp]\nhost = "h"\nfrom = "a@b.c"\n'
        '[[reports]]\nname = "r"\nto = ["a@b.c"]\npins_file = "pins"\n',
        "key": "s3cret\n",
        "pins": "hk-02 uimage-a\n",
        ".ucloud/credential.json": '[{"profile": "w", "public_key": "p2", "private_key": "k2"}]',
    }
    (tmp_path / ".ucloud").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_bytes(mark + text.replace("\n", "\r\n").encode(encoding))
    settings = load(tmp_path / "crawler.toml", None, {"HOME": str(tmp_path)})

    assert [account.private_key.reveal() for account in settings.accounts] == ["k2", "s3cret"]
    assert [tuple(pin) for pin in settings.reports[0].subscription.pins] == [("hk-02", "uimage-a")]


def test_what_is_no_configuration(tmp_path: Path) -> None:
    """A pipe, a folder or a device in place of a configuration or a key is a sentence, and is not waited for."""
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "", "/dev/zero", "x" * 300):
        with pytest.raises(ConfigurationError):
            load(tmp_path / name, None, {"HOME": "/"})
        found = problems(
            tmp_path, f'[[accounts]]\nname = "a"\npublic_key = "p"\nprivate_key_file = "{tmp_path / name}"\n'
        )
        assert len(found) == 1
        assert found[0].startswith("accounts[0].private_key_file: ")


def test_configuration_through_a_pipe() -> None:
    """What a program writes into a pipe comes once, and counts for all that a command looks for in it."""
    reading, writing = os.pipe()
    os.write(writing, f'{ACCOUNT}[[reports]]\nname = "r"\nto = ["a@b.c"]\npins = ["hk-02 uimage-a"]\n'.encode())
    os.close(writing)
    path = Path(f"/dev/fd/{reading}")
    settings = load(path, None, {"HOME": "/"}, need_accounts=False)
    pins, _ = load_pins(path, {"HOME": "/"})
    os.close(reading)

    assert settings.source == path
    assert [(name, tuple(pin)) for name, pin in pins] == [("r", ("hk-02", "uimage-a"))]


# --- time zones ------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_time_zones(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take the time zone database away, the system's and the package's."""
    for name in {"tzdata", *(name for name in sys.modules if name.startswith("tzdata."))}:
        monkeypatch.setitem(sys.modules, name, None)
    zoneinfo.reset_tzpath(to=[])
    zoneinfo.ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath()
    zoneinfo.ZoneInfo.clear_cache()


@pytest.mark.parametrize("line", ["", 'timezone = "UTC"', 'timezone = "Europe/Berlin"'])
@pytest.mark.usefixtures("no_time_zones")
def test_no_time_zone_database(tmp_path: Path, line: str) -> None:
    """Without a time zone database the setting that needs one says so, also by its default, and what to install."""
    (problem,) = problems(tmp_path, f"{line}\n{ACCOUNT}")

    assert problem.startswith("timezone: ")
    assert "cannot be looked up: this machine has no time zone database; install tzdata (apt install" in problem


@pytest.mark.usefixtures("no_time_zones")
def test_demo_without_time_zones() -> None:
    """The demo says the same, before it plays anything."""
    from crawler.demo import default_zone

    with pytest.raises(UsageError, match=r"The demo's time zone Asia/Shanghai cannot be looked up: .* install tzdata"):
        default_zone()


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../UTC", "posix/UTC", "right/UTC", "a\0b", "/etc/hosts", "Asia"])
def test_unknown_time_zone(name: str) -> None:
    """What is no zone that people mean is refused, whatever file may lie there."""
    with pytest.raises(ValueError, match=r"is no (known|usable) time zone"):
        zone_of(name)


def test_every_number_in_range() -> None:
    """The whole range of TOML's integers is taken as it is."""
    assert parse_toml(f"x = [{2**63 - 1}, {-(2**63)}]", "f") == {"x": [2**63 - 1, -(2**63)]}
