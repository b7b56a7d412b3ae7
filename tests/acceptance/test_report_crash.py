"""`kill -9` anywhere between the first request and the last mail, with a server that fails: nothing stays untold."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from crawler.emulator import EmulatorServer, run_in_thread
from tests.support.acceptance_table import Proven
from tests.support.driving import Driver, account
from tests.support.processes import Ended, Nursery, Order, nursery
from tests.support.smtp import HANG_UP, SILENCE, Behaviour, Mail, MailServer, mail_server
from tests.support.worlds import make_timeline

#: How the mail server fails: what it says at which stage.
FAULTS = {
    "4xx": ("rcpt", "451 try later"),
    "5xx": ("data", "554 refused"),
    "time-out": ("data", SILENCE),
    "dropped after DATA": ("data", f"250 {HANG_UP}"),
}
#: Stages of a mail at which a run is killed; `accepted`: the server has it and could not say so.
STAGES = ("mail", "rcpt", "data", "accepted")
STEPS = 400


@dataclass
class Post:
    """A crawler in processes of its own, a cloud in which an image appears with each step, and a mail server."""

    runs: Nursery
    driver: Driver
    cloud: EmulatorServer
    server: MailServer
    kills: Counter[str] = field(default_factory=Counter)
    steps: int = 1

    def run(self, **more: Any) -> Ended:
        """Let one more image appear, and run."""
        self.steps += 1
        self.cloud.step = self.steps
        folder = str(self.driver.folder / "run")
        return self.runs.run(Order(words=["--config", str(self.driver.config), "run"], folder=folder, **more))

    def statements(self, fault: str) -> int:
        """Count what a run with news and this fault sends to the database."""
        with self.behaving(failing(fault)):
            count = self.run().statements
        self.settle()
        return count

    def killed_at_statement(self, fault: str, number: int) -> None:
        """Kill a run right before this statement, and let the next one be well."""
        with self.behaving(failing(fault)):
            ended = self.run(kill_at=number)
        self.kills[fault] += ended.was_killed
        self.settle()

    def killed_at_stage(self, fault: str, stage: str) -> None:
        """Kill a run while the mail server hears of this stage, and let the next one be well."""
        others = failing(fault)
        killed: list[str] = []

        def behave(at: str, value: Any) -> str | None:
            if at == stage or (at, stage) == ("data", "accepted"):
                if not killed:  # another connection of the same run may come here when the next run has begun
                    killed.append(at)
                    self._kill()
                return f"250 {HANG_UP}" if stage == "accepted" else HANG_UP
            return others(at, value) if at != "rcpt" else None

        with self.behaving(behave):
            ended = self.run()
        assert ended.was_killed, (fault, stage, ended.stderr)
        self.kills[fault] += 1
        self.settle()

    def settle(self) -> None:
        """Run once with a mail server that works; its exit code says that nothing is left."""
        ended = self.run()
        assert ended.code == 0, ended.stderr

    @contextmanager
    def behaving(self, behave: Behaviour) -> Iterator[None]:
        """Let the mail server behave so for a `with` block."""
        self.server.behave = behave
        yield
        self.server.behave = lambda stage, value: None

    def _kill(self) -> None:
        nursery_id = self.runs._process.pid
        for child in Path(f"/proc/{nursery_id}/task/{nursery_id}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)

    def judge(self) -> int:
        """Check that every change was told, and by one message only; give how many mails came twice."""
        # The first run is the baseline, which is no change.
        told: dict[str, set[str]] = {f"uimage-{n}": set() for n in range(3, self.steps + 1)}
        for mail in self.server.mails:
            for image in images(mail) & told.keys():
                told[image].add(mail.message_id)
        assert {image: ids for image, ids in told.items() if len(ids) != 1} == {}
        copies = Counter(mail.message_id for mail in self.server.mails)
        contents = {mail.message_id: mail.content for mail in self.server.mails}
        assert [mail for mail in self.server.mails if contents[mail.message_id] != mail.content] == []
        assert self.driver.rows("report", "list") == []
        return sum(count - 1 for count in copies.values())


def images(mail: Mail) -> set[str]:
    """Return the image ids that a mail names."""
    return {word for word in mail.text.split() if word.startswith("uimage-")}


def failing(fault: str) -> Behaviour:
    """Return the behaviour of a server with this fault."""
    stage, answer = FAULTS[fault]
    return lambda at, value: answer if at == stage else None


@pytest.fixture(scope="module")
def heavy() -> Iterator[Nursery]:
    with nursery("heavy") as started:
        yield started


@contextmanager
def posting(runs: Nursery, folder: Path, database_url: str) -> Iterator[Post]:
    """Return a crawler whose first run is done."""
    timeline = make_timeline(
        zones={"hk-01": {"uimage-a": "CentOS 7.6"}, "hk-02": {"uimage-b": "CentOS 7.6"}},
        steps=[{"add": {"hk-01": {f"uimage-{n}": f"Image {n}"}}} for n in range(2, STEPS + 1)],
    )
    with run_in_thread(timeline) as cloud, mail_server() as server:
        smtp = {"host": "127.0.0.1", "port": server.port, "security": "none", "from": "crawler@example.com"}
        driver = Driver(folder, database_url).configure(
            account(cloud.url),
            smtp=smtp | {"timeout_seconds": 0.3},
            reports=[{"name": "sre", "to": ["sre@example.com", "ops@example.com"]}],
        )
        lived = Post(runs, driver, cloud, server)
        lived.settle()
        yield lived


def kill_everywhere(post: Post, *, statements: int, stages: Sequence[str]) -> int:
    """For each fault, kill runs at so many statements and at these *stages*; give how many mails came twice."""
    last = {fault: post.statements(fault) for fault in (FAULTS if statements > 2 else list(FAULTS)[:1])}
    for fault in FAULTS:
        end = last.get(fault, min(last.values()))
        for n in range(statements):
            post.killed_at_statement(fault, end * (2 * n + 1) // (2 * statements))
        for stage in stages:
            post.killed_at_stage(fault, stage)
    return post.judge()


def test_killed_between_run_and_mail(heavy: Nursery, tmp_path: Path, sqlite_url: str) -> None:
    """A run is killed anywhere while the server fails: each change is told, and a second copy is the same mail."""
    with posting(heavy, tmp_path, sqlite_url) as post:
        kill_everywhere(post, statements=2, stages=["accepted"])

    assert post.kills == dict.fromkeys(FAULTS, 3)


@pytest.mark.prove
def test_killed_at_30_points(heavy: Nursery, tmp_path: Path, database_url: str, proven: Proven) -> None:
    """30 points of run and send × four faults: each change at least once, each copy with the same Message-ID."""
    with posting(heavy, tmp_path, database_url) as post:
        twice = kill_everywhere(post, statements=22, stages=STAGES * 2)
    kind = "SQLite" if database_url.startswith("sqlite") else "PostgreSQL"
    kills = ", ".join(f"{fault}: {post.kills[fault]}" for fault in FAULTS)
    proven(
        f"kill -9 at 30 points of run and send × SMTP 4xx, 5xx, time-out, dropped after DATA, {kind}: nothing untold",
        f"kills: {kills}; {post.steps - 2} changes, all told; {twice} mails came twice, each with its first Message-ID",
    )
    assert post.kills == dict.fromkeys(FAULTS, 30)
