"""Readers that somebody leaves open, in a pager or behind a slow pipe, beside runs that go on."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from crawler import History
from crawler.emulator import EmulatorServer, run_in_thread
from tests.support.acceptance_table import Proven
from tests.support.driving import Driver, account
from tests.support.left_open import LeftOpen
from tests.support.worlds import make_timeline

IMAGES = 100
STEPS = 12
#: The reader, and whether in a pager.
READERS: Sequence[tuple[tuple[str, ...], bool]] = (
    (("images",), True),
    (("images", "-o", "json"), False),
    (("changes",), True),
    (("changes", "-o", "jsonl"), False),
    (("images", "-o", "csv"), False),
    (("history", "Generation*"), True),
    (("images",), False),
    (("history", "Generation*", "-o", "json"), False),
    (("where", "Generation*"), True),
    (("images", "-o", "jsonl"), False),
)


def world(generation: int) -> dict[str, str]:
    """Return the images of a zone, all of which are renamed together."""
    return {f"uimage-{number}": f"Generation {generation} image {number}" for number in range(IMAGES)}


@pytest.fixture
def cloud() -> Iterator[EmulatorServer]:
    steps = [
        {
            "images": {
                "hk-02": {
                    "ImageSet": [
                        {"ImageId": key, "ImageName": name, "NotSupportGPU": False} for key, name in world(step).items()
                    ]
                }
            }
        }
        for step in range(1, STEPS + 1)
    ]
    with run_in_thread(make_timeline(zones={"hk-02": world(0)}, steps=steps)) as server:
        yield server


def check_one_moment(words: Sequence[str], text: str) -> None:
    """Check that an answer is whole and knows of each run either everything or nothing."""
    names: list[str]
    if words[0] == "changes":
        ids = re.findall(r"uimage-\d+", text)
        assert ids
        assert len(ids) % IMAGES == 0, words
        return
    if words == ("images", "-o", "json"):
        names = [row["image_name"] for row in json.loads(text)]
    elif words == ("images", "-o", "jsonl"):
        names = [json.loads(line)["image_name"] for line in text.splitlines()]
    elif words == ("images", "-o", "csv"):
        names = [row["image_name"] for row in csv.DictReader(io.StringIO(text))]
    elif words == ("history", "Generation*", "-o", "json"):
        names = [row["image_name"] for row in json.loads(text) if row["valid_to"] is None]
    elif words[0] == "images":
        names = re.findall(r"Generation \d+", text)
    else:
        ids = re.findall(r"uimage-\d+", text)
        assert len(set(ids)) == IMAGES, words
        return
    assert len(names) == IMAGES, words
    assert len({name.split(" ")[1] for name in names}) == 1, words


def runs_beside(user: Driver, cloud: EmulatorServer, folder: Path, *, waves: int, readers: int) -> int:
    """
    Start readers in waves, a run while they begin and another while they are left open; give the number of runs.

    Each run must be complete, and each answer of one moment.
    """
    with ExitStack() as stack:
        opened: list[LeftOpen] = []

        def next_run() -> None:
            cloud.step += 1
            assert user.run().summary["status"] == "complete"

        user.run()
        next_run()
        for wave in range(waves):
            new = []
            for number in range(readers):
                words, in_pager = READERS[(wave * readers + number) % len(READERS)]
                reader = LeftOpen(folder / f"{wave}-{number}", ["--config", user.config, *words], in_pager=in_pager)
                new.append(stack.enter_context(closing(reader)))
            next_run()
            for reader in new:
                reader.wait_until_shown()
            opened += new
            next_run()
        for reader in opened:
            check_one_moment(tuple(reader.words[2:]), reader.answer())
    return 2 + 2 * waves


def test_runs_beside_readers_left_open(light: Driver, cloud: EmulatorServer, tmp_path: Path) -> None:
    """Beside five readers in pagers and five with pipes that nobody empties each run is complete, each answer whole."""
    light.configure(account(cloud.url))

    assert runs_beside(light, cloud, tmp_path, waves=1, readers=len(READERS)) == 4


@pytest.mark.prove
def test_runs_beside_50_readers_left_open(
    driver: Driver, cloud: EmulatorServer, tmp_path: Path, proven: Proven
) -> None:
    """Beside 50 readers left open, half of them in pagers, every run is complete and every answer of one moment."""
    driver.configure(account(cloud.url))
    runs = runs_beside(driver, cloud, tmp_path, waves=5, readers=10)
    kind = "SQLite" if driver.database.startswith("sqlite") else "PostgreSQL"
    line = f"50 readers left open in pagers and pipes while runs write to {kind}: all complete, each answer one moment"
    proven(line, f"{runs} of {runs} runs complete; 50 of 50 answers whole, of one moment")


def test_run_beside_a_loop_over_the_history(light: Driver, cloud: EmulatorServer) -> None:
    """Whoever loops over an answer of `History` holds up no run, and goes on reading the moment it asked for."""
    light.configure(account(cloud.url))
    light.run()
    with History(light.database, clock=lambda: light.now) as history:
        answers: list[Sequence[Any]] = [
            history.images(),
            history.history("Generation*"),
            history.where("Generation*"),
            history.status(),
        ]
        for answer in answers:
            for number, row in enumerate(answer):
                if number == 0:
                    cloud.step += 1
                    assert light.run().summary["status"] == "complete"
                name = getattr(row, "image_name", "Generation 0 ")
                assert name.startswith("Generation 0 ")
        assert {row.image_name.split(" ")[1] for row in history.images()} == {str(len(answers))}
