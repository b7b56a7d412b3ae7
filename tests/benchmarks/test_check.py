"""`check` at its promised size: 1,000 rules over 5,000 images in about a second, the database included."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.support.command import call
from tests.support.diary import Diary, target
from tests.support.figures import Figures

pytestmark = pytest.mark.prove

SECONDS = 1.5


def test_check(both: Engine, both_urls: str, tmp_path: Path, figures: Figures) -> None:
    """1,000 rules, required and pinned, over 5,000 open images and as many that are gone, take about a second."""
    rng = random.Random(7)
    zones = [target(f"hk-{number:02}", project=f"org-{number % 5}") for number in range(50)]
    diary = Diary(both)

    def listed(zone: int, generation: int) -> dict[str, str]:
        return {f"uimage-{zone}-{generation}-{n}": f"Image {n}" for n in range(100)}

    diary.run({where: listed(number, 1) for number, where in enumerate(zones)})
    diary.run({where: {**listed(number, 1), **listed(number, 2)} for number, where in enumerate(zones)})
    diary.run({where: listed(number, 2) for number, where in enumerate(zones)})
    rules = []
    for number in range(250):
        zone = rng.randrange(50)
        rules.append(f'[[require]]\nname = "Image {number % 100}"\nzones = ["hk-{zone:02}", "hk-1*"]\n')
        rules.append(f'[[require]]\nname = "image {number % 10}*"\nzones = ["hk-{zone:02}"]\n')
        rules.append(f'[[pinned]]\nid = "uimage-{zone}-1-{rng.randrange(100)}"\nzone = "hk-{zone:02}"\n')
        rules.append(f'[[pinned]]\nid = "uimage-{zone}-2-{rng.randrange(100)}"\n')
    path = tmp_path / "rules.toml"
    path.write_text("".join(rules))
    best = min(_seconds(both_urls, path, diary) for _ in range(3))

    detail = "the whole command; best of three"
    figures.at_most("check", "1,000 rules × 5,000 images", best, SECONDS, "s", case=both.dialect.name, detail=detail)


def _seconds(url: str, path: Path, diary: Diary) -> float:
    started = time.perf_counter()
    result = call("--database", url, "check", path, "-o", "jsonl", now=diary.now, code=1)
    taken = time.perf_counter() - started
    assert len(result.stdout.splitlines()) > 1_000
    return taken
