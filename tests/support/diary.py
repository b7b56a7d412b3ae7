"""
Scripted runs over a real database: what each target answers, run by run, recorded by the real writer.

A target's answer is a mapping `{image id: name or record}`, a ready document, or a `Refusal`. A body equal to the last
believed one arrives as `unchanged`, as the fetcher says it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from crawler.crawl.recorder import Recorder
from crawler.crawl.reply_reader import Judge
from crawler.db import runs
from crawler.db import targets as db_targets
from crawler.db.engine import begin
from crawler.domain.guard import GuardPolicy
from crawler.domain.models import Failure, FailureClass, Reply, RunStatus, Snapshot, Target

START = datetime(2026, 6, 1, tzinfo=UTC)
#: One run every quarter of an hour, as the scripts count the time.
PERIOD = timedelta(minutes=15)

Images = Mapping[str, Any]


@dataclass(frozen=True)
class Refusal:
    """An answer that is none."""

    failure_class: FailureClass = "transient"
    ret_code: int | None = 130
    message: str = "backend error"
    outcome: Any = "failed"


Answer = Images | Refusal


class CountingJudge(Judge):
    """Counts the answers that it reads."""

    def __init__(self, policy: GuardPolicy | None = None) -> None:
        super().__init__(policy or GuardPolicy())
        self.read_count = 0

    def read(self, reply: Reply, zone_numbers: Mapping[int, str], catalog: Mapping[int, str | None], /) -> Snapshot:
        self.read_count += 1
        return super().read(reply, zone_numbers, catalog)


def target(zone: str = "hk-02", project: str = "org-x", account: str = "prod") -> Target:
    """Return a target in *zone*."""
    return Target(account, project, zone.rpartition("-")[0], zone, "uk8s-image", "default")


def document(images: Images) -> dict[str, Any]:
    """Return the answer that lists *images*; a value is the image's name or its whole record."""
    if "RetCode" in images:
        return dict(images)
    records = [
        {"ImageId": image_id, **(value if isinstance(value, Mapping) else {"ImageName": value})}
        for image_id, value in images.items()
    ]
    return {"RetCode": 0, "Action": "DescribeUK8SImageResponse", "ImageSet": records}


def reply(where: Target, images: Images, at: datetime, **more: Any) -> Reply:
    """Return the reply of a target that lists *images*."""
    body = json.dumps(document(images)).encode()
    options: dict[str, Any] = {
        "body_hash": hashlib.blake2b(body, digest_size=16).digest(),
        "unchanged": False,
        "request_uuid": "uuid-1",
        **more,
    }
    return Reply(target=where, body=body, received_at=at, **options)


@dataclass
class Diary:
    """Plays runs one after the other and advances its own clock."""

    engine: Engine
    policy: GuardPolicy = field(default_factory=GuardPolicy)
    now: datetime = START
    account: str = "prod"
    clock_step: timedelta = timedelta(seconds=1)
    zone_numbers: Mapping[int, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the judge and the account."""
        self.judge = CountingJudge(self.policy)
        with begin(self.engine) as conn:
            self.account_id = db_targets.account_ids(conn, {self.account: "http://localhost/"})[self.account]

    def tick(self) -> datetime:
        """Return the time, and let a second pass."""
        self.now += self.clock_step
        return self.now

    def ids(self, targets: Iterable[Target]) -> dict[Target, int]:
        """Return the ids of *targets*, adding the new ones."""
        with begin(self.engine) as conn:
            known = {entry.target: entry.target_id for entry in db_targets.known_targets(conn, self.account_id)}
            new = {where: "" for where in targets if where not in known}
            return known | db_targets.add_targets(conn, self.account_id, new)

    def start(self, targets: Collection[Target], **more: Any) -> tuple[int, Recorder]:
        """Begin a run over *targets* and give its id and its recorder."""
        ids = self.ids(targets)
        with begin(self.engine) as conn:
            runs.recover(conn, [self.account_id], self.now)
            chosen = [ids[where] for where in targets]
            run_id = runs.begin_run(conn, started_at=self.now, account_ids=[self.account_id], target_ids=chosen)
            planned = {entry.target: entry for entry in runs.plan(conn, chosen, [self.account_id])}
            numbers = db_targets.zone_numbers(conn, self.account_id)
        recorder = Recorder(
            self.engine,
            None,
            run_id,
            planned,
            self.judge,
            self.tick,
            zone_numbers={self.account_id: numbers},
            catalog_numbers={self.account_id: self.zone_numbers},
            **more,
        )
        self.planned = planned
        return run_id, recorder

    def item(self, where: Target, answer: Answer, *, is_reask: bool = False) -> Reply | Failure:
        """Return what the fetcher would hand over for an answer."""
        at = self.tick()
        if isinstance(answer, Refusal):
            return Failure(
                target=where,
                outcome=answer.outcome,
                failure_class=answer.failure_class,
                ret_code=answer.ret_code,
                message=answer.message,
                at=at,
                is_reask=is_reask,
            )
        full = reply(where, answer, at, is_reask=is_reask)
        if full.body_hash == self.planned[where].body_hash:
            return reply(where, answer, at, is_reask=is_reask, unchanged=True)
        return full

    def run(
        self,
        answers: Mapping[Target, Answer],
        *,
        again: Mapping[Target, Answer] | None = None,
        finish: bool = True,
        at: datetime | None = None,
        **more: Any,
    ) -> int:
        """
        Play one run; *again* are the answers to second questions (the same as the first, unless told otherwise).

        With *finish* false the run dies after what was recorded.
        """
        self.now = at or self.now + PERIOD - timedelta(seconds=self.now.second % 60)
        run_id, recorder = self.start(list(answers), **more)
        repeated = recorder.judge([self.item(where, answer) for where, answer in answers.items()])
        second = {**answers, **(again or {})}
        recorder.judge([self.item(where, second[where], is_reask=True) for where in repeated])
        recorder.commit()
        self.recorder = recorder
        if finish:
            self.finish(run_id, recorder)
        return run_id

    def finish(self, run_id: int, recorder: Recorder, status: RunStatus = "complete") -> datetime:
        """Finish a run."""
        with begin(self.engine) as conn:
            return runs.finish_run(conn, run_id, status, self.tick(), recorder.counters, recorder.notices)
