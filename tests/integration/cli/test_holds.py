"""`crawler holds`: a person's word on withdrawals that wait, dated like everything else."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from crawler.emulator import run_in_thread
from tests.support.driving import Driver, account
from tests.support.worlds import make_timeline

FOUR = {f"uimage-{letter}": f"System {letter}" for letter in "abcd"}


@pytest.mark.parametrize("word", ["accept", "reject"])
def test_clock_that_went_backwards(tmp_path: Path, database_url: str, word: str) -> None:
    """With a clock before the last run nothing is written, and 70 says why: it would be missed by who polls."""
    with run_in_thread(make_timeline(zones={"hk-02": FOUR}, steps=[{"remove": {"hk-02": list(FOUR)[1:]}}])) as cloud:
        driver = Driver(folder=tmp_path, database=database_url).configure(account(cloud.url))
        driver.run()
        cloud.step = 2
        driver.run(code=3)
    (hold,) = driver.rows("holds", "list")
    driver.now -= timedelta(days=1)

    refused = driver.call("holds", word, hold["id"], code=70)

    assert "but the last run recorded something at" in refused.stderr
    driver.now += timedelta(days=1)
    assert (driver.rows("holds", "list"), driver.rows("changes")) == ([hold], [])
    driver.call("holds", word, hold["id"])
