"""
One inventory lived twice: `Life` crawls it in runs that something happens to, and in others that nobody disturbs.

After every accident it looks at what was left (`examine`), lets the next run come, and compares all that both say.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sqlalchemy import Engine, text

from crawler.db.engine import opened, read
from crawler.emulator import EmulatorServer, run_in_thread
from tests.support.lives import (
    CYCLE,
    SHAKEN,
    Place,
    TargetHistory,
    changing_world,
    complaints,
    differences,
    histories,
    unfinished,
)
from tests.support.processes import Ended, Gate, Nursery, Order, Process, write_config

SLOW_RATE = 100
#: Steps of a cycle in which something may wait for confirmation.
WAITING = (3, 4, 5, 6)
#: Forked with four targets per transaction; forked as the command line; the command line started from nothing.
Way = Literal["batches", "command", "process"]
WAYS: tuple[Way, ...] = ("batches", "command", "process")


def agree(complaints: list[str]) -> None:
    """Fail with the *complaints*, when there are any."""
    assert not complaints, "\n".join(complaints)


@dataclass
class Life:
    """A history whose runs are killed, beside one of the same cloud that nobody disturbs."""

    cloud: EmulatorServer
    heavy: Nursery
    folder: Path
    url: str
    engine: Engine
    reference: Engine
    config: Path
    #: The same, but sending so slowly that most of a run's time goes into asking and recording.
    slow_config: Path
    reference_config: Path
    before: dict[Place, TargetHistory] = field(default_factory=dict)
    #: What the killed runs were at.
    stages: Counter[str] = field(default_factory=Counter)
    kills: int = 0

    def undisturbed(self, way: Way = "batches", *, config: Path | None = None) -> Ended:
        """Advance the cloud by a step and crawl it in both lives."""
        self.advance()
        ended = self.crawl(way, config=config)
        self.compare()
        return ended

    def advance(self) -> None:
        """Advance the cloud by a step and crawl it in the reference."""
        self.before = histories(self.reference)
        self.cloud.advance()
        assert self.crawl("command", config=self.reference_config).code in (0, 3)

    def crawl(
        self,
        way: Way,
        *,
        kill_after: float | None = None,
        kill_at: int | None = None,
        kill_after_commits: int | None = None,
        config: Path | None = None,
    ) -> Ended:
        """Crawl once, and kill the run when told so."""
        words = ["--config", str(config or self.config), "run", "--wait", "10"]
        folder = self.folder / "run"
        if way == "process":
            return Process(folder, *words).end(kill_after=kill_after)
        return self.heavy.run(
            Order(
                words=words,
                folder=str(folder),
                batch=4 if way == "batches" else None,
                kill_after=kill_after,
                kill_at=kill_at,
                kill_after_commits=kill_after_commits,
            )
        )

    def killed(
        self,
        way: Way,
        *,
        kill_after: float | None = None,
        kill_at: int | None = None,
        kill_after_commits: int | None = None,
        config: Path | None = None,
    ) -> Ended:
        """Advance, crawl, kill; look at what is left; let the next run come, and compare. Give how the first ended."""
        self.advance()
        last = self.last_run()
        ended = self.crawl(
            way, kill_after=kill_after, kill_at=kill_at, kill_after_commits=kill_after_commits, config=config
        )
        assert ended.was_killed or ended.code in (0, 3), ended.stderr
        if ended.was_killed:
            self.kills += 1
            self.recover(last)
        self.compare()
        return ended

    def recover(self, last: int) -> None:
        """Look at what was left of the run after number *last*, and let the next run come."""
        self.stages[self.examine(last)] += 1
        following = self.crawl("command")
        assert following.code in (0, 3), following.stderr

    def last_run(self) -> int:
        """Return the number of the last run."""
        with read(self.engine) as connection:
            last: int = connection.execute(text("SELECT coalesce(max(id), 0) FROM runs")).scalar_one()
        return last

    def examine(self, last: int) -> str:
        """
        Check what a killed run left: no damage, and each target as before it or as after it, as the ledger says.

        Give what the run was at.
        """
        with opened(self.url, read_only=True) as reader:
            agree(complaints(reader))
            dead = unfinished(reader)
            found = histories(reader)
        assert len(dead) <= 1
        if dead:
            reached, all_of_them = dead[0].reached, len(dead[0].scope)
            stage = "some recorded" if 0 < len(reached) < all_of_them else "all recorded" if reached else "begun"
        else:
            began = self.last_run() > last
            reached, stage = frozenset(found if began else ()), "finished" if began else "not begun"
        after = histories(self.reference)
        expected = {
            place: (after if place in reached else self.before)
            .get(place, TargetHistory(place, (None, None)))
            .observed()
            for place in found
        }
        actual = {place: history.observed() for place, history in found.items()}
        agree(differences(self.settled(actual), self.settled(expected)))
        return stage

    def compare(self) -> None:
        """Check that both lives say the same and no run is left without an end."""
        agree(complaints(self.engine))
        assert unfinished(self.engine) == []
        mine, theirs = self.settled(histories(self.engine)), self.settled(histories(self.reference))
        agree(differences(mine, theirs))

    def settled(self, found: dict[Place, TargetHistory]) -> dict[Place, TargetHistory]:
        """Leave out what waits for confirmation, of which the disturbed life has had more by now."""
        waits = self.cloud.step % CYCLE in WAITING
        return {place: history for place, history in found.items() if not (waits and place.endswith(SHAKEN))}

    def finish(self) -> None:
        """Go on undisturbed until nothing waits any more; then both lives agree in everything."""
        while self.cloud.step % CYCLE in WAITING:
            self.undisturbed("command")
        with read(self.engine) as connection:
            statuses = Counter(connection.execute(text("SELECT status FROM runs")).scalars())
        assert statuses["interrupted"] == sum(self.stages[name] for name in ("begun", "some recorded", "all recorded"))
        assert statuses["running"] == 0


@contextmanager
def live(
    heavy: Nursery, folder: Path, url: str, empty: Path, *, steps: int, seed: int, gate: Gate | None = None
) -> Iterator[Life]:
    """
    Begin both lives at the first step of a cloud; *empty* is a migrated SQLite file, copied for the reference.

    With a *gate* every answer about images passes it.
    """
    reference = folder / "reference.db"
    shutil.copyfile(empty, reference)
    faults = [{"action": "DescribeUK8SImage", "latency_ms": 1}] if gate else []
    with (
        run_in_thread(changing_world(steps, seed, faults=faults), sleep=gate or no_sleep) as cloud,
        opened(url) as engine,
        opened(reference) as reference_engine,
    ):
        life = Life(
            cloud,
            heavy,
            folder,
            url,
            engine,
            reference_engine,
            write_config(folder / "crawler.toml", database=url, endpoint=cloud.url),
            write_config(folder / "slow.toml", database=url, endpoint=cloud.url, rate=SLOW_RATE),
            write_config(folder / "reference.toml", database=f"sqlite:///{reference}", endpoint=cloud.url),
        )
        for config in (life.config, life.reference_config):
            assert life.crawl("command", config=config).code == 0
        life.compare()
        yield life


async def no_sleep(_: float) -> None:
    """Wait for nothing."""
