"""Weeks of runs that nobody watches, through lasting and flapping faults: only what begins, changes or ends is said."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from crawler.emulator import EmulatorServer, run_in_thread
from tests.support.acceptance_table import Proven
from tests.support.driving import Driver, account
from tests.support.smtp import mail_server
from tests.support.worlds import make_timeline

DAY, FORTNIGHT = 96, 14 * 96
ZONES = {zone: {f"uimage-{zone}": "CentOS 7.6"} for zone in ("hk-02", "kr-seoul-01", "sg-01", "th-bkk-01", "us-ca-01")}
BUSY, ODD = 8010, 160


@dataclass(frozen=True)
class Trouble:
    """One thing that goes wrong from time to time: the words by which it is told, and the faults that make it."""

    words: str
    faults: tuple[Mapping[str, Any], ...]
    #: Chances per run that it begins, and that it ends.
    begins: float
    ends: float

    def is_in(self, line: str) -> bool:
        return re.search(self.words, line) is not None


def images_of(region: str, **what: Any) -> dict[str, Any]:
    return {"action": "DescribeUK8SImage", "region": region, **what}


def list_of(action: str) -> dict[str, Any]:
    return {"action": action, "ret_code": BUSY, "message": "list is away"}


UNKNOWN_FIELD = {"ImageSet": [{"ImageId": "uimage-kr-seoul-01", "ImageName": "CentOS 7.6", "ZoneId": 1, "Quota": 7}]}
TROUBLES = (
    Trouble(r"\bsg\b", (images_of("sg", ret_code=BUSY, message="away"),), begins=0.1, ends=0.01),
    Trouble(r"\bth-bkk\b", (images_of("th-bkk", ret_code=BUSY, message="busy"),), begins=0.5, ends=0.5),
    Trouble(
        " in hk, us-ca",
        tuple(images_of(region, ret_code=ODD, message="Missing action") for region in ("hk", "us-ca")),
        begins=0.05,
        ends=0.1,
    ),
    Trouble("GetProjectList: ", (list_of("GetProjectList"),), begins=0.05, ends=0.2),
    Trouble("Quota", (images_of("kr-seoul", images=UNKNOWN_FIELD),), begins=0.1, ends=0.1),
    # no fault of the cloud: anybody may read the configuration
    Trouble("readable by everyone", (), begins=0.05, ends=0.05),
)
OPEN_FILE = len(TROUBLES) - 1


def story(runs: int, seed: int) -> list[frozenset[int]]:
    """Return which troubles each of *runs* meets."""
    rng = random.Random(seed)
    present: frozenset[int] = frozenset()
    told = []
    for _ in range(runs):
        present = frozenset(
            number
            for number, trouble in enumerate(TROUBLES)
            if rng.random() < (1 - trouble.ends if number in present else trouble.begins)
        )
        told.append(present)
    return told


def play(driver: Driver, runs: int, seed: int) -> tuple[int, int]:
    """Run so many times, every 15 minutes, and check what each says; give how many spoke and how many sentences."""
    present_at = story(runs, seed)
    steps = list(dict.fromkeys(present_at))
    faults = [{"faults": [fault for number in sorted(step) for fault in TROUBLES[number].faults]} for step in steps]
    before: frozenset[int] = frozenset()
    paragraphs = sentences = 0
    with run_in_thread(make_timeline(zones=ZONES, steps=faults)) as cloud:
        driver.configure(account(cloud.url), limits={"attempts": 1})
        driver.call("run")
        for present in present_at:
            cloud.step = steps.index(present) + 2  # the first is the baseline
            driver.config.chmod(0o644 if OPEN_FILE in present else 0o600)
            driver.now += timedelta(minutes=15)
            head, *lines = driver.call("run", code=None).stderr.splitlines() or [""]
            lines = [line for line in lines if "more last" not in line and "asking what the last" not in line]
            began = [line for line in lines if line.startswith(("  Began: ", "  Noted: "))]
            ended = [line for line in lines if line.startswith(("  Over: ", "  No longer: "))]
            assert len(lines) == len(began + ended)
            for those, expected in ((began, present - before), (ended, before - present)):
                found = [number for number, trouble in enumerate(TROUBLES) for line in those if trouble.is_in(line)]
                assert found == sorted(expected), (head, lines)
                # What goes wrong in two places in the same words, from the same run to the same run, is one sentence.
                assert len(those) <= len(expected)
            sentences += len(lines)
            assert bool(head) == (present != before)
            paragraphs += bool(head)
            before = present
    return paragraphs, sentences


def test_a_day(driver: Driver) -> None:
    """In a day of runs every sentence is a condition that began or ended in that run, each told once."""
    paragraphs, sentences = play(driver, DAY, seed=1)
    assert 0 < paragraphs < DAY
    assert sentences >= paragraphs


@pytest.mark.prove
def test_two_weeks(light: Driver, proven: Proven) -> None:
    """In two weeks of runs every paragraph is a condition that began or ended in that run, and none is told twice."""
    paragraphs, sentences = play(light, FORTNIGHT, seed=2)
    proven(
        "Two weeks of runs every 15 minutes, lasting and flapping faults: only what begins or ends is said",
        f"{FORTNIGHT} runs, {paragraphs} paragraphs with {sentences} sentences, each of a condition that began or "
        "ended in that run; none twice",
    )


# --- mails that do not leave -----------------------------------------------------------------------------------------


@contextmanager
def office(driver: Driver, *reports: Mapping[str, Any]) -> Iterator[tuple[EmulatorServer, Any]]:
    """Return a cloud that has a new image at each step, and a mail server; *reports* are told of them."""
    steps = [{"add": {"hk-02": {f"uimage-{n}": f"Image {n}"}}} for n in range(2, 22)]
    with run_in_thread(make_timeline(zones=ZONES, steps=steps)) as cloud, mail_server() as server:
        smtp = {"host": "127.0.0.1", "port": server.port, "security": "none", "from": "crawler@example.com"}
        driver.configure(account(cloud.url), smtp=smtp | {"timeout_seconds": 5}, reports=list(reports))
        driver.call("run")
        yield cloud, server


def spoken(driver: Driver, cloud: EmulatorServer, runs: int) -> list[list[str]]:
    """Run so many times, with a new image each time, and give the sentences of the runs that said any."""
    said = []
    for _ in range(runs):
        driver.now += timedelta(minutes=15)
        cloud.advance()
        said.append(driver.call("run", code=None).stderr.splitlines()[1:])
    return [lines for lines in said if lines]


def sre(name: str = "sre", *to: str) -> dict[str, Any]:
    return {"name": name, "to": list(to) or [f"{name}@example.com"]}


def test_mail_server_that_is_away(driver: Driver) -> None:
    """A dead mail server is told once for all reports, once more when that is too long, and once when it is back."""
    with office(driver, sre(), sre("ops"), sre("net")) as (cloud, server):
        server.behave = lambda stage, value: "421 not today" if stage == "mail" else None
        began, late = spoken(driver, cloud, 10)
        server.behave = lambda stage, value: None
        driver.now += timedelta(hours=5)
        (ended,) = spoken(driver, cloud, 5)

    assert [len(lines) for lines in (began, late, ended)] == [1, 1, 1]
    assert began[0].startswith("  Noted: report sre: not delivered to sre@example.com: ")
    assert late[0].startswith("  Changed: report sre: ")
    assert late[0].endswith("undelivered for longer than `alert_after`")
    assert ended[0].startswith("  No longer: report sre: not delivered to sre@example.com: ")


def test_recipient_that_is_refused(light: Driver) -> None:
    """A recipient that is refused is told once, and once when the mails arrive; the others get theirs."""
    with office(light, sre("sre", "sre@example.com", "gone@example.com")) as (cloud, server):
        gone = "gone@example.com"
        server.behave = lambda stage, value: "550 no such user" if (stage, value) == ("rcpt", gone) else None
        began, _late = spoken(light, cloud, 8)
        server.behave = lambda stage, value: None
        light.now += timedelta(hours=5)
        (ended,) = spoken(light, cloud, 4)

    assert began == ["  Noted: report sre: refused to gone@example.com: 550 no such user"]
    assert ended == ["  No longer: report sre: refused to gone@example.com: 550 no such user"]


# --- many accounts, many configurations ------------------------------------------------------------------------------


def test_many_accounts(light: Driver) -> None:
    """Sixty accounts that each run alone on one database: what lasts in one is told once, however many run between."""
    down = images_of("sg", ret_code=BUSY, message="away")
    names = [f"a{number:02}" for number in range(60)]
    with run_in_thread(make_timeline(zones=("sg-01",), faults=[down])) as cloud:
        said = []
        for _ in range(2):
            for name in names:
                light.configure(account(cloud.url, name), limits={"attempts": 1})
                said.append(light.call("run", code=4).stderr)
            light.now += timedelta(minutes=15)

    assert [text.count("Began: ") for text in said] == [1] * 60 + [0] * 60
    assert not any(said[60:])


def test_one_account_of_several(light: Driver) -> None:
    """A run of one account, and one of some zones, remember and say the same as a whole run, and end nothing else."""
    down = {"faults": [images_of("sg", ret_code=BUSY), images_of("hk", ret_code=BUSY)]}
    with run_in_thread(make_timeline(zones=("sg-01", "hk-02"), steps=[down, {"faults": []}])) as cloud:
        light.configure(account(cloud.url), account(cloud.url, "second"), limits={"attempts": 1})
        cloud.step = 2
        words = [(), ("--account", "prod"), ("--zone", "sg-01"), ("--account", "second", "--zone", "hk-*"), ()]
        said = []
        for chosen in words:
            said.append(light.call("run", *chosen, code=4).stderr)
            light.now += timedelta(minutes=15)
        cloud.step = 3
        for chosen in (("--zone", "sg-01"), (), ()):
            said.append(light.call("run", *chosen).stderr)
            light.now += timedelta(minutes=15)

    assert [text.count("Began: ") for text in said] == [2, 0, 0, 0, 0, 0, 0, 0]
    assert [text.count("Over: ") for text in said] == [0, 0, 0, 0, 0, 2, 2, 0]
    assert "sg-01/" in said[5]
    assert "hk-02/" in said[6]
